//! How the configuration of this process is read, so that a reload reads it in the same way.

use super::error::ConfigError;
use super::load::{Loaded, Origin, Sources};
use super::meaning::Config;

/// How the configuration is read: from which sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loader {
    sources: Sources,
}

impl Loader {
    /// Reads these.
    pub fn new(sources: Sources) -> Self {
        Self { sources }
    }

    /// Reads it. A file that was found is the one that is read from then on: were it to vanish, a reload says so, and
    /// does not put the embedded default in its place.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(&mut self) -> Result<Loaded, ConfigError> {
        let loaded = self.again()?;
        if let Origin::WorkingDirectory(file) = &loaded.origin {
            self.sources.file = Some(file.clone());
        }
        Ok(loaded)
    }

    /// Reads it again.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn again(&self) -> Result<Loaded, ConfigError> {
        self.sources.load()
    }

    /// What the configuration would be if the file said `text`.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn candidate(&self, text: &str) -> Result<Config, ConfigError> {
        self.sources.read(text, "the candidate")
    }
}
