//! A load test: carts that send test patients' studies at a rate, a PACS that takes what comes, and an account of every
//! instance by hash.
//!
//! ```text
//!  plan ──► carts ── C-STORE ──► node under load ── C-STORE ──► sinks (the PACS)
//!             │                 own, or external                  │
//!             └───────────────► account ◄─────────────────────────┘
//!                                  │        watch: what the node uses, once a second
//!                                  ▼
//!                               report
//! ```
//!
//! Invariant: the node is seen only from outside: by its port, its HTTP side and `/proc`.

pub mod report;

pub mod outage;
pub mod plan;

mod account;
mod bucket;
mod carts;
mod copies;
mod find_max;
mod latency;
mod live;
mod machine;
pub mod node;
mod proc;
pub mod run;
mod search;
mod sinks;
mod slope;
mod stage;
pub mod target;
mod watch;

pub use node::{Limits, NodeError, Setup};
pub use outage::{Downtime, DowntimeError};
pub use plan::{Asked, Extent, Plan, PlanError, Route};
pub use run::{Ended, RunError, Settings, Target, run};
pub use target::{Known, TargetError};
