//! What is encoded comes back.

use crate::frames::{Native, frames, layout};
use chrysalis_codecs::jpeg_lossless::{
    EncodeError, Tables, VerifyError, decode_frame, encode_frame, verify_frame,
};
use chrysalis_codecs::{FrameLayout, Limits, Marking, Order, Samples};
use proptest::prelude::*;

fn check(native: &Native, tables: &Tables) {
    let Native { layout, precision, pixels } = native;
    let stream = encode_frame(pixels, *layout, *precision, tables).expect("it is encoded");
    let frame = decode_frame(&stream, Limits::default()).expect("it is decoded");
    assert_eq!(frame.layout, FrameLayout { order: Order::ByPixel, ..*layout });
    assert_eq!(frame.precision, *precision);
    assert_eq!(frame.marking, (layout.samples == Samples::Three).then_some(Marking::Unmarked));
    assert!(frame.pixels == native.by_pixel(), "the pixels differ");
    verify_frame(&stream, pixels, *layout, *precision).expect("it is verified");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_frame_comes_back(native in frames()) {
        let tables = Tables::of_frame(&native.pixels, native.layout, native.precision).expect("tables");
        check(&native, &tables);
    }

    #[test]
    fn every_frame_of_a_loop_comes_back_with_the_tables_of_another(native in frames(), other in frames()) {
        let first = Native::new(other.layout, native.precision, &vec![1; other.samples().len()]);
        let depth = native.layout.depth;
        let first = Native::new(FrameLayout { depth, ..first.layout }, native.precision, &first.samples());
        let tables = Tables::of_sample(&first.pixels, first.layout, first.precision).expect("tables");
        check(&native, &tables);
    }

    #[test]
    fn a_changed_sample_is_noticed(native in frames(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let tables = Tables::of_frame(&native.pixels, native.layout, native.precision).expect("tables");
        let stream = encode_frame(&native.pixels, native.layout, native.precision, &tables).expect("encoded");
        let mut changed = native.pixels.clone();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let found = verify_frame(&stream, &changed, native.layout, native.precision);
        prop_assert!(matches!(found, Err(VerifyError::Differs { .. })), "{found:?}");
    }
}

#[test]
fn tables_of_another_frame_may_lack_a_code_and_say_so() {
    for precision in [8, 12, 16] {
        let layout = layout(1, 4, Samples::One, precision);
        let flat = Native::new(layout, precision, &[1 << (precision - 1); 4]);
        let steep = Native::new(layout, precision, &[1 << (precision - 1), 0, 3, 1]);
        let tables = Tables::of_frame(&flat.pixels, layout, precision).expect("tables");
        let missing = encode_frame(&steep.pixels, layout, precision, &tables);
        assert_eq!(missing, Err(EncodeError::NoCode { row: 0 }));
        let tables = Tables::of_sample(&flat.pixels, layout, precision).expect("tables");
        check(&steep, &tables);
    }
}

#[test]
fn pixels_that_contradict_their_description_are_refused() {
    let eight = layout(2, 2, Samples::One, 8);
    let sixteen = layout(1, 2, Samples::One, 12);
    let refused = |pixels: &[u8], layout, precision| Tables::of_frame(pixels, layout, precision).err();
    assert_eq!(refused(&[0; 3], eight, 8), Some(EncodeError::WrongPixelLength { found: 3, expected: 4 }));
    assert_eq!(refused(&[0; 4], eight, 9), Some(EncodeError::Precision { precision: 9, bytes: 1 }));
    assert_eq!(refused(&[0; 4], eight, 1), Some(EncodeError::Precision { precision: 1, bytes: 1 }));
    assert_eq!(refused(&[0; 4], sixteen, 8), Some(EncodeError::Precision { precision: 8, bytes: 2 }));
    assert_eq!(refused(&[0; 4], sixteen, 17), Some(EncodeError::Precision { precision: 17, bytes: 2 }));
    let none = FrameLayout { rows: 0, ..eight };
    assert_eq!(refused(&[], none, 8), Some(EncodeError::Empty { rows: 0, columns: 2 }));
    let above = [0, 0, 0, 0x10];
    assert_eq!(refused(&above, sixteen, 12), Some(EncodeError::SampleTooLarge { row: 0, precision: 12 }));
    assert_eq!(refused(&[0, 64, 0, 0], eight, 6), Some(EncodeError::SampleTooLarge { row: 0, precision: 6 }));
}

#[test]
fn a_stream_of_another_shape_is_not_the_frame() {
    let native = Native::new(layout(2, 3, Samples::One, 8), 8, &[1, 2, 3, 4, 5, 6]);
    let tables = Tables::of_frame(&native.pixels, native.layout, 8).expect("tables");
    let stream = encode_frame(&native.pixels, native.layout, 8, &tables).expect("encoded");
    let turned = layout(3, 2, Samples::One, 8);
    let error = verify_frame(&stream, &native.pixels, turned, 8).expect_err("another shape");
    assert_eq!(error.to_string(), "the stream is 2 by 3 by 1 of 8 bits, the frame is 3 by 2 by 1 of 8 bits");
    assert!(matches!(
        verify_frame(&stream, &native.pixels, native.layout, 7),
        Err(VerifyError::Shape { .. })
    ));
    assert!(matches!(
        verify_frame(&stream, &[0; 5], native.layout, 8),
        Err(VerifyError::WrongPixelLength { found: 5, expected: 6 })
    ));
}
