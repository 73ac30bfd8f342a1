//! HTTP for administrators and for Prometheus.
//!
//! Reading is free on loopback; changing something, and reading what patients are called, needs a right: the token of a
//! file that only its owner can read, a `Host` that is ours and, where a browser sends one, an `Origin` that is. Any web
//! page can post to loopback.
//!
//! What is found and decided is found and decided here, a page at a time, whether a command, a page or a program asks:
//!
//! ```text
//! filter (as written -> as meant) -> search (queue, then data sets) -> listing, decide, export
//!                                                       journals ──► ledger
//! ```

mod api;
mod control;
mod csv;
mod damage;
mod decide;
mod decisions;
mod expected;
mod export;
mod filter;
mod forgotten;
mod fsck;
mod guard;
mod headers;
mod ledger;
mod listing;
mod moment;
mod order;
mod plan;
mod queries;
mod search;
mod server;
mod sites;
mod stream;
mod token;
mod view;

pub use api::AdminState;
pub use damage::{DamageWatch, Told};
pub use filter::{Asked, Filter, FilterError, STATES};
pub use fsck::fsck;
pub use headers::{Headers, Patient};
pub use ledger::{LedgerFormat, LedgerQuery, QueryError, TellError};
pub use moment::{Edge, NotAMoment};
pub use order::{Failure, Order, Outcome};

pub(crate) use expected::subject;
pub(crate) use export::Export;
pub(crate) use listing::{Reveal, deliveries, studies};
pub(crate) use moment::{parse as parse_moment, write as write_moment};
pub use search::{Found, Scope, SearchError};
pub use server::Server;
pub use token::{Token, TokenError};
pub(crate) use view::show_json;
