//! What is acknowledged survives: a PACS that is away, a killed process, a lost index, a slow neighbour, a stop.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};
use support::archive::{Action, Archive, Greeting, Script};
use support::deliveries::{BRISK, SOON, Seen, small, store_all};
use support::instance::{Instance, Study};
use support::modality::{Failure, Last, Modality};
use support::node::Node;
use support::process::list;
use support::wait::eventually;

/// Deliveries that a crash may repeat: one batch of outcomes, and what was under way.
const REPEATS_PER_CRASH: usize = 64 + 1;

#[test]
fn what_was_sent_while_the_pacs_was_down_arrives_after_a_kill_and_a_restart() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let mut sent = small(1, 30);
    sent.push(Study::new(2).still(1));
    store_all(&node, &sent);
    node.kill();
    node.start();
    archive.start_again();
    node.wait_drained();
    assert_eq!(archive.times_stored(&sent).iter().sum::<usize>(), sent.len(), "each once");
}

#[test]
fn a_kill_in_the_middle_of_forwarding_repeats_a_batch_at_most() {
    let slow = Script::default().on_store(|_, _| Action::SleepThen(Duration::from_millis(3), 0));
    let archive = slow.start();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let sent = small(3, 150);
    store_all(&node, &sent);
    for target in [20, 60] {
        eventually("some of it arriving", SOON, || (archive.arrivals().len() >= target).then_some(()));
        node.kill();
        node.start();
    }
    node.wait_drained();
    let total: usize = archive.times_stored(&sent).iter().sum();
    assert!(total <= sent.len() + 2 * REPEATS_PER_CRASH, "{total} arrivals of {}", sent.len());
}

/// A destination that has everything, one that is away, one instance discarded there and one held there.
struct HalfDone {
    node: Node,
    done: Archive,
    away: Archive,
    sent: Vec<Instance>,
}

impl HalfDone {
    fn new(seed: u64) -> Self {
        let (done, mut away) = (Archive::new(), Archive::new());
        away.stop();
        let builder = Node::builder().dicom_with("done", done.address(), BRISK);
        let node = builder.dicom_with("away", away.address(), BRISK).start();
        let sent = small(seed, 12);
        store_all(&node, &sent);
        sent.iter().for_each(|instance| drop(node.wait_state(instance, "done", "delivered")));
        let delivery = |n: usize| node.deliveries_of(&sent[n], "away").pop().unwrap();
        node.decide("discard", &delivery(0), "not wanted");
        node.decide("hold", &delivery(1), "to be looked at");
        Self { node, done, away, sent }
    }

    /// The rest goes out, once; what was discarded or held does not, nor what is finished.
    fn check(mut self) {
        self.away.start_again();
        for instance in &self.sent[2..] {
            self.node.wait_state(instance, "away", "delivered");
        }
        assert_eq!(self.node.wait_state(&self.sent[0], "away", "discarded").reason, "not wanted (admin api)");
        let held = self.node.wait_state(&self.sent[1], "away", "held");
        assert_eq!(held.reason, "to be looked at");
        self.node.decide("release", &held, "");
        self.node.wait_state(&self.sent[1], "away", "delivered");
        assert_eq!(self.away.times_stored(&self.sent[1..]).iter().sum::<usize>(), self.sent.len() - 1);
        assert_eq!(self.done.times_stored(&self.sent).iter().sum::<usize>(), self.sent.len());
    }
}

fn overwrite_with_noise(folder: &Path) {
    let files = list(folder);
    assert!(!files.is_empty(), "there is no index in {}", folder.display());
    for (path, seed) in files.iter().zip(1_u64..) {
        let length = std::fs::metadata(path).unwrap().len().max(4096) as usize;
        let mut state = seed;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        });
        // Over the same file, as a disk would damage it: whoever has it open sees the noise.
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, &noise.take(length).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn an_index_deleted_while_stopped_loses_nothing_and_repeats_nothing() {
    let mut half = HalfDone::new(10);
    half.node.stop();
    std::fs::remove_dir_all(half.node.data_dir.join("index")).unwrap();
    half.node.start();
    half.check();
}

#[test]
fn an_index_full_of_noise_loses_nothing_and_repeats_nothing() {
    let mut half = HalfDone::new(11);
    half.node.stop();
    overwrite_with_noise(&half.node.data_dir.join("index"));
    half.node.start();
    half.check();
}

#[test]
fn an_index_deleted_while_running_loses_nothing_and_repeats_nothing() {
    let mut half = HalfDone::new(12);
    std::fs::remove_dir_all(half.node.data_dir.join("index")).unwrap();
    let more: Vec<_> = (100..110).map(|n| Study::new(12).small(n)).collect();
    store_all(&half.node, &more);
    half.sent.extend(more);
    half.check();
}

#[test]
fn an_index_overwritten_while_running_loses_nothing_and_repeats_nothing() {
    let mut half = HalfDone::new(13);
    overwrite_with_noise(&half.node.data_dir.join("index"));
    let more: Vec<_> = (100..110).map(|n| Study::new(13).small(n)).collect();
    store_all(&half.node, &more);
    eventually("the new ones arriving", SOON, || (half.done.stored().len() == 22).then_some(()));
    more.iter().for_each(|instance| drop(half.node.wait_state(instance, "done", "delivered")));
    half.sent.extend(more);
    // An outcome is synced within 20 ms; the answer to a decision comes after everything before it.
    let any = half.node.deliveries_of(&half.sent[2], "away").pop().unwrap();
    half.node.decide("retry", &any, "");
    half.node.kill();
    half.node.start();
    half.check();
}

/// Sends to a healthy archive beside an ill one, and returns how long the healthy one took.
fn beside(ill: Archive, seed: u64) -> Duration {
    let well = Archive::new();
    let builder = Node::builder().dicom_with("ill", ill.address(), BRISK);
    let node = builder.dicom_with("well", well.address(), BRISK).start();
    let sent = small(seed, 40);
    let begun = Instant::now();
    store_all(&node, &sent);
    eventually("the other destination having all", SOON, || {
        (well.stored().len() == sent.len()).then_some(())
    });
    let took = begun.elapsed();
    well.times_stored(&sent);
    // Nothing of what the ill one has not is lost or held for its illness.
    let seen = node.deliveries();
    let ill: Vec<&Seen> = seen.iter().filter(|seen| seen.destination == "ill").collect();
    assert_eq!(ill.len(), sent.len());
    assert!(ill.iter().filter(|seen| seen.state == "held").count() <= 1, "{ill:?}");
    took
}

#[test]
fn a_destination_that_is_dead_refuses_aborts_or_sleeps_does_not_delay_another() {
    let mut dead = Archive::new();
    dead.stop();
    let sleep = Action::SleepThen(Duration::from_secs(1), 0);
    let ill: [(&str, Archive); 6] = [
        ("dead", dead),
        ("refuses", Script::default().on_associate(|_| Greeting::Reject(1, 1, 1)).start()),
        ("aborts", Script::default().on_store(|_, _| Action::Abort).start()),
        ("aborts during", Script::default().on_store(|_, _| Action::AbortDuring(1000)).start()),
        ("sleeps", Script::default().on_store(move |_, _| sleep).start()),
        ("is silent", Script::default().on_associate(|_| Greeting::Silence).start()),
    ];
    for ((what, ill), seed) in ill.into_iter().zip(20..) {
        let took = beside(ill, seed);
        assert!(took < Duration::from_secs(3), "beside one that {what} it took {took:?}");
    }
}

#[test]
fn a_stop_finishes_what_is_under_way_and_rejects_what_is_new() {
    let mut node = Node::builder().folder("archive").node("grace = \"20s\"").start();
    let instance = Study::new(30).still(1);
    let modality = Modality::new(node.address).contexts_for([&instance]);
    let mut association = modality.associate().unwrap();
    let mut bytes = Vec::new();
    let gathered = instance.data_set.for_each_piece(|piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    gathered.unwrap();
    association.start_store(1, &instance.sop_class, &instance.sop_instance).unwrap();
    association.send_data(1, &bytes[..300_000], Last::No).unwrap();
    node.signal_stop();
    eventually("new associations being rejected", SOON, || match modality.associate() {
        Ok(_) => None,
        Err(Failure::Rejected { result: 2, source: 3, reason: 1 }) => Some(()),
        Err(other) => panic!("{other:?} instead of a rejection 2/3/1"),
    });
    assert!(!node.is_ready(), "it says that it is not ready");
    association.send_data(1, &bytes[300_000..], Last::Yes).unwrap();
    assert_eq!(association.read_answer().unwrap().status, 0);
    association.release().unwrap();
    assert_eq!(node.wait_end().code(), Some(0));
    node.start();
    node.wait_state(&instance, "archive", "delivered");
}

#[test]
fn a_stop_does_not_wait_longer_than_the_grace_period_and_loses_nothing_by_it() {
    let archive = Script::default().on_store(|_, _| Action::Silence).start();
    let keys = "timeouts = { dimse = \"60s\" }";
    let node = Node::builder().dicom_with("pacs", archive.address(), keys).node("grace = \"300ms\"");
    let mut node = node.start();
    let sent = small(31, 3);
    store_all(&node, &sent);
    eventually("one being under way", SOON, || (!archive.arrivals().is_empty()).then_some(()));
    let begun = Instant::now();
    node.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    archive.set_script(Script::default());
    node.start();
    node.wait_drained();
}

#[test]
fn a_second_process_on_the_same_spool_is_refused_with_the_first_ones_pid() {
    let node = Node::builder().folder("archive").start();
    let mut second = Node::builder().folder("archive").data_dir(&node.data_dir).prepare();
    second.spawn();
    let status = second.wait_end();
    assert_eq!(status.code(), Some(1), "{}", second.output());
    assert!(second.output().contains(&node.id().to_string()), "{}", second.output());
    assert!(node.is_ready(), "the first one goes on");
}

#[test]
fn the_queue_commands_look_into_a_stopped_nodes_spool_and_leave_it_as_it_is() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let sent = small(32, 5);
    store_all(&node, &sent);
    node.kill();
    for _ in 0..2 {
        let seen = Seen::read(&node.run(&["queue", "list", "--json"]).expect_success().output);
        let names: Vec<_> = seen.iter().map(|seen| &seen.sop_instance).collect();
        assert_eq!(names, sent.iter().map(|i| &i.sop_instance).collect::<Vec<_>>());
        let shown = node.run(&["queue", "show", &seen[0].instance]).expect_success().output;
        assert!(shown.contains(&sent[0].sop_instance) && shown.contains("pacs"), "{shown}");
        let checked = node.run(&["queue", "fsck", "--json"]).expect_success().output;
        assert!(checked.contains("\"checked\": 5"), "{checked}");
        let refused = node.run(&["queue", "retry", "--all"]);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.output);
    }
    node.start();
    archive.start_again();
    node.wait_drained();
    assert_eq!(archive.times_stored(&sent).iter().sum::<usize>(), sent.len());
}

#[test]
fn fsck_finds_a_damaged_spool_file_and_the_node_holds_it_instead_of_sending_it() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let sent = [Study::new(33).still(1), Study::new(33).small(2)];
    store_all(&node, &sent);
    node.stop();
    let spool = list(&node.data_dir.join("spool"));
    let large = spool.iter().find(|path| std::fs::metadata(path).unwrap().len() > 500_000).unwrap();
    let mut bytes = std::fs::read(large).unwrap();
    bytes[400_000] ^= 1;
    std::fs::write(large, bytes).unwrap();
    let checked = node.run(&["queue", "fsck"]);
    assert_eq!(checked.status.code(), Some(1), "{}", checked.output);
    node.start();
    archive.start_again();
    node.wait_state(&sent[1], "pacs", "delivered");
    node.wait_state(&sent[0], "pacs", "held");
    assert_eq!(archive.arrivals().len(), 1);
}
