//! One instance as a clean Part 10 file: its head, its data set exactly as received, and nothing of ours behind it.

use std::io::{self, Write};

use chrysalis_queue::{BlobError, Checked, Instance, Queue};

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
    data: Checked,
}

impl Export {
    /// Opens an instance and checks its hash. Blocks on the disk.
    ///
    /// # Errors
    /// [`BlobError`]
    pub(crate) fn open(queue: &Queue, instance: &Instance) -> Result<Self, BlobError> {
        let data = Checked::new(queue.open_blob(instance)?)?;
        Ok(Self { head: data.blob().head()?, data })
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.head.len() as u64 + self.data.blob().payload_len()
    }

    /// Writes the file, and compares once more what is read on the way.
    ///
    /// # Errors
    /// [`ExportError`]; what was written until then is no whole file.
    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        out.write_all(&self.head)?;
        let (mut chunk, mut at) = (Vec::new(), 0);
        while at < self.data.blob().payload_len() {
            self.data.read_chunk(at, &mut chunk)?;
            out.write_all(&chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }
}
