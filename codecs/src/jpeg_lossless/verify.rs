#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Whether a stream is a frame.

use super::decode;
use super::error::VerifyError;
use super::header::Parser;
use super::samples::plane_row;
use super::scan::decode_scan;
use crate::layout::{FrameLayout, Order, Samples};

/// Decodes a stream and compares it with the frame it was made of, row by row, until a row differs. Needs no memory for a second frame.
///
/// # Errors
/// The stream cannot be decoded, or is another frame.
pub fn verify_frame(
    bytes: &[u8],
    pixels: &[u8],
    layout: FrameLayout,
    precision: u8,
) -> Result<(), VerifyError> {
    let (found, expected) = (pixels.len() as u64, layout.bytes());
    if found != expected {
        return Err(VerifyError::WrongPixelLength { found, expected });
    }
    let (mut parser, header) = Parser::new(bytes)?;
    let shape = decode::layout(&header);
    if (FrameLayout { order: layout.order, ..shape }) != layout || header.precision != precision {
        let (found, expected) = (describe(shape, header.precision), describe(layout, precision));
        return Err(VerifyError::Shape { found, expected });
    }
    while let Some(scan) = parser.next_scan()? {
        decode_scan(&mut parser, &header, &scan, |y, row| {
            let width = usize::from(layout.sample_bytes());
            let same = match (scan.only, layout.order, layout.samples) {
                (None, Order::ByPixel, _) | (_, _, Samples::One) => row == pixel_row(pixels, layout, y),
                (None, Order::ByPlane, _) => (0..3).all(|sample| {
                    let plane = Among { bytes: plane_row(pixels, layout, sample, y), first: 0, step: 1 };
                    plane.equals(&Among { bytes: row, first: usize::from(sample), step: 3 }, width)
                }),
                (Some(sample), Order::ByPixel, _) => {
                    let all = Among { bytes: pixel_row(pixels, layout, y), first: sample, step: 3 };
                    all.equals(&Among { bytes: row, first: 0, step: 1 }, width)
                }
                (Some(sample), Order::ByPlane, _) => row == plane_row(pixels, layout, sample as u8, y),
            };
            if same { Ok(()) } else { Err(VerifyError::Differs { row: y }) }
        })?;
    }
    Ok(())
}

fn pixel_row(pixels: &[u8], layout: FrameLayout, y: u16) -> &[u8] {
    let length = usize::from(layout.columns) * usize::from(layout.byte_planes());
    let start = usize::from(y) * length;
    pixels.get(start..start + length).unwrap_or_default()
}

/// Samples of `width` bytes that lie among others.
struct Among<'a> {
    bytes: &'a [u8],
    first: usize,
    step: usize,
}

impl<'a> Among<'a> {
    fn samples(&self, width: usize) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(width).skip(self.first).step_by(self.step)
    }

    fn equals(&self, other: &Among<'_>, width: usize) -> bool {
        self.samples(width).eq(other.samples(width))
    }
}

fn describe(layout: FrameLayout, precision: u8) -> String {
    let FrameLayout { rows, columns, .. } = layout;
    format!("{rows} by {columns} by {} of {precision} bits", layout.sample_count())
}
