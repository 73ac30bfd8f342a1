//! How the configuration of this process is read, so that a reload reads it in the same way.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::load::{Loaded, Origin};
use super::meaning::Config;

/// How the configuration is read: which file, if any was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loader {
    file: Option<PathBuf>,
}

impl Loader {
    /// Reads `file`, else `./chrysalis.toml` if it is there, else the embedded default.
    pub fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned) }
    }

    /// Reads it. A file that was found is the one that is read from then on: were it to vanish, a reload says so, and
    /// does not put the embedded default in its place.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(&mut self) -> Result<Loaded, ConfigError> {
        let loaded = self.again()?;
        if let Origin::WorkingDirectory(file) = &loaded.origin {
            self.file = Some(file.clone());
        }
        Ok(loaded)
    }

    /// Reads it again.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn again(&self) -> Result<Loaded, ConfigError> {
        Config::load(self.file.as_deref())
    }

    /// What the configuration would be if the file said `text`.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn candidate(&self, text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, "the candidate")
    }
}
