//! Section E: data sets that are broken, and those that are only odd.

use super::super::instance::{DEFLATED, EXPLICIT_LITTLE, US_IMAGE};
use std::io::Write as _;

pub const UID: &str = "1.2.826.0.1.3680043.10.1";
pub const STUDY: &str = "1.2.826.0.1.3680043.10.2";

/// A data set of a case, sent as a C-STORE of an ultrasound image named [`UID`].
pub struct DataSet {
    pub number: u16,
    pub what: &'static str,
    pub syntax: &'static str,
    pub bytes: Vec<u8>,
    pub outcome: Outcome,
}

/// What has to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with success; comes out as the same bytes.
    Passes(Structure),
    /// Answered with this status and a comment that contains this; nothing is kept.
    Refused(u16, String),
}

/// What is noted of the structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    Sound,
    Odd,
}

/// Every data set of every case that is small.
pub fn data_sets() -> Vec<DataSet> {
    [refused(), undefined(), nested_sets(), delimiters(), elements(), texts(), deflated()]
        .into_iter()
        .flatten()
        .collect()
}

/// Those of one case.
pub fn of(number: u16) -> Vec<DataSet> {
    let mut found = data_sets();
    found.retain(|set| set.number == number);
    assert!(!found.is_empty(), "case {number} has no data sets");
    found
}

// ------------------------------------------------------------------------------------------------ the elements

pub type Tag = (u16, u16);

pub const NO_LENGTH: u32 = u32::MAX;
pub const ITEM: Tag = (0xFFFE, 0xE000);
pub const ITEM_END: Tag = (0xFFFE, 0xE00D);
pub const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);
pub const PIXELS: Tag = (0x7FE0, 0x0010);
const SEQUENCE: Tag = (0x0040, 0x0275);

fn tag(tag: Tag) -> Vec<u8> {
    [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat()
}

/// An element header with a length of 32 bits.
pub fn long(at: Tag, vr: &[u8; 2], length: u32) -> Vec<u8> {
    [&tag(at)[..], vr, &[0, 0], &length.to_le_bytes()].concat()
}

/// An element with a length of 16 bits, which may lie.
pub fn short(at: Tag, vr: &[u8; 2], length: u16, value: &[u8]) -> Vec<u8> {
    [&tag(at)[..], vr, &length.to_le_bytes(), value].concat()
}

/// An element with these bytes as its value, made even with a space or, for a UID, a NUL.
pub fn raw(at: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    short(at, vr, value.len() as u16, &value)
}

pub fn text(at: Tag, vr: &[u8; 2], value: &str) -> Vec<u8> {
    raw(at, vr, value.as_bytes())
}

/// An item or delimiter: a tag and a length.
pub fn mark(at: Tag, length: u32) -> Vec<u8> {
    [tag(at), length.to_le_bytes().to_vec()].concat()
}

/// What every data set here begins with.
pub fn head() -> Vec<u8> {
    let elements = [
        text((0x0008, 0x0016), b"UI", US_IMAGE),
        text((0x0008, 0x0018), b"UI", UID),
        text((0x0010, 0x0010), b"PN", "Hostile^Data"),
        text((0x0010, 0x0020), b"LO", "HOSTILE1"),
        text((0x0020, 0x000D), b"UI", STUDY),
        text((0x0020, 0x000E), b"UI", "1.2.826.0.1.3680043.10.3"),
    ];
    elements.concat()
}

pub fn after_head(more: &[u8]) -> Vec<u8> {
    [&head(), more].concat()
}

/// A sequence of undefined length with one item that holds this.
fn sequence(content: &[u8]) -> Vec<u8> {
    let (open, close) = (mark(ITEM, NO_LENGTH), [mark(ITEM_END, 0), mark(SEQUENCE_END, 0)].concat());
    [&long(SEQUENCE, b"SQ", NO_LENGTH)[..], &open, content, &close].concat()
}

/// Sequences in sequences, to this depth, with or without their ends.
pub fn nested(depth: usize, is_delimited: bool) -> Vec<u8> {
    let open = [long(SEQUENCE, b"SQ", NO_LENGTH), mark(ITEM, NO_LENGTH)].concat();
    let close = [mark(ITEM_END, 0), mark(SEQUENCE_END, 0)].concat();
    let mut out = open.repeat(depth);
    if is_delimited {
        out.extend(close.repeat(depth));
    }
    out
}

/// A run of fragments with its delimiter.
fn fragments() -> Vec<u8> {
    [mark(ITEM, 0), mark(ITEM, 4), vec![1, 2, 3, 4], mark(SEQUENCE_END, 0)].concat()
}

/// So many zeros, deflated.
pub fn deflated_zeros(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(zeros.len());
        encoder.write_all(&zeros[..some]).unwrap();
        left -= some;
    }
    encoder.finish().unwrap()
}

// ------------------------------------------------------------------------------------------------ the cases

fn passes(number: u16, what: &'static str, structure: Structure, bytes: Vec<u8>) -> DataSet {
    DataSet { number, what, syntax: EXPLICIT_LITTLE, bytes, outcome: Outcome::Passes(structure) }
}

fn odd(number: u16, what: &'static str, bytes: Vec<u8>) -> DataSet {
    passes(number, what, Structure::Odd, bytes)
}

fn sound(number: u16, what: &'static str, bytes: Vec<u8>) -> DataSet {
    passes(number, what, Structure::Sound, bytes)
}

fn refused() -> Vec<DataSet> {
    let no = |number, what, bytes: Vec<u8>, status, comment: &str| {
        let outcome = Outcome::Refused(status, comment.to_owned());
        DataSet { number, what, syntax: EXPLICIT_LITTLE, bytes, outcome }
    };
    let instead = |of: &str, other: &str| String::from_utf8(head()).unwrap().replace(of, other).into_bytes();
    let other_instance = instead(UID, "1.2.826.0.1.3680043.10.9");
    let other_class = instead(US_IMAGE, "1.2.840.10008.5.1.4.1.1.7.1");
    let mut sets = vec![
        no(81, "another SOP instance", other_instance, 0xA900, "SOP instance UID mismatch"),
        no(82, "another SOP class", other_class, 0xA900, "SOP class UID mismatch"),
        no(84, "cut inside a header", head()[..20].to_vec(), 0xC000, "data set truncated at 20"),
    ];
    let whole = after_head(&[long(PIXELS, b"OB", 1000), vec![7; 1000]].concat());
    for missing in [1, 500, 1000] {
        let length = whole.len() - missing;
        let cut = whole[..length].to_vec();
        sets.push(no(83, "cut inside a value", cut, 0xC000, &format!("data set truncated at {length}")));
    }
    sets.push(sound(83, "not cut", whole));
    let item = [mark(ITEM, 12), text((0x0008, 0x0100), b"SH", "code")].concat();
    for vr in [b"OB", b"UN", b"UT", b"SQ"] {
        let bytes = after_head(&[long((0x0042, 0x0011), vr, 0x7FFF_FFF0), item.clone()].concat());
        sets.push(no(84, "a length beyond the bytes", bytes, 0xC000, "data set truncated at"));
    }
    sets
}

/// Undefined length where it may not be, and fragments where they may not be.
fn undefined() -> Vec<DataSet> {
    let of = |at: Tag, vr| after_head(&[long(at, vr, NO_LENGTH), fragments()].concat());
    let icon = [
        long((0x0088, 0x0200), b"SQ", NO_LENGTH),
        mark(ITEM, NO_LENGTH),
        long(PIXELS, b"OB", NO_LENGTH),
        fragments(),
        mark(ITEM_END, 0),
        mark(SEQUENCE_END, 0),
    ];
    let us = [short((0x0028, 0x0010), b"US", 0xFFFF, &[0; 8]), fragments()].concat();
    let unknown = [
        long((0x0029, 0x1020), b"UN", NO_LENGTH),
        mark(ITEM, NO_LENGTH),
        mark(ITEM_END, 0),
        mark(SEQUENCE_END, 0),
    ];
    vec![
        odd(85, "FFFF as the length of a US", after_head(&[us, vec![0; 0x10000]].concat())),
        odd(85, "OB of undefined length that is no pixel data", of((0x0042, 0x0011), b"OB")),
        odd(85, "pixel data in fragments in an icon", after_head(&icon.concat())),
        odd(85, "private OB in fragments", of((0x0029, 0x1010), b"OB")),
        odd(85, "pixel data in fragments in a native syntax", of(PIXELS, b"OB")),
        sound(85, "UN of undefined length", after_head(&unknown.concat())),
    ]
}

fn nested_sets() -> Vec<DataSet> {
    vec![
        sound(86, "64 levels", after_head(&nested(64, true))),
        odd(86, "65 levels", after_head(&nested(65, true))),
        odd(86, "100,000 levels", after_head(&nested(100_000, true))),
        odd(86, "100,000 levels without an end", after_head(&nested(100_000, false))),
    ]
}

fn delimiters() -> Vec<DataSet> {
    let after = text((0x0020, 0x0010), b"SH", "1");
    vec![
        odd(87, "a last sequence and item without their ends", after_head(&nested(1, false))),
        odd(
            87,
            "a last sequence without its end",
            after_head(&[nested(1, false), mark(ITEM_END, 0)].concat()),
        ),
        odd(88, "an item's end at top level", after_head(&[mark(ITEM_END, 0), after.clone()].concat())),
        odd(88, "a sequence's end at top level", after_head(&[mark(SEQUENCE_END, 0), after].concat())),
    ]
}

fn elements() -> Vec<DataSet> {
    let early = text((0x0008, 0x0060), b"CS", "US");
    let twice = text((0x0020, 0x0010), b"SH", "1").repeat(2);
    let mut sets = vec![
        sound(89, "tags out of order", after_head(&early)),
        sound(89, "a tag that comes twice", after_head(&twice)),
    ];
    for group in [0x0000, 0x0002] {
        let element = text((group, 0x0010), b"UI", "1.2.3");
        sets.push(odd(90, "group 0000 or 0002 at top level", [element.clone(), head()].concat()));
        sets.push(odd(90, "group 0000 or 0002 in an item", after_head(&sequence(&element))));
    }
    let three = short((0x0020, 0x0010), b"SH", 3, b"odd");
    let more = [three.clone(), text((0x0020, 0x0011), b"IS", "1")].concat();
    sets.extend([
        odd(91, "value representation ZZ", after_head(&text((0x0020, 0x0010), b"ZZ", "1"))),
        odd(91, "value representation FF00", after_head(&short((0x0020, 0x0010), &[0xFF, 0], 2, b"1 "))),
        odd(98, "an odd length at the end", after_head(&three)),
        odd(98, "an odd length", after_head(&more)),
    ]);
    sets
}

/// Names that no terminal and no log should see as they are.
pub const NAMES: [&[u8]; 3] = [b"A^B\x1b$B;3ED\x1b(J", b"NUL\0in^the\0middle ", b"\xFF\xFE\x80^\x9B31mred"];

fn texts() -> Vec<DataSet> {
    let named = |name: &[u8]| {
        let elements = [
            text((0x0008, 0x0005), b"CS", "NO SUCH SET\\ISO-IR 999"),
            text((0x0008, 0x0016), b"UI", US_IMAGE),
            text((0x0008, 0x0018), b"UI", UID),
            raw((0x0010, 0x0010), b"PN", name),
            text((0x0010, 0x0020), b"LO", "HOSTILE1"),
            text((0x0020, 0x000D), b"UI", STUDY),
        ];
        elements.concat()
    };
    NAMES.iter().map(|name| sound(96, "a name in no character set", named(name))).collect()
}

fn deflated() -> Vec<DataSet> {
    let whole = deflated_zeros(1_000_000);
    let cut = Outcome::Refused(0xC000, "data set truncated at 500".to_owned());
    let followed = [&whole[..], &[0; 3]].concat();
    let set = |what, bytes, outcome| DataSet { number: 93, what, syntax: DEFLATED, bytes, outcome };
    vec![
        set("a deflate stream cut short", whole[..500].to_vec(), cut),
        set("a deflate stream with bytes behind it", followed, Outcome::Passes(Structure::Sound)),
    ]
}
