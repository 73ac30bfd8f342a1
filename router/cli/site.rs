//! `chrysalis site`: the sites that a gateway knows, and their codes.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::site_config::SiteConfig;
use super::table::printable;
use super::{AdminClient, Exit};
use crate::audit::{self, Actor, Log};
use crate::config::Config;
use crate::platform;
use crate::tunnel::code::Code;
use crate::tunnel::remote::Holdings;
use crate::tunnel::{SiteName, Sites};

/// What is done with a site.
#[derive(Debug, Args)]
pub struct SiteArgs {
    /// What is done.
    #[command(subcommand)]
    pub action: SiteAction,
}

/// What is done with a site. A running gateway sees it at once.
#[derive(Debug, Clone, Subcommand)]
pub enum SiteAction {
    /// Add a site and print its code, once: it cannot be shown again, only replaced.
    Add {
        /// The site's name.
        name: SiteName,
    },
    /// Give a site a new code and print it; the old one is worth nothing from then on, and its session ends.
    Replace {
        /// The site's name.
        name: SiteName,
    },
    /// Forget a site; its session ends.
    Remove {
        /// The site's name.
        name: SiteName,
    },
    /// List the sites: since when each is connected, from where, and how the configuration stands that is held for it.
    List,
    /// Have a site's link ask one of its destinations whether it answers, and print what it found.
    Echo {
        /// The site's name.
        site: SiteName,
        /// The destination's name at the link, which has it among its `endpoints`.
        endpoint: String,
        /// How long each step may take; at most a minute.
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// The configuration that this gateway holds for a site.
    #[command(subcommand)]
    Config(SiteConfig),
}

impl SiteArgs {
    /// Does it. A code is written to `out` and nowhere else. What is written into the data directory belongs to the directory's
    /// owner, also where the superuser does it: the gateway has to read it.
    ///
    /// # Errors
    /// There is such a site, or none, or the file cannot be written; for an echo, the node is not running or the site's link
    /// not connected.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        if let SiteAction::Echo { site, endpoint, timeout, json } = &self.action {
            return ask(config, site, endpoint, *timeout, *json, out);
        }
        let sections = match &self.action {
            SiteAction::Config(config) => config.sections()?,
            _ => None,
        };
        let data_dir = &config.node.data_dir;
        platform::hand_back(data_dir, &[&Sites::FILES[..], &audit::FILES, &[Holdings::FOLDER]].concat())?;
        let mut said = Vec::new();
        let done = platform::as_owner_of(data_dir, || self.act(config, sections, &mut said));
        // A code that was made is shown, whatever failed after that.
        out.write_all(&said)?;
        done.with_context(|| data_dir.display().to_string())??;
        Ok(Exit::Done)
    }

    fn act(&self, config: &Config, sections: Option<String>, out: &mut dyn Write) -> anyhow::Result<()> {
        let sites = Sites::of(&config.node.data_dir);
        match &self.action {
            SiteAction::Add { name } => {
                // A site may be the first thing that a gateway is given.
                platform::private_folder(&config.node.data_dir)?;
                let code = sites.add(name, now())?;
                print(&code, out)?;
                record(config, "site add", name, &Value::Null)?;
            }
            SiteAction::Replace { name } => {
                let code = sites.replace(name, now())?;
                print(&code, out)?;
                record(config, "site replace", name, &Value::Null)?;
            }
            SiteAction::Remove { name } => {
                sites.remove(name)?;
                Holdings::of(&config.node.data_dir).forget(name)?;
                record(config, "site remove", name, &Value::Null)?;
            }
            SiteAction::List => {
                let status = AdminClient::new(config).read("/api/status").ok();
                let holdings = Holdings::of(&config.node.data_dir);
                for (name, site) in sites.list()? {
                    let configuration = match holdings.standing(&name)? {
                        Some(standing) => {
                            format!("  configuration {} {}", standing.held.overlay.revision, standing.word())
                        }
                        None => String::new(),
                    };
                    let session = status.as_ref().map_or(String::new(), |status| session_of(&name, status));
                    writeln!(out, "{name:<24} code of {}{session}{configuration}", moment(site.since))?;
                }
            }
            SiteAction::Config(action) => action.run(config, sections, out)?,
            SiteAction::Echo { .. } => {}
        }
        Ok(())
    }
}

/// Whether a site's link is connected, as the running node says.
fn session_of(name: &SiteName, status: &Value) -> String {
    let mut sites = status["sites"].as_array().into_iter().flatten();
    let site = sites.find(|site| site["site"].as_str() == Some(name.as_str()));
    let text = |key: &str| site.and_then(|site| site[key].as_str()).map(printable).unwrap_or_default();
    match site.is_some_and(|site| site["connected"] == true) {
        true => format!("  connected since {} from {}", text("since"), text("peer")),
        false => "  not connected".to_owned(),
    }
}

/// The report of a link about one of its destinations.
fn ask(
    config: &Config,
    site: &SiteName,
    endpoint: &str,
    limit: Duration,
    is_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let report = AdminClient::new(config).site_echo(site, endpoint, limit)?;
    if is_json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        // What comes from a link is not to be trusted by a terminal.
        for line in report.to_string().lines() {
            writeln!(out, "{}", printable(line))?;
        }
    }
    Ok(if report.is_ok() { Exit::Done } else { Exit::Failed })
}

/// Writes down what somebody did to a site at the command line: the running node, if there is one, knows nothing of it.
pub(super) fn record(
    config: &Config,
    decision: &str,
    site: &SiteName,
    details: &Value,
) -> anyhow::Result<()> {
    let by = Actor::local(&platform::user_name());
    let log = Log::open(&config.node.data_dir).context("it is done, and cannot be written down")?;
    log.record(&by, decision, &format!("site {site}"), details);
    Ok(())
}

pub(super) fn moment(seconds: u64) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

fn print(code: &Code, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", code.reveal())
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
