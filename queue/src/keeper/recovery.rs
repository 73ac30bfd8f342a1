//! Opening a queue: from whatever a crash left to a running keeper.
//!
//! Nothing here depends on how the last process ended. A power cut anywhere in it, and then once more from the start,
//! gives the same result: files are copied and synced before the old ones go, and records are synced before anything
//! is done because of them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::quiet::LastSeen;
use super::replay::{self, Filled, ReplayError};
use super::{Keeper, Notices, Retention, Unavailable, new_view};
use crate::boot::{BootFile, BootFileError};
use crate::clock::Clock;
use crate::fs::{Fs, Lock, is_full};
use crate::id::{Name, Sequence};
use crate::instance::{Hold, HoldKind, Instance, Owed, Start};
use crate::journal::{Journals, Marks, Record};
use crate::poison::{Poison, Poisoned, Scope};
use crate::spool::blob::{Blob, BlobError};
use crate::spool::layout::Envelope;
use crate::spool::space::SpaceKeeper;
use crate::spool::{Events, Fresh, Paths, Spool, SpoolParts};
use crate::view::kv::{Kv, MemKv, SledKv};
use crate::view::packed::Packed;

/// Bytes copied at a time.
const COPY: usize = 1 << 20;
/// Why a delivery is held whose journal cannot be read to its end.
const JOURNAL_DAMAGED: &str = "journal damaged";

/// What is to be opened, and how.
pub(crate) struct Opening {
    pub(crate) root: PathBuf,
    pub(crate) extension: &'static str,
    pub(crate) reserve: u64,
    pub(crate) high_watermark: u32,
    pub(crate) retain: Duration,
    pub(crate) ledger: Duration,
    /// `None` keeps the index in memory.
    pub(crate) index_cache: Option<u64>,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why a queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path}: {owner}")]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Who has it.
        owner: String,
    },
    /// A file or directory cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A sync failed while opening.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The journals or the index cannot be read or written.
    #[error("{0}")]
    Journal(String),
}

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How often this queue has been opened, this time included.
    pub boot: u32,
    /// Instances known.
    pub instances: u64,
    /// Durable files that no journal knew of yet, taken in.
    pub adopted: u64,
    /// Unfinished files, removed: they were never acknowledged.
    pub swept: u64,
    /// Files that are damaged beyond being recognised; they are left where they are.
    pub corrupt: Vec<PathBuf>,
    /// Instances held because their file is missing or damaged.
    pub missing: u64,
    /// Buckets whose journal is damaged; what was open in them is held.
    pub damaged_journals: u64,
}

/// A queue that is open.
pub(crate) struct Opened {
    pub(crate) spool: Arc<Spool>,
    pub(crate) keeper: Keeper,
    pub(crate) recovered: Recovered,
}

/// Opens the queue under a root directory, making it if there is none.
pub(crate) fn open(
    opening: &Opening,
    events: Box<dyn Events>,
    notices: Box<dyn Notices>,
) -> Result<Opened, OpenError> {
    let fs = &*opening.fs;
    let paths = Paths::new(&opening.root, opening.extension);
    make_root(fs, &opening.root)?;
    let lock = take_lock(fs, &paths)?;
    make_dir(fs, &paths.spool())?;
    make_dir(fs, &paths.journals())?;
    at(&opening.root, fs.sync_dir(&opening.root))?;
    let marks = Arc::new(at(&paths.marks(), Marks::open(fs, &paths.marks()))?);
    let (first_bucket, newest_boot) = newest_names(fs, &paths, &marks)?;
    let mut boot_file = BootFile::open(fs, &paths.boot(), newest_boot).map_err(|e| boot_error(&paths, e))?;
    let space = SpaceKeeper::open(fs, paths.ballast(), opening.reserve, opening.high_watermark);
    at(&opening.root, fs.sync_dir(&opening.root))?;
    let poison = Arc::new(Poison::default());
    let boot = boot_file.boot();
    let spool = Arc::new(Spool::new(SpoolParts {
        fs: Arc::clone(&opening.fs),
        clock: Arc::clone(&opening.clock),
        paths: paths.clone(),
        boot,
        first_bucket,
        poison: Arc::clone(&poison),
        marks: Arc::clone(&marks),
        space: at(&paths.ballast(), space)?,
        events,
        lock,
    }));
    let index = paths.index();
    let view = new_view(|| match opening.index_cache {
        None => Ok(Box::<MemKv>::default()),
        Some(bytes) => Ok(Box::new(Packed::new(SledKv::create(&index, bytes)?)) as Box<dyn Kv>),
    });
    let mut keeper = Keeper {
        spool: Arc::clone(&spool),
        journals: Journals::new(Arc::clone(&opening.fs), paths, boot, poison, marks),
        view,
        retention: Retention { payload: opening.retain, ledger: opening.ledger },
        notices,
        waiters: Vec::new(),
        leased: std::collections::HashMap::new(),
        waiting: std::collections::HashMap::new(),
        last_seen: LastSeen::new(opening.clock.monotonic()),
        idle: std::collections::HashMap::new(),
        ledgers: std::collections::BTreeMap::new(),
        undecided: std::collections::VecDeque::new(),
        broken: None,
        index_rebuilds: 0,
        corrupt_files: 0,
    };
    let mut recovered = keeper.recover(&boot_file)?;
    boot_file.settle().map_err(|e| boot_error(&spool.paths, e))?;
    spool.marks.recovered();
    recovered.boot = boot;
    keeper.corrupt_files = recovered.corrupt.len() as u64;
    recovered.instances = keeper.view.totals().payloads;
    Ok(Opened { spool, keeper, recovered })
}

impl Keeper {
    fn recover(&mut self, boot_file: &BootFile) -> Result<Recovered, OpenError> {
        let mut recovered = Recovered::default();
        let filled = match replay::fill(&self.spool, &mut self.view) {
            Err(ReplayError::Index(_)) => {
                self.view = new_view(|| Ok(Box::<MemKv>::default()));
                replay::fill(&self.spool, &mut self.view)
            }
            other => other,
        };
        let mut filled = filled.map_err(|e| OpenError::Journal(e.to_string()))?;
        filled.settled = boot_file.settled();
        self.ledgers = std::mem::take(&mut filled.ledgers);
        self.write_last_batches_again(&filled, boot_file)?;
        recovered.damaged_journals = filled.damaged.len() as u64;
        self.hold_what_damage_left_open(&filled).map_err(unavailable)?;
        recovered.missing = filled.missing.len() as u64;
        self.hold_what_is_missing(&filled)?;
        self.judge_unknown_files(&filled, &mut recovered)?;
        self.note_damage(&filled);
        self.flush().map_err(unavailable)?;
        self.remove_bare_directories(&filled);
        Ok(recovered)
    }

    /// The last batch of a journal may be in memory only: what is decided because of it must not outlive it. So it is
    /// written again, to a new file, and synced, before anything is decided.
    fn write_last_batches_again(&mut self, filled: &Filled, boot_file: &BootFile) -> Result<(), OpenError> {
        let now = self.spool.clock.wall_ms();
        for (bucket, (newest_boot, last_batch, records)) in &filled.tails {
            let is_durable = *newest_boot < boot_file.settled();
            // Written again it keeps its number: the file it stands in may still lose it, and that is no damage.
            let resume_after = if is_durable { *last_batch } else { last_batch.saturating_sub(1) };
            self.journals.resume(*bucket, resume_after);
            if !is_durable {
                for record in records {
                    self.journals.push(*bucket, record.clone());
                }
                if filled.unclosed.contains(bucket) {
                    self.journals.push(*bucket, Record::Closed { at: now });
                }
            }
        }
        self.flush().map_err(unavailable)
    }

    /// In a bucket whose journal is damaged, what seems open may have been delivered or discarded: a person decides.
    pub(super) fn hold_what_damage_left_open(&mut self, filled: &Filled) -> Result<(), Unavailable> {
        for sequence in filled.damaged.values().flatten() {
            self.hold_open_deliveries(*sequence, JOURNAL_DAMAGED)?;
        }
        self.flush()
    }

    /// Damage is dealt with when everything that was open in its bucket is held and durable so.
    fn note_damage(&mut self, filled: &Filled) {
        let at = self.spool.clock.wall_ms();
        for bucket in filled.damaged.keys() {
            let boot = filled.tails.get(bucket).map_or(0, |(boot, ..)| *boot);
            self.record(*bucket, Record::DamageNoted { boot, at });
        }
    }

    fn hold_what_is_missing(&mut self, filled: &Filled) -> Result<(), OpenError> {
        for (sequence, why) in &filled.missing {
            self.hold_open_deliveries(*sequence, why).map_err(unavailable)?;
        }
        self.flush().map_err(unavailable)
    }

    fn hold_open_deliveries(&mut self, sequence: Sequence, why: &str) -> Result<(), Unavailable> {
        let found = self.ask(|keeper| match keeper.view.instance(sequence)? {
            None => Ok(None),
            Some(instance) => Ok(Some((instance.bucket, keeper.view.deliveries(sequence)?))),
        })?;
        let Some((bucket, deliveries)) = found else { return Ok(()) };
        let at = self.spool.clock.wall_ms();
        for delivery in deliveries {
            let hold = Hold::new(HoldKind::Damage, why);
            let is_held_so = delivery.state == crate::instance::State::Held(hold.clone());
            if delivery.state.is_open() && !is_held_so {
                let (destination, who) = (delivery.destination, "chrysalis".to_owned());
                self.record(bucket, Record::Held { sequence, destination, at, hold, who });
            }
        }
        Ok(())
    }

    /// Files that no journal commits: names that were never used, blobs that were never finished, and blobs whose
    /// commit the journal had not heard of.
    fn judge_unknown_files(&mut self, filled: &Filled, recovered: &mut Recovered) -> Result<(), OpenError> {
        let mut obsolete = Vec::new();
        let mut emptied = BTreeSet::new();
        for &(bucket, name, len) in &filled.unknown {
            let path = self.spool.paths.blob(bucket, name);
            let judged = if len == 0 { Ok(None) } else { Blob::recover(&*self.spool.fs, &path) };
            match judged {
                Ok(None) => {
                    recovered.swept += u64::from(len > 0);
                    obsolete.push(path);
                }
                Ok(Some((_, envelope))) if self.is_known(&envelope, filled)? => {
                    obsolete.push(path);
                    emptied.insert(bucket);
                }
                Ok(Some((blob, envelope))) => {
                    recovered.adopted += 1;
                    let old = Found { bucket, name, blob, envelope };
                    if self.adopt(old, filled)? {
                        obsolete.push(path);
                        emptied.insert(bucket);
                    }
                }
                Err(_) => recovered.corrupt.push(path),
            }
        }
        self.flush().map_err(unavailable)?;
        for path in obsolete {
            let _ = self.spool.fs.unlink(&path);
        }
        // A finished file must not come back when the journal that knows its copy has been forgotten.
        for bucket in emptied {
            self.spool
                .fs
                .sync_dir(&self.spool.paths.bucket(bucket))
                .map_err(|e| self.spool.poison.set(Scope::Spool, "sync of a bucket's directory", &e))?;
        }
        Ok(())
    }

    /// What is left of a copy made by an earlier start.
    fn is_known(&mut self, envelope: &Envelope, filled: &Filled) -> Result<bool, OpenError> {
        let sequence = envelope.sequence;
        let known = self.look(|keeper| keeper.view.instance(sequence)).map_err(unavailable)?;
        Ok(known.is_some() && !filled.missing.contains_key(&sequence))
    }

    /// Takes in a finished file that no journal knew of. It is copied, because nobody knows whether its own sync
    /// succeeded, and a sync now would not bring back what an earlier one dropped. True when the old file may go.
    fn adopt(&mut self, found: Found, filled: &Filled) -> Result<bool, OpenError> {
        let Found { bucket, name, blob, envelope } = found;
        let mut owed = envelope.owed.clone();
        let mut place = (bucket, name);
        let mut copied = false;
        match blob.verify() {
            Ok(()) => {
                if let Some(copy) = self.copy(&blob)? {
                    place = copy;
                    copied = true;
                }
            }
            Err(
                error @ (BlobError::HashMismatch
                | BlobError::Damaged(_)
                | BlobError::Io(_)
                | BlobError::Missing),
            ) => {
                hold_all(&mut owed, &error.to_string());
            }
        }
        // Every earlier start took in what it found and settled it: a file of such a boot had its record.
        let in_doubt = filled.damaged.contains_key(&bucket) || envelope.sequence.boot() < filled.settled;
        if in_doubt {
            hold_all(&mut owed, JOURNAL_DAMAGED);
        }
        if filled.missing.contains_key(&envelope.sequence) {
            hold_all(&mut owed, "a copy of a file that was missing");
            self.forget_missing(envelope.sequence)?;
        }
        let instance = Instance {
            sequence: envelope.sequence,
            bucket: place.0,
            name: place.1,
            extent: blob.extent(),
            received_at: envelope.received_at,
            since: envelope.received_at,
            keys: envelope.keys,
            attachment: envelope.attachment,
        };
        let sequence = instance.sequence;
        self.committed(Fresh { instance, owed });
        self.decide_all().map_err(unavailable)?;
        for orphan in filled.orphans.get(&sequence).into_iter().flatten() {
            self.record(place.0, orphan.clone());
        }
        if in_doubt {
            self.hold_open_deliveries(sequence, JOURNAL_DAMAGED).map_err(unavailable)?;
        }
        Ok(copied)
    }

    fn forget_missing(&mut self, sequence: Sequence) -> Result<(), OpenError> {
        let forgotten = match self.view.instance(sequence) {
            Ok(Some(instance)) => self.view.forget(&instance),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        forgotten.map_err(|e| OpenError::Journal(e.0))
    }

    /// Copies a file under a new name and syncs it. `None` when the disk has no room: then the file is used where it
    /// is, because forwarding it is what frees the disk. The ballast stays for the journals, which have to say so.
    fn copy(&self, blob: &Blob) -> Result<Option<(u32, Name)>, OpenError> {
        match self.try_copy(blob) {
            Ok(place) => Ok(Some(place)),
            Err(CopyError::Poisoned(p)) => Err(p.into()),
            Err(CopyError::Io(e)) if is_full(&e) => Ok(None),
            Err(CopyError::Io(error)) => Err(OpenError::Io { path: self.spool.paths.spool(), error }),
        }
    }

    fn try_copy(&self, blob: &Blob) -> Result<(u32, Name), CopyError> {
        let spool = &self.spool;
        let taken = spool.names.take(spool)?;
        let path = spool.paths.blob(taken.bucket, taken.name);
        let copied = spool.fs.open(&path, crate::fs::Mode::ReadWrite).and_then(|to| {
            copy_all(blob.file(), &*to)?;
            Ok(to)
        });
        let result = match copied {
            Ok(to) => to.sync_data().map_err(|e| {
                CopyError::Poisoned(spool.poison.set(Scope::Spool, "sync of a copied spool file", &e))
            }),
            Err(e) => {
                let _ = spool.fs.unlink(&path);
                Err(CopyError::Io(e))
            }
        };
        spool.names.done_with(taken.bucket);
        result.map(|()| (taken.bucket, taken.name))
    }

    /// Directories in which nothing was left.
    fn remove_bare_directories(&self, filled: &Filled) {
        for bucket in &filled.directories {
            if !filled.tails.contains_key(bucket) && self.spool.names.is_closed(*bucket) {
                let _ = self.spool.fs.remove_dir(&self.spool.paths.bucket(*bucket));
            }
        }
    }
}

/// A finished file that no journal knows.
struct Found {
    bucket: u32,
    name: Name,
    blob: Blob,
    envelope: Envelope,
}

enum CopyError {
    Poisoned(Poisoned),
    Io(io::Error),
}

impl From<crate::spool::StageError> for CopyError {
    fn from(error: crate::spool::StageError) -> Self {
        match error {
            crate::spool::StageError::Full => Self::Io(io::ErrorKind::StorageFull.into()),
            crate::spool::StageError::Poisoned(p) => Self::Poisoned(p),
            crate::spool::StageError::Io(e) => Self::Io(e),
        }
    }
}

fn copy_all(from: &dyn crate::fs::File, to: &dyn crate::fs::File) -> io::Result<()> {
    let size = from.size()?;
    let mut chunk = vec![0; COPY.min(size as usize)];
    let mut done = 0;
    while done < size {
        let n = from.read_at(&mut chunk, done)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all_at(chunk.get(..n).unwrap_or_default(), done)?;
        done += n as u64;
    }
    Ok(())
}

/// Holds what would be sent. What a rule discarded is sent by nobody, whatever became of it.
fn hold_all(owed: &mut [Owed], why: &str) {
    for owed in owed {
        if !matches!(owed.start, Start::Discard { .. }) {
            owed.start = Start::Hold(Hold::new(HoldKind::Damage, why));
        }
    }
}

fn unavailable(error: Unavailable) -> OpenError {
    match error {
        Unavailable::Poisoned(p) => OpenError::Poisoned(p),
        other => OpenError::Journal(other.to_string()),
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, OpenError> {
    result.map_err(|error| OpenError::Io { path: path.to_owned(), error })
}

fn boot_error(paths: &Paths, error: BootFileError) -> OpenError {
    OpenError::Io { path: paths.boot(), error: error.into() }
}

/// Makes the root and its parents, and each new name durable.
fn make_root(fs: &dyn Fs, root: &Path) -> Result<(), OpenError> {
    let parent = root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs.create_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound && parent != root => {
            make_root(fs, parent)?;
            make_dir(fs, root)?;
        }
        other => at(root, other)?,
    }
    at(parent, fs.sync_dir(parent))
}

fn make_dir(fs: &dyn Fs, path: &Path) -> Result<(), OpenError> {
    match fs.create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => at(path, other),
    }
}

fn take_lock(fs: &dyn Fs, paths: &Paths) -> Result<Box<dyn Lock>, OpenError> {
    let path = paths.lock();
    match fs.lock(&path) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(OpenError::InUse { path, owner: e.to_string() })
        }
        other => at(&path, other),
    }
}

/// The first bucket that no name uses, and the highest boot that any does: for when the boot file is unreadable.
fn newest_names(fs: &dyn Fs, paths: &Paths, marks: &Marks) -> Result<(u32, u32), OpenError> {
    let (mut bucket, mut boot) = marks.newest();
    let journals = paths.journals();
    for entry in at(&journals, fs.list(&journals))? {
        if let Some((b, o)) = Paths::journal_of(&entry.name) {
            (bucket, boot) = (b.max(bucket), o.max(boot));
        }
    }
    let spool = paths.spool();
    for entry in at(&spool, fs.list(&spool))? {
        bucket = entry.name.parse().unwrap_or(0).max(bucket);
    }
    Ok((bucket + 1, boot))
}
