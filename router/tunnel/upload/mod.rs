//! An instance from the link to the gateway.
//!
//! ```text
//!  link                                  gateway
//!   OPEN upload: offer ───────────────►  known and durable?  ── have ──►  (nothing is sent)
//!                                        some of it there?
//!   ◄───────────────── resume at offset
//!   bytes, bytes, ... , END ──────────►  walked and staged as they come
//!                                        hash over all of it, routed, committed
//!   ◄───────── stored | refused | other bytes
//! ```
//!
//! *Stored* is said only after the gateway's queue has made it durable, *have* only after the bytes were read again and
//! compared. What came before the connection was cut is kept for a while, so that the next offer goes on from there.

mod message;
mod receive;
mod send;
mod shelf;

pub use message::{Answer, Offer};
pub use receive::Partials;
pub(crate) use receive::{From, Receiver};
pub(crate) use send::{Offering, SendError, Sent, carry, send};
pub use shelf::{Busy, Limits, Shelf};
