//! JPEG Lossless, ISO 10918-1 Process 14 (Huffman), as PS3.5 A.4.2 and 8.2.1 use it.
//!
//! Encoding is a line of stages, each in its file; decoding goes back through the same ones:
//!
//! ```text
//! pixels -> plane rows -> differences to the left -> categories -> codes -> bits -> stuffed bytes -> segments
//!           samples.rs    predict.rs                huffman.rs   pack.rs   stuffing.rs             header.rs
//! ```
//!
//! What is written: Selection Value 1, no point transform, no restarts, one interleaved scan with components 1, 2, 3, one Huffman
//! table for all of them, no application segments. What is read: all seven predictors, point transforms, restart intervals, a scan for all components or one
//! for each, 2 to 16 bits.
//!
//! A table for each component would make ultrasound in RGB smaller by nothing to 0.7 %. One for all lets the decoder take several
//! samples at a time, whatever component they are of, and that is worth more.

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
