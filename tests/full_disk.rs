//! A disk that fills up: a small ext4 image on a loop device. Needs root, `mkfs.ext4` and `mount`.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::archive::Archive;
use support::deliveries::{BRISK, SOON};
use support::instance::{Instance, Study};
use support::ledger::Ledger;
use support::modality::{Failure, Modality};
use support::node::{Node, program_under_test};
use support::process::find;
use support::wait::eventually;

/// A file system of its own; dropping it unmounts it.
struct SmallDisk {
    mount: PathBuf,
    _home: tempfile::TempDir,
}

impl SmallDisk {
    /// A new disk of so many MiB, or none where that is not possible.
    fn new(mebibytes: u64) -> Option<Self> {
        let (Some(mkfs), Some(mount)) = (find("mkfs.ext4"), find("mount")) else {
            eprintln!("skipped: mkfs.ext4 and mount are needed");
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let (image, place) = (home.path().join("image"), home.path().join("disk"));
        std::fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        std::fs::create_dir(&place).unwrap();
        let quiet = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let made = quiet(Command::new(mkfs).args(["-q", "-m", "0"]).arg(&image));
        if !made || !quiet(Command::new(mount).args(["-o", "loop"]).arg(&image).arg(&place)) {
            eprintln!("skipped: a loop device cannot be mounted here");
            return None;
        }
        Some(Self { mount: place, _home: home })
    }

    /// Takes all space that is left, but for so many KiB.
    fn fill_but(&self, kibibytes: usize) -> PathBuf {
        let path = self.mount.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&vec![1; 64 << 10]).is_ok() {}
        file.sync_all().unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub((kibibytes as u64) << 10)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has it open is killed by now; the mount goes with the last of it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

fn node_on(disk: &Path, archive: &Archive, watermark: &str) -> Node {
    Node::builder()
        .dicom_with("pacs", archive.address(), BRISK)
        .data_dir(&disk.join("data"))
        .queue(&format!("reserve = \"2MiB\"\nretain = \"0s\"\nhigh_watermark = \"{watermark}\""))
        .start()
}

/// Stores stills one by one until one is not taken; how it was refused.
fn fill(node: &Node, study: &Study, numbers: std::ops::Range<u32>, ledger: &Ledger) -> Option<String> {
    for number in numbers {
        let instance = study.still(number);
        match Modality::new(node.address).store(&instance) {
            Ok(answer) if ledger.note(&instance, &answer) => {}
            Ok(answer) => return Some(format!("{:04X}", answer.status)),
            Err(Failure::Rejected { result, source, reason }) => {
                return Some(format!("{result}/{source}/{reason}"));
            }
            Err(other) => panic!("neither stored nor refused: {other:?}"),
        }
    }
    None
}

#[track_caller]
fn everything_acknowledged_arrives(archive: &Archive, ledger: &Ledger) {
    eventually("everything acknowledged arriving", SOON, || {
        let arrived = archive.stored();
        let missing = ledger.missing(arrived.iter().map(|a| (a.sop_instance.as_str(), &a.digest)));
        missing.is_empty().then_some(())
    });
}

#[test]
fn at_the_high_watermark_carts_are_told_to_wait_and_all_goes_on_when_the_pacs_is_back() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let mut archive = Archive::new();
    archive.stop();
    let node = node_on(&disk.mount, &archive, "70%");
    let (study, ledger) = (Study::new(1), Ledger::default());
    let refusal = fill(&node, &study, 1..100, &ledger).expect("the disk fills");
    assert!(["2/3/1", "A700"].contains(&refusal.as_str()), "{refusal}");
    assert!(ledger.len() > 10, "only {} fit", ledger.len());
    eventually("not being ready", SOON, || (!node.is_ready()).then_some(()));
    let refusal = fill(&node, &study, 100..101, &ledger);
    assert_eq!(refusal.as_deref(), Some("2/3/1"), "no association is begun that would end with A700");
    archive.start_again();
    everything_acknowledged_arrives(&archive, &ledger);
    eventually("being ready again", SOON, || node.is_ready().then_some(()));
    let refusal = fill(&node, &study, 200..220, &ledger);
    assert_eq!(refusal, None, "it takes as much as before");
    everything_acknowledged_arrives(&archive, &ledger);
}

#[test]
fn a_disk_that_somebody_else_fills_refuses_with_a700_forwards_on_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::new(64) else { return };
    let mut archive = Archive::new();
    archive.stop();
    let mut node = node_on(&disk.mount, &archive, "100%");
    let (study, ledger) = (Study::new(2), Ledger::default());
    assert_eq!(fill(&node, &study, 1..12, &ledger), None);
    let early = study.still(99);
    let mut association = Modality::new(node.address).contexts_for([&early]).associate().unwrap();
    let filler = disk.fill_but(0);
    assert_eq!(association.store(&early).unwrap().status, 0xA700);
    for number in 100..110 {
        let refusal = fill(&node, &study, number..number + 1, &ledger);
        assert!(matches!(refusal.as_deref(), Some("A700" | "2/3/1")), "{refusal:?}");
    }
    archive.start_again();
    everything_acknowledged_arrives(&archive, &ledger);
    // The outcomes are recorded on the full disk, from the ballast: nothing is sent again after a crash.
    let seen = node.wait_drained();
    // An answer about a decision, even that it changes nothing, comes after the sync of everything before it.
    let body = format!("{{\"instances\": [\"{}\"], \"destination\": \"pacs\"}}", seen[0].instance);
    let answer = node.api_post("/api/queue/retry", &body);
    assert_eq!(answer.status, 200, "outcomes cannot be recorded: {}", answer.text());
    node.kill();
    node.spawn();
    eventually("an answer of the restarted node", SOON, || {
        support::http::get(node.admin, "/health/live").ok().filter(|response| response.status == 200)
    });
    std::fs::remove_file(filler).unwrap();
    node.wait_ready();
    let refusal = eventually("room again", Duration::from_secs(20), || {
        let refusal = fill(&node, &study, 300..305, &ledger);
        refusal.is_none().then_some(refusal)
    });
    assert_eq!(refusal, None);
    everything_acknowledged_arrives(&archive, &ledger);
    let first: Vec<Instance> = (1..12).map(|n| study.still(n)).collect();
    for instance in &first {
        let times = archive.stored().iter().filter(|a| a.sop_instance == instance.sop_instance).count();
        assert_eq!(times, 1, "a finished one is not sent again");
    }
}

/// `/dev/full` takes nothing, as a full disk under a log does.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let archive = Archive::new();
    let node = Node::builder().dicom_with("pacs", archive.address(), BRISK).prepare();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = Command::new(program_under_test())
        .arg("--config")
        .arg(node.config())
        .stdout(full.try_clone().unwrap())
        .stderr(full)
        .spawn()
        .unwrap();
    eventually("being ready", SOON, || node.is_ready().then_some(()));
    let (study, ledger) = (Study::new(3), Ledger::default());
    assert_eq!(fill(&node, &study, 1..12, &ledger), None);
    everything_acknowledged_arrives(&archive, &ledger);
    let seen = node.wait_drained();
    let body = format!("{{\"instances\": [\"{}\"], \"destination\": \"pacs\"}}", seen[0].instance);
    assert_eq!(node.api_post("/api/queue/resend", &body).status, 200);
    rustix::process::kill_process(rustix::process::Pid::from_child(&program), rustix::process::Signal::TERM)
        .unwrap();
    assert!(program.wait().unwrap().success());
}
