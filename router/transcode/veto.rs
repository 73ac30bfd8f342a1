//! What the attributes say against taking an image for a grey B-mode image.
//!
//! They only forbid. That nothing speaks against it means nothing: many carts leave these attributes out, or write what
//! they always write.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_dictionary_std::tags;

use super::subject::Veto;
use super::values::{Refusal, Values};

/// What speaks against grey.
pub(super) fn read(values: &Values<'_>) -> Result<Option<Veto>, Refusal> {
    if has_region_of_colour(values)? {
        return Ok(Some(Veto::Region));
    }
    let image_type = values.text(tags::IMAGE_TYPE)?;
    let modes = image_type.split('\\').nth(3).map(str::trim).unwrap_or_default();
    let has_colour = u32::from_str_radix(modes, 16).is_ok_and(|modes| modes & MODES_WITH_COLOUR != 0);
    Ok(has_colour.then_some(Veto::ImageType))
}

/// Whether a region of Sequence of Ultrasound Regions (0018,6011) is of a type with colour. What is no sequence there, or
/// has a type that cannot be read, is not trusted.
fn has_region_of_colour(values: &Values<'_>) -> Result<bool, Refusal> {
    let regions = match values.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS) {
        Ok(regions) => regions,
        Err(Refusal::Source(error)) => return Err(Refusal::Source(error)),
        Err(Refusal::Foreign(_) | Refusal::Odd(_)) => return Ok(true),
    };
    for outline in &regions {
        let region = Values { source: values.source, outline };
        match region.number(tags::REGION_DATA_TYPE) {
            Ok(Some(COLOUR_FLOW | COLOUR_BAR)) | Err(Refusal::Foreign(_) | Refusal::Odd(_)) => {
                return Ok(true);
            }
            Ok(Some(_) | None) => {}
            Err(Refusal::Source(error)) => return Err(Refusal::Source(error)),
        }
    }
    Ok(false)
}

/// Region Data Type (0018,6014), PS3.3 C.8.5.5.1.2.
const COLOUR_FLOW: u32 = 0x0002;
const COLOUR_BAR: u32 = 0x000E;

/// Value 4 of Image Type (0008,0008), bits in hexadecimal digits, PS3.3 C.8.5.6.1.1: colour Doppler 0010, colour M-mode
/// 0020, colour power mode 0100.
const MODES_WITH_COLOUR: u32 = 0x0010 | 0x0020 | 0x0100;
