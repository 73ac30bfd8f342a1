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

mod facts;
mod fragments;
pub mod frames;
pub mod subject;
mod values;
mod veto;

mod choose;
pub mod coding;
mod expect;
mod grey;
pub mod ladder;
pub mod plan;
pub mod written;

mod convert;
mod encode;
mod foreign;
mod palette;
mod picture;

pub mod attributes;
mod derivation;
pub mod identity;

mod assemble;
mod cache;
mod engine;
mod error;
mod inflated;
mod job;
mod made;
mod pipeline;
mod stream;

pub mod dataset;
pub mod isolated;

pub mod edits;
pub mod source;
pub mod want;

pub use attributes::{AttributeError, Outcome};
pub use frames::{FrameError, FrameMap};
pub use plan::{Accepts, Grey, Pixels, Plan, Recipe, called, plan};
pub use subject::{Content, Image, Loss, Photometric, Sign, Soundness, Subject, SubjectError, Veto};

pub use cache::{Claimed, PIECE};
pub use encode::Compare;
pub use engine::{Engine, Settings};
pub use error::TranscodeError;
pub use made::{FirstColour, Made, Reader};

pub use dataset::{Element, Outline, OutlineError};
pub use edits::{Change, Edits};
pub use expect::{Expectation, Receiver, expect};
pub use source::Source;
pub use want::{Compression, LossySource, LossyUid, Monochrome, Quality, Target};
pub use written::Written;

#[cfg(test)]
mod attribute_tests;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod subject_tests;
