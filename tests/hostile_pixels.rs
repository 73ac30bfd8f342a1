//! Pixels that are not what their attributes tell, or no pixels at all: the cart is answered 0000, since the original is
//! safe; who takes the original gets it byte for byte, and for who does not it is held with the reason.
#![cfg(all(unix, feature = "jpeg2000"))]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use support::archive::{Archive, Script};
use support::deliveries::{BRISK, SOON};
use support::hostile::data_sets::{
    ITEM, NO_LENGTH, PIXELS, SEQUENCE_END, UID, after_head, long, mark, raw, text,
};
use support::instance::{DataSet, Digest, EXPLICIT_LITTLE, Instance, JPEG_BASELINE, RLE_LOSSLESS, US_IMAGE};
use support::modality::Modality;
use support::node::Node;
use support::wait::eventually;

const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// An image's attributes, which may lie, and its pixel data element.
struct Image {
    rows: Vec<u8>,
    columns: u16,
    samples: u16,
    frames: Option<&'static str>,
    pixels: Vec<u8>,
}

impl Image {
    /// Grey, of 16 by 16.
    fn grey(pixels: Vec<u8>) -> Self {
        Self { rows: us((0x0028, 0x0010), 16), columns: 16, samples: 1, frames: None, pixels }
    }

    fn bytes(self) -> Vec<u8> {
        let photometric = if self.samples == 1 { "MONOCHROME2" } else { "RGB" };
        let frames = self.frames.map(|frames| text((0x0028, 0x0008), b"IS", frames));
        let planar = (self.samples == 3).then(|| us((0x0028, 0x0006), 0));
        let elements = [
            us((0x0028, 0x0002), self.samples),
            text((0x0028, 0x0004), b"CS", photometric),
            planar.unwrap_or_default(),
            frames.unwrap_or_default(),
            self.rows,
            us((0x0028, 0x0011), self.columns),
            us((0x0028, 0x0100), 8),
            us((0x0028, 0x0101), 8),
            us((0x0028, 0x0102), 7),
            us((0x0028, 0x0103), 0),
            self.pixels,
        ];
        after_head(&elements.concat())
    }
}

fn us(at: (u16, u16), value: u16) -> Vec<u8> {
    raw(at, b"US", &value.to_le_bytes())
}

fn native(bytes: usize) -> Vec<u8> {
    [long(PIXELS, b"OB", bytes as u32), vec![7; bytes]].concat()
}

/// Pixel data in fragments, of which the first is a table of offsets.
fn encapsulated(fragments: &[&[u8]]) -> Vec<u8> {
    let item = |bytes: &&[u8]| [mark(ITEM, bytes.len() as u32), bytes.to_vec()].concat();
    let items: Vec<u8> = fragments.iter().flat_map(item).collect();
    [long(PIXELS, b"OB", NO_LENGTH), items, mark(SEQUENCE_END, 0)].concat()
}

/// It is answered 0000 and sent as it is to who takes that; for who does not, it is held, for this reason.
#[track_caller]
fn is_held_or_passed_through(what: &str, syntax: &'static str, bytes: Vec<u8>, why: &str) {
    let tolerant = Archive::new();
    let strict = Script::default().accepts(move |_, offered| offered == target(syntax)).start();
    let keys = format!("{BRISK}\nimage = \"{}\"\nloop = \"{}\"", wanted(syntax), wanted(syntax));
    let node = Node::builder()
        .dicom_with("tolerant", tolerant.address(), &keys)
        .dicom_with("strict", strict.address(), &keys)
        .start();
    let instance = Instance::new(US_IMAGE, UID, syntax, DataSet::Bytes(bytes.clone().into()));
    assert_eq!(Modality::new(node.address).store(&instance).unwrap().status, 0, "{what}");
    let arrival = eventually(what, SOON, || tolerant.arrivals().pop());
    assert_eq!((arrival.transfer_syntax.as_str(), arrival.digest), (syntax, Digest::of(&bytes)), "{what}");
    node.wait_state(&instance, "tolerant", "delivered");
    let held = node.wait_state(&instance, "strict", "held");
    assert!(held.reason.contains(why), "{what}: {held:?}");
    assert!(strict.arrivals().is_empty(), "{what}");
}

/// Another syntax than it is stored in, and the one that the strict archive takes.
fn target(stored: &str) -> &'static str {
    if stored == JPEG_LOSSLESS { EXPLICIT_LITTLE } else { JPEG_LOSSLESS }
}

fn wanted(stored: &str) -> &'static str {
    if stored == JPEG_LOSSLESS { "uncompressed" } else { "jpeg-lossless" }
}

#[test]
fn case_99_dimensions_that_overflow_are_held_as_such_or_passed_through() {
    let huge = Image {
        rows: us((0x0028, 0x0010), 65_535),
        columns: 65_535,
        samples: 3,
        frames: Some("2147483647"),
        pixels: native(4),
    };
    is_held_or_passed_through("65535 x 65535 x 2^31", EXPLICIT_LITTLE, huge.bytes(), "pixel size overflow");
    let rows = raw((0x0028, 0x0010), b"UL", &0x0001_0002_u32.to_le_bytes());
    let long = Image { rows, ..Image::grey(native(4)) };
    is_held_or_passed_through("Rows as a UL", EXPLICIT_LITTLE, long.bytes(), "pixel size overflow");
}

#[test]
fn case_100_pixels_that_are_too_short_are_held_as_such_or_passed_through() {
    let short =
        Image { rows: us((0x0028, 0x0010), 1024), columns: 1024, samples: 3, ..Image::grey(native(4)) };
    is_held_or_passed_through("1024 x 1024 in 4 bytes", EXPLICIT_LITTLE, short.bytes(), "pixel data short");
}

#[test]
fn case_101_numbers_of_frames_that_are_none_are_held_as_such_or_passed_through() {
    for (frames, why) in
        [("100", "pixel data short"), ("-1", "Number of Frames"), ("1e9", "Number of Frames")]
    {
        let image = Image { frames: Some(frames), ..Image::grey(native(256)) };
        is_held_or_passed_through(frames, EXPLICIT_LITTLE, image.bytes(), why);
    }
}

/// A grey JPEG 2000 codestream of 65,536 by 65,536 pixels in tiles of one.
fn tiles() -> Vec<u8> {
    let mut out = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for value in [65_536_u32, 65_536, 0, 0, 1, 1, 0, 0] {
        out.extend(value.to_be_bytes());
    }
    out.extend([0, 1, 7, 1, 1]);
    out.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 1, 4, 4, 0, 1]);
    out.extend([0xFF, 0x5C, 0, 7, 0x40, 0x40, 0x48, 0x48, 0x50]);
    out.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93, 0xFF, 0xD9]);
    out
}

/// The head of a grey baseline JPEG of 8 by 8 pixels, and no more of it.
const JPEG_OF_8: &[u8] = b"\xFF\xD8\xFF\xC0\x00\x0B\x08\x00\x08\x00\x08\x01\x01\x11\x00\xFF\xD9\x00";

#[test]
fn case_102_encapsulated_pixels_that_are_none_are_held_or_passed_through() {
    let rle_outside = [&[1, 0, 0, 0][..], &[0xF0, 0xFF, 0, 0], &[0; 56], &[0; 64]].concat();
    let two = |fragments: &[&[u8]]| Image { frames: Some("2"), ..Image::grey(encapsulated(fragments)) };
    let rows = [
        ("no fragment at all", RLE_LOSSLESS, Image::grey(encapsulated(&[b""]))),
        ("a table of an odd length", RLE_LOSSLESS, two(&[&[0, 0, 0, 0, 9, 9], &rle_outside, &rle_outside])),
        ("a table that overlaps", RLE_LOSSLESS, two(&[&[0; 8], &rle_outside, &rle_outside, b"more"])),
        ("RLE segments outside", RLE_LOSSLESS, Image::grey(encapsulated(&[b"", &rle_outside]))),
        ("a JPEG of another size", JPEG_BASELINE, Image::grey(encapsulated(&[b"", JPEG_OF_8]))),
        ("a JPEG that is none", JPEG_LOSSLESS, Image::grey(encapsulated(&[b"", b"no JPEG here"]))),
        ("2^32 tiles", JPEG_2000, Image::grey(encapsulated(&[b"", &tiles()]))),
    ];
    for (what, syntax, image) in rows {
        is_held_or_passed_through(what, syntax, image.bytes(), "");
    }
    // Without the delimiter its structure is odd, and it is not looked at any further.
    let mut endless = Image::grey(encapsulated(&[b"", &rle_outside])).bytes();
    endless.truncate(endless.len() - 8);
    is_held_or_passed_through("no delimiter", RLE_LOSSLESS, endless, "");
}

#[test]
fn case_102_a_fragment_beyond_the_data_set_is_refused_as_truncated() {
    let node = Node::builder().folder("archive").start();
    let mut bytes = Image::grey(encapsulated(&[b"", &[0; 64]])).bytes();
    bytes.truncate(bytes.len() - 40);
    let instance = Instance::new(US_IMAGE, UID, RLE_LOSSLESS, DataSet::Bytes(bytes.into()));
    let answer = Modality::new(node.address).store(&instance).unwrap();
    assert_eq!(answer.status, 0xC000);
    assert!(answer.comment.unwrap().starts_with("data set truncated at"));
    assert!(node.deliveries().is_empty());
}

#[test]
fn case_102_a_worker_has_512_mib_and_30_seconds() {
    use chrysalis::transcode::isolated::{MEMORY, Patience};
    assert_eq!((MEMORY, Patience::default().deadline.as_secs()), (512 << 20, 30));
}
