//! One instance, by C-STORE or through the tunnel: from its data set's first byte to a durable instance, and the status to
//! answer with.
//!
//! The queue's writer is synchronous. Its border is here: bytes gather in a buffer, and full buffers go to a blocking
//! thread, one at a time, while the next one fills. An instance that fits into one buffer crosses the border once, for
//! everything from opening its file to the sync.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use chrysalis_queue::{
    CommitError, Hold, HoldKind, Keys, Meta, NO_ROUTE, Owed, Queue, Sequence, StageError, Staged,
};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use super::arrival::{Arrival, Identity};
use super::listener::Reception;
use super::session::Caller;
use crate::config::Leniency;
use crate::dicom::attributes::{Attribute, Attributes};
use crate::dicom::part10::{self, HeadFields};
use crate::dicom::scan::{Notes, Oddity, Scan, Structure};
use crate::dicom::walk::Walk;
use crate::dicom::{AeTitle, Status, TransferSyntax, Uid};
use crate::dimse::acceptor::StoreMessage;
use crate::dimse::{Association, LinkError, Transport};
use crate::route::{self, Facts, Header, Outcome, Routes};

/// Bytes that gather before they go to the disk.
const BUFFER: usize = 256 << 10;

/// What to answer, and what was stored.
pub(crate) struct Received {
    pub(crate) status: Status,
    /// For the Error Comment; empty on success.
    pub(crate) comment: String,
    /// What became of it.
    pub(crate) fate: Fate,
    /// When the last byte of the data set was there.
    pub(crate) complete: Instant,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is durable, a data set of so many bytes.
    Stored(u64),
    /// It is not kept.
    Refused,
    /// These are not the bytes that were announced; they are not kept.
    OtherBytes,
}

/// What is known of an instance before its first byte.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub(crate) peer: SocketAddr,
    /// Whose certificate the caller showed.
    pub(crate) identity: Option<Identity>,
    /// The site, where it comes through the tunnel.
    pub(crate) site: Option<String>,
    /// The number of that upload.
    pub(crate) upload: Option<String>,
    pub(crate) calling: AeTitle,
    pub(crate) called: AeTitle,
    pub(crate) sop_class: Uid,
    pub(crate) sop_instance: Uid,
    pub(crate) transfer_syntax: TransferSyntax,
}

/// What was received in part cannot be gone on with.
#[derive(Debug)]
pub(crate) struct Paused;

/// Why an instance is not stored.
enum Refusal {
    Status(Status, String),
    OtherBytes,
}

/// Receives the data set of one C-STORE and makes it durable.
pub(super) async fn receive<S: Transport>(
    reception: &Arc<Reception>,
    association: &mut Association<S>,
    caller: &Caller,
    message: &StoreMessage,
) -> Result<Received, LinkError> {
    let request = association.request();
    let announced = Announced {
        peer: caller.peer,
        identity: caller.leaf.as_ref().map(Identity::from),
        site: None,
        upload: None,
        calling: request.calling.clone(),
        called: request.called.clone(),
        sop_class: message.command.sop_class.clone(),
        sop_instance: message.sop_instance.clone(),
        transfer_syntax: message.transfer_syntax.clone(),
    };
    let mut arriving = Arriving::new(Arc::clone(reception), announced);
    while let Some(bytes) = association.next_data().await? {
        arriving.push(&bytes).await;
    }
    Ok(arriving.finish(None).await)
}

/// An instance whose data set is coming in, from wherever.
pub(crate) struct Arriving {
    reception: Arc<Reception>,
    announced: Announced,
    routes: Arc<Routes>,
    walk: Walk,
    intake: Intake,
    length: u64,
}

impl Arriving {
    /// Nothing of it is there yet, and no file is open. The rules in force now decide about it.
    pub(crate) fn new(reception: Arc<Reception>, announced: Announced) -> Self {
        let routes = reception.routes();
        let walk = Walk::capturing(announced.transfer_syntax.encoding(), routes.extra_tags().clone());
        let intake = Intake::new(reception.queue.clone(), head(&announced));
        Self { reception, announced, routes, walk, intake, length: 0 }
    }

    /// Bytes of the data set that are there.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes.
    pub(crate) async fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.walk.feed(bytes);
        self.intake.push(bytes).await;
    }

    /// Nothing more comes for a while: the space that was reserved ahead goes back.
    ///
    /// # Errors
    /// The disk failed: what there is of it cannot be gone on with.
    pub(crate) async fn pause(mut self) -> Result<Self, Paused> {
        self.intake.pause().await.map_err(|_| Paused)?;
        Ok(self)
    }

    /// Its number is another one now, and everything else the same.
    pub(crate) fn renumber(&mut self, upload: Option<String>) {
        self.announced.upload = upload;
    }

    /// All of it is there: routes it and makes it durable, if it is what was announced.
    pub(crate) async fn finish(self, sha256: Option<[u8; 32]>) -> Received {
        let complete = Instant::now();
        let answer = match self.commit(sha256).await {
            Ok(length) => (Status::SUCCESS, String::new(), Fate::Stored(length)),
            Err(Refusal::Status(status, comment)) => (status, comment, Fate::Refused),
            Err(Refusal::OtherBytes) => {
                (Status::OUT_OF_RESOURCES, "other bytes than announced".to_owned(), Fate::OtherBytes)
            }
        };
        let (status, comment, fate) = answer;
        Received { status, comment, fate, complete }
    }

    async fn commit(self, sha256: Option<[u8; 32]>) -> Result<u64, Refusal> {
        let Self { reception, announced, routes, walk, intake, .. } = self;
        let scan = walk.finish();
        check(&reception, &announced, &scan)?;
        let coming = Coming { reception: &reception, announced: &announced, scan: &scan };
        let decision = routes.decide(&coming.facts(&routes));
        let owed = owed(decision.outcome, &scan)?;
        let rules = decision.rules.iter().map(ToString::to_string).collect();
        let attachment = coming.arrival(&routes, rules).to_bytes();
        let meta = Meta { keys: coming.keys(), owed, attachment };
        let (can_pad, encoding) = (scan.can_append_padding(), announced.transfer_syntax.encoding());
        let tail = move |len| if can_pad { part10::padding_header(encoding, len) } else { Vec::new() };
        let sequence = intake.commit(meta, tail, sha256).await?;
        note(&announced, &scan, sequence);
        Ok(scan.length)
    }
}

fn head(announced: &Announced) -> Vec<u8> {
    part10::head(&HeadFields {
        sop_class: &announced.sop_class,
        sop_instance: &announced.sop_instance,
        transfer_syntax: &announced.transfer_syntax,
        calling: &announced.calling,
        called: &announced.called,
    })
}

/// What must be right before an instance is stored (PS3.4 B.2.3).
fn check(reception: &Reception, announced: &Announced, scan: &Scan) -> Result<(), Refusal> {
    if scan.length == 0 {
        return Err(Refusal::Status(Status::CANNOT_UNDERSTAND, "the data set is empty".to_owned()));
    }
    match scan.structure {
        Structure::Truncated { at } => {
            return Err(Refusal::Status(Status::CANNOT_UNDERSTAND, format!("data set truncated at {at}")));
        }
        Structure::Odd { reason, at } if reception.listener.malformed == Leniency::Refuse => {
            return Err(Refusal::Status(Status::CANNOT_UNDERSTAND, format!("{reason}, at {at}")));
        }
        Structure::Sound if reception.listener.malformed == Leniency::Refuse => check_order(scan)?,
        Structure::Sound | Structure::Odd { .. } | Structure::NotWalked => {}
    }
    let differs = |attribute, uid: &Uid| scan.attributes.uid(attribute).is_some_and(|found| found != *uid);
    if differs(Attribute::SopInstanceUid, &announced.sop_instance) {
        return Err(Refusal::Status(Status::DATA_SET_MISMATCH, "SOP instance UID mismatch".to_owned()));
    }
    if differs(Attribute::SopClassUid, &announced.sop_class) {
        if reception.listener.sop_class_mismatch == Leniency::Refuse {
            return Err(Refusal::Status(Status::DATA_SET_MISMATCH, "SOP class UID mismatch".to_owned()));
        }
        tracing::warn!(sop_instance = %announced.sop_instance, "The data set has another SOP class than the command.");
    }
    Ok(())
}

/// What every reader copes with, and a listener that refuses malformed data sets does not take either.
fn check_order(scan: &Scan) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::Status(Status::CANNOT_UNDERSTAND, why.to_owned()));
    match scan.notes {
        Notes { out_of_order: true, .. } => refuse("elements out of order"),
        Notes { duplicate: true, .. } => refuse("an element that comes twice"),
        Notes { out_of_order: false, duplicate: false } => Ok(()),
    }
}

/// An instance that has come whole, and all that is known of how.
struct Coming<'a> {
    reception: &'a Reception,
    announced: &'a Announced,
    scan: &'a Scan,
}

impl Coming<'_> {
    /// What rules are asked about.
    fn facts(&self, routes: &Routes) -> Facts<'_> {
        Facts {
            listener: self.reception.listener.name.as_str(),
            calling_ae: &self.announced.calling,
            called_ae: &self.announced.called,
            peer_addr: self.announced.peer.ip(),
            site: self.announced.site.as_deref(),
            sop_class: &self.announced.sop_class,
            attributes: &self.scan.attributes,
            header: Header::of(self.scan, routes.tags()),
        }
    }

    fn keys(&self) -> Keys {
        let study = self.scan.attributes.uid(Attribute::StudyInstanceUid);
        Keys {
            kind: self.announced.sop_class.as_str().to_owned(),
            key: self.announced.sop_instance.as_str().to_owned(),
            group: study.map(|uid| uid.as_str().to_owned()).unwrap_or_default(),
            subject: subject(&self.scan.attributes),
        }
    }

    /// How it came, and which rules decided.
    fn arrival(&self, routes: &Routes, rules: Vec<String>) -> Arrival {
        Arrival {
            listener: self.reception.listener.name.as_str().to_owned(),
            peer: self.announced.peer,
            site: self.announced.site.clone(),
            upload: self.announced.upload.clone(),
            calling_ae: self.announced.calling.as_str().to_owned(),
            called_ae: self.announced.called.as_str().to_owned(),
            transfer_syntax: self.announced.transfer_syntax.0.as_str().to_owned(),
            identity: self.announced.identity.clone(),
            sound: self.scan.structure == Structure::Sound,
            revision: routes.revision().to_owned(),
            rules,
        }
    }
}

/// The deliveries of a decision, in the queue's terms.
fn owed(outcome: Outcome, scan: &Scan) -> Result<Vec<Owed>, Refusal> {
    // Nobody has seen all of it: a person decides whether it goes on.
    let unseen = match scan.structure {
        Structure::Odd { reason: reason @ Oddity::InflateLimit, .. } => Some(reason.to_string()),
        Structure::Odd { .. } | Structure::Sound | Structure::Truncated { .. } | Structure::NotWalked => None,
    };
    let held = |destination: &str, why: &str| Owed::hold(destination, Hold::new(HoldKind::Rule, why));
    match outcome {
        Outcome::Owed(deliveries) => {
            let owed = |delivery: route::Owed| match unseen.as_ref().or(delivery.hold.as_ref()) {
                Some(why) => held(&delivery.destination, why),
                None => Owed::send(delivery.destination),
            };
            Ok(deliveries.into_iter().map(owed).collect())
        }
        Outcome::Dropped { why } => {
            let given_up = || Owed::discard(NO_ROUTE, why);
            Ok(vec![unseen.as_ref().map_or_else(given_up, |unseen| held(NO_ROUTE, unseen))])
        }
        Outcome::Refused => Err(Refusal::Status(Status::NOT_AUTHORISED, "no route".to_owned())),
    }
}

/// Patient and study as a digest: enough to notice one SOP Instance UID used for two, and nothing to read.
fn subject(attributes: &Attributes) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for attribute in [Attribute::PatientId, Attribute::IssuerOfPatientId, Attribute::StudyInstanceUid] {
        hasher.update(attributes.text(attribute));
        hasher.update([0]);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

fn note(announced: &Announced, scan: &Scan, sequence: Sequence) {
    let sop_instance = &announced.sop_instance;
    let Notes { out_of_order, duplicate } = scan.notes;
    if out_of_order || duplicate {
        tracing::warn!(
            instance = %sequence, %sop_instance, out_of_order, duplicate,
            "Stored an instance whose elements are out of order or come twice.",
        );
    }
    match scan.structure {
        Structure::Odd { reason, at } => tracing::warn!(
            instance = %sequence, %sop_instance, %reason, at,
            "Stored an instance with an odd structure; it is passed through untouched.",
        ),
        Structure::Sound | Structure::Truncated { .. } | Structure::NotWalked => {
            tracing::debug!(instance = %sequence, %sop_instance, bytes = scan.length, "Stored an instance.");
        }
    }
}

/// The way of one instance's bytes to the disk.
struct Intake {
    queue: Queue,
    head: Vec<u8>,
    buffer: Vec<u8>,
    writer: Writer,
}

/// What the blocking side has.
enum Writer {
    /// No file yet: everything so far is in the buffer.
    Unopened,
    /// A buffer is being written.
    Writing(JoinHandle<(Result<Staged, StageError>, Vec<u8>)>),
    /// It failed; the rest of the data set is read and dropped.
    Failed(Refusal),
}

impl Intake {
    fn new(queue: Queue, head: Vec<u8>) -> Self {
        Self { queue, head, buffer: Vec::new(), writer: Writer::Unopened }
    }

    /// Takes the next bytes. A failure is kept for the end, because an answer may not overtake the data set.
    async fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BUFFER - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER {
                self.write().await;
            }
        }
    }

    /// Hands the full buffer over, after the one before it is written.
    async fn write(&mut self) {
        let full = std::mem::take(&mut self.buffer);
        let (staged, spare) = match self.take_staged().await {
            Ok((staged, spare)) => (staged, spare),
            Err(refusal) => {
                self.writer = Writer::Failed(refusal);
                return;
            }
        };
        self.buffer = spare;
        let (queue, head) = (self.queue.clone(), std::mem::take(&mut self.head));
        self.writer = Writer::Writing(tokio::task::spawn_blocking(move || {
            let written = open(staged, &queue, &head).and_then(|mut staged| {
                staged.write(&full)?;
                Ok(staged)
            });
            let mut spare = full;
            spare.clear();
            (written, spare)
        }));
    }

    /// Waits for what is being written, and gives back what is reserved beyond it.
    async fn pause(&mut self) -> Result<(), Refusal> {
        let (Some(mut staged), spare) = self.take_staged().await? else { return Ok(()) };
        let pausing =
            tokio::task::spawn_blocking(move || (staged.give_back_reserved().map(|()| staged), spare));
        self.writer = Writer::Writing(pausing);
        Ok(())
    }

    /// The blob as far as it is written, once it is, with a buffer to use again.
    async fn take_staged(&mut self) -> Result<(Option<Staged>, Vec<u8>), Refusal> {
        match std::mem::replace(&mut self.writer, Writer::Unopened) {
            Writer::Unopened => Ok((None, Vec::new())),
            Writer::Failed(refusal) => Err(refusal),
            Writer::Writing(task) => match task.await {
                Ok((Ok(staged), spare)) => Ok((Some(staged), spare)),
                Ok((Err(error), _)) => Err(refuse_stage(&error)),
                Err(_) => Err(Refusal::Status(Status::OUT_OF_RESOURCES, "internal error".to_owned())),
            },
        }
    }

    /// Writes what is left and makes the instance durable. Once begun it runs to its end, whoever waits for it.
    async fn commit(
        mut self,
        meta: Meta,
        tail: impl FnOnce(u32) -> Vec<u8> + Send + 'static,
        sha256: Option<[u8; 32]>,
    ) -> Result<Sequence, Refusal> {
        let (staged, _) = self.take_staged().await?;
        let Self { queue, head, buffer, .. } = self;
        let committed = tokio::task::spawn_blocking(move || {
            let mut staged = open(staged, &queue, &head)?;
            staged.write(&buffer)?;
            if sha256.is_some_and(|announced| announced != staged.sha256()) {
                return Ok(None);
            }
            staged.commit(meta, tail).map(Some)
        });
        match committed.await {
            Ok(Ok(sequence)) => sequence.ok_or(Refusal::OtherBytes),
            Ok(Err(error)) => Err(refuse_commit(&error)),
            Err(_) => Err(Refusal::Status(Status::OUT_OF_RESOURCES, "internal error".to_owned())),
        }
    }
}

fn open(staged: Option<Staged>, queue: &Queue, head: &[u8]) -> Result<Staged, StageError> {
    staged.map_or_else(|| queue.stage(head), Ok)
}

fn refuse_stage(error: &StageError) -> Refusal {
    let comment = match error {
        StageError::Full => "the spool is full",
        StageError::Poisoned(_) => "the spool failed; restart needed",
        StageError::Io(_) => "the spool file failed",
    };
    tracing::error!(%error, "Cannot write an instance.");
    Refusal::Status(Status::OUT_OF_RESOURCES, comment.to_owned())
}

fn refuse_commit(error: &CommitError) -> Refusal {
    let comment = match error {
        CommitError::Full => "the spool is full",
        CommitError::Poisoned(_) => "the spool failed; restart needed",
        CommitError::Io(_) => "the spool file failed",
        CommitError::EnvelopeTooLarge => "too many destinations",
    };
    tracing::error!(%error, "Cannot make an instance durable.");
    Refusal::Status(Status::OUT_OF_RESOURCES, comment.to_owned())
}
