//! Which deliveries go next: the oldest that is due and may go, and those of its group after it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use super::Keeper;
use super::lease::{LeaseRequest, LeasedInstance};
use crate::id::Sequence;
use crate::instance::{Instance, State};
use crate::view::kv::KvError;
use crate::view::{ReadyRow, digest};

/// Ready deliveries that are looked at for one lease.
const LOOK_AHEAD: usize = 10_000;
/// Ready deliveries of groups that are not to go now, which are passed beside those: they must not hide the ones that may
/// go behind them.
const LOOK_PAST: usize = 100_000;

/// The deliveries chosen, and the next moment at which one that is not due yet will be.
pub(super) type Choice = (Vec<LeasedInstance>, Option<Duration>);

/// The groups that a choice is made among.
#[derive(Clone, Copy)]
enum Among {
    All,
    Only(u64),
    AllBut(u64),
}

impl Among {
    /// How many deliveries that are not to go now are passed for one that is. A group that is only preferred is not worth
    /// much.
    fn look_past(self) -> usize {
        match self {
            Self::Only(_) => LOOK_AHEAD,
            Self::All | Self::AllBut(_) => LOOK_PAST,
        }
    }

    fn has(self, group: u64) -> bool {
        match self {
            Self::All => true,
            Self::Only(one) => group == one,
            Self::AllBut(one) => group != one,
        }
    }
}

impl Keeper {
    /// The preferred group, else any but the avoided one, else any.
    pub(super) fn choose(
        &self,
        destination: &str,
        want: &LeaseRequest,
        now: Duration,
    ) -> Result<Choice, KvError> {
        if !want.quiet.is_zero() && now < self.last_seen.none_before(want.quiet) {
            return self.nothing_yet(destination, want);
        }
        let prefer = want.prefer.as_deref().map(|group| Among::Only(digest(group)));
        let avoid = want.avoid.as_deref().map(|group| Among::AllBut(digest(group)));
        for among in prefer.into_iter().chain(avoid) {
            let choice = self.choose_among(destination, want, now, among)?;
            if !choice.0.is_empty() {
                return Ok(choice);
            }
        }
        self.choose_among(destination, want, now, Among::All)
    }

    /// So soon after the start no group is known to be quiet.
    fn nothing_yet(&self, destination: &str, want: &LeaseRequest) -> Result<Choice, KvError> {
        let mut next_due = None;
        self.view.ready(destination, Sequence::default(), &mut |_, _| {
            next_due = Some(self.last_seen.none_before(want.quiet));
            ControlFlow::Break(())
        })?;
        Ok((Vec::new(), next_due))
    }

    fn choose_among(
        &self,
        destination: &str,
        want: &LeaseRequest,
        now: Duration,
        among: Among,
    ) -> Result<Choice, KvError> {
        let mut chosen = Vec::new();
        let mut failed = None;
        let mut next_due: Option<Duration> = None;
        let mut group = None;
        let (mut looked, mut passed) = (0, 0);
        let (none_leased, none_waiting) = (HashMap::new(), HashMap::new());
        let leased = self.leased.get(destination).unwrap_or(&none_leased);
        let waiting = self.waiting.get(destination).unwrap_or(&none_waiting);
        let busy: HashSet<u64> = if want.alone { leased.values().copied().collect() } else { HashSet::new() };
        let from = want.after.map_or(Sequence::default(), Sequence::following);
        self.view.ready(destination, from, &mut |sequence, row: ReadyRow| {
            let waits_until = waiting.get(&sequence).copied().unwrap_or_default();
            let quiet_from =
                if want.quiet.is_zero() { now } else { self.last_seen.quiet_from(row.group, want.quiet) };
            let due = waits_until.max(quiet_from);
            if due > now {
                next_due = Some(next_due.map_or(due, |next| next.min(due)));
            }
            if quiet_from > now || busy.contains(&row.group) || !among.has(row.group) {
                // Its group's turn comes later.
                passed += 1;
            } else {
                looked += 1;
                let is_free = due <= now && !leased.contains_key(&sequence);
                if is_free && group.is_none_or(|group| group == row.group) {
                    // One that must wait for another of its key does not make the rest wait.
                    match self.unless_blocked(destination, sequence) {
                        Ok(None) => {}
                        Ok(Some(one)) => {
                            group = Some(row.group);
                            chosen.push(one);
                        }
                        Err(error) => failed = Some(error),
                    }
                }
            }
            let is_enough = chosen.len() >= want.max || looked >= LOOK_AHEAD || passed >= among.look_past();
            if is_enough || failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok((chosen, next_due)), Err)
    }

    fn unless_blocked(
        &self,
        destination: &str,
        sequence: Sequence,
    ) -> Result<Option<LeasedInstance>, KvError> {
        let Some(instance) = self.view.instance(sequence)? else { return Ok(None) };
        if self.is_blocked(destination, &instance)? {
            return Ok(None);
        }
        let delivery = self.view.delivery(sequence, destination)?;
        let conflicting = delivery.is_some_and(|d| d.conflicting);
        Ok(Some(LeasedInstance { instance, conflicting }))
    }

    /// Deliveries of one key to one destination never overlap and never overtake; those that are held are passed.
    fn is_blocked(&self, destination: &str, instance: &Instance) -> Result<bool, KvError> {
        for other in self.view.same_key(&instance.keys.key)? {
            if other.sequence == instance.sequence {
                continue;
            }
            if self.is_leased(destination, other.sequence) {
                return Ok(true);
            }
            let delivery = self.view.delivery(other.sequence, destination)?;
            let owed = delivery.is_some_and(|d| d.state == State::Owed);
            if owed && other.sequence < instance.sequence {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
