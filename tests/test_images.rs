//! Test images as others see them: every kind of cart, judged and decoded by DCMTK, gdcm and dicom3tools, and sent.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use chrysalis::synthetic::{Cart, Coding, Factory, Pixels, TestInstance};
use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, colour, jpeg};
use chrysalis_sizing::{Mix, StudyKind};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::instance::{DataSet, Digest, Instance};
use support::node::{Node, program_under_test};
use support::process::{self, Finished, list};
use support::strangers::{self, require};
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(120);

/// Frames of 120 x 160, or nearly, whose bytes are odd in number where they can be.
static MIX: Mix = Mix {
    kinds: &[StudyKind { name: "short", share: 1, stills: 2, loops: 2, frames_per_loop: 5 }],
    native_frame: 121 * 161 * 3,
    jpeg_frame: 6_000,
    lossless_frame: 20_000,
};

const FRAMES: usize = 5;

fn run(program: &Path, args: &[&str], files: &[&Path]) -> Finished {
    let args = args.iter().map(std::ffi::OsStr::new).chain(files.iter().map(|file| file.as_os_str()));
    process::run(program, args, PATIENCE)
}

/// Runs `chrysalis testimages` with small images.
fn testimages(out: &Path, args: &[&str]) -> Finished {
    let out = out.to_str().unwrap();
    process::run(&program_under_test(), ["testimages", out, "--small"].iter().chain(args), PATIENCE)
}

fn digests(files: &[PathBuf]) -> BTreeSet<Digest> {
    files.iter().map(|file| Instance::from_part10(file).unwrap().digest()).collect()
}

#[test]
fn nobody_finds_anything_wrong_with_what_any_cart_stores() {
    let programs = ["dcmftest", "dcmdump", "gdcminfo", "dciodvfy"].map(require);
    let [Some(dcmftest), Some(dcmdump), Some(gdcminfo), Some(dciodvfy)] = programs else { return };
    let folder = tempfile::tempdir().unwrap();
    for cart in Cart::all() {
        testimages(folder.path(), &["--studies", "1", "--encoding", cart.name]).expect_success();
    }
    let files = list(folder.path());
    assert_eq!(files.len(), 12 * 5);
    for file in &files {
        let name = file.strip_prefix(folder.path()).unwrap().display();
        assert!(run(&dcmftest, &[], &[file]).output.starts_with("yes: "), "{name}");
        let dump = run(&dcmdump, &["-q"], &[file]).expect_success().output;
        assert!(
            !dump.lines().any(|line| line.starts_with("E: ") || line.starts_with("W: ")),
            "{name}: {dump}"
        );
        run(&gdcminfo, &[], &[file]).expect_success();
        let said = run(&dciodvfy, &[], &[file]).output;
        // It does not know that native chroma may be halved (PS3.3 C.7.6.3.1.2).
        let halved = |line: &&str| {
            name.to_string().contains("native-422")
                && (line.contains("YBR_FULL_422") || line.contains("PixelData"))
        };
        let errors = said.lines().filter(|line| line.starts_with("Error"));
        let errors: Vec<_> = errors.filter(|line| !halved(line)).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// The value of Pixel Data, if it is native and the last element.
fn native_pixels(instance: &Instance) -> &[u8] {
    let DataSet::Bytes(bytes) = &instance.data_set else { panic!("it was read from a file") };
    let at = bytes.windows(12).enumerate().position(|(at, start)| {
        let length = u32::from_le_bytes(start[8..12].try_into().unwrap()) as usize;
        matches!(start, [0xE0, 0x7F, 0x10, 0x00, b'O', b'B' | b'W', 0, 0, ..])
            && at + 12 + length == bytes.len()
    });
    &bytes[at.expect("native Pixel Data at the end") + 12..]
}

/// Rows and columns as dcmdump has them.
fn shape(dcmdump: &Path, file: &Path) -> (u16, u16) {
    let said = run(dcmdump, &["+P", "0028,0010", "+P", "0028,0011"], &[file]).expect_success().output;
    let mut numbers = said.lines().map(|line| line.split_whitespace().nth(2).unwrap().parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What DCMTK decodes an instance to: a pixel's samples side by side, in the colours that were stored.
fn decoded(instance: &TestInstance, pixels: Pixels, coding: Coding, folder: &Path) -> Option<Vec<Vec<u8>>> {
    let (stored, plain) = (folder.join("stored.dcm"), folder.join("plain.dcm"));
    instance.write_file(&mut File::create(&stored).unwrap()).unwrap();
    let (program, args): (_, &[&str]) = match coding {
        Coding::ImplicitVr | Coding::ExplicitVr => ("dcmconv", &["+te"]),
        Coding::Rle => ("dcmdrle", &[]),
        Coding::JpegBaseline | Coding::JpegLossless => ("dcmdjpeg", &["+cn", "+px"]),
    };
    run(&require(program)?, args, &[&stored, &plain]).expect_success();
    let (rows, columns) = shape(&require("dcmdump")?, &stored);
    let samples = match pixels {
        Pixels::Mono | Pixels::Palette8 | Pixels::Palette16 => Samples::One,
        Pixels::Rgb | Pixels::YbrPlanes | Pixels::Ybr422 => Samples::Three,
    };
    let depth = if pixels == Pixels::Palette16 { Depth::Sixteen } else { Depth::Eight };
    let layout = FrameLayout { rows, columns, samples, depth, order: Order::ByPixel };
    let halved = pixels == Pixels::Ybr422 && coding.is_native();
    let length = if halved { colour::ybr_422_bytes(rows, columns) } else { layout.bytes() } as usize;
    let plain = Instance::from_part10(&plain).unwrap();
    let frames = native_pixels(&plain).chunks_exact(length).map(|frame| match pixels {
        Pixels::Ybr422 if halved => colour::ybr_422_to_ybr_full(frame, layout).unwrap(),
        Pixels::YbrPlanes => {
            colour::planes_to_pixels(frame, FrameLayout { order: Order::ByPlane, ..layout }).unwrap()
        }
        _ => frame.to_vec(),
    });
    Some(frames.collect())
}

#[test]
fn dcmtk_decodes_what_was_stored_without_loss_to_exactly_the_pixels_that_were_drawn() {
    let folder = tempfile::tempdir().unwrap();
    for cart in Cart::all() {
        let study = Factory::of_cart(4, &MIX, cart).unwrap().study(1);
        for instance in study.instances() {
            let form = if instance.is_still { cart.stills } else { cart.loops };
            if form.coding == Coding::JpegBaseline {
                continue;
            }
            let Some(frames) = decoded(&instance, form.pixels, form.coding, folder.path()) else { return };
            let found: Vec<[u8; 32]> = frames.iter().map(|frame| Sha256::digest(frame).into()).collect();
            assert_eq!(found, instance.pixel_digests(), "{} {form:?}", cart.name);
        }
    }
}

#[test]
fn dcmtk_decodes_the_luma_of_jpeg_as_this_project_does_within_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let cart = Cart::named("all-jpeg").unwrap();
    let study = Factory::of_cart(4, &MIX, cart).unwrap().study(1);
    let instance = study.instances().last().unwrap();
    let Some(frames) = decoded(&instance, Pixels::Ybr422, Coding::JpegBaseline, folder.path()) else {
        return;
    };
    assert_eq!(frames.len(), FRAMES);
    // The pieces are header, frames as items of 8 bytes and a stream, and the end.
    for (theirs, item) in frames.iter().zip(instance.pieces().skip(1)) {
        let ours = jpeg::decode_frame(&item[8..], chrysalis_codecs::Limits::default()).unwrap();
        let luma = |pixels: &[u8]| pixels.iter().step_by(3).copied().collect::<Vec<_>>();
        let (ours, theirs) = (luma(&ours.pixels), luma(theirs));
        assert_eq!(ours.len(), theirs.len());
        let apart = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(apart <= Some(2), "{apart:?}");
    }
}

#[test]
fn dcmsend_and_our_own_send_push_them_into_a_node_bit_for_bit() {
    let images = tempfile::tempdir().unwrap();
    let said = testimages(images.path(), &["--studies", "8"]).expect_success().output;
    assert!(said.contains("chrysalis send AE@host:port "), "{said}");
    let files = list(images.path());
    let node = Node::builder().folder("out").start();
    // What is native, dcmsend writes anew in the encoding it likes best.
    let is_native = |file: &PathBuf| {
        let syntax = Instance::from_part10(file).unwrap().transfer_syntax;
        [support::instance::IMPLICIT_LITTLE, support::instance::EXPLICIT_LITTLE].contains(&syntax.as_str())
    };
    let (with_ours, with_dcmsend): (Vec<_>, Vec<_>) = files.iter().cloned().partition(is_native);
    let Some(sent) = strangers::dcmsend(node.address, &["--no-halt"], &with_dcmsend) else { return };
    sent.expect_success();
    let peer = format!("CHRYSALIS@{}", node.address);
    let ours = with_ours.iter().map(|file| file.to_str().unwrap());
    let args = ["send", &peer].into_iter().chain(ours);
    process::run(&program_under_test(), args, PATIENCE).expect_success();
    let delivered = || Some(node.delivered("out")).filter(|delivered| delivered.len() == files.len());
    let delivered = eventually("everything is delivered", PATIENCE, delivered);
    assert_eq!(digests(&delivered), digests(&files));
}

#[test]
fn orthanc_takes_them_as_studies_of_as_many_patients() {
    let Some(orthanc) = strangers::Orthanc::start("") else { return };
    let images = tempfile::tempdir().unwrap();
    testimages(images.path(), &["--studies", "8"]).expect_success();
    let peer = format!("ORTHANC@{}", orthanc.dicom);
    let folder = images.path().to_str().unwrap();
    process::run(&program_under_test(), ["send", &peer, folder], PATIENCE).expect_success();
    assert_eq!(orthanc.instances().len(), list(images.path()).len());
    let count = |what: &str| {
        support::http::get(orthanc.http, what).unwrap().text().split('"').skip(1).step_by(2).count()
    };
    assert_eq!((count("/patients"), count("/studies"), count("/series")), (8, 8, 8));
}
