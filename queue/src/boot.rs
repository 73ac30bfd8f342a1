//! How often the queue has been opened. The number is raised and synced before anything else is done, so that a
//! receive sequence never repeats.
//!
//! Two slots of 4 KiB are written in turn, so that a torn write leaves the other. A slot is: generation (u64), boot
//! (u32), settled (u32), CRC32C (u32). Journals of boots before `settled` were made durable by an earlier start.

use std::io;
use std::path::Path;

use crate::fs::{File, Fs, Mode};
use crate::wire::{Decoder, Encoder, Malformed};

const SLOT: u64 = 4096;
const SLOT_LEN: usize = 20;

/// Why the boot number could not be raised.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct BootFileError(#[from] io::Error);

impl From<BootFileError> for io::Error {
    fn from(error: BootFileError) -> Self {
        error.0
    }
}

/// The boot number, raised for this process.
pub(crate) struct BootFile {
    file: Box<dyn File>,
    current: Slot,
    settled_before: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    generation: u64,
    boot: u32,
    settled: u32,
}

impl BootFile {
    /// Raises the number above the stored one and above `at_least`, and makes it durable but for the file's name.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, at_least: u32) -> Result<Self, BootFileError> {
        let file = match fs.open(path, Mode::ReadWrite) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs.create_new(path)?,
            other => other?,
        };
        let before = Slot::newest(&*file)?;
        let current = Slot {
            generation: before.generation + 1,
            boot: before.boot.max(at_least) + 1,
            settled: before.settled,
        };
        current.write(&*file)?;
        Ok(Self { file, current, settled_before: before.settled })
    }

    /// How often the queue has been opened, this time included.
    pub(crate) fn boot(&self) -> u32 {
        self.current.boot
    }

    /// Journals of boots before this one are durable to their last record.
    pub(crate) fn settled(&self) -> u32 {
        self.settled_before
    }

    /// Notes that every journal of an earlier boot is durable now.
    pub(crate) fn settle(&mut self) -> Result<(), BootFileError> {
        self.current.generation += 1;
        self.current.settled = self.current.boot;
        Ok(self.current.write(&*self.file)?)
    }
}

impl Slot {
    /// The newer of the two slots; zeros when neither is readable.
    fn newest(file: &dyn File) -> io::Result<Self> {
        let mut newest = Self::default();
        for place in 0..2 {
            let mut bytes = [0; SLOT_LEN];
            let slot = match file.read_exact_at(&mut bytes, place * SLOT) {
                Ok(()) => Self::decode(&bytes),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(Malformed),
                Err(e) => return Err(e),
            };
            if let Ok(slot) = slot
                && slot.generation > newest.generation
            {
                newest = slot;
            }
        }
        Ok(newest)
    }

    fn write(self, file: &dyn File) -> io::Result<()> {
        let mut out = Encoder::default();
        out.u64(self.generation);
        out.u32(self.boot);
        out.u32(self.settled);
        let crc = crc32c::crc32c(&out.0);
        out.u32(crc);
        file.write_all_at(&out.0, self.generation % 2 * SLOT)?;
        file.sync_data()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (covered, crc) = bytes.split_at_checked(SLOT_LEN - 4).ok_or(Malformed)?;
        let mut from = Decoder(covered);
        let slot = Self { generation: from.u64()?, boot: from.u32()?, settled: from.u32()? };
        if crc32c::crc32c(covered).to_le_bytes() == crc { Ok(slot) } else { Err(Malformed) }
    }
}
