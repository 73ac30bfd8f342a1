//! The structure walk over whatever arrives: as it is, or inflated on the way when it is deflated.
//!
//! Inflating is bounded: memory is one output buffer and the decoder's window, and what comes out is at most
//! [`INFLATE_RATIO`] times what went in. A data set beyond that is stored, but nothing more is inflated of it.
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
    received: u64,
    end: End,
}

/// How far a deflated stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reached,
    /// Not inflated any further, for this reason, from this offset on.
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
        let inflater = Inflater { stream, output: vec![0; OUTPUT], received: 0, end: End::NotYet };
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

    /// What was captured so far.
    pub fn attributes(&self) -> &Attributes {
        self.scanner.attributes()
    }

    /// Whether nothing up to this tag is to be expected any more, in a data set whose tags ascend.
    pub fn has_passed(&self, tag: Tag) -> bool {
        let ended = self.inflater.as_ref().is_some_and(|inflater| inflater.end != End::NotYet);
        ended || self.scanner.has_passed(tag)
    }

    /// What was captured, whether or not all bytes were fed.
    pub fn into_attributes(self) -> Attributes {
        self.scanner.into_attributes()
    }

    /// The verdict, once all bytes were fed. Its length is that of what was fed.
    pub fn finish(self) -> Scan {
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
}

impl Inflater {
    fn feed(&mut self, mut chunk: &[u8], scanner: &mut Scanner) {
        let begun = self.received;
        self.received += chunk.len() as u64;
        let longest = longest_inflated(self.received);
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
                        return;
                    }
                }
                Err(_) => self.end = End::Given(Oddity::CorruptDeflate, begun),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Walk;
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
