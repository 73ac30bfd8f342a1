//! The rows of a native frame, whatever its layout, as samples of 16 bits side by side.

use super::error::EncodeError;
use crate::layout::{Depth, FrameLayout, Order, Samples};

/// A frame that was checked against its layout and precision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pixels: &'a [u8],
    layout: FrameLayout,
    precision: u8,
}

impl<'a> Source<'a> {
    pub(super) fn new(pixels: &'a [u8], layout: FrameLayout, precision: u8) -> Result<Self, EncodeError> {
        let (found, expected) = (pixels.len() as u64, layout.bytes());
        if found != expected {
            return Err(EncodeError::WrongPixelLength { found, expected });
        }
        if expected == 0 {
            return Err(EncodeError::Empty { rows: layout.rows, columns: layout.columns });
        }
        let fits = match layout.depth {
            Depth::Eight => 2..=8,
            Depth::Sixteen => 9..=16,
        };
        if !fits.contains(&precision) {
            return Err(EncodeError::Precision { precision, bytes: layout.sample_bytes() });
        }
        Ok(Self { pixels, layout, precision })
    }

    pub(super) const fn layout(&self) -> FrameLayout {
        self.layout
    }

    pub(super) const fn precision(&self) -> u8 {
        self.precision
    }

    /// Samples of a row.
    pub(super) fn width(&self) -> usize {
        usize::from(self.layout.columns) * usize::from(self.layout.sample_count())
    }

    /// Reads row `y` into `row`, the samples of a pixel side by side.
    ///
    /// # Errors
    /// A sample has more bits than the precision says.
    pub(super) fn read_row(&self, y: u16, row: &mut [u16]) -> Result<(), EncodeError> {
        match self.layout.order {
            Order::ByPixel => self.widen(self.pixel_row(y), row.iter_mut()),
            Order::ByPlane => {
                let step = usize::from(self.layout.sample_count());
                for sample in 0..self.layout.sample_count() {
                    let cells = row.iter_mut().skip(usize::from(sample)).step_by(step);
                    self.widen(plane_row(self.pixels, self.layout, sample, y), cells);
                }
            }
        }
        self.check(y, row.iter().fold(0, |bits, sample| bits | sample))
    }

    /// Row `y` as it lies in the frame, if its samples are bytes and lie side by side: the shorter way for what is most frequent.
    ///
    /// # Errors
    /// A sample has more bits than the precision says.
    pub(super) fn byte_row(&self, y: u16) -> Result<Option<&'a [u8]>, EncodeError> {
        if self.layout.depth == Depth::Sixteen || (self.layout.order, self.layout.samples) == PLANES {
            return Ok(None);
        }
        let row = self.pixel_row(y);
        if self.precision < 8 {
            self.check(y, row.iter().fold(0, |bits, sample| bits | sample).into())?;
        }
        Ok(Some(row))
    }

    /// `bits` are all that occur in a row.
    fn check(&self, row: u16, bits: u16) -> Result<(), EncodeError> {
        let precision = self.precision;
        if u32::from(bits) >> precision == 0 {
            Ok(())
        } else {
            Err(EncodeError::SampleTooLarge { row, precision })
        }
    }

    fn pixel_row(&self, y: u16) -> &'a [u8] {
        let length = self.width() * usize::from(self.layout.sample_bytes());
        let start = usize::from(y) * length;
        self.pixels.get(start..start + length).unwrap_or_default()
    }

    fn widen<'c>(&self, bytes: &[u8], cells: impl Iterator<Item = &'c mut u16>) {
        match self.layout.depth {
            Depth::Eight => cells.zip(bytes).for_each(|(cell, byte)| *cell = u16::from(*byte)),
            Depth::Sixteen => {
                let samples = bytes.as_chunks::<2>().0;
                cells.zip(samples).for_each(|(cell, sample)| *cell = u16::from_le_bytes(*sample));
            }
        }
    }
}

const PLANES: (Order, Samples) = (Order::ByPlane, Samples::Three);

/// Row `y` of one sample, in a frame whose planes lie one after another (or that has one).
pub(super) fn plane_row(pixels: &[u8], layout: FrameLayout, sample: u8, y: u16) -> &[u8] {
    let length = usize::from(layout.columns) * usize::from(layout.sample_bytes());
    let start = (usize::from(sample) * usize::from(layout.rows) + usize::from(y)) * length;
    pixels.get(start..start + length).unwrap_or_default()
}
