//! A few frames of one picture, drawn and encoded once, and shown round and round.

use bytes::Bytes;
use chrysalis_codecs::{Limits, Samples, jpeg, jpeg_lossless, rle};
use chrysalis_sizing::{Colour, Scene};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cart::{Coding, Form, Pixels};
use super::element::{Vr, Writer};
use super::factory::FactoryError;

/// Encoded frames of one picture.
pub(super) struct Film {
    /// What is to be seen.
    pub(super) scene: Scene,
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
    /// Draws and encodes all frames of a scene. JPEG Baseline is set so that a frame weighs about `jpeg_frame` bytes.
    ///
    /// # Errors
    /// An encoder refuses the picture.
    pub(super) fn draw(scene: Scene, form: Form, jpeg_frame: u64) -> Result<Self, FactoryError> {
        let painter = scene.painter();
        let quality = match form.coding {
            Coding::JpegBaseline => Some(quality_for(jpeg_frame, painter.frame(0), &scene, form.pixels)?),
            Coding::ImplicitVr | Coding::ExplicitVr | Coding::Rle | Coding::JpegLossless => None,
        };
        let ring = (0..scene.frames).into_par_iter().map(|n| frame(painter.frame(n), &scene, form, quality));
        Ok(Self { scene, form, ring: ring.collect::<Result<_, _>>()? })
    }

    /// Frame `n` of a loop of any length.
    pub(super) fn frame(&self, n: u32) -> Option<&Frame> {
        let at = n.checked_rem(u32::try_from(self.ring.len()).ok()?)?;
        self.ring.get(usize::try_from(at).ok()?)
    }

    /// How many times smaller than native the first frame is (Lossy Image Compression Ratio).
    pub(super) fn ratio(&self) -> f64 {
        let native = self.form.pixels.layout(self.scene.rows, self.scene.columns).bytes();
        native as f64 / self.ring.first().map_or(1, |frame| frame.stored.len()) as f64
    }
}

fn frame(
    rgb: Vec<u8>,
    scene: &Scene,
    form: Form,
    quality: Option<jpeg::Quality>,
) -> Result<Frame, FactoryError> {
    let Scene { rows, columns, .. } = *scene;
    let layout = form.pixels.layout(rows, columns);
    if let Some(quality) = quality {
        let stream = lossy(&rgb, scene, form.pixels, quality)?;
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

fn lossy(rgb: &[u8], scene: &Scene, pixels: Pixels, quality: jpeg::Quality) -> Result<Vec<u8>, FactoryError> {
    let layout = pixels.layout(scene.rows, scene.columns);
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
    scene: &Scene,
    pixels: Pixels,
) -> Result<jpeg::Quality, FactoryError> {
    let (mut fits, mut too_large) = (1, 101);
    while too_large - fits > 1 {
        let tried = (fits + too_large) / 2;
        let quality = jpeg::Quality::new(tried).ok_or(FactoryError::Quality)?;
        if lossy(&rgb, scene, pixels, quality)?.len() as u64 <= bytes {
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

/// Whether a scene has colours that mean flow (Ultrasound Color Data Present).
pub(super) const fn shows_flow(scene: &Scene) -> bool {
    matches!(scene.colour, Colour::Doppler)
}
