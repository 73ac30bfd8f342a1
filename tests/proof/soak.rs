//! Load through a bad network for a long time: carts that send, associations that are held and that come and go, an
//! archive in a mood and sometimes away. At the end the network is well, everything drains, nothing was repeated of which the
//! answer was heard, and nothing has grown.

use crate::chance::Chance;
use crate::load::{Habits, Load, received, wait_drained};
use crate::part::{Broken, Part, Round, Seen};
use crate::rest::{DESCRIPTORS, Rest, at_rest};
use crate::small::{self, Machine};
use crate::support::archive::{Action, Archive, Script};
use crate::support::deliveries;
use crate::support::instance::IMPLICIT_LITTLE;
use crate::support::modality::{Association, Modality};
use crate::support::node::Node;
use crate::support::wait::{let_pass, poll};
use crate::support::wire::VERIFICATION;
use crate::weather::{Answers, Weather};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const PART: Part = Part {
    name: "soak",
    what: "seconds of load through a bad network",
    everyday: 120,
    release: 3_600,
    needs: || Ok(()),
    round: |round| soak(round, Machine::Whole),
};

pub const SMALL: Part = Part {
    name: "soak-small",
    what: "seconds of load through a bad network with 256 MiB and one core",
    needs: small::needs,
    round: |round| soak(round, Machine::Small),
    ..PART
};

/// Seconds of one round at most: memory is compared over all of them.
const MOST: u64 = 3_600;
const CARTS: u64 = 4;
/// Slow enough that what is delivered keeps up on a busy machine.
const HABITS: Habits = Habits { patience: Duration::from_secs(2), pause: Duration::from_millis(20) };
/// Instances queued above which carts rest, so that a long queue is not taken for growth, and below which they go on.
const QUEUED: (f64, f64) = (1_000.0, 200.0);
/// Associations that are held, with an echo now and then.
const HELD: usize = 20;
/// Associations to the archive at once.
const TO_ARCHIVE: u64 = 2;
/// From one look at the node to the next.
const TICK: Duration = Duration::from_secs(1);
/// After so many of them a person looks at what is held, and has it tried again.
const ROUNDS_OF_A_PERSON: u64 = 20;
/// The most that memory may grow from the second quarter of the time to the last, in bytes.
const GROWTH: u64 = 8 << 20;

fn soak(round: &Round, machine: Machine) -> Result<Seen, Broken> {
    let mut soak = Soak::begin(round, machine)?;
    let churned = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let modality = echoes(&soak.node);
        let (churned, stop) = (&churned, &stop);
        scope.spawn(move || churn(&modality, Chance::new(round.seed + 1), churned, stop));
        let began = Instant::now();
        let wanted = Duration::from_secs(round.wanted.min(MOST));
        while began.elapsed() < wanted {
            soak.tick();
        }
        stop.store(true, Ordering::SeqCst);
        soak.seen.attacks = wanted.as_secs();
    });
    soak.seen.figure("associations that came and went", churned.load(Ordering::SeqCst) as f64);
    soak.end()
}

/// What one round consists of.
struct Soak {
    load: Option<Load>,
    from_carts: Weather,
    node: Node,
    to_archive: Weather,
    archive: Archive,
    /// Seconds after which the archive, which is away, comes back.
    away: Option<u64>,
    held: Vec<Association>,
    chance: Chance,
    ticks: u64,
    before: Rest,
    samples: Vec<Rest>,
    seen: Seen,
}

impl Soak {
    fn begin(round: &Round, machine: Machine) -> Result<Self, Broken> {
        let archive = moody(round.seed).start();
        let to_archive = Weather::begin(archive.address(), round.seed + 2, Answers::Doubled);
        let hasty = format!(
            "timeouts = {{ connect = \"1s\", acse = \"1s\", dimse = \"1s\" }}\n\
             backoff = {{ first = \"10ms\", max = \"200ms\" }}\nmax_associations = {TO_ARCHIVE}"
        );
        let builder = Node::builder()
            .home(&round.folder)
            .listener("max_associations = 250\nmax_per_address = 250")
            .listener("timeouts = { request = \"2s\", idle = \"10s\" }")
            .queue("reserve = \"1MiB\"\nhigh_watermark = \"100%\"\nretain = \"0s\"\nledger = \"0s\"")
            .dicom_with("pacs", to_archive.address(), &hasty)
            .table("[log]\nlevel = \"error\"");
        let node = machine.take(builder, &round.folder).start();
        let before = at_rest(&node).map_err(Broken::new)?;
        let from_carts = Weather::begin(node.address, round.seed + 3, Answers::Lost);
        let load = Load::start_with(from_carts.address(), round.seed, CARTS, HABITS);
        Ok(Self {
            load: Some(load),
            from_carts,
            node,
            to_archive,
            archive,
            away: None,
            held: Vec::new(),
            chance: Chance::new(round.seed),
            ticks: 0,
            before,
            samples: Vec::new(),
            seen: Seen::default(),
        })
    }

    /// One second of it.
    fn tick(&mut self) {
        let_pass(TICK);
        self.ticks += 1;
        self.samples.push(Rest { memory: self.node.resident(), descriptors: self.node.descriptors() });
        if self.chance.one_in(4) {
            self.from_carts.cut();
        }
        if self.chance.one_in(4) {
            self.to_archive.cut();
        }
        self.leave_or_come_back();
        self.hold_associations();
        let queued = self.node.metric("chrysalis_queued_instances", &[]);
        let load = self.load.as_ref().unwrap();
        if queued > QUEUED.0 {
            load.rest(true);
        } else if queued < QUEUED.1 {
            load.rest(false);
        }
        if self.ticks.is_multiple_of(ROUNDS_OF_A_PERSON) {
            self.help();
        }
    }

    /// Now and then the archive is away for some seconds.
    fn leave_or_come_back(&mut self) {
        match self.away {
            Some(0) => {
                self.archive.start_again();
                self.away = None;
            }
            Some(seconds) => self.away = Some(seconds - 1),
            None if self.chance.one_in(20) => {
                self.archive.stop();
                self.away = Some(self.chance.below(5));
            }
            None => {}
        }
    }

    /// Each association that is held says something now and then; one of them goes, in one way or another.
    fn hold_associations(&mut self) {
        self.held.retain_mut(|association| association.echo().is_ok());
        if self.held.len() == HELD {
            let leaving = self.held.swap_remove(self.chance.below(HELD as u64) as usize);
            leave(leaving, &mut self.chance);
        }
        let modality = echoes(&self.node);
        while self.held.len() < HELD
            && let Ok(association) = modality.associate()
        {
            self.held.push(association);
        }
    }

    /// As a person does: what is held because the connection broke with it three times is tried again, and so is a
    /// destination that is paused because that happened too often.
    fn help(&mut self) {
        let body = self.node.api_get("/api/queue?limit=1000&state=held").text();
        let held: Vec<_> = deliveries::Seen::read(&body);
        let names: Vec<_> = held.iter().map(|seen| format!("\"{}\"", seen.instance)).collect();
        if !names.is_empty() {
            let body = format!("{{\"instances\": [{}], \"destination\": \"pacs\"}}", names.join(", "));
            let response = self.node.api_post("/api/queue/retry", &body);
            assert_eq!(response.status, 200, "{}", response.text());
            self.seen.held += names.len() as u64;
        }
        if self.node.health("pacs") == "paused" {
            self.node.api_post("/api/destinations/pacs/resume", "");
        }
    }

    /// The network is well, everything drains, and is compared.
    fn end(mut self) -> Result<Seen, Broken> {
        if self.away.is_some() {
            self.archive.start_again();
        }
        self.from_carts.end();
        self.to_archive.end();
        self.archive.set_script(Script::default());
        for association in self.held.drain(..) {
            let _ = association.release();
        }
        let account = self.load.take().unwrap().end();
        self.drain()?;
        self.note_figures();
        let stored = self.archive.stored();
        let account = account.with_answers_lost(&self.archive.arrivals(), &stored);
        let came = [("pacs", account.compare(&received(&stored)))];
        let seen = account.judge(std::mem::take(&mut self.seen), &came)?;
        self.judge_growth(seen)
    }

    fn drain(&mut self) -> Result<(), Broken> {
        poll(Duration::from_secs(60), || {
            self.help();
            let held = self.node.metric("chrysalis_held_instances", &[]);
            (held + self.node.metric("chrysalis_queued_instances", &[]) == 0.0).then_some(())
        });
        wait_drained(&self.node).map_err(|why| Broken { why, seen: self.seen.clone() })
    }

    fn note_figures(&mut self) {
        let connections = self.from_carts.connections() + self.to_archive.connections();
        let suffered = self.from_carts.suffered() + self.to_archive.suffered();
        let peak = self.node.peak() as f64 / f64::from(1 << 20);
        let seen = &mut self.seen;
        seen.figure("connections", connections as f64);
        seen.figure("connections with a fault", suffered as f64);
        seen.figure("memory at most, MiB", peak);
        let most = self.samples.iter().map(|sample| sample.descriptors).max().unwrap_or_default();
        seen.figure("descriptors at most", most as f64);
    }

    /// Memory of the last quarter against that of the second, at the median, which no single instance moves; and
    /// descriptors at rest.
    fn judge_growth(&self, mut seen: Seen) -> Result<Seen, Broken> {
        let quarter = self.samples.len() / 4;
        let (early, late) = (self.median(quarter, 2 * quarter), self.median(3 * quarter, self.samples.len()));
        let growth = late.saturating_sub(early);
        seen.figure("memory growth, KiB", (growth >> 10) as f64);
        let after = at_rest(&self.node).map_err(|why| Broken { why, seen: seen.clone() })?;
        let more = after.descriptors.saturating_sub(self.before.descriptors);
        seen.figure("descriptors more", more as f64);
        match () {
            () if growth > GROWTH => {
                Err(Broken { why: format!("memory grew by {} KiB", growth >> 10), seen })
            }
            () if more > DESCRIPTORS => Err(Broken { why: format!("{more} descriptors more"), seen }),
            () => Ok(seen),
        }
    }

    fn median(&self, from: usize, to: usize) -> u64 {
        let mut memory: Vec<_> = self.samples[from..to].iter().map(|sample| sample.memory).collect();
        memory.sort_unstable();
        memory.get(memory.len() / 2).copied().unwrap_or_default()
    }
}

fn echoes(node: &Node) -> Modality {
    Modality::new(node.address)
        .context(VERIFICATION, &[IMPLICIT_LITTLE])
        .calling("HOLDER")
        .timeout(HABITS.patience)
}

/// An archive that is out of resources, warns, aborts or says nothing, each now and then.
fn moody(seed: u64) -> Script {
    let mut chance = Chance::new(seed + 4);
    Script::default().on_store(move |_, _| match chance.below(400) {
        0..20 => Action::Answer(0xA700),
        20..40 => Action::Answer(0xB000),
        40..44 => Action::Abort,
        44..48 => Action::AbortDuring(chance.below(40_000)),
        48..52 => Action::Close,
        52 | 53 => Action::Silence,
        54..60 => Action::SleepThen(chance.milliseconds(1, 200), 0),
        _ => Action::Answer(0),
    })
}

/// Opens and leaves associations until told to stop.
fn churn(modality: &Modality, mut chance: Chance, count: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        if let Ok(association) = modality.associate() {
            leave(association, &mut chance);
            count.fetch_add(1, Ordering::SeqCst);
        }
        let_pass(Duration::from_millis(20));
    }
}

fn leave(association: Association, chance: &mut Chance) {
    match chance.below(4) {
        0 => drop(association.abort()),
        1 => association.vanish(),
        _ => drop(association.release()),
    }
}
