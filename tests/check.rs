//! Connections as an administrator tries them: `chrysalis echo` and `chrysalis check`, through the real binary.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use support::archive::{Archive, Greeting, Script};
use support::instance::Study;
use support::modality::Modality;
use support::node::Node;
use support::ports::free_address;
use support::process::{Finished, run};
use support::strangers::{Orthanc, Storescp};
use support::wire::{self, Associate};

const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn chrysalis(args: &[&str]) -> Finished {
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), args, PATIENCE)
}

#[track_caller]
fn echo(title: &str, address: SocketAddr) -> Finished {
    chrysalis(&["echo", &format!("{title}@{address}"), "--timeout", "500ms"])
}

/// The output with ports and times masked.
fn masked(output: &str, address: SocketAddr) -> String {
    let output = output.replace(&address.port().to_string(), "PORT");
    let lines = output.lines().map(|line| match line.rsplit_once(" ms") {
        Some((before, after)) => {
            let start = before.rfind(' ').map_or(0, |at| at + 1);
            format!("{}N ms{after}", &before[..start])
        }
        None => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}

/// Something that is no PACS: it reads what comes, sends these bytes to each of so many callers, and hangs up.
fn impostor(callers: usize, answer: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        for _ in 0..callers {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        }
    });
    (address, thread)
}

const GOLDEN: &str = "\
PACS@127.0.0.1:PORT, called by CHRYSALIS
  name         ok       is 127.0.0.1, N ms
  connection   ok       to 127.0.0.1:PORT, N ms
  security     Unsecured: what is sent can be read on the way
  association  ok       with TEST_ARCHIVE (IMPLEMENTATION), which takes PDUs of 131072 bytes; 17 of 72 presentation contexts accepted, N ms
  echo         ok       Accepted (status 0000H), N ms
  release      ok       done, N ms

  SOP class                          Explicit LE  Implicit LE  JPEG Baseline  JPEG Lossless  RLE
  Verification                       yes          yes          -              -              -
  Ultrasound Image                   yes          yes          yes            -              -
  Ultrasound Multi-frame             not taken
  Ultrasound Image (retired)         -            yes          -              -              -
  Ultrasound Multi-frame (retired)   -            yes          -              -              -
  Secondary Capture                  -            yes          -              -              -
  Multi-frame True Color SC          -            yes          -              -              -
  Comprehensive SR                   -            yes          -              -              -
  Enhanced SR                        -            yes          -              -              -
  Basic Text SR                      -            yes          -              -              -
  Encapsulated PDF                   -            yes          -              -              -
  Raw Data                           -            yes          -              -              -
  Grayscale Presentation State       -            yes          -              -              -
  Enhanced US Volume                 -            yes          -              -              -
  Key Object Selection               -            yes          -              -              -

  question     the peer does not take Ultrasound Multi-frame: such instances would be held
Everything answered, N ms in total.
";

#[test]
fn a_report_reads_like_this() {
    let archive = Script::default()
        .accepts(|class, syntax| match class {
            "1.2.840.10008.5.1.4.1.1.6.1" => {
                ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"].contains(&syntax)
            }
            "1.2.840.10008.5.1.4.1.1.3.1" => false,
            _ => syntax == "1.2.840.10008.1.2",
        })
        .start();
    let report = echo("PACS", archive.address()).expect_success();
    let text = masked(&report.output, archive.address()).replace(wire::IMPLEMENTATION, "IMPLEMENTATION");
    assert_eq!(text, GOLDEN);
}

/// Fails unless the echo failed with these words: what it means, and what to try.
#[track_caller]
fn fails_with(report: &Finished, words: &[&str]) {
    assert_eq!(report.status.code(), Some(1), "{}", report.output);
    for word in words.iter().chain(&["FAILED", "means", "try"]) {
        assert!(report.output.contains(word), "{word:?} should be in\n{}", report.output);
    }
}

#[test]
fn each_failure_says_what_it_means_and_what_to_try() {
    fails_with(
        &echo("PACS", free_address()),
        &["connection   FAILED", "refused", "nothing listens on this port"],
    );
    let unknown = chrysalis(&["echo", "PACS@no-such-host.invalid:104"]);
    fails_with(&unknown, &["name         FAILED", "The name is unknown"]);
    let table = [
        (Greeting::Reject(1, 1, 3), "does not know the calling AE title \"CHRYSALIS\""),
        (Greeting::Reject(1, 1, 7), "The peer is not called \"PACS\""),
        (Greeting::Reject(2, 3, 2), "busy or out of room"),
        (Greeting::Reject(1, 1, 1), "does not say why"),
        (Greeting::Silence, "silent"),
        (Greeting::Abort, "hung up instead of answering"),
        (Greeting::Close, "hung up instead of answering"),
    ];
    for (greeting, words) in table {
        let archive = Script::default().on_associate(move |_| greeting).start();
        fails_with(&echo("PACS", archive.address()), &["association  FAILED", words]);
    }
}

#[test]
fn what_is_no_pacs_is_called_what_it_is() {
    let table: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "A web server"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "speaks TLS"),
        (b"SSH-2.0-Server\r\n", "SSH"),
        (b"220 mail.example.org ESMTP\r\n", "another protocol"),
        (b"\x99\x00\x00\x00\x00\x01\x00", "does not speak DICOM"),
    ];
    for (answer, words) in table {
        let (address, thread) = impostor(1, answer.to_vec());
        fails_with(&echo("PACS", address), &["association  FAILED", words]);
        thread.join().expect("an impostor");
    }
}

#[test]
fn a_peer_that_calls_itself_names_cannot_write_on_the_terminal() {
    let accept = Associate {
        max_pdu: 16384,
        implementation_class: "1.2\u{1b}[2J".into(),
        implementation_version: "\u{1b}[31mPWNED\n".repeat(2000),
        ..Associate::default()
    };
    let (address, thread) = impostor(2, wire::pdu(wire::ASSOCIATE_AC, &accept.to_body()));
    let report = echo("PACS", address);
    fails_with(&report, &["Verification was not accepted", "PWNED"]);
    assert!(!report.output.contains('\u{1b}') && report.output.len() < 4096, "{}", report.output);
    let json = chrysalis(&["echo", &format!("PACS@{address}"), "--json"]);
    assert!(!json.output.contains('\u{1b}') && json.output.len() < 16384, "{}", json.output);
    thread.join().expect("an impostor");
}

#[test]
fn all_destinations_are_asked_and_the_same_report_is_data() {
    let archive = Archive::new();
    let node = Node::builder()
        .dicom("pacs", archive.address())
        .dicom_with("gone", free_address(), "calling_ae = \"passthrough\"")
        .folder("archive")
        .prepare();
    let text = node.run(&["echo", "--all"]);
    assert_eq!(text.status.code(), Some(1), "{}", text.output);
    for words in [
        "pacs: PACS@127.0.0.1:",
        "gone: GONE@127.0.0.1:",
        "archive: folder archive",
        "the folder is not there yet",
        "deliveries call with the cart's own title",
    ] {
        assert!(text.output.contains(words), "{words:?} should be in\n{}", text.output);
    }
    assert_eq!(
        node.run(&["echo", "archive"]).status.code(),
        Some(0),
        "a folder that can be made is no failure"
    );
    let json = node.run(&["echo", "--all", "--json"]);
    let reports: Vec<chrysalis::echo::Report> = serde_json::from_str(&json.output).expect("reports");
    let ok: Vec<_> = reports.iter().map(|report| (report.name.as_deref(), report.is_ok())).collect();
    assert_eq!(ok, [(Some("pacs"), true), (Some("gone"), false), (Some("archive"), true)]);
    assert_eq!(serde_json::to_value(&reports).ok(), serde_json::from_str(&json.output).ok());
}

#[test]
fn a_folder_is_tried_by_writing_and_nothing_is_left_behind() {
    let node = Node::builder().table(&folder_table("FOLDER")).prepare();
    let folder = node.home().join("here");
    std::fs::create_dir(&folder).expect("a folder");
    let config = std::fs::read_to_string(node.config()).expect("a file");
    let with = |path: &Path| {
        let text = config.replace("FOLDER", path.to_str().expect("a path"));
        std::fs::write(node.config(), text).expect("a file");
        node.run(&["echo", "archive"])
    };
    let report = with(&folder).expect_success();
    assert!(
        report.output.contains("writing      ok") && report.output.contains("GiB free"),
        "{}",
        report.output
    );
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 0);
    let file = node.home().join("file");
    std::fs::write(&file, "").expect("a file");
    fails_with(&with(&file), &["place        FAILED", "stands in the way"]);
    fails_with(&with(&file.join("below")), &["place        FAILED", "stands in the way"]);
}

fn folder_table(path: &str) -> String {
    format!("[[destination]]\nname = \"archive\"\nkind = \"folder\"\npath = \"{path}\"")
}

#[test]
fn strangers_answer_and_say_who_they_are() {
    if let Some(storescp) = Storescp::start(&["+x="]) {
        let report = echo("ANY", storescp.address).expect_success();
        assert!(report.output.contains("OFFIS_DCMTK"), "{}", report.output);
        assert!(report.output.contains("Accepted (status 0000H)"), "{}", report.output);
    }
    if let Some(orthanc) = Orthanc::start("\"DicomCheckCalledAet\": true,") {
        let report = echo("ORTHANC", orthanc.dicom).expect_success();
        assert!(report.output.contains("Accepted (status 0000H)"), "{}", report.output);
    }
}

/// Every file below a folder with its length and time of change.
fn state_of(folder: &Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let about = |path: std::path::PathBuf| {
        let metadata = std::fs::metadata(&path).expect("a file");
        (path, metadata.len(), metadata.modified().expect("a time"))
    };
    support::process::list(folder).into_iter().map(about).collect()
}

#[track_caller]
fn says(found: &Finished, code: i32, words: &[&str]) {
    assert_eq!(found.status.code(), Some(code), "{}", found.output);
    for word in words {
        assert!(found.output.contains(word), "{word:?} should be in\n{}", found.output);
    }
}

#[test]
fn a_node_is_looked_at_before_it_starts_while_it_runs_and_after() {
    let archive = Archive::new();
    let refusing = Script::default().status(0xC000).start();
    let mut node = Node::builder()
        .dicom("pacs", archive.address())
        .dicom_with("odd", refusing.address(), support::deliveries::BRISK)
        .prepare();
    says(
        &node.run(&["check"]),
        0,
        &["spool: is made at the start", "is free", "destination pacs: PACS@", "0 failed"],
    );
    assert!(!node.data_dir.exists(), "looking changes nothing");
    node.start();
    let running = node.run(&["check"]);
    let owner = format!("in use by process {}: the node is running", node.id());
    says(&running, 0, &[&owner, "is in use by the running node of this data directory", "0 failed"]);
    let sent = Study::new(1).small(1);
    let answer = Modality::new(node.address).store(&sent).expect("an answer");
    assert_eq!(answer.status, 0);
    node.wait_state(&sent, "odd", "held");
    node.wait_state(&sent, "pacs", "delivered");
    says(
        &node.run(&["check", "--offline", "--diff"]),
        0,
        &["0 deliveries wait, 1 are held", "A reload would change:\n  nothing"],
    );

    let config = std::fs::read_to_string(node.config()).expect("a file");
    std::fs::write(node.config(), config.replace("name = \"odd\"", "name = \"even\"")).expect("a file");
    says(
        &node.run(&["check", "--offline", "--diff"]),
        0,
        &["- destination odd, probably renamed to even: 1 deliveries"],
    );
    node.stop();
    let before = state_of(&node.data_dir);
    let stopped = node.run(&["check", "--offline", "--diff"]);
    says(
        &stopped,
        0,
        &["the node is stopped; 0 deliveries wait, 1 are held", "- destination odd: 1 deliveries are held"],
    );
    assert_eq!(state_of(&node.data_dir), before, "looking changes nothing");
}

#[test]
fn what_is_wrong_is_said_with_the_exit_code() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let node = Node::builder().dicom("pacs", free_address()).prepare();
    let listening = format!("listener.modalities.address={taken}");
    let found = node.run(&["check", "--set", &listening]);
    says(
        &found,
        1,
        &[
            "FAILED   listener modalities:",
            "Something else listens there",
            "FAILED   destination pacs:",
            "called by CHRYSALIS (Unsecured): connection failed",
            "nothing listens on this port",
            "override: --set listener.modalities.address is in force",
        ],
    );
    says(
        &node.run(&["check", "--set", "node.ae_title="]),
        78,
        &["--set node.ae_title: an AE title cannot be empty"],
    );
    let json = node.run(&["check", "--json", "--offline", "--set", "node.ae_title=ward"]);
    let findings: serde_json::Value = serde_json::from_str(&json.output).expect("JSON");
    let questions =
        findings["lines"].as_array().expect("lines").iter().filter(|line| line["state"] == "question");
    assert!(questions.filter(|line| line["about"] == "configuration").count() == 1, "{}", json.output);
}

#[test]
fn a_reload_keeps_what_overrides_the_file() {
    let archive = Archive::new();
    let node = Node::builder()
        .dicom("pacs", free_address())
        .environment("CHRYSALIS__DESTINATION__PACS__ADDRESS", &archive.address().to_string())
        .environment("CHRYSALIS__NODE__AE_TITLE", "ward")
        .start();
    assert!(
        node.output().contains("environment CHRYSALIS__NODE__AE_TITLE: has lower case letters"),
        "{}",
        node.output()
    );
    says(&node.run(&["reload"]), 0, &["Nothing has changed"]);
    let sent = Study::new(1).small(1);
    let answer = Modality::new(node.address).store(&sent).expect("an answer");
    assert_eq!(answer.status, 0);
    node.wait_state(&sent, "pacs", "delivered");
    assert_eq!(archive.knocks()[0].request.calling_ae.trim(), "ward");
}

#[test]
fn a_host_below_its_profile_runs_warns_counts_it_and_is_questioned() {
    let node = Node::builder().folder("archive").environment("CHRYSALIS__PROFILE", "high").start();
    let share = |resource| node.metric("chrysalis_profile_shortfall_ratio", &[resource]);
    let shares = ["resource=\"cores\"", "resource=\"memory\"", "resource=\"disk\""].map(share);
    assert!(shares.iter().all(|share| (0.0..1.0).contains(share)), "{shares:?}");
    let log = node.output();
    assert!(log.contains("The node is set up by a profile."), "{log}");
    let is_short = shares.iter().any(|share| *share > 0.0);
    assert_eq!(log.contains("This host has less than its profile asks for."), is_short, "{log}");
    let found = node.run(&["check", "--offline", "--set", "profile=high"]);
    assert!(found.output.contains("profile: high; associations 512 at "), "{}", found.output);
    assert_eq!(found.output.contains("high is meant for"), is_short, "{}", found.output);
    let auto = node.run(&["check", "--offline", "--set", "profile=auto"]);
    assert!(auto.output.contains(", chosen by this host; associations "), "{}", auto.output);
}

#[test]
fn a_size_that_makes_no_sense_is_a_usage_error_and_one_that_does_not_work_a_failure() {
    for (line, code) in [
        ("--studies-per-hour 40 --uplink 20Mbit", 0),
        ("--studies-per-hour 40 --uplink 1Mbit", 1),
        ("--studies-per-hour 40 --cores 1 --memory 1GB --disk 10GB", 1),
        ("--studies-per-hour -40", 2),
    ] {
        let args: Vec<_> = ["size"].into_iter().chain(line.split(' ')).collect();
        let finished = chrysalis(&args);
        assert_eq!(finished.status.code(), Some(code), "{line}: {}", finished.output);
    }
}
