//! Which copies there are, and which are being made.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Evict;
use crate::transcode::TranscodeError;

/// What tells copies apart: the instance, and the recipe's own key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The instance's receive sequence.
    pub instance: (u64, u64),
    /// SHA-256 of what is stored, for callers who have no sequence to tell instances apart.
    pub digest: [u8; 32],
    /// Everything else the copy's bytes depend on.
    pub recipe: String,
}

/// What a copy costs.
pub(crate) trait Weight: Send + Sync + std::fmt::Debug + 'static {
    /// Bytes of the budget it gives back when it goes; 0 when it takes memory only.
    fn bytes(&self) -> u64;
}

/// An answer to whoever asks for a copy.
pub(crate) enum Claim<T: Weight> {
    /// There it is.
    There(Arc<T>),
    /// It is the caller's to make.
    Mine(Ticket<T>),
    /// Whoever made it meanwhile could not.
    Failed(TranscodeError),
}

/// Copies without a file that are remembered at most: each is a few hundred bytes and eight for each frame.
const REMEMBERED: usize = 4096;

#[derive(Debug)]
pub(super) struct Shelf<T> {
    slots: Mutex<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    by_key: HashMap<Key, Slot<T>>,
    /// Counts requests: the larger, the later.
    clock: u64,
}

#[derive(Debug)]
enum Slot<T> {
    Made { copy: Arc<T>, used: u64 },
    Making(Arc<Making<T>>),
}

/// A copy that is being made, and those who wait for it.
#[derive(Debug)]
struct Making<T> {
    outcome: Mutex<Option<Result<Arc<T>, TranscodeError>>>,
    done: Condvar,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { slots: Mutex::new(Slots { by_key: HashMap::new(), clock: 0 }) }
    }
}

impl<T: Weight> Shelf<T> {
    pub(super) fn claim(shelf: &Arc<Self>, key: &Key) -> Claim<T> {
        let making = {
            let mut slots = shelf.lock();
            slots.clock += 1;
            let now = slots.clock;
            match slots.by_key.get_mut(key) {
                Some(Slot::Made { copy, used }) => {
                    *used = now;
                    return Claim::There(copy.clone());
                }
                Some(Slot::Making(making)) => making.clone(),
                None => {
                    let making = Arc::new(Making { outcome: Mutex::new(None), done: Condvar::new() });
                    slots.by_key.insert(key.clone(), Slot::Making(making.clone()));
                    return Claim::Mine(Ticket { shelf: shelf.clone(), key: key.clone(), making });
                }
            }
        };
        match making.wait() {
            Ok(copy) => Claim::There(copy),
            Err(error) => Claim::Failed(error),
        }
    }

    pub(super) fn forget(&self, key: &Key, copy: &Arc<T>) {
        let mut slots = self.lock();
        let same =
            matches!(slots.by_key.get(key), Some(Slot::Made { copy: there, .. }) if Arc::ptr_eq(there, copy));
        let gone = if same { slots.by_key.remove(key) } else { None };
        drop(slots);
        drop(gone);
    }

    /// Puts a copy onto the shelf.
    fn put(&self, key: &Key, copy: Arc<T>) {
        let mut slots = self.lock();
        let used = slots.clock;
        slots.by_key.insert(key.clone(), Slot::Made { copy, used });
        let gone = if slots.by_key.len() > REMEMBERED { slots.take_oldest(|_| true) } else { None };
        drop(slots);
        drop(gone);
    }

    fn remove(&self, key: &Key) {
        self.lock().by_key.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Slots<T>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Weight> Evict for Shelf<T> {
    fn evict_one(&self) -> bool {
        let gone = self.lock().take_oldest(|copy| copy.bytes() > 0);
        // Dropped here, without the lock: its file goes, and gives its room back.
        gone.is_some()
    }
}

impl<T: Weight> Slots<T> {
    /// Takes out the copy that nobody uses and that was not asked for the longest.
    fn take_oldest(&mut self, wanted: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let unused = self.by_key.iter().filter_map(|(key, slot)| match slot {
            Slot::Made { copy, used } if Arc::strong_count(copy) == 1 && wanted(copy) => Some((*used, key)),
            Slot::Made { .. } | Slot::Making(_) => None,
        });
        let key = unused.min_by_key(|(used, _)| *used)?.1.clone();
        match self.by_key.remove(&key) {
            Some(Slot::Made { copy, .. }) => Some(copy),
            Some(Slot::Making(_)) | None => None,
        }
    }
}

impl<T> Making<T> {
    fn wait(&self) -> Result<Arc<T>, TranscodeError> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self.done.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn tell(&self, result: Result<Arc<T>, TranscodeError>) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.get_or_insert(result);
        self.done.notify_all();
    }
}

/// The duty to make a copy. Dropped without an end, it has failed.
pub(crate) struct Ticket<T: Weight> {
    shelf: Arc<Shelf<T>>,
    key: Key,
    making: Arc<Making<T>>,
}

impl<T: Weight> Ticket<T> {
    /// The copy is there, for everybody who waits and who comes.
    pub(crate) fn finish(self, copy: Arc<T>) {
        self.shelf.put(&self.key, copy.clone());
        self.making.tell(Ok(copy));
    }

    /// It cannot be made: those who wait need not try. Who comes later may.
    pub(crate) fn fail(self, error: TranscodeError) {
        self.shelf.remove(&self.key);
        self.making.tell(Err(error));
    }
}

impl<T: Weight> Drop for Ticket<T> {
    fn drop(&mut self) {
        let unfinished = matches!(self.shelf.lock().by_key.get(&self.key), Some(Slot::Making(making)) if Arc::ptr_eq(making, &self.making));
        if unfinished {
            self.shelf.remove(&self.key);
        }
        self.making.tell(Err(TranscodeError::Panicked));
    }
}
