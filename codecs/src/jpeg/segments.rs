//! The marker segments of a stream, one after another (ISO 10918-1 B.1).

use super::error::DecodeError;

/// The markers that are acted upon, by their second byte (table B.1).
pub(super) mod marker {
    pub(in super::super) const SOF0: u8 = 0xC0;
    pub(in super::super) const SOF1: u8 = 0xC1;
    pub(in super::super) const SOF2: u8 = 0xC2;
    pub(in super::super) const DHT: u8 = 0xC4;
    pub(in super::super) const DAC: u8 = 0xCC;
    pub(in super::super) const RST0: u8 = 0xD0;
    pub(in super::super) const RST7: u8 = 0xD7;
    pub(in super::super) const SOI: u8 = 0xD8;
    pub(in super::super) const EOI: u8 = 0xD9;
    pub(in super::super) const SOS: u8 = 0xDA;
    pub(in super::super) const DQT: u8 = 0xDB;
    pub(in super::super) const DNL: u8 = 0xDC;
    pub(in super::super) const DRI: u8 = 0xDD;
    pub(in super::super) const APP0: u8 = 0xE0;
    pub(in super::super) const APP14: u8 = 0xEE;
    pub(in super::super) const TEM: u8 = 0x01;
}

/// A marker and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// Where the marker lies in the stream.
    pub(super) offset: usize,
    /// The parameters, without their length; empty for EOI.
    pub(super) body: &'a [u8],
}

impl Segment<'_> {
    /// The error that says what is wrong with this segment.
    pub(super) const fn wrong(&self, why: &'static str) -> DecodeError {
        DecodeError::Segment { marker: self.marker, offset: self.offset, why }
    }

    /// The error that says what of this segment is not decoded here.
    pub(super) const fn unsupported(&self, what: &'static str) -> DecodeError {
        DecodeError::Unsupported { marker: self.marker, offset: self.offset, what }
    }
}

/// Walks through a stream.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Segments<'a> {
    /// Starts behind SOI.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let start = bytes.first_chunk::<2>().filter(|start| **start == [0xFF, marker::SOI]);
        start.map(|_| Self { bytes, position: 2 }).ok_or(DecodeError::NotJpeg)
    }

    /// The next segment; nothing at the end of the bytes.
    ///
    /// Whatever lies before the next marker is skipped: fill bytes (B.1.1.2), entropy-coded data that were padded, and
    /// a restart marker behind the last interval.
    pub(super) fn next(&mut self) -> Result<Option<Segment<'a>>, DecodeError> {
        let Some((marker, offset)) = self.next_marker() else { return Ok(None) };
        if matches!(marker, marker::EOI | marker::SOI) {
            return Ok(Some(Segment { marker, offset, body: &[] }));
        }
        let body = self.bytes.get(self.position..).unwrap_or_default();
        let ended = DecodeError::Ended { offset: self.bytes.len() };
        let (length, body) = body.split_first_chunk::<2>().ok_or(ended.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let empty = Segment { marker, offset, body: &[] };
        let inner = length.checked_sub(2).ok_or_else(|| empty.wrong("its length is below 2"))?;
        let body = body.get(..inner).ok_or(ended)?;
        self.position += length;
        Ok(Some(Segment { body, ..empty }))
    }

    /// The bytes from here on, and where they start: the entropy-coded data behind SOS.
    pub(super) fn rest(&self) -> (&'a [u8], usize) {
        (self.bytes.get(self.position..).unwrap_or_default(), self.position)
    }

    /// Goes on at an offset that a scan has reached.
    pub(super) const fn resume(&mut self, position: usize) {
        self.position = position;
    }

    /// Where the bytes end.
    pub(super) const fn end(&self) -> usize {
        self.bytes.len()
    }

    fn next_marker(&mut self) -> Option<(u8, usize)> {
        loop {
            let rest = self.bytes.get(self.position..)?;
            let skipped = rest.iter().position(|byte| *byte == 0xFF)?;
            let fill = rest.get(skipped..)?.iter().position(|byte| *byte != 0xFF)?;
            let marker = *rest.get(skipped + fill)?;
            let offset = self.position + skipped + fill - 1;
            self.position = offset + 2;
            if !matches!(marker, 0x00 | marker::TEM | marker::RST0..=marker::RST7) {
                return Some((marker, offset));
            }
        }
    }
}
