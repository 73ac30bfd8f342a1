//! `chrysalis ledger`: what came and what became of it, also after the data is gone.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use super::Exit;
use super::selection::{since, until};
use super::source::Source;
use crate::admin::{LedgerFormat, LedgerQuery, Told};
use crate::config::Config;

/// Which part of the ledger, and how it is written.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// Only what was received then or later: 2026-11-21, "2026-11-21 14:00", yesterday, or an age such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<String>,
    /// Only what was received then or earlier; a day counts to its end.
    #[arg(long, value_name = "WHEN", value_parser = until)]
    pub until: Option<String>,
    /// Only of this study.
    #[arg(long, value_name = "UID")]
    pub study: Option<String>,
    /// Only from this calling AE title; `*` is any text, `?` one character.
    #[arg(long, value_name = "AE")]
    pub calling_ae: Option<String>,
    /// Only what the link of this site brought; `*` is any text, `?` one character, and "" what came without a link.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Only for this destination.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value = "csv")]
    pub format: LedgerFormat,
    /// Write it into this new file.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl LedgerArgs {
    /// Writes the ledger to `out`, or to the file that is named.
    ///
    /// # Errors
    /// The node refuses, the journals cannot be read, in places or at all, or the file is there already or cannot be
    /// written. What can be read is written all the same.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let source = Source::find(config)?;
        let query = LedgerQuery {
            since: self.since.clone(),
            until: self.until.clone(),
            study: self.study.clone(),
            calling_ae: self.calling_ae.clone(),
            site: self.site.clone(),
            destination: self.destination.clone(),
            format: self.format,
        };
        let told = match &self.output {
            None => source.ledger(&query, out)?,
            Some(path) => into_file(path, |file| source.ledger(&query, file))
                .with_context(|| format!("{}", path.display()))?,
        };
        match told {
            Told::Whole => Ok(Exit::Done),
            Told::InPart => bail!("not all of the ledger can be told; the last line says what is damaged"),
        }
    }
}

/// Writes a new file; when that fails there is none.
fn into_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<Told>,
) -> anyhow::Result<Told> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut file = BufWriter::new(file);
    let written = write(&mut file).and_then(|told| {
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(told)
    });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}
