//! The ledger: what the journals say of every instance, also after its payload is gone.
//!
//! It is read from the journal files by whoever asks, a bucket at a time, and neither the index nor the keeper has a part
//! in it. What cannot be read is counted, and the rest is told.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::id::{Name, Sequence};
use crate::instance::{BY_RULE, Delivery, Hold, HoldKind, Instance, Owed, Start};
use crate::journal::Record;
use crate::keeper::replay::{self, BucketRead};
use crate::spool::Spool;

/// Which instances are told of. The default is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSpan {
    /// Received then or later: wall clock, milliseconds since 1970.
    pub since: Option<u64>,
    /// Received before: wall clock, milliseconds since 1970.
    pub until: Option<u64>,
}

/// What is known of one instance.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// The instance, with its hash and how it came.
    pub instance: Arc<Instance>,
    /// How each of its deliveries stands, or ended.
    pub deliveries: Vec<Delivery>,
    /// What was decided about it, by people, rules and the queue itself, in the order in which it was recorded.
    pub decisions: Vec<Decision>,
    /// Whether its payload is still in the spool.
    pub has_payload: bool,
}

/// One decision about one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When: wall clock, milliseconds since 1970.
    pub at: u64,
    /// The delivery's destination; of a reroute the old one.
    pub destination: String,
    /// `held`, `released`, `discarded`, `rerouted`, `resent` or `superseded`.
    pub what: &'static str,
    /// Who decided: a person by the name that was given, [`BY_RULE`], or [`BY_ITSELF`].
    pub who: String,
    /// Why; of a reroute where to, of a superseded one by which instance. May be empty.
    pub why: String,
}

/// Who decided where nobody did: a destination that refuses, the same bytes coming again, damage.
pub const BY_ITSELF: &str = "chrysalis";

/// What could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerDamage {
    /// Journal files in which something that was durable cannot be read.
    pub journals: u64,
    /// Readable records about instances of which no readable record tells that they came.
    pub records: u64,
    /// What was recorded last is not on the disk, because it cannot be written: it is missing here.
    pub is_behind: bool,
}

/// Why the ledger could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The directory of the journals cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Tells of every instance in the span, by bucket and then by receive sequence, until told to stop. An instance whose
/// file was lost and found again is in two buckets.
pub(crate) fn read(
    spool: &Spool,
    span: LedgerSpan,
    visit: &mut dyn FnMut(LedgerEntry) -> ControlFlow<()>,
) -> Result<LedgerDamage, LedgerError> {
    let mut damage = LedgerDamage::default();
    let journals = replay::list_journals(spool)
        .map_err(|error| LedgerError::Io { path: spool.paths.journals(), error })?;
    for (bucket, boots) in journals {
        let Some(mut told) = Told::read(spool, bucket, &boots) else { continue };
        damage.journals += told.read.damaged_files;
        damage.records += told.read.orphans.values().map(|records| records.len() as u64).sum::<u64>();
        let payloads = payloads(spool, bucket);
        for (sequence, (instance, deliveries)) in told.read.instances {
            if !span.has(&instance) {
                continue;
            }
            let entry = LedgerEntry {
                has_payload: payloads.contains(&instance.name),
                instance: Arc::new(instance),
                deliveries,
                decisions: told.decisions.remove(&sequence).unwrap_or_default(),
            };
            if visit(entry).is_break() {
                return Ok(damage);
            }
        }
    }
    Ok(damage)
}

impl LedgerSpan {
    fn has(self, instance: &Instance) -> bool {
        self.since.is_none_or(|since| instance.received_at >= since)
            && self.until.is_none_or(|until| instance.received_at < until)
    }
}

/// What the journals of one bucket tell.
#[derive(Default)]
struct Told {
    read: BucketRead,
    decisions: HashMap<Sequence, Vec<Decision>>,
}

impl Told {
    /// Reads a bucket while its journal may be written to, cut back or taken away; none when it is gone. What looks like
    /// damage is looked at twice.
    fn read(spool: &Spool, bucket: u32, boots: &[u32]) -> Option<Self> {
        if let Ok(told) = Self::once(spool, bucket, boots)
            && told.read.damaged_files == 0
        {
            return Some(told);
        }
        let boots = replay::journal_boots(spool, bucket).unwrap_or_default();
        let told = Self::once(spool, bucket, &boots).unwrap_or_else(|_| {
            let read = BucketRead { damaged_files: boots.len() as u64, ..BucketRead::default() };
            Self { read, decisions: HashMap::new() }
        });
        // A ledger whose time is over is emptied, and its newest file is the last to go.
        let is_going = boots.is_empty()
            || told.read.instances.is_empty()
                && matches!(replay::removed_at(spool, bucket, &boots), Ok(Some(_)));
        (!is_going).then_some(told)
    }

    fn once(spool: &Spool, bucket: u32, boots: &[u32]) -> io::Result<Self> {
        let mut decisions: HashMap<_, Vec<_>> = HashMap::new();
        let read = replay::read_files(spool, bucket, boots, &mut |record| {
            let Some((sequence, made)) = decisions_of(record) else { return };
            let known = decisions.entry(sequence).or_default();
            for decision in made {
                // Each start writes the last batch of the one before it again.
                if !known.contains(&decision) {
                    known.push(decision);
                }
            }
        })?;
        Ok(Self { read, decisions })
    }
}

/// The names of the payloads that are there.
fn payloads(spool: &Spool, bucket: u32) -> HashSet<Name> {
    let files = spool.fs.list(&spool.paths.bucket(bucket)).unwrap_or_default();
    files.iter().filter_map(|file| spool.paths.name_of(&file.name)).collect()
}

/// The decisions in a record, and the instance they are about.
fn decisions_of(record: &Record) -> Option<(Sequence, Vec<Decision>)> {
    let decision = |destination: &str, at: &u64, what, who: &str, why: String| Decision {
        at: *at,
        destination: destination.to_owned(),
        what,
        who: who.to_owned(),
        why,
    };
    let (sequence, made) = match record {
        Record::Committed { instance, owed, .. } => {
            (instance.sequence, owed.iter().filter_map(|owed| at_receipt(instance, owed)).collect())
        }
        Record::Held { sequence, destination, at, hold, who } => {
            (*sequence, vec![decision(destination, at, "held", who, hold.why.clone())])
        }
        Record::Released { sequence, destination, at, who } => {
            (*sequence, vec![decision(destination, at, "released", who, String::new())])
        }
        Record::Discarded { sequence, destination, at, who, why } => {
            (*sequence, vec![decision(destination, at, "discarded", who, why.clone())])
        }
        Record::Rerouted { sequence, from, to, at, who } => {
            (*sequence, vec![decision(from, at, "rerouted", who, format!("to {}", to.join(", ")))])
        }
        Record::Resent { sequence, destination, at, who } => {
            (*sequence, vec![decision(destination, at, "resent", who, String::new())])
        }
        Record::Superseded { sequence, destinations, at, by } => {
            let each = |name: &String| decision(name, at, "superseded", BY_ITSELF, format!("by {by}"));
            (*sequence, destinations.iter().map(each).collect())
        }
        Record::Delivered { .. }
        | Record::Closed { .. }
        | Record::Removed { .. }
        | Record::DamageNoted { .. } => return None,
    };
    Some((sequence, made))
}

/// What was decided when the instance was received.
fn at_receipt(instance: &Instance, owed: &Owed) -> Option<Decision> {
    let (what, who, why) = match &owed.start {
        Start::Send => return None,
        Start::Hold(Hold { kind: HoldKind::Rule, why }) => ("held", BY_RULE, why),
        Start::Hold(Hold { why, .. }) => ("held", BY_ITSELF, why),
        Start::Discard { why } => ("discarded", BY_RULE, why),
    };
    let (at, destination) = (instance.received_at, owed.destination.clone());
    Some(Decision { at, destination, what, who: who.to_owned(), why: why.clone() })
}
