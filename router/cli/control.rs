//! `chrysalis pause`, `resume` and `drain`: what a running node takes and sends.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::admin_client::AdminClient;
use super::drain;
use super::table::printable;
use crate::config::Config;
use crate::platform;

/// What is paused.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// What is paused.
    #[command(subcommand)]
    pub what: Target,
}

/// What is resumed.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ResumeArgs {
    /// Lift every pause, whoever made it.
    #[arg(long)]
    pub all: bool,
    /// Lift what a drain paused, and leave alone what somebody paused on purpose.
    #[arg(long, conflicts_with = "all")]
    pub drained: bool,
    /// What is resumed.
    #[command(subcommand)]
    pub what: Option<ResumeTarget>,
}

/// Whose pause is lifted.
#[derive(Debug, Subcommand)]
pub enum ResumeTarget {
    /// A destination: it is sent to again. One that nobody paused and that takes nothing is tried at once.
    Destination {
        /// Its name.
        name: String,
        /// Only what this calling AE title sent; without it, everything to the destination.
        #[arg(long, value_name = "AE")]
        calling_ae: Option<String>,
    },
    /// A listener: it takes new associations again.
    Listener {
        /// Its name.
        name: String,
    },
}

/// What a pause is about.
#[derive(Debug, Subcommand)]
pub enum Target {
    /// A destination: nothing new is sent there, what is under way finishes.
    Destination {
        /// Its name.
        name: String,
        /// Only what this calling AE title sent, where the destination passes titles through.
        #[arg(long, value_name = "AE")]
        calling_ae: Option<String>,
        /// Why; shown wherever the pause is.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// A listener: new associations are rejected as transient, those under way finish.
    Listener {
        /// Its name.
        name: String,
        /// Why; shown wherever the pause is.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// How long to wait, and what then.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// How long to wait, such as `90s` or `10m`.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Stop the node when it is empty, and return when it has ended.
    #[arg(long)]
    pub stop: bool,
    /// Print JSON at the end instead of lines on the way.
    #[arg(long)]
    pub json: bool,
}

impl PauseArgs {
    /// Does it, and says so.
    ///
    /// # Errors
    ///
    /// The node is not running or refuses, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let (path, said, order) = self.what.order();
        let answer = AdminClient::new(config).tell(&path, &order)?;
        match (answer["changed"] == true, &answer["instead_of"]) {
            (true, Value::Null) => writeln!(out, "{said} is paused.")?,
            (true, old) => writeln!(out, "{said} was {} already; that is replaced.", pause_words(old))?,
            (false, _) => writeln!(out, "{said} is paused already.")?,
        }
        Ok(Exit::Done)
    }
}

impl ResumeArgs {
    /// Does it, and says so.
    ///
    /// # Errors
    ///
    /// The node is not running or refuses, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let client = AdminClient::new(config);
        match &self.what {
            Some(what) => {
                let (path, said, order) = what.order();
                let answer = client.tell(&path, &order)?;
                match (answer["changed"] == true, answer["tried"] == true) {
                    (true, _) => writeln!(out, "{said} is resumed.")?,
                    (false, true) => writeln!(out, "{said} is not paused by anybody; it is tried now.")?,
                    (false, false) => writeln!(out, "{said} is not paused.")?,
                }
            }
            None if self.all || self.drained => {
                let order = json!({ "drained": self.drained, "who": platform::user_name() });
                let answer = client.tell("/api/resume", &order)?;
                let resumed = answer["resumed"].as_array().cloned().unwrap_or_default();
                for name in resumed.iter().filter_map(Value::as_str) {
                    writeln!(out, "{} is resumed.", printable(name))?;
                }
                match (resumed.is_empty(), self.drained) {
                    (true, true) => writeln!(out, "Nothing is paused by a drain.")?,
                    (true, false) => writeln!(out, "Nothing is paused.")?,
                    (false, _) => {}
                }
            }
            None => anyhow::bail!("say what: destination NAME, listener NAME, --drained, or --all"),
        }
        Ok(Exit::Done)
    }
}

impl DrainArgs {
    /// Waits until the node is empty, saying on the way what is left.
    ///
    /// # Errors
    ///
    /// The node is not running or refuses, or `out` cannot be written. That something is left is no error but
    /// [`Exit::Failed`].
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        drain::run(self, config, out)
    }
}

impl Target {
    /// The path, the words for it, and the order.
    fn order(&self) -> (String, String, Value) {
        let who = platform::user_name();
        match self {
            Self::Destination { name, calling_ae, reason } => {
                let lane = calling_ae.as_ref().map(|title| format!(" for {title}")).unwrap_or_default();
                let order = json!({ "calling_ae": calling_ae, "reason": reason, "who": who });
                (
                    format!("/api/destinations/{}/pause", segment(name)),
                    format!("Destination {name}{lane}"),
                    order,
                )
            }
            Self::Listener { name, reason } => {
                let order = json!({ "reason": reason, "who": who });
                (format!("/api/listeners/{}/pause", segment(name)), format!("Listener {name}"), order)
            }
        }
    }
}

impl ResumeTarget {
    /// The path, the words for it, and the order.
    fn order(&self) -> (String, String, Value) {
        let who = platform::user_name();
        match self {
            Self::Destination { name, calling_ae } => {
                let lane = calling_ae.as_ref().map(|title| format!(" for {title}")).unwrap_or_default();
                let path = format!("/api/destinations/{}/resume", segment(name));
                (path, format!("Destination {name}{lane}"), json!({ "calling_ae": calling_ae, "who": who }))
            }
            Self::Listener { name } => {
                let path = format!("/api/listeners/{}/resume", segment(name));
                (path, format!("Listener {name}"), json!({ "who": who }))
            }
        }
    }
}

/// A pause as the API has it, in the words of a listing: `paused by oncall since 2026-11-21T20:14:05Z: upgrade`.
pub(super) fn pause_words(pause: &Value) -> String {
    let text = |key: &str| printable(pause[key].as_str().unwrap_or_default());
    let since = text("since");
    // To the second.
    let since = since.split_once('.').map_or(since.clone(), |(seconds, _)| format!("{seconds}Z"));
    let colon = if text("reason").is_empty() { "" } else { ": " };
    format!("paused by {} since {since}{colon}{}", text("who"), text("reason"))
}

/// A name as a part of a path; what no name can have is left out, and then there is none of that name.
fn segment(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
