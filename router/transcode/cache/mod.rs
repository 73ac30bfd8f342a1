#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Copies that were made, for whoever wants the same: a folder that is emptied at start and never synced.
//!
//! * `shelf` is which copies there are: the second caller of a key waits for the first and gets the same.
//! * `file` is one copy's bytes, compared with their CRC32C when they are read.
//! * `room` is the budget, taken at start.
//!
//! When the budget is used up, copies that nobody reads go, those first that have not been asked for the longest.

mod file;
mod room;
mod shelf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

pub(crate) use file::{Draft, Kept};
use shelf::Shelf;
pub(crate) use shelf::{Claim, Key, Weight};

pub use file::PIECE;
pub use room::Claimed;
use room::Room;

/// The copies, and where they lie.
#[derive(Debug)]
pub(crate) struct Cache<T: Weight> {
    folder: Option<Arc<Folder>>,
    shelf: Arc<Shelf<T>>,
}

impl<T: Weight> Cache<T> {
    /// A cache in a folder that is its own, or of nothing but what was decided about each copy.
    ///
    /// # Errors
    /// The folder cannot be made or emptied.
    pub(crate) fn open(path: Option<PathBuf>, budget: u64, claimed: Claimed) -> io::Result<Self> {
        let shelf = Arc::new(Shelf::default());
        let folder = path.map(|path| {
            let copies: Weak<Shelf<T>> = Arc::downgrade(&shelf);
            Folder::open(path, budget, claimed, copies).map(Arc::new)
        });
        Ok(Self { folder: folder.transpose()?, shelf })
    }

    /// The copy of this key, or the duty to make it. Waits while somebody else makes it.
    pub(crate) fn claim(&self, key: &Key) -> Claim<T> {
        Shelf::claim(&self.shelf, key)
    }

    /// Forgets a copy, when it is this one: it is made again for whoever asks next.
    pub(crate) fn forget(&self, key: &Key, copy: &Arc<T>) {
        self.shelf.forget(key, copy);
    }

    /// A new file; nothing when there is no folder.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn draft(&self) -> io::Result<Option<Draft>> {
        self.folder.as_ref().map(|folder| Draft::new(folder.next_name(), folder.clone())).transpose()
    }

    /// Bytes in the folder, and the most there may be.
    pub(crate) fn usage(&self) -> (u64, u64) {
        self.folder.as_ref().map_or((0, 0), |folder| (folder.room.used(), folder.room.budget()))
    }
}

/// The folder, its budget, and whoever can make room in it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    room: Room,
    next: AtomicU64,
    /// Not its owner: copies own their place in the folder.
    copies: Weak<dyn Evict>,
}

/// Lets go of what nobody uses.
trait Evict: Send + Sync + std::fmt::Debug {
    /// Lets one copy go. True when there was one.
    fn evict_one(&self) -> bool;
}

impl Folder {
    fn open(path: PathBuf, budget: u64, claimed: Claimed, copies: Weak<dyn Evict>) -> io::Result<Self> {
        empty(&path)?;
        let placeholder = room::placeholder(&path).map_err(|error| {
            tracing::warn!(%error, "Cannot hold the transcode cache's budget on the disk, others may use its room.");
        });
        let room = Room::new(budget, placeholder.ok(), claimed);
        Ok(Self { path, room, next: AtomicU64::new(0), copies })
    }

    fn next_name(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{number:016}{EXTENSION}"))
    }

    /// Takes room, from copies that nobody uses if need be.
    fn take(&self, bytes: u64) -> io::Result<()> {
        loop {
            match self.room.take(bytes) {
                Ok(()) => return Ok(()),
                // Nothing has to go for what can never be there.
                Err(no_room) if bytes > self.room.budget() => return Err(no_room.into()),
                Err(no_room) => {
                    if !self.copies.upgrade().is_some_and(|copies| copies.evict_one()) {
                        return Err(no_room.into());
                    }
                }
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        self.room.give_back(bytes);
    }
}

const EXTENSION: &str = ".copy";

/// Makes the folder, or takes away what an earlier run has left in it: names of the cache's own only, because the path was
/// typed by somebody.
fn empty(path: &Path) -> io::Result<()> {
    crate::platform::private_folder(path)?;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(EXTENSION) || name == room::PLACEHOLDER {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::TranscodeError;
    use std::io::Write as _;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    #[derive(Debug)]
    struct File(Kept);

    impl Weight for File {
        fn bytes(&self) -> u64 {
            self.0.len()
        }
    }

    fn key(n: u64) -> Key {
        Key { instance: (1, n), digest: [0; 32], recipe: "native".into() }
    }

    fn cache(budget: u64) -> (tempfile::TempDir, Cache<File>) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path().to_owned()), budget, Claimed::AtStart).unwrap();
        (folder, cache)
    }

    fn write(cache: &Cache<File>, bytes: &[u8]) -> io::Result<File> {
        let mut draft = cache.draft()?.expect("there is a folder");
        draft.write_all(bytes)?;
        draft.finish().map(File)
    }

    /// Makes it if need be, with `length` bytes.
    fn get(cache: &Cache<File>, n: u64, length: usize) -> Arc<File> {
        match cache.claim(&key(n)) {
            Claim::There(file) => file,
            Claim::Failed(error) => panic!("{error}"),
            Claim::Mine(ticket) => {
                let file = Arc::new(write(cache, &vec![n as u8; length]).unwrap());
                ticket.finish(file.clone());
                file
            }
        }
    }

    fn is_there(cache: &Cache<File>, n: u64) -> bool {
        matches!(cache.claim(&key(n)), Claim::There(_))
    }

    fn copies(folder: &Path) -> usize {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(EXTENSION)).count()
    }

    #[test]
    fn what_was_written_is_read_piece_by_piece() {
        let (_folder, cache) = cache(4 << 20);
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3) as u8).collect();
            let File(kept) = write(&cache, &bytes).unwrap();
            let (mut all, mut piece) = (Vec::new(), Vec::new());
            loop {
                kept.read_piece(all.len() as u64, &mut piece).unwrap();
                if piece.is_empty() {
                    break;
                }
                all.extend_from_slice(&piece);
            }
            assert!(all == bytes && kept.len() == length as u64, "{length}");
        }
    }

    #[test]
    fn the_second_who_asks_waits_for_the_first_and_gets_the_same() {
        let (_folder, cache) = cache(1 << 20);
        let (made, together) = (AtomicU32::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            let ask = || {
                together.wait();
                match cache.claim(&key(7)) {
                    Claim::Mine(ticket) => {
                        made.fetch_add(1, Ordering::SeqCst);
                        let file = Arc::new(write(&cache, b"once").unwrap());
                        ticket.finish(file.clone());
                        file
                    }
                    Claim::There(file) => file,
                    Claim::Failed(error) => panic!("{error}"),
                }
            };
            let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(all.windows(2).all(|two| Arc::ptr_eq(&two[0], &two[1])));
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failure_is_told_to_those_who_wait_and_the_next_may_try_again() {
        let (_folder, cache) = cache(1 << 20);
        let Claim::Mine(ticket) = cache.claim(&key(1)) else { panic!("nobody has it") };
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| match cache.claim(&key(1)) {
                Claim::Failed(error) => error.to_string(),
                // It came too late to wait.
                Claim::Mine(ticket) => {
                    ticket.fail(TranscodeError::Pixels("broken".into()));
                    "broken".to_owned()
                }
                Claim::There(_) => "there".to_owned(),
            });
            ticket.fail(TranscodeError::Pixels("broken".into()));
            assert_eq!(waits.join().unwrap(), "broken");
        });
        assert!(matches!(cache.claim(&key(1)), Claim::Mine(_)));
        assert!(matches!(cache.claim(&key(1)), Claim::Mine(_)), "a dropped ticket does not block either");
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first_and_what_is_read_stays() {
        let (folder, cache) = cache(100);
        let first = get(&cache, 1, 40);
        drop(get(&cache, 2, 40));
        assert_eq!((copies(folder.path()), cache.usage()), (2, (80, 100)));
        drop(get(&cache, 3, 40));
        assert!(is_there(&cache, 1) && !is_there(&cache, 2) && is_there(&cache, 3));
        drop(first);
        drop(get(&cache, 3, 40));
        drop(get(&cache, 4, 60));
        assert!(!is_there(&cache, 1) && is_there(&cache, 3) && is_there(&cache, 4));
        assert_eq!((copies(folder.path()), cache.usage()), (2, (100, 100)));
    }

    #[test]
    fn what_is_evicted_can_be_read_by_those_who_have_it() {
        let (folder, cache) = cache(100);
        let one = get(&cache, 1, 60);
        cache.forget(&key(1), &one);
        assert!(!is_there(&cache, 1));
        let mut piece = Vec::new();
        one.0.read_piece(0, &mut piece).unwrap();
        assert_eq!(piece, [1; 60]);
        drop(one);
        assert_eq!((copies(folder.path()), cache.usage().0), (0, 0));
    }

    #[test]
    fn a_file_larger_than_what_is_left_is_refused_and_leaves_nothing() {
        let (folder, cache) = cache(PIECE as u64 + 10);
        let in_use = get(&cache, 1, 20);
        let error = write(&cache, &vec![0; PIECE]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!((copies(folder.path()), cache.usage().0), (1, 20));
        drop(in_use);
        assert!(write(&cache, &vec![0; PIECE + 10]).is_ok());
        assert!(write(&cache, &vec![0; PIECE + 11]).is_err());
    }

    #[test]
    fn a_byte_that_changed_on_the_disk_is_noticed() {
        let (folder, cache) = cache(1 << 20);
        let file = get(&cache, 5, PIECE + 100);
        let path = folder.path().join(format!("{:016}{EXTENSION}", 0));
        let on_disk = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&on_disk, b"x", PIECE as u64 + 50).unwrap();
        let mut piece = Vec::new();
        file.0.read_piece(0, &mut piece).unwrap();
        let error = file.0.read_piece(PIECE as u64, &mut piece).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(piece.is_empty());
    }

    #[test]
    fn the_folder_is_emptied_at_start_of_what_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("0000000000000003.copy"), "old").unwrap();
        std::fs::write(folder.path().join("unused-budget"), "old").unwrap();
        std::fs::write(folder.path().join("letter.txt"), "somebody's").unwrap();
        let cache: Cache<File> = Cache::open(Some(folder.path().to_owned()), 1000, Claimed::AtStart).unwrap();
        assert_eq!(copies(folder.path()), 0);
        assert!(folder.path().join("letter.txt").exists());
        drop(get(&cache, 1, 10));
        assert_eq!(copies(folder.path()), 1);
        drop(cache);
        assert_eq!(copies(folder.path()), 0, "copies go with the cache");
    }
}
