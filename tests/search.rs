//! Finding deliveries by what an administrator knows of them, and acting on what was found.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use serde_json::{Value, json};
use support::archive::{Archive, Script};
use support::deliveries::{BRISK, SOON, Seen, store_all};
use support::http;
use support::instance::{Instance, Study};
use support::modality::Modality;
use support::node::Node;
use support::process::list;
use support::wait::eventually;

const NAME: &str = "Canary^Yellow";
const ID: &str = "CANARY4711";

/// Two studies: one of a patient whose name, ID and accession number appear nowhere else, by `VIVID1`; one by `EPIQ7`.
fn studies() -> (Vec<Instance>, Vec<Instance>) {
    let canary = Study { patient_name: NAME.into(), patient_id: ID.into(), ..Study::new(815_301) };
    let other = Study::new(2);
    ((1..=3).map(|n| canary.small(n)).collect(), (1..=2).map(|n| other.small(n)).collect())
}

#[track_caller]
fn store_as(node: &Node, calling: &str, instances: &[Instance]) {
    let answers = Modality::new(node.address).calling(calling).store_all(instances).unwrap();
    assert!(answers.iter().all(|answer| answer.status == 0), "{answers:?}");
}

/// A node that has delivered both studies to `archive`, and whose PACS refused the instances of `EPIQ7`.
fn node_with_both() -> (Node, Archive, Vec<Instance>, Vec<Instance>) {
    let (canary, other) = studies();
    let refused: Vec<_> = other.iter().map(|instance| instance.sop_instance.clone()).collect();
    let answer = move |_, uid: &str| {
        let status = if refused.iter().any(|refused| refused == uid) { 0xA900 } else { 0 };
        support::archive::Action::Answer(status)
    };
    let archive = Script::default().on_store(answer).start();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    store_as(&node, "VIVID1", &canary);
    store_as(&node, "EPIQ7", &other);
    node.wait_all("at rest", |seen| ["delivered", "held"].contains(&seen.state.as_str()));
    (node, archive, canary, other)
}

#[track_caller]
fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    let response = node.api_post(path, &body.to_string());
    (
        response.status,
        serde_json::from_str(&response.text()).unwrap_or_else(|e| panic!("{e}: {}", response.text())),
    )
}

/// The SOP Instance UIDs and destinations that a search finds.
#[track_caller]
fn found(node: &Node, body: &Value) -> Vec<(String, String)> {
    let (status, answer) = post(node, "/api/queue/search", body);
    assert_eq!(status, 200, "{body}: {answer}");
    Seen::read(&answer.to_string()).into_iter().map(|seen| (seen.sop_instance, seen.destination)).collect()
}

fn pairs(instances: &[Instance], destinations: &[&str]) -> Vec<(String, String)> {
    let pair = |instance: &Instance| {
        let uid = instance.sop_instance.clone();
        destinations.iter().map(move |name| (uid.clone(), (*name).to_owned())).collect::<Vec<_>>()
    };
    let mut pairs: Vec<_> = instances.iter().flat_map(pair).collect();
    pairs.sort();
    pairs
}

#[test]
fn deliveries_are_found_by_each_thing_an_administrator_may_know() {
    let (node, _archive, canary, other) = node_with_both();
    let (here, both) = (canary.clone(), ["archive", "pacs"]);
    let study = canary[0].study.clone();
    let table: Vec<(Value, Vec<(String, String)>)> = vec![
        (json!({ "study": study }), pairs(&here, &both)),
        (json!({ "patient_id": ID }), pairs(&here, &both)),
        (json!({ "patient_id": "CANARY*1?" }), pairs(&here, &both)),
        (json!({ "patient_id": "canary*" }), Vec::new()),
        (json!({ "patient_id": "TEST000002", "state": "delivered" }), pairs(&other, &["archive"])),
        (json!({ "accession": "A815301" }), pairs(&here, &both)),
        (json!({ "accession": "A?", "destination": "pacs" }), pairs(&other, &["pacs"])),
        (json!({ "calling_ae": "VIVID?" }), pairs(&here, &both)),
        (json!({ "calling_ae": "EPIQ*", "patient_id": ID }), Vec::new()),
        (json!({ "sop_instance": canary[1].sop_instance }), pairs(&here[1..2], &both)),
        (json!({ "listener": "modalities", "state": "held" }), pairs(&other, &["pacs"])),
        (json!({ "reason": "a900" }), pairs(&other, &["pacs"])),
        (json!({ "state": "held,waiting" }), pairs(&other, &["pacs"])),
        (json!({ "since": "today", "study": study }), pairs(&here, &both)),
        (json!({ "since": "1h", "until": "2999-01-01", "study": study }), pairs(&here, &both)),
        (json!({ "until": "1h" }), Vec::new()),
        (json!({ "older_than": "1h" }), Vec::new()),
        (json!({ "older_than": "0s", "destination": "archive", "study": study }), pairs(&here, &["archive"])),
    ];
    for (body, expected) in table {
        let mut found = found(&node, &body);
        found.sort();
        assert_eq!(found, expected, "{body}");
    }
    let listed = node.run(&["queue", "list", "--study", &study, "--destination", "archive", "--json"]);
    assert_eq!(Seen::read(&listed.expect_success().output).len(), 3);
    let table = node.run(&["queue", "list", "--calling-ae", "EPIQ*", "--limit", "3"]).expect_success().output;
    assert!(table.contains(&format!("…{}", &other[0].study[other[0].study.len() - 12..])), "{table}");
    assert!(table.contains("limit of 3"), "{table}");
    let lines = node.run(&["queue", "list", "--by-study"]).expect_success().output;
    let line = |name: &str| lines.lines().find(|line| line.contains(&other[0].study) && line.contains(name));
    assert!(line("pacs").is_some_and(|line| line.contains("2 held") && line.contains("EPIQ7")), "{lines}");
    assert!(line("archive").is_some_and(|line| line.contains("2 delivered")), "{lines}");
    assert!(lines.contains("Unsecured: pacs") && table.contains("Unsecured: pacs"), "{lines}");
}

#[test]
fn names_that_nothing_has_and_times_that_are_none_are_mistakes_that_say_what_there_is() {
    let (node, _archive, ..) = node_with_both();
    let table = [
        (&["queue", "list", "--destination", "pasc"][..], 1, "archive, none, pacs"),
        (&["queue", "list", "--listener", "mods"], 1, "modalities"),
        (&["queue", "retry", "--destination", "pasc"], 1, "archive, none, pacs"),
        (&["queue", "reroute", "--from", "pacs", "--to", "none"], 1, "pacs, archive"),
        (&["queue", "list", "--since", "soon"], 2, "yesterday"),
    ];
    for (args, code, hint) in table {
        let run = node.run(args);
        assert_eq!(run.status.code(), Some(code), "{args:?}: {}", run.output);
        assert!(run.output.contains(hint), "{args:?}: {}", run.output);
    }
    for query in ["destination=pasc", "state=lost", "since=soon", "colour=red", "limit=x", "patient_id=1"] {
        assert_eq!(node.api_get(&format!("/api/queue?{query}")).status, 400, "{query}");
    }
    assert_eq!(post(&node, "/api/queue/search", &json!({ "patient": "x" })).0, 400);
}

#[test]
fn patients_are_told_of_only_where_somebody_with_the_token_asks_and_nowhere_else() {
    let archive = Archive::new();
    let (canary, _) = studies();
    let log = "[log]\nlevel = \"trace\"";
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).table(log).start();
    store_as(&node, "VIVID1", &canary);
    node.wait_drained();
    let bare =
        |path: &str| http::request(node.admin, "POST", path, &[("Content-Type", "application/json")], b"{}");
    assert_eq!(bare("/api/queue/search").unwrap().status, 401);
    let instance = node.deliveries()[0].instance.clone();
    assert_eq!(node.api_get(&format!("/api/queue/{instance}/file")).status, 401, "on loopback too");
    let revealed = node.run(&["queue", "list", "--reveal"]).expect_success().output;
    for word in [NAME, ID, "A815301", "20260102", "US"] {
        assert!(revealed.contains(word), "{word} in {revealed}");
    }
    let by_study = node.run(&["queue", "list", "--reveal", "--by-study"]).expect_success().output;
    assert!(by_study.contains(NAME), "{by_study}");
    let quiet: [&[&str]; 7] = [
        &["queue", "list", "--patient-id", ID],
        &["queue", "list", "--json", "--accession", "A815301"],
        &["queue", "list", "--by-study"],
        &["queue", "show", &instance],
        &["queue", "resend", "--patient-id", ID],
        &["queue", "discard", "--patient-id", "CANARY*", "--reason", "a test"],
        &["queue", "retry", "--accession", "A815301", "--dry-run"],
    ];
    let mut texts: Vec<_> = quiet.iter().map(|args| node.run(args).expect_success().output).collect();
    texts.push(node.api_get("/metrics").text());
    texts.push(node.api_get("/api/queue").text());
    texts.push(node.api_get("/api/queue?patient_id=CANARY4711").text());
    node.stop();
    texts.push(node.output());
    for text in texts {
        let lower = text.to_lowercase();
        for word in ["canary", "4711", "a815301"] {
            assert!(!lower.contains(word), "{word} in {text}");
        }
    }
    let stopped = node.run(&["queue", "list", "--reveal", "--patient-id", ID]).expect_success().output;
    assert_eq!(
        stopped.matches(NAME).count(),
        3,
        "who may read the spool may read it on a stopped node: {stopped}"
    );
}

#[test]
fn a_decision_about_everything_has_to_be_meant_and_can_be_tried_first() {
    let mut archive = Archive::new();
    archive.stop();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let (canary, other) = studies();
    store_as(&node, "VIVID1", &canary);
    store_as(&node, "EPIQ7", &other);
    let (status, answer) = post(&node, "/api/queue/hold", &json!({ "filter": {} }));
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("--all"), "{answer}");
    let star = node.run(&["queue", "hold", "--calling-ae", "*"]);
    assert!(star.status.code() == Some(1) && star.output.contains("--all"), "{}", star.output);
    assert_eq!(node.run(&["queue", "hold"]).status.code(), Some(2));
    let hold = ["queue", "hold", "--calling-ae", "EPIQ*", "--reason", "wrong room"];
    let tried = node.run(&[&hold[..], &["--dry-run"]].concat()).expect_success().output;
    assert!(tried.contains("2 matched, 2 would change"), "{tried}");
    assert!(node.deliveries().iter().all(|seen| seen.state != "held"));
    let done = node.run(&hold).expect_success().output;
    assert!(done.contains("2 matched, 2 changed, 0 failed"), "{done}");
    let held = node.deliveries().into_iter().filter(|seen| seen.state == "held");
    assert_eq!(held.map(|seen| seen.reason).collect::<Vec<_>>(), ["wrong room", "wrong room"]);
    let all = post(&node, "/api/queue/release", &json!({ "filter": {}, "all": true }));
    assert_eq!((all.0, &all.1["matched"], &all.1["changed"]), (200, &json!(2), &json!(2)));
    let who = json!({ "filter": { "study": canary[0].study }, "reason": "no", "who": "oncall" });
    assert_eq!(post(&node, "/api/queue/hold", &who).1["changed"], 3);
    let discarded =
        node.run(&["queue", "discard", "--reason-was", "NO", "--reason", "a test"]).expect_success();
    assert!(discarded.output.contains("3 changed"), "{}", discarded.output);
    let reason = node.wait_state(&canary[0], "pacs", "discarded").reason;
    assert!(reason.starts_with("a test (") && !reason.contains("admin api"), "{reason}");
    archive.start_again();
    node.wait_state(&other[1], "pacs", "delivered");
    assert_eq!(archive.stored().len(), 2);
}

#[test]
fn what_is_owed_to_one_destination_goes_to_another_and_is_sent_there_once() {
    let mut archive = Archive::new();
    archive.stop();
    let rule = "[[route]]\nwhen = { calling_ae = [\"BOTH\"] }\nto = [\"pacs\", \"archive\"]\n[[route]]\nwhen = { calling_ae = [\"ONE\"] }\nto = [\"pacs\"]";
    let node =
        Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").table(rule).start();
    let (canary, other) = studies();
    store_as(&node, "BOTH", &canary);
    store_as(&node, "ONE", &other);
    for instance in &canary {
        node.wait_state(instance, "archive", "delivered");
    }
    let args = ["queue", "reroute", "--from", "pacs", "--to", "archive"];
    // What is under way at this moment is refused, and asked for again.
    eventually("the last of five", SOON, || {
        let run = node.run(&args);
        (run.status.code() == Some(0)).then_some(())
    });
    for instance in &other {
        node.wait_state(instance, "archive", "delivered");
        let reason = node.wait_state(instance, "pacs", "discarded").reason;
        assert!(reason.contains("rerouted to archive"), "{reason}");
    }
    assert_eq!(node.delivered("archive").len(), 5);
    archive.start_again();
    assert!(node.deliveries().iter().all(|seen| seen.destination == "archive" || seen.state == "discarded"));
    assert_eq!(archive.stored().len(), 0);
}

#[test]
fn a_delivered_study_is_sent_again_to_where_it_was_or_to_somewhere_new() {
    let archive = Archive::new();
    let rule = "[[route]]\nto = [\"pacs\"]";
    let node =
        Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("second").table(rule).start();
    let (canary, other) = studies();
    store_all(&node, &canary);
    store_all(&node, &other);
    node.wait_drained();
    assert_eq!(archive.stored().len(), 5);
    let study = canary[0].study.as_str();
    let again = node.run(&["queue", "resend", "--study", study]).expect_success().output;
    assert!(again.contains("3 matched, 3 changed"), "{again}");
    eventually("the study again", SOON, || (archive.stored().len() == 8).then_some(()));
    node.wait_drained();
    let elsewhere =
        node.run(&["queue", "resend", "--study", study, "--to", "second"]).expect_success().output;
    assert!(elsewhere.contains("3 changed"), "{elsewhere}");
    for instance in &canary {
        node.wait_state(instance, "second", "delivered");
    }
    assert_eq!((node.delivered("second").len(), archive.stored().len()), (3, 8));
    let since = node.run(&["queue", "resend", "--since", "1h", "--destination", "pacs", "--dry-run"]);
    assert!(since.expect_success().output.contains("5 matched, 5 would change"));
}

/// What a decision says first, tried and then done: both must say the same.
#[track_caller]
fn tried_and_done(node: &Node, args: &[&str]) -> String {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let tried = node.run(&[args, &["--dry-run"]].concat());
    let done = node.run(args);
    let (before, after) = (first(tried.output), first(done.output));
    assert_eq!(before.replace("would change", "changed"), after);
    assert_eq!(tried.status.code(), done.status.code(), "{before}");
    after
}

/// A node whose PACS refuses everything but the first `taken` of a study.
fn node_that_takes(study: &[Instance], taken: usize, rules: &str) -> (Node, Archive) {
    let taken: Vec<_> = study[..taken].iter().map(|instance| instance.sop_instance.clone()).collect();
    let answer = move |_, uid: &str| {
        let is_taken = taken.iter().any(|taken| taken == uid);
        support::archive::Action::Answer(if is_taken { 0 } else { 0xA900 })
    };
    let archive = Script::default().on_store(answer).start();
    let node =
        Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("second").table(rules).start();
    (node, archive)
}

#[test]
fn a_retry_by_filter_leaves_alone_what_a_person_a_rule_or_a_conflict_holds() {
    let (canary, other) = studies();
    let rules = "[[route]]\nwhen = { calling_ae = \"VIVID1\" }\nto = [\"pacs\"]\n\
                 [[route]]\nname = \"look\"\nwhen = { calling_ae = \"RULE\" }\nto = [\"pacs\"]\naction = \"hold\"";
    let (node, archive) = node_that_takes(&canary, 0, rules);
    store_as(&node, "VIVID1", &canary);
    let conflict = Study { patient_id: "SOMEBODY".into(), ..Study::new(815_301) }.small(1);
    assert_eq!(conflict.sop_instance, canary[0].sop_instance);
    node.wait_all("at rest", |seen| seen.state == "held");
    store_as(&node, "VIVID1", &[conflict]);
    store_as(&node, "RULE", &other[..1]);
    store_as(&node, "NOBODY", &other[1..]);
    let person = node.deliveries_of(&canary[1], "pacs")[0].instance.clone();
    node.run(&["queue", "hold", &person, "--reason", "wrong room"]).expect_success();
    archive.set_script(Script::default());
    let left = "left alone: 1 conflict (release it), 1 held by a person (release it), 1 held by a rule (release it).";
    let said = tried_and_done(&node, &["queue", "retry", "--all"]);
    assert_eq!(said, format!("retry: 6 matched, 2 changed, 1 failed; {left}"));
    eventually("what was refused", SOON, || (archive.stored().len() == 2).then_some(()));
    let none = ["queue", "retry", "--destination", "none"];
    let run = node.run(&none);
    assert!(run.status.code() == Some(1) && run.output.contains("no rule routes it"), "{}", run.output);
    let run = node.run(&["queue", "release", "--destination", "none"]);
    assert!(run.status.code() == Some(1) && run.output.contains("add a rule and retry"), "{}", run.output);
    assert_eq!(node.wait_state(&other[1], "none", "held").reason, "no route");
    let filter = json!({ "filter": { "reason": "wrong room" } });
    let (_, answer) = post(&node, "/api/queue/retry", &filter);
    assert_eq!((&answer["passed_over"], &answer["changed"]), (&json!({ "held by a person": 1 }), &json!(0)));
    node.run(&["queue", "retry", &person]).expect_success();
    node.wait_state(&canary[1], "pacs", "delivered");
    let released = node.run(&["queue", "release", "--destination", "pacs"]).expect_success().output;
    assert!(released.contains("2 matched, 2 changed, 0 failed."), "{released}");
    eventually("what was released", SOON, || (archive.stored().len() == 5).then_some(()));
    node.edit("calling_ae = \"RULE\"", "calling_ae = [\"RULE\", \"NOBODY\"]");
    node.run(&["reload"]).expect_success();
    let held = node.run(&none).expect_success().output;
    assert!(held.contains("1 matched, 0 changed, 0 failed; left alone: 1 held by rule look."), "{held}");
    node.edit("name = \"look\"\n", "");
    node.edit("\naction = \"hold\"", "");
    node.run(&["reload"]).expect_success();
    assert_eq!(tried_and_done(&node, &none), "retry: 1 matched, 1 changed, 0 failed.");
    node.wait_state(&other[1], "pacs", "delivered");
}

#[test]
fn a_study_is_sent_again_as_far_as_nobody_keeps_it_back_and_the_rest_is_counted() {
    let study = Study::new(5);
    let study: Vec<_> = (1..=5).map(|n| study.small(n)).collect();
    let (node, _archive) = node_that_takes(&study, 2, "[[route]]\nto = [\"pacs\"]");
    store_all(&node, &study);
    node.wait_all("at rest", |seen| ["delivered", "held"].contains(&seen.state.as_str()));
    let id = |n: usize| node.deliveries_of(&study[n], "pacs")[0].instance.clone();
    let (kept, discarded) = (id(3), id(4));
    node.run(&["queue", "hold", &kept, "--reason", "ask the ward"]).expect_success();
    node.run(&["queue", "discard", &discarded, "--reason", "a test image"]).expect_success();
    let uid = study[0].study.as_str();
    let done = tried_and_done(&node, &["queue", "hold", "--study", uid, "--state", "delivered"]);
    assert_eq!(done, "hold: 2 matched, 0 changed, 2 failed.");
    let again = node.run(&["queue", "resend", "--study", uid, "--dry-run"]).expect_success().output;
    let left = "left alone: 1 discarded there (name it to send it all the same), 2 not delivered yet.\n";
    assert_eq!(again, format!("resend: 5 matched, 2 would change, 0 failed; {left}"));
    let second = tried_and_done(&node, &["queue", "resend", "--study", uid, "--to", "second"]);
    let left = "left alone: 1 held by a person (release it), 1 never let go.";
    assert_eq!(second, format!("resend: 5 matched, 3 changed, 0 failed; {left}"));
    for instance in &study[..3] {
        node.wait_state(instance, "second", "delivered");
    }
    assert_eq!(node.delivered("second").len(), 3);
    let filter = json!({ "filter": { "study": uid }, "to": ["pacs"], "dry_run": true });
    let (_, there) = post(&node, "/api/queue/resend", &filter);
    let left = json!({ "discarded there": 1, "held by a person": 1, "held there": 1 });
    assert_eq!((&there["changed"], &there["passed_over"]), (&json!(2), &left));
    let rerouted =
        ["queue", "reroute", "--from", "pacs", "--to", "second", "--state", "held", "--study", uid];
    node.run(&[&rerouted[..], &["--reason", "A900"]].concat()).expect_success();
    let (_, there) = post(&node, "/api/queue/resend", &filter);
    assert_eq!(there["passed_over"]["discarded there"], 3, "what was rerouted counts as discarded: {there}");
    node.run(&["queue", "resend", &discarded, "--to", "second"]).expect_success();
    node.wait_state(&study[4], "second", "delivered");
}

#[test]
fn what_is_no_longer_kept_is_not_sent_again_and_that_is_said() {
    let archive = Archive::new();
    let queue = "reserve = \"1MiB\"\nretain = \"0s\"";
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).queue(queue).start();
    let (canary, _) = studies();
    store_all(&node, &canary);
    let gone = || node.metric("chrysalis_spool_instances", &[]) == 0.0;
    eventually("the data to go", SOON, || (archive.stored().len() == 3 && gone()).then_some(()));
    let again = node.run(&["queue", "resend", "--study", &canary[0].study]);
    assert_eq!(again.status.code(), Some(1), "{}", again.output);
    assert!(again.output.contains("3 matched, 0 changed, 3 failed"), "{}", again.output);
    assert!(
        again.output.contains("no longer in the spool") && again.output.contains("Of 3"),
        "{}",
        again.output
    );
    let searched = node.run(&["queue", "list", "--patient-id", ID]).expect_success().output;
    assert!(searched.contains("3 instances could not be searched"), "{searched}");
    let folder = node.home().join("out");
    let exported = node.run(&["queue", "export", "--all", "--to", folder.to_str().unwrap()]);
    assert_eq!(exported.status.code(), Some(1), "{}", exported.output);
    assert_eq!(list(&folder).len(), 0);
    assert_eq!(archive.stored().len(), 3);
}

#[test]
fn exported_files_hold_what_was_received_on_a_running_and_on_a_stopped_node() {
    let (mut node, _archive, canary, other) = node_with_both();
    let folder = node.home().join("out");
    let to = folder.to_str().unwrap().to_owned();
    let study = canary[0].study.clone();
    let run = node.run(&["queue", "export", "--study", &study, "--to", &to]).expect_success().output;
    assert!(run.contains("3 written"), "{run}");
    for instance in &canary {
        let path = folder.join(&study).join(format!("{}.dcm", instance.sop_instance));
        let exported = Instance::from_part10(&path).unwrap();
        assert_eq!(exported.digest(), instance.digest(), "nothing of ours behind the data set");
        assert_eq!(exported.sop_instance, instance.sop_instance);
    }
    let path = folder.join(&study).join(format!("{}.dcm", canary[0].sop_instance));
    std::fs::write(&path, "something else").unwrap();
    let again = node.run(&["queue", "export", "--patient-id", ID, "--to", &to]).expect_success().output;
    assert!(again.contains("1 written") && again.contains("2 there already"), "{again}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");
    assert_eq!(list(&folder).len(), 4);
    let one = node.deliveries_of(&other[0], "archive")[0].instance.clone();
    node.stop();
    let stopped = node.run(&["queue", "export", &one, "--to", &to]).expect_success().output;
    assert!(stopped.contains("1 written"), "{stopped}");
    let path = folder.join(&other[0].study).join(format!("{}.dcm", other[0].sop_instance));
    assert_eq!(Instance::from_part10(&path).unwrap().digest(), other[0].digest());
}

#[test]
fn the_ledger_tells_what_came_and_what_became_of_it_after_the_data_is_gone() {
    let archive = Archive::new();
    let queue = "reserve = \"1MiB\"\nretain = \"0s\"";
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).queue(queue).start();
    let (canary, other) = studies();
    store_as(&node, "=1+1", &canary);
    node.wait_drained();
    archive.set_script(Script::default().status(0xA900));
    store_as(&node, "EPIQ7", &other);
    node.wait_state(&other[1], "pacs", "held");
    node.run(&["queue", "discard", "--study", &other[0].study, "--reason", "say \"no\", twice"])
        .expect_success();
    let gone = || node.metric("chrysalis_spool_instances", &[]) == 0.0;
    eventually("the data to go", SOON, || gone().then_some(()));
    let told = node.run(&["ledger", "--format", "json", "--since", "1h"]).expect_success().output;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{told}");
    for (line, instance) in lines.iter().zip(canary.iter().chain(&other)) {
        assert_eq!(line["sop_instance_uid"], instance.sop_instance);
        assert_eq!(line["study_instance_uid"], instance.study);
        let hash: String = instance.digest().0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&line["sha256"], &line["bytes"]), (&json!(hash), &json!(instance.data_set.len())));
        assert_eq!((&line["has_data"], &line["destination"]), (&json!(false), &json!("pacs")));
    }
    assert_eq!((&lines[0]["outcome"], &lines[0]["calling_ae"]), (&json!("delivered"), &json!("=1+1")));
    assert_eq!(lines[4]["outcome"], "discarded");
    let decisions = lines[4]["decisions"].as_array().unwrap();
    let what: Vec<_> = decisions.iter().map(|decision| decision["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["held", "discarded"], "{decisions:?}");
    assert_eq!(decisions[1]["why"], "say \"no\", twice");
    let csv = node.home().join("ledger.csv");
    let args = ["ledger", "--study", &other[0].study, "--output", csv.to_str().unwrap()];
    node.run(&args).expect_success();
    assert_eq!(node.run(&args).status.code(), Some(1), "a file that is there is left alone");
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(text.split("\r\n").count(), 1 + 2 + 1, "{text}");
    assert!(text.starts_with("instance,received_at,") && text.contains("say \"\"no\"\", twice"), "{text}");
    let api = node.api_get_revealed(&format!("/api/ledger?format=csv&study={}", canary[0].study)).text();
    assert!(api.contains(",\"'=1+1\","), "no cell is a formula: {api}");
    assert_eq!(node.api_get_revealed("/api/ledger?since=soon").status, 400);
    assert_eq!(node.api_get_revealed("/api/ledger?since=today&until=yesterday").status, 400);
    let from =
        |ae: &str| node.run(&["ledger", "--format", "json", "--calling-ae", ae]).expect_success().output;
    assert_eq!((from("EPIQ?").lines().count(), from("VIVID*").lines().count()), (2, 0));
    assert_eq!(node.api_get_revealed("/api/ledger?until=1h").text(), "");
    let unknown = node.api_get_revealed("/api/ledger?destination=pasc");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("pacs"), "the known ones are named: {}", unknown.text());
    node.edit("name = \"pacs\"", "name = \"other\"");
    node.restart();
    assert_eq!(
        node.api_get_revealed("/api/ledger?destination=other").text(),
        "",
        "configured, and owed nothing yet"
    );
    let gone = node.run(&["ledger", "--format", "json", "--destination", "pacs"]).expect_success().output;
    assert_eq!(gone, told, "a destination that is gone is still in the ledger");
    node.stop();
    let stopped = node.run(&["ledger", "--format", "json"]).expect_success().output;
    assert_eq!(stopped, told, "a stopped node's ledger says the same");
    for text in [&told, &text, &api] {
        assert!(!text.to_lowercase().contains("canary"), "{text}");
    }
}

#[test]
fn a_ledger_that_cannot_be_told_whole_says_so_in_its_last_line_and_by_the_exit_code() {
    let mut node = Node::builder().folder("archive").start();
    let (canary, other) = studies();
    store_as(&node, "VIVID1", &canary);
    node.wait_drained();
    // What is asked for is synced first; only before a batch that was synced later is a bad record damage.
    assert_eq!(node.api_get_revealed("/api/ledger").text().lines().count(), canary.len());
    store_as(&node, "EPIQ7", &other);
    node.wait_drained();
    assert_eq!(node.api_get_revealed("/api/ledger").text().lines().count(), canary.len() + other.len());
    let journals = list(&node.data_dir.join("journal"));
    let written = |path: &&std::path::PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
    let journal = journals.iter().find(written).unwrap();
    let mut bytes = std::fs::read(journal).unwrap();
    bytes[100] ^= 1;
    std::fs::write(journal, &bytes).unwrap();
    let json: Value = {
        let text = node.api_get_revealed("/api/ledger").text();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    };
    assert_eq!(json["damage"]["journals"], 1, "{json}");
    for format in ["json", "csv"] {
        let asked = node.run(&["ledger", "--format", format]);
        assert_eq!(asked.status.code(), Some(1), "{}", asked.output);
        assert!(asked.output.contains("not all of the ledger can be told"), "{}", asked.output);
    }
    let csv = node.home().join("ledger.csv");
    let asked = node.run(&["ledger", "--output", csv.to_str().unwrap()]);
    assert_eq!(asked.status.code(), Some(1), "{}", asked.output);
    let text = std::fs::read_to_string(&csv).unwrap();
    assert!(text.lines().last().unwrap().contains(",damage,1 journal files cannot be read whole"), "{text}");
    node.kill();
    let stopped = node.run(&["ledger"]);
    assert_eq!(stopped.status.code(), Some(1), "{}", stopped.output);
}
