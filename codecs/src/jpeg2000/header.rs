//! The main header and the chain of tile-parts (ISO 15444-1 Annex A), as far as they decide what a decoder would allocate and
//! whether the stream is whole.

use super::Jpeg2000Error;
use crate::Samples;

/// What the main header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) samples: Samples,
    /// Bits of a sample, 2 to 16.
    pub(super) precision: u8,
    pub(super) signed: bool,
    /// Whether the first three components were transformed together (RCT or ICT).
    pub(super) transformed: bool,
    tiles: u16,
}

/// The codestream itself, which may lie in a JP2 file (Annex I).
pub(super) fn codestream(bytes: &[u8]) -> Result<&[u8], Jpeg2000Error> {
    const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    const JP2: [u8; 8] = [0, 0, 0, 12, b'j', b'P', b' ', b' '];
    let mut rest = bytes;
    if bytes.starts_with(&JP2) {
        // Boxes: length, type, and a longer length if the length is 1. No length means the rest of the file.
        loop {
            let length = rest.first_chunk().map(|length| u32::from_be_bytes(*length));
            let (kind, long) = (rest.get(4..8), rest.get(8..16).and_then(<[u8]>::first_chunk));
            let (header, length) = match length.ok_or(Jpeg2000Error::NotJpeg2000)? {
                0 => (8, rest.len() as u64),
                1 => (16, long.map_or(0, |length| u64::from_be_bytes(*length))),
                length => (8, u64::from(length)),
            };
            let whole = usize::try_from(length)
                .ok()
                .filter(|length| *length >= header)
                .and_then(|length| rest.get(..length));
            let whole = whole.ok_or(Jpeg2000Error::NotJpeg2000)?;
            if kind == Some(b"jp2c") {
                rest = whole.get(header..).unwrap_or_default();
                break;
            }
            rest = rest.get(whole.len()..).unwrap_or_default();
        }
    }
    if rest.starts_with(&START) { Ok(rest) } else { Err(Jpeg2000Error::NotJpeg2000) }
}

impl Header {
    /// Reads the main header of a codestream, then walks its tile-parts: each must be there to its end, and no tile may be
    /// missing.
    pub(super) fn read(stream: &[u8]) -> Result<Self, Jpeg2000Error> {
        let siz = Segment::at(stream, 2)?;
        let mut header = Self::from_siz(&siz)?;
        let mut offset = siz.end;
        let mut coding_style = false;
        loop {
            let segment = Segment::at(stream, offset)?;
            match segment.marker {
                COD => {
                    // Scod, progression order, layers (2), then the component transform.
                    header.transformed = segment.byte(4)? != 0;
                    coding_style = true;
                }
                CAP => return Err(segment.unsupported("high throughput (ISO 15444-15)")),
                SIZ => return Err(segment.wrong("a second SIZ")),
                SOT if !coding_style => return Err(segment.wrong("a tile before the coding style")),
                SOT => break,
                _ => {}
            }
            offset = segment.end;
        }
        if header.transformed && header.samples == Samples::One {
            return Err(siz.wrong("a transform of three components, and one component"));
        }
        header.walk_tile_parts(stream, offset)?;
        Ok(header)
    }

    fn from_siz(siz: &Segment<'_>) -> Result<Self, Jpeg2000Error> {
        if siz.marker != SIZ {
            return Err(siz.wrong("the first segment is not SIZ"));
        }
        let [x1, y1, x0, y0] = [siz.long(2)?, siz.long(6)?, siz.long(10)?, siz.long(14)?];
        let [tile_x, tile_y, tile_x0, tile_y0] = [siz.long(18)?, siz.long(22)?, siz.long(26)?, siz.long(30)?];
        let size = |end: u32, start: u32| {
            end.checked_sub(start).and_then(|size| u16::try_from(size).ok()).filter(|s| *s > 0)
        };
        let (Some(columns), Some(rows)) = (size(x1, x0), size(y1, y0)) else {
            return Err(siz.wrong("the image does not have 1 to 65535 rows and columns"));
        };
        if tile_x0 > x0 || tile_y0 > y0 || tile_x == 0 || tile_y == 0 {
            return Err(siz.wrong("tiles of no size, or none where the image starts"));
        }
        let across = u64::from(x1 - tile_x0).div_ceil(tile_x.into());
        let tiles = across * u64::from(y1 - tile_y0).div_ceil(tile_y.into());
        // Isot has 16 bits (A.4.2).
        let tiles = u16::try_from(tiles).map_err(|_| siz.wrong("more than 65535 tiles"))?;
        let samples = match siz.short(34)? {
            1 => Samples::One,
            3 => Samples::Three,
            _ => return Err(siz.unsupported("a number of components other than one or three")),
        };
        let components = siz.data.get(36..).unwrap_or_default().as_chunks::<3>().0;
        let Some([first, dx, dy]) = components.first().copied() else {
            return Err(siz.wrong("it ends before the components"));
        };
        if components.len() != if samples == Samples::One { 1 } else { 3 } {
            return Err(siz.wrong("it has another length than its components need"));
        }
        if components.iter().any(|component| *component != [first, dx, dy]) || (dx, dy) != (1, 1) {
            return Err(siz.unsupported("subsampled components, or components that differ"));
        }
        let precision = (first & 0x7F) + 1;
        if !(2..=16).contains(&precision) {
            return Err(siz.unsupported("a sample of other than 2 to 16 bits"));
        }
        Ok(Self { rows, columns, samples, precision, signed: first & 0x80 != 0, transformed: false, tiles })
    }

    /// Follows the lengths in SOT (A.4.2) to the end.
    fn walk_tile_parts(&self, stream: &[u8], first: usize) -> Result<(), Jpeg2000Error> {
        let mut seen = vec![false; usize::from(self.tiles)];
        let mut offset = first;
        loop {
            let part = Segment::at(stream, offset)?;
            if part.marker == EOC || part.marker != SOT {
                return Err(part.wrong("neither a tile-part nor the end"));
            }
            let (tile, length) = (part.short(0)?, part.long(2)? as usize);
            *seen.get_mut(usize::from(tile)).ok_or_else(|| part.wrong("a tile outside the image"))? = true;
            // No length: the tile-part goes on to the end of the stream.
            let end = if length == 0 { stream.len() } else { offset.saturating_add(length) };
            if end < part.end {
                return Err(part.wrong("a tile-part shorter than its header"));
            }
            if end > stream.len() {
                return Err(Jpeg2000Error::Ended { offset, length: stream.len() });
            }
            offset = end;
            // Padding may follow the end, and the end itself may be missing.
            let more = stream.get(offset..).unwrap_or_default().starts_with(&SOT.to_be_bytes());
            if !more {
                break;
            }
        }
        if seen.contains(&false) {
            Err(Jpeg2000Error::Ended { offset, length: stream.len() })
        } else {
            Ok(())
        }
    }
}

const SIZ: u16 = 0xFF51;
const CAP: u16 = 0xFF50;
const COD: u16 = 0xFF52;
const SOT: u16 = 0xFF90;
const EOC: u16 = 0xFFD9;

/// A marker segment: its parameters start after the length.
struct Segment<'a> {
    marker: u16,
    offset: usize,
    data: &'a [u8],
    end: usize,
}

impl<'a> Segment<'a> {
    fn at(stream: &'a [u8], offset: usize) -> Result<Self, Jpeg2000Error> {
        let ended = Jpeg2000Error::Ended { offset, length: stream.len() };
        let Some(&[m0, m1, l0, l1]) = stream.get(offset..).and_then(<[u8]>::first_chunk) else {
            return Err(ended);
        };
        let marker = u16::from_be_bytes([m0, m1]);
        if marker < 0xFF4F {
            return Err(Jpeg2000Error::Segment { offset, why: "there is no marker here" });
        }
        let end = offset + 2 + usize::from(u16::from_be_bytes([l0, l1])).max(2);
        let data = stream.get(offset + 4..end).ok_or(ended)?;
        Ok(Self { marker, offset, data, end })
    }

    fn byte(&self, at: usize) -> Result<u8, Jpeg2000Error> {
        self.data.get(at).copied().ok_or(self.wrong("it is too short"))
    }

    fn short(&self, at: usize) -> Result<u16, Jpeg2000Error> {
        Ok(u16::from_be_bytes([self.byte(at)?, self.byte(at + 1)?]))
    }

    fn long(&self, at: usize) -> Result<u32, Jpeg2000Error> {
        Ok(u32::from(self.short(at)?) << 16 | u32::from(self.short(at + 2)?))
    }

    fn wrong(&self, why: &'static str) -> Jpeg2000Error {
        Jpeg2000Error::Segment { offset: self.offset, why }
    }

    fn unsupported(&self, what: &'static str) -> Jpeg2000Error {
        Jpeg2000Error::Unsupported { offset: self.offset, what }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stream of one tile without any data.
    pub(in super::super) fn stream(columns: u32, rows: u32, components: u16, precision: u8) -> Vec<u8> {
        stream_with(columns, rows, components, precision, &[])
    }

    pub(in super::super) fn stream_with(
        columns: u32,
        rows: u32,
        components: u16,
        precision: u8,
        data: &[u8],
    ) -> Vec<u8> {
        let mut out = vec![0xFF, 0x4F, 0xFF, 0x51];
        out.extend((38 + 3 * components).to_be_bytes());
        out.extend([0, 0]);
        for value in [columns, rows, 0, 0, columns, rows, 0, 0] {
            out.extend(value.to_be_bytes());
        }
        out.extend(components.to_be_bytes());
        for _ in 0..components {
            out.extend([precision - 1, 1, 1]);
        }
        // One layer, one decomposition level, code-blocks of 64 x 64, the reversible transform.
        out.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, u8::from(components == 3), 1, 4, 4, 0, 1]);
        out.extend([0xFF, 0x5C, 0, 7, 0x40, 0x40, 0x48, 0x48, 0x50]);
        out.extend([0xFF, 0x90, 0, 10, 0, 0]);
        out.extend((14 + data.len() as u32).to_be_bytes());
        out.extend([0, 1, 0xFF, 0x93]);
        out.extend(data);
        out.extend([0xFF, 0xD9]);
        out
    }

    fn with_long(mut stream: Vec<u8>, at: usize, value: u32) -> Vec<u8> {
        stream[at..at + 4].copy_from_slice(&value.to_be_bytes());
        stream
    }

    #[test]
    fn the_header_says_what_will_be_decoded() {
        let header = Header::read(&stream(640, 480, 3, 8)).unwrap();
        assert_eq!(
            (header.columns, header.rows, header.samples, header.precision),
            (640, 480, Samples::Three, 8)
        );
        assert!(header.transformed && !header.signed);
        let grey = Header::read(&stream(512, 511, 1, 12)).unwrap();
        assert_eq!(
            (grey.columns, grey.rows, grey.samples, grey.precision, grey.transformed),
            (512, 511, Samples::One, 12, false)
        );
    }

    #[test]
    fn four_thousand_million_tiles_are_refused() {
        let tiny_tiles = with_long(with_long(stream(65_535, 65_535, 1, 8), 24, 1), 28, 1);
        let error = Header::read(&tiny_tiles).unwrap_err();
        assert_eq!(error.to_string(), "JPEG 2000 segment at 2: more than 65535 tiles");
        let no_tiles = with_long(stream(640, 480, 1, 8), 24, 0);
        assert!(Header::read(&no_tiles).unwrap_err().to_string().contains("tiles of no size"));
    }

    #[test]
    fn absurd_dimensions_and_components_are_refused() {
        for (stream, why) in [
            (stream(65_536, 4, 1, 8), "1 to 65535 rows"),
            (stream(0, 4, 1, 8), "1 to 65535 rows"),
            (with_long(stream(4, 4, 1, 8), 16, 5), "1 to 65535 rows"),
            (stream(4, 4, 16_384, 8), "number of components"),
            (stream(4, 4, 2, 8), "number of components"),
            (stream(4, 4, 1, 17), "2 to 16 bits"),
            (stream(4, 4, 1, 1), "2 to 16 bits"),
        ] {
            let error = Header::read(&stream).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_stream_that_was_cut_off_is_told_by_its_tile_parts() {
        let whole = stream_with(24, 24, 1, 8, &[0; 40]);
        assert!(Header::read(&whole).is_ok());
        // Without the end marker, nothing of the image is missing.
        for length in 0..whole.len() - 2 {
            assert!(Header::read(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(Header::read(&whole[..whole.len() - 2]).is_ok());
        let two_tiles = with_long(stream_with(24, 24, 1, 8, &[]), 24, 12);
        assert!(matches!(Header::read(&two_tiles), Err(Jpeg2000Error::Ended { .. })));
    }

    #[test]
    fn a_codestream_in_a_jp2_file_is_found() {
        let stream = stream(24, 24, 1, 8);
        let mut file = vec![0, 0, 0, 12, b'j', b'P', b' ', b' ', 13, 10, 0x87, 10];
        file.extend([0, 0, 0, 9, b'f', b't', b'y', b'p', 0]);
        file.extend([0, 0, 0, 0, b'j', b'p', b'2', b'c']);
        file.extend(&stream);
        assert_eq!(codestream(&file).unwrap(), stream);
        assert_eq!(codestream(&file[..12]), Err(Jpeg2000Error::NotJpeg2000));
        let endless = [&file[..12], &[0, 0, 0, 3, b'f', b'r', b'e', b'e']].concat();
        assert_eq!(codestream(&endless), Err(Jpeg2000Error::NotJpeg2000));
    }
}
