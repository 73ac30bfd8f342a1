//! A committed file, read by range.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::checked::CHUNK;
use super::layout::{Envelope, Extent, TRAILER_LEN, Trailer, checksum};
use crate::fs::{File, Fs, Mode};

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
        self.compare(|_| ()).map(drop)
    }

    /// The same, showing each chunk to `note`. Returns the last one.
    pub(super) fn compare(&self, mut note: impl FnMut(&[u8])) -> Result<Vec<u8>, BlobError> {
        let mut hasher = Sha256::new();
        let mut chunk = Vec::new();
        let mut at = 0;
        while at < self.extent.payload_len {
            self.read_piece(at, CHUNK, &mut chunk)?;
            hasher.update(&chunk);
            note(&chunk);
            at += chunk.len() as u64;
        }
        let digest: [u8; 32] = hasher.finalize().into();
        if digest == self.extent.sha256 { Ok(chunk) } else { Err(BlobError::HashMismatch) }
    }

    /// Replaces what is in the buffer by `len` bytes of payload from `offset` on, or as many as there are up to its end.
    pub(super) fn read_piece(&self, offset: u64, len: usize, buffer: &mut Vec<u8>) -> Result<(), BlobError> {
        let left = self.extent.payload_len.saturating_sub(offset);
        buffer.resize((len as u64).min(left) as usize, 0);
        Ok(self.read_exact_at(buffer, offset)?)
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

    /// Fills the buffer with payload bytes, which have to be there.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, u64::from(self.extent.head_len) + offset)
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
