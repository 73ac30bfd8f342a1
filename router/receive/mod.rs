//! Stage 1: who calls, is there room, bytes to the queue, then the answer.
//!
//! ```text
//! listener ── accept ──► proxy_header ──► gate ──► session ── C-STORE ──► store ──► queue
//!                     (from a trusted proxy)  (limits)  (one association)   (one instance)
//! ```

mod arrival;
mod gate;
mod listener;
mod ports;
pub mod proxy_header;
mod session;
mod store;

pub use arrival::{Arrival, ArrivalError};
pub use gate::{Entry, Gate, Nameless, Pass};
pub use listener::Reception;
pub use ports::{BindError, Bound, Ports};
pub(crate) use session::room;
#[doc(hidden)]
pub use session::serve_stream;
pub(crate) use store::{Announced, Arriving, Fate, Received};
