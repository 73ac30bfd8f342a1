//! Cart, link, tunnel, gateway, folder: two programs, and what happens between them.
//!
//! Both are killed a few times every day; `CHRYSALIS_KILLS=100 cargo test --test tunnel kills -- --nocapture` for more.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use chrysalis::tls::Pin;
use support::deliveries::{small, store_all};
use support::faults::{Fault, Faults, Proxy};
use support::instance::{Digest, Instance, Study};
use support::modality::Modality;
use support::node::Node;
use support::ports::free_address;
use support::wait::{eventually, poll};

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with a folder, and the code of its site `north`.
struct Gateway {
    node: Node,
    tunnel: SocketAddr,
    code: String,
}

impl Gateway {
    fn start() -> Self {
        Self::with("", "")
    }

    fn with(listener: &str, tables: &str) -> Self {
        let tunnel = free_address();
        let table = format!(
            "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n{listener}\n{tables}"
        );
        let mut node = Node::builder().folder("archive").table(&table).prepare();
        let code = new_code(&node, "add", "north");
        node.start();
        Self { node, tunnel, code }
    }

    fn arrived(&self) -> BTreeSet<(String, Digest)> {
        let files = self.node.delivered("archive");
        files.iter().filter_map(|path| Instance::from_part10(path).ok()).map(|i| named(&i)).collect()
    }

    #[track_caller]
    fn wait_for(&self, expected: &BTreeSet<(String, Digest)>) {
        eventually("everything at the gateway's folder", PATIENCE, || {
            expected.is_subset(&self.arrived()).then_some(())
        });
    }
}

fn new_code(node: &Node, verb: &str, site: &str) -> String {
    let said = node.run(&["site", verb, site]);
    assert!(said.status.success(), "{}", said.output);
    said.output.trim().to_owned()
}

fn named(instance: &Instance) -> (String, Digest) {
    (instance.sop_instance.clone(), instance.digest())
}

fn all(instances: &[Instance]) -> BTreeSet<(String, Digest)> {
    instances.iter().map(named).collect()
}

/// A link to a gateway at `address`.
fn link(address: SocketAddr, code: &str) -> Node {
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nbackoff = {{ first = \"50ms\", max = \"200ms\" }}\ntimeouts = {{ connect = \"5s\", dimse = \"20s\" }}"
    );
    let node = Node::builder().table(&table).prepare();
    give_code(&node, code);
    node
}

fn give_code(node: &Node, code: &str) {
    let path = node.home().join("code");
    std::fs::write(&path, code).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn started(mut node: Node) -> Node {
    node.start();
    node
}

#[track_caller]
fn wait_for_line(node: &Node, text: &str) {
    eventually(text, PATIENCE, || node.output().contains(text).then_some(()));
}

#[test]
fn what_a_cart_sends_arrives_behind_the_gateway_byte_for_byte_and_is_routed_by_its_site() {
    let routes = "[[destination]]\nname = \"elsewhere\"\nkind = \"folder\"\npath = \"elsewhere\"\n[[route]]\nwhen = { site = \"north\", calling_ae = \"CART*\" }\nto = [\"archive\"]\n[[route]]\nwhen = { site = \"south\" }\nto = [\"elsewhere\"]\n";
    let gateway = Gateway::with("", routes);
    let link = started(link(gateway.tunnel, &gateway.code));
    let study = Study::new(1);
    let mut instances = small(7, 30);
    instances.extend([study.still(1), study.cine(2, 6), study.huge(3, 5 << 20)]);
    for instance in &instances {
        let answer = Modality::new(link.address).calling("CART7").store(instance).unwrap();
        assert_eq!(answer.status, 0);
    }
    gateway.wait_for(&all(&instances));
    link.wait_drained();
    gateway.node.wait_drained();
    assert!(gateway.node.delivered("elsewhere").is_empty());
    assert_eq!(link.metric("chrysalis_tunnel_connected", &[]), 1.0);
    assert_eq!(gateway.node.metric("chrysalis_tunnel_sessions", &["links"]), 1.0);
    assert!(gateway.node.api_get("/api/status").text().contains("\"site\":\"north\""));
    let received = gateway.node.metric("chrysalis_received_instances_total", &["links"]);
    assert_eq!(received, instances.len() as f64, "each of them once");
    gateway_tells_the_site_of_each(&gateway.node, instances.len());
}

/// What came through the tunnel is told apart by its site, in every place where somebody may look for it.
#[track_caller]
fn gateway_tells_the_site_of_each(node: &Node, count: usize) {
    let run = |args: &[&str]| node.run(args).expect_success().output;
    let json = |args: &[&str]| serde_json::from_str::<serde_json::Value>(&run(args)).unwrap();
    for (site, expected) in [("north", count), ("n?r*", count), ("?*", count), ("south", 0), ("", 0)] {
        let listed = json(&["queue", "list", "--site", site, "--json"]);
        let deliveries = listed["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), expected, "{site:?}");
        assert!(deliveries.iter().all(|delivery| delivery["site"] == "north"), "{listed}");
        let told = run(&["ledger", "--site", site, "--format", "json"]);
        assert_eq!(told.lines().count(), expected, "{site:?}");
        assert!(told.lines().all(|line| line.contains("\"site\":\"north\"")), "{told}");
    }
    for args in [&["queue", "list"][..], &["queue", "list", "--by-study"]] {
        assert!(run(args).contains("CART7 at north"), "{args:?}");
    }
    let instance = node.deliveries()[0].instance.clone();
    assert_eq!(json(&["queue", "show", &instance, "--json"])["site"], "north");
    assert!(
        run(&["queue", "show", &instance])
            .lines()
            .any(|line| line.starts_with("site ") && line.ends_with("north"))
    );
    let csv = run(&["ledger", "--format", "csv"]);
    let mut lines = csv.lines();
    assert!(lines.next().unwrap().ends_with(",site") && lines.all(|line| line.ends_with(",north")), "{csv}");
    let folder = node.home().join("exported");
    run(&["queue", "export", "--site", "north", "--to", folder.to_str().unwrap()]);
    assert_eq!(support::process::list(&folder).len(), count);
}

/// Sends one large object through connections that are cut after so many bytes; says how many bytes went for each of it.
fn cut_every(limit: u64, bytes: u64) -> f64 {
    let gateway = Gateway::start();
    let proxy = Proxy::always(gateway.tunnel, Faults::forth(Fault::Cut(limit)));
    let link = started(link(proxy.address, &gateway.code));
    let instance = Study::new(2).huge(1, bytes);
    assert_eq!(Modality::new(link.address).store(&instance).unwrap().status, 0);
    let length = instance.data_set.len();
    gateway.wait_for(&all(&[instance]));
    link.wait_drained();
    assert!(gateway.node.metric("chrysalis_tunnel_resumes_total", &[]) > 0.0);
    proxy.forth() as f64 / length as f64
}

#[test]
fn a_connection_that_is_cut_every_mebibyte_costs_little_more_than_the_object() {
    let cost = cut_every(1 << 20, 24 << 20);
    eprintln!("cut every 1 MiB: {cost:.4} of the object's bytes");
    assert!(cost <= 1.05, "{cost}");
}

#[test]
fn a_connection_that_is_cut_every_64_kibibytes_costs_a_third_more_at_most() {
    let cost = cut_every(64 << 10, 2 << 20);
    eprintln!("cut every 64 KiB: {cost:.4} of the object's bytes");
    assert!(cost <= 1.30, "{cost}");
}

/// An authority, and a certificate from it for this machine, in a folder; the pin of its key.
fn certificates(folder: &std::path::Path) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let certificate = params.unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("gateway.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("gateway.key"), key.serialize_pem()).unwrap();
    Pin::of_certificate(certificate.der()).unwrap().to_string()
}

#[test]
fn by_tls_the_authority_and_one_of_the_pins_have_to_be_right_also_through_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let pin = certificates(folder.path());
    let at = folder.path().display();
    let tls = format!("tls = {{ certificate = \"{at}/gateway.pem\", key = \"{at}/gateway.key\" }}");
    let gateway = Gateway::with(&tls, "");
    let proxy = HttpProxy::start();
    let spare = format!("sha256/{}=", "A".repeat(43));
    let link = |pins: [&str; 2], more: &str| {
        let table = format!(
            "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"wss://localhost:{}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nbackoff = {{ first = \"50ms\" }}\npins = [\"{}\", \"{}\"]\n{more}",
            gateway.tunnel.port(),
            pins[0],
            pins[1],
        );
        let node = Node::builder().table(&table).prepare();
        give_code(&node, &gateway.code);
        started(node)
    };
    let ca = format!("ca = \"{at}/ca.pem\"");
    let wrong_pin = link([&spare, &format!("sha256/{}E=", "A".repeat(42))], &ca);
    wait_for_line(&wrong_pin, "somebody has to look");
    let other_authority = link([&pin, &spare], "");
    wait_for_line(&other_authority, "The tunnel cannot be opened");
    assert_eq!(gateway.node.metric("chrysalis_tunnel_sessions", &[]), 0.0);
    let right = link([&spare, &pin], &format!("{ca}\nproxy = \"{}\"", proxy.address));
    let instances = [Study::new(3).huge(1, 8 << 20)];
    store_all(&right, &instances);
    gateway.wait_for(&all(&instances));
    assert!(proxy.asked().starts_with("CONNECT localhost:"));
}

/// A proxy that connects to whatever it is asked for, on this machine.
struct HttpProxy {
    address: SocketAddr,
    asked: std::sync::Arc<std::sync::Mutex<String>>,
}

impl HttpProxy {
    fn start() -> Self {
        let address = free_address();
        let listener = std::net::TcpListener::bind(address).unwrap();
        let asked: std::sync::Arc<std::sync::Mutex<String>> = Default::default();
        let told = std::sync::Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(mut client) = client else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read_exact(&mut byte).is_err() {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let Some(target) = head.split(' ').nth(1) else { continue };
                let Ok(server) = std::net::TcpStream::connect(target) else { continue };
                *told.lock().unwrap() = head;
                let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}

#[test]
fn a_wrong_code_is_refused_counted_and_told_to_a_person_and_nothing_is_lost() {
    let gateway = Gateway::with("tunnel = { max_failures = 3 }", "");
    let right = gateway.code.clone();
    let wrong = new_code(&gateway.node, "add", "south");
    let link = started(link(gateway.tunnel, &wrong));
    let instances = small(3, 3);
    store_all(&link, &instances);
    wait_for_line(&link, "somebody has to look");
    wait_for_line(&link, "this address has failed too often");
    let refused = gateway.node.metric("chrysalis_refusals_total", &["wrong_code"]);
    assert_eq!(refused, 3.0, "then it is not asked any more");
    assert_eq!(gateway.arrived().len(), 0);
    let logs = link.output() + &gateway.node.output();
    assert!(!logs.contains(&wrong) && !logs.contains(&wrong[40..]), "a code is never logged");
    // The minute is not waited for: a gateway that starts again has forgotten it.
    give_code(&link, &right);
    let mut gateway = gateway;
    gateway.node.restart();
    gateway.wait_for(&all(&instances));
}

#[test]
fn a_code_that_was_replaced_ends_the_session_and_the_new_one_opens_it() {
    let gateway = Gateway::start();
    let link = started(link(gateway.tunnel, &gateway.code));
    wait_for_line(&link, "The tunnel is open.");
    let code = new_code(&gateway.node, "replace", "north");
    wait_for_line(&gateway.node, "its session ends");
    give_code(&link, &code);
    let instances = small(4, 2);
    store_all(&link, &instances);
    gateway.wait_for(&all(&instances));
}

#[test]
fn of_two_links_with_one_code_the_newer_has_the_session_both_say_so_and_nothing_is_lost() {
    let gateway = Gateway::start();
    let first = started(link(gateway.tunnel, &gateway.code));
    wait_for_line(&first, "The tunnel is open.");
    let second = started(link(gateway.tunnel, &gateway.code));
    wait_for_line(&first, "Another link took this one's place");
    wait_for_line(&gateway.node, "A newer session of the site takes the older one's place.");
    let (a, b) = (small(5, 10), small(6, 10));
    store_all(&first, &a);
    store_all(&second, &b);
    gateway.wait_for(&all(&[a, b].concat()));
}

#[test]
fn a_code_file_that_others_can_read_is_refused() {
    let gateway = Gateway::start();
    let link = link(gateway.tunnel, &gateway.code);
    let path = link.home().join("code");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = started(link);
    wait_for_line(&link, "chmod 600");
}

#[test]
fn a_link_that_is_told_to_stop_leaves_and_goes_on_when_it_is_back() {
    let gateway = Gateway::start();
    let mut link = started(link(gateway.tunnel, &gateway.code));
    wait_for_line(&link, "The tunnel is open.");
    link.stop();
    wait_for_line(&gateway.node, "A link's session ended.");
    link.start();
    let instances = small(8, 5);
    store_all(&link, &instances);
    gateway.wait_for(&all(&instances));
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn kills_of_either_end_at_random_times_lose_nothing() {
    let kills = setting("CHRYSALIS_KILLS").unwrap_or(6);
    let mut seed = setting("CHRYSALIS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut below = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit
    };
    let mut gateway = Gateway::start();
    let mut link = started(link(gateway.tunnel, &gateway.code));
    let study = Study::new(9);
    let mut acknowledged = BTreeSet::new();
    let mut number = 0;
    for _ in 0..kills {
        for _ in 0..8 {
            number += 1;
            let instance = if number % 5 == 0 { study.huge(number, 3 << 20) } else { study.small(number) };
            if Modality::new(link.address).store(&instance).is_ok_and(|answer| answer.status == 0) {
                acknowledged.insert(named(&instance));
            }
        }
        // Nothing to wait for: the time itself is what is tried.
        poll(Duration::from_millis(below(60)), || None::<()>);
        let victim = if below(2) == 0 { &mut link } else { &mut gateway.node };
        victim.kill();
        victim.start();
    }
    gateway.wait_for(&acknowledged);
    link.wait_drained();
    gateway.node.wait_drained();
    eprintln!("{kills} kills: {} acknowledged, all of them arrived", acknowledged.len());
    assert!(!acknowledged.is_empty());
}
