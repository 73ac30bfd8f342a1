//! `chrysalis site config`: what a gateway holds of a site's configuration, and what the link says of it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;

use super::site::{moment, now, record};
use super::table::printable;
use crate::config::{Config, MAX_AFAR_BYTES};
use crate::platform;
use crate::tunnel::remote::{Held, Holdings, Standing};
use crate::tunnel::sites::SitesError;
use crate::tunnel::{SiteName, Sites};

/// What is done with it. A running gateway offers it to the link within a second.
#[derive(Debug, Clone, Subcommand)]
pub enum SiteConfig {
    /// Hold the sections of a file for a site, in place of all that was set before: what the new file does not have returns to
    /// the link's own file. To set the same again has a link try it again that had refused it or gone back.
    Set {
        /// The site's name.
        name: SiteName,
        /// The file with the sections, as TOML; `-` is standard input.
        file: PathBuf,
    },
    /// Show what is held, and what the link last said of it.
    Show {
        /// The site's name.
        name: SiteName,
    },
    /// Hold no sections: the link goes on by its own file alone.
    Clear {
        /// The site's name.
        name: SiteName,
    },
}

impl SiteConfig {
    /// The sections of the file that was named, which is the file of whoever typed that.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn sections(&self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Set { file, .. } => read(file).map(Some),
            Self::Show { .. } | Self::Clear { .. } => Ok(None),
        }
    }

    /// Does it, with what [`SiteConfig::sections`] read.
    ///
    /// # Errors
    /// There is no such site, the sections cannot be right at any link, or a file cannot be written.
    pub(super) fn run(
        &self,
        config: &Config,
        sections: Option<String>,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let data_dir = &config.node.data_dir;
        let (Self::Set { name, .. } | Self::Show { name } | Self::Clear { name }) = self;
        let sites = Sites::of(data_dir).list()?;
        anyhow::ensure!(sites.contains_key(name), SitesError::unknown(name, &sites));
        let holdings = Holdings::of(data_dir);
        match self {
            Self::Set { file, .. } => {
                let text = sections.unwrap_or_default();
                let held = set(&holdings, name, &text, &file.display().to_string())?;
                recorded(config, "site config set", name, &held)?;
                said(&held, out)?;
            }
            Self::Clear { .. } => {
                let held = set(&holdings, name, "", "nothing")?;
                recorded(config, "site config clear", name, &held)?;
                writeln!(out, "Nothing is held for site {name} any more; its link returns to its own file.")?;
            }
            Self::Show { .. } => match holdings.standing(name)? {
                Some(standing) => show(&standing, name, out)?,
                None => writeln!(out, "Nothing is held for site {name}.")?,
            },
        }
        Ok(())
    }
}

fn set(holdings: &Holdings, name: &SiteName, text: &str, origin: &str) -> anyhow::Result<Held> {
    Ok(holdings.set(name, text, origin, &platform::user_name(), now())?)
}

fn recorded(config: &Config, decision: &str, name: &SiteName, held: &Held) -> anyhow::Result<()> {
    let details = json!({ "revision": held.overlay.revision, "bytes": held.overlay.text.len() });
    record(config, decision, name, &details)
}

fn said(held: &Held, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "Revision {} is held, in place of all that was set before; see what becomes of it with site config show.",
        held.overlay.revision
    )
}

fn read(file: &Path) -> anyhow::Result<String> {
    let limit = MAX_AFAR_BYTES as u64 + 1;
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().take(limit).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    read.with_context(|| file.display().to_string())?;
    Ok(text)
}

/// What is said of it stands in comments, so that the whole is what can be set again.
fn show(standing: &Standing, name: &SiteName, out: &mut dyn Write) -> std::io::Result<()> {
    let Held { overlay, since, by, .. } = &standing.held;
    if overlay.text.is_empty() {
        writeln!(out, "# Nothing is held for site {name}.")?;
    }
    writeln!(out, "# revision {}, set by {} at {}", overlay.revision, printable(by), moment(*since))?;
    match &standing.stood {
        Some(stood) => {
            writeln!(out, "# {}, as the link said at {}", stood.report.outcome.word(), moment(stood.at))?;
        }
        None => writeln!(out, "# waiting: the link has not said anything of it yet")?,
    }
    for reason in standing.reasons() {
        writeln!(out, "#   {}", printable(reason))?;
    }
    match standing.in_force() {
        Some(revision) => writeln!(out, "# in force at the link: {revision}")?,
        None => writeln!(out, "# in force at the link: its own file alone, as far as it has said")?,
    }
    write!(out, "{}", overlay.text)
}
