//! `chrysalis echo`: whether destinations and peers answer, and if not, what to try.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Exit;
use super::admin_client::AdminClient;
use super::table::printable;
use super::tls_args::TlsArgs;
use crate::config::{Config, ConfigError, Loaded};
use crate::dicom::AeTitle;
use crate::echo::{self, Advised, Finding, Found, Report, Step, StepName, Target, TargetName};

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

/// Whom to ask, and by which configuration, where one was needed.
#[derive(Debug)]
pub struct Asked {
    targets: Vec<Named>,
    config: Option<Config>,
}

impl EchoArgs {
    /// Finds whom to ask; the configuration is only loaded when it is needed.
    ///
    /// # Errors
    /// Neither an address nor a destination, or the configuration cannot be loaded.
    pub fn targets(&self, load: impl FnOnce() -> Result<Loaded, ConfigError>) -> anyhow::Result<Asked> {
        let Some(whom) = &self.whom else {
            let config = load()?.config;
            let targets =
                config.destinations.iter().map(|d| self.named(d.name.as_str(), d, &config)).collect();
            return Ok(Asked { targets, config: Some(config) });
        };
        if whom.contains('@') {
            let calling = self.calling.clone().unwrap_or_else(|| AeTitle::from_wire(b"CHRYSALIS"));
            let tls = self.tls.settings()?;
            let target = Target::Dicom { peer: whom.parse()?, calling, passthrough: false, tls };
            return Ok(Asked { targets: vec![(None, target)], config: None });
        }
        let config = load()?.config;
        let Some(destination) = config.destination(whom) else {
            let names: Vec<_> = config.destinations.iter().map(|d| d.name.as_str()).collect();
            anyhow::bail!("{whom}: no destination has that name; there is: {}", names.join(", "));
        };
        let targets = vec![self.named(whom, destination, &config)];
        Ok(Asked { targets, config: Some(config) })
    }

    fn named(&self, name: &str, destination: &crate::config::Destination, config: &Config) -> Named {
        (Some(name.to_owned()), Target::of(destination, config).called_by(self.calling.as_ref()))
    }

    /// Asks all of them at once, and writes the reports in their order.
    ///
    /// The exit is [`Exit::Done`] when every one of them answered.
    ///
    /// # Errors
    /// What is written cannot be.
    pub async fn run(&self, asked: Asked, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let reports = ask(asked.targets, self.timeout, asked.config.as_ref()).await;
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

/// One report for each target, in their order. Where a node runs by `config`, its tunnels are reported as they are there.
pub(super) async fn ask(targets: Vec<Named>, limit: Duration, config: Option<&Config>) -> Vec<Report> {
    let asked: Vec<_> = targets
        .into_iter()
        .map(|(name, target)| tokio::spawn(async move { echo::probe(name.as_deref(), &target, limit).await }))
        .collect();
    let mut reports = Vec::with_capacity(asked.len());
    for report in asked {
        reports.push(report.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    let is_tunnel =
        |report: &&mut Report| matches!(report.target, TargetName::Tunnel { .. }) && report.is_ok();
    if let Some(config) = config
        && reports.iter_mut().any(|report| is_tunnel(&report))
        && let Ok(status) = AdminClient::new(config).read("/api/status")
    {
        reports.iter_mut().filter(is_tunnel).for_each(|report| running(report, &status));
    }
    reports
}

/// What the running node says of a tunnel: it alone has the session, and another one would take its place.
fn running(report: &mut Report, status: &Value) {
    let mut links = status["links"].as_array().into_iter().flatten();
    let Some(link) = links.find(|link| link["destination"].as_str() == report.name.as_deref()) else {
        return;
    };
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    // What fails from here, for another user or in another folder, is a question where the node itself gets through.
    let fault = report
        .failure()
        .map(|(step, advised)| format!("from here, {} failed: {}", step.word(), advised.what));
    let finding = if link["connected"] == true {
        report.steps.retain(|step| matches!(step.finding, Finding::Ok { .. }));
        report.questions = fault.into_iter().collect();
        Finding::Ok { found: Found::Open { since: text(&link["since"]) } }
    } else if fault.is_some() {
        return;
    } else {
        report.questions.clear();
        Finding::Failed(Advised {
            what: match text(&link["last_error"]["error"]) {
                error if error.is_empty() => "the running node has not opened it yet".to_owned(),
                error => error,
            },
            means: "The gateway answers, but the running node has no session with it.".to_owned(),
            attempt: "The manual has this message under \"The tunnel\".".to_owned(),
        })
    };
    report.steps.push(Step { step: StepName::Tunnel, milliseconds: 0.0, finding });
}
