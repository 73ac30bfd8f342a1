#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! JPEG 2000 (ISO 15444-1), decoded by `hayro-jpeg2000`.
//!
//! DICOM frames are bare codestreams (PS3.5 8.2.4); those in a JP2 file, which some writers send, are found within it. The
//! main header and the chain of tile-parts are read and checked here, before the decoder sees or allocates anything: it
//! would accept streams that were cut off and fill the rest with grey.
//!
//! A component transform (RCT, ICT) is part of the codec and is undone, so streams of images that are called YBR_RCT or
//! YBR_ICT come out as RGB, marked so. Three components without a transform are whatever they were and stay unmarked.

mod header;

use crate::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples};
use hayro_jpeg2000::{ComponentData, DecodeSettings, DecoderContext, Image};
use header::Header;

/// Why a stream could not be decoded. Offsets are in bytes from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Jpeg2000Error {
    /// Neither a codestream nor a JP2 file that holds one.
    #[error("the bytes are not a JPEG 2000 codestream (FF4F FF51H)")]
    NotJpeg2000,
    /// The stream ends before it is complete.
    #[error("the JPEG 2000 stream ends at {length}, within what starts at {offset}")]
    Ended {
        /// Where the incomplete part starts.
        offset: usize,
        /// Bytes there are.
        length: usize,
    },
    /// A marker segment or a tile-part contradicts the standard, or an earlier one.
    #[error("JPEG 2000 segment at {offset}: {why}")]
    Segment {
        /// Where its marker lies.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A sound stream of a kind that is not decoded here.
    #[error("JPEG 2000 segment at {offset}: {what} is not supported")]
    Unsupported {
        /// Where its marker lies.
        offset: usize,
        /// What is not supported.
        what: &'static str,
    },
    /// The decoded frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// The decoder refused the stream.
    #[error("the JPEG 2000 decoder says: {0}")]
    Decoder(String),
}

/// Decodes one codestream of 2 to 16 bits with one or three components that are not subsampled.
///
/// Signed samples come as two's complement, extended to the whole sample. Lossless streams are exact.
///
/// # Errors
/// Anything wrong with the bytes, a kind of stream that is not decoded here, and a frame larger than `limits`, which is
/// found before anything is allocated. The decoder's own memory (about eight bytes per sample) is not counted.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, Jpeg2000Error> {
    let stream = header::codestream(bytes)?;
    let header = Header::read(stream)?;
    let layout = header.layout();
    if layout.bytes() > limits.frame_bytes {
        return Err(Jpeg2000Error::FrameTooLarge { needed: layout.bytes(), limit: limits.frame_bytes });
    }
    let decoder = |error: hayro_jpeg2000::DecodeError| Jpeg2000Error::Decoder(error.to_string());
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(decoder)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(decoder)?;
    let mut components = decoded.components().iter();
    let planes = match (layout.samples, components.next(), components.next(), components.next()) {
        (Samples::One, Some(one), None, None) => vec![one],
        (Samples::Three, Some(one), Some(two), Some(three)) => vec![one, two, three],
        _ => return Err(Jpeg2000Error::Decoder("it returned another number of components".into())),
    };
    let pixels =
        u64::try_from(planes.iter().map(|plane| plane.samples().len()).min().unwrap_or(0)).unwrap_or(0);
    if pixels != layout.pixels() {
        return Err(Jpeg2000Error::Decoder(format!("it returned {pixels} of {} pixels", layout.pixels())));
    }
    let marking = match (layout.samples, header.transformed) {
        (Samples::One, _) => None,
        (Samples::Three, true) => Some(Marking::Rgb),
        (Samples::Three, false) => Some(Marking::Unmarked),
    };
    Ok(Frame { layout, precision: header.precision, marking, pixels: interleaved(&planes, &header) })
}

impl Header {
    fn layout(&self) -> FrameLayout {
        FrameLayout {
            rows: self.rows,
            columns: self.columns,
            samples: self.samples,
            depth: if self.precision > 8 { Depth::Sixteen } else { Depth::Eight },
            order: Order::ByPixel,
        }
    }
}

/// Rounds the decoder's floating point samples, which it leaves unclamped and, if signed, shifted.
fn interleaved(planes: &[&ComponentData], header: &Header) -> Vec<u8> {
    let half = f32::from(1_u16 << (header.precision - 1));
    let (shift, least, most) = match header.signed {
        true => (half, -half, half - 1.0),
        false => (0.0, 0.0, 2.0 * half - 1.0),
    };
    let sample = |value: f32| (value - shift).round().clamp(least, most) as i32;
    let width = if header.precision > 8 { 2 } else { 1 };
    let step = planes.len() * width;
    let count = planes.first().map_or(0, |plane| plane.samples().len());
    let mut pixels = vec![0; count * step];
    for (index, plane) in planes.iter().enumerate() {
        let cells = pixels.chunks_exact_mut(step).filter_map(|pixel| pixel.get_mut(index * width..));
        for (cell, value) in cells.zip(plane.samples()) {
            for (byte, of) in cell.iter_mut().zip(sample(*value).to_le_bytes()).take(width) {
                *byte = of;
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_image_above_the_limit_is_refused_before_the_decoder_sees_it() {
        let stream = header::tests::stream(65_535, 65_535, 3, 8);
        let error = decode_frame(&stream, Limits::default()).unwrap_err();
        assert_eq!(error, Jpeg2000Error::FrameTooLarge { needed: 3 * 65_535 * 65_535, limit: 256 << 20 });
    }

    #[test]
    fn a_stream_without_data_is_the_decoders_error_or_a_flat_image() {
        let stream = header::tests::stream(4, 4, 1, 8);
        if let Ok(frame) = decode_frame(&stream, Limits::default()) {
            assert_eq!(frame.pixels, [128; 16]);
        }
    }

    proptest! {
        #[test]
        fn damaged_streams_end_in_a_frame_or_an_error(
            rest in prop::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..200,
            byte in any::<u8>(),
        ) {
            let mut stream = header::tests::stream_with(24, 24, 3, 8, &rest);
            let at = at % stream.len();
            stream[at] = byte;
            let _ = decode_frame(&stream, Limits { frame_bytes: 1 << 16 });
        }
    }
}
