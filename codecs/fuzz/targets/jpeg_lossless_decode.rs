//! Any bytes as a JPEG Lossless stream.
#![no_main]

use chrysalis_codecs::Limits;
use chrysalis_codecs::jpeg_lossless::{decode_frame, verify_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { frame_bytes: 1 << 22 };
    if let Ok(frame) = decode_frame(bytes, limits) {
        assert!(frame.layout.bytes() <= limits.frame_bytes);
        assert_eq!(frame.pixels.len() as u64, frame.layout.bytes());
        assert_eq!(verify_frame(bytes, &frame.pixels, frame.layout, frame.precision), Ok(()));
    }
});
