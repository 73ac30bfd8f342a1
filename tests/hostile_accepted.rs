//! What others accept from carts and is therefore accepted here (section H): through the real binary, each row is stored,
//! answered 0000, and comes out byte for byte.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use support::archive::Archive;
use support::deliveries::{BRISK, SOON, small, store_all};
use support::hostile::accepted::accepted;
use support::instance::{Digest, Instance};
use support::modality::Modality;
use support::node::Node;
use support::rounds::{Rounds, converse};
use support::wait::eventually;

/// A node that sends all it gets to an archive.
fn bench() -> (Archive, Node) {
    let archive = Archive::new();
    let (_, builder) = Rounds::new(Node::builder().dicom_with("pacs", archive.address(), BRISK));
    (archive, builder.start())
}

#[track_caller]
fn arrived(archive: &Archive, sent: &[Instance], times: usize) {
    eventually("all of them at the archive", SOON, || {
        (archive.stored().len() == sent.len() * times).then_some(())
    });
    assert_eq!(archive.times_stored(sent), vec![times; sent.len()]);
}

#[test]
fn every_row_is_stored_and_comes_out_byte_for_byte() {
    let (archive, node) = bench();
    for row in accepted() {
        let before = archive.arrivals().len();
        let answers = converse(node.address, &row.sent).unwrap();
        assert!(row.is_right(&answers), "{}: {answers:02X?}\n{}", row.what, node.output());
        let arrival = eventually(row.what, SOON, || archive.arrivals().get(before).cloned());
        assert_eq!(arrival.sop_instance, row.sop_instance, "{}", row.what);
        assert_eq!(arrival.digest, Digest::of(&row.data_set), "{}: it came out otherwise", row.what);
    }
    node.wait_drained();
}

#[test]
fn a_release_right_after_the_last_response_is_answered() {
    let (archive, node) = bench();
    let sent = small(81, 20);
    for instance in &sent {
        assert_eq!(Modality::new(node.address).store(instance).unwrap().status, 0);
    }
    arrived(&archive, &sent, 1);
}

#[test]
fn after_an_abort_instead_of_a_release_all_instances_stay_acknowledged() {
    let (archive, node) = bench();
    let sent = small(82, 20);
    let mut association = Modality::new(node.address).contexts_for(&sent).associate().unwrap();
    assert!(sent.iter().all(|instance| association.store(instance).unwrap().status == 0));
    association.abort().unwrap();
    arrived(&archive, &sent, 1);
}

#[test]
fn a_second_association_while_the_first_is_open_is_served() {
    let (archive, node) = bench();
    let sent = small(83, 20);
    let modality = Modality::new(node.address).contexts_for(&sent);
    let (mut first, mut second) = (modality.associate().unwrap(), modality.associate().unwrap());
    for (n, instance) in sent.iter().enumerate() {
        let association = if n % 2 == 0 { &mut first } else { &mut second };
        assert_eq!(association.store(instance).unwrap().status, 0);
    }
    second.release().unwrap();
    first.release().unwrap();
    arrived(&archive, &sent, 1);
}

#[test]
fn the_same_study_sent_again_whole_is_stored_again_whole() {
    let (archive, node) = bench();
    let sent = small(84, 10);
    for times in 1..=3 {
        store_all(&node, &sent);
        arrived(&archive, &sent, times);
        node.wait_drained();
    }
}
