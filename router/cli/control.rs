//! `chrysalis pause`, `resume` and `drain`: what a running node takes and sends.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::admin_client::AdminClient;
use super::drain;
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
    /// Lift every pause.
    #[arg(long)]
    pub all: bool,
    /// What is resumed.
    #[command(subcommand)]
    pub what: Option<Target>,
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
    /// Stop the node when it is empty.
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
        let (path, said, order) = self.what.order("pause");
        let answer = AdminClient::new(config).tell(&path, &order)?;
        let already = if answer["changed"] == true { "" } else { " already" };
        writeln!(out, "{said} is paused{already}.")?;
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
                let (path, said, order) = what.order("resume");
                let answer = client.tell(&path, &order)?;
                let ending = if answer["changed"] == true { "resumed" } else { "not paused" };
                writeln!(out, "{said} is {ending}.")?;
            }
            None if self.all => {
                let answer = client.tell("/api/resume", &json!({ "who": platform::user_name() }))?;
                let resumed = answer["resumed"].as_array().cloned().unwrap_or_default();
                for name in resumed.iter().filter_map(Value::as_str) {
                    writeln!(out, "{} is resumed.", super::table::printable(name))?;
                }
                if resumed.is_empty() {
                    writeln!(out, "Nothing is paused.")?;
                }
            }
            None => anyhow::bail!("say what: destination NAME, listener NAME, or --all"),
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
        drain::run(self, &AdminClient::new(config), out)
    }
}

impl Target {
    /// The path, the words for it, and the order.
    fn order(&self, verb: &str) -> (String, String, Value) {
        let who = platform::user_name();
        match self {
            Self::Destination { name, calling_ae, reason } => {
                let lane = calling_ae.as_ref().map(|title| format!(" for {title}")).unwrap_or_default();
                let order = json!({ "calling_ae": calling_ae, "reason": reason, "who": who });
                (
                    format!("/api/destinations/{}/{verb}", segment(name)),
                    format!("Destination {name}{lane}"),
                    order,
                )
            }
            Self::Listener { name, reason } => {
                let order = json!({ "reason": reason, "who": who });
                (format!("/api/listeners/{}/{verb}", segment(name)), format!("Listener {name}"), order)
            }
        }
    }
}

/// A name as a part of a path; what no name can have is left out, and then there is none of that name.
fn segment(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
