//! Decoding one frame: the order of things.

use super::error::DecodeError;
use super::header::{FrameHeader, Marks, Tables};
use super::plane::Plane;
use super::scan::Scan;
use super::segments::{Segment, Segments, marker};
use super::upsample::{Upsampling, fractional};
use crate::{Depth, Frame, Limits};

/// Decodes one stream: baseline, extended with 8 or 12 bits, or progressive; Huffman-coded; one or three components.
///
/// Subsampled components are brought to full size, but the samples stay in the stream's colour space. The dimensions
/// are the stream's own. What follows EOI is ignored, and EOI may be missing if all of the image was there.
///
/// # Errors
/// Anything wrong with the bytes, a kind of stream that is not decoded here, and a frame larger than `limits`, which is
/// found before it is allocated. While decoding about three times the frame is in use, five times if it is progressive.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, DecodeError> {
    let mut segments = Segments::new(bytes)?;
    let mut tables = Tables::default();
    let mut marks = Marks::default();
    let mut picture: Option<Picture> = None;
    while let Some(segment) = segments.next()? {
        match segment.marker {
            marker::DQT => tables.quantization(&segment)?,
            marker::DHT => tables.huffman(&segment)?,
            marker::DRI => tables.restart_interval(&segment)?,
            marker::APP0 | marker::APP14 => marks.see(&segment),
            marker::SOF0 | marker::SOF1 | marker::SOF2 if picture.is_none() => {
                picture = Some(Picture::new(FrameHeader::read(&segment, limits)?, &segment)?);
            }
            marker::SOF0..=0xCF if segment.marker != marker::DAC && segment.marker != 0xC8 => {
                return Err(segment.unsupported("another frame, or one of another process"));
            }
            marker::DNL => return Err(segment.unsupported("a number of lines that comes later")),
            marker::SOS => {
                let picture = picture.as_mut().ok_or_else(|| segment.wrong("a scan without a frame"))?;
                let end = picture.scan(&segment, &tables, segments.rest())?;
                segments.resume(end);
            }
            marker::SOI => return Err(segment.wrong("a second start")),
            marker::EOI => {
                return match picture {
                    Some(picture) if picture.is_complete() => Ok(picture.finish(marks)),
                    _ => Err(segment.wrong("the end before all components were there")),
                };
            }
            _ => {}
        }
    }
    match picture {
        // Without EOI nobody knows whether a progressive image is complete.
        Some(picture) if picture.is_complete() && !picture.header.progressive => Ok(picture.finish(marks)),
        _ => Err(DecodeError::Ended { offset: segments.end() }),
    }
}

/// The frame as far as it is decoded.
struct Picture {
    header: FrameHeader,
    planes: Vec<Plane>,
    upsampling: Vec<Upsampling>,
    scans: u32,
}

/// Scans of a progressive frame. A few bytes of one can say something of each block, so that many of them would take
/// a time out of all proportion; encoders make about ten.
const SCANS: u32 = 200;

impl Picture {
    fn new(header: FrameHeader, segment: &Segment<'_>) -> Result<Self, DecodeError> {
        let mut planes = Vec::with_capacity(header.components.len());
        let mut upsampling = Vec::with_capacity(header.components.len());
        for component in &header.components {
            let plane = Plane::new(&header, *component);
            let refusal = || fractional(segment.marker, segment.offset);
            upsampling.push(Upsampling::of(&plane, &header).ok_or_else(refusal)?);
            planes.push(plane);
        }
        Ok(Self { header, planes, upsampling, scans: 0 })
    }

    fn scan(
        &mut self,
        segment: &Segment<'_>,
        tables: &Tables,
        data: (&[u8], usize),
    ) -> Result<usize, DecodeError> {
        let progressive = self.header.progressive;
        self.scans += 1;
        if self.scans > SCANS {
            return Err(segment.unsupported("a frame of more than 200 scans"));
        }
        let scan = Scan::read(segment, &self.planes, progressive)?;
        scan.decode(segment, tables, &mut self.planes, data, progressive)
    }

    fn is_complete(&self) -> bool {
        self.planes.iter().all(Plane::is_started)
    }

    fn finish(mut self, marks: Marks) -> Frame {
        if self.header.progressive {
            self.planes.iter_mut().for_each(Plane::draw_all);
        }
        let layout = self.header.layout;
        let marking = marks.marking(&self.header);
        // The layout's bytes are below the limit, which was a number of bytes that can be allocated.
        let mut pixels = Vec::with_capacity(usize::try_from(layout.bytes()).unwrap_or(0));
        let mut rows = vec![Vec::new(); self.planes.len()];
        let mut scratch = Vec::new();
        for row in 0..usize::from(layout.rows) {
            for ((plane, upsampling), out) in self.planes.iter().zip(&self.upsampling).zip(&mut rows) {
                upsampling.row(plane, row, &mut scratch, out);
            }
            interleave(&rows, usize::from(layout.columns), layout.depth, &mut pixels);
        }
        Frame { layout, precision: self.header.precision, marking, pixels }
    }
}

/// Appends a row of pixels; the rows of samples may be wider.
fn interleave(rows: &[Vec<u16>], columns: usize, depth: Depth, pixels: &mut Vec<u8>) {
    match (rows, depth) {
        ([row], Depth::Eight) => pixels.extend(row.iter().take(columns).map(|sample| *sample as u8)),
        ([row], Depth::Sixteen) => {
            pixels.extend(row.iter().take(columns).flat_map(|sample| sample.to_le_bytes()));
        }
        ([first, second, third], depth) => {
            let three = first.iter().zip(second).zip(third).take(columns).map(|((a, b), c)| [*a, *b, *c]);
            match depth {
                Depth::Eight => pixels.extend(three.flat_map(|three| three.map(|sample| sample as u8))),
                Depth::Sixteen => {
                    pixels.extend(three.flatten().flat_map(u16::to_le_bytes));
                }
            }
        }
        _ => {}
    }
}
