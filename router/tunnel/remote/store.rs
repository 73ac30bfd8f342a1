//! Small files that are whole or not there: written beside, synced, renamed, and the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::Kept;
use crate::config::Config;
use crate::platform;

/// The folder in a link's data directory, and the file in it.
const FOLDER: &str = "remote";
const FILE: &str = "state.json";
/// The largest file that is read, in bytes: two texts, escaped.
const MAX_FILE: u64 = 2 << 20;

/// Why something kept cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is none of ours, or damaged.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl Kept {
    /// What is kept in the data directory of a configuration; nothing, where no gateway may set anything or another one may.
    ///
    /// # Errors
    /// [`StoreError`]: it cannot be read.
    pub fn of(config: &Config) -> Result<Self, StoreError> {
        let Some((_, tunnel)) = config.afar_gateway() else { return Ok(Self::default()) };
        let path = config.node.data_dir.join(FOLDER).join(FILE);
        let kept = read::<Self>(&path)?.filter(|kept| kept.is_from(tunnel));
        Ok(kept.unwrap_or_else(|| Self::from(tunnel)))
    }

    /// Returns when it is durable.
    ///
    /// # Errors
    /// [`StoreError`]: nothing has changed.
    pub(super) fn write(&self, data_dir: &Path) -> Result<(), StoreError> {
        write(&data_dir.join(FOLDER), FILE, self)
    }
}

/// What a file has; none where there is no file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let at = |error| StoreError::File { path: path.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at)?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).map_err(at)?;
    let content = serde_json::from_slice(&text);
    content.map(Some).map_err(|error| StoreError::Content { path: path.to_owned(), error })
}

/// Writes a file of a folder that is made if it is not there. Returns when it is durable.
pub(super) fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), StoreError> {
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| StoreError::Content { path: path.clone(), error })?;
    let written = write_text(folder, name, &text);
    written.map_err(|error| StoreError::File { path, error })
}

fn write_text(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    if !folder.is_dir() {
        platform::private_folder(folder)?;
        folder.parent().map_or(Ok(()), platform::sync_directory)?;
    }
    let new = folder.join(format!("{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = platform::private(&mut options).write(true).create_new(true).open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    platform::replace(&new, &folder.join(name))?;
    platform::sync_directory(folder)
}

/// Removes a file, if it is there. Returns when that is durable.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), StoreError> {
    let path = folder.join(name);
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.and_then(|()| platform::sync_directory(folder)),
    };
    removed.map_err(|error| StoreError::File { path, error })
}
