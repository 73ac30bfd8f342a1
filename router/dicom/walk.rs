//! The structure walk over whatever arrives: as it is, or inflated on the way when it is deflated.
//!
//! Inflating is bounded: memory is a buffer for input and one for output and the decoder's window, and what comes out is at most
//! [`INFLATE_RATIO`] times what went in. A data set beyond that is stored, but nothing more is inflated of it. Input is inflated
//! in blocks of the data set, not in the pieces in which it came: the verdict is the same for whoever reads it again.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use flate2::{Decompress, FlushDecompress, Status};

use dicom_core::Tag;

use super::attributes::{Attributes, ExtraTags};
use super::scan::{Oddity, Scan, Scanner, Structure};
use super::transfer_syntax::Encoding;

/// How many times longer than the input the inflated data set may be.
pub const INFLATE_RATIO: u64 = 200;
/// Longest inflated data set, in bytes, whatever the input's length.
pub const MAX_INFLATED: u64 = 1 << 30;
/// What a short input may become, in bytes: the ratio of an empty image is beyond any limit that means something.
const ALWAYS_ALLOWED: u64 = 1 << 20;
/// Bytes inflated at a time.
const OUTPUT: usize = 32 << 10;
/// Deflated bytes that gather before they are inflated.
const BLOCK: usize = 64 << 10;

/// How long a data set may become, in bytes, that was so long deflated.
pub fn longest_inflated(deflated: u64) -> u64 {
    deflated.saturating_mul(INFLATE_RATIO).clamp(ALWAYS_ALLOWED, MAX_INFLATED)
}

/// A walk in any encoding; feed it, then finish it.
#[derive(Debug)]
pub struct Walk {
    scanner: Scanner,
    inflater: Option<Inflater>,
}

#[derive(Debug)]
struct Inflater {
    stream: Decompress,
    output: Vec<u8>,
    /// The block that is gathering.
    input: Vec<u8>,
    received: u64,
    end: End,
}

/// How far a deflated stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reached,
    /// Not inflated any further, for this reason, from the block at this offset on.
    Given(Oddity, u64),
}

impl Walk {
    /// A walk over a data set in this encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self::capturing(encoding, ExtraTags::default())
    }

    /// A walk that captures these tags too.
    pub fn capturing(encoding: Encoding, extra: ExtraTags) -> Self {
        if encoding != Encoding::DeflatedLe {
            return Self { scanner: Scanner::capturing(encoding, extra), inflater: None };
        }
        let stream = Decompress::new(false);
        let (input, output) = (Vec::new(), vec![0; OUTPUT]);
        let inflater = Inflater { stream, output, input, received: 0, end: End::NotYet };
        Self { scanner: Scanner::capturing(Encoding::ExplicitLe, extra), inflater: Some(inflater) }
    }

    /// Takes the next bytes, however many.
    pub fn feed(&mut self, chunk: &[u8]) {
        match &mut self.inflater {
            None => self.scanner.feed(chunk),
            Some(inflater) => inflater.feed(chunk, &mut self.scanner),
        }
    }

    /// Leaves out what is left of a value that nobody asked for: how many bytes, which are then not fed.
    pub fn skip_value(&mut self) -> u64 {
        if self.inflater.is_some() { 0 } else { self.scanner.skip_value() }
    }

    /// What was captured so far; of a deflated data set, of the blocks that came whole.
    pub fn attributes(&self) -> &Attributes {
        self.scanner.attributes()
    }

    /// Whether nothing up to this tag is to be expected any more, in a data set whose tags ascend.
    pub fn has_passed(&self, tag: Tag) -> bool {
        let ended = self.inflater.as_ref().is_some_and(|inflater| inflater.end != End::NotYet);
        ended || self.scanner.has_passed(tag)
    }

    /// What was captured, whether or not all bytes were fed.
    pub fn into_attributes(mut self) -> Attributes {
        self.settle();
        self.scanner.into_attributes()
    }

    /// The verdict, once all bytes were fed. Its length is that of what was fed.
    pub fn finish(mut self) -> Scan {
        self.settle();
        let scan = self.scanner.finish();
        let Some(inflater) = self.inflater else { return scan };
        let structure = match inflater.end {
            End::Reached => scan.structure,
            // PS3.5 A.5: the stream says itself where it ends.
            End::NotYet => Structure::Truncated { at: inflater.received },
            End::Given(reason, at) => Structure::Odd { reason, at },
        };
        Scan { structure, length: inflater.received, ..scan }
    }

    /// No more bytes come: the last block is as long as it is.
    fn settle(&mut self) {
        if let Some(inflater) = &mut self.inflater {
            inflater.inflate(&mut self.scanner);
        }
    }
}

impl Inflater {
    fn feed(&mut self, mut bytes: &[u8], scanner: &mut Scanner) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.input.len()));
            self.received += now.len() as u64;
            bytes = later;
            if self.end == End::NotYet {
                self.input.extend_from_slice(now);
            }
            if self.input.len() == BLOCK {
                self.inflate(scanner);
            }
        }
    }

    /// Inflates the block that has gathered.
    fn inflate(&mut self, scanner: &mut Scanner) {
        let block = std::mem::take(&mut self.input);
        let begun = self.received - block.len() as u64;
        let longest = longest_inflated(self.received);
        let mut chunk = block.as_slice();
        while self.end == End::NotYet {
            let (taken, given) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(chunk, &mut self.output, FlushDecompress::None);
            let taken = (self.stream.total_in() - taken) as usize;
            let given = (self.stream.total_out() - given) as usize;
            scanner.feed(self.output.get(..given).unwrap_or_default());
            chunk = chunk.get(taken..).unwrap_or_default();
            match status {
                Ok(Status::StreamEnd) => self.end = End::Reached,
                Ok(Status::Ok | Status::BufError) if self.stream.total_out() > longest => {
                    self.end = End::Given(Oddity::InflateLimit, begun);
                }
                Ok(Status::Ok | Status::BufError) => {
                    if taken == 0 && given == 0 || chunk.is_empty() && given < OUTPUT {
                        break;
                    }
                }
                Err(_) => self.end = End::Given(Oddity::CorruptDeflate, begun),
            }
        }
        self.input = block;
        self.input.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Walk};
    use crate::dicom::attributes::Attribute;
    use crate::dicom::scan::{Oddity, Structure};
    use crate::dicom::{Encoding, Scan};
    use std::io::Write;

    fn deflated(data_set: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data_set).unwrap();
        encoder.finish().unwrap()
    }

    fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = ((tag >> 16) as u16).to_le_bytes().to_vec();
        bytes.extend(((tag & 0xFFFF) as u16).to_le_bytes());
        bytes.extend(vr);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn data_set() -> Vec<u8> {
        [element(0x0008_0060, b"CS", b"US"), element(0x0020_000D, b"UI", b"1.2.3.4\0")].concat()
    }

    fn walk(bytes: &[u8], chunk: usize) -> Scan {
        let mut walk = Walk::new(Encoding::DeflatedLe);
        bytes.chunks(chunk).for_each(|chunk| walk.feed(chunk));
        walk.finish()
    }

    #[test]
    fn a_deflated_data_set_is_walked_in_any_chunking() {
        let bytes = deflated(&data_set());
        for chunk in [1, 7, bytes.len()] {
            let scan = walk(&bytes, chunk);
            assert_eq!(scan.structure, Structure::Sound);
            assert_eq!(scan.attributes.text(Attribute::StudyInstanceUid), "1.2.3.4");
            assert_eq!(scan.length, bytes.len() as u64);
        }
    }

    #[test]
    fn a_stream_without_its_end_is_truncated_and_bytes_after_it_are_let_pass() {
        let bytes = deflated(&data_set());
        for len in 0..bytes.len() {
            assert!(matches!(walk(&bytes[..len], 64).structure, Structure::Truncated { .. }), "{len}");
        }
        assert_eq!(walk(&[&bytes[..], &[0; 9]].concat(), 5).structure, Structure::Sound);
    }

    #[test]
    fn what_is_inflated_no_further_does_not_depend_on_the_chunking() {
        // A head that inflates to far more than it may, and so much noise behind it that all of it would be within the limit.
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let long: Vec<u8> = vec![0; 3 << 20].into_iter().chain(noise.take(100_000)).collect();
        // Two stored blocks (RFC 1951 3.2.4), and then a block of a type that there is not.
        let stored =
            |len: u16| [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &vec![0; len.into()]].concat();
        let broken = [stored(60_000), stored(30_000), vec![0xFF; 1000]].concat();
        for bytes in [deflated(&long), broken] {
            let whole = walk(&bytes, bytes.len());
            for chunk in [1, 100, 5000, BLOCK, BLOCK + 1] {
                assert_eq!(walk(&bytes, chunk), whole, "in pieces of {chunk}");
            }
        }
    }

    #[test]
    fn a_bomb_is_given_up_and_garbage_is_named() {
        let bomb = deflated(&vec![0; 64 << 20]);
        for chunk in [100, bomb.len()] {
            let structure = walk(&bomb, chunk).structure;
            assert!(
                matches!(structure, Structure::Odd { reason: Oddity::InflateLimit, .. }),
                "{structure:?}"
            );
        }
        let structure = walk(&[0xFF; 100], 100).structure;
        assert!(matches!(structure, Structure::Odd { reason: Oddity::CorruptDeflate, .. }), "{structure:?}");
    }
}
