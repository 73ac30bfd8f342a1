//! `chrysalis echo`: whether destinations and peers answer, and if not, what to try.

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::Exit;
use super::tls_args::TlsArgs;
use crate::config::{Config, ConfigError, Loaded};
use crate::dicom::AeTitle;
use crate::echo::{self, Report, Target};

/// Whom to echo.
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// A destination of the configuration by name, or any peer as `AE@host:port`.
    #[arg(
        value_name = "DESTINATION | AE@HOST:PORT",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub whom: Option<String>,
    /// Every destination of the configuration.
    #[arg(long)]
    pub all: bool,
    /// The calling AE title [default: the destination's, or the node's].
    #[arg(long, value_name = "AE")]
    pub calling: Option<AeTitle>,
    /// How long each step may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// TLS, for a peer that is given by its address.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// A target, with its name if it is a destination of the configuration.
type Named = (Option<String>, Target);

impl EchoArgs {
    /// Finds whom to ask; the configuration is only loaded when it is needed.
    ///
    /// # Errors
    /// Neither an address nor a destination, or the configuration cannot be loaded.
    pub fn targets(&self, load: impl FnOnce() -> Result<Loaded, ConfigError>) -> anyhow::Result<Vec<Named>> {
        let Some(whom) = &self.whom else {
            let config = load()?.config;
            return Ok(config.destinations.iter().map(|d| self.named(d.name.as_str(), d, &config)).collect());
        };
        if whom.contains('@') {
            let calling = self.calling.clone().unwrap_or_else(|| AeTitle::from_wire(b"CHRYSALIS"));
            let tls = self.tls.settings()?;
            return Ok(vec![(None, Target::Dicom { peer: whom.parse()?, calling, passthrough: false, tls })]);
        }
        let config = load()?.config;
        let Some(destination) = config.destination(whom) else {
            let names: Vec<_> = config.destinations.iter().map(|d| d.name.as_str()).collect();
            anyhow::bail!("{whom}: no destination has that name; there is: {}", names.join(", "));
        };
        Ok(vec![self.named(whom, destination, &config)])
    }

    fn named(&self, name: &str, destination: &crate::config::Destination, config: &Config) -> Named {
        (Some(name.to_owned()), Target::of(destination, config).called_by(self.calling.as_ref()))
    }

    /// Asks all of `targets` at once, and writes the reports in their order.
    ///
    /// The exit is [`Exit::Done`] when every one of them answered.
    ///
    /// # Errors
    /// What is written cannot be.
    pub async fn run(&self, targets: Vec<Named>, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let reports = ask(targets, self.timeout).await;
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &reports)?;
            writeln!(out)?;
        } else {
            for (index, report) in reports.iter().enumerate() {
                let between = if index > 0 { "\n" } else { "" };
                write!(out, "{between}{report}")?;
            }
        }
        Ok(if reports.iter().all(Report::is_ok) { Exit::Done } else { Exit::Failed })
    }
}

/// One report for each target, in their order.
pub(super) async fn ask(targets: Vec<Named>, limit: Duration) -> Vec<Report> {
    let asked: Vec<_> = targets
        .into_iter()
        .map(|(name, target)| tokio::spawn(async move { echo::probe(name.as_deref(), &target, limit).await }))
        .collect();
    let mut reports = Vec::with_capacity(asked.len());
    for report in asked {
        reports.push(report.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    reports
}
