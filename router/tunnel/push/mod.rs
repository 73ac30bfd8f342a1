//! An instance from the gateway, through the link, to a PACS behind it; docs/TUNNEL.md has it byte for byte.
//!
//! ```text
//!  gateway                                      link                                PACS
//!   OPEN push: endpoint, syntaxes, offer ──►  is it one of my endpoints?
//!                                             an association, as my own settings say ──►
//!   ◄── send | it takes other syntaxes | no association
//!   bytes, bytes, ... , END ──────────────►  as they come ─────────────── C-STORE ──►
//!                                             the last ones when the hash is right ──►
//!   ◄── its status  ◄───────────────────────────────────────────────────────────────
//! ```
//!
//! The link keeps nothing: what it has of an instance is a piece in memory. The gateway keeps the delivery until the PACS's own
//! status has come.

mod associations;
mod message;
mod send;
mod serve;
mod source;

pub(crate) use message::{Answer, Order};
pub(crate) use send::{Patience, PushError, push};
pub(crate) use serve::Pushes;
