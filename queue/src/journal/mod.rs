//! The journal: outcomes and decisions, one append-only file per bucket and boot.
//!
//! A file begins with a header, then frames follow. Frames are written in batches: batch n+1 only after n's sync, so
//! a bad frame in the last batch is a torn tail that nobody was told of, and one before a later batch is damage.
//! Together with the spool files the journals are the truth; the index is a view of them.

pub(crate) mod marks;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod writer;

pub(crate) use marks::{Mark, Marks};
pub(crate) use reader::{Ending, Journal};
pub(crate) use record::Record;
pub(crate) use writer::Journals;
