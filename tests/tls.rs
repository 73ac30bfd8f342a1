//! DICOM over TLS through real sockets: carts and archives of others, certificates as people are given recipes for, and those
//! who should not get in.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::certificates::{Certificates, Pair};
use support::deliveries::small;
use support::hostile::pdus::client_hello;
use support::instance::{Instance, Study};
use support::modality::Modality;
use support::node::{Node, NodeBuilder};
use support::ports::free_address;
use support::process::{self, Finished};
use support::strangers::{Orthanc, Storescp, Stunnel, require, storescu};
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose listener speaks TLS, with more lines of `[listener.tls]`.
fn node(pair: &Pair, more: &str) -> NodeBuilder {
    Node::builder().listener(&format!("[listener.tls]\n{}{more}", pair.lines()))
}

/// Files to send, and what is in them.
fn files(count: u32) -> (tempfile::TempDir, Vec<PathBuf>, Vec<Instance>) {
    let folder = tempfile::tempdir().unwrap();
    let study = Study::new(5);
    let instances: Vec<_> = (0..count).map(|number| study.small(number)).collect();
    let write = |(number, instance): (usize, &Instance)| {
        let path = folder.path().join(format!("{number}.dcm"));
        instance.write_part10(&path).unwrap();
        path
    };
    let paths = instances.iter().enumerate().map(write).collect();
    (folder, paths, instances)
}

/// What a cart adds to be called by TLS with a certificate of its own.
fn cart<'a>(pair: &'a Pair, ca: &'a str) -> [&'a str; 5] {
    ["+tls", pair.key.to_str().unwrap(), pair.certificate.to_str().unwrap(), "+cf", ca]
}

fn wait_log(node: &Node, text: &str) {
    eventually(&format!("{text:?} in the log"), PATIENCE, || node.output().contains(text).then_some(()));
}

fn same(sent: &[Instance], received: &[Instance]) {
    let sorted = |instances: &[Instance]| {
        let mut digests: Vec<_> =
            instances.iter().map(|instance| format!("{:?}", instance.digest())).collect();
        digests.sort();
        digests
    };
    assert_eq!(sorted(sent), sorted(received));
}

#[test]
fn by_tls_from_a_cart_through_the_node_to_an_archive_with_and_without_client_certificates() {
    let certificates = Certificates::new();
    let ca = certificates.ca();
    let ca = ca.to_str().unwrap();
    let (ours, pacs, vivid) =
        (certificates.issue("chrysalis"), certificates.issue("pacs"), certificates.issue("vivid"));
    // Who asks for no certificate, and who wants one.
    for (is_strict, peer_certificate) in [(false, "-ic"), (true, "-rc")] {
        let archive_tls = ["+tls", pacs.key.to_str().unwrap(), pacs.certificate.to_str().unwrap(), "+cf", ca];
        let archive_args = [&archive_tls[..], &[peer_certificate, "+B"]].concat();
        let Some(archive) = Storescp::start(&archive_args) else { return };
        let (client, identity) = match is_strict {
            false => ("", String::new()),
            true => ("client = \"required\"\n", ours.lines().replace('\n', ", ")),
        };
        let ca_line = if is_strict { format!("ca = \"{ca}\"\n") } else { String::new() };
        let tls = format!("tls = {{ {identity}ca = \"{ca}\" }}");
        let node =
            node(&ours, &format!("{client}{ca_line}")).dicom_with("pacs", archive.address, &tls).start();
        let (_folder, paths, instances) = files(3);
        let args = match is_strict {
            true => cart(&vivid, ca).to_vec(),
            // What has no certificate in DCMTK says so by anonymous TLS.
            false => vec!["+tla", "+cf", ca],
        };
        let sent = storescu(node.address, &args, &paths).unwrap();
        assert!(sent.status.success(), "{}\n{}", sent.output, node.output());
        eventually("three files at the archive", PATIENCE, || {
            (process::list(&archive.folder()).len() == 3).then_some(())
        });
        eventually("the deliveries' end", PATIENCE, || {
            (node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]) == 3.0).then_some(())
        });
        same(&instances, &archive.received());
        assert_eq!(node.metric("chrysalis_destination_secured", &["destination=\"pacs\""]), 1.0);
        let expiry = node.metric("chrysalis_certificate_expiry_seconds", &["role=\"listener\""]);
        assert!(expiry > 86_400.0, "{expiry}");
        let status = node.run(&["status"]).output;
        assert!(status.contains("Secured") && !status.contains("Unsecured"), "{status}");
        let echo = node.run(&["echo", "pacs"]).expect_success().output;
        assert!(echo.contains("Secured: encrypted, and the peer is who it should be"), "{echo}");
        let own = if is_strict { "Authenticated" } else { "Anonymous" };
        assert!(
            echo.contains(&format!("this node is {own}")) && status.contains(&format!("Secured, {own}")),
            "{echo}{status}"
        );
        assert!(echo.contains("TLS 1.3") && echo.contains("CN=pacs"), "{echo}");
        if is_strict {
            wait_log(&node, "CN=vivid");
            let shown = node.api_get("/api/queue").text();
            let id = shown.split("\"instance\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            let shown = node.api_get(&format!("/api/queue/{id}")).text();
            assert!(shown.contains("CN=vivid") && shown.contains("sha256/"), "{shown}");
        }
    }
}

#[test]
fn the_certificates_of_both_recipes_work_in_both_roles() {
    let certificates = Certificates::new();
    let Some(version_1) = certificates.recipe_version_1("recipe-v1") else { return };
    let Some(authority) = certificates.recipe_authority("recipe-ca") else { return };
    let text = support::certificates::openssl(&[
        "x509",
        "-in",
        version_1.certificate.to_str().unwrap(),
        "-noout",
        "-text",
    ]);
    assert!(text.unwrap().contains("Version: 1 (0x0)"), "the recipe makes X.509 v1");
    for pair in [&version_1, &authority] {
        let pin = pair.pin().unwrap();
        let own = pair.certificate.to_str().unwrap();
        // The archive has it and wants it, the node has it and wants it, the cart has it.
        let archive_args = ["+tls", pair.key.to_str().unwrap(), own, "+cf", own, "-rc", "+B"];
        let Some(archive) = Storescp::start(&archive_args) else { return };
        let tls =
            format!("tls = {{ verify = \"pin\", pins = [\"{pin}\"], {} }}", pair.lines().replace('\n', ", "));
        let tls = tls.replace(",  }", " }");
        let listener = format!(
            "client = \"required\"\n[[listener.tls.identity]]\npin = \"{pin}\"\ncalling_ae = [\"CART\"]\n"
        );
        let node = node(pair, &listener).dicom_with("pacs", archive.address, &tls).start();
        let (_folder, paths, instances) = files(2);
        let args = [&cart(pair, own)[..], &["-aet", "CART"]].concat();
        let sent = storescu(node.address, &args, &paths).unwrap();
        assert!(sent.status.success(), "{}\n{}", sent.output, node.output());
        eventually("the deliveries' end", PATIENCE, || {
            (node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]) == 2.0).then_some(())
        });
        same(&instances, &archive.received());
        // The pinned certificate's titles are its own, and nobody else's.
        let args = [&cart(pair, own)[..], &["-aet", "OTHER"]].concat();
        let refused = storescu(node.address, &args, &paths).unwrap();
        assert!(refused.output.contains("Calling AE Title Not Recognized"), "{}", refused.output);
    }
}

#[test]
fn a_pacs_behind_stunnel_and_a_cart_behind_stunnel_are_reached() {
    let certificates = Certificates::new();
    let ca = certificates.ca();
    let (ours, pacs) = (certificates.issue("chrysalis"), certificates.issue("pacs"));
    let Some(archive) = Storescp::start(&["+B"]) else { return };
    let front = format!("cert = {}\nkey = {}", pacs.certificate.display(), pacs.key.display());
    let Some(front) = Stunnel::start(archive.address, &front) else { return };
    let tls = format!("tls = {{ ca = \"{}\" }}", ca.display());
    let node = node(&ours, "").dicom_with("pacs", front.address, &tls).start();
    let back = format!("client = yes\nverifyChain = yes\nCAfile = {}\ncheckIP = 127.0.0.1", ca.display());
    let Some(back) = Stunnel::start(node.address, &back) else { return };
    let (_folder, paths, instances) = files(2);
    let sent = storescu(back.address, &[], &paths).unwrap();
    assert!(sent.status.success(), "{}\n{}", sent.output, node.output());
    eventually("the deliveries' end", PATIENCE, || {
        (node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]) == 2.0).then_some(())
    });
    same(&instances, &archive.received());
}

#[test]
fn orthanc_with_dicom_tls_takes_what_comes_and_wants_our_certificate() {
    let certificates = Certificates::new();
    let (ours, pacs) = (certificates.issue("chrysalis"), certificates.issue("orthanc"));
    let settings = format!(
        r#""DicomTlsEnabled": true, "DicomTlsCertificate": "{}", "DicomTlsPrivateKey": "{}",
           "DicomTlsTrustedCertificates": "{}", "DicomTlsRemoteCertificateRequired": true,"#,
        pacs.certificate.display(),
        pacs.key.display(),
        certificates.ca().display()
    );
    let Some(orthanc) = Orthanc::start(&settings) else { return };
    let identity = ours.lines().replace('\n', ", ");
    let tls = format!("tls = {{ {identity}ca = \"{}\" }}", certificates.ca().display());
    let node = node(&ours, "").dicom_with("pacs", orthanc.dicom, &tls).start();
    let (_folder, paths, instances) = files(2);
    let ca = certificates.ca();
    let Some(sent) = storescu(node.address, &["+tla", "+cf", ca.to_str().unwrap()], &paths) else { return };
    assert!(sent.status.success(), "{}\n{}", sent.output, node.output());
    eventually("two instances in Orthanc", PATIENCE, || (orthanc.instances().len() == 2).then_some(()));
    assert_eq!(instances.len(), orthanc.instances().len());
}

/// Asks with openssl; what it prints.
fn s_client(address: SocketAddr, args: &[&str]) -> Option<Finished> {
    let program = require("openssl")?;
    let address = address.to_string();
    let all = [&["s_client", "-connect", &address, "-brief"], args].concat();
    // Nothing to say: it ends when the handshake is over.
    let script = format!("exec {} \"$@\" </dev/null", program.display());
    let args = ["-c", &script, "sh"].into_iter().chain(all);
    Some(process::run(&process::find("sh").unwrap(), args, PATIENCE))
}

#[test]
fn case_07_versions_older_than_tls_1_2_get_an_alert_and_1_2_and_1_3_are_spoken() {
    let certificates = Certificates::new();
    let node = node(&certificates.issue("chrysalis"), "").folder("archive").start();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let Some(done) = s_client(node.address, &[version]) else { return };
        assert!(done.output.contains(&format!("Protocol version: {name}")), "{}", done.output);
    }
    for version in ["-tls1", "-tls1_1"] {
        let done = s_client(node.address, &[version, "-cipher", "ALL:@SECLEVEL=0"]).unwrap();
        assert!(done.output.contains("alert protocol version"), "{}", done.output);
        assert!(!done.status.success());
    }
    wait_log(&node, "the peer speaks no version of TLS that is allowed here");
    // The same of SSL 3, which openssl no longer speaks, and of the others byte by byte: a fatal alert, protocol_version.
    for minor in [0, 1, 2] {
        let answer = say(node.address, &client_hello(minor));
        assert_eq!((answer[0], &answer[3..]), (0x15, &[0, 2, 2, 70][..]), "3.{minor}: {answer:02x?}");
    }
    let failures = "chrysalis_tls_handshake_failures_total";
    assert_eq!(node.metric(failures, &["role=\"listener\"", "reason=\"old_tls_version\""]), 5.0);
}

#[test]
fn a_minimum_of_1_3_refuses_1_2() {
    let certificates = Certificates::new();
    let node = node(&certificates.issue("chrysalis"), "min_version = \"1.3\"\n").folder("archive").start();
    let Some(old) = s_client(node.address, &["-tls1_2"]) else { return };
    assert!(old.output.contains("alert protocol version"), "{}", old.output);
    let new = s_client(node.address, &["-tls1_3"]).unwrap();
    assert!(new.output.contains("TLSv1.3"), "{}", new.output);
}

/// What the node answers to these bytes until it closes.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn case_05_a_client_hello_on_a_plain_port_is_aborted_and_named() {
    let node = Node::builder().folder("archive").start();
    let answer = say(node.address, &client_hello(3));
    assert_eq!(answer, [7, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    wait_log(&node, "TLS on plain port");
}

#[test]
fn case_06_plain_dicom_on_a_tls_port_gets_an_alert_and_is_named() {
    let certificates = Certificates::new();
    let node = node(&certificates.issue("chrysalis"), "").folder("archive").start();
    let request = [&[1, 0, 0, 0, 0, 0xCD, 0, 1, 0, 0][..], &[0x20; 200]].concat();
    let answer = say(node.address, &request);
    assert_eq!(answer.get(..3), Some(&[0x15, 3, 3][..]), "{answer:02x?}");
    wait_log(&node, "the peer speaks plain DICOM, not TLS");
    let refusals = node.metric("chrysalis_refusals_total", &["reason=\"plain_dicom_on_tls_port\""]);
    assert_eq!(refusals, 1.0);
}

/// A node that wants certificates of this authority.
fn strict_node(certificates: &Certificates) -> Node {
    let ca = format!("client = \"required\"\nca = \"{}\"\n", certificates.ca().display());
    node(&certificates.issue("chrysalis"), &ca).folder("archive").start()
}

/// The security log, once it has so many lines.
fn security_log(node: &Node, lines: usize) -> String {
    eventually("the security log", PATIENCE, || {
        let text = std::fs::read_to_string(node.data_dir.join("security.log")).unwrap_or_default();
        (text.lines().count() == lines).then_some(text)
    })
}

/// The alert that a client without a certificate gets in TLS 1.3, where it follows the client's own last word.
fn alert_without_certificate(certificates: &Certificates, address: SocketAddr) -> rustls::AlertDescription {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(certificates.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        if let Err(error) = connection.complete_io(&mut stream) {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(rustls::Error::AlertReceived(alert)) => return *alert,
                other => panic!("{other:?}: {error}"),
            }
        }
        assert!(connection.read_tls(&mut stream).unwrap() > 0, "closed without an alert");
        if let Err(rustls::Error::AlertReceived(alert)) = connection.process_new_packets() {
            return alert;
        }
    }
}

#[test]
fn case_08_a_client_without_the_certificate_that_is_required_gets_the_alert_for_it() {
    let certificates = Certificates::new();
    let node = strict_node(&certificates);
    let alert = alert_without_certificate(&certificates, node.address);
    assert_eq!(alert, rustls::AlertDescription::CertificateRequired);
    wait_log(&node, "the peer showed no certificate");
    let written = security_log(&node, 1);
    assert!(written.contains("110113") && written.contains("no_certificate"), "{written}");
}

#[test]
fn case_09_an_expired_and_a_foreign_certificate_get_alerts_and_are_written_down() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let node = strict_node(&certificates);
    let expired = certificates.expired("old-cart");
    let stranger = foreign.issue("stranger");
    for (pair, alert, log) in [
        (&expired, "alert certificate expired", "expired 2021-01-01"),
        (&stranger, "alert", "CN=stranger was issued by CN=test authority"),
    ] {
        let (certificate, key) = (pair.certificate.to_str().unwrap(), pair.key.to_str().unwrap());
        let Some(done) = s_client(node.address, &["-tls1_2", "-cert", certificate, "-key", key]) else {
            return;
        };
        assert!(done.output.contains(alert) && !done.status.success(), "{}", done.output);
        wait_log(&node, log);
    }
    let written = security_log(&node, 2);
    for word in ["110113", "certificate_expired", "CN=old-cart", "CN=stranger", "sha256/"] {
        assert!(written.contains(word), "{word} in {written}");
    }
}

/// Processor time of the node so far, in hundredths of a second.
fn busy(node: &Node) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", node.id())).unwrap();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Says these, each on a connection of its own that stays open until the node closes it; how long that took.
fn stalled(address: SocketAddr, said: &[&[u8]]) -> Duration {
    let began = Instant::now();
    let connect = |bytes: &&[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    for mut stream in said.iter().map(connect).collect::<Vec<_>>() {
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = stream.shutdown(Shutdown::Both);
    }
    began.elapsed()
}

#[test]
fn case_10_a_stalled_handshake_is_closed_at_its_deadline_which_is_10_seconds() {
    let certificates = Certificates::new();
    let node = node(&certificates.issue("chrysalis"), "handshake = \"500ms\"\n").folder("archive").start();
    let hello = client_hello(3);
    // Nothing, half a record, a whole hello.
    let took = stalled(node.address, &[b"", &hello[..20], &hello]);
    assert!((500..5_000).contains(&took.as_millis()), "{took:?}");
    wait_log(&node, "no TLS handshake within 500ms");
    let key = chrysalis::config::KEYS.iter().find(|key| key.dotted() == "listener.tls.handshake");
    assert_eq!(key.unwrap().default, "\"10s\"");
}

#[test]
fn case_14_a_close_notify_right_after_the_hello_does_not_spin() {
    let certificates = Certificates::new();
    let node = node(&certificates.issue("chrysalis"), "handshake = \"2s\"\n").folder("archive").start();
    let before = busy(&node);
    let close = [&client_hello(3)[..], b"\x15\x03\x03\x00\x02\x01\x00"].concat();
    assert!(stalled(node.address, &[&close, &close]) < Duration::from_secs(20));
    // A spin until the deadlines would be most of two seconds.
    assert!(busy(&node) - before < 100, "{} hundredths of a second", busy(&node) - before);
}

#[test]
fn case_15_a_title_that_belongs_to_another_certificate_is_rejected_1_1_3_and_written_down() {
    let certificates = Certificates::new();
    let ca = certificates.ca();
    let ca = ca.to_str().unwrap();
    let (ct, mr) = (certificates.issue("ct1"), certificates.issue("mr1"));
    let more = format!(
        "client = \"optional\"\nca = \"{ca}\"\n\
         [[listener.tls.identity]]\nsan = \"ct1\"\ncalling_ae = [\"CT1\"]\n\
         [[listener.tls.identity]]\nsubject = \"mr1\"\ncalling_ae = [\"MR1\"]\n"
    );
    let node = node(&certificates.issue("chrysalis"), &more).folder("archive").start();
    let (_folder, paths, _) = files(1);
    let as_title =
        |args: &[&str], title: &str| storescu(node.address, &[args, &["-aet", title]].concat(), &paths);
    let Some(good) = as_title(&cart(&ct, ca), "CT1") else { return };
    assert!(good.status.success(), "{}\n{}", good.output, node.output());
    let anonymous = ["+tla", "+cf", ca];
    assert!(as_title(&anonymous, "US1").unwrap().status.success(), "a title that is nobody's");
    for (args, title) in [(&cart(&ct, ca)[..], "MR1"), (&cart(&mr, ca), "CT1"), (&anonymous, "CT1")] {
        let refused = as_title(args, title).unwrap();
        assert!(refused.output.contains("Calling AE Title Not Recognized"), "{title}: {}", refused.output);
    }
    assert_eq!(node.metric("chrysalis_refusals_total", &["reason=\"rejected_1_1_3\""]), 3.0);
    let written = security_log(&node, 3);
    assert!(written.contains("title_not_allowed") && written.contains("MR1"), "{written}");
}

#[test]
fn a_title_that_one_listener_binds_is_refused_at_every_other_as_long_as_it_is_bound() {
    let certificates = Certificates::new();
    let ca = certificates.ca();
    let ca = ca.to_str().unwrap();
    let (ours, ct) = (certificates.issue("chrysalis"), certificates.issue("ct1"));
    let bound = "[[listener.tls.identity]]\nsan = \"ct1\"\ncalling_ae = [\"CT1\"]\n";
    let more = format!("client = \"required\"\nca = \"{ca}\"\n{bound}");
    let (plain, open) = (support::ports::free_address(), support::ports::free_address());
    let another = |name: &str, address: SocketAddr, tls: &str| {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n{tls}")
    };
    let open_tls = format!("[listener.tls]\n{}client = \"optional\"\nca = \"{ca}\"\n", ours.lines());
    let node = node(&ours, &more)
        .table(&another("plain", plain, ""))
        .table(&another("open", open, &open_tls))
        .folder("archive")
        .start();
    let (_folder, paths, _) = files(1);
    let call =
        |address: SocketAddr, args: &[&str]| storescu(address, &[args, &["-aet", "CT1"]].concat(), &paths);
    let anonymous = ["+tla", "+cf", ca];
    let Some(refused) = call(plain, &[]) else { return };
    for refused in [refused, call(open, &anonymous).unwrap()] {
        assert!(refused.output.contains("Calling AE Title Not Recognized"), "{}", refused.output);
    }
    for address in [node.address, open] {
        let sent = call(address, &cart(&ct, ca)).unwrap();
        assert!(sent.status.success(), "{}\n{}", sent.output, node.output());
    }
    let written = eventually("two alerts", PATIENCE, || {
        let text = std::fs::read_to_string(node.data_dir.join("security.log")).unwrap_or_default();
        (text.lines().count() == 2).then_some(text)
    });
    assert!(written.contains("listener plain") && written.contains("listener open"), "{written}");
    // Bound no more: neither here nor there.
    node.edit(bound, "");
    node.run(&["reload"]).expect_success();
    assert!(call(plain, &[]).unwrap().status.success(), "{}", node.output());
}

#[test]
fn a_destination_with_a_wrong_certificate_is_paused_and_goes_on_once_it_is_mended() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let pacs = certificates.issue("pacs");
    let args = ["+tls", pacs.key.to_str().unwrap(), pacs.certificate.to_str().unwrap(), "-ic", "+B"];
    let Some(archive) = Storescp::start(&args) else { return };
    // The node's copy of the authority's certificate is another authority's at first.
    let ca = certificates.folder().join("trusted.pem");
    std::fs::copy(foreign.ca(), &ca).unwrap();
    let tls =
        format!("tls = {{ ca = \"{}\" }}\nbackoff = {{ first = \"100ms\", max = \"1s\" }}", ca.display());
    let node = Node::builder().dicom_with("pacs", archive.address, &tls).start();
    let (_folder, paths, instances) = files(2);
    storescu(node.address, &[], &paths).unwrap().expect_success();
    eventually("a pause", PATIENCE, || {
        let paused =
            node.metric("chrysalis_destination_health", &["destination=\"pacs\"", "state=\"paused\""]);
        (paused == 1.0).then_some(())
    });
    let status = node.run(&["status"]);
    assert!(
        !status.status.success() && status.output.contains("not among those of the trusted authorities"),
        "{}",
        status.output
    );
    let echo = node.run(&["echo", "pacs"]);
    assert!(echo.output.contains("Failed at TLS") && echo.output.contains("means"), "{}", echo.output);
    let reason = "reason=\"bad_certificate\"";
    assert!(node.metric("chrysalis_tls_handshake_failures_total", &["role=\"destination\"", reason]) >= 1.0);
    std::fs::copy(certificates.ca(), &ca).unwrap();
    eventually("a look at the file", PATIENCE, || node.run(&["echo", "pacs"]).status.success().then_some(()));
    node.run(&["resume", "destination", "pacs"]);
    eventually("two files at the archive", PATIENCE, || {
        let delivered = node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]);
        (delivered == 2.0).then_some(())
    });
    same(&instances, &archive.received());
}

#[test]
fn a_peer_that_refuses_our_certificate_after_the_handshake_pauses_the_destination_as_one_during_it_does() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let (pacs, stranger) = (certificates.issue("pacs"), foreign.issue("stranger"));
    let Some(archive) = Storescp::start(&["+B"]) else { return };
    let stranger = stranger.lines().replace('\n', ", ");
    let cases = [
        ("TLSv1.3", "", "the peer wants a client certificate"),
        // The stranger's authority has the same name and another key.
        ("TLSv1.3", &stranger, "the peer could not verify our certificate"),
        ("TLSv1.2", &stranger, "the peer could not verify our certificate"),
    ];
    let ca = certificates.ca();
    for (version, own, words) in cases {
        let front = format!(
            "cert = {}\nkey = {}\nverifyChain = yes\nCAfile = {}\nsslVersion = {version}",
            pacs.certificate.display(),
            pacs.key.display(),
            ca.display()
        );
        let Some(front) = Stunnel::start(archive.address, &front) else { return };
        let tls = format!("tls = {{ {own}ca = \"{}\" }}", ca.display());
        let node = Node::builder().dicom_with("pacs", front.address, &tls).start();
        let (_folder, paths, _) = files(1);
        storescu(node.address, &[], &paths).unwrap().expect_success();
        node.wait_health("pacs", "paused");
        let status = node.run(&["status"]).output;
        assert!(status.contains(&format!("TLS: {words}")), "{version}: {status}");
        let labels = ["role=\"destination\"", "reason=\"refused_by_peer\""];
        assert!(node.metric("chrysalis_tls_handshake_failures_total", &labels) >= 1.0);
        let echo = node.run(&["echo", "pacs"]).output;
        assert!(echo.contains("Failed at TLS") && echo.contains(words), "{version}: {echo}");
    }
}

#[test]
fn a_destination_that_says_nothing_in_the_handshake_is_retried_and_not_paused() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = "tls = { verify = \"none\" }\ntimeouts = { connect = \"200ms\" }\nbackoff = { first = \"50ms\", max = \"100ms\" }";
    let node = Node::builder().dicom_with("pacs", silent.local_addr().unwrap(), tls).start();
    let (_folder, paths, _) = files(1);
    let Some(sent) = storescu(node.address, &[], &paths) else { return };
    sent.expect_success();
    eventually("two attempts", PATIENCE, || {
        let labels = ["role=\"destination\"", "reason=\"tls_timeout\""];
        (node.metric("chrysalis_tls_handshake_failures_total", &labels) >= 2.0).then_some(())
    });
    assert_eq!(node.metric("chrysalis_destination_health", &["state=\"paused\""]), 0.0);
    assert_eq!(node.metric("chrysalis_queued_instances", &["destination=\"pacs\""]), 1.0);
}

#[test]
fn our_own_sender_calls_by_tls_and_falls_back_to_nothing() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let node = node(&certificates.issue("chrysalis"), "").folder("archive").start();
    let (_folder, paths, _) = files(1);
    let (peer, file) = (format!("CHRYSALIS@{}", node.address), paths[0].to_str().unwrap());
    let send = |more: &[&str]| node.run(&[&["send", &peer, file], more].concat());
    send(&["--ca", certificates.ca().to_str().unwrap()]).expect_success();
    send(&["--no-verify"]).expect_success();
    let Some(other) = foreign.issue("other").pin() else { return };
    for believes in [&["--ca", foreign.ca().to_str().unwrap()][..], &["--pin", &other], &["--tls"], &[]] {
        let refused = send(believes);
        assert!(!refused.status.success(), "{believes:?}: {}", refused.output);
    }
    eventually("delivery", PATIENCE, || (!node.delivered("archive").is_empty()).then_some(()));
}

#[test]
fn an_unverified_and_a_plain_destination_are_shown_as_unsecured() {
    let certificates = Certificates::new();
    let Some(pacs) = certificates.recipe_version_1("pacs") else { return };
    let args = ["+tls", pacs.key.to_str().unwrap(), pacs.certificate.to_str().unwrap(), "-ic"];
    let Some(archive) = Storescp::start(&args) else { return };
    let Some(plain) = Storescp::start(&[]) else { return };
    let node = Node::builder()
        .dicom_with("open", archive.address, "tls = { verify = \"none\" }")
        .dicom("plain", plain.address)
        .start();
    let metrics = node.metrics();
    assert_eq!(support::node::sum(&metrics, "chrysalis_destination_secured", &[]), 0.0);
    let status = node.run(&["status"]).output;
    assert_eq!(status.matches("Unsecured").count(), 3, "both, and the listener\n{status}");
    let echo = node.run(&["echo", "open"]).expect_success().output;
    assert!(
        echo.contains("Unsecured: encrypted to whoever answers") && echo.contains(&pacs.pin().unwrap()),
        "{echo}"
    );
    let echo = node.run(&["echo", "plain"]).expect_success().output;
    assert!(echo.contains("Unsecured: what is sent can be read on the way"), "{echo}");
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on() {
    let certificates = Certificates::new();
    let (first, second) = (certificates.issue("first"), certificates.issue("second"));
    let live = Pair {
        certificate: certificates.folder().join("live.pem"),
        key: certificates.folder().join("live.key"),
    };
    std::fs::copy(&first.certificate, &live.certificate).unwrap();
    std::fs::copy(&first.key, &live.key).unwrap();
    let node = node(&live, "").folder("archive").start();
    let Some(before) = s_client(node.address, &[]) else { return };
    assert!(before.output.contains("CN = first"), "{}", before.output);
    // The cart's TLS is a relay's, so that an association can be left open.
    let way = free_address();
    let relay = format!(
        "[[relay]]\nname = \"cart\"\nlisten = \"{way}\"\nconnect = \"{}\"\nconnect_tls = {{ verify = \"none\" }}\n",
        node.address
    );
    let _relay = Node::builder().table(&relay).start();
    let instances = small(40, 3);
    let mut association = Modality::new(way).contexts_for(&instances).associate().unwrap();
    assert_eq!(association.store(&instances[0]).unwrap().status, 0);
    std::fs::copy(&second.certificate, &live.certificate).unwrap();
    std::fs::copy(&second.key, &live.key).unwrap();
    eventually("the new certificate", PATIENCE, || {
        s_client(node.address, &[]).unwrap().output.contains("CN = second").then_some(())
    });
    wait_log(&node, "Certificate files have changed and are in force");
    for instance in &instances[1..] {
        assert_eq!(association.store(instance).unwrap().status, 0);
    }
    association.release().unwrap();
    node.wait_drained();
    assert_eq!(node.delivered("archive").len(), instances.len());
}

#[test]
fn an_expired_renewal_is_not_taken_while_the_certificate_before_is_valid_and_a_good_one_after_it_is() {
    let certificates = Certificates::new();
    let (first, old, third) =
        (certificates.issue("first"), certificates.expired("old"), certificates.issue("third"));
    let live = Pair {
        certificate: certificates.folder().join("live.pem"),
        key: certificates.folder().join("live.key"),
    };
    let put = |pair: &Pair| {
        std::fs::copy(&pair.certificate, &live.certificate).unwrap();
        std::fs::copy(&pair.key, &live.key).unwrap();
    };
    put(&first);
    let node = node(&live, "").folder("archive").start();
    let shown = || s_client(node.address, &[]).map(|finished| finished.output);
    let Some(before) = shown() else { return };
    assert!(before.contains("CN = first"), "{before}");
    put(&old);
    // Files are looked at when somebody calls.
    eventually("the refusal of the expired one", PATIENCE, || {
        let seen = shown().unwrap();
        assert!(seen.contains("CN = first"), "carts go on: {seen}");
        node.output()
            .contains("the certificate in them has expired; the one before is valid and stays")
            .then_some(())
    });
    let left = node.metric("chrysalis_certificate_expiry_seconds", &["role=\"listener\""]);
    assert!(left > 0.0, "of the one that is shown: {left}");
    put(&third);
    eventually("the good one", PATIENCE, || shown().unwrap().contains("CN = third").then_some(()));
}

#[test]
fn a_wrong_file_keeps_a_listener_from_starting_and_check_says_what_it_is() {
    let certificates = Certificates::new();
    let (one, other) = (certificates.issue("one"), certificates.issue("other"));
    for (pair, expected) in [
        (Pair { certificate: one.key.clone(), key: one.key.clone() }, "this is a private key"),
        (
            Pair { certificate: one.certificate.clone(), key: one.certificate.clone() },
            "this is a certificate",
        ),
        (
            Pair { certificate: one.certificate.clone(), key: other.key.clone() },
            "is not the key of the certificate",
        ),
    ] {
        let mut node = node(&pair, "").folder("archive").prepare();
        let checked = node.run(&["check", "--offline"]);
        assert!(!checked.status.success() && checked.output.contains(expected), "{}", checked.output);
        node.spawn();
        let ended = node.wait_end();
        assert!(!ended.success() && node.output().contains(expected), "{}", node.output());
        assert!(node.output().contains("listener.tls"), "{}", node.output());
    }
    let good = node(&one, "").folder("archive").prepare();
    let checked = good.run(&["check", "--offline"]).output;
    assert!(checked.contains("certificate of CN=one (RSA 2048, sha256/"), "{checked}");
}
