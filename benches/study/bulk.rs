//! Decisions about very many deliveries at once, each by one command of the real program, while a cart goes on sending.

use super::hoard;
use super::report::{Row, Verdict, megabytes};
use super::support::instance::Study;
use super::support::modality::Modality;
use super::support::node::Node;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// In which the discarded are.
const STATES: &str = "ready,waiting,held";
/// How long the cart sends with nobody beside it.
const ALONE: Duration = Duration::from_secs(3);

/// What the cart saw: objects stored in a second, and the longest time that one of them took.
struct Cart {
    rate: f64,
    longest: Duration,
}

/// One decision after the other on one node.
pub(crate) fn bulk() -> Vec<Row> {
    let mut node = hoard::node();
    node.start();
    // What is sent again would be written while the rest is decided about.
    node.run(&["pause", "destination", "share"]).expect_success();
    let began = Instant::now();
    let alone = cart(&node, 1, || began.elapsed() < ALONE).rate;
    let decide = |what, least, args: &[&str]| decide(&node, what, least, args, alone);
    vec![
        decide("retry of 100,000 that wait or are held", 100_000, &["retry", "--destination", "pacs"]),
        decide("resend of 50,000 delivered", 50_000, &["resend", "--destination", "share"]),
        decide(
            "discard of 50,000 that wait",
            50_000,
            &[
                "discard",
                "--destination",
                "pacs",
                "--calling-ae",
                "VIVID*",
                "--state",
                STATES,
                "--reason",
                "bench",
            ],
        ),
    ]
}

/// One command to its end, and what the cart and the node's memory made of it.
fn decide(node: &Node, what: &'static str, least: u64, args: &[&str], alone: f64) -> Row {
    node.reset_peak();
    let before = node.resident();
    let goes_on = AtomicBool::new(true);
    let (took, output, cart) = std::thread::scope(|scope| {
        let cart = scope.spawn(|| cart(node, least, || goes_on.load(Ordering::Relaxed)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_chrysalis"));
        command.arg("queue").args(args).arg("--config").arg(node.config());
        let started = Instant::now();
        let output = command.output().unwrap();
        let took = started.elapsed();
        goes_on.store(false, Ordering::Relaxed);
        (took, output, cart.join().unwrap())
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("bulk: {what}: {}", said.lines().next().unwrap_or_default());
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let changed: u64 = said.split(' ').nth(3).and_then(|count| count.parse().ok()).unwrap();
    assert!(changed >= least, "{said}");
    Row {
        what,
        goal: String::new(),
        measured: format!(
            "{:.1} s; peak memory {:.1} MB ({:.1} before); {:.0} /s received meanwhile ({alone:.0} before), the slowest in {:.0} ms",
            took.as_secs_f64(),
            megabytes(node.peak()),
            megabytes(before),
            cart.rate,
            cart.longest.as_secs_f64() * 1e3,
        ),
        ratio: String::new(),
        verdict: Verdict::None,
    }
}

/// Sends objects of 5 kB, each when the one before is answered, as long as it is to go on.
fn cart(node: &Node, seed: u64, goes_on: impl Fn() -> bool) -> Cart {
    let study = Study::new(900_000 + seed);
    let modality = Modality::new(node.address).contexts_for([&study.small(1)]);
    let mut association = modality.associate().unwrap();
    let (mut number, mut longest, mut spent) = (0, Duration::ZERO, Duration::ZERO);
    while goes_on() {
        number += 1;
        let instance = study.small(number);
        let started = Instant::now();
        assert_eq!(association.store(&instance).unwrap().status, 0);
        let took = started.elapsed();
        longest = longest.max(took);
        spent += took;
    }
    association.release().unwrap();
    Cart { rate: f64::from(number) / spent.as_secs_f64(), longest }
}
