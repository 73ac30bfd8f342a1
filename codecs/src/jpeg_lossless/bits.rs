#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Reading bits, the most significant first.

/// The bits of one restart interval, or of a scan without any.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    /// The bytes and [`PADDING`] zeros.
    padded: &'a [u8],
    /// The next byte to take.
    next: usize,
    /// The next bits, from the top; zeros, or what will come there, below them.
    window: u64,
    /// How many bits of the window count.
    filled: u32,
}

/// There are no more bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfBits;

/// Zeros that follow the bytes, so that eight can be loaded at a time.
pub(super) const PADDING: usize = 16;

/// How many bits [`Bits::refill`] makes available.
pub(super) const REFILLED: u32 = 56;

impl<'a> Bits<'a> {
    /// `padded` ends with [`PADDING`] zeros that do not count.
    pub(super) const fn new(padded: &'a [u8]) -> Self {
        Self { padded, next: 0, window: 0, filled: 0 }
    }

    /// Makes at least 56 bits available. Some may be padding: [`Bits::check`] tells in the end.
    #[inline(always)]
    pub(super) fn refill(&mut self) -> Result<(), OutOfBits> {
        let bytes = self.padded.get(self.next..).and_then(<[u8]>::first_chunk).ok_or(OutOfBits)?;
        self.window |= u64::from_be_bytes(*bytes) >> self.filled;
        self.next += ((63 - self.filled) >> 3) as usize;
        self.filled |= REFILLED;
        Ok(())
    }

    /// The next 64 bits, of which as many count as are filled.
    #[inline(always)]
    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    /// Takes `count` bits off, not more than are filled.
    #[inline(always)]
    pub(super) const fn skip(&mut self, count: u32) {
        self.window <<= count & 63;
        self.filled = self.filled.wrapping_sub(count);
    }

    /// The byte in which the next bit lies.
    pub(super) const fn position(&self) -> usize {
        (self.next * 8).saturating_sub(self.filled as usize) / 8
    }

    /// Fails if bits were taken that were padding.
    pub(super) const fn check(&self) -> Result<(), OutOfBits> {
        let taken = (self.next * 8).saturating_sub(self.filled as usize);
        if taken > self.padded.len().saturating_sub(PADDING) * 8 { Err(OutOfBits) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_end_where_the_bytes_do() {
        let mut bytes = vec![0b1010_0101, 0xFF, 0x00, 0x81];
        bytes.extend([0; PADDING]);
        let mut bits = Bits::new(&bytes);
        let mut seen = 0_u64;
        for _ in 0..8 {
            bits.refill().expect("there are bits");
            seen = seen << 4 | bits.window() >> 60;
            bits.skip(4);
        }
        assert_eq!(seen, 0xA5FF_0081);
        assert_eq!(bits.check(), Ok(()));
        assert_eq!(bits.position(), 4);
        bits.skip(1);
        assert_eq!(bits.check(), Err(OutOfBits));
    }
}
