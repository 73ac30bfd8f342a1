//! The world outside the router, for tests: a modality that sends, an archive that logs, strangers, a node that runs the
//! real binary, a proxy that breaks connections.
//!
//! It is the oracle, so it shares no code with the router: the few lines of DICOM networking it needs are its own, in
//! [`wire`]. Only [`backlog`] uses the queue and the router, to set something up and not to judge. Synthetic pixels come from the sizing crate and RLE from the codecs crate, which know nothing of DICOM.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unreachable_pub, reason = "a module of test binaries, with no public interface to narrow")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

pub mod archive;
pub mod backlog;
pub mod certificates;
pub mod deliveries;
pub mod faults;
pub mod hostile;
pub mod http;
pub mod instance;
pub mod ledger;
pub mod modality;
pub mod node;
pub mod ports;
pub mod process;
pub mod rounds;
pub mod strangers;
pub mod wait;
pub mod web;
pub mod wire;
