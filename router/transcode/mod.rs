//! What a destination wants against what is stored: a plan, then frames, then codecs.
//!
//! ```text
//!  stored data set ──► subject ──► plan ──► PassThrough | Transcode(Recipe) | Hold
//!                     what it is   pure              │
//!                                                    ▼
//!             frames ──► picture ──► convert ──► encode ──► compare      one frame at a time, spread over the cores
//!                                                    │
//!             edits ───► dataset ──────────────► assemble ──► cache file, or a stream
//! ```
//!
//! The durable copy is always the original. What is made here can be made again at any time, with the same bytes: nothing
//! in it depends on a clock, on chance or on the order in which threads ran.

pub mod subject;

pub mod plan;

pub mod isolated;

pub mod edits;
pub mod source;
pub mod want;

pub use plan::{Accepts, Grey, Pixels, Plan, Recipe};
pub use subject::{Content, Image, Loss, Photometric, Sign, Subject, Veto};

pub use edits::{Change, Edits};
pub use source::Source;
pub use want::{Compression, LossySource, LossyUid, Monochrome, Quality, Target};
