//! A disk that does not sync: each `fdatasync` of the program fails with EIO, by `strace`.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::process::Command;
use support::archive::Archive;
use support::deliveries::{BRISK, SOON};
use support::instance::Study;
use support::ledger::Ledger;
use support::modality::{Failure, Modality};
use support::node::Node;
use support::process::Process;
use support::strangers;
use support::wait::eventually;

#[test]
fn what_is_not_durable_is_answered_with_a700_and_nothing_is_taken_until_a_restart() {
    let Some(strace) = strangers::require("strace") else { return };
    let archive = Archive::new();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let (study, ledger) = (Study::new(1), Ledger::default());
    let [before, during, after, again] = [1, 2, 3, 4].map(|number| study.still(number));
    let mut early = Modality::new(node.address).contexts_for([&before, &during, &after]).associate().unwrap();
    assert!(ledger.note(&before, &early.store(&before).unwrap()));
    node.wait_drained();

    let mut command = Command::new(strace);
    command.args("-f -qq -e trace=fdatasync -e inject=fdatasync:error=EIO -e signal=none".split(' '));
    command.args(["-o", "/dev/null", "-p", &node.id().to_string()]);
    let mut strace = Process::start("strace", command, node.home());
    eventually("strace at work", SOON, || is_traced(&node).then_some(()));

    assert_eq!(early.store(&during).unwrap().status, 0xA700);
    strace.terminate();
    strace.wait(SOON);
    // The disk is well again, and nobody relies on it.
    assert_eq!(early.store(&after).unwrap().status, 0xA700);
    let rejected = Modality::new(node.address).store(&after);
    assert!(matches!(rejected, Err(Failure::Rejected { result: 2, source: 3, reason: 1 })), "{rejected:?}");
    assert!(!node.is_ready());
    assert!(node.metric("chrysalis_queue_poisoned", &[]) > 0.0);

    node.restart();
    for instance in [&during, &after, &again] {
        assert!(ledger.note(instance, &Modality::new(node.address).store(instance).unwrap()));
    }
    eventually("everything acknowledged arriving", SOON, || {
        let arrived = archive.stored();
        ledger.missing(arrived.iter().map(|a| (a.sop_instance.as_str(), &a.digest))).is_empty().then_some(())
    });
}

/// Whether every thread of the program is watched.
fn is_traced(node: &Node) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.id())).unwrap();
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}
