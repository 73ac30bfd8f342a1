//! `chrysalis transcode IN OUT`: files as a destination would get them, by the code that makes what is sent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::Exit;
use super::files::{Looked, files_below};
use super::table::{printable, size};
use crate::config::{Config, ConfigError, Loaded};
use crate::dicom::part10::{self, FileHead, FileHeadError, HeadFields};
use crate::platform;
use crate::transcode::source::{FileRange, Source};
use crate::transcode::{
    Accepts, Compression, Engine, LossySource, LossyUid, Made, Monochrome, Plan, Quality, Settings, Target,
    called, plan,
};

/// What becomes of which files.
#[derive(Debug, Args)]
pub struct TranscodeArgs {
    /// A DICOM file, or a folder that is searched for them.
    #[arg(value_name = "IN")]
    pub from: PathBuf,
    /// The file to write, or a folder; of a folder it gets the same tree.
    #[arg(value_name = "OUT")]
    pub to: PathBuf,
    /// As this destination of the configuration wants it.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["image", "cine", "monochrome", "quality", "lossy_source", "lossy_uid"])]
    pub destination: Option<String>,
    /// What becomes of images of one frame.
    #[arg(long, value_name = "TARGET", default_value = "as-received")]
    pub image: TargetName,
    /// What becomes of loops.
    #[arg(long = "loop", value_name = "TARGET", default_value = "as-received")]
    pub cine: TargetName,
    /// Whether colour images without a colour become grey.
    #[arg(long, value_name = "MODE", default_value = "never")]
    pub monochrome: MonochromeName,
    /// The quality of jpeg-lossy.
    #[arg(long, value_name = "1-100", default_value_t = Quality::DEFAULT.get(), value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,
    /// Whether what is compressed with loss may be compressed again.
    #[arg(long, value_name = "POLICY", default_value = "keep")]
    pub lossy_source: LossySourceName,
    /// The SOP Instance UID of what is compressed with loss here.
    #[arg(long, value_name = "POLICY", default_value = "new")]
    pub lossy_uid: LossyUidName,
    /// Write over files that are there.
    #[arg(long)]
    pub force: bool,
}

/// As a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the configuration's own names")]
pub enum TargetName {
    AsReceived,
    Uncompressed,
    JpegLossless,
    JpegLossy,
}

/// As a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the configuration's own names")]
pub enum MonochromeName {
    Never,
    BModeOnly,
}

/// As a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the configuration's own names")]
pub enum LossySourceName {
    Keep,
    Force,
}

/// As a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the configuration's own names")]
pub enum LossyUidName {
    New,
    Keep,
}

/// How it went.
#[derive(Default)]
struct Tally {
    written: usize,
    failed: usize,
    skipped: usize,
}

impl TranscodeArgs {
    /// Writes every file, and says of each what was done and why. The configuration is only loaded when it is needed.
    ///
    /// # Errors
    /// There is nothing to read or no place to write, no such destination, or the configuration cannot be loaded.
    pub fn run(
        &self,
        load: impl FnOnce() -> Result<Loaded, ConfigError>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        let (wish, settings) = self.wish(load)?;
        let engine = Engine::new(settings).context("cannot begin")?;
        let pairs = self.pairs()?;
        let total = pairs.iter().filter_map(|(from, _)| fs::metadata(from).ok()).map(|file| file.len()).sum();
        let bar = ProgressBar::new(total).with_style(style());
        let mut tally = Tally::default();
        for (from, to) in &pairs {
            let length = fs::metadata(from).map(|file| file.len()).unwrap_or_default();
            let begun = bar.position();
            let done = self.one(from, to, &wish, &engine, &bar);
            bar.set_position(begun + length);
            let line = match done {
                Ok(said) => {
                    tally.written += 1;
                    said
                }
                Err(error) if *from != self.from && is_not_dicom(&error) => {
                    tally.skipped += 1;
                    continue;
                }
                Err(error) => {
                    tally.failed += 1;
                    super::once(&error)
                }
            };
            bar.suspend(|| {
                writeln!(out, "{}: {}", printable(&from.display().to_string()), printable(&line))
            })?;
        }
        bar.finish_and_clear();
        if pairs.len() > 1 || tally.written == 0 {
            writeln!(out, "{} written, {} failed, {} skipped.", tally.written, tally.failed, tally.skipped)?;
        }
        Ok(if tally.failed == 0 && tally.written > 0 { Exit::Done } else { Exit::Failed })
    }

    fn wish(
        &self,
        load: impl FnOnce() -> Result<Loaded, ConfigError>,
    ) -> anyhow::Result<(Compression, Settings)> {
        if let Some(name) = &self.destination {
            let config = load()?.config;
            let Some(destination) = config.destination(name) else {
                let names: Vec<_> = config.destinations.iter().map(|d| d.name.as_str()).collect();
                bail!("{name}: no destination has that name; there is: {}", names.join(", "));
            };
            return Ok((destination.compression, self::settings(&config)));
        }
        let quality = Quality::new(self.quality).unwrap_or(Quality::DEFAULT);
        let target = |name| match name {
            TargetName::AsReceived => Target::AsReceived,
            TargetName::Uncompressed => Target::Uncompressed,
            TargetName::JpegLossless => Target::JpegLossless,
            TargetName::JpegLossy => Target::JpegLossy(quality),
        };
        let wish = Compression {
            image: target(self.image),
            cine: target(self.cine),
            monochrome: match self.monochrome {
                MonochromeName::Never => Monochrome::Never,
                MonochromeName::BModeOnly => Monochrome::BModeOnly,
            },
            lossy_source: match self.lossy_source {
                LossySourceName::Keep => LossySource::Keep,
                LossySourceName::Force => LossySource::Force,
            },
            lossy_uid: match self.lossy_uid {
                LossyUidName::New => LossyUid::New,
                LossyUidName::Keep => LossyUid::Keep,
            },
        };
        Ok((wish, Settings::default()))
    }

    /// What is read, and where it goes.
    fn pairs(&self) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
        let is_folder = fs::metadata(&self.from).with_context(|| self.from.display().to_string())?.is_dir();
        if !is_folder {
            let name = self.from.file_name().context("IN has no name")?;
            let to = if self.to.is_dir() { self.to.join(name) } else { self.to.clone() };
            return Ok(vec![(self.from.clone(), to)]);
        }
        if self.to.exists() && !self.to.is_dir() {
            bail!("{} is a file, and IN is a folder", self.to.display());
        }
        let files = files_below(&self.from)?;
        // What is written into a folder below IN is not read again.
        let inside = |path: &PathBuf| path.starts_with(&self.to) && self.to != self.from;
        let files = files.into_iter().filter(|path| !inside(path));
        let pairs = files.map(|from| {
            let to = self.to.join(from.strip_prefix(&self.from).unwrap_or(&from));
            (from, to)
        });
        Ok(pairs.collect())
    }

    fn one(
        &self,
        from: &Path,
        to: &Path,
        wish: &Compression,
        engine: &Engine,
        bar: &ProgressBar,
    ) -> anyhow::Result<String> {
        let Looked { head, source, subject, .. } = Looked::at(from)?;
        if !self.force && to.exists() {
            bail!("{} is there already; --force writes over it", to.display());
        }
        let recipe = match plan(&subject, wish, &Accepts::Anything) {
            Plan::Hold { why } => bail!("{why}"),
            Plan::PassThrough { why } => {
                self.write(to, |file| copy(from, file))?;
                return Ok(format!("as it was: {why}"));
            }
            Plan::Transcode(recipe) => recipe,
        };
        let digest = digest(&source)?;
        let before = bar.position();
        let watched = Watched { source, bar: bar.clone(), before, furthest: AtomicU64::new(0) };
        let made = engine.make(Arc::new(watched), digest, &subject, &recipe, (0, 0))?;
        if made.is_original() {
            self.write(to, |file| copy(from, file))?;
            return Ok(format!("as it was: {}{}", recipe.why, found(&made)));
        }
        self.write(to, |file| write_copy(file, &head, &made))?;
        let own_uid = made.sop_instance != head.sop_instance;
        let uid = if own_uid { format!(", SOP Instance UID {}", made.sop_instance) } else { String::new() };
        let (was, is) = (size(head.data_set_length), size(made.length));
        Ok(format!("{}{uid}, {was} become {is}: {}{}", called(&made.syntax), recipe.why, found(&made)))
    }

    /// Writes a file under a name that nobody takes for finished, and gives it its own when it is whole.
    fn write(&self, to: &Path, fill: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let name = to.file_name().context("OUT has no name")?.to_string_lossy();
        let part = folder.join(format!(".{name}.{}.part", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)
            .map_err(anyhow::Error::from)
            .and_then(|mut file| fill(&mut file).and_then(|()| Ok(file.sync_all()?)))
            .and_then(|()| match self.force {
                true => {
                    #[expect(clippy::disallowed_methods, reason = "--force is there to replace")]
                    let renamed = fs::rename(&part, to);
                    Ok(renamed?)
                }
                false => Ok(platform::rename_without_replacing(&part, to)?),
            });
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written.with_context(|| to.display().to_string())
    }
}

fn settings(config: &Config) -> Settings {
    // Each file is made once: there is nothing to share, and a running node has the cache.
    Settings { cache_budget: 0, ..crate::app::engine_settings(config, None) }
}

fn copy(from: &Path, to: &mut File) -> anyhow::Result<()> {
    io::copy(&mut File::open(from)?, to)?;
    Ok(())
}

fn write_copy(file: &mut File, head: &FileHead, made: &Made) -> anyhow::Result<()> {
    let (calling, called) = (head.calling.clone(), head.called.clone());
    file.write_all(&part10::head(&HeadFields {
        sop_class: &head.sop_class,
        sop_instance: &made.sop_instance,
        transfer_syntax: &made.syntax,
        calling: &calling.unwrap_or_default(),
        called: &called.unwrap_or_default(),
    }))?;
    let (mut reader, mut piece) = (made.reader(), Vec::new());
    loop {
        reader.next(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        file.write_all(&piece)?;
    }
}

/// What the wish for grey came to.
fn found(made: &Made) -> String {
    match &made.first_colour {
        Some(at) => format!("; pixel {} of frame {} has a colour", at.pixel + 1, at.frame + 1),
        None if made.grey => "; no pixel has one".to_owned(),
        None => String::new(),
    }
}

fn digest(source: &FileRange) -> io::Result<[u8; 32]> {
    let (mut hasher, mut offset, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        let count = source.read_at(&mut buffer, offset)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        offset += count as u64;
    }
}

fn is_not_dicom(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(FileHeadError::NotDicom | FileHeadError::Directory))
}

/// Moves the bar as far as was read.
struct Watched {
    source: Arc<FileRange>,
    bar: ProgressBar,
    before: u64,
    furthest: AtomicU64,
}

impl Source for Watched {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.source.read_at(buffer, offset)?;
        let end = offset + count as u64;
        let furthest = self.furthest.fetch_max(end, Ordering::Relaxed).max(end);
        self.bar.set_position(self.before + furthest);
        Ok(count)
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
