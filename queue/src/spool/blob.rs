//! A committed file, read by range.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::layout::{Envelope, Extent, TRAILER_LEN, Trailer, checksum};
use crate::fs::{File, Fs, Mode};

/// Bytes read at a time when a hash is checked.
const CHUNK: usize = 256 << 10;

/// Why the bytes of an instance cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such file.
    #[error("the spool file is missing")]
    Missing,
    /// The file is shorter or longer than it was, or its trailer, head or envelope has changed.
    #[error("the spool file is damaged: {0}")]
    Damaged(&'static str),
    /// The payload's SHA-256 is not the one it was received with.
    #[error("the payload does not match its SHA-256")]
    HashMismatch,
    /// The disk would not read it.
    #[error("the spool file cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early"),
            _ => Self::Io(error),
        }
    }
}

/// An open spool file. The same open file is verified and then read, so that what was checked is what is sent.
pub struct Blob {
    file: Box<dyn File>,
    extent: Extent,
}

impl Blob {
    /// Opens a file that the journal describes, and checks all of it but the payload.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, expected: Extent) -> Result<Self, BlobError> {
        let (blob, _) = Self::recover(fs, path)?.ok_or(BlobError::Damaged("it has no end mark"))?;
        if blob.extent != expected {
            return Err(BlobError::Damaged("its trailer is not the one recorded"));
        }
        Ok(blob)
    }

    /// Opens a file by itself. `None` when it was never finished.
    pub(crate) fn recover(fs: &dyn Fs, path: &Path) -> Result<Option<(Self, Envelope)>, BlobError> {
        let file = fs.open(path, Mode::Read)?;
        let size = file.size()?;
        let Some(trailer_at) = size.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
        let mut trailer = [0; TRAILER_LEN];
        file.read_exact_at(&mut trailer, trailer_at)?;
        let (extent, crc) = match Trailer::read(&trailer, size) {
            Trailer::None => return Ok(None),
            Trailer::Damaged => return Err(BlobError::Damaged("its trailer has changed")),
            Trailer::Found { extent, crc } => (extent, crc),
        };
        let blob = Self { file, extent };
        let head = blob.part(0, extent.head_len)?;
        let tail_at = u64::from(extent.head_len) + extent.payload_len;
        let tail = blob.part(tail_at, extent.tail_len)?;
        let envelope = blob.part(tail_at + u64::from(extent.tail_len), extent.envelope_len)?;
        if checksum(&head, &tail, &envelope, &trailer) != crc {
            return Err(BlobError::Damaged("its head, envelope or trailer has changed"));
        }
        let envelope =
            Envelope::decode(&envelope).map_err(|_| BlobError::Damaged("its envelope is unreadable"))?;
        Ok(Some((blob, envelope)))
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.extent.payload_len
    }

    /// Reads the payload once and compares its SHA-256 with the one it was received with.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`], or that it cannot be read.
    pub fn verify(&self) -> Result<(), BlobError> {
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK.min(self.extent.payload_len as usize)];
        let mut at = 0;
        while at < self.extent.payload_len {
            let n = self.read_at(&mut chunk, at)?;
            if n == 0 {
                return Err(BlobError::Damaged("it ends too early"));
            }
            hasher.update(chunk.get(..n).unwrap_or_default());
            at += n as u64;
        }
        let digest: [u8; 32] = hasher.finalize().into();
        if digest == self.extent.sha256 { Ok(()) } else { Err(BlobError::HashMismatch) }
    }

    /// A check of the payload as it is read on, from its first byte to its last.
    #[must_use]
    pub fn running_check(&self) -> RunningCheck {
        RunningCheck { hasher: Sha256::new(), left: self.extent.payload_len, sha256: self.extent.sha256 }
    }

    /// Reads payload bytes from `offset` on; 0 at its end.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.extent.payload_len.saturating_sub(offset);
        let take = (buf.len() as u64).min(left) as usize;
        let buf = buf.get_mut(..take).unwrap_or_default();
        self.file.read_at(buf, u64::from(self.extent.head_len) + offset)
    }

    /// The head that was given when the blob was staged.
    ///
    /// # Errors
    /// What the disk says.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        self.part(0, self.extent.head_len)
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    fn part(&self, at: u64, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// Compares what is read with what was received, so that a disk that changes its mind between a check and the reading
/// is found out before the last byte is passed on.
#[derive(Clone)]
pub struct RunningCheck {
    hasher: Sha256,
    left: u64,
    sha256: [u8; 32],
}

impl RunningCheck {
    /// Takes the next bytes of the payload, in order.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`] with the last of them, when they are not what was received.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.hasher.update(bytes);
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let is_whole = self.left == 0;
        if is_whole && <[u8; 32]>::from(self.hasher.clone().finalize()) != self.sha256 {
            return Err(BlobError::HashMismatch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BlobError, RunningCheck};
    use sha2::{Digest, Sha256};

    #[test]
    fn a_changed_byte_is_found_out_with_the_last_one_that_is_read() {
        let payload = b"what was received".to_vec();
        let check = RunningCheck {
            hasher: Sha256::new(),
            left: payload.len() as u64,
            sha256: Sha256::digest(&payload).into(),
        };
        let read = |bytes: &[u8]| {
            let mut check = check.clone();
            bytes.chunks(5).map(|chunk| check.feed(chunk).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(read(&payload), [true; 4]);
        let mut bent = payload.clone();
        bent[0] ^= 1;
        assert_eq!(read(&bent), [true, true, true, false]);
        assert!(matches!(check.clone().feed(&bent), Err(BlobError::HashMismatch)));
    }
}
