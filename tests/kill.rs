//! `kill -9` at random times under load: nothing acknowledged is lost, and little is repeated.
//!
//! Ten kills every day; `CHRYSALIS_KILLS=100` for more, `CHRYSALIS_SEED` to have the same times again.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use support::archive::Archive;
use support::deliveries::BRISK;
use support::instance::{Digest, Instance, Study};
use support::ledger::Ledger;
use support::modality::Modality;
use support::node::Node;
use support::wait::{eventually, poll};

/// Deliveries that a crash may repeat at each destination: a batch of outcomes, and what was under way.
const REPEATS_PER_KILL: usize = 64 + 1;
const SENDERS: u64 = 3;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Small numbers that look like chance and are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A cart that never stops: what is not acknowledged is sent again under its own name, like carts do.
fn send_on(address: std::net::SocketAddr, seed: u64, ledger: &Ledger, sent: &AtomicU32, stop: &AtomicBool) {
    let study = Study::new(seed);
    let modality = Modality::new(address).timeout(Duration::from_secs(10));
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let instance = if number % 40 == 7 { study.still(number) } else { study.small(number) };
        let Ok(mut association) = modality.clone().contexts_for([&instance]).associate() else {
            poll(Duration::from_millis(10), || None::<()>);
            continue;
        };
        // A few on each association, as long as they fit its one context.
        for _ in 0..50 {
            let instance = if number % 40 == 7 { study.still(number) } else { study.small(number) };
            let Ok(answer) = association.store(&instance) else { break };
            sent.fetch_add(1, Ordering::SeqCst);
            if ledger.note(&instance, &answer) {
                number += 1;
            }
        }
        let _ = association.release();
    }
}

#[test]
fn kills_at_random_times_under_load_lose_nothing() {
    let kills = setting("CHRYSALIS_KILLS").unwrap_or(10);
    let seed = setting("CHRYSALIS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let archive = Archive::new();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    let (ledger, sent, stop) =
        (Ledger::default(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|n| {
            let (address, ledger) = (node.address, ledger.clone());
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            std::thread::spawn(move || send_on(address, 1000 + n, &ledger, &sent, &stop))
        })
        .collect();
    let mut chance = Chance(seed);
    for _ in 0..kills {
        // Nothing to wait for: the time itself is what is tried.
        poll(Duration::from_millis(20 + chance.below(400)), || None::<()>);
        node.kill();
        node.spawn();
        if chance.below(3) > 0 {
            node.wait_ready();
        }
    }
    node.wait_ready();
    let before = ledger.len();
    eventually("more being taken after the last kill", Duration::from_secs(20), || {
        (ledger.len() > before + 10).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let idle = |node: &Node| node.metric("chrysalis_queued_instances", &[]) == 0.0;
    eventually("the queue being empty", Duration::from_secs(60), || idle(&node).then_some(()));
    let arrived: Vec<(String, Digest)> =
        archive.stored().into_iter().map(|arrival| (arrival.sop_instance, arrival.digest)).collect();
    let lost = ledger.missing(arrived.iter().map(|(name, digest)| (name.as_str(), digest)));
    let folder: Vec<Instance> =
        node.delivered("archive").iter().map(|path| Instance::from_part10(path).unwrap()).collect();
    let lost_in_folder: Vec<_> = folder.iter().map(|i| (i.sop_instance.clone(), i.digest())).collect();
    let lost_in_folder = ledger.missing(lost_in_folder.iter().map(|(name, digest)| (name.as_str(), digest)));
    let mut times: HashMap<_, usize> = HashMap::new();
    arrived.into_iter().for_each(|arrival| *times.entry(arrival).or_default() += 1);
    let repeats: usize = times.values().map(|times| times - 1).sum();
    eprintln!(
        "{kills} kills, seed {seed}: {} sent, {} acknowledged, {} arrived, {repeats} repeated, {} lost, {} lost in the folder",
        sent.load(Ordering::SeqCst),
        ledger.len(),
        times.len(),
        lost.len(),
        lost_in_folder.len(),
    );
    assert!(lost.is_empty() && lost_in_folder.is_empty(), "lost: {lost:?} {lost_in_folder:?}");
    assert_eq!(node.metric("chrysalis_held_instances", &[]), 0.0, "nothing is held by a kill");
    // Besides, a cart sends again what was under way and not acknowledged: once for each kill.
    let allowed = kills as usize * (REPEATS_PER_KILL + SENDERS as usize);
    assert!(repeats <= allowed, "{repeats} repeated, {allowed} allowed");
    let unknown: Vec<_> = times.keys().filter(|(name, _)| !is_ours(name)).collect();
    assert!(unknown.is_empty(), "nobody sent {unknown:?}");
}

/// Whether a UID is one that the carts make.
fn is_ours(name: &str) -> bool {
    name.starts_with("2.25.")
}
