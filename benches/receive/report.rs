//! The table that a run ends with, and the arithmetic behind its figures.

use std::time::Duration;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) goal: String,
    pub(crate) measured: String,
    pub(crate) ratio: String,
    pub(crate) verdict: Verdict,
}

/// Whether the goal was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Hit,
    Miss,
    /// There is no goal, or nothing to compare with.
    None,
}

impl Row {
    /// A figure that must be at least so many times the peer's.
    pub(crate) fn times(what: &'static str, goal: f64, measured: String, ratio: f64) -> Self {
        Self {
            what,
            goal: format!("{goal} x"),
            measured,
            ratio: format!("{ratio:.2} x"),
            verdict: Verdict::of(ratio >= goal),
        }
    }

    /// A figure that must stay below a limit.
    pub(crate) fn below(what: &'static str, limit: f64, unit: &str, value: f64, measured: String) -> Self {
        Self {
            what,
            goal: format!("{limit} {unit}"),
            measured,
            ratio: format!("{:.2} of it", value / limit),
            verdict: Verdict::of(value <= limit),
        }
    }

    /// A figure without a goal.
    pub(crate) fn only(what: &'static str, measured: String) -> Self {
        Self { what, goal: String::new(), measured, ratio: String::new(), verdict: Verdict::None }
    }
}

impl Verdict {
    fn of(is_hit: bool) -> Self {
        if is_hit { Self::Hit } else { Self::Miss }
    }
}

/// Prints the rows as a Markdown table.
pub(crate) fn print(rows: &[Row]) {
    println!("| what | goal | measured | ratio | |\n|---|---|---|---|---|");
    for Row { what, goal, measured, ratio, verdict } in rows {
        let verdict = match verdict {
            Verdict::Hit => "hit",
            Verdict::Miss => "MISS",
            Verdict::None => "",
        };
        println!("| {what} | {goal} | {measured} | {ratio} | {verdict} |");
    }
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[at] } else { f64::midpoint(sorted[at - 1], sorted[at]) }
}

/// Median, least and greatest, as `330 (310-335)`.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    format!("{:.0} ({least:.0}-{greatest:.0})", median(values))
}

/// What a rate becomes when each of `flushes` that one unit waits for takes `modelled` in place of `measured`.
pub(crate) fn modelled(rate: f64, flushes: f64, measured: Duration, modelled: Duration) -> f64 {
    1.0 / (1.0 / rate + flushes * (modelled.as_secs_f64() - measured.as_secs_f64()))
}

/// Megabytes, of a million bytes each.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
