#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! JPEG XL (ISO 18181), decoded by `jxl-oxide`.
//!
//! A JPEG stream that was recompressed (transfer syntax 1.2.840.10008.1.2.4.111) is put together again, byte for byte, and
//! decoded by [`crate::jpeg`]: the pixels are then those of the JPEG, in its colour space, not JPEG XL's view of them.
//! Anything else is decoded to the image's own encoding: grey, or RGB marked so.
//!
//! The dimensions are read here and checked before the decoder sees or allocates anything.

mod size;

use crate::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples, jpeg};
use jxl_oxide::image::BitDepth;
use jxl_oxide::{
    AllocTracker, InitializeResult, JpegReconstructionStatus, JxlImage, JxlThreadPool, PixelFormat,
};

/// Why a stream could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegXlError {
    /// Neither a codestream nor a container that starts as one must.
    #[error("the bytes are not JPEG XL")]
    NotJpegXl,
    /// The stream ends before it is complete.
    #[error("the JPEG XL stream ends at {length}, before its image is complete")]
    Ended {
        /// Bytes there are.
        length: usize,
    },
    /// A sound stream of a kind that is not decoded here.
    #[error("JPEG XL with {what} is not supported")]
    Unsupported {
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
    /// The JPEG stream that was put together again cannot be decoded.
    #[error("the JPEG stream within: {0}")]
    Jpeg(#[from] jpeg::DecodeError),
    /// The decoder refused the stream.
    #[error("the JPEG XL decoder says: {0}")]
    Decoder(String),
}

/// Decodes one still image of 2 to 16 bits, grey or colour, without alpha. Lossless streams are exact.
///
/// # Errors
/// Anything wrong with the bytes, a kind of stream that is not decoded here, and a frame larger than `limits`, which is
/// found before anything is allocated. The decoder's own memory is limited to a multiple of the frame.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, JpegXlError> {
    let size = size::read(bytes)?;
    let (Ok(rows), Ok(columns)) = (u16::try_from(size.height), u16::try_from(size.width)) else {
        return Err(JpegXlError::Unsupported { what: "more than 65535 rows or columns" });
    };
    let pixels = u64::from(rows) * u64::from(columns);
    // A pixel has at least a byte; how many it has is checked when it is known.
    check(pixels, limits)?;
    let image = open(bytes, pixels)?;
    if image.width() != size.width || image.height() != size.height {
        return Err(JpegXlError::Unsupported { what: "an orientation" });
    }
    if image.jpeg_reconstruction_status() == JpegReconstructionStatus::Available {
        let mut stream = Vec::new();
        image.reconstruct_jpeg(&mut stream).map_err(|error| JpegXlError::Decoder(error.to_string()))?;
        return Ok(jpeg::decode_frame(&stream, limits)?);
    }
    let (samples, marking) = match image.pixel_format() {
        PixelFormat::Gray => (Samples::One, None),
        PixelFormat::Rgb => (Samples::Three, Some(Marking::Rgb)),
        _ => return Err(JpegXlError::Unsupported { what: "an alpha or a black channel" }),
    };
    let metadata = &image.image_header().metadata;
    let precision = match metadata.bit_depth {
        BitDepth::IntegerSample { bits_per_sample: bits @ 2..=16 } => bits as u8,
        _ => return Err(JpegXlError::Unsupported { what: "samples other than integers of 2 to 16 bits" }),
    };
    if metadata.orientation != 1 {
        return Err(JpegXlError::Unsupported { what: "an orientation" });
    }
    let depth = if precision > 8 { Depth::Sixteen } else { Depth::Eight };
    let layout = FrameLayout { rows, columns, samples, depth, order: Order::ByPixel };
    check(layout.bytes(), limits)?;
    render(&image, layout, precision, marking)
}

fn check(needed: u64, limits: Limits) -> Result<(), JpegXlError> {
    let limit = limits.frame_bytes;
    if needed > limit { Err(JpegXlError::FrameTooLarge { needed, limit }) } else { Ok(()) }
}

/// All of the stream, parsed; pixels are made later.
fn open(bytes: &[u8], pixels: u64) -> Result<JxlImage, JpegXlError> {
    let decoder = |error: Box<dyn std::error::Error + Send + Sync>| JpegXlError::Decoder(error.to_string());
    let tracker = AllocTracker::with_limit(
        usize::try_from(pixels.saturating_mul(BYTES_PER_PIXEL) + SPARE).unwrap_or(usize::MAX),
    );
    let mut image = JxlImage::builder().pool(JxlThreadPool::none()).alloc_tracker(tracker).build_uninit();
    image.feed_bytes(bytes).map_err(decoder)?;
    let InitializeResult::Initialized(mut image) = image.try_init().map_err(decoder)? else {
        return Err(JpegXlError::Ended { length: bytes.len() });
    };
    image.finalize().map_err(decoder)?;
    if !image.is_loading_done() {
        return Err(JpegXlError::Ended { length: bytes.len() });
    }
    if image.num_loaded_keyframes() != 1 {
        return Err(JpegXlError::Unsupported { what: "several frames" });
    }
    Ok(image)
}

/// Three samples of four bytes, several times over: what decoding takes while it lasts.
const BYTES_PER_PIXEL: u64 = 12 * 8;
/// For tables, and for images so small that the multiple means nothing.
const SPARE: u64 = 16 << 20;

fn render(
    image: &JxlImage,
    layout: FrameLayout,
    precision: u8,
    marking: Option<Marking>,
) -> Result<Frame, JpegXlError> {
    let rendered = image.render_frame(0).map_err(|error| JpegXlError::Decoder(error.to_string()))?;
    let samples = rendered.image_all_channels();
    let values = samples.buf();
    let expected = layout.pixels() * u64::from(layout.sample_count());
    if values.len() as u64 != expected {
        return Err(JpegXlError::Decoder(format!("it returned {} of {expected} samples", values.len())));
    }
    let most = f32::from(u16::MAX >> (16 - precision));
    let integer = |value: &f32| (value * most).round().clamp(0.0, most) as u16;
    let pixels = match layout.depth {
        Depth::Eight => values.iter().map(|value| integer(value) as u8).collect(),
        Depth::Sixteen => values.iter().flat_map(|value| integer(value).to_le_bytes()).collect(),
    };
    Ok(Frame { layout, precision, marking, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_image_above_the_limit_is_refused_before_the_decoder_sees_it() {
        let huge = size::tests::codestream(65_535, 65_535);
        let error = decode_frame(&huge, Limits::default()).unwrap_err();
        assert_eq!(error, JpegXlError::FrameTooLarge { needed: 65_535 * 65_535, limit: 256 << 20 });
        let wider = size::tests::codestream(4, 1 << 20);
        assert!(matches!(decode_frame(&wider, Limits::default()), Err(JpegXlError::Unsupported { .. })));
    }

    #[test]
    fn a_stream_that_ends_after_its_size_is_an_error() {
        assert!(decode_frame(&size::tests::codestream(16, 16), Limits::default()).is_err());
        assert_eq!(decode_frame(b"\xFF\xD8\xFF", Limits::default()), Err(JpegXlError::NotJpegXl));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_frame_or_an_error(rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let stream = [size::tests::codestream(24, 24), rest].concat();
            let _ = decode_frame(&stream, Limits { frame_bytes: 1 << 16 });
        }
    }
}
