//! The index: what the journals say, arranged for being asked.
//!
//! Its only way to change is [`View::apply`], which takes the journal's own records; so what it holds after running
//! and what it holds after being made anew is the same by construction.
//!
//! | key | value | for |
//! |---|---|---|
//! | `i` sequence | instance | everything about one |
//! | `d` sequence, destination | delivery | its state |
//! | `r` destination, sequence | digests, bytes, since | what is to be sent, in order |
//! | `a` destination, since, sequence | | ages older than the order tells |
//! | `k` digest of the key, sequence | | duplicates |
//! | `f` final time, sequence | bytes | what may be evicted, oldest first |

pub(crate) mod kv;
pub(crate) mod packed;
mod rows;
pub(crate) mod transition;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::id::Sequence;
use crate::instance::{Delivery, Hold, Instance, State};
use crate::journal::Record;
use crate::wire::{Decoder, Encoder};
use kv::{Kv, KvError};
use rows::Key;

pub(crate) use rows::{ReadyRow, digest};

/// Rows that may be passed over for one that is wanted, before it is cheaper to ask for each by itself.
const DENSE: u64 = 16;

/// Deliveries that are sent again which are passed in search of the oldest one that is not.
const MANY: usize = 10_000;

/// Rows of `k` that gather at most while the index is filled, 16 bytes each.
const UNSORTED: usize = 1 << 17;

/// What a scan calls with each delivery: its instance, its destination, its row.
pub(crate) type VisitDelivery<'a> = &'a mut dyn FnMut(Sequence, &str, &[u8]) -> ControlFlow<()>;

/// What stands in the queue for one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Deliveries to be sent, waiting or under way.
    pub owed: u64,
    /// Their payload bytes.
    pub owed_bytes: u64,
    /// Deliveries held.
    pub held: u64,
    /// Their payload bytes.
    pub held_bytes: u64,
}

/// The index and the counts that are kept beside it.
pub(crate) struct View {
    kv: Box<dyn Kv>,
    destinations: Vec<String>,
    by_name: HashMap<String, u16>,
    tallies: BTreeMap<u16, Tally>,
    /// Payloads that are gone although their instance is still known.
    gone: HashSet<Sequence>,
    /// Instances whose payload is there, per bucket.
    buckets: BTreeMap<u32, u32>,
    retained_bytes: u64,
    payloads: u64,
    payload_bytes: u64,
    /// While the index is filled: rows of `k` that are not in it yet.
    unsorted: Option<Vec<(u64, Sequence)>>,
}

/// The sums over all payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Instances whose payload is in the spool.
    pub payloads: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// Bytes of those of which nothing is owed any more.
    pub retained_bytes: u64,
}

impl View {
    pub(crate) fn new(kv: Box<dyn Kv>) -> Self {
        Self {
            kv,
            destinations: Vec::new(),
            by_name: HashMap::new(),
            tallies: BTreeMap::new(),
            gone: HashSet::new(),
            buckets: BTreeMap::new(),
            retained_bytes: 0,
            payloads: 0,
            payload_bytes: 0,
            unsorted: None,
        }
    }

    /// What follows comes in the order of receiving, and nobody asks for a key meanwhile. Digests have no order: each would
    /// have another block read and written for it. So they gather until [`Self::end_filling`].
    pub(crate) fn begin_filling(&mut self) {
        self.unsorted = Some(Vec::new());
    }

    /// All is there, and may be asked for.
    pub(crate) fn end_filling(&mut self) -> Result<(), KvError> {
        self.sort_in()?;
        self.unsorted = None;
        Ok(())
    }

    /// Puts in what has gathered.
    fn sort_in(&mut self) -> Result<(), KvError> {
        let mut gathered = self.unsorted.as_mut().map(std::mem::take).unwrap_or_default();
        gathered.sort_unstable();
        gathered.into_iter().try_for_each(|(digest, sequence)| self.kv.put(&Key::same(digest, sequence), &[]))
    }

    /// Forgets everything, to be filled from the journals again.
    pub(crate) fn reset(&mut self) -> Result<(), KvError> {
        self.kv.reset()?;
        self.tallies.clear();
        self.gone.clear();
        self.buckets.clear();
        (self.retained_bytes, self.payloads, self.payload_bytes) = (0, 0, 0);
        self.unsorted = None;
        Ok(())
    }

    /// Lets the record take effect. A record about an instance that is not known has none.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), KvError> {
        match record {
            Record::Committed { instance, owed, conflicting } => {
                let deliveries = owed
                    .iter()
                    .map(|owed| Delivery {
                        destination: owed.destination.clone(),
                        state: owed.start.state(),
                        at: instance.received_at,
                        since: instance.since,
                        conflicting: *conflicting,
                    })
                    .collect();
                self.insert(instance, deliveries)
            }
            other => {
                let Some(sequence) = transition::subject(other) else { return Ok(()) };
                let Some(instance) = self.instance(sequence)? else { return Ok(()) };
                let before = self.deliveries(sequence)?;
                let after = transition::apply(&before, other);
                self.change(&instance, &before, &after)
            }
        }
    }

    /// Puts an instance in with its deliveries as they stand: one step for all that its journal says.
    pub(crate) fn insert(&mut self, instance: &Instance, deliveries: Vec<Delivery>) -> Result<(), KvError> {
        if self.instance(instance.sequence)?.is_some() {
            return Ok(());
        }
        self.insert_new(instance, deliveries)
    }

    /// The same for an instance that is known not to be there.
    pub(crate) fn insert_new(
        &mut self,
        instance: &Instance,
        deliveries: Vec<Delivery>,
    ) -> Result<(), KvError> {
        let mut row = Encoder::default();
        instance.encode(&mut row);
        self.kv.put(&Key::instance(instance.sequence), &row.0)?;
        self.put_same(digest(&instance.keys.key), instance.sequence)?;
        *self.buckets.entry(instance.bucket).or_default() += 1;
        self.payloads += 1;
        self.payload_bytes += instance.payload_len();
        self.list_new(instance, &[], &deliveries)?;
        match final_at(instance, &deliveries) {
            Some(at) => self.became_final(instance, at),
            None => Ok(()),
        }
    }

    fn put_same(&mut self, digest: u64, sequence: Sequence) -> Result<(), KvError> {
        let Some(unsorted) = &mut self.unsorted else {
            return self.kv.put(&Key::same(digest, sequence), &[]);
        };
        unsorted.push((digest, sequence));
        if unsorted.len() < UNSORTED { Ok(()) } else { self.sort_in() }
    }

    /// Lets the deliveries of a known instance go from `before` to `after`.
    fn change(
        &mut self,
        instance: &Instance,
        before: &[Delivery],
        after: &[Delivery],
    ) -> Result<(), KvError> {
        self.list_new(instance, before, after)?;
        let (old, new) = (final_at(instance, before), final_at(instance, after));
        if old == new {
            return Ok(());
        }
        if let Some(at) = old {
            self.kv.delete(&Key::last(at, instance.sequence))?;
            self.retained_bytes -= self.present_bytes(instance);
        }
        match new {
            Some(at) => self.became_final(instance, at),
            None => Ok(()),
        }
    }

    /// Writes what differs between the two lists of an instance's deliveries.
    fn list_new(
        &mut self,
        instance: &Instance,
        before: &[Delivery],
        after: &[Delivery],
    ) -> Result<(), KvError> {
        for new in after {
            let old = before.iter().find(|old| old.destination == new.destination);
            if old == Some(new) {
                continue;
            }
            let destination = self.intern(&new.destination);
            if let Some(old) = old {
                self.unlist(instance, destination, old)?;
            }
            self.list(instance, destination, new)?;
            let mut row = Encoder::default();
            new.encode(&mut row);
            self.kv.put(&Key::delivery(instance.sequence, destination), &row.0)?;
        }
        Ok(())
    }

    fn became_final(&mut self, instance: &Instance, at: u64) -> Result<(), KvError> {
        self.retained_bytes += self.present_bytes(instance);
        self.kv.put(&Key::last(at, instance.sequence), &instance.payload_len().to_be_bytes())
    }

    fn present_bytes(&self, instance: &Instance) -> u64 {
        if self.gone.contains(&instance.sequence) { 0 } else { instance.payload_len() }
    }

    fn list(&mut self, instance: &Instance, destination: u16, delivery: &Delivery) -> Result<(), KvError> {
        let bytes = instance.payload_len();
        let tally = self.tallies.entry(destination).or_default();
        match &delivery.state {
            State::Owed => {
                tally.owed += 1;
                tally.owed_bytes += bytes;
                let row = ReadyRow::of(instance, delivery.since);
                self.kv.put(&Key::ready(destination, instance.sequence), &row.encode())?;
                if delivery.since != instance.received_at {
                    self.kv.put(&Key::age(destination, delivery.since, instance.sequence), &[])?;
                }
            }
            State::Held(_) => {
                tally.held += 1;
                tally.held_bytes += bytes;
            }
            State::Superseded { .. } | State::Delivered { .. } | State::Discarded { .. } => {}
        }
        Ok(())
    }

    fn unlist(&mut self, instance: &Instance, destination: u16, delivery: &Delivery) -> Result<(), KvError> {
        let bytes = instance.payload_len();
        let tally = self.tallies.entry(destination).or_default();
        match &delivery.state {
            State::Owed => {
                tally.owed -= 1;
                tally.owed_bytes -= bytes;
                self.kv.delete(&Key::ready(destination, instance.sequence))?;
                if delivery.since != instance.received_at {
                    self.kv.delete(&Key::age(destination, delivery.since, instance.sequence))?;
                }
            }
            State::Held(_) => {
                tally.held -= 1;
                tally.held_bytes -= bytes;
            }
            State::Superseded { .. } | State::Delivered { .. } | State::Discarded { .. } => {}
        }
        Ok(())
    }

    /// The payload's file is gone, of an instance that has been final since `at`.
    pub(crate) fn payload_gone(&mut self, instance: &Instance, at: u64) -> Result<(), KvError> {
        if self.gone.insert(instance.sequence) {
            self.payloads -= 1;
            self.payload_bytes -= instance.payload_len();
            self.retained_bytes -= instance.payload_len();
            if let Some(left) = self.buckets.get_mut(&instance.bucket) {
                *left -= 1;
            }
        }
        self.kv.delete(&Key::last(at, instance.sequence))
    }

    pub(crate) fn is_payload_gone(&self, sequence: Sequence) -> bool {
        self.gone.contains(&sequence)
    }

    /// Buckets that have instances, and how many of those still have their payload.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.buckets.iter().map(|(bucket, left)| (*bucket, *left))
    }

    /// When the last of an instance's deliveries ended; none while one is open.
    pub(crate) fn final_at(&self, instance: &Instance) -> Result<Option<u64>, KvError> {
        Ok(final_at(instance, &self.deliveries(instance.sequence)?))
    }

    /// Forgets an instance altogether.
    pub(crate) fn forget(&mut self, instance: &Instance) -> Result<(), KvError> {
        self.sort_in()?;
        match self.final_at(instance)? {
            Some(at) => self.payload_gone(instance, at)?,
            None => {
                self.payloads -= 1;
                self.payload_bytes -= instance.payload_len();
                if let Some(left) = self.buckets.get_mut(&instance.bucket) {
                    *left -= 1;
                }
            }
        }
        for delivery in self.deliveries(instance.sequence)? {
            let destination = self.intern(&delivery.destination);
            self.unlist(instance, destination, &delivery)?;
            self.kv.delete(&Key::delivery(instance.sequence, destination))?;
        }
        self.gone.remove(&instance.sequence);
        self.kv.delete(&Key::same(digest(&instance.keys.key), instance.sequence))?;
        self.kv.delete(&Key::instance(instance.sequence))
    }

    /// A bucket has a journal, whether or not any instance is in it: it is to be removed like any other.
    pub(crate) fn know_bucket(&mut self, bucket: u32) {
        self.buckets.entry(bucket).or_default();
    }

    /// Forgets that a bucket was there.
    pub(crate) fn forget_bucket(&mut self, bucket: u32) {
        self.buckets.remove(&bucket);
    }

    pub(crate) fn instance(&self, sequence: Sequence) -> Result<Option<Instance>, KvError> {
        match self.kv.get(&Key::instance(sequence))? {
            None => Ok(None),
            Some(row) => Ok(Some(Instance::decode(&mut Decoder(&row)).map_err(unreadable)?)),
        }
    }

    pub(crate) fn deliveries(&self, sequence: Sequence) -> Result<Vec<Delivery>, KvError> {
        let mut deliveries = Vec::new();
        let mut bad = false;
        let (from, to) = Key::deliveries_of(sequence);
        self.kv.scan(&from, &to, &mut |key, row| {
            let named = self.named(key);
            match named.map(|(_, name)| Delivery::decode(name.to_owned(), &mut Decoder(row))) {
                Some(Ok(delivery)) => deliveries.push(delivery),
                _ => bad = true,
            }
            ControlFlow::Continue(())
        })?;
        if bad { Err(unreadable(())) } else { Ok(deliveries) }
    }

    pub(crate) fn delivery(&self, sequence: Sequence, name: &str) -> Result<Option<Delivery>, KvError> {
        let Some(destination) = self.by_name.get(name) else { return Ok(None) };
        match self.kv.get(&Key::delivery(sequence, *destination))? {
            None => Ok(None),
            Some(row) => {
                let delivery = Delivery::decode(name.to_owned(), &mut Decoder(&row)).map_err(unreadable)?;
                Ok(Some(delivery))
            }
        }
    }

    /// What is to be sent to a destination, in order of receipt, from `from` on.
    pub(crate) fn ready(
        &self,
        name: &str,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, ReadyRow) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        let Some(destination) = self.by_name.get(name) else { return Ok(()) };
        let (_, to) = Key::ready_of(*destination);
        let mut bad = false;
        self.kv.scan(&Key::ready(*destination, from), &to, &mut |key, row| {
            let Some((sequence, row)) = Key::sequence_of(key).zip(ReadyRow::decode(row)) else {
                bad = true;
                return ControlFlow::Break(());
            };
            visit(sequence, row)
        })?;
        if bad { Err(unreadable(())) } else { Ok(()) }
    }

    /// The row of every known instance from `from` on, in order of receipt.
    pub(crate) fn instance_rows(
        &self,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        self.kv.scan(&Key::instance(from), &Key::instances_end(), &mut |key, row| {
            Key::subject_of(key).map_or(ControlFlow::Continue(()), |sequence| visit(sequence, row))
        })
    }

    /// The row of every delivery of the instances from `from` on, in order of receipt, with its destination.
    pub(crate) fn delivery_rows(&self, from: Sequence, visit: VisitDelivery<'_>) -> Result<(), KvError> {
        let mut bad = false;
        let (from, _) = Key::deliveries_of(from);
        self.kv.scan(&from, &Key::deliveries_end(), &mut |key, row| match self.named(key) {
            Some((sequence, name)) => visit(sequence, name, row),
            None => {
                bad = true;
                ControlFlow::Break(())
            }
        })?;
        if bad { Err(unreadable(())) } else { Ok(()) }
    }

    /// The rows of these instances, which are in order; those that are not known are left out.
    pub(crate) fn instance_rows_of(
        &self,
        sequences: &[Sequence],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), KvError> {
        let of = |sequence: Sequence| (Key::instance(sequence), Key::instance(sequence.following()));
        self.rows_of(sequences, of, &mut |_, row| visit(row))
    }

    /// The deliveries of these instances, which are in order.
    pub(crate) fn deliveries_of_all(
        &self,
        sequences: &[Sequence],
    ) -> Result<HashMap<Sequence, Vec<Delivery>>, KvError> {
        let mut all: HashMap<_, Vec<_>> = HashMap::with_capacity(sequences.len());
        let mut bad = false;
        self.rows_of(sequences, Key::deliveries_of, &mut |key, row| {
            let named = self.named(key);
            match named.map(|(at, name)| (at, Delivery::decode(name.to_owned(), &mut Decoder(row)))) {
                Some((sequence, Ok(delivery))) => all.entry(sequence).or_default().push(delivery),
                _ => bad = true,
            }
        })?;
        if bad { Err(unreadable(())) } else { Ok(all) }
    }

    /// The rows whose keys begin with these sequences: one scan where they lie close together, else one for each.
    fn rows_of(
        &self,
        sequences: &[Sequence],
        of: impl Fn(Sequence) -> (Vec<u8>, Vec<u8>),
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), KvError> {
        let (Some(first), Some(last)) = (sequences.first(), sequences.last()) else { return Ok(()) };
        if (last.raw() - first.raw()) / DENSE > sequences.len() as u64 {
            for sequence in sequences {
                let (from, to) = of(*sequence);
                self.kv.scan(&from, &to, &mut |key, row| {
                    visit(key, row);
                    ControlFlow::Continue(())
                })?;
            }
            return Ok(());
        }
        let mut wanted = sequences.iter().copied().peekable();
        self.kv.scan(&of(*first).0, &of(*last).1, &mut |key, row| {
            let Some(sequence) = Key::subject_of(key) else { return ControlFlow::Continue(()) };
            while wanted.next_if(|before| *before < sequence).is_some() {}
            if wanted.peek() == Some(&sequence) {
                visit(key, row);
            }
            ControlFlow::Continue(())
        })
    }

    /// The instance and the destination in a delivery's key.
    fn named(&self, delivery_key: &[u8]) -> Option<(Sequence, &str)> {
        let name = self.destinations.get(usize::from(Key::destination_of(delivery_key)?))?;
        Some((Key::subject_of(delivery_key)?, name))
    }

    /// Known instances with this key, oldest first.
    pub(crate) fn same_key(&self, key: &str) -> Result<Vec<Instance>, KvError> {
        let mut found = Vec::new();
        let (from, to) = Key::same_as(digest(key));
        self.kv.scan(&from, &to, &mut |row_key, _| {
            found.extend(Key::sequence_of(row_key));
            ControlFlow::Continue(())
        })?;
        let mut instances = Vec::new();
        for sequence in found {
            instances.extend(self.instance(sequence)?.filter(|i| i.keys.key == key));
        }
        Ok(instances)
    }

    /// Instances of which nothing is owed since before `until`, oldest first, with their payload's bytes.
    pub(crate) fn finals(
        &self,
        until: u64,
        visit: &mut dyn FnMut(u64, Sequence) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        let (from, to) = Key::lasts_until(until);
        self.kv.scan(&from, &to, &mut |key, _| match Key::last_of(key) {
            Some((at, sequence)) => visit(at, sequence),
            None => ControlFlow::Continue(()),
        })
    }

    /// Since when the oldest delivery to this destination has been owed.
    pub(crate) fn oldest(&self, name: &str) -> Result<Option<u64>, KvError> {
        let Some(destination) = self.by_name.get(name) else { return Ok(None) };
        let mut oldest: Option<u64> = None;
        let mut looked = 0;
        // The first in the order of receipt is the oldest, but for those that are sent again.
        self.ready(name, Sequence::default(), &mut |_, row| {
            looked += 1;
            oldest = (!row.sent_again).then_some(row.since);
            if row.sent_again && looked < MANY { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let (from, to) = Key::ages_of(*destination);
        self.kv.scan(&from, &to, &mut |key, _| {
            let since = Key::since_of(key);
            oldest = oldest.into_iter().chain(since).min();
            ControlFlow::Break(())
        })?;
        Ok(oldest)
    }

    /// Every destination that was ever named, with what stands for it.
    pub(crate) fn tallies(&self) -> Vec<(String, Tally)> {
        let tally = |at: usize| self.tallies.get(&(at as u16)).copied().unwrap_or_default();
        self.destinations.iter().enumerate().map(|(at, name)| (name.clone(), tally(at))).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            payloads: self.payloads,
            payload_bytes: self.payload_bytes,
            retained_bytes: self.retained_bytes,
        }
    }

    fn intern(&mut self, name: &str) -> u16 {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.destinations.len() as u16;
        self.destinations.push(name.to_owned());
        self.by_name.insert(name.to_owned(), at);
        at
    }
}

/// When nothing was owed any more: at once for an instance that is owed to nobody.
fn final_at(instance: &Instance, deliveries: &[Delivery]) -> Option<u64> {
    let last = deliveries.iter().map(|d| d.at).max().unwrap_or(instance.received_at);
    if deliveries.iter().any(|d| d.state.is_open()) { None } else { Some(last) }
}

/// Whether an instance's hold, if it has one, is of the kind that a newer instance inherits.
pub(crate) fn inherited_hold(state: &State) -> Option<&Hold> {
    match state {
        State::Held(hold) | State::Superseded { held: Some(hold), .. } if hold.kind.is_inherited() => {
            Some(hold)
        }
        _ => None,
    }
}

pub(crate) fn unreadable<E>(_: E) -> KvError {
    KvError("a row is unreadable".to_owned())
}

#[cfg(test)]
mod tests {
    use super::kv::MemKv;
    use super::{UNSORTED, View};
    use crate::id::Sequence;

    #[test]
    fn what_gathers_while_the_index_is_filled_is_in_it_afterwards_and_not_held_without_a_limit() {
        let mut view = View::new(Box::<MemKv>::default());
        view.begin_filling();
        let count = UNSORTED as u32 + 10;
        for n in 0..count {
            // In no order.
            let digest = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            view.put_same(digest, Sequence::new(1, n)).unwrap();
        }
        assert_eq!(view.unsorted.as_ref().map(Vec::len), Some(10));
        view.end_filling().unwrap();
        let mut rows = 0;
        let mut count_rows = |_: &[u8], _: &[u8]| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        };
        view.kv.scan(b"k", b"l", &mut count_rows).unwrap();
        assert_eq!(rows, count);
    }
}
