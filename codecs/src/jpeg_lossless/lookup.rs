#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Code words to differences, by tables.

use super::bits::{Bits, OutOfBits};
use super::huffman::{Code, Word};

/// Why bits could not be turned into differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    OutOfBits,
    NoSuchCode,
}

impl From<OutOfBits> for Failure {
    fn from(_: OutOfBits) -> Self {
        Self::OutOfBits
    }
}

/// One difference at a time.
pub(super) struct Singles {
    /// By the next bits: a difference in the upper half and how many bits it takes in the lower. 0 if they are more than [`WIDTH`],
    /// or no code.
    table: Box<[u32; SIZE]>,
    /// The words, shortest first, for what the table does not know.
    words: Vec<Word>,
}

/// Bits that are looked up at once.
const WIDTH: u32 = 12;
const SIZE: usize = 1 << WIDTH;

impl Singles {
    pub(super) fn new(code: &Code) -> Self {
        let mut table = Box::new([0; SIZE]);
        for word in code.words() {
            let additional = additional_bits(word.category);
            let length = u32::from(word.length) + additional;
            let Some(spare) = WIDTH.checked_sub(length) else { continue };
            let start = usize::from(word.bits) << (WIDTH - u32::from(word.length));
            let cells = table.get_mut(start..).unwrap_or_default().chunks_mut(1 << spare);
            for (value, cells) in (0..1_u32 << additional).zip(cells) {
                cells.fill(u32::from(difference(word.category, value)) << 16 | length);
            }
        }
        Self { table, words: code.words().collect() }
    }

    /// The next difference.
    #[inline(always)]
    pub(super) fn next(&self, bits: &mut Bits<'_>) -> Result<u16, Failure> {
        bits.refill()?;
        let entry = self.entry((bits.window() >> (64 - WIDTH)) as usize);
        if entry == 0 {
            return self.long(bits);
        }
        bits.skip(entry & 0xFFFF);
        Ok((entry >> 16) as u16)
    }

    #[inline(always)]
    fn entry(&self, index: usize) -> u32 {
        self.table.get(index & (SIZE - 1)).copied().unwrap_or_default()
    }

    /// A word that is too long for the table, together with its additional bits. At least 32 bits are there.
    #[cold]
    fn long(&self, bits: &mut Bits<'_>) -> Result<u16, Failure> {
        let window = bits.window();
        let begins = |word: &&Word| window >> (64 - word.length) == u64::from(word.bits);
        let word = self.words.iter().find(begins).ok_or(Failure::NoSuchCode)?;
        let additional = additional_bits(word.category);
        let value = (window << word.length).unbounded_shr(64 - additional) as u32;
        bits.skip(u32::from(word.length) + additional);
        Ok(difference(word.category, value))
    }
}

/// Category 16 has a single difference (H.1.2.2).
const fn additional_bits(category: u8) -> u32 {
    if category >= 16 { 0 } else { category as u32 }
}

/// The difference of a category with these additional bits (F.2.2.1, H.1.2.2).
const fn difference(category: u8, value: u32) -> u16 {
    match category {
        0 => 0,
        16.. => 0x8000,
        _ if value >> (category - 1) == 0 => (value as u16).wrapping_sub((1 << category) - 1),
        _ => value as u16,
    }
}

/// Several differences at a time, summed up: for the first predictor in samples of a byte, `N` to a pixel.
///
/// Within a lookup every sample is the one `N` before it plus its difference. So an entry holds, for each of the next [`BYTES`]
/// samples, what is to be added to the sample of that component before the lookup; and a single addition of eight bytes gives them all. Bytes
/// beyond the count repeat the last sum of their component: the addition gives there what predicts the samples to come.
pub(super) struct Runs<const N: usize> {
    /// By the next bits: the count in the lowest three bits, how many bits they take in the next five, and seven sums above.
    table: Box<[u64; SIZE]>,
    pub(super) singles: Singles,
}

/// Sums in an entry.
const BYTES: usize = 7;

impl<const N: usize> Runs<N> {
    /// With three samples to a pixel, those after the last also count: three of them predict.
    const MOST: u32 = if N == 1 { 7 } else { (BYTES - N) as u32 };

    pub(super) fn new(singles: Singles) -> Self {
        let mut table = Box::new([0; SIZE]);
        for (index, cell) in table.iter_mut().enumerate() {
            *cell = Self::run(&singles, index);
        }
        Self { table, singles }
    }

    fn run(singles: &Singles, index: usize) -> u64 {
        let (mut sums, mut count, mut taken) = (0_u64, 0, 0);
        while count < Self::MOST {
            let entry = singles.entry(index << taken);
            let length = entry & 0xFFFF;
            if length == 0 || taken + length > WIDTH {
                break;
            }
            // This component's samples from here on.
            let ahead = const { periodic::<N>(1) } << (8 * count);
            sums = add_bytes(sums, ahead.wrapping_mul(u64::from(entry >> 16 & 0xFF)));
            taken += length;
            count += 1;
        }
        sums << 8 | u64::from(taken << 3) | u64::from(count)
    }

    /// Fills a row. `before` predicts the first pixel: the pixel above it, or the middle of the range.
    pub(super) fn fill(&self, bits: &mut Bits<'_>, before: [u8; N], row: &mut [u8]) -> Result<(), Failure> {
        let mut at = 0;
        let mut prediction =
            periodic::<N>(before.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        'row: loop {
            bits.refill()?;
            for _ in 0..super::bits::REFILLED / WIDTH {
                let Some(cell) = row.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { break 'row };
                let index = (bits.window() >> (64 - WIDTH)) as usize;
                let entry = self.table.get(index & (SIZE - 1)).copied().unwrap_or_default();
                let count = entry as u32 & 7;
                if count == 0 {
                    let difference = self.singles.next(bits)?;
                    let sample = (prediction as u8).wrapping_add(difference as u8);
                    if let Some(first) = cell.first_mut() {
                        *first = sample;
                    }
                    prediction = follow::<N>(prediction, sample);
                    at += 1;
                    continue 'row;
                }
                let samples = add_bytes(prediction, entry >> 8);
                *cell = samples.to_le_bytes();
                bits.skip(entry as u32 >> 3 & 31);
                prediction = if N == 1 {
                    // The last sum, without waiting for the addition.
                    periodic::<N>((prediction as u8).wrapping_add((entry >> 56) as u8).into())
                } else {
                    periodic::<N>(samples >> (8 * count) & 0xFF_FFFF)
                };
                at += count as usize;
            }
        }
        for cell in row.iter_mut().skip(at) {
            let difference = self.singles.next(bits)?;
            *cell = (prediction as u8).wrapping_add(difference as u8);
            prediction = follow::<N>(prediction, *cell);
        }
        Ok(())
    }
}

/// What predicts the samples after this one.
#[inline(always)]
const fn follow<const N: usize>(prediction: u64, sample: u8) -> u64 {
    let sample = sample as u64;
    if N == 1 { periodic::<N>(sample) } else { periodic::<N>(prediction >> 8 & 0xFFFF | sample << 16) }
}

/// Repeats the lowest `N` bytes upwards.
#[inline(always)]
const fn periodic<const N: usize>(lowest: u64) -> u64 {
    if N == 1 { lowest.wrapping_mul(0x0101_0101_0101_0101) } else { lowest | lowest << 24 | lowest << 48 }
}

/// Adds byte by byte, without carries from one to the next.
#[inline(always)]
const fn add_bytes(a: u64, b: u64) -> u64 {
    const TOP: u64 = 0x8080_8080_8080_8080;
    ((a & !TOP) + (b & !TOP)) ^ ((a ^ b) & TOP)
}
