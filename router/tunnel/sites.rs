//! The sites that a gateway knows: a file in the data directory, for its owner's eyes only, with what is kept of each
//! site's code. The command line writes it, a running gateway reads it again for every hello.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::code::{Code, NoRandomness, Verifier};
use crate::platform;

/// Name of the file in the data directory, and of the one that takes its place.
const FILE: &str = "sites";
const NEW_FILE: &str = "sites.new";
/// Held while the file is changed.
const LOCK: &str = "sites.lock";
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// The longest name, in characters.
const MAX_NAME: usize = 64;

/// A site's name: letters, digits, `-`, `_` and `.`, at most 64 of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteName(String);

/// Not a site's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a site's name has 1 to {MAX_NAME} letters, digits, dots, dashes and underscores, and begins with a letter or digit"
)]
pub struct SiteNameError;

impl SiteName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteName {
    type Err = SiteNameError;

    fn from_str(text: &str) -> Result<Self, SiteNameError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= MAX_NAME && text.chars().all(fine) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SiteNameError)
        }
    }
}

impl TryFrom<String> for SiteName {
    type Error = SiteNameError;

    fn try_from(text: String) -> Result<Self, SiteNameError> {
        text.parse()
    }
}

impl From<SiteName> for String {
    fn from(name: SiteName) -> Self {
        name.0
    }
}

impl std::fmt::Display for SiteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// What is kept of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// What is kept of its code.
    pub verifier: Verifier,
    /// When the code was made, seconds since 1970.
    pub since: u64,
}

/// Why the sites cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SitesError {
    /// The file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is none of ours, or damaged.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// There is such a site already.
    #[error("there is a site \"{0}\" already; `site replace` gives it a new code")]
    Exists(SiteName),
    /// There is no such site.
    #[error("there is no site \"{name}\"; {}", others(known))]
    Unknown {
        /// Which.
        name: SiteName,
        /// Those that there are.
        known: Vec<SiteName>,
    },
    /// No random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl SitesError {
    /// That there is no such site among these.
    pub fn unknown(name: &SiteName, sites: &BTreeMap<SiteName, Site>) -> Self {
        Self::Unknown { name: name.clone(), known: sites.keys().cloned().collect() }
    }
}

/// Names that are told at most.
const MOST_NAMES: usize = 20;

/// The names that there are, for whoever mistyped one.
fn others(known: &[SiteName]) -> String {
    let names: Vec<_> = known.iter().take(MOST_NAMES).map(SiteName::as_str).collect();
    let more = if known.len() > MOST_NAMES { ", ..." } else { "" };
    match names.is_empty() {
        true => "there is none".to_owned(),
        false => format!("there is: {}{more}", names.join(", ")),
    }
}

/// The sites of a data directory.
#[derive(Debug, Clone)]
pub struct Sites {
    data_dir: PathBuf,
}

impl Sites {
    /// Those of this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// The names in a data directory of what the command line writes there.
    pub const FILES: [&'static str; 2] = [FILE, LOCK];

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }

    /// All of them. Without a file there are none.
    ///
    /// # Errors
    /// [`SitesError`]: the file cannot be read.
    pub fn list(&self) -> Result<BTreeMap<SiteName, Site>, SitesError> {
        let path = self.path();
        let at = |error| SitesError::File { path: path.clone(), error };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            other => other.map_err(at)?,
        };
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(at)?;
        serde_json::from_str(&text).map_err(|error| SitesError::Content { path: path.clone(), error })
    }

    /// What is kept of a site's code, if the file can be read and has it.
    ///
    /// # Errors
    /// [`SitesError`]: the file cannot be read.
    pub fn verifier(&self, name: &str) -> Result<Option<Verifier>, SitesError> {
        let Ok(name) = name.parse::<SiteName>() else { return Ok(None) };
        Ok(self.list()?.remove(&name).map(|site| site.verifier))
    }

    /// A new site. Returns when it is durable. The code cannot be had again.
    ///
    /// # Errors
    /// [`SitesError::Exists`], or that the file cannot be written.
    pub fn add(&self, name: &SiteName, now: u64) -> Result<Code, SitesError> {
        self.change(|sites| match sites.contains_key(name) {
            true => Err(SitesError::Exists(name.clone())),
            false => give_code(sites, name, now),
        })
    }

    /// A new code for a site. The old one is worth nothing from now on.
    ///
    /// # Errors
    /// [`SitesError::Unknown`], or that the file cannot be written.
    pub fn replace(&self, name: &SiteName, now: u64) -> Result<Code, SitesError> {
        self.change(|sites| match sites.contains_key(name) {
            true => give_code(sites, name, now),
            false => Err(SitesError::unknown(name, sites)),
        })
    }

    /// Forgets a site.
    ///
    /// # Errors
    /// [`SitesError::Unknown`], or that the file cannot be written.
    pub fn remove(&self, name: &SiteName) -> Result<(), SitesError> {
        self.change(|sites| match sites.remove(name) {
            Some(_) => Ok(()),
            None => Err(SitesError::unknown(name, sites)),
        })
    }

    fn change<T>(
        &self,
        run: impl FnOnce(&mut BTreeMap<SiteName, Site>) -> Result<T, SitesError>,
    ) -> Result<T, SitesError> {
        let path = self.data_dir.join(NEW_FILE);
        let at = |error| SitesError::File { path: path.clone(), error };
        platform::private_folder(&self.data_dir).map_err(at)?;
        let mut options = OpenOptions::new();
        let lock = platform::private(&mut options).write(true).create(true).truncate(false);
        let lock = lock.open(self.data_dir.join(LOCK)).map_err(at)?;
        lock.lock().map_err(at)?;
        let mut sites = self.list()?;
        let outcome = run(&mut sites)?;
        let text = serde_json::to_string_pretty(&sites)
            .map_err(|error| SitesError::Content { path: path.clone(), error })?;
        self.write(&path, &text).map_err(at)?;
        Ok(outcome)
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = platform::private(&mut options).write(true).create_new(true).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        platform::replace(path, &self.data_dir.join(FILE))?;
        platform::sync_directory(&self.data_dir)
    }
}

fn give_code(sites: &mut BTreeMap<SiteName, Site>, name: &SiteName, now: u64) -> Result<Code, SitesError> {
    let code = Code::generate()?;
    sites.insert(name.clone(), Site { verifier: code.verifier(), since: now });
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::{FILE, SiteName, Sites, SitesError};

    fn name(text: &str) -> SiteName {
        text.parse().unwrap()
    }

    #[test]
    fn sites_are_added_replaced_and_removed_and_only_their_owner_reads_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let sites = Sites::of(folder.path());
        assert!(sites.list().unwrap().is_empty());
        let first = sites.add(&name("north"), 7).unwrap();
        sites.add(&name("south"), 8).unwrap();
        assert!(matches!(sites.add(&name("north"), 9), Err(SitesError::Exists(_))));
        assert_eq!(sites.verifier("north").unwrap(), Some(first.verifier()));
        let second = sites.replace(&name("north"), 9).unwrap();
        assert!(first != second && sites.verifier("north").unwrap() == Some(second.verifier()));
        let path = folder.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(path).unwrap().contains(&second.reveal()[40..]));
        sites.remove(&name("north")).unwrap();
        let error = sites.replace(&name("NORTH"), 9).unwrap_err().to_string();
        assert_eq!(error, "there is no site \"NORTH\"; there is: south");
        assert_eq!(sites.list().unwrap().len(), 1);
        assert_eq!(sites.verifier("../etc").unwrap(), None);
    }

    #[test]
    fn a_name_is_plain() {
        for wrong in ["", ".x", "a b", "a/b", "\u{e9}", &"a".repeat(65)] {
            assert!(wrong.parse::<SiteName>().is_err(), "{wrong:?}");
        }
    }
}
