//! JPEG Lossless both ways: what we write, two strangers decode to the source's pixels; what others wrote, we decode to
//! theirs.

use crate::file::{BITS_STORED, Dicom, IMAGE_TYPE, LOSSY, LOSSY_METHOD, LOSSY_RATIO, Pixels, SOP_INSTANCE};
use crate::program::{JPEG_LOSSLESS as TO_JPEG_LOSSLESS, UNCOMPRESSED};
use crate::samples::{self, Sample};
use crate::support::instance::{Instance, real_files};
use crate::support::process::list;
use crate::tools::{
    DEFLATED, Decoders, JPEG_2000, JPEG_LOSSLESS, JPEG_LOSSLESS_ANY, JPEG_LS, RLE, convert, name, none_of,
    program,
};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Transfer syntaxes without loss of which a stranger can decode the source.
const EXACT: [&str; 9] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    DEFLATED,
    RLE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_ANY,
    JPEG_LS,
    JPEG_2000,
];

/// What differs between a source and its copy in JPEG Lossless, and how many copies were compared.
fn differences(folder: &Path, decoders: &Decoders) -> (usize, Vec<String>) {
    let copies = TO_JPEG_LOSSLESS.folder(folder, &[]);
    let each = list(&copies).into_par_iter().filter_map(|file| {
        let source = folder.join(file.strip_prefix(&copies).unwrap());
        let before = Instance::from_part10(&source).unwrap().transfer_syntax;
        let after = Instance::from_part10(&file).unwrap().transfer_syntax;
        let is_another = std::fs::read(&source).unwrap() != std::fs::read(&file).unwrap();
        let is_compared = EXACT.contains(&before.as_str()) && after == JPEG_LOSSLESS && is_another;
        is_compared.then(|| compared(decoders, &source, &before, &file))
    });
    let each: Vec<_> = each.collect();
    (each.len(), each.into_iter().flatten().collect())
}

fn compared(decoders: &Decoders, source: &Path, syntax: &str, copy: &Path) -> Vec<String> {
    let expected = match decoders.samples(source, syntax) {
        Ok(expected) => expected,
        Err(why) => return vec![format!("{}: the source: {why}", name(source))],
    };
    let mut found = Vec::new();
    let mut compare = |who: &str, decoded: Result<Pixels, String>, expected: &Pixels| {
        let difference = match decoded {
            Ok(decoded) => decoded.difference(expected),
            Err(why) => Some(why),
        };
        found.extend(difference.map(|difference| format!("{}: {who}: {difference}", name(source))));
    };
    compare("dcmdjpeg", decoders.dcmdjpeg(copy), &expected);
    // Loops in colour of 16 bits gdcm does not decode, whoever encoded them. It also rewrites what is above Bits Stored.
    if expected.samples == 1 || expected.depth == 1 || expected.bytes.len() == expected.frame {
        let stored = Dicom::open(copy).number(BITS_STORED).unwrap();
        let decoded = decoders.gdcm(copy).map(|decoded| decoded.within(stored));
        compare("gdcmconv", decoded, &expected.within(stored));
    }
    found
}

#[test]
fn two_strangers_decode_our_jpeg_lossless_to_the_pixels_that_were_generated() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("generated");
    let (Some(decoders), true) = (Decoders::find(), samples::write_all(&folder)) else { return };
    let (count, differences) = differences(&folder, &decoders);
    none_of(&differences);
    assert!(count > samples::KINDS.len(), "only {count} were compared");
}

#[test]
fn two_strangers_decode_our_jpeg_lossless_to_the_pixels_of_real_files() {
    let Some(decoders) = Decoders::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("real");
    std::fs::create_dir(&folder).unwrap();
    for file in ["ultrasound", "other"].iter().filter_map(|folder| real_files(folder)).flatten() {
        if Dicom::can_be_sent(&file) {
            std::fs::write(folder.join(name(&file)), std::fs::read(&file).unwrap()).unwrap();
        }
    }
    if list(&folder).is_empty() {
        return;
    }
    let (count, differences) = differences(&folder, &decoders);
    none_of(&differences);
    println!("{count} copies of real files compared");
}

/// JPEG Lossless by DCMTK's encoder, with every predictor.
fn by_others(folder: &Path) -> Option<()> {
    let dcmcjpeg = program("dcmcjpeg")?;
    let sources = tempfile::tempdir().unwrap();
    for kind in
        ["grey-8", "grey-8-odd-loop", "grey-10", "grey-12-signed", "grey-16", "rgb-odd", "rgb-16-loop"]
    {
        Sample::kind(kind).write(sources.path());
        for predictor in ["1", "2", "3", "4", "5", "6", "7"] {
            let from = sources.path().join(format!("{kind}.dcm"));
            let to = folder.join(format!("{kind}-{predictor}.dcm"));
            convert(&dcmcjpeg, &["+el", "+sv", predictor], &from, &to).unwrap();
        }
    }
    Some(())
}

/// Files in JPEG Lossless that are to be decoded both ways: generated, and real where there are any.
fn jpeg_lossless(folder: &Path) -> Option<Vec<PathBuf>> {
    std::fs::create_dir(folder).unwrap();
    by_others(folder)?;
    for file in ["ultrasound", "other"].iter().filter_map(|folder| real_files(folder)).flatten() {
        let syntax = if Dicom::can_be_sent(&file) { Dicom::open(&file).syntax } else { String::new() };
        if [JPEG_LOSSLESS, JPEG_LOSSLESS_ANY].contains(&syntax.as_str()) {
            std::fs::write(folder.join(name(&file)), std::fs::read(&file).unwrap()).unwrap();
        }
    }
    Some(list(folder))
}

#[test]
fn we_decode_every_jpeg_lossless_file_to_dcmdjpegs_pixels() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("jpeg-lossless");
    let (Some(decoders), Some(files)) = (Decoders::find(), jpeg_lossless(&folder)) else { return };
    let copies = UNCOMPRESSED.folder(&folder, &[]);
    let each = files.par_iter().filter_map(|file| {
        let ours = Dicom::open(&copies.join(name(file)));
        assert!(ours.native().is_some(), "{}: it is not uncompressed", name(file));
        match decoders.dcmdjpeg(file) {
            Err(why) => Some(format!("{}: {why}", name(file))),
            Ok(theirs) => Some(format!("{}: {}", name(file), ours.pixels().difference(&theirs)?)),
        }
    });
    none_of(&each.collect::<Vec<_>>());
    println!("{} files decoded", files.len());
}

#[test]
fn nothing_lossless_says_that_it_has_loss_or_another_name() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("generated");
    if !samples::write_all(&folder) {
        return;
    }
    for setting in [TO_JPEG_LOSSLESS, UNCOMPRESSED] {
        let copies = setting.folder(&folder, &[]);
        for file in list(&copies) {
            // What is deflated cannot be looked into.
            let Ok(before) = Dicom::try_open(&folder.join(name(&file))) else { continue };
            let after = Dicom::open(&file);
            for tag in UNCHANGED {
                let (before, after) = (before.text(tag), after.text(tag));
                assert_eq!(after, before, "{}, {setting}: {tag}", name(&file));
            }
            assert_eq!(after.sop_instance, before.sop_instance, "{}, {setting}", name(&file));
        }
    }
}

/// Image Type, SOP Instance UID, Derivation Description and what loss there was.
const UNCHANGED: [dicom_core::Tag; 6] =
    [IMAGE_TYPE, SOP_INSTANCE, dicom_core::Tag(0x0008, 0x2111), LOSSY, LOSSY_RATIO, LOSSY_METHOD];
