//! A disk in memory on which it is known what is durable, and on which an operation can be made to fail.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrysalis_queue::fs::{Entry, File, Fs, Lock, Mode, Space};
use chrysalis_queue::simulation::SimDisk;

/// The last 16 bytes of a finished spool file, and where its trailer begins, from the end (docs/QUEUE.md).
const END_MARK: &[u8] = b"\x89CHRYSALIS-END\r\n";
const TRAILER: usize = 80;

/// What is made to fail, in a spool file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A sync, with an error of the disk.
    Sync,
    /// A sync, because the disk is full.
    SyncFull,
    /// A write, because the disk is full.
    WriteFull,
    /// A write, with an error of the disk.
    Write,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct Watched {
    disk: SimDisk,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    files: HashMap<PathBuf, Content>,
    /// Files that were synced since somebody began to look.
    fresh: Vec<PathBuf>,
    /// The failure to come, after so many operations of its kind.
    failure: Option<(Failure, u32)>,
    has_failed: bool,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Option<Vec<u8>>,
    /// A sync failed: what it dropped no later one brings back.
    is_lost: bool,
    has_durable_name: bool,
}

impl Watched {
    /// An empty disk that is never full.
    pub fn new() -> Self {
        Self { disk: SimDisk::new(u64::MAX), seen: Arc::default() }
    }

    /// Forgets what was synced so far, and has the operation fail that comes after so many others of its kind.
    pub fn begin(&self, failure: Option<(Failure, u32)>) {
        let mut seen = self.lock();
        (seen.failure, seen.has_failed) = (failure, false);
        seen.fresh.clear();
    }

    /// Whether the failure has happened.
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// How many finished files with this payload are durable, name and bytes, of those synced since [`Watched::begin`].
    pub fn durable(&self, payload: &[u8]) -> usize {
        let seen = self.lock();
        let mut fresh = seen.fresh.clone();
        fresh.sort_unstable();
        fresh.dedup();
        let files = fresh.iter().filter_map(|path| seen.files.get(path));
        let whole = files.filter(|file| file.has_durable_name && !file.is_lost);
        whole.filter(|file| file.durable.as_deref().and_then(payload_of) == Some(payload)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, path: &Path, inner: Box<dyn File>) -> Box<dyn File> {
        if !is_spool_file(path) {
            return inner;
        }
        Box::new(WatchedFile { inner, path: path.to_owned(), disk: self.clone() })
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

impl Seen {
    fn fails(&mut self, kinds: [Failure; 2]) -> Option<io::Error> {
        let (failure, left) = self.failure.as_mut().filter(|(failure, _)| kinds.contains(failure))?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let is_full = matches!(failure, Failure::SyncFull | Failure::WriteFull);
        self.failure = None;
        self.has_failed = true;
        Some(if is_full { io::ErrorKind::StorageFull.into() } else { io::Error::other("simulated") })
    }
}

fn is_spool_file(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|folder| folder.ends_with("spool"))
}

/// The payload of a finished spool file.
fn payload_of(file: &[u8]) -> Option<&[u8]> {
    let trailer = file.get(file.len().checked_sub(TRAILER)?..)?;
    if !trailer.ends_with(END_MARK) {
        return None;
    }
    let head = u32::from_le_bytes(*trailer.get(4..)?.first_chunk()?) as usize;
    let length = u64::from_le_bytes(*trailer.get(8..)?.first_chunk()?) as usize;
    file.get(head..head.checked_add(length)?)
}

impl Fs for Watched {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.disk.create_new(path)?;
        if is_spool_file(path) {
            self.lock().files.insert(path.to_owned(), Content::default());
        }
        Ok(self.watch(path, file))
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(self.watch(path, self.disk.open(path, mode)?))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path);
        self.disk.unlink(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)?;
        let mut seen = self.lock();
        for (file, content) in &mut seen.files {
            content.has_durable_name |= file.parent() == Some(path);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Fs::lock(&self.disk, path)
    }
}

struct WatchedFile {
    inner: Box<dyn File>,
    path: PathBuf,
    disk: Watched,
}

impl WatchedFile {
    fn change(&self, change: impl FnOnce(&mut Content)) {
        if let Some(content) = self.disk.lock().files.get_mut(&self.path) {
            change(content);
        }
    }
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if let Some(error) = self.disk.lock().fails([Failure::Write, Failure::WriteFull]) {
            return Err(error);
        }
        self.inner.write_all_at(data, offset)?;
        self.change(|content| {
            let (start, end) = (offset as usize, offset as usize + data.len());
            content.bytes.resize(content.bytes.len().max(end), 0);
            content.bytes[start..end].copy_from_slice(data);
        });
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.change(|content| content.bytes.resize(len as usize, 0));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let failed = self.disk.lock().fails([Failure::Sync, Failure::SyncFull]);
        if let Some(error) = failed {
            self.change(|content| content.is_lost = true);
            return Err(error);
        }
        self.inner.sync_data()?;
        let mut seen = self.disk.lock();
        if let Some(content) = seen.files.get_mut(&self.path) {
            content.durable = Some(content.bytes.clone());
        }
        seen.fresh.push(self.path.clone());
        Ok(())
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }
}
