//! What all rounds of a part came to, and the table of it.

use crate::part::{Broken, Part, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// The sum over rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tally {
    pub rounds: u64,
    pub seen: Seen,
    /// Seeds of rounds that broke.
    pub broken: Vec<u64>,
    pub next_seed: u64,
    pub time: Duration,
    /// The revisions of the program that were attacked.
    pub revisions: BTreeSet<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            rounds: 0,
            seen: Seen::default(),
            broken: Vec::new(),
            next_seed: 1,
            time: Duration::ZERO,
            revisions: BTreeSet::new(),
        }
    }
}

impl Tally {
    pub fn note(&mut self, seed: u64, result: &Result<Seen, Broken>, time: Duration) {
        self.rounds += 1;
        self.next_seed = self.next_seed.max(seed + 1);
        self.time += time;
        self.revisions.insert(revision());
        match result {
            Ok(seen) => self.seen.add(seen),
            Err(broken) => {
                self.seen.add(&broken.seen);
                self.broken.push(seed);
            }
        }
    }
}

/// Prints the tallies as a table in Markdown, and below it on what they were made.
pub fn print<'a>(tallies: impl Iterator<Item = (&'a Part, Tally)>) {
    println!(
        "| part | attacks | acknowledged | delivered | repeated | lost | altered | held | slowest start | rounds broken | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let (mut revisions, mut figures) = (BTreeSet::new(), Vec::new());
    for (part, tally) in tallies {
        let seen = &tally.seen;
        let counts = [
            seen.attacks,
            seen.acknowledged,
            seen.delivered,
            seen.repeated,
            seen.lost,
            seen.altered,
            seen.held,
        ];
        let start = if seen.slowest_start.is_zero() {
            "-".to_owned()
        } else {
            format!("{} ms", seen.slowest_start.as_millis())
        };
        println!(
            "| {} | {} | {start} | {} of {} | {} |",
            part.name,
            counts.map(grouped).join(" | "),
            tally.broken.len(),
            tally.rounds,
            spoken(tally.time)
        );
        figures.extend(seen.figures.iter().map(|(name, value)| format!("{}: {name} {value:.1}", part.name)));
        revisions.extend(tally.revisions);
    }
    println!();
    figures.iter().for_each(|figure| println!("{figure}"));
    let revisions: Vec<_> = revisions.into_iter().collect();
    println!("{}; revision {}", machine(), revisions.join(", "));
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let commas = |(at, digit): (usize, char)| {
        let comma = at > 0 && (digits.len() - at).is_multiple_of(3);
        [comma.then_some(','), Some(digit)].into_iter().flatten()
    };
    digits.chars().enumerate().flat_map(commas).collect()
}

fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..600 => format!("{seconds} s"),
        600..36_000 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// What git calls the sources as they lie here.
fn revision() -> String {
    let git = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (processors, kernel) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, Linux {}",
        model.map_or("an unknown kind", |(_, model)| model),
        kernel.trim()
    )
}
