//! Down the tunnel: a gateway echoes and pushes to a PACS behind a link, and the link's disk has nothing to do with it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use support::archive::{Action, Archive, Greeting, Script};
use support::certificates::Certificates;
use support::deliveries::{small, store_all};
use support::faults::{Fault, Faults, Proxy};
use support::instance::{EXPLICIT_LITTLE, IMPLICIT_LITTLE, Instance, Study, US_IMAGE};
use support::modality::Modality;
use support::node::Node;
use support::ports::free_address;
use support::process::list;
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway whose carts' studies go to `pacs` at its site `north`.
struct Gateway {
    node: Node,
    tunnel: SocketAddr,
    code: String,
}

impl Gateway {
    fn start() -> Self {
        Self::with("")
    }

    /// With more keys of the destination.
    fn with(keys: &str) -> Self {
        let tunnel = free_address();
        let table = format!(
            "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n[[destination]]\nname = \"remote\"\nkind = \"site\"\nsite = \"north\"\nendpoint = \"pacs\"\nbackoff = {{ first = \"20ms\", max = \"100ms\" }}\ntimeouts = {{ connect = \"10s\", acse = \"10s\", dimse = \"30s\" }}\n{keys}"
        );
        let mut node = Node::builder().table(&table).prepare();
        let code = node.run(&["site", "add", "north"]).expect_success().output.trim().to_owned();
        node.start();
        Self { node, tunnel, code }
    }

    /// Receives from a cart what is to be pushed.
    #[track_caller]
    fn receive(&self, instances: &[Instance]) {
        let cart = Modality::new(self.node.address).calling("CART7");
        for instance in instances {
            assert_eq!(cart.store(instance).unwrap().status, 0);
        }
    }
}

/// A link with the destinations `pacs` and `cardio`, of which the gateway may reach `endpoints`.
fn link(gateway: &Gateway, address: SocketAddr, pacs: &Archive, endpoints: &str) -> Node {
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nendpoints = {endpoints}\nbackoff = {{ first = \"20ms\", max = \"100ms\" }}\ntimeouts = {{ connect = \"5s\", dimse = \"20s\" }}\n[[route]]\nto = [\"cloud\"]"
    );
    let brisk = "calling_ae = \"NORTH\"\ntimeouts = { connect = \"5s\", acse = \"5s\", dimse = \"20s\" }";
    let node = Node::builder().dicom_with("pacs", pacs.address(), brisk);
    let mut node = node.table(&table).prepare();
    let path = node.home().join("code");
    std::fs::write(&path, &gateway.code).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    node.start();
    wait_for_line(&node, "The tunnel is open.");
    node
}

fn both(script: Script) -> (Gateway, Node, Archive) {
    let (gateway, pacs) = (Gateway::start(), script.start());
    let link = link(&gateway, gateway.tunnel, &pacs, "[\"pacs\"]");
    (gateway, link, pacs)
}

#[track_caller]
fn wait_for_line(node: &Node, text: &str) {
    eventually(text, PATIENCE, || node.output().contains(text).then_some(()));
}

/// Every file below the link's data directory, and its size.
fn listing(node: &Node) -> BTreeMap<PathBuf, u64> {
    let sized = |path: PathBuf| {
        let bytes = path.metadata().unwrap().len();
        (path, bytes)
    };
    list(&node.data_dir).into_iter().map(sized).collect()
}

/// A script that says when its first C-STORE has begun, and reads no more of it before it is told to.
fn stuck_at_the_first(status: u16) -> (Script, Receiver<()>, Sender<()>) {
    let ((begun, begins), (goes, go)) = (channel(), channel());
    let script = Script::default().on_store(move |number, _| {
        if number == 1 {
            begun.send(()).unwrap();
            // It goes on, too, when nobody is there any more to say so.
            let _ = go.recv();
        }
        Action::Answer(status)
    });
    (script, begins, goes)
}

#[test]
fn what_is_pushed_arrives_byte_for_byte_and_the_disk_of_the_link_is_as_before() {
    let (gateway, link, pacs) = both(Script::default());
    let before = listing(&link);
    let study = Study::new(1);
    let mut instances = small(7, 20);
    instances.extend([study.still(1), study.cine(2, 6), study.huge(3, 5 << 20)]);
    gateway.receive(&instances);
    gateway.node.wait_drained();
    assert!(pacs.times_stored(&instances).iter().all(|times| *times == 1));
    assert_eq!(listing(&link), before, "nothing of it was written at the link");
    assert_eq!(link.metric("chrysalis_received_instances_total", &[]), 0.0);
    let arrivals = pacs.arrivals();
    assert!(arrivals.iter().all(|a| a.calling_ae == "NORTH" && a.called_ae == "PACS"), "as the link has it");
    let associations = pacs.knocks().len();
    assert!(associations < instances.len() / 2, "{associations} associations");
    let status = gateway.node.api_get("/api/status").text();
    assert!(status.contains("\"security\":\"Unsecured\""), "the listener has no TLS: {status}");
}

#[test]
fn what_the_pacs_says_comes_back_and_has_the_same_verdict_as_at_home() {
    let study = Study::new(2);
    let kinds: Vec<_> = (1..=4).map(|n| study.small(n)).collect();
    let refused = kinds[1].sop_instance.clone();
    let warned = kinds[2].sop_instance.clone();
    let full = kinds[3].sop_instance.clone();
    let mut tries = 0;
    let (gateway, _link, pacs) = both(Script::default().on_store(move |_, uid| match uid {
        uid if uid == refused => Action::AnswerWith(0xC123, "no such patient"),
        uid if uid == warned => Action::Answer(0xB000),
        uid if uid == full => {
            tries += 1;
            Action::Answer(if tries < 3 { 0xA700 } else { 0 })
        }
        _ => Action::Answer(0),
    }));
    gateway.receive(&kinds);
    for delivered in [0, 2, 3] {
        gateway.node.wait_state(&kinds[delivered], "remote", "delivered");
    }
    let held = gateway.node.wait_state(&kinds[1], "remote", "held");
    assert!(held.reason.contains("C123") && !held.reason.contains("patient"), "{held:?}");
    let shown = gateway.node.api_get_revealed(&format!("/api/queue/{}", held.instance)).text();
    assert!(shown.contains("no such patient"), "{shown}");
    assert_eq!(gateway.node.metric("chrysalis_deliveries_total", &["remote", "warning"]), 1.0);
    assert_eq!(pacs.stored().len(), 3);
}

#[test]
fn a_rejection_pauses_and_what_was_rejected_goes_when_it_may() {
    let rejects = Script::default().on_associate(|_| Greeting::Reject(1, 1, 7));
    let (gateway, link, pacs) = both(rejects);
    let instances = small(3, 2);
    gateway.receive(&instances);
    gateway.node.wait_health("remote", "paused");
    let reason = gateway.node.api_get("/api/status").text();
    assert!(reason.contains("called AE title not recognized") || reason.contains("1/1/7"), "{reason}");
    pacs.set_script(Script::default());
    gateway.node.wait_drained();
    assert_eq!(pacs.stored().len(), 2);
    assert!(link.output().contains("An instance of the gateway was not taken."));
}

#[test]
fn a_pacs_that_takes_other_syntaxes_gets_what_it_takes() {
    let (gateway, _link, pacs) = both(Script::default().only_transfer_syntaxes(&[IMPLICIT_LITTLE]));
    let instances: Vec<_> = (1..=3).map(|n| Study::new(4).still(n)).collect();
    assert_eq!(instances[0].transfer_syntax, EXPLICIT_LITTLE);
    gateway.receive(&instances);
    gateway.node.wait_drained();
    let stored = pacs.stored();
    assert!(stored.len() == 3 && stored.iter().all(|a| a.transfer_syntax == IMPLICIT_LITTLE), "{stored:?}");
}

#[test]
fn a_pacs_that_does_not_take_the_sop_class_has_it_held() {
    let (gateway, _link, pacs) = both(Script::default().only_sop_classes(&[US_IMAGE]));
    let (still, cine) = (Study::new(5).still(1), Study::new(5).cine(2, 3));
    gateway.receive(&[cine.clone(), still.clone()]);
    gateway.node.wait_state(&still, "remote", "delivered");
    let held = gateway.node.wait_state(&cine, "remote", "held");
    assert!(held.reason.contains("does not take this SOP class"), "{held:?}");
    assert_eq!(pacs.arrivals().len(), 1);
}

#[test]
fn a_pacs_that_aborts_or_goes_away_without_a_word_gets_it_again_until_it_answers() {
    let mut faults = [Action::AbortDuring(1 << 20), Action::Abort, Action::Close].into_iter();
    let mut last = None;
    let (gateway, _link, pacs) = both(Script::default().on_store(move |_, uid| {
        let is_new = last.replace(uid.to_owned()).as_deref() != Some(uid);
        if is_new { faults.next().unwrap_or(Action::Answer(0)) } else { Action::Answer(0) }
    }));
    let instances: Vec<_> = (1..=3).map(|n| Study::new(6).huge(n, 3 << 20)).collect();
    gateway.receive(&instances);
    gateway.node.wait_drained();
    assert!(pacs.times_stored(&instances).iter().all(|times| *times == 1));
}

#[test]
fn a_link_that_is_killed_in_the_middle_leaves_nothing_delivered_that_was_not() {
    let (script, begins, goes) = stuck_at_the_first(0);
    let (gateway, mut link, pacs) = both(script);
    let instance = Study::new(7).huge(1, 24 << 20);
    gateway.receive(std::slice::from_ref(&instance));
    begins.recv_timeout(PATIENCE).unwrap();
    link.kill();
    goes.send(()).unwrap();
    wait_for_line(&gateway.node, "Not delivered yet.");
    assert!(pacs.arrivals().is_empty(), "the PACS has not the whole of it");
    assert!(gateway.node.deliveries().iter().all(|seen| seen.state != "delivered"));
    link.start();
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&[instance]), [1]);
}

#[test]
fn a_gateway_that_is_killed_in_the_middle_pushes_it_again() {
    let (script, begins, goes) = stuck_at_the_first(0);
    let (mut gateway, link, pacs) = both(script);
    let instance = Study::new(8).huge(1, 24 << 20);
    gateway.receive(std::slice::from_ref(&instance));
    begins.recv_timeout(PATIENCE).unwrap();
    gateway.node.kill();
    wait_for_line(&link, "The session ended while the gateway pushed an instance.");
    goes.send(()).unwrap();
    gateway.node.start();
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&[instance]), [1]);
}

#[test]
fn connections_that_are_cut_cost_time_and_nothing_else() {
    let (gateway, pacs) = (Gateway::with("max_associations = 3"), Archive::new());
    let proxy = Proxy::start(gateway.tunnel, |number| match number {
        1..=3 => Faults::back(Fault::Cut(2 << 20)),
        _ => Faults::default(),
    });
    let _link = link(&gateway, proxy.address, &pacs, "[\"pacs\"]");
    let mut instances = small(9, 10);
    instances.extend((1..=3).map(|n| Study::new(9).huge(n, 5 << 20)));
    gateway.receive(&instances);
    gateway.node.wait_drained();
    assert!(proxy.connections() > 3, "{} connections", proxy.connections());
    pacs.times_stored(&instances);
}

#[test]
fn a_pacs_that_says_nothing_is_given_up_by_the_link_and_tried_again_on_a_new_association() {
    let script = Script::default().on_store(|number, _| match number {
        1 => Action::Silence,
        _ => Action::Answer(0),
    });
    let (gateway, mut link, pacs) = both(script);
    link.edit("acse = \"5s\", dimse = \"20s\"", "acse = \"5s\", dimse = \"300ms\"");
    link.restart();
    let instances = small(13, 2);
    gateway.receive(&instances);
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&instances), [1, 1]);
    let of_the_silent = pacs.arrivals()[0].association;
    assert!(pacs.stored().iter().all(|a| a.association != of_the_silent), "it is never used again");
    assert!(gateway.node.output().contains("at the link: timeout waiting for a response"));
}

#[test]
fn the_pacs_is_called_as_the_link_is_configured_by_the_carts_title_and_by_tls() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let pair = certificates.issue("pacs");
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let tls = format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}");
    let pacs = Node::builder().listener(&tls).listener("calling_ae = [\"CART7\"]").folder("archive").start();
    let (gateway, nobody) = (Gateway::start(), Archive::new());
    let mut link = link(&gateway, gateway.tunnel, &nobody, "[\"pacs\"]");
    let (right, wrong) = (certificates.ca().display().to_string(), others.ca().display().to_string());
    let by_tls = format!("\"{}\"\ntls = {{ verify = \"ca\", ca = \"{wrong}\" }}", pacs.address);
    link.edit("calling_ae = \"NORTH\"", "calling_ae = \"passthrough\"");
    link.edit(&format!("\"{}\"", nobody.address()), &by_tls);
    link.restart();
    let instances = small(14, 3);
    gateway.receive(&instances);
    gateway.node.wait_health("remote", "paused");
    let status = gateway.node.api_get("/api/status").text();
    assert!(status.contains("at the link: TLS"), "a wrong authority is for a person: {status}");
    link.edit(&wrong, &right);
    link.restart();
    gateway.node.wait_drained();
    pacs.wait_drained();
    let delivered = pacs.delivered("archive");
    let arrived: BTreeSet<_> =
        delivered.iter().map(|path| Instance::from_part10(path).unwrap().digest()).collect();
    assert_eq!(arrived, instances.iter().map(Instance::digest).collect());
}

#[test]
fn a_title_that_cannot_be_said_in_the_tunnel_keeps_nothing_from_going() {
    let (gateway, _link, pacs) = both(Script::default());
    let instances = small(15, 2);
    let cart = Modality::new(gateway.node.address).calling("CART\u{7}1");
    assert_eq!(cart.store(&instances[0]).unwrap().status, 0);
    gateway.receive(&instances[1..]);
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&instances), [1, 1]);
}

#[test]
fn an_echo_during_a_bulk_push_is_answered_before_the_push_is_over() {
    let (script, begins, goes) = stuck_at_the_first(0);
    let (gateway, pacs, cardio) = (Gateway::start(), script.start(), Archive::new());
    let mut link = link(&gateway, gateway.tunnel, &pacs, "[\"pacs\"]");
    let cardio_table = format!(
        "[[destination]]\nname = \"cardio\"\nkind = \"dicom\"\naddress = \"{}\"\ncalled_ae = \"CARDIO\"\n[[route]]",
        cardio.address()
    );
    link.edit("[[route]]", &cardio_table);
    link.edit("endpoints = [\"pacs\"]", "endpoints = [\"pacs\", \"cardio\"]");
    link.restart();
    let instance = Study::new(10).huge(1, 24 << 20);
    gateway.receive(std::slice::from_ref(&instance));
    begins.recv_timeout(PATIENCE).unwrap();
    let report = gateway.node.run(&["site", "echo", "north", "cardio"]).expect_success().output;
    assert!(pacs.arrivals().is_empty(), "the push is not over");
    goes.send(()).unwrap();
    assert!(
        report.contains("cardio: CARDIO@127.0.0.1") && report.contains("Accepted (status 0000H)"),
        "{report}"
    );
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&[instance]), [1]);
}

#[test]
fn an_echo_says_what_the_link_saw_and_an_endpoint_that_does_not_answer_is_a_report_too() {
    let (gateway, _link, mut pacs) = both(Script::default());
    let echo = |more: &[&str]| {
        gateway.node.run(&[&["site", "echo", "north", "pacs", "--timeout", "2s"], more].concat())
    };
    let json: serde_json::Value = serde_json::from_str(&echo(&["--json"]).expect_success().output).unwrap();
    assert_eq!(json["name"], "pacs");
    assert_eq!(json["target"]["dicom"]["calling_ae"], "NORTH");
    pacs.stop();
    let failed = echo(&[]);
    assert!(!failed.status.success() && failed.output.contains("FAILED"), "{}", failed.output);
    assert!(failed.output.contains("means") && failed.output.contains("try"), "{}", failed.output);
}

#[test]
fn nothing_is_reached_that_the_hospital_has_not_named() {
    let (gateway, pacs) = (Gateway::start(), Archive::new());
    let echo = |site: &str, endpoint: &str| {
        let said = gateway.node.run(&["site", "echo", site, endpoint]);
        assert!(!said.status.success());
        said.output
    };
    assert!(echo("north", "pacs").contains("is not connected"));
    assert!(echo("south", "pacs").contains("there is no site"));
    let mut link = link(&gateway, gateway.tunnel, &pacs, "[]");
    assert!(echo("north", "pacs").contains("lets its gateway reach none"));
    let instances = small(11, 2);
    gateway.receive(&instances);
    gateway.node.wait_health("remote", "paused");
    assert!(gateway.node.api_get("/api/status").text().contains("among its endpoints"));
    assert!(pacs.knocks().is_empty(), "nobody was called");
    link.edit("endpoints = []", "endpoints = [\"pacs\"]");
    link.restart();
    gateway.node.wait_drained();
    assert_eq!(pacs.stored().len(), 2);
    assert!(echo("north", "cloud").contains("it has pacs"), "the link itself is none");
}

#[test]
fn what_waits_for_a_link_goes_as_soon_as_it_is_connected() {
    let gateway = Gateway::with("");
    gateway.node.edit("max = \"100ms\"", "max = \"1h\"");
    gateway.node.edit("first = \"20ms\"", "first = \"1h\"");
    let mut gateway = gateway;
    gateway.node.restart();
    let pacs = Archive::new();
    let instances = small(12, 3);
    store_all(&gateway.node, &instances);
    gateway.node.wait_health("remote", "ill");
    let _link = link(&gateway, gateway.tunnel, &pacs, "[\"pacs\"]");
    gateway.node.wait_drained();
    assert_eq!(pacs.times_stored(&instances), [1, 1, 1]);
}

#[test]
fn echoes_and_pushes_need_the_token() {
    let (gateway, _link, _pacs) = both(Script::default());
    let body = b"{\"endpoint\": \"pacs\"}";
    let json = [("Content-Type", "application/json")];
    let answer = support::http::request(gateway.node.admin, "POST", "/api/sites/north/echo", &json, body);
    assert_eq!(answer.unwrap().status, 401);
    let answer = gateway.node.api_post("/api/sites/north/echo", "{\"endpoint\": \"pacs\"}");
    assert!(answer.status == 200 && answer.text().contains("\"report\""), "{}", answer.text());
}
