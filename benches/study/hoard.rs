//! A spool as a hospital's is after a day without its PACS: 100,000 instances of studies of 24 by 40 carts, with headers
//! as carts write them. All are owed to a PACS that is away, half of them were delivered to a share as well, and some
//! are held.

use super::support::backlog::Silent;
use super::support::instance::{DataSet, Digest, Instance, Study};
use super::support::node::Node;
use super::support::ports::free_address;
use chrysalis::receive::Arrival;
use chrysalis_queue::{Hold, HoldKind, Keys, LeaseRequest, Meta, Options, Outcome, Owed, Queue};
use std::path::Path;

/// Instances in the spool.
pub(crate) const INSTANCES: u32 = 100_000;
/// Instances of one study.
const STUDY: u32 = 24;
/// Calling AE titles.
const TITLES: u32 = 40;
/// One of so many instances is held.
const HELD: u32 = 100;
/// Threads that fill the spool.
const FILLERS: u32 = 4;
/// Deliveries that are taken at a time.
const LEASED: usize = STUDY as usize;

/// A node that is not started yet, with its spool.
pub(crate) fn node() -> Node {
    let away = "backoff = { first = \"12h\", max = \"24h\" }";
    let node = Node::builder()
        .queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"")
        .dicom_with("pacs", free_address(), away)
        .folder("share")
        .prepare();
    fill(&node.data_dir);
    node
}

/// The study of an instance.
pub(crate) fn study_of(n: u32) -> Study {
    Study::new(100_000 + u64::from(n / STUDY))
}

/// Who sent an instance: half of the titles begin with `VIVID`, the others with `EPIQ`.
pub(crate) fn title_of(n: u32) -> String {
    let title = n / STUDY % TITLES;
    let make = if title < TITLES / 2 { "VIVID" } else { "EPIQ" };
    format!("{make}{title:02}")
}

fn fill(data_dir: &Path) {
    let options = Options { extension: "dcm", reserve: 256 << 20, ..Options::new(data_dir) };
    let (queue, _) = Queue::open(&options, Silent).unwrap();
    std::thread::scope(|scope| {
        for filler in 0..FILLERS {
            let queue = queue.clone();
            // Whole studies, so that what is of one study lies together.
            let mine = move |n: &u32| n / STUDY % FILLERS == filler;
            scope.spawn(move || (0..INSTANCES).filter(mine).for_each(|n| store(&queue, n)));
        }
    });
    deliver(&queue);
    queue.close();
}

fn store(queue: &Queue, n: u32) {
    let study = study_of(n);
    let instance = study.small(n % STUDY + 1);
    let mut staged = queue.stage(&[0; 400]).unwrap();
    let DataSet::Bytes(bytes) = &instance.data_set else { unreachable!("a still is in memory") };
    staged.write(bytes).unwrap();
    staged.commit(meta(n, &instance), |_| Vec::new()).unwrap();
}

fn meta(n: u32, instance: &Instance) -> Meta {
    let subject = Digest::of(instance.study.as_bytes()).0;
    let keys = Keys {
        kind: instance.sop_class.clone(),
        key: instance.sop_instance.clone(),
        group: instance.study.clone(),
        subject: *subject.first_chunk().unwrap(),
    };
    let arrival = Arrival {
        identity: None,
        listener: "modalities".to_owned(),
        peer: ([192, 168, 10, 20], 40_000).into(),
        site: None,
        upload: None,
        calling_ae: title_of(n),
        called_ae: "CHRYSALIS".to_owned(),
        transfer_syntax: instance.transfer_syntax.clone(),
        sound: true,
        revision: "0123456789abcdef".to_owned(),
        rules: Vec::new(),
    };
    let pacs = match n % HELD {
        0 => Owed::hold("pacs", Hold::new(HoldKind::Rule, "held by rule look-first")),
        _ => Owed::send("pacs"),
    };
    let share = (n / STUDY).is_multiple_of(2).then(|| Owed::send("share"));
    let owed = std::iter::once(pacs).chain(share).collect();
    Meta { keys, owed, attachment: arrival.to_bytes() }
}

/// Half of it has gone to the share.
fn deliver(queue: &Queue) {
    queue.flush().unwrap();
    loop {
        let leases = queue.lease("share", LeaseRequest { max: LEASED, ..LeaseRequest::default() });
        let leases = leases.unwrap().leases;
        if leases.is_empty() {
            break;
        }
        leases.into_iter().for_each(|lease| lease.finish(Outcome::Delivered("written".to_owned())));
    }
    queue.flush().unwrap();
}
