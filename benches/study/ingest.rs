//! The study as a cart like dcmsend sends it: what receiving alone takes.

use super::load;
use super::peers::{Dcmsend, Peers, Study};
use super::report::{Row, median, megabytes, spread};
use super::support::strangers::Storescp;
use std::net::SocketAddr;

/// dcmsend as shipped into Chrysalis, and into storescp as shipped.
pub(crate) fn ingest() -> Vec<Row> {
    const WHAT: &str = "a study from dcmsend, received";
    let Some(storescp) = Storescp::start(&[]) else {
        return vec![Row::only(WHAT, "DCMTK is not installed".to_owned())];
    };
    let node = load::paused().start();
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for round in 0..=super::rounds() {
        let study = Study::new(6000 + round);
        let (chrysalis, dcmtk) = if round % 2 == 0 {
            let chrysalis = rate(node.address, &study);
            (chrysalis, rate(storescp.address, &study))
        } else {
            let dcmtk = rate(storescp.address, &study);
            (rate(node.address, &study), dcmtk)
        };
        assert_eq!(storescp.received().len(), study.files.len(), "storescp has all of it");
        for path in super::support::process::list(&storescp.folder()) {
            std::fs::remove_file(path).unwrap();
        }
        println!("ingest round {round}: Chrysalis {chrysalis:.0}, storescp {dcmtk:.0} MB/s");
        if round > 0 {
            own.push(chrysalis);
            other.push(dcmtk);
        }
    }
    let sent = (super::rounds() + 1) * 24;
    assert_eq!(node.metric("chrysalis_queued_instances", &[]), sent as f64, "Chrysalis has all of it");
    let ratios: Vec<_> = own.iter().zip(&other).map(|(own, other)| own / other).collect();
    let measured = format!("{} MB/s; storescp {}", spread(&own), spread(&other));
    vec![Row::times(WHAT, 3.0, measured, median(&ratios))]
}

fn rate(address: SocketAddr, study: &Study) -> f64 {
    // What was written before is not written out in this one's time.
    rustix::fs::sync();
    let sender = Dcmsend::start(address, Peers::Shipped, &study.files).unwrap();
    megabytes(study.bytes()) / sender.finish().as_secs_f64()
}
