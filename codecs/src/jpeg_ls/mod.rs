#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! JPEG-LS (ISO 14495-1), lossless and near-lossless, decoding.
//!
//! Segments say what there is (`header`), a scan is decoded line by line (`scan`) with adaptive Golomb codes (`context`) out of
//! bits (`bits`). All three ways of interleaving are understood, as are presets of the coding parameters. Mapping tables,
//! restart intervals, point transforms and the colour transforms of some writers are not: DICOM files with them are unknown.

mod bits;
mod context;
mod header;
mod parameters;
mod scan;

use crate::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples};
use header::{FrameHeader, ScanHeader, Segment};
use parameters::Parameters;

/// Why a stream could not be decoded. Offsets are in bytes from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegLsError {
    /// The first two bytes are not SOI.
    #[error("the bytes do not start a JPEG stream (FFD8H)")]
    NotJpeg,
    /// The stream ends before its image is complete.
    #[error("the JPEG-LS stream ends at {offset}, before its image is complete")]
    Ended {
        /// Where it ends.
        offset: usize,
    },
    /// A marker segment contradicts the standard, or an earlier one.
    #[error("JPEG-LS segment FF{marker:02X}H at {offset}: {why}")]
    Segment {
        /// The marker's second byte.
        marker: u8,
        /// Where the marker lies.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A sound stream of a kind that is not decoded here.
    #[error("JPEG-LS segment FF{marker:02X}H at {offset}: {what} is not supported")]
    Unsupported {
        /// The marker's second byte.
        marker: u8,
        /// Where the marker lies.
        offset: usize,
        /// What is not supported.
        what: &'static str,
    },
    /// The coded samples contradict themselves.
    #[error("JPEG-LS coded data at {offset}: {why}")]
    Entropy {
        /// About where, behind the fault by a few bytes at most.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The decoded frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}

/// Decodes one stream of 2 to 16 bits with one or three components that are not subsampled.
///
/// What follows EOI is ignored, and EOI may be missing if all of the image was there.
///
/// # Errors
/// Anything wrong with the bytes, a kind of stream that is not decoded here, and a frame larger than `limits`, which is
/// found before it is allocated.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, JpegLsError> {
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return Err(JpegLsError::NotJpeg);
    }
    let mut preset = None;
    let mut picture: Option<Picture> = None;
    let mut offset = 2;
    while !picture.as_ref().is_some_and(Picture::is_complete) {
        let segment = Segment::next(bytes, offset)?;
        offset = segment.end;
        match segment.marker {
            header::SOF55 if picture.is_none() => {
                picture = Some(Picture::new(&FrameHeader::read(&segment)?, limits)?)
            }
            header::SOF55 => return Err(segment.wrong("a second frame")),
            header::LSE => preset = Some(parameters::Preset::read(&segment)?),
            header::SOS => {
                let picture = picture.as_mut().ok_or_else(|| segment.wrong("a scan without a frame"))?;
                offset = picture.scan(&segment, preset, bytes)?;
            }
            header::DRI if !segment.data.iter().all(|byte| *byte == 0) => {
                return Err(segment.unsupported("a restart interval"));
            }
            header::APP8 if segment.data.starts_with(b"mrfx") && segment.data.get(4) != Some(&0) => {
                return Err(segment.unsupported("a colour transform"));
            }
            header::EOI => return Err(segment.wrong("the end before all components were there")),
            0xC0..=0xCF if segment.marker != header::DHT => {
                return Err(segment.wrong("a frame that is not JPEG-LS"));
            }
            _ => {}
        }
    }
    picture.map(Picture::finish).ok_or(JpegLsError::Ended { offset })
}

/// The frame as far as it is decoded.
struct Picture {
    layout: FrameLayout,
    precision: u8,
    /// Component id, and whether it was decoded.
    components: Vec<(u8, bool)>,
    pixels: Vec<u8>,
}

impl Picture {
    fn new(header: &FrameHeader, limits: Limits) -> Result<Self, JpegLsError> {
        let layout = FrameLayout {
            rows: header.rows,
            columns: header.columns,
            samples: if header.components.len() == 1 { Samples::One } else { Samples::Three },
            depth: if header.precision > 8 { Depth::Sixteen } else { Depth::Eight },
            order: Order::ByPixel,
        };
        let too_large = JpegLsError::FrameTooLarge { needed: layout.bytes(), limit: limits.frame_bytes };
        let length = usize::try_from(layout.bytes())
            .ok()
            .filter(|_| layout.bytes() <= limits.frame_bytes)
            .ok_or(too_large)?;
        let components = header.components.iter().map(|id| (*id, false)).collect();
        Ok(Self { layout, precision: header.precision, components, pixels: vec![0; length] })
    }

    fn is_complete(&self) -> bool {
        self.components.iter().all(|(_, decoded)| *decoded)
    }

    /// Decodes the scan that `segment` starts and returns where it ends.
    fn scan(
        &mut self,
        segment: &Segment<'_>,
        preset: Option<parameters::Preset>,
        bytes: &[u8],
    ) -> Result<usize, JpegLsError> {
        let header = ScanHeader::read(segment)?;
        let mut positions = Vec::with_capacity(header.components.len());
        for id in &header.components {
            let mut of_frame = self.components.iter_mut().enumerate();
            let found = of_frame.find(|(_, (known, decoded))| known == id && !decoded);
            let (position, (_, decoded)) =
                found.ok_or_else(|| segment.wrong("a component that is unknown or was there before"))?;
            *decoded = true;
            positions.push(position);
        }
        let parameters = Parameters::new(self.precision, header.near, preset)
            .ok_or_else(|| segment.wrong("bad parameters"))?;
        let lines = scan::Lines { columns: self.layout.columns, interleave: header.interleave };
        let mut decoder = scan::Scan::new(bytes, segment.end, parameters, lines, positions.len());
        let row_bytes = usize::from(self.layout.columns) * usize::from(self.layout.byte_planes());
        let depth = self.layout.depth;
        for row in self.pixels.chunks_exact_mut(row_bytes) {
            decoder.next_line()?;
            for (position, line) in positions.iter().zip(decoder.lines()) {
                store(line, row, (*position, self.components.len()), depth);
            }
        }
        Ok(decoder.end())
    }

    fn finish(self) -> Frame {
        let marking = match self.layout.samples {
            Samples::One => None,
            Samples::Three => Some(Marking::Unmarked),
        };
        Frame { layout: self.layout, precision: self.precision, marking, pixels: self.pixels }
    }
}

/// Puts a line of one component, the first of `of.1` components, into a row.
fn store(line: &[i32], row: &mut [u8], (position, of): (usize, usize), depth: Depth) {
    match depth {
        Depth::Eight => {
            let cells = row.iter_mut().skip(position).step_by(of);
            cells.zip(line).for_each(|(cell, value)| *cell = *value as u8);
        }
        Depth::Sixteen => {
            let cells = row.as_chunks_mut::<2>().0.iter_mut().skip(position).step_by(of);
            cells.zip(line).for_each(|(cell, value)| *cell = (*value as u16).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
