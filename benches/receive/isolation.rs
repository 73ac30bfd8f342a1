//! A bad destination beside a good one: the good one must not notice.
//!
//! The good one answers its first instance only when everything has been received. Otherwise forwarding keeps up with
//! receiving, and there is nothing left to be measured after the last answer.

use super::report::{Row, Verdict, median};
use super::sender;
use super::support::archive::{Action, Script};
use super::support::instance::{Instance, Study};
use super::support::node::Node;
use super::support::strangers::Storescp;
use super::support::wait::eventually;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Rounds in which every case has a turn.
const ROUNDS: u64 = 7;
/// Stills of 0.9 MB in a round.
const STILLS: u32 = 150;
/// Longest wait for everything to be received, and then to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);
/// The greatest slowdown, in percent.
const GOAL: f64 = 5.0;

/// The second destination of each case: arguments of storescp, or none at all.
const CASES: [(&str, Option<&[&str]>); 5] = [
    ("alone", None),
    ("refusing", Some(&["--refuse"])),
    ("aborting after", Some(&["--abort-after"])),
    ("aborting during", Some(&["--abort-during"])),
    ("sleeping 5 s", Some(&["--sleep-after", "5"])),
];

/// One round of one case.
struct Times {
    /// From the last acknowledgement to the last delivery.
    lag: f64,
    /// From the first byte to the last delivery.
    whole: f64,
}

/// How much later the last instance is delivered because of the second destination.
pub(crate) fn isolation() -> Vec<Row> {
    let mut times: Vec<Vec<Times>> = CASES.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        let study = Study::new(4000 + round);
        let instances: Vec<_> = (1..=STILLS).map(|n| study.still(n)).collect();
        // Who begins has the quieter machine, so everybody does in turn.
        for turn in 0..CASES.len() {
            let at = (turn + round as usize) % CASES.len();
            let (name, second) = CASES[at];
            let Some(took) = one(second, &instances) else {
                return vec![Row::only("isolation", "DCMTK is not installed".to_owned())];
            };
            println!("isolation round {round}, {name}: lag {:.3} s, whole {:.3} s", took.lag, took.whole);
            if round > 0 {
                times[at].push(took);
            }
        }
    }
    let of = |times: &[Times], which: fn(&Times) -> f64| median(&times.iter().map(which).collect::<Vec<_>>());
    let (lag, whole) = (of(&times[0], |t| t.lag), of(&times[0], |t| t.whole));
    let mut rows = vec![Row::only(
        "delivery with nobody beside it",
        format!("{lag:.3} s after the last answer, {whole:.3} s in all"),
    )];
    for ((name, _), times) in CASES.iter().zip(&times).skip(1) {
        let (own_lag, own_whole) = (of(times, |t| t.lag), of(times, |t| t.whole));
        let slower = (own_lag / lag - 1.0) * 100.0;
        rows.push(Row {
            what: name,
            goal: format!("{GOAL} % slower"),
            measured: format!("{own_lag:.3} s after the last answer, {own_whole:.3} s in all"),
            ratio: format!("{slower:+.1} % ({:+.1} % in all)", (own_whole / whole - 1.0) * 100.0),
            verdict: if slower <= GOAL { Verdict::Hit } else { Verdict::Miss },
        });
    }
    rows
}

fn one(second: Option<&[&str]>, instances: &[Instance]) -> Option<Times> {
    let (open, gate) = mpsc::channel();
    let keep_waiting = move |number, _: &str| {
        if number == 1 {
            let _ = gate.recv_timeout(PATIENCE);
        }
        Action::Answer(0)
    };
    let archive = Script::default().on_store(keep_waiting).start();
    let mut builder = Node::builder().queue("reserve = \"256MiB\"").dicom("good", archive.address());
    let mut bad = None;
    if let Some(args) = second {
        let storescp = Storescp::start(args)?;
        builder = builder.dicom("bad", storescp.address);
        bad = Some(storescp);
    }
    let node = builder.start();
    let burst = sender::Burst::prepare(node.address, instances);
    let started = Instant::now();
    let answered = started + burst.run();
    open.send(()).unwrap();
    let arrivals = eventually("delivery", PATIENCE, || {
        let arrivals = archive.arrivals();
        (arrivals.len() == instances.len()).then_some(arrivals)
    });
    let last = arrivals.iter().map(|arrival| arrival.at).max()?;
    drop((node, bad));
    Some(Times {
        lag: last.saturating_duration_since(answered).as_secs_f64(),
        whole: (last - started).as_secs_f64(),
    })
}
