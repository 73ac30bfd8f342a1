//! What is read of a stored data set, and what nobody believes.

use std::collections::BTreeMap;
use std::io;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::dataset::sample::{Lengths, Node, encode, real_files, sequence, value};
use super::subject::{Content, Image, Loss, Photometric, Sign, Soundness, Subject, Veto};
use super::{FrameMap, Source};
use crate::dicom::scan::Structure;
use crate::dicom::walk::Walk;
use crate::dicom::{Encoding, Tag, TransferSyntax, Uid};

const LARGE: &str = "1.2.840.10008.1.2.4.91";

/// A data set under construction: an RGB image of 4 x 2 pixels, until something is said otherwise.
pub(super) struct Draft {
    nodes: BTreeMap<Tag, Node>,
}

impl Draft {
    pub(super) fn new() -> Self {
        let mut draft = Self { nodes: BTreeMap::new() };
        draft.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\ABDOMINAL\\0001");
        draft.text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.6.1");
        draft.text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4");
        draft.us(tags::SAMPLES_PER_PIXEL, 3).text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
        draft.us(tags::PLANAR_CONFIGURATION, 0).us(tags::ROWS, 2).us(tags::COLUMNS, 4);
        draft.us(tags::BITS_ALLOCATED, 8).us(tags::BITS_STORED, 8).us(tags::HIGH_BIT, 7);
        draft.us(tags::PIXEL_REPRESENTATION, 0).pixels(24);
        draft
    }

    pub(super) fn us(&mut self, tag: Tag, number: u16) -> &mut Self {
        self.put(tag, VR::US, &number.to_le_bytes())
    }

    pub(super) fn text(&mut self, tag: Tag, vr: VR, text: &str) -> &mut Self {
        self.put(tag, vr, text.as_bytes())
    }

    pub(super) fn put(&mut self, tag: Tag, vr: VR, bytes: &[u8]) -> &mut Self {
        let mut bytes = bytes.to_vec();
        let pad = if matches!(vr, VR::UI | VR::OB | VR::OW | VR::UN) { 0 } else { b' ' };
        bytes.resize(bytes.len().next_multiple_of(2), pad);
        self.node(tag, value(tag, vr, &bytes))
    }

    pub(super) fn node(&mut self, tag: Tag, node: Node) -> &mut Self {
        self.nodes.insert(tag, node);
        self
    }

    pub(super) fn without(&mut self, tag: Tag) -> &mut Self {
        self.nodes.remove(&tag);
        self
    }

    /// Native pixels, each byte another than the one before.
    pub(super) fn pixels(&mut self, length: usize) -> &mut Self {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        self.put(tags::PIXEL_DATA, VR::OW, &bytes)
    }

    pub(super) fn fragments(&mut self, fragments: &[&[u8]]) -> &mut Self {
        let fragments = fragments.iter().map(|fragment| fragment.to_vec()).collect();
        self.node(tags::PIXEL_DATA, Node::Fragments { fragments })
    }

    pub(super) fn grey(&mut self) -> &mut Self {
        self.us(tags::SAMPLES_PER_PIXEL, 1).text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        self.without(tags::PLANAR_CONFIGURATION)
    }

    pub(super) fn bytes(&self, encoding: Encoding) -> Vec<u8> {
        let nodes: Vec<Node> = self.nodes.values().cloned().collect();
        encode(&nodes, encoding, Lengths::Given)
    }

    pub(super) fn subject(&self, syntax: &str) -> Subject {
        let syntax = TransferSyntax(Uid::new(syntax));
        let encoding = match syntax.encoding() {
            Encoding::Encapsulated => Encoding::ExplicitLe,
            native => native,
        };
        Subject::read(&self.bytes(encoding), &syntax, Soundness::Sound).unwrap()
    }

    fn native(&self) -> Subject {
        self.subject(TransferSyntax::EXPLICIT_VR_LE.0.as_str())
    }
}

#[track_caller]
fn image(subject: Subject) -> Image {
    match subject.content {
        Content::Image(image) => *image,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn untouchable(subject: Subject) -> String {
    match subject.content {
        Content::Untouchable(why) => why,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn foreign(subject: Subject) -> String {
    match subject.content {
        Content::OtherPixels(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_read_alike_in_every_encoding() {
    let mut draft = Draft::new();
    draft
        .grey()
        .us(tags::BITS_ALLOCATED, 16)
        .us(tags::BITS_STORED, 12)
        .us(tags::HIGH_BIT, 11)
        .us(tags::PIXEL_REPRESENTATION, 1);
    draft.text(tags::NUMBER_OF_FRAMES, VR::IS, " 2 ").pixels(32);
    for syntax in ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"] {
        let subject = draft.subject(syntax);
        assert_eq!(subject.sop_class.as_str(), "1.2.840.10008.5.1.4.1.1.6.1");
        assert_eq!(subject.sop_instance.as_str(), "1.2.3.4");
        let image = image(subject);
        assert_eq!((image.rows, image.columns, image.frames, image.samples), (2, 4, 2, 1));
        assert_eq!((image.bits_allocated, image.bits_stored, image.sign), (16, 12, Sign::Signed));
        assert_eq!((image.photometric, image.loss, image.veto), (Photometric::Monochrome2, Loss::None, None));
    }
}

#[test]
fn what_is_left_out_is_what_it_nearly_always_is() {
    let mut draft = Draft::new();
    for tag in [tags::PLANAR_CONFIGURATION, tags::HIGH_BIT, tags::BITS_STORED, tags::PIXEL_REPRESENTATION] {
        draft.without(tag);
    }
    assert_eq!(image(draft.native()), image(Draft::new().native()));
    draft.text(tags::NUMBER_OF_FRAMES, VR::IS, "");
    assert_eq!(image(draft.native()).frames, 1);
}

#[test]
fn case_99_dimensions_that_overflow_are_not_believed() {
    let mut draft = Draft::new();
    draft.us(tags::ROWS, 65_535).us(tags::COLUMNS, 65_535);
    draft.text(tags::NUMBER_OF_FRAMES, VR::IS, "2147483647");
    assert!(untouchable(draft.native()).starts_with("pixel size overflow"));
    draft.fragments(&[b"", b"\xFF\xD8\xFF\xD9"]);
    assert!(untouchable(draft.subject("1.2.840.10008.1.2.4.50")).starts_with("pixel size overflow"));
    let mut draft = Draft::new();
    draft.put(tags::ROWS, VR::UL, &0x0001_0002_u32.to_le_bytes());
    assert_eq!(untouchable(draft.native()), "pixel size overflow: Rows is 65538");
    draft.put(tags::ROWS, VR::UL, &2_u32.to_le_bytes());
    assert_eq!(image(draft.native()).rows, 2);
}

#[test]
fn case_100_pixels_shorter_than_their_attributes_tell_are_not_touched() {
    let mut draft = Draft::new();
    draft.us(tags::ROWS, 1024).us(tags::COLUMNS, 1024).pixels(4);
    assert_eq!(untouchable(draft.native()), "pixel data short: 4 bytes where its attributes tell of 3145728");
    draft = Draft::new();
    draft.pixels(26);
    assert_eq!(foreign(draft.native()), "its Pixel Data has 26 bytes where its attributes tell of 24");
}

#[test]
fn case_101_a_number_of_frames_that_is_none_is_not_believed() {
    for text in ["100", "-1", "1e9", "0", "1\\2", "4294967297", "9.0"] {
        let mut draft = Draft::new();
        draft.text(tags::NUMBER_OF_FRAMES, VR::IS, text);
        let why = untouchable(draft.native());
        let expected = if text == "100" { "pixel data short" } else { "Number of Frames is no number" };
        assert!(why.starts_with(expected), "{text}: {why}");
    }
}

#[test]
fn pixels_of_kinds_that_are_not_decoded_are_left_as_they_are() {
    type Change = fn(&mut Draft) -> &mut Draft;
    let table: [(Change, &str); 13] = [
        (|draft| draft.us(tags::BITS_ALLOCATED, 1), "1 bits allocated"),
        (|draft| draft.us(tags::BITS_ALLOCATED, 32), "32 bits allocated"),
        (|draft| draft.us(tags::BITS_ALLOCATED, 12), "12 bits allocated"),
        (|draft| draft.us(tags::HIGH_BIT, 11), "lowest bit"),
        (|draft| draft.us(tags::SAMPLES_PER_PIXEL, 4), "4 samples"),
        (|draft| draft.us(tags::SAMPLES_PER_PIXEL, 2), "2 samples"),
        (|draft| draft.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "CMYK"), "not known here"),
        (|draft| draft.without(tags::PHOTOMETRIC_INTERPRETATION), "is missing"),
        (|draft| draft.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_RCT"), "JPEG 2000"),
        (|draft| draft.us(tags::SAMPLES_PER_PIXEL, 0), "its pixels have 0 samples"),
        (|draft| draft.us(Tag(0x6000, 0x0100), 16), "overlay"),
        (|draft| draft.us(Tag(0x6002, 0x0010), 2), "overlay"),
        (|draft| draft.put(tags::FLOAT_PIXEL_DATA, VR::OF, &[0; 4]), "floating point"),
    ];
    for (change, expected) in table {
        let mut draft = Draft::new();
        change(&mut draft);
        let why = foreign(draft.native());
        assert!(why.contains(expected), "{why}");
    }
    let mut palette = Draft::new();
    palette.grey().text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR").pixels(8);
    assert_eq!(foreign(palette.native()), "its palette is missing");
    let mut overlaid = Draft::new();
    overlaid.us(Tag(0x6000, 0x0010), 2).us(Tag(0x6000, 0x0100), 1).put(Tag(0x6000, 0x3000), VR::OW, &[0; 2]);
    image(overlaid.native());
}

#[test]
fn compressed_pixels_of_an_icon_are_no_obstacle_to_an_image_and_others_are() {
    let rle = "1.2.840.10008.1.2.5";
    let pixels = || vec![Node::Fragments { fragments: vec![vec![], vec![1, 2]] }];
    let icons = || sequence(tags::ICON_IMAGE_SEQUENCE, vec![pixels()]);
    let mut draft = Draft::new();
    draft.fragments(&[b"", b"12"]).node(tags::ICON_IMAGE_SEQUENCE, icons());
    image(draft.subject(rle));
    let references = tags::REFERENCED_IMAGE_SEQUENCE;
    draft.node(references, sequence(references, vec![vec![], vec![icons()]]));
    assert_eq!(foreign(draft.subject(rle)), "there are compressed pixels within (0008,1140)");
    let mut alone = Draft::new();
    alone.without(tags::PIXEL_DATA).node(tags::ICON_IMAGE_SEQUENCE, icons());
    assert_eq!(foreign(alone.subject(rle)), "there are compressed pixels within (0088,0200)");
}

#[test]
fn what_contradicts_itself_or_is_signed_is_not_touched() {
    type Change = fn(&mut Draft) -> &mut Draft;
    let table: [(Change, &str); 11] = [
        (|draft| draft.us(tags::BITS_STORED, 9), "9 bits"),
        (|draft| draft.us(tags::BITS_STORED, 0), "0 bits"),
        (|draft| draft.without(tags::BITS_ALLOCATED), "Bits Allocated is missing"),
        (|draft| draft.without(tags::ROWS), "Rows is missing"),
        (|draft| draft.us(tags::ROWS, 0), "Rows is 0"),
        (|draft| draft.us(tags::COLUMNS, 0), "Columns is 0"),
        (|draft| draft.us(tags::PLANAR_CONFIGURATION, 2), "Planar Configuration is 2"),
        (|draft| draft.us(tags::PIXEL_REPRESENTATION, 7), "Pixel Representation is 7"),
        (|draft| draft.fragments(&[b"", b"12"]), "fragments in an encoding that has none"),
        (
            |draft| {
                let tag = tags::DIGITAL_SIGNATURES_SEQUENCE;
                draft.node(tag, sequence(tag, vec![vec![]]))
            },
            "signed",
        ),
        (
            |draft| {
                let tag = tags::MAC_PARAMETERS_SEQUENCE;
                draft.node(tag, sequence(tag, vec![vec![]]))
            },
            "signed",
        ),
    ];
    for (change, expected) in table {
        let mut draft = Draft::new();
        change(&mut draft);
        let why = untouchable(draft.native());
        assert!(why.contains(expected), "{why}");
    }
    assert!(untouchable(Draft::new().subject("1.2.840.10008.1.2.4.50")).contains("transfer syntax"));
    assert_eq!(
        untouchable(Draft::new().subject("1.2.840.113619.5.2")),
        "its transfer syntax is not known here"
    );
    let bytes = Draft::new().bytes(Encoding::ExplicitLe);
    let odd = Subject::read(&bytes, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Odd).unwrap();
    assert_eq!(untouchable(odd), "its structure is odd");
    assert!(matches!(Draft::new().without(tags::PIXEL_DATA).native().content, Content::NoPixels));
}

#[test]
fn native_ybr_full_422_has_two_bytes_per_pixel() {
    let mut draft = Draft::new();
    draft.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422").pixels(16);
    let image = image(draft.native());
    assert_eq!((image.photometric, image.native_frame_bytes()), (Photometric::YbrFull422, 16));
    draft.us(tags::COLUMNS, 3);
    assert!(foreign(draft.native()).contains("chroma"));
}

#[test]
fn loss_is_what_the_syntax_cannot_avoid_or_the_attribute_says() {
    let loss = |syntax: &str, said: Option<&str>| {
        let mut draft = Draft::new();
        if syntax.contains(".4.") {
            draft.fragments(&[b"", b"12"]);
        }
        if let Some(said) = said {
            draft.text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, said);
        }
        image(draft.subject(syntax)).loss
    };
    for (syntax, said, expected) in [
        ("1.2.840.10008.1.2.1", None, Loss::None),
        ("1.2.840.10008.1.2.1", Some("00"), Loss::None),
        ("1.2.840.10008.1.2.1", Some("01"), Loss::Earlier),
        ("1.2.840.10008.1.2.4.70", None, Loss::None),
        ("1.2.840.10008.1.2.4.70", Some("01"), Loss::Earlier),
        ("1.2.840.10008.1.2.4.50", None, Loss::Stored),
        ("1.2.840.10008.1.2.4.50", Some("00"), Loss::Stored),
        (LARGE, None, Loss::Stored),
        (LARGE, Some("01"), Loss::Stored),
        (LARGE, Some("00"), Loss::None),
        ("1.2.840.10008.1.2.4.111", Some("00"), Loss::Stored),
        ("1.2.840.10008.1.2.4.112", Some("00"), Loss::None),
    ] {
        assert_eq!(loss(syntax, said), expected, "{syntax} {said:?}");
    }
}

#[test]
fn colour_in_a_region_or_in_the_image_type_is_a_veto_and_nothing_else_is() {
    let region = |kind: u16| vec![value(tags::REGION_DATA_TYPE, VR::US, &kind.to_le_bytes())];
    for (kinds, image_type, expected) in [
        (&[1, 0xD, 3, 4, 0xA][..], "ORIGINAL\\PRIMARY\\\\0001", None),
        (&[1, 2], "ORIGINAL\\PRIMARY\\\\0001", Some(Veto::Region)),
        (&[0xE], "ORIGINAL\\PRIMARY", Some(Veto::Region)),
        (&[], "ORIGINAL\\PRIMARY\\ABDOMINAL\\0011", Some(Veto::ImageType)),
        (&[], "ORIGINAL\\PRIMARY\\ABDOMINAL\\0020", Some(Veto::ImageType)),
        (&[1], "ORIGINAL\\PRIMARY\\ABDOMINAL\\0100 ", Some(Veto::ImageType)),
        (&[], "ORIGINAL\\PRIMARY\\ABDOMINAL\\000F", None),
        (&[], "ORIGINAL\\PRIMARY\\ABDOMINAL\\TISSUE", None),
        (&[], "0010", None),
    ] {
        let mut draft = Draft::new();
        draft.text(tags::IMAGE_TYPE, VR::CS, image_type);
        let tag = tags::SEQUENCE_OF_ULTRASOUND_REGIONS;
        draft.node(tag, sequence(tag, kinds.iter().map(|&kind| region(kind)).collect()));
        assert_eq!(image(draft.native()).veto, expected, "{kinds:?} {image_type}");
    }
    let mut draft = Draft::new();
    draft.put(tags::SEQUENCE_OF_ULTRASOUND_REGIONS, VR::OB, &[0; 4]);
    assert_eq!(image(draft.native()).veto, Some(Veto::Region));
}

#[test]
fn a_deflated_image_is_looked_at_once_it_is_inflated() {
    use io::Write as _;
    let mut deflater = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflater.write_all(&Draft::new().bytes(Encoding::ExplicitLe)).unwrap();
    let deflated = deflater.finish().unwrap();
    let syntax = TransferSyntax(crate::dicom::uid::DEFLATED_LE);
    let subject = Subject::read(&deflated, &syntax, Soundness::Odd).unwrap();
    assert_eq!(subject.syntax, syntax);
    assert_eq!(image(subject), image(Draft::new().native()));
    let cut = Subject::read(&deflated[..deflated.len() / 2].to_vec(), &syntax, Soundness::Odd).unwrap();
    untouchable(cut);
}

#[test]
fn a_failing_disk_is_an_error_and_no_fault_of_the_data_set() {
    struct Failing(Vec<u8>, u64);
    impl Source for Failing {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset + buffer.len() as u64 > self.1 {
                return Err(io::Error::other("a bad sector"));
            }
            self.0.read_at(buffer, offset)
        }
    }
    let bytes = Draft::new().bytes(Encoding::ExplicitLe);
    for good in 0..40 {
        let source = Failing(bytes.clone(), good);
        Subject::read(&source, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Sound).unwrap_err();
    }
}

#[test]
fn a_data_set_cut_or_changed_anywhere_has_an_answer() {
    let bytes = Draft::new().bytes(Encoding::ExplicitLe);
    for at in 0..bytes.len() {
        let cut = bytes[..at].to_vec();
        Subject::read(&cut, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Sound).unwrap();
        for flip in [0x01, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let subject = Subject::read(&changed, &TransferSyntax::EXPLICIT_VR_LE, Soundness::Sound).unwrap();
            if let Ok(map) = FrameMap::read(&changed, &subject) {
                map.get(0, &changed, &mut Vec::new()).unwrap();
            }
        }
    }
}

#[test]
fn every_real_file_is_what_it_is_and_every_malformed_one_has_an_answer() {
    let mut images = 0;
    for (path, syntax, bytes) in real_files_with_syntax() {
        let mut walk = Walk::new(syntax.encoding());
        walk.feed(&bytes);
        let soundness = Soundness::from(walk.finish().structure == Structure::Sound);
        let subject = Subject::read(&bytes, &syntax, soundness).unwrap();
        if syntax.encoding() != Encoding::DeflatedLe
            && let Ok(map) = FrameMap::read(&bytes, &subject)
        {
            let mut frame = Vec::new();
            for number in 0..map.len() {
                map.get(number, &bytes, &mut frame).unwrap();
                assert!(!frame.is_empty(), "{path}");
            }
            images += 1;
        }
        if path.contains("/ultrasound/") {
            assert!(matches!(subject.content, Content::Image(_)), "{path}: {:?}", subject.content);
            FrameMap::read(&bytes, &subject).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        if path.contains("/other/") && !matches!(subject.content, Content::Image(_) | Content::NoPixels) {
            println!("{path}: {:?}", subject.content);
        }
    }
    assert!(images > 60 || real_files("ultrasound").is_empty());
}

/// Real files by their names, with their transfer syntaxes.
fn real_files_with_syntax() -> Vec<(String, TransferSyntax, Vec<u8>)> {
    let file = |(path, _, bytes): (std::path::PathBuf, Encoding, Vec<u8>)| {
        let mut file = std::fs::File::open(&path).unwrap();
        let head = crate::dicom::part10::FileHead::read(&mut file).unwrap();
        (path.display().to_string(), head.transfer_syntax, bytes)
    };
    real_files("").into_iter().map(file).collect()
}
