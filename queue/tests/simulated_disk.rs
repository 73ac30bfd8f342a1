//! The promise, attacked on a disk in memory: power cuts, failing operations and full disks at random, at every
//! operation, and once for every case that has a name.
//!
//! `CHRYSALIS_SIM_CUTS=N` sets how many cuts the random run makes (10,000 by itself), `CHRYSALIS_SIM_FIRST=S` from which
//! seed on (1 by itself), and `CHRYSALIS_SIM_SEED=S` runs one seed and nothing else of it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrysalis_queue::fs::{Fs as _, Mode};
use chrysalis_queue::simulation::{Fault, Rng};
use chrysalis_queue::{Action, CommandError, Hold, HoldKind, NO_ROUTE, Outcome, Owed, Sequence};
use world::{DESTINATIONS, DROP, LEDGER, RETAIN, Tally, World, reopen_through};

#[test]
fn whatever_happens_nothing_acknowledged_is_lost() {
    if let Some(seed) = number("CHRYSALIS_SIM_SEED") {
        println!("seed {seed}: {:?}", run(seed));
        return;
    }
    let wanted = number("CHRYSALIS_SIM_CUTS").unwrap_or(10_000);
    let first = number("CHRYSALIS_SIM_FIRST").unwrap_or(1);
    let total = Mutex::new(Tally::default());
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let work = || {
        while !failed.load(Ordering::Relaxed) && total.lock().unwrap().cuts < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed);
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
    let seeds = next.into_inner() - first;
    println!("seeds {seeds}, {:?}, lost 0", total.into_inner().unwrap());
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
            owed.push(match rng.below(24) {
                0..2 => Owed::hold(destination, Hold::new(HoldKind::Rule, "a rule")),
                2 => Owed::discard(destination, DROP),
                _ => Owed::send(destination),
            });
        }
    }
    if rng.one_in(12) {
        owed = vec![Owed::discard(NO_ROUTE, DROP)];
    }
    let subject = if rng.one_in(8) { 2 } else { 1 };
    let meta = World::meta(&key(rng), subject, owed);
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
    let owed = promise.owed.iter().chain(&promise.dropped).filter(|name| *name != NO_ROUTE);
    let owed: Vec<_> = owed.cloned().collect();
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

// --- every operation of a fixed scenario ---

/// Three instances, two destinations, and a fourth that a rule discards; a discard, a hold, a resend, a retry, retention.
/// Ends early without power.
fn scenario(world: &mut World) {
    let both = ["pacs", "archive"];
    if !world.is_off() {
        world.receive_with(World::meta("b", 1, vec![Owed::discard(NO_ROUTE, DROP)]), &[7; 5000]);
    }
    let first = world.receive("a", b"the first", &both);
    let second = world.receive("b", &[7; 5000], &both);
    send(world, "pacs", 8);
    act(world, first, "archive", Action::Discard { why: "wrong patient".into() });
    act(world, second, "archive", Action::Hold { why: "wait".into() });
    let third = world.receive("b", &[7; 5000], &both);
    send(world, "pacs", 8);
    send(world, "archive", 8);
    act(world, first, "pacs", Action::Resend);
    send(world, "pacs", 1);
    if !world.is_off() && world.queue.is_some() {
        world.flush();
        world.pass(RETAIN + Duration::from_secs(1));
    }
    act(world, third, "archive", Action::Release);
    send(world, "archive", 8);
    if !world.is_off() && world.queue.is_some() {
        world.pass(RETAIN + Duration::from_secs(1));
    }
}

fn act(world: &mut World, sequence: Option<chrysalis_queue::Sequence>, destination: &str, action: Action) {
    if let Some(sequence) = sequence
        && !world.is_off()
    {
        world.decide(sequence, destination, action);
    }
}

fn send(world: &mut World, destination: &str, max: usize) {
    if world.is_off() {
        return;
    }
    world.lease(destination, max);
    while !world.flights.is_empty() && !world.is_off() {
        world.attempt(0, true, Outcome::Untried);
    }
}

/// Runs two lives of the scenario, so that the second begins with a recovery, with a fault at one operation. `None`
/// when that operation was never reached.
fn with_fault_at(at: u64, fault: Fault) -> Option<World> {
    let mut world = World::new(at + 1, u64::MAX);
    world.disk.fault_in(at, fault);
    for _ in 0..2 {
        if world.is_off() || !world.try_open() {
            break;
        }
        if !world.is_off() {
            scenario(&mut world);
        }
        if world.is_off() {
            break;
        }
        world.kill();
    }
    (world.disk.counts().operations > at).then_some(world)
}

#[test]
fn a_power_cut_at_every_operation_and_at_every_operation_of_the_recovery_after_it_loses_nothing() {
    let (mut total, mut first_cuts, mut second_cuts) = (Tally::default(), 0u64, 0u64);
    for at in 0.. {
        let Some(mut world) = with_fault_at(at, Fault::PowerCut) else { break };
        if world.queue.is_some() {
            world.kill();
        }
        for settlement in 0..4 {
            let mut once = world.fork(Rng::new(at * 16 + settlement + 1));
            once.cut();
            first_cuts += 1;
            if settlement == 0 || at % 7 == settlement {
                second_cuts += cut_every_recovery(&once);
            }
            once.disk.clear_faults();
            total.add(once.finish());
        }
    }
    println!("{first_cuts} cuts, {second_cuts} more in the recoveries after them, {total:?}, lost 0");
    assert!(first_cuts > 400 && second_cuts > 10_000);
}

/// After this cut, a second one at every third operation of the recovery (which one of the three changes).
fn cut_every_recovery(after: &World) -> u64 {
    let mut cuts = 0;
    for at in (after.disk.counts().operations % 3..).step_by(3) {
        let mut twice = after.fork(Rng::new(at + 77));
        let before = twice.disk.counts().operations;
        twice.disk.fault_in(at, Fault::PowerCut);
        let opened = twice.try_open();
        if opened && !twice.is_off() && twice.disk.counts().operations <= before + at {
            return cuts;
        }
        twice.cut();
        cuts += 1;
        twice.open();
        twice.audit();
    }
    cuts
}

#[test]
fn every_single_failure_then_a_restart_then_a_power_cut_loses_nothing() {
    let (mut total, mut runs) = (Tally::default(), 0);
    for fault in [Fault::Io, Fault::NoSpace] {
        for at in 0.. {
            let Some(mut world) = with_fault_at(at, fault) else { break };
            runs += 1;
            if world.queue.is_some() {
                world.kill();
            }
            world.disk.clear_faults();
            world.open();
            world.audit();
            scenario(&mut world);
            world.cut();
            world.open();
            world.audit();
            total.add(world.finish());
        }
    }
    println!("{runs} failures, {total:?}, lost 0");
    assert!(runs > 200);
}

// --- cases with names ---

fn open_world() -> World {
    let mut world = World::new(1, u64::MAX);
    world.open();
    world
}

#[test]
fn a_failed_sync_then_a_restart_without_reboot_then_a_power_cut_keeps_what_was_acknowledged() {
    for at in 0..12 {
        for seed in 0..10 {
            let mut world = open_world();
            world.rng = Rng::new(seed);
            let first = world.receive("a", b"first", &["pacs"]).unwrap();
            send(&mut world, "pacs", 1);
            assert_eq!(world.arrivals(first, "pacs"), 1);
            world.disk.fault_in(at, Fault::Io);
            world.receive("b", b"second", &["pacs"]);
            world.flush();
            world.kill();
            world.disk.clear_faults();
            reopen_through(&mut world, None);
            world.audit();
            world.cut();
            world.open();
            let found = &world.recovered;
            assert_eq!((found.damaged_journals, found.missing), (0, 0), "nothing is damaged");
            world.drain();
            assert!(world.rows("held").is_empty(), "what was taken in is durable");
            world.finish();
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_acknowledged_until_a_restart() {
    let mut world = open_world();
    world.receive("a", b"first", &["pacs"]).unwrap();
    world.flush();
    // The write and the sync of the next file: whichever fails, only a failed sync poisons.
    let syncs = world.disk.counts().syncs;
    for at in 0..10 {
        world.disk.fault_in(at, Fault::Io);
        let received = world.receive("b", b"second", &["pacs"]);
        world.disk.clear_faults();
        if received.is_none() && world.disk.counts().syncs > syncs && world.queue().stage(b"").is_err() {
            assert!(world.receive("c", b"third", &["pacs"]).is_none());
            assert_eq!(world.lease("pacs", 1), 1, "what is durable still goes");
            return;
        }
    }
    panic!("no sync was met");
}

#[test]
fn after_a_failed_journal_sync_nothing_is_attempted_and_no_decision_is_answered() {
    let mut world = open_world();
    let first = world.receive("a", b"first", &["pacs", "archive"]).unwrap();
    send(&mut world, "pacs", 1);
    // Creation, write, sync.
    world.disk.fault_in(2, Fault::Io);
    assert!(!world.flush());
    world.disk.clear_faults();
    assert!(!world.flush(), "a failed sync is not tried again");
    assert_eq!(world.lease("archive", 1), 0);
    assert!(!world.decide(first, "archive", Action::Hold { why: "x".into() }));
    assert!(world.receive("b", b"second", &["pacs"]).is_none());
}

#[test]
fn the_removal_of_a_bucket_survives_a_cut_at_each_of_its_operations() {
    for at in 0.. {
        let mut world = open_world();
        world.receive("a", b"first", &["pacs"]).unwrap();
        world.drain();
        world.kill();
        world.open();
        let before = world.disk.counts().operations;
        world.disk.fault_in(at, Fault::PowerCut);
        world.pass(RETAIN + Duration::from_secs(1));
        if !world.is_off() {
            world.pass(LEDGER + Duration::from_secs(1));
        }
        let is_last = !world.is_off();
        assert!(!is_last || at > 8, "{} operations", world.disk.counts().operations - before);
        for settlement in 0..16 {
            let mut after = world.fork(Rng::new(settlement));
            after.cut();
            after.open();
            assert_eq!((after.recovered.missing, after.recovered.damaged_journals), (0, 0), "cut {at}");
            after.finish();
        }
        if is_last {
            return;
        }
    }
}

#[test]
fn a_ledger_whose_removal_was_not_durable_does_not_bring_its_instances_back() {
    for at in 0..12 {
        for seed in 0..8 {
            let mut world = open_world();
            world.rng = Rng::new(seed);
            world.receive("a", b"first", &["pacs"]).unwrap();
            world.flush();
            world.kill();
            world.open();
            world.drain();
            world.pass(RETAIN + Duration::from_secs(1));
            // What a failed sync wrote all the same is told by its number.
            for _ in 0..seed {
                world.queue().stats().unwrap();
            }
            world.disk.fault_in(at, Fault::Io);
            world.pass(LEDGER + Duration::from_secs(1));
            world.kill();
            world.disk.clear_faults();
            world.open();
            world.pass(LEDGER + Duration::from_secs(1));
            world.cut();
            world.open();
            assert_eq!(world.recovered.missing, 0, "failed at {at}");
            world.finish();
        }
    }
}

#[test]
fn a_resend_after_a_discard_is_sent_and_survives_a_cut() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
    assert!(world.decide(it, "pacs", Action::Resend));
    world.cut();
    world.open();
    assert_eq!(world.state(it, "pacs"), "ready");
    world.drain();
    assert_eq!(world.arrivals(it, "pacs"), 1);
    world.finish();
}

#[test]
fn an_instance_is_sent_again_where_it_was_delivered_discarded_or_never_owed_and_nowhere_else() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs", "archive"]).unwrap();
    let refused = |world: &mut World, destination: &str| {
        matches!(world.queue().decide(it, destination, Action::Resend), Err(CommandError::State(_)))
    };
    assert!(refused(&mut world, "pacs"));
    assert!(world.decide(it, "pacs", Action::Hold { why: "wait".into() }));
    assert!(refused(&mut world, "pacs"));
    assert!(world.decide(it, "pacs", Action::Release));
    send(&mut world, "pacs", 1);
    assert!(world.decide(it, "archive", Action::Discard { why: "no".into() }));
    for destination in ["pacs", "archive", "cloud"] {
        assert!(world.decide(it, destination, Action::Resend), "{destination}");
    }
    world.cut();
    world.open();
    world.drain();
    for (destination, times) in [("pacs", 2), ("archive", 1), ("cloud", 1)] {
        assert_eq!(world.arrivals(it, destination), times, "{destination}");
    }
    world.finish();
}

#[test]
fn what_is_sent_again_is_as_old_as_that_decision_and_hides_no_older_one() {
    let mut world = open_world();
    let oldest = |world: &mut World| {
        let stats = world.queue().stats().unwrap();
        stats.destinations.into_iter().find(|d| d.name == "pacs").unwrap().oldest
    };
    let first = world.receive("a", b"first", &["pacs"]).unwrap();
    let came = world.shown(first).unwrap().instance.received_at;
    send(&mut world, "pacs", 1);
    world.clock.advance(Duration::from_secs(30));
    assert!(world.decide(first, "pacs", Action::Resend));
    for restart in [false, true] {
        if restart {
            world.kill();
            world.open();
        }
        assert_eq!(oldest(&mut world), Some(came + 30_000));
    }
    // One that came between the two is the oldest now.
    let mut between = world.fork(Rng::new(1));
    world.kill();
    between.open();
    between.clock.advance(Duration::from_secs(1));
    between.receive("bb", b"second", &["pacs"]).unwrap();
    assert_eq!(oldest(&mut between), Some(came + 30_000));
    send(&mut between, "pacs", 1);
    assert_eq!(oldest(&mut between), Some(came + 31_000));
    between.clock.advance(Duration::from_secs(5));
    assert!(between.decide(first, "pacs", Action::Resend));
    assert_eq!(oldest(&mut between), Some(came + 31_000));
    between.finish();
}

#[test]
fn one_owed_to_nobody_that_is_sent_after_all_is_not_evicted() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &[]).unwrap();
    assert!(world.decide(it, "pacs", Action::Resend));
    world.evict(u64::MAX);
    world.pass(RETAIN + Duration::from_secs(1));
    world.drain();
    assert_eq!(world.arrivals(it, "pacs"), 1);
    world.finish();
}

#[test]
fn what_was_discarded_is_not_sent_when_the_index_is_lost() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
    world.queue().break_index_after(0);
    assert_eq!(world.lease("pacs", 9), 0);
    world.cut();
    world.open();
    assert_eq!((world.lease("pacs", 9), world.state(it, "pacs")), (0, "discarded"));
    world.finish();
}

#[test]
fn what_a_rule_discards_is_acknowledged_kept_for_its_time_and_never_sent() {
    for seed in 0..20 {
        let mut world = open_world();
        world.rng = Rng::new(seed);
        let meta = |destination| World::meta("a", 1, vec![Owed::discard(destination, DROP)]);
        let nowhere = world.receive_with(meta(NO_ROUTE), b"first").unwrap();
        let elsewhere = world.receive_with(meta("pacs"), b"first").unwrap();
        if seed % 2 == 0 {
            world.flush();
        }
        world.cut();
        world.open();
        for (it, destination) in [(nowhere, NO_ROUTE), (elsewhere, "pacs")] {
            assert_eq!(world.state(it, destination), "discarded");
            assert!(world.shown(it).unwrap().rows[0].has_payload, "it can be looked at, and sent after all");
        }
        world.queue().break_index_after(0);
        assert_eq!((world.lease("pacs", 9), world.lease(NO_ROUTE, 9)), (0, 0));
        world.pass(RETAIN + Duration::from_secs(1));
        assert!(world.shown(nowhere).is_none_or(|shown| !shown.rows[0].has_payload));
        world.finish();
    }
}

#[test]
fn what_a_rule_discarded_can_be_sent_after_all_and_does_not_stop_the_same_bytes() {
    let mut world = open_world();
    let dropped = world.receive_with(World::meta("a", 1, vec![Owed::discard("pacs", DROP)]), b"x").unwrap();
    let again = world.receive("a", b"x", &["pacs"]).unwrap();
    assert_eq!((world.state(dropped, "pacs"), world.state(again, "pacs")), ("discarded", "ready"));
    world.drain();
    assert!(world.decide(dropped, "archive", Action::Resend));
    world.cut();
    world.open();
    world.drain();
    assert_eq!((world.arrivals(dropped, "archive"), world.arrivals(again, "pacs")), (1, 1));
    world.finish();
}

#[test]
fn the_finished_half_of_a_fan_out_is_not_sent_again_when_the_index_is_lost() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs", "archive"]).unwrap();
    send(&mut world, "pacs", 1);
    world.flush();
    world.queue().break_index_after(0);
    assert_eq!((world.lease("pacs", 9), world.lease("archive", 9)), (0, 1));
    world.cut();
    world.open();
    assert_eq!((world.lease("pacs", 9), world.lease("archive", 9)), (0, 1));
    world.drain();
    assert_eq!((world.arrivals(it, "pacs"), world.arrivals(it, "archive")), (1, 1));
    world.finish();
}

#[test]
fn no_receive_sequence_is_given_out_twice_even_when_no_journal_tells_of_it() {
    for seed in 0..40 {
        let mut world = open_world();
        world.rng = Rng::new(seed);
        for key in ["a", "bb", "ccc"] {
            world.receive(key, b"bytes", &["pacs"]).unwrap();
            world.cut();
            world.open();
        }
        world.finish();
    }
}

#[test]
fn an_outcome_is_durable_before_its_payload_goes() {
    for at in 0..12 {
        for seed in 0..6 {
            let mut world = open_world();
            world.rng = Rng::new(seed);
            let it = world.receive("a", b"first", &["pacs"]).unwrap();
            world.flush();
            send(&mut world, "pacs", 1);
            world.disk.fault_in(at, Fault::PowerCut);
            world.evict(u64::MAX);
            world.cut();
            world.open();
            assert_eq!((world.recovered.missing, world.state(it, "pacs") == "held"), (0, false));
            world.finish();
        }
    }
}

#[test]
fn a_payload_is_not_evicted_while_it_is_being_sent() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs", "archive"]).unwrap();
    send(&mut world, "archive", 1);
    assert_eq!(world.lease("pacs", 1), 1);
    assert!(world.decide(it, "pacs", Action::Discard { why: "too late".into() }));
    world.evict(u64::MAX);
    world.pass(RETAIN + Duration::from_secs(1));
    world.attempt(0, true, Outcome::Untried);
    assert_eq!((world.arrivals(it, "pacs"), world.state(it, "pacs")), (1, "delivered"));
    world.finish();
}

#[test]
fn a_full_disk_during_the_rebuild_still_opens_and_sends() {
    let disks = [(0, 64), (512, 64), (4096, 256), (20_000, 256)];
    for (seed, (room, reserve)) in (0..).zip(disks.repeat(12)) {
        let mut world = World::with_reserve(seed, 2 << 20, reserve << 10);
        world.open();
        let receive = |n| world.receive(&"k".repeat(n), &[n as u8; 8000], &["pacs"]).unwrap();
        let all: Vec<_> = (1..20).map(receive).collect();
        // No journal has heard of them.
        world.cut();
        world.disk.set_capacity(19 * 9000 + (reserve << 10) + room);
        world.open();
        world.audit();
        world.drain();
        for it in all {
            assert_eq!(world.arrivals(it, "pacs"), 1);
        }
        world.finish();
    }
}

#[test]
fn what_the_ballast_gave_up_is_not_for_receiving() {
    let mut world = World::with_reserve(3, 1200 << 10, 512 << 10);
    world.open();
    let mut n = 0;
    while world.receive(&format!("k{n}"), &vec![n as u8; 8000], &["pacs"]).is_some() {
        n += 1;
    }
    assert!(n > 10 && n < 100, "{n} were taken");
    assert!(world.flush(), "the ballast lets a full disk record");
    assert!(world.queue().ballast() < 512 << 10);
    assert!(world.receive("one more", &[1; 8000], &["pacs"]).is_none(), "that room is not for receiving");
    world.drain();
    world.finish();
}

#[test]
fn a_long_blob_is_refused_before_it_fills_the_disk() {
    let mut world = World::with_reserve(3, 12 << 20, 64 << 10);
    world.open();
    let mut staged = world.queue().stage(b"HEAD").unwrap();
    let taken = (0..100).take_while(|_| staged.write(&[1; 100_000]).is_ok()).count();
    assert!(taken < 13, "{taken} pieces went in without a reservation");
    drop(staged);
    world.receive("a", b"small", &["pacs"]).unwrap();
    world.drain();
    world.finish();
}

#[test]
fn a_conflict_is_found_even_when_it_came_while_the_index_could_not_be_asked() {
    let mut world = World::with_reserve(1, u64::MAX, 0);
    world.open();
    world.receive("a", b"first", &["pacs"]).unwrap();
    world.flush();
    world.queue().break_index_after(0);
    let meta = World::meta("a", 2, vec![Owed::send("pacs")]);
    let mut staged = world.queue().stage(b"HEAD").unwrap();
    staged.write(b"of somebody else").unwrap();
    let second = staged.commit(meta, |_| Vec::new()).unwrap();
    // The index cannot be made anew: reading the journals fails.
    for _ in 0..3 {
        world.disk.fault_in(0, Fault::Io);
        let _ = world.queue().stats();
    }
    world.disk.clear_faults();
    assert_eq!(world.state(second, "pacs"), "held");
}

#[test]
fn one_that_must_wait_for_another_of_its_key_does_not_stop_the_rest() {
    let mut world = open_world();
    world.receive("a", b"first", &["pacs"]).unwrap();
    world.receive("a", b"other bytes", &["pacs"]).unwrap();
    let third = world.receive("bb", b"third", &["pacs"]).unwrap();
    assert_eq!(world.lease("pacs", 1), 1);
    world.attempt(0, false, Outcome::Retry(Duration::from_secs(300)));
    assert_eq!(world.lease("pacs", 1), 1);
    assert_eq!(world.flights[0].instance.sequence, third);
    world.drain();
    world.finish();
}

#[test]
fn a_hold_is_inherited_even_when_a_crash_takes_the_newer_record() {
    let mut inherited = 0;
    for seed in 0..300 {
        let mut world = open_world();
        world.rng = Rng::new(seed);
        let old = world.receive("a", &[5; 600], &["pacs"]).unwrap();
        world.decide(old, "pacs", Action::Hold { why: "wait".into() });
        let new = world.receive("a", &[5; 600], &["pacs"]).unwrap();
        // The batch is written and not synced.
        world.disk.fault_in(1, Fault::PowerCut);
        world.flush();
        world.cut();
        world.open();
        assert_eq!(world.state(new, "pacs"), "held", "seed {seed}");
        inherited += u32::from(world.state(old, "pacs") == "superseded");
        world.finish();
    }
    assert!(inherited > 0);
}

#[test]
fn a_blob_without_its_end_mark_is_swept_and_one_with_it_is_taken_in() {
    let mut world = open_world();
    let it = world.receive("a", &[9; 3000], &["pacs"]).unwrap();
    let mut staged = world.queue().stage(b"HEAD").unwrap();
    // Whatever bytes came last, without the end mark they are no trailer; a killed process cleans nothing up.
    staged.write(&[1, 0].repeat(300_000)).unwrap();
    world.kill();
    std::mem::forget(staged);
    world.open();
    let found = &world.recovered;
    assert_eq!((found.adopted, found.swept, found.corrupt.len()), (1, 1, 0));
    world.drain();
    assert_eq!(world.arrivals(it, "pacs"), 1);
    world.finish();
}

#[test]
fn what_is_decided_because_of_an_outcome_does_not_outlive_it() {
    for seed in 0..20 {
        let mut world = open_world();
        world.rng = Rng::new(seed);
        let it = world.receive("a", b"first", &["pacs"]).unwrap();
        world.flush();
        send(&mut world, "pacs", 1);
        // The outcome is written, its sync fails: the next process reads it from the cache.
        world.disk.fault_in(1, Fault::Io);
        assert!(!world.flush());
        world.kill();
        world.disk.clear_faults();
        world.open();
        assert_eq!(world.state(it, "pacs"), "delivered");
        world.evict(u64::MAX);
        world.cut();
        world.open();
        assert_eq!((world.recovered.missing, world.recovered.damaged_journals), (0, 0));
        world.finish();
    }
}

#[test]
fn a_file_that_was_taken_in_does_not_come_back_when_its_copy_is_forgotten() {
    for seed in 0..20 {
        let mut world = open_world();
        world.rng = Rng::new(seed);
        // What is held keeps the directory.
        let stays = world.receive("bb", b"stays", &["archive"]).unwrap();
        assert!(world.decide(stays, "archive", Action::Hold { why: "wait".into() }));
        let it = world.receive("a", b"first", &["pacs"]).unwrap();
        world.kill();
        world.open();
        assert_eq!(world.recovered.adopted, 1);
        world.drain();
        world.kill();
        world.open();
        world.pass(RETAIN + Duration::from_secs(1));
        world.pass(LEDGER + Duration::from_secs(1));
        world.cut();
        world.open();
        assert_eq!(world.recovered.adopted, 0);
        world.drain();
        assert_eq!(world.arrivals(it, "pacs"), 1);
        world.finish();
    }
}

// --- damage ---

/// Files with this extension that are not empty.
fn files_with(world: &World, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files = world.disk.files();
    files.retain(|file| file.extension().is_some_and(|e| e == extension) && length(world, file) > 0);
    files
}

/// Changes one byte of the only spool file.
fn damage_spool(world: &World, at: usize) {
    for file in files_with(world, "blob") {
        world.disk.damage(&file, |bytes| bytes[at] ^= 1);
    }
}

#[test]
fn a_changed_head_is_found_before_anything_is_sent() {
    let mut world = open_world();
    world.receive("a", b"first", &["pacs"]).unwrap();
    world.flush();
    damage_spool(&world, 0);
    assert_eq!(world.lease("pacs", 1), 1);
    let instance = world.flights[0].instance.clone();
    assert!(world.queue().open_blob(&instance).is_err());
}

#[test]
fn a_file_that_no_journal_knows_is_held_when_its_payload_changed() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    world.kill();
    damage_spool(&world, 5);
    world.lenience.damage = true;
    world.open();
    assert_eq!(world.state(it, "pacs"), "held");
}

#[test]
fn what_was_discarded_stays_unsent_when_every_journal_is_emptied() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
    world.kill();
    world.open();
    world.kill();
    for file in world.disk.files() {
        // Without the marks only the settled boot tells that there was a journal.
        if file.parent().unwrap().ends_with("journal") || file.ends_with("marks") {
            world.disk.damage(&file, Vec::clear);
        }
    }
    world.lenience.damage = true;
    world.open();
    assert_eq!(world.state(it, "pacs"), "held");
    world.finish();
}

#[test]
fn what_was_discarded_is_not_sent_when_its_only_journal_is_cut_or_gone() {
    for is_gone in [false, true] {
        let mut world = open_world();
        let it = world.receive("a", b"first", &["pacs"]).unwrap();
        world.flush();
        assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
        world.kill();
        let [journal] = files_with(&world, "journal").try_into().unwrap();
        if is_gone {
            world.disk.unlink(&journal).unwrap();
        } else {
            world.disk.damage(&journal, |bytes| bytes.truncate(bytes.len() - 40));
        }
        world.lenience.damage = true;
        world.open();
        assert_eq!(world.recovered.damaged_journals, 1);
        assert_eq!((world.lease("pacs", 1), world.state(it, "pacs")), (0, "held"));
        world.kill();
        world.open();
        assert_eq!(world.recovered.damaged_journals, 0, "it has been dealt with");
        assert_eq!(world.state(it, "pacs"), "held");
        world.finish();
    }
}

/// Two instances that a person held and discarded, and one that is owed, recorded in this many lives.
fn decided(world: &mut World, lives: u32) -> [Sequence; 3] {
    let instances = ["held", "discarded", "owed"].map(|key| {
        let it = world.receive(key, key.as_bytes(), &["pacs"]).unwrap();
        world.flush();
        it
    });
    for _ in 1..lives {
        world.kill();
        world.open();
    }
    assert!(world.decide(instances[0], "pacs", Action::Hold { why: "wait".into() }));
    assert!(world.decide(instances[1], "pacs", Action::Discard { why: "no".into() }));
    world.kill();
    instances
}

/// As if the kernel had written the marks long ago.
fn make_marks_durable(world: &World) {
    let marks = world.disk.files().into_iter().find(|file| file.ends_with("marks")).unwrap();
    world.disk.open(&marks, Mode::ReadWrite).unwrap().sync_data().unwrap();
}

/// What is left of a length.
type Cut = fn(usize) -> usize;

#[test]
fn a_start_that_ends_early_takes_no_proof_with_it_that_a_journal_lost_its_end() {
    // Of the newest journal; without one it is gone.
    let cuts: [Option<Cut>; 5] = [Some(|_| 0), Some(|_| 28), Some(|len| len / 2), Some(|len| len - 3), None];
    for (lives, (which, cut)) in
        [1, 2].into_iter().flat_map(|lives| cuts.iter().enumerate().map(move |cut| (lives, cut)))
    {
        for fault in [Fault::PowerCut, Fault::Io, Fault::NoSpace] {
            for at in 0.. {
                let mut world = open_world();
                let [held, discarded, owed] = decided(&mut world, lives);
                let journal = files_with(&world, "journal").into_iter().max().unwrap();
                match cut {
                    None => world.disk.unlink(&journal).unwrap(),
                    Some(cut) => world.disk.damage(&journal, |bytes| bytes.truncate(cut(bytes.len()))),
                }
                make_marks_durable(&world);
                world.lenience.damage = true;
                let before = world.disk.counts().operations;
                reopen_through(&mut world, Some((at, fault)));
                let is_over = before + at > world.disk.counts().operations;
                world.disk.clear_faults();
                world.kill();
                world.open();
                let states = [held, discarded, owed].map(|it| world.state(it, "pacs"));
                let what = format!("{states:?}: {lives} lives, cut {which}, {fault:?} at {at}");
                assert!(states[..2].iter().all(|state| ["held", "discarded"].contains(state)), "{what}");
                assert!(["held", "ready"].contains(&states[2]), "{what}");
                world.finish();
                if is_over {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_old_mark_of_a_bucket_with_the_same_number_accuses_nobody() {
    let mut world = open_world();
    world.kill();
    world.open();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    world.kill();
    let blob = files_with(&world, "blob").remove(0);
    let bucket = blob.parent().unwrap().file_name().unwrap().to_string_lossy().parse().unwrap();
    let marks = world.disk.files().into_iter().find(|file| file.ends_with("marks")).unwrap();
    world.disk.damage(&marks, |bytes| {
        let mut slot: Vec<u8> =
            [bucket, 1_u32, 5, 0, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        slot.extend(crc32c::crc32c(&slot).to_le_bytes());
        *bytes = slot;
    });
    world.open();
    assert_eq!((world.recovered.damaged_journals, world.state(it, "pacs")), (0, "ready"));
    world.finish();
}

#[test]
fn a_cut_while_damage_is_dealt_with_does_not_bring_back_what_was_discarded() {
    for at in 0.. {
        let mut world = open_world();
        world.rng = Rng::new(at);
        let it = world.receive("a", b"first", &["pacs"]).unwrap();
        world.flush();
        assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
        world.kill();
        // Neither that it came nor that it was discarded can be read.
        for file in world.disk.files() {
            if file.parent().unwrap().ends_with("journal") {
                world.disk.damage(&file, |bytes| bytes[28..].iter_mut().for_each(|byte| *byte ^= 0x55));
                world.disk.damage(&file, |bytes| bytes.extend(later_batch()));
            }
        }
        world.lenience.damage = true;
        let before = world.disk.counts().operations;
        world.disk.fault_in(at, Fault::PowerCut);
        let opened = world.try_open();
        let is_last = opened && !world.is_off();
        assert!(!is_last || world.disk.counts().operations > before + 30);
        if !is_last {
            world.cut();
            world.open();
        }
        assert_eq!((world.lease("pacs", 1), world.state(it, "pacs")), (0, "held"), "cut {at}");
        world.finish();
        if is_last {
            return;
        }
    }
}

/// A whole frame of batch 9: *closed*.
fn later_batch() -> Vec<u8> {
    let mut covered = 9u64.to_le_bytes().to_vec();
    covered.extend([0, 0, 1, 0, 9]);
    covered.extend(1_700_000_000_000u64.to_le_bytes());
    let mut frame = b"\xc7jr\x1f".to_vec();
    frame.extend((covered.len() as u32).to_le_bytes());
    frame.extend(crc32c::crc32c(&covered).to_le_bytes());
    frame.extend(covered);
    frame
}

#[test]
fn a_journal_damaged_while_running_sends_nothing_that_was_discarded() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    world.flush();
    assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
    world.receive("bb", b"second", &["archive"]).unwrap();
    world.flush();
    for file in world.disk.files() {
        if file.parent().unwrap().ends_with("journal") {
            // The second batch.
            world.disk.damage(&file, |bytes| {
                let magic = b"\xc7jr\x1f";
                let frames: Vec<_> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == magic).collect();
                bytes[frames[1] + 20] ^= 1;
            });
        }
    }
    world.lenience.damage = true;
    world.queue().break_index_after(0);
    assert_eq!((world.lease("pacs", 1), world.state(it, "pacs")), (0, "held"));
    world.kill();
    world.open();
    assert_eq!((world.lease("pacs", 1), world.state(it, "pacs")), (0, "held"));
    world.finish();
}

#[test]
fn damage_of_any_file_is_held_or_listed_and_disturbs_nothing_else() {
    let wanted = number("CHRYSALIS_SIM_DAMAGES").unwrap_or(500);
    let (mut held, mut harmless, mut listed) = (0, 0, 0);
    for seed in 0..wanted {
        match catch_unwind(AssertUnwindSafe(|| damaged(seed))) {
            Ok(Damaged::Held) => held += 1,
            Ok(Damaged::Harmless) => harmless += 1,
            Ok(Damaged::Listed) => listed += 1,
            Err(_) => panic!("damage {seed}"),
        }
    }
    println!("{held} held, {listed} listed, {harmless} harmless, none sent with other bytes");
    assert!(held > wanted / 4);
}

enum Damaged {
    Held,
    Listed,
    Harmless,
}

/// Two buckets of instances in every state, then one change to one file.
fn damaged(seed: u64) -> Damaged {
    let mut rng = Rng::new(seed + 900);
    let mut world = World::new(seed, u64::MAX);
    world.open();
    let (mut discarded, mut elsewhere) = (Vec::new(), Vec::new());
    for bucket in 0..2 {
        for n in 0..6 {
            let owed = ["pacs", "archive"];
            let size = 100 + rng.below(9000) as usize;
            let it = world.receive(&format!("{bucket}-{n}"), &vec![n as u8; size], &owed).unwrap();
            match n {
                0 => discarded.push(it),
                _ => elsewhere.push((bucket, it)),
            }
            world.flush();
        }
        world.decide(discarded[bucket], "pacs", Action::Discard { why: "no".into() });
        world.decide(discarded[bucket], "archive", Action::Discard { why: "no".into() });
        send(&mut world, "pacs", 2);
        world.flush();
        if bucket == 0 {
            world.kill();
            world.open();
        }
    }
    let is_killed = rng.one_in(2);
    if is_killed {
        world.kill();
    } else {
        world.cut();
    }
    let files: Vec<_> = world
        .disk
        .files()
        .into_iter()
        .filter(|f| f.parent().unwrap().ends_with("journal") || length(&world, f) > 0)
        .filter(|f| f.components().count() > 3)
        .collect();
    let file = files[rng.below(files.len() as u64) as usize].clone();
    let is_journal = file.parent().unwrap().ends_with("journal");
    let bucket = |f: &std::path::Path| f.file_name().unwrap().to_string_lossy()[..8].to_owned();
    let of_bucket = files.iter().filter(|f| f.parent() == file.parent() && bucket(f) == bucket(&file));
    let newest = of_bucket.max() == Some(&file);
    change(&mut world, &mut rng, &file, is_journal && newest && !is_killed);
    world.lenience.damage = true;
    world.open();
    let found = world.recovered.clone();
    world.audit();
    world.drain();
    for it in discarded {
        assert_eq!(world.arrivals(it, "pacs") + world.arrivals(it, "archive"), 0, "a discarded one was sent");
    }
    let held = world.rows("held");
    if is_journal {
        assert!(held.is_empty() || found.damaged_journals > 0);
    } else {
        let hit: std::collections::BTreeSet<_> = held.iter().map(|(it, _)| *it).collect();
        assert!(hit.len() <= 1, "others were disturbed: {hit:?}");
    }
    world.finish();
    match (held.is_empty(), found.corrupt.is_empty()) {
        (false, _) => Damaged::Held,
        (_, false) => Damaged::Listed,
        _ => Damaged::Harmless,
    }
}

fn length(world: &World, file: &std::path::Path) -> usize {
    let len = std::cell::Cell::new(0);
    world.disk.damage(file, |bytes| len.set(bytes.len()));
    len.get()
}

/// One bit, one page, or the end. After a power cut the last batch of the newest journal is left alone: the mark that
/// tells its loss from a crash may have gone with the power.
fn change(world: &mut World, rng: &mut Rng, file: &std::path::Path, keep_end: bool) {
    let (kind, at) = (rng.below(if keep_end { 2 } else { 3 }), rng.next());
    world.disk.damage(file, |bytes| {
        // The last frame of a journal here is far shorter than this.
        let len = if keep_end { bytes.len().saturating_sub(400) } else { bytes.len() } as u64;
        if len == 0 {
            return;
        }
        let at = (at % len) as usize;
        match kind {
            0 => bytes[at] ^= 1 << (at % 8),
            1 => {
                let end = (at / 512 * 512 + 512).min(len as usize);
                bytes[at / 512 * 512..end].fill(0);
            }
            _ => bytes.truncate(at),
        }
    });
}
