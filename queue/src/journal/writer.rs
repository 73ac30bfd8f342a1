//! Writing the journals: records gather in a batch, a batch is written to each bucket's file and synced.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::marks::{Mark, Marks};
use super::record::Record;
use crate::fs::{File, Fs, Mode};
use crate::platform;
use crate::poison::{Poison, Poisoned, Scope};
use crate::spool::Paths;
use crate::wire::Encoder;

/// First bytes of a journal file.
pub(crate) const HEADER_MAGIC: &[u8; 8] = b"CHRYJNL1";
/// Length of a journal file's header.
pub(crate) const HEADER_LEN: usize = 28;
/// First bytes of a frame.
pub(crate) const FRAME_MAGIC: &[u8; 4] = b"\xc7jr\x1f";
/// Bytes of a frame before those its length counts.
pub(crate) const FRAME_HEAD: usize = 12;

/// Length of the frame that says a bucket is removed: batch, index, count, code and a time.
pub(crate) const REMOVED_FRAME_LEN: usize = FRAME_HEAD + 8 + 2 + 2 + 1 + 8;

/// Files kept open at a time.
const MAX_OPEN: usize = 32;

/// Why a batch is not durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlushError {
    /// A sync failed, or a write did in a way that leaves the file in doubt.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The disk is full, or no descriptor is left. The batch is kept and can be tried again.
    #[error("the disk is full, or no descriptor is left")]
    Full,
}

/// The journals of all buckets, and the batch that is being gathered.
pub(crate) struct Journals {
    fs: Arc<dyn Fs>,
    paths: Paths,
    boot: u32,
    poison: Arc<Poison>,
    marks: Arc<Marks>,
    tails: HashMap<u32, Tail>,
    open: HashMap<u32, Box<dyn File>>,
    pending: Vec<(u32, Record)>,
}

/// Where the journal of a bucket goes on.
#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    /// Length of this boot's file; 0 when there is none yet.
    len: u64,
    /// The last batch written to any file of the bucket.
    batch: u64,
}

impl Journals {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        paths: Paths,
        boot: u32,
        poison: Arc<Poison>,
        marks: Arc<Marks>,
    ) -> Self {
        let (tails, open, pending) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { fs, paths, boot, poison, marks, tails, open, pending }
    }

    /// Tells where the journal of a bucket left off in an earlier boot.
    pub(crate) fn resume(&mut self, bucket: u32, last_batch: u64) {
        self.tails.insert(bucket, Tail { len: 0, batch: last_batch });
    }

    /// Adds a record to the batch.
    pub(crate) fn push(&mut self, bucket: u32, record: Record) {
        self.pending.push((bucket, record));
    }

    /// Records that are not durable yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Forgets a bucket whose journal has been removed.
    pub(crate) fn forget(&mut self, bucket: u32) {
        self.marks.forget(bucket);
        self.tails.remove(&bucket);
        self.open.remove(&bucket);
    }

    /// Writes the batch and syncs it. `Ok` promises that every record pushed before is durable.
    ///
    /// # Errors
    /// A full disk leaves the batch as it was; everything else poisons the queue.
    pub(crate) fn flush(&mut self) -> Result<(), FlushError> {
        self.poison.check_recording()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut by_bucket: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
        for (bucket, record) in &self.pending {
            by_bucket.entry(*bucket).or_default().push(record);
        }
        let batches: Vec<_> = by_bucket
            .into_iter()
            .map(|(bucket, records)| {
                let tail = self.tails.get(&bucket).copied().unwrap_or_default();
                (bucket, tail, encode_batch(tail.batch + 1, &records))
            })
            .collect();
        self.write(&batches)?;
        self.sync(&batches)?;
        for (bucket, tail, bytes) in batches {
            let start = if tail.len == 0 { HEADER_LEN as u64 } else { tail.len };
            let tail = Tail { len: start + bytes.len() as u64, batch: tail.batch + 1 };
            self.tails.insert(bucket, tail);
            self.marks.note(bucket, Mark { boot: self.boot, batch: tail.batch });
        }
        self.pending.clear();
        self.open.retain({
            let mut room = MAX_OPEN;
            move |_, _| {
                room = room.saturating_sub(1);
                room > 0
            }
        });
        Ok(())
    }

    /// Writes every batch, or, on a full disk, takes back what was written.
    fn write(&mut self, batches: &[(u32, Tail, Vec<u8>)]) -> Result<(), FlushError> {
        for (done, (bucket, tail, bytes)) in batches.iter().enumerate() {
            let Err(error) = self.append(*bucket, *tail, bytes) else { continue };
            // A file that could not be opened has nothing to be taken back.
            let unopened = platform::is_out_of_descriptors(&error);
            if !crate::fs::is_full(&error) && !unopened {
                return Err(self.poison.set(Scope::Journal, "write of a journal", &error).into());
            }
            for (bucket, tail, _) in batches.get(..done + usize::from(!unopened)).unwrap_or_default() {
                self.take_back(*bucket, *tail)?;
            }
            return Err(FlushError::Full);
        }
        Ok(())
    }

    fn append(&mut self, bucket: u32, tail: Tail, bytes: &[u8]) -> io::Result<()> {
        if tail.len > 0 {
            return self.file(bucket, tail)?.write_all_at(bytes, tail.len);
        }
        let mut with_header = encode_header(bucket, self.boot, tail.batch);
        with_header.extend_from_slice(bytes);
        self.file(bucket, tail)?.write_all_at(&with_header, 0)
    }

    /// Cuts a file back to where it was, so that no half batch stands before the next one. A file that was new is
    /// removed whole.
    fn take_back(&mut self, bucket: u32, tail: Tail) -> Result<(), Poisoned> {
        let result = if tail.len == 0 {
            self.open.remove(&bucket);
            match self.fs.unlink(&self.path(bucket)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            }
        } else {
            self.file(bucket, tail).and_then(|file| file.set_len(tail.len))
        };
        result.map_err(|e| self.poison.set(Scope::Journal, "taking back a half-written batch", &e))
    }

    fn sync(&mut self, batches: &[(u32, Tail, Vec<u8>)]) -> Result<(), FlushError> {
        let poison = Arc::clone(&self.poison);
        let fatal = |e: io::Error| poison.set(Scope::Journal, "sync of a journal", &e);
        let mut new_names = false;
        for (bucket, tail, _) in batches {
            self.file(*bucket, *tail).and_then(|file| file.sync_data()).map_err(fatal)?;
            new_names |= tail.len == 0;
        }
        if new_names {
            self.fs.sync_dir(&self.paths.journals()).map_err(fatal)?;
        }
        Ok(())
    }

    fn file(&mut self, bucket: u32, tail: Tail) -> io::Result<&dyn File> {
        let path = self.path(bucket);
        let entry = match self.open.entry(bucket) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(if tail.len == 0 {
                self.fs.create_new(&path)?
            } else {
                self.fs.open(&path, Mode::ReadWrite)?
            }),
        };
        Ok(&**entry)
    }

    fn path(&self, bucket: u32) -> PathBuf {
        self.paths.journal(bucket, self.boot)
    }
}

/// The header of a bucket's file in a boot, which names the last batch of the file before it.
pub(crate) fn encode_header(bucket: u32, boot: u32, after_batch: u64) -> Vec<u8> {
    let mut out = Encoder::default();
    out.raw(HEADER_MAGIC);
    out.u32(bucket);
    out.u32(boot);
    out.u64(after_batch);
    let crc = crc32c::crc32c(&out.0);
    out.u32(crc);
    out.0
}

/// The frames of one batch.
pub(crate) fn encode_batch<R: std::borrow::Borrow<Record>>(batch: u64, records: &[R]) -> Vec<u8> {
    let mut out = Encoder::default();
    for (index, record) in records.iter().enumerate() {
        let (code, body) = record.borrow().encode();
        let mut covered = Encoder::default();
        covered.u64(batch);
        covered.u16(index as u16);
        covered.u16(records.len() as u16);
        covered.u8(code);
        covered.raw(&body);
        out.raw(FRAME_MAGIC);
        out.u32(covered.0.len() as u32);
        out.u32(crc32c::crc32c(&covered.0));
        out.raw(&covered.0);
    }
    out.0
}
