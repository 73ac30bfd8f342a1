//! What is known of an instance that is stored already: how it came from its envelope, attributes from its own file.

use std::io;

use chrysalis_queue::{BlobError, Instance, Queue};

use super::facts::{Facts, Header};
use crate::dicom::stored::walk_whole;
use crate::dicom::{AeTitle, Attributes, Tag, TransferSyntax, Uid};
use crate::receive::{Arrival, ArrivalError};

/// What is known of a stored instance, kept for as long as it is asked about.
#[derive(Debug)]
pub struct StoredFacts {
    arrival: Arrival,
    calling_ae: AeTitle,
    called_ae: AeTitle,
    sop_class: Uid,
    attributes: Attributes,
    header: Header,
}

/// Why the facts about an instance cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// How it came is unreadable.
    #[error(transparent)]
    Arrival(#[from] ArrivalError),
    /// Its file cannot be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Its file cannot be read.
    #[error("the spool file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The facts about a stored instance, with these attributes. Its file is opened only when there are any.
///
/// # Errors
/// [`FactsError`] when envelope or file cannot be read.
pub fn facts_of(queue: &Queue, instance: &Instance, tags: &[Tag]) -> Result<StoredFacts, FactsError> {
    let arrival = Arrival::of(instance)?;
    let transfer_syntax = TransferSyntax(Uid::new(&arrival.transfer_syntax));
    let (attributes, header) = if tags.is_empty() {
        (Attributes::default(), Header::Whole)
    } else {
        let blob = queue.open_blob(instance)?;
        let scan = walk_whole(|buffer, offset| blob.read_at(buffer, offset), &transfer_syntax, tags)?;
        let header = Header::of(&scan, tags);
        (scan.attributes, header)
    };
    Ok(StoredFacts {
        calling_ae: AeTitle::from_text(&arrival.calling_ae),
        called_ae: AeTitle::from_text(&arrival.called_ae),
        sop_class: Uid::new(&instance.keys.kind),
        attributes,
        header,
        arrival,
    })
}

impl StoredFacts {
    /// The facts, to ask rules about.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            listener: &self.arrival.listener,
            calling_ae: &self.calling_ae,
            called_ae: &self.called_ae,
            peer_addr: self.arrival.peer.ip(),
            site: self.arrival.site.as_deref(),
            sop_class: &self.sop_class,
            attributes: &self.attributes,
            header: self.header,
        }
    }
}
