//! The Upper Layer (PS3.8) and DIMSE (PS3.7): pure cores, and one async driver over any byte stream.
//!
//! ```text
//! socket ── connection ──┬── association   the state machine, PS3.8 9.2
//!            (the only   ├── pdu           association PDUs, read and written
//!             I/O here)  ├── pdata         the PDV framer
//!                        ├── negotiate     what is proposed against what we take
//!                        └── command       command sets
//! acceptor, requestor    the two roles, on top of connection
//! ```
//!
//! Invariant: no file here but `connection`, `acceptor`, `requestor`, `socket` and `outbound` awaits anything, and none spawns a task.

pub mod acceptor;
pub mod association;
pub mod command;
pub mod connection;
pub mod negotiate;
pub mod outbound;
pub mod pdata;
pub mod pdu;
pub mod peer;
pub mod requestor;
pub mod socket;

pub use acceptor::{AcceptError, Acceptor, Association, Incoming};
pub use connection::{LinkError, Timers, Transport};
pub use negotiate::{Admission, NegotiatedContext, Policy};
pub use outbound::{DialError, Outbound, dial};
pub use pdu::Abort;
pub use peer::PeerAddress;
pub use requestor::{DataSource, OpenError, Proposal, Requestor, StoreError, StoreRequest, StoreResponse};
