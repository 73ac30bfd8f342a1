//! JPEG Lossless, ISO 10918-1 Process 14 (Huffman), as PS3.5 A.4.2 and 8.2.1 use it.
//!
//! Encoding is a line of stages, each in its file; decoding goes back through the same ones:
//!
//! ```text
//! pixels -> plane rows -> differences to the left -> categories -> codes -> bits -> stuffed bytes -> segments
//!           samples.rs    predict.rs                huffman.rs   pack.rs   stuffing.rs             header.rs
//! ```
//!
//! What is written: Selection Value 1, no point transform, no restarts, one interleaved scan with components 1, 2, 3, one Huffman table for all of them,
//! no application segments. What is read: all seven predictors, point transforms, restart intervals, one to three scans, 2 to
//! 16 bits. One table for all components costs under 0.1 % in size where every component is as rough as the others, and lets a
//! decoder take several samples at a time.

mod bits;
mod decode;
mod encode;
mod error;
mod header;
mod huffman;
mod lookup;
mod optimal;
mod pack;
mod predict;
mod samples;
mod scan;
mod stuffing;
mod tables;
mod verify;

pub use decode::decode_frame;
pub use encode::encode_frame;
pub use error::{DecodeError, EncodeError, VerifyError};
pub use tables::Tables;
pub use verify::verify_frame;
