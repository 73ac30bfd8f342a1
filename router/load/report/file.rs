//! The report as a file of JSON, which is whole or not there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Report;
use crate::platform;

/// What the file says of itself, so that nobody takes other JSON for a report.
const KIND: &str = "chrysalis load report";
/// A hundred thousand samples take some 50 MB.
const MOST_BYTES: u64 = 512 << 20;

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk or the name given is at fault.
    #[error("cannot write the report {}", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// The program is at fault: the report holds what JSON has no form for, such as a rate that is not a number.
    #[error("the report holds what could not be read again")]
    NotReadable(#[source] serde_json::Error),
}

/// A report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk or the name given is at fault.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// The file is larger than any report.
    #[error("{} is no report of a load test: it has more than {} MiB", path.display(), MOST_BYTES >> 20)]
    TooLarge {
        /// What was to be read.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is no report of a load test as `chrysalis load` writes it", path.display())]
    OtherKind {
        /// What was to be read.
        path: PathBuf,
    },
    /// The file is a report that another version of the program wrote.
    #[error("{} is a report of version {found}, this program reads version {}", path.display(), Report::VERSION)]
    OtherVersion {
        /// What was to be read.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// The file is a report of this version, and damaged.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// What was to be read.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
}

/// What is read first, and decides whether the rest is.
#[derive(Deserialize)]
struct Head {
    kind: String,
    version: u32,
}

#[derive(Serialize)]
struct Written<'a> {
    kind: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Writes the report as JSON under a name that may exist. It is written beside it and synced first, so that after any end
    /// there is the old file or the new one.
    ///
    /// # Errors
    /// [`WriteError`]; an older file of the name is then as it was.
    pub fn write_json(&self, path: &Path) -> Result<(), WriteError> {
        let written = Written { kind: KIND, report: self };
        let text = serde_json::to_vec_pretty(&written).map_err(WriteError::NotReadable)?;
        // What is not a number becomes `null` on the way out, and only the way in complains.
        serde_json::from_slice::<Self>(&text).map_err(WriteError::NotReadable)?;
        put(path, &text).map_err(|source| WriteError::Io { path: path.to_owned(), source })
    }

    /// Reads what [`write_json`](Self::write_json) wrote.
    ///
    /// # Errors
    /// [`ReadError`], for a file of another kind or version too.
    pub fn read_json(path: &Path) -> Result<Self, ReadError> {
        let text = get(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        if text.len() as u64 > MOST_BYTES {
            return Err(ReadError::TooLarge { path: path.to_owned() });
        }
        let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
        match serde_json::from_slice::<Head>(&text) {
            Ok(head) if head.kind == KIND && head.version == Self::VERSION => {
                serde_json::from_slice(&text).map_err(damaged)
            }
            Ok(head) if head.kind == KIND => {
                Err(ReadError::OtherVersion { path: path.to_owned(), found: head.version })
            }
            Err(source) if begins_as_report(&text) => Err(damaged(source)),
            Ok(_) | Err(_) => Err(ReadError::OtherKind { path: path.to_owned() }),
        }
    }
}

/// Whether what is no JSON, or lacks its version, was a report once: the kind stands first.
fn begins_as_report(text: &[u8]) -> bool {
    let start = text.get(..text.len().min(100)).unwrap_or_default();
    String::from_utf8_lossy(start).contains(KIND)
}

/// The file's bytes, and one more than the most there may be if it has more.
fn get(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write_synced(&part, text).and_then(|()| platform::replace(&part, path));
    if written.is_err() {
        // The first error is the one to be told; what is left lying about has a name that says what it is.
        let _ = fs::remove_file(&part);
        return written;
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => platform::sync_directory(folder),
        _ => platform::sync_directory(Path::new(".")),
    }
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        for report in [sample::outage(), sample::find_max(), sample::external()] {
            report.write_json(&path).expect("written over what was there");
            assert_eq!(Report::read_json(&path).expect("read"), report);
        }
        let names = fs::read_dir(folder.path()).expect("a listing").count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn a_report_with_what_is_no_number_leaves_the_older_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        let good = sample::external();
        good.write_json(&path).expect("written");
        let mut bad = good.clone();
        bad.plan.studies_per_hour = f64::NAN;
        assert!(matches!(bad.write_json(&path), Err(WriteError::NotReadable(_))));
        assert_eq!(Report::read_json(&path).expect("read"), good);
    }

    #[test]
    fn a_file_of_another_version_or_kind_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        let said = |text: &str| {
            fs::write(&path, text).expect("written");
            Report::read_json(&path).expect_err("it is no report").to_string()
        };
        let version = said(r#"{"kind": "chrysalis load report", "version": 7, "verdict": []}"#);
        assert!(version.ends_with("is a report of version 7, this program reads version 1"), "{version}");
        let others =
            ["", "<html>", r#"{"version": 1}"#, "[1, 2]", "3", r#"{"kind": "a letter", "version": 1}"#];
        for other in others {
            assert!(said(other).contains("is no report of a load test"), "{other}");
        }
        let start = r#"{"kind": "chrysalis load report", "version""#;
        for damaged in [start.to_owned(), format!("{start}: 1}}"), format!("{start}: -1}}")] {
            assert!(said(&damaged).ends_with("is damaged"), "{damaged}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_written_or_read_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("not/there.json");
        let written = sample::external().write_json(&path).expect_err("there is no folder");
        assert!(written.to_string().contains("there.json"), "{written}");
        let read = Report::read_json(&path).expect_err("there is no file");
        assert!(matches!(read, ReadError::Io { .. }));
    }
}
