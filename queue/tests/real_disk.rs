//! The same queue with its thread, its lock and its index on the machine's own file system.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use chrysalis_queue::{
    BlobError, CHUNK, Checked, Checking, Hold, Instance, Keys, Lease, LeaseRequest, LedgerDamage, LedgerSpan,
    Meta, Observer, OpenError, Options, Outcome, Owed, Queue, Sequence, Unavailable,
};

struct Ready(Sender<()>);

impl Observer for Ready {
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn ready(&self, _destination: &str) {
        let _ = self.0.send(());
    }
    fn index_rebuilt(&self, _why: &str) {}
    fn recording_failed(&self, why: &Unavailable) {
        panic!("recording failed: {why}");
    }
}

fn options(root: &Path) -> Options {
    Options { reserve: 1 << 20, high_watermark: 1000, ..Options::new(root) }
}

fn open(root: &Path) -> (Queue, Receiver<()>) {
    let (ready, readies) = channel();
    let (queue, _) = Queue::open(&options(root), Ready(ready)).unwrap();
    (queue, readies)
}

fn receive(queue: &Queue, key: &str, bytes: &[u8]) -> Sequence {
    let mut staged = queue.stage(b"HEAD").unwrap();
    staged.write(bytes).unwrap();
    let keys = Keys { key: key.into(), group: "g".into(), ..Keys::default() };
    let owed = vec![Owed::send("pacs")];
    staged.commit(Meta { keys, owed, attachment: Vec::new() }, |_| Vec::new()).unwrap()
}

/// Leases until `n` came, each time after the queue said that there may be something.
fn lease(queue: &Queue, readies: &Receiver<()>, n: usize) -> Vec<Lease> {
    let mut leases = Vec::new();
    while leases.len() < n {
        leases
            .extend(queue.lease("pacs", LeaseRequest { max: n, ..LeaseRequest::default() }).unwrap().leases);
        if leases.len() < n {
            readies.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }
    leases
}

fn payload(queue: &Queue, lease: &Lease) -> Vec<u8> {
    let blob = queue.open_blob(lease.instance()).unwrap();
    blob.verify().unwrap();
    let mut bytes = vec![0; blob.payload_len() as usize];
    assert_eq!(blob.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn deliver(lease: Lease) {
    lease.finish(Outcome::Delivered("0000".into()));
}

#[test]
fn what_was_received_is_sent_once_across_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (queue, readies) = open(root.path());
    for n in 0..100u8 {
        receive(&queue, &n.to_string(), &vec![n; 1000 + usize::from(n)]);
    }
    for lease in lease(&queue, &readies, 40) {
        let n: u8 = lease.instance().keys.key.parse().unwrap();
        assert_eq!(payload(&queue, &lease), vec![n; 1000 + usize::from(n)]);
        deliver(lease);
    }
    queue.flush().unwrap();
    queue.close();
    drop(queue);
    let (queue, readies) = open(root.path());
    let rest = lease(&queue, &readies, 60);
    assert_eq!(rest.first().unwrap().instance().keys.key, "40");
    rest.into_iter().for_each(deliver);
    queue.flush().unwrap();
    assert!(
        queue.lease("pacs", LeaseRequest { max: 9, ..LeaseRequest::default() }).unwrap().leases.is_empty()
    );
}

#[test]
fn the_ledger_is_read_while_the_queue_runs_and_until_its_reader_has_enough() {
    let root = tempfile::tempdir().unwrap();
    let (queue, readies) = open(root.path());
    for n in 0..10u8 {
        receive(&queue, &n.to_string(), &[n; 100]);
    }
    lease(&queue, &readies, 5).into_iter().for_each(deliver);
    let read = |enough: usize| {
        let mut states = Vec::new();
        let damage = queue.ledger(LedgerSpan::default(), &mut |entry| {
            assert!(entry.has_payload);
            states.push(entry.deliveries[0].state.name());
            if states.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(damage.unwrap(), LedgerDamage::default());
        states
    };
    assert_eq!(read(100), [["delivered"; 5], ["owed"; 5]].concat());
    assert_eq!(read(3), ["delivered"; 3]);
    queue.close();
    assert!(queue.ledger(LedgerSpan::default(), &mut |_| ControlFlow::Continue(())).unwrap().is_behind);
}

#[test]
fn what_waits_for_a_destination_is_due_at_once_when_it_is_hurried() {
    let root = tempfile::tempdir().unwrap();
    let (queue, readies) = open(root.path());
    receive(&queue, "1", b"one");
    let waiting = lease(&queue, &readies, 1).pop().unwrap();
    waiting.finish(Outcome::Retry(Duration::from_secs(3600)));
    let none = queue.lease("pacs", LeaseRequest { max: 1, ..LeaseRequest::default() }).unwrap();
    assert!(none.leases.is_empty() && none.next_due > Some(Duration::from_secs(3000)));
    queue.hurry("pacs").unwrap();
    deliver(lease(&queue, &readies, 1).pop().unwrap());
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let root = tempfile::tempdir().unwrap();
    let (queue, _readies) = open(root.path());
    let refused = Queue::open(&options(root.path()), Ready(channel().0)).err().unwrap();
    assert!(matches!(&refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()));
    // A blob on its way in keeps the directory, even when its queue is gone.
    let mut staged = queue.stage(b"HEAD").unwrap();
    staged.write(b"bytes").unwrap();
    drop(queue);
    assert!(Queue::open(&options(root.path()), Ready(channel().0)).is_err());
    let owed = vec![Owed::send("pacs")];
    let meta = Meta { keys: Keys::default(), owed, attachment: Vec::new() };
    staged.commit(meta, |_| Vec::new()).unwrap();
    let (queue, readies) = open(root.path());
    assert_eq!(payload(&queue, &lease(&queue, &readies, 1)[0]), b"bytes");
}

#[test]
fn an_index_deleted_or_overwritten_while_running_costs_nothing() {
    for overwrite in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (queue, readies) = open(root.path());
        for n in 0..50 {
            receive(&queue, &n.to_string(), &[n; 500]);
        }
        lease(&queue, &readies, 20).into_iter().for_each(deliver);
        spoil(&root.path().join("index"), overwrite);
        for n in 50..80 {
            receive(&queue, &n.to_string(), &[n; 500]);
        }
        lease(&queue, &readies, 30).into_iter().for_each(deliver);
        queue.flush().unwrap();
        drop(queue);
        let (queue, readies) = open(root.path());
        let rest = lease(&queue, &readies, 30);
        assert_eq!(rest.first().unwrap().instance().keys.key, "50");
        rest.into_iter().for_each(deliver);
        queue.flush().unwrap();
        assert_eq!(queue.stats().unwrap().destinations[0].tally.owed, 0);
    }
}

fn spoil(dir: &Path, overwrite: bool) {
    if !overwrite {
        std::fs::remove_dir_all(dir).unwrap();
        return;
    }
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spoil(&path, true);
        } else {
            let noise: Vec<u8> = (0..4096u32).map(|at| (at * 7919 % 251) as u8).collect();
            std::fs::write(&path, noise).unwrap();
        }
    }
}

#[test]
fn bytes_that_change_after_they_were_compared_are_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, readies) = open(folder.path());
    let payload: Vec<u8> = (0..2 * CHUNK + 1000).map(|n| (n / 7) as u8).collect();
    receive(&queue, "1.2.3", &payload);
    let leased = lease(&queue, &readies, 1);
    let instance = leased[0].instance();
    let path = queue.path(instance);
    let checked = Checked::new(queue.open_blob(instance).unwrap()).unwrap();
    let sound = std::fs::read(&path).unwrap();
    let read = || {
        let mut chunk = Vec::new();
        let offsets = (0..4).map(|n| (n * CHUNK) as u64);
        offsets.map(|at| checked.read_chunk(at, &mut chunk).map(|()| chunk.clone())).collect::<Vec<_>>()
    };
    assert_eq!(read().into_iter().flat_map(Result::unwrap).collect::<Vec<_>>(), payload);
    // The same open file sees what is written into it.
    for (changed, at) in [0, CHUNK - 1, CHUNK, 2 * CHUNK + 999].into_iter().map(|at| (at / CHUNK, at)) {
        let mut bent = sound.clone();
        bent["HEAD".len() + at] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        for (n, chunk) in read().into_iter().enumerate() {
            assert_eq!(chunk.is_err(), n == changed, "byte {at}, chunk {n}");
            assert!(matches!(chunk, Ok(_) | Err(BlobError::Damaged(_))));
        }
        assert!(matches!(queue.open_blob(instance).unwrap().verify(), Err(BlobError::HashMismatch)));
    }
    std::fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    assert!(matches!(read()[..], [Ok(_), Err(BlobError::Damaged(_)), ..]));
}

#[test]
fn what_is_compared_while_it_is_read_keeps_its_end_back_unless_all_of_it_is_right() {
    for length in [1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1000] {
        let folder = tempfile::tempdir().unwrap();
        let (queue, readies) = open(folder.path());
        let payload: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
        receive(&queue, "1.2.3", &payload);
        let leased = lease(&queue, &readies, 1);
        let instance = leased[0].instance();
        let read = || {
            let mut checking = Checking::new(Arc::new(queue.open_blob(instance).unwrap()));
            let (mut all, mut chunk) = (Vec::new(), Vec::new());
            loop {
                match checking.next(&mut chunk) {
                    Ok(()) if chunk.is_empty() => return (all, Ok(())),
                    Ok(()) => all.extend_from_slice(&chunk),
                    Err(error) => return (all, Err((error, chunk))),
                }
            }
        };
        let (all, end) = read();
        assert!(all == payload && end.is_ok(), "{length}");
        let (path, sound) = (queue.path(instance), std::fs::read(queue.path(instance)).unwrap());
        for at in [0, length / 2, length - 1] {
            let mut bent = sound.clone();
            bent["HEAD".len() + at] ^= 1;
            std::fs::write(&path, &bent).unwrap();
            let (all, end) = read();
            assert_eq!(all.len(), (length - 1) / CHUNK * CHUNK, "the last chunk is not there");
            assert!(matches!(end, Err((BlobError::HashMismatch, chunk)) if chunk.is_empty()));
        }
    }
}

#[test]
fn any_range_is_read_as_it_was_compared_and_a_changed_one_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, readies) = open(folder.path());
    let payload: Vec<u8> = (0..3 * CHUNK + 1000).map(|n| (n / 7) as u8).collect();
    receive(&queue, "1.2.3", &payload);
    let leased = lease(&queue, &readies, 1);
    let instance = leased[0].instance();
    let path = queue.path(instance);
    let checked = Checked::new(queue.open_blob(instance).unwrap()).unwrap();
    let read = |at: usize, length: usize| {
        let mut buffer = vec![0; length];
        checked.read_at(&mut buffer, at as u64).map(|count| buffer[..count].to_vec())
    };
    let edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 999];
    let ends = [payload.len(), payload.len() + 1, usize::MAX >> 1];
    let lengths = [0, 1, 8, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5, 5 * CHUNK];
    for at in edges.into_iter().chain(ends) {
        for length in lengths {
            let expected = &payload[at.min(payload.len())..at.saturating_add(length).min(payload.len())];
            assert!(read(at, length).unwrap() == expected, "{length} bytes from {at}");
        }
    }
    let mut bent = std::fs::read(&path).unwrap();
    bent["HEAD".len() + CHUNK + 17] ^= 1;
    std::fs::write(&path, &bent).unwrap();
    for at in edges {
        for length in lengths {
            let touches = length > 0 && at < 2 * CHUNK && at + length > CHUNK;
            let found = read(at, length);
            assert_eq!(found.is_err(), touches, "{length} bytes from {at}");
            assert!(matches!(found, Ok(_) | Err(BlobError::Damaged(_))));
        }
    }
    std::fs::write(&path, &bent[..CHUNK / 2]).unwrap();
    assert!(matches!(read(0, CHUNK), Err(BlobError::Damaged(_))));
    assert!(matches!(read(9, 9), Err(BlobError::Damaged(_))));
}

#[test]
fn a_short_payload_is_handed_out_as_it_was_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, readies) = open(folder.path());
    receive(&queue, "1.2.3", b"what was received");
    receive(&queue, "1.2.4", b"");
    let leased = lease(&queue, &readies, 2);
    let checked = Checked::new(queue.open_blob(leased[0].instance()).unwrap()).unwrap();
    std::fs::write(queue.path(leased[0].instance()), b"").unwrap();
    assert_eq!(checked.whole(), Some(&b"what was received"[..]));
    let mut buffer = [0; 64];
    assert_eq!((checked.read_at(&mut buffer, 5).unwrap(), &buffer[..12]), (12, &b"was received"[..]));
    let empty = Checked::new(queue.open_blob(leased[1].instance()).unwrap()).unwrap();
    assert_eq!((empty.whole(), empty.blob().payload_len()), (None, 0));
}
