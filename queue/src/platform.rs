//! What differs between operating systems, in one place.
//!
//! Linux today. Another platform needs these functions and nothing else of the queue; on Windows a directory's
//! names become durable with `FlushFileBuffers` on the files themselves, so `sync_dir` would do nothing there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, OFlags};

use crate::fs::Space;

/// Readable by its owner only, and never through a link.
pub(crate) fn private_file(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Takes what is open to others of the directories in a directory, which somebody else's code has made.
pub(crate) fn make_dirs_private(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// As `df` reckons: blocks that are kept for the superuser, or cannot be had for another reason, are no part of the whole.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    let about = rustix::fs::statvfs(path)?;
    let usable = about.f_blocks.saturating_sub(about.f_bfree).saturating_add(about.f_bavail);
    Ok(Space { total: usable * about.f_frsize, available: about.f_bavail * about.f_frsize })
}

pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

pub(crate) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(data, offset)
}

/// Reserves blocks; a file system that cannot (`EOPNOTSUPP`) leaves the space to be found out by the writes.
pub(crate) fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, len) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}

/// `POSIX_FADV_DONTNEED` starts write-back of the dirty pages in the range and drops only the clean ones, of which a
/// range that was just written has none: so the page cache keeps what forwarding will read.
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) {
    if let Some(len) = std::num::NonZeroU64::new(len) {
        let _ = rustix::fs::fadvise(file, offset, Some(len), Advice::DontNeed);
    }
}

/// Whether an error says that the process, or the system, has no descriptor left: a file could not be opened, and
/// nothing was done to any.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| known.contains(&code))
}
