//! What somebody paused: destinations, calling AE titles at a destination, listeners.
//!
//! A pause outlives a reload and a restart: it is in `pauses.json` of the data directory before it is answered (a new
//! file, synced, renamed over the old one, the directory synced). When that file is there and cannot be read, nobody
//! knows what is paused. Then the node receives, because carts must get rid of their studies, and sends nothing:
//! everything waits, visibly and paused with that reason, until somebody resumes what may go. Sending what a person had
//! stopped could not be taken back; waiting can.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use crate::audit::short;
use crate::platform;

/// Name of the file in the data directory.
const FILE: &str = "pauses.json";
const NEW_FILE: &str = "pauses.json.new";
const BAD_FILE: &str = "pauses.json.unreadable";
/// Pauses at a time.
pub const MAX_PAUSES: usize = 1000;
/// A larger file is not ours.
const MAX_BYTES: u64 = 8 << 20;
/// Characters of a reason that are kept.
const MAX_REASON: usize = 1000;

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Everything to a destination.
    Destination(String),
    /// What one calling AE title sent, to a destination that passes titles through.
    Lane {
        /// The destination.
        destination: String,
        /// The title.
        calling_ae: String,
    },
    /// A port where carts call in.
    Listener(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Destination(name) => write!(f, "destination {name}"),
            Self::Lane { destination, calling_ae } => write!(f, "destination {destination} for {calling_ae}"),
            Self::Listener(name) => write!(f, "listener {name}"),
        }
    }
}

/// Who paused it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub who: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why; may be empty.
    pub reason: String,
    /// A drain did it on its way, and nobody meant this one in particular.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_drain: bool,
}

impl Pause {
    /// A pause that begins now.
    pub fn new(who: &str, reason: &str) -> Self {
        let since = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        Self { who: who.to_owned(), since, reason: short(reason, MAX_REASON), by_drain: false }
    }

    /// A pause that begins now, of whatever a drain finds open.
    pub fn of_drain(who: &str, reason: &str) -> Self {
        Self { by_drain: true, ..Self::new(who, reason) }
    }

    /// In the words of a listing: `paused by oncall: upgrade of the PACS`.
    pub fn words(&self) -> String {
        let colon = if self.reason.is_empty() { "" } else { ": " };
        format!("paused by {}{colon}{}", self.who, self.reason)
    }
}

/// What a pause met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paused {
    /// It was not paused before.
    New,
    /// It was paused already, in this way; that is said differently now.
    Instead(Pause),
    /// It was paused already, and nothing is said anew.
    Already,
}

/// A pause could not be made or lifted; everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The data directory.
    #[error("{}: {error}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Too many of them.
    #[error("there are {MAX_PAUSES} pauses already")]
    TooMany,
}

/// What is paused. Clones are the same.
#[derive(Debug, Clone)]
pub struct Pauses {
    data_dir: Arc<PathBuf>,
    /// Held while the file is written, so that the file says what was said last.
    writing: Arc<Mutex<()>>,
    now: Arc<watch::Sender<Entries>>,
}

#[derive(Debug, Clone, Default)]
struct Entries {
    by_subject: BTreeMap<Subject, Pause>,
    /// The file could not be read.
    unreadable: bool,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    subject: Subject,
    pause: Pause,
}

impl Pauses {
    /// Reads what is paused in a data directory; `destinations` are those of the configuration, which are paused one and
    /// all when that cannot be read.
    pub fn open<'a>(data_dir: &Path, destinations: impl Iterator<Item = &'a str>) -> Self {
        let entries = match read(&data_dir.join(FILE)) {
            Ok(by_subject) => Entries { by_subject, unreadable: false },
            Err(error) => {
                tracing::error!(
                    file = %data_dir.join(FILE).display(), %error,
                    "What was paused cannot be read: every destination is paused until somebody resumes it.",
                );
                let pause =
                    Pause::new("chrysalis", &format!("{FILE} cannot be read; see what is to be resumed"));
                let every = destinations.map(|name| (Subject::Destination(name.to_owned()), pause.clone()));
                Entries { by_subject: every.collect(), unreadable: true }
            }
        };
        for (subject, pause) in &entries.by_subject {
            tracing::warn!(%subject, who = pause.who, since = pause.since, reason = pause.reason, "Is paused.");
        }
        let now = Arc::new(watch::Sender::new(entries));
        Self { data_dir: Arc::new(data_dir.to_owned()), writing: Arc::default(), now }
    }

    /// Pauses this. What was paused already gets this reason and this name, unless no reason is given and somebody meant
    /// it already; it stays paused since when it was. Durable then.
    ///
    /// # Errors
    /// [`PauseError`]; nothing has changed then.
    pub fn pause(&self, subject: &Subject, pause: &Pause) -> Result<Paused, PauseError> {
        let mut met = Paused::New;
        self.change(|entries| {
            let mut pause = pause.clone();
            if let Some(old) = entries.get(subject) {
                let says_no_more = pause.reason.is_empty() && !old.by_drain;
                let is_same =
                    (&old.who, &old.reason, old.by_drain) == (&pause.who, &pause.reason, pause.by_drain);
                if says_no_more || is_same {
                    met = Paused::Already;
                    return Vec::new();
                }
                pause.since.clone_from(&old.since);
                met = Paused::Instead(old.clone());
            }
            entries.insert(subject.clone(), pause);
            vec![subject.clone()]
        })?;
        Ok(met)
    }

    /// Pauses all of these; one that is paused already stays so, by whom it was. Returns those that are new. They are
    /// durable then.
    ///
    /// # Errors
    /// [`PauseError`]; nothing has changed then.
    pub fn pause_others(&self, subjects: Vec<Subject>, pause: &Pause) -> Result<Vec<Subject>, PauseError> {
        self.change(|entries| {
            let fresh = subjects.into_iter().filter(|subject| !entries.contains_key(subject));
            let fresh: Vec<_> = fresh.collect();
            entries.extend(fresh.iter().map(|subject| (subject.clone(), pause.clone())));
            fresh
        })
    }

    /// Lifts the pauses that `which` says. Returns them. They stay lifted after a restart.
    ///
    /// # Errors
    /// [`PauseError`]; nothing has changed then.
    pub fn resume(&self, which: impl Fn(&Subject, &Pause) -> bool) -> Result<Vec<Subject>, PauseError> {
        self.change(|entries| {
            let lifted = entries.iter().filter(|(subject, pause)| which(subject, pause));
            let lifted: Vec<_> = lifted.map(|(subject, _)| subject.clone()).collect();
            entries.retain(|subject, pause| !which(subject, pause));
            lifted
        })
    }

    /// The pause of a whole destination.
    pub fn destination(&self, name: &str) -> Option<Pause> {
        self.of(&Subject::Destination(name.to_owned()))
    }

    /// The pause of a calling AE title at a destination.
    pub fn lane(&self, destination: &str, calling_ae: &str) -> Option<Pause> {
        self.of(&Subject::Lane { destination: destination.to_owned(), calling_ae: calling_ae.to_owned() })
    }

    /// The pause of a listener.
    pub fn listener(&self, name: &str) -> Option<Pause> {
        self.of(&Subject::Listener(name.to_owned()))
    }

    /// The titles that are paused at a destination.
    pub fn lanes(&self, destination: &str) -> Vec<(String, Pause)> {
        let entries = self.now.borrow();
        let here = entries.by_subject.iter().filter_map(|(subject, pause)| match subject {
            Subject::Lane { destination: name, calling_ae } if name == destination => {
                Some((calling_ae.clone(), pause.clone()))
            }
            Subject::Lane { .. } | Subject::Destination(_) | Subject::Listener(_) => None,
        });
        here.collect()
    }

    /// Everything that is paused.
    pub fn all(&self) -> BTreeMap<Subject, Pause> {
        self.now.borrow().by_subject.clone()
    }

    /// A receiver that changes whenever something is paused or resumed.
    pub fn news(&self) -> News {
        News(self.now.subscribe())
    }

    fn of(&self, subject: &Subject) -> Option<Pause> {
        self.now.borrow().by_subject.get(subject).cloned()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<Subject, Pause>) -> Vec<Subject>,
    ) -> Result<Vec<Subject>, PauseError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Entries { mut by_subject, unreadable } = self.now.borrow().clone();
        let changed = change(&mut by_subject);
        if changed.is_empty() {
            return Ok(changed);
        }
        if by_subject.len() > MAX_PAUSES {
            return Err(PauseError::TooMany);
        }
        write(&self.data_dir, &by_subject, unreadable)
            .map_err(|error| PauseError::Disk { path: self.data_dir.join(FILE), error })?;
        self.now.send_replace(Entries { by_subject, unreadable: false });
        Ok(changed)
    }
}

/// Tells when something is paused or resumed.
#[derive(Debug)]
pub struct News(watch::Receiver<Entries>);

impl News {
    /// What happened so far is no news any more.
    pub fn seen(&mut self) {
        self.0.borrow_and_update();
    }

    /// Returns when something has happened since.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<Subject, Pause>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    let entries: Vec<Entry> = serde_json::from_slice(&text)?;
    Ok(entries.into_iter().map(|entry| (entry.subject, entry.pause)).collect())
}

fn write(data_dir: &Path, entries: &BTreeMap<Subject, Pause>, keep_old: bool) -> io::Result<()> {
    let entries =
        entries.iter().map(|(subject, pause)| Entry { subject: subject.clone(), pause: pause.clone() });
    let text = serde_json::to_vec_pretty(&entries.collect::<Vec<_>>())?;
    let (path, new) = (data_dir.join(FILE), data_dir.join(NEW_FILE));
    let mut options = OpenOptions::new();
    let mut file = platform::private(&mut options).write(true).create(true).truncate(true).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    if keep_old {
        platform::replace(&path, &data_dir.join(BAD_FILE))?;
    }
    platform::replace(&new, &path)?;
    platform::sync_directory(data_dir)
}

#[cfg(test)]
mod tests {
    use super::{BAD_FILE, FILE, MAX_PAUSES, Pause, PauseError, Paused, Pauses, Subject};

    fn open(folder: &tempfile::TempDir) -> Pauses {
        Pauses::open(folder.path(), ["pacs", "cloud"].into_iter())
    }

    fn destination(name: &str) -> Subject {
        Subject::Destination(name.to_owned())
    }

    fn lane(calling_ae: &str) -> Subject {
        Subject::Lane { destination: "cloud".to_owned(), calling_ae: calling_ae.to_owned() }
    }

    #[test]
    fn a_pause_is_there_after_a_restart_and_gone_after_it_was_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let pause = Pause::new("oncall", "upgrade");
        let subjects = vec![destination("pacs"), lane("VIVID1"), Subject::Listener("wards".into())];
        assert_eq!(open(&folder).pause_others(subjects.clone(), &pause).unwrap(), subjects);
        let again = open(&folder);
        assert_eq!(again.destination("pacs").unwrap(), pause);
        assert_eq!(again.lane("cloud", "VIVID1").unwrap().words(), "paused by oncall: upgrade");
        assert!(again.listener("wards").is_some() && again.destination("cloud").is_none());
        assert_eq!(again.lanes("cloud").len(), 1);
        again.resume(|subject, _| *subject == lane("VIVID1")).unwrap();
        assert!(open(&folder).lane("cloud", "VIVID1").is_none());
        assert_eq!(open(&folder).resume(|_, _| true).unwrap().len(), 2);
        assert!(open(&folder).all().is_empty());
    }

    #[test]
    fn a_drain_leaves_alone_what_somebody_paused_and_what_is_lifted_of_it_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let pauses = open(&folder);
        let (wards, lab) = (Subject::Listener("wards".into()), Subject::Listener("lab".into()));
        pauses.pause(&lab, &Pause::new("oncall", "cable")).unwrap();
        let drain = Pause::of_drain("night", "drain");
        assert_eq!(pauses.pause_others(vec![wards.clone(), lab.clone()], &drain).unwrap().len(), 1);
        assert_eq!(pauses.listener("lab").unwrap().words(), "paused by oncall: cable");
        let again = open(&folder);
        assert_eq!(again.resume(|_, pause| pause.by_drain).unwrap().len(), 1);
        assert!(again.listener("wards").is_none());
        assert!(again.listener("lab").is_some());
        again.pause_others(vec![wards.clone()], &drain).unwrap();
        again.pause(&wards, &Pause::new("oncall", "")).unwrap();
        assert!(!again.listener("wards").unwrap().by_drain, "somebody means it now");
    }

    #[test]
    fn who_says_why_last_is_who_paused_and_it_stays_paused_since_when_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let pauses = open(&folder);
        let pacs = destination("pacs");
        let first = Pause { since: "2026-11-21T00:00:00Z".to_owned(), ..Pause::new("oncall", "upgrade") };
        assert_eq!(pauses.pause(&pacs, &first).unwrap(), Paused::New);
        assert_eq!(pauses.pause(&pacs, &Pause::new("night", "")).unwrap(), Paused::Already);
        assert_eq!(
            pauses.pause(&pacs, &Pause::new("night", "disk")).unwrap(),
            Paused::Instead(first.clone())
        );
        let now = open(&folder).destination("pacs").unwrap();
        assert_eq!((now.words().as_str(), now.since), ("paused by night: disk", first.since));
    }

    #[test]
    fn a_file_from_before_drains_were_told_apart_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let written = r#"[{"subject":{"listener":"wards"},"pause":{"who":"a","since":"2026-11-21T00:00:00Z","reason":"drain"}}]"#;
        std::fs::write(folder.path().join(FILE), written).unwrap();
        assert!(!open(&folder).listener("wards").unwrap().by_drain);
    }

    #[test]
    fn an_unreadable_file_pauses_every_destination_and_is_kept_aside() {
        for content in ["", "[{\"subject\":", "{}", "\u{0}\u{0}"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE), content).unwrap();
            let pauses = open(&folder);
            assert!(pauses.destination("pacs").is_some() && pauses.destination("cloud").is_some());
            assert!(pauses.listener("wards").is_none(), "carts can get rid of their studies");
            pauses.resume(|subject, _| *subject == destination("pacs")).unwrap();
            assert!(pauses.destination("pacs").is_none() && pauses.destination("cloud").is_some());
            assert_eq!(open(&folder).all().len(), 1);
            assert_eq!(std::fs::read_to_string(folder.path().join(BAD_FILE)).unwrap(), content);
        }
    }

    #[test]
    fn a_pause_that_cannot_be_written_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let pauses = open(&folder);
        let pause = Pause::new("oncall", "");
        let many = (0..=MAX_PAUSES).map(|n| lane(&n.to_string())).collect();
        assert!(matches!(pauses.pause_others(many, &pause), Err(PauseError::TooMany)));
        drop(folder);
        assert!(matches!(pauses.pause(&lane("X"), &pause), Err(PauseError::Disk { .. })));
        assert!(pauses.all().is_empty());
    }
}
