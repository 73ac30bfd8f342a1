//! What came out of a scenario, beside its goals.

use chrysalis::load::report::{Report, verdict};

use super::report::{Row, Verdict, megabytes};
use super::scenarios::{Goal, Scenario};

/// The rows of one scenario.
pub(crate) fn rows(scenario: &Scenario, report: &Report) -> Vec<Row> {
    let mut rows = vec![account(scenario.about, report)];
    match scenario.goal {
        Goal::Modest { percent, megabytes: most } => rows.extend(modest(report, percent, most)),
        Goal::Rate(wanted) => rows.push(rate(report, wanted)),
        Goal::Drains(times) => rows.extend(drains(report, times)),
        Goal::Flat(most) => rows.push(flat(report, most)),
        Goal::Kept => rows.extend(kept(report)),
    }
    rows.push(prompt(report));
    rows
}

fn row(what: &'static str, goal: String, measured: String, is_hit: bool) -> Row {
    let verdict = if is_hit { Verdict::Hit } else { Verdict::Miss };
    Row { what, goal, measured, ratio: String::new(), verdict }
}

/// The heading of a scenario: everything is accounted for.
fn account(about: &'static str, report: &Report) -> Row {
    let account = report.account;
    let measured = format!(
        "{} sent, {} delivered; {} lost, {} altered, {} out of order",
        account.sent, account.delivered, account.lost, account.altered, account.out_of_order
    );
    let is_whole = account.delivered == account.sent && account.out_of_order == 0;
    row(about, "all delivered as sent, in order".into(), measured, is_whole)
}

fn modest(report: &Report, percent: f64, most: f64) -> Vec<Row> {
    let Some(node) = &report.node else { return Vec::new() };
    let share = node.cores_at_rate * 100.0;
    // It is what the node used beyond idling, through the studies of the run, at the rate that is modelled.
    let studies = report.samples.last().map_or(1, |sample| sample.studies_sent).max(1) as f64;
    let of_a_study = (node.cpu_seconds - node.idle_cores * report.plan.duration_seconds) / studies;
    let measured = format!(
        "{share:.2} %: {of_a_study:.3} s of a core for a study, and {:.3} % idle",
        node.idle_cores * 100.0
    );
    let memory = megabytes(node.peak_memory_bytes);
    vec![
        Row::below("— share of one core", percent, "%", share, measured),
        Row::below("— memory, most", most, "MB", memory, format!("{memory:.1} MB")),
    ]
}

fn rate(report: &Report, wanted: f64) -> Row {
    let sustained = report.steps.iter().filter(|step| step.sustained);
    let best = sustained.max_by(|one, other| one.studies_per_hour.total_cmp(&other.studies_per_hour));
    let found = best.map_or(0.0, |step| step.studies_per_hour);
    let limit = best.map_or_else(String::new, |step| {
        format!(", the node {:.2} cores and the load generator {:.2}", step.cores_used, step.generator_cores)
    });
    row(
        "— sustained",
        format!("{wanted:.0} studies/h"),
        format!("{found:.0} studies/h{limit}"),
        found >= wanted,
    )
}

fn drains(report: &Report, wanted: f64) -> Vec<Row> {
    let each = report.outages.iter().flat_map(|outage| {
        let times = outage.drain_rate_over_arrival_rate.unwrap_or_default();
        let measured = format!(
            "{times:.0} times: {:.1} GB in {:.1} s",
            outage.backlog_bytes as f64 / 1e9,
            outage.drained_seconds.unwrap_or(f64::NAN)
        );
        let new = outage.new_studies_p99_seconds;
        let new = new.map_or_else(|| "none came".to_owned(), |seconds| format!("{seconds:.1} s, 99 of 100"));
        [
            row("— drains", format!("{wanted} times the arrival rate"), measured, times >= wanted),
            Row::only("— what came meanwhile was delivered within", new),
        ]
    });
    each.collect()
}

fn flat(report: &Report, most: f64) -> Row {
    let slope = report.node.as_ref().and_then(|node| node.memory_slope_bytes_per_hour);
    match slope {
        Some(slope) => row(
            "— memory grows",
            "1 MiB/h".into(),
            format!("{:.2} MiB/h", slope / 1_048_576.0),
            slope <= most,
        ),
        None => row("— memory grows", "1 MiB/h".into(), "not measured".into(), false),
    }
}

fn kept(report: &Report) -> Vec<Row> {
    let limits = report.machine.limits.clone().unwrap_or_else(|| "nothing limited it".to_owned());
    let rows = report.verdict.rows.iter().filter(|row| row.what.contains("rate"));
    let mut rows: Vec<_> = rows
        .map(|kept| row("— the rate was kept", kept.goal.clone(), kept.measured.clone(), kept.hit))
        .collect();
    rows.push(Row::only("— limits", limits));
    rows
}

/// The bound that the report itself is judged by: 50 ms and a slow flush of this disk.
fn prompt(report: &Report) -> Row {
    let bound = verdict::acknowledge_bound(report) * 1e3;
    let measured = report.acknowledge_stills.p99 * 1e3;
    let flush = report.machine.flush_seconds * 1e3;
    let figure = format!(
        "{measured:.1} ms over {} stills; a flush takes {flush:.2} ms, {:.1} ms of 100 the slowest but one",
        report.acknowledge_stills.count,
        report.machine.flush_p99_seconds * 1e3
    );
    Row::below("— a still is answered, 99 of 100", bound.round(), "ms", measured, figure)
}
