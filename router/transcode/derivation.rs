//! What a copy says of where it comes from: loss, and the image that it was made of (PS3.3 C.7.6.1.1.5, C.12.4).
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::Edits;
use super::attributes::{AttributeError, EXTREMES, Outcome, remove};
use super::coding::Coding;
use super::dataset::write_whole;
use super::identity::derived_uid;
use super::plan::{Pixels, Recipe};
use super::subject::{Image, Loss, Subject};
use super::values::Values;
use super::want::LossyUid;
use crate::dicom::{Encoding, Tag, Uid};

/// Says what loss there was, in the order in which it happened. What was lost once is never denied.
pub(super) fn loss(
    values: &Values<'_>,
    subject: &Subject,
    image: &Image,
    recipe: &Recipe,
    outcome: &Outcome,
    edits: &mut Edits,
) -> Result<(), AttributeError> {
    let loses = matches!(recipe.pixels, Pixels::JpegLossy(_));
    if !loses && image.loss != Loss::Stored {
        return Ok(());
    }
    if values.text(tags::LOSSY_IMAGE_COMPRESSION)? != "01" {
        edits.set(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, b"01".to_vec());
    }
    let ratios_said = values.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO)?;
    let methods_said = values.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD)?;
    let (mut ratios, mut methods) = (list(&ratios_said), list(&methods_said));
    // Value n of both is of the same compression; what is not known of one is empty.
    let steps = ratios.len().max(methods.len()).max(usize::from(image.loss == Loss::Stored));
    ratios.resize(steps, String::new());
    methods.resize(steps, String::new());
    if image.loss == Loss::Stored {
        // The source should have said so itself.
        if let Some(last) = ratios.last_mut().filter(|last| last.is_empty()) {
            *last = stored_ratio(subject, outcome);
        }
        if let Some(last) = methods.last_mut().filter(|last| last.is_empty()) {
            method(Coding::of(&subject.syntax), &subject.syntax.0).unwrap_or_default().clone_into(last);
        }
    }
    if loses {
        ratios.push(ratio(outcome.native_bytes, outcome.encoded_bytes));
        methods.push("ISO_10918_1".to_owned());
        // What was exact is no more.
        for tag in EXTREMES.into_iter().chain([tags::PIXEL_PADDING_VALUE, tags::PIXEL_PADDING_RANGE_LIMIT]) {
            remove(values, edits, tag);
        }
    }
    let (ratios, methods) = (ratios.join("\\"), methods.join("\\"));
    if ratios != ratios_said {
        edits.set(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, ratios.into_bytes());
    }
    if methods != methods_said {
        edits.set(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, methods.into_bytes());
    }
    Ok(())
}

/// The values of a text that may have several; none of an empty one.
fn list(text: &str) -> Vec<String> {
    let values = text.split('\\').filter(|_| !text.is_empty());
    values.map(|value| value.trim().to_owned()).collect()
}

/// Says that it is another image than its source, and which that was.
pub(super) fn derived(
    values: &Values<'_>,
    subject: &Subject,
    recipe: &Recipe,
    outcome: &Outcome,
    edits: &mut Edits,
) -> Result<(), AttributeError> {
    edits.set(tags::IMAGE_TYPE, VR::CS, image_type(&values.text(tags::IMAGE_TYPE)?).into_bytes());
    let (description, purpose) = match recipe.pixels {
        Pixels::JpegLossy(quality) => {
            (format!("JPEG Baseline, quality {}", quality.get()), UNCOMPRESSED_PREDECESSOR)
        }
        Pixels::AsTheyAre | Pixels::Native | Pixels::JpegLossless | Pixels::Rle => {
            ("Made monochrome".to_owned(), SOURCE_OF_PROCESSING)
        }
    };
    let said = values.text(tags::DERIVATION_DESCRIPTION)?;
    let description = if said.is_empty() { description } else { format!("{said}; {description}") };
    if description.len() <= LONGEST_ST {
        // Some character sets have more than one byte a character, so bytes are kept as they came.
        let bytes = description.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect();
        edits.set(tags::DERIVATION_DESCRIPTION, VR::ST, bytes);
    }
    if matches!(recipe.pixels, Pixels::JpegLossy(_)) {
        let codes = with_item(values, tags::DERIVATION_CODE_SEQUENCE, &code(LOSSY_COMPRESSION))?;
        edits.set(tags::DERIVATION_CODE_SEQUENCE, VR::SQ, codes);
    }
    if recipe.lossy_uid == LossyUid::New {
        edits.set(tags::SOP_INSTANCE_UID, VR::UI, own_uid(subject, recipe, outcome).to_padded());
        let purpose = if subject.image().is_some_and(|image| image.loss == Loss::Stored) {
            SOURCE_OF_PROCESSING
        } else {
            purpose
        };
        let sources = with_item(values, tags::SOURCE_IMAGE_SEQUENCE, &reference(subject, purpose))?;
        edits.set(tags::SOURCE_IMAGE_SEQUENCE, VR::SQ, sources);
    }
    Ok(())
}

/// The UID of what is another image than its source.
pub(super) fn own_uid(subject: &Subject, recipe: &Recipe, outcome: &Outcome) -> Uid {
    match recipe.lossy_uid {
        LossyUid::New => derived_uid(&subject.sop_instance, &outcome.digest, recipe),
        LossyUid::Keep => subject.sop_instance.clone(),
    }
}

/// Image Type with DERIVED as its first value.
fn image_type(said: &str) -> String {
    match said.split_once('\\') {
        Some((_, rest)) => format!("DERIVED\\{rest}"),
        None => "DERIVED\\PRIMARY".to_owned(),
    }
}

/// The ratio of lossy compression that the source was stored with.
fn stored_ratio(subject: &Subject, outcome: &Outcome) -> String {
    let stored = subject.outline.pixel_data().map_or(0, |pixels| pixels.end - pixels.value);
    let native = subject.image().map_or(outcome.native_bytes, |image| {
        u64::from(image.rows)
            * u64::from(image.columns)
            * u64::from(image.samples)
            * u64::from(image.bits_allocated / 8)
            * u64::from(image.frames)
    });
    ratio(native, stored)
}

/// A ratio with two decimals.
fn ratio(native: u64, encoded: u64) -> String {
    let encoded = u128::from(encoded.max(1));
    let hundredths = (u128::from(native) * 100 + encoded / 2) / encoded;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Lossy Image Compression Method (0028,2114), PS3.3 C.7.6.1.1.5.1.
fn method(coding: Coding, syntax: &Uid) -> Option<&'static str> {
    match coding {
        Coding::JpegLossy => Some("ISO_10918_1"),
        Coding::JpegLs => Some("ISO_14495_1"),
        Coding::Jpeg2000 => Some("ISO_15444_1"),
        // What was recompressed from JPEG lost what it lost in JPEG.
        Coding::JpegXl if syntax.as_str() == "1.2.840.10008.1.2.4.111" => Some("ISO_10918_1"),
        Coding::JpegXl => Some("ISO_18181_1"),
        Coding::Native | Coding::Rle | Coding::JpegLossless | Coding::Other => None,
    }
}

/// The items of a sequence, in Explicit VR Little Endian, and one more behind them.
fn with_item(values: &Values<'_>, sequence: Tag, last: &[u8]) -> Result<Vec<u8>, AttributeError> {
    let mut all = Vec::new();
    for outline in values.items(sequence)? {
        if outline.length > MOST_OF_AN_ITEM {
            return Err(AttributeError::Odd(format!("an item of {sequence} is longer than any reference")));
        }
        let mut content = Vec::new();
        write_whole(values.source, &outline, &Edits::default(), Encoding::ExplicitLe, &mut content)?;
        all.extend(item(&content));
    }
    all.extend(item(last));
    Ok(all)
}

/// A reference to the source, and what for.
fn reference(subject: &Subject, purpose: Code) -> Vec<u8> {
    let mut content = element(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &subject.sop_class.to_padded());
    content.extend(element(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &subject.sop_instance.to_padded()));
    content.extend(element(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, VR::SQ, &item(&code(purpose))));
    content
}

/// The elements of a code (PS3.3 8.8).
fn code(code: Code) -> Vec<u8> {
    let mut content = element(tags::CODE_VALUE, VR::SH, code.value.as_bytes());
    content.extend(element(tags::CODING_SCHEME_DESIGNATOR, VR::SH, b"DCM"));
    content.extend(element(tags::CODE_MEANING, VR::LO, code.meaning.as_bytes()));
    content
}

fn item(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFE, 0xFF, 0x00, 0xE0];
    bytes.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(content);
    bytes
}

/// An element in Explicit VR Little Endian, padded (PS3.5 7.1.2).
fn element(tag: Tag, vr: VR, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + value.len());
    bytes.extend(tag.0.to_le_bytes());
    bytes.extend(tag.1.to_le_bytes());
    bytes.extend(vr.to_bytes());
    let length = value.len() + value.len() % 2;
    if vr == VR::SQ {
        bytes.extend([0, 0]);
        bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    } else {
        bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    }
    bytes.extend(value);
    if value.len() % 2 == 1 {
        bytes.push(b' ');
    }
    bytes
}

/// A code of the DICOM Controlled Terminology (PS3.16 Annex D).
#[derive(Clone, Copy)]
struct Code {
    value: &'static str,
    meaning: &'static str,
}

const LOSSY_COMPRESSION: Code = Code { value: "113040", meaning: "Lossy Compression" };
const UNCOMPRESSED_PREDECESSOR: Code = Code { value: "121320", meaning: "Uncompressed predecessor" };
const SOURCE_OF_PROCESSING: Code =
    Code { value: "121322", meaning: "Source image for image processing operation" };

/// Short text: at most 1,024 characters (PS3.5 6.2).
const LONGEST_ST: usize = 1024;
/// Bytes of a reference or a code with all that may be nested in it.
const MOST_OF_AN_ITEM: u64 = 64 << 10;
