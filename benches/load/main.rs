//! `chrysalis load` as a script: one scenario for each goal, a table of goals at the end, and a report of each in `target/load`.
//! How each figure is taken stands in `benches/README.md`; `cargo bench --bench load -- usual outage` runs two of the
//! scenarios, and `-- --sizing` writes what their reports have into `docs/SIZING.md` and runs nothing.
#![allow(clippy::print_stdout, reason = "a bench reports on standard output")]
#![allow(clippy::unwrap_used, reason = "what cannot go on here ends the bench")]

mod goals;
#[allow(dead_code, reason = "shared with another bench")]
#[path = "../receive/report.rs"]
mod report;
mod scenarios;
mod sizing;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use chrysalis::load::report::Report;
use scenarios::{SCENARIOS, Scenario};

fn main() -> ExitCode {
    // Cargo adds flags of its own, such as `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--sizing") {
        return sizing::rewrite(&folder());
    }
    let unknown = arguments.iter().find(|name| !SCENARIOS.iter().any(|known| known.name == **name));
    if let Some(unknown) = unknown {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        println!("there is no scenario {unknown}, but {}", names.join(", "));
        return ExitCode::from(2);
    }
    std::fs::create_dir_all(folder()).unwrap();
    let wanted = SCENARIOS.iter().filter(|scenario| match arguments.is_empty() {
        true => scenario.is_usual,
        false => arguments.iter().any(|name| name == scenario.name),
    });
    let mut rows = Vec::new();
    for scenario in wanted {
        println!("\n{}: {}", scenario.name, scenario.about);
        match play(scenario) {
            Some(report) => rows.extend(goals::rows(scenario, &report)),
            None => println!("{} was not run: the program said why", scenario.name),
        }
    }
    println!();
    report::print(&rows);
    ExitCode::SUCCESS
}

/// Where the reports are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/load")
}

/// Runs a scenario; nothing where there is no report, since the program refused.
fn play(scenario: &Scenario) -> Option<Report> {
    let json = folder().join(format!("{}.json", scenario.name));
    let html = json.with_extension("html");
    let _ = std::fs::remove_file(&json);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chrysalis"));
    command.arg("load").args(scenario.arguments).arg("--json").arg(&json).arg("--html").arg(&html);
    // Its exit code tells whether goals were met, which the table does as well.
    command.status().unwrap();
    Report::read_json(&json).ok()
}
