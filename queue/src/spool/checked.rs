//! A payload that was compared with its SHA-256, and is read on only as what was compared.
//!
//! The whole payload is hashed before its first byte leaves. A disk may still change its mind until a byte is read again
//! for sending, so the comparison notes a CRC32C of each chunk, and each chunk is compared with that before it is handed
//! out. A second SHA-256 would say the same and cost as much as everything else that sending does.

use std::sync::Arc;

use super::blob::{Blob, BlobError};

/// Bytes that are read at a time, but for the last of a payload.
pub const CHUNK: usize = 256 << 10;

/// A blob that is what was received. Clones share the open file.
#[derive(Clone)]
pub struct Checked(Arc<Inner>);

struct Inner {
    blob: Blob,
    /// CRC32C of each chunk.
    sums: Vec<u32>,
    /// All of a payload that fits into one chunk: what was compared is what is handed out.
    whole: Option<Vec<u8>>,
}

impl Checked {
    /// Reads the payload once and compares its SHA-256 with the one it was received with.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`], or that it cannot be read.
    pub fn new(blob: Blob) -> Result<Self, BlobError> {
        let mut sums = Vec::with_capacity(blob.payload_len().div_ceil(CHUNK as u64) as usize);
        let last = blob.compare(|chunk| sums.push(crc32c::crc32c(chunk)))?;
        let whole = (sums.len() == 1).then_some(last);
        Ok(Self(Arc::new(Inner { blob, sums, whole })))
    }

    /// The open file.
    #[must_use]
    pub fn blob(&self) -> &Blob {
        &self.0.blob
    }

    /// All of the payload, when it is no longer than [`CHUNK`].
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        self.0.whole.as_deref()
    }

    /// Reads the chunk that begins at `offset`, a multiple of [`CHUNK`], in place of what is in the buffer. Nothing is
    /// left in it behind the end.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when it is not what was compared any more, or what the disk says.
    pub fn read_chunk(&self, offset: u64, buffer: &mut Vec<u8>) -> Result<(), BlobError> {
        let Inner { blob, sums, .. } = &*self.0;
        blob.read_piece(offset, CHUNK, buffer)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let sum = usize::try_from(offset / CHUNK as u64).ok().and_then(|at| sums.get(at));
        match sum {
            Some(sum) if *sum == crc32c::crc32c(buffer) => Ok(()),
            _ => {
                buffer.clear();
                Err(BlobError::Damaged("it has changed since it was compared with its SHA-256"))
            }
        }
    }
}
