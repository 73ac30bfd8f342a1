//! A small spool that three lives of a queue have left, damaged by a script: bits, lengths, pages and whole files of spool, journals
//! and boot number; and records and spool files that are well-formed and nonsense. Then the queue is opened, twice.
//!
//! It opens. What is offered for delivery has the bytes that were received. An instance whose own file and whose bucket's
//! journals are as they were stands as it did; one of which only the journals were hit is known, and what was open of it is open
//! or held.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrysalis_fuzz::heap;
use chrysalis_queue::fs::Fs;
use chrysalis_queue::simulation::{HeldClock, SimDisk, Stepped};
use chrysalis_queue::{
    Action, Filter, Hold, HoldKind, Keys, LedgerSpan, Meta, NO_ROUTE, Options, Outcome, Owed, Sequence, State,
};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// A few copies of the spool, and what is believed of a file without its journal.
const MEMORY: usize = 64 << 20;
/// Damages of one script.
const DAMAGES: usize = 8;
const DESTINATIONS: [&str; 3] = ["pacs", "archive", NO_ROUTE];

fuzz_target!(|script: &[u8]| {
    BASE.with_borrow_mut(|base| {
        let base = base.get_or_insert_with(Base::new);
        heap::within(MEMORY, || base.attack(script));
    });
});

thread_local! {
    static BASE: RefCell<Option<Base>> = const { RefCell::new(None) };
}

/// The spool as it was left, and what is known of it.
struct Base {
    disk: SimDisk,
    /// Every file with its content.
    files: BTreeMap<PathBuf, Vec<u8>>,
    instances: BTreeMap<Sequence, Known>,
}

struct Known {
    payload: Vec<u8>,
    file: PathBuf,
    deliveries: Vec<(String, State)>,
}

fn options(disk: &SimDisk, clock: &HeldClock) -> Options {
    let mut options = Options::new(Path::new("/q"));
    options.fs = Arc::new(disk.clone());
    options.clock = Arc::new(clock.clone());
    options.reserve = 64 << 10;
    options.high_watermark = 1000;
    options.retain = Duration::from_secs(60);
    options.ledger = Duration::from_secs(600);
    options.index_cache = None;
    options
}

fn content(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for path in disk.files() {
        let bytes = std::cell::RefCell::new(Vec::new());
        disk.damage(&path, |content| bytes.borrow_mut().clone_from(content));
        files.insert(path, bytes.into_inner());
    }
    files
}

impl Base {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(u64::MAX), HeldClock::start());
        let mut payloads = BTreeMap::new();
        let mut receive = |queue: &mut Stepped, key: &str, payload: Vec<u8>, owed: Vec<Owed>| {
            let keys = Keys { kind: "k".into(), key: key.into(), group: "g".into(), subject: [1; 16] };
            let mut staged = queue.stage(b"HEAD").expect("room");
            staged.write(&payload).expect("room");
            let meta = Meta { keys, owed, attachment: b"how".to_vec() };
            let sequence = staged.commit(meta, |_| b"tail".to_vec()).expect("a commit");
            payloads.insert(sequence, payload);
            queue.flush().expect("a flush");
            sequence
        };
        let both = || vec![Owed::send("pacs"), Owed::send("archive")];
        let rule = || Hold::new(HoldKind::Rule, "a rule");

        let mut queue = open(&disk, &clock);
        receive(&mut queue, "a", b"the first".to_vec(), both());
        let held = receive(&mut queue, "b", vec![7; 5000], both());
        receive(&mut queue, "c", Vec::new(), vec![Owed::send("pacs"), Owed::hold("archive", rule())]);
        deliver(&mut queue, "pacs", 1);
        queue.decide(held, "archive", Action::Hold { why: "wait".into() }).expect("a decision");
        queue.flush().expect("a flush");
        drop(queue);

        let mut queue = open(&disk, &clock);
        let gone = receive(&mut queue, "d", vec![9; 600], both());
        receive(&mut queue, "e", b"dropped".to_vec(), vec![Owed::discard(NO_ROUTE, "a rule")]);
        receive(&mut queue, "f", b"nowhere".to_vec(), vec![Owed::hold(NO_ROUTE, rule())]);
        queue.decide(gone, "pacs", Action::Discard { why: "wrong".into() }).expect("a decision");
        deliver(&mut queue, "archive", 1);
        drop(queue);

        let mut queue = open(&disk, &clock);
        receive(&mut queue, "g", b"the last".to_vec(), both());
        let shown = |queue: &mut Stepped, sequence, payload: &Vec<u8>| {
            let shown = queue.show(sequence).expect("an index").expect("an instance");
            let deliveries = shown.rows.into_iter().map(|row| (row.delivery.destination, row.delivery.state));
            let file = queue.path(&shown.instance);
            Known { payload: payload.clone(), file, deliveries: deliveries.collect() }
        };
        let instances = payloads.iter().map(|(at, payload)| (*at, shown(&mut queue, *at, payload))).collect();
        drop(queue);
        clear_unused(&disk);
        Self { files: content(&disk), disk, instances }
    }

    fn attack(&self, script: &[u8]) {
        let disk = self.disk.fork();
        let mut damage = Damage { disk: &disk, script, forged: BTreeSet::new() };
        (0..DAMAGES).take_while(|_| damage.next(&self.files).is_some()).for_each(drop);
        let forged = damage.forged;
        let now = content(&disk);
        let is_hit = |path: &Path| now.get(path) != self.files.get(path);
        let hit_buckets: BTreeSet<_> =
            self.files.keys().filter(|path| is_hit(path)).filter_map(journal_of).collect();
        let fate = |known: &Known| Fate {
            file: is_hit(&known.file),
            journal: hit_buckets.contains(&bucket_of(&known.file)),
            is_forged: !forged.is_empty(),
        };

        let clock = HeldClock::start();
        let mut queue = open(&disk, &clock);
        self.audit(&mut queue, &fate);
        drop(queue);
        let mut queue = open(&disk, &clock);
        self.audit(&mut queue, &fate);
        for destination in DESTINATIONS {
            self.take_all(&mut queue, destination, &fate, !forged.is_empty());
        }
        let _ = queue.ledger(LedgerSpan::default());
        clock.advance(Duration::from_secs(61));
        let _ = queue.maintain();
        clock.advance(Duration::from_secs(601));
        let _ = queue.maintain();
        let _ = queue.list(&Filter { limit: 100, ..Filter::default() });
    }

    /// Nothing that was not damaged stands otherwise than before.
    fn audit(&self, queue: &mut Stepped, fate: &impl Fn(&Known) -> Fate) {
        for (sequence, known) in &self.instances {
            let Fate { file, journal, is_forged } = fate(known);
            if is_forged || file && journal {
                continue;
            }
            let shown = queue.show(*sequence).expect("an index");
            let shown = shown.unwrap_or_else(|| panic!("{sequence} is lost: file {file}, journal {journal}"));
            for (destination, state) in &known.deliveries {
                let row = shown.rows.iter().find(|row| row.delivery.destination == *destination);
                let row = row.unwrap_or_else(|| panic!("{sequence} is not owed to {destination} any more"));
                let found = &row.delivery.state;
                let stands = match (journal, file) {
                    (false, false) => found == state,
                    (false, true) => found == state || is_open(state) && is_held_for_damage(found),
                    (true, _) => is_open(found) || !is_open(state),
                };
                assert!(stands, "{sequence} to {destination}: {state:?} became {found:?}");
            }
        }
    }

    /// Delivers whatever is offered to a destination.
    fn take_all(
        &self,
        queue: &mut Stepped,
        destination: &str,
        fate: &impl Fn(&Known) -> Fate,
        is_forged: bool,
    ) {
        for _ in 0..50 {
            let leased = queue.lease(destination, 16).expect("an index");
            if leased.is_empty() {
                return;
            }
            for instance in leased {
                let blob = queue.open_blob(&instance).and_then(|blob| blob.verify().map(|()| blob));
                let Ok(blob) = blob else {
                    let hold = Hold::new(HoldKind::Damage, "it cannot be read");
                    queue.finish(destination, &instance, Outcome::Held(hold));
                    continue;
                };
                let mut bytes = vec![0; blob.payload_len() as usize];
                let count = blob.read_at(&mut bytes, 0).expect("a read");
                assert_eq!(count, bytes.len());
                match self.instances.get(&instance.sequence) {
                    Some(known) if !is_forged => {
                        assert!(bytes == known.payload, "{} has other bytes", instance.sequence);
                        let was_open = known
                            .deliveries
                            .iter()
                            .any(|(to, state)| to == destination && *state == State::Owed);
                        assert!(
                            was_open || fate(known).journal,
                            "{} goes to {destination}",
                            instance.sequence
                        );
                    }
                    Some(_) => {}
                    None => assert!(is_forged, "nobody sent {}", instance.sequence),
                }
                queue.finish(destination, &instance, Outcome::Delivered("0000".into()));
            }
        }
        panic!("there is no end of what is offered");
    }
}

/// What of an instance was hit.
struct Fate {
    file: bool,
    journal: bool,
    /// There are records or files that no queue wrote.
    is_forged: bool,
}

fn is_open(state: &State) -> bool {
    matches!(state, State::Owed | State::Held(_))
}

fn is_held_for_damage(state: &State) -> bool {
    matches!(state, State::Held(hold) if hold.kind == HoldKind::Damage)
}

fn open(disk: &SimDisk, clock: &HeldClock) -> Stepped {
    match Stepped::open(&options(disk, clock)) {
        Ok((queue, _)) => queue,
        Err(error) => panic!("it does not open: {error}"),
    }
}

/// Removes the names that were made ahead, but for a few: each would be looked at in every run.
fn clear_unused(disk: &SimDisk) {
    for (path, _) in
        content(disk).into_iter().filter(|(path, bytes)| bytes.is_empty() && is_name(path)).skip(2)
    {
        disk.unlink(&path).expect("a file");
    }
}

/// Whether it is a file of a bucket.
fn is_name(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|up| up.ends_with("spool"))
}

fn deliver(queue: &mut Stepped, destination: &str, count: usize) {
    for instance in queue.lease(destination, count).expect("an index") {
        queue.finish(destination, &instance, Outcome::Delivered("0000".into()));
    }
    queue.flush().expect("a flush");
}

fn bucket_of(file: &Path) -> String {
    let folder = file.parent().and_then(Path::file_name).expect("a bucket");
    folder.to_string_lossy().into_owned()
}

/// The bucket that a journal belongs to.
fn journal_of(file: &PathBuf) -> Option<String> {
    let is_journal = file.parent().is_some_and(|folder| folder.ends_with("journal"));
    let name = file.file_name()?.to_string_lossy();
    is_journal.then(|| name.split('-').next().unwrap_or_default().to_owned())
}

// ----------------------------------------------------------------------------------------------------- the damage

struct Damage<'a> {
    disk: &'a SimDisk,
    script: &'a [u8],
    /// Buckets in which something is well-formed that no queue wrote.
    forged: BTreeSet<u8>,
}

impl Damage<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.script.split_first()?;
        self.script = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes([self.byte()?, self.byte()?])))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let count = usize::from(self.byte()?).min(self.script.len());
        let (bytes, rest) = self.script.split_at(count);
        self.script = rest;
        Some(bytes.to_vec())
    }

    /// One of the files with something in them that are there still.
    fn file(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>) -> Option<PathBuf> {
        let choice = usize::from(self.byte()?);
        let there = self.disk.files();
        let full: Vec<_> =
            files.iter().filter(|(path, bytes)| !bytes.is_empty() && there.contains(path)).collect();
        Some(full.get(choice % full.len().max(1))?.0.clone())
    }

    /// The next of the script; none at its end.
    fn next(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>) -> Option<()> {
        let kind = self.byte()? % 9;
        match kind {
            6 => return self.forge_record(files),
            7 => return self.forge_file(files),
            _ => {}
        }
        let path = self.file(files)?;
        match kind {
            0 => {
                let (at, bit) = (self.number()?, self.byte()? % 8);
                self.disk.damage(&path, |bytes| {
                    let length = bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at % length) {
                        *byte ^= 1 << bit;
                    }
                });
            }
            1 => {
                let at = self.number()?;
                self.disk.damage(&path, |bytes| bytes.truncate(at % (bytes.len() + 1)));
            }
            2 => {
                let (at, count) = (self.number()?, usize::from(self.byte()?) * 16);
                self.disk.damage(&path, |bytes| {
                    let start = at % (bytes.len() + 1);
                    bytes.iter_mut().skip(start).take(count).for_each(|byte| *byte = 0);
                });
            }
            3 => {
                let (at, new) = (self.number()?, self.bytes()?);
                self.disk.damage(&path, |bytes| {
                    let start = at % (bytes.len() + 1);
                    bytes.iter_mut().skip(start).zip(&new).for_each(|(byte, new)| *byte = *new);
                });
            }
            4 => {
                let new = self.bytes()?;
                self.disk.damage(&path, |bytes| bytes.extend_from_slice(&new));
            }
            5 => self.disk.unlink(&path).expect("a file"),
            _ => {
                let new = self.bytes()?;
                self.disk.damage(&path, |bytes| bytes.clone_from(&new));
            }
        }
        Some(())
    }

    /// A frame of a journal with the right CRC, behind all others.
    fn forge_record(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>) -> Option<()> {
        let choice = self.byte()?;
        let there = self.disk.files();
        let journals: Vec<_> =
            files.keys().filter(|path| journal_of(path).is_some() && there.contains(path)).collect();
        let path = *journals.get(usize::from(choice) % journals.len().max(1))?;
        let mut covered = u64::from(self.byte()?).to_le_bytes().to_vec();
        covered.extend([self.byte()?, 0, self.byte()?, 0, self.byte()?]);
        covered.extend(self.bytes()?);
        let mut frame = b"\xc7jr\x1f".to_vec();
        frame.extend((covered.len() as u32).to_le_bytes());
        frame.extend(crc32c::crc32c(&covered).to_le_bytes());
        frame.extend(covered);
        self.disk.damage(path, |bytes| bytes.extend_from_slice(&frame));
        self.forged.insert(choice);
        Some(())
    }

    /// A finished file with the right CRC, in place of a name that was never used.
    fn forge_file(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>) -> Option<()> {
        let choice = self.byte()?;
        let unused: Vec<_> = files.iter().filter(|(path, bytes)| bytes.is_empty() && is_name(path)).collect();
        let path = unused.get(usize::from(choice) % unused.len().max(1))?.0;
        let flags = self.byte()?;
        let (head, payload, tail, envelope) = (self.bytes()?, self.bytes()?, self.bytes()?, self.bytes()?);
        let mut trailer = vec![1, 0, 0, 0];
        trailer.extend((head.len() as u32).to_le_bytes());
        trailer.extend((payload.len() as u64).to_le_bytes());
        trailer.extend((tail.len() as u32).to_le_bytes());
        trailer.extend((envelope.len() as u32).to_le_bytes());
        let digest: [u8; 32] = if flags & 1 == 0 { Sha256::digest(&payload).into() } else { [0; 32] };
        trailer.extend(digest);
        let covered = [&head[..], &tail, &envelope, &trailer].concat();
        trailer.extend(crc32c::crc32c(&covered).to_le_bytes());
        trailer.extend([0; 4]);
        trailer.extend(b"\x89CHRYSALIS-END\r\n");
        let file = [&head[..], &payload, &tail, &envelope, &trailer].concat();
        self.disk.damage(path, |bytes| bytes.clone_from(&file));
        self.forged.insert(choice);
        Some(())
    }
}
