//! An instance from the link to the gateway.
//!
//! ```text
//!  link                                  gateway
//!   OPEN upload: number, offer ───────►  committed before?   ── have ──►  (nothing is sent)
//!                                        the same bytes from before? committed anew ── have ──►
//!                                        some of it there?
//!   ◄───────────────── resume at offset
//!   bytes, bytes, ... , END ──────────►  walked and staged as they come
//!                                        hash over all of it, routed, committed
//!   ◄───────── stored | refused | other bytes
//! ```
//!
//! *Stored* is said only after the gateway's queue has made it durable, *have* only after the bytes were read again and
//! compared. What came before the connection was cut is kept for a while, so that the next offer goes on from there.
//!
//! Only an upload's own number says that it was committed before. The same bytes under another number are an instance that
//! somebody sent again, perhaps to another AE title, or after its delivery: it is committed and routed like any other, and
//! only its way here is spared.

mod message;
mod number;
mod receive;
mod send;
mod shelf;

pub use message::{Answer, Number, Offer, Upload};
pub(crate) use number::Numbers;
pub use receive::Partials;
pub(crate) use receive::{From, Receiver};
pub(crate) use send::{Offering, SendError, Sent, carry, send};
pub use shelf::{Busy, Limits, Shelf};
