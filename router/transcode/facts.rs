//! What the attributes of an image say of its pixels (PS3.3 C.7.6.3), and whether they can be believed.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use chrysalis_codecs::Order;
use dicom_dictionary_std::tags;

use super::coding::Coding;
use super::dataset::Element;
use super::subject::{Image, Loss, Photometric, Sign};
use super::values::{Refusal, Values};
use super::veto;
use crate::dicom::transfer_syntax::Fidelity;
use crate::dicom::{Encoding, Tag, TransferSyntax};

/// Reads an image's facts, and compares them with the length of its native pixels.
pub(super) fn read(values: &Values<'_>, syntax: &TransferSyntax, pixels: &Element) -> Result<Image, Refusal> {
    let is_encapsulated = syntax.encoding() == Encoding::Encapsulated;
    if pixels.undefined != is_encapsulated {
        return Err(odd("its Pixel Data is not encoded as its transfer syntax says"));
    }
    let photometric = photometric(values)?;
    let (bits_allocated, bits_stored) = bits(values)?;
    let image = Image {
        rows: dimension(values, tags::ROWS, "Rows")?,
        columns: dimension(values, tags::COLUMNS, "Columns")?,
        frames: frames(values)?,
        samples: samples(values, photometric)?,
        photometric,
        bits_allocated,
        bits_stored,
        sign: sign(values)?,
        order: order(values)?,
        loss: loss(values, syntax)?,
        veto: veto::read(values)?,
    };
    let decoded = decoded_bytes(&image)?;
    no_overlay_in_pixels(values)?;
    if photometric == Photometric::PaletteColor
        && !values.has(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR)
    {
        return Err(foreign("its palette is missing"));
    }
    if Coding::of(syntax) == Coding::Native {
        check_native(&image, decoded, pixels.end - pixels.value)?;
    }
    Ok(image)
}

/// Bytes of a native frame as it is stored: YBR_FULL_422 has two samples of two per pixel (PS3.3 C.7.6.3.1.2).
pub(super) fn native_frame_bytes(image: &Image) -> u64 {
    let samples = if image.photometric == Photometric::YbrFull422 { 2 } else { u64::from(image.samples) };
    u64::from(image.rows) * u64::from(image.columns) * samples * u64::from(image.bits_allocated / 8)
}

fn photometric(values: &Values<'_>) -> Result<Photometric, Refusal> {
    match values.text(tags::PHOTOMETRIC_INTERPRETATION)?.as_str() {
        "MONOCHROME1" => Ok(Photometric::Monochrome1),
        "MONOCHROME2" => Ok(Photometric::Monochrome2),
        "PALETTE COLOR" => Ok(Photometric::PaletteColor),
        "RGB" => Ok(Photometric::Rgb),
        "YBR_FULL" => Ok(Photometric::YbrFull),
        "YBR_FULL_422" => Ok(Photometric::YbrFull422),
        "YBR_PARTIAL_420" => Ok(Photometric::YbrPartial420),
        "YBR_PARTIAL_422" => Ok(Photometric::YbrPartial422),
        "YBR_ICT" => Ok(Photometric::YbrIct),
        "YBR_RCT" => Ok(Photometric::YbrRct),
        "" => Err(foreign("its Photometric Interpretation is missing")),
        // What is written there came over the wire and is not repeated.
        _ => Err(foreign("its Photometric Interpretation is not known here")),
    }
}

fn bits(values: &Values<'_>) -> Result<(u8, u8), Refusal> {
    let allocated: u8 = match values.number(tags::BITS_ALLOCATED)? {
        Some(8) => 8,
        Some(16) => 16,
        Some(bits) => return Err(foreign(&format!("its pixels have {bits} bits allocated"))),
        None => return Err(odd("Bits Allocated is missing")),
    };
    let stored = values.number(tags::BITS_STORED)?.unwrap_or(u32::from(allocated));
    let bits_stored = u8::try_from(stored).ok().filter(|&bits| bits >= 1 && bits <= allocated);
    let bits_stored =
        bits_stored.ok_or_else(|| odd(&format!("{stored} bits are said to be stored in {allocated}")))?;
    match values.number(tags::HIGH_BIT)? {
        Some(high) if high + 1 != stored => Err(foreign("its samples do not begin at the lowest bit")),
        Some(_) | None => Ok((allocated, bits_stored)),
    }
}

/// Rows and Columns: some write four bytes, and some lie in them.
fn dimension(values: &Values<'_>, tag: Tag, name: &str) -> Result<u16, Refusal> {
    match values.number(tag)? {
        None => Err(odd(&format!("{name} is missing"))),
        Some(0) => Err(odd(&format!("{name} is 0"))),
        Some(number) => {
            u16::try_from(number).map_err(|_| odd(&format!("pixel size overflow: {name} is {number}")))
        }
    }
}

/// Number of Frames (0028,0008), an integer string; 1 when nothing is said.
fn frames(values: &Values<'_>) -> Result<u32, Refusal> {
    let text = values.text(tags::NUMBER_OF_FRAMES)?;
    if text.is_empty() {
        return Ok(1);
    }
    let digits = text.strip_prefix('+').unwrap_or(&text);
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
    number.filter(|&frames| frames >= 1).ok_or_else(|| odd("Number of Frames is no number of frames"))
}

fn samples(values: &Values<'_>, photometric: Photometric) -> Result<u8, Refusal> {
    let wanted = photometric.samples();
    match values.number(tags::SAMPLES_PER_PIXEL)? {
        Some(samples) if samples == u32::from(wanted) => Ok(wanted),
        Some(samples) => Err(foreign(&format!(
            "its pixels have {samples} samples, and its Photometric Interpretation wants {wanted}"
        ))),
        None if wanted == 1 => Ok(1),
        None => Err(odd("Samples per Pixel is missing")),
    }
}

fn sign(values: &Values<'_>) -> Result<Sign, Refusal> {
    match values.number(tags::PIXEL_REPRESENTATION)? {
        None | Some(0) => Ok(Sign::Unsigned),
        Some(1) => Ok(Sign::Signed),
        Some(other) => Err(odd(&format!("Pixel Representation is {other}"))),
    }
}

/// Planar Configuration; where it is missing, the samples of a pixel lie side by side.
fn order(values: &Values<'_>) -> Result<Order, Refusal> {
    match values.number(tags::PLANAR_CONFIGURATION)? {
        None | Some(0) => Ok(Order::ByPixel),
        Some(1) => Ok(Order::ByPlane),
        Some(other) => Err(odd(&format!("Planar Configuration is {other}"))),
    }
}

/// A syntax that is always lossy stores with loss. One that may be is believed to be, unless Lossy Image Compression
/// (0028,2110) says 00 (PS3.3 C.7.6.1.1.5).
fn loss(values: &Values<'_>, syntax: &TransferSyntax) -> Result<Loss, Refusal> {
    let said = values.text(tags::LOSSY_IMAGE_COMPRESSION)?;
    let reversible = syntax.fidelity() != Fidelity::PossiblyLossy;
    let may_be_reversible = MAY_BE_REVERSIBLE.contains(&syntax.0.as_str());
    Ok(match said.as_str() {
        "01" if reversible => Loss::Earlier,
        "00" if reversible || may_be_reversible => Loss::None,
        _ if reversible => Loss::None,
        _ => Loss::Stored,
    })
}

/// Bytes of all frames with all their samples.
fn decoded_bytes(image: &Image) -> Result<u64, Refusal> {
    let frame = u64::from(image.rows) * u64::from(image.columns) * u64::from(image.samples);
    let bytes = frame.checked_mul(u64::from(image.bits_allocated / 8));
    let bytes = bytes.and_then(|bytes| bytes.checked_mul(u64::from(image.frames)));
    bytes.filter(|&bytes| bytes <= MOST_PIXELS).ok_or_else(|| {
        odd(&format!("pixel size overflow: {} x {} x {} frames", image.columns, image.rows, image.frames))
    })
}

/// An overlay in bits of the pixels themselves (retired; PS3.3-2004 C.9.2) would be lost, or spoil them.
fn no_overlay_in_pixels(values: &Values<'_>) -> Result<(), Refusal> {
    for group in (0x6000..=0x601E).step_by(2) {
        let described = values.has(Tag(group, 0x0010)) || values.has(Tag(group, 0x0100));
        let shared = values.number(Tag(group, 0x0100))?.is_some_and(|bits| bits != 1);
        if described && (shared || !values.has(Tag(group, 0x3000))) {
            return Err(foreign("an overlay lies in bits of its pixels"));
        }
    }
    Ok(())
}

/// Native pixels have exactly the length that the attributes tell, and one byte more to be even.
fn check_native(image: &Image, decoded: u64, length: u64) -> Result<(), Refusal> {
    match image.photometric {
        Photometric::YbrIct | Photometric::YbrRct => {
            return Err(foreign(
                "its Photometric Interpretation is one of JPEG 2000, but its pixels are native",
            ));
        }
        Photometric::YbrPartial420 | Photometric::YbrPartial422 => {
            return Err(foreign("its colours have a partial range, which is not converted here"));
        }
        Photometric::YbrFull422
            if image.columns % 2 == 1 || image.bits_allocated != 8 || image.order == Order::ByPlane =>
        {
            return Err(foreign("its chroma samples are laid out in a way that is not known here"));
        }
        Photometric::Monochrome1
        | Photometric::Monochrome2
        | Photometric::PaletteColor
        | Photometric::Rgb
        | Photometric::YbrFull
        | Photometric::YbrFull422 => {}
    }
    // It cannot overflow: it is no more than what was decoded.
    let expected = native_frame_bytes(image) * u64::from(image.frames);
    debug_assert!(expected <= decoded);
    if length < expected {
        return Err(odd(&format!(
            "pixel data short: {length} bytes where its attributes tell of {expected}"
        )));
    }
    if length > expected + expected % 2 {
        return Err(foreign(&format!(
            "its Pixel Data has {length} bytes where its attributes tell of {expected}"
        )));
    }
    Ok(())
}

fn odd(why: &str) -> Refusal {
    Refusal::Odd(why.to_owned())
}

fn foreign(why: &str) -> Refusal {
    Refusal::Foreign(why.to_owned())
}

/// Transfer syntaxes that hold lossy and lossless pixels: JPEG-LS near-lossless, JPEG 2000 of both parts, JPEG XL,
/// High-Throughput JPEG 2000.
const MAY_BE_REVERSIBLE: [&str; 5] = [
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.203",
];

/// More decoded pixels than this, 1 TiB, no instance has.
const MOST_PIXELS: u64 = 1 << 40;
