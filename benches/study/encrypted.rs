//! What TLS costs: the same study by TLS and in the plain, received, and passed on to a second node.

use super::load;
use super::report::{Row, median, megabytes, spread};
use super::support::certificates::{Certificates, Pair};
use super::support::node::{Node, NodeBuilder};
use super::support::process;
use super::support::wait::eventually;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// At least so much of what goes in the plain.
const GOAL: f64 = 0.7;

/// A node that only receives, and one that passes on to another that only receives.
struct Way {
    /// What `chrysalis send` is told of whom to believe.
    believes: Vec<String>,
    receiver: Node,
    forwarder: Node,
    archive: Node,
    received: Vec<f64>,
    forwarded: Vec<f64>,
}

/// By TLS against in the plain, in turns.
pub(crate) fn tls() -> Vec<Row> {
    let certificates = Certificates::new();
    let pair = certificates.issue("chrysalis");
    let mut plain = Way::plain();
    let mut tls = Way::tls(&pair, &certificates.ca());
    // The round with number 0 warms everybody up.
    for round in 0..=super::rounds() {
        let folder = tempfile::tempdir().unwrap();
        let instances = load::study(9000 + round);
        for (number, instance) in instances.iter().enumerate() {
            instance.write_part10(&folder.path().join(format!("{number:02}.dcm"))).unwrap();
        }
        let size = load::bytes(&instances);
        let ways = if round % 2 == 0 { [&mut plain, &mut tls] } else { [&mut tls, &mut plain] };
        for way in ways {
            way.measure(folder.path(), size, round > 0);
        }
    }
    vec![
        row("received by TLS", &tls.received, &plain.received),
        row("received and forwarded by TLS", &tls.forwarded, &plain.forwarded),
    ]
}

fn row(what: &'static str, tls: &[f64], plain: &[f64]) -> Row {
    let ratios: Vec<_> = tls.iter().zip(plain).map(|(tls, plain)| tls / plain).collect();
    let measured = format!("{} MB/s; in the plain {}", spread(tls), spread(plain));
    Row::times(what, GOAL, measured, median(&ratios))
}

impl Way {
    fn plain() -> Self {
        let archive = load::paused().start();
        let forwarder = forwarding().dicom("pacs", archive.address).start();
        Self::new(Vec::new(), load::paused().start(), forwarder, archive)
    }

    fn tls(pair: &Pair, ca: &Path) -> Self {
        let listener = format!("[listener.tls]\n{}", pair.lines());
        let archive = load::paused().listener(&listener).start();
        let tls = format!("tls = {{ ca = \"{}\" }}", ca.display());
        let forwarder = forwarding().listener(&listener).dicom_with("pacs", archive.address, &tls).start();
        let believes = vec!["--ca".to_owned(), ca.display().to_string()];
        Self::new(believes, load::paused().listener(&listener).start(), forwarder, archive)
    }

    fn new(believes: Vec<String>, receiver: Node, forwarder: Node, archive: Node) -> Self {
        Self { believes, receiver, forwarder, archive, received: Vec::new(), forwarded: Vec::new() }
    }

    fn measure(&mut self, folder: &Path, size: u64, counts: bool) {
        rustix::fs::sync();
        let began = Instant::now();
        self.send(&self.receiver, folder);
        let received = megabytes(size) / began.elapsed().as_secs_f64();
        rustix::fs::sync();
        let wanted = bytes(&self.archive) + size as f64;
        let began = Instant::now();
        self.send(&self.forwarder, folder);
        eventually("arrival", PATIENCE, || (bytes(&self.archive) >= wanted).then_some(()));
        let forwarded = megabytes(size) / began.elapsed().as_secs_f64();
        let how = if self.believes.is_empty() { "plain" } else { "TLS" };
        println!("{how}: received {received:.0} MB/s, forwarded {forwarded:.0} MB/s");
        if counts {
            self.received.push(received);
            self.forwarded.push(forwarded);
        }
    }

    fn send(&self, to: &Node, folder: &Path) {
        let (program, peer) =
            (PathBuf::from(env!("CARGO_BIN_EXE_chrysalis")), format!("CHRYSALIS@{}", to.address));
        let args = ["send", &peer].into_iter().map(String::from).chain(self.believes.iter().cloned());
        process::run(&program, args.chain([folder.display().to_string()]), PATIENCE).expect_success();
    }
}

fn forwarding() -> NodeBuilder {
    Node::builder().queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"")
}

/// Data set bytes that a node has received.
fn bytes(node: &Node) -> f64 {
    node.metric("chrysalis_received_bytes_total", &[])
}
