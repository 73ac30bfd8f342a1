//! The promise, attacked on a disk in memory: power cuts, failing operations and full disks at random, at every
//! operation, and once for every case that has a name.
//!
//! `CHRYSALIS_SIM_CUTS=N` sets how many cuts the random run makes (10,000 by itself), `CHRYSALIS_SIM_SEED=S` runs one
//! seed and nothing else of it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrysalis_queue::simulation::{Fault, Rng};
use chrysalis_queue::{Action, Hold, HoldKind, Outcome};
use world::{DESTINATIONS, LEDGER, RETAIN, Tally, World, reopen_through};

#[test]
fn whatever_happens_nothing_acknowledged_is_lost() {
    if let Some(seed) = number("CHRYSALIS_SIM_SEED") {
        println!("seed {seed}: {:?}", run(seed));
        return;
    }
    let wanted = number("CHRYSALIS_SIM_CUTS").unwrap_or(10_000);
    let total = Mutex::new(Tally::default());
    let (seeds, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        while !failed.load(Ordering::Relaxed) && total.lock().unwrap().cuts < wanted {
            let seed = seeds.fetch_add(1, Ordering::Relaxed) + 1;
            match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(tally) => total.lock().unwrap().add(tally),
                Err(_) => {
                    failed.store(true, Ordering::Relaxed);
                    println!("replay with CHRYSALIS_SIM_SEED={seed}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    println!("seeds {}, {:?}, lost 0", seeds.into_inner(), total.into_inner().unwrap());
    assert!(!failed.into_inner(), "a seed failed; its number is above");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

// --- the random run ---

/// Up to six lives of one queue.
fn run(seed: u64) -> Tally {
    let mut rng = Rng::new(seed ^ 0x51D);
    let small = rng.one_in(4);
    let capacity = if small { 150_000 + rng.below(300_000) } else { u64::MAX };
    let mut world = World::new(seed, capacity);
    world.disk.fault_in(rng.below(400), Fault::PowerCut);
    reopen_through(&mut world, None);
    let instances = 1 + rng.below(50);
    for life in 0..=1 + rng.below(5) {
        world.disk.clear_faults();
        world.audit();
        let death = arrange_death(&mut world, &mut rng);
        live(&mut world, &mut rng, instances);
        let cut_again = rng.one_in(2).then(|| (rng.below(150), Fault::PowerCut));
        if world.is_off() || death == Death::Cut {
            world.cut();
        } else {
            world.kill();
        }
        world.disk.clear_faults();
        let in_recovery = match rng.below(8) {
            0 if life < 4 => Some((rng.below(150), Fault::Io)),
            1 if life < 4 => Some((rng.below(150), Fault::NoSpace)),
            _ => cut_again,
        };
        reopen_through(&mut world, in_recovery);
        if small && rng.one_in(3) {
            world.disk.set_capacity(150_000 + rng.below(300_000));
        }
    }
    world.finish()
}

#[derive(PartialEq)]
enum Death {
    Cut,
    Kill,
}

fn arrange_death(world: &mut World, rng: &mut Rng) -> Death {
    match rng.below(10) {
        0..5 => world.disk.fault_in(rng.below(500), Fault::PowerCut),
        5 => return Death::Kill,
        6 => {
            world.disk.fault_in(rng.below(400), Fault::Io);
            return if rng.one_in(2) { Death::Kill } else { Death::Cut };
        }
        7 => {
            world.disk.fault_in(rng.below(400), Fault::NoSpace);
            return if rng.one_in(2) { Death::Kill } else { Death::Cut };
        }
        8 => {
            world.disk.no_space_one_in(10 + rng.below(50), rng.next());
            return if rng.one_in(2) { Death::Kill } else { Death::Cut };
        }
        _ => {
            world.queue().break_index_after(rng.below(200));
            world.disk.fault_in(rng.below(500), Fault::PowerCut);
        }
    }
    Death::Cut
}

fn live(world: &mut World, rng: &mut Rng, instances: u64) {
    for _ in 0..20 + rng.below(instances * 6) {
        if world.is_off() {
            return;
        }
        world.tally.operations += 1;
        step(world, rng);
    }
}

fn step(world: &mut World, rng: &mut Rng) {
    let destination = DESTINATIONS[rng.below(3) as usize];
    match rng.below(100) {
        0..28 => receive(world, rng),
        28..31 => abandon(world, rng),
        31..48 => drop(world.lease(destination, 1 + rng.below(4) as usize)),
        48..72 => attempt(world, rng),
        72..78 => drop(world.flush()),
        78..90 => decide(world, rng),
        90..95 => world.pass(Duration::from_secs(1 + rng.below(30))),
        95..97 => world.pass(RETAIN),
        97 => world.pass(LEDGER),
        _ => world.evict(1 + rng.below(20_000)),
    }
}

fn content(rng: &mut Rng) -> Vec<u8> {
    let kind = rng.below(6) as u8;
    let len = match rng.below(400) {
        0 => (1 << 20) + 300_000,
        1..100 => 0,
        _ => [17, 512, 1000, 4096, 5000, 8192][usize::from(kind)],
    };
    (0..len).map(|at| (at as u8).wrapping_mul(kind + 1).wrapping_add(kind)).collect()
}

fn key(rng: &mut Rng) -> String {
    "k".repeat(1 + rng.below(7) as usize)
}

fn receive(world: &mut World, rng: &mut Rng) {
    let mut owed = Vec::new();
    for destination in DESTINATIONS {
        if rng.below(3) < 2 {
            let hold = rng.one_in(12).then(|| Hold::new(HoldKind::Rule, "a rule"));
            owed.push((destination, hold));
        }
    }
    let subject = if rng.one_in(8) { 2 } else { 1 };
    let meta = World::meta(&key(rng), subject, &owed);
    let bytes = content(rng);
    world.receive_with(meta, &bytes);
}

fn abandon(world: &mut World, rng: &mut Rng) {
    let bytes = content(rng);
    if let Ok(mut staged) = world.queue().stage(b"HEAD") {
        let _ = staged.write(&bytes);
    }
}

fn attempt(world: &mut World, rng: &mut Rng) {
    if world.flights.is_empty() {
        return;
    }
    let at = rng.below(world.flights.len() as u64) as usize;
    let otherwise = match rng.below(3) {
        0 => Outcome::Held(Hold::new(HoldKind::Refused, "A900")),
        1 => Outcome::Retry(Duration::from_secs(rng.below(20))),
        _ => Outcome::Untried,
    };
    world.attempt(at, rng.below(4) > 0, otherwise);
}

fn decide(world: &mut World, rng: &mut Rng) {
    if world.promises.is_empty() {
        return;
    }
    let at = rng.below(world.promises.len() as u64) as usize;
    let (sequence, promise) = world.promises.iter().nth(at).unwrap();
    let sequence = *sequence;
    let owed: Vec<_> = promise.owed.iter().cloned().collect();
    let destination = match owed.len() as u64 {
        0 => DESTINATIONS[rng.below(3) as usize].to_owned(),
        n => owed[rng.below(n) as usize].clone(),
    };
    let why = || "because".to_owned();
    let action = match rng.below(9) {
        0..3 => Action::Hold { why: why() },
        3..5 => Action::Release,
        5 => Action::Discard { why: why() },
        6 => Action::Reroute { to: vec![DESTINATIONS[rng.below(3) as usize].to_owned()] },
        _ => Action::Resend,
    };
    world.decide(sequence, &destination, action);
}
