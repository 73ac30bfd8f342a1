//! Marker segments (ISO 14495-1 Annex C).

use super::JpegLsError;

pub(super) const SOF55: u8 = 0xF7;
pub(super) const LSE: u8 = 0xF8;
pub(super) const SOS: u8 = 0xDA;
pub(super) const EOI: u8 = 0xD9;
pub(super) const DRI: u8 = 0xDD;
pub(super) const DHT: u8 = 0xC4;
pub(super) const APP8: u8 = 0xE8;

/// A marker and its parameters, without their length.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    offset: usize,
    pub(super) data: &'a [u8],
    /// Where the next bytes are.
    pub(super) end: usize,
}

impl<'a> Segment<'a> {
    /// The first segment at or after `offset`: what lies before it is rest of coded data, or fill.
    pub(super) fn next(bytes: &'a [u8], offset: usize) -> Result<Self, JpegLsError> {
        let ended = JpegLsError::Ended { offset: bytes.len() };
        let rest = bytes.get(offset..).unwrap_or_default();
        let marker_at = rest.windows(2).position(|two| matches!(two, [0xFF, 0x80..=0xFE]));
        let offset = offset + marker_at.ok_or(ended.clone())?;
        let Some(&[_, marker]) = bytes.get(offset..).and_then(<[u8]>::first_chunk) else { return Err(ended) };
        if matches!(marker, EOI | 0xD0..=0xD8) {
            return Ok(Self { marker, offset, data: &[], end: offset + 2 });
        }
        let Some(length) = bytes.get(offset + 2..).and_then(<[u8]>::first_chunk) else { return Err(ended) };
        let end = offset + 2 + usize::from(u16::from_be_bytes(*length)).max(2);
        let data = bytes.get(offset + 4..end).ok_or(ended)?;
        Ok(Self { marker, offset, data, end })
    }

    pub(super) fn wrong(&self, why: &'static str) -> JpegLsError {
        JpegLsError::Segment { marker: self.marker, offset: self.offset, why }
    }

    pub(super) fn unsupported(&self, what: &'static str) -> JpegLsError {
        JpegLsError::Unsupported { marker: self.marker, offset: self.offset, what }
    }
}

/// SOF55 (C.2.2).
pub(super) struct FrameHeader {
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) precision: u8,
    /// Their identifiers, one or three.
    pub(super) components: Vec<u8>,
}

impl FrameHeader {
    pub(super) fn read(segment: &Segment<'_>) -> Result<Self, JpegLsError> {
        let [precision, r1, r0, c1, c0, count, components @ ..] = segment.data else {
            return Err(segment.wrong("it is too short"));
        };
        let (rows, columns) = (u16::from_be_bytes([*r1, *r0]), u16::from_be_bytes([*c1, *c0]));
        let (components, rest) = components.as_chunks::<3>();
        if components.len() != usize::from(*count) || !rest.is_empty() {
            return Err(segment.wrong("it has another length than its components need"));
        }
        if !(2..=16).contains(precision) {
            return Err(segment.wrong("the precision is not 2 to 16 bits"));
        }
        if rows == 0 || columns == 0 {
            return Err(segment.unsupported("an image whose rows or columns are said elsewhere"));
        }
        if !matches!(count, 1 | 3) {
            return Err(segment.unsupported("a number of components other than one or three"));
        }
        if components.iter().any(|[_, sampling, _]| *sampling != 0x11) {
            return Err(segment.unsupported("subsampled components"));
        }
        let components = components.iter().map(|[id, ..]| *id).collect();
        Ok(Self { rows, columns, precision: *precision, components })
    }
}

/// How the components of a scan take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interleave {
    /// A scan has one component.
    None,
    /// Line by line.
    Line,
    /// Pixel by pixel.
    Sample,
}

/// SOS (C.2.3).
pub(super) struct ScanHeader {
    pub(super) components: Vec<u8>,
    pub(super) near: u8,
    pub(super) interleave: Interleave,
}

impl ScanHeader {
    pub(super) fn read(segment: &Segment<'_>) -> Result<Self, JpegLsError> {
        let [count, components @ .., near, interleave, transform] = segment.data else {
            return Err(segment.wrong("it is too short"));
        };
        let (components, rest) = components.as_chunks::<2>();
        if components.len() != usize::from(*count) || components.is_empty() || !rest.is_empty() {
            return Err(segment.wrong("it has another length than its components need"));
        }
        if components.iter().any(|[_, table]| *table != 0) {
            return Err(segment.unsupported("a mapping table"));
        }
        if *transform != 0 {
            return Err(segment.unsupported("a point transform"));
        }
        let interleave = match (interleave, count) {
            // One component takes turns with none.
            (0..=2, 1) => Interleave::None,
            (1, _) => Interleave::Line,
            (2, _) => Interleave::Sample,
            (0, _) => return Err(segment.wrong("several components that do not take turns")),
            _ => return Err(segment.wrong("the interleave mode is not 0 to 2")),
        };
        Ok(Self { components: components.iter().map(|[id, _]| *id).collect(), near: *near, interleave })
    }
}
