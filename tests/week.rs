//! What happens to a router in an ordinary week: nothing of it may lose an instance, or need anybody at night.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::archive::{Action, Archive, Greeting, Script};
use support::deliveries::{BRISK, SOON, small, store_all};
use support::instance::{Instance, Study};
use support::modality::{Last, Modality};
use support::node::Node;
use support::process::write_file;
use support::wait::eventually;

#[test]
fn a_cart_that_lost_patience_sends_its_whole_study_again_and_the_pacs_gets_each_instance() {
    let mut archive = Archive::new();
    archive.stop();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let study = small(1, 20);
    // The cart vanishes in the middle of the twelfth, then begins again with the first.
    let mut association = Modality::new(node.address).contexts_for(&study).associate().unwrap();
    for instance in &study[..11] {
        assert_eq!(association.store(instance).unwrap().status, 0);
    }
    let cut_off = &study[11];
    let context = association.context_for(&cut_off.sop_class, &cut_off.transfer_syntax).unwrap();
    association.start_store(context, &cut_off.sop_class, &cut_off.sop_instance).unwrap();
    association.send_data(context, &[8, 0, 5, 0], Last::No).unwrap();
    association.vanish();
    store_all(&node, &study);
    archive.start_again();
    node.wait_drained();
    assert_eq!(archive.times_stored(&study), vec![1; study.len()], "each once, none from the broken attempt");
}

#[test]
fn a_cart_with_a_wrong_clock_is_served_in_the_order_of_its_calls() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let dated = |number: u32, date: &'static [u8; 8]| {
        Study::new(2).small(number).edited(move |bytes| {
            let at = bytes.windows(8).position(|window| window == b"20260102").unwrap();
            bytes[at..at + 8].copy_from_slice(date);
        })
    };
    let sent =
        vec![dated(1, b"20991231"), dated(2, b"19700101"), dated(3, b"00000000"), dated(4, b"20260102")];
    store_all(&node, &sent);
    node.wait_drained();
    archive.times_stored(&sent);
    let order: Vec<_> = archive.arrivals().into_iter().map(|arrival| arrival.sop_instance).collect();
    assert_eq!(order, sent.iter().map(|i| i.sop_instance.clone()).collect::<Vec<_>>());
    let listing = node.api_get("/api/queue").text();
    assert!(!listing.contains("2099-") && !listing.contains("1970-"), "times are ours: {listing}");
}

#[test]
fn one_uid_with_two_contents_reaches_the_pacs_twice_and_says_so() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let first = Study::new(3).small(1);
    let second = first.edited(|bytes| *bytes.last_mut().unwrap() ^= 1);
    store_all(&node, &[first.clone(), second.clone()]);
    node.wait_drained();
    let digests: Vec<_> = archive.arrivals().into_iter().map(|arrival| arrival.digest).collect();
    assert_eq!(digests, [first.digest(), second.digest()]);
    let output = node.output();
    assert!(output.contains("conflicting=true"), "an administrator can see it: {output}");
}

#[test]
fn a_pacs_that_takes_one_association_only_gets_everything_all_the_same() {
    // As many PACS answer the second: local limit exceeded (PS3.8 9.3.4).
    let one = Script::default().on_associate(|knock| match knock.open {
        0 => Greeting::Accept,
        _ => Greeting::Reject(2, 3, 2),
    });
    let archive = one.start();
    let lines = format!("max_associations = 4\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &lines).start();
    let sent: Vec<_> = (10..18).flat_map(|seed| small(seed, 6)).collect();
    std::thread::scope(|scope| {
        for study in sent.chunks(6) {
            scope.spawn(|| store_all(&node, study));
        }
    });
    node.wait_drained();
    assert_eq!(archive.times_stored(&sent), vec![1; sent.len()]);
}

#[test]
fn a_wrong_ae_title_of_friday_is_mended_on_monday_and_nothing_of_the_weekend_is_lost() {
    let known = |called: &str| if called == "PACS" { Greeting::Accept } else { Greeting::Reject(1, 1, 7) };
    let archive = Script::default().on_associate(move |knock| known(&knock.request.called_ae)).start();
    let slow = "timeouts = { connect = \"2s\", acse = \"2s\" }\nbackoff = { first = \"1h\", max = \"1h\" }";
    let mut node = Node::builder().dicom_with("pacs", archive.address(), slow).prepare();
    let right = std::fs::read_to_string(node.config()).unwrap();
    write_file(&node.config(), &right.replace("called_ae = \"PACS\"", "called_ae = \"PASC\""));
    node.start();
    let friday = small(20, 5);
    store_all(&node, &friday);
    node.wait_health("pacs", "paused");
    let saturday = small(21, 5);
    store_all(&node, &saturday);
    node.restart();
    let sunday = small(22, 5);
    store_all(&node, &sunday);
    node.wait_health("pacs", "paused");
    node.wait_all("waiting", |seen| seen.state != "held" && seen.state != "discarded");
    assert!(archive.arrivals().is_empty());
    // Monday: the title is mended and the configuration read again; the pause of an hour does not matter any more.
    write_file(&node.config(), &right);
    node.run(&["reload"]).expect_success();
    node.wait_drained();
    let sent = [friday, saturday, sunday].concat();
    assert_eq!(archive.times_stored(&sent), vec![1; sent.len()]);
}

#[test]
fn a_pacs_that_moves_to_another_address_under_its_name_is_found_there() {
    let Some(names) = Names::new() else { return };
    let archive = Archive::new();
    let port = archive.address().port();
    let pacs = format!(
        "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"pacs.example.test:{port}\"\ncalled_ae = \"PACS\"\n{BRISK}"
    );
    let node = Node::builder().table(&pacs).program(&names.program).start();
    let sent = small(30, 4);
    let trouble = |word: &str| {
        eventually("a reason", SOON, || {
            let seen = node.deliveries();
            seen.iter().any(|seen| seen.reason.contains(word)).then_some(())
        });
    };
    store_all(&node, &sent[..2]);
    trouble("pacs.example.test");
    // Nobody is there yet.
    names.say("127.0.0.2 pacs.example.test\n");
    trouble("refused");
    names.say("127.0.0.1 pacs.example.test\n");
    store_all(&node, &sent[2..]);
    node.wait_drained();
    assert_eq!(archive.times_stored(&sent), vec![1; sent.len()]);
}

/// A hosts file that only the node sees.
struct Names {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Names {
    /// None, with a word on why, where a process may not have its own view of the file system.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (hosts, program) = (folder.path().join("hosts"), folder.path().join("chrysalis"));
        write_file(&hosts, "127.0.0.1 localhost\n");
        let inner = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
        let wrapped = format!(
            "#!/bin/sh\nexec unshare --map-root-user --mount sh -c '{inner}' sh {} \"$@\"\n",
            env!("CARGO_BIN_EXE_chrysalis")
        );
        write_file(&program, &wrapped);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let works = Command::new(&program).arg("--version").output().is_ok_and(|ran| ran.status.success());
        if !works {
            eprintln!("skipped: a process may not have its own view of the file system here");
            return None;
        }
        Some(Self { folder, program })
    }

    /// Into the same file, which the node has mounted.
    fn say(&self, lines: &str) {
        std::fs::write(self.folder.path().join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    }
}

#[test]
fn a_node_moved_to_another_machine_goes_on_where_it_was() {
    let (done, mut away) = (Archive::new(), Archive::new());
    away.stop();
    let builder = Node::builder().dicom_with("done", done.address(), BRISK);
    let mut old = builder.dicom_with("away", away.address(), BRISK).start();
    let sent = small(40, 12);
    store_all(&old, &sent);
    sent.iter().for_each(|instance| drop(old.wait_state(instance, "done", "delivered")));
    old.decide("hold", &old.deliveries_of(&sent[0], "away").pop().unwrap(), "to be looked at");
    old.stop();

    // The new machine: other directories, other ports, another address of the PACS that was away.
    let machine = tempfile::tempdir().unwrap();
    let data_dir = machine.path().join("moved");
    copy(&old.data_dir, &data_dir);
    std::fs::remove_dir_all(&old.data_dir).unwrap();
    let elsewhere = Archive::new();
    let builder = Node::builder().data_dir(&data_dir).dicom_with("done", done.address(), BRISK);
    let node = builder.dicom_with("away", elsewhere.address(), BRISK).start();
    sent[1..].iter().for_each(|instance| drop(node.wait_state(instance, "away", "delivered")));
    let held = node.wait_state(&sent[0], "away", "held");
    assert_eq!(held.reason, "to be looked at");
    node.decide("release", &held, "");
    node.wait_drained();
    assert_eq!(elsewhere.times_stored(&sent), vec![1; sent.len()]);
    assert_eq!(done.times_stored(&sent), vec![1; sent.len()], "what was delivered is known to be");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn an_upgrade_while_carts_send_costs_them_a_second_try_and_nothing_else() {
    let slow = Script::default().on_store(|_, _| Action::SleepThen(Duration::from_millis(2), 0));
    let archive = slow.start();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let studies: Vec<_> = (50..54).map(|seed| small(seed, 40)).collect();
    let address = node.address;
    let (ended, enough) = (AtomicBool::new(false), 4);
    std::thread::scope(|scope| {
        let carts: Vec<_> =
            studies.iter().map(|study| scope.spawn(|| send_as_carts_do(address, study))).collect();
        let (node, archive, ended) = (&mut node, &archive, &ended);
        scope.spawn(move || {
            for release in 1..=enough {
                eventually("some more arriving", SOON, || {
                    (archive.arrivals().len() >= release * 25 || ended.load(Ordering::Relaxed)).then_some(())
                });
                // The old release finishes what is under way, then the new one is started.
                node.restart();
            }
        });
        carts.into_iter().for_each(|cart| cart.join().unwrap());
        ended.store(true, Ordering::Relaxed);
    });
    node.wait_drained();
    archive.times_stored(&studies.concat());
}

/// One association for a study, and whatever had no Success on the next one, until all of it has.
fn send_as_carts_do(address: std::net::SocketAddr, study: &[Instance]) {
    let mut left = study.to_vec();
    eventually("the study being taken", SOON, || {
        let cart = Modality::new(address).contexts_for(&left);
        if let Ok(mut association) = cart.associate() {
            while let Some(first) = left.first() {
                match association.store(first) {
                    Ok(answer) if answer.status == 0 => drop(left.remove(0)),
                    Ok(_) | Err(_) => break,
                }
            }
            let _ = association.release();
        }
        left.is_empty().then_some(())
    });
}
