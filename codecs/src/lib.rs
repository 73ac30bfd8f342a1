//! Pixel codecs for DICOM frames.
//!
//! Everything here works on one frame at a time and knows pixels, not DICOM data sets: fragments are joined, and attributes
//! are read, by the caller. Bytes are never trusted; every error says what is wrong and where.
//!
//! * [`FrameLayout`] is how the samples of a native frame lie in memory, and [`Frame`] a decoded one.
//! * [`jpeg`] is JPEG with the discrete cosine transform: baseline, extended and progressive.
//! * [`jpeg_lossless`] is JPEG Lossless (ISO 10918-1 Process 14).
//! * [`rle`] is RLE Lossless (PS3.5 Annex G).

mod frame;
pub mod jpeg;
pub mod jpeg_lossless;
mod layout;
pub mod rle;

pub use frame::{Frame, Marking};
pub use layout::{Depth, FrameLayout, Limits, Order, Samples};
