//! Stage 5: per destination, due deliveries become attempts, and an attempt's end becomes a verdict.
//!
//! ```text
//! queue ── lease ──► dispatcher ──► carrier (dicom | folder | dicomweb | tunnel | site) ──► end
//!   ▲                    │              └ prepare: as it is, or a copy
//!   └──── outcome ── circuit ◄──────────── verdict ◄──────────────┘
//! ```
//!
//! Each destination has its own dispatcher, circuit and back-off: a dead one never delays a live one.

mod board;
mod carrier;
mod circuit;
mod dicom;
mod dicomweb;
mod dispatcher;
mod files;
mod fleet;
mod folder;
mod outgoing;
mod prepare;
mod ready;
mod secure;
mod site;
mod stored;
mod studies;
mod tunnel;
mod verdict;

pub use board::{Board, Notice};
pub use circuit::{Circuit, Health, Permission, Settlement};
pub(crate) use dicomweb::authorization;
pub use dispatcher::Dispatcher;
pub use files::{FilesError, look};
pub use fleet::{Fleet, Generation};
pub(crate) use folder::component;
pub use folder::sweep_leftovers;
pub use verdict::{End, Verdict, Why, judge, without_comment};
