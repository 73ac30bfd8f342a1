//! The handle to a running queue: receiving goes straight to the spool, everything else to the keeper's thread.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::fs::{Fs, RealFs};
use crate::id::Sequence;
use crate::instance::{Hold, Instance};
use crate::keeper::recovery::{self, Opening};
use crate::keeper::{
    Action, CommandError, Filter, History, Keeper, LeaseRequest, LeasedInstance, OpenError, Outcome, Page,
    Recovered, Shown, Stats, Unavailable,
};
use crate::ledger::{self, LedgerDamage, LedgerEntry, LedgerError, LedgerSpan};
use crate::spool::space::STEP;
use crate::spool::{Blob, BlobError, Spool, StageError, Staged};
use crate::worker::{Message, ToKeeper, ToObserver, keep};

/// Messages that may wait for the keeper; beyond that whoever sends one waits.
const MESSAGES: usize = 8192;

/// How a queue is opened.
#[derive(Clone)]
pub struct Options {
    /// The directory that is all the queue's; made if it is not there.
    pub root: PathBuf,
    /// Extension of spool files, without a dot.
    pub extension: &'static str,
    /// Size of the ballast in bytes.
    pub reserve: u64,
    /// The part of the file system that may be used before receiving stops, in thousandths, 1 to 1000.
    pub high_watermark: u32,
    /// How long a payload is kept after nothing of it is owed any more.
    pub retain: Duration,
    /// How long the journal of removed payloads is kept.
    pub ledger: Duration,
    /// Memory for the index, in bytes; `None` keeps all of it in memory.
    pub index_cache: Option<u64>,
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The defaults, on the machine's own disk.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            extension: "blob",
            reserve: 256 << 20,
            high_watermark: 900,
            retain: Duration::from_secs(72 * 3600),
            ledger: Duration::from_secs(90 * 86_400),
            index_cache: Some(8 << 20),
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock::start()),
        }
    }

    pub(crate) fn opening(&self) -> Opening {
        Opening {
            root: self.root.clone(),
            extension: self.extension,
            reserve: self.reserve,
            high_watermark: self.high_watermark.clamp(1, 1000),
            retain: self.retain,
            ledger: self.ledger,
            index_cache: self.index_cache,
            fs: Arc::clone(&self.fs),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// What the queue tells its user as it runs. Called on the keeper's thread: must not block.
pub trait Observer: Send + 'static {
    /// There may be something to send to this destination.
    fn ready(&self, destination: &str);
    /// The index was thrown away and made anew; nothing is lost by it.
    fn index_rebuilt(&self, why: &str);
    /// An instance is held at a destination from the moment it was received.
    fn held(&self, instance: &Instance, destination: &str, hold: &Hold);
    /// Recording failed; it is tried again unless the queue is poisoned.
    fn recording_failed(&self, why: &Unavailable);
}

/// Nobody is told: for whoever only looks.
impl Observer for () {
    fn ready(&self, _destination: &str) {}
    fn index_rebuilt(&self, _why: &str) {}
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn recording_failed(&self, _why: &Unavailable) {}
}

/// Whether new work is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open,
    /// The disk is at its high watermark and nothing can be evicted.
    Full,
    /// A sync failed; nothing is received until a restart.
    Poisoned(String),
}

/// A running queue. Cheap to clone; the last clone dropped closes it.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    spool: Arc<Spool>,
    messages: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Opens the queue, recovering whatever the last process left, and starts its keeper.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has been lost by trying.
    pub fn open(options: &Options, observer: impl Observer) -> Result<(Self, Recovered), OpenError> {
        let (messages, inbox) = sync_channel(MESSAGES);
        let observer = Arc::new(Mutex::new(observer));
        let events = Box::new(ToKeeper { messages: messages.clone() });
        let notices = Box::new(ToObserver(Arc::clone(&observer)));
        let opened = recovery::open(&options.opening(), events, notices)?;
        let keeper = opened.keeper;
        let thread = std::thread::Builder::new()
            .name("queue-keeper".to_owned())
            .spawn(move || keep(keeper, &inbox, &observer))
            .map_err(|error| OpenError::Io { path: options.root.clone(), error })?;
        let inner = Inner { spool: opened.spool, messages, thread: Mutex::new(Some(thread)) };
        Ok((Self { inner: Arc::new(inner) }, opened.recovered))
    }

    /// Whether a new blob would be taken now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let spool = &self.inner.spool;
        if let Some((_, why)) = spool.poison.reason() {
            return Admission::Poisoned(why);
        }
        let room = || spool.space.room(&*spool.fs, &spool.paths.root).unwrap_or_default();
        // Less than one reservation is room for small blobs only: whoever comes now is better told to come later.
        if room() >= STEP {
            return Admission::Open;
        }
        spool.events.pressure(STEP);
        if room() >= STEP { Admission::Open } else { Admission::Full }
    }

    /// Opens a blob for receiving. Blocks on the disk.
    ///
    /// # Errors
    /// [`StageError`]
    pub fn stage(&self, head: &[u8]) -> Result<Staged, StageError> {
        self.inner.spool.stage(head)
    }

    /// Leases the oldest due deliveries of one group to a destination, in order of receipt.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn lease(&self, destination: &str, want: LeaseRequest) -> Result<Leased, Unavailable> {
        let name = destination.to_owned();
        let batch = self.call(move |keeper| keeper.lease(&name, want))??;
        let destination: Arc<str> = destination.into();
        let lease = |leased: LeasedInstance| Lease {
            queue: Arc::downgrade(&self.inner),
            destination: Arc::clone(&destination),
            instance: Arc::new(leased.instance),
            conflicting: leased.conflicting,
            outcome: Some(Outcome::Untried),
        };
        Ok(Leased { leases: batch.leases.into_iter().map(lease).collect(), next_due: batch.next_due })
    }

    /// Applies decisions of a person, and returns when they are durable. The answers are in the order of the targets.
    ///
    /// # Errors
    /// [`Unavailable`] when they could not be made durable.
    pub fn decide(
        &self,
        targets: Vec<(Sequence, String)>,
        action: Action,
        who: &str,
    ) -> Result<Vec<Result<(), CommandError>>, Unavailable> {
        let who = who.to_owned();
        let (answer, answered) = sync_channel(1);
        self.send(Message::Call(Box::new(move |keeper| {
            let results: Vec<_> = targets
                .into_iter()
                .map(|(sequence, destination)| keeper.command(sequence, &destination, action.clone(), &who))
                .collect();
            keeper.when_durable(Box::new(move |durable| {
                let _ = answer.send(durable.map(|()| results));
            }));
        })))?;
        answered.recv().map_err(|_| Unavailable::Closed)?
    }

    /// Makes every waiting delivery to a destination due now: something has changed there.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn hurry(&self, destination: &str) -> Result<(), Unavailable> {
        let destination = destination.to_owned();
        self.call(move |keeper| keeper.hurry(&destination))
    }

    /// Returns when everything recorded before is durable.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be made so.
    pub fn flush(&self) -> Result<(), Unavailable> {
        self.decide(Vec::new(), Action::Release, "").map(drop)
    }

    /// What is known of a key besides this instance. Of the deliveries of these very bytes, those count whose detail does.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn history(
        &self,
        destination: &str,
        sequence: Sequence,
        counts: fn(&str) -> bool,
    ) -> Result<History, Unavailable> {
        let destination = destination.to_owned();
        self.call(move |keeper| keeper.history(&destination, sequence, counts))?
    }

    /// Every instance of a key that is known, in order of receipt; whether its payload is still there is another question.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn same_key(&self, key: &str) -> Result<Vec<Instance>, Unavailable> {
        let key = key.to_owned();
        self.call(move |keeper| keeper.same_key(&key))?
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn stats(&self) -> Result<Stats, Unavailable> {
        self.call(Keeper::stats)?
    }

    /// A page of deliveries: full, or to the end. Among many instances it takes many looks, between which the keeper
    /// does its other work.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn list(&self, filter: Filter) -> Result<Page, Unavailable> {
        let mut page = Page::default();
        let mut after = filter.after;
        loop {
            let limit = filter.limit.saturating_sub(page.rows.len());
            let look = Filter { after, limit, ..filter.clone() };
            let looked = self.call(move |keeper| keeper.list(&look))??;
            page.rows.extend(looked.rows);
            page.next = looked.next;
            after = looked.next;
            if after.is_none() || page.rows.len() >= filter.limit {
                return Ok(page);
            }
        }
    }

    /// One instance with all its deliveries.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn show(&self, sequence: Sequence) -> Result<Option<Shown>, Unavailable> {
        self.call(move |keeper| keeper.show(sequence))?
    }

    /// Tells of every instance that the journals know, payload or not, by bucket and then by receive sequence, until
    /// `visit` says to stop. Reads the journals of one bucket at a time, on the caller's thread; what is recorded
    /// meanwhile may be missing.
    ///
    /// # Errors
    /// [`LedgerError`] when nothing can be read. What cannot be read in places is in the answer.
    pub fn ledger(
        &self,
        span: LedgerSpan,
        visit: &mut dyn FnMut(LedgerEntry) -> ControlFlow<()>,
    ) -> Result<LedgerDamage, LedgerError> {
        let is_behind = self.flush().is_err();
        Ok(LedgerDamage { is_behind, ..ledger::read(&self.inner.spool, span, visit)? })
    }

    /// Opens an instance's payload for reading.
    ///
    /// # Errors
    /// [`BlobError`]
    pub fn open_blob(&self, instance: &Instance) -> Result<Blob, BlobError> {
        self.inner.spool.open_blob(instance)
    }

    /// Where an instance's file is.
    #[must_use]
    pub fn path(&self, instance: &Instance) -> PathBuf {
        self.inner.spool.paths.blob(instance.bucket, instance.name)
    }

    /// Writes and syncs what is recorded, removes names that were not used, and ends the keeper. Whatever a later
    /// start needs is on the disk with or without this.
    pub fn close(&self) {
        self.inner.close();
    }

    fn send(&self, message: Message) -> Result<(), Unavailable> {
        self.inner.messages.send(message).map_err(|_| Unavailable::Closed)
    }

    fn call<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Keeper) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = sync_channel(1);
        self.send(Message::Call(Box::new(move |keeper| {
            let _ = answer.send(run(keeper));
        })))?;
        answered.recv().map_err(|_| Unavailable::Closed)
    }
}

impl Inner {
    fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.messages.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Deliveries to try now, and when to ask again if there are none.
pub struct Leased {
    /// In order of receipt, all of one group.
    pub leases: Vec<Lease>,
    /// From now, when a delivery is due that waits, or whose group is not quiet yet.
    pub next_due: Option<Duration>,
}

/// One delivery under way. Dropped without an outcome it is ready again.
pub struct Lease {
    queue: Weak<Inner>,
    destination: Arc<str>,
    instance: Arc<Instance>,
    conflicting: bool,
    outcome: Option<Outcome>,
}

impl Lease {
    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The destination's name.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Another content of this key is known, of the same subject.
    #[must_use]
    pub fn is_conflicting(&self) -> bool {
        self.conflicting
    }

    /// Ends the lease. A delivery is recorded with the next batch; until that is synced a crash repeats it.
    pub fn finish(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(queue), Some(outcome)) = (self.queue.upgrade(), self.outcome.take()) else { return };
        let (destination, instance) = (Arc::clone(&self.destination), Arc::clone(&self.instance));
        let _ = queue.messages.send(Message::Call(Box::new(move |keeper| {
            keeper.finish(&destination, &instance, outcome);
        })));
    }
}
