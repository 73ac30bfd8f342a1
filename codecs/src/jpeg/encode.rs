//! Encoding one frame.

use super::error::EncodeError;
use crate::layout::{Depth, FrameLayout, Order, Samples};

/// What the samples of a frame to encode are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// One sample: MONOCHROME1 or MONOCHROME2.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Luma and two chroma over the full range, as JFIF has them (PS3.3 C.7.6.3.1.2).
    YbrFull,
}

/// How much detail is kept, 1 to 100, on the scale that libjpeg made common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quality(u8);

impl Quality {
    /// 1 is the smallest stream, 100 the finest quantization; nothing else is a quality.
    #[must_use]
    pub const fn new(quality: u8) -> Option<Self> {
        if matches!(quality, 1..=100) { Some(Self(quality)) } else { None }
    }

    /// The number that was given.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Encodes one frame as a whole JPEG stream, from SOI to EOI. Its length may be odd.
///
/// # Errors
/// The layout does not suit the pixels, the colour space, or baseline JPEG.
pub fn encode_frame(
    pixels: &[u8],
    layout: FrameLayout,
    colour: Colour,
    quality: Quality,
) -> Result<Vec<u8>, EncodeError> {
    check(pixels, layout, colour)?;
    let interleaved;
    let pixels = match (layout.samples, layout.order) {
        (Samples::Three, Order::ByPlane) => {
            let (first, rest) = pixels.split_at(pixels.len() / 3);
            let (second, third) = rest.split_at(rest.len() / 2);
            interleaved = first.iter().zip(second).zip(third).flat_map(|((a, b), c)| [*a, *b, *c]).collect();
            Vec::as_slice(&interleaved)
        }
        _ => pixels,
    };
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, quality.get());
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_1);
    let kind = match colour {
        Colour::Grey => jpeg_encoder::ColorType::Luma,
        Colour::Rgb => jpeg_encoder::ColorType::Rgb,
        Colour::YbrFull => jpeg_encoder::ColorType::Ycbcr,
    };
    encoder.encode(pixels, layout.columns, layout.rows, kind).map_err(|_| EncodeError::Empty)?;
    Ok(out)
}

fn check(pixels: &[u8], layout: FrameLayout, colour: Colour) -> Result<(), EncodeError> {
    let suits = matches!(
        (colour, layout.samples),
        (Colour::Grey, Samples::One) | (Colour::Rgb | Colour::YbrFull, Samples::Three)
    );
    let (found, expected) = (pixels.len() as u64, layout.bytes());
    match () {
        () if layout.depth == Depth::Sixteen => Err(EncodeError::TooDeep),
        () if !suits => Err(EncodeError::WrongSamples),
        () if expected == 0 => Err(EncodeError::Empty),
        () if found != expected => Err(EncodeError::WrongPixelLength { found, expected }),
        () => Ok(()),
    }
}
