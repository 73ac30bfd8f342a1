//! The tunnel: one connection that a *link* in a hospital makes out to a *gateway*, and everything that goes over it.
//!
//! docs/TUNNEL.md has the protocol byte for byte.

pub mod code;
pub mod connection;
pub mod mux;
pub mod session;
pub mod socket;
pub mod wire;
