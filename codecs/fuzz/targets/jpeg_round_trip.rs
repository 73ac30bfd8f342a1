//! Any pixels to baseline JPEG and back. The first bytes choose the layout and the quality, the others are pixels.
#![no_main]

use chrysalis_codecs::jpeg::{Colour, Quality, decode_frame, encode_frame};
use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(([shape, quality, columns], pixels)) = bytes.split_first_chunk() else { return };
    let (samples, colour) = match shape & 3 {
        0 | 1 => (Samples::One, Colour::Grey),
        2 => (Samples::Three, Colour::Rgb),
        _ => (Samples::Three, Colour::YbrFull),
    };
    let order = if shape & 4 == 0 { Order::ByPixel } else { Order::ByPlane };
    let columns = u16::from(*columns).max(1);
    let layout = FrameLayout { rows: 1, columns, samples, depth: Depth::Eight, order };
    let rows = (pixels.len() as u64 / layout.bytes()).min(u64::from(u16::MAX)) as u16;
    let layout = FrameLayout { rows, ..layout };
    let pixels = &pixels[..layout.bytes() as usize];
    let quality = Quality::new(quality % 100 + 1).expect("1 to 100");
    let Ok(stream) = encode_frame(pixels, layout, colour, quality) else { return assert_eq!(rows, 0) };
    let frame = decode_frame(&stream, Limits::default()).expect("it is decoded");
    assert_eq!(frame.layout, FrameLayout { order: Order::ByPixel, ..layout });
    if colour == Colour::Grey && quality.get() == 100 {
        assert!(frame.pixels.iter().zip(pixels).all(|(found, given)| found.abs_diff(*given) <= 2));
    }
});
