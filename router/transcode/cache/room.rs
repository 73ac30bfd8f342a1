//! The cache's share of the disk: taken at start, or with the first copy where none is foreseen, and never exceeded.
//!
//! What is not used of the budget is held by a file whose blocks are taken in advance, so that nobody else gets them. It
//! shrinks while copies are written and grows back when they go. Where the file system cannot do that, or has no room for
//! it, the budget is a bound only, and the cache finds a full disk as everybody does.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

/// What the placeholder shrinks and grows by, in bytes: copies grow by far smaller pieces.
const STEP: u64 = 8 << 20;

/// When the cache's share of the disk is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// At once: copies are to be expected.
    AtStart,
    /// When something is written for the first time.
    WithTheFirstCopy,
}

/// Bytes of the budget, used and held.
#[derive(Debug)]
pub(super) struct Room {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    used: u64,
    placeholder: Placeholder,
    /// Nothing has been held so far, because nothing was wanted.
    waits: bool,
}

impl Room {
    /// Takes the budget, as far as there is room for it: `placeholder` is an empty file.
    pub(super) fn new(budget: u64, placeholder: Option<File>, claimed: Claimed) -> Self {
        let mut placeholder = Placeholder { file: placeholder, held: 0, told: false };
        let waits = claimed == Claimed::WithTheFirstCopy;
        if !waits {
            placeholder.hold(budget);
        }
        Self { budget, state: Mutex::new(State { used: 0, placeholder, waits }) }
    }

    /// Bytes that may be used in all.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that are used.
    pub(super) fn used(&self) -> u64 {
        self.lock().used
    }

    /// Takes `bytes` of the budget.
    ///
    /// # Errors
    /// [`NoRoom`]: so much is not left of it.
    pub(super) fn take(&self, bytes: u64) -> Result<(), NoRoom> {
        let mut state = self.lock();
        let used = state.used.checked_add(bytes).filter(|used| *used <= self.budget).ok_or(NoRoom)?;
        state.used = used;
        let left = self.budget - used;
        if std::mem::take(&mut state.waits) {
            state.placeholder.hold(left);
        }
        state.placeholder.make_way(left);
        Ok(())
    }

    /// Gives back what was taken, after its blocks are free.
    pub(super) fn give_back(&self, bytes: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
        let left = self.budget - state.used.min(self.budget);
        state.placeholder.hold(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So much is not left of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cache's budget is used up")]
pub(super) struct NoRoom;

impl From<NoRoom> for io::Error {
    fn from(no_room: NoRoom) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, no_room)
    }
}

#[derive(Debug)]
struct Placeholder {
    file: Option<File>,
    held: u64,
    /// Whether the log has been told that it is not whole.
    told: bool,
}

impl Placeholder {
    /// Gives up whole steps until it holds `left` or less.
    fn make_way(&mut self, left: u64) {
        if self.held > left {
            self.resize(left - left % STEP);
        }
    }

    /// Grows to `left`, when that is a step or more.
    fn hold(&mut self, left: u64) {
        let wanted = left - left % STEP;
        if wanted > self.held {
            self.resize(wanted);
        }
    }

    fn resize(&mut self, to: u64) {
        let Some(file) = &self.file else { return };
        // Blocks first, length after: the length never claims what is not there.
        let taken = match to.checked_sub(self.held) {
            Some(more) if more > 0 => {
                fallocate(file, FallocateFlags::KEEP_SIZE, self.held, more).map_err(io::Error::from)
            }
            _ => Ok(()),
        };
        match taken.and_then(|()| file.set_len(to)) {
            Ok(()) => self.held = to,
            Err(error) => {
                // Some of the blocks may have been taken.
                let _ = file.set_len(self.held);
                self.tell(&error);
            }
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%error, "Cannot hold the transcode cache's budget on the disk, others may use its room.");
        }
    }
}

/// An empty placeholder in `folder`.
pub(super) fn placeholder(folder: &Path) -> io::Result<File> {
    super::file::create(&folder.join(PLACEHOLDER))
}

/// The placeholder's name.
pub(super) const PLACEHOLDER: &str = "unused-budget";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn held(folder: &Path) -> u64 {
        std::fs::metadata(folder.join(PLACEHOLDER)).unwrap().len()
    }

    #[test]
    fn what_is_not_used_is_held_in_whole_steps_and_shrinks_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(3 * STEP, Some(placeholder(folder.path()).unwrap()), Claimed::AtStart);
        assert_eq!(held(folder.path()), 3 * STEP);
        let blocks = std::fs::metadata(folder.path().join(PLACEHOLDER)).unwrap().blocks() * 512;
        assert!(blocks >= 3 * STEP, "its blocks are taken: {blocks}");
        room.take(1).unwrap();
        assert_eq!(held(folder.path()), 2 * STEP);
        room.take(STEP).unwrap();
        assert_eq!(held(folder.path()), STEP);
        room.give_back(STEP);
        assert_eq!(held(folder.path()), 2 * STEP);
        room.give_back(1);
        assert_eq!((held(folder.path()), room.used()), (3 * STEP, 0));
    }

    #[test]
    fn where_no_copy_is_foreseen_nothing_is_held_before_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let placeholder = Some(placeholder(folder.path()).unwrap());
        let room = Room::new(3 * STEP, placeholder, Claimed::WithTheFirstCopy);
        assert_eq!(held(folder.path()), 0);
        room.take(1).unwrap();
        assert_eq!(held(folder.path()), 2 * STEP);
        room.give_back(1);
        assert_eq!(held(folder.path()), 3 * STEP);
    }

    #[test]
    fn more_than_the_budget_is_never_taken() {
        let room = Room::new(100, None, Claimed::AtStart);
        assert_eq!(room.take(101), Err(NoRoom));
        assert_eq!(room.take(u64::MAX), Err(NoRoom));
        room.take(60).unwrap();
        assert_eq!(room.take(41), Err(NoRoom));
        room.take(40).unwrap();
        assert_eq!(room.used(), 100);
    }
}
