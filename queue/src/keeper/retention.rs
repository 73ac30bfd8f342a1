//! Remember, then forget: when payloads, buckets and ledgers go.
//!
//! A payload goes only after every outcome of it is durable. What is owed or held never goes.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use super::{Keeper, Unavailable, replay};
use crate::fs::Mode;
use crate::id::Sequence;
use crate::instance::Instance;
use crate::journal::Record;
use crate::poison::Scope;
use crate::view::kv::KvError;

/// Payloads evicted in one pass, so that nobody waits long for the keeper.
const PASS: usize = 256;

impl Keeper {
    /// Evicts what has been kept long enough, removes empty buckets and old ledgers, and takes the ballast back.
    /// Returns how long nothing more will fall due.
    pub(crate) fn maintain(&mut self) -> Result<Option<Duration>, Unavailable> {
        self.decide_all()?;
        self.mend()?;
        self.flush()?;
        let now = self.spool.clock.wall_ms();
        let until = now.saturating_sub(self.retention.payload.as_millis() as u64);
        let due = self.finals(until, PASS)?;
        let more = due.len() == PASS;
        for (at, instance) in due {
            self.evict_one(at, &instance);
        }
        self.remove_empty_buckets()?;
        self.expire_ledgers(now)?;
        self.spool.space.regrow(&*self.spool.fs);
        if more { Ok(Some(Duration::ZERO)) } else { self.next_due(now) }
    }

    /// Evicts retained payloads, oldest outcome first, until `bytes` are freed or none is left. Returns what was
    /// freed.
    pub(crate) fn evict(&mut self, bytes: u64) -> Result<u64, Unavailable> {
        self.decide_all()?;
        self.flush()?;
        let mut freed = 0;
        while freed < bytes {
            let some = self.finals(u64::MAX, PASS)?;
            if some.is_empty() {
                break;
            }
            let before = freed;
            for (at, instance) in some {
                if freed >= bytes {
                    break;
                }
                if self.evict_one(at, &instance) {
                    freed += instance.extent.file_len().unwrap_or_default();
                }
            }
            if freed == before {
                break;
            }
        }
        self.remove_empty_buckets()?;
        Ok(freed)
    }

    /// Instances with a payload of which nothing is owed since before `until`, and since when.
    fn finals(&mut self, until: u64, max: usize) -> Result<Vec<(u64, Instance)>, Unavailable> {
        self.look(|keeper| {
            let mut sequences = Vec::new();
            keeper.view.finals(until, &mut |at, sequence| {
                if !keeper.is_under_way(sequence) {
                    sequences.push((at, sequence));
                }
                if sequences.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            let mut instances = Vec::new();
            for (at, sequence) in sequences {
                instances.extend(keeper.view.instance(sequence)?.map(|instance| (at, instance)));
            }
            Ok(instances)
        })
    }

    fn is_under_way(&self, sequence: Sequence) -> bool {
        self.leased.values().any(|leased| leased.contains_key(&sequence))
    }

    fn evict_one(&mut self, at: u64, instance: &Instance) -> bool {
        let path = self.spool.paths.blob(instance.bucket, instance.name);
        match self.spool.fs.unlink(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => false,
            _ => {
                if let Err(error) = self.view.payload_gone(instance, at) {
                    self.index_failed(&error);
                }
                true
            }
        }
    }

    /// A bucket without payloads goes: directory synced, so that no name comes back, then removed, then the journal
    /// says so and stays as the ledger.
    fn remove_empty_buckets(&mut self) -> Result<(), Unavailable> {
        self.mend()?;
        if self.spool.poison.check_receiving().is_err() {
            return Ok(());
        }
        let empty: Vec<_> = self
            .view
            .buckets()
            .filter(|(bucket, left)| *left == 0 && self.spool.names.is_closed(*bucket))
            .map(|(bucket, _)| bucket)
            .collect();
        for bucket in empty {
            self.remove_bucket(bucket)?;
        }
        Ok(())
    }

    fn remove_bucket(&mut self, bucket: u32) -> Result<(), Unavailable> {
        let dir = self.spool.paths.bucket(bucket);
        let fs = &*self.spool.fs;
        let removed = match fs.sync_dir(&dir) {
            Ok(()) => {
                if fs.remove_dir(&dir).is_err() {
                    // A file that is not ours to remove keeps the directory; the bucket is looked at again next start.
                    self.forget_instances(bucket);
                    return Ok(());
                }
                fs.sync_dir(&self.spool.paths.spool())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = removed {
            return Err(self.spool.poison.set(Scope::Spool, "sync of a bucket's directory", &e).into());
        }
        let at = self.spool.clock.wall_ms();
        self.record(bucket, Record::Removed { at });
        self.flush()?;
        self.forget_instances(bucket);
        self.ledgers.insert(bucket, at);
        Ok(())
    }

    /// Takes a removed bucket's instances out of the index.
    fn forget_instances(&mut self, bucket: u32) {
        let forgotten =
            replay::read_bucket(&self.spool, bucket).map_err(|e| e.to_string()).and_then(|read| {
                read.instances
                    .keys()
                    .try_for_each(|sequence| self.forget_one(bucket, *sequence))
                    .map_err(|e| e.0)
            });
        self.view.forget_bucket(bucket);
        if let Err(why) = forgotten {
            self.broken = Some(why);
        }
    }

    /// Forgets an instance, unless it lives on in another bucket.
    fn forget_one(&mut self, bucket: u32, sequence: Sequence) -> Result<(), KvError> {
        match self.view.instance(sequence)? {
            Some(instance) if instance.bucket == bucket => self.view.forget(&instance),
            _ => Ok(()),
        }
    }

    /// Unlinks journals whose bucket went longer ago than ledgers are kept.
    fn expire_ledgers(&mut self, now: u64) -> Result<(), Unavailable> {
        let keep = self.retention.ledger.as_millis() as u64;
        let old: Vec<_> =
            self.ledgers.iter().filter(|(_, at)| at.saturating_add(keep) <= now).map(|(b, _)| *b).collect();
        for bucket in old {
            if self.expire_ledger(bucket)? {
                self.ledgers.remove(&bucket);
                self.journals.forget(bucket);
            }
        }
        Ok(())
    }

    /// Unlinks one ledger; false when it is to be tried again. The newest file says that the bucket is removed, so it
    /// goes last. The others are emptied first: one whose name came back, because its directory's sync failed and
    /// the process was started again, would tell of instances as if nothing had become of them.
    fn expire_ledger(&mut self, bucket: u32) -> Result<bool, Unavailable> {
        let Ok(boots) = replay::journal_boots(&self.spool, bucket) else { return Ok(false) };
        let paths: Vec<_> = boots.iter().map(|boot| self.spool.paths.journal(bucket, *boot)).collect();
        let Some((_, older)) = paths.split_last() else { return Ok(true) };
        let fs = &*self.spool.fs;
        for path in older {
            let Ok(file) = fs.open(path, Mode::ReadWrite) else { return Ok(false) };
            if file.set_len(0).is_err() {
                return Ok(false);
            }
            file.sync_data().map_err(|e| self.spool.poison.set(Scope::Journal, "sync of a journal", &e))?;
        }
        for path in &paths {
            if fs.unlink(path).is_err() {
                return Ok(false);
            }
            fs.sync_dir(&self.spool.paths.journals())
                .map_err(|e| self.spool.poison.set(Scope::Journal, "sync of the journal directory", &e))?;
        }
        Ok(true)
    }

    fn next_due(&mut self, now: u64) -> Result<Option<Duration>, Unavailable> {
        let first = self.look(|keeper| {
            let mut first = None;
            keeper.view.finals(u64::MAX, &mut |at, _| {
                first = Some(at);
                ControlFlow::Break(())
            })?;
            Ok(first)
        })?;
        let payload = first.map(|at| at.saturating_add(self.retention.payload.as_millis() as u64));
        let oldest_ledger = self.ledgers.values().min();
        let ledger = oldest_ledger.map(|at| at.saturating_add(self.retention.ledger.as_millis() as u64));
        let next = payload.into_iter().chain(ledger).min();
        Ok(next.map(|at| Duration::from_millis(at.saturating_sub(now).max(1))))
    }
}
