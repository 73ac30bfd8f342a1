//! One SOP Instance UID that comes more than once: the same again, other content, another patient.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use support::archive::Archive;
use support::deliveries::{BRISK, SOON};
use support::instance::{Instance, Study};
use support::modality::Modality;
use support::node::Node;
use support::wait::eventually;

fn node_to(archive: &Archive) -> Node {
    Node::builder().dicom_with("pacs", archive.address(), BRISK).start()
}

#[track_caller]
fn store(node: &Node, instance: &Instance) {
    let answer = Modality::new(node.address).store(instance).unwrap();
    assert_eq!(answer.status, 0, "{:?}", answer.comment);
}

/// The same SOP Instance UID with other pixels.
fn other_pixels(instance: &Instance) -> Instance {
    instance.edited(|bytes| *bytes.last_mut().unwrap() ^= 1)
}

/// The same SOP Instance UID of another patient.
fn other_patient(instance: &Instance, study: &Study) -> Instance {
    instance.edited(|bytes| {
        let id = study.patient_id.as_bytes();
        let at = bytes.windows(id.len()).position(|window| window == id).unwrap();
        bytes[at] = b'X';
    })
}

#[test]
fn the_same_again_while_the_pacs_is_down_is_sent_once() {
    let mut archive = Archive::new();
    archive.stop();
    let node = node_to(&archive);
    let study = Study::new(1);
    let sent: Vec<_> = (1..=4).map(|n| study.small(n)).collect();
    for _ in 0..3 {
        sent.iter().for_each(|instance| store(&node, instance));
    }
    let states = |instance| node.deliveries_of(instance, "pacs").into_iter().map(|seen| seen.state);
    eventually("the newer taking over", SOON, || {
        let superseded = |instance| states(instance).filter(|state| state == "superseded").count() == 2;
        sent.iter().all(superseded).then_some(())
    });
    archive.start_again();
    node.wait_drained();
    let names: Vec<_> = archive.arrivals().into_iter().map(|arrival| arrival.sop_instance).collect();
    assert_eq!(names, sent.iter().map(|i| i.sop_instance.clone()).collect::<Vec<_>>());
}

#[test]
fn the_same_again_after_its_delivery_is_sent_again_because_somebody_sent_it() {
    let archive = Archive::new();
    let node = node_to(&archive);
    let instance = Study::new(2).small(1);
    for count in 1..=3 {
        store(&node, &instance);
        node.wait_drained();
        assert_eq!(archive.arrivals().len(), count);
    }
    assert!(archive.arrivals().iter().all(|arrival| arrival.digest == instance.digest()));
}

#[test]
fn other_content_of_the_same_study_is_sent_in_order_and_marked() {
    let mut archive = Archive::new();
    archive.stop();
    let node = node_to(&archive);
    let first = Study::new(3).small(1);
    let second = other_pixels(&first);
    store(&node, &first);
    store(&node, &second);
    archive.start_again();
    node.wait_drained();
    let digests: Vec<_> = archive.arrivals().into_iter().map(|arrival| arrival.digest).collect();
    assert_eq!(digests, [first.digest(), second.digest()], "the one does not overtake the other");
    let output = node.output();
    let marked = output.lines().filter(|line| line.contains("conflicting=true"));
    assert_eq!(marked.count(), 1, "{output}");
}

#[test]
fn other_content_in_a_folder_overwrites_nothing() {
    let node = Node::builder().folder("archive").start();
    let first = Study::new(4).small(1);
    let second = other_pixels(&first);
    for instance in [&first, &second, &first] {
        store(&node, instance);
        node.wait_drained();
    }
    let files = node.delivered("archive");
    let digests: Vec<_> = files.iter().map(|path| Instance::from_part10(path).unwrap().digest()).collect();
    assert_eq!(digests.len(), 2, "{files:?}");
    assert!(digests.contains(&first.digest()) && digests.contains(&second.digest()));
    let hash = format!("~{:?}", second.digest())[..9].to_owned();
    assert!(files.iter().any(|path| path.to_string_lossy().ends_with(&format!("{hash}.dcm"))), "{files:?}");
}

#[test]
fn the_uid_of_another_patient_is_held_as_a_conflict_and_goes_when_released() {
    let archive = Archive::new();
    let node = node_to(&archive);
    let study = Study::new(5);
    let first = study.small(1);
    let second = other_patient(&first, &study);
    store(&node, &first);
    node.wait_drained();
    store(&node, &second);
    let held = node.wait_state(&second, "pacs", "held");
    assert!(held.reason.starts_with("UID conflict with "), "{}", held.reason);
    assert_eq!(archive.arrivals().len(), 1);
    node.decide("release", &held, "");
    node.wait_drained();
    assert_eq!(archive.arrivals()[1].digest, second.digest());
}

#[test]
fn a_conflict_that_was_discarded_is_still_called_one_when_it_is_sent_again() {
    let archive = Archive::new();
    let node = node_to(&archive);
    let study = Study::new(25);
    let first = study.small(1);
    let second = other_patient(&first, &study);
    store(&node, &first);
    node.wait_drained();
    store(&node, &second);
    let conflict = node.wait_state(&second, "pacs", "held");
    node.decide("discard", &conflict, "the wrong patient");
    store(&node, &second);
    let again = node.wait_state(&second, "pacs", "held");
    assert_eq!(again.reason, format!("{}; discarded before", conflict.reason));
    assert_eq!(archive.arrivals().len(), 1);
}

#[test]
fn what_was_discarded_is_held_when_it_is_sent_again() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = node_to(&archive);
    let instance = Study::new(6).small(1);
    store(&node, &instance);
    let seen = node.deliveries_of(&instance, "pacs").pop().unwrap();
    node.decide("discard", &seen, "a test image");
    store(&node, &instance);
    assert_eq!(node.wait_state(&instance, "pacs", "held").reason, "discarded before");
    node.restart();
    archive.start_again();
    let held = node.wait_state(&instance, "pacs", "held");
    assert_eq!(held.reason, "discarded before");
    node.decide("release", &held, "");
    node.wait_state(&instance, "pacs", "delivered");
    assert_eq!(archive.arrivals().len(), 1);
}

#[test]
fn a_hold_is_inherited_by_the_same_content_sent_again() {
    let mut archive = Archive::new();
    archive.stop();
    let node = node_to(&archive);
    let study = Study::new(7);
    let (instance, other) = (study.small(1), study.small(2));
    store(&node, &instance);
    let seen = node.deliveries_of(&instance, "pacs").pop().unwrap();
    node.decide("hold", &seen, "wrong patient?");
    store(&node, &instance);
    store(&node, &other);
    archive.start_again();
    node.wait_state(&other, "pacs", "delivered");
    let newer = node.wait_state(&instance, "pacs", "held");
    assert_eq!(newer.reason, "wrong patient?");
    assert_ne!(newer.instance, seen.instance);
    assert_eq!(archive.arrivals().len(), 1);
}
