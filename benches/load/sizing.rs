//! Writes what the reports have into `docs/SIZING.md`, between two marks.

use std::path::Path;
use std::process::ExitCode;

use chrysalis::load::report::Report;

use super::goals;
use super::report::Verdict;
use super::scenarios::SCENARIOS;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Puts a table of all reports that are in `folder` between the marks.
pub(crate) fn rewrite(folder: &Path) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SIZING.md");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("{} cannot be read", path.display());
        return ExitCode::FAILURE;
    };
    let reports: Vec<_> = SCENARIOS
        .iter()
        .filter_map(|scenario| {
            let report = Report::read_json(&folder.join(format!("{}.json", scenario.name))).ok()?;
            Some((scenario, report))
        })
        .collect();
    if reports.is_empty() {
        println!("there is no report in {}: run the scenarios first", folder.display());
        return ExitCode::FAILURE;
    }
    let mut measured = String::from("| what | goal | measured | |\n|---|---|---|---|\n");
    for (scenario, report) in &reports {
        for row in goals::rows(scenario, report) {
            let verdict = match row.verdict {
                Verdict::Hit => "hit",
                Verdict::Miss => "MISS",
                Verdict::None => "",
            };
            measured += &format!("| {} | {} | {} | {verdict} |\n", row.what, row.goal, row.measured);
        }
    }
    measured += "\n| run | machine | when | command |\n|---|---|---|---|\n";
    for (scenario, report) in &reports {
        measured += &source(scenario.name, report);
    }
    match between(&text, &measured) {
        Some(text) => {
            std::fs::write(&path, text).unwrap();
            println!("{} has what {} reports say", path.display(), reports.len());
            ExitCode::SUCCESS
        }
        None => {
            println!("{} has no line {BEGIN}, or no {END} after it", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Where a run was made; the command without the files of its report.
fn source(name: &str, report: &Report) -> String {
    let machine = &report.machine;
    let limits = machine.limits.as_ref().map(|limits| format!(", {limits}")).unwrap_or_default();
    let command = report.command.split(" --json").next().unwrap_or_default();
    format!(
        "| {name} | {} cores {}, {:.0} GB, {}{limits}; flush {:.2} ms | {} | `{command}` |\n",
        machine.cores,
        machine.cpu,
        machine.memory_bytes as f64 / 1e9,
        machine.os,
        machine.flush_seconds * 1e3,
        report.began.split('T').next().unwrap_or_default(),
    )
}

/// The text with `measured` between the marks; nothing where they are not there.
fn between(text: &str, measured: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{measured}{END}{after}"))
}
