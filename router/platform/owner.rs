//! What the superuser does to a data directory at the command line, so that the service that runs as another user can still
//! read what was written. Linux only: threads of one process can be different users there.
//!
//! The work is done *as* the directory's owner instead of giving files away afterwards: there is no moment at which they are
//! the superuser's, and no link that the owner has put there leads anywhere that he could not go himself.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use rustix::thread::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Runs something as the owner of a directory, where the superuser asks for it and the directory is another user's; else, and
/// where there is no such directory yet, as who we are. Threads that it starts are the owner's, too.
///
/// # Errors
/// The directory cannot be looked at, or the system does not let us be its owner; nothing was run.
pub fn as_owner_of<T: Send>(directory: &Path, run: impl FnOnce() -> T + Send) -> io::Result<T> {
    let owner = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(run()),
        Err(error) => return Err(error),
    };
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(run());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    let become_owner = || {
        set_thread_groups(&[gid])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    };
    let done = std::thread::scope(|scope| {
        let work = move || become_owner().map(|()| run());
        scope.spawn(work).join()
    });
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(|error| {
        io::Error::other(format!(
            "the data directory belongs to user {}: {error}; run this as that user",
            owner.uid()
        ))
    })
}

/// Gives files and folders of a directory that are the superuser's to the directory's owner, as an earlier version may have left
/// them. What is not there, is a link or has a second name is left alone, and so is everything where we are not the superuser.
///
/// # Errors
/// Whatever the system says.
pub fn hand_back(directory: &Path, names: &[&str]) -> io::Result<()> {
    let Ok(owner) = fs::metadata(directory) else { return Ok(()) };
    if !geteuid().is_root() || owner.uid() == 0 {
        return Ok(());
    }
    for name in names {
        let path = directory.join(name);
        give(&path, &owner)?;
        // Folders of ours have files in them and nothing else.
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            for entry in fs::read_dir(&path)? {
                give(&entry?.path(), &owner)?;
            }
        }
    }
    Ok(())
}

fn give(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return Ok(()) };
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == 0 && (metadata.is_dir() || metadata.is_file() && metadata.nlink() == 1);
    if is_ours { fchown(&file, owner) } else { Ok(()) }
}

fn fchown(file: &File, owner: &fs::Metadata) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Where a file belongs to somebody else than its directory, and nobody else may read it: whose it is, and whose it has to be.
pub fn is_strange_in(directory: &Path, path: &Path) -> Option<(u32, u32)> {
    let (file, directory) = (fs::symlink_metadata(path).ok()?, fs::metadata(directory).ok()?);
    let is_shut = file.mode() & 0o044 == 0;
    (file.uid() != directory.uid() && is_shut).then_some((file.uid(), directory.uid()))
}

#[cfg(test)]
mod tests {
    use super::{as_owner_of, hand_back, is_strange_in};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    /// Somebody who is not the superuser.
    const SOMEBODY: u32 = 65_534;

    #[test]
    fn what_the_superuser_writes_into_somebodys_directory_is_that_users() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().uid();
        as_owner_of(&data, || fs::write(data.join("roots"), "")).unwrap().unwrap();
        assert_eq!(owner(&data.join("roots")), 0, "the directory is the superuser's own");
        chown(&data, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        let written = as_owner_of(&data, || {
            std::thread::scope(|scope| scope.spawn(|| fs::write(data.join("theirs"), "")).join().unwrap())
        });
        written.unwrap().unwrap();
        assert_eq!(owner(&data.join("theirs")), SOMEBODY);
        std::os::unix::fs::symlink(&secret, data.join("trap")).unwrap();
        let trapped = as_owner_of(&data, || fs::write(data.join("trap"), "gone")).unwrap();
        assert_eq!(trapped.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        fs::write(folder.path().join("mine"), "").unwrap();
        assert_eq!(owner(&folder.path().join("mine")), 0, "this thread is who it was");

        fs::set_permissions(data.join("roots"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(is_strange_in(&data, &data.join("roots")), Some((0, SOMEBODY)));
        fs::hard_link(&secret, data.join("second")).unwrap();
        hand_back(&data, &["roots", "trap", "second", "none"]).unwrap();
        assert_eq!(owner(&data.join("roots")), SOMEBODY);
        assert_eq!((owner(&secret), is_strange_in(&data, &data.join("roots"))), (0, None));
    }
}
