//! A crash-safe disk queue: opaque blobs in, each owed to many destinations.
//!
//! ```text
//!  stage ─► write ─► commit ─► [ spool file ]──────────────► open_blob ─► verify ─► read
//!                      │             │                            ▲
//!                      ▼             ▼                            │
//!                   (answer)     [ keeper ] ◄── lease ◄── finish ─┘
//!                                    │
//!                     journals (truth)  index (a view)
//! ```
//!
//! [`Staged::commit`] returns `Ok` when the blob, and to whom it is owed, survive a power cut. From then on it is
//! delivered to each of its destinations, or visibly owed or held, until a person decides otherwise.
//!
//! - **The truth is the spool files plus the journals.** The index is filled from them at every start and whenever it
//!   fails.
//! - **A failed sync poisons** ([`Admission::Poisoned`]): it is never tried again. A full disk does not.
//! - **Payloads are opaque.** What surrounds them in a spool file (head and tail) is given by the user, so that the
//!   file can be a valid file of the user's format.
//!
//! What this crate does not do: encrypt, replicate, or order deliveries of different keys against each other.

mod boot;
mod clock;
pub mod fs;
mod id;
mod instance;
mod journal;
mod keeper;
mod ledger;
mod platform;
mod poison;
mod queue;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod spool;
mod view;
mod wire;
mod worker;

pub use clock::{Clock, SystemClock};
pub use id::{NotASequence, Sequence};
pub use instance::{
    BY_RULE, Delivery, Glimpse, Hold, HoldKind, Instance, Keys, NO_ROUTE, Owed, Start, State,
};
pub use keeper::{
    Action, CommandError, DestinationStats, Filter, History, LeaseRequest, OpenError, Outcome, Page,
    Recovered, Row, Select, Shown, Standing, Stats, Unavailable,
};
pub use ledger::{BY_ITSELF, Decision, LedgerDamage, LedgerEntry, LedgerError, LedgerSpan};
pub use poison::{Poisoned, Scope};
pub use queue::{Admission, Lease, Leased, Observer, Options, Queue};
pub use spool::{Blob, BlobError, CHUNK, Checked, Checking, CommitError, Meta, StageError, Staged};
pub use view::{Tally, Totals};
