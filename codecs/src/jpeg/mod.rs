#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! JPEG with the discrete cosine transform, ISO/IEC 10918-1: baseline (Process 1), extended (Processes 2 and 4) and
//! progressive.
//!
//! ```text
//! decode:  segments -> frame, tables -> bits, huffman, scan -> inverse (IDCT) -> upsample -> samples
//! encode:  samples (colour, 2x1) -> forward (FDCT, quantization) -> entropy, within stream
//! ```
//!
//! The decoder gives the very samples that libjpeg gives: its accurate integer transform and its triangle filter. The
//! encoder writes baseline only. Colour becomes YCbCr with 2x1 sampling, which is what DICOM calls YBR_FULL_422
//! (PS3.5 8.2.1); grey becomes one component.

mod bits;
mod decode;
mod encode;
mod entropy;
mod error;
mod forward;
mod header;
mod huffman;
mod inverse;
mod plane;
mod samples;
mod scan;
mod segments;
mod stream;
mod tables;
mod upsample;

pub use decode::decode_frame;
pub use encode::{Colour, Quality, encode_frame};
pub use error::{DecodeError, EncodeError};
