//! Streams that we do not write ourselves.

use crate::frames::frames;
use crate::plain_encoder::Plan;
use chrysalis_codecs::jpeg_lossless::{DecodeError, decode_frame, verify_frame};
use chrysalis_codecs::{FrameLayout, Limits, Marking, Order, Samples};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_predictor_transform_restart_table_and_scan_is_read(
        native in frames(),
        predictor in 1_u8..=7,
        point_transform in prop_oneof![3 => Just(0_u8), 1 => 1_u8..15],
        restart_rows in 0_u16..4,
        (separate, own_tables) in any::<(bool, bool)>(),
    ) {
        let point_transform = point_transform.min(native.precision - 1);
        let layout = FrameLayout { order: Order::ByPixel, ..native.layout };
        let plan = Plan {
            rows: layout.rows,
            columns: layout.columns,
            components: if layout.samples == Samples::One { 1 } else { 3 },
            precision: native.precision,
            predictor,
            point_transform,
            restart_rows,
            separate,
            own_tables,
        };
        let stream = plan.encode(&native.samples());
        let expected: Vec<u16> = native.samples().iter().map(|s| s >> point_transform << point_transform).collect();
        let expected = crate::frames::Native::new(layout, native.precision, &expected);
        let pixels = decode_frame(&stream, Limits::default()).map(|frame| frame.pixels);
        prop_assert_eq!(pixels.as_ref(), Ok(&expected.pixels));
        prop_assert_eq!(verify_frame(&stream, &expected.pixels, layout, native.precision), Ok(()));
    }
}

/// A grey image of 2 by 2 with samples of 8 bits: 128, 128, 127, 129. Code words: 0 is category 0, 10 is category 1, 110 is category 2.
/// The differences are 0, 0, then -1 to the sample above, then 2: 0 0 10'0 110'10, filled up with ones.
const SMALL: &str = "FFD8 FFC3000B08000200020101 1100 FFC4001600 01010100000000000000000000000000 000102
    FFDA00080101 00 010000 26BF FFD9";

/// `SMALL` with something replaced that is there once.
fn small(what: &str, with: &str) -> Vec<u8> {
    let text: String = SMALL.split_whitespace().collect();
    assert_eq!(text.matches(what).count(), 1, "{what} in {text}");
    let text = text.replace(what, with);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn known_streams_have_known_samples() {
    let known = [
        ("as it is", "26BF", "26BF"),
        ("without an end", "FFD9", ""),
        ("with bytes after the end", "FFD9", "FFD900FF"),
        ("with fill bytes before a marker", "FFD9", "FFFFFFD9"),
        ("with a comment", "FFC3", "FFFE0005414243FFC3"),
        ("with a quantization table", "FFC4", "FFDB000400FFFFC4"),
        ("with its number of lines said again", "FFD9", "FFDC00040002FFD9"),
        ("with sampling factors that mean nothing", "01011100", "01012200"),
        ("with a restart after each row that is not needed", "FFDA", "FFDD00040000FFDA"),
        ("with a table that nobody uses", "FFDA", "FFC40014010100000000000000000000000000000005FFDA"),
    ];
    for (name, what, with) in known {
        let pixels = decode_frame(&small(what, with), Limits::default()).map(|frame| frame.pixels);
        assert_eq!(pixels, Ok(vec![128, 128, 127, 129]), "{name}");
    }
}

#[test]
fn wrong_streams_are_refused_with_what_and_where() {
    let scan = "the scan header segment at 39 is wrong:";
    let cases = [
        ("FFD8", "FFD9", "the bytes do not begin as a JPEG stream does".to_owned()),
        ("FFC3", "FFC0", "FFC0 at 2 is not the lossless Huffman process".to_owned()),
        ("FFC3", "00C3", "there is no marker at 2".to_owned()),
        ("FFC3", "FFD0", "FFD0 at 2 cannot stand there".to_owned()),
        ("FFC4", "FFD9", "the JPEG stream ends at 15 without the scan of component 1".to_owned()),
        (
            "FFC3000B",
            "FFC30001",
            "the frame header segment at 2 is wrong: its length is less than 2".to_owned(),
        ),
        (
            "C3000B08",
            "C3000B01",
            "the frame header segment at 2 is wrong: the precision is not 2 to 16".to_owned(),
        ),
        ("080002", "080000", "a frame whose number of rows comes after it at 2 is not supported".to_owned()),
        ("00020101", "00000101", "the frame header segment at 2 is wrong: there are no columns".to_owned()),
        (
            "00020101",
            "00020201",
            "a frame of neither one nor three components at 2 is not supported".to_owned(),
        ),
        ("00020101", "00020301", "the frame header segment at 2 is wrong: it is too short".to_owned()),
        ("0101010000", "0201010000", "the Huffman table segment at 15 is wrong: it is too short".to_owned()),
        (
            "0001010100",
            "0401010100",
            "the Huffman table segment at 15 is wrong: its identifier is above 3".to_owned(),
        ),
        (
            "0001010100",
            "0003000000",
            "the Huffman table segment at 15 is wrong: it has more codes than fit their lengths".to_owned(),
        ),
        (
            "000102FFDA",
            "000111FFDA",
            "the Huffman table segment at 15 is wrong: it has a category above 16".to_owned(),
        ),
        (
            "DA00080101",
            "DA00080102",
            format!("{scan} a component is not the frame's, or comes again, or out of order"),
        ),
        ("0101000100", "0101100100", format!("{scan} it uses a Huffman table that was not defined")),
        ("0001000026BF", "0008000026BF", format!("{scan} the predictor is not 1 to 7")),
        ("0001000026BF", "0001000826BF", format!("{scan} the point transform leaves no bits")),
        (
            "FFDA",
            "FFDD00040003FFDA",
            "the scan header segment at 45 is wrong: the restart interval is not a number of rows".to_owned(),
        ),
        ("26BFFFD9", "26", "the JPEG stream ends at 50, within a scan".to_owned()),
        ("26BFFFD9", "FFD9", "the JPEG stream ends at 49, within a scan".to_owned()),
        ("26BF", "E6BF", "the bits at 49 are no code of the Huffman table".to_owned()),
        ("26BF", "26FF", "the JPEG stream ends at 50, within a scan".to_owned()),
    ];
    for (what, with, message) in cases {
        let error = decode_frame(&small(what, with), Limits::default()).expect_err(&message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_frame_above_the_limit_is_refused() {
    let stream = small("080002", "08FFFF");
    let error = decode_frame(&stream, Limits { frame_bytes: 1000 }).expect_err("too large");
    assert_eq!(error, DecodeError::FrameTooLarge { needed: 131_070, limit: 1000 });
    let error = decode_frame(&stream, Limits::default()).expect_err("too short for its size");
    assert_eq!(error, DecodeError::Truncated { offset: 53, within: "a scan" });
}

/// Three components, each with its own scan, and the segments before the frame header.
fn three(ids: [u8; 3], segments: &[u8]) -> Result<Option<Marking>, DecodeError> {
    let mut stream = vec![0xFF, 0xD8];
    stream.extend(segments);
    stream.extend([0xFF, 0xC3, 0, 17, 8, 0, 1, 0, 1, 3]);
    ids.iter().for_each(|id| stream.extend([*id, 0x11, 0]));
    stream.extend([0xFF, 0xC4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    stream.extend([0xFF, 0xDA, 0, 12, 3, ids[0], 0, ids[1], 0, ids[2], 0, 1, 0, 0, 0x1F, 0xFF, 0xD9]);
    decode_frame(&stream, Limits::default()).map(|frame| frame.marking)
}

#[test]
fn the_marking_is_what_the_stream_says() {
    let adobe = |transform| {
        let mut segment = b"\xFF\xEE\x00\x0EAdobe\x00\x64\x00\x00\x00\x00".to_vec();
        segment.push(transform);
        segment
    };
    let jfif = b"\xFF\xE0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00";
    assert_eq!(three([1, 2, 3], &[]), Ok(Some(Marking::Unmarked)));
    assert_eq!(three(*b"RGB", &[]), Ok(Some(Marking::Rgb)));
    assert_eq!(three([1, 2, 3], jfif), Ok(Some(Marking::Ybr)));
    assert_eq!(three([1, 2, 3], &adobe(0)), Ok(Some(Marking::Rgb)));
    assert_eq!(three(*b"RGB", &adobe(1)), Ok(Some(Marking::Ybr)));
}

#[test]
fn subsampling_and_missing_scans_are_refused() {
    let plan = Plan {
        rows: 2,
        columns: 2,
        components: 3,
        precision: 8,
        predictor: 1,
        point_transform: 0,
        restart_rows: 0,
        separate: true,
        own_tables: false,
    };
    let stream = plan.encode(&[100; 12]);
    let mut subsampled = stream.clone();
    subsampled[13] = 0x21;
    let what = "a lossless frame with subsampling";
    let refused = |stream: &[u8]| decode_frame(stream, Limits::default()).expect_err("refused");
    assert_eq!(refused(&subsampled), DecodeError::Unsupported { what, offset: 2 });
    let last = stream.windows(2).rposition(|marker| marker == [0xFF, 0xDA]).expect("a scan");
    assert_eq!(refused(&stream[..last]), DecodeError::Truncated { offset: last, within: "a marker" });
    let ended = [&stream[..last], &[0xFF, 0xD9]].concat();
    assert_eq!(refused(&ended), DecodeError::MissingScan { offset: last, component: 3 });
}

#[test]
fn restarts_are_taken_in_order() {
    let plan = Plan {
        rows: 12,
        columns: 5,
        components: 1,
        precision: 8,
        predictor: 4,
        point_transform: 0,
        restart_rows: 1,
        separate: false,
        own_tables: false,
    };
    let stream = plan.encode(&(0..60).collect::<Vec<u16>>());
    assert!(decode_frame(&stream, Limits::default()).is_ok());
    let second = stream.windows(2).position(|marker| marker == [0xFF, 0xD1]).expect("a restart");
    let mut swapped = stream.clone();
    swapped[second + 1] = 0xD2;
    let found = decode_frame(&swapped, Limits::default());
    assert_eq!(found, Err(DecodeError::Unexpected { marker: 0xD2, offset: second }));
}
