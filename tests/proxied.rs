//! Carts behind a load balancer: the PROXY protocol's header before DICOM, and whose address counts then.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use support::deliveries::small;
use support::modality::{Failure, Modality};
use support::node::Node;
use support::process::{list, run};
use support::strangers::require;
use support::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

/// A cart at 192.0.2.7, in both versions.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.9 40000 104\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x07\x0A\0\0\x09\x9C\x40\0\x68";
/// The cart in an envelope.
const PEER: &[u8] = b"\"peer\":\"192.0.2.7:40000\"";
/// A health check.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A node whose proxies are this machine.
fn node(lines: &str) -> Node {
    let lines = format!("trusted_proxies = [\"127.0.0.0/8\"]\n{lines}");
    Node::builder().listener(&lines).folder("archive").start()
}

/// A connection that has said this first.
fn greeted(node: &Node, header: &[u8]) -> TcpStream {
    let mut stream = Modality::new(node.address).connect().unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(header).unwrap();
    stream
}

/// What is answered before the connection is closed.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // A reset is as good as a close.
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn says(node: &Node, what: &str) {
    eventually(what, SOON, || node.output().contains(what).then_some(()));
}

#[test]
fn rules_limits_log_and_envelope_see_the_cart_behind_the_proxy() {
    let route = "[[route]]\nname = \"ward\"\nwhen = { source = \"192.0.2.0/24\" }\nto = [\"archive\"]";
    let lines = "trusted_proxies = [\"127.0.0.0/8\"]\nallow = [\"192.0.2.0/24\"]\nmax_per_address = 1";
    let node = Node::builder().listener(lines).folder("archive").table(route).start();
    for (seed, header) in [(1, V1), (2, V2)] {
        let sent = small(seed, 1);
        let modality = Modality::new(node.address).contexts_for(&sent);
        let mut association = modality.associate_over(greeted(&node, header)).unwrap();
        assert_eq!(association.store(&sent[0]).unwrap().status, 0);
        let second = modality.associate_over(greeted(&node, header)).err();
        assert!(
            matches!(second, Some(Failure::Rejected { .. })),
            "one association of one address: {second:?}"
        );
        let neighbour = b"PROXY TCP4 192.0.2.8 10.0.0.9 40000 104\r\n";
        modality.associate_over(greeted(&node, neighbour)).unwrap().release().unwrap();
        association.release().unwrap();
        node.wait_state(&sent[0], "archive", "delivered");
        says(&node, "peer=192.0.2.7:40000");
    }
    let spool = list(&node.data_dir.join("spool"));
    let told = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(PEER.len()).any(|window| window == PEER)
    };
    let envelopes = spool.iter().filter(|path| path.extension().is_some_and(|e| e == "dcm"));
    assert_eq!(envelopes.filter(|path| told(path)).count(), 2);
    let foreign = greeted(&node, b"PROXY TCP4 198.51.100.1 10.0.0.9 40000 104\r\n");
    assert_eq!(rest(foreign), b"", "not of an allowed network");
    says(&node, "address not allowed");
}

#[test]
fn a_header_may_come_in_pieces_of_any_size() {
    let node = node("");
    for header in [V1, V2, b"PROXY UNKNOWN\r\n", LOCAL] {
        for cut in 1..header.len() {
            let mut stream = greeted(&node, &header[..cut]);
            stream.write_all(&header[cut..]).unwrap();
            let modality = Modality::new(node.address).context("1.2.840.10008.1.1", &["1.2.840.10008.1.2"]);
            assert_eq!(modality.associate_over(stream).unwrap().echo().unwrap().status, 0, "cut at {cut}");
        }
        // And with the first bytes of DICOM behind it in one piece.
        let modality = Modality::new(node.address).context("1.2.840.10008.1.1", &["1.2.840.10008.1.2"]);
        let request = support::wire::pdu(support::wire::ASSOCIATE_RQ, &modality.request().to_body());
        let mut stream = greeted(&node, &[header, &request].concat());
        let answer = support::wire::read_pdu(&mut stream).unwrap().unwrap();
        assert_eq!(answer.kind, support::wire::ASSOCIATE_AC);
    }
}

#[test]
fn a_proxy_without_a_proper_header_is_closed_with_the_reason_in_the_log() {
    let node = node("timeouts = { request = \"1s\" }");
    let table: [(&[u8], &str, &str); 4] = [
        (b"\x01\0\0\0\0\xCD", "no PROXY protocol header", "proxy_header_missing"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", "version 1 with a bad port", "proxy_header_bad"),
        (b"\r\n\r\n\0\r\nQUIT\n\x2A\0\0\0", "version 2 with a bad command", "proxy_header_bad"),
        (b"PROXY TCP4 ", "no PROXY protocol header within 1s", "timeout"),
    ];
    for (header, words, reason) in table {
        assert_eq!(rest(greeted(&node, header)), b"", "{words}");
        says(&node, words);
        let reason = format!("reason=\"{reason}\"");
        assert!(node.metric("chrysalis_refusals_total", &[&reason]) >= 1.0, "{reason}");
    }
    let before = node.metric("chrysalis_refusals_total", &[]);
    drop(greeted(&node, b""));
    drop(greeted(&node, V1));
    // A third that is refused, so that it is known when the others have been seen.
    rest(greeted(&node, b"GET / HTTP/1.1\r\n"));
    eventually("a refusal", SOON, || (node.metric("chrysalis_refusals_total", &[]) > before).then_some(()));
    let after = node.metric("chrysalis_refusals_total", &[]);
    assert!(after <= before + 1.0, "a look at the port is no refusal");
}

#[test]
fn the_header_of_somebody_who_is_no_trusted_proxy_is_refused_and_named() {
    let trusted = "trusted_proxies = [\"192.0.2.0/24\"]";
    let node = Node::builder().listener(trusted).folder("archive").start();
    for header in [V1, V2] {
        let answer = rest(greeted(&node, header));
        assert_eq!(answer.first(), Some(&support::wire::ABORT), "{answer:?}");
    }
    eventually("both named", SOON, || {
        (node.output().matches("not among trusted_proxies").count() == 2).then_some(())
    });
    let modality = Modality::new(node.address).context("1.2.840.10008.1.1", &["1.2.840.10008.1.2"]);
    assert_eq!(modality.associate().unwrap().echo().unwrap().status, 0, "without one it is as ever");
    let node = self::node("");
    rest(greeted(&node, &[V1, V1].concat()));
    says(&node, "or a second one; answered with an A-ABORT");
}

#[test]
fn the_header_comes_before_tls() {
    let Some(echoscu) = require("echoscu") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let names = ["--name", "localhost", "--san", "127.0.0.1"];
    let words = ["cert", "generate", "--out", out].into_iter().chain(names);
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), words, SOON).expect_success();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("node.pem"), file("node.key"));
    let tls = format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}");
    let node = node(&tls);
    // A load balancer in a few lines: its header, and then whatever a caller says.
    let balancer = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, target) = (balancer.local_addr().unwrap().port().to_string(), node.address);
    std::thread::spawn(move || {
        let (mut caller, _) = balancer.accept().unwrap();
        let mut service = TcpStream::connect(target).unwrap();
        service.write_all(V2).unwrap();
        let (mut from, mut to) = (caller.try_clone().unwrap(), service.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut service, &mut caller);
    });
    run(&echoscu, ["+tla", "+cf", &certificate, "127.0.0.1", &port], SOON).expect_success();
    says(&node, "peer=192.0.2.7:40000");
    // And from somebody who is no proxy it is named on a TLS port as well.
    let trusted = format!("trusted_proxies = [\"192.0.2.0/24\"]\n{tls}");
    let strict = Node::builder().listener(&trusted).folder("archive").start();
    rest(greeted(&strict, V1));
    says(&strict, "not among trusted_proxies");
}

#[test]
fn whoever_leaves_before_the_first_byte_is_no_refusal_at_plain_and_tls_listeners_and_relays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let words = ["cert", "generate", "--out", out, "--name", "localhost"];
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), words, SOON).expect_success();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", file("node.pem"), file("node.key"));
    let proxies = "trusted_proxies = [\"127.0.0.0/8\"]\n";
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = service.local_addr().unwrap();
    std::thread::spawn(move || service.incoming().for_each(drop));
    let mut places = Vec::new();
    let mut builder = Node::builder().folder("archive");
    for (at, line) in ["", &tls, proxies].into_iter().enumerate() {
        let (listener, relay) = (support::ports::free_address(), support::ports::free_address());
        let header = format!("[[listener]]\nname = \"l{at}\"\naddress = \"{listener}\"\n{line}");
        builder = builder.table(&header);
        let header =
            format!("[[relay]]\nname = \"r{at}\"\nlisten = \"{relay}\"\nconnect = \"{connect}\"\n{line}");
        builder = builder.table(&header);
        let headers: &[&[u8]] = if line == proxies { &[b"", LOCAL, V1] } else { &[b""] };
        places.extend([listener, relay].map(|place| (place, headers)));
    }
    let node = builder.start();
    for (place, headers) in &places {
        for header in *headers {
            let mut finished = TcpStream::connect(place).unwrap();
            finished.write_all(header).unwrap();
            finished.shutdown(std::net::Shutdown::Write).unwrap();
            rest(finished);
            reset(*place, header);
        }
    }
    // Whoever does say something is counted, and comes last.
    let mut known = TcpStream::connect(places[0].0).unwrap();
    known.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    rest(known);
    let metrics = eventually("a refusal", SOON, || {
        let metrics = node.metrics();
        (support::node::sum(&metrics, "chrysalis_refusals_total", &[]) > 0.0).then_some(metrics)
    });
    assert_eq!(support::node::sum(&metrics, "chrysalis_refusals_total", &[]), 1.0, "{}", node.output());
    for none in ["chrysalis_relay_refusals_total", "chrysalis_tls_handshake_failures_total"] {
        assert_eq!(support::node::sum(&metrics, none, &[]), 0.0, "{none}\n{}", node.output());
    }
}

/// Connects, says this, and leaves with a RST.
fn reset(address: std::net::SocketAddr, header: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(header).unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}
