//! How studies are kept together on their way to a destination that wants it.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::archive::{Action, Archive, Arrival, Script};
use support::deliveries::{BRISK, SOON, small, store_all};
use support::instance::Instance;
use support::modality::Modality;
use support::node::Node;
use support::wait::eventually;

/// Studies of so many small instances each, received in turn: one of each, then the next of each.
fn interleaved(seed: u64, studies: usize, instances: u32) -> Vec<Instance> {
    let studies: Vec<_> = (0..studies as u64).map(|n| small(seed + n, instances)).collect();
    let turn = |n: usize| studies.iter().map(move |study| study[n].clone());
    (0..instances as usize).flat_map(turn).collect()
}

/// An archive that answers nothing until it is told to, or until the sender of the other end is dropped.
fn gated() -> (mpsc::Sender<()>, Archive) {
    let (open, gate) = mpsc::channel();
    let wait = move |_, _: &str| {
        let _ = gate.recv_timeout(SOON);
        Action::Answer(0)
    };
    (open, Script::default().on_store(wait).start())
}

#[track_caller]
fn wait_arrivals(archive: &Archive, count: usize) -> Vec<Arrival> {
    eventually("arrival", SOON, || {
        let arrivals = archive.arrivals();
        (arrivals.len() >= count).then_some(arrivals)
    })
}

/// The associations by which a study came, in the order of its instances' arrival, each as often as it changed.
fn ways(arrivals: &[Arrival], study: &str, sent: &[Instance]) -> Vec<usize> {
    let of_study =
        |arrival: &&Arrival| sent.iter().any(|i| i.sop_instance == arrival.sop_instance && i.study == study);
    let mut ways: Vec<_> = arrivals.iter().filter(of_study).map(|arrival| arrival.association).collect();
    ways.dedup();
    ways
}

#[test]
fn three_interleaved_studies_go_on_an_association_each_two_at_a_time() {
    let (open, archive) = gated();
    let keys = format!("max_associations = 2\none_study_per_association = true\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let sent = interleaved(900, 3, 8);
    store_all(&node, &sent);
    drop(open);
    let arrivals = wait_arrivals(&archive, sent.len());
    node.wait_drained();
    assert_eq!(arrivals.len(), sent.len(), "each once");
    let studies: BTreeSet<&str> = sent.iter().map(|instance| instance.study.as_str()).collect();
    let ways: BTreeMap<_, _> = studies.iter().map(|study| (*study, ways(&arrivals, study, &sent))).collect();
    let used: Vec<usize> = ways.values().flatten().copied().collect();
    assert!(ways.values().all(|ways| ways.len() == 1), "a study is on one association: {ways:?}");
    assert_eq!(BTreeSet::from_iter(&used).len(), 3, "and no other study is on it: {ways:?}");
    for study in studies {
        let order = |name: &str| sent.iter().position(|instance| instance.sop_instance == name);
        let of_study = arrivals.iter().map(|arrival| order(&arrival.sop_instance).unwrap());
        let places: Vec<_> = of_study.filter(|place| sent[*place].study == study).collect();
        assert!(places.is_sorted(), "in the order of receipt: {places:?}");
    }
}

#[test]
fn no_association_carries_two_studies_however_slowly_they_come() {
    let archive = Archive::new();
    let keys = format!("max_associations = 4\none_study_per_association = true\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let sent = interleaved(910, 2, 10);
    for (n, instance) in sent.iter().enumerate() {
        store_all(&node, std::slice::from_ref(instance));
        wait_arrivals(&archive, n + 1);
    }
    node.wait_drained();
    let arrivals = archive.arrivals();
    let mut owners: BTreeMap<usize, &str> = BTreeMap::new();
    for arrival in &arrivals {
        let of = sent.iter().find(|instance| instance.sop_instance == arrival.sop_instance).unwrap();
        let owner = owners.entry(arrival.association).or_insert(&of.study);
        assert_eq!(owner, &of.study, "an association carries one study");
    }
    for study in [&sent[0].study, &sent[1].study] {
        // A worker that has nothing more of its study may take the other one, and release the association for that.
        let ways = ways(&arrivals, study, &sent);
        assert_eq!(BTreeSet::from_iter(&ways).len(), ways.len(), "none is taken up again: {ways:?}");
    }
}

#[test]
fn a_study_is_held_together_until_it_is_quiet_while_others_have_it_at_once() {
    const QUIET: Duration = Duration::from_secs(1);
    let (eager, archive) = (Archive::new(), Archive::new());
    let keys = format!("study_quiet = \"1s\"\n{BRISK}");
    let mut node = Node::builder()
        .dicom_with("eager", eager.address(), BRISK)
        .dicom_with("pacs", archive.address(), &keys)
        .table(
            "[[destination]]\nname = \"folder\"\nkind = \"folder\"\npath = \"folder\"\nstudy_quiet = \"1s\"",
        )
        .start();
    let sent = small(920, 6);
    let mut begun = Vec::new();
    for (n, instance) in sent.iter().enumerate() {
        begun.push(Instant::now());
        Modality::new(node.address).store(instance).unwrap();
        wait_arrivals(&eager, n + 1);
    }
    let arrivals = wait_arrivals(&archive, sent.len());
    eventually("the folder", SOON, || (node.delivered("folder").len() == sent.len()).then_some(()));
    for arrival in &arrivals {
        // Each is at least so much later than what came last before it.
        let before = begun.iter().rfind(|begun| **begun < arrival.at - QUIET / 2).unwrap();
        assert!(arrival.at - *before >= QUIET, "{:?} after an instance", arrival.at - *before);
    }
    assert_eq!(arrivals.len(), sent.len());

    // A restart counts as if something had just come.
    let late = small(921, 1);
    store_all(&node, &late);
    node.kill();
    let restarted = Instant::now();
    node.start();
    let arrivals = wait_arrivals(&archive, sent.len() + 1);
    assert!(arrivals.last().unwrap().at - restarted >= QUIET);
}

#[test]
fn what_waits_for_its_study_to_be_quiet_says_so() {
    let archive = Archive::new();
    let keys = format!("study_quiet = \"10m\"\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    store_all(&node, &small(930, 2));
    for seen in node.deliveries() {
        let why = "waits until nothing has come of its study for 10m (up to 10m more)";
        assert_eq!((seen.state.as_str(), seen.reason.as_str()), ("ready", why));
    }
    assert_eq!(archive.arrivals().len(), 0);
}
