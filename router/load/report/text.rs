//! The summary that ends a load test in a terminal: a screenful.

use std::fmt::Write;

use super::words::{bytes, bytes_per_second, cores, count, digits, seconds, visible};
use super::{Latency, Report, Row};

/// More steps of a search than this are found on the page.
const MOST_STEPS: usize = 8;

/// The report in fewer than forty lines, without control characters other than ends of lines.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let verdict = &report.verdict;
    writeln!(out, "{}: {}", if verdict.passed { "PASSED" } else { "FAILED" }, visible(&verdict.words))?;
    writeln!(out)?;
    let width = verdict.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    for row in &verdict.rows {
        goal(row, width, out)?;
    }
    writeln!(out)?;
    let lines = [
        ("Asked for", asked_for(report)),
        ("Machine", machine(report)),
        ("Images", images(report)),
        ("Answered", latency(&report.acknowledge)),
        ("  stills", latency(&report.acknowledge_stills)),
        ("Delivered", latency(&report.deliver)),
        ("Node used", node(report)),
        ("Repeat", report.command.clone()),
    ];
    for (name, text) in lines {
        writeln!(out, "{name:<10}{}", visible(&text))?;
    }
    steps(report, out)
}

fn goal(row: &Row, width: usize, out: &mut String) -> std::fmt::Result {
    let mark = match (row.judged, row.hit) {
        (false, _) => "-",
        (true, true) => "met",
        (true, false) => "MISSED",
    };
    writeln!(out, "  {mark:<7} {:<width$}  {}", visible(&row.what), visible(&row.measured))?;
    if row.judged && !row.hit {
        writeln!(out, "  {:<7} {:<width$}  wanted: {}", "", "", visible(&row.goal))?;
    }
    Ok(())
}

/// The plan in a line: also what the page says of it.
pub(super) fn asked_for(report: &Report) -> String {
    let plan = &report.plan;
    let mut text = match report.steps.is_empty() {
        true => format!("{} studies an hour", digits(plan.studies_per_hour)),
        false => "the highest rate that is kept up".to_owned(),
    };
    if plan.time_compression != 1.0 {
        text += &format!(", played {} times as fast", digits(plan.time_compression));
    }
    if plan.burst {
        text += ", all at once";
    }
    text += &format!("; mix {}; route {}; {} carts", plan.mix, plan.route, plan.carts);
    if let Some(rate) = plan.uplink_bytes_per_second {
        text += &format!("; line to the archive {}", bytes_per_second(rate));
    }
    if let Some(profile) = &plan.profile {
        text += &format!("; profile {profile}");
    }
    text + &format!("; took {}", seconds(plan.duration_seconds))
}

/// The machine in a line.
pub(super) fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let limits = machine.limits.as_ref().map(|limits| format!(" (limited to {limits})")).unwrap_or_default();
    format!(
        "{} cores of {}, {} memory{limits}, {}; a flush of the disk takes {} (99 of 100: {})",
        digits(machine.cores),
        machine.cpu,
        bytes(machine.memory_bytes as f64),
        machine.os,
        seconds(machine.flush_seconds),
        seconds(machine.flush_p99_seconds)
    )
}

fn images(report: &Report) -> String {
    let found = &report.account;
    format!(
        "{} sent, {} acknowledged, {} refused; {} delivered, {} waiting, {} held, {} lost, {} changed",
        count(found.sent),
        count(found.acknowledged),
        count(found.refused),
        count(found.delivered),
        count(found.waiting),
        count(found.held),
        count(found.lost),
        count(found.altered)
    )
}

fn latency(latency: &Latency) -> String {
    if latency.count == 0 {
        return "none".to_owned();
    }
    format!(
        "half within {}, 90 of 100 {}, 99 of 100 {}, all {}",
        seconds(latency.p50),
        seconds(latency.p90),
        seconds(latency.p99),
        seconds(latency.max)
    )
}

fn node(report: &Report) -> String {
    let Some(node) = &report.node else { return "not looked at".to_owned() };
    format!(
        "{} in this run, {} at the rate asked for; {} of memory at most",
        cores(node.cores_used),
        cores(node.cores_at_rate),
        bytes(node.peak_memory_bytes as f64)
    )
}

fn steps(report: &Report, out: &mut String) -> std::fmt::Result {
    if report.steps.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let skipped = report.steps.len().saturating_sub(MOST_STEPS);
    if skipped > 0 {
        writeln!(out, "  ({skipped} steps before these)")?;
    }
    for step in report.steps.iter().skip(skipped) {
        let kept = if step.sustained { "kept up" } else { "failed" };
        let rate = digits(step.studies_per_hour);
        writeln!(
            out,
            "  {rate:>9} an hour  {kept:<8} stills answered in {:<9} {}",
            seconds(step.acknowledge_p99),
            visible(&step.why)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Step, sample, verdict};
    use super::*;

    #[test]
    fn the_summary_says_the_verdict_first_and_fits_a_screen() {
        let text = summary(&sample::outage());
        assert!(text.starts_with("PASSED: All 5"), "{text}");
        for wanted in
            ["met     Catches up after an outage", "flush of the disk takes 1.1 ms", "Repeat    chrysalis"]
        {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(text.lines().count() < 40, "{text}");
    }

    #[test]
    fn the_longest_summaries_fit_a_screen_too() {
        let mut report = sample::outage();
        for row in &mut report.verdict.rows {
            row.hit = false;
        }
        let text = summary(&report);
        assert!(
            text.contains("MISSED  Memory does not grow") && text.contains("wanted: at most 1 MiB an hour")
        );
        assert!(text.lines().count() < 40, "{text}");

        let mut report = sample::find_max();
        report.steps = vec![Step { sustained: false, ..report.steps[0].clone() }; 100];
        report.verdict = verdict::judge(&report, Some(15.0));
        let text = summary(&report);
        assert!(text.contains("(92 steps before these)") && text.lines().count() < 40, "{text}");
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_control_characters() {
        let text = summary(&sample::external());
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
        assert!(text.contains("Node used not looked at"));
        assert!(summary(&sample::empty()).starts_with("FAILED: Nothing was sent"));
    }
}
