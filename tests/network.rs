//! A bad network, between carts and the node and between the node and a PACS: what was acknowledged arrives, what was not is
//! sent again, and nobody else waits.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::archive::{Action, Archive, Script};
use support::certificates::Certificates;
use support::deliveries::{BRISK, SOON, Seen, small, store_all};
use support::faults::{Fault, Faults, Proxy};
use support::instance::{Digest, Instance, Study};
use support::ledger::Ledger;
use support::modality::{Failure, Modality};
use support::node::Node;
use support::strangers::require;
use support::wait::eventually;

/// Keys of a destination that notices silence within milliseconds and tries again at once.
const HASTY: &str = "timeouts = { connect = \"1s\", acse = \"300ms\", dimse = \"300ms\" }\nbackoff = { first = \"10ms\", max = \"50ms\" }";
/// Connections that suffer before the network is well again.
const BAD: usize = 3;
const MILLISECOND: Duration = Duration::from_millis(1);

/// Some small instances, and one of several hundred kilobytes among them.
fn sent(seed: u64) -> Vec<Instance> {
    let mut sent = small(seed, 4);
    sent.insert(1, Study::new(seed).still(9));
    sent
}

/// Waits until all has arrived. Where the network broke three associations with one instance on its way, that instance is held,
/// because nobody can tell the one from the other; an administrator has it tried again.
#[track_caller]
fn wait_drained_with_help(node: &Node) {
    let is_settled = |seen: &Seen| ["delivered", "superseded", "held"].contains(&seen.state.as_str());
    loop {
        let settled = node.wait_all("delivered or held", is_settled);
        let held: Vec<_> = settled.iter().filter(|seen| seen.state == "held").collect();
        if held.is_empty() {
            return;
        }
        for seen in held {
            assert!(seen.reason.ends_with("3 times for this instance"), "{seen:?}");
            node.decide("retry", seen, "");
        }
    }
}

/// All that may end one direction at a place in it.
fn ends(place: u64) -> [Fault; 5] {
    [
        Fault::Cut(place),
        Fault::Reset(place),
        Fault::HalfClose(place),
        Fault::Stall(place),
        Fault::Swallow(place),
    ]
}

/// What may happen to either direction, at places within the association's opening, a command, a data set and an answer.
fn faults() -> Vec<Faults> {
    let forth = [0, 3, 300, 100_000].into_iter().flat_map(ends).map(Faults::forth);
    let back = [0, 3, 200, 400].into_iter().flat_map(ends).map(Faults::back);
    let mut all: Vec<_> = forth.chain(back).collect();
    all.extend([1, 2, 5].map(|pdv| Faults::forth(Fault::CutAtPdv(pdv))));
    all.push(Faults::forth(Fault::Dribble(7)));
    all.push(Faults::back(Fault::Dribble(1)));
    all.push(Faults { forth: Fault::Delay(5 * MILLISECOND), back: Fault::Delay(5 * MILLISECOND) });
    // One byte in a while: slower than anybody waits.
    all.push(Faults::forth(Fault::Pace(1, 50 * MILLISECOND)));
    all.push(Faults::back(Fault::Pace(10, 20 * MILLISECOND)));
    all
}

#[test]
fn on_the_way_to_a_pacs_every_fault_ends_and_everything_arrives_as_it_was() {
    for (faults, seed) in faults().into_iter().zip(1..) {
        let (archive, other) = (Archive::new(), Archive::new());
        let bad = move |number| if number <= BAD { faults } else { Faults::default() };
        let proxy = Proxy::start(archive.address(), bad);
        let builder = Node::builder().dicom_with("pacs", proxy.address, HASTY);
        let node = builder.dicom_with("other", other.address(), BRISK).start();
        let sent = sent(seed);
        store_all(&node, &sent);
        wait_drained_with_help(&node);
        archive.times_stored(&sent);
        assert_eq!(other.times_stored(&sent), vec![1; sent.len()], "{faults:?}: each once, undisturbed");
        assert!(proxy.connections() > 0);
    }
}

#[test]
fn on_the_way_from_a_cart_every_fault_is_told_apart_from_success() {
    for (faults, seed) in faults().into_iter().zip(100..) {
        let archive = Archive::new();
        let node = Node::builder()
            .listener("timeouts = { request = \"300ms\", idle = \"300ms\" }")
            .dicom_with("pacs", archive.address(), BRISK)
            .start();
        let bad = move |number| if number <= BAD { faults } else { Faults::default() };
        let proxy = Proxy::start(node.address, bad);
        let (sent, ledger) = (sent(seed), Ledger::default());
        let cart = Modality::new(proxy.address).timeout(Duration::from_millis(400));
        for instance in &sent {
            // As a cart does: again, until it hears Success.
            eventually("an acknowledgement", SOON, || {
                let answer = cart.store(instance).ok()?;
                ledger.note(instance, &answer).then_some(())
            });
        }
        node.wait_drained();
        // What was stored and not heard of has come again, and other bytes than were sent have not.
        archive.times_stored(&sent);
        let digests = archive.stored().into_iter().map(|a| (a.sop_instance, a.digest)).collect::<Vec<_>>();
        let arrived: Vec<(&str, &Digest)> =
            digests.iter().map(|(uid, digest)| (uid.as_str(), digest)).collect();
        assert!(ledger.missing(arrived).is_empty(), "{faults:?}");
        eventually("no association left", SOON, || {
            (node.metric("chrysalis_associations", &[]) == 0.0).then_some(())
        });
    }
}

/// The bytes of an A-ASSOCIATE-AC of this archive, as they go back.
fn accept_length(archive: &Archive, instance: &Instance) -> u64 {
    let association = Modality::new(archive.address()).contexts_for([instance]).associate().unwrap();
    let length = association.accept.to_body().len() as u64 + 6;
    association.release().unwrap();
    length
}

#[test]
fn a_response_that_comes_twice_is_not_taken_for_the_answer_to_what_follows() {
    let sent = small(200, 3);
    let refused = sent[1].sop_instance.clone();
    // The second is refused; the first one's Success comes again just before.
    let archive = Script::default()
        .on_store(move |_, uid| Action::Answer(if uid == refused { 0xC001 } else { 0 }))
        .start();
    // Each association accepts what is proposed for the first instance of it, so that its answer is as long.
    let proxy =
        Proxy::always(archive.address(), Faults::back(Fault::Twice(accept_length(&archive, &sent[0]))));
    let node = Node::builder().dicom_with("pacs", proxy.address, HASTY).start();
    store_all(&node, &sent);
    let first = node.wait_state(&sent[0], "pacs", "delivered");
    assert_eq!(first.state, "delivered");
    let uid = &sent[1].sop_instance;
    eventually("the second to be tried", SOON, || {
        archive.arrivals().iter().any(|a| a.sop_instance == *uid).then_some(())
    });
    proxy.set(Faults::default());
    node.wait_state(&sent[2], "pacs", "delivered");
    assert_eq!(node.wait_state(&sent[1], "pacs", "held").state, "held", "never delivered");
}

#[test]
fn a_flipped_bit_in_an_answer_delivers_nothing_that_is_not_there() {
    let archive = Archive::new();
    let probe = small(300, 1);
    let accept = accept_length(&archive, &probe[0]);
    drop(archive);
    for (offset, seed) in (0..accept + 120).step_by(7).zip(301..) {
        let archive = Archive::new();
        let proxy = Proxy::start(archive.address(), move |number| match number {
            1 => Faults::back(Fault::Flip(offset)),
            _ => Faults::default(),
        });
        let node = Node::builder().dicom_with("pacs", proxy.address, HASTY).start();
        let sent = small(seed, 2);
        store_all(&node, &sent);
        let settled =
            node.wait_all("delivered or held", |seen| ["delivered", "held"].contains(&seen.state.as_str()));
        for seen in settled.iter().filter(|seen| seen.state == "delivered") {
            let stored = archive.stored();
            assert!(stored.iter().any(|a| a.sop_instance == seen.sop_instance), "offset {offset}: {seen:?}");
        }
    }
}

#[test]
fn over_tls_a_flipped_bit_ends_the_connection_and_nothing_else_arrives_than_was_sent() {
    let certificates = Certificates::new();
    let pacs = certificates.issue("pacs");
    let receiver =
        Node::builder().listener(&format!("[listener.tls]\n{}", pacs.lines())).folder("archive").start();
    let tls = format!("{HASTY}\ntls = {{ verify = \"ca\", ca = \"{}\" }}", certificates.ca().display());
    let sent = sent(400);
    let mut offsets = (0..400_u64).map(|n| n * 1_777);
    let proxy = Proxy::start(receiver.address, move |number| match number {
        1..=12 => Faults::forth(Fault::Flip(offsets.next().unwrap())),
        13..=24 => Faults::back(Fault::Flip(offsets.next().unwrap() % 4_000)),
        _ => Faults::default(),
    });
    let node = Node::builder().dicom_with("pacs", proxy.address, &tls).start();
    // Some of it looks like a wrong certificate, and pauses the destination until its slow retry.
    store_all(&node, &sent);
    wait_drained_with_help(&node);
    receiver.wait_drained();
    let arrived: Vec<_> =
        receiver.delivered("archive").iter().map(|path| Instance::from_part10(path).unwrap()).collect();
    let digests = |instances: &[Instance]| {
        let mut all: Vec<_> = instances.iter().map(Instance::digest).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(digests(&arrived), digests(&sent));
    assert!(proxy.connections() > 3, "{} connections", proxy.connections());
}

#[test]
fn a_slow_cart_keeps_nobody_waiting() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let proxy = Proxy::always(node.address, Faults::forth(Fault::Pace(1, 20 * MILLISECOND)));
    let slow = std::thread::spawn({
        let cart = Modality::new(proxy.address).timeout(Duration::from_secs(3));
        move || cart.store(&small(500, 1)[0])
    });
    eventually("the slow one to be connected", SOON, || (proxy.connections() == 1).then_some(()));
    let others = small(501, 20);
    let started = Instant::now();
    store_all(&node, &others);
    node.wait_drained();
    assert_eq!(archive.times_stored(&others), vec![1; 20]);
    assert!(started.elapsed() < SOON);
    drop(proxy);
    assert!(matches!(slow.join().unwrap(), Err(Failure::Closed | Failure::Silence)));
}

#[test]
fn a_peer_that_vanishes_without_a_word_is_noticed_in_both_directions() {
    let archive = Archive::new();
    // Half-open: after the first data set neither direction says anything more, and nothing is closed.
    let proxy = Proxy::start(archive.address(), |number| match number {
        1 => Faults { forth: Fault::Stall(200_000), back: Fault::Stall(600) },
        _ => Faults::default(),
    });
    let node = Node::builder()
        .listener("timeouts = { idle = \"200ms\" }")
        .dicom_with("pacs", proxy.address, HASTY)
        .start();
    let sent = sent(600);
    store_all(&node, &sent);
    node.wait_drained();
    archive.times_stored(&sent);
    let silent = Proxy::always(node.address, Faults::forth(Fault::Stall(5_000)));
    let cart = Modality::new(silent.address).timeout(Duration::from_secs(20));
    let seen = cart.store(&Study::new(601).still(1));
    assert!(seen.is_err(), "{seen:?}");
    eventually("no association left", SOON, || {
        (node.metric("chrysalis_associations", &[]) == 0.0).then_some(())
    });
}

fn write_program(path: &Path, script: &str) {
    support::process::write_file(path, script);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A program that runs another one with a hosts file of its own; none where nobody may do that.
fn with_hosts(folder: &Path, hosts: &Path) -> Option<std::path::PathBuf> {
    let unshare = require("unshare")?;
    let program = folder.join("with-hosts");
    let script = format!(
        "#!/bin/sh\nexec {} --mount sh -c 'mount --bind \"{}\" /etc/hosts && exec \"$0\" \"$@\"' {} \"$@\"\n",
        unshare.display(),
        hosts.display(),
        env!("CARGO_BIN_EXE_chrysalis"),
    );
    write_program(&program, &script);
    let may = Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: a hosts file of one's own needs the right to mount");
    }
    may.then_some(program)
}

#[test]
fn a_name_that_cannot_be_resolved_is_waited_for_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let Some(program) = with_hosts(folder.path(), &hosts) else { return };
    let archive = Archive::new();
    let node = Node::builder()
        .program(&program)
        .table(&format!(
            "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"pacs.test:{}\"\ncalled_ae = \"PACS\"\n{HASTY}",
            archive.address().port()
        ))
        .start();
    let sent = small(700, 5);
    store_all(&node, &sent);
    node.wait_health("pacs", "ill");
    assert!(node.output().contains("pacs.test"), "the log names what cannot be resolved");
    // The same file, because it is what is mounted.
    std::fs::write(&hosts, "127.0.0.1 localhost pacs.test\n").unwrap();
    node.wait_drained();
    assert_eq!(archive.times_stored(&sent), vec![1; 5]);
}

/// Runs the node under a clock that a file sets, as `faketime` reads it.
fn with_clock(folder: &Path, clock: &Path) -> Option<std::path::PathBuf> {
    require("faketime")?;
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("faketime's library beside faketime");
    let program = folder.join("with-clock");
    // The monotonic clock stays as it is: no jump of the time of day moves it.
    let script = format!(
        "#!/bin/sh\nexport LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1\nexec {} \"$@\"\n",
        clock.display(),
        env!("CARGO_BIN_EXE_chrysalis"),
    );
    write_program(&program, &script);
    Some(program)
}

/// What arrived, in its order, each for the first time.
fn order(archive: &Archive) -> Vec<String> {
    let mut order = Vec::new();
    for arrival in archive.stored() {
        if !order.contains(&arrival.sop_instance) {
            order.push(arrival.sop_instance);
        }
    }
    order
}

fn uids(sent: &[Instance]) -> Vec<String> {
    sent.iter().map(|instance| instance.sop_instance.clone()).collect()
}

#[test]
fn a_clock_that_jumps_by_hours_and_years_loses_nothing_and_changes_no_order() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |shift: &str| std::fs::write(&clock, format!("{shift}\n")).unwrap();
    set("+0");
    let Some(program) = with_clock(folder.path(), &clock) else { return };
    let mut archive = Archive::new();
    archive.stop();
    let mut node = Node::builder()
        .program(&program)
        .queue("reserve = \"1MiB\"")
        .dicom_with("pacs", archive.address(), HASTY)
        .folder("archive")
        .start();
    let mut sent = Vec::new();
    let mut held = None;
    for (shift, seed) in ["+0", "+5h", "-3h", "+10y", "-20y", "+30y", "+0"].into_iter().zip(800..) {
        set(shift);
        let some = small(seed, 3);
        store_all(&node, &some);
        if held.is_none() {
            let first = node.wait_state(&some[0], "archive", "delivered");
            assert_eq!(first.state, "delivered");
            let delivery = node.deliveries_of(&some[0], "pacs").pop().unwrap();
            node.decide("hold", &delivery, "to be looked at");
            held = Some(some[0].clone());
        }
        sent.extend(some);
        if seed % 2 == 1 {
            node.kill();
            node.start();
        }
    }
    let held = held.unwrap();
    archive.start_again();
    let expected: Vec<_> = uids(&sent).into_iter().filter(|uid| *uid != held.sop_instance).collect();
    eventually("everything at the PACS", SOON, || (order(&archive).len() == expected.len()).then_some(()));
    assert_eq!(order(&archive), expected, "in the order of receiving");
    let seen = node.wait_state(&held, "pacs", "held");
    node.decide("release", &seen, "");
    eventually("the one that was held", SOON, || order(&archive).contains(&held.sop_instance).then_some(()));
    archive.times_stored(&sent);
    let address: SocketAddr = node.address;
    assert_eq!(Modality::new(address).echo().unwrap().status, 0);
}
