//! What a failed sync leads to: nobody knows what is on the disk, so nothing more is promised until a restart.
//!
//! After a failed `fsync` Linux marks the pages clean, so that the next one succeeds with the data lost. A sync is
//! therefore never tried again, whatever its error was; a full disk found by a *write* is not a sync error.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// How far the doubt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A spool file or its directory: nothing more is received; what is durable is still forwarded.
    Spool = 1,
    /// A journal or its directory: outcomes cannot be recorded, so nothing more is attempted either.
    Journal = 2,
}

/// The queue refuses because a sync failed earlier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("queue poisoned: {0}")]
pub struct Poisoned(pub String);

#[derive(Default)]
pub(crate) struct Poison {
    level: AtomicU8,
    reason: Mutex<Option<String>>,
}

impl Poison {
    /// Records a failed sync. The first reason is kept; the wider scope wins.
    pub(crate) fn set(&self, scope: Scope, what: &str, error: &io::Error) -> Poisoned {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let text = reason.get_or_insert_with(|| format!("{what}: {error}")).clone();
        self.level.fetch_max(scope as u8, Ordering::SeqCst);
        Poisoned(text)
    }

    pub(crate) fn check_receiving(&self) -> Result<(), Poisoned> {
        self.check(Scope::Spool)
    }

    pub(crate) fn check_recording(&self) -> Result<(), Poisoned> {
        self.check(Scope::Journal)
    }

    pub(crate) fn reason(&self) -> Option<(Scope, String)> {
        let scope = match self.level.load(Ordering::SeqCst) {
            0 => return None,
            1 => Scope::Spool,
            _ => Scope::Journal,
        };
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        Some((scope, reason.clone().unwrap_or_default()))
    }

    fn check(&self, from: Scope) -> Result<(), Poisoned> {
        match self.reason() {
            Some((scope, reason)) if scope >= from => Err(Poisoned(reason)),
            _ => Ok(()),
        }
    }
}
