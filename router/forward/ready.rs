//! A data set that is ready to be offered: what is sent of an instance, and its hash.

use std::io;

use chrysalis_queue::{BlobError, Checked, Queue};
use sha2::{Digest, Sha256};

use super::carrier::{Attempted, Item, unreadable};
use super::outgoing::{Outgoing, PieceError, TailSource, copy_error};
use super::prepare::{Preparer, Unprepared};
use super::verdict::End;
use crate::dicom::AeTitle;
use crate::transcode::Accepts;
use crate::tunnel::upload::{Offer, Offering};
use crate::tunnel::wire::is_text;

/// A data set that is ready to leave, with its hash.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) offer: Offer,
    pub(super) outgoing: Outgoing,
}

/// Why there is nothing to offer.
pub(super) enum Unready {
    Spool(BlobError),
    Unprepared(Unprepared),
    Copy(io::Error),
}

impl Ready {
    /// What is sent of an instance to somebody who takes `accepts`. Reads, decodes and encodes: on a blocking thread.
    pub(super) async fn of(
        queue: &Queue,
        preparer: &Preparer,
        item: &Item,
        accepts: Accepts,
    ) -> Result<Self, Attempted> {
        // Carts send what no UID should be. Said in the tunnel it would be taken for a mistake of this program's.
        let uids = [&item.sop_class, &item.sop_instance, &item.transfer_syntax.0];
        if uids.into_iter().any(|uid| uid.is_empty() || !is_text(uid.as_str())) {
            let why = "one of its UIDs is empty, too long, or has control characters in it".to_owned();
            return Err(Attempted::before(End::Unfit(why)));
        }
        let (queue, preparer, item) = (queue.clone(), preparer.clone(), item.clone());
        let making = tokio::task::spawn_blocking(move || ready(&queue, &preparer, &item, &accepts));
        match making.await {
            Ok(made) => made.map_err(Unready::attempted),
            Err(error) => Err(Attempted::before(End::Unreachable(error.to_string()))),
        }
    }
}

impl Unready {
    fn attempted(self) -> Attempted {
        Attempted::before(match self {
            Self::Spool(error) => unreadable(&error),
            Self::Unprepared(unprepared) => unprepared.end(),
            Self::Copy(error) => End::Unreachable(error.to_string()),
        })
    }
}

impl Offering for Ready {
    type Source = TailSource;

    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn from(&self, offset: u64) -> TailSource {
        TailSource::new(&self.outgoing, offset)
    }
}

/// What it means that the bytes could not be read while they were sent.
pub(super) fn unreadable_source(error: &io::Error) -> Attempted {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>()) {
        Some(spool) => Attempted::before(unreadable(spool)),
        // A copy: it is made again, or the original is sent.
        None => Attempted::before(End::Unreachable(error.to_string())),
    }
}

fn ready(queue: &Queue, preparer: &Preparer, item: &Item, accepts: &Accepts) -> Result<Ready, Unready> {
    let blob = queue.open_blob(&item.instance).map_err(Unready::Spool)?;
    // Whoever is offered the hash keeps nothing that has another one, and nothing without an end.
    if preparer.takes_as_it_is(item, accepts) {
        let outgoing = Outgoing::unread(item, blob);
        return Ok(Ready { offer: offer(item, &outgoing, *item.instance.sha256()), outgoing });
    }
    let checked = Checked::new(blob).map_err(Unready::Spool)?;
    let wanted = preparer.prepare(item, checked.clone(), accepts).map_err(Unready::Unprepared)?;
    match hash(&wanted, item) {
        Ok(sha256) => Ok(Ready { offer: offer(item, &wanted, sha256), outgoing: wanted }),
        Err(PieceError::Spool(error)) => Err(Unready::Spool(error)),
        Err(PieceError::Copy(error)) => match copy_error(&error) {
            Some(why) => {
                let original = preparer.failed(item, checked, accepts, why.clone());
                let original = original.map_err(Unready::Unprepared)?;
                let offer = offer(item, &original, *item.instance.sha256());
                Ok(Ready { offer, outgoing: original })
            }
            None => Err(Unready::Copy(error)),
        },
    }
}

/// A copy is read once for its hash; the original was compared with its own.
fn hash(outgoing: &Outgoing, item: &Item) -> Result<[u8; 32], PieceError> {
    if outgoing.as_original().is_some() {
        return Ok(*item.instance.sha256());
    }
    let (mut pieces, mut piece, mut hasher) = (outgoing.pieces(), Vec::new(), Sha256::new());
    loop {
        pieces.next(&mut piece)?;
        if piece.is_empty() {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&piece);
    }
}

fn offer(item: &Item, outgoing: &Outgoing, sha256: [u8; 32]) -> Offer {
    Offer {
        sop_class: item.sop_class.clone(),
        sop_instance: outgoing.sop_instance.clone(),
        transfer_syntax: outgoing.syntax.clone(),
        calling: as_text(&item.calling),
        called: as_text(&item.called),
        length: outgoing.len(),
        sha256,
    }
}

/// A title with control characters, which carts do send, is said with these escaped.
fn as_text(title: &AeTitle) -> AeTitle {
    if is_text(title.as_str()) { title.clone() } else { AeTitle::from_text(&title.to_string()) }
}
