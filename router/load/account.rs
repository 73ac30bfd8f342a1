//! Every instance, from the cart to the PACS: when it was sent, answered and delivered, and as what.
//!
//! Times are seconds since the first study was due. Nothing here has a clock.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::copies::{Expected, Likeness};
use super::latency::Times;
use super::report::{Account, Latency, Sample};
use crate::dicom::Uid;

/// An instance's number in the account.
pub(super) type Number = usize;

/// What is known of all instances.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

/// What a cart is about to send.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) sop_instance: Uid,
    pub(super) bytes: u64,
    pub(super) is_still: bool,
    pub(super) expected: Expected,
}

/// What is left in the node at the end, as it says itself.
#[derive(Debug, Clone)]
pub(super) enum Leftover {
    /// It says what.
    Known(Left),
    /// It does not: what has not arrived may still be there.
    Unknown,
}

/// SOP Instance UIDs.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    pub(super) waiting: HashSet<String>,
    pub(super) held: HashSet<String>,
}

/// Latencies of all instances.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latencies {
    pub(super) acknowledge: Latency,
    pub(super) stills: Latency,
    pub(super) deliver: Latency,
}

#[derive(Debug, Default)]
struct Book {
    by_uid: HashMap<Uid, Number>,
    records: Vec<Record>,
    studies: Vec<Study>,
    totals: Totals,
    acknowledge: Times,
    stills: Times,
    deliver: Times,
    /// Since the sample before.
    recent_acknowledge: Times,
    recent_deliver: Times,
}

/// What is counted as it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) studies_sent: u64,
    pub(super) studies_delivered: u64,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    pub(super) bytes_acknowledged: u64,
    pub(super) bytes_delivered: u64,
    /// Answered and not delivered.
    pub(super) backlog: u64,
    pub(super) backlog_bytes: u64,
    attempts_failed: u64,
    repeated: u64,
    out_of_order: u64,
}

#[derive(Debug)]
struct Record {
    study: usize,
    bytes: u64,
    is_still: bool,
    expected: Expected,
    first_sent: Option<f64>,
    /// Its place among the attempts of its study.
    attempt: u32,
    acknowledged: Option<f64>,
    delivered: Option<f64>,
    is_altered: bool,
}

#[derive(Debug, Default)]
struct Study {
    unanswered: u32,
    undelivered: u32,
    attempts: u32,
    /// The latest attempt of which something is at the PACS.
    furthest: u32,
}

impl Ledger {
    /// Opens a study; the numbers of its instances, in their order.
    pub(super) fn open(&self, entries: Vec<Entry>) -> Vec<Number> {
        let mut book = self.book();
        let study = book.studies.len();
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        book.studies.push(Study { unanswered: count, undelivered: count, ..Study::default() });
        let mut numbers = Vec::with_capacity(entries.len());
        for Entry { sop_instance, bytes, is_still, expected } in entries {
            let number = book.records.len();
            book.by_uid.insert(sop_instance, number);
            book.records.push(Record {
                study,
                bytes,
                is_still,
                expected,
                first_sent: None,
                attempt: 0,
                acknowledged: None,
                delivered: None,
                is_altered: false,
            });
            numbers.push(number);
        }
        numbers
    }

    /// An instance's first byte is about to be sent, once more perhaps.
    pub(super) fn sending(&self, number: Number, now: f64) {
        let book = &mut *self.book();
        let Some(record) = book.records.get_mut(number) else { return };
        record.first_sent.get_or_insert(now);
        if let Some(study) = book.studies.get_mut(record.study) {
            study.attempts += 1;
            record.attempt = study.attempts;
        }
    }

    /// It was answered with success, so many seconds after the first byte of its request.
    pub(super) fn acknowledged(&self, number: Number, now: f64, seconds: f64) {
        let book = &mut *self.book();
        let Some(record) = book.records.get_mut(number) else { return };
        if record.acknowledged.replace(now).is_some() {
            return;
        }
        book.totals.acknowledged += 1;
        book.totals.bytes_acknowledged += record.bytes;
        if record.delivered.is_none() && !record.is_altered {
            book.totals.backlog += 1;
            book.totals.backlog_bytes += record.bytes;
        }
        book.acknowledge.add(seconds);
        book.recent_acknowledge.add(seconds);
        if record.is_still {
            book.stills.add(seconds);
        }
        if let Some(study) = book.studies.get_mut(record.study) {
            study.unanswered -= 1;
            book.totals.studies_sent += u64::from(study.unanswered == 0);
        }
    }

    /// It was not: refused, or never answered.
    pub(super) fn failed(&self) {
        self.book().totals.attempts_failed += 1;
    }

    /// What an instance should be that begins to arrive; nothing for one that nobody here has sent.
    pub(super) fn expected(&self, sop_instance: &Uid) -> Option<(Number, Expected)> {
        let book = self.book();
        let number = *book.by_uid.get(sop_instance)?;
        Some((number, book.records.get(number)?.expected.clone()))
    }

    /// All of it is at the PACS.
    pub(super) fn arrived(&self, number: Number, now: f64, likeness: Likeness) {
        let book = &mut *self.book();
        let Some(record) = book.records.get_mut(number) else { return };
        let is_known = record.delivered.is_some() || record.is_altered;
        if is_known {
            book.totals.repeated += 1;
        }
        if likeness == Likeness::None {
            // Whatever came besides: a PACS may keep this one.
            record.is_altered = true;
        }
        if is_known {
            return;
        }
        if record.acknowledged.is_some() {
            book.totals.backlog -= 1;
            book.totals.backlog_bytes -= record.bytes;
        }
        if likeness != Likeness::None {
            record.delivered = Some(now);
            book.totals.delivered += 1;
            book.totals.bytes_delivered += record.bytes;
            let seconds = now - record.first_sent.unwrap_or(now);
            book.deliver.add(seconds);
            book.recent_deliver.add(seconds);
        }
        let Some(study) = book.studies.get_mut(record.study) else { return };
        if record.attempt < study.furthest {
            book.totals.out_of_order += 1;
        }
        study.furthest = study.furthest.max(record.attempt);
        study.undelivered -= 1;
        book.totals.studies_delivered += u64::from(study.undelivered == 0);
    }

    /// How it stands.
    pub(super) fn totals(&self) -> Totals {
        self.book().totals
    }

    /// How it stands, with what happened since the sample before; what is known of the node is not filled in.
    pub(super) fn sample(&self, now: f64) -> Sample {
        let mut book = self.book();
        let acknowledge = std::mem::take(&mut book.recent_acknowledge);
        let deliver = std::mem::take(&mut book.recent_deliver);
        let totals = book.totals;
        drop(book);
        let (acknowledge_p50, acknowledge_p99) = acknowledge.p50_and_p99();
        let (deliver_p50, deliver_p99) = deliver.p50_and_p99();
        Sample {
            at_seconds: now,
            studies_sent: totals.studies_sent,
            studies_delivered: totals.studies_delivered,
            instances_acknowledged: totals.acknowledged,
            instances_delivered: totals.delivered,
            bytes_acknowledged: totals.bytes_acknowledged,
            bytes_delivered: totals.bytes_delivered,
            backlog_instances: totals.backlog,
            backlog_bytes: totals.backlog_bytes,
            acknowledge_p50,
            acknowledge_p99,
            deliver_p50,
            deliver_p99,
            ..Sample::default()
        }
    }

    /// All latencies.
    pub(super) fn latencies(&self) -> Latencies {
        let book = self.book();
        let (acknowledge, stills, deliver) =
            (book.acknowledge.clone(), book.stills.clone(), book.deliver.clone());
        drop(book);
        Latencies { acknowledge: acknowledge.latency(), stills: stills.latency(), deliver: deliver.latency() }
    }

    /// Of stills that were first sent from then on: how many seconds 99 of 100 took to be answered at most.
    pub(super) fn stills_p99_since(&self, since: f64) -> Option<f64> {
        self.times(|record| {
            let sent = record.first_sent.filter(|sent| record.is_still && *sent >= since)?;
            Some(record.acknowledged? - sent)
        })
        .percentile(99.0)
    }

    /// Of what was first sent between two moments: how many seconds 99 of 100 took to the PACS at most.
    pub(super) fn deliver_p99_between(&self, from: f64, to: f64) -> Option<f64> {
        self.times(|record| {
            let sent = record.first_sent.filter(|sent| (from..to).contains(sent))?;
            Some(record.delivered? - sent)
        })
        .percentile(99.0)
    }

    /// When the last of what had been answered by then was at the PACS, and how many bytes came there from then until that; nothing if
    /// some of it never came.
    pub(super) fn drained(&self, by: f64) -> Option<(f64, u64)> {
        let book = self.book();
        let waited = book.records.iter().filter(|record| record.acknowledged.is_some_and(|at| at <= by));
        let mut last = by;
        for record in waited {
            last = last.max(record.delivered?);
        }
        let came = |record: &&Record| record.delivered.is_some_and(|at| at > by && at <= last);
        Some((last, book.records.iter().filter(came).map(|record| record.bytes).sum()))
    }

    /// What became of every instance.
    pub(super) fn account(&self, leftover: &Leftover) -> Account {
        let book = self.book();
        let mut account = Account {
            sent: book.records.len() as u64,
            acknowledged: book.totals.acknowledged,
            repeated: book.totals.repeated,
            out_of_order: book.totals.out_of_order,
            attempts_failed: book.totals.attempts_failed,
            ..Account::default()
        };
        for (uid, &number) in &book.by_uid {
            let Some(record) = book.records.get(number) else { continue };
            let place = match (record.acknowledged, record.delivered) {
                (None, _) => &mut account.refused,
                (Some(_), _) if record.is_altered => &mut account.altered,
                (Some(_), Some(_)) => &mut account.delivered,
                (Some(_), None) => match leftover {
                    Leftover::Unknown => &mut account.waiting,
                    Leftover::Known(left) if left.held.contains(uid.as_str()) => &mut account.held,
                    Leftover::Known(left) if left.waiting.contains(uid.as_str()) => &mut account.waiting,
                    Leftover::Known(_) => &mut account.lost,
                },
            };
            *place += 1;
        }
        account
    }

    fn times(&self, seconds: impl Fn(&Record) -> Option<f64>) -> Times {
        let book = self.book();
        let mut times = Times::default();
        book.records.iter().filter_map(seconds).for_each(|seconds| times.add(seconds));
        times
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: &str, is_still: bool) -> Entry {
        Entry { sop_instance: Uid::new(uid), bytes: 100, is_still, expected: Expected::nothing() }
    }

    fn sent(uids: &[&str]) -> (Ledger, Vec<Number>) {
        let ledger = Ledger::default();
        let numbers = ledger.open(uids.iter().map(|uid| entry(uid, true)).collect());
        for (at, &number) in numbers.iter().enumerate() {
            ledger.sending(number, at as f64);
            ledger.acknowledged(number, at as f64 + 0.5, 0.5);
        }
        (ledger, numbers)
    }

    #[test]
    fn what_came_as_it_was_sent_is_delivered() {
        let (ledger, numbers) = sent(&["1", "2"]);
        assert_eq!((ledger.totals().backlog, ledger.totals().backlog_bytes), (2, 200));
        ledger.arrived(numbers[0], 2.0, Likeness::Bytes);
        ledger.arrived(numbers[1], 3.0, Likeness::Pixels);
        let account = ledger.account(&Leftover::Known(Left::default()));
        let wanted = Account { sent: 2, acknowledged: 2, delivered: 2, ..Account::default() };
        assert_eq!(account, wanted);
        let totals = ledger.totals();
        assert_eq!((totals.backlog, totals.studies_sent, totals.studies_delivered), (0, 1, 1));
        assert_eq!(ledger.latencies().deliver.max, 2.0);
    }

    #[test]
    fn every_instance_is_counted_once() {
        let (ledger, numbers) = sent(&["1", "2", "3", "4", "5"]);
        let refused = ledger.open(vec![entry("6", false)]);
        ledger.sending(refused[0], 9.0);
        ledger.failed();
        ledger.arrived(numbers[0], 9.0, Likeness::Bytes);
        ledger.arrived(numbers[1], 9.0, Likeness::None);
        let (waiting, held) = (HashSet::from(["3".to_owned()]), HashSet::from(["4".to_owned()]));
        let leftover = Leftover::Known(Left { waiting, held });
        let account = ledger.account(&leftover);
        let wanted = Account {
            sent: 6,
            acknowledged: 5,
            refused: 1,
            delivered: 1,
            waiting: 1,
            held: 1,
            lost: 1,
            altered: 1,
            attempts_failed: 1,
            ..Account::default()
        };
        assert_eq!(account, wanted);
        let silent = ledger.account(&Leftover::Unknown);
        assert_eq!(silent, Account { waiting: 3, held: 0, lost: 0, ..wanted });
    }

    #[test]
    fn what_comes_again_is_repeated_and_can_only_get_worse() {
        let (ledger, numbers) = sent(&["1"]);
        ledger.arrived(numbers[0], 1.0, Likeness::Bytes);
        ledger.arrived(numbers[0], 2.0, Likeness::Bytes);
        assert_eq!(ledger.account(&Leftover::Known(Left::default())).delivered, 1);
        ledger.arrived(numbers[0], 3.0, Likeness::None);
        let account = ledger.account(&Leftover::Known(Left::default()));
        assert_eq!((account.repeated, account.delivered, account.altered), (2, 0, 1));
    }

    #[test]
    fn order_is_that_of_the_attempts_that_count() {
        let (ledger, numbers) = sent(&["1", "2", "3"]);
        // The first was refused at first, and sent again behind the others.
        ledger.sending(numbers[0], 5.0);
        for number in [numbers[1], numbers[2], numbers[0]] {
            ledger.arrived(number, 6.0, Likeness::Bytes);
        }
        assert_eq!(ledger.account(&Leftover::Known(Left::default())).out_of_order, 0);
        let (ledger, numbers) = sent(&["1", "2", "3"]);
        for number in [numbers[0], numbers[2], numbers[1]] {
            ledger.arrived(number, 6.0, Likeness::Bytes);
        }
        assert_eq!(ledger.account(&Leftover::Known(Left::default())).out_of_order, 1);
    }

    #[test]
    fn an_arrival_before_its_answer_leaves_no_backlog() {
        let ledger = Ledger::default();
        let numbers = ledger.open(vec![entry("1", true)]);
        ledger.sending(numbers[0], 0.0);
        ledger.arrived(numbers[0], 1.0, Likeness::Bytes);
        ledger.acknowledged(numbers[0], 1.1, 1.1);
        assert_eq!(ledger.totals().backlog, 0);
    }

    #[test]
    fn a_backlog_is_drained_when_the_last_of_it_has_come() {
        let (ledger, numbers) = sent(&["1", "2", "3"]);
        ledger.arrived(numbers[0], 1.6, Likeness::Bytes);
        assert_eq!(ledger.drained(1.5), None);
        ledger.arrived(numbers[1], 4.0, Likeness::Bytes);
        // The third was answered at 2.5 and is new.
        assert_eq!(ledger.drained(1.5), Some((4.0, 200)));
        assert_eq!(ledger.deliver_p99_between(1.0, 2.0), Some(3.0));
    }

    #[test]
    fn a_sample_has_what_happened_since_the_one_before() {
        let (ledger, numbers) = sent(&["1"]);
        assert_eq!(ledger.sample(1.0).acknowledge_p50, Some(0.5));
        ledger.arrived(numbers[0], 1.5, Likeness::Bytes);
        let sample = ledger.sample(2.0);
        assert_eq!((sample.acknowledge_p50, sample.deliver_p99), (None, Some(1.5)));
        assert_eq!((sample.instances_acknowledged, sample.instances_delivered), (1, 1));
    }
}
