//! `chrysalis load`: what a node on this machine can do, and whether it loses anything.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use chrysalis_sizing::{Encoding, Profile, REFERENCE, StudyKind};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Exit;
use crate::dimse::PeerAddress;
use crate::load::report::{Report, html, text, verdict};
use crate::load::{
    self, Asked, Downtime, Ended, Extent, Known, Limits, Plan, Route, Settings, Setup, Target,
};

/// What a node takes by itself, and some for what comes.
const LEAST_MEMORY: u64 = 16 << 20;

/// Send test patients' studies at a rate, take them at the other end, and account for every instance by hash.
///
/// Without --to it starts a node of its own, in a folder that goes when it is over, and a PACS that compares what comes. Studies come
/// at random, as on a site, and time is compressed: at 60, the studies of an hour come in a minute. All rates, durations and the
/// uplink are those of the site.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Studies per hour
    #[arg(long, value_name = "N", default_value_t = 40.0)]
    pub studies_per_hour: f64,
    /// How stills and loops are encoded that carts send: usual (native stills, JPEG loops), all-jpeg, all-lossless, all-native
    #[arg(long, value_name = "MIX", default_value = "usual")]
    pub mix: Encoding,
    /// Only studies of this kind: radiology, echo, "point of care"
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub kind: Option<&'static StudyKind>,
    /// What the PACS wants: as-received, jpeg-lossless-stills, jpeg-lossless
    #[arg(long, value_name = "ROUTE", default_value = "as-received")]
    pub route: Route,
    /// Carts that send at the same time
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub carts: u32,
    /// How many times faster than on the site time goes [default: 60, or less where that would be more than 100 MB/s]
    #[arg(long, value_name = "TIMES")]
    pub compress_time: Option<f64>,
    /// Send so many studies
    #[arg(long, value_name = "N", conflicts_with = "time")]
    pub studies: Option<u64>,
    /// Send for so long, on the site's clock [default: 1h]
    #[arg(long = "for", id = "time", value_name = "DURATION", value_parser = crate::config::duration)]
    pub time: Option<Duration>,
    /// Take the PACS down, as in 1h+4h: after an hour on the site's clock, for four. May be given several times, in order
    #[arg(long, value_name = "START+LENGTH")]
    pub outage: Vec<Downtime>,
    /// What the way to the PACS carries, as in 20Mbit or 2.5MB, in a second on the site's clock
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub uplink: Option<f64>,
    /// All studies come at once, as many as there are carts at a time
    #[arg(long)]
    pub burst: bool,
    /// Search for the highest rate that is sustained
    #[arg(long)]
    pub find_max: bool,
    /// A search lets pass stills that are answered within this, 99 of 100
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = crate::config::duration)]
    pub acknowledge_limit: Duration,
    /// Load this Chrysalis instead of one that is started for it
    #[arg(long, value_name = "AE@HOST:PORT", requires = "pacs", conflicts_with_all = ["data", "profile", "node_set", "limit_cores", "limit_memory"])]
    pub to: Option<PeerAddress>,
    /// The HTTP side of the node that --to names, for what it uses and what waits in it, as in http://127.0.0.1:8080/metrics
    #[arg(long, value_name = "URL", requires = "to")]
    pub metrics: Option<String>,
    /// Where the PACS of the test listens: a destination of the node that --to names has to be there
    #[arg(long, value_name = "ADDRESS:PORT", requires = "to")]
    pub pacs: Option<SocketAddr>,
    /// Load a node on another machine, or one that is no Chrysalis: names the host that is meant
    #[arg(long, value_name = "HOST", requires = "to")]
    pub yes_load: Option<String>,
    /// A value of the configuration of the node that is started, as in transcode.workers=1. May be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub node_set: Vec<String>,
    /// The profile of the node that is started, and whose rate the verdict is about
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The folder in which the node that is started keeps its spool; it should be on the disk that is to be used [default: that for temporary files]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Put the node that is started into a control group with so many cores
    #[arg(long, value_name = "CORES")]
    pub limit_cores: Option<f64>,
    /// Put the node that is started into a control group with so much memory, as in 512MiB
    #[arg(long, value_name = "SIZE", value_parser = crate::config::size)]
    pub limit_memory: Option<u64>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as a page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Of arrivals and pictures: the same seed sends the same studies at the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl LoadArgs {
    /// Runs it, prints the summary, writes the reports.
    ///
    /// The exit is [`Exit::Done`] when everything was delivered as it was sent and the goals for such a run were met; Ctrl-C ends the
    /// sending, and what was sent is reported.
    ///
    /// # Errors
    /// The plan makes no sense, the node may not be loaded or does not start, the disk is too small, a report cannot be written.
    pub async fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let promised = self.promised()?;
        let settings = self.settings()?;
        self.reports_can_be_written()?;
        let (cancel, second) = (CancellationToken::new(), CancellationToken::new());
        let asking = tokio::spawn(ask_to_end(cancel.clone(), second.clone()));
        // Who gives up the run gives up the node.
        let ended = second.run_until_cancelled(load::run(settings, cancel)).await;
        asking.abort();
        let Some(ended) = ended else { bail!("interrupted; nothing is known of what was under way") };
        let Ended { mut report, kept } = ended?;
        report.verdict = verdict::judge(&report, promised);
        write!(out, "{}", text::summary(&report))?;
        if let Some(kept) = kept {
            writeln!(out, "What is left of the node is in {}", kept.display())?;
        }
        self.write(&report)?;
        Ok(if report.verdict.passed { Exit::Done } else { Exit::Failed })
    }

    /// The rate that the profile stands for.
    fn promised(&self) -> anyhow::Result<Option<f64>> {
        let Some(name) = &self.profile else { return Ok(None) };
        let Some(profile) = Profile::named(name) else {
            let names: Vec<_> = chrysalis_sizing::PROFILES.iter().map(|profile| profile.name).collect();
            bail!("{name}: no profile has that name; there are: {}", names.join(", "));
        };
        Ok(profile.studies_per_hour.map(f64::from))
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let extent = match (self.studies, self.time) {
            (Some(studies), _) => Extent::Studies(studies),
            (None, time) => Extent::Time(time.unwrap_or(Duration::from_secs(3600))),
        };
        let plan = Plan::new(Asked {
            studies_per_hour: self.studies_per_hour,
            encoding: self.mix,
            kind: self.kind,
            route: self.route,
            carts: self.carts,
            compression: self.compress_time,
            extent,
            outages: self.outage.clone(),
            uplink: self.uplink,
            burst: self.burst,
            find_max: self.find_max,
            seed: self.seed,
        })?;
        if self.limit_cores.is_some_and(|cores| !(0.01..=1024.0).contains(&cores)) {
            bail!("--limit-cores takes 0.01 to 1024");
        }
        if self.limit_memory.is_some_and(|memory| memory < LEAST_MEMORY) {
            bail!("--limit-memory takes 16MiB or more: a node needs as much before anything comes");
        }
        Ok(Settings {
            plan,
            target: self.target()?,
            acknowledge_limit: self.acknowledge_limit,
            command: command_line(std::env::args()),
        })
    }

    fn target(&self) -> anyhow::Result<Target> {
        if let Some(peer) = &self.to {
            return Ok(Target::Known(Known {
                peer: peer.clone(),
                allowed: self.yes_load.clone(),
                metrics: self.metrics.clone(),
                pacs: self.pacs,
            }));
        }
        Ok(Target::Own(Setup {
            program: std::env::current_exe().context("where this program is")?,
            data: self.data.clone().unwrap_or_else(std::env::temp_dir),
            set: self.node_set.clone(),
            profile: self.profile.clone(),
            limits: Limits { cores: self.limit_cores, memory: self.limit_memory },
        }))
    }

    /// Said before the run, which may take a night.
    fn reports_can_be_written(&self) -> anyhow::Result<()> {
        for path in self.json.iter().chain(&self.html) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                bail!("{}: no report can be written there", path.display());
            }
        }
        Ok(())
    }

    fn write(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            report.write_json(path)?;
        }
        if let Some(path) = &self.html {
            std::fs::write(path, html::page(report)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// At the first Ctrl-C, SIGTERM or SIGHUP no further study is to begin; at the second nothing is waited for.
async fn ask_to_end(first: CancellationToken, second: CancellationToken) {
    let (Ok(mut terminations), Ok(mut hangups)) =
        (crate::platform::Terminations::new(), crate::platform::Hangups::new())
    else {
        return;
    };
    for token in [first, second] {
        tokio::select! {
            () = terminations.next() => {}
            () = hangups.next() => {}
        }
        eprintln!("No further study begins; what was sent is waited for. Interrupt again to end at once.");
        token.cancel();
    }
}

fn kind(text: &str) -> Result<&'static StudyKind, String> {
    let found = REFERENCE.kinds.iter().find(|kind| kind.name == text);
    let names: Vec<_> = REFERENCE.kinds.iter().map(|kind| kind.name).collect();
    found.ok_or_else(|| format!("there are: {}", names.join(", ")))
}

/// Bytes a second: `20Mbit` are 20 million bits, `2.5MB` as many bytes.
fn rate(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 6] =
        [("kbit", 125.0), ("Mbit", 125e3), ("Gbit", 125e6), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)];
    let text = text.trim().trim_end_matches("/s");
    let found = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim(), bytes)));
    let value = found.and_then(|(number, bytes)| Some(number.parse::<f64>().ok()? * bytes));
    value
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "it is written like 20Mbit, 1Gbit or 2.5MB".to_owned())
}

/// As it is typed into a shell; the program goes by its name.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let is_plain = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@,".contains(c);
        !text.is_empty() && text.chars().all(plain)
    };
    let quoted = arguments.skip(1).map(|argument| match is_plain(&argument) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    });
    std::iter::once("chrysalis".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn read(text: &str) -> Result<LoadArgs, clap::Error> {
        let arguments = text.split_whitespace().map(|word| word.replace('_', " ").into());
        match Cli::read(["chrysalis".into(), "load".into()].into_iter().chain(arguments))?.command {
            Some(Command::Load(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_arguments_it_is_an_hour_of_forty_usual_studies() {
        let plan = read("").unwrap().settings().unwrap().plan;
        assert_eq!((plan.studies(), plan.compression), (40.0, 60.0));
        assert_eq!((plan.asked.encoding, plan.asked.route), (Encoding::NativeStills, Route::AsReceived));
    }

    #[test]
    fn a_rate_is_in_bits_or_bytes() {
        assert_eq!((rate("20Mbit"), rate("1 Gbit/s"), rate("2.5MB")), (Ok(2.5e6), Ok(125e6), Ok(2.5e6)));
        for wrong in ["20", "Mbit", "-1MB", "0MB", "20 Mb"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--mix colourful",
            "--kind dental",
            "--route jpeg-lossy",
            "--studies 3 --for 1h",
            "--outage 4h",
            "--uplink fast",
            "--metrics http://127.0.0.1:1/",
            "--to PACS@127.0.0.1:104",
            "--to PACS@127.0.0.1:104 --pacs 127.0.0.1:105 --data /tmp",
            "--to 127.0.0.1:104",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "--studies-per-hour 0",
            "--studies-per-hour NaN",
            "--mix all-native --compress-time 60",
            "--find-max --burst",
            "--limit-cores 0",
            "--limit-memory 5",
        ] {
            assert!(read(wrong).unwrap().settings().is_err(), "{wrong}");
        }
        assert!(read("--profile huge").unwrap().promised().is_err());
        for nowhere in ["--json /nowhere/report.json", "--html /"] {
            assert!(read(nowhere).unwrap().reports_can_be_written().is_err(), "{nowhere}");
        }
        assert!(read("--json report.json").unwrap().reports_can_be_written().is_ok());
    }

    #[test]
    fn a_kind_goes_by_its_name() {
        assert_eq!(read("--kind point_of_care").unwrap().kind.unwrap().name, "point of care");
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let typed = ["/usr/bin/chrysalis", "load", "--kind", "point of care", "--outage", "1h+4h", "it's"];
        let line = command_line(typed.into_iter().map(str::to_owned));
        assert_eq!(line, "chrysalis load --kind 'point of care' --outage 1h+4h 'it'\\''s'");
    }
}
