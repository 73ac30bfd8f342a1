//! What a load test's figures mean: each goal beside what was measured, in words for the person who plans a site.
//!
//! The goals that hold for every run stand first: nothing lost, nothing altered, all of it delivered, and a cart that is
//! never kept waiting. What a run cannot show, because it was too short or asked for something that no goal is set for, is
//! said to be *not judged*; it neither passes nor fails.

use super::words::{bytes, cores, count, counted, digits, seconds};
use super::{Outage, Report, Row, Sample, Step, Verdict};

/// A still's answer may take this long besides the flush that it waits for, 99 times of 100.
pub const ACKNOWLEDGE_SECONDS: f64 = 0.050;
/// What gathered while the PACS was down leaves at least so many times as fast as new studies come.
pub const DRAIN_OVER_ARRIVAL: f64 = 10.0;
/// New studies may take this many times what was usual before the outage, while the backlog drains,
pub const NEW_STUDIES_FACTOR: f64 = 2.0;
/// and this much more, because what is usual is often a fraction of a second.
pub const NEW_STUDIES_SECONDS: f64 = 5.0;
/// Memory may grow by so much in an hour: 1 MiB.
pub const MEMORY_SLOPE: f64 = 1_048_576.0;
/// The slope of a shorter run says more about chance than about memory.
pub const SLOPE_NEEDS_SECONDS: f64 = 1800.0;

/// What is expected at 40 studies an hour of one mix to one route, and of the highest rate on two cores.
struct Known {
    mix: &'static str,
    route: &'static str,
    /// Share of one core, and bytes resident at most.
    node: Option<(f64, f64)>,
    /// Studies an hour.
    highest: Option<f64>,
}

const KNOWN: [Known; 3] = [
    Known { mix: "usual", route: "jpeg-lossless stills", node: Some((0.03, 64e6)), highest: None },
    Known { mix: "usual", route: "as-received", node: None, highest: Some(4000.0) },
    Known { mix: "all-native", route: "jpeg-lossless", node: Some((0.10, 96e6)), highest: Some(300.0) },
];
/// The rate that [`KNOWN`] speaks of; more studies may use more of a core in proportion.
const KNOWN_RATE: f64 = 40.0;
const KNOWN_CORES: f64 = 2.0;

/// Compares a run with its goals; `promised` is the rate in studies an hour that the plan's profile stands for. The
/// report's own verdict is not looked at.
#[must_use]
pub fn judge(report: &Report, promised: Option<f64>) -> Verdict {
    let searched = !report.steps.is_empty();
    let mut rows = account(report);
    if searched {
        rows.push(highest_rate(report));
    } else {
        rows.push(rate(report));
    }
    rows.extend(promised.map(|promised| profile(report, promised)));
    rows.push(acknowledge(report));
    if !report.outages.is_empty() {
        rows.push(drain(&report.outages));
        rows.push(new_studies(report));
    }
    if !searched {
        rows.extend([processor(report), memory(report), slope(report)]);
    }
    conclude(report, rows)
}

/// The bound on a still's time to be acknowledged, in seconds: [`ACKNOWLEDGE_SECONDS`] and the one flush that the answer
/// waits for, as long as 99 of 100 take at most on this disk.
#[must_use]
pub fn acknowledge_bound(report: &Report) -> f64 {
    ACKNOWLEDGE_SECONDS + report.machine.flush_p99_seconds
}

/// The bound on the node's memory, if one is set for this mix and route at this rate.
#[must_use]
pub fn memory_bound(report: &Report) -> Option<f64> {
    let comparable = report.steps.is_empty() && report.plan.studies_per_hour <= KNOWN_RATE;
    known(report).and_then(|known| known.node).filter(|_| comparable).map(|(_, memory)| memory)
}

fn account(report: &Report) -> Vec<Row> {
    let found = &report.account;
    let mut rows = vec![
        row("No image lost", "0 lost", format!("{} lost", count(found.lost)), found.lost == 0),
        row("No image changed", "0 changed", format!("{} changed", count(found.altered)), found.altered == 0),
        row(
            "Everything arrived",
            format!("all {}", counted(found.acknowledged, "image", "images")),
            format!(
                "{} arrived, {} on their way, {} held back",
                count(found.delivered),
                count(found.waiting),
                count(found.held)
            ),
            found.delivered == found.acknowledged,
        ),
        row(
            "Order within each study kept",
            "0 overtaken",
            format!("{} overtaken", count(found.out_of_order)),
            found.out_of_order == 0,
        ),
    ];
    // A search ends where the node takes no more.
    if report.steps.is_empty() {
        let measured = format!("{} refused for good", count(found.refused));
        rows.insert(3, row("Every image was taken", "0 refused", measured, found.refused == 0));
    }
    rows
}

/// Whether studies left as they came, at the rate that was asked for.
fn rate(report: &Report) -> Row {
    let what = "The rate was kept up";
    let goal = format!("{} studies an hour", digits(report.plan.studies_per_hour));
    match Pace::of(report) {
        Err(why) => not_judged(what, goal, why),
        Ok(pace) => {
            let measured = format!(
                "{} sent an hour, {} on their way when the last one was sent",
                digits(pace.studies_per_hour),
                count(pace.behind)
            );
            row(what, goal, measured, pace.is_kept(report))
        }
    }
}

/// How fast studies came, and how far behind the node was when the last one had come.
struct Pace {
    studies_per_hour: f64,
    sent: u64,
    behind: u64,
}

impl Pace {
    fn of(report: &Report) -> Result<Self, &'static str> {
        let last = report.samples.last().ok_or("the run was not sampled")?;
        if report.plan.burst {
            return Err("all studies were sent at once");
        }
        let came = report.samples.iter().find(|sample| sample.studies_sent == last.studies_sent);
        let came = came.filter(|came| came.studies_sent >= 5 && came.at_seconds > 0.0);
        let came = came.ok_or("fewer than five studies were sent")?;
        if report.outages.iter().any(|outage| is_in(outage, came.at_seconds)) {
            return Err("the archive was down, or catching up, when the last study was sent");
        }
        let hours = came.at_seconds * report.plan.time_compression / 3600.0;
        Ok(Self {
            studies_per_hour: came.studies_sent as f64 / hours,
            sent: came.studies_sent,
            behind: came.studies_sent.saturating_sub(came.studies_delivered),
        })
    }

    /// Arrivals are by chance: of n studies, the rate is off by more than three parts in the root of n once in a thousand
    /// runs. One study of each cart may be on its way at any time.
    fn is_kept(&self, report: &Report) -> bool {
        let sent = self.sent as f64;
        let by_chance = (3.0 / sent.sqrt()).clamp(0.05, 0.95);
        let came = self.studies_per_hour >= report.plan.studies_per_hour * (1.0 - by_chance);
        came && self.behind as f64 <= f64::from(report.plan.carts) + sent * 0.05
    }
}

fn is_in(outage: &Outage, at: f64) -> bool {
    let drained = outage.drained_seconds.map_or(f64::INFINITY, |drained| outage.ended_seconds + drained);
    (outage.began_seconds..=drained).contains(&at)
}

fn highest_rate(report: &Report) -> Row {
    let what = "Highest rate that was kept up";
    let best = best_step(report).map_or(0.0, |step| step.studies_per_hour);
    let measured = format!("{} studies an hour", digits(best));
    let Some(goal) = known(report).and_then(|known| known.highest) else {
        return not_judged(what, "as found", &format!("{measured}; no goal is set for this mix and route"));
    };
    let goal_words = format!("at least {} studies an hour on {} cores", digits(goal), digits(KNOWN_CORES));
    if report.machine.cores < KNOWN_CORES && best < goal {
        return not_judged(what, goal_words, &format!("{measured} on {}", cores(report.machine.cores)));
    }
    row(what, goal_words, measured, best >= goal)
}

/// The step of the highest rate that the node kept up with.
pub(super) fn best_step(report: &Report) -> Option<&Step> {
    let sustained = report.steps.iter().filter(|step| step.sustained);
    sustained.max_by(|one, other| one.studies_per_hour.total_cmp(&other.studies_per_hour))
}

fn profile(report: &Report, promised: f64) -> Row {
    let what = format!("Profile {}", report.plan.profile.as_deref().unwrap_or("given"));
    let goal = format!("{} studies an hour", digits(promised));
    if let Some(best) = best_step(report) {
        let measured = format!("{} studies an hour kept up", digits(best.studies_per_hour));
        return row(what, goal, measured, best.studies_per_hour >= promised);
    }
    let asked = report.plan.studies_per_hour;
    if report.steps.is_empty() && asked < promised {
        return not_judged(what, goal, &format!("this run asked for {} an hour", digits(asked)));
    }
    match Pace::of(report) {
        _ if !report.steps.is_empty() => row(what, goal, "no rate was kept up", false),
        Err(why) => not_judged(what, goal, why),
        Ok(pace) => {
            let kept = pace.is_kept(report);
            let words = if kept { "kept up" } else { "not kept up" };
            row(what, goal, format!("{} an hour {words}", digits(asked)), kept)
        }
    }
}

fn acknowledge(report: &Report) -> Row {
    let what = "A still is answered quickly (99 of 100)";
    let bound = acknowledge_bound(report);
    let flush = seconds(report.machine.flush_p99_seconds);
    let goal = format!("at most {}: 50 ms, and a flush of this disk ({flush})", seconds(bound));
    let (p99, of) = match best_step(report) {
        Some(step) => (step.acknowledge_p99, at_best(report, step, bound)),
        None if !report.steps.is_empty() => return not_judged(what, goal, "no rate was kept up"),
        None if report.acknowledge_stills.count == 0 => return not_judged(what, goal, "no still was sent"),
        None => (report.acknowledge_stills.p99, counted(report.acknowledge_stills.count, "still", "stills")),
    };
    row(what, goal, format!("{} ({of})", seconds(p99)), p99 <= bound)
}

/// At which rate that was, and up to which rate it is as wanted. A search may let pass what takes longer.
fn at_best(report: &Report, best: &Step, bound: f64) -> String {
    let of = format!("at {} an hour", digits(best.studies_per_hour));
    let quick = report.steps.iter().filter(|step| step.sustained && step.acknowledge_p99 <= bound);
    match quick.map(|step| step.studies_per_hour).reduce(f64::max) {
        Some(rate) if rate < best.studies_per_hour => format!("{of}; as wanted up to {}", digits(rate)),
        _ => of,
    }
}

fn drain(outages: &[Outage]) -> Row {
    let what = "Catches up after an outage";
    let goal = format!("at least {} times as fast as new studies come", digits(DRAIN_OVER_ARRIVAL));
    if outages.iter().any(|outage| outage.drained_seconds.is_none()) {
        return row(what, goal, "did not finish before the run ended", false);
    }
    let slowest = outages.iter().filter_map(|outage| outage.drain_rate_over_arrival_rate).reduce(f64::min);
    let longest = outages.iter().filter_map(|outage| outage.drained_seconds).fold(0.0, f64::max);
    let waited: u64 = outages.iter().map(|outage| outage.backlog_bytes).sum();
    match slowest {
        None => not_judged(what, goal, "nothing had gathered"),
        Some(factor) => {
            let measured =
                format!("{} times: {} in {}", digits(factor), bytes(waited as f64), seconds(longest));
            row(what, goal, measured, factor >= DRAIN_OVER_ARRIVAL)
        }
    }
}

/// What came while the backlog left, against what was usual before the archive went.
fn new_studies(report: &Report) -> Row {
    let what = "New studies pass while it catches up";
    let first = report.outages.iter().map(|outage| outage.began_seconds).fold(f64::INFINITY, f64::min);
    let quiet = |sample: &&Sample| sample.at_seconds < first && !sample.sink_is_down;
    let before = report.samples.iter().filter(quiet).filter_map(|sample| sample.deliver_p99);
    let Some(usual) = before.reduce(f64::max) else {
        return not_judged(what, "about as before", "nothing was delivered before the outage");
    };
    let bound = usual * NEW_STUDIES_FACTOR + NEW_STUDIES_SECONDS;
    let goal = format!("99 of 100 within {} (usual before: {})", seconds(bound), seconds(usual));
    match report.outages.iter().filter_map(|outage| outage.new_studies_p99_seconds).reduce(f64::max) {
        None => not_judged(what, goal, "no study came meanwhile"),
        Some(found) => row(what, goal, seconds(found), found <= bound),
    }
}

fn processor(report: &Report) -> Row {
    let what = format!("Processor at {} studies an hour", digits(report.plan.studies_per_hour));
    let share = known(report).and_then(|known| known.node).map(|(share, _)| share);
    let share = share.map(|share| share * report.plan.studies_per_hour / KNOWN_RATE);
    let goal = share.map_or_else(|| "as found".to_owned(), |share| format!("at most {}", cores(share)));
    match (&report.node, share) {
        (None, _) => not_judged(what, goal, "the node could not be looked at"),
        (Some(node), None) => not_judged(what, goal, &no_goal(&cores(node.cores_at_rate))),
        (Some(node), Some(share)) => row(what, goal, cores(node.cores_at_rate), node.cores_at_rate <= share),
    }
}

fn memory(report: &Report) -> Row {
    let what = "Memory";
    let bound = memory_bound(report);
    let goal = bound.map_or_else(|| "as found".to_owned(), |bound| format!("at most {}", bytes(bound)));
    let Some(node) = &report.node else { return not_judged(what, goal, "the node could not be looked at") };
    let (found, peak) = (bytes(node.peak_memory_bytes as f64), node.peak_memory_bytes as f64);
    let faster = report.plan.time_compression;
    match bound {
        None => not_judged(what, goal, &no_goal(&found)),
        Some(bound) if peak > bound && faster > 1.0 => {
            not_judged(what, goal, &format!("{found}, with studies {} times as fast", digits(faster)))
        }
        Some(bound) => row(what, goal, found, peak <= bound),
    }
}

fn slope(report: &Report) -> Row {
    let what = "Memory does not grow";
    let goal = "at most 1 MiB an hour after ten minutes";
    match report.node.as_ref().map(|node| node.memory_slope_bytes_per_hour) {
        None => not_judged(what, goal, "the node could not be looked at"),
        Some(Some(slope)) if report.sampled_seconds() >= SLOPE_NEEDS_SECONDS => {
            let measured = format!("{} MiB an hour", digits(slope / MEMORY_SLOPE));
            row(what, goal, measured, slope <= MEMORY_SLOPE)
        }
        Some(_) => not_judged(what, goal, &format!("a run of {} shows it", seconds(SLOPE_NEEDS_SECONDS))),
    }
}

/// The verdict in a sentence: the worst first.
fn conclude(report: &Report, rows: Vec<Row>) -> Verdict {
    let found = &report.account;
    let judged = rows.iter().filter(|row| row.judged).count();
    let missed: Vec<_> =
        rows.iter().filter(|row| row.judged && !row.hit).map(|row| row.what.as_str()).collect();
    let passed = missed.is_empty() && found.sent > 0;
    let images = |number| counted(number, "image", "images");
    let words = if found.sent == 0 {
        "Nothing was sent, so nothing was shown.".to_owned()
    } else if found.lost + found.altered > 0 {
        format!(
            "Of {} that were acknowledged, {} lost and {} changed.",
            images(found.acknowledged),
            were(found.lost),
            were(found.altered)
        )
    } else {
        let arrived = match found.delivered == found.acknowledged {
            true => format!("All {} arrived unchanged", images(found.acknowledged)),
            false => format!("{} of {} arrived", count(found.delivered), images(found.acknowledged)),
        };
        match missed.as_slice() {
            [] => format!("{arrived}, and all {judged} goals that this run could show were met."),
            [one] => format!("{arrived}, but one goal was missed: {}.", lower(one)),
            several => {
                let names: Vec<_> = several.iter().map(|name| lower(name)).collect();
                format!("{arrived}, but {} goals were missed: {}.", several.len(), names.join("; "))
            }
        }
    };
    Verdict { passed, words, rows }
}

/// What mix and route are expected to cost. A mix of one kind of study alone is another mix.
fn known(report: &Report) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.route == report.plan.route && known.mix == report.plan.mix)
}

fn no_goal(found: &str) -> String {
    format!("{found}; no goal is set for this mix, route and rate")
}

fn were(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "was" } else { "were" })
}

fn lower(words: &str) -> String {
    let mut characters = words.chars();
    let first = characters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(characters).collect()
}

fn row(what: impl Into<String>, goal: impl Into<String>, measured: impl Into<String>, hit: bool) -> Row {
    Row { what: what.into(), goal: goal.into(), measured: measured.into(), hit, judged: true }
}

fn not_judged(what: impl Into<String>, goal: impl Into<String>, why: &str) -> Row {
    let measured = format!("not judged: {why}");
    Row { what: what.into(), goal: goal.into(), measured, hit: true, judged: false }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
