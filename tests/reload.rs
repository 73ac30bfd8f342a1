//! What an administrator changes while carts send: the configuration, pauses, a drain.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::archive::{Action, Archive, Greeting, Script};
use support::deliveries::{BRISK, SOON, small, store_all};
use support::instance::{Instance, Study};
use support::ledger::Ledger;
use support::modality::{Failure, Modality};
use support::node::Node;
use support::ports::free_address;
use support::process::write_file;
use support::wait::{eventually, poll};

/// Failures are tried again within milliseconds.
const BRISK_PAUSE: &str = "backoff = { first = \"20ms\", max = \"100ms\" }";

/// A `[[destination]]` as the configuration has it.
fn dicom(name: &str, address: SocketAddr, called_ae: &str, lines: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nkind = \"dicom\"\naddress = \"{address}\"\ncalled_ae = \"{called_ae}\"\n{lines}\n"
    )
}

fn listener(name: &str, address: SocketAddr) -> String {
    format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n")
}

/// The text of the configuration file.
fn text(node: &Node) -> String {
    std::fs::read_to_string(node.config()).unwrap()
}

/// Writes the configuration and has it reloaded, which must succeed.
#[track_caller]
fn reload_with(node: &Node, text: &str) -> Value {
    write_file(&node.config(), text);
    reload(node)
}

#[track_caller]
fn reload(node: &Node) -> Value {
    let answer = node.api_post("/api/reload", "{}");
    let report: Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(answer.status == 200 && report["applied"] == true, "{} {report}", answer.status);
    report
}

fn status(node: &Node) -> Value {
    serde_json::from_str(&node.api_get("/api/status").text()).unwrap()
}

#[track_caller]
fn post(node: &Node, path: &str, body: &Value) -> Value {
    let answer = node.api_post(path, &body.to_string());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_str(&answer.text()).unwrap()
}

fn is_congested(address: SocketAddr) -> bool {
    match Modality::new(address).context("1.2.840.10008.1.1", &["1.2.840.10008.1.2"]).associate() {
        Err(Failure::Rejected { result: 2, source: 3, reason: 1 }) => true,
        Ok(association) => {
            association.release().unwrap();
            false
        }
        Err(other) => panic!("{other:?} instead of an answer"),
    }
}

/// The decisions written down, with their details.
fn decisions(node: &Node) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(node.data_dir.join("decisions.log")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["decision"].to_string(), line["details"].to_string())).collect()
}

/// A cart that never stops, and sends again what was not acknowledged.
fn send_on(address: SocketAddr, seed: u64, ledger: &Ledger, stop: &AtomicBool) {
    let study = Study::new(seed);
    let modality = Modality::new(address).timeout(Duration::from_secs(10));
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let instance = study.small(number);
        let Ok(mut association) = modality.clone().contexts_for([&instance]).associate() else {
            poll(Duration::from_millis(10), || None::<()>);
            continue;
        };
        for _ in 0..7 {
            let instance = study.small(number);
            let Ok(answer) = association.store(&instance) else { break };
            if ledger.note(&instance, &answer) {
                number += 1;
            }
        }
        let _ = association.release();
    }
}

#[test]
fn ten_reloads_under_load_lose_nothing() {
    let (pacs, cloud, heaven, slow) = (Archive::new(), Archive::new(), Archive::new(), Archive::new());
    slow.set_script(Script::default().on_store(|_, _| Action::SleepThen(Duration::from_millis(2), 0)));
    let builder = Node::builder().dicom_with("pacs", pacs.address(), BRISK);
    let mut node = builder.dicom_with("cloud", cloud.address(), BRISK).start();
    let original = text(&node);
    let (second, third) = (free_address(), free_address());
    let with = |more: &str| format!("{original}{more}");
    let extra = dicom("extra", slow.address(), "EXTRA", BRISK);
    let twice = format!("{extra}max_associations = 2\n");
    let renamed = original.replace("name = \"cloud\"", "name = \"heaven\"");
    let steps = [
        with(&extra),
        with(&format!("{}{extra}", listener("second", second))),
        with(&format!("{}{twice}", listener("second", second))),
        renamed.clone(),
        format!("{renamed}{}", listener("second", third)),
        with(&format!("{}{extra}", listener("second", third))),
        with(&format!("{}[[route]]\nto = [\"pacs\", \"cloud\"]\n", listener("another", third))),
        original
            .replace("[node]", "[node]\ngrace = \"20s\"")
            .replace("name = \"modalities\"", "name = \"carts\""),
        with(&twice),
        with(&format!("{extra}{}", dicom("heaven", heaven.address(), "HEAVEN", BRISK))),
    ];
    let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
    let carts = [node.address, node.address, second, third];
    let senders: Vec<_> = carts
        .into_iter()
        .zip(2000..)
        .map(|(address, seed)| {
            let (ledger, stop) = (ledger.clone(), Arc::clone(&stop));
            std::thread::spawn(move || send_on(address, seed, &ledger, &stop))
        })
        .collect();
    for (n, step) in steps.iter().enumerate() {
        let before = ledger.len();
        eventually("more being taken", SOON, || (ledger.len() > before + 20).then_some(()));
        if n % 2 == 0 {
            reload_with(&node, step);
        } else {
            let applied = |node: &Node| node.metric("chrysalis_config_reloads_total", &["applied"]);
            let so_far = applied(&node);
            write_file(&node.config(), step);
            node.hang_up();
            eventually("the reload", SOON, || {
                let refused = node.metric("chrysalis_config_reloads_total", &["refused"]);
                assert_eq!(refused, 0.0, "{:?}", decisions(&node));
                (applied(&node) > so_far).then_some(())
            });
        }
    }
    stop.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    // Every name that was ever owed something is configured now: everything goes out.
    let idle = |node: &Node| node.metric("chrysalis_queued_instances", &[]) == 0.0;
    eventually("the queue being empty", Duration::from_secs(60), || idle(&node).then_some(()));
    assert_eq!(node.metric("chrysalis_held_instances", &[]), 0.0, "nothing is held by a reload");
    // What came in while the one had the other's name was owed to that name.
    for archives in [vec![&pacs], vec![&cloud, &heaven]] {
        let arrivals = archives.into_iter().flat_map(Archive::stored);
        let arrived: Vec<_> = arrivals.map(|arrival| (arrival.sop_instance, arrival.digest)).collect();
        let lost = ledger.missing(arrived.iter().map(|(name, digest)| (name.as_str(), digest)));
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
    assert!(!slow.stored().is_empty(), "the destination that came had something");
    assert_eq!(node.metric("chrysalis_config_reloads_total", &["refused"]), 0.0);
}

#[test]
fn a_broken_file_keeps_the_old_configuration_and_says_every_mistake() {
    let archive = Archive::new();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let (good, revision) = (text(&node), status(&node)["revision"].clone());
    write_file(&node.config(), &format!("{good}[[destination]]\nname = \"x\"\nkind = \"dicon\"\n[nodes]\n"));
    let answer = node.api_post("/api/reload", "{}");
    let refused: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((answer.status, &refused["applied"]), (422, &json!(false)), "{refused}");
    let problems = refused["problems"].as_array().unwrap();
    assert!(problems.len() >= 2 && problems.iter().all(|p| p["line"].is_u64()), "{refused}");
    for problem in problems {
        assert!(node.output().contains(problem["message"].as_str().unwrap()), "{problem} is in the log");
    }
    node.hang_up();
    eventually("the second refusal", SOON, || {
        (node.metric("chrysalis_config_reloads_total", &["refused"]) == 2.0).then_some(())
    });
    let told = node.run(&["reload", "--json"]);
    let answer: Value = serde_json::from_str(&told.output).expect("JSON");
    assert_eq!((told.status.code(), &answer["applied"]), (Some(78), &json!(false)), "{}", told.output);
    let refused = node.metric("chrysalis_config_reloads_total", &["refused"]);
    assert_eq!(refused, 3.0, "the command line has the node read it too");
    let finished = node.run(&["reload"]);
    assert_eq!(finished.status.code(), Some(78), "{}", finished.output);
    assert_eq!(status(&node)["revision"], revision);
    store_all(&node, &small(1, 3));
    node.wait_drained();
    std::fs::remove_file(node.config()).unwrap();
    assert_eq!(node.api_post("/api/reload", "{}").status, 422, "a file that is gone is no configuration");
    assert_eq!(status(&node)["revision"], revision);
    reload_with(&node, &good);
}

#[test]
fn a_reload_that_names_files_of_no_use_to_a_destination_is_refused_and_nothing_changes() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let (good, revision) = (text(&node), status(&node)["revision"].clone());
    let plain = good.replace("called_ae = \"PACS\"\n", "called_ae = \"PACS\"\nTLS\n");
    let open = node.home().join("open.token");
    write_file(&open, "canary");
    let web = |lines: &str| {
        format!(
            "{good}[[destination]]\nname = \"web\"\nkind = \"dicomweb\"\nurl = \"http://127.0.0.1:1/w\"\n{lines}\n"
        )
    };
    let own = "tls = { verify = \"none\", certificate = \"/nonexistent.pem\", key = \"/nonexistent.key\" }";
    let listen = free_address();
    let relay = format!("[[relay]]\nname = \"ris\"\nlisten = \"{listen}\"\nconnect = \"127.0.0.1:1\"\n");
    for (wrong, named) in [
        (plain.replace("TLS", "tls = { verify = \"ca\", ca = \"/nonexistent.pem\" }"), "/nonexistent.pem"),
        (plain.replace("TLS", own), "/nonexistent.pem"),
        (web("token_file = \"/nonexistent.token\""), "/nonexistent.token"),
        (web(&format!("token_file = \"{}\"", open.display())), "chmod 600"),
        (
            web("user = \"u\"\npassword_variable = \"CHRYSALIS_NO_SUCH_PASSWORD\""),
            "CHRYSALIS_NO_SUCH_PASSWORD",
        ),
        (format!("{good}{relay}connect_tls = {{ ca = \"/nonexistent.pem\" }}\n"), "relay.connect_tls"),
    ] {
        write_file(&node.config(), &wrong);
        for args in [&["reload", "--dry-run"][..], &["reload"]] {
            let told = node.run(args);
            assert_eq!(told.status.code(), Some(78), "{args:?} {wrong}\n{}", told.output);
            assert!(told.output.contains(named) && !told.output.contains("canary"), "{}", told.output);
        }
        assert_eq!(status(&node)["revision"], revision);
    }
    store_all(&node, &small(1, 2));
    node.wait_drained();
    reload_with(&node, &good);
}

#[test]
fn a_node_starts_and_receives_without_a_destinations_file_and_says_so_at_once_until_it_is_there() {
    let archive = Archive::new();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let web = format!(
        "[[destination]]\nname = \"web\"\nkind = \"dicomweb\"\nurl = \"http://{}/w\"\ntoken_file = \"{}\"\n{BRISK_PAUSE}",
        archive.address(),
        token.display(),
    );
    let missing = format!("tls = {{ ca = \"/nonexistent.pem\" }}\n{BRISK_PAUSE}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &missing).table(&web).start();
    // Nothing is to be sent yet.
    for (name, file) in [("pacs", "/nonexistent.pem"), ("web", "token")] {
        node.wait_health(name, "paused");
        let told = node.run(&["status"]);
        let needs = told.output.split_once("Needs somebody:").map(|(_, needs)| needs.to_owned());
        let needs = needs.unwrap_or_else(|| panic!("nobody is needed\n{}", told.output));
        let says = needs.lines().any(|line| line.trim_start().starts_with(name) && line.contains(file));
        assert!(says && told.status.code() == Some(1), "{}", told.output);
    }
    let sent = small(2, 1);
    store_all(&node, &sent);
    let waiting = node.deliveries_of(&sent[0], "pacs");
    assert!(waiting.iter().all(|delivery| delivery.reason.contains("/nonexistent.pem")), "{waiting:?}");
    // The token is there now: nobody has to say so.
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true), 0o600);
    std::io::Write::write_all(&mut options.open(&token).unwrap(), b"canary").unwrap();
    eventually("another reason than the token", SOON, || {
        let reasons = node.deliveries_of(&sent[0], "web");
        reasons.iter().all(|delivery| !delivery.reason.contains("token")).then_some(())
    });
}

#[test]
fn a_port_that_is_taken_refuses_the_reload_as_a_whole() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (free, node) = (free_address(), Node::builder().folder("archive").start());
    let more = [listener("free", free), listener("taken", taken.local_addr().unwrap())].concat();
    write_file(
        &node.config(),
        &text(&node)
            .replace("name = \"archive\"", "name = \"store\"")
            .replace("[queue]", &format!("{more}[queue]")),
    );
    let answer = node.api_post("/api/reload", "{}");
    assert!(answer.status == 422 && answer.text().contains("taken"), "{}", answer.text());
    assert!(Modality::new(free).connect().is_err(), "the other port is not open either");
    let instance = &small(2, 1)[0];
    Modality::new(node.address).store(instance).unwrap();
    node.wait_state(instance, "archive", "delivered");
}

#[test]
fn a_listener_moves_to_another_port_and_its_associations_finish() {
    let node = Node::builder().folder("archive").start();
    let (instances, next) = (small(3, 3), free_address());
    let modality = Modality::new(node.address).contexts_for(&instances);
    let mut old = modality.associate().unwrap();
    assert_eq!(old.store(&instances[0]).unwrap().status, 0);
    node.edit(&node.address.to_string(), &next.to_string());
    let report = reload(&node);
    assert_eq!(
        report["changes"]["listeners"]["changed"],
        json!([{ "name": "modalities", "keys": ["address"] }])
    );
    assert_eq!(old.store(&instances[1]).unwrap().status, 0, "under way, it goes on");
    old.release().unwrap();
    assert_eq!(Modality::new(next).store(&instances[2]).unwrap().status, 0);
    eventually("the old port being closed", SOON, || modality.connect().err().map(drop));
    node.wait_drained();
    assert_eq!(status(&node)["listeners"][0]["address"], next.to_string());
}

#[test]
fn a_changed_listener_keeps_its_socket_and_judges_only_who_comes_later() {
    let node = Node::builder().folder("archive").start();
    let instances = small(4, 2);
    let modality = Modality::new(node.address).contexts_for(&instances);
    let mut early = modality.associate().unwrap();
    node.edit("name = \"modalities\"", "name = \"ward\"\ncalled_ae = [\"SOMEBODY\"]");
    reload(&node);
    assert!(matches!(modality.associate(), Err(Failure::Rejected { result: 1, .. })));
    assert_eq!(early.store(&instances[0]).unwrap().status, 0);
    early.release().unwrap();
    assert_eq!(modality.clone().called("SOMEBODY").store(&instances[1]).unwrap().status, 0);
}

#[test]
fn what_is_owed_to_a_removed_destination_is_held_until_its_name_returns() {
    let (mut archive, other) = (Archive::new(), Archive::new());
    archive.stop();
    let builder = Node::builder().dicom_with("pacs", archive.address(), BRISK);
    let node = builder.dicom_with("other", other.address(), BRISK).start();
    let (original, sent) = (text(&node), small(5, 6));
    store_all(&node, &sent);
    let without = original.replace("name = \"pacs\"", "name = \"main\"");
    let trial = json!({ "dry_run": true, "text": without });
    let rehearsed = post(&node, "/api/reload", &trial);
    assert_eq!(rehearsed["applied"], false);
    let gone = json!([{ "destination": "pacs", "renamed_to": "main", "owed": 6, "held": 0 }]);
    assert_eq!(rehearsed["gone"], gone);
    assert!(node.deliveries_of(&sent[0], "pacs")[0].state != "held", "a trial changes nothing");
    let report = reload_with(&node, &without);
    assert_eq!(report["gone"], gone);
    for instance in &sent {
        assert_eq!(node.wait_state(instance, "pacs", "held").reason, "destination not configured");
    }
    archive.start_again();
    let newer = Study::new(5).small(50);
    Modality::new(node.address).store(&newer).unwrap();
    node.wait_state(&newer, "main", "delivered");
    assert_eq!(archive.stored().len(), 1, "what is held stays");
    reload_with(&node, &original);
    node.wait_drained();
    assert_eq!(archive.stored().len(), 7);
    let gauges = node.metrics();
    let of_main = gauges.keys().filter(|key| key.contains("\"main\"") && !key.contains("_total"));
    assert_eq!(of_main.count(), 0, "gauges of what is gone are gone: {gauges:#?}");
}

#[test]
fn a_wrong_title_that_is_mended_sends_at_once() {
    let strict = || {
        Script::default().on_associate(|knock| match knock.request.called_ae.as_str() {
            "RIGHT" => Greeting::Accept,
            _ => Greeting::Reject(1, 1, 7),
        })
    };
    for lines in ["", "calling_ae = \"passthrough\"\n"] {
        let archive = strict().start();
        let table = dicom("pacs", archive.address(), "WRONG", lines);
        let node = Node::builder().table(&table).start();
        let sent = small(6, 5);
        store_all(&node, &sent);
        // From here the next attempt is about five minutes away.
        node.wait_health("pacs", "paused");
        node.edit("\"WRONG\"", "\"RIGHT\"");
        reload(&node);
        node.wait_drained();
        assert_eq!(node.health("pacs"), "well");
    }
}

#[test]
fn a_destination_that_hangs_delays_neither_the_answer_nor_others_and_is_never_called_twice_at_once() {
    let archive = Script::default().on_store(|_, _| Action::Silence).start();
    let other = Archive::new();
    let keys = "timeouts = { dimse = \"2s\" }\nbackoff = { first = \"20ms\", max = \"100ms\" }";
    let builder = Node::builder().dicom_with("pacs", archive.address(), keys);
    let node = builder.dicom_with("other", other.address(), BRISK).start();
    let sent = small(7, 3);
    store_all(&node, &sent);
    eventually("one being under way", SOON, || (!archive.arrivals().is_empty()).then_some(()));
    let begun = Instant::now();
    for n in 100..104 {
        node.edit(&format!("max = \"{n}ms\""), &format!("max = \"{}ms\"", n + 1));
        reload(&node);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(archive.knocks().len(), 1, "nobody else calls while one is there");
    sent.iter().for_each(|instance| drop(node.wait_state(instance, "other", "delivered")));
    archive.set_script(Script::default());
    node.wait_drained();
}

#[test]
fn reloading_what_did_not_change_leaves_associations_alone() {
    let archive = Script::default().on_store(|_, _| Action::SleepThen(Duration::from_millis(20), 0)).start();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    let sent = small(8, 30);
    store_all(&node, &sent);
    for n in 1..=5 {
        node.edit("[node]\n", &format!("[node]\n# {n}\n"));
        let report = reload(&node);
        assert_eq!(report["from"], report["to"]);
    }
    node.wait_drained();
    assert_eq!(archive.knocks().len(), 1, "one association took it all");
    assert_eq!(archive.arrivals().len(), 30, "each once");
}

#[test]
fn what_needs_a_restart_is_named_and_not_done() {
    let node = Node::builder().folder("archive").start();
    let (admin, other) = (node.admin.to_string(), free_address());
    node.edit(&admin, &other.to_string());
    node.edit("[admin]", "[log]\nlevel = \"debug\"\n[admin]");
    let report = reload(&node);
    assert_eq!(report["changes"]["needs_restart"], json!(["admin.address"]));
    assert_eq!(report["changes"]["keys"], json!(["log.level"]));
    assert!(node.is_ready() && Modality::new(other).connect().is_err());
    Modality::new(node.address).store(&small(9, 1)[0]).unwrap();
    eventually("lines that were not logged before", SOON, || node.output().contains("DEBUG").then_some(()));
}

#[test]
fn a_pause_survives_a_kill_a_reload_and_a_retry_and_is_seen_everywhere() {
    let archive = Archive::new();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let paused =
        node.run(&["pause", "destination", "pacs", "--reason", "upgrade of the PACS"]).expect_success();
    assert!(paused.output.contains("pacs is paused"), "{}", paused.output);
    let sent = small(10, 4);
    store_all(&node, &sent);
    node.kill();
    node.start();
    node.edit("backoff = { first = \"20ms\"", "backoff = { first = \"21ms\"");
    reload(&node);
    let seen = node.deliveries_of(&sent[0], "pacs").pop().unwrap();
    assert!(seen.reason.contains("paused by") && seen.reason.contains("upgrade of the PACS"), "{seen:?}");
    node.decide("retry", &seen, "");
    let shown = &status(&node)["destinations"][0]["paused"];
    assert!(shown["who"].is_string() && shown["since"].is_string(), "{shown}");
    assert_eq!(node.metric("chrysalis_destination_paused", &["pacs"]), 1.0);
    assert!(archive.knocks().is_empty(), "nobody called");
    node.run(&["resume", "destination", "pacs"]).expect_success();
    node.wait_drained();
    assert_eq!(node.metric("chrysalis_destination_paused", &["pacs"]), 0.0);
    let decided = decisions(&node);
    for decision in ["pause", "reload", "resume"] {
        assert!(decided.iter().any(|(known, _)| known.contains(decision)), "{decision} in {decided:?}");
    }
    let token = node.token();
    assert!(!std::fs::read_to_string(node.data_dir.join("decisions.log")).unwrap().contains(&token));
}

#[test]
fn one_calling_title_is_paused_and_the_others_go_on() {
    let archive = Archive::new();
    let keys = format!("calling_ae = \"passthrough\"\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let order = json!({ "calling_ae": "VIVID1", "reason": "wrong patients", "who": "oncall" });
    assert_eq!(post(&node, "/api/destinations/pacs/pause", &order)["changed"], true);
    let (one, two) = (Study::new(11).small(1), Study::new(11).small(2));
    Modality::new(node.address).calling("VIVID1").store(&one).unwrap();
    Modality::new(node.address).calling("VIVID2").store(&two).unwrap();
    node.wait_state(&two, "pacs", "delivered");
    let waiting = node.wait_state(&one, "pacs", "waiting");
    assert_eq!(waiting.reason, "destination for VIVID1 paused by oncall: wrong patients");
    node.decide("retry", &waiting, "");
    node.wait_state(&one, "pacs", "waiting");
    assert_eq!(archive.arrivals().len(), 1);
    post(&node, "/api/destinations/pacs/resume", &order);
    node.wait_state(&one, "pacs", "delivered");
}

#[test]
fn what_cannot_be_paused_is_said() {
    let node = Node::builder().folder("archive").start();
    let refused = |path: &str, body: &str| node.api_post(path, body).status;
    assert_eq!(refused("/api/destinations/pasc/pause", "{}"), 404);
    assert_eq!(refused("/api/listeners/pasc/pause", "{}"), 404);
    assert_eq!(refused("/api/destinations/archive/pause", "{\"calling_ae\": \"X\"}"), 422);
    assert_eq!(refused("/api/listeners/modalities/pause", "{\"calling_ae\": \"X\"}"), 400);
    assert_eq!(refused("/api/reload", "{\"text\": \"\"}"), 400);
    let unsigned = support::http::request(
        node.admin,
        "POST",
        "/api/stop",
        &[("Content-Type", "application/json")],
        b"{}",
    );
    assert_eq!(unsigned.unwrap().status, 401);
}

#[test]
fn a_paused_listener_rejects_as_transient_and_lets_what_is_under_way_finish() {
    let mut node = Node::builder().folder("archive").start();
    let instances = small(12, 2);
    let mut early = Modality::new(node.address).contexts_for(&instances).associate().unwrap();
    assert_eq!(early.store(&instances[0]).unwrap().status, 0);
    node.run(&["pause", "listener", "modalities"]).expect_success();
    assert!(is_congested(node.address));
    let ready = node.api_get("/health/ready");
    assert!(ready.status == 503 && ready.text().contains("every listener is paused"), "{}", ready.text());
    assert_eq!(early.store(&instances[1]).unwrap().status, 0);
    assert_eq!(status(&node)["listeners"][0]["associations"], 1);
    early.release().unwrap();
    node.kill();
    node.start();
    assert!(is_congested(node.address), "after a kill too");
    assert_eq!(node.metric("chrysalis_listener_paused", &["modalities"]), 1.0);
    node.run(&["resume", "--all"]).expect_success();
    assert!(!is_congested(node.address) && node.is_ready());
}

#[test]
fn pauses_that_cannot_be_read_keep_everything_back_and_carts_are_served() {
    let archive = Archive::new();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    node.stop();
    std::fs::write(node.data_dir.join("pauses.json"), "[{").unwrap();
    node.start();
    let sent = small(13, 2);
    store_all(&node, &sent);
    let seen = node.deliveries_of(&sent[0], "pacs").pop().unwrap();
    assert!(seen.reason.contains("pauses.json"), "{seen:?}");
    assert!(archive.knocks().is_empty());
    node.run(&["resume", "--all"]).expect_success();
    node.wait_drained();
}

#[test]
fn a_drain_ends_when_only_what_is_held_or_paused_is_left_and_stops_the_node() {
    let archive = Script::default().on_store(|_, _| Action::SleepThen(Duration::from_millis(20), 0)).start();
    let mut away = Archive::new();
    away.stop();
    let builder = Node::builder().dicom_with("pacs", archive.address(), BRISK);
    let mut node = builder.dicom_with("away", away.address(), BRISK).start();
    let sent = small(14, 10);
    store_all(&node, &sent);
    let hangs = node.run(&["drain", "--timeout", "1s"]);
    assert_eq!(hangs.status.code(), Some(1), "{}", hangs.output);
    assert!(hangs.output.contains("10 to be sent to away (ill"), "{}", hangs.output);
    assert!(is_congested(node.address));
    node.run(&["pause", "destination", "away"]).expect_success();
    let done = node.run(&["drain", "--stop", "--json"]);
    assert!(done.status.success() && done.output.contains("\"stopping\": true"), "{}", done.output);
    assert_eq!(node.wait_end().code(), Some(0));
    assert_eq!(archive.stored().len(), 10);
    let stopped = node.run(&["status"]);
    assert!(stopped.status.code() == Some(1) && stopped.output.contains("is stopped"), "{}", stopped.output);
    node.start();
    let paused = node.run(&["status"]);
    assert!(paused.status.code() == Some(1), "{}", paused.output);
    assert!(paused.output.contains("listener modalities is paused by"), "{}", paused.output);
    assert!(is_congested(node.address), "it takes nothing before somebody says so");
    away.start_again();
    let lifted = node.run(&["resume", "--drained"]).expect_success().output;
    assert!(lifted.contains("listener modalities is resumed") && !lifted.contains("away"), "{lifted}");
    assert!(!is_congested(node.address));
    assert!(!status(&node)["destinations"][1]["paused"].is_null(), "somebody paused it on purpose");
    node.run(&["resume", "destination", "away"]).expect_success();
    node.wait_drained();
    let well = node.run(&["status"]).expect_success().output;
    assert!(well.contains("All is well."), "{well}");
    assert!(decisions(&node).iter().any(|(decision, _)| decision.contains("drain")));
}

#[test]
fn instances_are_routed_by_the_rules_of_the_moment_within_one_association() {
    let node = Node::builder().folder("one").folder("two").table("[[route]]\nto = [\"one\"]").start();
    let instances: Vec<Instance> = small(15, 2);
    let mut association = Modality::new(node.address).contexts_for(&instances).associate().unwrap();
    association.store(&instances[0]).unwrap();
    node.edit("to = [\"one\"]", "to = [\"two\"]");
    assert_eq!(reload(&node)["changes"]["routing"], true);
    association.store(&instances[1]).unwrap();
    association.release().unwrap();
    node.wait_state(&instances[0], "one", "delivered");
    node.wait_state(&instances[1], "two", "delivered");
    assert!(node.deliveries_of(&instances[1], "one").is_empty());
}

#[test]
fn a_hangup_while_it_stops_is_ignored() {
    let archive = Script::default().on_store(|_, _| Action::Silence).start();
    let keys = "timeouts = { dimse = \"60s\" }";
    let node = Node::builder().dicom_with("pacs", archive.address(), keys).node("grace = \"3s\"");
    let mut node = node.start();
    store_all(&node, &small(16, 1));
    eventually("it being under way", SOON, || (!archive.arrivals().is_empty()).then_some(()));
    node.signal_stop();
    eventually("the stop", SOON, || (!node.is_ready()).then_some(()));
    node.hang_up();
    assert_eq!(node.api_post("/api/reload", "{}").status, 503);
    assert_eq!(node.wait_end().code(), Some(0));
}
