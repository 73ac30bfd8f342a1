//! The vocabulary of DICOM that the router speaks: titles, UIDs, transfer syntaxes, statuses, the running walk over a data
//! set, and the Part 10 file head. No sockets, no queue; everything here is a pure function of bytes.

pub mod ae_title;
pub mod attributes;
pub mod keyword;
pub mod part10;
pub mod pattern;
pub mod scan;
pub mod status;
pub mod stored;
mod text;
pub mod transfer_syntax;
pub mod uid;
pub mod walk;

pub use ae_title::{AePattern, AeTitle};
pub use attributes::{Attribute, Attributes, ExtraTags};
pub use dicom_core::Tag;
pub use pattern::Pattern;
pub use scan::{Scan, Scanner, Structure};
pub use status::Status;
pub use transfer_syntax::{Encoding, TransferSyntax};
pub use uid::Uid;
