//! Reports that no run made, for tests: what a run could have found, drawn from a small generator.

use super::{
    Account, Latency, Machine, NodeUse, Outage, PlanFacts, Report, Row, Sample, Step, Verdict, verdict,
};

/// An hour and six minutes in which an outage of four hours was played sixty times as fast.
pub(super) fn outage() -> Report {
    let mut report = plain(2400);
    report.outages = vec![Outage {
        began_seconds: 600.0,
        ended_seconds: 840.0,
        backlog_instances: 5820,
        backlog_bytes: 15_840_000_000,
        drained_seconds: Some(150.0),
        drain_rate_over_arrival_rate: Some(96.0),
        new_studies_p99_seconds: Some(2.9),
    }];
    let mut chance = Chance(7);
    for sample in &mut report.samples {
        let at = sample.at_seconds;
        sample.sink_is_down = (600.0..840.0).contains(&at);
        let behind = match at {
            600.0..840.0 => (at - 600.0) / 240.0,
            840.0..990.0 => 1.0 - (at - 840.0) / 150.0,
            _ => continue,
        };
        let gathered = (5820.0 * behind) as u64;
        sample.backlog_instances += gathered;
        sample.backlog_bytes += gathered * 2_720_000;
        sample.instances_delivered = sample.instances_acknowledged - sample.backlog_instances;
        sample.bytes_delivered = sample.instances_delivered * 2_720_000;
        sample.spool_bytes = sample.spool_bytes.map(|bytes| bytes + gathered * 2_720_000);
        sample.deliver_p50 = (!sample.sink_is_down).then(|| chance.about(0.5));
        sample.deliver_p99 = (!sample.sink_is_down).then(|| rounded(990.0 - at + 240.0 + chance.about(1.0)));
    }
    judged(report, Some(40.0))
}

/// A search that ended at 4,800 studies an hour.
pub(super) fn find_max() -> Report {
    let mut report = plain(480);
    report.command = "chrysalis load --find-max --mix usual --route as-received".to_owned();
    report.plan.route = "as-received".to_owned();
    report.plan.time_compression = 1.0;
    let step = |studies_per_hour: f64, sustained: bool, acknowledge_p99: f64, why: &str| Step {
        studies_per_hour,
        sustained,
        why: why.to_owned(),
        acknowledge_p99,
        cores_used: rounded(studies_per_hour * 0.000_17),
        generator_cores: rounded(studies_per_hour * 0.000_11),
    };
    let kept = "all answered in time, nothing gathered";
    report.steps = vec![
        step(600.0, true, 0.011, kept),
        step(1200.0, true, 0.013, kept),
        step(2400.0, true, 0.019, kept),
        step(4800.0, true, 0.038, kept),
        step(9600.0, false, 0.84, "the answer of a still took more than 62 ms"),
        step(7200.0, false, 0.21, "the backlog grew for a minute"),
        step(6000.0, true, 0.051, kept),
        step(6600.0, false, 0.12, "the answer of a still took more than 62 ms"),
    ];
    judged(report, None)
}

/// A short run against a node that could not be looked at, whose command and machine hold what a page must escape.
pub(super) fn external() -> Report {
    let mut report = plain(2);
    report.command = "chrysalis load --to 'A&B <pacs>' --mix \"usual\"".to_owned();
    report.machine.cpu = "<script>alert(1)</script> & \u{1b}[2J".to_owned();
    report.node = None;
    for sample in &mut report.samples {
        (sample.node_cpu_seconds, sample.node_memory_bytes) = (None, None);
        (sample.node_descriptors, sample.spool_bytes) = (None, None);
        (sample.deliver_p50, sample.deliver_p99) = (None, None);
    }
    judged(report, None)
}

/// Nothing at all: what a run that was stopped at once leaves.
pub(super) fn empty() -> Report {
    let mut report = plain(0);
    report.account = Account::default();
    report.acknowledge = Latency::default();
    report.acknowledge_stills = Latency::default();
    report.deliver = Latency::default();
    report.node = None;
    judged(report, None)
}

/// A run of so many samples, one a second, in which nothing remarkable happened.
pub(super) fn plain(samples: u32) -> Report {
    let mut chance = Chance(1);
    let mut sent = 0.0;
    let samples: Vec<_> =
        (1..=samples).map(|second| sample(f64::from(second), &mut sent, &mut chance)).collect();
    let images = samples.last().map_or(0, |last| last.instances_acknowledged);
    let latency = |p50: f64| Latency {
        count: images,
        mean: rounded(p50 * 1.2),
        p50,
        p90: rounded(p50 * 1.9),
        p99: rounded(p50 * 3.4),
        max: rounded(p50 * 9.0),
    };
    let account = Account { sent: images, acknowledged: images, delivered: images, ..Account::default() };
    let report = Report {
        version: Report::VERSION,
        chrysalis: "0.1.0".to_owned(),
        began: "2026-03-04T09:15:00Z".to_owned(),
        command:
            "chrysalis load --studies-per-hour 40 --mix usual --compress 60 --duration 40min --outage 4h"
                .to_owned(),
        machine: Machine {
            cpu: "An ordinary processor at 2.4 GHz".to_owned(),
            cores: 2.0,
            memory_bytes: 4_000_000_000,
            os: "Linux 6.1".to_owned(),
            flush_seconds: 0.0011,
            flush_p99_seconds: 0.0042,
            limits: Some("2 cores, 512 MiB of memory".to_owned()),
        },
        plan: PlanFacts {
            studies_per_hour: 40.0,
            time_compression: 60.0,
            mix: "usual".to_owned(),
            carts: 8,
            route: "jpeg-lossless stills".to_owned(),
            profile: Some("medium".to_owned()),
            seed: 1,
            duration_seconds: f64::from(samples.len() as u32) + 3.0,
            uplink_bytes_per_second: None,
            burst: false,
        },
        samples,
        acknowledge: latency(0.014),
        acknowledge_stills: latency(0.011),
        deliver: latency(0.42),
        account,
        node: Some(NodeUse {
            cores_used: 0.83,
            cpu_seconds: 1992.0,
            peak_memory_bytes: 58_400_000,
            memory_slope_bytes_per_hour: Some(210_000.0),
            idle_cores: 0.004,
            cores_at_rate: 0.0178,
        }),
        generator_cpu_seconds: 1620.0,
        outages: Vec::new(),
        steps: Vec::new(),
        verdict: Verdict::default(),
    };
    judged(report, None)
}

fn sample(at_seconds: f64, sent: &mut f64, chance: &mut Chance) -> Sample {
    *sent += chance.about(0.667);
    let studies_sent = *sent as u64;
    let acknowledged = (*sent * 36.4) as u64;
    let backlog = (chance.about(6.0) as u64).min(acknowledged);
    let spike = if chance.about(1.0) > 1.48 { 6.0 } else { 1.0 };
    Sample {
        at_seconds,
        studies_sent,
        studies_delivered: studies_sent.saturating_sub(1),
        instances_acknowledged: acknowledged,
        instances_delivered: acknowledged - backlog,
        bytes_acknowledged: acknowledged * 2_720_000,
        bytes_delivered: (acknowledged - backlog) * 2_720_000,
        backlog_instances: backlog,
        backlog_bytes: backlog * 2_720_000,
        acknowledge_p50: Some(chance.about(0.011)),
        acknowledge_p99: Some(rounded(chance.about(0.034) * spike)),
        deliver_p50: Some(chance.about(0.42)),
        deliver_p99: Some(rounded(chance.about(1.4) * spike)),
        node_cpu_seconds: Some(rounded(at_seconds * 0.83 + chance.about(3.0))),
        node_memory_bytes: Some(
            41_000_000 + (chance.about(3.6e6) as u64) + (at_seconds.min(120.0) * 1e5) as u64,
        ),
        node_descriptors: Some(60),
        spool_bytes: Some(400_000_000 + acknowledged.min(9000) * 2_720_000),
        sink_is_down: false,
    }
}

fn judged(mut report: Report, promised: Option<f64>) -> Report {
    report.verdict = verdict::judge(&report, promised);
    report
}

/// The row whose first column begins so.
pub(super) fn row<'a>(verdict: &'a Verdict, what: &str) -> &'a Row {
    let found = verdict.rows.iter().find(|row| row.what.starts_with(what));
    found.unwrap_or_else(|| panic!("no row {what} in {:#?}", verdict.rows))
}

/// A linear congruential generator: enough to look uneven.
struct Chance(u64);

impl Chance {
    /// Between half of the value and one and a half times it.
    fn about(&mut self, value: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rounded(value * (0.5 + (self.0 >> 40) as f64 / (1u64 << 24) as f64))
    }
}

/// To what JSON gives back exactly.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
