//! Decoding one frame.

use super::error::DecodeError;
use crate::{Depth, Frame, FrameLayout, Limits, Marking, Order, Samples};
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

/// Decodes one stream. The samples are upsampled, but stay in the stream's colour space.
///
/// # Errors
/// Anything wrong with the bytes, and a frame larger than `limits`, which is found before it is allocated.
pub fn decode_frame(bytes: &[u8], limits: Limits) -> Result<Frame, DecodeError> {
    let broken = |error: jpeg_decoder::Error| DecodeError::Broken(error.to_string());
    let mut decoder = Decoder::new(bytes);
    decoder.set_color_transform(ColorTransform::None);
    decoder.read_info().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| DecodeError::Broken("no frame".into()))?;
    let samples = match info.pixel_format {
        PixelFormat::L8 => Samples::One,
        PixelFormat::RGB24 => Samples::Three,
        other => return Err(DecodeError::Broken(format!("{other:?}"))),
    };
    let layout = FrameLayout {
        rows: info.height,
        columns: info.width,
        samples,
        depth: Depth::Eight,
        order: Order::ByPixel,
    };
    if layout.bytes() > limits.frame_bytes {
        return Err(DecodeError::FrameTooLarge { needed: layout.bytes(), limit: limits.frame_bytes });
    }
    let pixels = decoder.decode().map_err(broken)?;
    let marking = (samples == Samples::Three).then_some(Marking::Ybr);
    Ok(Frame { layout, precision: 8, marking, pixels })
}
