//! The operating system's files.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::{Entry, File, Fs, Lock, Mode, Space};
use crate::platform;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file =
            platform::private_file(OpenOptions::new().read(true).write(true).create_new(true)).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode == Mode::ReadWrite);
        Ok(Box::new(RealFile(platform::private_file(&mut options).open(path)?)))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        platform::private_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        platform::sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let about = match entry.metadata() {
                Ok(about) => about,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let len = if about.is_dir() { 0 } else { about.len() };
            entries.push(Entry { name, len, is_dir: about.is_dir() });
        }
        Ok(entries)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        platform::space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = platform::private_file(&mut options).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner)?;
                let text = format!("in use by process {}", owner.trim());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            Err(fs::TryLockError::Error(e)) => return Err(e),
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Box::new(HeldLock(file)))
    }
}

/// The lock goes with the descriptor: when the process ends in whatever way, it is free.
struct HeldLock(#[expect(dead_code, reason = "held for its descriptor")] fs::File);

impl Lock for HeldLock {}

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        platform::read_at(&self.0, buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        platform::write_all_at(&self.0, data, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        platform::allocate(&self.0, offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        platform::start_writeback(&self.0, offset, len);
    }
}
