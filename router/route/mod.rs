//! Which destinations an instance is owed to: a pure function of what is known about it and of the
//! configuration.
//!
//! ```text
//! no rule configured        -> every destination
//! one or more rules match   -> their union, in the order of the configuration, each destination once
//! no rule matches           -> none: the caller keeps it, held, under the reserved destination `none`
//! ```
//!
//! The decision is made before the commit and written with the instance, so that it survives whatever happens to
//! the index. It is made from facts alone: no clock, no state, no look at a destination's health.

mod decide;

pub use decide::{By, Decision, Facts, Routes};
