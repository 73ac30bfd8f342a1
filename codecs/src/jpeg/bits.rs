//! The bits of entropy-coded data, without the bytes that are stuffed after FFH (ISO 10918-1 F.2.2.5).

use super::error::DecodeError;
use super::huffman::Huffman;

/// Reads bits until the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Where `bytes` start in the stream.
    start: usize,
    /// The next byte to take; stops at a marker.
    position: usize,
    /// The next bits, the first one highest. Below `count` bits there may be more of what follows, or zeros.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Starts with whole bytes.
    pub(super) const fn new(bytes: &'a [u8], start: usize) -> Self {
        Self { bytes, start, position: 0, buffer: 0, count: 0 }
    }

    /// Where in the stream the reader has arrived: at most eight bytes ahead of the bits.
    pub(super) const fn offset(&self) -> usize {
        self.start + self.position
    }

    /// The error for data that contradict their tables.
    #[cold]
    pub(super) const fn wrong(&self, why: &'static str) -> DecodeError {
        DecodeError::Entropy { offset: self.offset(), why }
    }

    /// The next symbol.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, DecodeError> {
        self.fill();
        let (symbol, length) = table.decode((self.buffer >> 48) as u32);
        if length == 0 || length > self.count {
            return Err(self.no_code());
        }
        self.take(length);
        Ok(symbol)
    }

    /// The next `length` bits, at most 16, as a number. After [`Bits::symbol`] they are there if the data have them.
    #[inline(always)]
    pub(super) fn number(&mut self, length: u32) -> Result<u32, DecodeError> {
        if length > self.count {
            self.fill();
            if length > self.count {
                return Err(self.ended());
            }
        }
        let value = (self.buffer >> 32) >> (32 - length);
        self.take(length);
        Ok(value as u32)
    }

    /// The next `length` bits, at most 15, as a signed difference or coefficient (F.2.2.1, EXTEND).
    #[inline(always)]
    pub(super) fn signed(&mut self, length: u32) -> Result<i32, DecodeError> {
        let value = self.number(length)?.cast_signed();
        // Half of the values of this length are negative: those that start with a zero bit.
        let negative = value < (1 << length) >> 1;
        Ok(if negative { value - (1 << length) + 1 } else { value })
    }

    /// Leaves the rest of the byte and takes the restart marker that must follow, number `number` modulo 8.
    pub(super) fn restart(&mut self, number: u32) -> Result<(), DecodeError> {
        self.skip_to_marker();
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
        let Some(marker) = rest.get(fill) else { return Err(self.ended()) };
        if *marker != 0xD0 | (number & 7) as u8 {
            return Err(self.wrong("the restart marker that is due is not there"));
        }
        self.position += fill + 1;
        (self.buffer, self.count) = (0, 0);
        Ok(())
    }

    /// Where the scan ends: the marker behind it, or the end of the bytes.
    pub(super) fn finish(mut self) -> usize {
        self.skip_to_marker();
        self.offset()
    }

    #[inline(always)]
    const fn take(&mut self, length: u32) {
        self.buffer <<= length;
        self.count -= length;
    }

    /// Makes at least 48 bits available where the data have them.
    #[inline(always)]
    fn fill(&mut self) {
        if self.count >= 48 {
            return;
        }
        let ahead = self.bytes.get(self.position..).and_then(|rest| rest.first_chunk::<8>());
        match ahead.map(|eight| u64::from_be_bytes(*eight)) {
            Some(word) if !has_ff(word) => {
                // Bits of a byte that does not fit whole are kept too: the next time the same are put over them.
                self.buffer |= word >> self.count;
                let bytes = (63 - self.count) / 8;
                self.position += bytes as usize;
                self.count += bytes * 8;
            }
            _ => self.fill_slowly(),
        }
    }

    #[inline(never)]
    fn fill_slowly(&mut self) {
        // The bits below `count` may be of a byte that is not taken yet; it is put over them again.
        while self.count <= 56 {
            let (byte, width) = match self.bytes.get(self.position..) {
                Some([0xFF, 0x00, ..]) => (0xFF, 2),
                Some([0xFF, ..]) | Some([]) | None => return,
                Some([byte, ..]) => (*byte, 1),
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
            self.position += width;
        }
    }

    fn skip_to_marker(&mut self) {
        while let Some(rest) = self.bytes.get(self.position..) {
            match rest {
                [] => return,
                [0xFF, 0x00, ..] => self.position += 2,
                [0xFF, ..] => return,
                _ => self.position += 1,
            }
        }
    }

    #[cold]
    fn no_code(&self) -> DecodeError {
        if self.count < 16 { self.ended() } else { self.wrong("no code of the table") }
    }

    /// The data are used up: by a marker in their midst, or by the end of the stream.
    #[cold]
    fn ended(&self) -> DecodeError {
        if self.position >= self.bytes.len() {
            DecodeError::Ended { offset: self.offset() }
        } else {
            self.wrong("a marker before the data are complete")
        }
    }
}

/// Whether one of the eight bytes is FFH.
#[inline(always)]
const fn has_ff(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte of the inverse is zero, and then borrows (Mycroft).
    let inverse = !word;
    inverse.wrapping_sub(ONES) & !inverse & (ONES << 7) != 0
}
