//! B-Mode Only: what has no colour becomes what a cart that sends grey would send, and nothing with a colour in it does.

use crate::file::{
    BITS_ALLOCATED, BITS_STORED, COLOUR_PRESENT, Dicom, HIGH_BIT, LOSSY, PHOTOMETRIC, PLANAR, SAMPLES,
    SIGNED, SOP_CLASS, SOP_INSTANCE,
};
use crate::program::{Setting, setting};
use crate::samples::Sample;
use crate::support::instance::{DataSet, Encoding, Instance, Study, real_files};
use crate::support::process::{list, run};
use crate::tools::{Decoders, EXPLICIT_LITTLE, JPEG_LOSSLESS, PATIENCE, name, none_of, program};
use chrysalis_sizing::{Colour, Scene};
use dicom_core::Tag;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

const GREY: Setting = setting("jpeg-lossless", "b-mode-only", "keep");

/// The attributes of a cart's own grey image in JPEG Lossless, and what our greyed one has there.
const FORM: [Tag; 10] = [
    SOP_CLASS,
    SAMPLES,
    PHOTOMETRIC,
    PLANAR,
    COLOUR_PRESENT,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    SIGNED,
    LOSSY,
];

/// What the first frame header of a JPEG stream says: process, precision, components (ISO 10918-1 B.2.2), and the predictor.
fn process(jpeg: &[u8]) -> (u8, u8, u8, u8) {
    let (mut at, mut frame) = (2, None);
    loop {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        let (marker, segment) = (jpeg[at + 1], &jpeg[at + 4..at + 2 + length]);
        match marker {
            0xC0..=0xC3 => frame = Some((marker, segment[0], segment[5])),
            0xDA => {
                let (marker, precision, components) = frame.expect("a frame header");
                return (marker, precision, components, segment[segment.len() - 3]);
            }
            _ => {}
        }
        at += 2 + length;
    }
}

/// A native grey file as RGB, by other programs: the same, each value three times over.
fn as_rgb(grey: &Path, rgb: &Path) -> Option<()> {
    let dcmodify = program("dcmodify")?;
    let pixels: Vec<u8> = Dicom::open(grey).pixels().bytes.iter().flat_map(|value| [*value; 3]).collect();
    let raw = rgb.with_extension("raw");
    std::fs::write(&raw, pixels).unwrap();
    std::fs::copy(grey, rgb).unwrap();
    let changes =
        ["-m", "(0028,0002)=3", "-m", "(0028,0004)=RGB", "-i", "(0028,0006)=0", "-i", "(0028,0014)=1"];
    let mut args: Vec<String> = ["-nb", "-ie"].iter().chain(&changes).map(ToString::to_string).collect();
    args.extend(["-mf".to_owned(), format!("(7FE0,0010)={}", raw.display()), rgb.display().to_string()]);
    run(&dcmodify, args, PATIENCE).expect_success();
    Some(())
}

#[test]
fn a_carts_own_grey_image_comes_out_of_rgb_as_it_was() {
    let golden = real_files("ultrasound").into_iter().flatten().find(|file| name(file).starts_with("epiq7c"));
    let (Some(golden), Some(decoders)) = (golden, Decoders::find()) else { return };
    let home = tempfile::tempdir().unwrap();
    let [native, rgb, copy] = ["native.dcm", "rgb.dcm", "copy.dcm"].map(|name| home.path().join(name));
    decoders.native_of_jpeg(&golden, &native).unwrap();
    let Some(()) = as_rgb(&native, &rgb) else { return };
    GREY.transcode(&rgb, &copy, &[]).expect_success();
    let (golden, theirs) = (Dicom::open(&golden), decoders.dcmdjpeg(&golden).unwrap());
    let ours = decoders.dcmdjpeg(&copy).unwrap();
    assert_eq!(ours.difference(&theirs), None);
    let copy = Dicom::open(&copy);
    assert_eq!((&copy.syntax, &copy.sop_instance), (&golden.syntax, &golden.sop_instance));
    for tag in FORM.into_iter().chain([SOP_INSTANCE]) {
        assert_eq!(copy.value(tag), golden.value(tag), "{tag}");
    }
    let [ours, theirs] = [&copy, &golden].map(|file| {
        let fragments = file.fragments().unwrap();
        assert_eq!(fragments.items.len(), 1);
        process(file.fragment(&fragments.items[0]))
    });
    assert_eq!(ours, theirs);
}

#[test]
fn generated_rgb_without_a_colour_becomes_grey_with_its_pixels_and_its_name() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("grey");
    std::fs::create_dir(&folder).unwrap();
    let kinds = ["rgb-grey", "rgb-grey-loop", "rgb-planes-grey"];
    kinds.iter().for_each(|kind| Sample::kind(kind).write(&folder));
    let Some(decoders) = Decoders::find() else { return };
    for file in list(&GREY.folder(&folder, &[])) {
        let source = Dicom::open(&folder.join(name(&file)));
        let mut expected = source.pixels();
        expected.bytes = expected.bytes.chunks_exact(3).map(|pixel| pixel[0]).collect();
        (expected.samples, expected.frame) = (1, expected.frame / 3);
        assert_eq!(decoders.dcmdjpeg(&file).unwrap().difference(&expected), None, "{}", name(&file));
        let copy = Dicom::open(&file);
        assert_eq!((copy.syntax.as_str(), &copy.sop_instance), (JPEG_LOSSLESS, &source.sop_instance));
        let text = |tag| copy.text(tag).unwrap_or_default();
        assert_eq!([PHOTOMETRIC, LOSSY].map(text), ["MONOCHROME2", "00"], "{}", name(&file));
        // The window is the identity.
        assert_eq!([WINDOW_CENTRE, WINDOW_WIDTH].map(text), ["128", "256"], "{}", name(&file));
        let numbers = [SAMPLES, BITS_ALLOCATED, BITS_STORED, HIGH_BIT, SIGNED, COLOUR_PRESENT];
        let numbers = numbers.map(|tag| copy.number(tag));
        assert_eq!((numbers, copy.has(PLANAR)), ([1, 8, 8, 7, 0, 0].map(Some), false), "{}", name(&file));
        for item in &copy.fragments().unwrap().items {
            assert_eq!(process(copy.fragment(item)), (0xC3, 8, 1, 1), "{}", name(&file));
        }
    }
}

/// A grey loop in RGB, but for one pixel at the end of its last frame.
fn one_coloured_pixel(folder: &Path) {
    let study = Study::new(7);
    for (number, frames) in [(1, 1), (2, 5)] {
        let scene = Scene { seed: 7, rows: 97, columns: 131, frames, colour: Colour::GreyRgb };
        let grey = study.instance(number, scene, Encoding::ExplicitLittle);
        let DataSet::Bytes(bytes) = &grey.data_set else { unreachable!("a generated instance") };
        // An odd number of bytes is padded.
        let last = bytes.len() - 1 - scene.frame_len() * frames as usize % 2;
        let coloured: Instance = grey.edited(|data_set| data_set[last] ^= 1);
        coloured.write_part10(&folder.join(format!("one-pixel-{frames}.dcm"))).unwrap();
    }
}

#[test]
fn nothing_with_a_colour_in_it_is_greyed() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("colour");
    std::fs::create_dir(&folder).unwrap();
    one_coloured_pixel(&folder);
    ["rgb-doppler-loop", "rgb-planes-loop", "rgb-marked"]
        .iter()
        .for_each(|kind| Sample::kind(kind).write(&folder));
    let doppler = |file: &PathBuf| DOPPLER.iter().any(|start| name(file).starts_with(start));
    for file in real_files("ultrasound").unwrap_or_default().into_iter().filter(doppler) {
        std::fs::write(folder.join(name(&file)), std::fs::read(&file).unwrap()).unwrap();
    }
    let settings =
        ["as-received", "uncompressed", "jpeg-lossless"].map(|target| setting(target, "b-mode-only", "keep"));
    let settings = settings.into_iter().chain([setting("jpeg-lossy", "b-mode-only", "force")]);
    let greyed = settings.par_bridge().flat_map_iter(|setting| {
        let copies = list(&setting.folder(&folder, &[]));
        let greyed = copies.into_iter().filter(|file| {
            let copy = Dicom::open(file);
            copy.number(SAMPLES) != Some(3) || copy.text(PHOTOMETRIC).is_none_or(|name| name.contains("MONO"))
        });
        greyed.map(move |file| format!("{}, {setting}: it has become grey", name(&file))).collect::<Vec<_>>()
    });
    none_of(&greyed.collect::<Vec<_>>());
    assert_eq!(Dicom::open(&folder.join("one-pixel-5.dcm")).syntax, EXPLICIT_LITTLE);
}

/// Real files with colour Doppler or coloured marks.
const DOPPLER: [&str; 3] = ["go_I_000032", "vivide95", "medistim"];
const WINDOW_CENTRE: Tag = Tag(0x0028, 0x1050);
const WINDOW_WIDTH: Tag = Tag(0x0028, 0x1051);
