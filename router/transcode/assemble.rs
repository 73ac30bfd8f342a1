#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A copy's bytes around its frames: elements before them, Pixel Data's own headers, elements behind them.
//!
//! ```text
//!  elements before | Pixel Data header, offset table || item, frame 1 | ... | item, frame n | delimiter | elements behind
//!  └─────────── head ──────────────────────────────┘ └──────────────────────── body ─────────────────────────────────┘
//! ```
//!
//! The head says how long everything is, and is known last. So the body is made first, into the cache or into nothing.

use std::io::{self, Write};

use dicom_core::{Tag, VR};

use super::TranscodeError;
use super::dataset::{self, Outline};
use super::edits::Edits;
use super::source::Source;
use crate::dicom::Encoding;

/// What Pixel Data (7FE0,0010) of a copy is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PixelData {
    /// Each frame a fragment of this length, padding included (PS3.5 A.4).
    Fragments(Vec<u32>),
    /// Frame after frame.
    Native {
        /// Bytes without padding.
        length: u64,
        /// OB or OW.
        vr: VR,
    },
}

impl PixelData {
    /// No frames yet.
    pub(crate) fn fragments() -> Self {
        Self::Fragments(Vec::new())
    }

    /// No frames yet. In an implicit VR encoding the VR is not written.
    pub(crate) fn native(vr: VR) -> Self {
        Self::Native { length: 0, vr }
    }

    /// Adds a frame and writes it.
    ///
    /// # Errors
    /// [`TranscodeError::TooLarge`], or what `out` says, as [`TranscodeError::Cache`].
    pub(crate) fn frame(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), TranscodeError> {
        match self {
            Self::Fragments(lengths) => {
                let pad = bytes.len() % 2;
                let length = u32::try_from(bytes.len() + pad)
                    .map_err(|_| TranscodeError::TooLarge("a compressed frame has 4 GiB or more".into()))?;
                lengths.push(length);
                let written = out
                    .write_all(&item(length))
                    .and_then(|()| out.write_all(bytes))
                    .and_then(|()| out.write_all([0].get(..pad).unwrap_or_default()));
                written.map_err(cache)
            }
            Self::Native { length, .. } => {
                *length += bytes.len() as u64;
                if *length > LONGEST {
                    return Err(TranscodeError::TooLarge(
                        "native Pixel Data of 4 GiB or more cannot be encoded".into(),
                    ));
                }
                out.write_all(bytes).map_err(cache)
            }
        }
    }

    /// Writes what ends Pixel Data: a delimiter, or padding.
    ///
    /// # Errors
    /// What `out` says, as [`TranscodeError::Cache`].
    pub(crate) fn end(&self, out: &mut dyn Write) -> Result<(), TranscodeError> {
        let end: &[u8] = match self {
            Self::Fragments(_) => &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
            Self::Native { length, .. } if length % 2 == 1 => &[0],
            Self::Native { .. } => &[],
        };
        out.write_all(end).map_err(cache)
    }

    /// Bytes of the frames, padding of fragments included, without headers.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Fragments(lengths) => lengths.iter().map(|length| u64::from(*length)).sum(),
            Self::Native { length, .. } => *length,
        }
    }

    /// Whether the last frame added is as long as the one in its place in `whole`.
    pub(crate) fn agrees(&self, whole: &Self) -> bool {
        match (self, whole) {
            (Self::Fragments(some), Self::Fragments(all)) => {
                some.last() == some.len().checked_sub(1).and_then(|last| all.get(last))
            }
            (Self::Native { length: some, .. }, Self::Native { length: all, .. }) => some <= all,
            _ => false,
        }
    }

    /// Where each fragment's item begins, from the first item on.
    fn offsets(&self) -> Vec<u64> {
        let Self::Fragments(lengths) = self else { return Vec::new() };
        let place = |next: &mut u64, length: &u32| {
            let this = *next;
            *next += ITEM_HEADER + u64::from(*length);
            Some(this)
        };
        lengths.iter().scan(0, place).collect()
    }

    /// The offsets, if all fit into a Basic Offset Table.
    fn basic_offsets(&self) -> Option<Vec<u32>> {
        self.offsets().into_iter().map(|offset| u32::try_from(offset).ok()).collect()
    }

    /// Sets the Extended Offset Table where the basic one is too small, and takes away any that the source had
    /// (PS3.3 C.7.6.3.1.8). Lengths are those of the items, as they are written.
    pub(crate) fn edit_offset_table(&self, edits: &mut Edits) {
        edits.remove(EXTENDED_OFFSETS);
        edits.remove(EXTENDED_LENGTHS);
        if let (Self::Fragments(lengths), None) = (self, self.basic_offsets()) {
            let offsets = self.offsets().into_iter().flat_map(u64::to_le_bytes).collect();
            let lengths = lengths.iter().flat_map(|length| u64::from(*length).to_le_bytes()).collect();
            edits.set(EXTENDED_OFFSETS, VR::OV, offsets);
            edits.set(EXTENDED_LENGTHS, VR::OV, lengths);
        }
    }

    /// The header of Pixel Data, and its Basic Offset Table.
    fn header(&self, to: Encoding) -> Vec<u8> {
        let mut bytes = vec![0xE0, 0x7F, 0x10, 0x00];
        match self {
            Self::Fragments(_) => {
                bytes.extend(*b"OB\0\0\xFF\xFF\xFF\xFF");
                let offsets = self.basic_offsets().unwrap_or_default();
                bytes.extend(item((offsets.len() * 4) as u32));
                bytes.extend(offsets.into_iter().flat_map(u32::to_le_bytes));
            }
            Self::Native { length, vr } => {
                if to != Encoding::ImplicitLe {
                    bytes.extend(vr.to_bytes());
                    bytes.extend([0, 0]);
                }
                // No more than LONGEST, which is even.
                bytes.extend(((length + length % 2) as u32).to_le_bytes());
            }
        }
        bytes
    }
}

/// A data set whose Pixel Data are replaced.
pub(crate) struct Frame<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) outline: &'a Outline,
    pub(crate) edits: &'a Edits,
    pub(crate) to: Encoding,
}

impl Frame<'_> {
    /// Writes all that stands before the first frame.
    ///
    /// # Errors
    /// The source cannot be read, or what `out` says.
    pub(crate) fn head(&self, pixels: &PixelData, out: &mut dyn Write) -> Result<(), TranscodeError> {
        dataset::write_head(self.source, self.outline, self.edits, self.to, out)?;
        out.write_all(&pixels.header(self.to)).map_err(cache)
    }

    /// Writes all that stands behind Pixel Data.
    ///
    /// # Errors
    /// The source cannot be read, or what `out` says.
    pub(crate) fn tail(&self, out: &mut dyn Write) -> Result<(), TranscodeError> {
        Ok(dataset::write_tail(self.source, self.outline, self.edits, self.to, out)?)
    }
}

/// Extended Offset Table.
const EXTENDED_OFFSETS: Tag = Tag(0x7FE0, 0x0001);
/// Extended Offset Table Lengths.
const EXTENDED_LENGTHS: Tag = Tag(0x7FE0, 0x0002);
/// The longest value of given length (PS3.5 7.1.1): FFFFFFFFH means undefined, and lengths are even.
const LONGEST: u64 = 0xFFFF_FFFE;
/// Bytes before each fragment.
const ITEM_HEADER: u64 = 8;

fn item(length: u32) -> [u8; ITEM_HEADER as usize] {
    let [a, b, c, d] = length.to_le_bytes();
    [0xFE, 0xFF, 0x00, 0xE0, a, b, c, d]
}

/// An error of whatever is written into.
pub(crate) fn cache(error: io::Error) -> TranscodeError {
    TranscodeError::Cache(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::Change;

    #[test]
    fn an_offset_table_is_filled_until_it_would_need_more_than_32_bits() {
        let small = PixelData::Fragments(vec![10, 20, 30]);
        assert_eq!(small.basic_offsets(), Some(vec![0, 18, 46]));
        let mut edits = Edits::default();
        small.edit_offset_table(&mut edits);
        assert_eq!(edits.get(EXTENDED_OFFSETS), Some(&Change::Remove));
        assert_eq!(small.header(Encoding::Encapsulated)[12..20], [0xFE, 0xFF, 0x00, 0xE0, 12, 0, 0, 0]);
    }

    #[test]
    fn beyond_4_gib_the_extended_offset_table_has_it_and_the_basic_one_is_empty() {
        let large = PixelData::Fragments(vec![0x6000_0000; 4]);
        assert_eq!(large.basic_offsets(), None);
        let mut edits = Edits::default();
        large.edit_offset_table(&mut edits);
        let Some(Change::Set { vr: VR::OV, value }) = edits.get(EXTENDED_OFFSETS) else { panic!("no table") };
        assert_eq!(value[24..], (3 * 0x6000_0008_u64).to_le_bytes());
        let Some(Change::Set { value, .. }) = edits.get(EXTENDED_LENGTHS) else { panic!("no lengths") };
        assert_eq!(value[..8], 0x6000_0000_u64.to_le_bytes());
        let header = large.header(Encoding::Encapsulated);
        assert_eq!(header[12..], [0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    }

    #[test]
    fn native_pixels_of_4_gib_are_refused() {
        let mut pixels = PixelData::Native { length: LONGEST - 1, vr: VR::OW };
        assert!(pixels.frame(&[0], &mut Vec::new()).is_ok());
        assert!(matches!(pixels.frame(&[0], &mut Vec::new()), Err(TranscodeError::TooLarge(_))));
    }
}
