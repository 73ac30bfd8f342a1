//! The configuration in force, which a reload replaces while the program runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::meaning::Config;

/// The configuration in force. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Live(Arc<RwLock<Arc<Config>>>);

impl Live {
    /// In force from the start.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// What is in force now. Whoever asks keeps this one, whatever comes later: one request, one configuration.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
