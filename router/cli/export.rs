//! `chrysalis queue export`: instances as files, `<study>/<sop instance>.dcm`. A file is complete or not there, and no
//! other content is ever replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Exit;
use super::admin_client::PAGE;
use super::source::Source;
use super::table::Table;
use crate::admin::{Asked, Failure};
use crate::forward::component;
use crate::platform;

/// Failures that are told one by one.
const MAX_FAILURES: usize = 100;
/// Bytes compared at a time.
const CHUNK: usize = 256 << 10;

/// What is exported: instances by name, or by filter.
pub(super) struct What<'a> {
    pub(super) instances: Option<&'a [String]>,
    pub(super) filter: Option<&'a Asked>,
}

/// What became of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Exported {
    written: u64,
    /// The very same file was there already.
    there_already: u64,
    failed: Vec<Failure>,
    failed_total: u64,
    unread: u64,
}

/// Exports everything that is asked for; what fails does not keep the rest from being written.
pub(super) fn run(source: &Source<'_>, what: What<'_>, folder: &Path) -> anyhow::Result<Exported> {
    make_directories(folder).with_context(|| format!("{}", folder.display()))?;
    let mut exported = Exported::default();
    for instance in what.instances.into_iter().flatten() {
        let shown = source.show(instance)?;
        let text = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let has_data = !shown.get("file").is_none_or(Value::is_null);
        let one =
            One { instance, study: &text("study_instance_uid"), sop: &text("sop_instance_uid"), has_data };
        exported.take(instance, one.export(source, folder));
    }
    let Some(filter) = what.filter else { return Ok(exported) };
    let (mut after, mut last) = (None, String::new());
    loop {
        let page = source.page(filter, after.as_deref(), PAGE, false)?;
        exported.unread += page.unread;
        for delivery in page.deliveries {
            if delivery.instance == last {
                continue;
            }
            last.clone_from(&delivery.instance);
            let one = One {
                instance: &delivery.instance,
                study: &delivery.study_instance_uid,
                sop: &delivery.sop_instance_uid,
                has_data: delivery.has_data,
            };
            exported.take(&delivery.instance, one.export(source, folder));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(exported),
        }
    }
}

impl Exported {
    fn take(&mut self, instance: &str, done: anyhow::Result<Done>) {
        match done {
            Ok(Done::Written) => self.written += 1,
            Ok(Done::ThereAlready) => self.there_already += 1,
            Err(error) => {
                self.failed_total += 1;
                if self.failed.len() < MAX_FAILURES {
                    let error = super::once(&error);
                    self.failed.push(Failure { instance: instance.to_owned(), destination: None, error });
                }
            }
        }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.failed_total == 0 { Exit::Done } else { Exit::Failed }
    }

    pub(super) fn print(&self, folder: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { written, there_already, failed, failed_total, unread } = self;
        writeln!(
            out,
            "export: {written} written to {}, {there_already} there already, {failed_total} failed.",
            folder.display()
        )?;
        super::listing::print_unread(*unread, out)?;
        if !failed.is_empty() {
            let mut table = Table::new(&["INSTANCE", "ERROR"]);
            failed.iter().cloned().for_each(|failure| table.row([failure.instance, failure.error]));
            table.write(out)?;
        }
        Ok(())
    }
}

enum Done {
    Written,
    ThereAlready,
}

struct One<'a> {
    instance: &'a str,
    study: &'a str,
    sop: &'a str,
    has_data: bool,
}

impl One<'_> {
    fn export(&self, source: &Source<'_>, folder: &Path) -> anyhow::Result<Done> {
        anyhow::ensure!(self.has_data, "its data is no longer in the spool; only the ledger knows of it");
        let part = folder.join(format!(".{}.part", self.instance));
        let done = write_part(source, self.instance, &part).and_then(|hash| self.place(folder, &part, &hash));
        if !matches!(done, Ok(Done::Written)) {
            let _ = fs::remove_file(&part);
        }
        done
    }

    /// Gives the file its name: the plain one, or where that holds other content, one with a piece of the hash in it.
    fn place(&self, folder: &Path, part: &Path, hash: &str) -> anyhow::Result<Done> {
        let directory = folder.join(component(self.study));
        make_directories(&directory).with_context(|| format!("{}", directory.display()))?;
        let name = component(self.sop);
        for candidate in [format!("{name}.dcm"), format!("{name}~{}.dcm", hash.get(..8).unwrap_or(hash))] {
            let path = directory.join(candidate);
            match platform::rename_without_replacing(part, &path) {
                Ok(()) => {
                    platform::sync_directory(&directory)?;
                    return Ok(Done::Written);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
            }
            if is_same(part, &path)? {
                return Ok(Done::ThereAlready);
            }
        }
        anyhow::bail!("other content stands under its names in {}", directory.display())
    }
}

/// Writes and syncs a file under a name that nobody takes for finished, and returns its hash.
fn write_part(source: &Source<'_>, instance: &str, part: &Path) -> anyhow::Result<String> {
    let at = || format!("{}", part.display());
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(part).with_context(at)?;
    let mut hashed = Hashed { file, hasher: Sha256::new() };
    source.copy(instance, &mut hashed)?;
    hashed.file.sync_all().with_context(at)?;
    Ok(hashed.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Hashed {
    file: File,
    hasher: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        (&mut one).take(CHUNK as u64).read_to_end(&mut a)?;
        (&mut other).take(CHUNK as u64).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// Makes a directory with its parents, and each new name durable.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent: PathBuf =
        path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).into();
    make_directories(&parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    platform::sync_directory(&parent)
}
