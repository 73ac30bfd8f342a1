#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! One frame's stored bytes become native samples, and it is said what they are.
//!
//! The data set's attributes and a compressed stream each describe the picture. Dimensions must agree: a stream of another
//! size is refused, because nobody can say which of both is meant. For colour the rule is:
//!
//! * Lossless streams (JPEG Lossless, JPEG-LS, RLE) hold samples as they were given to the encoder: the attribute alone
//!   says what they are. Encoders mark such streams without a thought.
//! * JPEG with loss is what it is marked as, when it is marked: an Adobe segment without transform, or components named R, G,
//!   B, mean RGB even under a YBR attribute; a JFIF segment, an Adobe transform or subsampled chroma mean YCbCr even under RGB.
//!   Only unmarked streams are what the attribute says.
//! * JPEG 2000 and JPEG XL undo their own transforms: what they were told to transform is RGB afterwards.

use chrysalis_codecs::{
    Depth, Frame, FrameLayout, Marking, Order, Samples, colour, jpeg, jpeg_lossless, rle,
};

use super::TranscodeError;
use super::coding::Coding;
use super::foreign::Decoders;
use super::isolated::Foreign;
use super::plan::LIMITS;
use super::subject::{Image, Photometric};

/// A frame's samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// What the samples are: never a subsampled photometric interpretation.
    pub(crate) photometric: Photometric,
    /// How they lie in `pixels`.
    pub(crate) layout: FrameLayout,
    /// The samples; two bytes each have the low one first.
    pub(crate) pixels: Vec<u8>,
}

impl Picture {
    /// Decodes frame `n` (counted from 0, for errors only) of an image whose pixels are coded so.
    ///
    /// # Errors
    /// [`TranscodeError::Pixels`] with what is wrong and in which frame, or that no decoder can be started.
    pub(crate) fn decode(
        stored: Vec<u8>,
        image: &Image,
        coding: Coding,
        decoders: &Decoders,
        n: u32,
    ) -> Result<Self, TranscodeError> {
        let failed = |why: String| {
            TranscodeError::Pixels(format!("frame {} cannot be decoded: {why}", u64::from(n) + 1))
        };
        let foreign = |codec, stored: &[u8]| {
            decoders.decode(codec, stored).map_err(|error| match error {
                TranscodeError::Pixels(why) => failed(why),
                other => other,
            })
        };
        let decoded = match coding {
            Coding::Native => native(stored, image),
            Coding::Rle => {
                let layout = FrameLayout { order: Order::ByPixel, ..layout(image) };
                rle::decode_frame(&stored, layout, LIMITS)
                    .map(|pixels| Self { photometric: image.photometric, layout, pixels })
                    .map_err(|error| error.to_string())
            }
            Coding::JpegLossy => {
                jpeg::decode_frame(&stored, LIMITS).map_err(|e| e.to_string()).and_then(|f| lossy(f, image))
            }
            Coding::JpegLossless => jpeg_lossless::decode_frame(&stored, LIMITS)
                .map_err(|error| error.to_string())
                .and_then(|frame| from_stream(frame, image.photometric, image)),
            Coding::JpegLs => from_stream(foreign(Foreign::JpegLs, &stored)?, image.photometric, image),
            Coding::Jpeg2000 => transformed(foreign(Foreign::Jpeg2000, &stored)?, image),
            Coding::JpegXl => transformed(foreign(Foreign::JpegXl, &stored)?, image),
            Coding::Other => Err("nobody here knows how its pixels are coded".into()),
        };
        decoded.map_err(failed)
    }
}

/// The layout that the attributes describe.
pub(crate) fn layout(image: &Image) -> FrameLayout {
    FrameLayout {
        rows: image.rows,
        columns: image.columns,
        samples: if image.samples == 1 { Samples::One } else { Samples::Three },
        depth: if image.bits_allocated <= 8 { Depth::Eight } else { Depth::Sixteen },
        order: image.order,
    }
}

fn native(stored: Vec<u8>, image: &Image) -> Result<Picture, String> {
    let layout = layout(image);
    let (photometric, pixels, layout) = match image.photometric {
        Photometric::YbrFull422 => {
            let layout = FrameLayout { order: Order::ByPixel, ..layout };
            let pixels = colour::ybr_422_to_ybr_full(&stored, layout).map_err(|error| error.to_string())?;
            (Photometric::YbrFull, pixels, layout)
        }
        Photometric::YbrPartial420 | Photometric::YbrPartial422 => {
            return Err("its chroma is subsampled in a retired way".into());
        }
        whole => (whole, stored, layout),
    };
    let (found, expected) = (pixels.len() as u64, layout.bytes());
    if found != expected {
        return Err(format!("it has {found} bytes, its attributes ask for {expected}"));
    }
    Ok(Picture { photometric, layout, pixels })
}

/// JPEG with loss: what it is marked as, else what the attribute says.
fn lossy(frame: Frame, image: &Image) -> Result<Picture, String> {
    let photometric = match (image.photometric, frame.layout.samples, frame.marking) {
        (attribute, Samples::One, _) => attribute,
        (_, Samples::Three, Some(Marking::Rgb)) => Photometric::Rgb,
        (_, Samples::Three, Some(Marking::Ybr)) => Photometric::YbrFull,
        (Photometric::Rgb, Samples::Three, Some(Marking::Unmarked) | None) => Photometric::Rgb,
        (_, Samples::Three, Some(Marking::Unmarked) | None) => Photometric::YbrFull,
    };
    from_stream(frame, photometric, image)
}

/// JPEG 2000 and JPEG XL: what the codec transformed comes back as RGB, and so does what YBR_ICT and YBR_RCT promise. A JPEG
/// stream within JPEG XL is as it was.
fn transformed(frame: Frame, image: &Image) -> Result<Picture, String> {
    let photometric = match (image.photometric, frame.marking) {
        (_, Some(Marking::Rgb)) | (Photometric::YbrIct | Photometric::YbrRct, _) => Photometric::Rgb,
        _ => return lossy(frame, image),
    };
    from_stream(frame, photometric, image)
}

/// Compares what a stream says of its shape with what the attributes say.
fn from_stream(frame: Frame, photometric: Photometric, image: &Image) -> Result<Picture, String> {
    let (is, said) = (frame.layout, layout(image));
    if (is.rows, is.columns) != (said.rows, said.columns) {
        return Err(format!(
            "the stream has {} rows and {} columns, the attributes say {} and {}",
            is.rows, is.columns, said.rows, said.columns
        ));
    }
    if is.samples != said.samples {
        let count = if is.samples == Samples::One { 1 } else { 3 };
        return Err(format!("the stream has {count} components, the attributes say {}", image.samples));
    }
    let pixels = match (is.depth, said.depth) {
        (Depth::Sixteen, Depth::Eight) => {
            return Err(format!(
                "the stream has {} bits per sample, the attributes say {}",
                frame.precision, image.bits_allocated
            ));
        }
        (Depth::Eight, Depth::Sixteen) => frame.pixels.iter().flat_map(|&sample| [sample, 0]).collect(),
        _ => frame.pixels,
    };
    let photometric = match photometric {
        Photometric::YbrFull422 => Photometric::YbrFull,
        other => other,
    };
    Ok(Picture { photometric, layout: FrameLayout { depth: said.depth, ..is }, pixels })
}
