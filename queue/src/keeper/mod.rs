//! The keeper: the one owner of journals and index. It runs on one thread and is synchronous; [`crate::Queue`] is
//! the handle that others use.
//!
//! Every change is a [`Record`]: it takes effect in the index at once and joins the batch of its bucket's journal.
//! A change that somebody waits for is answered after the batch is synced.

mod choose;
mod command;
mod duplicates;
mod lease;
mod listing;
mod quiet;
pub(crate) mod recovery;
mod replay;
mod retention;
mod search;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::id::Sequence;
use crate::instance::{Hold, Instance, Owed, Start};
use crate::journal::writer::FlushError;
use crate::journal::{Journals, Record};
use crate::poison::Poisoned;
use crate::spool::{Fresh, Spool};
use crate::view::kv::{Kv, KvError, MemKv};
use crate::view::{Tally, Totals, View, digest};
use duplicates::Known;
use quiet::LastSeen;

pub use command::{Action, CommandError};
pub(crate) use lease::LeasedInstance;
pub use lease::{History, LeaseRequest, Outcome};
pub use listing::{Filter, Page, Row, Select, Shown, Standing};
pub use recovery::{OpenError, Recovered};

/// Records after which a batch is written without waiting longer.
pub(crate) const BATCH: usize = 64;
/// Others of one key that are looked at when a new one comes.
const MAX_KNOWN: usize = 64;

/// The queue cannot answer now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// A journal's sync failed: nothing can be recorded until a restart.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The disk is so full that not even outcomes can be recorded. Ends by itself.
    #[error("the disk is full: nothing can be recorded")]
    Full,
    /// The index failed and could not be made anew yet. Ends by itself.
    #[error("the index is being made anew: {0}")]
    Index(String),
    /// The queue has been closed.
    #[error("the queue is closed")]
    Closed,
}

impl From<FlushError> for Unavailable {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::Poisoned(p) => Self::Poisoned(p),
            FlushError::Full => Self::Full,
        }
    }
}

/// For how long things are kept after they are done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) payload: Duration,
    pub(crate) ledger: Duration,
}

/// What is called when the batch is durable, or cannot be made so.
pub(crate) type Waiter = Box<dyn FnOnce(Result<(), Unavailable>) + Send>;

/// What the keeper tells the outside.
pub(crate) trait Notices: Send {
    /// There may be something to send to this destination.
    fn ready(&self, destination: &str);
    /// An instance is held at a destination from the start.
    fn held(&self, instance: &Instance, destination: &str, hold: &Hold);
    /// The index was thrown away and made anew, and why.
    fn index_rebuilt(&self, why: &str);
}

/// How things stand.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Per destination ever named: what is owed and held.
    pub destinations: Vec<DestinationStats>,
    /// Sums over all payloads.
    pub totals: Totals,
    /// Bytes the ballast holds, and should hold.
    pub ballast: (u64, u64),
    /// Room for receiving, in bytes.
    pub room: u64,
    /// Bytes free on the file system.
    pub free: u64,
    /// A failed sync, in words.
    pub poisoned: Option<String>,
    /// How often the index has been made anew since start.
    pub index_rebuilds: u64,
    /// Finished files that cannot be told from garbage any more; they stay where they are.
    pub corrupt_files: u64,
    /// Records that are not synced yet.
    pub unsynced_records: u64,
}

/// One destination's part of [`Stats`].
#[derive(Debug, Clone)]
pub struct DestinationStats {
    /// Its name.
    pub name: String,
    /// Counts and bytes.
    pub tally: Tally,
    /// Since when the oldest owed delivery waits, wall clock milliseconds.
    pub oldest: Option<u64>,
    /// Deliveries under way.
    pub leased: u64,
}

pub(crate) struct Keeper {
    pub(crate) spool: Arc<Spool>,
    journals: Journals,
    view: View,
    retention: Retention,
    notices: Box<dyn Notices>,
    waiters: Vec<Waiter>,
    /// What is under way to each destination, with the digest of its group.
    leased: HashMap<String, HashMap<Sequence, u64>>,
    /// Deliveries that are not to be tried before a moment of the monotonic clock.
    waiting: HashMap<String, HashMap<Sequence, Duration>>,
    last_seen: LastSeen,
    /// Requests that were answered with nothing, and until when the answer is the same: while a study comes in, each of
    /// its instances makes its destination ask again.
    idle: HashMap<String, (LeaseRequest, Duration)>,
    /// Buckets whose payloads are gone: when they went.
    ledgers: BTreeMap<u32, u64>,
    /// Durable instances that wait for an index that can be asked about their duplicates.
    undecided: VecDeque<Fresh>,
    /// Why the index cannot be used.
    broken: Option<String>,
    index_rebuilds: u64,
    corrupt_files: u64,
}

impl Keeper {
    /// Hears of a durable instance: looks for duplicates, then owes it to its destinations.
    pub(crate) fn committed(&mut self, fresh: Fresh) {
        self.undecided.push_back(fresh);
        let _ = self.decide_all();
    }

    /// Decides what was heard of, in order. While the index cannot be asked nothing is decided: an instance whose
    /// duplicates nobody looked at might be sent although it must be held. It is durable, so it can wait.
    fn decide_all(&mut self) -> Result<(), Unavailable> {
        while let Some(fresh) = self.undecided.pop_front() {
            match self.decide(&fresh.instance, &fresh.owed) {
                Ok(decision) => self.take_in(fresh.instance, decision),
                Err(error) => {
                    self.undecided.push_front(fresh);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn take_in(&mut self, mut instance: Instance, decision: duplicates::Decision) {
        let duplicates::Decision { owed, since, conflicting, superseded, gives_way } = decision;
        instance.since = since;
        let now = self.spool.clock.monotonic();
        self.last_seen.saw(digest(&instance.keys.group), now);
        let (sequence, at) = (instance.sequence, self.spool.clock.wall_ms());
        let bucket = instance.bucket;
        for Owed { destination, start } in &owed {
            if let Some(hold) = start.held() {
                self.notices.held(&instance, destination, hold);
            }
        }
        let to_send = owed.iter().filter(|o| !matches!(o.start, Start::Discard { .. }));
        let to_send: Vec<_> = to_send.map(|o| o.destination.clone()).collect();
        self.record(bucket, Record::Committed { instance: Box::new(instance), owed, conflicting });
        for ((bucket, older), destinations) in superseded {
            self.record(bucket, Record::Superseded { sequence: older, destinations, at, by: sequence });
        }
        for (by, destinations) in gives_way {
            self.record(bucket, Record::Superseded { sequence, destinations, at, by });
        }
        for destination in to_send {
            if let Some((asked, until)) = self.idle.get_mut(&destination) {
                *until = now.saturating_add(asked.quiet).min(*until);
            }
            self.notices.ready(&destination);
        }
    }

    fn decide(&mut self, new: &Instance, owed: &[Owed]) -> Result<duplicates::Decision, Unavailable> {
        let known = self.ask(|keeper| {
            let mut known = Vec::new();
            for instance in keeper.view.same_key(&new.keys.key)?.into_iter().rev().take(MAX_KNOWN) {
                if instance.sequence == new.sequence {
                    continue;
                }
                let deliveries = keeper.view.deliveries(instance.sequence)?;
                let leased = keeper.leased_to(instance.sequence);
                known.push(Known { instance, deliveries, leased });
            }
            known.reverse();
            Ok(known)
        })?;
        Ok(duplicates::decide(new, owed, &known))
    }

    fn leased_to(&self, sequence: Sequence) -> Vec<String> {
        let to = self.leased.iter().filter(|(_, leased)| leased.contains_key(&sequence));
        to.map(|(destination, _)| destination.clone()).collect()
    }

    /// No more files will be added to the bucket.
    pub(crate) fn bucket_drained(&mut self, bucket: u32) {
        let at = self.spool.clock.wall_ms();
        self.view.know_bucket(bucket);
        self.record(bucket, Record::Closed { at });
    }

    /// Lets a record take effect and adds it to the batch. A failing index is made anew from the journals, in which
    /// the record then is.
    fn record(&mut self, bucket: u32, record: Record) {
        let applied = if self.broken.is_none() { self.view.apply(&record) } else { Ok(()) };
        self.journals.push(bucket, record);
        if let Err(error) = applied {
            self.index_failed(&error);
        }
        if self.journals.pending() >= BATCH * 16 {
            let _ = self.flush();
        }
    }

    /// Asks the index about everything heard of.
    fn look<T>(&mut self, ask: impl Fn(&Self) -> Result<T, KvError>) -> Result<T, Unavailable> {
        self.decide_all()?;
        self.ask(ask)
    }

    /// Asks the index; when it fails it is made anew and asked once more.
    fn ask<T>(&mut self, ask: impl Fn(&Self) -> Result<T, KvError>) -> Result<T, Unavailable> {
        self.mend()?;
        match ask(self) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.index_failed(&error);
                self.mend()?;
                ask(self).map_err(|error| {
                    self.broken = Some(error.0.clone());
                    Unavailable::Index(error.0)
                })
            }
        }
    }

    fn index_failed(&mut self, error: &KvError) {
        self.broken = Some(error.0.clone());
        let _ = self.mend();
    }

    /// Makes a failed index anew: the batch goes to the journals first, then everything is read back.
    pub(crate) fn mend(&mut self) -> Result<(), Unavailable> {
        let Some(why) = self.broken.clone() else { return Ok(()) };
        self.flush()?;
        let filled = match self.refill() {
            Err(replay::ReplayError::Index(_)) => self.refill_in_memory(),
            other => other,
        };
        let filled = filled.map_err(|error| Unavailable::Index(error.to_string()))?;
        self.broken = None;
        self.index_rebuilds += 1;
        self.notices.index_rebuilt(&why);
        // Held again by the next start, which also takes in what cannot be seen until then.
        let held = self.hold_what_damage_left_open(&filled).and_then(|()| self.flush());
        if held.is_err() {
            self.broken = Some("a journal is damaged".to_owned());
        }
        held
    }

    fn refill(&mut self) -> Result<replay::Filled, replay::ReplayError> {
        self.view.reset()?;
        replay::fill(&self.spool, &mut self.view)
    }

    /// When the disk will not have an index at all, memory has to do.
    fn refill_in_memory(&mut self) -> Result<replay::Filled, replay::ReplayError> {
        self.view = View::new(Box::<MemKv>::default());
        replay::fill(&self.spool, &mut self.view)
    }

    /// Has `waiter` called when everything recorded so far is durable.
    pub(crate) fn when_durable(&mut self, waiter: Waiter) {
        let recording = self.spool.poison.check_recording();
        if recording.is_err() || self.journals.pending() == 0 {
            waiter(recording.map_err(Unavailable::Poisoned));
        } else {
            self.waiters.push(waiter);
        }
    }

    /// Records that are not durable yet.
    pub(crate) fn pending(&self) -> usize {
        self.journals.pending()
    }

    /// Writes and syncs the batch. When the disk is full the ballast gives way, step by step.
    pub(crate) fn flush(&mut self) -> Result<(), Unavailable> {
        loop {
            match self.journals.flush() {
                Ok(()) => {
                    self.waiters.drain(..).for_each(|waiter| waiter(Ok(())));
                    return Ok(());
                }
                Err(FlushError::Full) if self.spool.space.give_up_step(&*self.spool.fs) => {}
                Err(error @ FlushError::Full) => return Err(error.into()),
                Err(FlushError::Poisoned(p)) => {
                    let error = Unavailable::Poisoned(p);
                    self.waiters.drain(..).for_each(|waiter| waiter(Err(error.clone())));
                    return Err(error);
                }
            }
        }
    }

    /// How things stand.
    pub(crate) fn stats(&mut self) -> Result<Stats, Unavailable> {
        let destinations = self.look(|keeper| {
            let mut all = Vec::new();
            for (name, tally) in keeper.view.tallies() {
                let oldest = keeper.view.oldest(&name)?;
                let leased = keeper.leased.get(&name).map_or(0, |leased| leased.len() as u64);
                all.push(DestinationStats { name, tally, oldest, leased });
            }
            Ok(all)
        })?;
        let (fs, root) = (&*self.spool.fs, &self.spool.paths.root);
        Ok(Stats {
            destinations,
            totals: self.view.totals(),
            ballast: self.spool.space.ballast(),
            room: self.spool.space.room(fs, root).unwrap_or_default(),
            free: fs.space(root).map(|s| s.available).unwrap_or_default(),
            poisoned: self.spool.poison.reason().map(|(_, why)| why),
            index_rebuilds: self.index_rebuilds,
            corrupt_files: self.corrupt_files,
            unsynced_records: self.journals.pending() as u64,
        })
    }

    /// Takes back the names made ahead, at the end.
    pub(crate) fn remove_unused_names(&mut self) {
        for (bucket, name) in self.spool.names.take_unused() {
            let _ = self.spool.fs.unlink(&self.spool.paths.blob(bucket, name));
        }
    }

    /// Replaces the index's store; for tests that break it.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn replace_index(&mut self, kv: Box<dyn Kv>) {
        self.view = View::new(kv);
        self.broken = Some("replaced".to_owned());
    }
}

/// How an index is made: on the disk where that works, else in memory.
pub(crate) fn new_view(make: impl FnOnce() -> Result<Box<dyn Kv>, KvError>) -> View {
    View::new(make().unwrap_or_else(|_| Box::<MemKv>::default()))
}
