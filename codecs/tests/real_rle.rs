//! RLE against a real file: the NEMA sample in RLE has the same pixels as its uncompressed twin.

use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples, rle};
use std::path::PathBuf;

/// The folder of real files, if this machine has it.
fn data() -> Option<PathBuf> {
    let named = std::env::var_os("CHRYSALIS_TEST_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    Some(named.unwrap_or_else(beside)).filter(|folder| folder.is_dir())
}

/// The bytes after the last Pixel Data header (7FE0,0010) with this VR, and its value length.
fn pixel_data<'a>(file: &'a [u8], vr: &[u8; 2]) -> (u32, &'a [u8]) {
    let header = [0xE0, 0x7F, 0x10, 0x00, vr[0], vr[1], 0, 0];
    let at = file.windows(8).rposition(|window| window == header).expect("the file has pixel data");
    let length = u32::from_le_bytes(file[at + 8..at + 12].try_into().expect("four bytes"));
    (length, &file[at + 12..])
}

/// The first frame of encapsulated pixel data, which lies in one fragment after the Basic Offset Table (PS3.5 A.4).
fn first_fragment(items: &[u8]) -> &[u8] {
    let length =
        |at: usize| u32::from_le_bytes(items[at + 4..at + 8].try_into().expect("four bytes")) as usize;
    let fragment = 8 + length(0);
    &items[fragment + 8..fragment + 8 + length(fragment)]
}

#[test]
fn the_real_rle_still_has_the_pixels_of_its_uncompressed_twin() {
    let Some(folder) = data().map(|data| data.join("ultrasound")) else {
        eprintln!("skipped: the folder of real files is not there");
        return;
    };
    let compressed = std::fs::read(folder.join("US1_RLE.dcm")).expect("the RLE file can be read");
    let native = std::fs::read(folder.join("US1_UNCR.dcm")).expect("the native file can be read");
    let layout = FrameLayout {
        rows: 480,
        columns: 640,
        samples: Samples::Three,
        depth: Depth::Eight,
        order: Order::ByPixel,
    };
    let (_, items) = pixel_data(&compressed, b"OB");
    let decoded = rle::decode_frame(first_fragment(items), layout, Limits::default()).expect("it decodes");
    let (_, pixels) = pixel_data(
        &native,
        if native.windows(6).any(|w| w == b"\xE0\x7F\x10\x00OB") { b"OB" } else { b"OW" },
    );
    assert!(decoded == pixels[..640 * 480 * 3], "the pixels differ");
    let again = rle::encode_frame(&decoded, layout).expect("it encodes");
    assert!(
        again.len() <= first_fragment(items).len() * 101 / 100,
        "our encoding is about as small as theirs"
    );
    assert!(rle::decode_frame(&again, layout, Limits::default()).expect("it decodes") == decoded);
}
