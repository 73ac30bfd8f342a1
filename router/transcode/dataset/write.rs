//! A data set written again, changed and encoded as wanted: before its pixels, behind them, or as a whole.

use std::io::{self, Write};

use dicom_core::{Tag, VR};

use super::coding::Coding;
use super::outline::{Outline, OutlineError};
use super::reader::{ReadError, coding_of};
use super::recode::recode;
use super::sink::Sink;
use super::splice::splice;
use super::steps::{GroupLengths, Part, steps};
use crate::dicom::Encoding;
use crate::transcode::{Edits, Source};

/// A data set cannot be written as wanted.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The stored data set cannot be read, or is not sound.
    #[error(transparent)]
    Outline(#[from] OutlineError),
    /// What was written cannot be taken.
    #[error("the data set cannot be written: {0}")]
    Output(#[source] io::Error),
    /// Nothing is written in this encoding: it is big endian, deflated or unknown.
    #[error("no data set is written in this encoding")]
    Target,
    /// Pixel Data is in fragments and would have to be native, which is not a matter of elements.
    #[error("pixel data in fragments cannot be encoded so")]
    Fragments,
    /// Pixel Data is native and would have to be in fragments.
    #[error("native pixel data cannot be encoded so")]
    Native,
    /// A value is longer than an element can be.
    #[error("the value of {0} is longer than an element can be")]
    TooLong(Tag),
    /// Implicit VR has no way to say this representation, and its readers know the element by another.
    #[error("{tag} is {vr} here, and would be taken for something else in Implicit VR Little Endian")]
    Misread {
        /// The element.
        tag: Tag,
        /// Its representation in the data set.
        vr: VR,
    },
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        Self::Outline(error.into())
    }
}

/// Writes the elements before Pixel Data (7FE0,0010), or all if there is none. `to` is one of Implicit VR Little Endian,
/// Explicit VR Little Endian and Encapsulated; the latter two are the same but for the pixels.
///
/// # Errors
/// [`WriteError`]; what was written until then is of no use.
pub fn write_head(
    source: &dyn Source,
    outline: &Outline,
    edits: &Edits,
    to: Encoding,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    write(source, outline, edits, Part::Head, to, out)
}

/// Writes the elements behind Pixel Data, and whatever stands behind the last of them if the encoding stays.
///
/// # Errors
/// As [`write_head`].
pub fn write_tail(
    source: &dyn Source,
    outline: &Outline,
    edits: &Edits,
    to: Encoding,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    write(source, outline, edits, Part::Tail, to, out)
}

/// Writes everything, Pixel Data as it is: native pixels stay native, fragments stay fragments.
///
/// # Errors
/// As [`write_head`], and [`WriteError::Fragments`] or [`WriteError::Native`] if the pixels are not what `to` has.
pub fn write_whole(
    source: &dyn Source,
    outline: &Outline,
    edits: &Edits,
    to: Encoding,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    let pixels = outline.pixel_data().filter(|_| edits.get(super::coding::PIXEL_DATA).is_none());
    match pixels.map(|pixels| pixels.undefined) {
        Some(true) if to != Encoding::Encapsulated => return Err(WriteError::Fragments),
        Some(false) if to == Encoding::Encapsulated => return Err(WriteError::Native),
        _ => {}
    }
    write(source, outline, edits, Part::Whole, to, out)
}

fn write(
    source: &dyn Source,
    outline: &Outline,
    edits: &Edits,
    part: Part,
    to: Encoding,
    out: &mut dyn Write,
) -> Result<(), WriteError> {
    let from = coding_of(outline.encoding).ok_or(ReadError::Encoding)?;
    let to = coding_of(to).filter(|&to| to != Coding::ExplicitBe).ok_or(WriteError::Target)?;
    let mut sink = Sink::new(source, out);
    if (from, to) != (Coding::ExplicitLe, Coding::ExplicitLe) {
        return recode(sink, outline, &steps(outline, edits, part, GroupLengths::All), to);
    }
    splice(&mut sink, outline, &steps(outline, edits, part, GroupLengths::OfChanged))?;
    match (part, outline.elements.last()) {
        (Part::Head, _) => Ok(()),
        (Part::Tail | Part::Whole, last) => {
            sink.copy(last.map_or(outline.start, |last| last.end), outline.start + outline.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WriteError, write_head, write_tail, write_whole};
    use crate::dicom::{Encoding, Tag};
    use crate::transcode::dataset::sample::{Lengths, Node, encode, real_bytes, real_files, sequence, value};
    use crate::transcode::{Edits, Outline};
    use dicom_core::VR;
    use proptest::prelude::{any, prop, prop_assert, proptest};
    use proptest::strategy::{Just, Strategy};

    const REGIONS: Tag = Tag(0x0018, 0x6011);
    const REGION_TYPE: Tag = Tag(0x0018, 0x6014);
    const PIXELS: Tag = Tag(0x7FE0, 0x0010);
    const NATIVE: [Encoding; 3] = [Encoding::ImplicitLe, Encoding::ExplicitLe, Encoding::ExplicitBe];
    const ALL_LENGTHS: [Lengths; 2] = [Lengths::Given, Lengths::Undefined];

    fn whole(bytes: &Vec<u8>, from: Encoding, edits: &Edits, to: Encoding) -> Result<Vec<u8>, WriteError> {
        let outline = Outline::read(bytes, from).unwrap();
        let mut out = Vec::new();
        write_whole(bytes, &outline, edits, to, &mut out).map(|()| out)
    }

    /// Head, whatever the pixels are, and tail.
    fn parts(bytes: &Vec<u8>, from: Encoding, edits: &Edits, to: Encoding) -> [Vec<u8>; 2] {
        let outline = Outline::read(bytes, from).unwrap();
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        write_head(bytes, &outline, edits, to, &mut head).unwrap();
        write_tail(bytes, &outline, edits, to, &mut tail).unwrap();
        [head, tail]
    }

    fn number(number: u16) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    fn image() -> Vec<Node> {
        let text = vec![b'X'; 200];
        vec![
            value(Tag(0x0008, 0x0008), VR::CS, b"ORIGINAL\\PRIMARY"),
            value(Tag(0x0009, 0x0010), VR::LO, b"ACME"),
            value(Tag(0x0009, 0x1001), VR::UN, b"\x01\x02\x03\x04"),
            sequence(Tag(0x0009, 0x1002), vec![vec![value(Tag(0x0008, 0x0060), VR::CS, b"US")]]),
            value(Tag(0x0018, 0x0072), VR::DS, b"1.5 "),
            sequence(
                REGIONS,
                vec![
                    vec![
                        value(Tag(0x0018, 0x6012), VR::US, &number(1)),
                        value(REGION_TYPE, VR::US, &number(2)),
                        value(Tag(0x0018, 0x6018), VR::UL, &[1, 2, 3, 4]),
                        value(Tag(0x0018, 0x602C), VR::FD, &0.025_f64.to_le_bytes()),
                    ],
                    vec![],
                    vec![value(REGION_TYPE, VR::US, &number(1))],
                ],
            ),
            value(Tag(0x0020, 0x4000), VR::LT, &text),
            value(Tag(0x0028, 0x0004), VR::CS, b"MONOCHROME2 "),
            value(Tag(0x0028, 0x0009), VR::AT, &[0x18, 0, 0x63, 0x10]),
            value(Tag(0x0028, 0x0010), VR::US, &number(2)),
            value(Tag(0x0028, 0x0100), VR::US, &number(16)),
            value(Tag(0x0028, 0x0103), VR::US, &number(1)),
            value(Tag(0x0028, 0x0106), VR::SS, &number(0xFFF0)),
            sequence(
                Tag(0x0028, 0x3000),
                vec![vec![
                    value(Tag(0x0028, 0x3002), VR::SS, &[3, 0, 0, 0, 16, 0]),
                    value(Tag(0x0028, 0x3006), VR::OW, &[1, 0, 2, 0, 3, 0]),
                ]],
            ),
            sequence(
                Tag(0x0088, 0x0200),
                vec![vec![
                    value(Tag(0x0028, 0x0103), VR::US, &number(0)),
                    value(Tag(0x0028, 0x0106), VR::US, &number(1)),
                    value(PIXELS, VR::OW, &[1, 2, 3, 4]),
                ]],
            ),
            value(Tag(0x5000, 0x3000), VR::OB, &[1, 2]),
            sequence(
                Tag(0x5400, 0x0100),
                vec![
                    vec![
                        value(Tag(0x5400, 0x1004), VR::US, &number(8)),
                        value(Tag(0x5400, 0x1010), VR::OB, &[1, 2, 3, 4]),
                    ],
                    vec![
                        value(Tag(0x5400, 0x1004), VR::US, &number(16)),
                        value(Tag(0x5400, 0x1010), VR::OW, &[1, 2, 3, 4]),
                    ],
                ],
            ),
            value(Tag(0x6000, 0x3000), VR::OW, &[1, 2]),
            value(PIXELS, VR::OW, &[1, 2, 3, 4, 5, 6, 7, 8]),
            value(Tag(0xFFFC, 0xFFFC), VR::OB, &[0; 6]),
        ]
    }

    /// What can be told again once it was encoded so: in implicit VR nobody knows a private sequence of given length.
    fn knowable(nodes: &[Node], from: Encoding, lengths: Lengths) -> Vec<Node> {
        if from != Encoding::ImplicitLe || lengths == Lengths::Undefined {
            return nodes.to_vec();
        }
        let knowable = |node: &Node| match node {
            Node::Sequence { tag, .. } if tag.0 % 2 == 1 => None,
            Node::Sequence { tag, items } => {
                Some(sequence(*tag, items.iter().map(|item| knowable(item, from, lengths)).collect()))
            }
            other => Some(other.clone()),
        };
        nodes.iter().filter_map(knowable).collect()
    }

    #[test]
    fn any_native_encoding_becomes_implicit_or_explicit_with_every_value_and_representation() {
        for from in NATIVE {
            for to in [Encoding::ImplicitLe, Encoding::ExplicitLe] {
                for lengths in ALL_LENGTHS {
                    let image = knowable(&image(), from, lengths);
                    let bytes = encode(&image, from, lengths);
                    let written = whole(&bytes, from, &Edits::default(), to).unwrap();
                    let is_spliced = (from, to) == (Encoding::ExplicitLe, Encoding::ExplicitLe);
                    let lengths = if is_spliced { lengths } else { Lengths::Undefined };
                    assert!(written == encode(&image, to, lengths), "{from:?} {to:?} {lengths:?}");
                }
            }
        }
    }

    #[test]
    fn explicit_little_endian_is_copied_byte_for_byte_whatever_there_is_in_it() {
        for lengths in ALL_LENGTHS {
            let mut bytes = encode(&image(), Encoding::ExplicitLe, lengths);
            bytes.extend([0; 513]);
            let written = whole(&bytes, Encoding::ExplicitLe, &Edits::default(), Encoding::ExplicitLe);
            assert!(written.unwrap() == bytes);
            let outline = Outline::read(&bytes, Encoding::ExplicitLe).unwrap();
            let pixels = outline.pixel_data().unwrap();
            let [head, tail] = parts(&bytes, Encoding::ExplicitLe, &Edits::default(), Encoding::Encapsulated);
            assert!(head == bytes[..pixels.start as usize]);
            assert!(tail == bytes[pixels.end as usize..]);
        }
    }

    #[test]
    fn head_and_tail_are_what_stands_around_the_pixels() {
        for from in [Encoding::ImplicitLe, Encoding::ExplicitBe] {
            let bytes = encode(&image(), from, Lengths::Undefined);
            let [head, tail] = parts(&bytes, from, &Edits::default(), Encoding::Encapsulated);
            let nodes = image();
            let explicit = |nodes: &[Node]| encode(nodes, Encoding::ExplicitLe, Lengths::Undefined);
            assert!(head == explicit(&nodes[..nodes.len() - 2]));
            assert!(tail == explicit(&nodes[nodes.len() - 1..]));
        }
    }

    fn edits() -> Edits {
        let mut edits = Edits::default();
        edits.set(Tag(0x0008, 0x0008), VR::CS, b"DERIVED\\PRIMARY".to_vec());
        edits.remove(Tag(0x0028, 0x0009));
        edits.set(Tag(0x0028, 0x2110), VR::CS, b"01".to_vec());
        edits.remove_within(REGIONS, vec![REGION_TYPE]);
        let code = [value(Tag(0x0008, 0x0100), VR::SH, b"113040")];
        let items = encode(&[sequence(Tag(0, 0), vec![code.to_vec()])], Encoding::ExplicitLe, Lengths::Given);
        edits.set(Tag(0x0008, 0x9215), VR::SQ, items[12..].to_vec());
        edits
    }

    fn edited() -> Vec<Node> {
        let mut nodes = image();
        let tag_of = |node: &Node| match node {
            Node::Value { tag, .. } | Node::Sequence { tag, .. } | Node::Unknown { tag, .. } => *tag,
            Node::Fragments { .. } => PIXELS,
        };
        nodes[0] = value(Tag(0x0008, 0x0008), VR::CS, b"DERIVED\\PRIMARY ");
        nodes.retain(|node| tag_of(node) != Tag(0x0028, 0x0009));
        for node in &mut nodes {
            if let Node::Sequence { tag: REGIONS, items } = node {
                items.iter_mut().for_each(|item| item.retain(|node| tag_of(node) != REGION_TYPE));
            }
        }
        nodes.push(value(Tag(0x0028, 0x2110), VR::CS, b"01"));
        let code = vec![value(Tag(0x0008, 0x0100), VR::SH, b"113040")];
        nodes.push(sequence(Tag(0x0008, 0x9215), vec![code]));
        nodes.sort_by_key(tag_of);
        nodes
    }

    #[test]
    fn edits_are_applied_in_every_encoding_and_nothing_else_changes() {
        for lengths in [Lengths::Given, Lengths::Undefined] {
            let bytes = encode(&image(), Encoding::ExplicitLe, lengths);
            let spliced = whole(&bytes, Encoding::ExplicitLe, &edits(), Encoding::ExplicitLe).unwrap();
            if lengths == Lengths::Given {
                assert!(spliced == encode(&edited(), Encoding::ExplicitLe, Lengths::Given));
            }
            // Through another encoding, what is left of the lengths is the same.
            let none = Edits::default();
            let implicit = whole(&spliced, Encoding::ExplicitLe, &none, Encoding::ImplicitLe).unwrap();
            let other = whole(&bytes, Encoding::ExplicitLe, &edits(), Encoding::ImplicitLe).unwrap();
            let flat = |bytes: &Vec<u8>| flatten(bytes, Encoding::ImplicitLe);
            assert_eq!(flat(&implicit), flat(&encode(&edited(), Encoding::ImplicitLe, Lengths::Undefined)));
            assert_eq!(flat(&other), flat(&implicit));
            for from in [Encoding::ImplicitLe, Encoding::ExplicitBe] {
                let bytes = encode(&knowable(&image(), from, lengths), from, lengths);
                let written = whole(&bytes, from, &edits(), Encoding::ExplicitLe).unwrap();
                let edited = knowable(&edited(), from, lengths);
                let expected = encode(&edited, Encoding::ExplicitLe, Lengths::Undefined);
                let flat = |bytes: &Vec<u8>| flatten(bytes, Encoding::ExplicitLe);
                assert_eq!(flat(&written), flat(&expected), "{from:?}");
            }
        }
    }

    /// Every element of a data set at any depth: depth, tag, representation and value.
    fn flatten(bytes: &Vec<u8>, encoding: Encoding) -> Vec<(usize, Tag, VR, Vec<u8>)> {
        fn walk(
            bytes: &Vec<u8>,
            outline: &Outline,
            depth: usize,
            found: &mut Vec<(usize, Tag, VR, Vec<u8>)>,
        ) {
            for element in &outline.elements {
                let value = outline.value(bytes, element.tag, usize::MAX).ok().flatten().unwrap_or_default();
                found.push((depth, element.tag, element.vr, value));
                for item in outline.items(bytes, element.tag).unwrap_or_default() {
                    walk(bytes, &item, depth + 1, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(bytes, &Outline::read(bytes, encoding).unwrap(), 0, &mut found);
        found
    }

    #[test]
    fn an_unknown_sequence_becomes_a_proper_one_where_it_is_encoded_anew() {
        let inside =
            [value(REGION_TYPE, VR::US, &number(3)), value(Tag(0x0018, 0x6018), VR::UL, &[1, 0, 0, 0])];
        let item = encode(&inside, Encoding::ImplicitLe, Lengths::Given);
        for tag in [REGIONS, Tag(0x0029, 0x1010)] {
            let unknown = [Node::Unknown { tag, items: vec![item.clone()] }];
            let proper = [sequence(tag, vec![inside.to_vec()])];
            let none = Edits::default();
            for (from, to) in [
                (Encoding::ExplicitBe, Encoding::ExplicitLe),
                (Encoding::ExplicitBe, Encoding::ImplicitLe),
                (Encoding::ExplicitLe, Encoding::ImplicitLe),
            ] {
                let bytes = encode(&unknown, from, Lengths::Undefined);
                let written = whole(&bytes, from, &none, to).unwrap();
                assert_eq!(written, encode(&proper, to, Lengths::Undefined), "{from:?} {to:?}");
            }
            let bytes = encode(&unknown, Encoding::ExplicitLe, Lengths::Undefined);
            assert_eq!(whole(&bytes, Encoding::ExplicitLe, &none, Encoding::ExplicitLe).unwrap(), bytes);
            let mut edits = Edits::default();
            edits.remove_within(tag, vec![REGION_TYPE]);
            let item = encode(&inside[1..], Encoding::ImplicitLe, Lengths::Given);
            let unknown = [Node::Unknown { tag, items: vec![item] }];
            let written = whole(&bytes, Encoding::ExplicitLe, &edits, Encoding::ExplicitLe).unwrap();
            assert_eq!(written, encode(&unknown, Encoding::ExplicitLe, Lengths::Undefined));
        }
    }

    #[test]
    fn what_is_too_long_for_sixteen_bits_becomes_unknown() {
        for (length, vr) in [(0xFFFE, VR::LT), (0x1_0000, VR::UN)] {
            let text = vec![b'X'; length];
            let bytes =
                encode(&[value(Tag(0x0020, 0x4000), VR::LT, &text)], Encoding::ImplicitLe, Lengths::Given);
            let to = Encoding::ExplicitLe;
            let written = whole(&bytes, Encoding::ImplicitLe, &Edits::default(), to).unwrap();
            assert!(written == encode(&[value(Tag(0x0020, 0x4000), vr, &text)], to, Lengths::Given));
        }
    }

    #[test]
    fn group_lengths_are_left_out_at_every_level_where_a_data_set_is_encoded_anew() {
        let length = |group| value(Tag(group, 0), VR::UL, &[9, 9, 0, 0]);
        let uid = value(Tag(0x0008, 0x1155), VR::UI, b"1.2.3\0");
        let image = |inside: Vec<Node>, before: Vec<Node>| {
            [before, vec![sequence(Tag(0x0008, 0x1140), vec![inside])]].concat()
        };
        let with = image(vec![length(0x0008), uid.clone()], vec![length(0x0008)]);
        let without = image(vec![uid], vec![]);
        let bytes = encode(&with, Encoding::ImplicitLe, Lengths::Undefined);
        let written = whole(&bytes, Encoding::ImplicitLe, &Edits::default(), Encoding::ExplicitLe).unwrap();
        assert_eq!(written, encode(&without, Encoding::ExplicitLe, Lengths::Undefined));
    }

    #[test]
    fn what_would_be_taken_for_something_else_without_its_representation_is_refused_by_name() {
        let [delta, images, station] = [Tag(0x0018, 0x602C), Tag(0x0008, 0x1140), Tag(0x0008, 0x1010)];
        let wrong = [
            (delta, value(delta, VR::FL, &[0, 0, 0x80, 0x3F])),
            (images, value(images, VR::LO, b"12345678")),
            (station, sequence(station, vec![vec![]])),
            (station, Node::Unknown { tag: station, items: vec![vec![]] }),
        ];
        let none = Edits::default();
        for (tag, node) in wrong {
            for nodes in [vec![node.clone()], vec![sequence(REGIONS, vec![vec![node]])]] {
                for from in [Encoding::ExplicitLe, Encoding::ExplicitBe] {
                    let bytes = encode(&nodes, from, Lengths::Undefined);
                    let error = whole(&bytes, from, &none, Encoding::ImplicitLe).unwrap_err();
                    assert!(
                        matches!(error, WriteError::Misread { tag: named, .. } if named == tag),
                        "{error}"
                    );
                    whole(&bytes, from, &none, Encoding::ExplicitLe).unwrap();
                }
            }
        }
        let empty = [value(Tag(0x0008, 0x1140), VR::LO, b"")];
        let bytes = encode(&empty, Encoding::ExplicitLe, Lengths::Given);
        whole(&bytes, Encoding::ExplicitLe, &none, Encoding::ImplicitLe).unwrap();
    }

    #[test]
    fn fragments_stay_fragments_and_native_pixels_stay_native() {
        let nodes = [
            Node::Fragments { fragments: vec![vec![], vec![1, 2, 3, 4]] },
            value(Tag(0xFFFC, 0xFFFC), VR::OB, &[0; 2]),
        ];
        let fragments = encode(&nodes, Encoding::Encapsulated, Lengths::Given);
        let native = encode(&[value(PIXELS, VR::OW, &[1, 2])], Encoding::ExplicitLe, Lengths::Given);
        let none = Edits::default();
        let same = whole(&fragments, Encoding::Encapsulated, &none, Encoding::Encapsulated).unwrap();
        assert_eq!(same, fragments);
        for to in [Encoding::ImplicitLe, Encoding::ExplicitLe] {
            let error = whole(&fragments, Encoding::Encapsulated, &none, to).unwrap_err();
            assert!(matches!(error, WriteError::Fragments), "{error}");
        }
        let error = whole(&native, Encoding::ExplicitLe, &none, Encoding::Encapsulated).unwrap_err();
        assert!(matches!(error, WriteError::Native), "{error}");
        for to in [Encoding::ExplicitBe, Encoding::DeflatedLe, Encoding::Unknown] {
            let error = whole(&native, Encoding::ExplicitLe, &none, to).unwrap_err();
            assert!(matches!(error, WriteError::Target), "{error}");
        }
    }

    #[test]
    fn a_writer_that_takes_no_more_is_told_from_a_source_that_gives_no_more() {
        struct Full;
        impl std::io::Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let bytes = encode(&image(), Encoding::ExplicitLe, Lengths::Given);
        let outline = Outline::read(&bytes, Encoding::ExplicitLe).unwrap();
        let none = Edits::default();
        let short = bytes[..bytes.len() - 3].to_vec();
        for to in [Encoding::ExplicitLe, Encoding::ImplicitLe] {
            let error = write_whole(&bytes, &outline, &none, to, &mut Full).unwrap_err();
            assert!(matches!(error, WriteError::Output(_)), "{error}");
            let error = write_whole(&short, &outline, &none, to, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, WriteError::Outline(_)), "{error}");
        }
    }

    #[test]
    fn real_files_in_explicit_little_endian_come_out_as_they_were() {
        for (path, encoding, bytes) in real_files("ultrasound").into_iter().chain(real_files("other")) {
            if !matches!(encoding, Encoding::ExplicitLe | Encoding::Encapsulated) {
                continue;
            }
            let Ok(outline) = Outline::read(&bytes, encoding) else { continue };
            let none = Edits::default();
            assert!(whole(&bytes, encoding, &none, encoding).unwrap() == bytes, "{}", path.display());
            if [Tag(0x0008, 0x0001), Tag(0x7FE0, 0x0000)].iter().any(|tag| outline.get(*tag).is_some()) {
                continue;
            }
            let [head, tail] = parts(&bytes, encoding, &none, encoding);
            let pixels = outline
                .pixel_data()
                .map_or(&[][..], |pixels| &bytes[pixels.start as usize..pixels.end as usize]);
            assert!([&head, pixels, &tail].concat() == bytes, "{}", path.display());
        }
    }

    #[test]
    fn whatever_a_file_is_taken_for_the_end_is_an_error_or_a_data_set() {
        for (_, file) in real_bytes("malformed") {
            for start in [0, 132, 370] {
                let bytes = file.get(start..).unwrap_or_default().to_vec();
                for from in [NATIVE[0], NATIVE[1], NATIVE[2], Encoding::Encapsulated] {
                    let Ok(outline) = Outline::read(&bytes, from) else { continue };
                    for element in &outline.elements {
                        let _ = outline.items(&bytes, element.tag);
                    }
                    for to in [Encoding::ImplicitLe, Encoding::ExplicitLe, Encoding::Encapsulated] {
                        let mut out = Vec::new();
                        let _ = write_whole(&bytes, &outline, &edits(), to, &mut out);
                        assert!(out.len() <= 3 * bytes.len() + 1000);
                    }
                }
            }
        }
        for (_, from, bytes) in real_files("malformed") {
            if let Ok(outline) = Outline::read(&bytes, from) {
                let _ = write_whole(&bytes, &outline, &edits(), Encoding::ImplicitLe, &mut Vec::new());
            }
        }
    }

    /// Elements of every kind of value, and what they are in a data set whose pixels are unsigned.
    const KINDS: [(Tag, VR, usize); 22] = [
        (Tag(0x0008, 0x0016), VR::UI, 1),
        (Tag(0x0008, 0x0020), VR::DA, 1),
        (Tag(0x0008, 0x0054), VR::AE, 1),
        (Tag(0x0008, 0x0060), VR::CS, 1),
        (Tag(0x0008, 0x0120), VR::UR, 1),
        (Tag(0x0009, 0x0010), VR::LO, 1),
        (Tag(0x0009, 0x1003), VR::UN, 1),
        (Tag(0x0010, 0x0010), VR::PN, 1),
        (Tag(0x0018, 0x6016), VR::UL, 4),
        (Tag(0x0018, 0x6020), VR::SL, 4),
        (Tag(0x0018, 0x602C), VR::FD, 8),
        (Tag(0x0020, 0x9165), VR::AT, 4),
        (Tag(0x0028, 0x0010), VR::US, 2),
        (Tag(0x0028, 0x0106), VR::US, 2),
        (Tag(0x0028, 0x1201), VR::OW, 2),
        (Tag(0x0028, 0x9503), VR::SS, 2),
        (Tag(0x0040, 0xA160), VR::UT, 1),
        (Tag(0x0066, 0x0016), VR::OF, 4),
        (Tag(0x0066, 0x0040), VR::OL, 4),
        (Tag(0x6002, 0x3000), VR::OW, 2),
        (Tag(0x7FE0, 0x0009), VR::OD, 8),
        (Tag(0x7FE0, 0x0010), VR::OW, 2),
    ];
    const SEQUENCES: [Tag; 4] =
        [Tag(0x0008, 0x1140), Tag(0x0009, 0x1002), Tag(0x0018, 0x6011), Tag(0x0040, 0xA730)];

    fn elements() -> impl Strategy<Value = Vec<(Tag, Node)>> {
        let one = (0..KINDS.len(), 0_usize..9, any::<u8>()).prop_map(|(kind, count, seed)| {
            let (tag, vr, size) = KINDS[kind];
            let length = (count * size).next_multiple_of(2);
            let bytes: Vec<u8> = (0..length).map(|n| seed.wrapping_add(n as u8 * 3)).collect();
            (tag, value(tag, vr, &bytes))
        });
        prop::collection::vec(one, 0..6)
    }

    fn data_set(depth: usize) -> proptest::strategy::BoxedStrategy<Vec<Node>> {
        let inside = if depth == 0 { Just(Vec::new()).boxed() } else { data_set(depth - 1) };
        let nested = (0..SEQUENCES.len(), prop::collection::vec(inside, 0..3))
            .prop_map(|(n, items)| (SEQUENCES[n], sequence(SEQUENCES[n], items)));
        (elements(), prop::collection::vec(nested, 0..3))
            .prop_map(|(values, sequences)| {
                let mut all: Vec<(Tag, Node)> = values.into_iter().chain(sequences).collect();
                all.sort_by_key(|(tag, _)| *tag);
                all.dedup_by_key(|(tag, _)| *tag);
                all.into_iter().map(|(_, node)| node).collect()
            })
            .boxed()
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config {
            failure_persistence: None, cases: 300, ..Default::default()
        })]

        #[test]
        fn any_data_set_means_the_same_in_every_encoding(nodes in data_set(4)) {
            let none = Edits::default();
            for lengths in ALL_LENGTHS {
                for from in NATIVE {
                    let nodes = knowable(&nodes, from, lengths);
                    let bytes = encode(&nodes, from, lengths);
                    let explicit = whole(&bytes, from, &none, Encoding::ExplicitLe).unwrap();
                    if from == Encoding::ExplicitLe {
                        prop_assert!(explicit == bytes);
                    } else {
                        prop_assert!(explicit == encode(&nodes, Encoding::ExplicitLe, Lengths::Undefined));
                    }
                    let implicit = encode(&nodes, Encoding::ImplicitLe, Lengths::Undefined);
                    prop_assert!(implicit == whole(&bytes, from, &none, Encoding::ImplicitLe).unwrap());
                    let back = whole(&explicit, Encoding::ExplicitLe, &none, Encoding::ImplicitLe).unwrap();
                    prop_assert!(implicit == back);
                }
            }
        }

        #[test]
        fn whatever_the_running_walk_finds_sound_can_be_written_again(
            nodes in data_set(3), damage in prop::collection::vec((any::<u16>(), any::<u8>()), 0..3),
        ) {
            for lengths in ALL_LENGTHS {
                for from in [NATIVE[0], NATIVE[1], NATIVE[2], Encoding::Encapsulated] {
                    let mut bytes = encode(&nodes, from, lengths);
                    for (at, byte) in &damage {
                        let size = bytes.len().max(1);
                        bytes.get_mut(usize::from(*at) % size).into_iter().for_each(|b| *b = *byte);
                    }
                    let mut scanner = crate::dicom::Scanner::new(from);
                    scanner.feed(&bytes);
                    let scan = scanner.finish();
                    if scan.structure == crate::dicom::Structure::Sound {
                        let outline = Outline::read(&bytes, from).unwrap();
                        let (none, mut out) = (Edits::default(), Vec::new());
                        for write in [write_head, write_tail] {
                            let written = write(&bytes, &outline, &none, Encoding::ImplicitLe, &mut out);
                            // Damage may make it name another representation, or fragments of it.
                            let refused = matches!(
                                written,
                                Err(WriteError::Misread { .. } | WriteError::Fragments)
                            );
                            prop_assert!(written.is_ok() || (refused && !damage.is_empty()), "{:?}", written);
                        }
                    }
                }
            }
        }
    }
}
