//! The queue's commands against a node that is played by a few canned answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tempfile::TempDir;

use crate::cli::{Cli, Command, Exit};
use crate::config::Config;

/// A node that gives each answer to one request and tells what was asked.
struct Node {
    config: Config,
    asked: Receiver<String>,
    _data_dir: TempDir,
}

impl Node {
    fn answering<const N: usize>(answers: [(u16, &'static str); N]) -> Self {
        let data_dir = tempfile::tempdir().expect("a directory");
        std::fs::write(data_dir.path().join("admin.token"), "sesame\n").expect("a token");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let mut config = Config::embedded_default();
        config.admin.address = listener.local_addr().expect("an address");
        config.node.data_dir = data_dir.path().to_owned();
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().expect("a client");
                tell.send(request(&mut stream)).expect("somebody who listens");
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
                );
                stream
                    .write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())
                    .expect("an answer");
            }
        });
        Self { config, asked, _data_dir: data_dir }
    }

    fn run(&self, line: &str) -> (anyhow::Result<Exit>, String) {
        let mut out = Vec::new();
        let outcome = self.run_into(line, &mut out);
        (outcome, String::from_utf8(out).expect("text"))
    }

    fn run_into(&self, line: &str, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let words = ["chrysalis", "queue"].into_iter().chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).expect("a command line");
        let Some(Command::Queue(queue)) = cli.command else { panic!("a queue command") };
        queue.run(&self.config, out)
    }

    fn next_request(&self) -> String {
        self.asked.recv_timeout(Duration::from_secs(10)).expect("a request")
    }
}

fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).expect("text");
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).expect("a body");
    let body =
        serde_json::from_slice::<serde_json::Value>(&body).map_or(String::new(), |value| value.to_string());
    head + &body
}

const FIRST: &str = r#"{"deliveries":[{"instance":"01A","sop_instance_uid":"1.1","study_instance_uid":"1.2.840.113.77",
    "sop_class_uid":"2","destination":"pacs","state":"held","reason":"A900","received_at":"2026-01-01T00:00:00Z",
    "age_seconds":192.5,"bytes":90177536,"calling_ae":"VIVID1","has_data":true}],"next":"01A","unread":0}"#;
const SECOND: &str = r#"{"deliveries":[{"instance":"01B","sop_instance_uid":"1.2","study_instance_uid":"9","sop_class_uid":"2",
    "destination":"archive","state":"held","reason":null,"received_at":"2026-01-01T00:00:00Z","age_seconds":5,
    "bytes":10,"calling_ae":"EPIQ\u001b","site":"north","has_data":true}],"next":null,"unread":0}"#;

#[test]
fn a_list_is_fetched_page_by_page_and_printed_aligned() {
    let node = Node::answering([(200, FIRST), (200, SECOND)]);
    let (outcome, out) = node.run("list --state held,waiting --reason a9");
    assert_eq!(outcome.expect("a list"), Exit::Done);
    let expected = "INSTANCE  STUDY          DESTINATION  STATE  AGE    SIZE      FROM                 REASON\n\
                    01A       …2.840.113.77  pacs         held   3m12s  86.0 MiB  VIVID1               A900\n\
                    01B       9              archive      held   5s     10 B      EPIQ\\u{1b} at north\n";
    assert_eq!(out, expected);
    let first = node.next_request();
    assert!(
        first.starts_with("GET /api/queue?limit=500&reason=a9&state=held%2Cwaiting HTTP/1.1\r\n"),
        "{first}"
    );
    let second = node.next_request();
    assert!(second.starts_with("GET /api/queue?after=01A&limit=500&"), "{second}");
}

#[test]
fn a_limit_that_is_reached_is_said() {
    let node = Node::answering([(200, FIRST)]);
    let (outcome, out) = node.run("list --limit 1 --wide");
    assert_eq!(outcome.expect("a list"), Exit::Done);
    assert!(out.contains("1.2.840.113.77") && out.contains("The limit of 1 is reached"), "{out}");
    assert!(node.next_request().starts_with("GET /api/queue?limit=1 HTTP/1.1\r\n"));
}

#[test]
fn a_list_as_json_is_one_object() {
    let node = Node::answering([(200, FIRST), (200, SECOND)]);
    let (outcome, out) = node.run("list --json --study 9");
    assert_eq!(outcome.expect("a list"), Exit::Done);
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["deliveries"].as_array().map(Vec::len), Some(2));
    assert_eq!(value["deliveries"][1]["instance"], "01B");
}

#[test]
fn what_is_about_patients_goes_into_no_url_and_carries_the_token() {
    let revealed = r#"{"deliveries":[{"instance":"01A","sop_instance_uid":"1.1","study_instance_uid":"1","sop_class_uid":"2",
        "destination":"pacs","state":"held","reason":null,"received_at":"2026-01-01T00:00:00Z","age_seconds":5,"bytes":10,
        "calling_ae":"X","has_data":true,"patient":{"patient_id":"4711","patient_name":"Test^Patient","accession_number":"A1",
        "study_date":"20260101","study_description":"Heart","modality":"US"}}],"next":null,"unread":2}"#;
    let node = Node::answering([(200, revealed)]);
    let (outcome, out) = node.run("list --reveal --patient-id 47*");
    assert_eq!(outcome.expect("a list"), Exit::Done);
    assert!(out.contains("Test^Patient") && out.contains("2 instances could not be searched"), "{out}");
    let asked = node.next_request();
    assert!(asked.starts_with("POST /api/queue/search HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("authorization: bearer sesame\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"limit":500,"patient_id":"47*","reveal":true}"#), "{asked}");
}

#[test]
fn studies_are_listed_with_their_states_counted() {
    let studies = r#"{"studies":[{"study_instance_uid":"1.2","destination":"pacs","instances":3,"bytes":2048,
        "states":{"delivered":2,"held":1},"oldest_age_seconds":60,"calling_ae":["A","B"],"sites":["north"]}],"more":true,"unread":0}"#;
    let node = Node::answering([(200, studies)]);
    let (outcome, out) = node.run("list --by-study --limit 1");
    assert_eq!(outcome.expect("a list"), Exit::Done);
    let expected = "STUDY  DESTINATION  INSTANCES  SIZE     STATES               OLDEST  FROM\n\
                    1.2    pacs         3          2.0 KiB  2 delivered, 1 held  1m00s   A, B at north\n";
    assert!(out.starts_with(expected) && out.contains("The limit of 1"), "{out}");
    assert!(node.next_request().starts_with("GET /api/queue?by_study=true&limit=1 HTTP/1.1\r\n"));
}

#[test]
fn senders_for_which_there_is_no_room_are_counted_and_all_there_with_wide() {
    let studies = r#"{"studies":[{"study_instance_uid":"1.2","destination":"pacs","instances":6,"bytes":1,"states":{"held":6},
        "oldest_age_seconds":1,"calling_ae":["A","B","C","D","E","F"],"sites":["north"],"more_senders":false}],"more":false,"unread":0}"#;
    let many: &str = studies.replace("\"more_senders\":false", "\"more_senders\":true").leak();
    let node = Node::answering([(200, studies), (200, studies), (200, many)]);
    for (args, expected) in [
        ("list --by-study", "A, B, C, D and 2 more at north\n"),
        ("list --by-study --wide", "A, B, C, D, E, F at north\n"),
        ("list --by-study --wide", "A, B, C, D, E, F at north and others\n"),
    ] {
        let (outcome, out) = node.run(args);
        assert_eq!(outcome.expect("a list"), Exit::Done);
        assert!(out.ends_with(expected), "{out}");
    }
}

#[test]
fn a_decision_carries_the_token_and_who_decides_and_names_what_failed() {
    let answer = r#"{"matched":3,"changed":1,"failed":[{"instance":"01B","destination":"pacs","error":"not held"}],
        "failed_total":2,"gone":1,"unread":0}"#;
    let node = Node::answering([(200, answer)]);
    let (outcome, out) = node.run("discard 01A 01B --destination pacs --reason duplicate");
    assert_eq!(outcome.expect("an outcome"), Exit::Failed);
    assert!(
        out.starts_with("discard: 3 matched, 1 changed, 2 failed.\n") && out.contains("not held"),
        "{out}"
    );
    assert!(out.contains("Of 1 the data is no longer") && out.ends_with("and 1 more.\n"), "{out}");
    let asked = node.next_request();
    assert!(asked.starts_with("POST /api/queue/discard HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("authorization: bearer sesame\r\n"), "{asked}");
    let who = crate::platform::user_name();
    let body =
        format!(r#"{{"destination":"pacs","instances":["01A","01B"],"reason":"duplicate","who":"{who}"}}"#);
    assert!(asked.ends_with(&body), "{asked}");
}

/// Nobody reads any more.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_decision_that_nobody_reads_the_end_of_ends_with_its_own_code() {
    let failed = r#"{"matched":2,"changed":1,"failed":[],"failed_total":1}"#;
    let problems = r#"{"checked":3,"problems":[{"instance":"01A","problem":"hash"}]}"#;
    let node = Node::answering([(200, failed), (200, failed), (200, problems)]);
    for line in ["retry 01A", "retry 01A --json", "fsck"] {
        assert_eq!(node.run_into(line, &mut Closed).expect("an outcome"), Exit::Failed, "{line}");
    }
}

#[test]
fn what_is_left_alone_is_counted_with_what_to_do_about_it() {
    let answer = r#"{"matched":4,"changed":1,"failed":[],"failed_total":0,"passed_over":{"conflict":1,"not delivered yet":2}}"#;
    let node = Node::answering([(200, answer)]);
    let (outcome, out) = node.run("resend --all");
    assert_eq!(outcome.expect("an outcome"), Exit::Done);
    let left = "left alone: 1 conflict (release it), 2 not delivered yet.\n";
    assert_eq!(out, format!("resend: 4 matched, 1 changed, 0 failed; {left}"));
}

#[test]
fn a_decision_by_filter_is_one_request() {
    let changed = r#"{"matched":100000,"changed":100000,"failed":[],"failed_total":0}"#;
    let node = Node::answering([(200, changed), (200, changed), (200, changed)]);
    for (line, body) in [
        ("retry --all", r#"{"all":true,"filter":{},"who""#),
        (
            "reroute --from pacs --to archive --reason no",
            r#"{"filter":{"reason":"no"},"from":"pacs","to":["archive"],"who""#,
        ),
        ("hold --reason-was odd --reason why --dry-run", r#""filter":{"reason":"odd"},"reason":"why","who""#),
    ] {
        let (outcome, out) = node.run(line);
        assert_eq!(outcome.expect("an outcome"), Exit::Done);
        let verb = if line.ends_with("run") { "would change" } else { "changed" };
        assert!(out.contains(&format!("100000 matched, 100000 {verb}, 0 failed.")), "{out}");
        let asked = node.next_request();
        assert!(asked.contains(body), "{asked}");
        assert_eq!(asked.contains(r#""dry_run":true"#), line.ends_with("run"), "{asked}");
    }
}

#[test]
fn an_instance_is_shown_with_its_deliveries() {
    let answer = r#"{"instance":"01A","sha256":"ab","deliveries":[{"destination":"pacs","state":"held","reason":"A900"}]}"#;
    let node = Node::answering([(200, answer)]);
    let (outcome, out) = node.run("show 01A");
    assert_eq!(outcome.expect("an instance"), Exit::Done);
    assert!(out.contains("sha256    ab\n") && out.contains("pacs         held   A900\n"), "{out}");
    assert!(node.run("show ../status").0.is_err());
}

#[test]
fn a_check_that_finds_something_fails() {
    let node = Node::answering([(200, r#"{"checked":3,"problems":[{"instance":"01A","problem":"hash"}]}"#)]);
    let (outcome, out) = node.run("fsck");
    assert_eq!(outcome.expect("a report"), Exit::Failed);
    assert!(out.starts_with("3 checked, 1 with problems.\n"), "{out}");
}

#[test]
fn a_refusal_is_told_in_the_nodes_words() {
    let node = Node::answering([(409, r#"{"error":"queue poisoned"}"#)]);
    let error = node.run("release 01A").0.expect_err("a refusal").to_string();
    assert!(error.ends_with("answered 409: queue poisoned"), "{error}");
}

#[test]
fn a_stopped_node_is_said_to_be_stopped() {
    let node = Node::answering([]);
    let mut config = node.config.clone();
    // A port that was free a moment ago.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    config.admin.address = port;
    let node = Node { config, ..node };
    let error = node.run("list").0.expect_err("nobody there").to_string();
    assert!(error.starts_with("no node answers at 127.0.0.1:"), "{error}");
}

#[test]
fn a_decision_about_nothing_or_about_two_things_at_once_is_a_usage_error() {
    let table = [
        ("retry", ErrorKind::MissingRequiredArgument),
        ("resend --to pacs", ErrorKind::MissingRequiredArgument),
        ("export --to folder", ErrorKind::MissingRequiredArgument),
        ("reroute --from pacs --all", ErrorKind::MissingRequiredArgument),
        ("retry --since soon", ErrorKind::ValueValidation),
        ("retry 01A --all", ErrorKind::ArgumentConflict),
        ("retry 01A --state held", ErrorKind::ArgumentConflict),
        ("discard 01A", ErrorKind::MissingRequiredArgument),
        ("list --state lost", ErrorKind::InvalidValue),
    ];
    for (line, kind) in table {
        let words = ["chrysalis", "queue"].into_iter().chain(line.split_whitespace());
        assert_eq!(Cli::try_parse_from(words).expect_err("a usage error").kind(), kind, "{line}");
    }
    let error = Cli::try_parse_from(["chrysalis", "queue", "retry"]).expect_err("a usage error");
    assert!(error.to_string().contains("--all"), "{error}");
}
