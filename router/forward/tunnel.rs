//! Through the tunnel: an upload over the link's session, gone on with over the next one when it breaks.

use std::time::Duration;

use chrysalis_queue::{History, Queue, Sequence};
use tokio::time::timeout;

use super::carrier::{Association, Attempted, Item};
use super::prepare::Preparer;
use super::ready::{Ready, unreadable_source};
use super::verdict::End;
use crate::dicom::Status;
use crate::transcode::Accepts;
use crate::tunnel::Link;
use crate::tunnel::link::Trouble;
use crate::tunnel::upload::{SendError, Sent, send};

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
        if let Err(trouble) = self.link.session(self.connect).await {
            return Attempted::before(no_tunnel(&trouble));
        }
        match Ready::of(&self.queue, &self.preparer, item, Accepts::Anything).await {
            Ok(ready) => {
                self.preparer.count(item, &ready.outgoing);
                self.carry(ready, item.instance.sequence).await
            }
            Err(attempted) => attempted,
        }
    }

    /// Over as many sessions as it takes, as long as each carries something.
    async fn carry(&self, ready: Ready, sequence: Sequence) -> Attempted {
        let (mut idle, mut was_sent) = (0, false);
        let number = match self.link.numbers().of(sequence) {
            Ok(number) => number,
            Err(error) => return unreachable(error.to_string(), was_sent),
        };
        loop {
            let connection = match self.link.session(self.connect).await {
                Ok(connection) => connection,
                Err(trouble) if was_sent => return Attempted::sent(no_tunnel(&trouble), 0),
                Err(trouble) => return Attempted::before(no_tunnel(&trouble)),
            };
            match Box::pin(send(&connection, number, &ready, self.patience)).await {
                Ok(sent) => {
                    self.link.numbers().settled(sequence);
                    return arrived(sent, &ready);
                }
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

/// What it means for the destination that its tunnel is not open.
pub(super) fn no_tunnel(trouble: &Trouble) -> End {
    let what = format!("tunnel: {}", trouble.why);
    if trouble.is_for_a_person { End::Insecure(what) } else { End::Unreachable(what) }
}

fn unreachable(why: String, was_sent: bool) -> Attempted {
    if was_sent {
        Attempted::sent(End::Unreachable(why), 0)
    } else {
        Attempted::before(End::Unreachable(why))
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
        Sent::Had => {
            Attempted::sent(response(Status::SUCCESS, String::new(), Some("its bytes were there already")), 0)
        }
        Sent::Refused { status, comment } => Attempted::sent(response(status, comment, None), length),
        Sent::OtherBytes => Attempted {
            end: End::Aborted { what: "other bytes arrived than were sent".to_owned(), times: 0 },
            was_sent: true,
            broke: Some(Association::New),
            bytes: length,
        },
    }
}
