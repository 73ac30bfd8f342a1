//! Where each frame of an image is.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::ops::Range;

use dicom_core::VR;

use super::Source;
use super::coding::Coding;
use super::facts::native_frame_bytes;
use super::fragments::{Fragment, Fragments};
use super::plan::LIMITS;
use super::subject::{Image, Subject};
use super::values::Values;
use crate::dicom::Encoding;

pub use super::fragments::FrameError;

/// Where each frame of an image is, native or compressed.
#[derive(Debug, Clone)]
pub struct FrameMap {
    frames: u32,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Native { start: u64, frame: u64, words: Words },
    Encapsulated { fragments: Vec<Fragment>, frames: Vec<Range<usize>> },
}

/// The order of bytes in the words of native pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// The low byte first, or single bytes.
    Little,
    /// The high byte first: the big endian syntax, unless the value is a string of bytes (OB).
    Big,
}

impl FrameMap {
    /// Finds the frames of an image: native ones by arithmetic, compressed ones by their offset table, or without it.
    ///
    /// # Errors
    /// [`FrameError`]: they cannot be told apart, or are not as many as Number of Frames says.
    pub fn read(source: &dyn Source, subject: &Subject) -> Result<Self, FrameError> {
        let image = subject.image().ok_or(FrameError::NoImage)?;
        let element = subject.outline.pixel_data().ok_or(FrameError::NoImage)?;
        let coding = Coding::of(&subject.syntax);
        let frames = image.frames;
        if coding == Coding::Native {
            let is_big = subject.outline.encoding == Encoding::ExplicitBe && element.vr != VR::OB;
            let words = if is_big { Words::Big } else { Words::Little };
            let frame = native_frame_bytes(image);
            return Ok(Self { frames, place: Place::Native { start: element.value, frame, words } });
        }
        let fragments = Fragments::read(source, element)?;
        let values = Values { source, outline: &subject.outline };
        let ranges = fragments.frames(&values, coding, frames)?;
        Ok(Self { frames, place: Place::Encapsulated { fragments: fragments.all, frames: ranges } })
    }

    /// How many frames there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "an image has a frame")]
    pub fn len(&self) -> u32 {
        self.frames
    }

    /// Replaces `buffer` with frame `number`, counted from 0: its native bytes as they are stored, but little endian; or
    /// its compressed stream, with the padding of its fragments.
    ///
    /// # Errors
    /// [`FrameError::NoSuchFrame`], [`FrameError::TooLong`], or what the disk says.
    pub fn get(&self, number: u32, source: &dyn Source, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
        buffer.clear();
        if number >= self.frames {
            return Err(FrameError::NoSuchFrame(number));
        }
        match &self.place {
            Place::Native { start, frame, words } => {
                let from = u64::from(number) * frame;
                match words {
                    Words::Little => append(source, *start + from, *frame, number, buffer),
                    Words::Big => big_endian(source, *start, from..from + frame, number, buffer),
                }
            }
            Place::Encapsulated { fragments, frames } => {
                let range = usize::try_from(number).ok().and_then(|number| frames.get(number)).cloned();
                let range = range.ok_or(FrameError::NoSuchFrame(number))?;
                for fragment in fragments.get(range).unwrap_or_default() {
                    append(source, fragment.start, u64::from(fragment.length), number, buffer)?;
                }
                Ok(())
            }
        }
    }
}

impl Image {
    /// Bytes of one frame in native Pixel Data, as it is stored.
    pub fn native_frame_bytes(&self) -> u64 {
        native_frame_bytes(self)
    }
}

/// Appends bytes of the source, as long as the frame stays within bounds.
fn append(
    source: &dyn Source,
    at: u64,
    length: u64,
    frame: u32,
    buffer: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let held = buffer.len();
    let total = held as u64 + length;
    let size = usize::try_from(total).ok().filter(|_| total <= LIMITS.frame_bytes + MARGIN);
    buffer.resize(size.ok_or(FrameError::TooLong { frame, length: total })?, 0);
    source.read_exact_at(buffer.get_mut(held..).unwrap_or_default(), at)?;
    Ok(())
}

/// Reads a range of big endian words that may begin and end inside one: single bytes are in words too (PS3.5 8.1.2).
fn big_endian(
    source: &dyn Source,
    start: u64,
    range: Range<u64>,
    frame: u32,
    buffer: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let (from, to) = (range.start & !1, range.end.next_multiple_of(2));
    append(source, start + from, to - from, frame, buffer)?;
    buffer.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse());
    if range.start > from {
        buffer.remove(0);
    }
    buffer.truncate(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
    Ok(())
}

/// A compressed frame of noise is a little longer than a native one.
const MARGIN: u64 = 16 << 20;
