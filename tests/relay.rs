//! `[[relay]]`: bytes handed on both ways, with TLS on either side, with limits, and around peers that are dead.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use support::http;
use support::node::{Node, NodeBuilder};
use support::ports::free_address;
use support::process::run;
use support::strangers::{Storescp, require};
use support::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

/// A service that says everything back, and then its farewell when the caller has finished.
fn echoing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
                let _ = stream.write_all(b"farewell");
            });
        }
    });
    address
}

fn relay(name: &str, listen: SocketAddr, connect: SocketAddr, lines: &str) -> String {
    format!("[[relay]]\nname = \"{name}\"\nlisten = \"{listen}\"\nconnect = \"{connect}\"\n{lines}")
}

fn builder() -> NodeBuilder {
    Node::builder().folder("archive")
}

fn call(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Says `bytes`, finishes, and returns everything that comes back.
fn converse(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (done, pushed) = mpsc::channel();
    let (mut writer, owned) = (stream.try_clone().unwrap(), bytes.to_vec());
    std::thread::spawn(move || {
        let _ = writer.write_all(&owned);
        let _ = writer.shutdown(Shutdown::Write);
        let _ = done.send(());
    });
    let mut heard = Vec::new();
    // Who is refused may be reset, and has heard nothing then.
    let _ = stream.read_to_end(&mut heard);
    pushed.recv().unwrap();
    heard
}

/// What comes before the connection is closed or reset.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard
}

fn says(node: &Node, what: &str) {
    eventually(what, SOON, || node.output().contains(what).then_some(()));
}

/// A pair that signed itself, for this machine.
fn pair() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let names = ["--name", "localhost", "--san", "localhost", "--san", "127.0.0.1"];
    let words = ["cert", "generate", "--out", out].into_iter().chain(names);
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), words, SOON).expect_success();
    folder
}

fn refusals(node: &Node, reason: &str) -> f64 {
    node.metric("chrysalis_relay_refusals_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn everything_comes_through_both_ways_and_a_finished_side_is_answered() {
    let listen = free_address();
    let node = builder().table(&relay("worklist", listen, echoing(), "")).start();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let heard = converse(call(listen), &bytes);
    assert!(heard == [&bytes[..], b"farewell"].concat(), "{} bytes came back", heard.len());
    let total = |direction: &str| node.metric("chrysalis_relay_bytes_total", &[direction]);
    eventually("the end", SOON, || (node.metric("chrysalis_relay_connections", &[]) == 0.0).then_some(()));
    assert_eq!(total("direction=\"in\"") as usize, bytes.len());
    assert_eq!(total("direction=\"out\"") as usize, bytes.len() + 8);
    says(&node, "Relayed a connection.");
    let status = http::get(node.admin, "/api/status").unwrap().text();
    assert!(status.contains("\"relay\":\"worklist\"") && status.contains("Unsecured"), "{status}");
    assert!(node.run(&["status"]).output.contains("worklist"));
}

#[test]
fn one_relay_puts_tls_on_and_another_takes_it_off_again() {
    let (keys, encrypted, plain) = (pair(), free_address(), free_address());
    let (certificate, key) = (keys.path().join("node.pem"), keys.path().join("node.key"));
    let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}", certificate.display(), key.display());
    let ca = format!("connect_tls = {{ ca = \"{}\" }}", certificate.display());
    let taking_off = relay("off", encrypted, echoing(), &tls);
    let node = builder().table(&taking_off).table(&relay("on", plain, encrypted, &ca)).start();
    let bytes = vec![7; 500_000];
    assert!(converse(call(plain), &bytes) == [&bytes[..], b"farewell"].concat());
    let status = http::get(node.admin, "/api/status").unwrap().text();
    assert!(status.contains("\"security\":\"Secured\""), "{status}");
    assert!(node.metric("chrysalis_certificate_expiry_seconds", &["\"off\""]) > 3600.0 * 24.0 * 3000.0);
    // Who does not speak TLS is named.
    let mut stranger = call(encrypted);
    stranger.write_all(b"\x01\0\0\0\0\xCD\0\x01").unwrap();
    rest(stranger);
    says(&node, "plain DICOM");
    // A service that is not believed is not spoken to.
    let (other, doubting) = (pair(), free_address());
    let foreign = format!("connect_tls = {{ ca = \"{}\" }}", other.path().join("node.pem").display());
    let distrustful = builder().table(&relay("doubting", doubting, encrypted, &foreign)).start();
    assert_eq!(rest(call(doubting)), b"");
    says(&distrustful, "TLS with the service");
    assert!(refusals(&distrustful, "service_tls") >= 1.0);
}

#[test]
fn strangers_speak_tls_to_a_relay_before_a_plain_service() {
    let Some(echoscu) = require("echoscu") else { return };
    let Some(storescp) = Storescp::start(&[]) else { return };
    let (keys, listen) = (pair(), free_address());
    let (certificate, key) = (keys.path().join("node.pem"), keys.path().join("node.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let tls = format!(
        "tls = {{ certificate = \"{certificate}\", key = \"{key}\", client = \"required\", ca = \"{certificate}\" }}"
    );
    let _node = builder().table(&relay("pacs", listen, storescp.address, &tls)).start();
    let port = listen.port().to_string();
    let words = ["+tls", key, certificate, "+cf", certificate, "-rc", "127.0.0.1", &port];
    run(&echoscu, words, SOON).expect_success();
    let anonymous = run(&echoscu, ["+tla", "+cf", certificate, "127.0.0.1", &port], SOON);
    assert!(!anonymous.status.success(), "a certificate is required");
}

#[test]
fn limits_networks_and_silence_are_kept() {
    let (narrow, closed, brief) = (free_address(), free_address(), free_address());
    let service = echoing();
    let node = builder()
        .table(&relay("narrow", narrow, service, "max_connections = 1"))
        .table(&relay("closed", closed, service, "allow = [\"192.0.2.0/24\"]"))
        .table(&relay("brief", brief, service, "timeouts = { idle = \"200ms\" }"))
        .start();
    let mut first = call(narrow);
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0]).unwrap();
    assert_eq!(rest(call(narrow)), b"", "the second is one too many");
    assert_eq!(refusals(&node, "too many connections"), 1.0);
    drop(first);
    eventually("a free place", SOON, || (converse(call(narrow), b"y") == b"yfarewell").then_some(()));
    assert_eq!(rest(call(closed)), b"");
    says(&node, "address not allowed");
    assert_eq!(rest(call(brief)), b"", "silence ends it");
    says(&node, "nothing came from either side for 200ms");
}

#[test]
fn one_address_that_says_nothing_leaves_room_for_the_others() {
    let (shared, behind) = (free_address(), free_address());
    let service = echoing();
    let proxies = "max_per_address = 1\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let node = builder()
        .table(&relay("shared", shared, service, ""))
        .table(&relay("behind", behind, service, proxies))
        .start();
    let greet = |address: SocketAddr, header: &[u8]| {
        let mut stream = call(address);
        stream.write_all(header).unwrap();
        stream.write_all(b"x").unwrap();
        let _ = stream.read(&mut [0]);
        stream
    };
    let silent: Vec<_> = (0..16).map(|_| greet(shared, b"")).collect();
    assert_eq!(rest(call(shared)), b"", "the seventeenth of one address");
    assert_eq!(refusals(&node, "too many connections from one address"), 1.0);
    drop(silent);
    eventually("a free place", SOON, || (converse(call(shared), b"y") == b"yfarewell").then_some(()));
    let one = b"PROXY TCP4 192.0.2.7 10.0.0.9 40000 104\r\n";
    let _first = greet(behind, one);
    assert_eq!(rest(greet(behind, one)), b"", "the second of one behind the proxy");
    let other = b"PROXY TCP4 192.0.2.8 10.0.0.9 40000 104\r\ny";
    assert_eq!(converse(call(behind), other), b"yfarewell");
}

#[test]
fn a_service_that_is_gone_costs_a_caller_his_connection_and_nobody_else_anything() {
    let (dead, alive) = (free_address(), free_address());
    let node = builder()
        .table(&relay("dead", dead, free_address(), ""))
        .table(&relay("alive", alive, echoing(), ""))
        .start();
    assert_eq!(rest(call(dead)), b"");
    assert_eq!(refusals(&node, "service_unreachable"), 1.0);
    assert_eq!(converse(call(alive), b"hello"), b"hellofarewell");
    // A service that hangs up in the middle.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude = relay("dead", dead, listener.local_addr().unwrap(), "");
    drop(node);
    let _node = builder().table(&rude).start();
    let caller = call(dead);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"half").unwrap();
    drop(stream);
    assert_eq!(converse(caller, b""), b"half");
}

#[test]
fn behind_a_load_balancer_the_callers_own_address_decides() {
    let listen = free_address();
    let lines = "trusted_proxies = [\"127.0.0.1\"]\nallow = [\"192.0.2.0/24\"]";
    let node = builder().table(&relay("ris", listen, echoing(), lines)).start();
    let said = |header: &[u8]| {
        let mut stream = call(listen);
        stream.write_all(header).unwrap();
        stream
    };
    let heard = converse(said(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 104\r\n"), b"hello");
    assert_eq!(heard, b"hellofarewell", "the header is not part of what is relayed");
    says(&node, "peer=192.0.2.7:4000");
    assert_eq!(rest(said(b"PROXY TCP4 198.51.100.7 10.0.0.1 4000 104\r\n")), b"");
    assert_eq!(rest(said(b"hello, this is no header\r\n")), b"");
    says(&node, "no PROXY protocol header");
    assert_eq!(refusals(&node, "proxy_header_missing"), 1.0);
}

#[test]
fn a_reload_adds_changes_and_removes_relays_and_what_is_open_goes_on() {
    let (one, two) = (free_address(), free_address());
    let service = echoing();
    let mut node = builder().table(&relay("one", one, service, "")).start();
    let mut open = call(one);
    open.write_all(b"a").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let text = relay("one", one, service, "");
    node.edit(&text, &relay("two", two, service, "max_connections = 3"));
    let told = node.run(&["reload"]).expect_success().output;
    assert!(told.contains("+ relay two") && told.contains("- relay one"), "{told}");
    assert_eq!(converse(call(two), b"b"), b"bfarewell");
    eventually("the old port closed", SOON, || TcpStream::connect(one).is_err().then_some(()));
    assert_eq!(converse(open, b"c"), b"cfarewell", "it outlives its port");
    node.edit(
        "max_connections = 3",
        "max_connections = 4\ntls = { certificate = \"gone.pem\", key = \"gone.key\" }",
    );
    let refused = node.run(&["reload"]);
    assert!(!refused.status.success() && refused.output.contains("relay.tls"), "{}", refused.output);
    assert_eq!(converse(call(two), b"d"), b"dfarewell", "the old configuration stays in force");
    // A connection that says nothing does not hold up the end.
    let silent = call(two);
    let began = std::time::Instant::now();
    node.stop();
    assert!(began.elapsed() < SOON);
    assert_eq!(rest(silent), b"");
}

#[test]
fn relays_that_cannot_be_are_mistakes_with_their_line() {
    let address = free_address();
    for (lines, words) in [
        (relay("a", address, address, ""), "is this relay itself: a loop"),
        (relay("a", address, free_address(), "tls = { identity = [] }"), "relay.tls.identity: unknown key"),
        (relay("a", address, free_address(), "connect_tls = { verify = \"pin\" }"), "relay.connect_tls.pins"),
        (
            relay("a", address, free_address(), "") + "\n" + &relay("a", address, free_address(), ""),
            "another relay is called",
        ),
    ] {
        let node = builder().table(&lines).prepare();
        let checked = node.run(&["check"]);
        assert!(!checked.status.success() && checked.output.contains(words), "{words}\n{}", checked.output);
    }
}
