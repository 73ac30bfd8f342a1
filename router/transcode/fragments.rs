//! The fragments of encapsulated Pixel Data (PS3.5 A.4), and which of them belong to which frame.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;
use std::ops::Range;

use dicom_dictionary_std::tags;

use super::Source;
use super::coding::Coding;
use super::dataset::Element;
use super::values::{Refusal, Values};

/// One fragment's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Where its item begins, in bytes from the first fragment's item: what offset tables hold.
    pub(super) offset: u64,
    /// Where its value begins, in bytes of the data set.
    pub(super) start: u64,
    /// Length of the value in bytes.
    pub(super) length: u32,
}

/// Frames cannot be told apart, or are not there.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stored bytes cannot be read.
    #[error("the data set cannot be read: {0}")]
    Source(#[from] io::Error),
    /// There is no image here.
    #[error("it has no pixels that are decoded here")]
    NoImage,
    /// Something that is no fragment stands among the fragments.
    #[error("the fragments of its Pixel Data are broken at offset {at} of the data set")]
    Broken {
        /// Where, in bytes.
        at: u64,
    },
    /// There are too many fragments to be looked at.
    #[error("its Pixel Data has more than {MAX_FRAGMENTS} fragments")]
    TooManyFragments,
    /// There are fewer frames than attributes tell, or more.
    #[error("it should have {wanted} frames, but {found}")]
    Count {
        /// Number of Frames.
        wanted: u32,
        /// What there is instead.
        found: String,
    },
    /// A frame is asked for that it does not have.
    #[error("it has no frame {0}")]
    NoSuchFrame(u32),
    /// A frame is longer than anything that is decoded here.
    #[error("frame {frame} has {length} bytes")]
    TooLong {
        /// Which, from 0 on.
        frame: u32,
        /// Its length.
        length: u64,
    },
}

/// The fragments, and the value of the Basic Offset Table before them.
pub(super) struct Fragments {
    pub(super) table: Range<u64>,
    pub(super) all: Vec<Fragment>,
}

impl Fragments {
    /// Finds all fragments of an element.
    pub(super) fn read(source: &dyn Source, element: &Element) -> Result<Self, FrameError> {
        let end = element.end.min(source.len());
        let (table_start, table_length) = item(source, element.value, end)?.ok_or(broken(element.value))?;
        let table = table_start..table_start + u64::from(table_length);
        let (first, mut at) = (table.end, table.end);
        let mut all = Vec::new();
        while let Some((start, length)) = item(source, at, end)? {
            if all.len() == MAX_FRAGMENTS {
                return Err(FrameError::TooManyFragments);
            }
            all.push(Fragment { offset: at - first, start, length });
            at = start + u64::from(length);
        }
        Ok(Self { table, all })
    }

    /// Which fragments each frame is made of: by an offset table if it is right, else one each, else all of one frame,
    /// else from one that begins a stream to the next.
    pub(super) fn frames(
        &self,
        values: &Values<'_>,
        coding: Coding,
        wanted: u32,
    ) -> Result<Vec<Range<usize>>, FrameError> {
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        let fragments = self.all.len();
        if fragments < count {
            return Err(FrameError::Count { wanted, found: format!("has {fragments} fragments") });
        }
        let table = match self.basic_offsets(values.source, count)? {
            Some(offsets) => Some(offsets),
            None => extended_offsets(values, count)?,
        };
        if let Some(frames) = table.and_then(|offsets| self.split_at(&offsets)) {
            return Ok(frames);
        }
        if fragments == count {
            return Ok((0..count).map(|at| at..at + 1).collect());
        }
        self.split_by_streams(values.source, coding, wanted)
    }

    /// The Basic Offset Table, if it has an entry for each frame.
    fn basic_offsets(&self, source: &dyn Source, count: usize) -> Result<Option<Vec<u64>>, FrameError> {
        let length = self.table.end - self.table.start;
        if length == 0 || length != 4 * count as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; 4 * count];
        source.read_exact_at(&mut bytes, self.table.start)?;
        let (entries, _) = bytes.as_chunks::<4>();
        Ok(Some(entries.iter().map(|&entry| u64::from(u32::from_le_bytes(entry))).collect()))
    }

    /// The frames that begin at these offsets, if each is where a fragment begins, the first at the first.
    fn split_at(&self, offsets: &[u64]) -> Option<Vec<Range<usize>>> {
        let mut starts = Vec::with_capacity(offsets.len() + 1);
        for offset in offsets {
            let at = self.all.binary_search_by_key(offset, |fragment| fragment.offset).ok()?;
            if starts.last().is_some_and(|&last| at <= last) {
                return None;
            }
            starts.push(at);
        }
        if starts.first() != Some(&0) {
            return None;
        }
        Some(self.ranges(&starts))
    }

    /// The frames that begin with a fragment in which a compressed stream begins.
    fn split_by_streams(
        &self,
        source: &dyn Source,
        coding: Coding,
        wanted: u32,
    ) -> Result<Vec<Range<usize>>, FrameError> {
        let marks = stream_marks(coding);
        let mut starts = Vec::new();
        for (at, fragment) in self.all.iter().enumerate() {
            let mut head = [0; MARK];
            let length = MARK.min(usize::try_from(fragment.length).unwrap_or(MARK));
            source.read_exact_at(head.get_mut(..length).unwrap_or_default(), fragment.start)?;
            if marks.iter().any(|mark| head.starts_with(mark)) {
                starts.push(at);
            }
        }
        // RLE has no mark to go by; and one frame may be in as many fragments as it likes.
        if wanted == 1 && starts.len() <= 1 {
            return Ok(self.ranges(&[0]));
        }
        if starts.first() == Some(&0) && starts.len() == usize::try_from(wanted).unwrap_or(usize::MAX) {
            return Ok(self.ranges(&starts));
        }
        let found = format!("has {} fragments in which {} streams begin", self.all.len(), starts.len());
        Err(FrameError::Count { wanted, found })
    }

    fn ranges(&self, starts: &[usize]) -> Vec<Range<usize>> {
        let ends = starts.iter().copied().skip(1).chain(std::iter::once(self.all.len()));
        starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }
}

/// The Extended Offset Table (7FE0,0001), if it has an entry for each frame. Its lengths (7FE0,0002) tell nothing new: each
/// frame is one fragment.
fn extended_offsets(values: &Values<'_>, count: usize) -> Result<Option<Vec<u64>>, FrameError> {
    let bytes = match values.bytes(tags::EXTENDED_OFFSET_TABLE, count.saturating_mul(8)) {
        Ok(Some(bytes)) if bytes.len() == count.saturating_mul(8) => bytes,
        Ok(_) | Err(Refusal::Odd(_) | Refusal::Foreign(_)) => return Ok(None),
        Err(Refusal::Source(error)) => return Err(error.into()),
    };
    let (entries, _) = bytes.as_chunks::<8>();
    Ok(Some(entries.iter().map(|&entry| u64::from_le_bytes(entry)).collect()))
}

/// The value of the item that begins here, as where it begins and how long it is; none at the sequence delimiter.
fn item(source: &dyn Source, at: u64, end: u64) -> Result<Option<(u64, u32)>, FrameError> {
    let mut header = [0; 8];
    if at + 8 > end {
        return Err(broken(at));
    }
    source.read_exact_at(&mut header, at)?;
    let [a, b, c, d, length @ ..] = header;
    let length = u32::from_le_bytes(length);
    match [a, b, c, d] {
        [0xFE, 0xFF, 0x00, 0xE0] if at + 8 + u64::from(length) <= end => Ok(Some((at + 8, length))),
        [0xFE, 0xFF, 0xDD, 0xE0] => Ok(None),
        _ => Err(broken(at)),
    }
}

/// With what a stream of this coding begins.
fn stream_marks(coding: Coding) -> &'static [&'static [u8]] {
    match coding {
        Coding::JpegLossy | Coding::JpegLossless | Coding::JpegLs => &[&[0xFF, 0xD8, 0xFF]],
        Coding::Jpeg2000 => &[&[0xFF, 0x4F, 0xFF, 0x51], b"\0\0\0\x0CjP  "],
        Coding::JpegXl => &[&[0xFF, 0x0A], b"\0\0\0\x0CJXL "],
        Coding::Native | Coding::Rle | Coding::Other => &[],
    }
}

fn broken(at: u64) -> FrameError {
    FrameError::Broken { at }
}

/// Bytes of the longest mark.
const MARK: usize = 8;

/// As many fragments are looked at; where each is takes 24 bytes.
const MAX_FRAGMENTS: usize = 1 << 20;
