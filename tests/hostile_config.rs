//! Configurations that are wrong (case 104): the program says where and what, ends with 78, and a running node keeps what it
//! has.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::net::TcpListener;
use std::path::Path;

use support::certificates::Certificates;
use support::instance::Study;
use support::modality::Modality;
use support::node::Node;
use support::process::write_file;

/// A PACS with more lines.
fn pacs(lines: &str) -> String {
    format!("[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\ncalled_ae = \"PACS\"\n{lines}")
}

fn listener(address: &str) -> String {
    format!("[[listener]]\nname = \"a\"\naddress = \"{address}\"\n")
}

fn data_dir(path: &Path) -> String {
    format!("[node]\ndata_dir = \"{}\"\n", path.display())
}

/// Configurations that are wrong by themselves, and what is said of each.
fn texts() -> Vec<(String, &'static str)> {
    let twice =
        pacs("address = \"h:104\"\n") + &pacs("address = \"h:104\"\n").replace("\"pacs\"", "\"again\"");
    let mut table: Vec<(String, &str)> = vec![
        ("[node]\nae_titel = \"X\"".into(), ":2: node.ae_titel: unknown key; did you mean ae_title?"),
        ("[node]\nae_title = 3".into(), ":2: node.ae_title: expected a string, found 3"),
        (listener("127.0.0.1:0"), ":3: listener.port: 0 is not 1..65535"),
        (listener("127.0.0.1:65536"), ":3: listener.port: 65536 is not 1..65535"),
        (pacs("address = \"h:70000\""), ":5: destination.port: 70000 is not 1..65535"),
        (twice, ":9: destination.called_ae: destination \"pacs\" is the same"),
        ("include = \"gone.toml\"".into(), ":1: include: unknown key"),
        (format!("[node]\n{}", "#".repeat(10 << 20)), "is larger than 10485760 bytes"),
        ("[node]\ndata_dir = \"/\"".into(), ":2: node.data_dir: is the root directory"),
        ("[node]\ndata_dir = \"../../../../../../../../..\"".into(), "node.data_dir"),
    ];
    for deep in ["[".repeat(100_000), "{a=".repeat(100_000), vec!["a"; 100_000].join(".")] {
        table.push((format!("x = {deep}"), "chrysalis.toml:1"));
    }
    table
}

#[track_caller]
fn ends_with_78(text: &str, said: &str) {
    let mut node = Node::builder().prepare();
    write_file(&node.config(), text);
    node.spawn();
    let shown = text.get(..200).unwrap_or(text);
    assert_eq!(node.wait_end().code(), Some(78), "{shown}\n{}", node.output());
    assert!(node.output().contains(said), "{shown}\n{}", node.output());
}

#[test]
fn case_104_what_is_wrong_in_a_configuration_ends_with_78_and_is_named_with_its_line() {
    for (text, said) in texts() {
        ends_with_78(&text, said);
    }
    let line_12 = format!("{}{}", "\n".repeat(7), pacs("address = \"h:70000\""));
    ends_with_78(&line_12, "chrysalis.toml:12: destination.port: 70000 is not 1..65535");
}

#[test]
fn case_104_a_port_that_is_taken_ends_with_78() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    ends_with_78(&listener(&address), &address);
}

#[test]
fn case_104_a_spool_that_cannot_be_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
    ends_with_78(&data_dir(&at("loop")), "node.data_dir");
    std::os::unix::fs::symlink("/", at("root")).unwrap();
    ends_with_78(&data_dir(&at("root")), "node.data_dir");
    std::fs::write(at("file"), "in the way").unwrap();
    ends_with_78(&data_dir(&at("file")), "is not a directory");
}

#[test]
fn case_104_a_spool_on_a_read_only_disk_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = |program: &str, args: &[&str]| {
        let ended = std::process::Command::new(program).args(args).arg(folder.path()).status();
        ended.is_ok_and(|status| status.success())
    };
    if !mounted("mount", &["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"]) {
        eprintln!("skipped: only root can mount a disk");
        return;
    }
    let outcome = std::panic::catch_unwind(|| ends_with_78(&data_dir(folder.path()), "node.data_dir"));
    assert!(mounted("umount", &[]));
    outcome.unwrap();
}

#[test]
fn case_104_a_relative_spool_is_taken_from_where_the_program_runs() {
    let mut node = Node::builder().folder("archive").prepare();
    let absolute = node.data_dir.display().to_string();
    node.edit(&absolute, "./data");
    node.start();
    assert!(node.data_dir.join("spool").is_dir());
}

#[test]
fn case_104_a_key_of_another_certificate_ends_with_78() {
    let certificates = Certificates::new();
    let (one, other) = (certificates.issue("one"), certificates.issue("other"));
    let (certificate, key) = (one.certificate.display(), other.key.display());
    let tls = format!("[listener.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
    ends_with_78(
        &(listener(&support::ports::free_address().to_string()) + &tls),
        "is not the key of the certificate",
    );
}

#[test]
fn case_104_a_reload_of_what_is_wrong_keeps_what_is_in_force() {
    let node = Node::builder().folder("archive").start();
    let good = std::fs::read_to_string(node.config()).unwrap();
    for (number, (text, said)) in (1..).zip(texts()) {
        write_file(&node.config(), &text);
        let answer = node.api_post("/api/reload", "{}");
        let found = answer.text();
        let shown = text.get(..200).unwrap_or(&text);
        assert!(answer.status == 422 && found.contains("\"applied\":false"), "{shown}\n{found}");
        let about = said.rsplit(": ").next().unwrap();
        assert!(node.output().contains(about), "{shown}\n{found}");
        let instance = Study::new(104).small(number);
        assert_eq!(Modality::new(node.address).store(&instance).unwrap().status, 0, "{shown}");
    }
    write_file(&node.config(), &good);
    assert_eq!(node.api_post("/api/reload", "{}").status, 200);
}
