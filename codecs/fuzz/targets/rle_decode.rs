//! Any bytes are a frame or an error, and what was a frame is one again after encoding.
#![no_main]

use chrysalis_codecs::{Depth, FrameLayout, Limits, Order, Samples, rle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, u8, &[u8])| {
    let (rows, columns, shape, bytes) = input;
    let layout = FrameLayout {
        rows: rows.into(),
        columns: columns.into(),
        samples: if shape & 1 == 0 { Samples::One } else { Samples::Three },
        depth: if shape & 2 == 0 { Depth::Eight } else { Depth::Sixteen },
        order: if shape & 4 == 0 { Order::ByPixel } else { Order::ByPlane },
    };
    if let Ok(pixels) = rle::decode_frame(bytes, layout, Limits::default()) {
        let encoded = rle::encode_frame(&pixels, layout).expect("pixels of this layout");
        assert_eq!(rle::decode_frame(&encoded, layout, Limits::default()), Ok(pixels));
    }
});
