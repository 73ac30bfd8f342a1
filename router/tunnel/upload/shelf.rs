//! What came in part and may be continued: kept for a while, few of them, and not too large. Pure.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Things.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How long each waits to be continued.
    pub age: Duration,
}

/// Things that wait to be continued, and those that somebody is busy with.
#[derive(Debug)]
pub struct Shelf<K, T> {
    kept: HashMap<K, Kept<T>>,
    busy: HashSet<K>,
}

#[derive(Debug)]
struct Kept<T> {
    thing: T,
    bytes: u64,
    since: Duration,
}

/// Somebody is busy with it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl<K: Eq + Hash + Clone, T> Shelf<K, T> {
    /// Nothing.
    pub fn new() -> Self {
        Self { kept: HashMap::new(), busy: HashSet::new() }
    }

    /// Takes what there is of a thing, if there is some. Until [`Shelf::put`] or [`Shelf::done`] it is nobody else's.
    ///
    /// # Errors
    /// [`Busy`]
    pub fn take(&mut self, key: &K) -> Result<Option<T>, Busy> {
        if !self.busy.insert(key.clone()) {
            return Err(Busy);
        }
        Ok(self.kept.remove(key).map(|kept| kept.thing))
    }

    /// Nobody is busy with it any more, and it will not be continued.
    pub fn done(&mut self, key: &K) {
        self.busy.remove(key);
    }

    /// It may be continued. Returns what had to go for it, the oldest first; perhaps itself.
    pub fn put(&mut self, key: K, thing: T, bytes: u64, now: Duration, limits: Limits) -> Vec<T> {
        self.busy.remove(&key);
        self.kept.insert(key, Kept { thing, bytes, since: now });
        let mut gone = self.expire(now, limits.age);
        while self.kept.len() > limits.count || self.bytes() > limits.bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.since).map(|(key, _)| key.clone());
            let Some(kept) = oldest.and_then(|oldest| self.kept.remove(&oldest)) else { break };
            gone.push(kept.thing);
        }
        gone
    }

    /// What has waited too long.
    pub fn expire(&mut self, now: Duration, age: Duration) -> Vec<T> {
        let old = self.kept.extract_if(|_, kept| now.saturating_sub(kept.since) > age);
        old.map(|(_, kept)| kept.thing).collect()
    }

    /// What is not to be continued, by its key.
    pub fn drain(&mut self, mut is_over: impl FnMut(&K) -> bool) -> Vec<T> {
        let over = self.kept.extract_if(|key, _| is_over(key));
        over.map(|(_, kept)| kept.thing).collect()
    }

    /// Things that wait, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.kept.len(), self.bytes())
    }

    /// What waits, and the bytes of each.
    pub fn each(&self) -> impl Iterator<Item = (&K, u64)> {
        self.kept.iter().map(|(key, kept)| (key, kept.bytes))
    }

    fn bytes(&self) -> u64 {
        self.kept.values().map(|kept| kept.bytes).sum()
    }
}

impl<K: Eq + Hash + Clone, T> Default for Shelf<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Busy, Limits, Shelf};
    use std::time::Duration;

    const LIMITS: Limits = Limits { count: 3, bytes: 100, age: Duration::from_secs(60) };

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_bytes_and_age_and_the_oldest_goes_first() {
        let mut shelf = Shelf::new();
        for n in 0..3 {
            assert!(shelf.put(n, n, 10, at(n), LIMITS).is_empty());
        }
        assert_eq!(shelf.put(3, 3, 10, at(3), LIMITS), [0]);
        assert_eq!(shelf.put(4, 4, 85, at(4), LIMITS), [1, 2]);
        assert_eq!(shelf.put(5, 5, 101, at(5), LIMITS), [3, 4, 5], "too large for itself");
        shelf.put(6, 6, 10, at(6), LIMITS);
        assert_eq!((shelf.expire(at(66), LIMITS.age), shelf.expire(at(67), LIMITS.age)), (vec![], vec![6]));
        assert_eq!(shelf.size(), (0, 0));
        (7..10).for_each(|n| drop(shelf.put(n, n, 10, at(n), LIMITS)));
        assert_eq!((shelf.drain(|n| *n == 8), shelf.size()), (vec![8], (2, 20)));
    }

    #[test]
    fn what_somebody_is_busy_with_is_nobody_elses() {
        let mut shelf: Shelf<_, ()> = Shelf::new();
        assert_eq!((shelf.take(&1), shelf.take(&1)), (Ok(None), Err(Busy)));
        shelf.put(1, (), 5, at(0), LIMITS);
        assert_eq!(shelf.take(&1), Ok(Some(())));
        shelf.done(&1);
        assert_eq!(shelf.take(&1), Ok(None));
    }
}
