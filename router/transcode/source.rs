//! Where the bytes of a stored data set come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A data set that is read by range, by several threads at once. Its bytes do not change.
pub trait Source: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Reads from `offset` on, as much as there is at hand; 0 only at the end or for an empty buffer.
    ///
    /// # Errors
    /// What the disk says, or that the bytes are not those that were stored.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Whether there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// As [`Source::read_at`]; [`io::ErrorKind::UnexpectedEof`] when there are not so many bytes.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_at(buffer, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
            offset += count as u64;
        }
        Ok(())
    }
}

/// A data set within a file: from an offset to an end.
#[derive(Debug)]
pub struct FileRange {
    file: File,
    start: u64,
    length: u64,
}

impl FileRange {
    /// `length` bytes of a file, from `start` on.
    pub fn new(file: File, start: u64, length: u64) -> Self {
        Self { file, start, length }
    }
}

impl Source for FileRange {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        self.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.start + offset)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}
