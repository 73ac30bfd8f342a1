#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A stream to pixels.

use super::error::DecodeError;
use super::header::{ColourHints, FrameHeader, Parser};
use super::scan::decode_scan;
use crate::frame::{Frame, Marking};
use crate::layout::{Depth, FrameLayout, Limits, Order, Samples};

/// Decodes one frame: samples of a byte for precisions up to 8, else of two.
///
/// What follows EOI is ignored, and a missing EOI too if the image is complete. Arithmetic is modulo 65,536 (H.1.2.1), of which frames
/// of up to 8 bits keep the low byte.
///
/// # Errors
/// The bytes are no stream of Process 14, are wrong or end too early, or the frame is larger than `limits`, which is found before
/// it is allocated.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, DecodeError> {
    let (mut parser, header) = Parser::new(bytes)?;
    let layout = layout(&header);
    let needed = layout.bytes();
    let too_large = DecodeError::FrameTooLarge { needed, limit: limits.frame_bytes };
    if needed > limits.frame_bytes {
        return Err(too_large);
    }
    let needed = usize::try_from(needed).map_err(|_| too_large)?;
    let mut pixels = Vec::new();
    while let Some(scan) = parser.next_scan()? {
        match scan.only {
            None => decode_scan(&mut parser, &header, &scan, |_, row| {
                if pixels.is_empty() {
                    pixels.reserve_exact(needed);
                }
                pixels.extend_from_slice(row);
                Ok::<_, DecodeError>(())
            })?,
            Some(component) => decode_scan(&mut parser, &header, &scan, |y, row| {
                pixels.resize(needed, 0);
                put(&mut pixels, layout, component, y, row);
                Ok::<_, DecodeError>(())
            })?,
        }
    }
    let marking = marking(&header, parser.colours());
    Ok(Frame { layout, precision: header.precision, marking, pixels })
}

/// The frame as it is decoded.
pub(super) fn layout(header: &FrameHeader) -> FrameLayout {
    FrameLayout {
        rows: header.rows,
        columns: header.columns,
        samples: if header.components.len() == 1 { Samples::One } else { Samples::Three },
        depth: if header.precision > 8 { Depth::Sixteen } else { Depth::Eight },
        order: Order::ByPixel,
    }
}

/// Puts a row of one component among the others.
fn put(pixels: &mut [u8], layout: FrameLayout, component: usize, y: u16, row: &[u8]) {
    let (sample, pixel) = (usize::from(layout.sample_bytes()), usize::from(layout.byte_planes()));
    let start = usize::from(y) * usize::from(layout.columns) * pixel + component * sample;
    let cells = pixels.get_mut(start..).unwrap_or_default().chunks_mut(pixel);
    for (cell, value) in cells.zip(row.chunks_exact(sample)) {
        cell.iter_mut().zip(value).for_each(|(cell, value)| *cell = *value);
    }
}

fn marking(header: &FrameHeader, colours: ColourHints) -> Option<Marking> {
    let ids = match header.components.as_slice() {
        [first, second, third] => [first.id, second.id, third.id],
        _ => return None,
    };
    Some(match colours.adobe {
        Some(0) => Marking::Rgb,
        Some(_) => Marking::Ybr,
        None if &ids == b"RGB" => Marking::Rgb,
        None if colours.jfif => Marking::Ybr,
        None => Marking::Unmarked,
    })
}
