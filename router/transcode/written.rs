//! What a copy's pixels are: what encoders are given, and what the attributes then say (PS3.5 8.2.1).

use chrysalis_codecs::Order;

use super::coding::Coding;
use super::plan::{Pixels, Recipe};
use super::subject::{Image, Photometric, Sign};
use crate::dicom::TransferSyntax;

/// Whether an image that might become grey did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// It is as colourful as the source.
    Kept,
    /// It became MONOCHROME2.
    Grey,
}

/// The pixels of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Samples per Pixel (0028,0002).
    pub samples: u8,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u8,
    /// Bits Stored (0028,0101); High Bit (0028,0102) is one less.
    pub bits_stored: u8,
    /// Pixel Representation (0028,0103).
    pub sign: Sign,
    /// Planar Configuration (0028,0006), of no meaning for one sample.
    pub order: Order,
}

impl Written {
    /// What a recipe makes of an image stored so.
    ///
    /// JPEG Baseline is 8 bit, and colour in it YBR_FULL_422. Everything else keeps its bits and, where the source is
    /// lossless, its samples: YBR_FULL stays so, palette indices stay so. What a decoder has to upsample or transform
    /// becomes RGB; native YBR_FULL_422, for which JPEG Lossless has no place, YBR_FULL.
    pub fn of(image: &Image, stored: &TransferSyntax, recipe: &Recipe, colour: Colour) -> Self {
        let as_stored = Self {
            photometric: image.photometric,
            samples: image.samples,
            bits_allocated: image.bits_allocated,
            bits_stored: image.bits_stored,
            sign: image.sign,
            order: image.order,
        };
        let coding = Coding::of(stored);
        let native_as_it_is = matches!(recipe.pixels, Pixels::AsTheyAre | Pixels::Native)
            && coding == Coding::Native
            && colour == Colour::Kept;
        if native_as_it_is || recipe.pixels == Pixels::AsTheyAre {
            return as_stored;
        }
        let eight_bit = matches!(recipe.pixels, Pixels::JpegLossy(_));
        let photometric = match (colour, recipe.pixels) {
            (Colour::Grey, _) => Photometric::Monochrome2,
            (Colour::Kept, Pixels::JpegLossy(_)) if !image.photometric.is_monochrome() => {
                Photometric::YbrFull422
            }
            (Colour::Kept, _) => decoded(image.photometric, coding),
        };
        Self {
            photometric,
            samples: photometric.samples(),
            bits_allocated: if eight_bit { 8 } else { image.bits_allocated },
            bits_stored: if eight_bit { 8 } else { image.bits_stored },
            sign: image.sign,
            order: Order::ByPixel,
        }
    }

    /// Bytes of a native frame of this kind; of YBR_FULL_422, when all its samples are there.
    pub fn frame_bytes(&self, rows: u16, columns: u16) -> u64 {
        u64::from(rows)
            * u64::from(columns)
            * u64::from(self.samples)
            * u64::from(self.bits_allocated.div_ceil(8))
    }
}

impl Photometric {
    /// Whether it is grey by definition.
    pub fn is_monochrome(self) -> bool {
        matches!(self, Self::Monochrome1 | Self::Monochrome2)
    }

    /// Samples per Pixel (0028,0002) that go with it.
    pub fn samples(self) -> u8 {
        match self {
            Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor => 1,
            Self::Rgb
            | Self::YbrFull
            | Self::YbrFull422
            | Self::YbrPartial420
            | Self::YbrPartial422
            | Self::YbrIct
            | Self::YbrRct => 3,
        }
    }
}

/// What samples are after decoding, when nothing more is done to them.
fn decoded(stored: Photometric, coding: Coding) -> Photometric {
    match stored {
        Photometric::Monochrome1
        | Photometric::Monochrome2
        | Photometric::PaletteColor
        | Photometric::Rgb => stored,
        Photometric::YbrFull | Photometric::YbrFull422 => match coding {
            Coding::JpegLossy | Coding::Jpeg2000 | Coding::JpegXl => Photometric::Rgb,
            Coding::Native | Coding::Rle | Coding::JpegLossless | Coding::JpegLs | Coding::Other => {
                Photometric::YbrFull
            }
        },
        Photometric::YbrPartial420
        | Photometric::YbrPartial422
        | Photometric::YbrIct
        | Photometric::YbrRct => Photometric::Rgb,
    }
}
