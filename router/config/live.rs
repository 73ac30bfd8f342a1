//! What is in force, which a reload replaces while the program runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::meaning::Config;

/// The one of its kind that is in force: the configuration, or something made of it. Clones are the same one.
#[derive(Debug)]
pub struct Live<T = Config>(Arc<RwLock<Arc<T>>>);

impl<T> Live<T> {
    /// In force from the start.
    pub fn new(first: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(first))))
    }

    /// What is in force now. Whoever asks keeps this one, whatever comes later: one request, one configuration.
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `next` in force for whoever asks from now on.
    pub fn replace(&self, next: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
