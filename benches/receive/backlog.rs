//! A long queue: how soon a node with it listens, and what it costs in memory.

use super::load;
use super::report::{Row, megabytes};
use super::support::backlog::fill;
use super::support::node::Node;
use super::support::wait::eventually;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Instances in the queue.
const INSTANCES: u32 = 100_000;

/// Starting with a long queue.
pub(crate) fn backlog() -> Vec<Row> {
    let empty = load::paused().start();
    let empty_resident = empty.resident();
    drop(empty);
    let mut node = load::paused().prepare();
    fill(&node.data_dir, INSTANCES);
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
