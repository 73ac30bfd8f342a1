//! Whether an image in colour may become grey, as far as its attributes go; its pixels have the last word.

use super::coding::Coding;
use super::plan::{GREY_AFTER_LOSS, Grey};
use super::subject::{Image, Loss, Photometric, Veto};
use super::want::{Compression, LossySource, Monochrome};
use crate::dicom::{TransferSyntax, Uid};

/// Why an image stays in colour before anybody looked at its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum InColour {
    /// Nobody asked for grey, or there is no colour to lose.
    NotAsked,
    /// For this reason.
    Because(&'static str),
}

/// How grey its pixels have to be to become grey.
///
/// What is decoded from lossy compression may have a trace of colour where it was grey. To take that away makes another
/// image, so it is done only where what was compressed with loss may be encoded again. Pixels that are stored without loss
/// are what they are, whatever happened to them before.
pub(super) fn wanted(
    stored: &TransferSyntax,
    sop_class: &Uid,
    image: &Image,
    wish: &Compression,
) -> Result<Grey, InColour> {
    if wish.monochrome == Monochrome::Never || !is_colour(image.photometric) {
        return Err(InColour::NotAsked);
    }
    if !ULTRASOUND.contains(&sop_class.as_str()) {
        return Err(InColour::Because("it is no ultrasound image"));
    }
    match image.veto {
        Some(Veto::Region) => return Err(InColour::Because("one of its regions has colour")),
        Some(Veto::ImageType) => return Err(InColour::Because("its Image Type names a mode with colour")),
        None => {}
    }
    if !Coding::of(stored).is_decodable() {
        return Err(InColour::Because("its pixels cannot be decoded here"));
    }
    match (image.loss, wish.lossy_source) {
        (Loss::None | Loss::Earlier, _) | (Loss::Stored, LossySource::Keep) => Ok(Grey::Within(0)),
        (Loss::Stored, LossySource::Force) => Ok(Grey::Within(GREY_AFTER_LOSS)),
    }
}

fn is_colour(photometric: Photometric) -> bool {
    match photometric {
        Photometric::Rgb
        | Photometric::YbrFull
        | Photometric::YbrFull422
        | Photometric::YbrIct
        | Photometric::YbrRct => true,
        Photometric::Monochrome1
        | Photometric::Monochrome2
        | Photometric::PaletteColor
        | Photometric::YbrPartial420
        | Photometric::YbrPartial422 => false,
    }
}

/// Ultrasound Image and Ultrasound Multi-frame Image Storage, and the two retired ones: no other class has B-mode images
/// that may be of one sample or of three.
const ULTRASOUND: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.3",
];
