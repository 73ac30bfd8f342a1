//! What nobody may read is nowhere that people look, send to each other, or keep: neither when all is well nor when it is wrong.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use support::certificates::{Certificates, Pair};
use support::deliveries::{small, store_all};
use support::modality::Modality;
use support::node::Node;
use support::ports::free_address;
use support::wait::eventually;
use support::web::{Reply, WebServer};
use support::wire;

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "canary-bearer-5c1e";
const PASSWORD: &str = "canary-password-77d0";
const VARIABLE: &str = "canary-environment-2b9f";
const PASSCODE: &str = "canary-passcode-e41a";

/// A file that only its owner reads.
fn private(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Every form in which one of them could be read.
fn canaries(codes: &[&str], keys: &[&Pair]) -> Vec<String> {
    let mut all: Vec<String> = [TOKEN, PASSWORD, VARIABLE, PASSCODE].map(String::from).to_vec();
    all.extend([PASSWORD, VARIABLE].map(|word| STANDARD.encode(format!("ward:{word}"))));
    for code in codes {
        // The secret of a code without its salt, in whatever is around it.
        all.push(code[code.len() - 40..].to_owned());
    }
    for pair in keys {
        let pem = std::fs::read_to_string(&pair.key).unwrap();
        all.extend(
            pem.lines().filter(|line| line.len() > 30 && !line.starts_with("-----")).map(String::from),
        );
    }
    all
}

/// Everything that a node says of itself, and its command line.
fn said(node: &Node) -> Vec<(String, String)> {
    let mut all = vec![
        ("the log".to_owned(), node.output()),
        ("/metrics".to_owned(), node.api_get("/metrics").text()),
        ("/api/status".to_owned(), node.api_get("/api/status").text()),
        ("/api/queue".to_owned(), node.api_get_revealed("/api/queue?limit=1000").text()),
        ("reload".to_owned(), node.api_post("/api/reload", "{\"dry_run\": true}").text()),
    ];
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["check"],
        &["queue", "list"],
        &["site", "list"],
        &["echo", "token"],
        &["echo", "user"],
        &["echo", "cloud"],
    ] {
        all.push((args.join(" "), node.run(args).output));
    }
    let arguments = std::fs::read(format!("/proc/{}/cmdline", node.id())).unwrap_or_default();
    all.push(("the command line".to_owned(), String::from_utf8_lossy(&arguments).into_owned()));
    for name in ["decisions.log", "sites"] {
        all.push((name.to_owned(), std::fs::read_to_string(node.data_dir.join(name)).unwrap_or_default()));
    }
    all
}

fn assert_kept(node: &Node, canaries: &[String]) {
    for (place, text) in said(node) {
        for canary in canaries {
            assert!(!text.contains(canary.as_str()), "{canary} is in {place}:\n{text}");
        }
    }
}

/// Associates as `ward-3` with this passcode; the type of the PDU that answers.
fn present(address: SocketAddr, passcode: &str) -> u8 {
    let mut body = Modality::new(address).contexts_for(&small(2, 1)).request().to_body();
    let length = |body: &[u8], at: usize| usize::from(u16::from_be_bytes([body[at + 2], body[at + 3]]));
    let at = (68..body.len() - 4).find(|at| body[*at] == 0x50 && length(&body, *at) == body.len() - at - 4);
    let at = at.unwrap();
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    // PS3.7 D.3.3.7.1: user name and passcode, no positive response.
    let identity = [&[2, 0][..], &text("ward-3"), &text(passcode)].concat();
    body.extend([&[0x58, 0][..], &(identity.len() as u16).to_be_bytes(), &identity].concat());
    let whole = (body.len() - at - 4) as u16;
    body[at + 2..at + 4].copy_from_slice(&whole.to_be_bytes());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&wire::pdu(wire::ASSOCIATE_RQ, &body)).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    kind[0]
}

#[test]
fn no_secret_of_any_kind_is_in_logs_metrics_answers_decisions_or_on_the_command_line() {
    let certificates = Certificates::new();
    let (theirs, ours) = (certificates.issue("gateway"), certificates.issue("wards"));
    let tunnel = free_address();
    let links = format!(
        "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n[listener.tls]\n{}[log]\nlevel = \"trace\"",
        theirs.lines()
    );
    let mut gateway = Node::builder().folder("archive").table(&links).prepare();
    let code = gateway.run(&["site", "add", "north"]).expect_success().output.trim().to_owned();
    let other = gateway.run(&["site", "add", "south"]).expect_success().output.trim().to_owned();
    gateway.start();

    // Takes some, and gives everybody their own secret back when it refuses.
    let server = WebServer::start(|asked| match asked.header("authorization") {
        Some(shown) if asked.number > 4 && shown.contains("Bearer") => Reply::Store,
        Some(shown) => Reply::Answer(401, format!("X-Shown: {shown}\r\n"), format!("not you: {shown}")),
        None => Reply::Answer(401, String::new(), String::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    let token = private(&folder.path().join("token"), TOKEN);
    let password = private(&folder.path().join("password"), PASSWORD);
    let wards = free_address();
    let secured = free_address();
    let pin = chrysalis::tls::certificates(&theirs.certificate).unwrap();
    let pin = chrysalis::tls::Pin::of_certificate(&pin[0]).unwrap();
    let url = server.url();
    let web = |name: &str, login: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"dicomweb\"\nurl = \"{url}\"\nbackoff = {{ first = \"20ms\", max = \"50ms\" }}\n{login}\n"
        )
    };
    let tables = [
        format!(
            "[[listener]]\nname = \"wards\"\naddress = \"{wards}\"\nuser_identity = [{{ username = \"ward-3\", passcode = \"{PASSCODE}\" }}]\n"
        ),
        format!(
            "[[listener]]\nname = \"secured\"\naddress = \"{secured}\"\n[listener.tls]\n{}",
            ours.lines()
        ),
        web("token", &format!("token_file = \"{token}\"")),
        web("user", &format!("user = \"ward\"\npassword_file = \"{password}\"")),
        web("variable", "user = \"ward\"\npassword_variable = \"TEST_SECRET\""),
        format!(
            "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"wss://localhost:{}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nbackoff = {{ first = \"50ms\", max = \"200ms\" }}\nca = \"{}\"\npins = [\"{pin}\", \"sha256/{}=\"]\n",
            tunnel.port(),
            certificates.ca().display(),
            "A".repeat(43),
        ),
        "[log]\nlevel = \"trace\"\n".to_owned(),
    ];
    let mut link = Node::builder().environment("TEST_SECRET", VARIABLE).table(&tables.concat()).prepare();
    // First somebody else's code, then one that is none, then the right one.
    let file = link.home().join("code");
    private(&file, &other);
    link.start();
    let has_said = |node: &Node, text: &str| {
        eventually(text, PATIENCE, || node.output().contains(text).then_some(()));
    };
    has_said(&link, "somebody has to look");
    private(&file, &format!("{code}0"));
    has_said(&link, "code_file");
    private(&file, &code);
    has_said(&link, "The tunnel is open.");

    let instances = small(1, 3);
    store_all(&link, &instances);
    assert_eq!(present(wards, PASSCODE), wire::ASSOCIATE_AC);
    assert_eq!(present(wards, &format!("{PASSCODE}x")), wire::ASSOCIATE_RJ);
    // Plain DICOM at a port that speaks TLS.
    assert!(Modality::new(secured).timeout(PATIENCE).associate().is_err());
    link.wait_state(&instances[0], "cloud", "delivered");
    has_said(&link, "401");

    let canaries = canaries(&[&code, &other], &[&theirs, &ours]);
    assert!(canaries.len() > 20, "the keys' lines are among them");
    assert_kept(&link, &canaries);
    assert_kept(&gateway, &canaries);
}

#[test]
fn a_key_in_the_place_of_a_certificate_is_named_and_not_quoted() {
    let certificates = Certificates::new();
    let pair = certificates.issue("chrysalis");
    let (key, certificate) = (pair.key.display(), pair.certificate.display());
    let lines = format!("[listener.tls]\ncertificate = \"{key}\"\nkey = \"{certificate}\"");
    let node = Node::builder().listener(&lines).prepare();
    let said = node.run(&["check"]);
    assert!(!said.status.success() && said.output.contains(&key.to_string()), "{}", said.output);
    for canary in canaries(&[], &[&pair]) {
        assert!(!said.output.contains(&canary), "{}", said.output);
    }
}
