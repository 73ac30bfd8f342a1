//! From pixels to the samples that are transformed: colour, the 2x1 sampling, and the edges.

use super::encode::Colour;
use super::forward::Pair;
use crate::layout::{FrameLayout, Order, Samples};

/// The samples of 16 x 8 pixels: of colour, that is one MCU.
pub(super) struct Tile {
    /// Two blocks of luma, or of grey.
    pub(super) luma: Pair,
    /// The block of Cb and the block of Cr; nothing of grey.
    pub(super) chroma: Pair,
}

/// Pixels of one row of a tile.
const ACROSS: usize = 16;

/// A frame as its encoder reads it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) layout: FrameLayout,
    pub(super) colour: Colour,
}

impl Source<'_> {
    /// Tiles across and down; the last ones may be cut by the edges of the image.
    pub(super) fn tiles(&self) -> (usize, usize) {
        (usize::from(self.layout.columns).div_ceil(ACROSS), usize::from(self.layout.rows).div_ceil(8))
    }

    /// Reads a tile. Beyond the edges the last pixel is repeated, which costs the fewest bits.
    #[inline(always)]
    pub(super) fn tile(&self, across: usize, down: usize, tile: &mut Tile) {
        let last = usize::from(self.layout.rows) - 1;
        let places = (0..8).zip(tile.luma.iter_mut().zip(&mut tile.chroma));
        for (inner, (luma, chroma)) in places {
            let row = (down * 8 + inner).min(last);
            match self.colour {
                Colour::Grey => *luma = level(&self.sixteen(0, row, across)),
                Colour::Rgb => (*luma, *chroma) = from_rgb(&self.three(row, across)),
                Colour::YbrFull => (*luma, *chroma) = from_ybr(&self.three(row, across)),
            }
        }
    }

    /// Sixteen pixels of a row, their three components apart.
    #[inline(always)]
    fn three(&self, row: usize, across: usize) -> [[u8; ACROSS]; 3] {
        match (self.layout.order, self.layout.samples) {
            (Order::ByPixel, Samples::Three) => {
                let columns = usize::from(self.layout.columns);
                let start = (row * columns + across * ACROSS) * 3;
                let whole = self.pixels.get(start..).and_then(|rest| rest.first_chunk::<{ ACROSS * 3 }>());
                match whole {
                    Some(pixels) if (across + 1) * ACROSS <= columns => apart(pixels),
                    _ => apart(&self.cut(start, columns - across * ACROSS)),
                }
            }
            _ => std::array::from_fn(|plane| self.sixteen(plane, row, across)),
        }
    }

    /// The last pixels of a row, and copies of the last one.
    #[cold]
    fn cut(&self, start: usize, count: usize) -> [u8; ACROSS * 3] {
        let mut pixels = [0; ACROSS * 3];
        let given = self.pixels.get(start..start + count.min(ACROSS) * 3).unwrap_or_default();
        let given = given.as_chunks::<3>().0;
        let repeated = given.iter().chain(std::iter::repeat(given.last().unwrap_or(&[0; 3])));
        pixels.as_chunks_mut::<3>().0.iter_mut().zip(repeated).for_each(|(place, pixel)| *place = *pixel);
        pixels
    }

    /// Sixteen samples of a row of one plane.
    #[inline(always)]
    fn sixteen(&self, plane: usize, row: usize, across: usize) -> [u8; ACROSS] {
        let (rows, columns) = (usize::from(self.layout.rows), usize::from(self.layout.columns));
        let start = (plane * rows + row) * columns + across * ACROSS;
        let whole = self.pixels.get(start..).and_then(|rest| rest.first_chunk::<ACROSS>());
        if let Some(samples) = whole.filter(|_| (across + 1) * ACROSS <= columns) {
            return *samples;
        }
        let mut samples = [0; ACROSS];
        let given = self.pixels.get(start..start + columns - across * ACROSS).unwrap_or_default();
        let repeated = given.iter().chain(std::iter::repeat(given.last().unwrap_or(&0)));
        samples.iter_mut().zip(repeated).for_each(|(place, sample)| *place = *sample);
        samples
    }
}

#[expect(clippy::indexing_slicing, reason = "arrays of sixteen and of three times sixteen")]
#[inline(always)]
fn apart(pixels: &[u8; ACROSS * 3]) -> [[u8; ACROSS]; 3] {
    let mut out = [[0; ACROSS]; 3];
    for index in 0..ACROSS {
        out[0][index] = pixels[index * 3];
        out[1][index] = pixels[index * 3 + 1];
        out[2][index] = pixels[index * 3 + 2];
    }
    out
}

/// Shifts the level (ISO 10918-1 A.3.1).
#[inline(always)]
fn level(samples: &[u8; ACROSS]) -> [i16; ACROSS] {
    samples.map(|sample| i16::from(sample) - 128)
}

/// JFIF's conversion with 15 fractional bits; chroma of the mean of two pixels.
#[expect(clippy::indexing_slicing, reason = "arrays of sixteen")]
#[inline(always)]
fn from_rgb([red, green, blue]: &[[u8; ACROSS]; 3]) -> ([i16; ACROSS], [i16; ACROSS]) {
    let (mut luma, mut chroma) = ([0; ACROSS], [0; ACROSS]);
    for index in 0..ACROSS {
        let [r, g, b] = [red[index], green[index], blue[index]].map(i32::from);
        luma[index] = ((9798 * r + 19235 * g + 3735 * b + (1 << 14)) >> 15) as i16 - 128;
    }
    for index in 0..ACROSS / 2 {
        let sum = |of: &[u8; ACROSS]| i32::from(of[index * 2]) + i32::from(of[index * 2 + 1]);
        let (r, g, b) = (sum(red), sum(green), sum(blue));
        // Rounded down in the middle, so that the purest colour stays below 128.
        let round = (1 << 15) - 1;
        chroma[index] = ((16384 * b - 5529 * r - 10855 * g + round) >> 16) as i16;
        chroma[8 + index] = ((16384 * r - 13720 * g - 2664 * b + round) >> 16) as i16;
    }
    (luma, chroma)
}

/// The mean of two chroma samples is rounded down and up by turns, so that no shade is added to the whole.
#[expect(clippy::indexing_slicing, reason = "arrays of sixteen")]
#[inline(always)]
fn from_ybr([luma, blue, red]: &[[u8; ACROSS]; 3]) -> ([i16; ACROSS], [i16; ACROSS]) {
    let mut chroma = [0; ACROSS];
    for index in 0..ACROSS / 2 {
        let mean = |of: &[u8; ACROSS]| {
            let sum = i16::from(of[index * 2]) + i16::from(of[index * 2 + 1]);
            ((sum + (index & 1) as i16) >> 1) - 128
        };
        chroma[index] = mean(blue);
        chroma[8 + index] = mean(red);
    }
    (level(luma), chroma)
}
