//! What a part of the proof is, and what its rounds report.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// One way of attacking the promise.
pub struct Part {
    /// Its name on the command line and in the tally: lower case, hyphens.
    pub name: &'static str,
    /// What one attack is, in the plural, for people: `kills with SIGKILL under load`.
    pub what: &'static str,
    /// Attacks in the everyday command.
    pub everyday: u64,
    /// Attacks before a release.
    pub release: u64,
    /// Whether it can run here; if not, what is missing: `xfs_io is not installed`.
    pub needs: fn() -> Result<(), String>,
    /// Makes some attacks, at most [`Round::wanted`] of them unless one alone cannot be had, from a fresh start to the
    /// comparison at the end. A panic counts as [`Broken`].
    pub round: fn(&Round) -> Result<Seen, Broken>,
}

/// What one round is given.
pub struct Round {
    /// All that is left to chance in the round comes from this number.
    pub seed: u64,
    /// Attacks that are still wanted.
    pub wanted: u64,
    /// An empty folder, for everything that somebody would want to see if the round breaks: it is kept then.
    pub folder: PathBuf,
}

/// What the oracle saw in one round, or in all of them.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Cuts, kills, failures, flips.
    pub attacks: u64,
    /// Instances whose Success was received, and received before the power went.
    pub acknowledged: u64,
    /// Instances that arrived, counted at each destination.
    pub delivered: u64,
    /// Arrivals of what had arrived there before.
    pub repeated: u64,
    /// Acknowledged instances that did not arrive, counted at each destination.
    pub lost: u64,
    /// Arrivals with other bytes or other pixels than were sent.
    pub altered: u64,
    /// Acknowledged instances that wait, held and with an alarm, where that is what has to happen.
    pub held: u64,
    /// The longest time from starting the program to its first accepted connection.
    pub slowest_start: Duration,
    /// Other figures by name, unit included (`memory growth, MiB`); of each the largest counts.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.attacks += other.attacks;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.altered += other.altered;
        self.held += other.held;
        self.slowest_start = self.slowest_start.max(other.slowest_start);
        other.figures.iter().for_each(|(name, value)| self.figure(name, *value));
    }

    /// Notes a figure of which the largest counts.
    pub fn figure(&mut self, name: &str, value: f64) {
        let largest = self.figures.entry(name.to_owned()).or_insert(value);
        *largest = largest.max(value);
    }
}

/// A round that found something, or could not be made.
#[derive(Debug)]
pub struct Broken {
    /// What, with the names of what is lost or altered.
    pub why: String,
    /// What was seen until then.
    pub seen: Seen,
}

impl Broken {
    pub fn new(why: impl Display) -> Self {
        Self { why: why.to_string(), seen: Seen::default() }
    }
}
