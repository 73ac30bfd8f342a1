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

    /// Appends the codes of `differences` to `out`, all but at most 7 bits.
    pub(super) fn pack(&mut self, differences: &[u16], out: &mut Vec<u8>) -> Result<(), NoCode> {
        let coder = self.coder;
        match (&coder.entries, coder.longest) {
            (Entries::Narrow(table), 0..=18) => self.blocks::<3>(differences, out, |d| narrow(table, d)),
            (Entries::Narrow(table), _) => self.blocks::<2>(differences, out, |d| narrow(table, d)),
            (Entries::Wide(table), 0..=18) => self.blocks::<3>(differences, out, |d| wide(table, d)),
            (Entries::Wide(table), 19..=28) => self.blocks::<2>(differences, out, |d| wide(table, d)),
            (Entries::Wide(table), _) => self.blocks::<1>(differences, out, |d| wide(table, d)),
        }
    }

    /// Fills the last byte with ones (F.1.2.3).
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.used > 0 {
            stuff(&[(self.pending >> 56) as u8 | 0xFF >> self.used], out);
        }
    }

    /// `N` entries together have at most 56 bits, so that with 7 pending ones they leave one free.
    #[inline(always)]
    fn blocks<const N: usize>(
        &mut self,
        differences: &[u16],
        out: &mut Vec<u8>,
        entry: impl Fn(u16) -> u64,
    ) -> Result<(), NoCode> {
        for block in differences.chunks(BLOCK) {
            let (mut pending, mut used, mut at) = (self.pending, self.used as usize, 0);
            // What is longer than all entries can be together tells of one that is not there.
            let mut longest = 0;
            let mut append = |group: &[u16]| {
                let (mut bits, mut length) = (0, 0);
                for &difference in group {
                    let entry = entry(difference);
                    bits |= entry.wrapping_shr(length as u32);
                    length += (entry & LENGTH) as usize;
                }
                longest = longest.max(length);
                pending |= (bits & !LENGTH) >> used;
                used += length;
                let cell = self.plain.get_mut(at..).and_then(<[u8]>::first_chunk_mut).ok_or(NoCode)?;
                *cell = pending.to_be_bytes();
                at += used / 8;
                pending = pending.wrapping_shl((used & !7) as u32);
                used &= 7;
                Ok(())
            };
            let (groups, rest) = block.as_chunks::<N>();
            groups.iter().try_for_each(|group| append(group))?;
            rest.iter().try_for_each(|single| append(&[*single]))?;
            if longest > FREE {
                return Err(NoCode);
            }
            (self.pending, self.used) = (pending, used as u32);
            stuff(self.plain.get(..at).unwrap_or_default(), out);
        }
        Ok(())
    }
}

/// Differences that are packed between two looks for FF; a multiple of every group's size.
const BLOCK: usize = 768;
/// Room for a block: at most 31 bits each, and a store of eight bytes.
const PLAIN: usize = 4096;
/// Bits that always fit beside the pending ones.
const FREE: usize = 56;

/// What is appended for each difference.
///
/// An entry holds the code and the additional bits (H.1.2.2) in its top bits and their number in its lowest six. [`MISSING`] is
/// the number of what has no code.
pub(super) struct Coder {
    entries: Entries,
    /// Most bits of an entry.
    longest: u32,
}

enum Entries {
    /// For precisions up to 8: an entry for each difference, by its low nine bits.
    Narrow(Box<[u64; 512]>),
    /// For each category: the entry without additional bits.
    Wide(Box<[u64; 32]>),
}

const LENGTH: u64 = 63;
const MISSING: u64 = 63;

impl Coder {
    pub(super) fn new(code: &Code, precision: u8) -> Self {
        let mut categories = Box::new([MISSING; 32]);
        let mut longest = 0;
        for word in code.words() {
            // Category 16 has no additional bits: there is one difference in it.
            let additional = if word.category == 16 { 0 } else { word.category };
            let length = u32::from(word.length + additional);
            categories[usize::from(word.category)] =
                u64::from(word.bits) << (64 - word.length) | u64::from(length);
            longest = longest.max(length);
        }
        let entries = if precision > 8 {
            Entries::Wide(categories)
        } else {
            let difference = |index: usize| (index as i16) << 7 >> 7;
            Entries::Narrow(Box::new(std::array::from_fn(|n| {
                wide(&categories, difference(n).cast_unsigned())
            })))
        };
        Self { entries, longest }
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
