//! How much one node carries: a long queue at the start, associations that are held, associations that come and go.
//!
//! As many instances are queued as associations are opened and released. Limits of memory hold in every build; what time
//! anything may take is a promise of the release build on a whole machine, and elsewhere only told.

use crate::part::{Broken, Part, Round, Seen};
use crate::rest::{DESCRIPTORS, Rest, after_a_moment, at_rest};
use crate::small::{self, Machine};
use crate::support::archive::Archive;
use crate::support::backlog;
use crate::support::instance::{Digest, IMPLICIT_LITTLE, Instance, Study};
use crate::support::modality::{Association, Failure, Modality};
use crate::support::node::{Node, NodeBuilder, sum};
use crate::support::wait::poll;
use crate::support::wire::VERIFICATION;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const PART: Part = Part {
    name: "capacity",
    what: "associations opened and released, and as many instances queued",
    everyday: 20_000,
    release: 100_000,
    needs: || Ok(()),
    round: |round| Trial { round, machine: Machine::Whole }.run(),
};

pub const SMALL: Part = Part {
    name: "capacity-small",
    what: "associations opened and released with 256 MiB and one core, and as many instances queued",
    needs: small::needs,
    round: |round| Trial { round, machine: Machine::Small }.run(),
    ..PART
};

/// Attacks of one round at most: all of them.
const MOST: u64 = 100_000;

// --- goals ---

/// From the start of the program to the first accepted connection, with the long queue.
const LISTENING: Duration = Duration::from_secs(2);
/// From the start of the program to the index made anew, whose folder was removed.
const REBUILT: Duration = Duration::from_secs(30);
/// Associations held at once.
const HELD: u16 = 1_000;
/// Bytes of memory that each of them may take.
const PER_ASSOCIATION: u64 = 64 << 10;
/// Bytes by which memory may drift over all associations that come and go.
const DRIFT: u64 = 2 << 20;

// --- how ---

/// Associations that come and go before memory is looked at for the first time.
const WARM_UP: u64 = 5_000;
/// Those who open and release at once.
const CALLERS: u64 = 4;
/// Instances that others store beside those who hold their associations.
const BESIDE: u32 = 50;
/// Longest time without a single delivery while the queue drains.
const STANDSTILL: Duration = Duration::from_secs(30);

/// A part of a round. What it misses of its goals it lists, what ends it is an error.
type Step<'a> = fn(&Trial<'a>, &mut Seen, &mut Vec<String>) -> Result<(), String>;

/// One round.
struct Trial<'a> {
    round: &'a Round,
    machine: Machine,
}

impl Trial<'_> {
    fn run(&self) -> Result<Seen, Broken> {
        let mut seen = Seen::default();
        let mut misses = Vec::new();
        for step in [Self::backlog as Step, Self::held, Self::churn] {
            if let Err(why) = step(self, &mut seen, &mut misses) {
                misses.push(why);
            }
        }
        match misses.is_empty() {
            true => Ok(seen),
            false => Err(Broken { why: misses.join("; "), seen }),
        }
    }

    fn count(&self) -> u64 {
        self.round.wanted.min(MOST)
    }

    /// A node in a folder of its own.
    fn builder(&self, name: &str) -> NodeBuilder {
        let home: PathBuf = self.round.folder.join(name);
        std::fs::create_dir(&home).unwrap();
        // What a line of log costs is not what is measured.
        let builder = Node::builder().home(&home).table("[log]\nlevel = \"warn\"");
        self.machine.take(builder, &home)
    }

    /// Starts with a long queue, twice, the first time without an index, and then delivers all of it.
    fn backlog(&self, seen: &mut Seen, misses: &mut Vec<String>) -> Result<(), String> {
        let count = u32::try_from(self.count()).unwrap();
        let mut archive = Archive::new();
        archive.stop();
        // Nobody is asked again until the next start.
        let never = "backoff = { first = \"12h\", max = \"24h\" }";
        let mut node = self
            .builder("backlog")
            .queue("reserve = \"256MiB\"\nhigh_watermark = \"100%\"")
            .dicom_with("pacs", archive.address(), never)
            .prepare();
        backlog::fill(&node.data_dir, count);
        std::fs::remove_dir_all(node.data_dir.join("index")).unwrap();
        let first = self.start(&mut node, seen, misses)?;
        let queued = node.metric("chrysalis_queued_instances", &[]) as u64;
        if queued != u64::from(count) {
            return Err(format!("{queued} of {count} are queued"));
        }
        node.stop();
        archive.start_again();
        let again = self.start(&mut node, seen, misses)?;
        seen.slowest_start = first.max(again);
        self.drain(&node, &archive, count, seen)
    }

    /// Starts the node with the long queue; how long it took until it listened.
    fn start(&self, node: &mut Node, seen: &mut Seen, misses: &mut Vec<String>) -> Result<Duration, String> {
        let started = Instant::now();
        node.spawn();
        node.wait_listening();
        let listening = started.elapsed();
        node.wait_ready();
        // The index is made before the node says that it is ready.
        let rebuilt = started.elapsed();
        self.time(seen, misses, "until it listens, s", listening, LISTENING);
        self.time(seen, misses, "until the index is made anew, s", rebuilt, REBUILT);
        seen.figure("memory with the queue at most, MiB", node.peak() as f64 / f64::from(1 << 20));
        Ok(listening)
    }

    /// Waits until everything has arrived, and compares it with what was queued.
    fn drain(&self, node: &Node, archive: &Archive, count: u32, seen: &mut Seen) -> Result<(), String> {
        let began = Instant::now();
        let owed = || node.metric("chrysalis_queued_instances", &[]);
        let mut last = (owed(), Instant::now());
        poll(Duration::from_secs(24 * 3600), || {
            let left = owed();
            if left < last.0 {
                last = (left, Instant::now());
            }
            (left == 0.0 || last.1.elapsed() > STANDSTILL).then_some(())
        });
        seen.figure("seconds to deliver the queue", began.elapsed().as_secs_f64());
        let expected: HashMap<String, Digest> = (0..count).map(backlog::expected).collect();
        let mut came: HashMap<String, u64> = HashMap::new();
        for arrival in archive.stored() {
            if expected.get(&arrival.sop_instance) == Some(&arrival.digest) {
                *came.entry(arrival.sop_instance).or_default() += 1;
            } else {
                seen.altered += 1;
            }
        }
        seen.acknowledged += u64::from(count);
        seen.delivered += came.len() as u64;
        seen.repeated += came.values().map(|times| times - 1).sum::<u64>();
        seen.lost += u64::from(count) - came.len() as u64;
        if seen.lost + seen.altered + seen.repeated > 0 {
            return Err(format!(
                "of {count} queued {} did not arrive, {} with other bytes, {} again",
                seen.lost, seen.altered, seen.repeated
            ));
        }
        Ok(())
    }

    /// Holds a thousand associations and stores beside them.
    fn held(&self, seen: &mut Seen, misses: &mut Vec<String>) -> Result<(), String> {
        let node = self
            .builder("held")
            .listener(&format!("max_associations = {0}\nmax_per_address = {0}", HELD + 10))
            .queue("reserve = \"1MiB\"\nhigh_watermark = \"100%\"")
            .folder("archive")
            .start();
        let before = at_rest(&node)?;
        let echoes = Modality::new(node.address).context(VERIFICATION, &[IMPLICIT_LITTLE]);
        let open = |_| {
            let mut association = echoes.associate()?;
            association.echo()?;
            Ok(association)
        };
        let held: Result<Vec<Association>, Failure> = (0..HELD).map(open).collect();
        let mut held = held.map_err(|why| format!("holding {HELD} associations: {why:?}"))?;
        let with_them = after_a_moment(&node);
        let open = node.metric("chrysalis_associations", &[]);
        let each = with_them.memory.saturating_sub(before.memory) / u64::from(HELD);
        seen.figure("an idle association, KiB", each as f64 / 1024.0);
        Self::limit(misses, "memory of an idle association", each, PER_ASSOCIATION);
        if open != f64::from(HELD) {
            misses.push(format!("{open} of {HELD} associations are open"));
        }
        store_beside(&node, self.round.seed, seen)?;
        for association in &mut held {
            association.echo().map_err(|why| format!("an association that was held: {why:?}"))?;
        }
        for association in held {
            association.release().map_err(|why| format!("releasing what was held: {why:?}"))?;
        }
        descriptors(seen, misses, before, at_rest(&node)?);
        Ok(())
    }

    /// Opens and releases one association after another.
    fn churn(&self, seen: &mut Seen, misses: &mut Vec<String>) -> Result<(), String> {
        let builder = self.builder("churn").queue("reserve = \"1MiB\"\nhigh_watermark = \"100%\"");
        let node = builder.folder("archive").start();
        cycle(&node, WARM_UP)?;
        let before = at_rest(&node)?;
        let began = Instant::now();
        cycle(&node, self.count())?;
        seen.figure(
            "associations opened and released each second",
            self.count() as f64 / began.elapsed().as_secs_f64(),
        );
        seen.attacks += self.count();
        let after = at_rest(&node)?;
        let drift = after.memory.saturating_sub(before.memory);
        seen.figure("drift, KiB", (drift >> 10) as f64);
        Self::limit(misses, "drift of memory", drift, DRIFT);
        descriptors(seen, misses, before, after);
        Ok(())
    }

    /// Notes how long something took, and that it was too long if that counts here.
    fn time(&self, seen: &mut Seen, misses: &mut Vec<String>, what: &str, took: Duration, most: Duration) {
        let counts = !cfg!(debug_assertions) && self.machine == Machine::Whole;
        let told = if counts { "" } else { " (no limit here)" };
        seen.figure(&format!("{what}{told}"), took.as_secs_f64());
        if counts && took > most {
            misses.push(format!("{what}: {:.2}, at most {:.2}", took.as_secs_f64(), most.as_secs_f64()));
        }
    }

    fn limit(misses: &mut Vec<String>, what: &str, bytes: u64, most: u64) {
        if bytes > most {
            misses.push(format!("{what}: {} KiB, at most {}", bytes >> 10, most >> 10));
        }
    }
}

/// Others store while a thousand hold their associations.
fn store_beside(node: &Node, seed: u64, seen: &mut Seen) -> Result<(), String> {
    let study = Study::new(seed);
    let instances: Vec<Instance> = (0..BESIDE).map(|n| study.small(n)).collect();
    let answers = Modality::new(node.address)
        .store_all(&instances)
        .map_err(|why| format!("storing beside: {why:?}"))?;
    if let Some(refused) = answers.iter().find(|answer| answer.status != 0) {
        return Err(format!("storing beside was answered with {:04X}", refused.status));
    }
    seen.acknowledged += u64::from(BESIDE);
    let arrived = || {
        let metrics = node.metrics();
        let done = sum(&metrics, "chrysalis_deliveries_total", &["outcome=\"delivered\""]);
        (done >= f64::from(BESIDE)).then_some(())
    };
    poll(STANDSTILL, arrived).ok_or("what was stored beside is not delivered")?;
    let files = node.delivered("archive");
    let came: Vec<Instance> = files.iter().map(|file| Instance::from_part10(file).unwrap()).collect();
    let is_there = |sent: &&Instance| {
        came.iter().any(|came| came.sop_instance == sent.sop_instance && came.digest() == sent.digest())
    };
    let right = instances.iter().filter(is_there).count() as u64;
    seen.delivered += right;
    seen.lost += u64::from(BESIDE) - right;
    if seen.lost > 0 { Err("what was stored beside is lost".into()) } else { Ok(()) }
}

/// Opens and releases so many associations, some at a time.
fn cycle(node: &Node, count: u64) -> Result<(), String> {
    let modality = Modality::new(node.address).context(VERIFICATION, &[IMPLICIT_LITTLE]);
    let left = AtomicU64::new(count);
    let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let call = || -> Result<(), Failure> {
        while take() {
            modality.associate()?.release()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        let ended: Result<Vec<()>, Failure> =
            callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        ended.map(drop).map_err(|why| format!("{} of {count} to go: {why:?}", left.load(Ordering::SeqCst)))
    })
}

fn descriptors(seen: &mut Seen, misses: &mut Vec<String>, before: Rest, after: Rest) {
    let more = after.descriptors.saturating_sub(before.descriptors);
    seen.figure("descriptors more", more as f64);
    if more > DESCRIPTORS {
        misses.push(format!("{more} descriptors more"));
    }
}
