//! What a destination answers, and what follows for the delivery; what an administrator decides about it.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::sync::mpsc;
use std::time::Duration;
use support::archive::{Action, Archive, Greeting, Script};
use support::deliveries::{BRISK, SOON, Seen, small, store_all};
use support::instance::{
    DataSet, EXPLICIT_LITTLE, Encoding, Instance, RLE_LOSSLESS, Study, US_IMAGE, US_MULTIFRAME,
};
use support::modality::Modality;
use support::node::Node;
use support::wait::eventually;

fn node_to(archive: &Archive) -> Node {
    Node::builder().dicom_with("pacs", archive.address(), BRISK).start()
}

/// The same instance with another last byte: other pixels under the same name.
fn altered(instance: &Instance) -> Instance {
    let DataSet::Bytes(bytes) = &instance.data_set else { panic!("a generated instance") };
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let mut out = Instance::new(
        &instance.sop_class,
        &instance.sop_instance,
        &instance.transfer_syntax,
        DataSet::Bytes(bytes.into()),
    );
    out.study.clone_from(&instance.study);
    out
}

/// Answers one UID with an action and everything else with success.
fn only(uid: &str, action: Action) -> Script {
    let uid = uid.to_owned();
    Script::default().on_store(move |_, name| if name == uid { action } else { Action::Answer(0) })
}

#[track_caller]
fn arrivals_of(archive: &Archive, instance: &Instance) -> usize {
    archive.arrivals().iter().filter(|arrival| arrival.sop_instance == instance.sop_instance).count()
}

/// The listing of the command line, which has to say the same as the API.
#[track_caller]
fn listed(node: &Node, instance: &Instance) -> Seen {
    let listed = Seen::read(&node.run(&["queue", "list", "--json"]).expect_success().output);
    listed.into_iter().find(|seen| seen.sop_instance == instance.sop_instance).unwrap()
}

#[test]
fn success_and_every_warning_are_deliveries() {
    let statuses = [0x0000, 0xB000, 0xB006, 0xB007, 0xBFFF];
    let archive = Script::default().on_store(move |n, _| Action::Answer(statuses[n - 1])).start();
    let node = node_to(&archive);
    store_all(&node, &small(1, 5));
    node.wait_drained();
    assert_eq!(archive.arrivals().len(), 5, "each once");
    assert_eq!(node.metric("chrysalis_deliveries_total", &["outcome=\"warning\""]), 4.0);
    assert_eq!(node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]), 1.0);
}

#[test]
fn out_of_resources_and_resource_limitation_are_tried_again_until_they_end() {
    for (status, seed) in [(0xA700, 2), (0xA7FF, 3), (0x0213, 4)] {
        let answer = move |n, _: &str| Action::Answer(if n <= 4 { status } else { 0 });
        let archive = Script::default().on_store(answer).start();
        let node = node_to(&archive);
        store_all(&node, &small(seed, 3));
        node.wait_drained();
        assert_eq!(archive.stored().len(), 3, "{status:04X}");
        assert_eq!(archive.arrivals().len(), 7, "{status:04X}");
        assert_eq!(node.health("pacs"), "well");
    }
}

#[test]
fn a_refusal_by_a_well_destination_is_held_with_the_statuss_name_and_the_comment() {
    let table = [
        (0xA900, "A900", "data set does not match SOP class"),
        (0xC000, "C000", "cannot understand"),
        (0x0110, "0110", "processing failure"),
        (0x0117, "0117", "invalid SOP instance UID"),
        (0x0122, "0122", "SOP class not supported"),
        (0x0112, "0122", "SOP class not supported"),
        (0x1234, "1234", ""),
        (0xFF00, "FF00", "pending"),
    ];
    let archive = Archive::new();
    let node = node_to(&archive);
    for ((status, code, name), seed) in table.into_iter().zip(10..) {
        let sent = small(seed, 3);
        archive.set_script(only(&sent[1].sop_instance, Action::AnswerWith(status, "the PACS's own words")));
        store_all(&node, &sent);
        node.wait_state(&sent[1], "pacs", "held");
        node.wait_state(&sent[0], "pacs", "delivered");
        node.wait_state(&sent[2], "pacs", "delivered");
        let reason = listed(&node, &sent[1]).reason;
        assert!(reason.contains(code) && reason.contains(name), "{reason}");
        assert!(!reason.contains("the PACS's own words"), "{reason}");
        let shown = node.run(&["queue", "show", &listed(&node, &sent[1]).instance]).expect_success().output;
        assert!(shown.contains("the PACS's own words"), "{shown}");
        assert_eq!(arrivals_of(&archive, &sent[1]), 1, "{code} is not tried again");
        assert_eq!(node.health("pacs"), "well");
    }
}

#[test]
fn what_a_peer_says_in_words_is_told_only_where_somebody_with_the_token_asks() {
    const CANARY: &str = "ZZCanary^Name \"unknown\" patient";
    let statuses = [0xB000, 0xC000, 0xC000, 0xC000, 0xC000, 0xC000, 0xA700, 0x0124];
    let answer = move |n: usize, _: &str| Action::AnswerWith(statuses[(n - 1).min(7)], CANARY);
    let archive = Script::default().on_store(answer).start();
    let log = "[log]\nlevel = \"trace\"";
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).table(log).start();
    let sent = small(77, 9);
    store_all(&node, &sent);
    node.wait_state(&sent[5], "pacs", "held");
    eventually("the last status", SOON, || node.output().contains("0124").then_some(()));
    let held = node.deliveries_of(&sent[1], "pacs").pop().unwrap();
    node.decide("hold", &held, "my own words");
    let show = format!("/api/queue/{}", held.instance);
    let open = node.api_get(&show).text();
    assert!(open.contains("my own words (was: C000 (cannot understand))"), "{open}");
    let mut texts: Vec<_> = ["/metrics", "/api/status", "/api/queue?limit=1000", "/api/queue?by_study=true"]
        .map(|path| node.api_get(path).text())
        .into();
    texts.push(open);
    texts.push(node.api_get("/api/ledger").text());
    let quiet: [&[&str]; 4] = [
        &["queue", "list"],
        &["queue", "list", "--json", "--reason", "C000"],
        &["queue", "list", "--by-study", "--reveal"],
        &["check", "--offline"],
    ];
    texts.extend(quiet.iter().map(|args| node.run(args).output));
    let ledger = node.run(&["ledger", "--format", "json"]).expect_success().output;
    let loud: [&[&str]; 3] =
        [&["queue", "list", "--reveal", "--json"], &["queue", "show", &held.instance], &["ledger"]];
    let told: Vec<_> = loud.iter().map(|args| node.run(args).expect_success().output).collect();
    for text in told.iter().chain([&ledger, &node.api_get_revealed(&show).text()]) {
        assert!(text.contains("ZZCanary^Name 'unknown' patient"), "{text}");
    }
    node.stop();
    texts.push(node.output());
    texts.push(node.run(&["queue", "list"]).expect_success().output);
    texts.push(std::fs::read_to_string(node.data_dir.join("decisions.log")).unwrap());
    for text in texts {
        assert!(!text.contains("ZZCanary"), "{text}");
    }
}

#[test]
fn a_duplicate_is_a_delivery_while_only_one_content_of_that_uid_is_known() {
    let archive = Script::default().status(0x0111).start();
    let node = node_to(&archive);
    let sent = small(20, 1);
    store_all(&node, &sent);
    assert!(node.wait_state(&sent[0], "pacs", "delivered").reason.contains("0111"));
}

#[test]
fn a_duplicate_is_held_when_another_content_went_there_and_not_when_this_one_did() {
    let archive = Archive::new();
    let node = node_to(&archive);
    let first = &small(21, 1)[0];
    let second = altered(first);
    store_all(&node, std::slice::from_ref(first));
    node.wait_state(first, "pacs", "delivered");
    archive.set_script(Script::default().status(0x0111));
    store_all(&node, std::slice::from_ref(&second));
    let held = node.wait_state(&second, "pacs", "held");
    assert!(held.reason.contains("another content"), "{held:?}");
    store_all(&node, std::slice::from_ref(first));
    eventually("the first content being sent again", SOON, || {
        (archive.arrivals().iter().filter(|arrival| arrival.digest == first.digest()).count() == 2)
            .then_some(())
    });
    node.wait_state(first, "pacs", "delivered");
}

#[test]
fn five_holds_in_a_row_pause_the_destination_instead_of_holding_the_rest() {
    let archive = Script::default().status(0xA900).start();
    let node = node_to(&archive);
    let sent = small(22, 12);
    store_all(&node, &sent);
    node.wait_health("pacs", "paused");
    let held = |seen: &[Seen]| seen.iter().filter(|seen| seen.state == "held").count();
    eventually("the slow retry", SOON, || (archive.arrivals().len() >= 8).then_some(()));
    assert_eq!(held(&node.deliveries()), 5);
    archive.set_script(Script::default());
    node.wait_health("pacs", "well");
    let seen =
        node.wait_all("delivered or held", |seen| ["delivered", "held"].contains(&seen.state.as_str()));
    // Those refused three times while it was paused are held once it is well; here it was over before.
    assert!((5..=8).contains(&held(&seen)), "{seen:#?}");
    let output = node.run(&["queue", "retry", "--state", "held"]).expect_success().output;
    assert!(output.contains(&format!("{} changed, 0 failed", held(&seen))), "{output}");
    node.wait_drained();
    assert_eq!(archive.stored().len(), sent.len());
}

#[test]
fn not_authorised_and_permanent_rejections_pause_and_drop_nothing() {
    let greet = |result, source, reason| {
        Script::default().on_associate(move |_| Greeting::Reject(result, source, reason))
    };
    let scripts = [
        ("not authorised", Script::default().status(0x0124)),
        ("calling AE title", greet(1, 1, 3)),
        ("called AE title", greet(1, 1, 7)),
        ("no reason", greet(1, 1, 1)),
    ];
    for ((what, script), seed) in scripts.into_iter().zip(30..) {
        let archive = script.start();
        let node = node_to(&archive);
        let sent = small(seed, 8);
        store_all(&node, &sent);
        node.wait_health("pacs", "paused");
        let knocks = archive.knocks().len();
        eventually("the slow retry", SOON, || (archive.knocks().len() >= knocks + 3).then_some(()));
        let seen = node.deliveries();
        assert!(seen.iter().all(|seen| seen.state != "held"), "{what}: {seen:#?}");
        // A peer that rejects us is said to do so, not to be paused by somebody.
        let why =
            if what == "not authorised" { "destination paused: " } else { "destination takes nothing: it " };
        assert!(seen[0].reason.starts_with(why) && seen[0].reason.contains(what), "{:?}", seen[0]);
        archive.set_script(Script::default());
        node.wait_drained();
        assert_eq!(archive.stored().len(), 8, "{what}");
        node.wait_health("pacs", "well");
    }
}

#[test]
fn transient_rejections_and_aborted_or_silent_requests_are_tried_again() {
    let greetings = [
        Greeting::Reject(2, 3, 1),
        Greeting::Reject(2, 3, 2),
        Greeting::Reject(2, 1, 1),
        Greeting::Abort,
        Greeting::Close,
        Greeting::Silence,
    ];
    for (greeting, seed) in greetings.into_iter().zip(40..) {
        let greet = move |knock: &support::archive::Knock| {
            if knock.association <= 3 { greeting } else { Greeting::Accept }
        };
        let archive = Script::default().on_associate(greet).start();
        let keys = "timeouts = { acse = \"150ms\" }\nbackoff = { first = \"20ms\", max = \"100ms\" }";
        let node = Node::builder().dicom_with("pacs", archive.address(), keys).start();
        let sent = small(seed, 8);
        store_all(&node, &sent);
        node.wait_drained();
        assert_eq!(archive.arrivals().len(), 8, "{greeting:?}");
        assert_eq!(node.health("pacs"), "well");
    }
}

#[test]
fn an_instance_that_provokes_three_aborts_is_held_and_the_others_go_through() {
    for (action, seed) in [(Action::Abort, 50), (Action::AbortDuring(500), 51), (Action::Close, 52)] {
        let sent = small(seed, 6);
        let (uid, (open, gate)) = (sent[2].sop_instance.clone(), mpsc::channel::<()>());
        let archive = Script::default().on_store(move |n, name| {
            // Nothing is answered before everything has been received.
            if n == 1 {
                let _ = gate.recv_timeout(SOON);
            }
            if name == uid { action } else { Action::Answer(0) }
        });
        let archive = archive.start();
        let node = node_to(&archive);
        store_all(&node, &sent);
        drop(open);
        let held = node.wait_state(&sent[2], "pacs", "held");
        assert!(held.reason.contains("3 times"), "{held:?}");
        if !matches!(action, Action::AbortDuring(_)) {
            assert_eq!(arrivals_of(&archive, &sent[2]), 3, "on the used association, too");
        }
        for instance in sent.iter().filter(|i| i.sop_instance != sent[2].sop_instance) {
            node.wait_state(instance, "pacs", "delivered");
        }
        assert_eq!(archive.stored().len(), 5, "{action:?}");
    }
}

#[test]
fn silence_ends_the_association_and_the_instance_is_sent_again_on_another() {
    let silent = |n, _: &str| if n == 2 { Action::Silence } else { Action::Answer(0) };
    let archive = Script::default().on_store(silent).start();
    let keys = "timeouts = { dimse = \"200ms\" }\nbackoff = { first = \"20ms\", max = \"100ms\" }";
    let node = Node::builder().dicom_with("pacs", archive.address(), keys).start();
    let sent = small(53, 4);
    store_all(&node, &sent);
    node.wait_drained();
    let tries: Vec<_> =
        archive.arrivals().into_iter().filter(|a| a.sop_instance == sent[1].sop_instance).collect();
    assert_eq!(tries.len(), 2);
    assert_ne!(tries[0].association, tries[1].association, "an association is never reused after a timeout");
}

#[test]
fn a_sop_class_that_is_not_taken_is_held_and_others_go_through() {
    let archive = Script::default().only_sop_classes(&[US_IMAGE]).start();
    let node = node_to(&archive);
    let study = Study::new(60);
    let sent =
        [study.small(1), study.instance(2, study.scene(32, 32, 3), Encoding::ExplicitLittle), study.small(3)];
    store_all(&node, &sent);
    let held = node.wait_state(&sent[1], "pacs", "held");
    assert!(
        held.reason.contains("does not take this SOP class") && held.reason.contains(US_MULTIFRAME),
        "{held:?}"
    );
    node.wait_state(&sent[0], "pacs", "delivered");
    node.wait_state(&sent[2], "pacs", "delivered");
    assert_eq!(node.health("pacs"), "well");
}

#[test]
fn a_destination_that_takes_nothing_at_all_is_paused_and_nothing_is_held() {
    let archive = Script::default().accepts(|_, _| false).start();
    let node = node_to(&archive);
    store_all(&node, &small(61, 7));
    node.wait_health("pacs", "paused");
    let seen = node.deliveries();
    assert!(seen.iter().all(|seen| seen.state != "held"), "{seen:#?}");
    assert!(seen[0].reason.contains("no presentation context"), "{:?}", seen[0]);
    archive.set_script(Script::default());
    node.wait_drained();
}

#[test]
fn where_nothing_of_the_first_is_accepted_the_next_is_tried() {
    const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
    let archive = Script::default().accepts(|class, _| class == CT_IMAGE).start();
    let node = node_to(&archive);
    node.run(&["pause", "destination", "pacs"]).expect_success();
    let mut ct = Study::new(63).small(1);
    ct = ct.edited(|data_set| {
        let at = data_set.windows(US_IMAGE.len()).position(|uid| uid == US_IMAGE.as_bytes()).unwrap();
        let class = format!("{CT_IMAGE:\0<width$}", width = US_IMAGE.len());
        data_set[at..at + class.len()].copy_from_slice(class.as_bytes());
    });
    ct.sop_class = CT_IMAGE.to_owned();
    let sent = [small(64, 3), vec![ct]].concat();
    store_all(&node, &sent);
    node.run(&["resume", "destination", "pacs"]).expect_success();
    node.wait_state(&sent[3], "pacs", "delivered");
}

#[test]
fn a_stored_transfer_syntax_that_is_not_taken_is_held_by_name_where_nothing_else_can_be_made_of_it() {
    let archive = Script::default().only_transfer_syntaxes(&[EXPLICIT_LITTLE]).start();
    let node = node_to(&archive);
    let study = Study::new(62);
    let broken = study.instance(1, study.scene(32, 32, 1), Encoding::Rle).undecodable();
    let sent = [broken, study.small(2)];
    store_all(&node, &sent);
    let held = node.wait_state(&sent[0], "pacs", "held");
    assert!(held.reason.contains("stored transfer syntax") && held.reason.contains("RLE"), "{held:?}");
    node.wait_state(&sent[1], "pacs", "delivered");
    // Once the PACS takes it, a retry brings it there as it is.
    archive.set_script(Script::default());
    node.run(&["queue", "retry", &held.instance]).expect_success();
    node.wait_state(&sent[0], "pacs", "delivered");
    let last = archive.arrivals().pop().unwrap();
    assert_eq!((last.transfer_syntax.as_str(), last.digest), (RLE_LOSSLESS, sent[0].digest()));
}

#[test]
fn an_ill_destination_holds_nothing_and_drains_when_it_is_well() {
    let archive = Script::default().status(0xA700).start();
    let node = node_to(&archive);
    let sent = small(63, 10);
    store_all(&node, &sent);
    node.wait_health("pacs", "ill");
    // Ill and refusing: whose fault it is, nobody knows.
    archive.set_script(Script::default().status(0xC000));
    let before = archive.arrivals().len();
    eventually("probes", SOON, || (archive.arrivals().len() >= before + 8).then_some(()));
    let seen = node.deliveries();
    assert!(seen.iter().all(|seen| seen.state != "held"), "{seen:#?}");
    let tried: std::collections::BTreeSet<_> =
        archive.arrivals()[before..before + 8].iter().map(|a| a.sop_instance.clone()).collect();
    assert!(tried.len() >= 7, "each probe takes another instance: {tried:?}");
    archive.set_script(Script::default());
    node.wait_drained();
    assert_eq!(archive.stored().len(), 10);
}

#[test]
fn an_instance_refused_three_times_in_an_illness_is_held_when_it_is_over() {
    let sent = small(64, 2);
    let poison = sent[0].sop_instance.clone();
    let refuse = move |_: usize, name: &str| Action::Answer(if name == poison { 0xC000 } else { 0xA700 });
    let archive = Script::default().on_store(refuse).start();
    let node = node_to(&archive);
    // The healthy one first, so that the destination is ill before it sees the other.
    store_all(&node, &sent[1..]);
    node.wait_health("pacs", "ill");
    store_all(&node, &sent[..1]);
    eventually("three refusals", SOON, || (arrivals_of(&archive, &sent[0]) >= 3).then_some(()));
    assert!(node.deliveries().iter().all(|seen| seen.state != "held"));
    archive.set_script(only(&sent[0].sop_instance, Action::Answer(0xC000)));
    node.wait_state(&sent[1], "pacs", "delivered");
    node.wait_state(&sent[0], "pacs", "held");
}

#[test]
fn with_the_carts_own_titles_a_pacs_that_rejects_one_cart_takes_the_other() {
    let greet = |knock: &support::archive::Knock| match knock.request.calling_ae.as_str() {
        "CART2" => Greeting::Reject(1, 1, 3),
        _ => Greeting::Accept,
    };
    let archive = Script::default().on_associate(greet).start();
    let keys = format!("calling_ae = \"passthrough\"\n{BRISK}");
    let node = Node::builder().dicom_with("pacs", archive.address(), &keys).start();
    let (taken, rejected) = (small(70, 6), small(71, 6));
    for (one, two) in taken.iter().zip(&rejected) {
        Modality::new(node.address).calling("CART2").store(two).unwrap();
        Modality::new(node.address).calling("CART1").store(one).unwrap();
    }
    taken.iter().for_each(|instance| drop(node.wait_state(instance, "pacs", "delivered")));
    let seen = node.deliveries();
    assert!(seen.iter().all(|seen| seen.state != "held"), "{seen:#?}");
    let status = node.api_get("/api/status").text();
    assert!(status.contains("CART2") && !status.contains("CART1"), "{status}");
    let why = |n: usize| node.deliveries_of(&rejected[n], "pacs").pop().unwrap().reason;
    assert!(why(0).contains("CART2"), "{}", why(0));
    node.run(&["pause", "destination", "pacs", "--calling-ae", "CART1"]).expect_success();
    node.run(&["pause", "destination", "pacs", "--calling-ae", "CART3"]).expect_success();
    Modality::new(node.address).calling("CART1").store(&small(76, 1)[0]).unwrap();
    let paused = node.deliveries_of(&small(76, 1)[0], "pacs").pop().unwrap().reason;
    assert!(paused.contains("for CART1 paused by") && !paused.contains("CART2"), "{paused}");
    assert!(!why(0).contains("CART1") && !why(0).contains("CART3"), "{}", why(0));
    node.run(&["resume", "--all"]).expect_success();
    archive.set_script(Script::default());
    node.wait_drained();
    let calling = |instance: &Instance| {
        let arrivals = archive.stored();
        arrivals.into_iter().find(|a| a.sop_instance == instance.sop_instance).unwrap().calling_ae
    };
    assert!(taken.iter().all(|instance| calling(instance) == "CART1"));
    assert!(rejected.iter().all(|instance| calling(instance) == "CART2"));
}

#[test]
fn without_a_route_an_instance_is_held_at_none_until_there_is_one() {
    let rule = "[[route]]\nwhen = { calling_ae = [\"VIVID*\"] }\nto = [\"archive\"]";
    let mut node = Node::builder().folder("archive").table(rule).start();
    let sent = small(72, 2);
    let modality = Modality::new(node.address);
    assert_eq!(modality.clone().calling("VIVID1").store(&sent[0]).unwrap().status, 0);
    assert_eq!(modality.calling("EPIQ").store(&sent[1]).unwrap().status, 0);
    node.wait_state(&sent[0], "archive", "delivered");
    assert_eq!(node.wait_state(&sent[1], "none", "held").reason, "no route");
    node.run(&["queue", "retry", "--destination", "none"]);
    assert_eq!(node.wait_state(&sent[1], "none", "held").reason, "no route");
    let text = std::fs::read_to_string(node.config()).unwrap();
    std::fs::write(node.config(), text.replace("VIVID*", "*")).unwrap();
    node.restart();
    assert_eq!(node.wait_state(&sent[1], "none", "held").reason, "no route");
    node.run(&["queue", "retry", "--destination", "none"]).expect_success();
    node.wait_state(&sent[1], "archive", "delivered");
    assert_eq!(node.delivered("archive").len(), 2);
}

#[test]
fn a_destination_that_is_not_configured_any_more_holds_until_its_name_returns() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    let sent = small(73, 2);
    store_all(&node, &sent);
    let text = std::fs::read_to_string(node.config()).unwrap();
    std::fs::write(node.config(), text.replace("name = \"pacs\"", "name = \"other\"")).unwrap();
    node.restart();
    assert_eq!(node.wait_state(&sent[0], "pacs", "held").reason, "destination not configured");
    let status: serde_json::Value = serde_json::from_str(&node.api_get("/api/status").text()).unwrap();
    let gone =
        status["destinations"].as_array().unwrap().iter().find(|d| d["destination"] == "pacs").unwrap();
    assert_eq!((&gone["queued"], &gone["held"]), (&0.into(), &2.into()), "{gone}");
    assert!(gone["queued_bytes"] == 0 && gone["oldest_age_seconds"].is_null(), "{gone}");
    let pacs = ["destination=\"pacs\""];
    assert_eq!(node.metric("chrysalis_held_instances", &pacs), 2.0);
    assert_eq!(node.metric("chrysalis_oldest_undelivered_age_seconds", &pacs), 0.0);
    node.stop();
    let check = node.run(&["check", "--offline"]).output;
    assert!(check.contains("0 deliveries wait, 2 are held"), "{check}");
    assert!(check.contains("is not configured, and 2 deliveries are held for it"), "{check}");
    node.start();
    std::fs::write(node.config(), text).unwrap();
    archive.start_again();
    node.restart();
    node.wait_drained();
    assert_eq!(archive.stored().len(), 2);
}

#[test]
fn what_an_administrator_holds_stays_what_is_released_goes_and_what_is_discarded_never_does() {
    let mut archive = Archive::new();
    archive.stop();
    let mut node = node_to(&archive);
    let sent = small(74, 4);
    store_all(&node, &sent);
    let of = |node: &Node, n: usize| node.deliveries_of(&sent[n], "pacs").pop().unwrap();
    node.run(&["queue", "hold", &of(&node, 0).instance, "--reason", "wrong patient?"]).expect_success();
    node.decide("hold", &of(&node, 1), "asked for");
    let missing = node.run(&["queue", "discard", &of(&node, 2).instance]);
    assert_eq!(missing.status.code(), Some(2), "without a reason: {}", missing.output);
    node.run(&["queue", "discard", &of(&node, 2).instance, "--reason", "a test image"]).expect_success();
    archive.start_again();
    node.wait_state(&sent[3], "pacs", "delivered");
    assert_eq!(listed(&node, &sent[0]).reason, "wrong patient?");
    node.restart();
    assert_eq!(of(&node, 0).reason, "wrong patient?");
    assert_eq!(of(&node, 1).state, "held");
    node.run(&["queue", "release", &of(&node, 0).instance]).expect_success();
    node.decide("release", &of(&node, 1), "");
    node.wait_state(&sent[0], "pacs", "delivered");
    node.wait_state(&sent[1], "pacs", "delivered");
    let again = node.run(&["queue", "release", &of(&node, 2).instance, "--destination", "pacs"]);
    assert_eq!(again.status.code(), Some(1), "what is discarded stays so: {}", again.output);
    assert!(of(&node, 2).reason.contains("a test image"));
    assert_eq!((archive.arrivals().len(), arrivals_of(&archive, &sent[2])), (3, 0));
}

#[test]
fn a_retry_by_hand_does_not_wait_for_the_back_off() {
    let mut archive = Archive::new();
    archive.stop();
    let keys = "backoff = { first = \"10m\", max = \"1h\" }";
    let node = Node::builder().dicom_with("pacs", archive.address(), keys).start();
    let sent = small(75, 3);
    store_all(&node, &sent);
    node.wait_health("pacs", "ill");
    archive.start_again();
    let instance = node.deliveries_of(&sent[0], "pacs").pop().unwrap().instance;
    node.run(&["queue", "retry", &instance]).expect_success();
    eventually("everything arriving", Duration::from_secs(10), || {
        (archive.stored().len() == 3).then_some(())
    });
}

#[test]
fn an_instance_that_is_always_refused_for_resources_does_not_keep_the_others_waiting() {
    for bad in [Action::Answer(0xA700), Action::Answer(0x0213), Action::Silence] {
        let study = Study::new(91);
        let poison = study.sop_instance(0);
        let script =
            Script::default().on_store(move |_, uid| if uid == poison { bad } else { Action::Answer(0) });
        let archive = script.start();
        let more = "timeouts = { connect = \"1s\", acse = \"1s\", dimse = \"300ms\" }\n\
                    backoff = { first = \"200ms\", max = \"60s\" }";
        let node = Node::builder().dicom_with("pacs", archive.address(), more).start();
        let all: Vec<_> = (0..20).map(|n| study.small(n)).collect();
        Modality::new(node.address).contexts_for(&all).store_all(&all).expect("an association");
        let others = || archive.stored().len() == 19;
        eventually("the others", Duration::from_secs(10), || others().then_some(()));
        assert_eq!(node.deliveries().iter().filter(|seen| seen.state == "delivered").count(), 19);
    }
}
