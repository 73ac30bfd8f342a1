//! A gateway configures its link: two programs, real sockets, and what happens between them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use support::deliveries::{small, store_all};
use support::node::Node;
use support::ports::free_address;
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that knows the site `north`, and its code.
struct Gateway {
    node: Node,
    tunnel: SocketAddr,
    code: String,
}

impl Gateway {
    fn start() -> Self {
        let tunnel = free_address();
        let table = format!("[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n");
        let mut node = Node::builder().folder("archive").table(&table).prepare();
        let said = node.run(&["site", "add", "north"]);
        assert!(said.status.success(), "{}", said.output);
        node.start();
        Self { node, tunnel, code: said.output.trim().to_owned() }
    }

    /// Holds sections for the site; what the command line says.
    fn set(&self, sections: &str) -> String {
        let file = self.node.home().join("north.toml");
        std::fs::write(&file, sections).unwrap();
        let said = self.node.run(&["site", "config", "set", "north", file.to_str().unwrap()]);
        said.output
    }

    /// What the gateway's record of decisions has of the site: decision, state if any, who.
    fn decisions(&self) -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(self.node.data_dir.join("decisions.log")).unwrap();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines = lines.filter(|line| line["subject"] == "site north");
        lines
            .map(|line| (word(&line["decision"]), word(&line["details"]["state"]), word(&line["who"])))
            .collect()
    }

    fn show(&self) -> String {
        self.node.run(&["site", "config", "show", "north"]).output
    }

    #[track_caller]
    fn wait_for(&self, state: &str) -> String {
        let line = format!("\n# {state}, as the link said");
        eventually(state, PATIENCE, || Some(self.show()).filter(|shown| shown.contains(&line)))
    }
}

/// A link of the site `north` that takes what its gateway sets.
fn link(gateway: &Gateway, probation: &str) -> Node {
    link_with(gateway, &format!("remote_configuration = true\nremote_probation = \"{probation}\""))
}

fn link_with(gateway: &Gateway, lines: &str) -> Node {
    let address = gateway.tunnel;
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nbackoff = {{ first = \"50ms\", max = \"200ms\" }}\ntimeouts = {{ connect = \"5s\", dimse = \"20s\" }}\n{lines}"
    );
    let mut node = Node::builder().table(&table).prepare();
    let path = node.home().join("code");
    std::fs::write(&path, &gateway.code).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    node.start();
    node
}

/// A PACS, and the sections that send everything to it.
fn pacs() -> (Node, String) {
    let node = Node::builder().folder("archive").start();
    let sections = format!(
        "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"{}\"\ncalled_ae = \"CHRYSALIS\"\nbackoff = {{ first = \"50ms\" }}\n[[route]]\nname = \"from afar\"\nto = [\"pacs\"]\n",
        node.address
    );
    (node, sections)
}

/// Sections that open a listener there.
fn listener(address: SocketAddr) -> String {
    format!("[[listener]]\nname = \"lab\"\naddress = \"{address}\"\n")
}

#[track_caller]
fn wait_for_line(node: &Node, text: &str) {
    eventually(text, PATIENCE, || node.output().contains(text).then_some(()));
}

#[track_caller]
fn status(node: &Node) -> Value {
    serde_json::from_str(&node.api_get("/api/status").text()).unwrap()
}

fn takes(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn a_study_goes_where_the_gateway_says_and_everybody_is_told_who_said_so() {
    let gateway = Gateway::start();
    let link = link(&gateway, "2s");
    let own = std::fs::read_to_string(link.config()).unwrap();
    let (pacs, sections) = pacs();
    assert!(gateway.set(&sections).contains("is held"));
    let shown = gateway.wait_for("applied");
    assert!(shown.ends_with(&sections), "{shown}");
    let instances = small(1, 5);
    store_all(&link, &instances);
    eventually("the study at the PACS", PATIENCE, || (pacs.delivered("archive").len() == 5).then_some(()));
    link.wait_drained();
    assert!(gateway.node.delivered("archive").is_empty(), "the rule leads to the PACS alone");
    let said = link.run(&["status"]).output;
    assert!(said.contains("Set by the gateway of cloud: 1-") && said.contains("pacs"), "{said}");
    let decisions = std::fs::read_to_string(link.data_dir.join("decisions.log")).unwrap();
    let told = |state: &str| {
        decisions.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["decision"] == "configuration from afar"
                && line["details"]["state"] == state
                && line["who"].as_str().unwrap().starts_with("gateway ws://")
        })
    };
    assert!(told("probation") && told("applied"), "{decisions}");
    assert!(gateway.node.run(&["site", "list"]).output.contains("applied"));
    assert_eq!(gateway.node.metric("chrysalis_site_configurations", &["state=\"applied\""]), 1.0);
    assert_eq!(link.metric("chrysalis_remote_configurations_total", &["outcome=\"applied\""]), 1.0);
    assert_eq!(std::fs::read_to_string(link.config()).unwrap(), own, "its owner's file is never written");
    // And away again.
    assert!(gateway.node.run(&["site", "config", "clear", "north"]).status.success());
    gateway.wait_for("applied");
    let destinations = status(&link)["destinations"].as_array().unwrap().clone();
    let is_there = |of: &Value| of["destination"] == "pacs" && of["configured"] == true;
    assert!(!destinations.iter().any(is_there), "{destinations:?}");
}

#[test]
fn the_gateway_writes_down_who_set_what_for_a_site_and_what_became_of_it_there() {
    let mut gateway = Gateway::start();
    let link = link(&gateway, "6s");
    gateway.set(&listener(free_address()));
    gateway.wait_for("applied");
    gateway.set(&listener(free_address()));
    let last = |gateway: &Gateway| gateway.decisions().pop().unwrap_or_default().1;
    eventually("probation", PATIENCE, || (last(&gateway) == "probation").then_some(()));
    gateway.node.kill();
    wait_for_line(&link, "the last good one is in force again");
    gateway.node.start();
    eventually("gone back", PATIENCE, || (last(&gateway) == "gone-back").then_some(()));
    // It says so again in every session, and that is no news.
    gateway.node.restart();
    gateway.node.run(&["site", "config", "clear", "north"]);
    eventually("applied", PATIENCE, || (last(&gateway) == "applied").then_some(()));
    gateway.node.run(&["site", "replace", "north"]);
    gateway.node.run(&["site", "remove", "north"]);
    let decisions = gateway.decisions();
    // What is set may be sent before it is written down that somebody has set it.
    let told = |by_link: bool| {
        let of = decisions.iter().filter(move |(what, ..)| (what == "site configuration") == by_link);
        of.map(|(what, state, _)| if by_link { state.as_str() } else { what.as_str() }).collect::<Vec<_>>()
    };
    let set = [
        "site add",
        "site config set",
        "site config set",
        "site config clear",
        "site replace",
        "site remove",
    ];
    assert_eq!(told(false), set);
    let became =
        ["sent", "probation", "applied", "sent", "probation", "gone-back", "sent", "probation", "applied"];
    assert_eq!(told(true), became);
    assert!(
        decisions.iter().all(|(what, _, who)| (what == "site configuration") == (who == "link of north"))
    );
}

#[test]
fn what_cannot_be_put_in_force_is_refused_with_the_reason_and_nothing_has_changed() {
    let gateway = Gateway::start();
    let link = link(&gateway, "2s");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let before = status(&link)["revision"].clone();
    gateway.set(&listener(address));
    let shown = gateway.wait_for("refused");
    assert!(shown.contains("lab") && shown.contains(&address.to_string()), "{shown}");
    gateway.set("[[route]]\nto = [\"nobody\"]\n");
    let no_such = |shown: &String| shown.contains("from afar, line 2: route.to: there is no destination");
    eventually("the other reason", PATIENCE, || Some(gateway.show()).filter(no_such));
    assert_eq!(status(&link)["revision"], before);
    let said = link.run(&["status"]);
    assert!(
        said.output.contains("the gateway's configuration 2-") && !said.status.success(),
        "{}",
        said.output
    );
    // The same again is tried again.
    drop(taken);
    gateway.set(&listener(address));
    gateway.wait_for("applied");
    assert!(takes(address));
}

#[test]
fn what_may_not_be_set_is_refused_by_name_at_the_gateway_and_by_the_link_that_trusts_no_gateway_in_this() {
    let gateway = Gateway::start();
    let link = link(&gateway, "2s");
    for (sections, expected) in [
        ("[node]\ndata_dir = \"/tmp/x\"\n", "node: may not be set from afar"),
        (
            "[[destination]]\nname = \"x\"\nkind = \"folder\"\npath = \"x\"\n",
            "destination.path: may not be set",
        ),
        ("[[destination]]\nname = \"cloud\"\npins = []\n", "destination.pins: may not be set"),
        (
            "[[listener]]\nname = \"modalities\"\nuser_identity = []\n",
            "listener.user_identity: may not be set",
        ),
    ] {
        let said = gateway.set(sections);
        assert!(said.contains(expected), "{said}");
    }
    assert!(gateway.show().contains("Nothing is held"));
    // A gateway that does not ask its own command line.
    let folder = gateway.node.data_dir.join("site-configuration");
    std::fs::create_dir_all(&folder).unwrap();
    let held = serde_json::json!({
        "serial": 1, "revision": "1-evil", "since": 0, "by": "nobody",
        "text": "[[destination]]\nname = \"cloud\"\nurl = \"ws://127.0.0.1:1/x\"\n[admin]\naddress = \"0.0.0.0:1\"\n",
    });
    std::fs::write(folder.join("north.wanted"), held.to_string()).unwrap();
    let shown = gateway.wait_for("refused");
    assert!(shown.contains("destination.url: may not be set from afar"), "{shown}");
    assert!(shown.contains("admin: may not be set from afar"), "{shown}");
    assert_eq!(status(&link)["remote_configuration"]["in_force"], Value::Null);
}

#[test]
fn a_link_that_does_not_reach_its_gateway_after_a_change_goes_back_by_itself_and_says_so_later() {
    let mut gateway = Gateway::start();
    let link = link(&gateway, "6s");
    let (good, bad) = (free_address(), free_address());
    gateway.set(&listener(good));
    gateway.wait_for("applied");
    gateway.set(&listener(bad));
    eventually("the new listener", PATIENCE, || takes(bad).then_some(()));
    gateway.node.kill();
    wait_for_line(&link, "the last good one is in force again");
    assert!(takes(good) && !takes(bad));
    let is_told = || (status(&link)["remote_configuration"]["last"]["state"] == "gone-back").then_some(());
    eventually("what became of it", PATIENCE, is_told);
    gateway.node.start();
    let shown = gateway.wait_for("gone-back");
    assert!(shown.contains("the gateway was not reached within 6s"), "{shown}");
    assert!(takes(good) && !takes(bad), "it is not tried again by itself");
}

#[test]
fn a_link_that_is_killed_on_probation_goes_on_with_it_or_goes_back_as_it_would_have() {
    let mut gateway = Gateway::start();
    let mut link = link(&gateway, "6s");
    let (first, second) = (free_address(), free_address());
    gateway.set(&listener(first));
    eventually("the first listener", PATIENCE, || takes(first).then_some(()));
    link.kill();
    assert!(!takes(first));
    link.start();
    eventually("the first listener, still on probation", PATIENCE, || takes(first).then_some(()));
    gateway.wait_for("applied");
    gateway.set(&listener(second));
    eventually("the second listener", PATIENCE, || takes(second).then_some(()));
    gateway.node.kill();
    link.kill();
    link.start();
    eventually("the second listener, its probation begun anew", PATIENCE, || takes(second).then_some(()));
    assert!(!takes(first));
    wait_for_line(&link, "the last good one is in force again");
    assert!(takes(first) && !takes(second));
    gateway.node.start();
    gateway.wait_for("gone-back");
}

#[test]
fn a_link_that_is_started_three_times_on_probation_and_does_not_last_goes_back() {
    let mut gateway = Gateway::start();
    let mut link = link(&gateway, "10m");
    let bad = free_address();
    gateway.set(&listener(bad));
    eventually("the new listener", PATIENCE, || takes(bad).then_some(()));
    // Nobody says whether it is good: with the program that ends again and again it cannot be.
    gateway.node.kill();
    for _ in 0..3 {
        link.kill();
        link.start();
        eventually("it is tried again", PATIENCE, || takes(bad).then_some(()));
    }
    link.kill();
    link.start();
    assert!(!takes(bad));
    assert_eq!(status(&link)["remote_configuration"]["last"]["state"], "gone-back");
    gateway.node.start();
    let shown = gateway.wait_for("gone-back");
    assert!(shown.contains("the program started 3 times with it and did not last"), "{shown}");
}

#[test]
fn a_link_whose_gateway_sets_the_way_to_itself_or_its_keys_goes_on_by_its_own() {
    let gateway = Gateway::start();
    let link = link(&gateway, "2s");
    let folder = gateway.node.data_dir.join("site-configuration");
    std::fs::create_dir_all(&folder).unwrap();
    let hold = |serial: u64, text: &str| {
        let held = serde_json::json!({
            "serial": serial, "revision": format!("{serial}-x"), "since": 0, "by": "nobody", "text": text,
        });
        let path = folder.join("north.wanted");
        // Whole or not there: the gateway reads it every second.
        std::fs::write(path.with_extension("new"), held.to_string()).unwrap();
        chrysalis::platform::replace(&path.with_extension("new"), &path).unwrap();
    };
    let port = free_address().port();
    let sections = [
        format!("url = \"ws://127.0.0.1:{port}/tunnel\""),
        format!("pins = [\"{}\", \"{}\"]", "0".repeat(64), "1".repeat(64)),
        "site = \"south\"".to_owned(),
        "proxy = \"127.0.0.1:1\"".to_owned(),
        "timeouts = { connect = \"1ms\" }".to_owned(),
    ];
    for (serial, line) in (1..).zip(&sections) {
        hold(serial, &format!("[[destination]]\nname = \"cloud\"\n{line}\n"));
        let refused = |shown: &String| {
            shown.contains(&format!("# revision {serial}-x")) && shown.contains("\n# refused")
        };
        eventually(line, PATIENCE, || Some(gateway.show()).filter(refused));
    }
    assert_eq!(status(&link)["remote_configuration"]["in_force"], Value::Null);
    assert_eq!(status(&link)["links"][0]["connected"], true);
    assert_eq!(
        link.metric("chrysalis_tunnel_dials_total", &["outcome=\"open\""]),
        1.0,
        "the session went on"
    );
}

#[test]
fn how_what_goes_to_the_gateway_is_compressed_can_be_set_from_there() {
    let gateway = Gateway::start();
    let link = link(&gateway, "2s");
    gateway.set("[[destination]]\nname = \"cloud\"\nimage = \"jpeg-lossless\"\n");
    gateway.wait_for("applied");
    let study = support::instance::Study::new(3);
    let still = study.still(1);
    store_all(&link, std::slice::from_ref(&still));
    let path = eventually("the image", PATIENCE, || gateway.node.delivered("archive").pop());
    let arrived = support::instance::Instance::from_part10(&path).unwrap();
    assert_eq!(arrived.transfer_syntax, "1.2.840.10008.1.2.4.70");
}

#[test]
fn a_link_that_was_installed_anew_gets_its_configuration_back() {
    let gateway = Gateway::start();
    let lost = link(&gateway, "2s");
    let (pacs, sections) = pacs();
    gateway.set(&sections);
    gateway.wait_for("applied");
    drop(lost);
    // Nothing but the way to the gateway, and the code.
    let link = link(&gateway, "2s");
    wait_for_line(&link, "The configuration from the gateway is good.");
    store_all(&link, &small(2, 3));
    eventually("the study at the PACS", PATIENCE, || (pacs.delivered("archive").len() == 3).then_some(()));
}

#[test]
fn a_link_that_was_not_told_to_takes_nothing() {
    let gateway = Gateway::start();
    let link = link_with(&gateway, "");
    gateway.set(&listener(free_address()));
    let shown = gateway.wait_for("refused");
    assert!(shown.contains("remote_configuration"), "{shown}");
    assert!(!link.data_dir.join("remote").exists());
}

#[test]
fn a_node_starts_also_where_what_was_set_does_not_go_with_its_own_file_any_more() {
    let gateway = Gateway::start();
    let mut link = link(&gateway, "2s");
    let address = free_address();
    gateway.set(&listener(address));
    gateway.wait_for("applied");
    link.stop();
    // The machine has given the port to somebody else meanwhile.
    let taken = TcpListener::bind(address).unwrap();
    link.start();
    let shown = gateway.wait_for("refused");
    assert!(shown.contains(&address.to_string()), "{shown}");
    link.stop();
    drop(taken);
    link.start();
    assert!(takes(address));
    gateway.wait_for("applied");
    // Or its owner has.
    link.stop();
    link.edit("[queue]", &format!("[[listener]]\nname = \"own\"\naddress = \"{address}\"\n[queue]"));
    link.start();
    wait_for_line(&link, "does not go with the file");
    let shown = gateway.wait_for("refused");
    assert!(shown.contains("listener \"own\" is at"), "{shown}");
}

#[test]
fn a_link_that_is_installed_anew_gets_the_last_good_one_back_where_the_newest_is_refused() {
    let gateway = Gateway::start();
    let link = link(&gateway, "1s");
    let (_pacs, sections) = pacs();
    gateway.set(&sections);
    let shown = gateway.wait_for("applied");
    let good =
        shown.lines().find_map(|line| line.strip_prefix("# in force at the link: ")).unwrap().to_owned();
    // Right by itself, and wrong with the link's own file.
    gateway.set("[[route]]\nname = \"nowhere\"\nto = [\"nobody\"]\n");
    let refused = gateway.wait_for("refused");
    assert!(refused.contains(&format!("# in force at the link: {good}\n")), "{refused}");
    drop(link);
    let anew = link_with(&gateway, "remote_configuration = true\nremote_probation = \"1s\"");
    let in_force = || status(&anew)["remote_configuration"]["good"].as_str().map(str::to_owned);
    eventually("the last good one", PATIENCE, || (in_force().as_ref() == Some(&good)).then_some(()));
    wait_for_line(&anew, "A configuration from the gateway is refused.");
    assert_eq!(status(&anew)["remote_configuration"]["in_force"], good.as_str());
    let known = gateway.node.run(&["site", "config", "show", "NORTH"]).output;
    assert!(known.contains("there is no site \"NORTH\"; there is: north"), "{known}");
    let cleared = gateway.node.run(&["site", "config", "clear", "north"]).output;
    assert!(cleared.contains("Nothing is held for site north any more"), "{cleared}");
}
