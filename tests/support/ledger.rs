//! What was acknowledged: the sender's side of the promise.

use super::instance::{Digest, Instance};
use super::modality::Answer;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One instance for which a Success was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub sop_instance: String,
    /// SHA-256 of the data set that was sent.
    pub digest: Digest,
    /// Bytes of the data set.
    pub length: u64,
    /// When the response had been read completely.
    pub acknowledged: Instant,
}

/// A shared list of acknowledged instances. Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Entry>>>);

impl Ledger {
    /// Notes the instance if the answer was 0000H; tells whether it was.
    pub fn note(&self, instance: &Instance, answer: &Answer) -> bool {
        if answer.status != 0 {
            return false;
        }
        self.0.lock().unwrap().push(Entry {
            sop_instance: instance.sop_instance.clone(),
            digest: instance.digest(),
            length: instance.data_set.len(),
            acknowledged: answer.at,
        });
        true
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Acknowledged instances of which no copy with the same bytes is among `found`.
    pub fn missing<'a>(&self, found: impl IntoIterator<Item = (&'a str, &'a Digest)>) -> Vec<Entry> {
        let found: HashSet<_> = found.into_iter().collect();
        let mut entries = self.entries();
        entries.retain(|entry| !found.contains(&(entry.sop_instance.as_str(), &entry.digest)));
        entries
    }

    /// Those acknowledged before `cut`; an answer after the cut began proves nothing.
    pub fn before(&self, cut: Instant) -> Self {
        let kept = self.entries().into_iter().filter(|entry| entry.acknowledged < cut).collect();
        Self(Arc::new(Mutex::new(kept)))
    }
}
