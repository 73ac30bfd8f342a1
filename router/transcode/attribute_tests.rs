//! What the attributes of a copy say.

use std::collections::BTreeMap;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::attributes::{Outcome, edits, sop_instance};
use super::dataset::sample::{sequence, value};
use super::dataset::{Outline, write_whole};
use super::subject_tests::Draft;
use super::written::Colour;
use super::{Change, Edits, Grey, LossyUid, Pixels, Quality, Recipe, Subject};
use crate::dicom::{Encoding, Tag, TransferSyntax};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BASELINE: &str = "1.2.840.10008.1.2.4.50";
const RLE: &str = "1.2.840.10008.1.2.5";

fn recipe(pixels: Pixels) -> Recipe {
    let to = match pixels {
        Pixels::AsTheyAre | Pixels::Native => TransferSyntax::EXPLICIT_VR_LE,
        Pixels::JpegLossless => TransferSyntax::JPEG_LOSSLESS,
        Pixels::JpegLossy(_) => TransferSyntax::JPEG_BASELINE,
        Pixels::Rle => TransferSyntax::RLE_LOSSLESS,
    };
    Recipe { to, pixels, grey: Grey::Never, lossy_uid: LossyUid::New, why: String::new() }
}

fn lossy() -> Recipe {
    recipe(Pixels::JpegLossy(Quality::DEFAULT))
}

fn outcome(colour: Colour) -> Outcome {
    Outcome { colour, encoded_bytes: 3000, native_bytes: 24_000, digest: [7; 32] }
}

struct Copy {
    subject: Subject,
    edits: Edits,
    outcome: Outcome,
}

fn copy(draft: &Draft, syntax: &str, recipe: &Recipe, colour: Colour) -> Copy {
    let subject = draft.subject(syntax);
    let encoding = subject.outline.encoding;
    let outcome = outcome(colour);
    let edits = edits(&draft.bytes(encoding), &subject, recipe, &outcome).unwrap();
    Copy { subject, edits, outcome }
}

/// Edits in short: texts and numbers as they are, sequences by their length.
fn short(edits: &Edits) -> BTreeMap<(u16, u16), String> {
    let one = |(tag, change): (Tag, &Change)| {
        let text = match change {
            Change::Remove => "-".to_owned(),
            Change::Set { vr: VR::US, value } => u16::from_le_bytes([value[0], value[1]]).to_string(),
            Change::Set { vr: VR::SQ, .. } => "items".to_owned(),
            Change::Set { value, .. } => {
                String::from_utf8_lossy(value).trim_end_matches([' ', '\0']).to_owned()
            }
            Change::RemoveWithin(tags) => format!("within: {}", tags.len()),
        };
        ((tag.0, tag.1), text)
    };
    edits.iter().map(one).collect()
}

#[track_caller]
fn assert_edits(copy: &Copy, expected: &[(Tag, &str)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(tag, text)| ((tag.0, tag.1), (*text).to_owned())).collect();
    assert_eq!(short(&copy.edits), expected);
}

#[test]
fn a_lossless_copy_of_pixels_that_stay_what_they_are_changes_nothing() {
    for pixels in [Pixels::JpegLossless, Pixels::Native, Pixels::AsTheyAre] {
        let copy = copy(&Draft::new(), EXPLICIT, &recipe(pixels), Colour::Kept);
        assert_edits(&copy, &[]);
        assert_eq!(sop_instance(&copy.subject, &recipe(pixels), &copy.outcome).as_str(), "1.2.3.4");
    }
}

#[test]
fn compressed_samples_lie_pixel_by_pixel_and_upsampled_ones_are_all_there() {
    let mut planes = Draft::new();
    planes.us(tags::PLANAR_CONFIGURATION, 1);
    let copied = copy(&planes, EXPLICIT, &recipe(Pixels::JpegLossless), Colour::Kept);
    assert_edits(&copied, &[(tags::PLANAR_CONFIGURATION, "0")]);
    assert_edits(&copy(&planes, EXPLICIT, &recipe(Pixels::Native), Colour::Kept), &[]);
    let mut halved = Draft::new();
    halved.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422").pixels(16);
    let copied = copy(&halved, EXPLICIT, &recipe(Pixels::JpegLossless), Colour::Kept);
    assert_edits(&copied, &[(tags::PHOTOMETRIC_INTERPRETATION, "YBR_FULL")]);
}

#[test]
fn offset_tables_and_icons_of_the_source_s_coding_do_not_go_along() {
    let mut draft = Draft::new();
    draft.fragments(&[b"", b"12"]).put(tags::EXTENDED_OFFSET_TABLE, VR::OV, &[0; 8]);
    let icon = super::dataset::sample::Node::Fragments { fragments: vec![vec![], vec![1, 2]] };
    draft.node(tags::ICON_IMAGE_SEQUENCE, sequence(tags::ICON_IMAGE_SEQUENCE, vec![vec![icon]]));
    let copied = copy(&draft, RLE, &recipe(Pixels::Native), Colour::Kept);
    assert_edits(&copied, &[(tags::EXTENDED_OFFSET_TABLE, "-"), (tags::ICON_IMAGE_SEQUENCE, "-")]);
    let copied = copy(&draft, RLE, &recipe(Pixels::Rle), Colour::Kept);
    assert_edits(&copied, &[(tags::EXTENDED_OFFSET_TABLE, "-")]);
}

#[test]
fn an_icon_that_is_not_compressed_goes_along() {
    let mut draft = Draft::new();
    draft.fragments(&[b"", b"12"]);
    let icon = value(tags::PIXEL_DATA, VR::OW, &[1, 2]);
    draft.node(tags::ICON_IMAGE_SEQUENCE, sequence(tags::ICON_IMAGE_SEQUENCE, vec![vec![icon]]));
    assert_edits(&copy(&draft, RLE, &recipe(Pixels::Native), Colour::Kept), &[]);
}

#[test]
fn a_lossy_copy_says_so_and_what_it_was_made_of() {
    let mut draft = Draft::new();
    draft.us(tags::SMALLEST_IMAGE_PIXEL_VALUE, 0).us(tags::PIXEL_PADDING_VALUE, 0);
    let copied = copy(&draft, EXPLICIT, &lossy(), Colour::Kept);
    let uid = sop_instance(&copied.subject, &lossy(), &copied.outcome);
    assert!(uid.as_str().starts_with("2.25."));
    assert_edits(
        &copied,
        &[
            (tags::IMAGE_TYPE, "DERIVED\\PRIMARY\\ABDOMINAL\\0001"),
            (tags::SOP_INSTANCE_UID, uid.as_str()),
            (tags::DERIVATION_DESCRIPTION, "JPEG Baseline, quality 90"),
            (tags::SOURCE_IMAGE_SEQUENCE, "items"),
            (tags::DERIVATION_CODE_SEQUENCE, "items"),
            (tags::PHOTOMETRIC_INTERPRETATION, "YBR_FULL_422"),
            (tags::SMALLEST_IMAGE_PIXEL_VALUE, "-"),
            (tags::PIXEL_PADDING_VALUE, "-"),
            (tags::LOSSY_IMAGE_COMPRESSION, "01"),
            (tags::LOSSY_IMAGE_COMPRESSION_RATIO, "8.00"),
            (tags::LOSSY_IMAGE_COMPRESSION_METHOD, "ISO_10918_1"),
        ],
    );
}

#[test]
fn references_of_the_source_stay_and_the_source_comes_last() {
    let reference = vec![value(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, b"9.8\0")];
    let mut draft = Draft::new();
    draft.node(tags::SOURCE_IMAGE_SEQUENCE, sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![reference]));
    draft.text(tags::DERIVATION_DESCRIPTION, VR::ST, "Filtered");
    for syntax in ["1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2"] {
        let copied = copy(&draft, syntax, &lossy(), Colour::Kept);
        let mut out = Vec::new();
        let bytes = draft.bytes(copied.subject.outline.encoding);
        write_whole(&bytes, &copied.subject.outline, &copied.edits, Encoding::ExplicitLe, &mut out).unwrap();
        let outline = Outline::read(&out, Encoding::ExplicitLe).unwrap();
        let text = |outline: &Outline, tag| {
            let value = outline.value(&out, tag, 100).unwrap().unwrap();
            String::from_utf8(value).unwrap().trim_end_matches(['\0', ' ']).to_owned()
        };
        let sources = outline.items(&out, tags::SOURCE_IMAGE_SEQUENCE).unwrap();
        assert_eq!(sources.len(), 2);
        assert_eq!(text(&sources[0], tags::REFERENCED_SOP_INSTANCE_UID), "9.8");
        assert_eq!(text(&sources[1], tags::REFERENCED_SOP_INSTANCE_UID), "1.2.3.4");
        assert_eq!(text(&sources[1], tags::REFERENCED_SOP_CLASS_UID), "1.2.840.10008.5.1.4.1.1.6.1");
        let purpose = sources[1].items(&out, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE).unwrap();
        assert_eq!(text(&purpose[0], tags::CODE_VALUE), "121320");
        assert_eq!(text(&purpose[0], tags::CODING_SCHEME_DESIGNATOR), "DCM");
        let codes = outline.items(&out, tags::DERIVATION_CODE_SEQUENCE).unwrap();
        assert_eq!(text(&codes[0], tags::CODE_VALUE), "113040");
        assert_eq!(text(&outline, tags::DERIVATION_DESCRIPTION), "Filtered; JPEG Baseline, quality 90");
    }
}

#[test]
fn a_kept_uid_is_kept_and_refers_to_nothing() {
    let keep = Recipe { lossy_uid: LossyUid::Keep, ..lossy() };
    let copied = copy(&Draft::new(), EXPLICIT, &keep, Colour::Kept);
    assert_eq!(sop_instance(&copied.subject, &keep, &copied.outcome).as_str(), "1.2.3.4");
    assert!(copied.edits.get(tags::SOP_INSTANCE_UID).is_none());
    assert!(copied.edits.get(tags::SOURCE_IMAGE_SEQUENCE).is_none());
    assert!(copied.edits.get(tags::LOSSY_IMAGE_COMPRESSION).is_some());
}

#[test]
fn case_103_loss_is_never_denied_and_said_where_the_source_forgot() {
    let mut draft = Draft::new();
    draft.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422").fragments(&[b"", b"12"]);
    let expected = [
        (tags::PHOTOMETRIC_INTERPRETATION, "RGB"),
        (tags::LOSSY_IMAGE_COMPRESSION, "01"),
        (tags::LOSSY_IMAGE_COMPRESSION_RATIO, "0.92"),
        (tags::LOSSY_IMAGE_COMPRESSION_METHOD, "ISO_10918_1"),
    ];
    for pixels in [Pixels::Native, Pixels::JpegLossless] {
        assert_edits(&copy(&draft, BASELINE, &recipe(pixels), Colour::Kept), &expected);
    }
    draft.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    draft.text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "12.5");
    draft.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_10918_1");
    let copied = copy(&draft, BASELINE, &recipe(Pixels::Native), Colour::Kept);
    assert_edits(&copied, &[(tags::PHOTOMETRIC_INTERPRETATION, "RGB")]);
    let again = short(&copy(&draft, BASELINE, &lossy(), Colour::Kept).edits);
    assert_eq!(again[&(0x0028, 0x2112)], "12.5\\8.00");
    assert_eq!(again[&(0x0028, 0x2114)], "ISO_10918_1\\ISO_10918_1");
    assert!(!again.contains_key(&(0x0028, 0x2110)));
}

#[test]
fn each_ratio_stays_beside_the_method_it_belongs_to() {
    let (ratio, method) = (tags::LOSSY_IMAGE_COMPRESSION_RATIO, tags::LOSSY_IMAGE_COMPRESSION_METHOD);
    let said = |syntax: &str, ratios: &str, methods: &str| {
        let mut draft = Draft::new();
        draft.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
        draft.text(ratio, VR::DS, ratios).text(method, VR::CS, methods);
        if syntax == BASELINE {
            draft.fragments(&[b"", b"12"]);
        }
        let edits = short(&copy(&draft, syntax, &lossy(), Colour::Kept).edits);
        [ratio, method].map(|tag| edits[&(tag.0, tag.1)].clone())
    };
    let (jpeg, wavelet) = ("ISO_10918_1", "ISO_15444_1");
    assert_eq!(said(EXPLICIT, "10", ""), ["10\\8.00", "\\ISO_10918_1"]);
    assert_eq!(said(EXPLICIT, "", wavelet), ["\\8.00", "ISO_15444_1\\ISO_10918_1"]);
    assert_eq!(said(EXPLICIT, "10\\5", wavelet), ["10\\5\\8.00", "ISO_15444_1\\\\ISO_10918_1"]);
    assert_eq!(said(BASELINE, "10\\5", ""), ["10\\5\\8.00", &format!("\\{jpeg}\\{jpeg}")]);
    assert_eq!(said(BASELINE, "10", jpeg), ["10\\8.00", &format!("{jpeg}\\{jpeg}")]);
}

#[test]
fn a_palette_stays_with_its_indices_and_goes_with_them() {
    let mut draft = Draft::new();
    draft.grey().text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR").pixels(8);
    for element in [0x1101, 0x1102, 0x1103, 0x1201, 0x1202, 0x1203] {
        draft.put(Tag(0x0028, element), VR::US, &[0; 6]);
    }
    assert_edits(&copy(&draft, EXPLICIT, &recipe(Pixels::JpegLossless), Colour::Kept), &[]);
    let gone = short(&copy(&draft, EXPLICIT, &lossy(), Colour::Kept).edits);
    for element in [0x1101, 0x1102, 0x1103, 0x1201, 0x1202, 0x1203] {
        assert_eq!(gone[&(0x0028, element)], "-");
    }
    assert_eq!(gone[&(0x0028, 0x0002)], "3");
    assert_eq!(gone[&(0x0028, 0x0006)], "0");
}

#[test]
fn eight_of_sixteen_bits_become_eight_of_eight_in_jpeg_baseline() {
    let mut draft = Draft::new();
    draft.grey().us(tags::BITS_ALLOCATED, 16).pixels(16);
    assert_edits(&copy(&draft, EXPLICIT, &recipe(Pixels::JpegLossless), Colour::Kept), &[]);
    let edits = short(&copy(&draft, EXPLICIT, &lossy(), Colour::Kept).edits);
    assert_eq!(edits[&(0x0028, 0x0100)], "8");
    assert!(!edits.contains_key(&(0x0028, 0x0101)));
    assert!(!edits.contains_key(&(0x0028, 0x0004)));
}

#[test]
fn grey_is_one_sample_with_the_identity_for_a_window_and_nothing_that_speaks_of_colour() {
    let mut draft = Draft::new();
    let regions = tags::SEQUENCE_OF_ULTRASOUND_REGIONS;
    draft.node(regions, sequence(regions, vec![vec![value(tags::REGION_DATA_TYPE, VR::US, &[1, 0])]]));
    draft.us(tags::ULTRASOUND_COLOR_DATA_PRESENT, 1).put(tags::ICC_PROFILE, VR::OB, &[0; 4]);
    draft.us(tags::LARGEST_IMAGE_PIXEL_VALUE, 255);
    let exact = Recipe { grey: Grey::Within(0), ..recipe(Pixels::JpegLossless) };
    let grey = [
        (tags::SAMPLES_PER_PIXEL, "1"),
        (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
        (tags::PLANAR_CONFIGURATION, "-"),
        (tags::ULTRASOUND_COLOR_DATA_PRESENT, "0"),
        (tags::WINDOW_CENTER, "128"),
        (tags::WINDOW_WIDTH, "256"),
        (tags::ICC_PROFILE, "-"),
        (tags::LARGEST_IMAGE_PIXEL_VALUE, "-"),
        (regions, "within: 12"),
    ];
    let copied = copy(&draft, EXPLICIT, &exact, Colour::Grey);
    assert_edits(&copied, &grey);
    assert_eq!(sop_instance(&copied.subject, &exact, &copied.outcome).as_str(), "1.2.3.4");
    assert_edits(&copy(&draft, EXPLICIT, &exact, Colour::Kept), &[]);
}

#[test]
fn grey_is_shown_as_it_was_in_colour_where_nobody_looked_at_luts() {
    let mut draft = Draft::new();
    draft.text(tags::RESCALE_INTERCEPT, VR::DS, "10").text(tags::RESCALE_SLOPE, VR::DS, "2");
    draft.text(tags::RESCALE_TYPE, VR::LO, "US").text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "INVERSE");
    draft.text(tags::WINDOW_CENTER, VR::DS, "60\\128").text(tags::VOILUT_FUNCTION, VR::CS, "SIGMOID");
    let tables = [tags::MODALITY_LUT_SEQUENCE, tags::VOILUT_SEQUENCE, tags::PRESENTATION_LUT_SEQUENCE];
    for tag in tables {
        draft.node(tag, sequence(tag, vec![vec![value(tags::LUT_DATA, VR::OW, &[1, 2])]]));
    }
    let exact = Recipe { grey: Grey::Within(0), ..recipe(Pixels::JpegLossless) };
    let edits = short(&copy(&draft, EXPLICIT, &exact, Colour::Grey).edits);
    let lut = [tags::RESCALE_INTERCEPT, tags::RESCALE_SLOPE, tags::RESCALE_TYPE, tags::VOILUT_FUNCTION];
    for tag in tables.into_iter().chain(lut).chain([tags::PRESENTATION_LUT_SHAPE]) {
        assert_eq!(edits[&(tag.0, tag.1)], "-", "{tag}");
    }
    assert_eq!(edits[&(0x0028, 0x1050)], "128");
    assert_edits(&copy(&draft, EXPLICIT, &exact, Colour::Kept), &[]);
}

#[test]
fn grey_with_a_tolerance_is_another_image() {
    let mut draft = Draft::new();
    draft.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    let tolerant = Recipe { grey: Grey::Within(10), ..recipe(Pixels::JpegLossless) };
    let copied = copy(&draft, EXPLICIT, &tolerant, Colour::Grey);
    let edits = short(&copied.edits);
    assert_eq!(edits[&(0x0008, 0x0008)], "DERIVED\\PRIMARY\\ABDOMINAL\\0001");
    assert!(edits[&(0x0008, 0x0018)].starts_with("2.25."));
    assert_eq!(edits[&(0x0008, 0x2111)], "Made monochrome");
    let kept = copy(&draft, EXPLICIT, &tolerant, Colour::Kept);
    assert_edits(&kept, &[]);
}
