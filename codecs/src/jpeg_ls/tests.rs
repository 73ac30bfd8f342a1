use super::*;
use proptest::prelude::*;

/// A stream of one or three components in one scan, around `data`.
fn stream(
    size: [u16; 2],
    precision: u8,
    components: u8,
    [near, interleave]: [u8; 2],
    data: &[u8],
) -> Vec<u8> {
    let mut out = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, 8 + 3 * components, precision];
    out.extend(size.iter().flat_map(|side| side.to_be_bytes()));
    out.push(components);
    out.extend((1..=components).flat_map(|id| [id, 0x11, 0]));
    out.extend([0xFF, 0xDA, 0, 6 + 2 * components, components]);
    out.extend((1..=components).flat_map(|id| [id, 0]));
    out.extend([near, interleave, 0]);
    out.extend(data);
    out.extend([0xFF, 0xD9]);
    out
}

/// The example of ISO 14495-1 H.3.
const EXAMPLE: [u8; 30] = [
    0xC0, 0, 0, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0, 0, 0x57, 0x40, 0, 0, 0x6E, 0xE6, 0, 0, 0x01, 0xBC,
    0x18, 0, 0, 0x05, 0xD8, 0, 0, 0x91, 0x60,
];
const EXAMPLE_PIXELS: [u8; 16] = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];

fn example() -> Vec<u8> {
    stream([4, 4], 8, 1, [0, 0], &EXAMPLE)
}

#[test]
fn the_example_of_the_standard_decodes_to_its_pixels() {
    let frame = decode_frame(&example(), Limits::default()).unwrap();
    assert_eq!(frame.pixels, EXAMPLE_PIXELS);
    assert_eq!((frame.layout.rows, frame.layout.columns, frame.precision, frame.marking), (4, 4, 8, None));
}

#[test]
fn a_stream_without_its_end_marker_is_whole_if_its_image_is() {
    let bytes = example();
    assert_eq!(decode_frame(&bytes[..bytes.len() - 2], Limits::default()).unwrap().pixels, EXAMPLE_PIXELS);
}

#[test]
fn a_stream_that_was_cut_off_is_an_error() {
    let bytes = example();
    for length in 0..bytes.len() - 4 {
        assert!(decode_frame(&bytes[..length], Limits::default()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_is_allocated() {
    let error = decode_frame(&stream([65_535, 65_535], 8, 3, [0, 2], &[]), Limits::default()).unwrap_err();
    assert_eq!(error, JpegLsError::FrameTooLarge { needed: 3 * 65_535 * 65_535, limit: 256 << 20 });
}

#[test]
fn what_is_not_decoded_is_named_with_its_place() {
    for (bytes, says) in [
        (
            stream([4, 4], 8, 2, [0, 0], &[]),
            "FFF7H at 2: a number of components other than one or three is not supported",
        ),
        (
            stream([0, 4], 8, 1, [0, 0], &[]),
            "FFF7H at 2: an image whose rows or columns are said elsewhere is not supported",
        ),
        (stream([4, 4], 17, 1, [0, 0], &[]), "FFF7H at 2: the precision is not 2 to 16 bits"),
        (stream([4, 4], 8, 3, [0, 0], &[]), "FFDAH at 21: several components that do not take turns"),
        (stream([4, 4], 8, 1, [200, 0], &[]), "FFDAH at 15: bad parameters"),
        (vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 2], "FFC3H at 2: a frame that is not JPEG-LS"),
        (vec![0xFF, 0xD8, 0xFF, 0xDA, 0, 2], "FFDAH at 2: a scan without a frame"),
        (vec![0xFF, 0xD8, 0xFF, 0xF8, 0, 3, 2], "FFF8H at 2: a mapping table is not supported"),
    ] {
        let error = decode_frame(&bytes, Limits::default()).unwrap_err().to_string();
        assert_eq!(error, format!("JPEG-LS segment {says}"));
    }
}

proptest! {
    #[test]
    fn any_data_end_in_a_frame_or_an_error(
        data in prop::collection::vec(prop_oneof![Just(0_u8), Just(0xFF_u8), any::<u8>()], 0..300),
        precision in 2_u8..=16,
        three in any::<bool>(),
        near in 0_u8..4,
        interleave in 0_u8..3,
        reset in any::<[u8; 2]>(),
    ) {
        let bytes = stream([9, 7], precision, if three { 3 } else { 1 }, [near, interleave], &data);
        let _ = decode_frame(&bytes, Limits::default());
        let preset = [0xFF, 0xF8, 0, 13, 1, 0, 0, 0, 0, 0, 0, 0, 0, reset[0], reset[1]];
        let _ = decode_frame(&[&bytes[..2], &preset, &bytes[2..]].concat(), Limits::default());
    }
}
