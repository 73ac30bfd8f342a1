//! Looks at the node, and at the account, once a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::account::Ledger;
use super::live::Live;
use super::node::{Admin, Told};
use super::proc::Usage;
use super::report::Sample;

/// Where a node can be looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Its process, where it is on this machine and known.
    pub(super) process: Option<u32>,
    /// Its HTTP side.
    pub(super) admin: Option<Admin>,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) usage: Option<Usage>,
    pub(super) told: Option<Told>,
}

impl View {
    /// Looks; at the metrics only when `asks`, since answering costs the node something.
    pub(super) async fn look(&self, asks: Asks) -> Seen {
        let usage = self.process.and_then(Usage::of);
        let told = match &self.admin {
            Some(admin) if asks == Asks::Metrics || self.process.is_none() => {
                let admin = admin.clone();
                tokio::task::spawn_blocking(move || admin.metrics().ok()).await.ok().flatten()
            }
            _ => None,
        };
        Seen { usage, told }
    }

    /// Processor seconds of the node so far.
    pub(super) async fn cpu_seconds(&self) -> Option<f64> {
        self.look(Asks::Process).await.cpu_seconds()
    }
}

impl Seen {
    /// Processor seconds of the node so far, with those of what it has started.
    fn cpu_seconds(&self) -> Option<f64> {
        let usage = self.usage.map(|usage| usage.cpu_seconds + usage.children_cpu_seconds);
        usage.or(self.told.and_then(|told| told.cpu_seconds))
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// The process only, where it is known.
    Process,
    /// The metrics too.
    Metrics,
}

/// Takes samples until it is cancelled.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) view: View,
    pub(super) ledger: Arc<Ledger>,
    /// When the first study was due.
    pub(super) zero: Instant,
    pub(super) interval: Duration,
    pub(super) is_down: Arc<AtomicBool>,
    pub(super) samples: Arc<Mutex<Vec<Sample>>>,
}

/// The node is asked for its metrics with every so many samples.
const SELDOM: usize = 10;

impl Watch {
    /// Takes a sample after each interval, and shows it.
    pub(super) async fn run(self, mut live: Live, until: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut spool_bytes = None;
        for number in 0.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = until.cancelled() => break,
            }
            let asks = if number % SELDOM == 0 { Asks::Metrics } else { Asks::Process };
            let seen = self.view.look(asks).await;
            spool_bytes = seen.told.and_then(|told| told.spool_bytes).or(spool_bytes);
            live.show(&self.take(seen, spool_bytes));
        }
        live.end();
        self.take(self.view.look(Asks::Metrics).await, spool_bytes);
    }

    fn take(&self, seen: Seen, spool_bytes: Option<u64>) -> Sample {
        let told = seen.told.unwrap_or_default();
        let mut sample = self.ledger.sample(self.zero.elapsed().as_secs_f64());
        sample.node_cpu_seconds = seen.cpu_seconds();
        sample.node_memory_bytes = seen.usage.map(|usage| usage.memory).or(told.memory);
        sample.node_descriptors = seen.usage.map(|usage| usage.descriptors).or(told.descriptors);
        sample.spool_bytes = told.spool_bytes.or(spool_bytes);
        sample.sink_is_down = self.is_down.load(Ordering::Relaxed);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push(sample.clone());
        sample
    }
}
