//! The tunnel: one connection that a *link* in a hospital makes out to a *gateway*, and everything that goes over it.
//!
//! docs/TUNNEL.md has the protocol byte for byte.

pub mod code;
pub mod connection;
pub mod dial;
pub mod echo;
pub(crate) mod endpoints;
pub mod failures;
pub mod gateway;
pub mod link;
pub mod mux;
pub(crate) mod push;
pub mod remote;
pub mod session;
pub mod sites;
pub mod socket;
pub mod upload;
pub mod wire;

pub use gateway::{Gateway, SessionInfo};
pub use link::Link;
pub use remote::Remote;
pub use sites::{SiteName, Sites};

/// The WebSocket subprotocol (RFC 6455 1.9) of the tunnel.
pub const SUBPROTOCOL: &str = "chrysalis-tunnel";
