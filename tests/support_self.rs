//! The test world is tested by itself: modality against archive, and both against strangers, with no router in between.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;
use support::archive::{Action, Archive, Greeting, Script};
use support::faults::{Fault, Faults, Proxy};
use support::instance::{
    Digest, EXPLICIT_LITTLE, Encoding, IMPLICIT_LITTLE, Instance, RLE_LOSSLESS, Study, US_IMAGE,
    US_MULTIFRAME, real_files,
};
use support::ledger::Ledger;
use support::modality::{Failure, Last, Modality, Nagle};
use support::node::{Node, parse_metrics, sum};
use support::strangers::{self, Orthanc, Storescp};
use support::wait::eventually;

fn names(instances: &[Instance]) -> Vec<(String, Digest)> {
    instances.iter().map(|i| (i.sop_instance.clone(), i.digest())).collect()
}

fn arrived(archive: &Archive) -> Vec<(String, Digest)> {
    archive.arrivals().into_iter().map(|a| (a.sop_instance, a.digest)).collect()
}

#[test]
fn a_study_in_every_encoding_arrives_byte_for_byte_and_in_order() {
    let archive = Archive::new();
    let study = Study::new(1);
    let scene = study.scene(48, 64, 3);
    let mut sent: Vec<_> =
        Encoding::ALL.into_iter().zip(1..).map(|(encoding, n)| study.instance(n, scene, encoding)).collect();
    sent.extend([study.still(10), study.small(11), study.cine(12, 2)]);
    let ledger = Ledger::default();
    let answers = Modality::new(archive.address()).calling("CART").store_all(&sent).unwrap();
    assert!(sent.iter().zip(&answers).all(|(instance, answer)| ledger.note(instance, answer)));
    assert_eq!(arrived(&archive), names(&sent));
    let arrivals = archive.arrivals();
    assert!(ledger.missing(arrivals.iter().map(|a| (a.sop_instance.as_str(), &a.digest))).is_empty());
    assert_eq!(
        ledger.missing(arrivals.iter().skip(1).map(|a| (a.sop_instance.as_str(), &a.digest))).len(),
        1
    );
    assert!(ledger.entries().iter().zip(&arrivals).all(|(entry, arrival)| arrival.at <= entry.acknowledged));
    assert!(
        arrivals
            .iter()
            .zip(&sent)
            .all(|(a, i)| a.transfer_syntax == i.transfer_syntax && a.calling_ae == "CART")
    );
}

#[test]
fn a_small_instance_has_about_five_kilobytes_and_a_still_about_0_9_megabytes() {
    let study = Study::new(2);
    assert!((4_500..5_500).contains(&study.small(1).data_set.len()));
    assert!((921_600..923_600).contains(&study.still(1).data_set.len()));
}

#[test]
fn a_generated_instance_needs_no_memory_and_arrives_whole() {
    let archive = Archive::new();
    let instance = Study::new(3).huge(1, 30 << 20);
    assert!(instance.data_set.len() > 30 << 20);
    Modality::new(archive.address()).store(&instance).unwrap();
    let arrival = &archive.arrivals()[0];
    assert_eq!((arrival.digest, arrival.length), (instance.digest(), instance.data_set.len()));
    assert_eq!(arrival.sop_class, US_MULTIFRAME);
}

#[test]
fn any_fragment_size_gives_the_same_bytes_with_nagle_or_without() {
    let archive = Archive::new();
    let instance = Study::new(4).small(1);
    for size in [2, 100, 5000, 1 << 20] {
        Modality::new(archive.address()).pdv_size(size).store(&instance).unwrap();
    }
    Modality::new(archive.address()).nagle(Nagle::OnWithTwoWrites).store(&instance).unwrap();
    assert!(archive.arrivals().iter().all(|arrival| arrival.digest == instance.digest()));
    assert_eq!(archive.arrivals().len(), 5);
}

#[test]
fn the_script_chooses_the_status_and_the_comment_of_every_answer() {
    let archive = Script::default()
        .on_store(|n, _| match n {
            1 => Action::Answer(0xB000),
            2 => Action::AnswerWith(0xA700, "The disk is full"),
            _ => Action::SleepThen(Duration::from_millis(20), 0),
        })
        .start();
    let study = Study::new(5);
    let sent = [study.small(1), study.small(2), study.small(3)];
    let answers = Modality::new(archive.address()).store_all(&sent).unwrap();
    assert_eq!(answers.iter().map(|a| a.status).collect::<Vec<_>>(), [0xB000, 0xA700, 0]);
    assert_eq!(answers[1].comment.as_deref(), Some("The disk is full"));
    assert_eq!(answers[2].message_id, 3);
    assert!(answers[2].at - answers[1].at >= Duration::from_millis(20));
    assert_eq!(archive.arrivals().len(), 3);
    assert_eq!(archive.stored().len(), 2);
    assert!(!Ledger::default().note(&sent[1], &answers[1]));
}

#[test]
fn the_archive_refuses_aborts_closes_or_keeps_silent_at_the_association() {
    let instance = Study::new(6).small(1);
    let meet = |greeting: Greeting| {
        let archive = Script::default().on_associate(move |_| greeting).start();
        let modality = Modality::new(archive.address()).timeout(Duration::from_millis(200));
        let failure = modality.store(&instance).unwrap_err();
        assert_eq!(archive.knocks().len(), 1);
        failure
    };
    assert!(matches!(meet(Greeting::Reject(1, 1, 7)), Failure::Rejected { result: 1, source: 1, reason: 7 }));
    assert!(matches!(meet(Greeting::Reject(2, 3, 1)), Failure::Rejected { result: 2, source: 3, reason: 1 }));
    assert!(matches!(meet(Greeting::Abort), Failure::Aborted { source: 0, reason: 0 }));
    assert!(matches!(meet(Greeting::Close), Failure::Closed));
    assert!(matches!(meet(Greeting::Silence), Failure::Silence));
}

#[test]
fn the_archive_aborts_closes_or_keeps_silent_at_a_store() {
    let study = Study::new(7);
    let meet = |action: Action| {
        let archive =
            Script::default().on_store(move |n, _| if n == 2 { action } else { Action::Answer(0) }).start();
        let sent = [study.small(1), study.still(2)];
        let modality =
            Modality::new(archive.address()).contexts_for(&sent).timeout(Duration::from_millis(300));
        let mut association = modality.associate().unwrap();
        assert_eq!(association.store(&sent[0]).unwrap().status, 0);
        let failure = association.store(&sent[1]).unwrap_err();
        (failure, archive.arrivals().len())
    };
    assert!(matches!(meet(Action::Abort), (Failure::Aborted { .. }, 2)));
    assert!(matches!(meet(Action::Close), (Failure::Closed, 2)));
    assert!(matches!(meet(Action::Silence), (Failure::Silence, 2)));
    // The abort may be lost when the peer is still writing into the closed connection.
    let (failure, arrivals) = meet(Action::AbortDuring(1000));
    assert!(matches!(failure, Failure::Aborted { .. } | Failure::Closed), "{failure:?}");
    assert_eq!(arrivals, 1);
}

#[test]
fn the_archive_takes_only_the_sop_classes_and_transfer_syntaxes_it_was_told() {
    let study = Study::new(8);
    let still = study.small(1);
    let cine = study.instance(2, study.scene(32, 32, 2), Encoding::Rle);
    let archive = Script::default().only_sop_classes(&[US_IMAGE]).start();
    let both = Modality::new(archive.address()).contexts_for([&still, &cine]);
    let mut association = both.associate().unwrap();
    assert_eq!(association.accept.answered.iter().map(|a| a.result).collect::<Vec<_>>(), [0, 3]);
    assert!(matches!(association.store(&cine), Err(Failure::NoContext)));
    assert_eq!(association.store(&still).unwrap().status, 0);
    association.release().unwrap();

    archive
        .set_script(Script::default().only_transfer_syntaxes(&[IMPLICIT_LITTLE, RLE_LOSSLESS]).max_pdu(4096));
    let association =
        both.context(US_IMAGE, &[EXPLICIT_LITTLE, IMPLICIT_LITTLE]).called("PACS").associate().unwrap();
    assert_eq!(association.accept.answered.iter().map(|a| a.result).collect::<Vec<_>>(), [4, 0, 0]);
    assert_eq!(association.context_for(US_IMAGE, IMPLICIT_LITTLE), Some(5));
    assert_eq!((association.accept.max_pdu, association.accept.called_ae.as_str()), (4096, "PACS"));
    association.abort().unwrap();
}

#[test]
fn the_archive_stops_and_comes_back_on_the_same_port_with_its_log() {
    let mut archive = Archive::new();
    let instance = Study::new(9).small(1);
    let modality = Modality::new(archive.address()).timeout(Duration::from_secs(5));
    modality.store(&instance).unwrap();
    let mut open = modality.clone().contexts_for([&instance]).associate().unwrap();
    archive.stop();
    assert!(matches!(open.store(&instance), Err(Failure::Closed)));
    assert!(matches!(modality.store(&instance), Err(Failure::Connect(_))));
    archive.start_again();
    modality.store(&instance).unwrap();
    assert_eq!(archive.arrivals().iter().map(|a| a.association).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn an_object_cut_off_is_no_arrival() {
    let archive = Archive::new();
    let instance = Study::new(10).small(1);
    let mut association = Modality::new(archive.address()).contexts_for([&instance]).associate().unwrap();
    association.start_store(1, US_IMAGE, "1.2.3").unwrap();
    association.send_data(1, b"the first half", Last::No).unwrap();
    association.vanish();
    Modality::new(archive.address()).echo().unwrap();
    assert!(archive.arrivals().is_empty());
    assert_eq!(archive.knocks().len(), 2);
}

#[test]
fn any_bytes_can_be_sent_as_a_data_set() {
    let archive = Archive::new();
    let mut association =
        Modality::new(archive.address()).context(US_IMAGE, &[EXPLICIT_LITTLE]).associate().unwrap();
    assert_eq!(association.store_bytes(1, US_IMAGE, "not a uid", b"garbage").unwrap().status, 0);
    assert_eq!(association.store_bytes(1, US_IMAGE, "1.2", b"").unwrap().status, 0);
    association.write_raw(b"\xFFnoise").unwrap();
    assert_eq!(archive.arrivals().iter().map(|a| a.length).collect::<Vec<_>>(), [7, 0]);
    eventually("the archive closing on noise", Duration::from_secs(5), || {
        association.read_pdu().err().map(drop)
    });
}

#[test]
fn a_part_10_file_is_split_into_the_very_bytes_of_its_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.dcm");
    for encoding in Encoding::ALL {
        let study = Study::new(12);
        let instance = study.instance(1, study.scene(20, 31, 2), encoding);
        instance.write_part10(&path).unwrap();
        let read = Instance::from_part10(&path).unwrap();
        assert_eq!(read.digest(), instance.digest());
        assert_eq!(read.transfer_syntax, encoding.uid());
        assert_eq!((read.sop_class, read.sop_instance), (instance.sop_class, instance.sop_instance));
    }
}

#[test]
fn every_real_file_good_or_malformed_is_split_and_arrives() {
    for folder in ["ultrasound", "other", "malformed"] {
        let Some(files) = real_files(folder) else { return };
        let archive = Archive::new();
        for path in files {
            let instance = Instance::from_part10(&path).unwrap();
            let answer = Modality::new(archive.address()).store(&instance).unwrap();
            assert_eq!(answer.status, 0, "{}", path.display());
            assert_eq!(archive.arrivals().last().unwrap().digest, instance.digest());
        }
    }
}

/// Writes the instances as files into a new folder.
fn files_of(instances: &[Instance]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..instances.len()).map(|n| folder.path().join(format!("{n}.dcm"))).collect();
    instances.iter().zip(&paths).for_each(|(instance, path)| instance.write_part10(path).unwrap());
    (folder, paths)
}

/// One instance in each encoding.
fn mixed(seed: u64) -> Vec<Instance> {
    let study = Study::new(seed);
    let scene = study.scene(60, 80, 2);
    Encoding::ALL.into_iter().zip(1..).map(|(encoding, n)| study.instance(n, scene, encoding)).collect()
}

fn sorted(instances: &[Instance]) -> Vec<(String, Digest)> {
    let mut names = names(instances);
    names.sort();
    names
}

#[test]
fn dcmdump_finds_nothing_wrong_with_synthetic_instances() {
    let (_folder, paths) = files_of(&mixed(20));
    for path in paths {
        let Some(finished) = strangers::dcmdump(&path) else { return };
        let output = finished.expect_success().output;
        assert!(!output.contains("W:") && !output.contains("E:"), "{output}");
    }
}

#[test]
fn dcmtks_storescp_stores_what_the_modality_sends_byte_for_byte() {
    let Some(mut storescp) = Storescp::start(&["+B", "+xa"]) else { return };
    let sent = mixed(21);
    let modality = Modality::new(storescp.address);
    assert!(modality.store_all(&sent).unwrap().iter().all(|answer| answer.status == 0));
    assert_eq!(sorted(&storescp.received()), sorted(&sent));
    storescp.stop();
    assert!(matches!(modality.store_all(&sent), Err(Failure::Connect(_))));
    storescp.start_again();
    modality.echo().unwrap();
}

#[test]
fn dcmtks_storescp_refuses_when_it_is_told_to() {
    let Some(storescp) = Storescp::start(&["--refuse"]) else { return };
    let failure = Modality::new(storescp.address).echo().unwrap_err();
    assert!(matches!(failure, Failure::Rejected { result: 1, source: 1, reason: 1 }), "{failure:?}");
}

#[test]
fn the_archive_stores_what_dcmtks_storescu_and_dcmsend_send() {
    let archive = Archive::new();
    let sent = mixed(22);
    let (_folder, paths) = files_of(&sent);
    for ((path, instance), syntax) in paths.iter().zip(&sent).zip(["-xi", "-xe", "-xb", "-xr"]) {
        let args = ["-R", syntax, "-aet", "CART"];
        let Some(finished) = strangers::storescu(archive.address(), &args, std::slice::from_ref(path)) else {
            return;
        };
        finished.expect_success();
        let arrival = archive.arrivals().pop().unwrap();
        assert_eq!((arrival.digest, arrival.calling_ae.as_str()), (instance.digest(), "CART"));
    }
    // dcmsend converts uncompressed data sets to what the archive prefers; what it cannot convert, it sends as it is.
    let Some(finished) = strangers::dcmsend(archive.address(), &[], &paths) else { return };
    finished.expect_success();
    let arrived = arrived(&archive).split_off(4);
    assert_eq!(arrived.len(), 4);
    assert!(names(&sent[3..]).iter().all(|rle| arrived.contains(rle)));
    strangers::echoscu(archive.address(), &[]).unwrap().expect_success();
}

#[test]
fn orthanc_stores_what_the_modality_sends_and_still_has_it_after_a_restart() {
    let Some(mut orthanc) = Orthanc::start("\"SyncStorageArea\": true,") else { return };
    let sent = mixed(23);
    let answers = Modality::new(orthanc.dicom).called("ORTHANC").store_all(&sent).unwrap();
    assert!(answers.iter().all(|answer| answer.status == 0));
    assert_eq!(orthanc.instances().len(), 4);
    assert_eq!(sorted(&orthanc.received()), sorted(&sent));
    orthanc.stop();
    orthanc.start_again();
    assert_eq!(orthanc.instances().len(), 4);
}

#[test]
fn a_node_that_ends_instead_of_getting_ready_fails_the_test_at_once() {
    let mut node = Node::builder().folder("archive").program(Path::new("/bin/false")).prepare();
    node.spawn();
    assert!(!node.wait_end().success());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.wait_ready()));
    let message = outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("instead of getting ready"), "{message}");
}

#[test]
fn the_configuration_that_is_written_is_valid_toml() {
    let node = Node::builder()
        .dicom_with("pacs", "127.0.0.1:104".parse().unwrap(), "timeouts = { dimse = \"500ms\" }")
        .folder("archive")
        .listener("max_associations = 2")
        .node("log = \"json\"")
        .table("[[route]]\nwhen = {}\nto = [\"pacs\"]")
        .prepare();
    let table: toml::Table = std::fs::read_to_string(node.config()).unwrap().parse().unwrap();
    assert_eq!(table["listener"][0]["address"].as_str(), Some(node.address.to_string().as_str()));
    assert_eq!(table["destination"].as_array().unwrap().len(), 2);
    assert_eq!(table["destination"][0]["called_ae"].as_str(), Some("PACS"));
    assert_eq!(table["queue"]["reserve"].as_str(), Some("1MiB"));
}

#[test]
fn metrics_are_read_and_added_up_by_label() {
    let text =
        "# HELP x y\nx_total{destination=\"a\",outcome=\"ok\"} 3\nx_total{destination=\"b\"} 4\nx 1e3\n";
    let metrics = parse_metrics(text);
    assert_eq!(sum(&metrics, "x_total", &[]), 7.0);
    assert_eq!(sum(&metrics, "x_total", &["destination=\"a\""]), 3.0);
    assert_eq!(sum(&metrics, "x", &[]), 1000.0);
}

/// Stores a still through a proxy with these faults; what the modality saw, and what arrived.
fn through(faults: Faults) -> (Result<u16, Failure>, Vec<(String, Digest)>, Instance) {
    let archive = Archive::new();
    let proxy = Proxy::always(archive.address(), faults);
    let instance = Study::new(30).still(1);
    let modality = Modality::new(proxy.address).timeout(Duration::from_millis(400));
    let seen = modality.store(&instance).map(|answer| answer.status);
    assert_eq!(proxy.connections(), 1);
    (seen, arrived(&archive), instance)
}

#[test]
fn a_proxy_without_faults_or_with_harmless_ones_changes_nothing() {
    let slow = Fault::Delay(Duration::from_millis(5));
    for fault in [Fault::None, Fault::Dribble(977), slow, Fault::Cut(u64::MAX), Fault::Flip(u64::MAX)] {
        let (seen, arrived, instance) = through(Faults { forth: fault, back: fault });
        assert_eq!(seen.unwrap(), 0, "{fault:?}");
        assert_eq!(arrived, names(&[instance]), "{fault:?}");
    }
}

#[test]
fn a_cut_on_the_way_there_leaves_nothing_behind() {
    for fault in [Fault::Cut(300_000), Fault::HalfClose(300_000)] {
        let (seen, arrived, _) = through(Faults::forth(fault));
        assert!(matches!(seen, Err(Failure::Closed)), "{fault:?}: {seen:?}");
        assert!(arrived.is_empty());
    }
}

#[test]
fn a_swallowed_or_stalled_data_set_ends_in_silence() {
    for fault in [Fault::Swallow(300_000), Fault::Stall(300_000)] {
        let (seen, arrived, _) = through(Faults::forth(fault));
        assert!(matches!(seen, Err(Failure::Silence)), "{fault:?}: {seen:?}");
        assert!(arrived.is_empty());
    }
}

#[test]
fn a_swallowed_answer_is_silence_for_the_sender_although_the_object_arrived() {
    // All of the A-ASSOCIATE-AC passes, and nothing after it.
    let archive = Archive::new();
    let instance = Study::new(30).small(1);
    let modality = Modality::new(archive.address()).contexts_for([&instance]);
    let accept = modality.associate().unwrap().accept.to_body().len() as u64 + 6;
    for fault in [Fault::Swallow(accept), Fault::Cut(accept + 3)] {
        let proxy = Proxy::always(archive.address(), Faults::back(fault));
        let before = archive.arrivals().len();
        let seen = Modality::new(proxy.address).timeout(Duration::from_millis(300)).store(&instance);
        assert!(matches!(seen, Err(Failure::Silence | Failure::Closed)), "{fault:?}: {seen:?}");
        assert_eq!(archive.arrivals().len(), before + 1);
    }
}

#[test]
fn a_flipped_bit_arrives_as_another_data_set() {
    let (seen, arrived, instance) = through(Faults::forth(Fault::Flip(500_000)));
    assert_eq!(seen.unwrap(), 0);
    assert_ne!(arrived, names(&[instance]));
}

#[test]
fn a_proxy_cuts_everything_at_once_and_is_usable_again() {
    let archive = Archive::new();
    let proxy = Proxy::start(archive.address(), |n| match n {
        1 => Faults::default(),
        _ => Faults::back(Fault::Cut(0)),
    });
    let instance = Study::new(31).small(1);
    let modality = Modality::new(proxy.address).contexts_for([&instance]);
    let mut association = modality.associate().unwrap();
    proxy.cut_all();
    assert!(matches!(association.store(&instance), Err(Failure::Closed)));
    assert!(matches!(modality.associate().err(), Some(Failure::Closed)));
    proxy.set(Faults::default());
    assert_eq!(modality.store(&instance).unwrap().status, 0);
}
