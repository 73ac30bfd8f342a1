#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! RLE Lossless, PS3.5 Annex G.
//!
//! A frame is a header of 64 bytes and up to 15 segments. Each segment holds one byte of every sample of one component, the
//! most significant byte first (G.2), compressed with PackBits (G.3). Three 16-bit samples are therefore six segments:
//!
//! ```text
//! | n | offset 1 | ... | offset 15 |  R high  |  R low  |  G high  |  G low  |  B high  |  B low  |
//! ```

use crate::layout::{FrameLayout, Limits, Order};

/// Why a frame could not be decoded or encoded. Offsets are in bytes from the start of the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// The bytes end within the header of 64 bytes.
    #[error("the RLE header needs 64 bytes, there are {length}")]
    HeaderTooShort {
        /// Bytes there are.
        length: usize,
    },
    /// The header announces another number of segments than the layout asks for.
    #[error("the RLE header has {found} segments, the image needs {expected}")]
    SegmentCount {
        /// What the header says.
        found: u32,
        /// What the layout asks for.
        expected: u8,
    },
    /// A segment starts in the header, before its predecessor, or beyond the end.
    #[error("RLE segment {segment} starts at {offset}, outside {earliest} to {length}")]
    SegmentOffset {
        /// The segment, counted from 1.
        segment: u8,
        /// Where the header says that it starts.
        offset: u32,
        /// Where it may start at the earliest.
        earliest: u32,
        /// Bytes there are.
        length: usize,
    },
    /// A segment ends before its plane is complete.
    #[error("RLE segment {segment} ends at {offset} with {found} of {expected} bytes of its plane")]
    SegmentTooShort {
        /// The segment, counted from 1.
        segment: u8,
        /// Where the bytes ran out.
        offset: usize,
        /// Bytes of the plane that were decoded.
        found: u64,
        /// Bytes the plane has.
        expected: u64,
    },
    /// A run goes beyond the end of its plane.
    #[error("the run at {offset} in RLE segment {segment} goes beyond the {expected} bytes of its plane")]
    RunTooLong {
        /// The segment, counted from 1.
        segment: u8,
        /// Where the run starts.
        offset: usize,
        /// Bytes the plane has.
        expected: u64,
    },
    /// The decoded frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The pixels to encode do not have the length that the layout asks for.
    #[error("the frame to encode has {found} bytes, its layout needs {expected}")]
    WrongPixelLength {
        /// Bytes given.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The encoded frame would need offsets of more than 32 bits.
    #[error("the encoded frame is larger than 4 GiB")]
    EncodedTooLarge,
}

/// Decodes one frame into native pixels, ordered as `layout` says.
///
/// Bytes after a complete plane are ignored: segments are padded to an even length (G.3.1), and some encoders pad more.
///
/// # Errors
/// Anything wrong with the bytes, and a frame larger than `limits`, which is found before it is allocated.
pub fn decode_frame(bytes: &[u8], layout: FrameLayout, limits: Limits) -> Result<Vec<u8>, RleError> {
    let needed = layout.bytes();
    let too_large = RleError::FrameTooLarge { needed, limit: limits.frame_bytes };
    if needed > limits.frame_bytes {
        return Err(too_large);
    }
    let starts = segment_starts(bytes, layout)?;
    let mut pixels = vec![0; usize::try_from(needed).map_err(|_| too_large)?];
    let mut scratch = Vec::new();
    for plane in planes(layout) {
        let start = starts.get(usize::from(plane.segment) - 1).copied().unwrap_or(bytes.len());
        let end = starts.get(usize::from(plane.segment)).copied().unwrap_or(bytes.len());
        let packed =
            Packed { number: plane.segment, start, bytes: bytes.get(start..end).unwrap_or_default() };
        let rest = pixels.get_mut(plane.first..).unwrap_or_default();
        if plane.step == 1 {
            packed.unpack(rest.get_mut(..plane.count).unwrap_or_default())?;
        } else {
            scratch.resize(plane.count, 0);
            packed.unpack(&mut scratch)?;
            scatter(&scratch, rest, plane.step);
        }
    }
    Ok(pixels)
}

/// Encodes one native frame, ordered as `layout` says. The result has an even length.
///
/// # Errors
/// `pixels` has another length than `layout` asks for, or the result would not fit 32-bit offsets.
pub fn encode_frame(pixels: &[u8], layout: FrameLayout) -> Result<Vec<u8>, RleError> {
    let (found, expected) = (pixels.len() as u64, layout.bytes());
    if found != expected {
        return Err(RleError::WrongPixelLength { found, expected });
    }
    let mut header = [0_u32; HEADER_WORDS];
    let mut body = Vec::with_capacity(pixels.len() / 2);
    let mut row = Vec::with_capacity(usize::from(layout.columns));
    for (plane, word) in planes(layout).zip(header.iter_mut().skip(1)) {
        *word = u32::try_from(HEADER + body.len()).map_err(|_| RleError::EncodedTooLarge)?;
        let mut cells = pixels.iter().skip(plane.first).step_by(plane.step).take(plane.count).copied();
        for _ in 0..layout.rows {
            // Each row is encoded by itself (G.3.1).
            row.clear();
            row.extend(cells.by_ref().take(usize::from(layout.columns)));
            pack(&row, &mut body);
        }
        if body.len() % 2 == 1 {
            body.push(0);
        }
    }
    if let Some(count) = header.first_mut() {
        *count = u32::from(layout.byte_planes());
    }
    let mut out: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    out.append(&mut body);
    Ok(out)
}

const HEADER_WORDS: usize = 16;
const HEADER: usize = HEADER_WORDS * 4;

/// Which bytes of the native frame a segment carries.
struct Plane {
    /// Counted from 1, as in the standard.
    segment: u8,
    first: usize,
    step: usize,
    count: usize,
}

fn planes(layout: FrameLayout) -> impl Iterator<Item = Plane> {
    let width = layout.sample_bytes();
    let count = usize::from(layout.rows) * usize::from(layout.columns);
    (0..layout.byte_planes()).map(move |index| {
        let (sample, byte) = (usize::from(index / width), usize::from(width - 1 - index % width));
        let (sample_start, step) = match layout.order {
            Order::ByPixel => (sample * usize::from(width), usize::from(layout.byte_planes())),
            Order::ByPlane => (sample * count * usize::from(width), usize::from(width)),
        };
        Plane { segment: index + 1, first: sample_start + byte, step, count }
    })
}

/// Reads the header and checks that the segments lie one after another within the bytes.
fn segment_starts(bytes: &[u8], layout: FrameLayout) -> Result<Vec<usize>, RleError> {
    let length = bytes.len();
    let header = bytes.first_chunk::<HEADER>().ok_or(RleError::HeaderTooShort { length })?;
    let mut words = header.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    let (found, expected) = (words.next().unwrap_or(0), layout.byte_planes());
    if found != u32::from(expected) {
        return Err(RleError::SegmentCount { found, expected });
    }
    let mut earliest = HEADER as u32;
    let mut starts = Vec::with_capacity(usize::from(expected));
    for (segment, offset) in (1..=expected).zip(words) {
        if offset < earliest || offset as usize > length {
            return Err(RleError::SegmentOffset { segment, offset, earliest, length });
        }
        earliest = offset;
        starts.push(offset as usize);
    }
    Ok(starts)
}

/// A segment as it lies in the frame.
struct Packed<'a> {
    /// Counted from 1, as in the standard.
    number: u8,
    /// Where it lies; for errors only.
    start: usize,
    bytes: &'a [u8],
}

impl Packed<'_> {
    /// Decodes PackBits (G.3.2) until `plane` is full.
    fn unpack(&self, plane: &mut [u8]) -> Result<(), RleError> {
        let (mut read, mut filled) = (0, 0);
        while filled < plane.len() {
            let (offset, found, expected) = (self.start + read, filled as u64, plane.len() as u64);
            let short = || RleError::SegmentTooShort { segment: self.number, offset, found, expected };
            let (&control, values) =
                self.bytes.get(read..).and_then(<[u8]>::split_first).ok_or_else(short)?;
            if control == NOTHING {
                read += 1;
                continue;
            }
            let length = usize::from(control.cast_signed().unsigned_abs()) + 1;
            let taken = if control < NOTHING { length } else { 1 };
            if taken > values.len() {
                return Err(short());
            }
            let cells = plane.get_mut(filled..).unwrap_or_default();
            if length > cells.len() {
                return Err(RleError::RunTooLong { segment: self.number, offset, expected });
            }
            if control < NOTHING {
                copy(cells, values, length);
            } else {
                fill(cells, values.first().copied().unwrap_or_default(), length);
            }
            read += 1 + taken;
            filled += length;
        }
        Ok(())
    }
}

/// The control byte that stands for nothing (G.3.2). Below it are literals, above it repeats.
const NOTHING: u8 = 0x80;

/// Most literals and runs are short. A move of a fixed length is one instruction or two; what it moves too much lies within
/// the plane, and what comes next overwrites it.
const FEW: usize = 32;

#[inline]
fn copy(cells: &mut [u8], values: &[u8], length: usize) {
    if length <= FEW
        && let (Some(few), Some(values)) = (cells.first_chunk_mut::<FEW>(), values.first_chunk::<FEW>())
    {
        *few = *values;
    } else {
        cells.iter_mut().zip(values).take(length).for_each(|(cell, value)| *cell = *value);
    }
}

#[inline]
fn fill(cells: &mut [u8], value: u8, length: usize) {
    match cells.first_chunk_mut::<FEW>() {
        Some(few) if length <= FEW => *few = [value; FEW],
        _ => cells.iter_mut().take(length).for_each(|cell| *cell = value),
    }
}

/// Spreads a plane over every `step`th cell, starting with the first.
fn scatter(plane: &[u8], cells: &mut [u8], step: usize) {
    // The same loop, but a step that the compiler knows is faster.
    match step {
        2 => cells.iter_mut().step_by(2).zip(plane).for_each(|(cell, value)| *cell = *value),
        3 => cells.iter_mut().step_by(3).zip(plane).for_each(|(cell, value)| *cell = *value),
        _ => cells.iter_mut().step_by(step).zip(plane).for_each(|(cell, value)| *cell = *value),
    }
}

/// The longest run or literal of PackBits.
const LONGEST: usize = 128;

/// Encodes one row with PackBits: runs of two or more as a repeat, the rest as literals (G.3.1).
fn pack(row: &[u8], out: &mut Vec<u8>) {
    let mut rest = row;
    while !rest.is_empty() {
        let run = run_length(rest);
        let (taken, after) = if run >= 2 {
            out.push((1 - run as i16) as u8);
            out.extend(rest.first());
            rest.split_at(run)
        } else {
            let length = literal_length(rest);
            let (values, after) = rest.split_at(length);
            out.push((length - 1) as u8);
            out.extend_from_slice(values);
            (values, after)
        };
        debug_assert!(!taken.is_empty());
        rest = after;
    }
}

fn run_length(row: &[u8]) -> usize {
    row.iter().take(LONGEST).take_while(|value| Some(*value) == row.first()).count()
}

/// Values until a run of three starts: a run of two within a literal would only add a control byte.
fn literal_length(row: &[u8]) -> usize {
    let until_run = row.windows(3).position(|three| matches!(three, [a, b, c] if a == b && b == c));
    until_run.unwrap_or(row.len()).clamp(1, LONGEST.min(row.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Depth, Samples};
    use proptest::prelude::*;

    fn layout(rows: u16, columns: u16, samples: Samples, depth: Depth, order: Order) -> FrameLayout {
        FrameLayout { rows, columns, samples, depth, order }
    }

    fn grey(rows: u16, columns: u16) -> FrameLayout {
        layout(rows, columns, Samples::One, Depth::Eight, Order::ByPixel)
    }

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut words = vec![segments.len() as u32];
        let mut body = Vec::new();
        for segment in segments {
            words.push((HEADER + body.len()) as u32);
            body.extend_from_slice(segment);
        }
        words.resize(HEADER_WORDS, 0);
        words.iter().flat_map(|w| w.to_le_bytes()).chain(body).collect()
    }

    fn any_layout() -> impl Strategy<Value = FrameLayout> {
        let samples = prop_oneof![Just(Samples::One), Just(Samples::Three)];
        let depth = prop_oneof![Just(Depth::Eight), Just(Depth::Sixteen)];
        let order = prop_oneof![Just(Order::ByPixel), Just(Order::ByPlane)];
        (0_u16..4, 0_u16..270, samples, depth, order).prop_map(|(r, c, s, d, o)| layout(r, c, s, d, o))
    }

    /// Few different values, so that runs occur.
    fn any_frame() -> impl Strategy<Value = (FrameLayout, Vec<u8>)> {
        any_layout().prop_flat_map(|layout| {
            let values = prop_oneof![0_u8..2, any::<u8>()];
            (Just(layout), prop::collection::vec(values, layout.bytes() as usize))
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same_pixels((layout, pixels) in any_frame()) {
            let encoded = encode_frame(&pixels, layout).unwrap();
            prop_assert_eq!(encoded.len() % 2, 0);
            prop_assert_eq!(decode_frame(&encoded, layout, Limits::default()).unwrap(), pixels);
        }

        #[test]
        fn any_bytes_end_in_pixels_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), layout in any_layout()) {
            let planes = layout.byte_planes();
            let _ = decode_frame(&bytes, layout, Limits::default());
            let body = bytes.as_slice();
            let _ = decode_frame(&frame(&vec![body; usize::from(planes)]), layout, Limits::default());
        }
    }

    #[test]
    fn the_worked_cases_of_packbits_decode_as_the_standard_says() {
        // A literal of three, a run of four, a control byte that means nothing, a literal of one.
        let bytes = frame(&[&[2, 10, 11, 12, 0xFD, 7, 0x80, 0, 9, 0]]);
        let pixels = decode_frame(&bytes, grey(2, 4), Limits::default()).unwrap();
        assert_eq!(pixels, [10, 11, 12, 7, 7, 7, 7, 9]);
    }

    #[test]
    fn sixteen_bit_samples_are_stored_high_byte_first() {
        let two = layout(1, 2, Samples::One, Depth::Sixteen, Order::ByPixel);
        let bytes = frame(&[&[1, 0xAA, 0xBB], &[1, 0x11, 0x22]]);
        assert_eq!(decode_frame(&bytes, two, Limits::default()).unwrap(), [0x11, 0xAA, 0x22, 0xBB]);
    }

    #[test]
    fn a_run_never_crosses_a_row() {
        let encoded = encode_frame(&[5; 8], grey(2, 4)).unwrap();
        assert_eq!(encoded.get(HEADER..).unwrap(), [0xFD, 5, 0xFD, 5]);
    }

    #[test]
    fn a_frame_of_odd_length_is_padded_to_an_even_one() {
        let encoded = encode_frame(&[1, 2], grey(1, 2)).unwrap();
        assert_eq!(encoded.get(HEADER..).unwrap(), [1, 1, 2, 0]);
    }

    #[test]
    fn an_offset_outside_is_reported_with_its_segment() {
        let mut bytes = frame(&[&[0, 1]]);
        bytes[4..8].copy_from_slice(&4000_u32.to_le_bytes());
        let error = decode_frame(&bytes, grey(1, 1), Limits::default()).unwrap_err();
        assert_eq!(error, RleError::SegmentOffset { segment: 1, offset: 4000, earliest: 64, length: 66 });
        bytes[4..8].copy_from_slice(&12_u32.to_le_bytes());
        let error = decode_frame(&bytes, grey(1, 1), Limits::default()).unwrap_err();
        assert_eq!(error, RleError::SegmentOffset { segment: 1, offset: 12, earliest: 64, length: 66 });
    }

    #[test]
    fn a_truncated_segment_is_reported_with_the_place_and_what_was_there() {
        let error = decode_frame(&frame(&[&[0, 1, 5, 2, 3]]), grey(1, 8), Limits::default()).unwrap_err();
        assert_eq!(error, RleError::SegmentTooShort { segment: 1, offset: 66, found: 1, expected: 8 });
    }

    #[test]
    fn a_run_beyond_the_plane_is_an_error_and_not_written() {
        let error = decode_frame(&frame(&[&[0x81, 1]]), grey(1, 8), Limits::default()).unwrap_err();
        assert_eq!(error, RleError::RunTooLong { segment: 1, offset: 64, expected: 8 });
    }

    #[test]
    fn a_wrong_number_of_segments_is_an_error() {
        let error = decode_frame(&frame(&[&[0, 1], &[0, 1]]), grey(1, 1), Limits::default()).unwrap_err();
        assert_eq!(error, RleError::SegmentCount { found: 2, expected: 1 });
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_is_allocated() {
        let huge = layout(65_535, 65_535, Samples::Three, Depth::Sixteen, Order::ByPixel);
        let error = decode_frame(&[], huge, Limits::default()).unwrap_err();
        assert_eq!(error, RleError::FrameTooLarge { needed: 25_769_017_350, limit: 256 << 20 });
    }

    #[test]
    fn pixels_of_another_length_are_not_encoded() {
        let error = encode_frame(&[0; 3], grey(2, 2)).unwrap_err();
        assert_eq!(error, RleError::WrongPixelLength { found: 3, expected: 4 });
    }
}
