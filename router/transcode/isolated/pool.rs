//! How many children there are, and who waits for one.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::IsolatedError;
use super::child::Child;

/// Children, busy and idle. Dropping it ends the idle ones.
#[derive(Debug)]
pub(super) struct Pool {
    executable: PathBuf,
    most: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something became idle, was given up, or the pool was closed.
    changed: Condvar,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    busy: usize,
    /// With the time since when each has no work, the oldest first.
    idle: Vec<(Child, Instant)>,
    /// Whether a thread looks after the idle ones.
    swept: bool,
    closed: bool,
}

impl Pool {
    pub(super) fn new(executable: PathBuf, most: usize, patience: Duration) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), patience };
        Self { executable, most, shared: Arc::new(shared) }
    }

    /// An idle child, or a new one; waits while there are as many busy ones as there may be.
    pub(super) fn take(&self) -> Result<Child, IsolatedError> {
        let mut state = self.shared.lock();
        while state.busy >= self.most {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        // The youngest: the older ones may go. One that somebody killed meanwhile is no use.
        let idle = std::iter::from_fn(|| state.idle.pop()).map(|(child, _)| child);
        let mut gone = Vec::new();
        let mut found = None;
        for mut child in idle {
            if child.is_alive() {
                found = Some(child);
                break;
            }
            gone.push(child);
        }
        drop(state);
        let child = match found {
            Some(child) => Ok(child),
            None => Child::start(&self.executable),
        };
        child.inspect_err(|_| self.give_back(None))
    }

    /// Ends what `take` began.
    pub(super) fn give_back(&self, child: Option<Child>) {
        let mut state = self.shared.lock();
        state.busy -= 1;
        if let Some(child) = child {
            state.idle.push((child, Instant::now()));
            if !state.swept {
                let shared = Arc::clone(&self.shared);
                let sweep =
                    std::thread::Builder::new().name("idle-decoders".into()).spawn(move || shared.sweep());
                state.swept = sweep.is_ok();
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    pub(super) fn idle(&self) -> Vec<u32> {
        self.shared.lock().idle.iter().map(|(child, _)| child.id()).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        self.shared.changed.notify_all();
        drop(idle);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends children that have been idle for too long, until there is none.
    fn sweep(&self) {
        let mut state = self.lock();
        while !state.closed {
            let Some((_, since)) = state.idle.first() else { break };
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                let (child, _) = state.idle.remove(0);
                drop(state);
                drop(child);
                state = self.lock();
            } else {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.swept = false;
    }
}
