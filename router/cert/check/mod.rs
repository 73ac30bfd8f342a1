//! What a peer presents over TLS, which profile it meets, what would fail with which `verify`, and what mends it.
//!
//! The peer sees a handful of connections: one for each version, and one for each way of verifying it. Nothing is sent over
//! them but handshakes.

mod look;
mod report;

pub use look::{CheckError, Target, check};
pub use report::{Asks, Profile, Report, Taken, Verdict};
