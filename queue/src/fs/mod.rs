//! The seam to the disk: every file operation of the queue passes [`Fs`] and [`File`].
//!
//! Two implementations exist. [`RealFs`] is the operating system. The simulated disk (`fs::sim`, feature
//! `simulation`) keeps what was synced apart from what was only written, and loses, tears or reorders the rest
//! when its power is cut. Nothing here knows what the files mean.
//!
//! What an implementation must promise, and what the queue builds on:
//!
//! - after `sync_data` returns `Ok`, the bytes written to that file before the call, and its length, survive a
//!   power cut;
//! - after `sync_dir` returns `Ok`, the names created in and removed from that directory before the call do too;
//! - nothing else survives for certain, and an error from either leaves everything uncertain.

use std::io;
use std::path::Path;

mod real;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod sim;

pub use real::RealFs;

/// How an existing file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its directory. Names that are not UTF-8 are never ours and are left out.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The room of the file system a path lies on, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// What is allocated and what may be: the size of the file system without what nobody here can have.
    pub total: u64,
    /// What this process may still allocate.
    pub available: u64,
}

/// Held for as long as this process owns the spool.
pub trait Lock: Send + Sync {}

/// The file operations that the queue needs, and no others.
pub trait Fs: Send + Sync + 'static {
    /// Creates a file that did not exist, mode 0600, following no link.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file that exists, following no link.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>>;
    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory, mode 0700. `AlreadyExists` is an error like any other.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// The room left where `path` lies.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock, writing this process's id into the file. When another process has it, the error's
    /// kind is `WouldBlock` and its text names that process.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file. Positions are given with each call, so that one file can be read by several threads.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data` at `offset`. On an error any part of it may have been written.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Sets the length, giving back blocks beyond it.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks for `offset..offset + len` without changing the length.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Asks for the range to be written to the disk soon; a hint, so it cannot fail.
    fn start_writeback(&self, offset: u64, len: u64);
}

impl dyn File + '_ {
    /// Reads exactly `buf.len()` bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The whole content.
    ///
    /// # Errors
    /// As the reads that it is made of.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut content = vec![0; size];
        self.read_exact_at(&mut content, 0)?;
        Ok(content)
    }
}

/// Whether an error says that the disk, or a quota, is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
