//! DICOM files as the command line is given them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::dicom::part10::FileHead;
use crate::dicom::scan::Structure;
use crate::dicom::stored::walk_whole;
use crate::dicom::{Encoding, TransferSyntax};
use crate::transcode::source::{FileRange, Source};
use crate::transcode::{Soundness, Subject};

/// A file that was looked at.
pub(super) struct Looked {
    pub(super) head: FileHead,
    pub(super) source: Arc<FileRange>,
    pub(super) structure: Structure,
    pub(super) subject: Subject,
}

impl Looked {
    /// Walks over a whole file as a receiver would, and finds out what it is.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        let mut file = File::open(path)?;
        let head = FileHead::read(&mut file)?;
        let source = Arc::new(FileRange::new(file, head.data_set_offset, head.data_set_length));
        let read_at = |buffer: &mut [u8], offset| source.read_at(buffer, offset);
        let structure = walk_whole(read_at, &head.transfer_syntax, &[])?.structure;
        let subject =
            Subject::read(&*source, &head.transfer_syntax, soundness(structure, &head.transfer_syntax))?;
        Ok(Self { head, source, structure, subject })
    }
}

/// As a receiver would have written it down.
fn soundness(structure: Structure, syntax: &TransferSyntax) -> Soundness {
    match structure {
        Structure::Sound => Soundness::Sound,
        Structure::NotWalked if syntax.encoding() == Encoding::DeflatedLe => Soundness::Sound,
        Structure::Odd { .. } | Structure::Truncated { .. } | Structure::NotWalked => Soundness::Odd,
    }
}

/// The path itself, or every regular file below it in order of name. Symbolic links below it are not followed.
pub(super) fn files_below(named: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !std::fs::metadata(named).with_context(|| named.display().to_string())?.is_dir() {
        return Ok(vec![named.to_owned()]);
    }
    let (mut folders, mut files) = (vec![named.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let listing = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in listing.collect::<io::Result<Vec<_>>>()? {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
