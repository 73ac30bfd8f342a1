//! Any pixels to JPEG Lossless and back. The first bytes choose the layout, the others are pixels.
#![no_main]

use chrysalis_codecs::jpeg_lossless::{Tables, decode_frame, encode_frame, verify_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(([shape, precision, columns], pixels)) = bytes.split_first_chunk() else { return };
    let precision = 2 + precision % 15;
    let depth = if precision > 8 { Depth::Sixteen } else { Depth::Eight };
    let samples = if shape & 1 == 0 { Samples::One } else { Samples::Three };
    let order = if shape & 2 == 0 { Order::ByPixel } else { Order::ByPlane };
    let layout = FrameLayout { rows: 1, columns: u16::from(*columns).max(1), samples, depth, order };
    let rows = (pixels.len() as u64 / layout.bytes()).min(u64::from(u16::MAX)) as u16;
    let layout = FrameLayout { rows, ..layout };
    let mut pixels = pixels[..layout.bytes() as usize].to_vec();
    match depth {
        Depth::Eight => pixels.iter_mut().for_each(|sample| *sample &= 0xFF >> (8 - precision)),
        Depth::Sixteen => {
            pixels.iter_mut().skip(1).step_by(2).for_each(|high| *high &= 0xFF >> (16 - precision))
        }
    }
    let Ok(tables) = Tables::of_sample(&pixels, layout, precision) else { return };
    let stream = encode_frame(&pixels, layout, precision, &tables).expect("every difference has a code");
    assert_eq!(verify_frame(&stream, &pixels, layout, precision), Ok(()));
    let frame = decode_frame(&stream, Limits::default()).expect("it is decoded");
    if order == Order::ByPixel || samples == Samples::One {
        assert!(frame.pixels == pixels, "the pixels differ");
    }
});
