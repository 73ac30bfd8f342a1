//! To a folder: `<StudyUID>/<SeriesUID>/<SOPInstanceUID>.dcm`, durable, and never over other content.
//!
//! A file is written as `.<ulid>.part` beside the studies, synced, renamed without replacing, and then its directory
//! and every directory that is new are synced. Our own envelope is not part of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrysalis_queue::{Blob, BlobError, CHUNK, Checked, Queue};
use sha2::{Digest, Sha256};

use super::carrier::{Attempted, Item, unreadable};
use super::outgoing::{Outgoing, PieceError, copy_error};
use super::prepare::{Preparer, Unprepared};
use super::verdict::End;
use crate::dicom::attributes::Attribute;
use crate::dicom::part10::FileHead;
use crate::dicom::walk::Walk;
use crate::dicom::{TransferSyntax, Uid};
use crate::platform;
use crate::transcode::{Accepts, TranscodeError};

/// How far a data set is searched for its series.
const SEARCHED: u64 = 4 << 20;

pub(super) struct FolderCarrier {
    root: PathBuf,
    /// The folder was there: when it is gone later, somebody moved it or a share came off, and it is not made again.
    was_there: bool,
    queue: Queue,
    preparer: Preparer,
}

/// Why a file is not in the folder.
#[derive(Debug, thiserror::Error)]
enum FolderError {
    #[error(transparent)]
    Spool(#[from] BlobError),
    #[error("nothing can be sent")]
    Unprepared(Unprepared),
    /// Found out while the copy was written.
    #[error(transparent)]
    Copy(TranscodeError),
    #[error("{path}: {error}")]
    Folder { path: PathBuf, error: io::Error },
}

/// A file in the folder: its place, what there is to say of it, and the bytes of its data set.
struct Placed {
    detail: String,
    bytes: u64,
}

impl FolderCarrier {
    pub(super) fn new(root: PathBuf, queue: Queue, preparer: Preparer) -> Self {
        Self { root, was_there: false, queue, preparer }
    }

    pub(super) async fn attempt(&mut self, item: &Item) -> Attempted {
        let (queue, root, item) = (self.queue.clone(), self.root.clone(), item.clone());
        let (was_there, preparer) = (self.was_there, self.preparer.clone());
        let stored = tokio::task::spawn_blocking(move || {
            if was_there && !root.is_dir() {
                let error = io::Error::new(io::ErrorKind::NotFound, "the folder is gone");
                return Err(FolderError::Folder { path: root, error });
            }
            let checked = Checked::new(queue.open_blob(&item.instance)?)?;
            let part = part_name(&queue.path(&item.instance));
            deliver(&root, &part, checked, &item, &preparer)
        });
        match stored.await {
            Ok(Ok(Placed { detail, bytes })) => {
                self.was_there = true;
                Attempted::sent(End::Stored(detail), bytes)
            }
            Ok(Err(FolderError::Spool(error))) => Attempted::before(unreadable(&error)),
            Ok(Err(FolderError::Unprepared(unprepared))) => Attempted::before(unprepared.end()),
            // It would have been the original by now.
            Ok(Err(error @ FolderError::Copy(_))) => Attempted::before(End::Unreadable(error.to_string())),
            // It may be this instance's path only: others are tried meanwhile.
            Ok(Err(error @ FolderError::Folder { .. })) => {
                Attempted::sent(End::Unreachable(error.to_string()), 0)
            }
            Err(error) => Attempted::before(End::Unreachable(error.to_string())),
        }
    }
}

/// Removes what an earlier process left half written.
///
/// # Errors
/// The folder cannot be read; a folder that is not there yet has no leftovers.
pub fn sweep_leftovers(root: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_part_name) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The name a file has while it is written: the spool file's, which no two instances share.
fn part_name(spool_file: &Path) -> String {
    let stem = spool_file.file_stem().unwrap_or_default().to_string_lossy();
    format!(".{stem}.part")
}

fn is_part_name(name: &str) -> bool {
    let stem = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".part"));
    stem.is_some_and(|stem| {
        stem.len() == 26 && stem.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    })
}

/// Puts an instance into the folder as it is wanted there, or as it is where that fails.
fn deliver(
    root: &Path,
    part: &str,
    checked: Checked,
    item: &Item,
    preparer: &Preparer,
) -> Result<Placed, FolderError> {
    let series = series_of(checked.blob(), &item.transfer_syntax)?;
    let everything = Accepts::Anything;
    let outgoing = preparer.prepare(item, checked.clone(), &everything).map_err(FolderError::Unprepared)?;
    preparer.count(item, &outgoing);
    match store(root, part, &series, &outgoing, item) {
        Err(FolderError::Copy(error)) => {
            let original =
                preparer.failed(item, checked, &everything, error).map_err(FolderError::Unprepared)?;
            preparer.count(item, &original);
            store(root, part, &series, &original, item)
        }
        stored => stored,
    }
}

/// Puts a data set into the folder, and says where, relative to it.
fn store(
    root: &Path,
    part: &str,
    series: &str,
    outgoing: &Outgoing,
    item: &Item,
) -> Result<Placed, FolderError> {
    let study = component(&item.instance.keys.group);
    let directory = root.join(study).join(component(series));
    let at = |error| FolderError::Folder { path: directory.clone(), error };
    make_directories(&directory).map_err(at)?;
    let part = root.join(part);
    let name = component(outgoing.sop_instance.as_str());
    let written = write_part(&part, outgoing, item)
        .and_then(|content| place(&part, &directory, &name, &content).map_err(at));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    let path = written?;
    platform::sync_directory(&directory).map_err(at)?;
    let place = path.strip_prefix(root).unwrap_or(&path).display();
    let detail = outgoing.note().map_or_else(|| place.to_string(), |note| format!("{place}, {note}"));
    Ok(Placed { detail, bytes: outgoing.len() })
}

/// The Series Instance UID, which the queue does not keep.
fn series_of(blob: &Blob, syntax: &TransferSyntax) -> Result<String, FolderError> {
    let mut walk = Walk::new(syntax.encoding());
    let mut chunk = vec![0; 64 << 10];
    let mut at = 0;
    while at < SEARCHED && !walk.attributes().contains(Attribute::SeriesInstanceUid) {
        let n = blob.read_at(&mut chunk, at).map_err(BlobError::Io)?;
        if n == 0 {
            break;
        }
        walk.feed(chunk.get(..n).unwrap_or_default());
        at += n as u64;
    }
    // One value may still be under way at a chunk's end.
    let n = blob.read_at(&mut chunk, at).map_err(BlobError::Io)?;
    walk.feed(chunk.get(..n).unwrap_or_default());
    Ok(walk.attributes().uid(Attribute::SeriesInstanceUid).map(|u| u.as_str().to_owned()).unwrap_or_default())
}

/// A path component is a UID, or a digest of what is there instead of one: nothing from the wire names a file.
pub(crate) fn component(uid: &str) -> String {
    let trimmed = Uid::new(uid);
    if trimmed.is_conformant() {
        return trimmed.as_str().to_owned();
    }
    let digest = hex(&Sha256::digest(uid.as_bytes()).into());
    format!("uid-{}", digest.get(..16).unwrap_or_default())
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a directory with its parents, and each new name durable.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directories(parent)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    platform::sync_directory(parent)
}

/// Writes a data set behind its head, and returns its SHA-256.
fn write_part(part: &Path, outgoing: &Outgoing, item: &Item) -> Result<[u8; 32], FolderError> {
    let at = |error| FolderError::Folder { path: part.to_owned(), error };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(part).map_err(at)?;
    file.write_all(&outgoing.head(item).map_err(BlobError::Io)?).map_err(at)?;
    let (mut pieces, mut piece) = (outgoing.pieces(), Vec::new());
    let mut hasher = Sha256::new();
    loop {
        pieces.next(&mut piece).map_err(|error| match error {
            PieceError::Spool(error) => FolderError::Spool(error),
            PieceError::Copy(io) => match copy_error(&io) {
                Some(error) => FolderError::Copy(error.clone()),
                None => FolderError::Copy(TranscodeError::Cache(Arc::new(io))),
            },
        })?;
        if piece.is_empty() {
            break;
        }
        // What was received was compared with its hash already.
        if outgoing.as_original().is_none() {
            hasher.update(&piece);
        }
        file.write_all(&piece).map_err(at)?;
    }
    file.sync_all().map_err(at)?;
    match outgoing.as_original() {
        Some(_) => Ok(*item.instance.sha256()),
        None => Ok(hasher.finalize().into()),
    }
}

/// Gives the file its name: the plain one, or where that holds other content, one with a piece of the hash in it.
fn place(part: &Path, directory: &Path, name: &str, digest: &[u8; 32]) -> io::Result<PathBuf> {
    let content = hex(digest);
    let short = content.get(..8).unwrap_or_default();
    for candidate in [format!("{name}.dcm"), format!("{name}~{short}.dcm"), format!("{name}~{content}.dcm")] {
        let path = directory.join(candidate);
        match platform::rename_without_replacing(part, &path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        if holds(&path, digest)? {
            fs::remove_file(part)?;
            File::open(&path)?.sync_all()?;
            return Ok(path);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "other content stands under every name"))
}

/// Whether a file's data set has this SHA-256.
fn holds(path: &Path, expected: &[u8; 32]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Ok(head) = FileHead::read(&mut file) else { return Ok(false) };
    file.seek(SeekFrom::Start(head.data_set_offset))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        hasher.update(chunk.get(..n).unwrap_or_default());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    Ok(digest == *expected)
}

#[cfg(test)]
mod tests {
    use super::{component, sweep_leftovers};

    #[test]
    fn a_component_is_a_uid_or_a_digest_and_never_what_came_from_the_wire() {
        assert_eq!(component("1.2.840.10008"), "1.2.840.10008");
        for odd in ["", "..", "../../etc", "1.2/3", "1.2.a", "1..2", &"1".repeat(65)] {
            let made = component(odd);
            assert!(made.starts_with("uid-") && made.len() == 20, "{odd:?} became {made}");
        }
        assert_eq!(component("1.2\0"), "1.2", "padding is no part of a UID");
        assert_ne!(component("a"), component("b"));
    }

    #[test]
    fn only_our_own_half_written_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let ours = ".01ARZ3NDEKTSV4RRFFQ69G5FAV.part";
        for name in [ours, "other.part", ".note"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        sweep_leftovers(folder.path()).unwrap();
        sweep_leftovers(&folder.path().join("not there")).unwrap();
        assert!(!folder.path().join(ours).exists());
        assert!(folder.path().join("other.part").exists() && folder.path().join(".note").exists());
    }
}
