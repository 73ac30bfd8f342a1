#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Markers and segments (Annex B).

use super::error::DecodeError;
use super::huffman::{Code, LONGEST};
use super::predict::Selection;

const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
const SOF3: u8 = 0xC3;
const DHT: u8 = 0xC4;
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const DNL: u8 = 0xDC;
const APP0: u8 = 0xE0;
const APP14: u8 = 0xEE;

/// A frame header (B.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) precision: u8,
    pub(super) rows: u16,
    pub(super) columns: u16,
    /// One or three.
    pub(super) components: Vec<Component>,
}

/// A component of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Whether a scan had it.
    pub(super) seen: bool,
}

/// A scan header (B.2.3), resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanHeader {
    /// Where its marker is.
    pub(super) offset: usize,
    /// Which component, counted from 0, if it is not all of them.
    pub(super) only: Option<usize>,
    /// The code of each component in the scan.
    pub(super) codes: Vec<Code>,
    pub(super) selection: Selection,
    pub(super) point_transform: u8,
    /// Rows between restarts; 0 if there are none.
    pub(super) restart_rows: u16,
}

/// What segments say of the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ColourHints {
    pub(super) jfif: bool,
    /// The transform of an Adobe segment.
    pub(super) adobe: Option<u8>,
}

/// Reads segments, and keeps what they define.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<FrameHeader>,
    codes: [Option<Code>; 4],
    /// MCUs, which are pixels here, between restarts.
    restart_interval: u16,
    colours: ColourHints,
}

impl<'a> Parser<'a> {
    /// Reads up to the frame header.
    ///
    /// # Errors
    /// The bytes are no JPEG stream, or one of another process, or wrong.
    pub(super) fn new(bytes: &'a [u8]) -> Result<(Self, FrameHeader), DecodeError> {
        if !bytes.starts_with(&[0xFF, SOI]) {
            return Err(DecodeError::NotJpeg);
        }
        let codes = [const { None }; 4];
        let mut parser =
            Self { bytes, at: 2, frame: None, codes, restart_interval: 0, colours: ColourHints::default() };
        loop {
            let marker = parser.marker()?;
            if matches!(marker.code, SOS | EOI) {
                return Err(DecodeError::Unexpected { marker: marker.code, offset: marker.offset });
            }
            parser.segment(marker)?;
            if let Some(frame) = &parser.frame {
                let frame = frame.clone();
                return Ok((parser, frame));
            }
        }
    }

    /// Reads up to the next scan; nothing if the image ends before.
    ///
    /// # Errors
    /// A segment is wrong, or a scan that was announced is missing.
    pub(super) fn next_scan(&mut self) -> Result<Option<ScanHeader>, DecodeError> {
        loop {
            let marker = match self.marker() {
                // Some streams have no EOI. If all is there, it is not missed.
                Err(DecodeError::Truncated { .. }) if self.complete() => return Ok(None),
                other => other?,
            };
            match marker.code {
                EOI => return self.missing(marker.offset).map_or(Ok(None), Err),
                SOS => return self.scan(marker).map(Some),
                _ => self.segment(marker)?,
            }
        }
    }

    pub(super) const fn colours(&self) -> ColourHints {
        self.colours
    }

    /// The bytes that are not read yet, and where they begin.
    pub(super) fn rest(&self) -> (&'a [u8], usize) {
        (self.bytes.get(self.at..).unwrap_or_default(), self.at)
    }

    /// Passes over entropy-coded bytes.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.bytes.len());
    }

    /// Takes restart marker `number`, counted from 0 and up.
    ///
    /// # Errors
    /// Something else is there.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), DecodeError> {
        let marker = self.marker()?;
        let expected = 0xD0 + (number % 8) as u8;
        if marker.code == expected { Ok(()) } else { Err(marker.unexpected()) }
    }

    fn missing(&self, offset: usize) -> Option<DecodeError> {
        let components = self.frame.iter().flat_map(|frame| &frame.components);
        let (component, _) = (1..).zip(components).find(|(_, component)| !component.seen)?;
        Some(DecodeError::MissingScan { offset, component })
    }

    fn complete(&self) -> bool {
        self.missing(0).is_none()
    }

    /// Reads a marker, fill bytes before it included (B.1.1.2).
    fn marker(&mut self) -> Result<Marker, DecodeError> {
        let offset = self.at;
        let truncated = DecodeError::Truncated { offset: self.bytes.len(), within: "a marker" };
        let rest = self.bytes.get(offset..).unwrap_or_default();
        if rest.first().is_some_and(|first| *first != 0xFF) {
            return Err(DecodeError::NoMarker { offset });
        }
        let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
        let &code = rest.get(fill).ok_or(truncated)?;
        self.at = offset + fill + 1;
        Ok(Marker { code, offset: self.at - 2 })
    }

    /// Reads a segment that is no scan header.
    fn segment(&mut self, marker: Marker) -> Result<(), DecodeError> {
        match marker.code {
            SOF3 => {
                if self.frame.is_some() {
                    return Err(marker.unexpected());
                }
                self.frame = Some(frame_header(self.body(marker, "frame header")?)?);
            }
            0xC0..=0xC2 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(DecodeError::OtherProcess { marker: marker.code, offset: marker.offset });
            }
            DHT => {
                let body = self.body(marker, "Huffman table")?;
                self.tables(body)?;
            }
            DRI => {
                let mut body = self.body(marker, "restart interval")?;
                self.restart_interval = body.word()?;
            }
            DNL => {
                // A second statement of what the frame header has said.
                let mut body = self.body(marker, "number of lines")?;
                let rows = body.word()?;
                if self.frame.as_ref().is_some_and(|frame| frame.rows != rows) {
                    return Err(body.wrong("it contradicts the frame header"));
                }
            }
            APP0 => self.colours.jfif |= self.body(marker, "APP0")?.bytes.starts_with(b"JFIF\0"),
            APP14 => {
                let body = self.body(marker, "APP14")?;
                if body.bytes.starts_with(b"Adobe") {
                    self.colours.adobe = body.bytes.get(11).copied();
                }
            }
            // Arithmetic conditioning, quantization, hierarchy, other applications, extensions, comments.
            0xCC | 0xDB | 0xDE..=0xFE => drop(self.body(marker, "skipped")?),
            _ => return Err(marker.unexpected()),
        }
        Ok(())
    }

    /// The bytes of a segment after its length.
    fn body(&mut self, marker: Marker, segment: &'static str) -> Result<Body<'a>, DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let truncated = DecodeError::Truncated { offset: self.bytes.len(), within: segment };
        let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        let length = length.ok_or(truncated.clone())?;
        if length < 2 {
            let why = "its length is less than 2";
            return Err(DecodeError::Malformed { segment, offset: marker.offset, why });
        }
        let bytes = rest.get(2..length).ok_or(truncated)?;
        self.at += length;
        Ok(Body { bytes, segment, offset: marker.offset })
    }

    /// Huffman tables (B.2.4.2).
    fn tables(&mut self, mut body: Body<'_>) -> Result<(), DecodeError> {
        while !body.bytes.is_empty() {
            let class_and_id = body.byte()?;
            let counts: [u8; LONGEST] = body.array()?;
            let categories = body.take(counts.iter().map(|&count| usize::from(count)).sum())?;
            // A table of class 1 is for AC coefficients, which there are none of.
            if class_and_id >> 4 == 0 {
                let slot = self.codes.get_mut(usize::from(class_and_id));
                let code = Code::from_wire(counts, categories).map_err(|why| body.wrong(why))?;
                *slot.ok_or_else(|| body.wrong("its identifier is above 3"))? = Some(code);
            }
        }
        Ok(())
    }

    fn scan(&mut self, marker: Marker) -> Result<ScanHeader, DecodeError> {
        let mut body = self.body(marker, "scan header")?;
        let frame = self.frame.as_mut().ok_or_else(|| marker.unexpected())?;
        let count = body.byte()?;
        let all = usize::from(count) == frame.components.len();
        if !all && count != 1 {
            let what = "a scan of some components";
            return Err(DecodeError::Unsupported { what, offset: marker.offset });
        }
        let (mut codes, mut only) = (Vec::new(), None);
        for n in 0..usize::from(count) {
            let (id, table) = (body.byte()?, body.byte()? >> 4);
            let found = frame.components.iter_mut().enumerate().skip(if all { n } else { 0 });
            let (index, component) = found
                .into_iter()
                .find(|(_, component)| component.id == id && !component.seen)
                .filter(|(index, _)| !all || *index == n)
                .ok_or_else(|| {
                    body.wrong("a component is not the frame's, or comes again, or out of order")
                })?;
            component.seen = true;
            only = if all { None } else { Some(index) };
            let code = self.codes.get(usize::from(table)).cloned().flatten();
            codes.push(code.ok_or_else(|| body.wrong("it uses a Huffman table that was not defined"))?);
        }
        let selection = body.byte()?;
        let selection = Selection::new(selection).ok_or_else(|| body.wrong("the predictor is not 1 to 7"))?;
        let _end_of_spectrum = body.byte()?;
        let point_transform = body.byte()? & 15;
        if point_transform >= frame.precision {
            return Err(body.wrong("the point transform leaves no bits"));
        }
        let (interval, columns) = (self.restart_interval, frame.columns);
        // H.1.1: whole rows only.
        if interval % columns != 0 {
            return Err(body.wrong("the restart interval is not a number of rows"));
        }
        let restart_rows = interval / columns;
        Ok(ScanHeader { offset: marker.offset, only, codes, selection, point_transform, restart_rows })
    }
}

fn frame_header(mut body: Body<'_>) -> Result<FrameHeader, DecodeError> {
    let precision = body.byte()?;
    let (rows, columns) = (body.word()?, body.word()?);
    let count = body.byte()?;
    let unsupported = |what| DecodeError::Unsupported { what, offset: body.offset };
    if !matches!(precision, 2..=16) {
        return Err(body.wrong("the precision is not 2 to 16"));
    }
    if rows == 0 {
        return Err(unsupported("a frame whose number of rows comes after it"));
    }
    if columns == 0 {
        return Err(body.wrong("there are no columns"));
    }
    if !matches!(count, 1 | 3) {
        return Err(unsupported("a frame of neither one nor three components"));
    }
    let mut components = Vec::new();
    for _ in 0..count {
        let [id, sampling, _quantization] = body.array()?;
        // A single component has nothing that it could be subsampled against (A.2.2).
        if count > 1 && sampling != 0x11 {
            return Err(DecodeError::Unsupported {
                what: "a lossless frame with subsampling",
                offset: body.offset,
            });
        }
        components.push(Component { id, seen: false });
    }
    Ok(FrameHeader { precision, rows, columns, components })
}

/// Writes what comes before the entropy-coded bytes of a frame in one interleaved scan.
pub(super) fn write_headers(frame: &FrameHeader, code: &Code, out: &mut Vec<u8>) {
    let count = frame.components.len() as u8;
    out.extend([0xFF, SOI, 0xFF, SOF3, 0, 8 + 3 * count, frame.precision]);
    out.extend(frame.rows.to_be_bytes());
    out.extend(frame.columns.to_be_bytes());
    out.push(count);
    out.extend(frame.components.iter().flat_map(|component| [component.id, 0x11, 0]));
    out.extend([0xFF, DHT, 0, 19 + code.categories().len() as u8, 0]);
    out.extend(code.counts());
    out.extend(code.categories());
    out.extend([0xFF, SOS, 0, 6 + 2 * count, count]);
    out.extend(frame.components.iter().flat_map(|component| [component.id, 0]));
    // Selection Value 1, nothing, no point transform.
    out.extend([1, 0, 0]);
}

#[derive(Debug, Clone, Copy)]
struct Marker {
    code: u8,
    offset: usize,
}

impl Marker {
    const fn unexpected(self) -> DecodeError {
        DecodeError::Unexpected { marker: self.code, offset: self.offset }
    }
}

/// What is left of a segment.
#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    bytes: &'a [u8],
    segment: &'static str,
    offset: usize,
}

impl<'a> Body<'a> {
    const fn wrong(&self, why: &'static str) -> DecodeError {
        DecodeError::Malformed { segment: self.segment, offset: self.offset, why }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or_else(|| self.wrong("it is too short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = self.wrong("it is too short");
        self.take(N)?.first_chunk().copied().ok_or(short)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn word(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }
}
