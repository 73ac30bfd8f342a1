//! One load test from beginning to end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrysalis_sizing::Arrivals;
use tokio_util::sync::CancellationToken;

use super::find_max;
use super::live::Live;
use super::node::{Keep, NodeError, Setup};
use super::plan::{Extent, Plan};
use super::proc::Usage;
use super::report::{NodeUse, Outage, PlanFacts, Report, Sample, Verdict};
use super::slope::slope;
use super::stage::Stage;
use super::target::{Known, TargetError};
use crate::synthetic::FactoryError;

/// What to load, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to do.
    pub plan: Plan,
    /// Which node.
    pub target: Target,
    /// Longest time to acknowledge a still that a search lets pass, of 99 of 100 stills.
    pub acknowledge_limit: Duration,
    /// The command that repeats it, for the report.
    pub command: String,
}

/// Which node.
#[derive(Debug, Clone)]
pub enum Target {
    /// One that is started for this.
    Own(Setup),
    /// One that is there.
    Known(Known),
}

/// What a load test ends with.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What was found.
    pub report: Report,
    /// What was kept of an own node, because something went wrong.
    pub kept: Option<PathBuf>,
}

/// Why there was no load test.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The node may not be loaded.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No node could be started.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// No studies can be made.
    #[error(transparent)]
    Factory(#[from] FactoryError),
    /// The PACS of the test has no port.
    #[error("the PACS of the test cannot listen at {address}: {source}")]
    Pacs {
        /// Where it should.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is too small for what will wait on it.
    #[error(
        "{} has room for {:.1} GB, and this run may need {:.1} GB at once: shorten the outage, or give --data a folder on a larger disk",
        .folder.display(), *.room as f64 / 1e9, *.needed as f64 / 1e9
    )]
    Room {
        /// Where the spool would be.
        folder: PathBuf,
        /// Bytes that may wait at once, with what the node sets aside.
        needed: u64,
        /// Bytes that are free for it.
        room: u64,
    },
    /// The folder for the spool.
    #[error("{}: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The flush time of the disk could not be measured.
    #[error("the disk below the spool cannot be written: {0}")]
    Machine(io::Error),
    /// A mistake of this program.
    #[error("a part of the load test ended: {0}")]
    Broken(String),
}

impl RunError {
    pub(super) fn joined(error: tokio::task::JoinError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Runs it, shows how it goes on standard error, and accounts for every instance. Where `cancel` comes, no further study begins, and
/// what is under way is finished and reported.
///
/// # Errors
/// [`RunError`]: nothing was sent.
pub async fn run(settings: Settings, cancel: CancellationToken) -> Result<Ended, RunError> {
    let began = time::OffsetDateTime::now_utc();
    let stage = Stage::open(&settings, cancel).await?;
    let generator_before = generator_seconds();
    let before = stage.view.cpu_seconds().await;
    let start = stage.now();
    let (outages, steps) = if settings.plan.asked.find_max {
        (Vec::new(), find_max::search(&stage, settings.acknowledge_limit).await)
    } else {
        (play(&stage, start).await, Vec::new())
    };
    let ended = stage.now();
    let after = stage.view.cpu_seconds().await;
    let generator_cpu_seconds = generator_seconds() - generator_before;
    let leftover = stage.leftover().await;
    let has_ended = stage.has_ended();
    if has_ended {
        Live::say(
            "The node has ended by itself: what had not arrived counts as waiting, and its spool is kept.",
        );
    }
    let account = stage.ledger.account(&leftover);
    let latencies = stage.ledger.latencies();
    let samples = std::mem::take(&mut *stage.samples.lock().unwrap_or_else(PoisonError::into_inner));
    let node = before.zip(after).map(|(before, after)| {
        let studies = stage.ledger.totals().studies_sent;
        node_use(&stage, &samples, after - before, ended - start, studies)
    });
    let report = Report {
        version: Report::VERSION,
        chrysalis: env!("CARGO_PKG_VERSION").to_owned(),
        began: began.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
        command: settings.command.clone(),
        machine: stage.machine.clone(),
        plan: facts(&settings, ended - start),
        samples,
        acknowledge: latencies.acknowledge,
        acknowledge_stills: latencies.stills,
        deliver: latencies.deliver,
        account,
        node,
        generator_cpu_seconds,
        outages,
        steps,
        verdict: Verdict::default(),
    };
    let keep = match () {
        () if has_ended || account.lost + account.altered > 0 => Keep::All,
        () if account.delivered < account.sent => Keep::Log,
        () => Keep::Nothing,
    };
    let kept = stage.close(keep).await;
    Ok(Ended { report, kept })
}

/// Sends what the plan has, takes the PACS down and brings it back meanwhile, and waits until everything has arrived.
async fn play(stage: &Stage, start: f64) -> Vec<Outage> {
    let plan = &stage.plan;
    let real_seconds = plan.modelled_seconds() / plan.compression;
    let done = CancellationToken::new();
    let studies = match plan.asked.extent {
        Extent::Studies(studies) => Some(studies),
        Extent::Time(_) => None,
    };
    let watching =
        stage.watch(Live::new(studies, plan.compression), done.clone(), sample_interval(real_seconds));
    let interrupted = stage.cancel.clone();
    let breaking = async {
        let mut outages = Vec::new();
        for downtime in &plan.asked.outages {
            let real = |modelled: Duration| start + modelled.as_secs_f64() / plan.compression;
            let (from, to) = (real(downtime.start), real(downtime.end()));
            if wait_until(stage, from, &interrupted).await.is_none() {
                break;
            }
            outages.push(break_down(stage, to, &interrupted).await);
        }
        outages
    };
    let (_, mut outages) = tokio::join!(stage.send(schedule(plan)), breaking);
    // A pause between two attempts may still have to end.
    let patience = Duration::from_secs_f64(30.0 + 2.0 * 300.0 / plan.compression);
    stage.drain(patience).await;
    done.cancel();
    let _ = watching.await;
    outages.iter_mut().for_each(|outage| fill(outage, stage, start));
    outages
}

/// When studies are due, in real seconds.
fn schedule(plan: &Plan) -> Box<dyn Iterator<Item = f64> + Send> {
    let asked = &plan.asked;
    let arrivals = Arrivals::new(asked.seed, plan.real_studies_per_hour());
    let end = plan.modelled_seconds() / plan.compression;
    match (asked.extent, asked.burst) {
        (_, true) => Box::new((0..plan.studies() as u64).map(|_| 0.0)),
        (Extent::Studies(studies), false) => {
            Box::new(arrivals.take(usize::try_from(studies).unwrap_or(usize::MAX)))
        }
        (Extent::Time(_), false) => Box::new(arrivals.take_while(move |&at| at < end)),
    }
}

async fn wait_until(stage: &Stage, at: f64, interrupted: &CancellationToken) -> Option<()> {
    let instant = stage.began + Duration::from_secs_f64(at);
    interrupted.run_until_cancelled(tokio::time::sleep_until(instant)).await
}

/// Takes the PACS down until then.
async fn break_down(stage: &Stage, until: f64, interrupted: &CancellationToken) -> Outage {
    let mut outage = Outage {
        began_seconds: stage.now(),
        ended_seconds: 0.0,
        backlog_instances: 0,
        backlog_bytes: 0,
        drained_seconds: None,
        drain_rate_over_arrival_rate: None,
        new_studies_p99_seconds: None,
    };
    let Some(pacs) = &stage.pacs else { return outage };
    stage.is_down.store(true, Ordering::Relaxed);
    pacs.lock().await.take_down().await;
    let _ = wait_until(stage, until, interrupted).await;
    let totals = stage.ledger.totals();
    outage.backlog_instances = totals.backlog;
    outage.backlog_bytes = totals.backlog_bytes;
    // Another process could have taken the port; it is asked for until it is free.
    while pacs.lock().await.bring_back().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    outage.ended_seconds = stage.now();
    stage.is_down.store(false, Ordering::Relaxed);
    outage
}

/// What can be said of an outage when all is over.
fn fill(outage: &mut Outage, stage: &Stage, start: f64) {
    let ended = outage.ended_seconds;
    // From here on as the report counts: from the first study on.
    outage.began_seconds -= start;
    outage.ended_seconds -= start;
    let Some((at, bytes)) = stage.ledger.drained(ended) else { return };
    let seconds = at - ended;
    outage.drained_seconds = Some(seconds);
    if seconds > 0.0 {
        outage.drain_rate_over_arrival_rate =
            Some(bytes as f64 / seconds / stage.plan.modelled_bytes_per_second());
    }
    outage.new_studies_p99_seconds = stage.ledger.deliver_p99_between(ended, at);
}

/// A second, but sixty samples in a short run, and an hour's worth in a long one.
fn sample_interval(real_seconds: f64) -> Duration {
    Duration::from_secs_f64((real_seconds / 60.0).clamp(0.1, 1.0).max(real_seconds / 3600.0))
}

fn facts(settings: &Settings, duration_seconds: f64) -> PlanFacts {
    let Plan { asked, compression } = &settings.plan;
    let mix = match asked.kind {
        Some(kind) => format!("{}, {} only", asked.encoding.name(), kind.name),
        None => asked.encoding.name().to_owned(),
    };
    let profile = match &settings.target {
        Target::Own(setup) => setup.profile.clone(),
        Target::Known(_) => None,
    };
    PlanFacts {
        studies_per_hour: asked.studies_per_hour,
        time_compression: *compression,
        mix,
        carts: asked.carts,
        route: asked.route.words().to_owned(),
        profile,
        seed: asked.seed,
        duration_seconds,
        uplink_bytes_per_second: asked.uplink,
        burst: asked.burst,
    }
}

/// Processor time at the rate that is modelled follows from that of a study: what the node used beyond idling, through the studies,
/// times their rate, plus what idling takes.
fn node_use(stage: &Stage, samples: &[Sample], cpu_seconds: f64, seconds: f64, studies: u64) -> NodeUse {
    let idle_cores = stage.idle_cores.unwrap_or_default();
    let of_studies = (cpu_seconds - idle_cores * seconds).max(0.0);
    let of_a_study = if studies > 0 { of_studies / studies as f64 } else { 0.0 };
    let sampled = samples.iter().filter_map(|sample| sample.node_memory_bytes).max();
    let known = stage.view.process.and_then(Usage::of).map(|usage| usage.peak_memory);
    NodeUse {
        cores_used: if seconds > 0.0 { cpu_seconds / seconds } else { 0.0 },
        cpu_seconds,
        peak_memory_bytes: known.or(sampled).unwrap_or_default(),
        memory_slope_bytes_per_hour: memory_slope(samples, seconds),
        idle_cores,
        cores_at_rate: of_a_study * stage.plan.asked.studies_per_hour / 3600.0 + idle_cores,
    }
}

/// After ten minutes, or a third of a shorter run of at least a minute.
fn memory_slope(samples: &[Sample], seconds: f64) -> Option<f64> {
    if seconds < SHORTEST_FOR_A_SLOPE {
        return None;
    }
    let warm = (seconds / 3.0).min(600.0);
    let warm = samples.iter().filter(|sample| sample.at_seconds >= warm);
    let points: Vec<_> = warm
        .filter_map(|sample| Some((sample.at_seconds / 3600.0, sample.node_memory_bytes? as f64)))
        .collect();
    slope(&points)
}

const SHORTEST_FOR_A_SLOPE: f64 = 60.0;

/// Processor seconds of carts and PACS so far, without those of a node of their own.
pub(super) fn generator_seconds() -> f64 {
    Usage::own().map_or(0.0, |usage| usage.cpu_seconds)
}
