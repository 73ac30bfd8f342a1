//! A site's configuration, held by its gateway.
//!
//! ```text
//!  gateway: site config set ──► held ──► offered to the link ──► what it reports is kept beside it
//!  link:    judged ──► on probation, in force ──► the gateway still answers ──► good
//!                                             └─► it does not ──► the last good one is in force again
//! ```
//!
//! At the link, what came is laid over its own file, which nothing here ever writes. [`state`] says what follows from what;
//! [`Remote`] does it.

mod held;
mod keeper;
mod message;
mod offer;
pub mod state;
mod store;

pub use held::{Held, HeldError, Holdings, Standing, Stood};
pub(super) use keeper::take;
pub use keeper::{Keeper, Remote, Seen};
pub use message::{Announcement, Reply};
pub(super) use offer::{Offering, hold};
pub use state::{Candidate, Event, Kept, Outcome, Report, Then};
pub use store::StoreError;
