//! JPEG against real files: every frame of every baseline and extended file decodes, and survives being encoded again.

use chrysalis_codecs::jpeg::{Colour, Quality, decode_frame, encode_frame};
use chrysalis_codecs::{Depth, Frame, Limits, Samples};
use std::path::{Path, PathBuf};

/// The folder of real files, if this machine has it.
fn data() -> Option<PathBuf> {
    let named = std::env::var_os("CHRYSALIS_TEST_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    Some(named.unwrap_or_else(beside)).filter(|folder| folder.is_dir())
}

/// The files of two folders whose meta information names this transfer syntax.
fn files(data: &Path, syntax: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in ["ultrasound", "other"] {
        for entry in std::fs::read_dir(data.join(folder)).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            let Ok(bytes) = std::fs::read(&path) else { continue };
            // Explicit VR, a length, and the value padded to an even one (PS3.10 7.1).
            let header = [&[2, 0, 0x10, 0, b'U', b'I', 22, 0], syntax.as_bytes()].concat();
            if bytes.iter().take(2000).copied().collect::<Vec<_>>().windows(header.len()).any(|w| w == header)
            {
                found.push((path.file_name().expect("a name").to_string_lossy().into_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

/// The streams of the last encapsulated pixel data: each starts at a fragment that starts with SOI (PS3.5 A.4).
fn streams(file: &[u8]) -> Vec<Vec<u8>> {
    let header = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF";
    let Some(start) = file.windows(header.len()).rposition(|window| window == header) else {
        return Vec::new();
    };
    let mut items = &file[start + header.len()..];
    let mut streams: Vec<Vec<u8>> = Vec::new();
    let mut first = true;
    while let Some((head, rest)) = items.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
        if head[..4] != [0xFE, 0xFF, 0, 0xE0] || length > rest.len() {
            break;
        }
        let (fragment, after) = rest.split_at(length);
        match streams.last_mut() {
            _ if std::mem::take(&mut first) => {}
            Some(stream) if !fragment.starts_with(&[0xFF, 0xD8]) => stream.extend(fragment),
            _ => streams.push(fragment.to_vec()),
        }
        items = after;
    }
    streams
}

/// Decodes all frames; says how many there were.
fn decode_all(syntax: &str, mut see: impl FnMut(&str, &Frame)) -> Option<usize> {
    let Some(folder) = data() else {
        eprintln!("skipped: the folder of real files is not there");
        return None;
    };
    let mut count = 0;
    for (name, file) in files(&folder, syntax) {
        for (number, stream) in streams(&file).iter().enumerate() {
            let frame = decode_frame(stream, Limits::default());
            let frame = frame.unwrap_or_else(|error| panic!("{name}, frame {number}: {error}"));
            assert_eq!(frame.pixels.len() as u64, frame.layout.bytes());
            see(&name, &frame);
            count += 1;
        }
    }
    Some(count)
}

#[test]
fn every_baseline_file_decodes_and_keeps_its_luma_when_encoded_again() {
    let quality = Quality::new(95).expect("a quality");
    let count = decode_all("1.2.840.10008.1.2.4.50", |name, frame| {
        let colour = if frame.layout.samples == Samples::Three { Colour::YbrFull } else { Colour::Grey };
        let again = encode_frame(&frame.pixels, frame.layout, colour, quality).expect("it encodes");
        let again = decode_frame(&again, Limits::default()).expect("our own stream decodes");
        assert_eq!(again.layout, frame.layout);
        let step = if colour == Colour::Grey { 1 } else { 3 };
        let pairs = frame.pixels.iter().step_by(step).zip(again.pixels.iter().step_by(step));
        let error: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let mean = error as f64 / frame.layout.pixels() as f64;
        // 38 dB.
        assert!(mean < 10.3, "{name}: a mean square error of {mean:.2}");
    });
    assert!(count.is_none_or(|count| count >= 390), "{count:?} frames");
}

#[test]
fn every_extended_file_decodes_with_twelve_bits() {
    let count = decode_all("1.2.840.10008.1.2.4.51", |name, frame| {
        assert_eq!((frame.precision, frame.layout.depth), (12, Depth::Sixteen), "{name}");
        assert!(frame.pixels.as_chunks::<2>().0.iter().all(|pair| u16::from_le_bytes(*pair) < 4096));
    });
    assert!(count.is_none_or(|count| count >= 2), "{count:?} frames");
}
