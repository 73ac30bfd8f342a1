//! Differences to code words, and code words to bytes.

use super::huffman::Code;
use super::stuffing::stuff;

/// Packs rows of differences into a scan's entropy-coded bytes.
pub(super) struct Packer<'c> {
    coder: &'c Coder,
    /// Bits that do not make a byte yet, from the top.
    pending: u64,
    /// How many they are, at most 7 between calls.
    used: u32,
    /// Bytes of a block, before stuffing.
    plain: Box<[u8; PLAIN]>,
}

/// The tables have no code for a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCode;

impl<'c> Packer<'c> {
    pub(super) fn new(coder: &'c Coder) -> Self {
        Self { coder, pending: 0, used: 0, plain: Box::new([0; PLAIN]) }
    }

    /// Appends the codes of `differences`, which are those of pixels of `samples` samples, to `out`: all but at most 7 bits.
    pub(super) fn pack(&mut self, differences: &[u16], samples: u8, out: &mut Vec<u8>) -> Result<(), NoCode> {
        let coder = self.coder;
        let narrow = |difference| narrow(&coder.narrow, difference);
        let wide = |difference| wide(&coder.categories, difference);
        match (coder.precision, samples, coder.longest) {
            (..=8, 3, _) => {
                // Nearly all of an ultrasound image is grey: then the three samples have one difference, and one entry.
                let pixel = |pixel: &[u16; 3]| {
                    let [red, green, blue] = *pixel;
                    if red == green && green == blue {
                        let entry = coder.grey[usize::from(red) & 511];
                        Bits { bits: entry, length: entry & LENGTH }
                    } else {
                        Bits::of(pixel, narrow)
                    }
                };
                self.blocks(differences, out, narrow, pixel)
            }
            (..=8, ..) => self.blocks::<3>(differences, out, narrow, |group| Bits::of(group, narrow)),
            (_, _, ..=18) => self.blocks::<3>(differences, out, wide, |group| Bits::of(group, wide)),
            (_, _, ..=28) => self.blocks::<2>(differences, out, wide, |group| Bits::of(group, wide)),
            _ => self.blocks::<1>(differences, out, wide, |group| Bits::of(group, wide)),
        }
    }

    /// Fills the last byte with ones (F.1.2.3).
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.used > 0 {
            stuff(&[(self.pending >> 56) as u8 | 0xFF >> self.used], out);
        }
    }

    /// A group of `N` has at most [`FREE`] bits, so that it fits behind the pending ones.
    #[inline(always)]
    fn blocks<const N: usize>(
        &mut self,
        differences: &[u16],
        out: &mut Vec<u8>,
        single: impl Fn(u16) -> u64,
        group: impl Fn(&[u16; N]) -> Bits,
    ) -> Result<(), NoCode> {
        for block in differences.chunks(BLOCK) {
            let (mut pending, mut used, mut at) = (self.pending, self.used, 0);
            let mut longest = 0;
            let mut append = |bits: Bits| {
                longest |= bits.length;
                pending |= (bits.bits & !LENGTH).wrapping_shr(used);
                used = used.wrapping_add(bits.length as u32);
                // No block needs more: this keeps a store in bounds.
                let start = at % (PLAIN - 8);
                self.plain[start..start + 8].copy_from_slice(&pending.to_be_bytes());
                at += (used / 8) as usize;
                pending = pending.wrapping_shl(used & !7);
                used &= 7;
            };
            let (groups, rest) = block.as_chunks::<N>();
            let (pairs, last) = groups.as_chunks::<2>();
            for [first, second] in pairs {
                let (first, second) = (group(first), group(second));
                if first.length + second.length <= FREE {
                    append(first.then(second));
                } else {
                    append(first);
                    append(second);
                }
            }
            last.iter().for_each(|last| append(group(last)));
            rest.iter().for_each(|difference| append(Bits::of(&[*difference], &single)));
            if longest >= MISSING {
                return Err(NoCode);
            }
            (self.pending, self.used) = (pending, used);
            stuff(self.plain.get(..at).unwrap_or_default(), out);
        }
        Ok(())
    }
}

/// Differences that are packed between two looks for FF; a multiple of every group's size.
const BLOCK: usize = 768;
/// Room for a block: at most 31 bits each, and a store of eight bytes.
const PLAIN: usize = 4096 + 8;
/// Bits that always fit beside 7 pending ones, so that one of 64 stays free.
const FREE: u64 = 56;

/// Bits from the top, with something else in the lowest seven.
#[derive(Clone, Copy)]
struct Bits {
    bits: u64,
    /// At least [`MISSING`] if they have no code.
    length: u64,
}

impl Bits {
    /// The entries of some differences, one after another.
    #[inline(always)]
    fn of<const N: usize>(differences: &[u16; N], entry: impl Fn(u16) -> u64) -> Self {
        let (mut bits, mut lengths) = (0, 0_u64);
        for &difference in differences {
            let entry = entry(difference);
            // Only the low bits of the sum matter: they are the sum of the lengths.
            bits |= entry.wrapping_shr(lengths as u32);
            lengths = lengths.wrapping_add(entry);
        }
        Self { bits, length: lengths & (4 * MISSING - 1) }
    }

    #[inline(always)]
    const fn then(self, next: Self) -> Self {
        let bits = self.bits & !LENGTH | next.bits >> self.length;
        Self { bits, length: self.length + next.length }
    }
}

/// What is appended for each difference.
///
/// An entry holds the code and the additional bits (H.1.2.2) from the top, at most 31 of them, and their number in its lowest
/// seven bits. That of what has no code is [`MISSING`].
pub(super) struct Coder {
    /// For each category: the entry without additional bits.
    categories: Box<[u64; 32]>,
    /// For precisions up to 8: an entry for each difference, by its low nine bits.
    narrow: Box<[u64; 512]>,
    /// The same for three equal differences.
    grey: Box<[u64; 512]>,
    precision: u8,
    /// Most bits of an entry.
    longest: u32,
}

const LENGTH: u64 = 127;
const MISSING: u64 = 64;

impl Coder {
    pub(super) fn new(code: &Code, precision: u8) -> Self {
        let mut categories = Box::new([MISSING; 32]);
        let mut longest = 0;
        for word in code.words() {
            // Category 16 has no additional bits: there is one difference in it.
            let additional = if word.category == 16 { 0 } else { word.category };
            let length = u32::from(word.length + additional);
            let bits = u64::from(word.bits) << (64 - word.length);
            categories[usize::from(word.category)] = bits | u64::from(length);
            longest = longest.max(length);
        }
        let (mut narrow, mut grey) = (Box::new([MISSING; 512]), Box::new([MISSING; 512]));
        // Nine categories have codes of at most nine bits, so that three entries have at most 51.
        if precision <= 8 {
            for (index, (one, three)) in narrow.iter_mut().zip(grey.iter_mut()).enumerate() {
                let difference = (index as i16) << 7 >> 7;
                *one = wide(&categories, difference.cast_unsigned());
                let bits = Bits::of(&[0; 3], |_| *one);
                *three = bits.bits & !LENGTH | bits.length.min(MISSING);
            }
        }
        Self { categories, narrow, grey, precision, longest }
    }
}

/// The category of a difference (Table H.2).
#[inline(always)]
pub(super) const fn category(difference: u16) -> u32 {
    u16::BITS - difference.cast_signed().unsigned_abs().leading_zeros()
}

#[inline(always)]
fn narrow(table: &[u64; 512], difference: u16) -> u64 {
    table[usize::from(difference) & 511]
}

#[inline(always)]
fn wide(table: &[u64; 32], difference: u16) -> u64 {
    let category = category(difference);
    let entry = table[category as usize & 31];
    // Negative differences are written less one (F.1.2.1.1).
    let additional = difference.wrapping_sub(u16::from(difference.cast_signed() < 0));
    let masked = u64::from(additional) & ((1 << (category & 15)) - 1);
    entry | masked.wrapping_shl(64_u32.wrapping_sub((entry & LENGTH) as u32))
}
