//! The list of hostile input against one running node, again and again: every answer stays right, and neither memory nor
//! descriptors grow. See `support/rounds.rs` for what is in the list, and what is not.

use crate::part::{Broken, Part, Round, Seen};
use crate::rest::{DESCRIPTORS, at_rest};
use crate::support::node::Node;
use crate::support::rounds::Rounds;
use std::time::{Duration, Instant};

pub const PART: Part = Part {
    name: "hostile",
    what: "repetitions of the list of hostile input",
    everyday: 20,
    release: 10_000,
    needs: || Ok(()),
    round,
};

/// Repetitions on one node at most: memory is measured over all of them.
const REPETITIONS: u64 = 10_000;
/// Repetitions after which what is kept for the next time is there: buffers, threads. The queue's index has a cache of its
/// own, which is full only after some ten thousand instances.
const WARM_UP: u64 = 100;
const LONG_WARM_UP: u64 = 500;
/// The most that memory may grow, in bytes.
const GROWTH: u64 = 4 << 20;

pub fn round(round: &Round) -> Result<Seen, Broken> {
    let queue = "reserve = \"1MiB\"\nretain = \"0s\"\nledger = \"0s\"";
    let builder = Node::builder().home(&round.folder).folder("archive").queue(queue);
    // What a line of log costs is not what is measured, and a million of them would fill the disk.
    let (rounds, builder) = Rounds::new(builder.table("[log]\nlevel = \"error\""));
    let node = builder.start();
    let mut seen = Seen::default();
    let broken = |why: String, seen: &Seen| Broken { why, seen: seen.clone() };
    let mut before = None;
    let mut slowest = Duration::ZERO;
    let repetitions = round.wanted.min(REPETITIONS);
    let warm_up = if repetitions > LONG_WARM_UP { LONG_WARM_UP } else { WARM_UP };
    for number in 0..warm_up + repetitions {
        if number == warm_up {
            before = Some(at_rest(&node).map_err(|why| broken(why, &seen))?);
        }
        let started = Instant::now();
        let order = round.seed.wrapping_mul(1_000_003).wrapping_add(number);
        let done =
            rounds.repeat(&node, order).map_err(|why| broken(format!("order {order}: {why}"), &seen))?;
        seen.acknowledged += done.stored as u64;
        seen.attacks += u64::from(number >= warm_up);
        if number >= warm_up {
            slowest = slowest.max(started.elapsed());
        }
    }
    let after = at_rest(&node).map_err(|why| broken(why, &seen))?;
    // Fewer than were acknowledged: of one instance that comes again and again the newest takes the place of the others.
    seen.delivered = node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]) as u64;
    let received = node.metric("chrysalis_received_instances_total", &[]) as u64;
    seen.lost = seen.acknowledged.abs_diff(received);
    let before = before.expect("a node at rest");
    let grown = after.memory.saturating_sub(before.memory);
    seen.figure("memory growth, KiB", (grown >> 10) as f64);
    seen.figure("slowest repetition, ms", slowest.as_millis() as f64);
    let opened = after.descriptors.saturating_sub(before.descriptors);
    seen.figure("descriptors more", opened as f64);
    match () {
        () if grown > GROWTH => Err(broken(format!("memory grew by {} KiB", grown >> 10), &seen)),
        () if opened > DESCRIPTORS => Err(broken(format!("{opened} descriptors more"), &seen)),
        () if seen.lost > 0 => {
            Err(broken(format!("{} acknowledged, {received} received", seen.acknowledged), &seen))
        }
        () => Ok(seen),
    }
}
