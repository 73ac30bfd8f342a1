//! `kill -9` at random times under load: while the program receives, transcodes and forwards, and while it starts.

use crate::chance::Chance;
use crate::load::{Load, decoded, filed, received, wait_drained};
use crate::part::{Broken, Part, Round, Seen};
use crate::support::archive::{Archive, Script};
use crate::support::deliveries::BRISK;
use crate::support::node::Node;
use crate::support::wait::let_pass;
use std::time::Instant;

pub const PART: Part =
    Part { name: "kill", what: "SIGKILL under load", everyday: 100, release: 1_000, needs: || Ok(()), round };

/// Kills from one empty spool to the comparison.
const KILLS: u64 = 25;
const CARTS: u64 = 3;

/// Three carts, three destinations: as received to an archive and to a folder, in JPEG Lossless to another archive.
pub fn round(round: &Round) -> Result<Seen, Broken> {
    let (pacs, lossless) = (Archive::new(), Script::default().keep_data_sets().start());
    let mut node = Node::builder()
        .home(&round.folder)
        // However full the disk of whoever runs this is.
        .queue("reserve = \"1MiB\"\nhigh_watermark = \"100%\"")
        .dicom_with("pacs", pacs.address(), BRISK)
        .dicom_with("lossless", lossless.address(), &format!("{BRISK}\nimage = \"jpeg-lossless\""))
        .folder("archive")
        .start();
    let mut chance = Chance::new(round.seed);
    let mut seen = Seen::default();
    let load = Load::start(node.address, round.seed, CARTS);
    for _ in 0..round.wanted.min(KILLS) {
        let_pass(chance.milliseconds(5, 400));
        node.kill();
        load.next_life(None);
        let started = Instant::now();
        node.spawn();
        // Else it may be killed again before it is ready.
        if !chance.one_in(3) {
            node.wait_listening();
            seen.slowest_start = seen.slowest_start.max(started.elapsed());
        }
        seen.attacks += 1;
    }
    node.wait_ready();
    load.wait_for_more(10);
    let account = load.end();
    wait_drained(&node).map_err(|why| Broken { why, seen: seen.clone() })?;
    let came = [
        ("pacs", account.compare(&received(&pacs.stored()))),
        ("archive", account.compare(&filed(&node.delivered("archive")))),
        ("lossless", account.compare_pixels(&decoded(&lossless.stored()))),
    ];
    account.judge(seen, &came)
}
