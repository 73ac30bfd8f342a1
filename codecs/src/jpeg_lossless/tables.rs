//! The Huffman table of a frame, or of all frames of a loop.

use super::error::EncodeError;
use super::huffman::{CATEGORIES, Code};
use super::optimal::{Frequencies, optimal};
use super::pack::{Coder, category};
use super::predict::{differences, initial};
use super::samples::Source;
use crate::layout::FrameLayout;

/// What [`encode_frame`](super::encode_frame) codes differences with: one Huffman table for all components.
pub struct Tables {
    pub(super) code: Code,
    pub(super) coder: Coder,
    pub(super) precision: u8,
}

impl Tables {
    /// The best table for this one frame. Another frame may have differences that it has no code for.
    ///
    /// # Errors
    /// The pixels do not agree with `layout` and `precision`.
    pub fn of_frame(pixels: &[u8], layout: FrameLayout, precision: u8) -> Result<Self, EncodeError> {
        let frequencies = frequencies(&Source::new(pixels, layout, precision)?)?;
        Ok(Self::new(&frequencies, precision))
    }

    /// The best table for frames like this one, with a code for every difference that samples of this precision can have.
    ///
    /// # Errors
    /// The pixels do not agree with `layout` and `precision`.
    pub fn of_sample(pixels: &[u8], layout: FrameLayout, precision: u8) -> Result<Self, EncodeError> {
        let mut frequencies = frequencies(&Source::new(pixels, layout, precision)?)?;
        frequencies.iter_mut().take(usize::from(precision) + 1).for_each(|frequency| *frequency += 1);
        Ok(Self::new(&frequencies, precision))
    }

    fn new(frequencies: &Frequencies, precision: u8) -> Self {
        let code = optimal(frequencies);
        let coder = Coder::new(&code, precision);
        Self { code, coder, precision }
    }
}

/// Counts the categories of a frame's differences.
fn frequencies(source: &Source<'_>) -> Result<Frequencies, EncodeError> {
    let mut totals = [0; CATEGORIES];
    if source.precision() > 8 {
        let mut counts = Counts::<32>::new();
        each_row(source, |_, row| {
            counts.add(row, |difference| category(difference) as usize);
            Ok(())
        })?;
        totals.iter_mut().zip(counts.sums()).for_each(|(total, sum)| *total = sum);
    } else {
        // Differences have nine bits then: they are counted first, and put into categories when all are there.
        let mut counts = Counts::<512>::new();
        each_row(source, |_, row| {
            counts.add(row, usize::from);
            Ok(())
        })?;
        for (index, sum) in (0_u16..).zip(counts.sums()) {
            let difference = index.wrapping_shl(7).cast_signed() >> 7;
            totals[category(difference.cast_unsigned()) as usize] += sum;
        }
    }
    Ok(totals)
}

/// Counters of what has `N` values, a power of two. Equal differences are frequent and follow each other: several counters for
/// each, so that one need not wait for the other. None can overflow: a frame has fewer than 2^34 samples.
struct Counts<const N: usize>(Box<[[u32; N]; LANES]>);

const LANES: usize = 4;

impl<const N: usize> Counts<N> {
    fn new() -> Self {
        Self(Box::new([[0; N]; LANES]))
    }

    /// Counts these by the low bits of their index.
    #[inline(always)]
    fn add(&mut self, differences: &[u16], index: impl Fn(u16) -> usize) {
        let (groups, rest) = differences.as_chunks::<LANES>();
        for group in groups {
            for (counts, difference) in self.0.iter_mut().zip(group) {
                counts[index(*difference) % N] += 1;
            }
        }
        for (counts, difference) in self.0.iter_mut().zip(rest) {
            counts[index(*difference) % N] += 1;
        }
    }

    fn sums(&self) -> impl Iterator<Item = u64> {
        (0..N).map(|n| self.0.iter().map(|counts| u64::from(counts[n])).sum())
    }
}

/// Calls `take` with the number and the differences of each row, from the top.
pub(super) fn each_row(
    source: &Source<'_>,
    mut take: impl FnMut(u16, &[u16]) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let samples = usize::from(source.layout().sample_count());
    let mut out = vec![0; source.width()];
    // What predicts the first pixel: the middle of the range, then the pixel above.
    let middle = initial(source.precision(), 0);
    let (mut above, mut bytes_above) = (vec![middle; samples], vec![middle as u8; samples]);
    let mut row = Vec::new();
    for y in 0..source.layout().rows {
        if let Some(row) = source.byte_row(y)? {
            differences(&bytes_above, row, &mut out);
            bytes_above.copy_from_slice(&row[..samples]);
        } else {
            row.resize(source.width(), 0);
            source.read_row(y, &mut row)?;
            differences(&above, &row, &mut out);
            above.copy_from_slice(&row[..samples]);
        }
        take(y, &out)?;
    }
    Ok(())
}
