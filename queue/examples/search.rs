//! How long a search among 100,000 instances takes, and how long it keeps the keeper at a time.
//!
//! `cargo run --release -p chrysalis-queue --example search -- DIRECTORY` fills the directory if it is empty.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrysalis_queue::{
    Action, Filter, Hold, Instance, Keys, Meta, Observer, Options, Owed, Page, Queue, Unavailable,
};

const INSTANCES: u32 = 100_000;
const STUDY: u32 = 100;

fn main() {
    let root = std::env::args().nth(1).expect("a directory");
    let options = Options { reserve: 1 << 20, ..Options::new(Path::new(&root)) };
    let (queue, recovered) = Queue::open(&options, Silent).unwrap();
    if recovered.instances == 0 {
        fill(&queue);
        hold_ten(&queue);
    }
    let opened = Instant::now();
    drop(queue);
    let (queue, _) = Queue::open(&options, Silent).unwrap();
    println!("opened in {:.0} ms", opened.elapsed().as_secs_f64() * 1e3);
    let all = || Filter { limit: 1000, ..Filter::default() };
    let pacs = || Some("pacs".to_owned());
    for _ in 0..3 {
        measure(&queue, "by group", Filter { group: Some(uid(2, 700)), ..all() }, 100);
        let contains = |what: &'static str| -> chrysalis_queue::Select {
            Arc::new(move |it| it.attachment.windows(what.len()).any(|part| part == what.as_bytes()))
        };
        measure(&queue, "by select, few", Filter { select: Some(contains("VIVID77")), ..all() }, 20);
        measure(&queue, "by select, none", Filter { select: Some(contains("LOGIQ")), ..all() }, 0);
        let held = Some("held".to_owned());
        measure(&queue, "destination and held", Filter { destination: pacs(), state: held, ..all() }, 10);
        let leased = Some("leased".to_owned());
        measure(&queue, "destination and leased", Filter { destination: pacs(), state: leased, ..all() }, 0);
        let waiting = Some("waiting".to_owned());
        measure(
            &queue,
            "destination and waiting",
            Filter { destination: pacs(), state: waiting, ..all() },
            0,
        );
        let delivered = Some("delivered".to_owned());
        measure(&queue, "delivered anywhere", Filter { state: delivered, ..all() }, 0);
        let ready = Some("ready".to_owned());
        measure(
            &queue,
            "destination and ready, a page",
            Filter { destination: pacs(), state: ready, ..all() },
            1000,
        );
        measure(&queue, "a page of 1,000", all(), 1000);
        measure(&queue, "until long ago", Filter { until: Some(1), ..all() }, 0);
        println!();
    }
    queue.close();
}

/// Asks, while another thread asks the keeper for something small over and over.
fn measure(queue: &Queue, what: &str, filter: Filter, rows: usize) {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (page, took, kept) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let asked = Instant::now();
                queue.show("1-1".parse().unwrap()).unwrap();
                longest = longest.max(asked.elapsed());
                std::thread::park_timeout(Duration::from_micros(500));
            }
            longest
        });
        let started = Instant::now();
        let page: Page = queue.list(filter).unwrap();
        let took = started.elapsed();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (page, took, others.join().unwrap())
    });
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:32} {:6.1} ms, others waited at most {:5.1} ms", ms(took), ms(kept));
    assert_eq!(page.rows.len(), rows);
}

fn fill(queue: &Queue) {
    std::thread::scope(|scope| {
        for filler in 0..4 {
            let queue = queue.clone();
            scope.spawn(move || {
                for n in (filler..INSTANCES).step_by(4) {
                    let mut staged = queue.stage(&[0; 400]).unwrap();
                    staged.write(&[n as u8; 500]).unwrap();
                    staged.commit(meta(n), |_| Vec::new()).unwrap();
                }
            });
        }
    });
}

fn hold_ten(queue: &Queue) {
    let all = queue.list(Filter { limit: INSTANCES as usize, ..Filter::default() }).unwrap();
    let some = all.rows.iter().step_by(INSTANCES as usize / 10);
    let targets = some.map(|row| (row.instance.sequence, "pacs".to_owned())).collect();
    queue.decide(targets, Action::Hold { why: "wait".to_owned() }, "somebody").unwrap();
}

fn uid(kind: u32, n: u32) -> String {
    format!("2.25.{}", 10_u128.pow(38) + u128::from(kind) * 10_u128.pow(20) + u128::from(n))
}

/// Names and attachments as long as real ones.
fn meta(n: u32) -> Meta {
    let keys = Keys {
        kind: "1.2.840.10008.5.1.4.1.1.6.1".to_owned(),
        key: uid(1, n),
        group: uid(2, n / STUDY),
        subject: u128::from(n / STUDY).to_be_bytes(),
    };
    let cart = if n.is_multiple_of(5_000) { 77 } else { 1 };
    let attachment = format!(
        "modalities 192.168.10.20:40000 VIVID{cart} CHRYSALIS 1.2.840.10008.1.2.1 sound 0123456789abcdef"
    );
    let owed = vec![Owed::send("pacs")];
    Meta { keys, owed, attachment: attachment.into_bytes() }
}

struct Silent;

impl Observer for Silent {
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn ready(&self, _destination: &str) {}
    fn index_rebuilt(&self, why: &str) {
        panic!("the index failed: {why}");
    }
    fn recording_failed(&self, why: &Unavailable) {
        panic!("recording failed: {why}");
    }
}
