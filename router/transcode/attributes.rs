//! What changes in a copy's attributes, because its pixels are others than the source's.
//!
//! What stays true is not touched, so that a spliced data set differs from its source in as few bytes as can be.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use chrysalis_codecs::Order;
use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::dataset::WriteError;
use super::derivation;
use super::plan::{Grey, Pixels, Recipe};
use super::subject::{Image, Loss, Photometric, Sign, Subject};
use super::values::{Refusal, Values};
use super::written::{Colour, Written};
use super::{Edits, Source};
use crate::dicom::{Encoding, Tag, Uid};

/// What only making a copy shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it became grey.
    pub colour: Colour,
    /// Bytes of all its frames as they are written.
    pub encoded_bytes: u64,
    /// Bytes of all its frames as native pixels.
    pub native_bytes: u64,
    /// SHA-256 of the stored data set.
    pub digest: [u8; 32],
}

/// What a copy's attributes have to be cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// The stored bytes cannot be read.
    #[error("the data set cannot be read: {0}")]
    Source(#[from] io::Error),
    /// An attribute that has to be changed is not what it should be.
    #[error("{0}")]
    Odd(String),
}

/// How a copy's attributes differ from the source's.
///
/// # Errors
/// [`AttributeError`], when an attribute that is looked at cannot be read.
pub fn edits(
    source: &dyn Source,
    subject: &Subject,
    recipe: &Recipe,
    outcome: &Outcome,
) -> Result<Edits, AttributeError> {
    let Some(image) = subject.image().filter(|_| recipe.pixels != Pixels::AsTheyAre) else {
        return Ok(Edits::default());
    };
    let values = Values { source, outline: &subject.outline };
    let written = Written::of(image, &subject.syntax, recipe, outcome.colour);
    let mut edits = Edits::default();
    pixels(&values, &written, &mut edits)?;
    encapsulation(&values, subject, recipe, &mut edits)?;
    if written.photometric != image.photometric {
        colours(&values, image, &written, outcome.colour, &mut edits);
    }
    if outcome.colour == Colour::Grey {
        grey(&values, &written, &mut edits);
    }
    derivation::loss(&values, subject, image, recipe, outcome, &mut edits)?;
    if is_derived(image, recipe, outcome.colour) {
        derivation::derived(&values, subject, recipe, outcome, &mut edits)?;
    }
    Ok(edits)
}

/// The SOP Instance UID of a copy: its own when it is another image than the source, and the configuration lets it.
pub fn sop_instance(subject: &Subject, recipe: &Recipe, outcome: &Outcome) -> Uid {
    match subject.image() {
        Some(image) if is_derived(image, recipe, outcome.colour) => {
            derivation::own_uid(subject, recipe, outcome)
        }
        Some(_) | None => subject.sop_instance.clone(),
    }
}

/// Whether pixels differ from the source's: compressed with loss, or made grey though they had a trace of colour. What is
/// exactly grey loses nothing.
fn is_derived(image: &Image, recipe: &Recipe, colour: Colour) -> bool {
    let was_tinted =
        colour == Colour::Grey && matches!(recipe.grey, Grey::Within(1..)) && image.loss != Loss::None;
    was_tinted || matches!(recipe.pixels, Pixels::JpegLossy(_))
}

/// The attributes that describe pixels (PS3.3 C.7.6.3).
fn pixels(values: &Values<'_>, written: &Written, edits: &mut Edits) -> Result<(), AttributeError> {
    let name = written.photometric.name();
    if values.text(tags::PHOTOMETRIC_INTERPRETATION)? != name {
        edits.set(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, name.as_bytes().to_vec());
    }
    let sign = u16::from(written.sign == Sign::Signed);
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, u16::from(written.samples)),
        (tags::BITS_ALLOCATED, u16::from(written.bits_allocated)),
        (tags::BITS_STORED, u16::from(written.bits_stored)),
        (tags::HIGH_BIT, u16::from(written.bits_stored.saturating_sub(1))),
        (tags::PIXEL_REPRESENTATION, sign),
    ];
    for (tag, number) in numbers {
        set_number(values, edits, tag, number)?;
    }
    if written.samples == 1 {
        remove(values, edits, tags::PLANAR_CONFIGURATION);
    } else {
        set_number(values, edits, tags::PLANAR_CONFIGURATION, u16::from(written.order == Order::ByPlane))?;
    }
    Ok(())
}

/// What belongs to the source's fragments, or could not be read in another transfer syntax.
fn encapsulation(
    values: &Values<'_>,
    subject: &Subject,
    recipe: &Recipe,
    edits: &mut Edits,
) -> Result<(), AttributeError> {
    for tag in OFFSET_TABLES {
        remove(values, edits, tag);
    }
    // An icon's pixels may be in fragments where the image's are (PS3.5 A.4), compressed in the same way.
    if recipe.to == subject.syntax || subject.syntax.encoding() != Encoding::Encapsulated {
        return Ok(());
    }
    if let Some(icon) = values.outline.get(tags::ICON_IMAGE_SEQUENCE)
        && values.outline.has_fragments_within(values.source, icon).map_err(Refusal::from)?
    {
        remove(values, edits, tags::ICON_IMAGE_SEQUENCE);
    }
    Ok(())
}

/// What described the samples of another photometric interpretation.
fn colours(values: &Values<'_>, image: &Image, written: &Written, colour: Colour, edits: &mut Edits) {
    if image.photometric == Photometric::PaletteColor || colour == Colour::Grey {
        for tag in PALETTE {
            remove(values, edits, tag);
        }
    }
    if image.samples != written.samples {
        remove(values, edits, tags::PIXEL_PADDING_VALUE);
        remove(values, edits, tags::PIXEL_PADDING_RANGE_LIMIT);
    }
    for tag in EXTREMES {
        remove(values, edits, tag);
    }
}

/// Grey without a trace of colour: the identity for a window, so that no viewer makes up its own, and nothing that
/// describes colours or changes how grey is shown.
fn grey(values: &Values<'_>, written: &Written, edits: &mut Edits) {
    let levels = 1_u32 << written.bits_stored.min(16);
    edits.set(tags::ULTRASOUND_COLOR_DATA_PRESENT, VR::US, vec![0, 0]);
    edits.set(tags::WINDOW_CENTER, VR::DS, (levels / 2).to_string().into_bytes());
    edits.set(tags::WINDOW_WIDTH, VR::DS, levels.to_string().into_bytes());
    for tag in NOT_OF_GREY {
        remove(values, edits, tag);
    }
    if values.has(tags::SEQUENCE_OF_ULTRASOUND_REGIONS) {
        let components = PIXEL_COMPONENTS.map(|element| Tag(0x0018, element)).to_vec();
        edits.remove_within(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, components);
    }
}

/// Sets a number, unless it is that already.
fn set_number(values: &Values<'_>, edits: &mut Edits, tag: Tag, number: u16) -> Result<(), AttributeError> {
    if values.number(tag)? != Some(u32::from(number)) {
        edits.set(tag, VR::US, number.to_le_bytes().to_vec());
    }
    Ok(())
}

/// Takes an element away, if it is there.
pub(super) fn remove(values: &Values<'_>, edits: &mut Edits, tag: Tag) {
    if values.has(tag) {
        edits.remove(tag);
    }
}

impl Photometric {
    /// The standard's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monochrome1 => "MONOCHROME1",
            Self::Monochrome2 => "MONOCHROME2",
            Self::PaletteColor => "PALETTE COLOR",
            Self::Rgb => "RGB",
            Self::YbrFull => "YBR_FULL",
            Self::YbrFull422 => "YBR_FULL_422",
            Self::YbrPartial420 => "YBR_PARTIAL_420",
            Self::YbrPartial422 => "YBR_PARTIAL_422",
            Self::YbrIct => "YBR_ICT",
            Self::YbrRct => "YBR_RCT",
        }
    }
}

impl From<Refusal> for AttributeError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Source(error) => Self::Source(error),
            Refusal::Foreign(why) | Refusal::Odd(why) => Self::Odd(why),
        }
    }
}

impl From<WriteError> for AttributeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Outline(error) => Refusal::from(error).into(),
            error @ (WriteError::Output(_)
            | WriteError::Target
            | WriteError::Fragments
            | WriteError::Native
            | WriteError::TooLong(_)
            | WriteError::Misread { .. }) => Self::Odd(error.to_string()),
        }
    }
}

const OFFSET_TABLES: [Tag; 3] = [
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::ENCAPSULATED_PIXEL_DATA_VALUE_TOTAL_LENGTH,
];

/// Palette Color Lookup Tables: descriptors, data, segmented data, UID.
const PALETTE: [Tag; 10] = [
    Tag(0x0028, 0x1101),
    Tag(0x0028, 0x1102),
    Tag(0x0028, 0x1103),
    tags::PALETTE_COLOR_LOOKUP_TABLE_UID,
    Tag(0x0028, 0x1201),
    Tag(0x0028, 0x1202),
    Tag(0x0028, 0x1203),
    Tag(0x0028, 0x1221),
    Tag(0x0028, 0x1222),
    Tag(0x0028, 0x1223),
];

/// What depends on each single value: Smallest and Largest Image Pixel Value.
pub(super) const EXTREMES: [Tag; 2] = [tags::SMALLEST_IMAGE_PIXEL_VALUE, tags::LARGEST_IMAGE_PIXEL_VALUE];

/// What speaks of colour, or would show grey as something else than the identity: in the order of PS3.3 C.11, the modality
/// LUT, the VOI LUT and the presentation LUT. In colour nobody looked at them.
const NOT_OF_GREY: [Tag; 11] = [
    tags::ICC_PROFILE,
    tags::COLOR_SPACE,
    tags::MODALITY_LUT_SEQUENCE,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
    tags::WINDOW_CENTER_WIDTH_EXPLANATION,
    tags::VOILUT_FUNCTION,
    tags::VOILUT_SEQUENCE,
    tags::PRESENTATION_LUT_SEQUENCE,
    tags::PRESENTATION_LUT_SHAPE,
];

/// Attributes of a region that say what a colour means, from Pixel Component Organization to Table of Parameter Values
/// (PS3.3 C.8.5.5), all of group 0018.
const PIXEL_COMPONENTS: [u16; 12] =
    [0x6044, 0x6046, 0x6048, 0x604A, 0x604C, 0x604E, 0x6050, 0x6052, 0x6054, 0x6056, 0x6058, 0x605A];
