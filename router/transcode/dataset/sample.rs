//! Data sets for tests: trees of elements written by an encoder that shares nothing with the one under test.

use std::path::{Path, PathBuf};

use dicom_core::{Tag, VR};

use crate::dicom::Encoding;
use crate::dicom::part10::FileHead;

/// An element of a data set. Values are in little endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transcode) enum Node {
    Value {
        tag: Tag,
        vr: VR,
        value: Vec<u8>,
    },
    Sequence {
        tag: Tag,
        items: Vec<Vec<Node>>,
    },
    /// A sequence of unknown representation and undefined length: its items are encoded already.
    Unknown {
        tag: Tag,
        items: Vec<Vec<u8>>,
    },
    /// Pixel Data in fragments.
    Fragments {
        fragments: Vec<Vec<u8>>,
    },
}

/// Whether sequences and items say their length or end with a delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transcode) enum Lengths {
    Given,
    Undefined,
}

pub(in crate::transcode) fn value(tag: Tag, vr: VR, value: &[u8]) -> Node {
    Node::Value { tag, vr, value: value.to_vec() }
}

pub(in crate::transcode) fn sequence(tag: Tag, items: Vec<Vec<Node>>) -> Node {
    Node::Sequence { tag, items }
}

pub(in crate::transcode) fn encode(nodes: &[Node], encoding: Encoding, lengths: Lengths) -> Vec<u8> {
    nodes.iter().flat_map(|node| encode_node(node, encoding, lengths)).collect()
}

fn encode_node(node: &Node, encoding: Encoding, lengths: Lengths) -> Vec<u8> {
    match node {
        Node::Value { tag, vr, value } => {
            let mut value = value.clone();
            if encoding == Encoding::ExplicitBe {
                turn(*vr, &mut value);
            }
            let mut bytes = header(*tag, *vr, value.len() as u32, encoding);
            bytes.extend(value);
            bytes
        }
        Node::Sequence { tag, items } => {
            let items = items.iter().map(|item| encode(item, encoding, lengths));
            framed(*tag, VR::SQ, items.collect(), encoding, encoding, lengths)
        }
        Node::Unknown { tag, items } => {
            framed(*tag, VR::UN, items.clone(), encoding, Encoding::ImplicitLe, Lengths::Undefined)
        }
        Node::Fragments { fragments } => {
            let mut bytes = header(Tag(0x7FE0, 0x0010), VR::OB, u32::MAX, encoding);
            for fragment in fragments {
                bytes.extend(delimiter(0xE000, fragment.len() as u32, encoding));
                bytes.extend(fragment);
            }
            bytes.extend(delimiter(0xE0DD, 0, encoding));
            bytes
        }
    }
}

/// A sequence; its items are encoded already, in the encoding `inside`.
fn framed(
    tag: Tag,
    vr: VR,
    items: Vec<Vec<u8>>,
    encoding: Encoding,
    inside: Encoding,
    lengths: Lengths,
) -> Vec<u8> {
    let given = lengths == Lengths::Given;
    let length = |content: &[u8]| if given { content.len() as u32 } else { u32::MAX };
    let mut content = Vec::new();
    for item in items {
        content.extend(delimiter(0xE000, length(&item), inside));
        content.extend(&item);
        if !given {
            content.extend(delimiter(0xE00D, 0, inside));
        }
    }
    let mut bytes = header(tag, vr, length(&content), encoding);
    bytes.extend(&content);
    if !given {
        bytes.extend(delimiter(0xE0DD, 0, inside));
    }
    bytes
}

fn header(tag: Tag, vr: VR, length: u32, encoding: Encoding) -> Vec<u8> {
    let mut bytes = [short(tag.0, encoding), short(tag.1, encoding)].concat();
    if encoding == Encoding::ImplicitLe {
        bytes.extend(long(length, encoding));
        return bytes;
    }
    bytes.extend(vr.to_bytes());
    if ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
        .contains(&vr.to_string())
    {
        bytes.extend([0, 0]);
        bytes.extend(long(length, encoding));
    } else {
        bytes.extend(short(length as u16, encoding));
    }
    bytes
}

fn delimiter(element: u16, length: u32, encoding: Encoding) -> Vec<u8> {
    let tag = [short(0xFFFE, encoding), short(element, encoding)].concat();
    [tag, long(length, encoding).to_vec()].concat()
}

fn short(number: u16, encoding: Encoding) -> [u8; 2] {
    if encoding == Encoding::ExplicitBe { number.to_be_bytes() } else { number.to_le_bytes() }
}

fn long(number: u32, encoding: Encoding) -> [u8; 4] {
    if encoding == Encoding::ExplicitBe { number.to_be_bytes() } else { number.to_le_bytes() }
}

fn turn(vr: VR, value: &mut [u8]) {
    let size = match vr.to_string() {
        "AT" | "OW" | "SS" | "US" => 2,
        "FL" | "OF" | "OL" | "SL" | "UL" => 4,
        "FD" | "OD" | "OV" | "SV" | "UV" => 8,
        _ => 1,
    };
    value.chunks_mut(size).for_each(<[u8]>::reverse);
}

/// The data sets of real files in this folder of the collection, where there is one.
pub(in crate::transcode) fn real_files(folder: &str) -> Vec<(PathBuf, Encoding, Vec<u8>)> {
    let data_set = |(path, bytes): (PathBuf, Vec<u8>)| {
        let head = FileHead::read(&mut std::io::Cursor::new(&bytes)).ok()?;
        Some((path, head.transfer_syntax.encoding(), bytes[head.data_set_offset as usize..].to_vec()))
    };
    real_bytes(folder).into_iter().filter_map(data_set).collect()
}

/// Everything in a folder of the collection, as it is.
pub(in crate::transcode) fn real_bytes(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let root = std::env::var("CHRYSALIS_TEST_DATA").unwrap_or_else(|_| beside.to_owned());
    let mut folders = vec![Path::new(&root).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                found.push((entry.path(), bytes));
            }
        }
    }
    found
}
