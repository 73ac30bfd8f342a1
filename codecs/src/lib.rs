//! Pixel codecs for DICOM frames.
//!
//! Everything here works on one frame at a time and knows pixels, not DICOM data sets: fragments are joined, and attributes
//! are read, by the caller. Bytes are never trusted; every error says what is wrong and where.
//!
//! * [`FrameLayout`] is how the samples of a native frame lie in memory, and [`Frame`] a decoded one.
//! * [`colour`] converts between colour spaces and orders of samples.
//! * [`grey`] finds the first pixel that is not grey.
//! * [`palette`] gives palette indices their colours.
//! * [`jpeg`] is JPEG with the discrete cosine transform: baseline and extended.
//! * `jpeg2000`, `jpeg_ls` and `jpeg_xl` decode what their names say, behind the features `jpeg2000`, `jpeg-ls`, `jpeg-xl`.
//! * [`jpeg_lossless`] is JPEG Lossless (ISO 10918-1 Process 14).
//! * [`rle`] is RLE Lossless (PS3.5 Annex G).

pub mod colour;
mod frame;
pub mod grey;
pub mod jpeg;
#[cfg(feature = "jpeg2000")]
pub mod jpeg2000;
pub mod jpeg_lossless;
#[cfg(feature = "jpeg-ls")]
pub mod jpeg_ls;
#[cfg(feature = "jpeg-xl")]
pub mod jpeg_xl;
mod layout;
pub mod palette;
pub mod rle;

pub use frame::{Frame, Marking};
pub use layout::{Depth, FrameLayout, Limits, Order, Samples};
