//! `chrysalis site`: the sites that a gateway knows, and their codes.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::site_config::SiteConfig;
use super::table::printable;
use super::{AdminClient, Exit};
use crate::audit::{Actor, Log};
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
    /// List the sites, and how the configuration stands that is held for each.
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
    /// Does it. A code is written to `out` and nowhere else.
    ///
    /// # Errors
    /// There is such a site, or none, or the file cannot be written; for an echo, the node is not running or the site's link
    /// not connected.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let sites = Sites::of(&config.node.data_dir);
        match &self.action {
            SiteAction::Add { name } => {
                // A site may be the first thing that a gateway is given.
                platform::private_folder(&config.node.data_dir)?;
                let code = sites.add(name, now())?;
                record(config, "site add", name, &Value::Null)?;
                print(&code, out)?;
            }
            SiteAction::Replace { name } => {
                let code = sites.replace(name, now())?;
                record(config, "site replace", name, &Value::Null)?;
                print(&code, out)?;
            }
            SiteAction::Remove { name } => {
                sites.remove(name)?;
                Holdings::of(&config.node.data_dir).forget(name)?;
                record(config, "site remove", name, &Value::Null)?;
            }
            SiteAction::Echo { site, endpoint, timeout, json } => {
                let report = AdminClient::new(config).site_echo(site, endpoint, *timeout)?;
                if *json {
                    serde_json::to_writer_pretty(&mut *out, &report)?;
                    writeln!(out)?;
                } else {
                    // What comes from a link is not to be trusted by a terminal.
                    for line in report.to_string().lines() {
                        writeln!(out, "{}", printable(line))?;
                    }
                }
                return Ok(if report.is_ok() { Exit::Done } else { Exit::Failed });
            }
            SiteAction::List => {
                let holdings = Holdings::of(&config.node.data_dir);
                for (name, site) in sites.list()? {
                    let configuration = match holdings.standing(&name)? {
                        Some(standing) => {
                            format!("  configuration {} {}", standing.held.overlay.revision, standing.word())
                        }
                        None => String::new(),
                    };
                    writeln!(out, "{name:<24} code of {}{configuration}", moment(site.since))?;
                }
            }
            SiteAction::Config(action) => action.run(config, out)?,
        }
        Ok(Exit::Done)
    }
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
