#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Samples become a frame of the copy, and what is lossless is decoded again and compared before it counts.

use chrysalis_codecs::{Depth, FrameLayout, jpeg, jpeg_lossless, rle};

use super::TranscodeError;
use super::picture::Picture;
use super::plan::{LIMITS, Pixels};
use super::subject::Photometric;

/// Whether each losslessly encoded frame is decoded and compared with what was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// It is.
    #[default]
    Yes,
    /// The encoder is trusted.
    No,
}

/// How the frames of one copy are encoded: the same for all of them, so that nothing depends on who encodes which.
pub(crate) struct Encoder {
    form: Form,
    bits_stored: u8,
    compare: Compare,
    lossless: Lossless,
}

type EncodeJpeg =
    fn(&[u8], FrameLayout, u8, &jpeg_lossless::Tables) -> Result<Vec<u8>, jpeg_lossless::EncodeError>;

/// The encoders whose work is compared.
struct Lossless {
    jpeg: EncodeJpeg,
    rle: fn(&[u8], FrameLayout) -> Result<Vec<u8>, rle::RleError>,
}

enum Form {
    Native,
    /// With these tables for every frame of a loop that has this precision; others have their own, and so has an image.
    JpegLossless(Option<(u8, jpeg_lossless::Tables)>),
    JpegLossy(jpeg::Quality),
    Rle,
}

impl Encoder {
    /// An encoder for a copy of `frames` frames, of which `first` gets the first, converted, where its statistics matter.
    /// Samples have `bits_stored` bits.
    ///
    /// # Errors
    /// [`TranscodeError::Pixels`] when the recipe does not suit the picture, or what `first` says.
    pub(crate) fn new(
        pixels: Pixels,
        first: impl FnOnce() -> Result<Picture, TranscodeError>,
        frames: u32,
        bits_stored: u8,
        compare: Compare,
    ) -> Result<Self, TranscodeError> {
        let form = match pixels {
            Pixels::AsTheyAre | Pixels::Native => Form::Native,
            Pixels::JpegLossless if frames > 1 => {
                let first = first()?;
                let precision = precision(&first, bits_stored);
                let tables = jpeg_lossless::Tables::of_sample(&first.pixels, first.layout, precision);
                Form::JpegLossless(Some((precision, tables.map_err(failed)?)))
            }
            Pixels::JpegLossless => Form::JpegLossless(None),
            Pixels::JpegLossy(quality) => {
                let quality = jpeg::Quality::new(quality.get());
                Form::JpegLossy(quality.ok_or_else(|| failed("the quality is not one of 1 to 100"))?)
            }
            Pixels::Rle => Form::Rle,
        };
        let lossless = Lossless { jpeg: jpeg_lossless::encode_frame, rle: rle::encode_frame };
        Ok(Self { form, bits_stored, compare, lossless })
    }

    /// Encodes a frame. Its length may be odd. The picture is of no use afterwards, but its memory may be.
    ///
    /// # Errors
    /// [`TranscodeError::Pixels`] when it cannot be encoded, or does not decode to the same samples.
    pub(crate) fn encode(&self, picture: &mut Picture) -> Result<Vec<u8>, TranscodeError> {
        match &self.form {
            Form::Native => Ok(std::mem::take(&mut picture.pixels)),
            Form::JpegLossless(tables) => self.jpeg_lossless(picture, tables.as_ref()),
            Form::JpegLossy(quality) => {
                let colour = match picture.photometric {
                    Photometric::Rgb => jpeg::Colour::Rgb,
                    Photometric::YbrFull => jpeg::Colour::YbrFull,
                    _ => jpeg::Colour::Grey,
                };
                jpeg::encode_frame(&picture.pixels, picture.layout, colour, *quality).map_err(failed)
            }
            Form::Rle => self.rle(picture),
        }
    }

    fn jpeg_lossless(
        &self,
        picture: &Picture,
        tables: Option<&(u8, jpeg_lossless::Tables)>,
    ) -> Result<Vec<u8>, TranscodeError> {
        let Picture { layout, pixels, .. } = picture;
        let precision = precision(picture, self.bits_stored);
        let own;
        let tables = match tables {
            Some((same, tables)) if *same == precision => tables,
            Some(_) | None => {
                own = jpeg_lossless::Tables::of_frame(pixels, *layout, precision).map_err(failed)?;
                &own
            }
        };
        let encoded = (self.lossless.jpeg)(pixels, *layout, precision, tables).map_err(failed)?;
        if self.compare == Compare::Yes {
            jpeg_lossless::verify_frame(&encoded, pixels, *layout, precision).map_err(differs)?;
        }
        Ok(encoded)
    }

    fn rle(&self, picture: &Picture) -> Result<Vec<u8>, TranscodeError> {
        let encoded = (self.lossless.rle)(&picture.pixels, picture.layout).map_err(failed)?;
        if self.compare == Compare::Yes {
            let decoded = rle::decode_frame(&encoded, picture.layout, LIMITS).map_err(differs)?;
            if decoded != picture.pixels {
                return Err(differs("other pixels come out"));
            }
        }
        Ok(encoded)
    }
}

/// The precision of a JPEG Lossless stream: Bits Stored, so that it says what the attributes say, unless bits above them are
/// set (overlays of old, signs), which must not be lost.
fn precision(picture: &Picture, bits_stored: u8) -> u8 {
    match picture.layout {
        FrameLayout { depth: Depth::Eight, .. } => 8,
        FrameLayout { depth: Depth::Sixteen, .. } => {
            let (samples, _) = picture.pixels.as_chunks::<2>();
            let used = samples.iter().fold(0, |bits, sample| bits | u16::from_le_bytes(*sample));
            let needed = (u16::BITS - used.leading_zeros()) as u8;
            let stored = bits_stored.clamp(9, 16);
            if needed > stored { 16 } else { stored }
        }
    }
}

fn failed(why: impl ToString) -> TranscodeError {
    TranscodeError::Pixels(format!("a frame cannot be encoded: {}", why.to_string()))
}

fn differs(why: impl ToString) -> TranscodeError {
    TranscodeError::Pixels(format!("an encoded frame does not decode to its pixels: {}", why.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::{Compare, Encoder};
    use crate::transcode::TranscodeError;
    use crate::transcode::picture::Picture;
    use crate::transcode::plan::Pixels;
    use crate::transcode::subject::Photometric;
    use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, jpeg_lossless, rle};

    fn picture() -> Picture {
        let (samples, depth, order) = (Samples::One, Depth::Eight, Order::ByPixel);
        let layout = FrameLayout { rows: 8, columns: 8, samples, depth, order };
        Picture {
            photometric: Photometric::Monochrome2,
            layout,
            pixels: (0..64_u32).map(|n| (n * n % 251) as u8).collect(),
        }
    }

    fn wrong(pixels: &[u8]) -> Vec<u8> {
        let mut pixels = pixels.to_vec();
        pixels[20] ^= 1;
        pixels
    }

    /// By an encoder that loses one bit of one sample.
    fn encode(pixels: Pixels, compare: Compare) -> Result<Vec<u8>, TranscodeError> {
        let mut encoder = Encoder::new(pixels, || Ok(picture()), 1, 8, compare).unwrap();
        encoder.lossless.jpeg = |pixels, layout, precision, tables| {
            jpeg_lossless::encode_frame(&wrong(pixels), layout, precision, tables)
        };
        encoder.lossless.rle = |pixels, layout| rle::encode_frame(&wrong(pixels), layout);
        encoder.encode(&mut picture())
    }

    #[test]
    fn a_frame_that_decodes_to_other_samples_is_never_given_out() {
        for pixels in [Pixels::JpegLossless, Pixels::Rle] {
            let compared = encode(pixels, Compare::Yes);
            assert!(matches!(compared, Err(TranscodeError::Pixels(_))), "{pixels:?}: {compared:?}");
            assert!(encode(pixels, Compare::No).is_ok(), "the encoder is trusted where it is said so");
        }
    }
}
