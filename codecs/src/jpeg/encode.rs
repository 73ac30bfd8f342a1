//! Encoding one frame.

use super::entropy::{Coder, Codes, Writer};
use super::error::EncodeError;
use super::forward::{Divisors, Quantized};
use super::samples::{Band, Source};
use super::segments::marker;
use super::stream::{head, scaled};
use super::tables::{CHROMA, CHROMA_AC, CHROMA_DC, LUMA, LUMA_AC, LUMA_DC};
use crate::layout::{Depth, FrameLayout, Samples};

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
    let steps = [&LUMA, &CHROMA].map(|table| scaled(table, quality));
    let divisors = steps.each_ref().map(Divisors::new);
    let source = Source { pixels, layout, colour };
    let mut out = head(layout, &steps);
    code(&source, &divisors, &mut out);
    out.extend([0xFF, marker::EOI]);
    Ok(out)
}

static LUMA_CODER: Coder = Coder { dc: Codes::new(&LUMA_DC), ac: Codes::new(&LUMA_AC) };
static CHROMA_CODER: Coder = Coder { dc: Codes::new(&CHROMA_DC), ac: Codes::new(&CHROMA_AC) };

/// Codes all tiles. Compiled a second time for processors that have wider vectors.
#[multiversion::multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+movbe+popcnt"))]
fn code(source: &Source<'_>, divisors: &[Divisors; 2], out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    let blocks_across = usize::from(source.layout.columns).div_ceil(8);
    let colour = source.layout.samples == Samples::Three;
    let [of_luma, of_chroma] = divisors;
    let mut band = Band::new(source);
    let [mut luma, mut blue, mut red] = [0; 3];
    for down in 0..usize::from(source.layout.rows).div_ceil(8) {
        band.read(source, down);
        for across in 0..band.pairs() {
            let pair = Quantized::of(&band.luma(across), of_luma);
            luma = writer.block(&pair, 0, luma, &LUMA_CODER);
            // The MCU of grey is one block, and none without a pixel is coded.
            if colour || across * 2 + 1 < blocks_across {
                luma = writer.block(&pair, 1, luma, &LUMA_CODER);
            }
            if colour {
                let pair = Quantized::of(&band.chroma(across), of_chroma);
                blue = writer.block(&pair, 0, blue, &CHROMA_CODER);
                red = writer.block(&pair, 1, red, &CHROMA_CODER);
            }
        }
    }
    writer.finish();
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
