//! HTTP for administrators and for Prometheus.
//!
//! Reading is free on loopback; changing something needs a right: the token of a file that only its owner can read, a
//! `Host` that is ours and, where a browser sends one, an `Origin` that is. Any web page can post to loopback.

mod api;
mod guard;
mod server;
mod token;

pub use api::{AdminState, fsck};
pub(crate) use api::{list_json, show_json};
pub use server::Server;
pub use token::{Token, TokenError};
