//! `chrysalis load` through the real binary: small runs, whole accounts.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::path::Path;
use std::time::Duration;

use chrysalis::load::report::Report;
use support::archive::Archive;
use support::node::Node;
use support::ports::free_address;
use support::process::{Finished, run};

const PATIENCE: Duration = Duration::from_secs(120);
/// The lightest studies that there are: two stills and five loops, 31 MB.
const LIGHT: [&str; 4] = ["--kind", "point of care", "--mix", "all-jpeg"];

#[track_caller]
fn load(args: &[&str]) -> Finished {
    run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), ["load"].iter().chain(args), PATIENCE)
}

/// Runs it with a node of its own, and reads the report.
#[track_caller]
fn loaded(args: &[&str]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let (json, data) = (folder.path().join("report.json"), folder.path().join("data"));
    let files = ["--json", json.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let finished = load(&[args, &files].concat());
    let report = Report::read_json(&json).unwrap_or_else(|error| panic!("{error}\n{}", finished.output));
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "the node left something: {}", finished.output);
    report
}

/// Everything of so many instances came as it was sent, once, and in order.
#[track_caller]
fn assert_whole(report: &Report, sent: u64) {
    let account = report.account;
    assert_eq!((account.sent, account.acknowledged, account.delivered), (sent, sent, sent), "{account:?}");
    assert_eq!(account.lost + account.altered + account.held + account.waiting, 0, "{account:?}");
    assert_eq!((account.repeated, account.out_of_order), (0, 0), "{account:?}");
}

#[test]
fn two_studies_are_delivered_byte_for_byte_and_nothing_is_left() {
    let report = loaded(&[&LIGHT[..], &["--studies", "2", "--burst"]].concat());
    assert_whole(&report, 14);
    assert_eq!(
        (report.acknowledge.count, report.acknowledge_stills.count, report.deliver.count),
        (14, 4, 14)
    );
    let node = report.node.unwrap();
    assert!(node.cpu_seconds > 0.0 && node.peak_memory_bytes > 0);
    assert!(report.machine.flush_seconds > 0.0);
    assert_eq!(report.samples.last().unwrap().instances_delivered, 14);
}

#[test]
fn stills_that_become_lossless_are_delivered_pixel_for_pixel() {
    let args = ["--kind", "point of care", "--studies", "1", "--burst", "--route", "jpeg-lossless-stills"];
    assert_whole(&loaded(&args), 7);
}

#[test]
fn what_gathers_in_an_outage_is_delivered_after_it() {
    let outage = ["--for", "15m", "--compress-time", "300", "--outage", "3m+8m"];
    let report = loaded(&[&LIGHT[..], &outage].concat());
    assert_whole(&report, report.account.sent);
    let [outage] = &report.outages[..] else { panic!("{:?}", report.outages) };
    assert!(outage.backlog_instances > 0 && outage.drained_seconds.is_some(), "{outage:?}");
}

#[test]
fn a_node_that_is_there_is_loaded_and_its_deliveries_are_compared() {
    let pacs = free_address();
    let node = Node::builder().dicom("pacs", pacs).start();
    let (to, pacs) = (format!("CHRYSALIS@{}", node.address), pacs.to_string());
    let metrics = format!("http://{}/metrics", node.admin);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let external = ["--to", &to, "--pacs", &pacs, "--metrics", &metrics, "--json", json.to_str().unwrap()];
    let finished = load(&[&LIGHT[..], &["--studies", "1", "--burst"], &external].concat());
    let report = Report::read_json(&json).unwrap_or_else(|error| panic!("{error}\n{}", finished.output));
    assert_whole(&report, 7);
}

#[test]
fn what_is_no_chrysalis_is_not_loaded() {
    let archive = Archive::new();
    let (to, pacs) = (format!("PACS@{}", archive.address()), free_address().to_string());
    let finished = load(&["--to", &to, "--pacs", &pacs, "--studies", "1"]);
    assert!(!finished.status.success());
    assert!(finished.output.contains("is no Chrysalis but TEST_ARCHIVE"), "{}", finished.output);
    assert!(archive.arrivals().is_empty());
}

#[test]
fn a_disk_without_room_for_the_outage_is_said_before_anything_is_sent() {
    let wanted = ["--mix", "all-native", "--for", "1000h", "--outage", "1h+900h"];
    let finished = load(&[&wanted[..], &["--compress-time", "20"]].concat());
    assert!(!finished.status.success());
    assert!(finished.output.contains("shorten the outage"), "{}", finished.output);
}
