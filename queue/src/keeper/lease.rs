//! Who sends what next, and how it ended.

use std::time::Duration;

use super::duplicates::was_dropped;
use super::{BATCH, Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{Delivery, Hold, Instance, State};
use crate::journal::Record;
use crate::view::digest;
use crate::view::kv::KvError;

/// Records that may be waiting for their sync while more is attempted.
const MAX_UNSYNCED: usize = BATCH * 64;

/// What a destination's dispatcher asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaseRequest {
    /// At most this many deliveries, all of one group.
    pub max: usize,
    /// Only deliveries after this one in the order of receipt.
    pub after: Option<Sequence>,
    /// Another group than this one, if any other has something due.
    pub avoid: Option<String>,
    /// This group before any other, if it has something due; it is looked for among the next ten thousand deliveries.
    pub prefer: Option<String>,
    /// Only groups to which nothing has been committed for so long. After a start every group counts as committed to when
    /// the queue was opened.
    pub quiet: Duration,
    /// Only groups of which nothing is leased to this destination now; the preferred one is no exception.
    pub alone: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The destination has it; what it said.
    Delivered(String),
    /// It must not be sent until somebody decides.
    Held(Hold),
    /// To be tried again, not before so long.
    Retry(Duration),
    /// It was not attempted after all.
    Untried,
}

/// One delivery under way.
#[derive(Debug, Clone)]
pub(crate) struct LeasedInstance {
    pub(crate) instance: Instance,
    pub(crate) conflicting: bool,
}

/// What was leased, and when to ask again if that was nothing.
#[derive(Debug, Default)]
pub(crate) struct LeasedBatch {
    pub(crate) leases: Vec<LeasedInstance>,
    /// The next moment, from now, at which a delivery is due that waits, or whose group is not quiet yet.
    pub(crate) next_due: Option<Duration>,
}

impl Keeper {
    /// Leases the oldest due delivery of a destination and those of the same group that follow it.
    pub(crate) fn lease(
        &mut self,
        destination: &str,
        want: LeaseRequest,
    ) -> Result<LeasedBatch, Unavailable> {
        self.spool.poison.check_recording()?;
        if self.journals.pending() > MAX_UNSYNCED {
            self.flush()?;
        }
        let now = self.spool.clock.monotonic();
        self.last_seen.asked_for(want.quiet);
        self.decide_all()?;
        if let Some((_, until)) =
            self.idle.get(destination).filter(|(asked, until)| *asked == want && *until > now)
        {
            return Ok(LeasedBatch { leases: Vec::new(), next_due: Some(until.saturating_sub(now)) });
        }
        let (chosen, next_due) = self.look(|keeper| keeper.choose(destination, &want, now))?;
        self.idle.remove(destination);
        if let Some(until) = next_due
            && chosen.is_empty()
            && !want.quiet.is_zero()
        {
            self.idle.insert(destination.to_owned(), (want, until));
        }
        let leased = self.leased.entry(destination.to_owned()).or_default();
        leased.extend(chosen.iter().map(|c| (c.instance.sequence, digest(&c.instance.keys.group))));
        if let Some(waiting) = self.waiting.get_mut(destination) {
            waiting.retain(|sequence, _| !chosen.iter().any(|c| c.instance.sequence == *sequence));
        }
        Ok(LeasedBatch { leases: chosen, next_due: next_due.map(|due| due.saturating_sub(now)) })
    }

    pub(crate) fn is_leased(&self, destination: &str, sequence: Sequence) -> bool {
        self.leased.get(destination).is_some_and(|leased| leased.contains_key(&sequence))
    }

    /// Ends a lease. A delivery is recorded whatever else fails; it is durable with the next batch, and until then a
    /// crash repeats it.
    pub(crate) fn finish(&mut self, destination: &str, instance: &Instance, outcome: Outcome) {
        let sequence = instance.sequence;
        if let Some(leased) = self.leased.get_mut(destination) {
            leased.remove(&sequence);
        }
        self.idle.remove(destination);
        let at = self.spool.clock.wall_ms();
        if let Outcome::Delivered(detail) = outcome {
            let destination = destination.to_owned();
            self.record(instance.bucket, Record::Delivered { sequence, destination, at, detail });
        } else if self.conclude(destination, instance, outcome).is_err() {
            // The index could not be asked. The delivery is owed there still, and is tried again when it can.
            self.wait(destination, sequence, Duration::from_secs(1));
        }
        self.notices.ready(destination);
    }

    /// An attempt ended without a delivery.
    fn conclude(
        &mut self,
        destination: &str,
        instance: &Instance,
        outcome: Outcome,
    ) -> Result<(), Unavailable> {
        let (sequence, at) = (instance.sequence, self.spool.clock.wall_ms());
        let (delivery, newer) = self.look(|keeper| {
            let delivery = keeper.view.delivery(sequence, destination)?;
            Ok((delivery, keeper.newer_with_same_bytes(destination, instance)?))
        })?;
        if delivery.is_none_or(|d| d.state != State::Owed) {
            return Ok(());
        }
        if let Some(by) = newer {
            let destinations = vec![destination.to_owned()];
            self.record(instance.bucket, Record::Superseded { sequence, destinations, at, by });
            return Ok(());
        }
        match outcome {
            Outcome::Held(hold) => {
                let (destination, who) = (destination.to_owned(), "chrysalis".to_owned());
                self.record(instance.bucket, Record::Held { sequence, destination, at, hold, who });
            }
            Outcome::Retry(pause) => self.wait(destination, sequence, pause),
            Outcome::Untried | Outcome::Delivered(_) => {}
        }
        Ok(())
    }

    /// A newer instance with these bytes came while this one was under way: that one goes instead.
    fn newer_with_same_bytes(
        &self,
        destination: &str,
        instance: &Instance,
    ) -> Result<Option<Sequence>, KvError> {
        for other in self.view.same_key(&instance.keys.key)? {
            let newer = other.sequence > instance.sequence && other.sha256() == instance.sha256();
            let delivery: Option<Delivery> = self.view.delivery(other.sequence, destination)?;
            if newer && delivery.is_some_and(|d| d.state.is_open()) {
                return Ok(Some(other.sequence));
            }
        }
        Ok(None)
    }

    pub(crate) fn is_waiting(&self, destination: &str, sequence: Sequence) -> bool {
        self.waiting.get(destination).is_some_and(|waiting| waiting.contains_key(&sequence))
    }

    /// Nothing waits at this destination any more.
    pub(crate) fn hurry(&mut self, destination: &str) {
        self.waiting.remove(destination);
        self.notices.ready(destination);
    }

    fn wait(&mut self, destination: &str, sequence: Sequence, pause: Duration) {
        if !pause.is_zero() {
            let due = self.spool.clock.monotonic() + pause;
            self.waiting.entry(destination.to_owned()).or_default().insert(sequence, due);
        }
    }

    /// Whether these very bytes were delivered to this destination before, and whether another content of the key
    /// is known. Of deliveries, those count whose detail does.
    pub(crate) fn same_key(&mut self, key: &str) -> Result<Vec<Instance>, Unavailable> {
        self.look(|keeper| keeper.view.same_key(key))
    }

    pub(crate) fn history(
        &mut self,
        destination: &str,
        sequence: Sequence,
        counts: fn(&str) -> bool,
    ) -> Result<History, Unavailable> {
        self.look(|keeper| {
            let Some(instance) = keeper.view.instance(sequence)? else { return Ok(History::default()) };
            let mut history = History::default();
            for other in keeper.view.same_key(&instance.keys.key)? {
                if other.sha256() != instance.sha256() {
                    // What a rule discarded nobody was sent.
                    history.other_content |= !was_dropped(&keeper.view.deliveries(other.sequence)?);
                    continue;
                }
                let delivery = keeper.view.delivery(other.sequence, destination)?;
                let delivered = delivery
                    .is_some_and(|d| matches!(&d.state, State::Delivered { detail } if counts(detail)));
                history.delivered_before |= delivered;
            }
            Ok(history)
        })
    }
}

/// What is known of a key besides one instance of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// These very bytes were delivered to the destination before, in a way that counts.
    pub delivered_before: bool,
    /// Another content of the same key is known.
    pub other_content: bool,
}
