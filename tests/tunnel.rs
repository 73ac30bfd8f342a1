//! Cart, link, tunnel, gateway, folder: two programs, and what happens between them.
//!
//! Both are killed a few times every day; `CHRYSALIS_KILLS=100 cargo test --test tunnel kills -- --nocapture` for more.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use chrysalis::tls::Pin;
use support::archive::Archive;
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

/// What arrived at a PACS, in its order.
fn order(archive: &Archive) -> Vec<Digest> {
    archive.stored().into_iter().map(|arrival| arrival.digest).collect()
}

#[test]
fn what_is_sent_again_is_owed_again_as_if_there_were_no_tunnel() {
    let pacs = Archive::new();
    let routes = format!(
        "[[destination]]\nname = \"teaching\"\nkind = \"folder\"\npath = \"teaching\"\n[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"{}\"\ncalled_ae = \"PACS\"\n[[route]]\nwhen = {{ called_ae = \"DROP\" }}\naction = \"drop\"\n[[route]]\nwhen = {{ called_ae = \"TEACH\" }}\nto = [\"teaching\"]\n[[route]]\nwhen = {{ called_ae = \"PACS\" }}\nto = [\"pacs\"]\n[[route]]\nwhen = {{ called_ae = \"ARCHIVE\" }}\nto = [\"archive\"]\n",
        pacs.address()
    );
    let gateway = Gateway::with("", &routes);
    let link = started(link(gateway.tunnel, &gateway.code));
    let send = |instance: &Instance, called: &str| {
        let answer = Modality::new(link.address).called(called).store(instance).unwrap();
        assert_eq!(answer.status, 0);
        link.wait_drained();
    };
    let first = Study::new(40).small(1);
    for called in ["DROP", "ARCHIVE", "TEACH"] {
        send(&first, called);
    }
    gateway.wait_for(&all(std::slice::from_ref(&first)));
    eventually("the one for teaching", PATIENCE, || {
        (gateway.node.delivered("teaching").len() == 1).then_some(())
    });
    // The newest content is what a PACS is to have last, though it has been there before.
    let other = first.edited(|bytes| *bytes.last_mut().unwrap() ^= 1);
    for (number, instance) in [&first, &other, &first].into_iter().enumerate() {
        send(instance, "PACS");
        eventually("the next one at the PACS", PATIENCE, || (order(&pacs).len() == number + 1).then_some(()));
    }
    assert_eq!(order(&pacs), [first.digest(), other.digest(), first.digest()]);
    // What somebody discarded is not sent because somebody sent it again, and it is not lost either.
    let discarded = Study::new(41).small(1);
    gateway.node.run(&["pause", "destination", "pacs"]).expect_success();
    send(&discarded, "PACS");
    let delivery = gateway.node.wait_state(&discarded, "pacs", "ready");
    gateway.node.decide("discard", &delivery, "not wanted");
    send(&discarded, "PACS");
    let held = gateway.node.wait_state(&discarded, "pacs", "held");
    assert!(held.reason.contains("discarded before"), "{held:?}");
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
    let stored = gateway.node.metric("chrysalis_tunnel_uploads_total", &["outcome=\"stored\""]);
    assert_eq!(stored, instances.len() as f64);
    let came = gateway.node.metric("chrysalis_tunnel_received_bytes_total", &["role=\"listener\"", "links"]);
    let went = link.metric("chrysalis_tunnel_sent_bytes_total", &["role=\"destination\"", "cloud"]);
    assert!(came >= (5 << 20) as f64 && went >= came, "{went} went, {came} came");
    let status = |node: &Node| node.run(&["status"]).output;
    assert!(status(&gateway.node).contains("north  20"), "{}", status(&gateway.node));
    assert!(status(&link).contains("connected since 20"), "{}", status(&link));
    gateway_tells_the_site_of_each(&gateway.node, instances.len());
}

#[test]
fn what_was_cut_is_counted_at_the_gateway_and_the_link_says_since_when_it_has_no_tunnel() {
    let gateway = Gateway::start();
    let cut = |connection| if connection == 1 { 3 << 19 } else { 0 };
    let proxy = Proxy::start(gateway.tunnel, move |connection| Faults::forth(Fault::Cut(cut(connection))));
    let link = started(link(proxy.address, &gateway.code));
    let instance = Study::new(12).huge(1, 8 << 20);
    assert_eq!(Modality::new(link.address).store(&instance).unwrap().status, 0);
    let partial = || gateway.node.metric("chrysalis_tunnel_partial_bytes", &[]);
    eventually("a part at the gateway", PATIENCE, || (partial() >= (1 << 20) as f64).then_some(()));
    assert_eq!(gateway.node.metric("chrysalis_tunnel_partial_uploads", &[]), 1.0);
    let said = || link.run(&["status"]).output;
    let shown =
        |said: &String| said.contains("cloud: no tunnel since 20") && said.contains("not connected since 20");
    eventually("what the link says", PATIENCE, || Some(said()).filter(shown));
    let site = gateway.node.run(&["status"]).output;
    assert!(site.contains("north  not connected") && site.contains("1, 1."), "{site}");
}

#[test]
fn what_was_cut_is_given_back_when_nobody_goes_on_with_it_or_its_site_is_gone() {
    for (settings, is_removed) in [("tunnel = { partial_age = \"3s\" }", false), ("", true)] {
        let gateway = Gateway::with(settings, "");
        let cut = |connection| if connection == 1 { 3 << 19 } else { 0 };
        let proxy = Proxy::start(gateway.tunnel, move |n| Faults::forth(Fault::Cut(cut(n))));
        let link = started(link(proxy.address, &gateway.code));
        let empty = bytes_below(&gateway.node.data_dir);
        assert_eq!(Modality::new(link.address).store(&Study::new(13).huge(1, 8 << 20)).unwrap().status, 0);
        let partials = || gateway.node.metric("chrysalis_tunnel_partial_uploads", &[]);
        eventually("a part at the gateway", PATIENCE, || (partials() == 1.0).then_some(()));
        assert!(bytes_below(&gateway.node.data_dir) > empty + (1 << 19));
        if is_removed {
            assert!(gateway.node.run(&["site", "remove", "north"]).status.success());
        }
        eventually("nothing in part", PATIENCE, || (partials() == 0.0).then_some(()));
        assert!(bytes_below(&gateway.node.data_dir) < empty + (1 << 19));
    }
}

/// Bytes of all files in a folder and those below it. What goes away meanwhile is nothing.
fn bytes_below(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
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
    assert!(gateway.node.metric("chrysalis_tunnel_resumed_bytes_total", &[]) > 0.0);
    assert_eq!(gateway.node.metric("chrysalis_tunnel_partial_uploads", &[]), 0.0);
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
    let through = format!("{ca}\nproxy = \"{}\"", proxy.address);
    let nobody = link([&spare, &pin], &through);
    wait_for_line(&nobody, "wants a user and a password: proxy_user and proxy_password_file (407)");
    let said = nobody.run(&["status"]).output;
    assert!(said.contains("no tunnel since") && said.contains("wants a user and a password"), "{said}");
    let password = |password: &str| {
        let path = folder.path().join(password);
        std::fs::write(&path, password).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("{through}\nproxy_user = \"ward\"\nproxy_password_file = \"{}\"", path.display())
    };
    let wrong = link([&spare, &pin], &password("canary-wrong"));
    wait_for_line(&wrong, "does not take this user and password (407)");
    assert!(!wrong.output().contains("canary") && !wrong.run(&["echo", "cloud"]).output.contains("canary"));
    let right = link([&spare, &pin], &password("canary-right"));
    let instances = [Study::new(3).huge(1, 8 << 20)];
    store_all(&right, &instances);
    gateway.wait_for(&all(&instances));
    assert!(proxy.asked().starts_with("CONNECT localhost:"));
    assert!(!right.output().contains("canary"));
}

/// A proxy that connects its one user to whatever he asks for, on this machine.
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
                // RFC 7617 2: "ward:canary-right".
                if !head.contains("\r\nProxy-Authorization: Basic d2FyZDpjYW5hcnktcmlnaHQ=\r\n") {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\r\n";
                    let _ = client.write_all(refusal);
                    continue;
                }
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

#[test]
fn what_the_link_s_disk_has_damaged_never_becomes_an_instance_at_the_gateway() {
    let gateway = Gateway::start();
    let link = started(link(free_address(), &gateway.code));
    let study = Study::new(14);
    let (damaged, sound) = (study.huge(1, 3 << 20), study.huge(2, 3 << 20));
    store_all(&link, &[damaged.clone(), sound.clone()]);
    // The link finds its gateway only when its disk has gone bad.
    for file in spool_files(&link.data_dir) {
        let mut bytes = std::fs::read(&file).unwrap();
        if Instance::from_part10(&file).is_ok_and(|instance| instance.sop_instance == damaged.sop_instance) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let own = std::fs::read_to_string(link.config()).unwrap();
    let (before, after) = own.split_once("ws://127.0.0.1:").unwrap();
    let (_, rest) = after.split_once('/').unwrap();
    std::fs::write(link.config(), format!("{before}ws://{}/{rest}", gateway.tunnel)).unwrap();
    link.run(&["reload"]).expect_success();
    gateway.wait_for(&all(&[sound]));
    let held = || link.metric("chrysalis_held_instances", &["cloud"]) == 1.0;
    eventually("the damaged one is held", PATIENCE, || held().then_some(()));
    assert_eq!(gateway.arrived().len(), 1);
    assert_eq!(gateway.node.metric("chrysalis_received_instances_total", &["links"]), 1.0);
}

/// The spool's finished files.
fn spool_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let of = |path: std::path::PathBuf| match path.is_dir() {
        true => spool_files(&path),
        false => vec![path],
    };
    entries.flat_map(of).filter(|path| path.extension().is_some_and(|end| end == "dcm")).collect()
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

/// Whose everything below a folder is.
fn owners(folder: &std::path::Path) -> BTreeSet<u32> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| {
        let own = path.symlink_metadata().unwrap().uid();
        let inside = if path.is_dir() { owners(&path) } else { BTreeSet::new() };
        inside.into_iter().chain([own]).collect::<Vec<_>>()
    });
    below.collect()
}

#[test]
fn what_the_superuser_types_about_sites_belongs_to_the_user_of_the_service() {
    const SERVICE: u32 = 65_534;
    let Gateway { mut node, .. } = Gateway::start();
    node.stop();
    if node.data_dir.metadata().unwrap().uid() != 0 {
        return;
    }
    // Nothing above a data directory keeps the service out; what an earlier version left is the superuser's.
    std::fs::set_permissions(node.home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&node.data_dir, Some(SERVICE), Some(SERVICE)).unwrap();
    let sections = node.home().join("sections.toml");
    std::fs::write(&sections, "[[route]]\nto = [\"cloud\"]\n").unwrap();
    std::fs::set_permissions(&sections, std::fs::Permissions::from_mode(0o600)).unwrap();
    for args in [
        &["site", "add", "south"][..],
        &["site", "replace", "south"],
        &["site", "config", "set", "south", sections.to_str().unwrap()],
        &["site", "config", "clear", "south"],
        &["site", "remove", "north"],
    ] {
        let said = node.run(args);
        assert!(said.status.success(), "{args:?}: {}", said.output);
    }
    let of = |name: &str| node.data_dir.join(name).metadata().unwrap().uid();
    for name in ["sites", "sites.lock", "site-configuration", "decisions.log", "decisions.log.lock"] {
        assert_eq!(of(name), SERVICE, "{name}");
    }
    assert_eq!(owners(&node.data_dir.join("site-configuration")), BTreeSet::from([SERVICE]));
    assert!(!node.run(&["check", "--offline"]).output.contains("belongs to user"));
    std::os::unix::fs::chown(node.data_dir.join("sites"), Some(0), Some(0)).unwrap();
    let checked = node.run(&["check", "--offline"]);
    assert!(
        checked.output.contains("sites belongs to user 0, the data directory to user 65534"),
        "{}",
        checked.output
    );
}

#[test]
fn a_gateway_that_cannot_read_its_sites_blames_no_link_and_says_so_once() {
    let gateway = Gateway::start();
    let sites = gateway.node.data_dir.join("sites");
    let known = std::fs::read(&sites).unwrap();
    // Whole or not there: half of it would be another error.
    let put = |content: &[u8]| {
        std::fs::write(sites.with_extension("new"), content).unwrap();
        chrysalis::platform::replace(&sites.with_extension("new"), &sites).unwrap();
    };
    put(b"{");
    let link = started(link(gateway.tunnel, &gateway.code));
    wait_for_line(&link, "come again later (the gateway cannot read its list of sites)");
    assert!(!link.output().contains("wrong code"), "{}", link.output());
    let status = gateway.node.run(&["status"]);
    assert!(
        status.output.contains("no link is let in, because the list of sites cannot be read"),
        "{}",
        status.output
    );
    put(&known);
    wait_for_line(&gateway.node, "A link is connected.");
    let said = gateway.node.output().matches("The sites cannot be read").count();
    assert_eq!(said, 1, "{}", gateway.node.output());
}

#[test]
fn a_tunnel_that_cannot_be_opened_is_everybodys_business_before_anything_waits_for_it() {
    let gateway = Gateway::start();
    let link = link(gateway.tunnel, &gateway.code);
    let code = link.home().join("code");
    // So that a command finds it wherever it is typed.
    let named = std::fs::read_to_string(link.config()).unwrap();
    let named = named.replace("code_file = \"code\"", &format!("code_file = {code:?}"));
    std::fs::write(link.config(), named).unwrap();
    let mode = |mode| std::fs::set_permissions(&code, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let checked = link.run(&["echo", "cloud"]);
    assert!(!checked.status.success() && checked.output.contains("chmod 600"), "{}", checked.output);
    assert!(!link.run(&["check"]).status.success());
    let mut link = started(link);
    let paused = || link.metric("chrysalis_destination_health", &["cloud", "state=\"paused\""]) == 1.0;
    eventually("a paused destination", PATIENCE, || paused().then_some(()));
    let status = link.run(&["status"]);
    assert!(!status.status.success(), "{}", status.output);
    let said = ["cloud: paused: tunnel: code_file", "cloud: no tunnel since"];
    assert!(said.iter().all(|said| status.output.contains(said)), "{}", status.output);
    let tried = || link.metric("chrysalis_tunnel_dials_total", &["outcome=\"code\""]);
    eventually("some more tries", PATIENCE, || (tried() >= 4.0).then_some(()));
    assert_eq!(link.output().matches("The tunnel cannot be opened; somebody has to look.").count(), 1);

    mode(0o600);
    eventually("a tunnel", PATIENCE, || link.output().contains("The tunnel is open.").then_some(()));
    eventually("a well destination", PATIENCE, || (!paused()).then_some(()));
    assert!(link.run(&["status"]).status.success(), "{}", link.run(&["status"]).output);
    let echoed = link.run(&["echo", "cloud"]);
    assert!(echoed.status.success() && echoed.output.contains("open since 20"), "{}", echoed.output);
    let listed = gateway.node.run(&["site", "list"]).output;
    assert!(listed.contains("connected since 20"), "{listed}");
    assert_eq!(gateway.node.metric("chrysalis_site_connected", &["site=\"north\""]), 1.0);
    assert!(!gateway.node.output().contains("No tunnel came about"), "{}", gateway.node.output());

    link.stop();
    eventually("the end at the gateway", PATIENCE, || {
        gateway.node.output().contains("A link's session ended.").then_some(())
    });
    let end = gateway.node.output();
    assert!(end.contains("why=stopping") && !end.contains("internal error"), "{end}");
    assert_eq!(gateway.node.metric("chrysalis_site_connected", &["site=\"north\""]), 0.0);
}

#[test]
fn who_asks_for_a_site_with_a_wrong_code_is_named_once_and_in_the_record_of_alerts() {
    let (gateway, other) = (Gateway::start(), Gateway::start());
    let link = started(link(gateway.tunnel, &other.code));
    let refused = || gateway.node.metric("chrysalis_refusals_total", &["wrong_code"]);
    eventually("two tries", PATIENCE, || (refused() >= 2.0).then_some(()));
    let said = gateway.node.output();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("A link was not let in.")).collect();
    assert!(lines.len() == 1 && lines[0].contains("site=\"north\""), "{said}");
    let alerts = std::fs::read_to_string(gateway.node.data_dir.join("security.log")).unwrap();
    assert!(
        alerts.contains("\"reason\":\"wrong_code\"") && alerts.contains("\"site\":\"north\""),
        "{alerts}"
    );
    assert!(link.run(&["status"]).output.contains("unknown site or wrong code"));
}
