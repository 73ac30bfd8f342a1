//! Through the tunnel: an upload over the link's session, gone on with over the next one when it breaks.

use std::io;
use std::time::Duration;

use chrysalis_queue::{BlobError, Checked, History, Queue};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::carrier::{Association, Attempted, Item, unreadable};
use super::outgoing::{Outgoing, PieceError, TailSource, copy_error};
use super::prepare::{Preparer, Unprepared};
use super::verdict::End;
use crate::dicom::Status;
use crate::transcode::Accepts;
use crate::tunnel::Link;
use crate::tunnel::upload::{Offer, Offering, SendError, Sent, send};

/// Breaks in a row that carry nothing, after which the attempt is over.
const IDLE_BREAKS: u32 = 3;

pub(super) struct TunnelCarrier {
    link: Link,
    queue: Queue,
    preparer: Preparer,
    /// How long a session may take to open, and how long the gateway may say nothing.
    connect: Duration,
    patience: Duration,
}

/// Why there is nothing to offer.
enum Unready {
    Spool(BlobError),
    Unprepared(Unprepared),
    Copy(io::Error),
}

/// A data set that is ready to leave, with its hash.
#[derive(Clone)]
struct Ready {
    offer: Offer,
    outgoing: Outgoing,
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

impl TunnelCarrier {
    pub(super) fn new(
        link: Link,
        queue: Queue,
        preparer: Preparer,
        connect: Duration,
        patience: Duration,
    ) -> Self {
        Self { link, queue, preparer, connect, patience }
    }

    pub(super) async fn attempt(&mut self, item: &Item) -> Attempted {
        // Nothing is read, decoded or hashed for a gateway that is not there.
        if let Err(why) = self.link.session(self.connect).await {
            return Attempted::before(End::Unreachable(why));
        }
        let (queue, preparer, owned) = (self.queue.clone(), self.preparer.clone(), item.clone());
        let making = tokio::task::spawn_blocking(move || ready(&queue, &preparer, &owned));
        match making.await {
            Ok(Ok(ready)) => {
                self.preparer.count(item, &ready.outgoing);
                self.carry(ready).await
            }
            Ok(Err(Unready::Spool(error))) => Attempted::before(unreadable(&error)),
            Ok(Err(Unready::Unprepared(unprepared))) => Attempted::before(unprepared.end()),
            Ok(Err(Unready::Copy(error))) => Attempted::before(End::Unreachable(error.to_string())),
            Err(error) => Attempted::before(End::Unreachable(error.to_string())),
        }
    }

    /// Over as many sessions as it takes, as long as each carries something.
    async fn carry(&self, ready: Ready) -> Attempted {
        let (mut idle, mut was_sent) = (0, false);
        loop {
            let connection = match self.link.session(self.connect).await {
                Ok(connection) => connection,
                Err(why) => return unreachable(why, was_sent),
            };
            match Box::pin(send(&connection, &ready, self.patience)).await {
                Ok(sent) => return arrived(sent, &ready),
                Err(SendError::Broken { carried }) => {
                    was_sent |= carried > 0;
                    idle = if carried > 0 { 0 } else { idle + 1 };
                    if idle >= IDLE_BREAKS {
                        return unreachable("the tunnel breaks whenever this is sent".to_owned(), was_sent);
                    }
                    // So that the link notices before it is asked again.
                    let _ = timeout(self.connect, connection.ended()).await;
                }
                Err(error @ SendError::NoStream) => return unreachable(error.to_string(), was_sent),
                Err(SendError::Source(error)) => return unreadable_source(&error),
                Err(error @ (SendError::Silence(_) | SendError::Untrue(_))) => {
                    return unreachable(error.to_string(), true);
                }
            }
        }
    }
}

fn unreachable(why: String, was_sent: bool) -> Attempted {
    if was_sent {
        Attempted::sent(End::Unreachable(why), 0)
    } else {
        Attempted::before(End::Unreachable(why))
    }
}

fn unreadable_source(error: &io::Error) -> Attempted {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>()) {
        Some(spool) => Attempted::before(unreadable(spool)),
        // A copy: it is made again, or the original is sent.
        None => Attempted::before(End::Unreachable(error.to_string())),
    }
}

fn arrived(sent: Sent, ready: &Ready) -> Attempted {
    let response = |status, comment, note: Option<&str>| {
        let notes: Vec<_> = ready.outgoing.note().into_iter().chain(note).collect();
        let sent = (!notes.is_empty()).then(|| notes.join(", "));
        End::Response { status, comment, history: History::default(), sent }
    };
    let length = ready.offer.length;
    match sent {
        Sent::Stored => Attempted::sent(response(Status::SUCCESS, String::new(), None), length),
        Sent::Had => Attempted::sent(response(Status::SUCCESS, String::new(), Some("was there already")), 0),
        Sent::Refused { status, comment } => Attempted::sent(response(status, comment, None), length),
        Sent::OtherBytes => Attempted {
            end: End::Aborted { what: "other bytes arrived than were sent".to_owned(), times: 0 },
            was_sent: true,
            broke: Some(Association::New),
            bytes: length,
        },
    }
}

/// What is sent of an instance, and its hash.
fn ready(queue: &Queue, preparer: &Preparer, item: &Item) -> Result<Ready, Unready> {
    let blob = queue.open_blob(&item.instance).map_err(Unready::Spool)?;
    let checked = Checked::new(blob).map_err(Unready::Spool)?;
    let everything = Accepts::Anything;
    let wanted = preparer.prepare(item, checked.clone(), &everything).map_err(Unready::Unprepared)?;
    match hash(&wanted, item) {
        Ok(sha256) => Ok(Ready { offer: offer(item, &wanted, sha256), outgoing: wanted }),
        Err(PieceError::Spool(error)) => Err(Unready::Spool(error)),
        Err(PieceError::Copy(error)) => match copy_error(&error) {
            Some(why) => {
                let original = preparer.failed(item, checked, &everything, why.clone());
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
        calling: item.calling.clone(),
        called: item.called.clone(),
        length: outgoing.len(),
        sha256,
    }
}
