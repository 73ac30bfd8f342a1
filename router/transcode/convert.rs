#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A picture becomes what the copy holds: other bits, another colour space, another order of samples.

use chrysalis_codecs::palette::Palette;
use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, colour, grey};

use super::TranscodeError;
use super::picture::Picture;
use super::subject::Photometric;
use super::written::Written;

/// Makes the samples that the encoder of `written` is given. A copy in YBR_FULL_422 is subsampled by its encoder, which takes
/// RGB and YBR_FULL: such a picture stays what it is.
///
/// # Errors
/// [`TranscodeError::Pixels`] when there is no way from one to the other.
pub(crate) fn convert(
    picture: Picture,
    written: &Written,
    palette: Option<&Palette>,
) -> Result<Picture, TranscodeError> {
    let picture = in_order(narrow(picture, written)?, Order::ByPixel)?;
    let picture = match (picture.photometric, written.photometric) {
        (is, wanted) if is == wanted => picture,
        (Photometric::Rgb | Photometric::YbrFull, Photometric::YbrFull422) => picture,
        (_, Photometric::Rgb | Photometric::YbrFull422) => to_rgb(picture, palette)?,
        (_, Photometric::Monochrome2) => to_grey(to_rgb(picture, palette)?)?,
        (is, wanted) => return Err(no_way(is, wanted)),
    };
    in_order(picture, written.order)
}

/// The first pixel whose red, green and blue differ by more than `tolerance`, counted from 0.
///
/// # Errors
/// [`TranscodeError::Pixels`] when it cannot be seen in RGB.
pub(crate) fn first_colour(
    picture: Picture,
    palette: Option<&Palette>,
    tolerance: u8,
) -> Result<Option<u64>, TranscodeError> {
    if matches!(picture.photometric, Photometric::Monochrome1 | Photometric::Monochrome2) {
        return Ok(None);
    }
    let rgb = to_rgb(in_order(picture, Order::ByPixel)?, palette)?;
    let found = match rgb.layout.depth {
        Depth::Eight => grey::find_colour(&rgb.pixels, tolerance),
        Depth::Sixteen => grey::find_colour_16(&rgb.pixels, u16::from(tolerance)),
    };
    Ok(found.map(|pixel| pixel as u64))
}

/// As whoever looks at it sees it: RGB by pixel, or grey.
#[cfg(test)]
pub(crate) fn to_be_seen(picture: Picture, palette: Option<&Palette>) -> Result<Picture, TranscodeError> {
    match picture.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => Ok(picture),
        Photometric::PaletteColor if palette.is_none() => Ok(picture),
        _ => to_rgb(in_order(picture, Order::ByPixel)?, palette),
    }
}

/// One byte per sample where the copy has that and the picture two.
fn narrow(picture: Picture, written: &Written) -> Result<Picture, TranscodeError> {
    // A palette's indices are expanded first, and its colours have 8 bits.
    if picture.layout.depth == Depth::Eight
        || written.bits_allocated > 8
        || picture.photometric == Photometric::PaletteColor
    {
        return Ok(picture);
    }
    let (samples, _) = picture.pixels.as_chunks::<2>();
    if samples.iter().any(|[_, high]| *high != 0) {
        return Err(TranscodeError::Pixels(
            "its samples need more than 8 bits, and the copy has no more".into(),
        ));
    }
    let pixels = samples.iter().map(|[low, _]| *low).collect();
    Ok(Picture { pixels, layout: FrameLayout { depth: Depth::Eight, ..picture.layout }, ..picture })
}

/// By pixel in, by pixel out.
fn to_rgb(picture: Picture, palette: Option<&Palette>) -> Result<Picture, TranscodeError> {
    let Picture { photometric, layout, mut pixels } = picture;
    let (layout, pixels) = match (photometric, palette) {
        (Photometric::Rgb, _) => (layout, pixels),
        (Photometric::YbrFull, _) if layout.depth == Depth::Eight => {
            colour::ybr_full_to_rgb(&mut pixels);
            (layout, pixels)
        }
        (Photometric::PaletteColor, Some(palette)) => {
            let rgb = palette.expand(&pixels, layout.depth);
            (FrameLayout { samples: Samples::Three, depth: Depth::Eight, ..layout }, rgb)
        }
        (other, _) => return Err(no_way(other, Photometric::Rgb)),
    };
    Ok(Picture { photometric: Photometric::Rgb, layout, pixels })
}

/// Every pixel was found grey before. What is exactly grey stays exactly what it is; what a lossy codec left nearly so becomes
/// its luma, which is the same for exact grey.
fn to_grey(rgb: Picture) -> Result<Picture, TranscodeError> {
    let pixels = match rgb.layout.depth {
        Depth::Eight => colour::rgb_to_luma(&rgb.pixels),
        Depth::Sixteen => colour::rgb_to_grey_exact_16(&rgb.pixels),
    };
    let layout = FrameLayout { samples: Samples::One, ..rgb.layout };
    Ok(Picture { photometric: Photometric::Monochrome2, layout, pixels })
}

fn in_order(picture: Picture, order: Order) -> Result<Picture, TranscodeError> {
    let Picture { photometric, layout, pixels } = picture;
    let pixels =
        colour::reorder(pixels, layout, order).map_err(|error| TranscodeError::Pixels(error.to_string()))?;
    Ok(Picture { photometric, layout: FrameLayout { order, ..layout }, pixels })
}

fn no_way(from: Photometric, to: Photometric) -> TranscodeError {
    TranscodeError::Pixels(format!("there is no way from {from:?} to {to:?}"))
}
