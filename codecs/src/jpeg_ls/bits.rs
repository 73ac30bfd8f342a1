//! Bits of the coded data. After FFH a byte carries seven bits only, its first is zero; FFH and a byte from 80H on is the
//! next marker (ISO 14495-1 9.1).

use super::JpegLsError;

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in the cache.
    position: usize,
    after_ff: bool,
    /// The next bits, the first one topmost.
    cache: u64,
    /// How many bits of the cache are bits.
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, after_ff: false, cache: 0, count: 0 }
    }

    /// Where the next marker is to be looked for.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bits, at most 32.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Result<u32, JpegLsError> {
        if self.count < count {
            self.refill();
            if self.count < count {
                return Err(self.ended());
            }
        }
        // In two steps: a shift by 64 is none.
        let bits = (self.cache >> 1) >> (63 - count);
        self.skip(count);
        Ok(bits as u32)
    }

    /// Zeros up to the next one, which is taken too; more than `most` are an error.
    #[inline]
    pub(super) fn zeros(&mut self, most: u32) -> Result<u32, JpegLsError> {
        let mut total = 0;
        loop {
            if self.count == 0 || self.cache == 0 {
                self.refill();
            }
            let zeros = self.cache.leading_zeros().min(self.count);
            total += zeros;
            if total > most {
                return Err(JpegLsError::Entropy { offset: self.position, why: "a code is longer than any" });
            }
            if zeros < self.count {
                self.skip(zeros + 1);
                return Ok(total);
            }
            self.skip(zeros);
            self.refill();
            if self.count == 0 {
                return Err(self.ended());
            }
        }
    }

    #[inline]
    fn skip(&mut self, count: u32) {
        self.cache = if count < 64 { self.cache << count } else { 0 };
        self.count -= count;
    }

    fn refill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.position) else { return };
            if byte == 0xFF && self.bytes.get(self.position + 1).is_none_or(|next| *next >= 0x80) {
                return;
            }
            let bits = if self.after_ff { 7 } else { 8 };
            self.cache |= u64::from(byte) << (64 - bits - self.count);
            self.count += bits;
            self.after_ff = byte == 0xFF;
            self.position += 1;
        }
    }

    fn ended(&self) -> JpegLsError {
        JpegLsError::Ended { offset: self.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_after_ff_has_seven_bits() {
        let mut bits = Bits::new(&[0xFF, 0x7F, 0x80, 0xFF, 0xD9], 0);
        assert_eq!(bits.take(15).unwrap(), 0x7FFF);
        assert_eq!(bits.take(8).unwrap(), 0x80);
        assert_eq!(bits.take(1), Err(JpegLsError::Ended { offset: 3 }));
    }

    #[test]
    fn zeros_are_counted_across_many_bytes() {
        let mut bits = Bits::new(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x40], 0);
        assert_eq!(bits.zeros(99), Ok(0));
        assert_eq!(bits.zeros(99), Ok(86));
        assert_eq!(bits.zeros(99), Ok(1));
        assert_eq!(bits.zeros(99), Err(JpegLsError::Ended { offset: 12 }));
        assert!(matches!(Bits::new(&[0, 0, 1], 0).zeros(9), Err(JpegLsError::Entropy { .. })));
    }
}
