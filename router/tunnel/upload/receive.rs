//! The gateway's side of an upload: the way of a C-STORE, and what was begun is kept for a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrysalis_queue::Queue;
use tokio::time::{Instant, timeout};

use super::message::{Answer, Offer};
use super::shelf::{Limits, Shelf};
use crate::dicom::Status;
use crate::dimse::negotiate::Admission;
use crate::receive::{Announced, Arrival, Arriving, Fate, Received, Reception, room};
use crate::tunnel::connection::{Broken, Stream};
use crate::tunnel::wire::Why;

/// What is the same upload, whatever the connection: site, SOP Instance UID, hash.
type Key = (String, String, [u8; 32]);

/// Uploads that were begun. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Receiver {
    shelf: Arc<Mutex<Shelf<Key, Arriving>>>,
    base: Instant,
}

/// What there is of uploads that were cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Partials {
    /// Uploads.
    pub count: usize,
    /// Bytes of them that are here.
    pub bytes: u64,
}

/// Whose link it is.
#[derive(Debug, Clone)]
pub(crate) struct From {
    pub(crate) site: String,
    pub(crate) peer: SocketAddr,
}

/// Why nothing more is to be said on a stream.
enum Gone {
    /// The connection; what came is kept.
    Connection,
    /// What the link sent makes no sense.
    Malformed(&'static str),
    /// The link says nothing; what came is kept.
    Silence,
}

impl Receiver {
    /// Nothing was begun.
    pub(crate) fn new() -> Self {
        Self { shelf: Arc::default(), base: Instant::now() }
    }

    /// Lets go of what has waited too long.
    pub(crate) fn expire(&self, age: Duration) {
        let gone = self.lock().expire(self.base.elapsed(), age);
        drop(gone);
    }

    /// Gives back what was uploaded in part by these sites: how much that was.
    pub(crate) fn give_back(&self, mut is_of: impl FnMut(&str) -> bool) -> Partials {
        let gone = self.lock().drain(|(site, ..)| is_of(site));
        Partials { count: gone.len(), bytes: gone.iter().map(Arriving::length).sum() }
    }

    /// What was cut and waits to be gone on with, by site.
    pub(crate) fn partials(&self) -> BTreeMap<String, Partials> {
        let mut partials = BTreeMap::<_, Partials>::new();
        for ((site, ..), bytes) in self.lock().each() {
            let of_site = partials.entry(site.clone()).or_default();
            of_site.count += 1;
            of_site.bytes += bytes;
        }
        partials
    }

    /// Receives one instance from a link and answers.
    pub(crate) async fn receive(
        &self,
        reception: &Arc<Reception>,
        from: &From,
        body: Bytes,
        stream: Stream,
        limits: Limits,
    ) {
        let From { site, peer } = from;
        let offer = match Offer::decode(body) {
            Ok(offer) => offer,
            Err(error) => {
                tracing::warn!(site, %peer, %error, "A link offered what is no instance.");
                return stream.cut(Why::Malformed);
            }
        };
        let sop_instance = &offer.sop_instance;
        let answered = self.answer(reception, from, &offer, &stream, limits).await;
        reception.metrics.tunnels.uploaded(reception.listener.name.as_str(), outcome(&answered));
        let answer = match answered {
            Ok(answer) => answer,
            Err(Gone::Connection) => return,
            Err(Gone::Malformed(why)) => {
                tracing::warn!(site, %peer, %sop_instance, why, "A link broke off an upload of its own.");
                return stream.cut(Why::Malformed);
            }
            Err(Gone::Silence) => {
                tracing::warn!(site, %peer, %sop_instance, "A link does not go on with an upload.");
                return stream.cut(Why::Timeout);
            }
        };
        match &answer {
            Answer::Refused { status, comment } => {
                reception.refused(&format!("status_{:04x}", status.0));
                tracing::warn!(site, %peer, %sop_instance, %status, why = comment, "Refused an instance from a link.");
            }
            Answer::OtherBytes => {
                reception.refused("other_bytes");
                tracing::warn!(site, %peer, %sop_instance, "A link sent other bytes than it offered.");
            }
            Answer::Have { .. } | Answer::Stored { .. } | Answer::Resume { .. } => {}
        }
        if stream.send(answer.encode()).await.is_ok() {
            stream.finish();
        }
    }

    async fn answer(
        &self,
        reception: &Arc<Reception>,
        from: &From,
        offer: &Offer,
        stream: &Stream,
        limits: Limits,
    ) -> Result<Answer, Gone> {
        let refused = |status, comment: &str| Ok(Answer::Refused { status, comment: comment.to_owned() });
        if offer.length == 0 {
            return refused(Status::CANNOT_UNDERSTAND, "the data set is empty");
        }
        if offer.length > reception.listener.max_data_set {
            return refused(Status::CANNOT_UNDERSTAND, "the data set is larger than max_data_set");
        }
        if is_durable(reception.queue.clone(), offer.clone(), from.site.clone()).await {
            return Ok(Answer::Have { sha256: offer.sha256 });
        }
        if room(reception).await != Admission::Open {
            return refused(Status::OUT_OF_RESOURCES, "nothing is received now");
        }
        let key = (from.site.clone(), offer.sop_instance.as_str().to_owned(), offer.sha256);
        let Ok(kept) = self.lock().take(&key) else {
            return refused(Status::OUT_OF_RESOURCES, "it is being sent already");
        };
        let claim = Claim { receiver: self, key: Some(key) };
        let mut arriving = match kept {
            Some(kept) => {
                let listener = reception.listener.name.as_str();
                reception.metrics.tunnels.resumed(listener, kept.length());
                kept
            }
            None => Arriving::new(Arc::clone(reception), announced(offer, from)),
        };
        match read(&mut arriving, offer, stream, reception.listener.timeouts.idle).await {
            Ok(()) => Ok(finish(reception, arriving, offer).await),
            Err(malformed @ Gone::Malformed(_)) => Err(malformed),
            Err(gone @ (Gone::Connection | Gone::Silence)) => {
                claim.keep(arriving, limits);
                Err(gone)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf<Key, Arriving>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an offer came to, in one word.
fn outcome(answered: &Result<Answer, Gone>) -> &'static str {
    match answered {
        Ok(Answer::Stored { .. } | Answer::Resume { .. }) => "stored",
        Ok(Answer::Have { .. }) => "had",
        Ok(Answer::Refused { .. }) => "refused",
        Ok(Answer::OtherBytes) => "other_bytes",
        Err(Gone::Connection) => "broken",
        Err(Gone::Silence) => "silent",
        Err(Gone::Malformed(_)) => "malformed",
    }
}

fn announced(offer: &Offer, from: &From) -> Announced {
    Announced {
        peer: from.peer,
        identity: None,
        site: Some(from.site.clone()),
        calling: offer.calling.clone(),
        called: offer.called.clone(),
        sop_class: offer.sop_class.clone(),
        sop_instance: offer.sop_instance.clone(),
        transfer_syntax: offer.transfer_syntax.clone(),
    }
}

/// Reads what is still missing.
async fn read(
    arriving: &mut Arriving,
    offer: &Offer,
    stream: &Stream,
    patience: Duration,
) -> Result<(), Gone> {
    let resume = Answer::Resume { offset: arriving.length() };
    stream.send(resume.encode()).await.map_err(|_| Gone::Connection)?;
    loop {
        let received = timeout(patience, stream.receive()).await.map_err(|_| Gone::Silence)?;
        match received {
            Ok(Some(bytes)) => {
                if bytes.len() as u64 > offer.length - arriving.length() {
                    return Err(Gone::Malformed("more bytes than it offered"));
                }
                arriving.push(&bytes).await;
            }
            Ok(None) if arriving.length() == offer.length => return Ok(()),
            Ok(None) => return Err(Gone::Malformed("fewer bytes than it offered")),
            Err(Broken::Session | Broken::Reset(_)) => return Err(Gone::Connection),
        }
    }
}

/// All of it is there.
async fn finish(reception: &Reception, arriving: Arriving, offer: &Offer) -> Answer {
    let Received { status, comment, fate, complete } = arriving.finish(Some(offer.sha256)).await;
    match fate {
        Fate::Stored(bytes) => {
            reception.stored(bytes, complete);
            Answer::Stored { sha256: offer.sha256 }
        }
        Fate::Refused => Answer::Refused { status, comment },
        Fate::OtherBytes => Answer::OtherBytes,
    }
}

/// Whether these very bytes, from this site, are durable here: they are read and compared.
async fn is_durable(queue: Queue, offer: Offer, site: String) -> bool {
    let looking = tokio::task::spawn_blocking(move || {
        // Nothing is said of what cannot be looked at: then it is sent again.
        let known = queue.same_key(offer.sop_instance.as_str()).unwrap_or_default();
        known.iter().rev().any(|instance| {
            *instance.sha256() == offer.sha256
                && Arrival::of(instance).is_ok_and(|arrival| arrival.site.as_ref() == Some(&site))
                && queue.open_blob(instance).is_ok_and(|blob| blob.verify().is_ok())
        })
    });
    looking.await.unwrap_or(false)
}

/// While an upload is under way nobody else continues it.
struct Claim<'a> {
    receiver: &'a Receiver,
    key: Option<Key>,
}

impl Claim<'_> {
    /// It may be continued.
    fn keep(mut self, arriving: Arriving, limits: Limits) {
        if let Some(key) = self.key.take() {
            let (bytes, now) = (arriving.length(), self.receiver.base.elapsed());
            let gone = self.receiver.lock().put(key, arriving, bytes, now, limits);
            drop(gone);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.receiver.lock().done(&key);
        }
    }
}
