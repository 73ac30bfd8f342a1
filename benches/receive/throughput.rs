//! Receiving: large objects, small ones, and small ones from a sender as shipped.

use super::load;
use super::report::{Row, median, megabytes, modelled, spread};
use super::support::node::Node;
use super::support::strangers::{Orthanc, Storescp, dcmsend};
use super::{bare, sender};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Rounds in which everybody has a turn.
const ROUNDS: u64 = 5;
/// Small objects in a round.
const SMALL: u32 = 1000;
/// Files that dcmsend sends.
const AS_SHIPPED: u32 = 200;
/// A disk whose cache is not protected against power cuts.
const SLOW_FLUSH: Duration = Duration::from_millis(5);

/// What the three do in units per second, a figure for each round.
#[derive(Default)]
struct Rates {
    chrysalis: Vec<f64>,
    orthanc: Vec<f64>,
    bare: Vec<f64>,
}

impl Rates {
    /// Chrysalis against Orthanc, round by round.
    fn ratio(&self) -> Option<f64> {
        let ratios = self.chrysalis.iter().zip(&self.orthanc).map(|(own, other)| own / other);
        let ratios: Vec<f64> = ratios.collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn describe(&self, unit: &str) -> String {
        let orthanc =
            if self.orthanc.is_empty() { "not installed".to_owned() } else { spread(&self.orthanc) };
        format!("{} {unit}; Orthanc {orthanc}; bare loop {}", spread(&self.chrysalis), spread(&self.bare))
    }

    fn row(&self, what: &'static str, goal: f64, unit: &str) -> Row {
        let measured = self.describe(unit);
        match self.ratio() {
            Some(ratio) => Row::times(what, goal, measured, ratio),
            None => Row::only(what, measured),
        }
    }
}

/// Durable receive of a study of large objects over one association.
pub(crate) fn large() -> Vec<Row> {
    let (rates, count, size) = compare("large", load::study, |instances| megabytes(load::bytes(instances)));
    let flushes = count as f64 / size;
    vec![
        rates.row("large objects", 2.5, "MB/s"),
        slow_disk("large objects, flush 5 ms", &rates, flushes, "MB/s"),
    ]
}

/// Durable receive of small objects over one association.
pub(crate) fn small() -> Vec<Row> {
    let make = |seed| load::small(seed, SMALL);
    let (rates, ..) = compare("small", make, |instances| instances.len() as f64);
    vec![rates.row("small objects", 2.0, "/s"), slow_disk("small objects, flush 5 ms", &rates, 1.0, "/s")]
}

/// Rounds of everybody in turn; the rates, and the objects and units of one round.
fn compare(
    part: &str,
    make: impl Fn(u64) -> Vec<super::support::instance::Instance>,
    units: impl Fn(&[super::support::instance::Instance]) -> f64,
) -> (Rates, usize, f64) {
    let node = load::paused().start();
    let orthanc = Orthanc::start(
        r#""SyncStorageArea": true, "MaximumPduLength": 131072, "OverwriteInstances": false,"#,
    );
    let mut rates = Rates::default();
    let mut shape = (0, 0.0);
    // The round with number 0 warms everybody up.
    for round in 0..=ROUNDS {
        let instances = make(1000 + round);
        let size = units(&instances);
        shape = (instances.len(), size);
        let chrysalis = size / sender::send(node.address, &instances).as_secs_f64();
        let orthanc = orthanc.as_ref().map(|o| size / sender::send(o.dicom, &instances).as_secs_f64());
        let bare = size / bare::store(&instances).as_secs_f64();
        println!(
            "{part} round {round}: chrysalis {chrysalis:.0}, Orthanc {:.0}, bare {bare:.0}",
            orthanc.unwrap_or(0.0)
        );
        if round > 0 {
            rates.chrysalis.push(chrysalis);
            rates.orthanc.extend(orthanc);
            rates.bare.push(bare);
        }
    }
    let peak = megabytes(node.peak());
    println!("{part}: Chrysalis at most {peak:.0} MB");
    (rates, shape.0, shape.1)
}

/// What the medians become when the one flush that each answer waits for takes 5 ms.
fn slow_disk(what: &'static str, rates: &Rates, flushes: f64, unit: &str) -> Row {
    let flush = bare::flush();
    let slow = |values: &[f64]| modelled(median(values), flushes, flush, SLOW_FLUSH);
    let own = slow(&rates.chrysalis);
    let orthanc = match rates.ratio() {
        Some(_) => format!("{:.0}", slow(&rates.orthanc)),
        None => "not installed".to_owned(),
    };
    Row::only(
        what,
        format!("{own:.0} {unit}; Orthanc {orthanc}; bare loop {:.0} (computed)", slow(&rates.bare)),
    )
}

/// Small objects from dcmsend as shipped: Nagle on, each PDU in two writes.
pub(crate) fn nagle() -> Vec<Row> {
    const WHAT: &str = "200 small objects from dcmsend";
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = load::small(1, AS_SHIPPED)
        .iter()
        .enumerate()
        .map(|(n, instance)| {
            let path = folder.path().join(format!("{n}.dcm"));
            instance.write_part10(&path).unwrap();
            path
        })
        .collect();
    let node: Node = load::paused().start();
    let Some(storescp) = Storescp::start(&[]) else {
        return vec![Row::only(WHAT, "DCMTK is not installed".to_owned())];
    };
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        own.push(timed(node.address, &files));
        other.push(timed(storescp.address, &files));
    }
    let (own, other) = (median(&own), median(&other));
    let measured = format!("{own:.2} s; storescp {other:.2} s");
    vec![Row::times(WHAT, 10.0, measured, other / own)]
}

fn timed(address: SocketAddr, files: &[PathBuf]) -> f64 {
    let started = Instant::now();
    dcmsend(address, &[], files).unwrap().expect_success();
    started.elapsed().as_secs_f64()
}
