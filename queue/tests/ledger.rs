//! The ledger tells what became of an instance when its payload, and its bucket, are long gone.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "the simulated disk's tests use all of it")]
mod world;

use std::cell::Cell;
use std::time::Duration;

use chrysalis_queue::simulation::Fault;
use chrysalis_queue::{
    Action, Hold, HoldKind, LedgerDamage, LedgerEntry, LedgerSpan, NO_ROUTE, Outcome, Owed, Sequence, State,
};
use sha2::{Digest, Sha256};
use world::{DROP, LEDGER, RETAIN, World};

fn open_world() -> World {
    let mut world = World::new(1, u64::MAX);
    world.open();
    world
}

fn send(world: &mut World, destination: &str) {
    world.lease(destination, 9);
    while !world.flights.is_empty() {
        world.attempt(0, true, Outcome::Untried);
    }
}

/// The whole ledger, which must be sound.
fn entries(world: &mut World) -> Vec<LedgerEntry> {
    let (entries, damage) = world.queue().ledger(LedgerSpan::default()).unwrap();
    assert_eq!(damage, LedgerDamage::default());
    entries
}

fn entry(world: &mut World, of: Sequence) -> LedgerEntry {
    let mut entries = entries(world);
    entries.retain(|entry| entry.instance.sequence == of);
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn decisions(entry: &LedgerEntry) -> Vec<(&str, &str, &str, &str)> {
    let told = entry.decisions.iter();
    told.map(|d| (d.destination.as_str(), d.what, d.who.as_str(), d.why.as_str())).collect()
}

#[test]
fn outcomes_decisions_and_hash_are_told_after_payload_and_bucket_are_gone_and_after_a_restart() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs", "archive", "cloud"]).unwrap();
    let dropped =
        world.receive_with(World::meta("bb", 1, vec![Owed::discard(NO_ROUTE, DROP)]), b"x").unwrap();
    let held = Owed::hold("pacs", Hold::new(HoldKind::Rule, "look first"));
    let ruled = world.receive_with(World::meta("ccc", 1, vec![held]), b"y").unwrap();
    send(&mut world, "pacs");
    assert!(world.decide(it, "archive", Action::Hold { why: "wait".into() }));
    assert!(world.decide(it, "archive", Action::Release));
    assert!(world.decide(it, "archive", Action::Reroute { to: vec!["vault".into()] }));
    assert!(world.decide(it, "cloud", Action::Discard { why: "not there".into() }));
    assert!(world.decide(ruled, "pacs", Action::Release));
    send(&mut world, "pacs");
    send(&mut world, "vault");
    let again = world.receive("a", b"first", &["pacs"]).unwrap();
    let newest = world.receive("a", b"first", &["pacs"]).unwrap();
    send(&mut world, "pacs");
    assert!(world.decide(newest, "pacs", Action::Resend));
    send(&mut world, "pacs");
    let before = entries(&mut world);
    assert!(before.iter().all(|entry| entry.has_payload));
    for gone in 0..3 {
        if gone == 1 {
            world.kill();
            world.open();
            world.pass(RETAIN + Duration::from_secs(1));
            assert!(world.shown(it).is_none(), "the index has forgotten it");
        } else if gone == 2 {
            world.kill();
            world.open();
        }
        let told = entry(&mut world, it);
        assert_eq!(told.has_payload, gone == 0);
        assert_eq!(*told.instance.sha256(), <[u8; 32]>::from(Sha256::digest(b"first")));
        assert_eq!((told.instance.keys.key.as_str(), &*told.instance.attachment), ("a", &b"how it came"[..]));
        assert_eq!(
            decisions(&told),
            [
                ("archive", "held", "test", "wait"),
                ("archive", "released", "test", ""),
                ("archive", "rerouted", "test", "to vault"),
                ("cloud", "discarded", "test", "not there"),
            ]
        );
        assert!(told.decisions.iter().all(|d| d.at >= told.instance.received_at));
        let states: Vec<_> =
            told.deliveries.iter().map(|d| (d.destination.as_str(), d.state.name())).collect();
        let ends =
            [("pacs", "delivered"), ("archive", "discarded"), ("cloud", "discarded"), ("vault", "delivered")];
        assert_eq!(states, ends);
        assert!(matches!(&told.deliveries[0].state, State::Delivered { detail } if detail == "0000"));
        let superseded = format!("by {newest}");
        let told = entry(&mut world, again);
        assert_eq!(decisions(&told), [("pacs", "superseded", "chrysalis", superseded.as_str())]);
        assert_eq!(decisions(&entry(&mut world, newest)), [("pacs", "resent", "test", "")]);
        assert_eq!(decisions(&entry(&mut world, dropped)), [(NO_ROUTE, "discarded", "rule", DROP)]);
        let told = entry(&mut world, ruled);
        assert_eq!(
            decisions(&told),
            [("pacs", "held", "rule", "look first"), ("pacs", "released", "test", "")]
        );
    }
    world.pass(LEDGER + Duration::from_secs(1));
    assert!(entries(&mut world).is_empty(), "the ledger's time is over");
}

#[test]
fn a_span_has_what_was_received_from_its_beginning_to_before_its_end() {
    let mut world = open_world();
    let mut all = Vec::new();
    for key in ["a", "bb", "ccc", "dddd"] {
        all.push(world.receive(key, b"x", &["pacs"]).unwrap());
        world.clock.advance(Duration::from_secs(1));
    }
    world.kill();
    world.open();
    let times: Vec<_> = entries(&mut world).iter().map(|entry| entry.instance.received_at).collect();
    let span = LedgerSpan { since: Some(times[1]), until: Some(times[3]) };
    let (some, _) = world.queue().ledger(span).unwrap();
    let some: Vec<_> = some.iter().map(|entry| entry.instance.sequence).collect();
    assert_eq!(some, all[1..3]);
}

#[test]
fn a_decision_is_told_once_although_a_start_writes_the_last_batch_again() {
    let mut world = open_world();
    let it = world.receive("a", b"first", &["pacs"]).unwrap();
    assert!(world.decide(it, "pacs", Action::Hold { why: "wait".into() }));
    for _ in 0..3 {
        world.kill();
        world.open();
    }
    assert_eq!(decisions(&entry(&mut world, it)), [("pacs", "held", "test", "wait")]);
}

#[test]
fn whatever_byte_of_a_journal_is_damaged_the_ledger_is_read_and_says_so() {
    let mut world = open_world();
    for key in ["a", "bb", "ccc"] {
        let it = world.receive(key, b"x", &["pacs"]).unwrap();
        assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
        world.receive(&format!("{key}-"), b"y", &["archive"]).unwrap();
    }
    let whole = entries(&mut world).len();
    let files = world.disk.files();
    let file = files.into_iter().find(|file| file.parent().unwrap().ends_with("journal")).unwrap();
    let len = Cell::new(0);
    world.disk.damage(&file, |bytes| len.set(bytes.len()));
    let mut noticed = 0;
    for at in 0..len.get() {
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 0x20;
        world.disk.damage(&file, flip);
        let (some, damage) = world.queue().ledger(LedgerSpan::default()).unwrap();
        assert!(some.len() + 1 >= whole, "one bad byte costs one record");
        noticed += damage.journals;
        world.disk.damage(&file, flip);
    }
    // Not within the last batch, which cannot be told from one that is being written.
    assert!(noticed as usize > len.get() / 2, "{noticed} of {} were noticed", len.get());
    assert_eq!(entries(&mut world).len(), whole);
}

#[test]
fn a_record_without_its_instance_is_counted() {
    let mut world = open_world();
    let it = world.receive("a", b"x", &["pacs"]).unwrap();
    world.flush();
    assert!(world.decide(it, "pacs", Action::Discard { why: "no".into() }));
    let files = world.disk.files();
    let file = files.into_iter().find(|file| file.parent().unwrap().ends_with("journal")).unwrap();
    world.disk.damage(&file, |bytes| bytes[60] ^= 1);
    let (some, damage) = world.queue().ledger(LedgerSpan::default()).unwrap();
    assert_eq!((some.len(), damage), (0, LedgerDamage { journals: 1, records: 1, is_behind: false }));
}

#[test]
fn one_read_that_fails_is_tried_again_and_a_ledger_that_cannot_be_written_is_read_all_the_same() {
    let mut world = open_world();
    let it = world.receive("a", b"x", &["pacs"]).unwrap();
    assert!(world.flush());
    for at in 1..4 {
        world.disk.fault_in(at, Fault::Io);
        assert_eq!(entry(&mut world, it).instance.sequence, it);
        world.disk.clear_faults();
    }
    world.receive("bb", b"y", &["pacs"]).unwrap();
    world.disk.fault_in(1, Fault::Io);
    assert!(!world.flush());
    world.disk.clear_faults();
    let (some, damage) = world.queue().ledger(LedgerSpan::default()).unwrap();
    assert!(some.iter().any(|entry| entry.instance.sequence == it));
    assert!(damage.is_behind);
}
