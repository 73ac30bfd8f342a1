//! A blob on its way in: bytes to the file as they come, then envelope, trailer and one sync.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::layout::{Envelope, Extent, MAX_ENVELOPE, MAX_HEAD, MAX_TAIL, TRAILER_LEN, checksum};
use super::space::STEP;
use super::{Fresh, Spool};
use crate::fs::{File, is_full};
use crate::id::{Name, Sequence};
use crate::instance::{Instance, Keys, Owed};
use crate::poison::{Poisoned, Scope};

/// Bytes gathered before a write.
const BUFFER: usize = 256 << 10;
/// Bytes that may be written before space is reserved ahead of them.
const UNRESERVED: u64 = 1 << 20;
/// Bytes after which write-back is started, so that the last sync of a long blob is short.
const WRITEBACK: u64 = 8 << 20;

/// Why no blob could be opened, or no more bytes taken.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The disk is at its high watermark and nothing can be evicted.
    #[error("the spool is full")]
    Full,
    /// A sync failed earlier; nothing is received until a restart.
    #[error(transparent)]
    Poisoned(Poisoned),
    /// This blob's file failed; others may not.
    #[error("spool file: {0}")]
    Io(io::Error),
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Io(error) }
    }
}

/// Why a blob was not committed. It must be answered as not received.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The disk is full.
    #[error("the spool is full")]
    Full,
    /// A sync failed, now or earlier.
    #[error(transparent)]
    Poisoned(Poisoned),
    /// This blob's file failed.
    #[error("spool file: {0}")]
    Io(io::Error),
    /// Keys, destinations or attachment are longer than an envelope may be.
    #[error("the envelope is too large")]
    EnvelopeTooLarge,
}

impl From<StageError> for CommitError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Full => Self::Full,
            StageError::Poisoned(p) => Self::Poisoned(p),
            StageError::Io(e) => Self::Io(e),
        }
    }
}

/// What is known of an instance when all of its bytes are there.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Its keys.
    pub keys: Keys,
    /// To whom it is owed.
    pub owed: Vec<Owed>,
    /// Opaque: how it came.
    pub attachment: Vec<u8>,
}

/// A blob being received. Dropped without a commit it is gone, and its file with it.
pub struct Staged {
    spool: Arc<Spool>,
    bucket: u32,
    name: Name,
    file: Box<dyn File>,
    head: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes in the file, head included.
    written: u64,
    reserved_to: u64,
    writeback_from: u64,
    payload_len: u64,
    hasher: Sha256,
    done: bool,
}

impl Staged {
    pub(crate) fn new(spool: Arc<Spool>, bucket: u32, name: Name, file: Box<dyn File>, head: &[u8]) -> Self {
        Self {
            spool,
            bucket,
            name,
            file,
            head: head.to_vec(),
            buffer: head.to_vec(),
            written: 0,
            reserved_to: UNRESERVED,
            writeback_from: 0,
            payload_len: 0,
            hasher: Sha256::new(),
            done: false,
        }
    }

    /// Takes the next bytes of the payload. Blocks on the disk now and then; nothing is durable yet.
    ///
    /// # Errors
    /// [`StageError::Full`] when the disk cannot hold them, [`StageError::Io`] when the file fails. After an error
    /// the blob must be dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.hasher.update(bytes);
        self.payload_len += bytes.len() as u64;
        if self.buffer.len() + bytes.len() <= BUFFER {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush_buffer()?;
        if bytes.len() >= BUFFER {
            self.append(bytes)
        } else {
            self.buffer.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// Bytes of payload taken so far.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// SHA-256 of the payload taken so far.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    /// Gives back the space that is reserved ahead of what was taken so far: for when nothing more comes for a while. What
    /// comes later reserves its own.
    ///
    /// # Errors
    /// [`StageError::Io`] when the file fails; the blob must be dropped then.
    pub fn give_back_reserved(&mut self) -> Result<(), StageError> {
        if self.reserved_to > self.written.max(UNRESERVED) {
            self.file.set_len(self.written)?;
            self.reserved_to = self.written.max(UNRESERVED);
        }
        Ok(())
    }

    /// Makes the instance durable: tail, envelope, trailer, one `fdatasync`.
    ///
    /// `tail` is called with the length of what will follow it, and gives the bytes to put before that.
    ///
    /// `Ok` promises that the instance survives a power cut, with all that is owed of it, and nothing about when it
    /// will be sent.
    ///
    /// # Errors
    /// After any error the instance counts as never received: its file is removed, or swept at the next start. A
    /// failed sync poisons the queue.
    pub fn commit(mut self, meta: Meta, tail: impl FnOnce(u32) -> Vec<u8>) -> Result<Sequence, CommitError> {
        self.spool.poison.check_receiving().map_err(CommitError::Poisoned)?;
        let sequence = self.spool.next_sequence();
        let received_at = self.spool.clock.wall_ms();
        let envelope =
            Envelope { sequence, received_at, keys: meta.keys, owed: meta.owed, attachment: meta.attachment };
        let extent = self.finish_file(&envelope, tail)?;
        self.file.sync_data().map_err(|e| {
            CommitError::Poisoned(self.spool.poison.set(Scope::Spool, "sync of a spool file", &e))
        })?;
        self.done = true;
        let instance = Instance {
            sequence,
            bucket: self.bucket,
            name: self.name,
            extent,
            received_at,
            since: received_at,
            keys: envelope.keys,
            attachment: envelope.attachment,
        };
        self.spool.events.committed(Fresh { instance, owed: envelope.owed });
        Ok(sequence)
    }

    /// Writes everything after the payload and gives back the blocks reserved beyond it.
    fn finish_file(
        &mut self,
        envelope: &Envelope,
        tail: impl FnOnce(u32) -> Vec<u8>,
    ) -> Result<Extent, CommitError> {
        let bytes = envelope.encode();
        if bytes.len() > MAX_ENVELOPE || self.head.len() > MAX_HEAD {
            return Err(CommitError::EnvelopeTooLarge);
        }
        let tail = tail((bytes.len() + TRAILER_LEN) as u32);
        if tail.len() > MAX_TAIL {
            return Err(CommitError::EnvelopeTooLarge);
        }
        let extent = Extent {
            head_len: self.head.len() as u32,
            payload_len: self.payload_len,
            tail_len: tail.len() as u32,
            envelope_len: bytes.len() as u32,
            sha256: self.hasher.clone().finalize().into(),
        };
        let trailer = extent.trailer(checksum(&self.head, &tail, &bytes, &[]));
        self.buffer.extend_from_slice(&tail);
        self.buffer.extend_from_slice(&bytes);
        self.buffer.extend_from_slice(&trailer);
        self.flush_buffer()?;
        if self.reserved_to > self.written && self.reserved_to > UNRESERVED {
            self.file.set_len(self.written).map_err(StageError::from)?;
        }
        Ok(extent)
    }

    fn flush_buffer(&mut self) -> Result<(), StageError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.append(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StageError> {
        self.reserve_to(self.written + bytes.len() as u64)?;
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        if self.written - self.writeback_from >= WRITEBACK {
            self.file.start_writeback(self.writeback_from, self.written - self.writeback_from);
            self.writeback_from = self.written;
        }
        Ok(())
    }

    fn reserve_to(&mut self, end: u64) -> Result<(), StageError> {
        while end > self.reserved_to {
            let spool = &self.spool;
            if spool.space.room(&*spool.fs, &spool.paths.root)? < STEP {
                spool.events.pressure(STEP);
                if spool.space.room(&*spool.fs, &spool.paths.root)? < STEP {
                    return Err(StageError::Full);
                }
            }
            self.file.allocate(self.reserved_to, STEP)?;
            self.reserved_to += STEP;
        }
        Ok(())
    }
}

impl Drop for Staged {
    /// A blob that was not committed is removed; if that fails it is swept at the next start, because it has no end
    /// mark. One whose sync failed may have one, and is left for recovery to judge.
    fn drop(&mut self) {
        if !self.done && self.spool.poison.check_receiving().is_ok() {
            let _ = self.file.set_len(0);
            let _ = self.spool.fs.unlink(&self.spool.paths.blob(self.bucket, self.name));
        }
        self.spool.release_name(self.bucket);
    }
}
