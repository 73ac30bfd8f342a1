//! Certificates for administrators: made, shown, put into PKCS #12, and looked at in a peer.
//!
//! What [`generate`] makes is of the form that [`crate::tls`] accepts under `verify = "ca"`: X.509 v3, with alternative names,
//! a leaf that is no authority, and key usages for what it is for.

pub mod check;
pub mod generate;
pub mod pfx;
pub mod show;

mod hello;
