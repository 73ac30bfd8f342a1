//! What a load test found: plain data, in seconds and bytes, and what people are shown of it.
//!
//! ```text
//!  Report ──► verdict: goals against measurements ──► Report::verdict
//!    │
//!    ├──► file: JSON, to be read again by programs
//!    ├──► text: a screenful for the terminal
//!    └──► html: one page with plots, that needs nothing but itself
//!           └── plots: which lines there are ── svg: how one is drawn ── axis, thin
//! ```
//!
//! Nothing here measures, waits or asks the time, so that a page can be made again from the JSON of years ago.

use serde::{Deserialize, Serialize};

mod axis;
mod file;
pub mod html;
mod plots;
mod svg;
pub mod text;
mod thin;
pub mod verdict;
mod words;

#[cfg(test)]
mod sample;

pub use file::{ReadError, WriteError};

/// What a load test found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this form of the report: [`Report::VERSION`].
    pub version: u32,
    /// The version of the program that made it.
    pub chrysalis: String,
    /// When it began, as in RFC 3339.
    pub began: String,
    /// The command that repeats it.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked for.
    pub plan: PlanFacts,
    /// How it went, in order of time.
    pub samples: Vec<Sample>,
    /// Seconds from the first byte of a C-STORE-RQ to its answer, over all instances.
    pub acknowledge: Latency,
    /// The same, over stills alone.
    pub acknowledge_stills: Latency,
    /// Seconds from the first byte that the cart sent to the last byte at the PACS.
    pub deliver: Latency,
    /// What became of every instance.
    pub account: Account,
    /// What the node used; nothing for a node that could not be looked at.
    pub node: Option<NodeUse>,
    /// Processor seconds of the process that made the load, carts and PACS together.
    pub generator_cpu_seconds: f64,
    /// Times at which the PACS was down.
    pub outages: Vec<Outage>,
    /// The steps of a search for the highest rate.
    pub steps: Vec<Step>,
    /// What all of this means.
    pub verdict: Verdict,
}

impl Report {
    /// The form that is written, and the only one that is read.
    pub const VERSION: u32 = 1;

    /// Seconds that the samples cover: the time of the last one.
    #[must_use]
    pub fn sampled_seconds(&self) -> f64 {
        self.samples.last().map_or(0.0, |last| last.at_seconds)
    }
}

/// The machine that a load test ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that may be used; a control group may allow parts of one.
    pub cores: f64,
    /// Memory that may be used.
    pub memory_bytes: u64,
    /// The operating system.
    pub os: String,
    /// Median of 500 appends of 4 KiB, each with `fdatasync`, in the directory of the spool.
    pub flush_seconds: f64,
    /// 99 of 100 of them took at most as long.
    pub flush_p99_seconds: f64,
    /// What a control group allows, in words; nothing if none limits anything.
    pub limits: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// The rate that is modelled.
    pub studies_per_hour: f64,
    /// By how much time was compressed: at 60, an hour's studies came in a minute.
    pub time_compression: f64,
    /// How studies are made up and encoded.
    pub mix: String,
    /// Carts that send at the same time, at most.
    pub carts: u32,
    /// What the PACS wants: `as-received`, `jpeg-lossless stills`, `jpeg-lossless`.
    pub route: String,
    /// The profile that the node was given.
    pub profile: Option<String>,
    /// Of arrivals and pictures.
    pub seed: u64,
    /// How long it took, as a clock on the wall says, draining included.
    pub duration_seconds: f64,
    /// What the PACS could take at most; nothing if it took what came.
    pub uplink_bytes_per_second: Option<f64>,
    /// Whether all studies came at once.
    pub burst: bool,
}

/// How it stood at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the first study was due.
    pub at_seconds: f64,
    /// Studies of which every instance was answered.
    pub studies_sent: u64,
    /// Studies of which every instance is at the PACS.
    pub studies_delivered: u64,
    /// Instances answered with success.
    pub instances_acknowledged: u64,
    /// Instances at the PACS.
    pub instances_delivered: u64,
    /// Bytes of the instances answered.
    pub bytes_acknowledged: u64,
    /// Bytes, as sent, of the instances at the PACS.
    pub bytes_delivered: u64,
    /// Instances answered and not at the PACS.
    pub backlog_instances: u64,
    /// Their bytes, as sent.
    pub backlog_bytes: u64,
    /// Seconds to the answer, of those answered since the sample before.
    pub acknowledge_p50: Option<f64>,
    /// The same; 99 of 100 took at most as long.
    pub acknowledge_p99: Option<f64>,
    /// Seconds until it was at the PACS, of those that came there since the sample before.
    pub deliver_p50: Option<f64>,
    /// The same; 99 of 100 took at most as long.
    pub deliver_p99: Option<f64>,
    /// Processor seconds of the node so far.
    pub node_cpu_seconds: Option<f64>,
    /// Its resident memory.
    pub node_memory_bytes: Option<u64>,
    /// Its open descriptors.
    pub node_descriptors: Option<u64>,
    /// Bytes of its spool.
    pub spool_bytes: Option<u64>,
    /// Whether the PACS was down.
    pub sink_is_down: bool,
}

/// A distribution of seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Of how many.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Half of them took at most as long.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All of them.
    pub max: f64,
}

/// What became of every instance, by hash; each is counted in one of `delivered`, `waiting`, `held`, `lost` and `altered`
/// if it was acknowledged, else in `refused`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Instances that the carts had to send.
    pub sent: u64,
    /// Answered with success.
    pub acknowledged: u64,
    /// Never answered with success, however often they were sent.
    pub refused: u64,
    /// At the PACS as sent: byte for byte, or pixel for pixel where the route transcodes.
    pub delivered: u64,
    /// Still in the node, on their way.
    pub waiting: u64,
    /// Held in the node.
    pub held: u64,
    /// Acknowledged, and nowhere.
    pub lost: u64,
    /// At the PACS as something else.
    pub altered: u64,
    /// Arrivals at the PACS beyond the first of an instance.
    pub repeated: u64,
    /// Arrivals at the PACS after a later one of the same study.
    pub out_of_order: u64,
    /// Attempts of the carts that were not answered with success.
    pub attempts_failed: u64,
}

/// What the node used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NodeUse {
    /// Mean share of one core, over the run as it was.
    pub cores_used: f64,
    /// Processor seconds from before the first study until everything was delivered.
    pub cpu_seconds: f64,
    /// The most that was resident.
    pub peak_memory_bytes: u64,
    /// By least squares over the samples after the time to warm up; nothing if the run was too short.
    pub memory_slope_bytes_per_hour: Option<f64>,
    /// Share of one core of the node before the first study came.
    pub idle_cores: f64,
    /// Share of one core at the rate that is modelled: processor seconds of a study, times studies per hour, through 3600, plus `idle_cores`.
    pub cores_at_rate: f64,
}

/// A time at which the PACS was down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// Seconds since the first study was due.
    pub began_seconds: f64,
    /// The same, of its end.
    pub ended_seconds: f64,
    /// Instances that waited when it ended.
    pub backlog_instances: u64,
    /// Their bytes, as sent.
    pub backlog_bytes: u64,
    /// Seconds from its end until nothing acknowledged during it waited any more; nothing if that never came.
    pub drained_seconds: Option<f64>,
    /// Bytes a second delivered while it drained, against bytes a second that are new at the rate that is modelled.
    pub drain_rate_over_arrival_rate: Option<f64>,
    /// Seconds to the PACS of what carts sent while it drained.
    pub new_studies_p99_seconds: Option<f64>,
}

/// A step of the search for the highest rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The rate that was tried.
    pub studies_per_hour: f64,
    /// Whether the node kept up.
    pub sustained: bool,
    /// Why it did, or did not.
    pub why: String,
    /// Seconds to the answer of a still; 99 of 100 took at most as long.
    pub acknowledge_p99: f64,
    /// Mean cores used by the node.
    pub cores_used: f64,
    /// Mean cores used by what made the load.
    pub generator_cores: f64,
}

/// What all of it means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every row that could be judged is a hit, and something was sent.
    pub passed: bool,
    /// In a sentence.
    pub words: String,
    /// What was compared with what.
    pub rows: Vec<Row>,
}

/// One goal and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub what: String,
    /// What is wanted.
    pub goal: String,
    /// What was seen.
    pub measured: String,
    /// Whether that is enough; `true` for what was not judged.
    pub hit: bool,
    /// Whether this run could show it; if not, `measured` says why.
    pub judged: bool,
}
