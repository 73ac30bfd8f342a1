#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! JPEG with the discrete cosine transform, ISO/IEC 10918-1: baseline (Process 1) and extended (Processes 2 and 4).
//!
//! The encoder writes baseline only. Colour becomes YCbCr with 2x1 sampling, which is what DICOM calls YBR_FULL_422
//! (PS3.5 8.2.1); grey becomes one component.

mod decode;
mod encode;
mod error;

pub use decode::decode_frame;
pub use encode::{Colour, Quality, encode_frame};
pub use error::{DecodeError, EncodeError};
