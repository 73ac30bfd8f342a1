//! Whether a directory that the configuration names can be used. The one part that looks at the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrysalis_sizing::Host;
use rustix::fs::{Access, access};

use crate::platform;

/// How directories are looked at while a configuration is read.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// Whether a directory can be used.
    pub(super) usable: fn(&Path) -> Result<(), PlaceError>,
    /// Whether two directories are, or would be, on one file system.
    pub(super) share_a_disk: fn(&Path, &Path) -> bool,
    /// What of the machine this process may use, with the file system that a directory is or would be on.
    pub(super) host: fn(&Path) -> Host,
}

/// Looks at the machine.
pub(super) const SEEN: Look = Look { usable, share_a_disk, host: platform::host };

/// Looks at the machine, whatever this user may do in its directories.
pub(super) const ASKING: Look = Look { host: platform::host, ..UNSEEN };

/// Looks at nothing but the text, which any host will do for.
pub(super) const UNSEEN: Look = Look { usable: unseen, share_a_disk: |_, _| false, host: |_| ANY };

const ANY: Host = Host { cores: f64::INFINITY, memory: u64::MAX, disk: u64::MAX };

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("is the root directory")]
    Root,
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{} leads nowhere", .0.display())]
    Dangling(PathBuf),
    #[error("{} cannot be written: {}", .0.display(), .1)]
    Unwritable(PathBuf, io::Error),
    #[error("{} cannot be used: {}", .0.display(), .1)]
    Unusable(PathBuf, io::Error),
}

/// Takes every path but the root directory, for text that is read apart from any machine.
pub(super) fn unseen(path: &Path) -> Result<(), PlaceError> {
    let root =
        path.has_root() && path.components().all(|part| !matches!(part, std::path::Component::Normal(_)));
    if root { Err(PlaceError::Root) } else { Ok(()) }
}

/// Whether `path` is a writable directory, or can become one: then its nearest existing parent is.
pub(super) fn usable(path: &Path) -> Result<(), PlaceError> {
    unseen(path)?;
    let mut place = path;
    loop {
        match look(place)? {
            Found::Directory => break,
            Found::Nothing => {
                // A relative path ends in the working directory.
                place =
                    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            }
        }
    }
    if place == path && fs::canonicalize(place).is_ok_and(|real| real.parent().is_none()) {
        return Err(PlaceError::Root);
    }
    access(place, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|e| PlaceError::Unwritable(place.to_owned(), e.into()))
}

fn share_a_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| {
        let there = path.ancestors().chain([Path::new(".")]).find_map(|place| fs::metadata(place).ok());
        there.map(|metadata| metadata.dev())
    };
    device(one).is_some() && device(one) == device(other)
}

enum Found {
    Directory,
    Nothing,
}

fn look(place: &Path) -> Result<Found, PlaceError> {
    match fs::metadata(place) {
        Ok(metadata) if metadata.is_dir() => Ok(Found::Directory),
        Ok(_) => Err(PlaceError::NotADirectory(place.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(place) {
            Ok(_) => Err(PlaceError::Dangling(place.to_owned())),
            Err(_) if place == Path::new(".") => Err(PlaceError::Unusable(place.to_owned(), error)),
            Err(_) => Ok(Found::Nothing),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let file = place.ancestors().find(|parent| parent.is_file()).unwrap_or(place);
            Err(PlaceError::NotADirectory(file.to_owned()))
        }
        Err(error) => Err(PlaceError::Unusable(place.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{PlaceError, unseen, usable};
    use std::path::Path;

    #[test]
    fn the_root_directory_is_refused_under_any_spelling() {
        for path in ["/", "//", "/.", "/.."] {
            assert!(matches!(unseen(Path::new(path)), Err(PlaceError::Root)), "{path}");
        }
        assert!(unseen(Path::new("./data")).is_ok());
    }

    #[test]
    fn a_directory_that_can_be_made_is_usable() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(usable(&dir.path().join("not/yet/there")).is_ok());
        assert!(usable(Path::new("relative-and-not-there")).is_ok());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("a file");
        for path in [file.clone(), file.join("below"), file.join("far/below")] {
            assert!(
                matches!(usable(&path), Err(PlaceError::NotADirectory(at)) if at == file),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn links_that_loop_or_lead_nowhere_or_to_the_root_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = |name: &str, target: &Path| {
            let link = dir.path().join(name);
            std::os::unix::fs::symlink(target, &link).expect("a link");
            link
        };
        let looping = link("loop", Path::new("loop"));
        assert!(matches!(usable(&looping), Err(PlaceError::Unusable(..))));
        assert!(matches!(usable(&looping.join("below")), Err(PlaceError::Unusable(..))));
        assert!(matches!(usable(&link("nowhere", Path::new("not-there"))), Err(PlaceError::Dangling(_))));
        assert!(matches!(usable(&link("root", Path::new("/"))), Err(PlaceError::Root)));
    }
}
