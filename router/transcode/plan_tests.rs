//! The plan, as a table: what is stored, what is wanted, what is accepted, what becomes of it.

use chrysalis_codecs::Order;

use super::dataset::Outline;
use super::subject::{Content, Image, Loss, Photometric, Sign, Subject, Veto};
use super::want::{Compression, LossySource, Monochrome, Quality, Target};
use super::{Accepts, Grey, Pixels, Plan, plan};
use crate::dicom::uid::{US_IMAGE, US_MULTIFRAME};
use crate::dicom::{Encoding, TransferSyntax, Uid};

const IMPLICIT: &str = "";
const EXPLICIT: &str = ".1";
const DEFLATED: &str = ".1.99";
const BIG: &str = ".2";
const RLE: &str = ".5";
const BASELINE: &str = ".4.50";
const P14: &str = ".4.57";
const LOSSLESS: &str = ".4.70";
const J2K: &str = ".4.90";
const H264: &str = ".4.102";
const PRIVATE: &str = "1.2.840.113619.5.2";

const ALL: &[&str] = &["*"];
const NOTHING: &[&str] = &[];
const LITTLE: &[&str] = &[EXPLICIT, IMPLICIT];

fn syntax(suffix: &str) -> TransferSyntax {
    if suffix.starts_with('.') || suffix.is_empty() {
        TransferSyntax(Uid::new(&format!("1.2.840.10008.1.2{suffix}")))
    } else {
        TransferSyntax(Uid::new(suffix))
    }
}

fn accepts(suffixes: &[&str]) -> Accepts {
    if suffixes == ALL {
        return Accepts::Anything;
    }
    Accepts::These(suffixes.iter().map(|suffix| syntax(suffix)).collect())
}

fn image() -> Image {
    Image {
        rows: 480,
        columns: 640,
        frames: 1,
        samples: 3,
        photometric: Photometric::Rgb,
        bits_allocated: 8,
        bits_stored: 8,
        sign: Sign::Unsigned,
        order: Order::ByPixel,
        loss: Loss::None,
        veto: None,
    }
}

fn grey_image() -> Image {
    Image { samples: 1, photometric: Photometric::Monochrome2, ..image() }
}

fn deep() -> Image {
    Image { bits_allocated: 16, bits_stored: 12, ..grey_image() }
}

fn lossy() -> Image {
    Image { photometric: Photometric::YbrFull422, loss: Loss::Stored, ..image() }
}

fn earlier() -> Image {
    Image { loss: Loss::Earlier, ..image() }
}

fn with(photometric: Photometric) -> Image {
    Image { photometric, samples: photometric.samples(), ..image() }
}

fn subject(stored: &str, content: Content) -> Subject {
    Subject {
        syntax: syntax(stored),
        sop_class: US_IMAGE,
        sop_instance: Uid::new("1.2.3"),
        outline: Outline { encoding: Encoding::ExplicitLe, elements: Vec::new(), start: 0, length: 0 },
        content,
    }
}

fn pictured(stored: &str, image: Image) -> Subject {
    let sop_class = if image.frames > 1 { US_MULTIFRAME } else { US_IMAGE };
    Subject { sop_class, ..subject(stored, Content::Image(Box::new(image))) }
}

fn wish(target: Target) -> Compression {
    Compression { image: target, cine: target, ..Compression::default() }
}

fn forced(target: Target) -> Compression {
    Compression { lossy_source: LossySource::Force, ..wish(target) }
}

fn greying(target: Target) -> Compression {
    Compression { monochrome: Monochrome::BModeOnly, ..wish(target) }
}

const Q90: Target = Target::JpegLossy(Quality::DEFAULT);
use Target::{AsReceived, JpegLossless, Uncompressed};

/// A plan in short: "pass", "hold", or the copy's syntax, its pixels, and how grey it has to be.
fn short(plan: &Plan) -> String {
    match plan {
        Plan::PassThrough { .. } => "pass".to_owned(),
        Plan::Hold { .. } => "hold".to_owned(),
        Plan::Transcode(recipe) => {
            let syntax = recipe.to.0.as_str().replacen("1.2.840.10008.1.2", "", 1);
            let pixels = match recipe.pixels {
                Pixels::AsTheyAre => "as they are".to_owned(),
                Pixels::Native => "native".to_owned(),
                Pixels::JpegLossless => "jpeg lossless".to_owned(),
                Pixels::JpegLossy(quality) => format!("jpeg {}", quality.get()),
                Pixels::Rle => "rle".to_owned(),
            };
            match recipe.grey {
                Grey::Never => format!("{syntax} {pixels}"),
                Grey::Within(tolerance) => format!("{syntax} {pixels} grey {tolerance}"),
            }
        }
    }
}

fn why(plan: Plan) -> String {
    match plan {
        Plan::PassThrough { why } | Plan::Hold { why } => why,
        Plan::Transcode(recipe) => recipe.why,
    }
}

#[track_caller]
fn check(stored: &str, image: Image, wish: Compression, accepted: &[&str], expected: &str) {
    let plan = plan(&pictured(stored, image.clone()), &wish, &accepts(accepted));
    assert_eq!(short(&plan), expected, "{stored} {image:?} {wish:?} {accepted:?}: {}", why(plan.clone()));
}

#[test]
fn what_is_wanted_and_accepted_is_made() {
    for (stored, image, target, expected) in [
        (EXPLICIT, image(), AsReceived, "pass"),
        (BIG, image(), AsReceived, "pass"),
        (EXPLICIT, image(), Uncompressed, "pass"),
        (IMPLICIT, image(), Uncompressed, ".1 as they are"),
        (BIG, deep(), Uncompressed, ".1 as they are"),
        (DEFLATED, deep(), Uncompressed, ".1 as they are"),
        (RLE, image(), Uncompressed, ".1 native"),
        (BASELINE, lossy(), Uncompressed, ".1 native"),
        (EXPLICIT, image(), JpegLossless, ".4.70 jpeg lossless"),
        (IMPLICIT, with(Photometric::PaletteColor), JpegLossless, ".4.70 jpeg lossless"),
        (EXPLICIT, with(Photometric::YbrFull422), JpegLossless, ".4.70 jpeg lossless"),
        (EXPLICIT, Image { sign: Sign::Signed, ..deep() }, JpegLossless, ".4.70 jpeg lossless"),
        (RLE, image(), JpegLossless, ".4.70 jpeg lossless"),
        (P14, grey_image(), JpegLossless, ".4.70 jpeg lossless"),
        (LOSSLESS, grey_image(), JpegLossless, "pass"),
        (EXPLICIT, image(), Q90, ".4.50 jpeg 90"),
        (LOSSLESS, grey_image(), Q90, ".4.50 jpeg 90"),
        (EXPLICIT, with(Photometric::PaletteColor), Q90, ".4.50 jpeg 90"),
        (EXPLICIT, Image { bits_allocated: 16, bits_stored: 8, ..grey_image() }, Q90, ".4.50 jpeg 90"),
    ] {
        check(stored, image, wish(target), ALL, expected);
    }
}

#[test]
fn images_and_loops_are_wanted_separately() {
    let wish = Compression { image: Uncompressed, cine: JpegLossless, ..Compression::default() };
    check(RLE, image(), wish, ALL, ".1 native");
    check(RLE, Image { frames: 2, ..image() }, wish, ALL, ".4.70 jpeg lossless");
}

#[test]
fn what_is_stored_with_loss_is_not_compressed_again_unless_forced() {
    for (stored, image, target, kept, by_force) in [
        (BASELINE, lossy(), JpegLossless, "pass", ".4.70 jpeg lossless"),
        (BASELINE, lossy(), Q90, "pass", ".4.50 jpeg 90"),
        (".4.51", lossy(), Q90, "pass", ".4.50 jpeg 90"),
        (EXPLICIT, earlier(), Q90, "pass", ".4.50 jpeg 90"),
        (IMPLICIT, earlier(), Q90, "pass", ".4.50 jpeg 90"),
        (EXPLICIT, earlier(), JpegLossless, ".4.70 jpeg lossless", ".4.70 jpeg lossless"),
        (BASELINE, lossy(), Uncompressed, ".1 native", ".1 native"),
        (BASELINE, lossy(), AsReceived, "pass", "pass"),
    ] {
        check(stored, image.clone(), wish(target), ALL, kept);
        check(stored, image, forced(target), ALL, by_force);
    }
}

#[test]
fn the_ladder_is_gone_down_to_the_first_rung_that_is_accepted_and_possible() {
    for (stored, image, target, accepted, expected) in [
        // The stored syntax comes before anything else that was not wanted.
        (EXPLICIT, image(), JpegLossless, LITTLE, "pass"),
        (RLE, image(), JpegLossless, &[RLE, EXPLICIT], "pass"),
        (P14, grey_image(), AsReceived, &[LOSSLESS, EXPLICIT], ".4.70 jpeg lossless"),
        (RLE, image(), Q90, &[LOSSLESS, EXPLICIT], ".4.70 jpeg lossless"),
        (RLE, image(), JpegLossless, LITTLE, ".1 native"),
        (RLE, image(), JpegLossless, &[IMPLICIT], ".2 native"),
        (EXPLICIT, image(), JpegLossless, &[IMPLICIT], ".2 as they are"),
        (IMPLICIT, image(), JpegLossless, &[EXPLICIT], ".1 as they are"),
        (BIG, image(), AsReceived, &[IMPLICIT], ".2 as they are"),
        // What is stored with loss is decoded, not compressed again.
        (BASELINE, lossy(), JpegLossless, &[LOSSLESS, EXPLICIT], ".1 native"),
        (BASELINE, lossy(), AsReceived, &[IMPLICIT], ".2 native"),
        (BASELINE, lossy(), AsReceived, &[LOSSLESS], "hold"),
        (BASELINE, lossy(), Q90, NOTHING, "hold"),
        // What JPEG Baseline cannot hold.
        (EXPLICIT, deep(), Q90, ALL, "pass"),
        (EXPLICIT, deep(), Q90, &[BASELINE, LOSSLESS, IMPLICIT], ".4.70 jpeg lossless"),
        (EXPLICIT, Image { sign: Sign::Signed, ..grey_image() }, Q90, ALL, "pass"),
        (IMPLICIT, Image { bits_stored: 6, ..grey_image() }, Q90, &[LOSSLESS], ".4.70 jpeg lossless"),
    ] {
        let expected =
            if expected.starts_with(".2 ") { expected.replacen(".2", "", 1) } else { expected.to_owned() };
        check(stored, image, wish(target), accepted, &expected);
    }
    check(BASELINE, lossy(), forced(AsReceived), &[LOSSLESS, EXPLICIT], ".1 native");
    check(BASELINE, lossy(), forced(AsReceived), &[LOSSLESS], ".4.70 jpeg lossless");
}

#[test]
fn decoded_pixels_of_4_gib_are_held() {
    let long = Image { frames: 4661, ..image() };
    check(RLE, Image { frames: 4660, ..image() }, wish(Uncompressed), ALL, ".1 native");
    check(RLE, long.clone(), wish(Uncompressed), ALL, "pass");
    check(RLE, long.clone(), wish(AsReceived), LITTLE, "hold");
    check(RLE, long.clone(), wish(Uncompressed), &[LOSSLESS], ".4.70 jpeg lossless");
    let reason = why(plan(&pictured(RLE, long), &wish(AsReceived), &accepts(LITTLE)));
    assert!(reason.contains("more than native Pixel Data can hold"), "{reason}");
}

#[test]
fn frames_beyond_the_limit_are_not_decoded() {
    let huge = Image { rows: 65_535, columns: 65_535, ..grey_image() };
    check(RLE, huge.clone(), wish(JpegLossless), ALL, "pass");
    check(IMPLICIT, huge.clone(), wish(Uncompressed), ALL, ".1 as they are");
    check(RLE, huge, wish(JpegLossless), LITTLE, "hold");
}

#[test]
fn what_cannot_be_decoded_passes_or_is_held() {
    for stored in [H264, PRIVATE, ".4.58", ".4.94"] {
        check(stored, lossy(), forced(JpegLossless), ALL, "pass");
        check(stored, lossy(), forced(Uncompressed), LITTLE, "hold");
    }
    check(EXPLICIT, with(Photometric::YbrPartial422), wish(JpegLossless), ALL, "pass");
    check(EXPLICIT, with(Photometric::YbrPartial422), wish(JpegLossless), &[IMPLICIT], " as they are");
    if !super::coding::decodable(&syntax(J2K)) {
        check(J2K, with(Photometric::YbrRct), wish(JpegLossless), ALL, "pass");
        check(J2K, with(Photometric::YbrRct), wish(JpegLossless), &[LOSSLESS, EXPLICIT], "hold");
    }
}

#[test]
fn what_is_stored_with_loss_becomes_what_it_can_as_reasons_tell() {
    let reason =
        |stored, image, wish, accepted| why(plan(&pictured(stored, image), &wish, &accepts(accepted)));
    for (text, expected) in [
        (
            reason(BASELINE, lossy(), wish(JpegLossless), ALL),
            "stored with loss: lossless would make it larger and gain nothing",
        ),
        (reason(LOSSLESS, image(), wish(JpegLossless), ALL), "stored so already"),
        (reason(EXPLICIT, image(), wish(AsReceived), ALL), "wanted as received"),
        (
            reason(EXPLICIT, deep(), wish(Q90), ALL),
            "12 bits are stored, and JPEG Baseline holds no more than 8",
        ),
        (reason(EXPLICIT, image(), wish(JpegLossless), LITTLE), "the receiver does not accept JPEG Lossless"),
        (reason(EXPLICIT, image(), wish(Q90), ALL), "becomes JPEG Baseline (Process 1), quality 90"),
        (
            reason(BASELINE, lossy(), wish(JpegLossless), &[IMPLICIT]),
            "stored with loss: lossless would make it larger and gain nothing; the receiver does not accept JPEG \
             Baseline (Process 1); the receiver does not accept Explicit VR Little Endian; becomes Implicit VR Little \
             Endian",
        ),
        (
            reason(BASELINE, lossy(), wish(AsReceived), &[LOSSLESS]),
            "stored as JPEG Baseline (Process 1), but the receiver accepts JPEG Lossless; stored with loss, and not to \
             be compressed again",
        ),
        (
            reason(EXPLICIT, image(), wish(JpegLossless), &[BASELINE, RLE]),
            "stored as Explicit VR Little Endian, but the receiver accepts JPEG Baseline (Process 1), RLE Lossless; JPEG \
             Baseline (Process 1) is not wanted for it; RLE Lossless is not encoded here",
        ),
        (
            reason(EXPLICIT, deep(), wish(Q90), &[BASELINE]),
            "stored as Explicit VR Little Endian, but the receiver accepts JPEG Baseline (Process 1); 12 bits are \
             stored, and JPEG Baseline holds no more than 8",
        ),
        (
            reason(H264, lossy(), wish(AsReceived), NOTHING),
            "stored as MPEG-4 AVC/H.264 High Profile / Level 4.1, but the receiver accepts no transfer syntax for it; \
             stored with loss, and not to be compressed again; MPEG-4 AVC/H.264 High Profile / Level 4.1 cannot be \
             decoded here",
        ),
    ] {
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split("; ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&text), sorted(expected));
    }
}

#[test]
fn what_has_no_pixels_has_its_elements_encoded_anew_at_most() {
    for (stored, accepted, expected) in [
        (EXPLICIT, ALL, "pass"),
        (BIG, ALL, "pass"),
        (EXPLICIT, &[IMPLICIT], " as they are"),
        (IMPLICIT, &[EXPLICIT], ".1 as they are"),
        (J2K, LITTLE, ".1 as they are"),
        (PRIVATE, LITTLE, "hold"),
        (".4.94", LITTLE, "hold"),
        (EXPLICIT, &[LOSSLESS], "hold"),
    ] {
        let plan = plan(&subject(stored, Content::NoPixels), &wish(JpegLossless), &accepts(accepted));
        assert_eq!(short(&plan), expected, "{stored} {accepted:?}");
    }
}

#[test]
fn what_may_not_be_touched_passes_or_is_held_with_its_reason() {
    let signed = subject(EXPLICIT, Content::Untouchable("it is digitally signed".to_owned()));
    let wish = wish(JpegLossless);
    assert_eq!(
        plan(&signed, &wish, &accepts(ALL)),
        Plan::PassThrough { why: "it is digitally signed".to_owned() }
    );
    let held = plan(&signed, &wish, &accepts(&[IMPLICIT]));
    let expected = "stored as Explicit VR Little Endian, but the receiver accepts Implicit VR Little Endian; it is \
                    digitally signed";
    assert_eq!(held, Plan::Hold { why: expected.to_owned() });
}

#[test]
fn pixels_that_are_not_decoded_here_go_along_when_they_are_native() {
    let content = || Content::OtherPixels("its pixels have 32 bits".to_owned());
    for (stored, accepted, expected) in
        [(EXPLICIT, ALL, "pass"), (EXPLICIT, &[IMPLICIT][..], " as they are"), (RLE, LITTLE, "hold")]
    {
        let plan = plan(&subject(stored, content()), &wish(JpegLossless), &accepts(accepted));
        assert_eq!(short(&plan), expected, "{stored} {accepted:?}");
    }
}

#[test]
fn colour_is_looked_at_for_grey_where_nothing_speaks_against_it() {
    for (stored, image, target, expected) in [
        (EXPLICIT, image(), AsReceived, ".1 native grey 0"),
        (IMPLICIT, image(), AsReceived, " native grey 0"),
        (LOSSLESS, image(), AsReceived, ".4.70 jpeg lossless grey 0"),
        (RLE, with(Photometric::YbrFull), AsReceived, ".5 rle grey 0"),
        (BIG, image(), AsReceived, "pass"),
        (P14, image(), AsReceived, "pass"),
        (EXPLICIT, image(), Uncompressed, ".1 native grey 0"),
        (IMPLICIT, image(), Uncompressed, ".1 native grey 0"),
        (LOSSLESS, image(), JpegLossless, ".4.70 jpeg lossless grey 0"),
        (EXPLICIT, image(), JpegLossless, ".4.70 jpeg lossless grey 0"),
        (EXPLICIT, image(), Q90, ".4.50 jpeg 90 grey 0"),
        (EXPLICIT, grey_image(), JpegLossless, ".4.70 jpeg lossless"),
        (EXPLICIT, with(Photometric::PaletteColor), AsReceived, "pass"),
        (EXPLICIT, Image { veto: Some(Veto::Region), ..image() }, AsReceived, "pass"),
        (EXPLICIT, Image { veto: Some(Veto::ImageType), ..image() }, Uncompressed, "pass"),
        (BASELINE, lossy(), AsReceived, "pass"),
        (BASELINE, lossy(), JpegLossless, "pass"),
        (BASELINE, lossy(), Uncompressed, ".1 native grey 0"),
    ] {
        check(stored, image, greying(target), ALL, expected);
    }
    let force = Compression { lossy_source: LossySource::Force, ..greying(JpegLossless) };
    check(BASELINE, lossy(), force, ALL, ".4.70 jpeg lossless grey 10");
    check(EXPLICIT, image(), force, ALL, ".4.70 jpeg lossless grey 0");
    check(EXPLICIT, earlier(), force, ALL, ".4.70 jpeg lossless grey 0");
    check(EXPLICIT, image(), greying(JpegLossless), LITTLE, ".1 native grey 0");
}

#[test]
fn what_stays_in_colour_says_why() {
    let vetoed = pictured(EXPLICIT, Image { veto: Some(Veto::Region), ..image() });
    let reason = why(plan(&vetoed, &greying(AsReceived), &accepts(ALL)));
    assert_eq!(reason, "wanted as received; stays in colour: one of its regions has colour");
    let lossy = pictured(BASELINE, lossy());
    let reason = why(plan(&lossy, &greying(AsReceived), &accepts(ALL)));
    assert_eq!(reason, "wanted as received; stays in colour: stored with loss, it goes as it is");
    let photograph =
        Subject { sop_class: Uid::new("1.2.840.10008.5.1.4.1.1.77.1.4"), ..pictured(EXPLICIT, image()) };
    assert_eq!(short(&plan(&photograph, &greying(AsReceived), &accepts(ALL))), "pass");
}

#[test]
fn only_a_copy_that_differs_in_nothing_but_grey_may_be_left_out() {
    let only_greys = |stored, wish| match plan(&pictured(stored, image()), &wish, &Accepts::Anything) {
        Plan::Transcode(recipe) => recipe.only_greys(&syntax(stored)),
        other => panic!("{other:?}"),
    };
    assert!(only_greys(EXPLICIT, greying(AsReceived)));
    assert!(only_greys(LOSSLESS, greying(JpegLossless)));
    assert!(!only_greys(EXPLICIT, greying(JpegLossless)));
    assert!(!only_greys(RLE, wish(Uncompressed)));
}

#[test]
fn every_plan_is_accepted_or_held_whatever_is_stored_and_wanted() {
    let stored = [IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE, BASELINE, P14, LOSSLESS, J2K, H264, PRIVATE];
    let images = [image(), grey_image(), deep(), lossy(), earlier(), with(Photometric::PaletteColor)];
    let accepted: [&[&str]; 6] = [ALL, NOTHING, LITTLE, &[LOSSLESS], &[BASELINE, IMPLICIT], &[BIG]];
    for stored in stored {
        for image in &images {
            for target in [AsReceived, Uncompressed, JpegLossless, Q90] {
                for wish in [wish(target), forced(target), greying(target)] {
                    for accepted in accepted {
                        let plan = plan(&pictured(stored, image.clone()), &wish, &accepts(accepted));
                        let leaves = match &plan {
                            Plan::PassThrough { .. } => Some(syntax(stored)),
                            Plan::Transcode(recipe) => Some(recipe.to.clone()),
                            Plan::Hold { .. } => None,
                        };
                        assert!(leaves.is_none_or(|syntax| accepts(accepted).takes(&syntax)), "{plan:?}");
                        assert!(accepted != ALL || !matches!(plan, Plan::Hold { .. }), "{plan:?}");
                        assert!(!why(plan).is_empty());
                    }
                }
            }
        }
    }
}
