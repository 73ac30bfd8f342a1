//! A study goes in and comes out: at a folder, at an archive, at strangers, byte for byte.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::archive::Archive;
use support::deliveries::{BRISK, SOON};
use support::instance::{Digest, EXPLICIT_BIG, EXPLICIT_LITTLE, Encoding, Instance, Study, real_files};
use support::modality::{Modality, Nagle};
use support::node::Node;
use support::process::list;
use support::strangers::{self, Orthanc, Storescp};
use support::wait::eventually;

/// The last bytes of a finished spool file.
const END_MARK: &[u8; 16] = b"\x89CHRYSALIS-END\r\n";

/// What a data set is known by outside.
type Known = BTreeSet<(String, Digest)>;

fn known<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Known {
    instances.into_iter().map(|i| (i.sop_instance.clone(), i.digest())).collect()
}

fn in_folder(node: &Node, name: &str) -> Vec<Instance> {
    node.delivered(name).iter().map(|path| Instance::from_part10(path).unwrap()).collect()
}

/// Stills, a loop, something small, and every encoding.
fn study(seed: u64) -> Vec<Instance> {
    let study = Study::new(seed);
    let mut out = vec![study.still(1), study.still(2), study.cine(3, 4), study.small(4)];
    let scene = study.scene(60, 81, 2);
    out.extend(Encoding::ALL.into_iter().zip(10..).map(|(encoding, n)| study.instance(n, scene, encoding)));
    out
}

/// Every real file of these folders that is one SOP instance of its own.
fn real(folders: &[&str]) -> Option<Vec<(PathBuf, Instance)>> {
    let mut out: Vec<(PathBuf, Instance)> = Vec::new();
    for folder in folders {
        for path in real_files(folder)? {
            let instance = Instance::from_part10(&path).unwrap().named_by_data_set();
            if !out.iter().any(|(_, known)| known.sop_instance == instance.sop_instance) {
                out.push((path, instance));
            }
        }
    }
    Some(out)
}

fn bytes(instance: &Instance) -> Vec<u8> {
    let mut out = Vec::new();
    let gathered = instance.data_set.for_each_piece(|piece| {
        out.extend_from_slice(piece);
        Ok(())
    });
    gathered.unwrap();
    out
}

fn length(instance: &Instance) -> usize {
    instance.data_set.len() as usize
}

fn store_each(modality: &Modality, instances: &[Instance]) {
    for instance in instances {
        let answer = modality.store(instance).unwrap();
        assert_eq!(answer.status, 0, "{instance:?}: {:?}", answer.comment);
    }
}

#[test]
fn a_study_comes_out_at_a_folder_and_at_an_archive_byte_for_byte() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    let sent = study(1);
    let answers = Modality::new(node.address).store_all(&sent).unwrap();
    assert!(answers.iter().all(|answer| answer.status == 0), "{answers:?}");
    node.wait_drained();
    let arrived: Known = archive.stored().into_iter().map(|a| (a.sop_instance, a.digest)).collect();
    assert_eq!(arrived, known(&sent));
    assert_eq!(archive.stored().len(), sent.len(), "each once");
    assert_eq!(known(&in_folder(&node, "archive")), known(&sent));
    for (arrival, instance) in archive.stored().iter().zip(&sent) {
        assert_eq!(arrival.sop_instance, instance.sop_instance, "in the order of sending");
        assert_eq!(arrival.transfer_syntax, instance.transfer_syntax);
        assert_eq!((arrival.calling_ae.as_str(), arrival.called_ae.as_str()), ("CHRYSALIS", "PACS"));
    }
}

#[test]
fn files_in_the_folder_are_named_by_their_uids_and_carry_no_envelope() {
    let node = Node::builder().folder("archive").start();
    let sent = study(2);
    Modality::new(node.address).store_all(&sent).unwrap();
    node.wait_drained();
    let study = Study::new(2);
    for instance in &sent {
        let name = format!("{}/{}/{}.dcm", study.study, study.series, instance.sop_instance);
        let path = node.folder("archive").join(name);
        let bytes = std::fs::read(&path).unwrap();
        let read = Instance::from_part10_bytes(&bytes);
        assert_eq!(read.digest(), instance.digest());
        assert_eq!(read.transfer_syntax, instance.transfer_syntax);
        assert_eq!((&read.sop_class, &read.sop_instance), (&instance.sop_class, &instance.sop_instance));
        assert!(!bytes.windows(16).any(|window| window == END_MARK), "an envelope in {}", path.display());
    }
    let others = list(&node.folder("archive"));
    assert_eq!(others.len(), sent.len(), "nothing else is left there: {others:?}");
}

#[test]
fn spool_files_are_part_10_files_that_dcmdump_reads() {
    let node = Node::builder().folder("archive").start();
    let sent = study(3);
    Modality::new(node.address).store_all(&sent).unwrap();
    node.wait_drained();
    let spool = finished(&list(&node.data_dir.join("spool")));
    assert_eq!(spool.len(), sent.len());
    for path in &spool {
        let file = Instance::from_part10(path).unwrap();
        let instance = sent.iter().find(|i| i.sop_instance == file.sop_instance).unwrap();
        assert!(bytes(&file).starts_with(&bytes(instance)), "{} is altered", path.display());
        let Some(finished) = strangers::dcmdump(path) else { continue };
        let output = finished.expect_success().output;
        assert!(!output.contains("W:") && !output.contains("E:"), "{output}");
    }
}

/// Spool files that hold something: names are made ahead.
fn finished(paths: &[PathBuf]) -> Vec<PathBuf> {
    let holds = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
    paths.iter().filter(holds).cloned().collect()
}

#[test]
fn eight_associations_at_once_with_any_fragment_size_and_with_nagle_lose_nothing() {
    let node = Node::builder().folder("archive").start();
    let address = node.address;
    let threads: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                let study = Study::new(100 + n);
                let sent: Vec<_> = (1..=12).map(|n| study.small(n)).chain([study.still(50)]).collect();
                let modality = Modality::new(address).pdv_size(1000 + 999 * n as usize);
                let nagle = if n % 2 == 0 { Nagle::Off } else { Nagle::OnWithTwoWrites };
                let answers = modality.nagle(nagle).store_all(&sent).unwrap();
                assert!(answers.iter().all(|answer| answer.status == 0));
                sent
            })
        })
        .collect();
    let sent: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    node.wait_drained();
    assert_eq!(known(&in_folder(&node, "archive")), known(&sent));
}

#[test]
fn real_files_come_out_at_folder_archive_and_storescp_byte_for_byte() {
    let Some(files) = real(&["ultrasound", "other"]) else { return };
    let sent: Vec<_> = files.into_iter().map(|(_, instance)| instance).collect();
    let archive = Archive::new();
    let mut builder = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive");
    let storescp = Storescp::start(&["+B", "+xa", "-pm"]);
    if let Some(storescp) = &storescp {
        builder = builder.dicom_with("storescp", storescp.address, BRISK);
    }
    let node = builder.start();
    store_each(&Modality::new(node.address), &sent);
    let takes = |seen: &support::deliveries::Seen| {
        seen.state == "delivered" || (seen.destination == "storescp" && seen.state == "held")
    };
    let seen = node.wait_all("delivered", takes);
    let arrived: Known = archive.stored().into_iter().map(|a| (a.sop_instance, a.digest)).collect();
    assert_eq!(arrived, known(&sent));
    let folder: BTreeSet<_> = in_folder(&node, "archive").iter().map(Instance::digest).collect();
    assert_eq!(folder, sent.iter().map(Instance::digest).collect());
    let Some(storescp) = storescp else { return };
    let held: Vec<_> = seen.iter().filter(|seen| seen.state == "held").collect();
    for held in &held {
        // It aborts when a data set has an odd length, and takes no private SOP classes.
        let is_odd = sent.iter().any(|i| i.sop_instance == held.sop_instance && i.data_set.len() % 2 == 1);
        let is_aborted = held.reason.contains("aborted") && is_odd;
        assert!(is_aborted || held.reason.contains("destination does not"), "{held:?}");
    }
    let stored: BTreeSet<_> = storescp.received().iter().map(Instance::digest).collect();
    // What it does not know in its stored form it gets in another, or not at all.
    let as_it_was = |seen: &&support::deliveries::Seen| {
        seen.destination == "storescp" && seen.state == "delivered" && !seen.reason.contains(", as ")
    };
    let as_it_was: BTreeSet<_> = seen.iter().filter(as_it_was).map(|seen| &seen.sop_instance).collect();
    let expected = sent.iter().filter(|instance| as_it_was.contains(&instance.sop_instance));
    let expected: BTreeSet<_> = expected.map(Instance::digest).collect();
    assert!(stored.is_superset(&expected), "{} held", held.len());
    assert!(expected.len() * 10 >= sent.len() * 8, "{} of {} were held: {held:#?}", held.len(), sent.len());
}

#[test]
fn orthanc_receives_every_data_set_byte_for_byte() {
    let Some(orthanc) = Orthanc::start("") else { return };
    let mut sent = study(4);
    sent.extend(real(&["ultrasound"]).unwrap_or_default().into_iter().map(|(_, instance)| instance));
    let node = Node::builder().dicom_with("orthanc", orthanc.dicom, BRISK).start();
    store_each(&Modality::new(node.address), &sent);
    let seen =
        node.wait_all("delivered or held", |seen| ["delivered", "held"].contains(&seen.state.as_str()));
    // What its parser writes anew, in sequence lengths and the like, still ends in the same pixels.
    let received = orthanc.received();
    let stored: BTreeSet<_> = received.iter().map(Instance::digest).collect();
    for (seen, instance) in seen.iter().zip(&sent) {
        if seen.state == "held" || seen.reason.contains(", as ") {
            // It says "abstract syntax not supported" of a transfer syntax that it does not know.
            assert!(
                instance.transfer_syntax.starts_with("1.2.840.10008.1.2.4.11"),
                "only JPEG XL is new to it"
            );
        } else {
            let rewritten =
                |found: &Instance| bytes(found).ends_with(&bytes(instance)[length(instance) / 2..]);
            let found = || received.iter().find(|found| found.sop_instance == instance.sop_instance);
            let is_there = stored.contains(&instance.digest()) || found().is_some_and(rewritten);
            assert!(is_there, "Orthanc has not the bytes of {instance:?}");
        }
    }
}

#[test]
fn what_dcmtks_senders_send_comes_out_as_they_sent_it() {
    let files = real(&["ultrasound", "other"]).unwrap_or_else(synthetic_files);
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    // The archive is asked first what these senders make of the files: they rewrite some of them.
    let direct = Archive::new();
    let Some(before) = strangers::dcmsend(direct.address(), &["--no-halt"], &paths) else { return };
    let node = Node::builder().folder("archive").start();
    let after = strangers::dcmsend(node.address, &["--no-halt"], &paths).unwrap();
    assert_eq!(before.status.code(), after.status.code(), "{}\n{}", before.output, after.output);
    node.wait_drained();
    let delivered = in_folder(&node, "archive");
    let got: BTreeSet<_> = delivered.iter().map(|i| i.sop_instance.clone()).collect();
    let sent: BTreeSet<_> = direct.stored().into_iter().map(|a| a.sop_instance).collect();
    assert_eq!(got, sent);
    assert!(sent.len() * 10 >= paths.len() * 8, "dcmsend sent {} of {}", sent.len(), paths.len());
    // What is not encapsulated goes in the transfer syntax that each receiver prefers; the rest has to be the same bytes.
    let is_native = |syntax: &str| {
        ["1.2.840.10008.1.2", EXPLICIT_LITTLE, EXPLICIT_BIG, "1.2.840.10008.1.2.1.99"].contains(&syntax)
    };
    for arrival in direct.stored().iter().filter(|arrival| !is_native(&arrival.transfer_syntax)) {
        assert!(delivered.iter().any(|i| i.digest() == arrival.digest), "{arrival:?} came out otherwise");
    }
    let native = |i: &&Instance| is_native(&i.transfer_syntax);
    let stored: BTreeSet<_> = direct.stored().iter().map(|arrival| arrival.digest).collect();
    let same = delivered.iter().filter(native).filter(|i| stored.contains(&i.digest())).count();
    assert!(
        same * 2 >= delivered.iter().filter(native).count(),
        "only {same} native data sets are the same bytes"
    );
}

#[test]
fn storescu_sends_every_file_in_its_own_transfer_syntax() {
    let files = real(&["ultrasound"]).unwrap_or_else(synthetic_files);
    let node = Node::builder().folder("archive").start();
    let syntaxes = [
        ("1.2.840.10008.1.2", "-xi"),
        ("1.2.840.10008.1.2.1", "-xe"),
        ("1.2.840.10008.1.2.2", "-xb"),
        ("1.2.840.10008.1.2.5", "-xr"),
        ("1.2.840.10008.1.2.4.50", "-xy"),
        ("1.2.840.10008.1.2.4.70", "-xs"),
        ("1.2.840.10008.1.2.4.90", "-xv"),
        ("1.2.840.10008.1.2.4.91", "-xw"),
    ];
    let mut count = 0;
    for (uid, option) in syntaxes {
        let some: Vec<_> = files.iter().filter(|(_, i)| i.transfer_syntax == uid).collect();
        let paths: Vec<_> = some.iter().map(|(path, _)| path.clone()).collect();
        if paths.is_empty() {
            continue;
        }
        let sent = strangers::storescu(node.address, &["-R", option, "-aec", "CHRYSALIS"], &paths);
        let Some(sent) = sent else { return };
        sent.expect_success();
        count += paths.len();
    }
    eventually("all files in the folder", SOON, || (node.delivered("archive").len() == count).then_some(()));
    node.wait_drained();
    // storescu keeps what is encapsulated; what is native it may write anew, with lengths of its own.
    let got: BTreeSet<_> = in_folder(&node, "archive").iter().map(Instance::digest).collect();
    for (path, instance) in &files {
        if syntaxes[3..].iter().any(|(uid, _)| *uid == instance.transfer_syntax) && is_kept_by_dcmtk(path) {
            assert!(got.contains(&instance.digest()), "{} came out otherwise", path.display());
        }
    }
}

/// DCMTK writes a file's sequences and charset-less values anew; what it itself would write stays as it is.
fn is_kept_by_dcmtk(path: &Path) -> bool {
    let direct = Archive::new();
    let instance = Instance::from_part10(path).unwrap();
    let sent = strangers::dcmsend(direct.address(), &[], &[path.to_owned()]);
    sent.is_some() && direct.stored().first().is_some_and(|arrival| arrival.digest == instance.digest())
}

fn synthetic_files() -> Vec<(PathBuf, Instance)> {
    // Kept until the process ends: the paths outlive this function.
    let folder = tempfile::tempdir().unwrap().keep();
    let with_path = |(instance, n): (Instance, usize)| {
        let path = folder.join(format!("{n}.dcm"));
        instance.write_part10(&path).unwrap();
        (path, instance)
    };
    study(5).into_iter().zip(1..).map(with_path).collect()
}

#[test]
fn our_own_send_command_delivers_files_of_every_encoding() {
    let node = Node::builder().folder("archive").start();
    let files = synthetic_files();
    let paths: Vec<_> = files.iter().map(|(path, _)| path.to_str().unwrap().to_owned()).collect();
    let peer = format!("CHRYSALIS@{}", node.address);
    let mut args = vec!["send", peer.as_str()];
    args.extend(paths.iter().map(String::as_str));
    node.run(&args).expect_success();
    eventually("all files in the folder", Duration::from_secs(20), || {
        (node.delivered("archive").len() == files.len()).then_some(())
    });
    assert_eq!(known(&in_folder(&node, "archive")), known(files.iter().map(|(_, instance)| instance)));
    assert!(node.run(&["echo", &peer]).status.success());
}
