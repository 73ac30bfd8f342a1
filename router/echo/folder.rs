//! The steps of a folder: it is there, a file can be written, synced and removed, and there is room.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::advice;
use super::report::{Finding, Found, Report, Step, StepName, TargetName};
use crate::platform;

/// What the probe file holds.
const CONTENT: &[u8] = b"A file of Chrysalis, which tries whether it can write here. It may be removed.\n";

pub(super) async fn probe(path: PathBuf, limit: Duration) -> Report {
    let target = TargetName::Folder { path: advice::shown(&path.display().to_string(), 4096) };
    let mut report = Report::new(target, None);
    let began = Instant::now();
    let steps = tokio::task::spawn_blocking(move || steps(&path));
    match tokio::time::timeout(limit, steps).await {
        Ok(Ok((steps, questions))) => {
            report.steps = steps;
            report.questions = questions;
        }
        Ok(Err(error)) => {
            report.steps.push(failed(StepName::Place, began, &error.to_string(), io::ErrorKind::Other))
        }
        Err(_) => {
            let what = format!("no answer within {limit:?}");
            report.steps.push(failed(StepName::Place, began, &what, io::ErrorKind::TimedOut));
        }
    }
    report.total_ms = milliseconds(began);
    report
}

fn steps(path: &Path) -> (Vec<Step>, Vec<String>) {
    let mut steps = Vec::new();
    let mut questions = Vec::new();
    let mut take = |name: StepName, action: &mut dyn FnMut() -> io::Result<Found>| -> Option<Found> {
        let began = Instant::now();
        match action() {
            Ok(found) => {
                let finding = Finding::Ok { found: found.clone() };
                steps.push(Step { step: name, milliseconds: milliseconds(began), finding });
                Some(found)
            }
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                steps.push(failed(name, began, &what, error.kind()));
                None
            }
        }
    };
    if let Some(Found::Place { is_there }) = take(StepName::Place, &mut || place(path)) {
        // What is not there yet is made where its nearest parent is.
        let directory = if is_there { path } else { nearest(path) };
        if !is_there {
            questions.push("the folder is not there yet; the first delivery makes it. If it is on a share, is that mounted?".to_owned());
        }
        if take(StepName::Writing, &mut || write(directory).map(|()| Found::Done)).is_some() {
            take(StepName::Space, &mut || free(directory).map(Found::Free));
        }
    }
    (steps, questions)
}

fn place(path: &Path) -> io::Result<Found> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Found::Place { is_there: true }),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "is not a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && nearest(path).is_dir() => {
            Ok(Found::Place { is_there: false })
        }
        Err(error) => Err(error),
    }
}

/// The nearest parent that is there.
fn nearest(path: &Path) -> &Path {
    let parents = path.ancestors().skip(1);
    let mut there = parents.filter(|parent| !parent.as_os_str().is_empty() && parent.exists());
    there.next().unwrap_or(Path::new("."))
}

/// Writes a file, makes it durable, and removes it. Its name is one that a start of the node sweeps.
fn write(directory: &Path) -> io::Result<()> {
    let path = directory.join(format!(".PROBE{:021}.part", std::process::id()));
    let outcome =
        OpenOptions::new().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
            file.write_all(CONTENT)?;
            file.sync_all()
        });
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    outcome.and(removed).and_then(|()| platform::sync_directory(directory))
}

fn free(directory: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(directory)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn failed(step: StepName, began: Instant, what: &str, kind: io::ErrorKind) -> Step {
    let finding = Finding::Failed(advice::unusable(what, kind));
    Step { step, milliseconds: milliseconds(began), finding }
}

fn milliseconds(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
