//! `chrysalis check`: whether everything is as a node needs it, and what a reload would change.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::admin_client::AdminClient;
use super::control::pause_words;
use super::table::printable;
use super::{Exit, echo, reload};
use crate::check::{self, Inside, Line, Look, State};
use crate::config::{Config, ConfigError, DEFAULT_FILE, Loaded, Origin, Sources};
use crate::echo::{Report, Target, TargetName};
use crate::platform;

/// What is looked at.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Also say what a reload would change in the running node, and what is queued for destinations that would go.
    #[arg(long)]
    pub diff: bool,
    /// Ask no destination whether it answers.
    #[arg(long)]
    pub offline: bool,
    /// How long each step of asking a destination may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    lines: Vec<Line>,
    /// What overrides the file, never with its value.
    overrides: Vec<String>,
    /// What a reload would change, a line for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Vec<String>>,
    /// What those lines are.
    #[serde(skip)]
    diff_is_about: &'static str,
    /// The whole report of every destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    destinations: Vec<Report>,
}

impl CheckArgs {
    /// Looks at everything and says what it found.
    ///
    /// # Errors
    /// `out` cannot be written. What is wrong is no error but [`Exit::Failed`], or [`Exit::Configuration`].
    pub async fn run(&self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut findings = Findings {
            overrides: sources.overrides.iter().map(ToString::to_string).collect(),
            ..Findings::default()
        };
        let loaded = match sources.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                findings.lines = mistakes(&error);
                self.print(&findings, out)?;
                return Ok(Exit::Configuration);
            }
        };
        findings.lines.extend(configuration(&loaded, &findings.overrides));
        let config = &loaded.config;
        findings.lines.extend(check::profile(config));
        let (lines, inside) = spool(config);
        findings.lines.extend(check::data_dir(config));
        findings.lines.extend(lines);
        findings.lines.extend(check::ports(config, &inside));
        findings.lines.extend(check::certificates(config));
        findings.lines.extend(check::sites(config));
        findings.lines.push(check::clock(config));
        findings.lines.push(check::descriptors(config));
        if !self.offline {
            let targets =
                config.destinations.iter().map(|d| (Some(d.name.to_string()), Target::of(d, config)));
            findings.destinations = echo::ask(targets.collect(), self.timeout, Some(config)).await;
            findings.lines.extend(findings.destinations.iter().map(short));
        }
        if self.diff {
            findings.diff_is_about = match inside.is_running() {
                true => "A reload would change",
                false => "The node is stopped; queued for destinations that are not configured",
            };
            findings.diff = Some(difference(&loaded, &inside, &mut findings.lines));
        }
        self.print(&findings, out)?;
        let failed = findings.lines.iter().any(|line| line.state == State::Failed);
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }

    fn print(&self, findings: &Findings, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut *out, findings)?;
            writeln!(out)?;
            return Ok(());
        }
        for line in &findings.lines {
            writeln!(out, "{line}")?;
        }
        if let Some(diff) = &findings.diff {
            writeln!(out, "\n{}:", findings.diff_is_about)?;
            let nothing = ["nothing".to_owned()];
            let lines = if diff.is_empty() { &nothing[..] } else { diff };
            lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        let count = |state| findings.lines.iter().filter(|line| line.state == state).count();
        let (failed, questions) = (count(State::Failed), count(State::Question));
        writeln!(out, "\n{failed} failed, {questions} to be questioned, {} ok.", count(State::Ok))?;
        Ok(())
    }
}

fn mistakes(error: &ConfigError) -> Vec<Line> {
    let line =
        |text: &str| Line { means: None, attempt: None, ..Line::failed("configuration", text, "", "") };
    error.to_string().lines().map(line).collect()
}

fn configuration(loaded: &Loaded, overrides: &[String]) -> Vec<Line> {
    let what = format!("{}, revision {}", loaded.origin, loaded.config.revision);
    let mut lines = vec![Line::ok("configuration", what)];
    lines.extend(overrides.iter().map(|origin| Line::ok("override", format!("{origin} is in force"))));
    let question = |advice: &crate::config::Advice| Line {
        state: State::Question,
        ..Line::ok("configuration", advice.to_string())
    };
    lines.extend(loaded.advice.iter().map(question));
    lines
}

/// The spool, and, where a node runs, what it says of itself.
fn spool(config: &Config) -> (Vec<Line>, Inside) {
    let looked = check::look(config);
    let is_running = matches!(looked, Look::Locked { .. });
    let (mut lines, mut inside) = check::spool(config, looked);
    if is_running {
        match AdminClient::new(config).read("/api/status") {
            Ok(status) => {
                lines.extend(inside.learn(&status));
                lines.extend(paused(&status));
            }
            Err(error) => lines.push(Line::question(
                "spool",
                printable(&error.to_string()),
                "A node runs, but its API cannot be asked.",
                "If admin.address was changed, the running node still listens at the old one: restart it.",
            )),
        }
    }
    (lines, inside)
}

/// Everything that somebody paused, each as a question.
fn paused(status: &Value) -> Vec<Line> {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let mut lines = Vec::new();
    let kinds = [
        ("listeners", "listener", "Carts are told to come again later."),
        ("destinations", "destination", "Nothing is sent there; what is owed waits."),
    ];
    for (list, kind, means) in kinds {
        for part in status[list].as_array().into_iter().flatten() {
            let about = format!("{kind} {}", text(&part[kind]));
            if part["paused"].is_object() {
                let attempt = format!("When the reason is gone: chrysalis resume {about}");
                lines.push(Line::question(&about, pause_words(&part["paused"]), means, &attempt));
            }
            for lane in part["paused_lanes"].as_array().into_iter().flatten() {
                let title = text(&lane["calling_ae"]);
                let what = format!("for {title} {}", pause_words(&lane["paused"]));
                let attempt =
                    format!("When the reason is gone: chrysalis resume {about} --calling-ae {title}");
                lines.push(Line::question(&about, what, "What this title sent waits.", &attempt));
            }
        }
    }
    lines
}

/// A destination in one finding.
fn short(report: &Report) -> Line {
    let about = format!("destination {}", report.name.as_deref().unwrap_or_default());
    let security = report.security.map_or(String::new(), |security| format!(" ({security})"));
    let target = format!("{}{security}", report.target);
    match report.failure() {
        Some((step, advised)) => {
            let what = format!("{target}: {} failed: {}", step.word(), advised.what);
            Line::failed(about, what, &advised.means, &advised.attempt)
        }
        None if report.steps.is_empty() => {
            let attempt = match &report.target {
                TargetName::Site { site, endpoint } => format!("chrysalis site echo {site} {endpoint}"),
                TargetName::Dicom { .. }
                | TargetName::Web { .. }
                | TargetName::Tunnel { .. }
                | TargetName::Folder { .. } => {
                    format!("chrysalis echo {}", report.name.as_deref().unwrap_or_default())
                }
            };
            let why = report.questions.join("; ");
            Line::question(about, format!("{target} was not asked"), &why, &attempt)
        }
        None if !report.questions.is_empty() => {
            let attempt = format!("chrysalis echo {}", report.name.as_deref().unwrap_or_default());
            Line::question(about, format!("{target} answers"), &report.questions.join("; "), &attempt)
        }
        None => Line::ok(about, format!("{target} answers, {:.0} ms", report.total_ms)),
    }
}

/// What a reload would change, as the running node says; of a stopped one, what is queued for names that are gone.
fn difference(loaded: &Loaded, inside: &Inside, lines: &mut Vec<Line>) -> Vec<String> {
    if !inside.is_running() {
        return inside
            .strangers(&loaded.config)
            .map(|(name, held)| {
                format!("- destination {name}: {held} deliveries are held, because it is not configured")
            })
            .collect();
    }
    let text = match &loaded.origin {
        Origin::Named(file) | Origin::WorkingDirectory(file) => std::fs::read_to_string(file),
        Origin::Embedded => {
            std::fs::read_to_string(Path::new(DEFAULT_FILE)).or(Ok(crate::config::DEFAULT_TEXT.to_owned()))
        }
    };
    let order = |text: String| json!({ "dry_run": true, "text": text, "who": platform::user_name() });
    let answer = text.map_err(anyhow::Error::from);
    let answer = answer.and_then(|text| Ok(AdminClient::new(&loaded.config).reload(&order(text))?));
    match answer {
        Ok(Ok(report)) => reload::lines(&report),
        Ok(Err(refused)) => {
            let problems = refused["problems"].as_array().into_iter().flatten();
            let said: Vec<_> =
                problems.map(|problem| printable(problem["message"].as_str().unwrap_or_default())).collect();
            lines.push(Line::failed(
                "diff",
                said.join("; "),
                "The running node would refuse this configuration.",
                "Mend it; the old one stays in force meanwhile.",
            ));
            Vec::new()
        }
        Err(error) => {
            let what = printable(&error.to_string());
            lines.push(Line::failed(
                "diff",
                what,
                "The running node cannot be asked.",
                "Run this as the user of the service.",
            ));
            Vec::new()
        }
    }
}

impl Inside {
    /// Takes in what a running node says of itself.
    fn learn(&mut self, status: &Value) -> Option<Line> {
        let destinations = status["destinations"].as_array()?;
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let known = destinations.iter().filter_map(|known| {
            let name = printable(known["destination"].as_str()?);
            Some((name, count(&known["queued"]), count(&known["held"])))
        });
        self.destinations = known.filter(|(_, owed, held)| owed + held > 0).collect();
        let every = |kind: &str| status[kind].as_array().into_iter().flatten();
        let listeners = every("listeners").map(|listener| &listener["address"]);
        let relays = every("relays").map(|relay| &relay["listen"]);
        self.addresses =
            listeners.chain(relays).filter_map(|address| address.as_str()?.parse().ok()).collect();
        let (owed, held) =
            self.destinations.iter().fold((0, 0), |(a, b), (_, owed, held)| (a + owed, b + held));
        Some(Line::ok("spool", format!("{owed} deliveries wait, {held} are held")))
    }
}
