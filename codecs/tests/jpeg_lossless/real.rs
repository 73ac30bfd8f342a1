//! Every JPEG Lossless file of the real data, if this machine has it.

use chrysalis_codecs::Limits;
use chrysalis_codecs::jpeg_lossless::{Tables, decode_frame, encode_frame, verify_frame};
use std::path::{Path, PathBuf};

/// The folder of real files.
fn data() -> Option<PathBuf> {
    let named = std::env::var_os("CHRYSALIS_TEST_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    Some(named.unwrap_or_else(beside)).filter(|folder| folder.is_dir())
}

/// The streams in the fragments of a file whose transfer syntax is JPEG Lossless, joined where a frame has several (PS3.5 A.4).
fn streams(file: &[u8]) -> Vec<Vec<u8>> {
    let lossless = |uid: &[u8]| uid == b"1.2.840.10008.1.2.4.57" || uid == b"1.2.840.10008.1.2.4.70";
    let mut streams: Vec<Vec<u8>> = Vec::new();
    if !file.windows(22).take(1024).any(lossless) {
        return streams;
    }
    let headers = [b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF", b"\xE0\x7F\x10\x00OW\0\0\xFF\xFF\xFF\xFF"];
    let at = file.windows(12).rposition(|window| headers.iter().any(|header| window == *header));
    let mut rest = &file[at.expect("encapsulated pixels") + 12..];
    let mut table = true;
    while let Some(item) = rest.strip_prefix(b"\xFE\xFF\x00\xE0") {
        let (length, value) = item.split_first_chunk().expect("a length");
        let (value, after) = value.split_at(u32::from_le_bytes(*length) as usize);
        match streams.last_mut() {
            _ if table => table = false,
            Some(frame) if !value.starts_with(b"\xFF\xD8\xFF") => frame.extend(value),
            _ => streams.push(value.to_vec()),
        }
        rest = after;
    }
    streams
}

fn check(name: &Path, stream: &[u8]) {
    let name = name.display();
    let frame = decode_frame(stream, Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (layout, precision) = (frame.layout, frame.precision);
    verify_frame(stream, &frame.pixels, layout, precision).expect("it is what it was decoded to");
    let tables = Tables::of_frame(&frame.pixels, layout, precision).expect("tables");
    let ours = encode_frame(&frame.pixels, layout, precision, &tables).expect("it is encoded");
    let again = decode_frame(&ours, Limits::default()).expect("it is decoded");
    assert!(again.pixels == frame.pixels, "{name}: the pixels differ");
}

#[test]
fn every_real_file_is_decoded_and_comes_back() {
    let Some(data) = data() else {
        eprintln!("skipped: the folder of real files is not there");
        return;
    };
    let mut files = 0;
    for folder in ["ultrasound", "other"] {
        for entry in std::fs::read_dir(data.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let file = std::fs::read(&path).expect("a file");
            let streams = streams(&file);
            files += usize::from(!streams.is_empty());
            streams.iter().for_each(|stream| check(&path, stream));
        }
    }
    assert!(files >= 16, "there are {files} files");
}
