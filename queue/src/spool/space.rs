//! How much room receiving may use, and the ballast that keeps some for recording.
//!
//! The ballast is a file whose blocks are taken at start. Receiving never gets them: what the ballast has given up
//! is subtracted from what receiving sees. Journals and the index do: when one of their writes finds the disk full,
//! the ballast shrinks by a step, so that a full disk can still record the outcome that frees it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::StageError;
use crate::fs::{Fs, Mode, is_full};

/// Reservation step of a blob that grows beyond its first MiB, in bytes.
pub(crate) const STEP: u64 = 16 << 20;
/// What the ballast gives up at a time, in bytes.
const BALLAST_STEP: u64 = 4 << 20;

pub(crate) struct SpaceKeeper {
    /// Part of the file system that may be used, in thousandths.
    high_watermark: u32,
    ballast: Mutex<Ballast>,
}

struct Ballast {
    path: PathBuf,
    wanted: u64,
    held: u64,
}

impl SpaceKeeper {
    /// Takes the ballast, or as much of it as there is: a full disk must not keep the queue from starting.
    pub(crate) fn open(fs: &dyn Fs, path: PathBuf, reserve: u64, high_watermark: u32) -> io::Result<Self> {
        let mut ballast = Ballast { path, wanted: reserve, held: 0 };
        ballast.held = ballast.on_disk(fs)?;
        if ballast.held > reserve {
            ballast.resize(fs, reserve)?;
        }
        let keeper = Self { high_watermark, ballast: Mutex::new(ballast) };
        keeper.regrow(fs);
        Ok(keeper)
    }

    /// The bytes that receiving may use now; 0 at the high watermark.
    pub(crate) fn room(&self, fs: &dyn Fs, root: &Path) -> Result<u64, StageError> {
        let space = fs.space(root).map_err(StageError::Io)?;
        let keep_free = space.total / 1000 * u64::from(1000 - self.high_watermark);
        let missing = {
            let ballast = self.lock();
            ballast.wanted - ballast.held.min(ballast.wanted)
        };
        Ok(space.available.saturating_sub(keep_free).saturating_sub(missing))
    }

    /// Gives a step of the ballast up. True when there was one to give.
    pub(crate) fn give_up_step(&self, fs: &dyn Fs) -> bool {
        let mut ballast = self.lock();
        let smaller = ballast.held.saturating_sub(BALLAST_STEP);
        ballast.held > 0 && ballast.resize(fs, smaller).is_ok()
    }

    /// Takes back what the ballast gave up, as far as there is room. True when it is whole.
    pub(crate) fn regrow(&self, fs: &dyn Fs) -> bool {
        let mut ballast = self.lock();
        while ballast.held < ballast.wanted {
            let larger = (ballast.held + BALLAST_STEP.max(ballast.wanted / 8)).min(ballast.wanted);
            let parent = ballast.path.parent().unwrap_or(Path::new(".")).to_owned();
            let enough = fs.space(&parent).is_ok_and(|s| s.available > (larger - ballast.held) * 2);
            if !enough || ballast.resize(fs, larger).is_err() {
                return false;
            }
        }
        true
    }

    /// Bytes the ballast holds now, and should hold.
    pub(crate) fn ballast(&self) -> (u64, u64) {
        let ballast = self.lock();
        (ballast.held, ballast.wanted)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ballast> {
        self.ballast.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ballast {
    fn on_disk(&self, fs: &dyn Fs) -> io::Result<u64> {
        match fs.open(&self.path, Mode::Read) {
            Ok(file) => file.size(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => match fs.create_new(&self.path) {
                Ok(_) => Ok(0),
                Err(e) if is_full(&e) => Ok(0),
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        }
    }

    /// Blocks first, length after: the length never claims what is not there.
    fn resize(&mut self, fs: &dyn Fs, to: u64) -> io::Result<()> {
        let file = fs.open(&self.path, Mode::ReadWrite)?;
        if to > self.held
            && let Err(e) = file.allocate(self.held, to - self.held)
        {
            let _ = file.set_len(self.held);
            return Err(e);
        }
        file.set_len(to)?;
        let grew = to > self.held;
        self.held = to;
        // It must be there after a cut too, when the disk may be full. It carries nothing, so a failure is no poison.
        if grew { file.sync_data() } else { Ok(()) }
    }
}
