//! The spool: a file per instance, names created ahead, one sync before the answer.

pub(crate) mod blob;
mod checked;
pub(crate) mod layout;
pub(crate) mod names;
pub(crate) mod space;
pub(crate) mod staged;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::Clock;
use crate::fs::{Fs, Lock, Mode};
use crate::id::{Name, Sequence};
use crate::instance::Instance;
use crate::journal::Marks;
use crate::poison::Poison;

pub use blob::{Blob, BlobError};
pub use checked::{CHUNK, Checked, Checking};
pub use staged::{CommitError, Meta, StageError, Staged};

use names::{FromNames, NamePool};
use space::SpaceKeeper;

/// What the spool tells the keeper, in the order it happens.
pub(crate) trait Events: Send + Sync {
    /// An instance is durable.
    fn committed(&self, fresh: Fresh);
    /// No name of this bucket is unused or staged any more.
    fn bucket_drained(&self, bucket: u32);
    /// Few names are left: make more, off the path of an answer.
    fn names_low(&self);
    /// Receiving needs this many bytes more than it may have: give back what can be given back.
    fn pressure(&self, bytes: u64);
}

/// A durable instance that the keeper has not heard of yet.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub(crate) instance: Instance,
    pub(crate) owed: Vec<crate::instance::Owed>,
}

/// The directory of spool files, for those who write and read them.
pub(crate) struct Spool {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) paths: Paths,
    pub(crate) boot: u32,
    pub(crate) poison: Arc<Poison>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) names: NamePool,
    pub(crate) space: SpaceKeeper,
    pub(crate) events: Box<dyn Events>,
    next: AtomicU32,
    /// Here, so that nobody else can sweep the directory while a blob is still being received.
    _lock: Box<dyn Lock>,
}

impl Spool {
    pub(crate) fn new(parts: SpoolParts) -> Self {
        let names = NamePool::new(parts.boot, parts.first_bucket);
        Self {
            fs: parts.fs,
            clock: parts.clock,
            paths: parts.paths,
            boot: parts.boot,
            poison: parts.poison,
            marks: parts.marks,
            names,
            space: parts.space,
            events: parts.events,
            next: AtomicU32::new(1),
            _lock: parts.lock,
        }
    }

    /// Opens a new blob. Its file's name is durable already.
    pub(crate) fn stage(self: &Arc<Self>, head: &[u8]) -> Result<Staged, StageError> {
        self.poison.check_receiving().map_err(StageError::Poisoned)?;
        if self.space.room(&*self.fs, &self.paths.root)? == 0 {
            self.events.pressure(space::STEP);
            if self.space.room(&*self.fs, &self.paths.root)? == 0 {
                return Err(StageError::Full);
            }
        }
        let FromNames { bucket, name, low } = self.names.take(self)?;
        if low {
            self.events.names_low();
        }
        let path = self.paths.blob(bucket, name);
        match self.fs.open(&path, Mode::ReadWrite) {
            Ok(file) => Ok(Staged::new(Arc::clone(self), bucket, name, file, head)),
            Err(e) => {
                self.release_name(bucket);
                Err(StageError::Io(e))
            }
        }
    }

    /// The next place in the order of receipt.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence::new(self.boot, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A name is used up, by a commit or by a blob that was given up.
    pub(crate) fn release_name(&self, bucket: u32) {
        if self.names.done_with(bucket) {
            self.events.bucket_drained(bucket);
        }
    }

    /// Opens an instance's file for reading.
    pub(crate) fn open_blob(&self, instance: &Instance) -> Result<Blob, BlobError> {
        let path = self.paths.blob(instance.bucket, instance.name);
        Blob::open(&*self.fs, &path, instance.extent)
    }
}

/// What a [`Spool`] is made of.
pub(crate) struct SpoolParts {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) paths: Paths,
    pub(crate) boot: u32,
    pub(crate) first_bucket: u32,
    pub(crate) poison: Arc<Poison>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) space: SpaceKeeper,
    pub(crate) events: Box<dyn Events>,
    pub(crate) lock: Box<dyn Lock>,
}

/// Where everything lies under the queue's root. No text from outside is ever part of a path.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
    extension: &'static str,
}

impl Paths {
    pub(crate) fn new(root: &Path, extension: &'static str) -> Self {
        Self { root: root.to_owned(), extension }
    }
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }
    pub(crate) fn bucket(&self, bucket: u32) -> PathBuf {
        self.spool().join(format!("{bucket:08}"))
    }
    pub(crate) fn blob(&self, bucket: u32, name: Name) -> PathBuf {
        self.bucket(bucket).join(format!("{name}.{}", self.extension))
    }
    /// The name in a file name of ours.
    pub(crate) fn name_of(&self, file_name: &str) -> Option<Name> {
        file_name.strip_suffix(self.extension)?.strip_suffix('.')?.parse().ok()
    }
    pub(crate) fn journals(&self) -> PathBuf {
        self.root.join("journal")
    }
    pub(crate) fn journal(&self, bucket: u32, boot: u32) -> PathBuf {
        self.journals().join(format!("{bucket:08}-{boot:08}.journal"))
    }
    /// The bucket and boot in a journal's file name.
    pub(crate) fn journal_of(file_name: &str) -> Option<(u32, u32)> {
        let (bucket, boot) = file_name.strip_suffix(".journal")?.split_once('-')?;
        Some((bucket.parse().ok()?, boot.parse().ok()?))
    }
    pub(crate) fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }
    pub(crate) fn marks(&self) -> PathBuf {
        self.root.join("marks")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    pub(crate) fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }
    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }
}
