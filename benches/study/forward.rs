//! From the first byte in to the last byte at the PACS.

use super::pacs::Pacs;
use super::peers::{Dcmsend, Peers, Router, Study};
use super::report::{Row, median, megabytes, spread};
use super::support::node::Node;
use std::net::SocketAddr;

/// Programs as they come, with Nagle's algorithm on.
pub(crate) fn shipped() -> Vec<Row> {
    compare("shipped", "a study forwarded, peers as shipped", Peers::Shipped, 4.0)
}

/// The same programs without it.
pub(crate) fn tuned() -> Vec<Row> {
    compare("tuned", "a study forwarded, no Nagle", Peers::Tuned, 2.5)
}

/// One router and the PACS behind it.
struct Way {
    name: &'static str,
    dicom: SocketAddr,
    /// Whether the data sets arrive byte for byte; Orthanc writes them anew.
    is_exact: bool,
    pacs: Pacs,
    rates: Vec<f64>,
    /// Keeps the router running; Chrysalis is kept by whoever looks into it.
    _router: Option<Router>,
}

impl Way {
    /// The rate of one study, in MB/s; everything must have arrived.
    fn measure(&mut self, study: &Study, peers: Peers) -> Option<f64> {
        // What was written before is not written out in this one's time.
        rustix::fs::sync();
        let sender = Dcmsend::start(self.dicom, peers, &study.files)?;
        let began = sender.began;
        let arrived = self.pacs.wait_for(&study.instances);
        sender.finish();
        let received = self.pacs.received();
        assert_eq!(received.len(), study.instances.len(), "{} arrived through {}", received.len(), self.name);
        for instance in &study.instances {
            let found = received.get(&instance.sop_instance);
            let is_right = found.is_some_and(|digest| *digest == instance.digest() || !self.is_exact);
            assert!(is_right, "{instance:?} through {}", self.name);
        }
        self.pacs.clear();
        Some(megabytes(study.bytes()) / (arrived - began).as_secs_f64())
    }
}

fn compare(part: &'static str, what: &'static str, peers: Peers, goal: f64) -> Vec<Row> {
    let Some((mut ways, node)) = ways(peers) else {
        return vec![Row::only(what, "DCMTK is not installed".to_owned())];
    };
    // The round with number 0 warms everybody up.
    for round in 0..=super::rounds() {
        let study = Study::new(5000 + round + 100 * peers as u64);
        for turn in 0..ways.len() {
            // Who begins has the quieter machine, so everybody does in turn.
            let at = (turn + round as usize) % ways.len();
            let way = &mut ways[at];
            let before = processor_seconds(node.id());
            let Some(rate) = way.measure(&study, peers) else { continue };
            let spent = processor_seconds(node.id()) - before;
            println!("{part} round {round}, {}: {rate:.0} MB/s, {spent:.2} s of processor time", way.name);
            if round > 0 {
                way.rates.push(rate);
            }
        }
    }
    println!("{part}: Chrysalis at most {:.0} MB", megabytes(node.peak()));
    let (own, others) = ways.split_first().unwrap();
    let rest = others.iter().map(|other| format!("{} {}", other.name, spread(&other.rates)));
    let measured = format!("{} MB/s; {}", spread(&own.rates), rest.collect::<Vec<_>>().join("; "));
    let orthanc = others.iter().find(|other| other.name == ORTHANC);
    match orthanc {
        Some(orthanc) => {
            let ratios: Vec<_> =
                own.rates.iter().zip(&orthanc.rates).map(|(own, other)| own / other).collect();
            vec![Row::times(what, goal, measured, median(&ratios))]
        }
        None => vec![Row::only(what, measured)],
    }
}

/// Peer whose rate the goal is a multiple of.
const ORTHANC: &str = "Orthanc";

type Start = fn(SocketAddr, Peers) -> Option<Router>;

/// Chrysalis first, then the others as far as they are installed, each with a PACS of its own.
fn ways(peers: Peers) -> Option<(Vec<Way>, Node)> {
    let pacs = Pacs::start(peers)?;
    let node = Node::builder()
        .queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"")
        .dicom("pacs", pacs.address)
        .start();
    let own = Way {
        name: "Chrysalis",
        dicom: node.address,
        is_exact: true,
        pacs,
        rates: Vec::new(),
        _router: None,
    };
    let mut ways = vec![own];
    let others: [(&str, Start); 2] = [
        (ORTHANC, Router::orthanc),
        ("storescp and storescu without a queue", Router::storescp_and_storescu),
    ];
    for (name, start) in others {
        let pacs = Pacs::start(peers)?;
        if let Some(router) = start(pacs.address, peers) {
            let dicom = router.dicom;
            ways.push(Way { name, dicom, is_exact: false, pacs, rates: Vec::new(), _router: Some(router) });
        }
    }
    Some((ways, node))
}

/// Time that a process and its threads have spent computing, for themselves and in the kernel.
pub(crate) fn processor_seconds(id: u32) -> f64 {
    /// Linux counts in hundredths for everybody outside the kernel.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}
