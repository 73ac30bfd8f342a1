//! A few frames of one picture, drawn and encoded once, and shown round and round.

use bytes::Bytes;
use chrysalis_codecs::{Limits, Samples, jpeg, jpeg_lossless, rle};
use chrysalis_sizing::Picture;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cart::{Coding, Form, Pixels};
use super::element::{Vr, Writer};
use super::factory::FactoryError;

/// Encoded frames of one picture.
pub(super) struct Film {
    /// What is to be seen.
    pub(super) picture: Picture,
    /// How it is stored.
    pub(super) form: Form,
    /// The frames; a loop longer than this begins again.
    pub(super) ring: Vec<Frame>,
}

/// One encoded frame.
pub(super) struct Frame {
    /// Its bytes as they stand in Pixel Data: samples, or a whole item of the sequence of fragments.
    pub(super) stored: Bytes,
    /// SHA-256 of the samples that it decodes to without further loss.
    pub(super) samples: [u8; 32],
}

impl Film {
    /// Draws and encodes the first `frames` of a picture. JPEG Baseline is set so that a frame weighs about `jpeg_frame` bytes.
    ///
    /// # Errors
    /// An encoder refuses the picture.
    pub(super) fn draw(
        picture: Picture,
        frames: u32,
        form: Form,
        jpeg_frame: u64,
    ) -> Result<Self, FactoryError> {
        let painter = picture.painter();
        let quality = match form.coding {
            Coding::JpegBaseline => Some(quality_for(jpeg_frame, painter.frame(0), &picture, form.pixels)?),
            Coding::ImplicitVr | Coding::ExplicitVr | Coding::Rle | Coding::JpegLossless => None,
        };
        let ring = (0..frames).into_par_iter().map(|n| frame(painter.frame(n), &picture, form, quality));
        Ok(Self { picture, form, ring: ring.collect::<Result<_, _>>()? })
    }

    /// Frame `n` of a loop of any length.
    pub(super) fn frame(&self, n: u32) -> Option<&Frame> {
        let at = n.checked_rem(u32::try_from(self.ring.len()).ok()?)?;
        self.ring.get(usize::try_from(at).ok()?)
    }

    /// How many times smaller than native the first frame is (Lossy Image Compression Ratio).
    pub(super) fn ratio(&self) -> f64 {
        let native = self.form.pixels.layout(self.picture.rows, self.picture.columns).bytes();
        native as f64 / self.ring.first().map_or(1, |frame| frame.stored.len()) as f64
    }
}

fn frame(
    rgb: Vec<u8>,
    picture: &Picture,
    form: Form,
    quality: Option<jpeg::Quality>,
) -> Result<Frame, FactoryError> {
    let Picture { rows, columns, .. } = *picture;
    let layout = form.pixels.layout(rows, columns);
    if let Some(quality) = quality {
        let stream = lossy(&rgb, picture, form.pixels, quality)?;
        let decoded = jpeg::decode_frame(&stream, Limits::default()).map_err(FactoryError::encoding)?;
        return Ok(Frame { stored: fragment(stream), samples: Sha256::digest(&decoded.pixels).into() });
    }
    let stored = form.pixels.store(rgb, rows, columns)?;
    let samples = Sha256::digest(stored.plain.as_ref().unwrap_or(&stored.bytes)).into();
    let stored = match form.coding {
        Coding::ImplicitVr | Coding::ExplicitVr => Bytes::from(stored.bytes),
        Coding::Rle => fragment(rle::encode_frame(&stored.bytes, layout).map_err(FactoryError::encoding)?),
        Coding::JpegLossless | Coding::JpegBaseline => {
            let tables = jpeg_lossless::Tables::of_frame(&stored.bytes, layout, 8);
            let encoded =
                tables.and_then(|tables| jpeg_lossless::encode_frame(&stored.bytes, layout, 8, &tables));
            fragment(encoded.map_err(FactoryError::encoding)?)
        }
    };
    Ok(Frame { stored, samples })
}

fn lossy(
    rgb: &[u8],
    picture: &Picture,
    pixels: Pixels,
    quality: jpeg::Quality,
) -> Result<Vec<u8>, FactoryError> {
    let layout = pixels.layout(picture.rows, picture.columns);
    let encoded = if layout.samples == Samples::One {
        jpeg::encode_frame(&chrysalis_codecs::colour::rgb_to_luma(rgb), layout, jpeg::Colour::Grey, quality)
    } else {
        jpeg::encode_frame(rgb, layout, jpeg::Colour::Rgb, quality)
    };
    encoded.map_err(FactoryError::encoding)
}

/// The best quality of which this frame weighs no more than that, or the least.
fn quality_for(
    bytes: u64,
    rgb: Vec<u8>,
    picture: &Picture,
    pixels: Pixels,
) -> Result<jpeg::Quality, FactoryError> {
    let (mut fits, mut too_large) = (1, 101);
    while too_large - fits > 1 {
        let tried = (fits + too_large) / 2;
        let quality = jpeg::Quality::new(tried).ok_or(FactoryError::Quality)?;
        if lossy(&rgb, picture, pixels, quality)?.len() as u64 <= bytes {
            fits = tried;
        } else {
            too_large = tried;
        }
    }
    jpeg::Quality::new(fits).ok_or(FactoryError::Quality)
}

/// A frame as the one item that it fills (PS3.5 A.4), of even length.
fn fragment(mut frame: Vec<u8>) -> Bytes {
    if frame.len() % 2 == 1 {
        frame.push(0);
    }
    let mut writer = Writer::new(Vr::Explicit);
    writer.fragment(&frame);
    writer.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrysalis_sizing::View;

    const LOSSLESS: Form = Form { pixels: Pixels::Rgb, coding: Coding::JpegLossless };

    fn picture(view: View) -> Picture {
        Picture { seed: 3, rows: 743, columns: 975, period: 24, view }
    }

    #[test]
    fn without_loss_rgb_becomes_as_much_smaller_as_real_ultrasound_does() {
        let ratios = View::ALL.map(|view| Film::draw(picture(view), 1, LOSSLESS, 0).unwrap().ratio());
        assert!(ratios.iter().all(|ratio| (2.2..3.5).contains(ratio)), "{ratios:.2?} of {:?}", View::ALL);
    }

    #[test]
    fn a_frame_of_jpeg_weighs_what_was_asked_for() {
        let jpeg = Form { pixels: Pixels::Ybr422, coding: Coding::JpegBaseline };
        let film = Film::draw(picture(View::Heart), 2, jpeg, 51_200).unwrap();
        let lengths: Vec<_> = film.ring.iter().map(|frame| frame.stored.len()).collect();
        assert!(lengths.iter().all(|length| (45_000..54_000).contains(length)), "{lengths:?}");
    }

    #[test]
    fn frames_decode_to_the_samples_whose_digest_they_have() {
        let small = Picture { rows: 64, columns: 86, ..picture(View::HeartFlow) };
        let layout = Pixels::Rgb.layout(64, 86);
        let digest = |samples: &[u8]| <[u8; 32]>::from(Sha256::digest(samples));
        let film = |pixels, coding| Film::draw(small, 3, Form { pixels, coding }, 3_000).unwrap().ring;
        for frame in film(Pixels::Rgb, Coding::ExplicitVr) {
            assert_eq!(digest(&frame.stored), frame.samples);
        }
        for frame in film(Pixels::Rgb, Coding::JpegLossless) {
            let decoded = jpeg_lossless::decode_frame(&frame.stored[8..], Limits::default()).unwrap();
            assert_eq!(digest(&decoded.pixels), frame.samples);
        }
        for frame in film(Pixels::YbrPlanes, Coding::Rle) {
            let decoded = rle::decode_frame(&frame.stored[8..], layout, Limits::default()).unwrap();
            assert_eq!(digest(&decoded), frame.samples);
        }
        for frame in film(Pixels::Ybr422, Coding::JpegBaseline) {
            let decoded = jpeg::decode_frame(&frame.stored[8..], Limits::default()).unwrap();
            assert_eq!(digest(&decoded.pixels), frame.samples);
        }
    }
}
