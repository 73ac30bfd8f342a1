//! From quantized coefficients to bytes (ISO 10918-1 F.1.2).

use super::forward::Quantized;
use super::tables::Specification;

/// The codes of a table: by symbol, the code above its length in the low byte.
pub(super) struct Codes([u32; 256]);

impl Codes {
    /// Makes the codes of a table (Annex C).
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, from the standard's tables")]
    pub(super) const fn new(table: &Specification) -> Self {
        let mut codes = [0; 256];
        let (mut code, mut index, mut length) = (0_u32, 0, 1);
        while length <= 16 {
            let mut count = table.counts[length - 1];
            while count > 0 {
                codes[table.symbols[index] as usize] = code << 8 | length as u32;
                code += 1;
                index += 1;
                count -= 1;
            }
            code <<= 1;
            length += 1;
        }
        Self(codes)
    }

    #[inline(always)]
    fn get(&self, symbol: u32) -> u32 {
        self.0.get((symbol & 0xFF) as usize).copied().unwrap_or(0)
    }
}

/// The codes of a component.
pub(super) struct Coder {
    pub(super) dc: Codes,
    pub(super) ac: Codes,
}

/// Appends bits to a stream, the first one highest, with a byte stuffed after each FFH (F.1.2.3).
pub(super) struct Writer<'o> {
    /// By reference, so that the rest stays in registers.
    out: &'o mut Vec<u8>,
    /// The bits that are not written yet, right-aligned; what lies above them was written.
    buffer: u64,
    /// 64 less the number of these bits; 1 to 64.
    free: u32,
}

impl<'o> Writer<'o> {
    /// Goes on behind `out`.
    pub(super) const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, buffer: 0, free: 64 }
    }

    /// Codes one block of a pair. Returns its first coefficient, from which the next block's is coded as a difference.
    #[inline(always)]
    pub(super) fn block(&mut self, pair: &Quantized, block: usize, before: i16, coder: &Coder) -> i16 {
        let first = pair.value(block, 0);
        self.coefficient(&coder.dc, 0, i32::from(first) - i32::from(before));
        let [first_present, second_present] = pair.present;
        let present = if block == 0 { first_present } else { second_present };
        let mut left = present & !1;
        let mut coded = 0;
        while left != 0 {
            let index = left.trailing_zeros();
            left &= left - 1;
            let mut run = index - coded - 1;
            coded = index;
            while run > 15 {
                self.code(coder.ac.get(0xF0));
                run -= 16;
            }
            self.coefficient(&coder.ac, run, i32::from(pair.value(block, index as usize)));
        }
        if coded < 63 {
            self.code(coder.ac.get(0));
        }
        first
    }

    /// Fills the last byte with ones.
    pub(super) fn finish(mut self) {
        let fill = self.free % 8;
        self.put((1 << fill) - 1, fill);
        let bytes = (64 - self.free) / 8;
        let last = self.buffer << (self.free % 64);
        for byte in last.to_be_bytes().into_iter().take(bytes as usize) {
            stuffed(self.out, byte);
        }
    }

    /// A run of zeros and the value behind it: the code for both sizes, then the value's bits.
    #[inline(always)]
    fn coefficient(&mut self, codes: &Codes, run: u32, value: i32) {
        let size = 32 - value.unsigned_abs().leading_zeros();
        // Negative values are written as their ones' complement (F.1.2.1).
        let bits = (value + (value >> 31)).cast_unsigned() & ((1 << size) - 1);
        let code = codes.get(run << 4 | size);
        self.put(code >> 8 << size | bits, (code & 0xFF) + size);
    }

    #[inline(always)]
    fn code(&mut self, code: u32) {
        self.put(code >> 8, code & 0xFF);
    }

    /// Appends the low `length` bits, at most 27, of which no higher one may be set.
    #[inline(always)]
    fn put(&mut self, bits: u32, length: u32) {
        let bits = u64::from(bits);
        if length < self.free {
            self.buffer = self.buffer << length | bits;
            self.free -= length;
        } else {
            let over = length - self.free;
            let word = self.buffer << (self.free & 63) | bits >> over;
            self.word(word);
            self.buffer = bits;
            self.free = 64 - over;
        }
    }

    #[inline(always)]
    fn word(&mut self, word: u64) {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // A byte can be FFH only if its highest bit is set and stays so when one is added to it.
        if word & HIGH & !(word.wrapping_add(HIGH >> 7)) == 0 {
            self.out.extend_from_slice(&word.to_be_bytes());
        } else {
            word_with_ff(self.out, word);
        }
    }
}

#[inline(never)]
fn word_with_ff(out: &mut Vec<u8>, word: u64) {
    word.to_be_bytes().into_iter().for_each(|byte| stuffed(out, byte));
}

#[inline(always)]
fn stuffed(out: &mut Vec<u8>, byte: u8) {
    out.push(byte);
    if byte == 0xFF {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::tables::LUMA_DC;

    #[test]
    fn the_codes_are_those_of_the_standard() {
        let codes = Codes::new(&LUMA_DC);
        assert_eq!(codes.get(0), 2, "00");
        assert_eq!(codes.get(3), 0b100 << 8 | 3);
        assert_eq!(codes.get(11), 0b1_1111_1110 << 8 | 9);
    }

    #[test]
    fn bits_come_out_in_order_and_ff_is_stuffed() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let mut expected = Vec::new();
        for round in 0..100_u32 {
            writer.put(0xFF, 8);
            writer.put(round, 7);
            writer.put(1, 1);
            expected.extend([0xFF, 0x00, (round << 1 | 1) as u8]);
        }
        writer.put(0b101, 3);
        expected.push(0b1011_1111);
        writer.finish();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_number_of_bits_is_finished() {
        for length in 0..200_usize {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            (0..length).for_each(|_| writer.put(0, 1));
            writer.finish();
            assert_eq!(bytes.len(), length.div_ceil(8));
            let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(ones as usize, bytes.len() * 8 - length);
        }
    }
}
