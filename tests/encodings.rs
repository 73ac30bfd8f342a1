//! Data sets in one native encoding written in another, against what dcmconv makes of them.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use chrysalis::dicom::Encoding;
use chrysalis::transcode::Edits;
use chrysalis::transcode::dataset::{Outline, write_whole};
use std::path::Path;
use std::time::Duration;
use support::process;
use support::strangers::require;

const PATIENCE: Duration = Duration::from_secs(60);
const UNDEFINED: u32 = u32::MAX;

/// An element in Implicit VR Little Endian.
fn element(group: u16, number: u16, value: &[u8]) -> Vec<u8> {
    [&header(group, number, value.len() as u32), value].concat()
}

fn header(group: u16, number: u16, length: u32) -> Vec<u8> {
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &length.to_le_bytes()].concat()
}

fn sequence(group: u16, number: u16, items: &[Vec<u8>]) -> Vec<u8> {
    let item = |item: &Vec<u8>| {
        [header(0xFFFE, 0xE000, UNDEFINED), item.clone(), header(0xFFFE, 0xE00D, 0)].concat()
    };
    let items: Vec<u8> = items.iter().flat_map(item).collect();
    [header(group, number, UNDEFINED), items, header(0xFFFE, 0xE0DD, 0)].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// An image of 2 x 4 pixels with a bit of everything.
fn image(bits: u16) -> Vec<u8> {
    let region = [
        element(0x0018, 0x6012, &numbers(&[1])),
        element(0x0018, 0x6018, &[1, 2, 3, 4]),
        element(0x0018, 0x602C, &0.025_f64.to_le_bytes()),
    ];
    let lut = |count: u16| {
        let entries: Vec<u16> = (0..count).map(|n| n * 257).collect();
        [
            element(0x0028, 0x3002, &numbers(&[count, 0, 16])),
            element(0x0028, 0x3003, b""),
            element(0x0028, 0x3006, &numbers(&entries)),
        ]
        .concat()
    };
    // With signed pixels dcmconv takes the descriptor for unsigned all the same.
    let luts = if bits == 8 { vec![lut(4), lut(1)] } else { Vec::new() };
    let waveform = |bits: u16| {
        [element(0x5400, 0x1004, &numbers(&[bits])), element(0x5400, 0x1010, &[1, 2, 3, 4])].concat()
    };
    [
        element(0x0008, 0x0008, b"ORIGINAL\\PRIMARY"),
        element(0x0008, 0x0016, b"1.2.840.10008.5.1.4.1.1.6.1\0"),
        element(0x0008, 0x0018, b"1.2.826.0.1.3680043.10.9"),
        element(0x0008, 0x0020, b"20260101"),
        element(0x0008, 0x0060, b"US"),
        sequence(0x0008, 0x1140, &[element(0x0008, 0x1155, b"1.2.3\0"), element(0x0008, 0x1155, b"1.2.34")]),
        element(0x0009, 0x0010, b"CHRYSALIS TESTS "),
        element(0x0009, 0x1001, b"\x01\x02\x03\x04"),
        sequence(0x0009, 0x1002, &[element(0x0008, 0x0060, b"US")]),
        element(0x0010, 0x0010, b"Test^Patient"),
        element(0x0018, 0x0072, b"1.5 "),
        sequence(0x0018, 0x6011, &[region.concat(), region.concat()]),
        element(0x0020, 0x000D, b"1.2.826.0.1.3680043.10.2"),
        element(0x0020, 0x4000, &vec![b'X'; 70_000]),
        element(0x0028, 0x0002, &numbers(&[1])),
        element(0x0028, 0x0004, b"MONOCHROME2 "),
        element(0x0028, 0x0009, &numbers(&[0x0018, 0x1063])),
        element(0x0028, 0x0010, &numbers(&[2])),
        element(0x0028, 0x0011, &numbers(&[4])),
        element(0x0028, 0x0100, &numbers(&[bits])),
        element(0x0028, 0x0101, &numbers(&[bits])),
        element(0x0028, 0x0102, &numbers(&[bits - 1])),
        element(0x0028, 0x0103, &numbers(&[u16::from(bits == 16)])),
        element(0x0028, 0x0106, &numbers(&[3])),
        element(0x0028, 0x1201, &numbers(&[1, 2, 3])),
        sequence(0x0028, 0x3010, &luts),
        sequence(0x0088, 0x0200, &[element(0x7FE0, 0x0010, &[1, 2, 3, 4])]),
        element(0x5000, 0x3000, &[1, 2]),
        sequence(0x5400, 0x0100, &[waveform(8), waveform(16)]),
        element(0x6000, 0x0010, &numbers(&[1])),
        element(0x6000, 0x3000, &[1, 2]),
        element(0x7FE0, 0x0010, &vec![7; usize::from(bits)]),
    ]
    .concat()
}

/// What dcmconv makes of a data set: undefined lengths, no group lengths.
fn converted(program: &Path, data_set: &[u8], from: Encoding, to: Encoding) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::write(&input, data_set).unwrap();
    let name = |encoding| match encoding {
        Encoding::ImplicitLe => "i",
        Encoding::ExplicitBe => "b",
        _ => "e",
    };
    let mut args: Vec<std::ffi::OsString> = vec!["-f".into(), format!("-t{}", name(from)).into()];
    args.extend(["-F".into(), "-e".into(), "-g".into(), format!("+t{}", name(to)).into()]);
    args.extend([input.into(), output.clone().into()]);
    process::run(program, args, PATIENCE).expect_success();
    std::fs::read(output).unwrap()
}

/// What the router makes of it.
fn written(data_set: &[u8], from: Encoding, to: Encoding) -> Vec<u8> {
    let source = data_set.to_vec();
    let outline = Outline::read(&source, from).unwrap();
    let mut out = Vec::new();
    write_whole(&source, &outline, &Edits::default(), to, &mut out).unwrap();
    out
}

#[test]
fn from_every_native_encoding_into_every_other_dcmconv_writes_the_same_bytes() {
    let Some(dcmconv) = require("dcmconv") else { return };
    for bits in [8, 16] {
        let implicit = image(bits);
        for from in [Encoding::ImplicitLe, Encoding::ExplicitLe, Encoding::ExplicitBe] {
            let source = match from {
                Encoding::ImplicitLe => implicit.clone(),
                _ => converted(&dcmconv, &implicit, Encoding::ImplicitLe, from),
            };
            for to in [Encoding::ImplicitLe, Encoding::ExplicitLe] {
                let theirs = converted(&dcmconv, &source, from, to);
                let ours = written(&source, from, to);
                let difference = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
                assert!(ours == theirs, "{bits} bits, {from:?} to {to:?}: at {difference:?}");
            }
        }
    }
}
