//! Workload arithmetic and synthetic ultrasound.
//!
//! * [`Scene`] draws B-mode images and loops that behave like the real thing under compression and in colour analysis, the
//!   same ones for the same seed. It makes pixels only; wrapping them in DICOM is the caller's affair.
//! * [`Picture`] is a whole screen: organs through different probes, flow in colour, strips over time, marks and texts.
//! * [`Mix`] is the assumed mix of studies a site produces, and what one study weighs in each encoding.

mod mix;
mod picture;
mod scene;
mod speckle;

pub use mix::{Encoding, Mix, REFERENCE, StudyKind};
pub use picture::{Picture, PicturePainter, Region, RegionKind, View};
pub use scene::{Colour, Painter, Scene};
