//! Workload arithmetic and synthetic ultrasound. Pure: no clock, no files, no network.
//!
//! * [`Scene`] draws B-mode images and loops that behave like the real thing under compression and in colour analysis, the
//!   same ones for the same seed. It makes pixels only; wrapping them in DICOM is the caller's affair.
//! * [`Picture`] is a whole screen: organs through different probes, flow in colour, strips over time, marks and texts.
//! * [`Mix`] is the assumed mix of studies a site produces, and what one study weighs in each encoding; [`Arrivals`] is when
//!   they come, and [`Work`] what each is to a node.
//! * [`Site`] is what a site asks of a node: its methods say what it needs, and what a [`Host`] can do. What work costs is
//!   [`Measured`].
//! * [`Profile`] is a machine of the sizing table, and what a node sets itself to on it.

mod capacity;
mod measured;
mod mix;
mod picture;
mod profile;
mod scene;
mod speckle;
mod work;
mod workload;

pub use capacity::{
    CORES_SHARE, CapacityError, JOURNAL_BYTES, Keeping, MEMORY_SHARE, MOST_OUTAGE_HOURS,
    MOST_STUDIES_PER_HOUR, SPOOL_BYTES, Site,
};
pub use measured::{Measured, Run, RunError};
pub use mix::{Encoding, Mix, MixError, REFERENCE, StudyKind, UnknownEncoding};
pub use picture::{Picture, PicturePainter, Region, RegionKind, View};
pub use profile::{Host, PROFILES, Profile, Resource, Settings, Shortfall};
pub use scene::{Colour, Painter, Scene};
pub use work::{Conversion, Target, UnknownTarget, Work};
pub use workload::{Arrivals, BUSY_SECONDS, PERIODS, most_of, peak_factor};
