//! Power cuts under load: the program on a real file system that is ended by the kernel without a word.
//!
//! Carts, their ledgers and the archives are elsewhere; spool and folder destination are on the disk. One spool lives
//! through all cuts of a round. An acknowledgement counts only if it was received before the cut began: a sync
//! that races with the cut can return success with nothing on the disk.

use crate::chance::Chance;
use crate::disk::{self, Disk, Format, Log};
use crate::load::{Load, filed, received, wait_drained};
use crate::part::{Broken, Part, Round, Seen};
use crate::support::archive::Archive;
use crate::support::deliveries::BRISK;
use crate::support::node::{Node, NodeBuilder};
use crate::support::process::list;
use crate::support::wait::let_pass;
use std::time::Instant;

pub const EXT4: Part = Part {
    name: "power",
    what: "power cuts under load, on ext4 with data=ordered and data=writeback",
    everyday: 200,
    release: 10_000,
    needs: || disk::can(Format::Ext4Ordered),
    round: |round| {
        let writeback = round.seed % 2 == 0;
        lives(round, if writeback { Format::Ext4Writeback } else { Format::Ext4Ordered })
    },
};

pub const XFS: Part = Part {
    name: "power-xfs",
    what: "power cuts under load, on XFS",
    everyday: 50,
    release: 2_000,
    needs: || disk::can(Format::Xfs),
    round: |round| lives(round, Format::Xfs),
};

/// Cuts through which one spool lives.
const CUTS: u64 = 50;
/// The folder destination, on the disk.
const FOLDER: &str = "archive";
const CARTS: u64 = 3;

/// The lives of one spool, and at the end all that came.
fn lives(round: &Round, format: Format) -> Result<Seen, Broken> {
    let disk = Disk::new(&round.folder, format).map_err(Broken::new)?;
    let mut seen = Seen::default();
    let outcome = cut_and_cut_again(round, &disk, &mut seen);
    outcome.map_err(|broken| Broken { why: format!("{format:?}: {}", broken.why), ..broken })
}

fn cut_and_cut_again(round: &Round, disk: &Disk, seen: &mut Seen) -> Result<Seen, Broken> {
    let mut chance = Chance::new(round.seed);
    let mut pacs = Pacs { archive: Archive::new(), is_up: true };
    let mut node = node(round, disk, &pacs.archive, chance.one_in(2)).start();
    let load = Load::start(node.address, round.seed, CARTS);
    for left in (0..round.wanted.min(CUTS)).rev() {
        pacs.come_and_go(&mut chance);
        let_pass(chance.milliseconds(5, 150));
        let began = Instant::now();
        disk.cut(if chance.one_in(2) { Log::Lost } else { Log::Flushed }).map_err(Broken::new)?;
        // For a moment the program may go on, with a disk that only fails.
        let_pass(chance.milliseconds(0, 10));
        node.kill();
        disk.power_on().map_err(Broken::new)?;
        load.next_life(Some(began));
        let started = Instant::now();
        node.spawn();
        // Else the power may go again before it is ready.
        if left == 0 || !chance.one_in(3) {
            node.wait_listening();
            seen.slowest_start = seen.slowest_start.max(started.elapsed());
        }
        seen.attacks += 1;
    }
    node.wait_ready();
    load.wait_for_more(10);
    let account = load.end();
    pacs.come();
    wait_drained(&node).map_err(|why| Broken { why, seen: seen.clone() })?;
    // What is said to be in the folder has to be there after one more cut.
    disk.cut(Log::Lost).map_err(Broken::new)?;
    node.kill();
    disk.power_on().map_err(Broken::new)?;
    let mut files = list(&disk.path().join(FOLDER));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "dcm"));
    let came = [
        ("pacs", account.compare(&received(&pacs.archive.stored()))),
        ("archive", account.compare(&filed(&files))),
    ];
    account.judge(std::mem::take(seen), &came)
}

/// With its data and a folder destination on the disk; `forgets` payloads as soon as they are delivered.
fn node(round: &Round, disk: &Disk, pacs: &Archive, forgets: bool) -> NodeBuilder {
    let folder = disk.path().join(FOLDER);
    let retain = if forgets { "0s" } else { "72h" };
    Node::builder()
        .home(&round.folder)
        .data_dir(&disk.path().join("data"))
        .queue(&format!("reserve = \"1MiB\"\nretain = \"{retain}\""))
        .dicom_with("pacs", pacs.address(), BRISK)
        .table(&format!(
            "[[destination]]\nname = \"archive\"\nkind = \"folder\"\npath = \"{}\"",
            folder.display()
        ))
        .table("[transcode]\ncache = \"1MiB\"\n\n[log]\nlevel = \"warn\"")
}

/// An archive that is now and then away for a few cuts: then one destination has everything and the other nothing.
struct Pacs {
    archive: Archive,
    is_up: bool,
}

impl Pacs {
    fn come_and_go(&mut self, chance: &mut Chance) {
        if !self.is_up && chance.one_in(3) {
            self.come();
        } else if self.is_up && chance.one_in(8) {
            self.archive.stop();
            self.is_up = false;
        }
    }

    fn come(&mut self) {
        if !self.is_up {
            self.archive.start_again();
            self.is_up = true;
        }
    }
}
