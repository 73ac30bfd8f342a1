//! Memory under load, and at rest.

use super::load;
use super::report::{Row, megabytes};
use super::sender;
use super::support::archive::Archive;
use super::support::instance::Study;
use super::support::modality::Modality;
use super::support::node::Node;
use super::support::wait::eventually;
use std::time::Duration;

/// Longest wait for everything to be forwarded.
const PATIENCE: Duration = Duration::from_secs(300);
/// Associations that send at once.
const ASSOCIATIONS: u64 = 8;
/// How long nothing happens before the idle node is looked at, so that threads kept for a while have gone.
const SETTLING: Duration = Duration::from_secs(15);
/// How long it is looked at.
const IDLE: Duration = Duration::from_secs(10);

/// The most memory while loops come in from all sides and go out again, and with one very large object.
pub(crate) fn memory() -> Vec<Row> {
    vec![loops(), huge()]
}

fn forwarding(archive: &Archive) -> Node {
    Node::builder().queue("reserve = \"256MiB\"").dicom("pacs", archive.address()).start()
}

fn loops() -> Row {
    let archive = Archive::new();
    let node = forwarding(&archive);
    let before = megabytes(node.resident());
    let bursts: Vec<_> = (0..ASSOCIATIONS)
        .map(|n| sender::Burst::prepare(node.address, &[load::one_loop(2000 + n, 1)]))
        .collect();
    std::thread::scope(|scope| {
        for burst in bursts {
            scope.spawn(|| burst.run());
        }
    });
    let received = megabytes(node.peak());
    wait_delivered(&archive, ASSOCIATIONS as usize);
    let peak = megabytes(node.peak());
    let measured = format!("{peak:.1} MB ({before:.1} before, {received:.1} when all was received)");
    Row::below("peak memory, 8 associations with loops of 85 MB", 48.0, "MB", peak, measured)
}

fn huge() -> Row {
    let archive = Archive::new();
    let node = forwarding(&archive);
    let instance = Study::new(3000).huge(1, 2_000_000_000);
    let answer = Modality::new(node.address).timeout(Duration::from_secs(120)).store(&instance).unwrap();
    assert_eq!(answer.status, 0);
    let received = megabytes(node.peak());
    wait_delivered(&archive, 1);
    let peak = megabytes(node.peak());
    Row::below(
        "peak memory, one object of 2 GB",
        48.0,
        "MB",
        peak,
        format!("{peak:.1} MB ({received:.1} when all was received)"),
    )
}

fn wait_delivered(archive: &Archive, count: usize) {
    eventually("delivery", PATIENCE, || (archive.arrivals().len() == count).then_some(()));
}

/// Wake-ups and memory of a node that has nothing to do.
pub(crate) fn idle() -> Vec<Row> {
    let node = load::paused().start();
    pause(SETTLING);
    let before = switches(node.id());
    pause(IDLE);
    let wakes = switches(node.id()) - before;
    let resident = megabytes(node.resident());
    vec![
        Row::below("wake-ups in 10 s of idleness", 1.0, "", wakes as f64, wakes.to_string()),
        Row::below("memory when idle", 20.0, "MB", resident, format!("{resident:.1} MB")),
    ]
}

#[allow(clippy::disallowed_methods, reason = "what is measured is what happens while nothing is done")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Context switches of all threads, voluntary and not.
fn switches(id: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let of_one = |path: std::path::PathBuf| -> u64 {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches:"));
        lines.filter_map(|line| line.rsplit_once('\t')?.1.parse::<u64>().ok()).sum()
    };
    tasks.map(|task| of_one(task.unwrap().path())).sum()
}
