//! HTTP for administrators and for Prometheus.
//!
//! Reading is free on loopback; changing something needs a right: the token of a file that only its owner can read, a
//! `Host` that is ours and, where a browser sends one, an `Origin` that is. Any web page can post to loopback.

mod api;
mod control;
mod guard;
mod server;
mod token;
mod view;

pub use api::{AdminState, fsck};
pub use server::Server;
pub use token::{Token, TokenError};
pub(crate) use view::{list_json, show_json};
