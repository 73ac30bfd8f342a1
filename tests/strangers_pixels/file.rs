//! A DICOM file in memory, to look up values in, and its pixels in one order whatever the order they are stored in.

use crate::support::instance::{DataSet, Instance};
use chrysalis::dicom::{TransferSyntax, Uid};
use chrysalis::transcode::Outline;
use dicom_core::Tag;
use std::ops::Range;
use std::path::Path;

pub const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
pub const SOP_INSTANCE: Tag = Tag(0x0008, 0x0018);
pub const IMAGE_TYPE: Tag = Tag(0x0008, 0x0008);
pub const SAMPLES: Tag = Tag(0x0028, 0x0002);
pub const PHOTOMETRIC: Tag = Tag(0x0028, 0x0004);
pub const PLANAR: Tag = Tag(0x0028, 0x0006);
pub const FRAMES: Tag = Tag(0x0028, 0x0008);
pub const ROWS: Tag = Tag(0x0028, 0x0010);
pub const COLUMNS: Tag = Tag(0x0028, 0x0011);
pub const COLOUR_PRESENT: Tag = Tag(0x0028, 0x0014);
pub const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
pub const BITS_STORED: Tag = Tag(0x0028, 0x0101);
pub const HIGH_BIT: Tag = Tag(0x0028, 0x0102);
pub const SIGNED: Tag = Tag(0x0028, 0x0103);
pub const LOSSY: Tag = Tag(0x0028, 0x2110);
pub const LOSSY_RATIO: Tag = Tag(0x0028, 0x2112);
pub const LOSSY_METHOD: Tag = Tag(0x0028, 0x2114);

/// A Part 10 file.
pub struct Dicom {
    pub syntax: String,
    /// Of the file meta information.
    pub sop_instance: String,
    bytes: Vec<u8>,
    outline: Outline,
}

impl Dicom {
    #[track_caller]
    pub fn open(path: &Path) -> Self {
        Self::try_open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// # Errors
    /// Why its data set cannot be read.
    pub fn try_open(path: &Path) -> Result<Self, String> {
        let instance = Instance::from_part10(path).map_err(|error| error.to_string())?;
        let DataSet::Bytes(bytes) = &instance.data_set else { unreachable!("a file is in memory") };
        let bytes = bytes.to_vec();
        let encoding = TransferSyntax(Uid::new(&instance.transfer_syntax)).encoding();
        let outline = Outline::read(&bytes, encoding).map_err(|error| error.to_string())?;
        Ok(Self { syntax: instance.transfer_syntax, sop_instance: instance.sop_instance, bytes, outline })
    }

    /// Whether a file's data set can be read and says what it is an instance of, so that it could be sent.
    pub fn can_be_sent(path: &Path) -> bool {
        let named = |file: Self| {
            [SOP_CLASS, SOP_INSTANCE].iter().all(|tag| file.text(*tag).is_some_and(|uid| !uid.is_empty()))
        };
        Self::try_open(path).is_ok_and(named)
    }

    /// A value as text without padding; none where there is no such element.
    pub fn text(&self, tag: Tag) -> Option<String> {
        text_of(&self.outline, &self.bytes, tag)
    }

    /// A value as it is stored.
    pub fn value(&self, tag: Tag) -> Option<Vec<u8>> {
        self.outline.value(&self.bytes, tag, 1 << 20).unwrap()
    }

    /// A value of US; none where there is no such element.
    pub fn number(&self, tag: Tag) -> Option<u16> {
        let value = self.value(tag)?;
        Some(u16::from_le_bytes(value[..2].try_into().unwrap()))
    }

    pub fn frames(&self) -> usize {
        self.text(FRAMES).and_then(|frames| frames.trim().parse().ok()).unwrap_or(1)
    }

    pub fn has(&self, tag: Tag) -> bool {
        self.outline.get(tag).is_some()
    }

    /// Of every item of a sequence, the text at each of these tags; an empty list where there is no sequence. A tag may
    /// lead through another sequence, of which the first item is meant.
    pub fn items(&self, sequence: Tag, paths: &[&[Tag]]) -> Vec<Vec<Option<String>>> {
        let Ok(items) = self.outline.items(&self.bytes, sequence) else { return Vec::new() };
        let look = |item: &Outline, path: &[Tag]| {
            let (last, way) = path.split_last().unwrap();
            let mut at = item.clone();
            for tag in way {
                at = at.items(&self.bytes, *tag).ok()?.into_iter().next()?;
            }
            text_of(&at, &self.bytes, *last)
        };
        items.iter().map(|item| paths.iter().map(|path| look(item, path)).collect()).collect()
    }

    /// The bytes of native Pixel Data, padding included; none without Pixel Data or when it is in fragments.
    pub fn native(&self) -> Option<&[u8]> {
        let element = self.outline.pixel_data().filter(|element| !element.undefined)?;
        Some(&self.bytes[element.value as usize..element.end as usize])
    }

    pub fn has_pixels(&self) -> bool {
        self.outline.pixel_data().is_some()
    }

    /// What native pixels are, with all samples of a pixel side by side, and without padding.
    #[track_caller]
    pub fn pixels(&self) -> Pixels {
        let number = |tag| self.number(tag).map_or(0, usize::from);
        let samples = number(SAMPLES).max(1);
        let depth = number(BITS_ALLOCATED) / 8;
        let frame = number(ROWS) * number(COLUMNS) * samples * depth;
        let stored = self.native().expect("native pixels");
        let whole;
        let stored = match self.text(PHOTOMETRIC).as_deref() {
            Some("YBR_FULL_422") => {
                whole = both_chroma(stored);
                &whole
            }
            _ => stored,
        };
        assert!(frame > 0 && stored.len() >= frame * self.frames(), "pixels are missing: {}", stored.len());
        let stored = &stored[..frame * self.frames()];
        let bytes = if samples == 3 && number(PLANAR) == 1 {
            stored.chunks_exact(frame).flat_map(|frame| by_pixel(frame, depth)).collect()
        } else {
            stored.to_vec()
        };
        Pixels { samples, depth, frame, bytes }
    }

    /// Encapsulated Pixel Data as PS3.5 A.4 has it; what is wrong with it if it is not so.
    pub fn fragments(&self) -> Result<Fragments, String> {
        let element = self.outline.pixel_data().filter(|element| element.undefined);
        let mut at = element.ok_or("no encapsulated Pixel Data")?.value as usize;
        let word = |at: usize| -> Result<u32, String> {
            let bytes = self.bytes.get(at..at + 4).ok_or("it ends early")?;
            Ok(u32::from_le_bytes(bytes.try_into().unwrap()))
        };
        let mut items = Vec::new();
        loop {
            let (tag, length) = (word(at)?, word(at + 4)? as usize);
            match tag {
                0xE000_FFFE if length % 2 == 0 => items.push(at + 8..at + 8 + length),
                0xE0DD_FFFE if length == 0 => break,
                _ => return Err(format!("tag {tag:08X} with length {length} among the fragments")),
            }
            at += 8 + length;
        }
        if items.is_empty() {
            return Err("there is no Basic Offset Table".into());
        }
        let table = items.remove(0);
        let base = table.end;
        let table = self.bytes[table]
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()) as usize);
        Ok(Fragments {
            table: table.collect(),
            starts: items.iter().map(|item| item.start - 8 - base).collect(),
            items,
        })
    }

    /// The bytes of a fragment.
    pub fn fragment(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

fn text_of(outline: &Outline, bytes: &Vec<u8>, tag: Tag) -> Option<String> {
    let value = outline.value(bytes, tag, 1 << 16).unwrap()?;
    Some(String::from_utf8_lossy(&value).trim_end_matches(['\0', ' ']).to_owned())
}

/// The items of encapsulated Pixel Data.
pub struct Fragments {
    /// The Basic Offset Table.
    pub table: Vec<usize>,
    /// Where the items begin, counted as the table counts.
    pub starts: Vec<usize>,
    pub items: Vec<Range<usize>>,
}

/// Decoded pixels of all frames.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    pub samples: usize,
    /// Bytes of a sample.
    pub depth: usize,
    /// Bytes of a frame.
    pub frame: usize,
    pub bytes: Vec<u8>,
}

impl Pixels {
    /// The same, with zeros above so many bits of a sample.
    pub fn within(&self, bits: u16) -> Self {
        let mut out = self.clone();
        if self.depth == 2 && bits < 16 {
            let kept = (0xFF_u8).unbounded_shr(u32::from(16 - bits));
            out.bytes.iter_mut().skip(1).step_by(2).for_each(|high| *high &= kept);
        }
        out
    }

    /// Says how these differ from others, if they do.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (self.samples, self.depth, self.frame) != (other.samples, other.depth, other.frame) {
            let kind = |pixels: &Self| {
                format!("{} x {} bytes, {} a frame", pixels.samples, pixels.depth, pixels.frame)
            };
            return Some(format!("{} against {}", kind(self), kind(other)));
        }
        if self.bytes.len() != other.bytes.len() {
            return Some(format!("{} bytes against {}", self.bytes.len(), other.bytes.len()));
        }
        let differ = |(a, b): &(&u8, &u8)| a != b;
        let count = self.bytes.iter().zip(&other.bytes).filter(differ).count();
        let first = self.bytes.iter().zip(&other.bytes).position(|pair| differ(&pair))?;
        let (frame, at) = (first / self.frame, first % self.frame);
        let (a, b) = (self.bytes[first], other.bytes[first]);
        Some(format!("{count} bytes differ, the first is byte {at} of frame {frame}: {a} against {b}"))
    }
}

/// Native YBR_FULL_422, two values of luma and one each of chroma for two pixels, with the chroma for both (PS3.3 C.7.6.3.1.2).
fn both_chroma(stored: &[u8]) -> Vec<u8> {
    let pixels = |quad: &[u8]| [[quad[0], quad[2], quad[3]], [quad[1], quad[2], quad[3]]];
    stored.chunks_exact(4).flat_map(pixels).flatten().collect()
}

/// A frame of three planes with the samples of a pixel side by side.
fn by_pixel(frame: &[u8], depth: usize) -> Vec<u8> {
    let plane = frame.len() / 3;
    let sample = |pixel: usize, sample: usize| {
        let at = sample * plane + pixel * depth;
        &frame[at..at + depth]
    };
    (0..plane / depth).flat_map(|pixel| (0..3).flat_map(move |n| sample(pixel, n).iter().copied())).collect()
}
