//! A checked payload as the transcoding stage reads it.

use std::io;
use std::sync::{Mutex, TryLockError};

use chrysalis_queue::{BlobError, CHUNK, Checked};

use crate::transcode::{Source, TranscodeError};

/// A payload that was compared with its SHA-256. Whatever is read of it agrees with what was compared.
pub(crate) struct Stored {
    checked: Checked,
    /// The chunk that was read last for somebody who wanted little: elements are read a few bytes at a time.
    last: Mutex<Option<Chunk>>,
}

struct Chunk {
    start: u64,
    bytes: Vec<u8>,
}

/// Whoever wants more than this reads it for himself.
const LITTLE: usize = 32 << 10;

impl Stored {
    pub(crate) fn new(checked: Checked) -> Self {
        Self { checked, last: Mutex::new(None) }
    }

    /// A few bytes, from the chunk that was read last if they are there.
    fn read_little(&self, buffer: &mut [u8], offset: u64) -> Result<usize, BlobError> {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.checked.read_at(buffer, offset),
        };
        let start = offset - offset % CHUNK as u64;
        if last.as_ref().is_none_or(|chunk| chunk.start != start) {
            let mut bytes = last.take().map(|chunk| chunk.bytes).unwrap_or_default();
            self.checked.read_chunk(start, &mut bytes)?;
            *last = Some(Chunk { start, bytes });
        }
        let within = (offset - start) as usize;
        let rest = last.as_ref().and_then(|chunk| chunk.bytes.get(within..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl Source for Stored {
    fn len(&self) -> u64 {
        self.checked.blob().payload_len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = if buffer.len() <= LITTLE && self.checked.whole().is_none() {
            self.read_little(buffer, offset)
        } else {
            self.checked.read_at(buffer, offset)
        };
        read.map_err(io::Error::other)
    }
}

/// What the spool said, where an error of reading [`Stored`] came from there, however it was wrapped since.
pub(crate) fn spool_error(error: &io::Error) -> Option<&BlobError> {
    let inner = error.get_ref()?;
    if let Some(found) = inner.downcast_ref() {
        return Some(found);
    }
    if let Some(TranscodeError::Source(io)) = inner.downcast_ref() {
        return spool_error(io);
    }
    spool_error(inner.downcast_ref()?)
}
