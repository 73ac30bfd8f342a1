//! The gateway's side of an upload: the way of a C-STORE, and what was begun is kept for a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrysalis_queue::{Instance, Queue};
use tokio::time::{Instant, timeout};

use super::message::{Answer, Offer, Upload};
use super::shelf::{Limits, Shelf};
use crate::dicom::Status;
use crate::dimse::negotiate::Admission;
use crate::receive::{Announced, Arrival, Arriving, Fate, Received, Reception, room};
use crate::tunnel::connection::{Broken, Stream};
use crate::tunnel::wire::Why;

/// What may be gone on with, whatever the connection: the same offer of the same site.
type Key = (String, Offer);

/// Bytes that are read of a stored instance at a time.
const CHUNK: usize = 256 << 10;

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

/// What is known of the bytes of an offer.
enum Known {
    /// This very upload was committed.
    Committed,
    /// They are here, of another upload of the same site.
    Stored(Box<Instance>),
    /// Nothing.
    Nothing,
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
        let upload = match Upload::decode(body) {
            Ok(upload) => upload,
            Err(error) => {
                tracing::warn!(site, %peer, %error, "A link offered what is no instance.");
                return stream.cut(Why::Malformed);
            }
        };
        let sop_instance = &upload.offer.sop_instance;
        let answered = self.answer(reception, from, &upload, &stream, limits).await;
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
        upload: &Upload,
        stream: &Stream,
        limits: Limits,
    ) -> Result<Answer, Gone> {
        let offer = &upload.offer;
        let refused = |status, comment: &str| Ok(Answer::Refused { status, comment: comment.to_owned() });
        if offer.length == 0 {
            return refused(Status::CANNOT_UNDERSTAND, "the data set is empty");
        }
        if offer.length > reception.listener.max_data_set {
            return refused(Status::CANNOT_UNDERSTAND, "the data set is larger than max_data_set");
        }
        let known = known(reception.queue.clone(), upload.clone(), from.site.clone()).await;
        if matches!(known, Known::Committed) {
            return Ok(Answer::Have { sha256: offer.sha256 });
        }
        if room(reception).await != Admission::Open {
            return refused(Status::OUT_OF_RESOURCES, "nothing is received now");
        }
        let key = (from.site.clone(), offer.clone());
        let Ok(kept) = self.lock().take(&key) else {
            return refused(Status::OUT_OF_RESOURCES, "it is being sent already");
        };
        let claim = Claim { receiver: self, key: Some(key) };
        if let (Known::Stored(stored), None) = (known, &kept)
            && let Some(answer) = again(reception, from, upload, &stored).await
        {
            return Ok(answer);
        }
        let mut arriving = match kept {
            Some(mut kept) => {
                let listener = reception.listener.name.as_str();
                reception.metrics.tunnels.resumed(listener, kept.length());
                kept.renumber(Some(hex(upload)));
                kept
            }
            None => Arriving::new(Arc::clone(reception), announced(upload, from)),
        };
        match read(&mut arriving, offer, stream, reception.listener.timeouts.idle).await {
            Ok(()) => Ok(finish(reception, arriving, offer).await),
            Err(malformed @ Gone::Malformed(_)) => Err(malformed),
            Err(gone @ (Gone::Connection | Gone::Silence)) => {
                // What cannot be gone on with is sent again from its beginning.
                if let Ok(arriving) = arriving.pause().await {
                    claim.keep(arriving, limits);
                }
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

fn announced(upload: &Upload, from: &From) -> Announced {
    let offer = &upload.offer;
    Announced {
        upload: Some(hex(upload)),
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

/// The number as an arrival has it.
fn hex(upload: &Upload) -> String {
    upload.number.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is durable here of these very bytes, from this site: they are read and compared.
async fn known(queue: Queue, upload: Upload, site: String) -> Known {
    let looking = tokio::task::spawn_blocking(move || {
        let (Upload { offer, .. }, number) = (&upload, hex(&upload));
        // Nothing is said of what cannot be looked at: then it is sent again.
        let same = queue.same_key(offer.sop_instance.as_str()).unwrap_or_default();
        let mut stored = None;
        for instance in same.into_iter().rev().filter(|instance| *instance.sha256() == offer.sha256) {
            let Ok(arrival) = Arrival::of(&instance) else { continue };
            if arrival.site.as_ref() != Some(&site) {
                continue;
            }
            if arrival.upload.as_ref() == Some(&number) {
                let is_there = queue.open_blob(&instance).is_ok_and(|blob| blob.verify().is_ok());
                return if is_there { Known::Committed } else { Known::Nothing };
            }
            stored.get_or_insert(instance);
        }
        stored.map_or(Known::Nothing, |instance| Known::Stored(Box::new(instance)))
    });
    looking.await.unwrap_or(Known::Nothing)
}

/// Commits an instance anew from bytes that are here: somebody has sent it again. None when they are not what was offered, or
/// cannot be read.
async fn again(
    reception: &Arc<Reception>,
    from: &From,
    upload: &Upload,
    stored: &Instance,
) -> Option<Answer> {
    let mut blob = reception.queue.open_blob(stored).ok()?;
    let mut arriving = Arriving::new(Arc::clone(reception), announced(upload, from));
    while arriving.length() < upload.offer.length {
        let offset = arriving.length();
        let reading = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let read = blob.read_at(&mut chunk, offset);
            (blob, read.map(|count| chunk.drain(..count).collect::<Vec<_>>()))
        });
        let (again, read) = reading.await.ok()?;
        blob = again;
        let bytes = read.ok().filter(|bytes| !bytes.is_empty())?;
        arriving.push(&bytes).await;
    }
    match finish(reception, arriving, &upload.offer).await {
        Answer::Stored { sha256 } => Some(Answer::Have { sha256 }),
        Answer::OtherBytes => None,
        refused => Some(refused),
    }
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
