//! What is in a spool, without changing anything of it: of a running node through its API, of a stopped one through a file
//! system that keeps nothing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use chrysalis_queue::fs::{Entry, File, Fs, Lock, Mode, RealFs, Space};
use chrysalis_queue::{DestinationStats, NO_ROUTE, Options, Queue};

use super::Line;
use crate::app;
use crate::config::Config;
use crate::metrics::as_listed;

/// How a spool stands.
#[derive(Debug)]
pub enum Look {
    /// There is none yet.
    Absent,
    /// A running node has it.
    Locked {
        /// The process, as it wrote itself down.
        owner: String,
    },
    /// Nobody has it: what a start would find.
    Stopped(Inside),
    /// It cannot be read.
    Unreadable(String),
}

/// What is in a spool.
#[derive(Debug, Default)]
pub struct Inside {
    running: bool,
    /// Deliveries to be sent and held, by destination; only those that have any.
    pub destinations: Vec<(String, u64, u64)>,
    /// Where the running node takes associations.
    pub addresses: Vec<SocketAddr>,
}

impl Inside {
    /// Whether a running node has the spool.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Destinations that `config` does not have and that something is queued for, with how much: all of it is held.
    pub fn strangers<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (&'a str, u64)> {
        let counts = self.destinations.iter().map(|(name, owed, held)| (name.as_str(), owed + held));
        counts.filter(|(name, _)| *name != NO_ROUTE && config.destination(name).is_none())
    }
}

/// Whether a process has the spool of `config`, as far as this user may look.
pub fn is_locked(config: &Config) -> bool {
    matches!(owner(&config.node.data_dir.join("lock")), Ok(Some(_)))
}

/// Looks at the spool of `config`.
pub fn look(config: &Config) -> Look {
    let root = &config.node.data_dir;
    if !root.join("spool").is_dir() {
        return Look::Absent;
    }
    match owner(&root.join("lock")) {
        Ok(Some(owner)) => return Look::Locked { owner },
        Ok(None) => {}
        Err(error) => return Look::Unreadable(format!("{}: {error}", root.join("lock").display())),
    }
    let options = Options { fs: Arc::new(Dry), reserve: 0, index_cache: None, ..app::queue_options(config) };
    let opened = Queue::open(&options, ()).map_err(|error| error.to_string());
    let stats = opened.and_then(|(queue, _)| {
        let stats = queue.stats().map_err(|error| error.to_string());
        queue.close();
        stats
    });
    match stats {
        Ok(stats) => {
            Look::Stopped(Inside { destinations: counted(&stats.destinations, config), ..Inside::default() })
        }
        Err(error) => Look::Unreadable(error),
    }
}

fn counted(destinations: &[DestinationStats], config: &Config) -> Vec<(String, u64, u64)> {
    let listed = destinations.iter().map(|destination| as_listed(destination, config));
    let counts = listed.map(|d| (d.name, d.tally.owed, d.tally.held));
    counts.filter(|(_, owed, held)| owed + held > 0).collect()
}

/// The finding about it, and what is known of its inside.
pub fn spool(config: &Config, look: Look) -> (Vec<Line>, Inside) {
    let about = "spool";
    match look {
        Look::Absent => (vec![Line::ok(about, "is made at the start")], Inside::default()),
        Look::Locked { owner } => {
            let line = Line::ok(about, format!("in use by process {owner}: the node is running"));
            (vec![line], Inside { running: true, ..Inside::default() })
        }
        Look::Unreadable(error) => {
            let attempt = "Run this as the user of the service; if it is that already, look at the disk.";
            (vec![Line::failed(about, error, "The spool cannot be read.", attempt)], Inside::default())
        }
        Look::Stopped(inside) => {
            let (owed, held) =
                inside.destinations.iter().fold((0, 0), |(a, b), (_, owed, held)| (a + owed, b + held));
            let mut lines = vec![Line::ok(
                about,
                format!("the node is stopped; {owed} deliveries wait, {held} are held"),
            )];
            for (name, held) in inside.strangers(config) {
                lines.push(Line::question(
                    format!("destination {name}"),
                    format!("is not configured, and {held} deliveries are held for it"),
                    "They stay held until the name is configured again, or somebody decides about them.",
                    "If it was renamed, give it its old name back; else reroute or discard them when the node runs.",
                ));
            }
            (lines, inside)
        }
    }
}

/// Who has the lock, if anybody. Looks without taking it for longer than that, and writes nothing.
fn owner(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(fs::TryLockError::WouldBlock) => {
            let text = fs::read_to_string(path)?;
            Ok(Some(text.chars().filter(char::is_ascii_digit).take(20).collect()))
        }
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Reads the machine's disk and keeps nothing of what is written.
struct Dry;

struct NotHeld;

impl Lock for NotHeld {}

impl Fs for Dry {
    fn create_new(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DryFile(None)))
    }

    fn open(&self, path: &Path, _mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DryFile(Some(RealFs.open(path, Mode::Read)?))))
    }

    fn unlink(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealFs.list(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        RealFs.space(path)
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(NotHeld))
    }
}

/// A file that is there, or one that only seems to have been made.
struct DryFile(Option<Box<dyn File>>);

impl File for DryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.as_ref().map_or(Ok(0), |file| file.read_at(buf, offset))
    }

    fn write_all_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.as_ref().map_or(Ok(0), |file| file.size())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}
}
