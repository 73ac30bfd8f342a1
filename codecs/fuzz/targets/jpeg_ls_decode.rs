//! Any bytes are a frame within the limits or an error.
#![no_main]

use chrysalis_codecs::{Limits, jpeg_ls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { frame_bytes: 1 << 20 };
    if let Ok(frame) = jpeg_ls::decode_frame(bytes, limits) {
        assert!(frame.layout.bytes() <= limits.frame_bytes);
        assert_eq!(frame.pixels.len() as u64, frame.layout.bytes());
    }
});
