//! `chrysalis cert`: what it makes is taken by OpenSSL and DCMTK, and what it says of peers is true of them.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::ports::free_address;
use support::process::{Finished, Process, run};
use support::strangers::{Storescp, require};
use support::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// `chrysalis cert` with these words.
#[track_caller]
fn cert<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    let words: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    let all = std::iter::once("cert".into()).chain(words);
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), all, SOON)
}

#[track_caller]
fn generate(folder: &Path, args: &[&str]) -> Finished {
    let words = ["generate", "--out", folder.to_str().unwrap(), "--name", "localhost"];
    cert(words.iter().chain(args))
}

/// An authority with a server for this machine and a client.
fn authority(key: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--san", "localhost", "--san", "127.0.0.1", "--ca", "--client", "cart1", "--key", key];
    generate(folder.path(), &args).expect_success();
    folder
}

fn at(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// A TLS server of OpenSSL's, which ends with the test.
fn s_server(folder: &tempfile::TempDir, args: &[&str]) -> Option<(Process, SocketAddr)> {
    let program = require("openssl")?;
    let address = free_address();
    let mut command = Command::new(program);
    command.args(["s_server", "-quiet", "-accept", &address.to_string()]).args(args);
    let process = Process::start("s_server", command, folder.path());
    eventually("s_server", SOON, || std::net::TcpStream::connect(address).ok());
    Some((process, address))
}

fn check(address: SocketAddr, args: &[&str]) -> Finished {
    let peer = format!("localhost:{}", address.port());
    cert(["check", &peer, "--timeout", "5s"].iter().chain(args))
}

#[test]
fn openssl_verifies_what_is_generated_for_both_purposes() {
    let Some(openssl) = require("openssl") else { return };
    for key in ["rsa", "ecdsa"] {
        let folder = authority(key);
        let verify = |ca: &str, purpose: &str, name: &str| {
            let args = ["verify", "-x509_strict", "-CAfile", ca, "-purpose", purpose, name];
            run(&openssl, args, SOON).expect_success();
        };
        verify(&at(&folder, "ca.pem"), "sslserver", &at(&folder, "server.pem"));
        verify(&at(&folder, "ca.pem"), "sslclient", &at(&folder, "cart1.pem"));
        let own = tempfile::tempdir().unwrap();
        generate(own.path(), &["--key", key]).expect_success();
        let node = at(&own, "node.pem");
        for purpose in ["sslserver", "sslclient"] {
            let args = ["verify", "-CAfile", &node, "-purpose", purpose, &node];
            run(&openssl, args, SOON).expect_success();
        }
        let host = ["verify", "-CAfile", &node, "-verify_hostname", "localhost", &node];
        run(&openssl, host, SOON).expect_success();
    }
}

#[test]
fn show_tells_the_pin_that_openssl_computes() {
    let Some(openssl) = require("openssl") else { return };
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &["--key", "ecdsa", "--days", "30", "--san", "192.0.2.1"]).expect_success();
    let file = at(&folder, "node.pem");
    let shown = cert(["show", &file]).expect_success().output;
    let der = at(&folder, "key.der");
    let public = run(&openssl, ["x509", "-in", &file, "-pubkey", "-noout"], SOON).expect_success().output;
    std::fs::write(at(&folder, "public.pem"), public).unwrap();
    let args = ["pkey", "-pubin", "-in", &at(&folder, "public.pem"), "-outform", "DER", "-out", &der];
    run(&openssl, args, SOON).expect_success();
    let hash = at(&folder, "hash");
    run(&openssl, ["dgst", "-sha256", "-binary", "-out", &hash, &der], SOON).expect_success();
    let base64 = run(&openssl, ["base64", "-in", &hash], SOON).expect_success().output;
    assert!(shown.contains(&format!("sha256/{}", base64.trim())), "{shown}");
    for words in ["CN=localhost", "192.0.2.1", "X.509 v3, ECDSA P-256", "29 days left", "(itself)"] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    let key = cert(["show", &at(&folder, "node.key")]);
    assert!(!key.status.success() && key.output.contains("this is a private key"), "{}", key.output);
    let day = tempfile::tempdir().unwrap();
    let made = generate(day.path(), &["--key", "ecdsa", "--days", "1"]).expect_success();
    assert!(made.output.contains("24 hours left"), "{}", made.output);
    let again = generate(folder.path(), &[]);
    assert!(!again.status.success() && again.output.contains("nothing is overwritten"), "{}", again.output);
}

#[test]
fn a_client_that_should_outlive_its_authority_is_cut_short_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &["--ca", "--key", "ecdsa", "--days", "30"]).expect_success();
    let made = generate(folder.path(), &["--ca", "--key", "ecdsa", "--client", "cart9"]).expect_success();
    assert!(made.output.contains("Not 3650 days: the authority expires on"), "{}", made.output);
    assert!(made.output.contains("29 days left"), "{}", made.output);
    let odd = cert(["generate", "--name", "node", "--san", "300.1.1.1"]);
    assert!(
        !odd.status.success() && odd.output.contains("looks like an address and is none"),
        "{}",
        odd.output
    );
}

#[test]
fn pkcs12_is_read_by_openssl_in_both_strengths_and_never_shows_its_password() {
    let Some(openssl) = require("openssl") else { return };
    let folder = authority("rsa");
    std::fs::write(folder.path().join("password"), "correct horse\n").unwrap();
    for (name, more) in [("modern.pfx", None), ("legacy.pfx", Some("--legacy"))] {
        let out = at(&folder, name);
        let (certificate, key) = (at(&folder, "server.pem"), at(&folder, "server.key"));
        let password = at(&folder, "password");
        let words = ["pfx", "--certificate", &certificate, "--key", &key, "--out", &out];
        let words = words.into_iter().chain(["--password-file", &password]).chain(more);
        let made = cert(words.clone()).expect_success();
        assert!(!made.output.contains("horse"));
        let info = ["pkcs12", "-in", &out, "-noout", "-info", "-passin", "pass:correct horse"];
        let info = run(&openssl, info, SOON).expect_success().output;
        let algorithm = if more.is_some() { "3-KeyTripleDES" } else { "AES-256-CBC" };
        assert!(info.contains(algorithm), "{info}");
        let open = ["pkcs12", "-in", &out, "-nodes", "-passin", "pass:correct horse"];
        let opened = run(&openssl, open, SOON).expect_success().output;
        assert!(opened.contains("PRIVATE KEY") && opened.contains("CERTIFICATE"), "{opened}");
        let wrong = run(&openssl, ["pkcs12", "-in", &out, "-noout", "-passin", "pass:wrong"], SOON);
        assert!(!wrong.status.success());
        assert!(!cert(words).status.success(), "it is not overwritten");
    }
    // Keys as older recipes leave them, PKCS #1 and SEC 1.
    let (rsa, ec) = (at(&folder, "rsa1.key"), at(&folder, "ec1.key"));
    let old = ["rsa", "-in", &at(&folder, "server.key"), "-traditional", "-out", &rsa];
    run(&openssl, old, SOON).expect_success();
    let curve = ["ecparam", "-genkey", "-noout", "-name", "secp384r1", "-out", &ec];
    run(&openssl, curve, SOON).expect_success();
    let ec_certificate = at(&folder, "ec1.pem");
    let request = ["req", "-x509", "-key", &ec, "-subj", "/CN=ec", "-days", "9", "-out", &ec_certificate];
    run(&openssl, request, SOON).expect_success();
    for (certificate, key, name) in
        [(at(&folder, "server.pem"), rsa, "rsa1.pfx"), (ec_certificate, ec, "ec1.pfx")]
    {
        let (out, password) = (at(&folder, name), at(&folder, "password"));
        let words = ["pfx", "--certificate", &certificate, "--key", &key, "--out", &out];
        cert(words.into_iter().chain(["--password-file", &password])).expect_success();
        let open = ["pkcs12", "-in", &out, "-nodes", "-passin", "pass:correct horse"];
        assert!(run(&openssl, open, SOON).expect_success().output.contains("PRIVATE KEY"));
    }
}

#[test]
fn a_good_peer_is_said_to_be_good_and_a_private_authority_is_named() {
    let folder = authority("ecdsa");
    let (certificate, key) = (at(&folder, "server.pem"), at(&folder, "server.key"));
    let Some((_server, address)) = s_server(&folder, &["-cert", &certificate, "-key", &key]) else { return };
    let report = check(address, &["--ca", &at(&folder, "ca.pem")]).expect_success().output;
    for words in ["TLS 1.3  yes", "TLS 1.2  yes", "TLS 1.0  no", "CN=localhost", "not asked for", "sha256/"] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    assert!(report.contains("verify = \"ca\"     connects, Secured"), "{report}");
    assert!(report.contains("verify = \"pin\"    connects, Secured"), "{report}");
    assert!(report.contains("verify = \"none\"   connects, Unsecured"), "{report}");
    assert!(report.contains("B.12"), "{report}");
    let foreign = check(address, &[]).output;
    assert!(foreign.contains("verify = \"ca\"     fails"), "{foreign}");
    assert!(foreign.contains("fix: set ca to the certificate of CN=localhost CA"), "{foreign}");
    let other = check(address, &["--ca", &at(&folder, "ca.pem"), "--server-name", "pacs.example.org"]).output;
    assert!(other.contains("set server_name = \"localhost\""), "{other}");
}

#[test]
fn a_peer_that_wants_a_certificate_is_told_apart_from_one_that_only_asks() {
    let folder = authority("rsa");
    let (certificate, key, ca) =
        (at(&folder, "server.pem"), at(&folder, "server.key"), at(&folder, "ca.pem"));
    let server = ["-cert", &certificate, "-key", &key, "-CAfile", &ca];
    let strict: Vec<_> = server.into_iter().chain(["-Verify", "1", "-verify_return_error"]).collect();
    let Some((_strict, address)) = s_server(&folder, &strict) else { return };
    let report = check(address, &["--ca", &ca]);
    assert!(
        !report.status.success() && report.output.contains("required: set certificate"),
        "{}",
        report.output
    );
    assert!(!report.output.contains("connects"), "not even unverified: {}", report.output);
    let stranger = tempfile::tempdir().unwrap();
    generate(stranger.path(), &["--key", "ecdsa"]).expect_success();
    let (theirs, theirs_key) = (at(&stranger, "node.pem"), at(&stranger, "node.key"));
    let report = check(address, &["--ca", &ca, "--certificate", &theirs, "--key", &theirs_key]);
    assert!(!report.status.success() && !report.output.contains("connects"), "{}", report.output);
    for words in [
        "asked for, and ours was refused",
        "ours is that of CN=localhost",
        "have the peer trust CN=localhost",
    ] {
        assert!(report.output.contains(words), "{words}\n{}", report.output);
    }
    let own = ["--ca", &ca, "--certificate", &at(&folder, "cart1.pem"), "--key", &at(&folder, "cart1.key")];
    let shown = check(address, &own).expect_success().output;
    assert!(shown.contains("ours was taken"), "{shown}");
    let mild: Vec<_> = server.into_iter().chain(["-verify", "1"]).collect();
    let Some((_mild, address)) = s_server(&folder, &mild) else { return };
    let report = check(address, &["--ca", &ca]).expect_success().output;
    assert!(report.contains("asked for, and not required"), "{report}");
}

#[test]
fn a_peer_with_old_ciphers_or_without_tls_is_named_with_what_to_do() {
    let folder = authority("rsa");
    let (certificate, key) = (at(&folder, "server.pem"), at(&folder, "server.key"));
    let old = ["-cert", &certificate, "-key", &key, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"];
    let Some((_server, address)) = s_server(&folder, &old) else { return };
    let report = check(address, &[]);
    assert!(!report.status.success());
    assert!(
        report.output.contains("TLS 1.2 without forward secrecy  yes  TLS_RSA_WITH_AES_128_CBC_SHA (0x002F)"),
        "{}",
        report.output
    );
    assert!(report.output.contains("only ciphers that are not spoken here"), "{}", report.output);
    let dhe = "DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
    let both = ["-cert", &certificate, "-key", &key, "-tls1_2", "-cipher", dhe];
    let Some((_server, address)) = s_server(&folder, &both) else { return };
    let report = check(address, &["--ca", &at(&folder, "ca.pem")]).expect_success().output;
    assert!(
        report.contains("TLS 1.2 with DHE  yes  TLS_DHE_RSA_WITH_AES_256_GCM_SHA384 (0x009F)"),
        "{report}"
    );
    assert!(
        report.contains("B.13, modified BCP 195 (and so B.12") && report.contains("2048 bits or more"),
        "{report}"
    );
    let ancient = ["-cert", &certificate, "-key", &key, "-tls1", "-cipher", "ALL:@SECLEVEL=0"];
    let Some((_server, address)) = s_server(&folder, &ancient) else { return };
    let report = check(address, &[]).output;
    assert!(report.contains("TLS 1.0  yes") && report.contains("before TLS 1.2"), "{report}");
}

#[test]
fn a_port_without_tls_and_a_port_without_anybody_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.fill_buf();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = reader.read_line(&mut first);
        }
    });
    let report = check(address, &[]);
    assert!(
        !report.status.success() && report.output.contains("does not speak TLS here"),
        "{}",
        report.output
    );
    let nobody = check(free_address(), &[]);
    assert!(!nobody.status.success() && nobody.output.contains("cannot be reached"), "{}", nobody.output);
}

#[test]
fn dcmtk_takes_the_authoritys_server_and_client() {
    let Some(echoscu) = require("echoscu") else { return };
    for key in ["rsa", "ecdsa"] {
        let folder = authority(key);
        let file = |name: &str| at(&folder, name);
        let tls = |stem: &str| [file(&format!("{stem}.key")), file(&format!("{stem}.pem"))];
        let [server_key, server] = tls("server");
        let ca = file("ca.pem");
        let args = ["+tls", &server_key, &server, "+cf", &ca, "-rc"];
        let Some(storescp) = Storescp::start(&args) else { return };
        let [client_key, client] = tls("cart1");
        let (host, port) = ("127.0.0.1".to_owned(), storescp.address.port().to_string());
        let words = ["+tls", &client_key, &client, "+cf", &ca, "-rc", &host, &port];
        run(&echoscu, words, SOON).expect_success();
        let report = check(storescp.address, &["--ca", &ca, "--certificate", &client, "--key", &client_key]);
        assert!(report.status.success(), "{}", report.output);
    }
}
