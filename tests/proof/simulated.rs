//! The queue's simulated disk: power cuts at random operations, with unsynced writes kept, dropped or torn.
//!
//! It is a test of the queue crate, which is told here where to begin and how far to go.

use crate::part::{Broken, Part, Round, Seen};
use std::process::Command;

pub const PART: Part = Part {
    name: "simulated",
    what: "power cuts on the queue's simulated disk",
    everyday: 10_000,
    release: 1_000_000,
    needs: || Ok(()),
    round,
};

const CUTS: u64 = 10_000;
/// Seeds that are left to each round; a seed makes several cuts.
const SEEDS: u64 = CUTS;
const TEST: &str = "whatever_happens_nothing_acknowledged_is_lost";

fn round(round: &Round) -> Result<Seen, Broken> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let output = Command::new(cargo)
        // Without naming the package, what was built for the other tests is taken.
        .args(["test", "--locked", "--test", "simulated_disk"])
        .args(profile)
        .args(["--", "--exact", TEST, "--nocapture"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CHRYSALIS_SIM_CUTS", round.wanted.min(CUTS).to_string())
        .env("CHRYSALIS_SIM_FIRST", (round.seed * SEEDS).to_string())
        .output()
        .map_err(|error| Broken::new(format!("cargo: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let log = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(round.folder.join("simulated.log"), &log).unwrap();
    let tally = said.lines().find(|line| line.starts_with("seeds ")).unwrap_or_default();
    let seen = Seen {
        attacks: number(tally, "cuts"),
        acknowledged: number(tally, "acknowledged"),
        delivered: number(tally, "delivered"),
        repeated: number(tally, "repeats"),
        ..Seen::default()
    };
    if output.status.success() && seen.attacks > 0 {
        return Ok(seen);
    }
    let replay = said.lines().find(|line| line.starts_with("replay")).unwrap_or("no seed was named");
    Err(Broken { why: format!("{}: {replay}; the whole output is in simulated.log", output.status), seen })
}

/// The number after a name, as `Debug` writes a struct.
fn number(tally: &str, name: &str) -> u64 {
    let value = tally.split_once(&format!("{name}: ")).map_or("", |(_, rest)| rest);
    value.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
