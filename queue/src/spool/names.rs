//! Names ahead: files are created 64 at a time and their directory synced once, so that an answer waits for the
//! file's own sync and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Spool, StageError};
use crate::id::Name;
use crate::poison::Scope;

/// Names created at a time.
const AHEAD: u32 = 64;
/// Names left when more are asked for.
const LOW: usize = 24;
/// Names in a bucket.
pub(crate) const BUCKET_NAMES: u32 = 1000;

/// A name to use, whose directory entry is durable.
pub(crate) struct FromNames {
    pub(crate) bucket: u32,
    pub(crate) name: Name,
    /// Few are left.
    pub(crate) low: bool,
}

pub(crate) struct NamePool {
    boot: u32,
    pool: Mutex<Pool>,
    /// Held while names are made, so that two threads do not make twice as many; `pool` stays free meanwhile.
    making: Mutex<()>,
}

struct Pool {
    ready: VecDeque<(u32, Name)>,
    bucket: u32,
    bucket_exists: bool,
    created_in_bucket: u32,
    counter: u32,
    /// Per bucket: names that are unused or staged.
    outstanding: HashMap<u32, u32>,
}

impl NamePool {
    pub(crate) fn new(boot: u32, first_bucket: u32) -> Self {
        let pool = Pool {
            ready: VecDeque::new(),
            bucket: first_bucket,
            bucket_exists: false,
            created_in_bucket: 0,
            counter: 0,
            outstanding: HashMap::new(),
        };
        Self { boot, pool: Mutex::new(pool), making: Mutex::new(()) }
    }

    /// Takes a name, making some first where none is left.
    pub(crate) fn take(&self, spool: &Spool) -> Result<FromNames, StageError> {
        loop {
            {
                let mut pool = self.lock();
                if let Some((bucket, name)) = pool.ready.pop_front() {
                    return Ok(FromNames { bucket, name, low: pool.ready.len() == LOW });
                }
            }
            self.refill(spool)?;
        }
    }

    /// Makes the next names, unless somebody else just did.
    pub(crate) fn refill(&self, spool: &Spool) -> Result<(), StageError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        spool.poison.check_receiving().map_err(StageError::Poisoned)?;
        let (bucket, new_bucket, names) = {
            let mut pool = self.lock();
            if pool.ready.len() > LOW {
                return Ok(());
            }
            pool.next_names(self.boot, spool.clock.wall_ms())
        };
        if new_bucket {
            make_bucket(spool, bucket)?;
            self.lock().bucket_exists = true;
        }
        let created = create(spool, bucket, &names);
        let mut pool = self.lock();
        *pool.outstanding.entry(bucket).or_default() += created.names.len() as u32;
        pool.ready.extend(created.names.into_iter().map(|name| (bucket, name)));
        match created.error {
            Some(e) if pool.ready.is_empty() => Err(e),
            _ => Ok(()),
        }
    }

    /// One name of the bucket is used up. True when that was its last: no more will come, none is out.
    pub(crate) fn done_with(&self, bucket: u32) -> bool {
        let mut pool = self.lock();
        let Some(left) = pool.outstanding.get_mut(&bucket) else { return false };
        *left -= 1;
        let drained = *left == 0 && (bucket != pool.bucket || pool.created_in_bucket == BUCKET_NAMES);
        if drained {
            pool.outstanding.remove(&bucket);
        }
        drained
    }

    /// Whether no more files can appear in the bucket.
    pub(crate) fn is_closed(&self, bucket: u32) -> bool {
        let pool = self.lock();
        !pool.outstanding.contains_key(&bucket)
            && (bucket != pool.bucket || pool.created_in_bucket == BUCKET_NAMES)
    }

    /// Takes the unused names back, at the end.
    pub(crate) fn take_unused(&self) -> Vec<(u32, Name)> {
        self.lock().ready.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Chooses the bucket and the next names in it; the bucket is to be made first when the flag says so.
    fn next_names(&mut self, boot: u32, now_ms: u64) -> (u32, bool, Vec<Name>) {
        if self.created_in_bucket == BUCKET_NAMES {
            self.bucket += 1;
            self.created_in_bucket = 0;
            self.bucket_exists = false;
        }
        let count = AHEAD.min(BUCKET_NAMES - self.created_in_bucket);
        self.created_in_bucket += count;
        let first = self.counter;
        self.counter += count;
        let names = (first..self.counter).map(|counter| Name::new(now_ms, boot, counter)).collect();
        (self.bucket, !self.bucket_exists, names)
    }
}

struct Created {
    names: Vec<Name>,
    error: Option<StageError>,
}

fn make_bucket(spool: &Spool, bucket: u32) -> Result<(), StageError> {
    match spool.fs.create_dir(&spool.paths.bucket(bucket)) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(StageError::Io(e)),
    }
    spool
        .fs
        .sync_dir(&spool.paths.spool())
        .map_err(|e| StageError::Poisoned(spool.poison.set(Scope::Spool, "sync of the spool directory", &e)))
}

/// Creates what it can; the names that could not be created are lost to the bucket, which does no harm.
fn create(spool: &Spool, bucket: u32, names: &[Name]) -> Created {
    let mut created = Created { names: Vec::with_capacity(names.len()), error: None };
    for &name in names {
        match spool.fs.create_new(&spool.paths.blob(bucket, name)) {
            Ok(_) => created.names.push(name),
            Err(e) => {
                created.error = Some(StageError::Io(e));
                break;
            }
        }
    }
    if let Err(e) = spool.fs.sync_dir(&spool.paths.bucket(bucket)) {
        let poisoned = spool.poison.set(Scope::Spool, "sync of a bucket's directory", &e);
        return Created { names: Vec::new(), error: Some(StageError::Poisoned(poisoned)) };
    }
    created
}
