//! Frames are found in whatever way they are stored, or not at all.

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::subject_tests::Draft;
use super::{FrameError, FrameMap};
use crate::dicom::Encoding;

const BASELINE: &str = "1.2.840.10008.1.2.4.50";
const RLE: &str = "1.2.840.10008.1.2.5";
const J2K: &str = "1.2.840.10008.1.2.4.90";

const A: &[u8] = b"\xFF\xD8\xFFA";
const B: &[u8] = b"\xFF\xD8\xFFBBB";
const MORE: &[u8] = b"more";

/// The frames of an encapsulated image with so many frames, a table of offsets and these fragments.
fn frames(
    syntax: &str,
    frames: u32,
    table: &[u32],
    fragments: &[&[u8]],
    change: impl Fn(&mut Draft),
) -> Result<Vec<Vec<u8>>, FrameError> {
    let table: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let mut all: Vec<&[u8]> = vec![&table];
    all.extend(fragments);
    let mut draft = Draft::new();
    draft.text(tags::NUMBER_OF_FRAMES, VR::IS, &format!("{frames}")).fragments(&all);
    change(&mut draft);
    let bytes = draft.bytes(Encoding::ExplicitLe);
    let subject = draft.subject(syntax);
    let map = FrameMap::read(&bytes, &subject)?;
    assert_eq!(map.len(), frames);
    let frame = |number| {
        let mut frame = b"left over".to_vec();
        map.get(number, &bytes, &mut frame).map(|()| frame)
    };
    assert!(matches!(frame(frames), Err(FrameError::NoSuchFrame(_))));
    (0..frames).map(frame).collect()
}

fn jpeg(count: u32, table: &[u32], fragments: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameError> {
    frames(BASELINE, count, table, fragments, |_| ())
}

#[test]
fn frames_are_fragments_with_or_without_a_table() {
    for table in [&[][..], &[0, 12]] {
        assert_eq!(jpeg(2, table, &[A, B]).unwrap(), [A, B]);
    }
}

#[test]
fn a_frame_in_several_fragments_is_found_by_the_table_or_by_where_streams_begin() {
    for table in [&[][..], &[0, 24]] {
        assert_eq!(jpeg(2, table, &[A, MORE, B]).unwrap(), [[A, MORE].concat(), B.to_vec()]);
    }
    assert_eq!(jpeg(1, &[], &[A, MORE, MORE]).unwrap(), [[A, MORE, MORE].concat()]);
    let start = b"\xFF\x4F\xFF\x51";
    let found = frames(J2K, 2, &[], &[start, MORE, start], |_| ()).unwrap();
    assert_eq!(found, [[start, MORE].concat(), start.to_vec()]);
    assert_eq!(frames(RLE, 1, &[], &[MORE, MORE], |_| ()).unwrap(), [[MORE, MORE].concat()]);
    assert_eq!(
        frames(RLE, 2, &[0, 12], &[MORE, MORE, A], |_| ()).unwrap(),
        [MORE.to_vec(), [MORE, A].concat()]
    );
}

#[test]
fn case_102_a_broken_table_is_left_aside_where_fragments_speak_for_themselves() {
    for table in [&[0][..], &[0, 13], &[12, 0], &[0, 0], &[0, 0xFFFF_FFF0], &[12, 24], &[0, 12, 24]] {
        assert_eq!(jpeg(2, table, &[A, B]).unwrap(), [A, B], "{table:?}");
        assert_eq!(jpeg(2, table, &[A, B, MORE]).unwrap().len(), 2, "{table:?}");
    }
    // RLE has nothing to go by.
    let error = frames(RLE, 2, &[0, 13], &[A, B, MORE], |_| ()).unwrap_err();
    assert!(matches!(error, FrameError::Count { wanted: 2, .. }), "{error}");
}

#[test]
fn the_extended_table_is_taken_like_the_basic_one() {
    let table: Vec<u8> = [0_u64, 24].into_iter().flat_map(u64::to_le_bytes).collect();
    let change = |draft: &mut Draft| {
        draft.put(tags::EXTENDED_OFFSET_TABLE, VR::OV, &table);
    };
    let found = frames(RLE, 2, &[], &[MORE, MORE, A], change).unwrap();
    assert_eq!(found, [[MORE, MORE].concat(), A.to_vec()]);
    let broken = |draft: &mut Draft| {
        draft.put(tags::EXTENDED_OFFSET_TABLE, VR::OV, &[0xFF; 16]);
    };
    assert_eq!(frames(RLE, 2, &[], &[MORE, A], broken).unwrap(), [MORE, A]);
}

#[test]
fn case_101_frames_that_are_not_as_many_as_they_should_be_are_an_error() {
    for (count, fragments) in
        [(100, &[A][..]), (1, &[A, B]), (2, &[A, B, A]), (2, &[MORE, A, MORE]), (1, &[])]
    {
        let error = jpeg(count, &[], fragments).unwrap_err();
        assert!(matches!(error, FrameError::Count { wanted, .. } if wanted == count), "{error}");
    }
}

#[test]
fn native_frames_are_found_by_arithmetic_and_given_in_little_endian() {
    for (syntax, encoding, expected) in [
        ("1.2.840.10008.1.2", Encoding::ImplicitLe, [0_u8, 1, 2]),
        ("1.2.840.10008.1.2.1", Encoding::ExplicitLe, [0, 1, 2]),
        ("1.2.840.10008.1.2.2", Encoding::ExplicitBe, [0, 1, 2]),
    ] {
        let mut draft = Draft::new();
        draft.grey().us(tags::ROWS, 1).us(tags::COLUMNS, 3);
        draft.text(tags::NUMBER_OF_FRAMES, VR::IS, "3").pixels(10);
        let bytes = draft.bytes(encoding);
        let map = FrameMap::read(&bytes, &draft.subject(syntax)).unwrap();
        let mut frame = Vec::new();
        for number in 0..3 {
            map.get(number, &bytes, &mut frame).unwrap();
            assert_eq!(frame, expected.map(|byte| byte + 3 * number as u8), "{syntax}");
        }
        assert!(map.get(3, &bytes, &mut frame).is_err());
    }
}

#[test]
fn words_of_16_bits_are_turned_round() {
    let mut draft = Draft::new();
    draft.grey().us(tags::BITS_ALLOCATED, 16).us(tags::BITS_STORED, 16).us(tags::HIGH_BIT, 15).pixels(16);
    let bytes = draft.bytes(Encoding::ExplicitBe);
    let map = FrameMap::read(&bytes, &draft.subject("1.2.840.10008.1.2.2")).unwrap();
    let mut frame = Vec::new();
    map.get(0, &bytes, &mut frame).unwrap();
    assert_eq!(frame, (0..16).collect::<Vec<u8>>());
}

#[test]
fn what_is_no_image_has_no_frames() {
    let mut draft = Draft::new();
    draft.without(tags::PIXEL_DATA);
    let bytes = draft.bytes(Encoding::ExplicitLe);
    let subject = draft.subject("1.2.840.10008.1.2.1");
    assert!(matches!(FrameMap::read(&bytes, &subject), Err(FrameError::NoImage)));
}
