//! Stage 1: who calls, is there room, bytes to the queue, then the answer.
//!
//! ```text
//! listener ── accept ──► gate ──► session ── C-STORE ──► store ──► queue
//!                       (limits)  (one association)   (one instance)
//! ```

mod arrival;
mod gate;
mod listener;
mod ports;
mod session;
mod store;

pub use arrival::{Arrival, ArrivalError};
pub use gate::{Entry, Gate, Pass};
pub use listener::Reception;
pub use ports::{BindError, Bound, Ports};
pub(crate) use session::room;
pub(crate) use store::{Announced, Arriving, Fate, Received};
