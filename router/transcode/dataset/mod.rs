//! A stored data set, element by element: read without recursion and within bounds, changed at its top level, and written
//! again as another destination wants it.
//!
//! ```text
//!  source ──► window ──► reader ──► outline            top-level elements and where they are
//!                          │           │
//!                          │           ▼
//!                          │     steps of a write      keep, set, take away
//!                          │        │      │
//!                          └► recode ◄┘      └► splice  Explicit VR Little Endian as it is: bytes copied
//! ```
//!
//! Explicit VR Little Endian that stays what it is is *spliced*: what is not edited is copied byte for byte. All else is
//! *recoded*, element by element, with the dictionary. Neither holds a value in memory, and both write the same bytes each
//! time, so that a length can be counted first. A deflated data set is inflated first.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod coding;
mod reader;
mod vr;
mod window;

mod outline;

mod recode;
mod sink;
mod splice;
mod steps;
mod write;

mod inflate;

#[cfg(test)]
pub(super) mod sample;

pub use inflate::{InflateError, inflate};
pub use outline::{Element, Outline, OutlineError};
pub use reader::ReadError;
pub use write::{WriteError, write_head, write_tail, write_whole};
