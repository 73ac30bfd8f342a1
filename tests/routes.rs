//! Where studies go: rules asked through real sockets and the real binary.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use serde_json::Value;
use support::deliveries::SOON;
use support::instance::{DataSet, EXPLICIT_LITTLE, Instance, US_IMAGE};
use support::modality::Modality;
use support::node::Node;
use support::wait::eventually;

/// Text elements of a data set besides SOP class and instance: group, element, VR and value in their own encoding.
type Element<'a> = (u16, u16, &'a [u8; 2], &'a [u8]);

const MODALITY: (u16, u16) = (0x0008, 0x0060);

/// A small image with these elements, in Explicit VR Little Endian.
fn image(number: u32, elements: &[Element<'_>]) -> Instance {
    let uid = format!("1.2.3.4.{number}");
    let mut all: Vec<Element<'_>> = vec![
        (0x0008, 0x0016, b"UI", US_IMAGE.as_bytes()),
        (0x0008, 0x0018, b"UI", uid.as_bytes()),
        (0x0020, 0x000D, b"UI", b"1.2.3.4"),
    ];
    all.extend(elements);
    all.sort_by_key(|(group, element, ..)| (*group, *element));
    let mut bytes = Vec::new();
    for (group, element, vr, value) in all {
        bytes.extend(group.to_le_bytes());
        bytes.extend(element.to_le_bytes());
        bytes.extend(vr);
        bytes.extend((value.len().next_multiple_of(2) as u16).to_le_bytes());
        bytes.extend(value);
        bytes.extend(vec![if vr == b"UI" { 0 } else { b' ' }; value.len() % 2]);
    }
    Instance::new(US_IMAGE, &uid, EXPLICIT_LITTLE, DataSet::Bytes(bytes.into()))
}

fn with_modality(number: u32, modality: &[u8]) -> Instance {
    image(number, &[(MODALITY.0, MODALITY.1, b"CS", modality)])
}

fn house(rules: &str) -> Node {
    Node::builder().folder("pacs").folder("cardio").folder("archive").table(rules).start()
}

#[track_caller]
fn store(node: &Node, calling: &str, instance: &Instance) -> u16 {
    Modality::new(node.address).calling(calling).store(instance).unwrap().status
}

/// Where an instance is and how, by destination, once nothing of it is under way.
fn standing(node: &Node, instance: &Instance) -> Vec<(String, String, String)> {
    eventually("the deliveries at rest", SOON, || {
        let mut seen = node.deliveries();
        seen.retain(|seen| seen.sop_instance == instance.sop_instance);
        let at_rest = |state: &str| ["delivered", "held", "discarded"].contains(&state);
        let is_done = !seen.is_empty() && seen.iter().all(|seen| at_rest(&seen.state));
        let mut list: Vec<_> = seen
            .into_iter()
            .map(|s| {
                let reason = if s.state == "delivered" { String::new() } else { s.reason };
                (s.destination, s.state, reason)
            })
            .collect();
        list.sort();
        is_done.then_some(list)
    })
}

fn line(destination: &str, state: &str, reason: &str) -> (String, String, String) {
    (destination.into(), state.into(), reason.into())
}

/// The names of the rules that decided, as `queue show` has them.
fn rules_of(node: &Node, instance: &Instance) -> Value {
    let seen = node.deliveries().into_iter().find(|s| s.sop_instance == instance.sop_instance).unwrap();
    let shown = node.run(&["queue", "show", &seen.instance, "--json"]).expect_success().output;
    serde_json::from_str::<Value>(&shown).unwrap()["rules"].clone()
}

const RULES: &str = r#"
[[route]]
name = "everything"
when = 'modality != "PR"'
to = ["pacs"]
[[route]]
name = "echo"
when = 'StudyDescription ~ "écho" and not (BodyPartExamined = "TEST*" or calling_ae = "QC")'
to = ["cardio", "archive"]
[[route]]
name = "look first"
action = "hold"
when = { InstitutionalDepartmentName = "Kinderklinik Süd" }
to = ["pacs"]
[[route]]
name = "no presentation states"
action = "drop"
when = { modality = "PR" }
[[route]]
name = "raw"
action = "hold"
when = 'modality = "OT" and source = "127.0.0.0/8"'
"#;

#[test]
fn instances_go_where_the_rules_say_by_what_is_in_them() {
    let node = house(RULES);
    let charset = |code: &'static [u8]| (0x0008, 0x0005, b"CS", code);
    let us = (MODALITY.0, MODALITY.1, b"CS", &b"US"[..]);
    let echo = image(1, &[charset(b"ISO_IR 100"), us, (0x0008, 0x1030, b"LO", b"Stress-\xC9cho")]);
    let body = (0x0018, 0x0015, b"CS", &b"TESTBODY"[..]);
    let test = image(2, &[charset(b"ISO_IR 100"), us, (0x0008, 0x1030, b"LO", b"\xC9cho"), body]);
    let child =
        image(3, &[charset(b"ISO_IR 192"), us, (0x0008, 0x1040, b"LO", "Kinderklinik Süd".as_bytes())]);
    let (state, other) = (with_modality(4, b"PR"), with_modality(5, b"OT"));
    for instance in [&echo, &test, &child, &state, &other] {
        assert_eq!(store(&node, "VIVID1", instance), 0);
    }
    let delivered = |name: &str| line(name, "delivered", "");
    assert_eq!(standing(&node, &echo), [delivered("archive"), delivered("cardio"), delivered("pacs")]);
    assert_eq!(standing(&node, &test), [delivered("pacs")]);
    assert_eq!(standing(&node, &child), [line("pacs", "held", "held by rule look first")]);
    let dropped = standing(&node, &state);
    assert_eq!((dropped[0].0.as_str(), dropped[0].1.as_str()), ("none", "discarded"));
    assert!(dropped[0].2.contains("dropped by rule no presentation states"), "{dropped:?}");
    assert_eq!(standing(&node, &other), [line("none", "held", "held by rule raw"), delivered("pacs")]);
    assert_eq!(rules_of(&node, &echo), serde_json::json!(["everything", "echo"]));
    assert_eq!(rules_of(&node, &child), serde_json::json!(["everything", "look first"]));
    node.run(&["queue", "release", "--destination", "pacs", "--all"]).expect_success();
    assert_eq!(standing(&node, &child), [delivered("pacs")]);
}

#[test]
fn what_no_rule_matches_is_refused_where_the_site_says_so_and_nothing_is_stored() {
    let node = house(
        "[routing]\non_no_route = \"refuse\"\n[[route]]\nwhen = { modality = [\"US\", \"SR\"] }\nto = [\"pacs\"]",
    );
    let (taken, refused) = (with_modality(1, b"US"), with_modality(2, b"CT"));
    assert_eq!(store(&node, "X", &taken), 0);
    let answer = Modality::new(node.address).store(&refused).unwrap();
    assert_eq!((answer.status, answer.comment.as_deref()), (0x0124, Some("no route")));
    assert_eq!(standing(&node, &taken), [line("pacs", "delivered", "")]);
    assert!(node.deliveries().iter().all(|seen| seen.sop_instance == taken.sop_instance));
    eventually("the count", SOON, || {
        (node.metric("chrysalis_refusals_total", &["reason=\"status_0124\""]) == 1.0).then_some(())
    });
    assert!(node.output().contains("no route"), "the refusal is in the log");
}

#[test]
fn what_had_no_route_goes_by_the_rules_of_today_with_attributes_read_from_its_file() {
    let mut node = house("[[route]]\nwhen = 'StationName = \"ROOM1\"'\nto = [\"pacs\"]");
    let station = |number, name: &'static [u8]| image(number, &[(0x0008, 0x1010, b"SH", name)]);
    let body = image(3, &[(0x0018, 0x0015, b"CS", b"HEART")]);
    let (room2, room3) = (station(1, b"ROOM2"), station(2, b"ROOM3"));
    for instance in [&room2, &room3, &body] {
        assert_eq!(store(&node, "X", instance), 0);
        assert_eq!(standing(&node, instance), [line("none", "held", "no route")]);
    }
    let text = std::fs::read_to_string(node.config()).unwrap();
    let more = "[[route]]\nwhen = 'StationName = \"ROOM2\"'\nto = [\"archive\"]\n\
                [[route]]\nwhen = 'BodyPartExamined = \"HEART\"'\nto = [\"cardio\", \"archive\"]\n";
    std::fs::write(node.config(), format!("{text}{more}")).unwrap();
    node.restart();
    node.run(&["queue", "retry", "--destination", "none"]);
    node.wait_state(&room2, "archive", "delivered");
    node.wait_state(&body, "cardio", "delivered");
    node.wait_state(&body, "archive", "delivered");
    assert_eq!(standing(&node, &room3), [line("none", "held", "no route")]);
}

#[test]
fn the_first_match_decides_where_the_site_says_so() {
    let node = house(
        "[routing]\nmatch = \"first\"\n[[route]]\nname = \"a\"\nwhen = { calling_ae = \"EPIQ*\" }\nto = [\"cardio\"]\n\
         [[route]]\nname = \"b\"\nto = [\"pacs\"]",
    );
    let (first, second) = (with_modality(1, b"US"), with_modality(2, b"US"));
    assert_eq!((store(&node, "EPIQ7", &first), store(&node, "VIVID1", &second)), (0, 0));
    assert_eq!(standing(&node, &first), [line("cardio", "delivered", "")]);
    assert_eq!(standing(&node, &second), [line("pacs", "delivered", "")]);
    assert_eq!(rules_of(&node, &first), serde_json::json!(["a"]));
}

#[test]
fn the_route_command_says_what_would_happen_and_shows_patient_data_only_when_asked() {
    let node = Node::builder().folder("pacs").folder("archive").table(
        "[[route]]\nname = \"epiq\"\nwhen = { calling_ae = \"EPIQ*\" }\nto = [\"archive\"]\n\
         [[route]]\nname = \"patient\"\nwhen = 'PatientName = \"Other^Patient\"'\nto = [\"archive\"]\n\
         [[route]]\nwhen = { modality = \"US\" }\nto = [\"pacs\"]\n",
    );
    let node = node.prepare();
    let us = (MODALITY.0, MODALITY.1, b"CS", &b"US"[..]);
    let instance = image(1, &[us, (0x0010, 0x0010, b"PN", b"Test^Patient")]);
    let file = node.home().join("image.dcm");
    instance.write_part10(&file).unwrap();
    let file = file.to_str().unwrap();
    let said = node.run(&["route", file, "--calling-ae", "VIVID1"]).expect_success().output;
    let expected = format!(
        "{file}: sent to pacs, by route 3\n\
         \x20 rule epiq does not apply: calling_ae = \"EPIQ*\": is \"VIVID1\"\n\
         \x20 rule patient does not apply: PatientName = \"Other^Patient\": is something else; --reveal shows it\n"
    );
    assert_eq!(said, expected);
    let revealed = node.run(&["route", file, "--calling-ae", "VIVID1", "--reveal"]).expect_success().output;
    assert!(revealed.contains("PatientName = \"Other^Patient\": is \"Test^Patient\""), "{revealed}");
    let json = node.run(&["route", file, "--calling-ae", "EPIQ7", "--json"]).expect_success().output;
    assert!(!json.contains("Test^"), "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["rules"], serde_json::json!(["epiq", "route 3"]));
    assert_eq!(json[0]["deliveries"][1]["destination"], "archive");
    // A data set by itself, and something that is no DICOM.
    let bare = node.home().join("bare");
    let DataSet::Bytes(bytes) = &instance.data_set else { panic!("bytes") };
    std::fs::write(&bare, bytes).unwrap();
    let text = node.home().join("chrysalis.toml");
    let said = node.run(&["route", bare.to_str().unwrap(), text.to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.output.contains("bare: sent to pacs, by route 3"), "{}", said.output);
    assert!(said.output.contains("chrysalis.toml: not a DICOM file"), "{}", said.output);
}

#[test]
fn the_route_command_says_what_becomes_of_what_comes_from_a_site() {
    let routes = "[[route]]\nname = \"north\"\nwhen = { site = \"north\" }\nto = [\"archive\"]\n\
                  [[route]]\nname = \"links\"\nwhen = { listener = \"links\" }\nto = [\"pacs\"]\n";
    let links = "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"127.0.0.1:1\"\n";
    let house = |tables: &str| Node::builder().folder("pacs").folder("archive").table(tables).prepare();
    let node = house(&format!("{links}{routes}"));
    let file = node.home().join("image.dcm");
    image(1, &[]).write_part10(&file).unwrap();
    let file = file.to_str().unwrap();
    let said = node.run(&["route", file, "--site", "north"]).expect_success().output;
    assert!(said.contains("sent to pacs, archive, by rule north and rule links"), "{said}");
    let said = node.run(&["route", file, "--site", "south"]).expect_success().output;
    assert!(said.contains("sent to pacs") && said.contains("site = \"north\": is \"south\""), "{said}");
    let said = node.run(&["route", file]).expect_success().output;
    assert!(said.contains("rule north does not apply: site = \"north\": there is none"), "{said}");
    let said = node.run(&["route", file, "--site", "north", "--listener", "modalities"]);
    assert!(
        !said.status.success() && said.output.contains("of kind \"tunnel\"; there are links"),
        "{}",
        said.output
    );
    let said = house("").run(&["route", file, "--site", "north"]);
    assert!(said.output.contains("of kind \"tunnel\"; there are none"), "{}", said.output);
}

#[test]
fn a_rule_that_cannot_be_meant_keeps_the_node_from_starting() {
    let mut node = Node::builder()
        .folder("archive")
        .table("[[route]]\nname = \"night\"\nwhen = 'calling_ae = \"A\" and calling_ae = \"B\"'\nto = [\"archive\"]")
        .prepare();
    node.spawn();
    assert_eq!(node.wait_end().code(), Some(78));
    assert!(node.output().contains("route.when: can never match"), "{}", node.output());
}

#[test]
fn a_long_header_is_asked_the_same_when_it_comes_and_when_it_is_retried() {
    let node = house("[[route]]\nwhen = { calling_ae = \"NOBODY\" }\nto = [\"pacs\"]");
    let filler = vec![b'x'; 60_000];
    let mut elements: Vec<Element<'_>> = (0..40).map(|n| (0x0009, 0x1000 + n, b"LT", &filler[..])).collect();
    elements.push((0x0010, 0x0020, b"LO", b"KEEP"));
    let (waits, comes) = (image(1, &elements), image(2, &elements));
    assert_eq!(store(&node, "X", &waits), 0);
    assert_eq!(standing(&node, &waits), [line("none", "held", "no route")]);
    let text = std::fs::read_to_string(node.config()).unwrap();
    let (rules, _) = text.split_once("[[route]]").unwrap();
    let more = "[[route]]\nwhen = 'not PatientID = \"KEEP\"'\naction = \"drop\"\n\
                [[route]]\nwhen = 'PatientID = \"KEEP\"'\nto = [\"archive\"]\n";
    let admin = &text[text.find("[admin]").unwrap()..];
    std::fs::write(node.config(), format!("{rules}{more}{admin}")).unwrap();
    node.run(&["reload"]).expect_success();
    node.run(&["queue", "retry", "--destination", "none"]);
    node.wait_state(&waits, "archive", "delivered");
    assert_eq!(store(&node, "X", &comes), 0);
    assert_eq!(standing(&node, &comes), [line("archive", "delivered", "")]);
}

#[test]
fn what_is_too_long_to_be_compared_is_held_and_not_dropped() {
    let node = house(
        "[[route]]\nname = \"junk\"\nwhen = 'not (ImageComments ~ \"KEEP\")'\naction = \"drop\"\n[[route]]\n\
         when = { calling_ae = \"NOBODY\" }\nto = [\"pacs\"]",
    );
    let comment = |length: usize| [vec![b'x'; length], b"KEEP".to_vec()].concat();
    let with = |number, comment: &[u8]| image(number, &[(0x0020, 0x4000, b"LT", comment)]);
    let (kept, unseen, junk) = (with(1, &comment(10_000)), with(2, &comment(20_000)), with(3, b"junk"));
    for instance in [&kept, &unseen, &junk] {
        assert_eq!(store(&node, "X", instance), 0);
    }
    assert_eq!(standing(&node, &kept), [line("none", "held", "no route")]);
    let held = standing(&node, &unseen);
    assert!(held[0].1 == "held" && held[0].2.contains("rule junk would drop it"), "{held:?}");
    assert_eq!(standing(&node, &junk)[0].1, "discarded");
}
