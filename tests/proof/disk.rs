//! A file system that loses its power on command: an image on a loop device, and the kernel's shutdown.
//!
//! `xfs_io -c shutdown` asks the kernel to end a mounted file system at once, with nothing written any more: neither dirty pages
//! nor, unless that is wanted, the log. What is then on the image is what a power cut leaves behind, as long as
//! the drive keeps its word; a drive that does not is the simulated disk's work. XFS and ext4 take the same call.

use crate::support::process::find;
use crate::support::wait::eventually;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The smallest that mkfs.xfs makes is 300 MiB; the image is sparse.
const MEBIBYTES: u64 = 1024;

/// How the file system is made and mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Data goes to the disk before the metadata that names it.
    Ext4Ordered,
    /// Metadata may be there before its data: a file of the right length with something else in it.
    Ext4Writeback,
    Xfs,
}

impl Format {
    const fn make(self) -> &'static str {
        match self {
            Self::Ext4Ordered | Self::Ext4Writeback => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
        }
    }

    const fn options(self) -> &'static str {
        match self {
            Self::Ext4Ordered => "loop,data=ordered",
            Self::Ext4Writeback => "loop,data=writeback",
            Self::Xfs => "loop",
        }
    }
}

/// What becomes of the file system's log when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// What is only in memory is gone.
    Lost,
    /// It is written out, without the data that it speaks of.
    Flushed,
}

/// A mounted image. Dropping it unmounts it; the image stays.
pub struct Disk {
    format: Format,
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes and mounts one in this folder.
    pub fn new(folder: &Path, format: Format) -> Result<Self, String> {
        let disk = Self { format, image: folder.join("image"), mount: folder.join("disk") };
        let image = std::fs::File::create(&disk.image).and_then(|file| file.set_len(MEBIBYTES << 20));
        image.map_err(|error| format!("{}: {error}", disk.image.display()))?;
        std::fs::create_dir_all(&disk.mount).map_err(|error| format!("{}: {error}", disk.mount.display()))?;
        tool(Command::new(format.make()).arg("-q").arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// The power goes. Whoever still uses it gets errors from now on.
    pub fn cut(&self, log: Log) -> Result<(), String> {
        let command = match log {
            Log::Lost => "shutdown",
            Log::Flushed => "shutdown -f",
        };
        tool(Command::new("xfs_io").args(["-x", "-c", command]).arg(&self.mount))
    }

    /// The power comes back: what is in memory is forgotten, and the log is replayed. Nobody may use it any more.
    #[track_caller]
    pub fn power_on(&self) -> Result<(), String> {
        // Some kernels let go of the last file of a killed process a moment after its end.
        eventually("unmounting", Duration::from_secs(10), || {
            tool(Command::new("umount").arg(&self.mount)).ok()
        });
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        tool(Command::new("mount").args(["-o", self.format.options()]).arg(&self.image).arg(&self.mount))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: where a round breaks, somebody may still look at a file there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).output();
    }
}

/// Whether such a disk can be made and cut here; if not, what is missing.
pub fn can(format: Format) -> Result<(), String> {
    for program in [format.make(), "xfs_io", "mount", "umount"] {
        find(program).ok_or_else(|| format!("{program} is not installed"))?;
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = Disk::new(folder.path(), format)
        .map_err(|why| format!("a loop device cannot be mounted here, which needs root: {why}"))?;
    disk.cut(Log::Lost).map_err(|why| format!("this kernel cannot end a file system: {why}"))
}

fn tool(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {}", output.status, said.trim()))
}
