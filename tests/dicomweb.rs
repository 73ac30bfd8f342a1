//! To a DICOMweb server: what it answers, and what follows for each instance.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use support::deliveries::{SOON, small, store_all};
use support::instance::{Digest, Encoding, Instance, Study};
use support::modality::Modality;
use support::node::{Node, NodeBuilder};
use support::ports::free_address;
use support::process::{Process, write_file};
use support::strangers::{self, Orthanc};
use support::wait::eventually;
use support::web::{Asked, Reply, WebServer, answer};

/// Keys of a destination that fails and tries again within milliseconds.
const QUICK: &str = "timeouts = { connect = \"2s\", transfer = \"2s\", answer = \"2s\" }\nbackoff = { first = \"20ms\", max = \"100ms\" }";
/// Instances wait for each other, so that they go together.
const TOGETHER: &str = "study_quiet = \"300ms\"";

trait Web {
    fn web(self, url: &str, lines: &str) -> Self;
}

impl Web for NodeBuilder {
    fn web(self, url: &str, lines: &str) -> Self {
        self.table(&format!(
            "[[destination]]\nname = \"web\"\nkind = \"dicomweb\"\nurl = \"{url}\"\n{QUICK}\n{lines}"
        ))
    }
}

fn node_to(server: &WebServer, lines: &str) -> Node {
    Node::builder().web(&server.url(), lines).start()
}

fn digests<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> BTreeSet<(String, Digest)> {
    instances.into_iter().map(|i| (i.sop_instance.clone(), i.digest())).collect()
}

fn plain(status: u16) -> Reply {
    Reply::Answer(status, String::new(), String::new())
}

/// Sends one instance to a server that answers so, and returns what became of it and why.
fn outcome(seed: u64, state: &str, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> String {
    let server = WebServer::start(script);
    let node = node_to(&server, "");
    let sent = small(seed, 1);
    store_all(&node, &sent);
    let seen = node.wait_state(&sent[0], "web", state);
    seen.reason
}

#[test]
fn a_study_goes_in_few_requests_over_one_connection_and_comes_out_as_it_was_sent() {
    let server = WebServer::well();
    let node = node_to(&server, &format!("{TOGETHER}\nmax_request_instances = 8"));
    let study = Study::new(1);
    let mut sent: Vec<_> = (1..=19).map(|n| study.small(n)).collect();
    sent.push(study.cine(20, 4));
    store_all(&node, &sent);
    node.wait_drained();
    assert_eq!(digests(&server.stored()), digests(&sent));
    let asked = server.asked();
    assert_eq!(asked.iter().map(|a| a.parts.len()).sum::<usize>(), 20, "each once");
    assert!(asked.len() <= 5, "{} requests", asked.len());
    assert!(
        asked.iter().all(|a| a.connection == 1 && a.method == "POST" && a.target == "/dicom-web/studies")
    );
    assert!(
        asked.iter().all(|a| a.header("content-length").is_some() && a.header("transfer-encoding").is_none())
    );
    let kind = asked[0].header("content-type").unwrap();
    assert!(kind.starts_with("multipart/related; type=\"application/dicom\"; boundary="), "{kind}");
    assert_eq!(node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]), 20.0);
    assert_eq!(node.metric("chrysalis_delivery_attempts_total", &[]), 20.0);
}

#[test]
fn a_request_has_no_more_bytes_than_it_may_unless_one_object_has_more() {
    let server = WebServer::well();
    let study = Study::new(2);
    let sent: Vec<_> = (1..=3).map(|n| study.still(n)).chain((4..=9).map(|n| study.small(n))).collect();
    let node = node_to(&server, &format!("{TOGETHER}\nmax_request = \"64KiB\""));
    store_all(&node, &sent);
    node.wait_drained();
    assert_eq!(digests(&server.stored()), digests(&sent));
    for asked in server.asked() {
        let bytes: u64 = asked.parts.iter().map(|part| part.data_set.len()).sum();
        assert!(bytes <= 64 << 10 || asked.parts.len() == 1, "{bytes} bytes of {}", asked.parts.len());
    }
}

#[test]
fn each_instance_of_a_request_has_its_own_verdict() {
    let sent = small(3, 4);
    let names: Vec<_> = sent.iter().map(|i| i.sop_instance.clone()).collect();
    let (bad, odd) = (names[1].clone(), names[2].clone());
    let server = WebServer::start(move |asked| {
        let (failed, rest): (Vec<_>, Vec<_>) = asked.names().into_iter().partition(|name| *name == bad);
        let failed: Vec<_> = failed.into_iter().map(|name| (name, 0xA900)).collect();
        // Of one it says nothing when it came with others.
        let rest: Vec<_> = rest.into_iter().filter(|name| asked.parts.len() == 1 || *name != odd).collect();
        answer(202, &rest, &failed)
    });
    let node = node_to(&server, TOGETHER);
    store_all(&node, &sent);
    let held = node.wait_state(&sent[1], "web", "held");
    assert!(held.reason.contains("A900 (data set does not match SOP class)"), "{}", held.reason);
    for place in [0, 2, 3] {
        node.wait_state(&sent[place], "web", "delivered");
    }
    assert_eq!(node.health("web"), "well");
    let alone = server.asked().into_iter().filter(|asked| asked.names() == [names[2].clone()]).count();
    assert_eq!(alone, 1, "what was not named was sent again by itself");
}

#[test]
fn what_a_whole_request_is_refused_for_is_found_by_sending_one_by_one() {
    for (seed, status) in [(40, 400), (41, 409), (42, 413), (43, 415)] {
        let sent = small(seed, 5);
        let bad = sent[2].sop_instance.clone();
        let server =
            WebServer::start(
                move |asked| {
                    if asked.names().contains(&bad) { plain(status) } else { Reply::Store }
                },
            );
        let node = node_to(&server, TOGETHER);
        store_all(&node, &sent);
        let held = node.wait_state(&sent[2], "web", "held");
        assert!(held.reason.contains(&format!("HTTP {status}")), "{}", held.reason);
        assert_eq!(held.reason.contains("whether as Explicit VR Little Endian or as "), status == 415);
        for place in [0, 1, 3, 4] {
            node.wait_state(&sent[place], "web", "delivered");
        }
        assert_eq!(node.health("web"), "well", "{status}");
    }
}

#[test]
fn an_instance_that_makes_the_server_hang_up_is_held_and_its_neighbours_arrive() {
    let sent = small(5, 5);
    let bad = sent[1].sop_instance.clone();
    let server = WebServer::start(
        move |asked| if asked.names().contains(&bad) { Reply::Vanish } else { Reply::Store },
    );
    let node = node_to(&server, TOGETHER);
    store_all(&node, &sent);
    let held = node.wait_state(&sent[1], "web", "held");
    assert!(held.reason.contains("times"), "{}", held.reason);
    for place in [0, 2, 3, 4] {
        node.wait_state(&sent[place], "web", "delivered");
    }
}

#[test]
fn what_the_server_says_of_itself_is_no_instances_fault() {
    for (seed, status) in [(60, 500), (61, 502), (62, 503), (63, 504), (64, 429), (65, 507), (66, 408)] {
        let server =
            WebServer::start(move |asked| if asked.number <= 3 { plain(status) } else { Reply::Store });
        let node = node_to(&server, TOGETHER);
        let sent = small(seed, 3);
        store_all(&node, &sent);
        node.wait_drained();
        assert_eq!(server.stored().len(), 3, "{status}");
        assert_eq!(node.metric("chrysalis_deliveries_total", &["outcome=\"held\""]), 0.0, "{status}");
        node.wait_health("web", "well");
    }
}

#[test]
fn whoever_is_not_let_in_pauses_and_nothing_is_held() {
    for (seed, status, word) in [
        (70, 401, "credentials"),
        (71, 403, "may not store"),
        (72, 404, "URL"),
        (73, 405, "STOW"),
        (74, 411, "length"),
    ] {
        let server = WebServer::start(move |_| plain(status));
        let node = node_to(&server, "");
        store_all(&node, &small(seed, 2));
        node.wait_health("web", "paused");
        let status_text = node.api_get("/api/status").text();
        assert!(
            status_text.contains(&format!("HTTP {status}")) && status_text.contains(word),
            "{status_text}"
        );
        assert_eq!(node.metric("chrysalis_held_instances", &[]), 0.0);
    }
}

#[test]
fn a_redirect_is_not_followed_and_said() {
    let elsewhere = WebServer::well();
    let to = format!("{}/studies?token=canary", elsewhere.url());
    let server = WebServer::start(move |_| Reply::Answer(307, format!("Location: {to}\r\n"), String::new()));
    let node = node_to(&server, "");
    store_all(&node, &small(8, 1));
    node.wait_health("web", "paused");
    let text = node.api_get("/api/status").text();
    assert!(
        text.contains(&format!("redirects to http://{} are not followed", elsewhere.address())),
        "{text}"
    );
    assert!(!text.contains("canary") && !node.output().contains("canary"));
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept() {
    let server = WebServer::start(|asked| match asked.number {
        1 | 2 => Reply::Answer(503, "Retry-After: 3600\r\n".to_owned(), "busy".to_owned()),
        _ => Reply::Store,
    });
    let node = node_to(&server, "");
    let sent = small(9, 1);
    store_all(&node, &sent);
    node.wait_health("web", "ill");
    // Its own back-off would have tried again by now, many times over.
    node.wait_state(&sent[0], "web", "ready");
    let asked = server.asked().len();
    assert_eq!(asked, 1);
    let shown = node.run(&["status"]).output;
    assert!(shown.contains("HTTP 503") && shown.contains("left alone until 20"), "{shown}");
    let resumed = node.run(&["resume", "destination", "web"]);
    assert!(resumed.status.success(), "{}", resumed.output);
    eventually("another try", SOON, || (server.asked().len() == 2).then_some(()));
}

#[test]
fn a_success_counts_only_where_it_names_the_instance() {
    let named_other = |_: &Asked| answer(200, &["1.2.3".to_owned()], &[]);
    assert!(outcome(10, "held", named_other).contains("names the instance neither as stored nor as failed"));
    let nothing = |_: &Asked| answer(200, &[], &[]);
    assert!(outcome(11, "held", nothing).contains("neither as stored nor as failed"));
    let silent = |_: &Asked| plain(200);
    assert!(outcome(12, "held", silent).contains("without saying which"));
    let accepted = |_: &Asked| plain(202);
    assert!(outcome(13, "held", accepted).contains("without saying which"));
    let login = |asked: &Asked| match asked.number {
        1..=2 => Reply::Answer(200, "Content-Type: text/html\r\n".into(), "<html>Log in</html>".into()),
        _ => Reply::Store,
    };
    outcome(14, "delivered", login);
}

#[test]
fn an_answer_that_nobody_can_read_again_and_again_pauses_with_its_reason_and_loses_nothing() {
    let page =
        || Reply::Answer(200, "Content-Type: text/html\r\n".into(), "<!DOCTYPE html><p>Log in</p>".into());
    let server = WebServer::start(move |_| page());
    let node = node_to(&server, "");
    let sent = small(16, 2);
    store_all(&node, &sent);
    node.wait_health("web", "paused");
    let shown = node.run(&["status"]).output;
    for words in
        ["HTTP 200 (OK), but the body is an HTML page", "3 times in a row", "does a DICOMweb server answer"]
    {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    assert_eq!(node.metric("chrysalis_held_instances", &[]), 0.0);
    // It is one instance only: that one is held, and the others arrive.
    let sent = small(17, 4);
    let odd = sent[1].sop_instance.clone();
    let server =
        WebServer::start(move |asked| if asked.names().contains(&odd) { page() } else { Reply::Store });
    let node = node_to(&server, "");
    store_all(&node, &sent);
    for place in [0, 2, 3] {
        node.wait_state(&sent[place], "web", "delivered");
    }
    let more = Study::new(18);
    let mut number = 0;
    let held = eventually("the odd one held", SOON, || {
        number += 1;
        store_all(&node, &[more.small(number)]);
        let seen = node.wait_all("all", |_| true);
        seen.into_iter().find(|seen| seen.state == "held")
    });
    assert!(held.reason.contains("3 times for this instance"), "{}", held.reason);
}

#[test]
fn a_duplicate_is_delivered_when_it_can_only_be_this_content() {
    let duplicate = |asked: &Asked| {
        let failed: Vec<_> = asked.names().into_iter().map(|name| (name, 0x0111)).collect();
        answer(409, &[], &failed)
    };
    assert!(outcome(15, "delivered", duplicate).contains("0111"));
}

#[test]
fn hostile_answers_are_bounded_and_nothing_is_lost() {
    let deep = format!("{{\"00081199\": {}", "[".repeat(500_000));
    let replies = [
        Reply::Endless,
        Reply::CutAnswer,
        Reply::Silence,
        Reply::Vanish,
        Reply::CutAt(0),
        Reply::CutAt(700),
        Reply::Answer(200, String::new(), deep.clone()),
        Reply::Answer(200, String::new(), "x".repeat(3 << 20)),
        Reply::Answer(409, String::new(), deep),
        Reply::Answer(503, format!("Retry-After: {}\r\n", "x".repeat(4000)), String::new()),
    ];
    for (reply, seed) in replies.into_iter().zip(100..) {
        let what = format!("{reply:?}").chars().take(60).collect::<String>();
        let server =
            WebServer::start(move |asked| if asked.number <= 1 { reply.clone() } else { Reply::Store });
        let node = node_to(&server, "");
        let sent = small(seed, 2);
        store_all(&node, &sent);
        let seen = node.wait_all(&what, |seen| ["delivered", "held"].contains(&seen.state.as_str()));
        let held = seen.iter().filter(|seen| seen.state == "held").count();
        assert!(held <= 1 && server.stored().len() == 2 - held, "{what}: {seen:?}");
        assert!(node.resident() < 128 << 20, "{what}: {}", node.resident());
    }
}

#[test]
fn an_answer_before_everything_was_sent_stores_nothing_and_is_heard_if_it_refuses() {
    let early = WebServer::start(|asked| if asked.number == 1 { Reply::Early(200) } else { Reply::Store });
    let node = node_to(&early, "");
    let sent = [Study::new(34).huge(1, 24 << 20)];
    store_all(&node, &sent);
    node.wait_drained();
    assert_eq!(digests(&early.stored()), digests(&sent));
    let refusing = WebServer::start(|_| Reply::Early(401));
    let node = node_to(&refusing, "");
    store_all(&node, &sent);
    node.wait_health("web", "paused");
    assert!(node.api_get("/api/status").text().contains("HTTP 401"));
}

#[test]
fn where_no_transfer_syntax_is_taken_of_some_the_others_do_not_wait() {
    let sent = small(50, 6);
    let bad: Vec<_> = sent[..3].iter().map(|instance| instance.sop_instance.clone()).collect();
    let server = WebServer::start(move |asked| {
        if asked.names().iter().any(|name| bad.contains(name)) { plain(415) } else { Reply::Store }
    });
    let node = node_to(&server, "");
    store_all(&node, &sent);
    for instance in &sent[..3] {
        node.wait_state(instance, "web", "held");
    }
    for instance in &sent[3..] {
        node.wait_state(instance, "web", "delivered");
    }
    assert_eq!(node.health("web"), "well");
}

#[test]
fn a_transfer_syntax_that_is_refused_goes_down_the_ladder() {
    for (seed, status) in [(20, 415), (21, 409)] {
        let server = WebServer::start(move |asked| match asked.parts.as_slice() {
            [] => Reply::Store,
            parts if parts.iter().any(|p| p.transfer_syntax != "1.2.840.10008.1.2.1") && status == 415 => {
                plain(415)
            }
            parts => {
                let (stored, failed): (Vec<_>, Vec<_>) =
                    parts.iter().partition(|p| p.transfer_syntax == "1.2.840.10008.1.2.1");
                let failed: Vec<_> = failed.iter().map(|p| (p.sop_instance.clone(), 0xC122)).collect();
                if failed.is_empty() {
                    return Reply::Store;
                }
                let stored: Vec<_> = stored.iter().map(|p| p.sop_instance.clone()).collect();
                answer(if stored.is_empty() { 409 } else { 202 }, &stored, &failed)
            }
        });
        let node = node_to(&server, "image = \"jpeg-lossless\"");
        let study = Study::new(seed);
        let scene = study.scene(60, 80, 1);
        let sent = [study.instance(1, scene, Encoding::ALL[0]), study.instance(2, scene, Encoding::ALL[0])];
        store_all(&node, &sent);
        node.wait_drained();
        let syntaxes: BTreeSet<_> = server.stored().into_iter().map(|i| i.transfer_syntax).collect();
        assert_eq!(syntaxes.into_iter().collect::<Vec<_>>(), ["1.2.840.10008.1.2.1"]);
    }
}

fn secret_file(folder: &std::path::Path, text: &str, mode: u32) -> String {
    let path = folder.join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn a_token_is_sent_taken_up_when_it_changes_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = secret_file(folder.path(), "canary-old\n", 0o600);
    let server = WebServer::start(|asked| match asked.header("authorization") {
        Some("Bearer canary-new") => Reply::Store,
        _ => Reply::Answer(401, String::new(), "no such token".into()),
    });
    let log = "[log]\nlevel = \"trace\"";
    let node = Node::builder().web(&server.url(), &format!("token_file = \"{path}\"")).table(log).start();
    let sent = small(30, 1);
    store_all(&node, &sent);
    node.wait_health("web", "paused");
    secret_file(folder.path(), "canary-new", 0o644);
    eventually("the look at the mode", SOON, || {
        node.api_get("/api/status").text().contains("chmod 600").then_some(())
    });
    secret_file(folder.path(), "canary-new", 0o600);
    node.wait_state(&sent[0], "web", "delivered");
    let mut texts = vec![node.output(), node.api_get("/metrics").text(), node.api_get("/api/status").text()];
    texts.push(node.run(&["queue", "list"]).output);
    texts.push(node.run(&["echo", "web"]).output);
    texts.push(node.run(&["check"]).output);
    texts.push(node.api_get_revealed("/api/queue?limit=1000").text());
    for text in texts {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn a_user_with_a_password_from_the_environment_is_let_in() {
    let server = WebServer::start(|asked| match asked.header("authorization") {
        // QWxhZGRpbjpvcGVuIHNlc2FtZQ==: RFC 7617.
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") => Reply::Store,
        _ => plain(401),
    });
    let lines = "user = \"Aladdin\"\npassword_variable = \"TEST_PASSWORD\"";
    let node = Node::builder().web(&server.url(), lines).environment("TEST_PASSWORD", "open sesame").start();
    let sent = small(31, 2);
    store_all(&node, &sent);
    node.wait_drained();
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_is_made_anew_without_anybody_noticing() {
    let server = WebServer::start(|asked| {
        let names = asked.names();
        match answer(200, &names, &[]) {
            // Kept open by what is said, and closed by what is done: the next request finds it out.
            Reply::Answer(status, headers, body) if asked.number % 2 == 1 => {
                Reply::Answer(status, format!("{headers}Connection: close\r\n"), body)
            }
            reply => reply,
        }
    });
    let node = node_to(&server, "max_request_instances = 1");
    store_all(&node, &small(32, 6));
    node.wait_drained();
    assert_eq!(node.metric("chrysalis_deliveries_total", &["outcome=\"retry\""]), 0.0);
}

#[test]
fn an_echo_says_whether_the_server_answers() {
    let server = WebServer::start(|asked| match asked.method.as_str() {
        "GET" => Reply::Answer(200, "Content-Type: application/dicom+json\r\n".into(), "[]".into()),
        _ => Reply::Store,
    });
    let node = node_to(&server, "");
    let echo = node.run(&["echo", "web"]).expect_success().output;
    assert!(echo.contains("answered with HTTP 200") && echo.contains("Unsecured"), "{echo}");
    assert_eq!(server.asked()[0].target, "/dicom-web/studies?limit=1");
    drop(server);
    let refusing = WebServer::start(|_| plain(401));
    let node = node_to(&refusing, "");
    let echo = node.run(&["echo", "web"]);
    assert!(!echo.status.success() && echo.output.contains("refuses these credentials"), "{}", echo.output);
}

/// stunnel in front of a server, with a certificate of its own, for those who show a certificate it knows.
struct Front {
    address: std::net::SocketAddr,
    home: tempfile::TempDir,
    _process: Process,
}

impl Front {
    fn start(behind: std::net::SocketAddr) -> Option<Self> {
        let program = strangers::require("stunnel4")?;
        let home = tempfile::tempdir().unwrap();
        for name in ["server", "client"] {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            std::fs::write(home.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
            let key = home.path().join(format!("{name}.key"));
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (address, folder) = (free_address(), home.path().display().to_string());
        let text = format!(
            "foreground = yes\npid =\n[web]\naccept = {address}\nconnect = {behind}\ncert = {folder}/server.pem\n\
             key = {folder}/server.key\nCAfile = {folder}/client.pem\nverifyPeer = yes\n"
        );
        let config = home.path().join("stunnel.conf");
        write_file(&config, &text);
        let mut command = std::process::Command::new(program);
        command.arg(config);
        let process = Process::start("stunnel", command, home.path());
        eventually("stunnel", SOON, || std::net::TcpStream::connect(address).ok());
        Some(Self { address, home, _process: process })
    }

    fn file(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }
}

#[test]
fn over_https_the_server_is_verified_and_we_show_a_certificate() {
    let server = WebServer::start(|asked| match asked.method.as_str() {
        "GET" => Reply::Answer(200, String::new(), "[]".into()),
        _ => Reply::Store,
    });
    let Some(front) = Front::start(server.address()) else { return };
    let url = format!("https://{}/dicom-web", front.address);
    let sent = small(50, 3);
    // Nobody vouches for it; then somebody does, and we are nobody; then both are known.
    let known = format!("ca = \"{}\"", front.file("server.pem"));
    let own =
        format!("certificate = \"{}\", key = \"{}\"", front.file("client.pem"), front.file("client.key"));
    let node = Node::builder().web(&url, &format!("tls = {{ {own} }}")).start();
    store_all(&node, &sent);
    node.wait_health("web", "paused");
    drop(node);
    let node = Node::builder().web(&url, &format!("tls = {{ {known} }}")).start();
    store_all(&node, &sent);
    node.wait_health("web", "paused");
    let text = node.api_get("/api/status").text();
    assert!(text.contains("TLS: the peer wants a client certificate"), "{text}");
    let echo = node.run(&["echo", "web"]).output;
    assert!(echo.contains("Failed at TLS") && echo.contains("the peer wants a client certificate"), "{echo}");
    drop(node);
    assert!(server.asked().is_empty());
    let node = Node::builder().web(&url, &format!("tls = {{ {known}, {own} }}")).start();
    store_all(&node, &sent);
    node.wait_drained();
    assert_eq!(digests(&server.stored()), digests(&sent));
    let echo = node.run(&["echo", "web"]).expect_success().output;
    assert!(echo.contains("TLS 1.3") && echo.contains("Secured") && !echo.contains("Unsecured"), "{echo}");
}

#[test]
fn orthanc_stores_every_data_set_byte_for_byte() {
    let Some(orthanc) = Orthanc::start_with_web("\"UnknownSopClassAccepted\": true,") else { return };
    let url = format!("http://{}/dicom-web", orthanc.http);
    let lines = format!("{TOGETHER}\nmax_request_instances = 16");
    let node = Node::builder().web(&url, &lines).start();
    let study = Study::new(33);
    let mut sent = vec![study.still(1), study.cine(2, 4), study.small(3)];
    let scene = study.scene(60, 81, 2);
    sent.extend(Encoding::ALL.into_iter().zip(10..).map(|(encoding, n)| study.instance(n, scene, encoding)));
    sent.extend((100..140).map(|n| study.small(n)));
    let modality = Modality::new(node.address);
    for answer in modality.contexts_for(&sent).store_all(&sent).unwrap() {
        assert_eq!(answer.status, 0);
    }
    node.wait_drained();
    let received = orthanc.received();
    assert_eq!(digests(&received), digests(&sent));
    let echo = node.run(&["echo", "web"]).expect_success().output;
    assert!(echo.contains("HTTP 200"), "{echo}");
    assert!(!orthanc.log().contains("MIME type"), "{}", orthanc.log());
}

#[test]
fn a_server_that_answers_in_xml_only_is_asked_for_that_and_one_that_has_neither_pauses() {
    let server = WebServer::start(|asked| match asked.header("accept") {
        Some("application/dicom+xml") => Reply::Answer(
            200,
            "Content-Type: application/dicom+xml\r\n".to_owned(),
            format!(
                r#"<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ"><Item number="1"><DicomAttribute tag="00081155" vr="UI"><Value number="1">{}</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"#,
                asked.names().first().cloned().unwrap_or_default(),
            ),
        ),
        _ => plain(406),
    });
    let node = node_to(&server, "");
    for instance in small(19, 3) {
        store_all(&node, std::slice::from_ref(&instance));
        node.wait_state(&instance, "web", "delivered");
    }
    assert_eq!(server.asked().len(), 4, "only the first was asked for twice");
    let neither = WebServer::start(|_| plain(406));
    let node = node_to(&neither, "");
    store_all(&node, &small(20, 1));
    node.wait_health("web", "paused");
    assert!(node.run(&["status"]).output.contains("neither in DICOM JSON nor in DICOM XML"));
}
