//! An ordered map of bytes, in two forms: sled on the disk, and a plain tree in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::platform;

/// The index failed. It is thrown away and made anew; nothing is lost by it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("index: {0}")]
pub(crate) struct KvError(pub(crate) String);

/// What a scan calls with each key and value.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// An ordered map of bytes that nobody has to be able to trust after a crash.
pub(crate) trait Kv: Send {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError>;
    fn delete(&mut self, key: &[u8]) -> Result<(), KvError>;
    /// Visits `from..to` in order until told to stop.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError>;
    /// Empties it, starting from nothing.
    fn reset(&mut self) -> Result<(), KvError>;
}

/// In memory: for simulated disks, and when the disk has no room for an index.
#[derive(Default)]
pub(crate) struct MemKv(BTreeMap<Vec<u8>, Vec<u8>>);

impl Kv for MemKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.0.remove(key);
        Ok(())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        for (key, value) in self.0.range(from.to_vec()..to.to_vec()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), KvError> {
        self.0.clear();
        Ok(())
    }
}

/// On the disk, through sled. sled may fail or panic after damage or on a full disk: both are a [`KvError`] here.
pub(crate) struct SledKv {
    path: PathBuf,
    cache_bytes: u64,
    generation: u32,
    db: Option<sled::Db>,
}

impl SledKv {
    /// Starts empty; what an earlier process left is removed.
    pub(crate) fn create(path: &Path, cache_bytes: u64) -> Result<Self, KvError> {
        let mut kv = Self { path: path.to_owned(), cache_bytes, generation: 0, db: None };
        kv.reset()?;
        Ok(kv)
    }

    /// sled flushes when it is let go, and panics when the disk will not have that.
    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            let _ = guarded(|| {
                drop(db);
                Ok(())
            });
        }
    }

    fn with<T>(&self, run: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, KvError> {
        let db = self.db.as_ref().ok_or_else(|| KvError("not open".to_owned()))?;
        guarded(|| run(db))
    }
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.with(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.with(|db| db.insert(key, value).map(drop))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.with(|db| db.remove(key).map(drop))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        self.with(|db| {
            for row in db.range(from..to) {
                let (key, value) = row?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Each generation has its own directory, because a failed sled may hold on to the files of the last one.
    fn reset(&mut self) -> Result<(), KvError> {
        self.close();
        let remove = std::fs::remove_dir_all(&self.path);
        if let Err(e) = remove
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(KvError(format!("removing the old index: {e}")));
        }
        self.generation += 1;
        let path = self.path.join(self.generation.to_string());
        let made = private(&self.path).and_then(|()| private(&path));
        made.map_err(|e| KvError(format!("making the index: {e}")))?;
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(self.cache_bytes)
            .flush_every_ms(None)
            .mode(sled::Mode::LowSpace);
        self.db = Some(guarded(|| config.open())?);
        platform::make_dirs_private(&path).map_err(|e| KvError(format!("the index's rights: {e}")))
    }
}

/// Makes a directory for its owner only.
fn private(path: &Path) -> std::io::Result<()> {
    match platform::private_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl Drop for SledKv {
    fn drop(&mut self) {
        self.close();
    }
}

/// Turns an error or a panic of sled into a [`KvError`].
fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, KvError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(KvError(error.to_string())),
        Err(_) => Err(KvError("sled panicked".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kv, SledKv, guarded};

    #[test]
    #[allow(clippy::panic, reason = "that is what is caught")]
    fn a_panic_below_is_a_failed_index() {
        let outcome = guarded(|| -> sled::Result<()> { panic!("as sled does") });
        assert_eq!(outcome.unwrap_err().to_string(), "index: sled panicked");
    }

    #[test]
    fn an_index_begins_empty_however_the_last_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut kv = SledKv::create(&path, 1 << 20).unwrap();
        kv.put(b"a", b"1").unwrap();
        drop(kv);
        assert_eq!(SledKv::create(&path, 1 << 20).unwrap().get(b"a").unwrap(), None);
    }
}
