//! TLS for what has none, and plain for what has TLS: connections handed on byte for byte, to a worklist or any other service
//! over TCP, without looking into them and without keeping anything.
//!
//! ```text
//! caller ── accept ──► proxy header ──► TLS? ──► limits ══ bytes both ways ══ TLS? ◄── connect ── service
//!              (port)                                     (pass)
//! ```
//!
//! A side that has said its last word (FIN, and close_notify over TLS) is passed on as such, and the other goes on until it
//! has; what breaks breaks both. Memory for a connection is a buffer each way.

mod pass;
mod port;
mod ports;

pub use ports::{Bound, Relays};
