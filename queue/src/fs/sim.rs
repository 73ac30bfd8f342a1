//! A disk in memory that loses power on command.
//!
//! What was synced is kept apart from what was only written. [`SimDisk::power_cut`] decides for every write that was
//! not synced whether it is kept, dropped or torn at 512 or 4096 bytes, and for every name that was not synced
//! whether it is there, each by itself: stricter than any file system. A write may also leave its length and none of
//! its bytes. A failed sync writes some of the pages and cleans them all, as Linux does: they can still be read, and
//! no later sync writes them. Closing a file syncs nothing.
//!
//! Faults are asked for by the number of the operation, so that a run can be repeated with the fault one operation
//! later, and everything random comes from a seed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, File, Fs, Lock, Mode, Space};

/// A small generator (xorshift64*), so that a run is told by its seed alone.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator; seeds next to each other give unrelated runs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The finish of splitmix64.
        let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((state ^ (state >> 31)).max(1))
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the file operation with a certain number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes just before it: it and everything after fails.
    PowerCut,
    /// It fails with `ENOSPC`, a write after half of its bytes.
    NoSpace,
    /// It fails with `EIO`, a write after half of its bytes; a sync also cleans the pages it did not write.
    Io,
}

/// What the operations did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All operations.
    pub operations: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Reads, listings and openings that failed with `EIO` while the power was on.
    pub read_errors: u64,
}

#[derive(Default, Clone)]
struct State {
    nodes: HashMap<u64, Node>,
    next_node: u64,
    is_off: bool,
    counts: Counts,
    faults: BTreeMap<u64, Fault>,
    /// Any operation fails with `ENOSPC` in one of so many cases; 0 never.
    no_space_one_in: u64,
    rng: Option<Rng>,
    capacity: u64,
    /// Files without a name in the cache: their blocks are free again.
    unlinked: HashSet<u64>,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Default, Clone)]
struct FileNode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    allocated: u64,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

#[derive(Default, Clone)]
struct DirNode {
    cache: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
}

#[derive(Clone)]
enum NameChange {
    Add(String, u64),
    Remove(String),
}

const ROOT: u64 = 0;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

fn errno(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

fn io_error() -> io::Error {
    io::Error::other("input/output error (simulated)")
}

impl SimDisk {
    /// An empty disk of so many bytes; `u64::MAX` is never full.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let mut state = State { capacity, next_node: ROOT + 1, ..State::default() };
        state.nodes.insert(ROOT, Node::Dir(DirNode::default()));
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Another disk with the same content, cache and faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Has an operation, counted from now (0 is the next), meet a fault.
    pub fn fault_in(&self, operations: u64, fault: Fault) {
        let mut state = self.lock();
        let at = state.counts.operations + operations;
        state.faults.insert(at, fault);
    }

    /// Takes back faults that have not happened, the random ones too.
    pub fn clear_faults(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.no_space_one_in = 0;
    }

    /// From now on one operation in so many fails with `ENOSPC`.
    pub fn no_space_one_in(&self, n: u64, seed: u64) {
        let mut state = self.lock();
        state.no_space_one_in = n;
        state.rng = Some(Rng::new(seed));
    }

    /// Changes how much the disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// The power goes, if it has not gone yet, and comes back: what was not synced is decided by `rng`.
    pub fn power_cut(&self, rng: &mut Rng) {
        let mut state = self.lock();
        state.is_off = false;
        state.faults.clear();
        let mut ids: Vec<_> = state.nodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            match state.nodes.get_mut(&id) {
                Some(Node::File(file)) => file.settle(rng),
                Some(Node::Dir(dir)) => dir.settle(rng),
                None => {}
            }
        }
        state.drop_unreachable();
    }

    /// Changes bytes of a file behind everybody's back, on the disk and in the cache.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.lock();
        let id = state.find(path).expect("a file to damage");
        if let Some(Node::File(file)) = state.nodes.get_mut(&id) {
            change(&mut file.cache);
            change(&mut file.durable);
        }
    }

    /// Every file below the root, for tests that choose one.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.lock();
        let mut found = Vec::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            match state.nodes.get(&id) {
                Some(Node::Dir(dir)) => open.extend(dir.cache.iter().map(|(n, id)| (path.join(n), *id))),
                Some(Node::File(_)) => found.push(path),
                None => {}
            }
        }
        found.sort();
        found
    }
}

impl State {
    /// Counts an operation and lets its fault happen. `Ok(Some(..))` is for the operation to act on.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.is_off {
            return Err(io_error());
        }
        let number = self.counts.operations;
        self.counts.operations += 1;
        let mut fault = self.faults.remove(&number);
        if fault.is_none()
            && self.no_space_one_in > 0
            && self.rng.as_mut().is_some_and(|rng| rng.one_in(self.no_space_one_in))
        {
            fault = Some(Fault::NoSpace);
        }
        if fault == Some(Fault::PowerCut) {
            self.is_off = true;
            return Err(io_error());
        }
        Ok(fault)
    }

    /// As [`State::begin`], for operations on which every fault has the same effect: none but an error.
    fn begin_simple(&mut self) -> io::Result<()> {
        match self.begin()? {
            None => Ok(()),
            Some(Fault::NoSpace) => Err(errno(io::ErrorKind::StorageFull)),
            Some(Fault::Io | Fault::PowerCut) => Err(io_error()),
        }
    }

    /// Reading takes no space.
    fn begin_read(&mut self) -> io::Result<()> {
        match self.begin()? {
            None | Some(Fault::NoSpace) => Ok(()),
            Some(Fault::Io | Fault::PowerCut) => {
                self.counts.read_errors += 1;
                Err(io_error())
            }
        }
    }

    /// Removing takes no space either.
    fn begin_removal(&mut self) -> io::Result<()> {
        match self.begin()? {
            None | Some(Fault::NoSpace) => Ok(()),
            Some(Fault::Io | Fault::PowerCut) => Err(io_error()),
        }
    }

    /// Decides what a failed sync wrote after all; told by the operation's number, so that a run can be repeated.
    fn chance(&self) -> Rng {
        Rng::new(self.counts.operations)
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for part in path.components() {
            let std::path::Component::Normal(name) = part else { continue };
            let Some(Node::Dir(dir)) = self.nodes.get(&at) else {
                return Err(errno(io::ErrorKind::NotFound));
            };
            let name = name.to_string_lossy();
            at = *dir.cache.get(name.as_ref()).ok_or_else(|| errno(io::ErrorKind::NotFound))?;
        }
        Ok(at)
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut DirNode, String)> {
        let name = path.file_name().ok_or_else(|| errno(io::ErrorKind::NotFound))?;
        let id = self.find(path.parent().unwrap_or(Path::new("/")))?;
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok((dir, name.to_string_lossy().into_owned())),
            _ => Err(errno(io::ErrorKind::NotFound)),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let id = self.next_node;
        let (dir, name) = self.parent(path)?;
        if dir.cache.contains_key(&name) {
            return Err(errno(io::ErrorKind::AlreadyExists));
        }
        dir.cache.insert(name.clone(), id);
        dir.pending.push(NameChange::Add(name, id));
        self.next_node += 1;
        self.nodes.insert(id, node);
        Ok(id)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let id = dir.cache.remove(&name).ok_or_else(|| errno(io::ErrorKind::NotFound))?;
        dir.pending.push(NameChange::Remove(name));
        self.unlinked.insert(id);
        Ok(())
    }

    fn used(&self) -> u64 {
        let linked = self.nodes.iter().filter(|(id, _)| !self.unlinked.contains(id));
        let sizes = linked.map(|(_, node)| match node {
            Node::File(file) => (file.cache.len() as u64).max(file.allocated).div_ceil(512) * 512,
            Node::Dir(_) => 0,
        });
        sizes.sum()
    }

    fn drop_unreachable(&mut self) {
        let mut reachable = HashSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&id) {
                for child in dir.cache.values() {
                    if reachable.insert(*child) {
                        open.push(*child);
                    }
                }
            }
        }
        self.nodes.retain(|id, _| reachable.contains(id));
        self.unlinked.clear();
    }
}

impl FileNode {
    fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.cache, offset, data);
        self.pending.push(Change::Write { offset, data: data.to_vec() });
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    /// What the power cut leaves.
    fn settle(&mut self, rng: &mut Rng) {
        self.settle_pending(rng);
        self.cache.clone_from(&self.durable);
        self.allocated = 0;
    }

    fn settle_pending(&mut self, rng: &mut Rng) {
        for change in std::mem::take(&mut self.pending) {
            match (change, rng.below(5)) {
                (_, 0) => {}
                (change, 1) => change.apply(&mut self.durable),
                (Change::Write { offset, data }, 2) => {
                    let end = offset + data.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                }
                (Change::Write { offset, data }, piece) => {
                    let piece = if piece == 3 { 512 } else { 4096 };
                    let mut at = 0;
                    while at < data.len() {
                        let end = ((offset + at) / piece * piece + piece - offset).min(data.len());
                        if rng.one_in(2) {
                            put(&mut self.durable, offset + at, &data[at..end]);
                        }
                        at = end;
                    }
                }
                (change @ Change::SetLen(_), _) => change.apply(&mut self.durable),
            }
        }
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => put(content, offset, &data),
            Self::SetLen(len) => content.resize(len, 0),
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

impl DirNode {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    fn settle_pending(&mut self, rng: &mut Rng) {
        for change in std::mem::take(&mut self.pending) {
            if rng.one_in(2) {
                change.apply(&mut self.durable);
            }
        }
    }

    fn settle(&mut self, rng: &mut Rng) {
        self.settle_pending(rng);
        self.cache.clone_from(&self.durable);
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Add(name, id) => drop(names.insert(name, id)),
            Self::Remove(name) => drop(names.remove(&name)),
        }
    }
}

struct NoLock;
impl Lock for NoLock {}

impl Fs for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.begin_simple()?;
        let id = state.add(path, Node::File(FileNode::default()))?;
        Ok(Box::new(SimFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path, _mode: Mode) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.begin_read()?;
        let id = state.find(path)?;
        match state.nodes.get(&id) {
            Some(Node::File(_)) => Ok(Box::new(SimFile { disk: self.clone(), id })),
            _ => Err(errno(io::ErrorKind::NotFound)),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_removal()?;
        state.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_simple()?;
        state.add(path, Node::Dir(DirNode::default())).map(drop)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_removal()?;
        let id = state.find(path)?;
        match state.nodes.get(&id) {
            Some(Node::Dir(dir)) if dir.cache.is_empty() => state.remove(path),
            _ => Err(errno(io::ErrorKind::DirectoryNotEmpty)),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.counts.syncs += 1;
        let fault = state.begin()?;
        let mut chance = state.chance();
        let id = state.find(path)?;
        let Some(Node::Dir(dir)) = state.nodes.get_mut(&id) else {
            return Err(errno(io::ErrorKind::NotFound));
        };
        match fault {
            None => dir.sync(),
            Some(fault) => {
                dir.settle_pending(&mut chance);
                return Err(if fault == Fault::NoSpace {
                    errno(io::ErrorKind::StorageFull)
                } else {
                    io_error()
                });
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.lock();
        state.begin_read()?;
        let id = state.find(path)?;
        let Some(Node::Dir(dir)) = state.nodes.get(&id) else { return Err(errno(io::ErrorKind::NotFound)) };
        let entries = dir.cache.iter().filter_map(|(name, id)| {
            let (len, is_dir) = match state.nodes.get(id)? {
                Node::File(file) => (file.cache.len() as u64, false),
                Node::Dir(_) => (0, true),
            };
            Some(Entry { name: name.clone(), len, is_dir })
        });
        Ok(entries.collect())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let mut state = self.lock();
        state.begin_read()?;
        Ok(Space { total: state.capacity, available: state.capacity.saturating_sub(state.used()) })
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(NoLock))
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn with<T>(
        &self,
        begin: impl FnOnce(&mut State) -> io::Result<Option<Fault>>,
        run: impl FnOnce(&mut FileNode, Option<Fault>, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.lock();
        let fault = begin(&mut state)?;
        let room =
            if state.capacity == u64::MAX { u64::MAX } else { state.capacity.saturating_sub(state.used()) };
        match state.nodes.get_mut(&self.id) {
            Some(Node::File(file)) => run(file, fault, room),
            _ => Err(io_error()),
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(
            |state| state.begin_read().map(|()| None),
            |file, _, _| {
                let from = file.cache.get(offset as usize..).unwrap_or_default();
                let n = from.len().min(buf.len());
                buf[..n].copy_from_slice(&from[..n]);
                Ok(n)
            },
        )
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.with(State::begin, |file, fault, room| {
            let end = offset + data.len() as u64;
            let have = (file.cache.len() as u64).max(file.allocated).div_ceil(512) * 512;
            let is_full = end.saturating_sub(have) > room;
            match fault {
                None if !is_full => {
                    file.write(offset as usize, data);
                    Ok(())
                }
                Some(Fault::Io | Fault::PowerCut) => {
                    file.write(offset as usize, &data[..if is_full { 0 } else { data.len() / 2 }]);
                    Err(io_error())
                }
                _ => {
                    let part = if is_full { &data[..0] } else { &data[..data.len() / 2] };
                    file.write(offset as usize, part);
                    Err(errno(io::ErrorKind::StorageFull))
                }
            }
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|state| state.begin_read().map(|()| None), |file, _, _| Ok(file.cache.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(
            |state| state.begin_removal().map(|()| None),
            |file, _, _| {
                file.cache.resize(len as usize, 0);
                file.pending.push(Change::SetLen(len as usize));
                file.allocated = file.allocated.min(len);
                Ok(())
            },
        )
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(
            |state| state.begin_simple().map(|()| None),
            |file, _, room| {
                let have = (file.cache.len() as u64).max(file.allocated);
                let end = offset + len;
                if end.saturating_sub(have) > room {
                    return Err(errno(io::ErrorKind::StorageFull));
                }
                file.allocated = file.allocated.max(end);
                Ok(())
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut chance = self.disk.lock().chance();
        let count = |state: &mut State| {
            state.counts.syncs += 1;
            state.begin()
        };
        self.with(count, |file, fault, _| match fault {
            None => {
                file.sync();
                Ok(())
            }
            Some(fault) => {
                file.settle_pending(&mut chance);
                Err(if fault == Fault::NoSpace { errno(io::ErrorKind::StorageFull) } else { io_error() })
            }
        })
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}
}
