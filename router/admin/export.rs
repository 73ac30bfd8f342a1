//! One instance as a clean Part 10 file: its head, its data set exactly as received, and nothing of ours behind it.

use std::io::{self, Write};

use chrysalis_queue::{Blob, BlobError, Instance, Queue};

/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The spool has it no longer, or not as it was received.
    #[error(transparent)]
    Spool(#[from] BlobError),
    /// It could not be written to where it was to go.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file that can be written out: all of it has been compared with what was received.
pub(crate) struct Export {
    head: Vec<u8>,
    blob: Blob,
}

impl Export {
    /// Opens an instance and checks its hash. Blocks on the disk.
    ///
    /// # Errors
    /// [`BlobError`]
    pub(crate) fn open(queue: &Queue, instance: &Instance) -> Result<Self, BlobError> {
        let blob = queue.open_blob(instance)?;
        blob.verify()?;
        Ok(Self { head: blob.head()?, blob })
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.head.len() as u64 + self.blob.payload_len()
    }

    /// Writes the file, and compares once more what is read on the way.
    ///
    /// # Errors
    /// [`ExportError`]; what was written until then is no whole file.
    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        out.write_all(&self.head)?;
        let mut check = self.blob.running_check();
        let mut chunk = vec![0; CHUNK.min(self.blob.payload_len().max(1) as usize)];
        let mut at = 0;
        while at < self.blob.payload_len() {
            let n = self.blob.read_at(&mut chunk, at).map_err(BlobError::from)?;
            let bytes = chunk.get(..n).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or(BlobError::Damaged("it ends too early"))?;
            check.feed(bytes)?;
            out.write_all(bytes)?;
            at += n as u64;
        }
        Ok(())
    }
}
