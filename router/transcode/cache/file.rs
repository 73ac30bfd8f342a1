#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A file of the cache: written once from its beginning to its end, then read by range, and only as what was written.
//!
//! It is never synced, so nothing on the disk is believed: each piece's CRC32C is kept in memory and compared before a byte
//! of the piece is handed out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Folder;

/// Bytes that are written, compared and read at a time, but for the last of a file.
pub const PIECE: usize = 256 << 10;

/// A new file, readable by its owner only, and never through a link.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

/// A file that is being written. When it is dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    place: Place,
    /// Less than a piece.
    pending: Vec<u8>,
    sums: Vec<u32>,
}

/// A file that is written. When it is dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Kept {
    place: Place,
    length: u64,
    sums: Vec<u32>,
}

/// The name, and the part of the budget that goes with it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Open until it is dropped.
    file: Option<File>,
    folder: Arc<Folder>,
    taken: u64,
}

impl Draft {
    pub(super) fn new(path: PathBuf, folder: Arc<Folder>) -> io::Result<Self> {
        let file = Some(create(&path)?);
        let place = Place { path, file, folder, taken: 0 };
        Ok(Self { place, pending: Vec::with_capacity(PIECE), sums: Vec::new() })
    }

    /// Bytes written.
    pub(crate) fn position(&self) -> u64 {
        self.place.taken + self.pending.len() as u64
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the disk says, or that the budget is used up.
    pub(crate) fn finish(mut self) -> io::Result<Kept> {
        let length = self.position();
        if !self.pending.is_empty() {
            self.write_piece()?;
        }
        let Self { place, sums, .. } = self;
        Ok(Kept { place, length, sums })
    }

    fn write_piece(&mut self) -> io::Result<()> {
        let offset = self.place.taken;
        self.place.folder.take(self.pending.len() as u64)?;
        self.place.taken += self.pending.len() as u64;
        self.sums.push(crc32c::crc32c(&self.pending));
        self.place.file()?.write_all_at(&self.pending, offset)?;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.pending.len().min(PIECE));
        self.pending.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.pending.len() >= PIECE {
            self.write_piece()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    /// Bytes of it.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Reads the piece that begins at `offset`, a multiple of [`PIECE`], in place of what is in the buffer; nothing at the
    /// end.
    ///
    /// # Errors
    /// What the disk says, or that it is not what was written.
    pub(crate) fn read_piece(&self, offset: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let count = self.length.saturating_sub(offset).min(PIECE as u64) as usize;
        buffer.resize(count, 0);
        if count == 0 {
            return Ok(());
        }
        let read = self.place.file()?.read_exact_at(buffer, offset);
        let sum = usize::try_from(offset / PIECE as u64).ok().and_then(|at| self.sums.get(at));
        let compared = read.and_then(|()| match sum {
            Some(sum) if *sum == crc32c::crc32c(buffer) => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what was written into the cache")),
        });
        if compared.is_err() {
            buffer.clear();
        }
        compared
    }
}

impl Place {
    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have emptied the folder meanwhile, and then it is gone as well.
        let _ = std::fs::remove_file(&self.path);
        // The blocks are free when the last handle is closed.
        self.file = None;
        self.folder.give_back(self.taken);
    }
}
