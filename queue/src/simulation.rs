//! The queue without its thread: every message waits until [`Stepped::pump`] is called, so that a run on a simulated
//! disk is decided by its seed alone. For tests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::id::Sequence;
use crate::instance::{Hold, Instance};
use crate::keeper::{
    Action, CommandError, Filter, Keeper, LeaseRequest, Notices, OpenError, Outcome, Page, Recovered, Shown,
    Stats, Unavailable, recovery,
};
use crate::queue::Options;
use crate::spool::{Blob, BlobError, Events, Fresh, Spool, StageError, Staged};
use crate::view::kv::{Kv, KvError, MemKv, Visit};

pub use crate::fs::sim::{Counts, Fault, Rng, SimDisk};

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Clone)]
pub struct HeldClock(Arc<AtomicU64>);

impl HeldClock {
    /// Starts at some moment of 2023.
    #[must_use]
    pub fn start() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for HeldClock {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }
}

/// A queue whose keeper runs when it is told to. Dropping it is a crash of the process.
pub struct Stepped {
    keeper: Keeper,
    inbox: Arc<Mutex<VecDeque<Event>>>,
}

enum Event {
    Committed(Box<Fresh>),
    BucketDrained(u32),
}

struct Inbox(Arc<Mutex<VecDeque<Event>>>);

impl Inbox {
    fn push(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

impl Events for Inbox {
    fn committed(&self, fresh: Fresh) {
        self.push(Event::Committed(Box::new(fresh)));
    }
    fn bucket_drained(&self, bucket: u32) {
        self.push(Event::BucketDrained(bucket));
    }
    fn names_low(&self) {}
    fn pressure(&self, _bytes: u64) {}
}

struct Silent;

impl Notices for Silent {
    fn ready(&self, _destination: &str) {}
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn index_rebuilt(&self, _why: &str) {}
}

impl Stepped {
    /// As [`crate::Queue::open`].
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(options: &Options) -> Result<(Self, Recovered), OpenError> {
        let inbox = Arc::new(Mutex::new(VecDeque::new()));
        let opened =
            recovery::open(&options.opening(), Box::new(Inbox(Arc::clone(&inbox))), Box::new(Silent))?;
        let mut stepped = Self { keeper: opened.keeper, inbox };
        stepped.pump();
        Ok((stepped, opened.recovered))
    }

    fn spool(&self) -> &Arc<Spool> {
        &self.keeper.spool
    }

    /// As [`crate::Queue::stage`].
    ///
    /// # Errors
    /// [`StageError`]
    pub fn stage(&self, head: &[u8]) -> Result<Staged, StageError> {
        self.spool().stage(head)
    }

    /// Lets the keeper hear what happened since.
    pub fn pump(&mut self) {
        loop {
            let event = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match event {
                None => return,
                Some(Event::Committed(fresh)) => self.keeper.committed(*fresh),
                Some(Event::BucketDrained(bucket)) => self.keeper.bucket_drained(bucket),
            }
        }
    }

    /// Leases deliveries of one group.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn lease(&mut self, destination: &str, max: usize) -> Result<Vec<Instance>, Unavailable> {
        self.lease_as(destination, LeaseRequest { max, ..LeaseRequest::default() }).map(|(leased, _)| leased)
    }

    /// The same with everything that can be asked for, and when something will be due, from now.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn lease_as(
        &mut self,
        destination: &str,
        want: LeaseRequest,
    ) -> Result<(Vec<Instance>, Option<Duration>), Unavailable> {
        self.pump();
        let batch = self.keeper.lease(destination, want)?;
        Ok((batch.leases.into_iter().map(|leased| leased.instance).collect(), batch.next_due))
    }

    /// Ends a lease.
    pub fn finish(&mut self, destination: &str, instance: &Instance, outcome: Outcome) {
        self.keeper.finish(destination, instance, outcome);
    }

    /// Applies a decision; it is durable after the next [`Stepped::flush`].
    ///
    /// # Errors
    /// [`CommandError`]
    pub fn decide(
        &mut self,
        sequence: Sequence,
        destination: &str,
        action: Action,
    ) -> Result<(), CommandError> {
        self.pump();
        self.keeper.command(sequence, destination, action, "test")
    }

    /// Writes and syncs what is recorded.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn flush(&mut self) -> Result<(), Unavailable> {
        self.pump();
        self.keeper.flush()
    }

    /// Retention, removal of buckets and of ledgers.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn maintain(&mut self) -> Result<Option<Duration>, Unavailable> {
        self.pump();
        self.keeper.maintain()
    }

    /// Evicts retained payloads.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn evict(&mut self, bytes: u64) -> Result<u64, Unavailable> {
        self.pump();
        self.keeper.evict(bytes)
    }

    /// One look at the deliveries, as long as [`crate::Page::next`] says that there is more.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn list(&mut self, filter: &Filter) -> Result<Page, Unavailable> {
        self.pump();
        self.keeper.list(filter)
    }

    /// One instance with its deliveries.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn show(&mut self, sequence: Sequence) -> Result<Option<Shown>, Unavailable> {
        self.pump();
        self.keeper.show(sequence)
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub fn stats(&mut self) -> Result<Stats, Unavailable> {
        self.pump();
        self.keeper.stats()
    }

    /// Bytes the ballast holds now; asking changes nothing.
    #[must_use]
    pub fn ballast(&self) -> u64 {
        self.spool().space.ballast().0
    }

    /// Opens a payload.
    ///
    /// # Errors
    /// [`BlobError`]
    pub fn open_blob(&self, instance: &Instance) -> Result<Blob, BlobError> {
        self.spool().open_blob(instance)
    }

    /// Where an instance's file is.
    #[must_use]
    pub fn path(&self, instance: &Instance) -> std::path::PathBuf {
        self.spool().paths.blob(instance.bucket, instance.name)
    }

    /// Gives the queue an index that fails at its n-th call from now.
    pub fn break_index_after(&mut self, calls: u64) {
        self.keeper.replace_index(Box::new(FailingKv {
            inner: MemKv::default(),
            left: AtomicU64::new(calls),
            failed: AtomicBool::new(false),
        }));
    }
}

/// An index that fails once.
struct FailingKv {
    inner: MemKv,
    left: AtomicU64,
    failed: AtomicBool,
}

impl FailingKv {
    fn step(&self) -> Result<(), KvError> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 && !self.failed.swap(true, Ordering::Relaxed) {
            return Err(KvError("simulated".to_owned()));
        }
        Ok(())
    }
}

impl Kv for FailingKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.step()?;
        self.inner.get(key)
    }
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.step()?;
        self.inner.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.step()?;
        self.inner.delete(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        self.step()?;
        self.inner.scan(from, to, visit)
    }
    fn reset(&mut self) -> Result<(), KvError> {
        self.inner.reset()
    }
}
