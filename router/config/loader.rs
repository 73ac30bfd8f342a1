//! How the configuration of this process is read, so that a reload reads it in the same way.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::afar::Overlay;
use super::error::ConfigError;
use super::load::{Loaded, Origin, Sources};
use super::meaning::Config;

/// How the configuration is read: from which sources. Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    sources: Sources,
    /// What the file said when it was last put in force.
    in_force: Arc<Mutex<String>>,
    left_out: Vec<String>,
}

impl Loader {
    /// Reads these.
    pub fn new(sources: Sources) -> Self {
        Self { sources, in_force: Arc::default(), left_out: Vec::new() }
    }

    /// Reads it. A file that was found is the one that is read from then on: were it to vanish, a reload says so, and
    /// does not put the embedded default in its place.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(&mut self) -> Result<Loaded, ConfigError> {
        let loaded = self.sources.load()?;
        if let Origin::WorkingDirectory(file) = &loaded.origin {
            self.sources.file = Some(file.clone());
        }
        self.put_in_force(loaded.text.clone());
        self.left_out.clone_from(&loaded.left_out);
        Ok(loaded)
    }

    /// What came from afar and did not go with the file when that was read at the start, and why.
    pub fn left_out(&self) -> Vec<String> {
        self.left_out.clone()
    }

    /// From now on this is what the file says, as far as changes from afar are concerned: they put in force nothing that its
    /// owner has written and not reloaded.
    pub fn put_in_force(&self, text: String) {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// What the configuration would be with this laid over the file as it was last put in force.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn under(&self, over: Option<&Overlay>) -> Result<Config, ConfigError> {
        let text = self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.sources.read_under(&text, "the file", over)
    }

    /// Reads it again while the node runs. Many editors empty a file before they write it: what is read is a configuration only
    /// when it stays the same for a moment and says something. Blocks for that moment.
    ///
    /// # Errors
    /// [`ConfigError`]
    #[expect(clippy::disallowed_methods, reason = "no event tells that an editor is done with a file")]
    pub fn again(&self) -> Result<Loaded, ConfigError> {
        if let Some(file) = &self.sources.file {
            let settled = settle(file, &mut || std::thread::sleep(MOMENT));
            settled.map_err(|source| ConfigError::Unreadable { file: file.clone(), source })?;
        }
        self.sources.load_whole()
    }

    /// What the configuration would be if the file said `text`.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn candidate(&self, text: &str) -> Result<Config, ConfigError> {
        self.sources.read(text, "the candidate")
    }
}

/// How long a file has to stay the same.
const MOMENT: Duration = Duration::from_millis(50);
/// How often it is looked at.
const LOOKS: usize = 40;

/// Waits until the file is no longer being written.
fn settle(file: &Path, wait: &mut dyn FnMut()) -> io::Result<()> {
    let mut before = std::fs::read(file)?;
    for _ in 0..LOOKS {
        wait();
        let now = std::fs::read(file)?;
        if now == before {
            let says = |line: &[u8]| {
                !line.trim_ascii_start().is_empty() && !line.trim_ascii_start().starts_with(b"#")
            };
            let is_blank = !now.split(|byte| *byte == b'\n').any(says);
            let empty = || {
                io::Error::new(io::ErrorKind::InvalidData, "it is empty; a running node is not reset by that")
            };
            return if is_blank { Err(empty()) } else { Ok(()) };
        }
        before = now;
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is being written all the time"))
}

#[cfg(test)]
mod tests {
    use super::settle;

    #[test]
    fn a_file_that_is_being_written_is_waited_for_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "").expect("a file");
        let mut steps = ["[node]", "[node]\nae_title", "[node]\nae_title = \"X\""].into_iter();
        let mut looks = 0;
        let settled = settle(&file, &mut || {
            looks += 1;
            if let Some(text) = steps.next() {
                std::fs::write(&file, text).expect("the file");
            }
        });
        assert!(settled.is_ok() && looks == 4, "{looks} looks");
        for nothing in ["", " \n", "# only a comment\n\n"] {
            std::fs::write(&file, nothing).expect("the file");
            assert!(settle(&file, &mut || {}).is_err(), "{nothing:?}");
        }
        let mut count = 0;
        let busy = settle(&file, &mut || {
            count += 1;
            std::fs::write(&file, count.to_string()).expect("the file");
        });
        assert_eq!(busy.map_err(|error| error.kind()), Err(std::io::ErrorKind::ResourceBusy));
    }
}
