//! Eight carts at once against one that sends the same, each with two destinations.

use super::load;
use super::peers::PATIENCE;
use super::report::{Row, Verdict, median, megabytes, spread};
use super::sender::Burst;
use super::support::archive::Archive;
use super::support::instance::Instance;
use super::support::node::Node;
use super::support::wait::eventually;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Carts that send at once.
const CARTS: u64 = 8;
/// Of each of a cart's study: five stills of 2.4 MB and a loop of 85 MB.
const STILLS: u32 = 5;
/// How much longer the slowest may take than the fastest.
const FAIR: f64 = 2.0;
/// Which part of one cart's total rate eight must reach together.
const TOTAL: f64 = 0.9;

/// One round of one case.
struct Times {
    /// From the first byte to the last byte at the last destination.
    whole: Duration,
    /// Each cart's own time, to its last answer.
    carts: Vec<Duration>,
}

/// Total rate, and fairness among the carts.
pub(crate) fn carts() -> Vec<Row> {
    let archives = [Archive::new(), Archive::new()];
    let [first, second] = archives.each_ref().map(Archive::address);
    let node = Node::builder()
        .queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"")
        .dicom("first", first)
        .dicom("second", second)
        .start();
    let (mut one, mut eight, mut ratios, mut spreads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=super::rounds() {
        let order = if round % 2 == 0 { [1, CARTS] } else { [CARTS, 1] };
        let mut rates = [0.0; 2];
        for carts in order {
            let sent: Vec<Vec<Instance>> = (0..CARTS)
                .map(|cart| load::parts(7000 + round * 100 + carts * 10 + cart, STILLS, 1))
                .collect();
            let size: f64 = sent.iter().map(|sent| megabytes(load::bytes(sent))).sum();
            let times = if carts == 1 {
                send(&node, &archives, &[sent.concat()])
            } else {
                send(&node, &archives, &sent)
            };
            let rate = size / times.whole.as_secs_f64();
            rates[usize::from(carts > 1)] = rate;
            let (fastest, slowest) = (times.carts.iter().min().unwrap(), times.carts.iter().max().unwrap());
            println!(
                "carts round {round}, {carts}: {rate:.0} MB/s to each of two, a cart done after {fastest:.2?} to {slowest:.2?}"
            );
            if round > 0 && carts > 1 {
                spreads.push(slowest.as_secs_f64() / fastest.as_secs_f64());
            }
        }
        if round > 0 {
            one.push(rates[0]);
            eight.push(rates[1]);
            ratios.push(rates[1] / rates[0]);
        }
    }
    println!("carts: Chrysalis at most {:.0} MB", megabytes(node.peak()));
    let (ratio, unfair) = (median(&ratios), median(&spreads));
    let fair =
        Row::below("8 carts: the slowest against the fastest", FAIR, "x", unfair, format!("{unfair:.2} x"));
    let total = Row {
        what: "8 carts and two destinations: total rate",
        goal: format!("{TOTAL} of one cart's"),
        measured: format!("{} MB/s; one cart {}", spread(&eight), spread(&one)),
        ratio: format!("{ratio:.2} x"),
        verdict: if ratio >= TOTAL { Verdict::Hit } else { Verdict::Miss },
    };
    vec![total, fair]
}

/// Sends everything, each list over an association of its own, and waits until both archives have all of it.
fn send(node: &Node, archives: &[Archive; 2], carts: &[Vec<Instance>]) -> Times {
    let before = archives.each_ref().map(|archive| archive.arrivals().len());
    let count: usize = carts.iter().map(Vec::len).sum();
    let bursts: Vec<Burst> = carts.iter().map(|instances| Burst::prepare(node.address, instances)).collect();
    rustix::fs::sync();
    let began = Instant::now();
    let carts_done = std::thread::scope(|scope| {
        let running: Vec<_> = bursts.into_iter().map(|burst| scope.spawn(|| burst.run())).collect();
        running.into_iter().map(|cart| cart.join().unwrap()).collect()
    });
    let wanted: BTreeSet<_> = carts.iter().flatten().map(|i| (i.sop_instance.clone(), i.digest())).collect();
    let mut last = began;
    for (archive, before) in archives.iter().zip(before) {
        let arrivals = eventually("delivery", PATIENCE, || {
            let arrivals = archive.arrivals().split_off(before);
            (arrivals.len() >= count).then_some(arrivals)
        });
        let found: BTreeSet<_> = arrivals.iter().map(|a| (a.sop_instance.clone(), a.digest)).collect();
        assert!(found == wanted && arrivals.len() == count, "each arrived once and as it was sent");
        last = arrivals.iter().map(|arrival| arrival.at).fold(last, Instant::max);
    }
    Times { whole: last - began, carts: carts_done }
}
