//! From pixels to the samples that are transformed: colour, the 2x1 sampling, and the edges.
//!
//! Each step is one plain loop over a row, which is what the compiler makes vector instructions of.

use super::encode::Colour;
use super::forward::Pair;
use crate::layout::{FrameLayout, Order, Samples};

/// Pixels that are transformed together: of colour, the width of an MCU.
const ACROSS: usize = 16;

/// A frame as its encoder reads it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) layout: FrameLayout,
    pub(super) colour: Colour,
}

/// Eight rows of the samples of a frame, with their level shifted, up to a whole number of MCUs.
pub(super) struct Band {
    luma: Vec<i16>,
    /// Half as wide; empty of grey.
    blue: Vec<i16>,
    red: Vec<i16>,
    /// One row of pixels, their components apart.
    apart: [Vec<u8>; 3],
    width: usize,
}

impl Band {
    /// Room for the bands of a frame.
    pub(super) fn new(source: &Source<'_>) -> Self {
        let width = usize::from(source.layout.columns).next_multiple_of(ACROSS);
        let half = if source.layout.samples == Samples::Three { width / 2 } else { 0 };
        let [luma, blue, red] = [width, half, half].map(|width| vec![0; width * 8]);
        Self { luma, blue, red, apart: std::array::from_fn(|_| vec![0; width]), width }
    }

    /// Pairs of blocks of luma across.
    pub(super) const fn pairs(&self) -> usize {
        self.width / ACROSS
    }

    /// Reads band `down` of a frame. Beyond the edges the last pixel is repeated, which costs the fewest bits.
    #[inline(always)]
    pub(super) fn read(&mut self, source: &Source<'_>, down: usize) {
        let last = usize::from(source.layout.rows) - 1;
        let [first, second, third] = &mut self.apart;
        let mut blue = self.blue.chunks_exact_mut(self.width / 2);
        let mut red = self.red.chunks_exact_mut(self.width / 2);
        for (row, luma) in (down * 8..).zip(self.luma.chunks_exact_mut(self.width)) {
            source.apart(row.min(last), [&mut *first, &mut *second, &mut *third]);
            match source.colour {
                Colour::Grey | Colour::YbrFull => level(first, luma),
                Colour::Rgb => luma_of(first, second, third, luma),
            }
            let (Some(blue), Some(red)) = (blue.next(), red.next()) else { continue };
            match source.colour {
                Colour::Grey => {}
                Colour::Rgb => {
                    chroma_of([16384, -5529, -10855], [third, first, second], blue);
                    chroma_of([16384, -13720, -2664], [first, second, third], red);
                }
                Colour::YbrFull => {
                    halve(second, blue);
                    halve(third, red);
                }
            }
        }
    }

    /// Two blocks of luma side by side.
    #[inline(always)]
    pub(super) fn luma(&self, across: usize) -> Pair {
        let mut pair = [[0; ACROSS]; 8];
        for (row, samples) in pair.iter_mut().zip(self.luma.chunks_exact(self.width)) {
            let samples = samples.get(across * ACROSS..).and_then(|rest| rest.first_chunk());
            *row = samples.copied().unwrap_or_default();
        }
        pair
    }

    /// The block of Cb and the block of Cr of the same pixels.
    #[inline(always)]
    pub(super) fn chroma(&self, across: usize) -> Pair {
        let mut pair = [[0; ACROSS]; 8];
        let half = self.width / 2;
        let rows = self.blue.chunks_exact(half).zip(self.red.chunks_exact(half));
        for (row, (blue, red)) in pair.iter_mut().zip(rows) {
            let halves = row.as_chunks_mut::<8>().0.iter_mut().zip([blue, red]);
            for (place, samples) in halves {
                let samples = samples.get(across * 8..).and_then(|rest| rest.first_chunk());
                *place = samples.copied().unwrap_or_default();
            }
        }
        pair
    }
}

impl Source<'_> {
    /// One row, its components apart, its end repeated to the width of `out`.
    #[inline(always)]
    fn apart(&self, row: usize, mut out: [&mut Vec<u8>; 3]) {
        let (rows, columns) = (usize::from(self.layout.rows), usize::from(self.layout.columns));
        match (self.layout.samples, self.layout.order) {
            (Samples::Three, Order::ByPixel) => {
                let pixels = self.pixels.get(row * columns * 3..(row + 1) * columns * 3).unwrap_or_default();
                let [first, second, third] = &mut out;
                let places = first.iter_mut().zip(second.iter_mut()).zip(third.iter_mut());
                for (pixel, ((a, b), c)) in pixels.as_chunks::<3>().0.iter().zip(places) {
                    [*a, *b, *c] = *pixel;
                }
            }
            (samples, _) => {
                let planes = if samples == Samples::Three { 3 } else { 1 };
                for (plane, out) in (0..planes).zip(&mut out) {
                    let start = (plane * rows + row) * columns;
                    let samples = self.pixels.get(start..start + columns).unwrap_or_default();
                    out.iter_mut().zip(samples).for_each(|(place, sample)| *place = *sample);
                }
            }
        }
        for out in out {
            let last = out.get(columns - 1).copied().unwrap_or(0);
            out.iter_mut().skip(columns).for_each(|place| *place = last);
        }
    }
}

/// Shifts the level (ISO 10918-1 A.3.1).
#[inline(always)]
fn level(samples: &[u8], out: &mut [i16]) {
    out.iter_mut().zip(samples).for_each(|(place, sample)| *place = i16::from(*sample) - 128);
}

/// JFIF's luma with 15 fractional bits.
#[inline(always)]
fn luma_of(red: &[u8], green: &[u8], blue: &[u8], out: &mut [i16]) {
    for (((place, red), green), blue) in out.iter_mut().zip(red).zip(green).zip(blue) {
        let [red, green, blue] = [*red, *green, *blue].map(i32::from);
        *place = ((9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15) as i16 - 128;
    }
}

/// JFIF's chroma with 15 fractional bits, of the means of two pixels: each component by its weight.
#[inline(always)]
fn chroma_of([a, b, c]: [i32; 3], components: [&[u8]; 3], out: &mut [i16]) {
    let [first, second, third] = components.map(|component| component.as_chunks::<2>().0);
    // Rounded down in the middle, so that the purest colour stays below 128.
    let round = (1 << 15) - 1;
    for (((place, first), second), third) in out.iter_mut().zip(first).zip(second).zip(third) {
        let [first, second, third] = [*first, *second, *third].map(sum);
        *place = ((a * first + b * second + c * third + round) >> 16) as i16;
    }
}

/// The sum of two neighbours. They are read as one number, which vector instructions can do.
#[inline(always)]
fn sum(pair: [u8; 2]) -> i32 {
    let pair = u16::from_le_bytes(pair);
    i32::from(((pair & 0xFF) + (pair >> 8)).cast_signed())
}

/// The mean of two chroma samples, rounded down and up by turns, so that no shade is added to the whole.
#[inline(always)]
fn halve(samples: &[u8], out: &mut [i16]) {
    let fours = samples.as_chunks::<4>().0.iter();
    for (places, [a, b, c, d]) in out.as_chunks_mut::<2>().0.iter_mut().zip(fours) {
        let [a, b, c, d] = [*a, *b, *c, *d].map(i16::from);
        *places = [((a + b) >> 1) - 128, ((c + d + 1) >> 1) - 128];
    }
}
