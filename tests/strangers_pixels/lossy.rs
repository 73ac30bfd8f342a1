//! JPEG Baseline as we write it: how near it is to its source, how it is sampled, and what its attributes say.

use crate::file::{
    BITS_ALLOCATED, BITS_STORED, Dicom, HIGH_BIT, IMAGE_TYPE, LOSSY, LOSSY_METHOD, LOSSY_RATIO, PHOTOMETRIC,
    PLANAR, Pixels, SAMPLES, SIGNED, SOP_CLASS, SOP_INSTANCE,
};
use crate::program::{JPEG_LOSSY, setting};
use crate::samples::Sample;
use crate::support::instance::{Encoding, Study, real_files};
use crate::support::process::list;
use crate::tools::{Decoders, EXPLICIT_LITTLE, JPEG_BASELINE, JPEG_LOSSLESS, name, none_of};
use chrysalis_sizing::{Colour, Scene};
use dicom_core::Tag;
use rayon::prelude::*;
use std::path::Path;

/// B-mode as carts send it: stills and loops, grey, in RGB, with marks.
fn write_b_mode(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let colours = [Colour::Mono, Colour::GreyRgb, Colour::MarkedRgb];
    for (number, colour) in (1..).zip(colours) {
        for (frames, rows, columns) in [(1, 480, 640), (4, 241, 321)] {
            let scene = Scene { seed: number.into(), rows, columns, frames, colour };
            let instance = Study::new(6).instance(10 * frames + number, scene, Encoding::ExplicitLittle);
            instance.write_part10(&folder.join(format!("{colour:?}-{frames}.dcm"))).unwrap();
        }
    }
}

/// Adds the real ultrasound images in native RGB, if there are any.
fn add_real_rgb(folder: &Path) {
    for file in real_files("ultrasound").unwrap_or_default() {
        let Ok(source) = Dicom::try_open(&file) else { continue };
        let is_rgb = source.text(PHOTOMETRIC).as_deref() == Some("RGB") && source.native().is_some();
        if is_rgb && source.syntax == EXPLICIT_LITTLE {
            std::fs::write(folder.join(name(&file)), std::fs::read(&file).unwrap()).unwrap();
        }
    }
}

/// Peak signal to noise ratio of luma in dB (ITU-R BT.601, as JFIF has it).
fn psnr(before: &Pixels, after: &Pixels) -> f64 {
    let luma = |pixels: &Pixels| -> Vec<f64> {
        let of_pixel = |pixel: &[u8]| match pixel {
            [red, green, blue] => {
                0.299 * f64::from(*red) + 0.587 * f64::from(*green) + 0.114 * f64::from(*blue)
            }
            other => f64::from(other[0]),
        };
        pixels.bytes.chunks_exact(pixels.samples).map(of_pixel).collect()
    };
    let (before, after) = (luma(before), luma(after));
    assert_eq!(before.len(), after.len());
    let error: f64 = before.iter().zip(&after).map(|(a, b)| (a - b) * (a - b)).sum();
    10.0 * (255.0 * 255.0 * before.len() as f64 / error).log10()
}

#[test]
fn at_quality_90_luma_is_within_40_db_of_its_source() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("rgb");
    write_b_mode(&folder);
    add_real_rgb(&folder);
    let Some(decoders) = Decoders::find() else { return };
    let copies = JPEG_LOSSY.folder(&folder, &["--quality", "90"]);
    let each = list(&copies).into_par_iter().map(|file| {
        let source = Dicom::open(&folder.join(name(&file))).pixels();
        let copy = match decoders.dcmdjpeg_in_colour(&file) {
            Ok(copy) => copy,
            Err(why) => return Some(format!("{}: {why}", name(&file))),
        };
        let psnr = psnr(&source, &copy);
        println!("{}: {psnr:.1} dB", name(&file));
        (psnr < 40.0).then(|| format!("{}: {psnr:.1} dB", name(&file)))
    });
    none_of(&each.flatten().collect::<Vec<_>>());
}

/// Component and its sampling factors, horizontal and vertical, of a baseline frame header (ISO 10918-1 B.2.2).
fn sampling(jpeg: &[u8]) -> Result<Vec<(u8, u8, u8)>, String> {
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = jpeg.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = jpeg.get(at + 4..at + 2 + length).ok_or("a segment is cut off")?;
        match marker {
            0xC0 if segment[0] == 8 => {
                let components = segment[6..].chunks_exact(3);
                return Ok(components.map(|part| (part[0], part[1] >> 4, part[1] & 15)).collect());
            }
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xDA => return Err(format!("marker {marker:02X}")),
            _ => at += 2 + length,
        }
    }
    Err(format!("no marker at {at}"))
}

#[test]
fn colour_is_sampled_two_by_one_and_grey_is_one_component_in_every_frame() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("rgb");
    write_b_mode(&folder);
    add_real_rgb(&folder);
    for kind in ["rgb-planes-loop", "rgb-odd", "ybr-full", "palette-8", "monochrome1"] {
        Sample::kind(kind).write(&folder);
    }
    for file in list(&JPEG_LOSSY.folder(&folder, &[])) {
        let copy = Dicom::open(&file);
        assert_eq!(copy.syntax, JPEG_BASELINE, "{}", name(&file));
        let colour = copy.number(SAMPLES) == Some(3);
        let expected = if colour { vec![(1, 2, 1), (2, 1, 1), (3, 1, 1)] } else { vec![(1, 1, 1)] };
        let fragments = copy.fragments().unwrap();
        assert_eq!(fragments.items.len(), copy.frames(), "{}", name(&file));
        for (frame, item) in fragments.items.iter().enumerate() {
            assert_eq!(
                sampling(copy.fragment(item)).as_ref(),
                Ok(&expected),
                "{}, frame {frame}",
                name(&file)
            );
        }
    }
}

#[test]
fn attributes_say_what_was_lost_how_and_from_what() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("kinds");
    std::fs::create_dir(&folder).unwrap();
    let kinds = [
        "grey-8",
        "monochrome1",
        "rgb-marked",
        "rgb-doppler-loop",
        "rgb-planes-loop",
        "ybr-full",
        "palette-8",
    ];
    kinds.iter().for_each(|kind| Sample::kind(kind).write(&folder));
    let copies = JPEG_LOSSY.folder(&folder, &["--quality", "85"]);
    for kind in kinds {
        let file = format!("{kind}.dcm");
        let (before, after) = (Dicom::open(&folder.join(&file)), Dicom::open(&copies.join(&file)));
        let is =
            |tag, expected: &str| assert_eq!(after.text(tag).as_deref(), Some(expected), "{kind}: {tag}");
        let grey = before.text(PHOTOMETRIC).is_some_and(|name| name.starts_with("MONOCHROME"));
        assert_eq!(after.syntax, JPEG_BASELINE, "{kind}");
        is(PHOTOMETRIC, before.text(PHOTOMETRIC).filter(|_| grey).as_deref().unwrap_or("YBR_FULL_422"));
        assert_eq!(after.number(SAMPLES), Some(if grey { 1 } else { 3 }), "{kind}");
        assert_eq!(after.number(PLANAR), (!grey).then_some(0), "{kind}");
        let bits = [BITS_ALLOCATED, BITS_STORED, HIGH_BIT, SIGNED].map(|tag| after.number(tag));
        assert_eq!(bits, [8, 8, 7, 0].map(Some), "{kind}");
        assert!(PALETTE.iter().all(|tag| !after.has(*tag)), "{kind}: a palette is left");
        is(LOSSY, "01");
        is(LOSSY_METHOD, "ISO_10918_1");
        is(IMAGE_TYPE, "DERIVED\\PRIMARY\\ABDOMINAL\\0001");
        assert_ratio(kind, &after);
        let purpose: &[Tag] = &[PURPOSE, CODE_VALUE];
        let source = after.items(SOURCE_IMAGES, &[&[REFERENCED_CLASS], &[REFERENCED_INSTANCE], purpose]);
        let expected = [before.text(SOP_CLASS), before.text(SOP_INSTANCE), Some("121320".to_owned())];
        assert_eq!(source, [expected], "{kind}");
        let code = after.items(DERIVATION_CODES, &[&[CODE_VALUE], &[CODE_SCHEME]]);
        assert_eq!(code, [["113040", "DCM"].map(|text| Some(text.to_owned()))], "{kind}");
        let uid = after.text(SOP_INSTANCE).unwrap();
        assert!(uid.starts_with("2.25.") && uid.len() <= 64 && uid == after.sop_instance, "{kind}: {uid}");
        is(SOP_CLASS, &before.text(SOP_CLASS).unwrap());
    }
}

/// The ratio is that of eight-bit pixels in as many samples to the fragments.
#[track_caller]
fn assert_ratio(kind: &str, copy: &Dicom) {
    let number = |tag| usize::from(copy.number(tag).unwrap());
    let native = number(crate::file::ROWS) * number(crate::file::COLUMNS) * number(SAMPLES) * copy.frames();
    let encoded: usize = copy.fragments().unwrap().items.iter().map(std::ops::Range::len).sum();
    let said: f64 = copy.text(LOSSY_RATIO).unwrap().parse().unwrap();
    let ratio = native as f64 / encoded as f64;
    assert!((said / ratio - 1.0).abs() < 0.01, "{kind}: {said} for {ratio}");
}

#[test]
fn a_second_loss_is_written_behind_the_first() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("once");
    std::fs::create_dir(&folder).unwrap();
    Sample::kind("rgb-marked").write(&folder);
    let once = JPEG_LOSSY.folder(&folder, &[]);
    let twice = setting("jpeg-lossy", "never", "force").folder(&once, &["--quality", "50"]);
    let exact = setting("jpeg-lossless", "never", "force").folder(&once, &[]);
    let [once, twice, exact] = [once, twice, exact].map(|folder| Dicom::open(&folder.join("rgb-marked.dcm")));
    let ratios = twice.text(LOSSY_RATIO).unwrap();
    let (first, second) = ratios.split_once('\\').expect("two ratios");
    assert_eq!(Some(first), once.text(LOSSY_RATIO).as_deref());
    assert!(second.parse::<f64>().unwrap() > first.parse::<f64>().unwrap(), "{ratios}");
    assert_eq!(twice.text(LOSSY_METHOD).as_deref(), Some("ISO_10918_1\\ISO_10918_1"));
    // What was lost is not denied by what keeps the rest.
    assert_eq!(exact.syntax, JPEG_LOSSLESS);
    for tag in [LOSSY, LOSSY_RATIO, LOSSY_METHOD, IMAGE_TYPE, SOP_INSTANCE] {
        assert_eq!(exact.text(tag), once.text(tag), "{tag}");
    }
}

#[test]
fn the_name_of_a_copy_depends_on_its_quality_and_on_nothing_that_changes() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("rgb-marked.dcm");
    Sample::kind("rgb-marked").write(home.path());
    let made = |number: u32, more: &[&str]| {
        let to = home.path().join(format!("{number}.dcm"));
        JPEG_LOSSY.transcode(&file, &to, more).expect_success();
        (std::fs::read(&to).unwrap(), Dicom::open(&to))
    };
    let (first, again) = (made(1, &["--quality", "90"]), made(2, &["--quality", "90"]));
    assert!(first.0 == again.0, "the same again has the same bytes");
    let other = made(3, &["--quality", "80"]);
    assert_ne!(first.1.text(SOP_INSTANCE), other.1.text(SOP_INSTANCE));
    let kept = made(4, &["--lossy-uid", "keep"]).1;
    assert_eq!(kept.text(SOP_INSTANCE), Dicom::open(&file).text(SOP_INSTANCE));
    assert_eq!((kept.text(LOSSY).as_deref(), kept.has(SOURCE_IMAGES)), (Some("01"), false));
}

#[test]
fn more_than_eight_bits_do_not_become_jpeg_baseline() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("deep");
    std::fs::create_dir(&folder).unwrap();
    let kinds = ["grey-9", "grey-12-loop", "grey-16-signed", "rgb-10", "rgb-16-loop"];
    kinds.iter().for_each(|kind| Sample::kind(kind).write(&folder));
    for file in list(&JPEG_LOSSY.folder(&folder, &[])) {
        let (before, after) = (Dicom::open(&folder.join(name(&file))), Dicom::open(&file));
        assert_ne!(after.syntax, JPEG_BASELINE, "{}", name(&file));
        for tag in [LOSSY, BITS_STORED, SOP_INSTANCE, IMAGE_TYPE] {
            assert_eq!(after.text(tag), before.text(tag), "{}: {tag}", name(&file));
        }
    }
}

const SOURCE_IMAGES: Tag = Tag(0x0008, 0x2112);
const REFERENCED_CLASS: Tag = Tag(0x0008, 0x1150);
const REFERENCED_INSTANCE: Tag = Tag(0x0008, 0x1155);
const PURPOSE: Tag = Tag(0x0040, 0xA170);
const DERIVATION_CODES: Tag = Tag(0x0008, 0x9215);
const CODE_VALUE: Tag = Tag(0x0008, 0x0100);
const CODE_SCHEME: Tag = Tag(0x0008, 0x0102);
const PALETTE: [Tag; 6] = [
    Tag(0x0028, 0x1101),
    Tag(0x0028, 0x1102),
    Tag(0x0028, 0x1103),
    Tag(0x0028, 0x1201),
    Tag(0x0028, 0x1202),
    Tag(0x0028, 0x1203),
];
