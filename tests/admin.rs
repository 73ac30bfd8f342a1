//! What an administrator sees and may do: metrics, health, rights, limits, logs, exit codes.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::archive::{Archive, Script};
use support::deliveries::{BRISK, SOON};
use support::http;
use support::instance::{Instance, Study, US_IMAGE};
use support::modality::{Last, Modality};
use support::node::Node;
use support::process::{find, write_file};
use support::wait::eventually;

#[track_caller]
fn store(node: &Node, instance: &Instance) {
    let answer = Modality::new(node.address).store(instance).unwrap();
    assert_eq!(answer.status, 0, "{:?}", answer.comment);
}

/// Writes these bytes and reads until the connection ends or a while has passed; what came, and whether it ended.
fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> (String, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (String::from_utf8_lossy(&answer).into_owned(), true),
            Ok(n) => answer.extend_from_slice(&piece[..n]),
            Err(error) => {
                let ended = error.kind() == std::io::ErrorKind::ConnectionReset;
                return (String::from_utf8_lossy(&answer).into_owned(), ended);
            }
        }
    }
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn the_metrics_parse_and_count_what_happened() {
    let archive = Script::default().status(0xA900).start();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").start();
    let sent = Study::new(1).small(1);
    store(&node, &sent);
    node.wait_state(&sent, "pacs", "held");
    node.wait_state(&sent, "archive", "delivered");
    let bytes = sent.data_set.len() as f64;
    let listener = ["listener=\"modalities\""];
    assert_eq!(node.metric("chrysalis_received_instances_total", &listener), 1.0);
    assert_eq!(node.metric("chrysalis_received_bytes_total", &listener), bytes);
    assert_eq!(node.metric("chrysalis_acknowledge_seconds_count", &listener), 1.0);
    let pacs = ["destination=\"pacs\""];
    eventually("the gauges", SOON, || {
        let held = node.metric("chrysalis_held_instances", &pacs);
        (held == 1.0 && node.metric("chrysalis_held_bytes", &pacs) == bytes).then_some(())
    });
    assert_eq!(node.metric("chrysalis_queued_instances", &[]), 0.0);
    assert_eq!(node.metric("chrysalis_deliveries_total", &["destination=\"pacs\"", "outcome=\"held\""]), 1.0);
    assert_eq!(node.metric("chrysalis_delivery_attempts_total", &["destination=\"archive\""]), 1.0);
    assert_eq!(node.metric("chrysalis_associations", &listener), 0.0);
    assert_eq!(node.metric("chrysalis_build_info", &[]), 1.0);
    assert!(node.metric("chrysalis_spool_free_bytes", &[]) > 1e6);
    let text = node.api_get("/metrics").text();
    for name in [sent.sop_instance.as_str(), "TEST000001", "MODALITY"] {
        assert!(!text.contains(name), "{name} is a label");
    }
    let Some(promtool) = find("promtool") else {
        eprintln!("skipped: promtool is not installed");
        return;
    };
    let path = node.home().join("metrics.txt");
    write_file(&path, &text);
    let mut command = std::process::Command::new(promtool);
    let output =
        command.args(["check", "metrics"]).stdin(std::fs::File::open(path).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn refusals_are_counted_by_reason() {
    let node = Node::builder().folder("archive").listener("calling_ae = [\"CART\"]").start();
    let instance = Study::new(2).small(1);
    assert!(Modality::new(node.address).store(&instance).is_err());
    let mut association =
        Modality::new(node.address).calling("CART").contexts_for([&instance]).associate().unwrap();
    association.start_store(1, US_IMAGE, "1.2.3").unwrap();
    association.send_data(1, b"\x08\0\x18\0UI\x08\0", Last::Yes).unwrap();
    assert_eq!(association.read_answer().unwrap().status, 0xC000);
    for reason in ["reason=\"rejected_1_1_3\"", "reason=\"status_c000\""] {
        eventually("the count", SOON, || {
            (node.metric("chrysalis_refusals_total", &[reason]) == 1.0).then_some(())
        });
    }
}

#[test]
fn a_node_is_live_and_ready_until_it_stops() {
    let mut node = Node::builder().folder("archive").start();
    assert_eq!(node.api_get("/health/live").status, 200);
    assert_eq!(node.api_get("/health/ready").status, 200);
    let open = Modality::new(node.address).context(US_IMAGE, &["1.2.840.10008.1.2"]).associate().unwrap();
    node.signal_stop();
    let ready = eventually("a word about stopping", SOON, || {
        http::get(node.admin, "/health/ready").ok().filter(|response| response.status == 503)
    });
    assert!(ready.text().contains("stopping"), "{}", ready.text());
    assert_eq!(node.api_get("/health/live").status, 200);
    open.release().unwrap();
    assert_eq!(node.wait_end().code(), Some(0));
}

#[test]
fn case_105_a_change_needs_the_token_the_host_and_the_origin() {
    let mut archive = Archive::new();
    archive.stop();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).start();
    let instance = Study::new(3).small(1);
    store(&node, &instance);
    let id = node.deliveries_of(&instance, "pacs").pop().unwrap().instance;
    let body = format!("{{\"instances\": [\"{id}\"], \"reason\": \"why\"}}");
    let bearer = format!("Bearer {}", node.token());
    let post = |headers: &[(&str, &str)]| {
        let headers = [&[("Content-Type", "application/json")][..], headers].concat();
        http::request(node.admin, "POST", "/api/queue/discard", &headers, body.as_bytes()).unwrap().status
    };
    let token = ("Authorization", bearer.as_str());
    assert_eq!(post(&[]), 401);
    assert_eq!(post(&[("Authorization", "Bearer 0000")]), 401);
    assert_eq!(post(&[token, ("Host", "evil.example")]), 421);
    assert_eq!(post(&[token, ("Host", "")]), 421);
    assert_eq!(post(&[token, ("Origin", "http://evil.example")]), 403);
    assert_eq!(post(&[token, ("Origin", "null")]), 403);
    assert_ne!(node.deliveries_of(&instance, "pacs").pop().unwrap().state, "discarded");
    assert_eq!(post(&[token]), 200);
    assert_eq!(node.deliveries_of(&instance, "pacs").pop().unwrap().state, "discarded");
    let rebinding = http::request(node.admin, "GET", "/api/queue", &[("Host", "evil.example")], &[]).unwrap();
    assert_eq!(rebinding.status, 421, "reading too");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(node.data_dir.join("admin.token")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn case_105_oversized_and_odd_requests_are_refused_and_the_server_goes_on() {
    let node = Node::builder().folder("archive").start();
    let bearer = format!("Bearer {}", node.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let long = "x".repeat(17 << 10);
    assert_eq!(http::request(node.admin, "GET", "/metrics", &[("X-Long", &long)], &[]).unwrap().status, 431);
    let large = format!("{{\"instances\": [], \"reason\": \"{}\"}}", "x".repeat(2 << 20));
    let head = format!(
        "POST /api/queue/discard HTTP/1.1\r\nHost: {}\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n",
        node.admin
    );
    let sent = format!("{head}Content-Length: {}\r\n\r\n{large}", large.len());
    let mut stream = TcpStream::connect(node.admin).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // The answer may come before everything is written.
    let _ = stream.write_all(sent.as_bytes());
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    let announced = format!("{head}Content-Length: 4294967296\r\n\r\n");
    let (answer, _) = raw(node.admin, announced.as_bytes(), Duration::from_secs(2));
    assert_eq!(status_of(&answer), 413, "4 GB announced are refused unread: {answer:?}");
    for path in ["/api/queue/..%2f..%2fetc%2fpasswd", "/api/queue/%00", "/api/queue/1-1%00", "/api/queue/x"] {
        assert_eq!(node.api_get(path).status, 400, "{path}");
    }
    assert_eq!(node.api_get("/api/queue/999-999").status, 404);
    assert_eq!(node.api_get("/no/such/path").status, 404);
    for method in ["BREW", "DELETE", "PUT"] {
        let response = http::request(node.admin, method, "/metrics", &headers, &[]).unwrap();
        assert_eq!(response.status, 405, "{method}");
    }
    for body in ["", "[]", "{\"instances\": 3}", "{\"instances\": [\"../x\"], \"reason\": \"y\"}", "\0"] {
        let response =
            http::request(node.admin, "POST", "/api/queue/discard", &headers, body.as_bytes()).unwrap();
        assert!((400..=422).contains(&response.status), "{body:?}: {}", response.status);
    }
    assert_eq!(node.api_get("/health/live").status, 200);
}

#[test]
fn case_105_a_request_with_two_lengths_is_refused() {
    let node = Node::builder().folder("archive").start();
    let bearer = node.token();
    let head = format!(
        "POST /api/queue/retry HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {bearer}\r\nContent-Type: application/json\r\n",
        node.admin
    );
    let both = format!(
        "{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{{\"instances\": []}}\r\n0\r\n\r\nGET /api/status HTTP/1.1\r\nHost: {}\r\n\r\n",
        node.admin
    );
    let (answer, ended) = raw(node.admin, both.as_bytes(), Duration::from_secs(2));
    assert_eq!(status_of(&answer), 400, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "nothing after it is taken for a request: {answer}");
    assert!(ended, "and the connection ends");
    let twice = format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\n{{}}  ");
    let (answer, _) = raw(node.admin, twice.as_bytes(), Duration::from_secs(2));
    assert_eq!(status_of(&answer), 400, "{answer}");
    assert_eq!(node.api_get("/health/live").status, 200);
}

#[test]
fn case_105_a_slow_request_head_is_answered_408() {
    let node = Node::builder().folder("archive").start();
    // Whoever says nothing has asked for nothing.
    let table = [("G", 408), ("GET /metrics HTTP/1.1\r\nHost: x", 408), ("", 0)];
    std::thread::scope(|scope| {
        for (begun, status) in table {
            let address = node.admin;
            scope.spawn(move || {
                let (answer, has_ended) = raw(address, begun.as_bytes(), SOON);
                assert_eq!((status_of(&answer), has_ended), (status, true), "{begun:?}: {answer}");
            });
        }
    });
}

#[test]
fn case_105_silent_connections_are_capped_and_give_way() {
    let node = Node::builder().folder("archive").start();
    let before = node.descriptors();
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.extend((0..200).map(|_| TcpStream::connect(node.admin).unwrap()));
        // Whoever is silent gives way to who asks, at once.
        assert_eq!(node.api_get("/health/live").status, 200);
        assert!(node.descriptors() < before + 70, "{} descriptors", node.descriptors());
        // Of 10,000 no more are open than of these.
        idle.drain(..100);
    }
    drop(idle);
    assert_eq!(node.api_get("/health/live").status, 200);
}

#[test]
fn logs_are_json_when_asked_and_never_tell_of_a_patient() {
    let archive = Script::default()
        .on_store(|n, _| support::archive::Action::Answer(if n == 1 { 0xA700 } else { 0xC000 }));
    let archive = archive.start();
    let log = "[log]\nformat = \"json\"\nlevel = \"trace\"";
    let mut node =
        Node::builder().dicom_with("pacs", archive.address(), BRISK).folder("archive").table(log).start();
    let mut study = Study::new(4);
    study.patient_name = "Canary^Yellow".into();
    study.patient_id = "CANARY4711".into();
    for instance in [study.small(1), study.cine(2, 2)] {
        store(&node, &instance);
        node.wait_state(&instance, "archive", "delivered");
    }
    // One that is refused, one with another patient's UID, and one cut off, for the words of failures.
    let mut association = Modality::new(node.address).contexts_for([&study.small(3)]).associate().unwrap();
    let support::instance::DataSet::Bytes(bytes) = study.small(3).data_set else { panic!() };
    association.store_bytes(1, US_IMAGE, "1.2.3", &bytes).unwrap();
    association.start_store(1, US_IMAGE, "1.2.3").unwrap();
    association.send_data(1, &bytes[..bytes.len() / 2], Last::Yes).unwrap();
    association.read_answer().unwrap();
    association.start_store(1, US_IMAGE, "1.2.3").unwrap();
    association.send_data(1, &bytes, Last::No).unwrap();
    association.abort().unwrap();
    study.patient_name = "Canary^Other".into();
    study.patient_id = "CANARY0815".into();
    store(&node, &study.small(1));
    node.wait_state(&study.small(1), "archive", "held");
    let listed = node.run(&["queue", "list"]).output + &node.run(&["queue", "list", "--json"]).output;
    let instance = node.deliveries()[0].instance.clone();
    let shown = node.run(&["queue", "show", &instance]).output;
    node.stop();
    let output = node.output();
    for text in [&output, &listed, &shown] {
        let lower = text.to_lowercase();
        assert!(!lower.contains("canary") && !lower.contains("4711"), "{text}");
    }
    let lines: Vec<_> = output.lines().filter(|line| line.starts_with('{')).collect();
    assert!(lines.len() > 5, "{output}");
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(
            value["timestamp"].is_string() && value["level"].is_string() && value["message"].is_string(),
            "{line}"
        );
    }
    assert!(output.contains(&study.sop_instance(1)), "UIDs are there to be found");
}

#[test]
fn a_stop_by_sigterm_or_sigint_ends_with_0() {
    let mut node = Node::builder().folder("archive").start();
    assert_eq!(node.terminate().code(), Some(0));
    node.start();
    let id = rustix::process::Pid::from_raw(node.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(node.wait_end().code(), Some(0));
}

/// The folders below one, itself included, that anybody but their owner may look into.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    let mut open: Vec<_> = (mode & 0o077 != 0).then(|| folder.to_owned()).into_iter().collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open.extend(open_to_others(&path));
        }
    }
    open
}

#[test]
fn the_folders_of_the_data_directory_are_their_owners_alone_also_those_that_were_not() {
    let mut node = Node::builder().folder("archive").start();
    store(&node, &Study::new(1).small(1));
    node.wait_drained();
    assert_eq!(open_to_others(&node.data_dir), Vec::<PathBuf>::new());
    node.stop();
    for name in ["cache", "spool", "index"] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(node.data_dir.join(name), mode).unwrap();
    }
    node.start();
    assert_eq!(open_to_others(&node.data_dir), Vec::<PathBuf>::new());
}

#[test]
fn a_stop_while_it_starts_ends_with_0_as_well() {
    let mut node = Node::builder().folder("archive").prepare();
    node.spawn();
    // The spool is opened before anything answers.
    eventually("the spool", SOON, || node.data_dir.join("spool").is_dir().then_some(()));
    assert_eq!(node.terminate().code(), Some(0), "{}", node.output());
}

#[test]
fn mistakes_in_the_configuration_end_with_78_and_name_the_line() {
    let table = [
        ("[node]\nae_titel = \"X\"", "ae_titel", "ae_title"),
        ("[node]\nae_title = 3", "ae_title", "chrysalis.toml:2"),
        (
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:70000\"",
            "70000 is not 1..65535",
            "chrysalis.toml:3",
        ),
        ("[queue]\nretain = \"soon\"", "retain", "chrysalis.toml:2"),
        ("[[destination]]\nname = \"p\"\nkind = \"fax\"", "fax", "folder"),
        ("[[route]]\nto = [\"nowhere\"]", "nowhere", "route"),
        ("[node]\ndata_dir = \"/\"", "data_dir", "chrysalis.toml:2"),
        ("this is no toml", "chrysalis.toml:1", ""),
    ];
    for (text, what, hint) in table {
        let mut node = Node::builder().prepare();
        write_file(&node.config(), text);
        node.spawn();
        assert_eq!(node.wait_end().code(), Some(78), "{text}\n{}", node.output());
        let output = node.output();
        assert!(output.contains(what) && output.contains(hint), "{text}\n{output}");
        assert_eq!(node.run(&["queue", "list"]).status.code(), Some(78), "{text}");
    }
    let mut node = Node::builder().prepare();
    std::fs::remove_file(node.config()).unwrap();
    node.spawn();
    assert_eq!(node.wait_end().code(), Some(78), "a file that is named and not there");
}

#[test]
fn a_port_in_use_ends_with_78_and_says_which() {
    for admin in [false, true] {
        let mut node = Node::builder().folder("archive").prepare();
        let taken = if admin { node.admin } else { node.address };
        let _squatter = TcpListener::bind(taken).unwrap();
        node.spawn();
        assert_eq!(node.wait_end().code(), Some(78), "{}", node.output());
        assert!(node.output().contains(&taken.to_string()), "{}", node.output());
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_an_unreachable_peer_with_1() {
    let node = Node::builder().folder("archive").prepare();
    for args in [&["fly"][..], &["queue", "hold"], &["send"], &["serve", "--colour"]] {
        assert_eq!(node.run(args).status.code(), Some(2), "{args:?}");
    }
    let nobody = format!("PACS@{}", node.address);
    assert_eq!(node.run(&["echo", &nobody]).status.code(), Some(1));
    assert_eq!(node.run(&["queue", "list"]).status.code(), Some(1), "no node, no spool");
}
