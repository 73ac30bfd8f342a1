//! The Huffman table of a frame, or of all frames of a loop.

use super::error::EncodeError;
use super::huffman::Code;
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
    // Equal differences are frequent and follow each other: several counters, so that one need not wait for the other.
    let mut counts = [[0_u32; 32]; LANES];
    let mut totals = [0_u64; 17];
    each_row(source, |_, row| {
        let (groups, rest) = row.as_chunks::<LANES>();
        for group in groups {
            for (counts, difference) in counts.iter_mut().zip(group) {
                counts[category(*difference) as usize & 31] += 1;
            }
        }
        for difference in rest {
            counts[0][category(*difference) as usize & 31] += 1;
        }
        for counts in &mut counts {
            totals
                .iter_mut()
                .zip(counts)
                .for_each(|(total, count)| *total += u64::from(std::mem::take(count)));
        }
        Ok(())
    })?;
    Ok(totals)
}

const LANES: usize = 4;

/// Calls `take` with the number and the differences of each row, from the top.
pub(super) fn each_row(
    source: &Source<'_>,
    mut take: impl FnMut(u16, &[u16]) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let samples = usize::from(source.layout().sample_count());
    let mut before = vec![initial(source.precision(), 0); samples];
    let (mut row, mut out) = (vec![0; source.width()], vec![0; source.width()]);
    for y in 0..source.layout().rows {
        source.read_row(y, &mut row)?;
        differences(&before, &row, &mut out);
        take(y, &out)?;
        before.copy_from_slice(&row[..samples]);
    }
    Ok(())
}
