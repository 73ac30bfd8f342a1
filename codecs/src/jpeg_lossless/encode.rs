//! Pixels to a stream.

use super::error::EncodeError;
use super::header::{Component, FrameHeader, write_headers};
use super::pack::Packer;
use super::samples::Source;
use super::tables::{Tables, each_row};
use crate::layout::FrameLayout;

/// Encodes one frame, with its samples in either order, as a whole stream from SOI to EOI.
///
/// Signed samples are bit patterns like others, if nothing lies above their `precision`; else they have to be encoded with 16 bits.
///
/// # Errors
/// The pixels do not agree with `layout` and `precision`, or `tables` are those of another frame and lack a code.
pub fn encode_frame(
    pixels: &[u8],
    layout: FrameLayout,
    precision: u8,
    tables: &Tables,
) -> Result<Vec<u8>, EncodeError> {
    let source = Source::new(pixels, layout, precision)?;
    if tables.precision != precision {
        return Err(EncodeError::NoCode { row: 0 });
    }
    let components = (1..=layout.sample_count()).map(|id| Component { id, ..Component::default() }).collect();
    let frame = FrameHeader { precision, rows: layout.rows, columns: layout.columns, components };
    // Ultrasound becomes a half or a third; what needs more than this makes room for itself.
    let mut out = Vec::with_capacity(pixels.len() / 2 + 256);
    write_headers(&frame, &tables.code, &mut out);
    let mut packer = Packer::new(&tables.coder);
    each_row(&source, |row, differences| {
        packer.pack(differences, layout.sample_count(), &mut out).map_err(|_| EncodeError::NoCode { row })
    })?;
    packer.finish(&mut out);
    out.extend([0xFF, super::header::EOI]);
    Ok(out)
}
