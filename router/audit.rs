//! The record of decisions: who changed what while the node ran, and when.
//!
//! One JSON object a line in `decisions.log` of the data directory, synced before the decision is answered, and one line
//! in the log. When the file has grown to its limit it becomes `decisions.log.1` in place of the one before, so the two
//! never need more than twice the limit. A record that cannot be written is a loud error and undoes nothing: what was
//! decided about deliveries is in the queue's journals besides.
//!
//! Several processes write to it: a running node, and the command line where it changes something by itself. Each line is
//! written under a lock, to the file that has the name at that moment.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::platform;

/// Name of the file in the data directory.
pub const FILE: &str = "decisions.log";
/// Every name that the record of decisions has in the data directory: the file, the one before, and what its writers hold.
pub const FILES: [&str; 3] = [FILE, "decisions.log.1", "decisions.log.lock"];
/// Name of the file of security alerts in the data directory.
pub const ALERTS: &str = "security.log";
/// Alerts a minute that are written down, and claims; more are only counted, because whoever causes them needs no right to.
const MAX_ALERTS: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// Bytes after which a file is full.
const MAX_BYTES: u64 = 8 << 20;
/// Characters of a name or a reason that are kept.
const MAX_TEXT: usize = 1000;
const MAX_WHO: usize = 100;

/// Who decides: what a caller says of itself, and from where it said so. Names are claims; the right is the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    who: String,
    from: Option<SocketAddr>,
}

impl Actor {
    /// Somebody at `from`; one who gives no name is called `admin api`.
    pub fn new(who: Option<&str>, from: SocketAddr) -> Self {
        let who = short(who.unwrap_or_default().trim(), MAX_WHO);
        Self { who: if who.is_empty() { "admin api".to_owned() } else { who }, from: Some(from) }
    }

    /// The machine itself, such as a signal.
    pub fn local(who: &str) -> Self {
        Self { who: short(who, MAX_WHO), from: None }
    }

    /// The name, at most 100 characters without control characters.
    pub fn who(&self) -> &str {
        &self.who
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

/// The record of a data directory. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Record>>);

#[derive(Debug)]
struct Record {
    path: PathBuf,
    old: PathBuf,
    limit: u64,
    /// Held by whoever writes.
    lock: File,
}

/// The record cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct AuditError {
    path: PathBuf,
    error: io::Error,
}

impl Log {
    /// Opens the record of a data directory, making it if it is not there.
    ///
    /// # Errors
    /// [`AuditError`]
    pub fn open(data_dir: &Path) -> Result<Self, AuditError> {
        Self::with_limit(data_dir, FILE, MAX_BYTES)
    }

    fn with_limit(data_dir: &Path, file: &str, limit: u64) -> Result<Self, AuditError> {
        let (path, old) = (data_dir.join(file), data_dir.join(format!("{file}.1")));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| AuditError { path, error }
        };
        let locked = data_dir.join(format!("{file}.lock"));
        let mut options = OpenOptions::new();
        let lock = platform::private(&mut options).write(true).create(true).truncate(false).open(&locked);
        let record = Record { lock: lock.map_err(at(&locked))?, path: path.clone(), old, limit };
        record.append(b"").map_err(at(&path))?;
        Ok(Self(Arc::new(Mutex::new(record))))
    }

    /// Writes down that somebody did `decision` to `subject`, such as `pause` to `destination pacs`, with whatever else
    /// is worth knowing; never patient data. Returns when the line is on the disk, or its failure in the log. Blocks for
    /// as long as the disk takes.
    pub fn record(&self, by: &Actor, decision: &str, subject: &str, details: &Value) {
        let from = by.from.map(|from| from.to_string());
        tracing::info!(who = by.who, from, decision, subject, %details, "A decision.");
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let entry = json!({
            "at": at, "who": by.who, "from": from, "decision": decision, "subject": short(subject, MAX_TEXT),
            "details": details,
        });
        self.append(&entry, decision);
    }

    fn append(&self, entry: &Value, what: &str) {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = record.append(format!("{entry}\n").as_bytes()) {
            let file = record.path.display();
            tracing::error!(%file, %error, what, "What was done could not be written down; it stands.");
        }
    }
}

/// The record of security alerts: who was refused because of a certificate (PS3.15 A.5.3.11, event 110113). A file of its own
/// beside the decisions, because strangers fill it. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Alerts {
    log: Log,
    rate: Arc<Mutex<Rate>>,
}

#[derive(Debug)]
struct Rate {
    minute: Instant,
    written: u32,
    left_out: u64,
}

impl Alerts {
    /// Opens the record of a data directory, making it if it is not there.
    ///
    /// # Errors
    /// [`AuditError`]
    pub fn open(data_dir: &Path) -> Result<Self, AuditError> {
        let rate = Rate { minute: Instant::now(), written: 0, left_out: 0 };
        Ok(Self { log: Log::with_limit(data_dir, ALERTS, MAX_BYTES)?, rate: Arc::new(Mutex::new(rate)) })
    }

    /// Writes down that `peer` was refused at `subject`, on a thread of its own; never patient data. Beyond
    /// twenty a minute it is only counted.
    pub fn raise(&self, peer: SocketAddr, subject: &str, details: &Value) {
        let Some(left_out) = self.rate.lock().unwrap_or_else(PoisonError::into_inner).pass() else { return };
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let entry = json!({
            "at": at, "event": { "code": "110113", "scheme": "DCM", "meaning": "Security Alert" },
            "from": peer.to_string(), "subject": short(subject, MAX_TEXT), "details": details, "left_out": left_out,
        });
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || log.append(&entry, "security alert"));
    }
}

impl Rate {
    /// How many were left out since the last that passed; none if this one is left out too.
    fn pass(&mut self) -> Option<u64> {
        if self.minute.elapsed() >= MINUTE {
            (self.minute, self.written) = (Instant::now(), 0);
        }
        if self.written == MAX_ALERTS {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The part of the record of decisions that others may write to without a right: what links say of themselves. Clones write
/// to the same one.
#[derive(Debug, Clone)]
pub struct Claims {
    log: Log,
    rate: Arc<Mutex<Rate>>,
}

impl Claims {
    /// In this record.
    pub fn new(log: Log) -> Self {
        let rate = Rate { minute: Instant::now(), written: 0, left_out: 0 };
        Self { log, rate: Arc::new(Mutex::new(rate)) }
    }

    /// As [`Log::record`]; beyond twenty a minute it is only counted, and the next one says how many there were.
    pub fn record(&self, by: &Actor, decision: &str, subject: &str, mut details: Value) {
        let Some(left_out) = self.rate.lock().unwrap_or_else(PoisonError::into_inner).pass() else { return };
        if let (Some(details), true) = (details.as_object_mut(), left_out > 0) {
            details.insert("left_out".to_owned(), left_out.into());
        }
        self.log.record(by, decision, subject, &details);
    }
}

impl Record {
    /// Another process may have made the file an older one since the last line.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        self.lock.lock()?;
        let written = self.append_alone(line);
        self.lock.unlock()?;
        written
    }

    fn append_alone(&self, line: &[u8]) -> io::Result<()> {
        let (mut file, length) = open(&self.path)?;
        if length > 0 && length + line.len() as u64 > self.limit {
            platform::replace(&self.path, &self.old)?;
            (file, _) = open(&self.path)?;
        }
        if line.is_empty() {
            return Ok(());
        }
        file.write_all(line)?;
        file.sync_data()
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let is_new = !path.exists();
    let mut file =
        platform::private(&mut OpenOptions::new()).read(true).append(true).create(true).open(path)?;
    if let (true, Some(directory)) = (is_new, path.parent()) {
        platform::sync_directory(directory)?;
    }
    let mut length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        // A line that the power cut short must not swallow the next one.
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok((file, length))
}

/// At most `limit` characters, control characters replaced.
pub(crate) fn short(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Actor, Claims, FILE, Log, MAX_ALERTS, Rate};
    use serde_json::{Value, json};
    use std::fs;

    fn lines(text: &str) -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    #[test]
    fn a_decision_is_one_line_with_who_when_and_from_where() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path()).unwrap();
        let by = Actor::new(Some("oncall\nroot"), "127.0.0.1:5000".parse().unwrap());
        log.record(&by, "pause", "destination pacs", &json!({ "reason": "upgrade" }));
        log.record(&Actor::local("SIGHUP"), "reload", "", &Value::Null);
        let lines = lines(&fs::read_to_string(folder.path().join(FILE)).unwrap());
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["who"], &lines[0]["from"]), (&json!("oncall root"), &json!("127.0.0.1:5000")));
        assert_eq!(lines[0]["details"]["reason"], "upgrade");
        assert!(lines[0]["at"].as_str().unwrap().ends_with('Z'));
        assert_eq!((&lines[1]["who"], &lines[1]["from"]), (&json!("SIGHUP"), &Value::Null));
    }

    #[test]
    fn the_record_goes_on_after_a_restart_and_after_a_line_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        Log::open(folder.path()).unwrap().record(&Actor::local("a"), "pause", "x", &Value::Null);
        let path = folder.path().join(FILE);
        let half = [fs::read(&path).unwrap(), b"{\"at\":".to_vec()].concat();
        fs::write(&path, half).unwrap();
        Log::open(folder.path()).unwrap().record(&Actor::local("b"), "resume", "x", &Value::Null);
        let text = fs::read_to_string(&path).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((text.lines().count(), &last["who"]), (3, &json!("b")));
    }

    #[test]
    fn a_full_file_takes_the_place_of_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::with_limit(folder.path(), FILE, 1000).unwrap();
        for n in 0..50 {
            log.record(&Actor::local("a"), "pause", &n.to_string(), &Value::Null);
        }
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        let (new, old) = (read(FILE), read("decisions.log.1"));
        assert!(new.len() <= 1000 && old.len() <= 1000, "{} {}", new.len(), old.len());
        let kept = [lines(&old), lines(&new)].concat();
        assert_eq!(kept.last().unwrap()["subject"], "49");
        let numbers: Vec<usize> =
            kept.iter().map(|l| l["subject"].as_str().unwrap().parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    }

    #[test]
    fn alerts_beyond_twenty_a_minute_are_counted_and_the_count_is_told_by_the_next() {
        let mut rate = Rate { minute: std::time::Instant::now(), written: 0, left_out: 0 };
        let passed = (0..50).filter(|_| rate.pass() == Some(0)).count();
        assert_eq!((passed, rate.left_out), (usize::try_from(MAX_ALERTS).unwrap(), 30));
        rate.minute = rate.minute.checked_sub(super::MINUTE).unwrap();
        assert_eq!((rate.pass(), rate.pass()), (Some(30), Some(0)));
    }

    #[test]
    fn two_that_write_at_once_lose_no_line_of_each_other_when_the_file_becomes_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let [node, command_line] = [0, 1].map(|_| Log::with_limit(folder.path(), FILE, 25_000).unwrap());
        std::thread::scope(|scope| {
            for (log, who) in [(&node, "node"), (&command_line, "command line")] {
                scope.spawn(move || {
                    (0..150)
                        .for_each(|n| log.record(&Actor::local(who), "pause", &n.to_string(), &Value::Null));
                });
            }
        });
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        let kept = [lines(&read("decisions.log.1")), lines(&read(FILE))].concat();
        assert_eq!(kept.len(), 300);
    }

    #[test]
    fn what_links_say_of_themselves_fills_no_record_of_decisions() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::new(Log::open(folder.path()).unwrap());
        for n in 0..1000 {
            claims.record(&Actor::local("link"), "site configuration", &n.to_string(), json!({}));
        }
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text.lines().count(), usize::try_from(MAX_ALERTS).unwrap());
    }

    #[test]
    fn somebody_without_a_name_is_the_admin_api() {
        let here = "127.0.0.1:1".parse().unwrap();
        assert_eq!(Actor::new(None, here).who(), "admin api");
        assert_eq!(Actor::new(Some("  "), here).who(), "admin api");
        assert_eq!(Actor::new(Some(&"x".repeat(500)), here).who().len(), 100);
    }
}
