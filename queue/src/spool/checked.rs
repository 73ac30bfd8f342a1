//! A payload that was compared with its SHA-256, and is read on only as what was compared.
//!
//! The whole payload is hashed before its first byte leaves. A disk may still change its mind until a byte is read again
//! for sending, so the comparison notes a CRC32C of each chunk, and each chunk is compared with that before it is handed
//! out. A second SHA-256 would say the same and cost as much as everything else that sending does.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::blob::{Blob, BlobError};

/// Bytes that are read at a time, but for the last of a payload.
pub const CHUNK: usize = 256 << 10;

/// A blob that is what was received. Clones share the open file.
#[derive(Clone)]
pub struct Checked(Arc<Inner>);

struct Inner {
    blob: Arc<Blob>,
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
    pub fn new(blob: impl Into<Arc<Blob>>) -> Result<Self, BlobError> {
        let blob = blob.into();
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
        self.0.blob.read_piece(offset, CHUNK, buffer)?;
        if buffer.is_empty() {
            return Ok(());
        }
        self.agrees(buffer, offset).inspect_err(|_| buffer.clear())
    }

    /// Whether these are the bytes of the chunk that begins at `start`.
    fn agrees(&self, chunk: &[u8], start: u64) -> Result<(), BlobError> {
        let sum = usize::try_from(start / CHUNK as u64).ok().and_then(|at| self.0.sums.get(at));
        if sum.is_some_and(|sum| *sum == crc32c::crc32c(chunk)) { Ok(()) } else { Err(CHANGED) }
    }

    /// Reads from `offset` on, as many bytes as the buffer has room for or as there are; 0 at the end. Any offset will do,
    /// and several threads may read at once. Whole chunks are compared where they lie in the buffer; of the one or two that
    /// the range only touches, all is read and compared, and what was asked for copied.
    ///
    /// # Errors
    /// As [`Checked::read_chunk`]; what the buffer holds then means nothing.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, BlobError> {
        let left = self.0.blob.payload_len().saturating_sub(offset);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut rest = buffer.get_mut(..wanted).unwrap_or_default();
        let (mut at, mut chunk) = (offset, Vec::new());
        while !rest.is_empty() {
            let within = (at % CHUNK as u64) as usize;
            let count = rest.len().min(CHUNK - within);
            let (part, behind) = rest.split_at_mut(count);
            self.read_within(part, at - within as u64, within, &mut chunk)?;
            at += count as u64;
            rest = behind;
        }
        Ok(wanted)
    }

    /// Fills `part` from one chunk, which begins at `start`; `within` is where in it the part begins.
    fn read_within(
        &self,
        part: &mut [u8],
        start: u64,
        within: usize,
        chunk: &mut Vec<u8>,
    ) -> Result<(), BlobError> {
        let Inner { blob, whole, .. } = &*self.0;
        if let Some(known) = whole.as_ref().and_then(|whole| whole.get(within..within + part.len())) {
            part.copy_from_slice(known);
            return Ok(());
        }
        let length = blob.payload_len().saturating_sub(start).min(CHUNK as u64);
        if part.len() as u64 == length {
            blob.read_exact_at(part, start)?;
            return self.agrees(part, start);
        }
        self.read_chunk(start, chunk)?;
        let found = chunk.get(within..within + part.len()).ok_or(CHANGED)?;
        part.copy_from_slice(found);
        Ok(())
    }
}

/// A blob that is read once, from its beginning to its end, and compared meanwhile: its last chunk is handed out only when the
/// payload as a whole is what was received. For a receiver that does nothing with a payload of which the end is missing, this
/// says the same as [`Checked`] with one reading less.
pub struct Checking {
    blob: Arc<Blob>,
    hasher: Sha256,
    at: u64,
}

impl Checking {
    /// Nothing has been read yet.
    #[must_use]
    pub fn new(blob: Arc<Blob>) -> Self {
        Self { blob, hasher: Sha256::new(), at: 0 }
    }

    /// Reads the next chunk in place of what is in the buffer. Nothing is left in it behind the end.
    ///
    /// # Errors
    /// [`BlobError::HashMismatch`] in place of the last chunk, or what the disk says; the buffer is empty then.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> Result<(), BlobError> {
        self.blob.read_piece(self.at, CHUNK, buffer).inspect_err(|_| buffer.clear())?;
        self.hasher.update(&*buffer);
        self.at += buffer.len() as u64;
        if buffer.is_empty() || self.at < self.blob.payload_len() {
            return Ok(());
        }
        let digest: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
        if digest == self.blob.extent().sha256 {
            return Ok(());
        }
        buffer.clear();
        Err(BlobError::HashMismatch)
    }
}

const CHANGED: BlobError = BlobError::Damaged("it has changed since it was compared with its SHA-256");
