//! What the segments before a scan say: the frame, its tables and its marks.

use super::error::DecodeError;
use super::huffman::Huffman;
use super::segments::{Segment, marker};
use super::tables::natural;
use crate::{Depth, FrameLayout, Limits, Marking, Order, Samples};

/// The frame header, SOF (ISO 10918-1 B.2.2).
#[derive(Debug, Clone)]
pub(super) struct FrameHeader {
    pub(super) layout: FrameLayout,
    pub(super) precision: u8,
    pub(super) progressive: bool,
    /// One or three.
    pub(super) components: Vec<Component>,
}

/// A component of the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Which quantization table, 0 to 3.
    pub(super) table: usize,
}

impl FrameHeader {
    /// Reads SOF0, SOF1 or SOF2; the limit is on the frame that will be returned.
    pub(super) fn read(segment: &Segment<'_>, limits: Limits) -> Result<Self, DecodeError> {
        let short = || segment.wrong("it is too short for its components");
        let (head, rest) = segment.body.split_first_chunk::<6>().ok_or_else(short)?;
        let [precision, r1, r0, c1, c0, count] = *head;
        let (rows, columns) = (u16::from_be_bytes([r1, r0]), u16::from_be_bytes([c1, c0]));
        match precision {
            8 => {}
            12 if segment.marker != marker::SOF0 => {}
            _ => return Err(segment.wrong("its samples have neither 8 nor 12 bits")),
        }
        let samples = match count {
            1 => Samples::One,
            3 => Samples::Three,
            _ => return Err(segment.unsupported("another number of components than one or three")),
        };
        match (rows, columns) {
            (0, _) => return Err(segment.unsupported("a number of lines that comes later (DNL)")),
            (_, 0) => return Err(segment.wrong("it has no columns")),
            _ => {}
        }
        let depth = if precision == 8 { Depth::Eight } else { Depth::Sixteen };
        let layout = FrameLayout { rows, columns, samples, depth, order: Order::ByPixel };
        if layout.bytes() > limits.frame_bytes {
            return Err(DecodeError::FrameTooLarge { needed: layout.bytes(), limit: limits.frame_bytes });
        }
        let specifications = rest.as_chunks::<3>().0.get(..usize::from(count)).ok_or_else(short)?;
        let components = specifications.iter().map(|three| Component::read(*three, segment));
        let components = components.collect::<Result<Vec<_>, _>>()?;
        let progressive = segment.marker == marker::SOF2;
        Ok(Self { layout, precision, progressive, components })
    }

    /// The largest sampling factors, horizontal and vertical.
    pub(super) fn largest(&self) -> (usize, usize) {
        let horizontal = self.components.iter().map(|component| component.horizontal).max();
        let vertical = self.components.iter().map(|component| component.vertical).max();
        (horizontal.unwrap_or(1), vertical.unwrap_or(1))
    }
}

impl Component {
    fn read([id, factors, table]: [u8; 3], segment: &Segment<'_>) -> Result<Self, DecodeError> {
        let (horizontal, vertical) = (usize::from(factors >> 4), usize::from(factors & 15));
        if !matches!((horizontal, vertical), (1..=4, 1..=4)) {
            return Err(segment.wrong("a sampling factor is not 1 to 4"));
        }
        if table > 3 {
            return Err(segment.wrong("a quantization table is not 0 to 3"));
        }
        Ok(Self { id, horizontal, vertical, table: usize::from(table) })
    }
}

/// A quantization table, in the order of the block, not of the code.
pub(super) type Quantization = [u16; 64];

/// The tables that are in force.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) quantization: [Option<Quantization>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: u16,
}

impl Tables {
    /// DQT (B.2.4.1).
    pub(super) fn quantization(&mut self, segment: &Segment<'_>) -> Result<(), DecodeError> {
        let short = || segment.wrong("it ends within a table");
        let mut body = segment.body;
        while let Some((&head, rest)) = body.split_first() {
            let slot = self.quantization.get_mut(usize::from(head & 15));
            let slot = slot.ok_or_else(|| segment.wrong("a table is not 0 to 3"))?;
            let mut table = [0; 64];
            let width = match head >> 4 {
                0 => 1,
                1 => 2,
                _ => return Err(segment.wrong("a table has neither 8 nor 16 bits")),
            };
            let (values, rest) = rest.split_at_checked(64 * width).ok_or_else(short)?;
            for (index, value) in values.chunks_exact(width).enumerate() {
                let value = value.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
                if let Some(place) = table.get_mut(natural(index)) {
                    *place = value;
                }
            }
            *slot = Some(table);
            body = rest;
        }
        Ok(())
    }

    /// DHT (B.2.4.2).
    pub(super) fn huffman(&mut self, segment: &Segment<'_>) -> Result<(), DecodeError> {
        let short = || segment.wrong("it ends within a table");
        let mut body = segment.body;
        while let Some((&head, rest)) = body.split_first() {
            let class = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = class.get_mut(usize::from(head & 15)).filter(|_| head >> 4 <= 1);
            let slot = slot.ok_or_else(|| segment.wrong("a table is not 0 to 3 of class 0 or 1"))?;
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(short)?;
            let table = Huffman::new(counts, symbols).map_err(|why| segment.wrong(why))?;
            *slot = Some(table);
            body = rest;
        }
        Ok(())
    }

    /// DRI (B.2.4.4).
    pub(super) fn restart_interval(&mut self, segment: &Segment<'_>) -> Result<(), DecodeError> {
        let interval = segment.body.first_chunk::<2>().ok_or_else(|| segment.wrong("it is too short"))?;
        self.restart_interval = u16::from_be_bytes(*interval);
        Ok(())
    }
}

/// What marks a stream's colours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    jfif: bool,
    adobe_transform: Option<u8>,
}

impl Marks {
    /// Looks at an application segment.
    pub(super) fn see(&mut self, segment: &Segment<'_>) {
        match segment.marker {
            marker::APP0 if segment.body.starts_with(b"JFIF\0") => self.jfif = true,
            // Version, two words of flags, then the transform (Adobe Technical Note 5116).
            marker::APP14 if segment.body.starts_with(b"Adobe") => {
                self.adobe_transform = segment.body.get(11).copied().or(self.adobe_transform);
            }
            _ => {}
        }
    }

    /// What they say of a frame. As in libjpeg a JFIF segment outweighs an Adobe one, and both the component ids.
    pub(super) fn marking(self, header: &FrameHeader) -> Option<Marking> {
        let [first, second, third] = header.components.as_slice() else { return None };
        let subsampled = [second, third]
            .iter()
            .any(|chroma| (chroma.horizontal, chroma.vertical) != (first.horizontal, first.vertical));
        let ids = [first.id, second.id, third.id];
        Some(match self.adobe_transform {
            _ if self.jfif => Marking::Ybr,
            Some(0) => Marking::Rgb,
            Some(_) => Marking::Ybr,
            None if ids == *b"RGB" => Marking::Rgb,
            None if subsampled => Marking::Ybr,
            None => Marking::Unmarked,
        })
    }
}
