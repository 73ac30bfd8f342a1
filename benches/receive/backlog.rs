//! A long queue: how soon a node with it listens, and what it costs in memory.

use super::load;
use super::report::{Row, megabytes};
use super::support::node::Node;
use super::support::wait::eventually;
use chrysalis::receive::Arrival;
use chrysalis_queue::{Hold, Instance, Keys, Meta, Observer, Options, Owed, Queue, Unavailable};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Instances in the queue.
const INSTANCES: u32 = 100_000;
/// Instances of one study.
const STUDY: u32 = 100;
/// Threads that fill the queue.
const FILLERS: u32 = 4;

/// Starting with a long queue.
pub(crate) fn backlog() -> Vec<Row> {
    let empty = load::paused().start();
    let empty_resident = empty.resident();
    drop(empty);
    let mut node = load::paused().prepare();
    fill(&node.data_dir);
    let listens = listening_after(&mut node);
    node.wait_ready();
    let (resident, peak) = (node.resident(), node.peak());
    let queued = node.metric("chrysalis_queued_instances", &[]);
    assert_eq!(queued, f64::from(INSTANCES), "all of it is queued");
    let each = resident.saturating_sub(empty_resident) as f64 / f64::from(INSTANCES);
    let opened =
        node.output().lines().find(|line| line.contains("The spool is open")).unwrap_or("").to_owned();
    println!("backlog: {opened}");
    node.stop();
    let again = listening_after(&mut node);
    vec![
        Row::below(
            "100,000 queued: seconds until it listens",
            2.0,
            "s",
            listens,
            format!("{listens:.2} s; {again:.2} s at the next start"),
        ),
        Row::below(
            "100,000 queued: bytes of memory each",
            300.0,
            "B",
            each,
            format!(
                "{each:.0} B ({:.1} MB over {:.1}, at most {:.1})",
                megabytes(resident),
                megabytes(empty_resident),
                megabytes(peak)
            ),
        ),
    ]
}

/// Seconds from starting the process to its first accepted connection.
fn listening_after(node: &mut Node) -> f64 {
    let started = Instant::now();
    node.spawn();
    eventually("listening", Duration::from_secs(120), || TcpStream::connect(node.address).ok());
    started.elapsed().as_secs_f64()
}

/// Fills a data directory as the receiver would, without the network.
fn fill(data_dir: &Path) {
    let options = Options { extension: "dcm", reserve: 256 << 20, ..Options::new(data_dir) };
    let (queue, _) = Queue::open(&options, Silent).unwrap();
    std::thread::scope(|scope| {
        for filler in 0..FILLERS {
            let queue = queue.clone();
            scope.spawn(move || {
                for n in (filler..INSTANCES).step_by(FILLERS as usize) {
                    let mut staged = queue.stage(&[0; 400]).unwrap();
                    staged.write(&[n as u8; 500]).unwrap();
                    staged.commit(meta(n), |_| Vec::new()).unwrap();
                }
            });
        }
    });
    queue.close();
}

/// Names as long as real ones.
fn meta(n: u32) -> Meta {
    let uid = |kind: u32, n: u32| {
        format!("2.25.{}", 10_u128.pow(38) + u128::from(kind) * 10_u128.pow(20) + u128::from(n))
    };
    let keys = Keys {
        kind: "1.2.840.10008.5.1.4.1.1.6.1".to_owned(),
        key: uid(1, n),
        group: uid(2, n / STUDY),
        subject: u128::from(n / STUDY).to_be_bytes(),
    };
    let arrival = Arrival {
        identity: None,
        listener: "modalities".to_owned(),
        peer: ([192, 168, 10, 20], 40_000).into(),
        site: None,
        upload: None,
        calling_ae: "VIVID1".to_owned(),
        called_ae: "CHRYSALIS".to_owned(),
        transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
        sound: true,
        revision: "0123456789abcdef".to_owned(),
        rules: Vec::new(),
    };
    let owed = vec![Owed::send("pacs")];
    Meta { keys, owed, attachment: arrival.to_bytes() }
}

/// Nobody forwards while the queue is filled.
struct Silent;

impl Observer for Silent {
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn ready(&self, _: &str) {}
    fn index_rebuilt(&self, why: &str) {
        panic!("the index failed: {why}");
    }
    fn recording_failed(&self, why: &Unavailable) {
        panic!("recording failed: {why}");
    }
}
