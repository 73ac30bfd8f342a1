//! Damage: bytes on the disk that are not what was written there.
//!
//! A node lives until its spool has something in every state: owed to an archive that is away, held by a person, by a rule and
//! for want of a route, delivered and kept, superseded, discarded by a person. It is stopped or killed. Then, in one copy of its data folder
//! after another, one file is damaged, a node is started on it, the archives are back, and what comes is compared with what
//! has to come.

use crate::chance::Chance;
use crate::part::{Broken, Part, Round, Seen};
use crate::support::archive::Archive;
use crate::support::deliveries::{self, BRISK};
use crate::support::instance::{Digest, Encoding, Instance, Study};
use crate::support::modality::Modality;
use crate::support::node::{Node, NodeBuilder};
use crate::support::process::list;
use crate::support::wait::poll;
use chrysalis_sizing::{Colour, Scene};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const PART: Part = Part {
    name: "damage",
    what: "damaged files of spool, journal, index, marks and boot number",
    everyday: 500,
    release: 10_000,
    needs: || Ok(()),
    round,
};

/// Damages to copies of one data folder.
const DAMAGES: u64 = 100;
/// Copies that are looked at at the same time.
const AT_ONCE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: u64 = 4096;

pub fn round(round: &Round) -> Result<Seen, Broken> {
    let mut chance = Chance::new(round.seed);
    let prepared = Prepared::new(&round.folder.join("prepared"), round.seed, &mut chance);
    let (seen, next, broken) = (Mutex::new(Seen::default()), AtomicU64::new(0), Mutex::new(None));
    let work = || {
        while broken.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= round.wanted.min(DAMAGES) {
                break;
            }
            let mut chance = Chance::new(round.seed * 1000 + number);
            let home = round.folder.join(format!("copy-{number}"));
            match prepared.damage(&home, &mut chance) {
                Ok(one) => {
                    seen.lock().unwrap().add(&one);
                    fs::remove_dir_all(home).unwrap();
                }
                Err(why) => *broken.lock().unwrap() = Some(format!("copy {number}: {why}")),
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let seen = seen.into_inner().unwrap();
    match broken.into_inner().unwrap() {
        None => Ok(seen),
        Some(why) => Err(Broken { why, seen }),
    }
}

// --- what is damaged ---

/// What has to become of an instance at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It was there already, and is kept.
    Delivered,
    Owed,
    Held,
    Discarded,
}

/// A data folder with something in every state, whose node is not running.
struct Prepared {
    data: PathBuf,
    sent: BTreeMap<String, Digest>,
    standings: BTreeMap<(String, &'static str), Standing>,
    /// Which instance each spool file is of.
    files: BTreeMap<PathBuf, String>,
    how: &'static str,
}

/// Destinations; the second is away while the folder is made.
const PLACES: [&str; 2] = ["pacs", "away"];
/// Who calls is routed to one of them, to both, or nowhere.
const RULES: &str = "[[route]]\nname = \"here\"\nwhen = { calling_ae = [\"HERE\", \"BOTH\"] }\nto = [\"pacs\"]\n\n\
                     [[route]]\nname = \"there\"\nwhen = { calling_ae = [\"THERE\", \"BOTH\"] }\nto = [\"away\"]";

impl Prepared {
    fn new(home: &Path, seed: u64, chance: &mut Chance) -> Self {
        fs::create_dir(home).unwrap();
        let (pacs, mut away) = (Archive::new(), Archive::new());
        away.stop();
        let mut node = node(home, &pacs, &away).start();
        let studies = Study::new(seed);
        let instance = |number: u32| {
            let (rows, columns, colour) =
                if number.is_multiple_of(4) { (96, 128, Colour::MarkedRgb) } else { (64, 64, Colour::Mono) };
            let scene = Scene { seed: seed << 32 | u64::from(number), rows, columns, frames: 1, colour };
            studies.instance(number, scene, Encoding::ALL[number as usize % Encoding::ALL.len()])
        };
        let instances: Vec<_> = (0..28).map(instance).collect();
        let store = |calling: &str, instances: &[Instance]| {
            let answers = Modality::new(node.address).calling(calling).store_all(instances).unwrap();
            assert!(answers.iter().all(|answer| answer.status == 0), "{answers:?}");
        };
        store("HERE", &instances[0..6]);
        store("THERE", &instances[6..16]);
        store("BOTH", &instances[16..24]);
        store("NOWHERE", &instances[24..26]);
        let mut standings = BTreeMap::new();
        let mut stands = |range: std::ops::Range<usize>, place, standing| {
            let names = instances[range].iter().map(|instance| instance.sop_instance.clone());
            standings.extend(names.map(|name| ((name, place), standing)));
        };
        stands(0..6, "pacs", Standing::Delivered);
        stands(16..24, "pacs", Standing::Delivered);
        stands(6..16, "away", Standing::Owed);
        stands(16..24, "away", Standing::Owed);
        stands(6..8, "away", Standing::Held);
        stands(8..11, "away", Standing::Discarded);
        stands(16..17, "away", Standing::Held);
        stands(17..18, "away", Standing::Discarded);
        for n in [6, 7, 16] {
            decide(&node, "hold", &instances[n]);
        }
        for n in [8, 9, 10, 17] {
            decide(&node, "discard", &instances[n]);
        }
        // Once more, the same bytes: the newer takes over. And later batches follow those of the decisions.
        store("THERE", &instances[11..12]);
        store("THERE", &instances[26..28]);
        stands(26..28, "away", Standing::Owed);
        instances[..6]
            .iter()
            .chain(&instances[16..24])
            .for_each(|i| drop(node.wait_state(i, "pacs", "delivered")));
        // It is answered when everything recorded before it is durable.
        let some = node.deliveries_of(&instances[27], "away").pop().unwrap();
        node.api_post("/api/queue/retry", &format!("{{\"instances\": [\"{}\"]}}", some.instance));
        // Half of the times the last life did nothing but start.
        let again = chance.one_in(2);
        let stopped = chance.one_in(2);
        if again {
            node.stop();
            node.start();
        }
        if stopped {
            node.stop()
        } else {
            node.kill()
        }
        let data = home.join("data");
        let of = |path: PathBuf| {
            let uid = Instance::from_part10(&path).unwrap().sop_instance;
            (path.strip_prefix(&data).unwrap().to_owned(), uid)
        };
        let mut spool = list(&data.join("spool"));
        spool.retain(|path| path.metadata().unwrap().len() > 0);
        Self {
            sent: instances.iter().map(|i| (i.sop_instance.clone(), i.digest())).collect(),
            standings,
            files: spool.into_iter().map(of).collect(),
            how: match (again, stopped) {
                (false, false) => "killed",
                (false, true) => "stopped",
                (true, false) => "started again and killed",
                (true, true) => "started again and stopped",
            },
            data,
        }
    }

    /// Damages a copy, and tells what came of it.
    fn damage(&self, home: &Path, chance: &mut Chance) -> Result<Seen, String> {
        fs::create_dir(home).unwrap();
        copy(&self.data, &home.join("data"));
        let damage = Damage::choose(&home.join("data"), chance);
        let outcome = self.live_with(&damage, home);
        outcome.map_err(|why| format!("{}, then {damage}: {why}", self.how))
    }

    fn live_with(&self, damage: &Damage, home: &Path) -> Result<Seen, String> {
        let (pacs, away) = (Archive::new(), Archive::new());
        let mut node = node(home, &pacs, &away).prepare();
        let started = Instant::now();
        node.spawn();
        let up =
            poll(PATIENCE, || if node.is_running() { node.is_ready().then_some(true) } else { Some(false) });
        let slowest_start = started.elapsed();
        if up != Some(true) {
            return Err(format!("it does not start: {}", node.output()));
        }
        let quiet = || (node.metric("chrysalis_queued_instances", &[]) == 0.0).then_some(());
        poll(PATIENCE, quiet).ok_or_else(|| format!("not all of it leaves: {:?}", node.deliveries()))?;
        let report = Report::of(&node);
        node.kill();
        let mut seen = Seen { attacks: 1, slowest_start, ..Seen::default() };
        for (place, archive) in PLACES.into_iter().zip([&pacs, &away]) {
            let came: Vec<_> = archive.arrivals().into_iter().map(|a| (a.sop_instance, a.digest)).collect();
            self.compare(damage, place, &came, &report, &mut seen)?;
        }
        self.look_for_damage(damage, &report)?;
        Ok(seen)
    }

    /// What came at one destination, beside what had to.
    fn compare(
        &self,
        damage: &Damage,
        place: &str,
        came: &[(String, Digest)],
        report: &Report,
        seen: &mut Seen,
    ) -> Result<(), String> {
        for (name, digest) in came {
            if self.sent.get(name) != Some(digest) {
                seen.altered += 1;
                return Err(format!("altered at {place}: {name}"));
            }
        }
        let arrived: BTreeSet<&str> = came.iter().map(|(name, _)| name.as_str()).collect();
        seen.repeated += (came.len() - arrived.len()) as u64;
        for ((name, _), standing) in self.standings.iter().filter(|((_, at), _)| *at == place) {
            let (arrived, held) = (arrived.contains(name.as_str()), report.holds(name, place));
            seen.acknowledged += 1;
            match (standing, arrived, held) {
                (Standing::Delivered, true, _) => seen.repeated += 1,
                (Standing::Delivered, false, _) | (Standing::Discarded, false, _) => {}
                (Standing::Owed, true, _) => seen.delivered += 1,
                (Standing::Owed | Standing::Held, false, true) => seen.held += 1,
                (Standing::Owed, false, false) if report.is_corrupt(&damage.file) => seen.held += 1,
                (Standing::Owed | Standing::Held, false, false) => {
                    seen.lost += 1;
                    return Err(format!("lost at {place}, {standing:?}: {name}; {report:?}"));
                }
                (Standing::Held | Standing::Discarded, true, _) => {
                    return Err(format!("sent to {place}, though {standing:?}: {name}"));
                }
            }
        }
        let nowhere =
            came.iter().find(|(name, _)| !self.standings.contains_key(&(name.clone(), static_name(place))));
        nowhere.map_or(Ok(()), |(name, _)| Err(format!("{name} was never owed to {place}")))
    }

    /// Whoever looks has to see what is not healed.
    fn look_for_damage(&self, damage: &Damage, report: &Report) -> Result<(), String> {
        let Some(name) = self.files.get(&damage.file) else { return Ok(()) };
        let is_final = PLACES.iter().all(|place| {
            let standing = self.standings.get(&(name.clone(), *place));
            matches!(standing, None | Some(Standing::Delivered | Standing::Discarded))
        });
        // A kept copy of what is delivered that is not there any more is one that was forgotten early.
        let is_evicted = matches!(damage.kind, Kind::Removed) && is_final;
        if is_evicted || report.sees_damage() {
            return Ok(());
        }
        // An older file of what was sent again is obsolete.
        let copies = self.files.values().filter(|other| *other == name).count();
        if copies > 1 {
            return Ok(());
        }
        Err(format!("nobody is told; {report:?}"))
    }
}

fn static_name(place: &str) -> &'static str {
    PLACES.into_iter().find(|known| *known == place).unwrap()
}

fn node(home: &Path, pacs: &Archive, away: &Archive) -> NodeBuilder {
    Node::builder()
        .home(home)
        .queue("reserve = \"1MiB\"\nhigh_watermark = \"100%\"")
        .dicom_with("pacs", pacs.address(), BRISK)
        .dicom_with("away", away.address(), BRISK)
        .table(RULES)
        .table("[transcode]\ncache = \"1MiB\"")
}

fn decide(node: &Node, verb: &str, instance: &Instance) {
    let body = |seen: &deliveries::Seen| {
        format!(
            "{{\"instances\": [\"{}\"], \"destination\": \"away\", \"reason\": \"seen to\"}}",
            seen.instance
        )
    };
    // While it is being tried it cannot be decided about.
    let decided = poll(PATIENCE, || {
        let seen = node.deliveries_of(instance, "away").pop()?;
        let answer = node.api_post(&format!("/api/queue/{verb}"), &body(&seen));
        let answer: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        (answer["changed"] == 1).then_some(())
    });
    assert!(decided.is_some(), "{verb} is not carried out");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

// --- the damage ---

/// One file that is not what it was.
struct Damage {
    /// Below the data folder.
    file: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Flipped { at: u64, bit: u32 },
    Cut { to: u64 },
    Zeroed { from: u64, to: u64 },
    Removed,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.kind, self.file.display())
    }
}

impl Damage {
    fn choose(data: &Path, chance: &mut Chance) -> Self {
        let mut all = list(data);
        all.retain(|path| path.metadata().unwrap().len() > 0);
        loop {
            let class = match chance.below(20) {
                0..10 => "spool",
                10..16 => "journal",
                16..18 => "index",
                18 => "marks",
                _ => "boot",
            };
            let of_class: Vec<_> = all.iter().filter(|path| path.starts_with(data.join(class))).collect();
            if of_class.is_empty() {
                continue;
            }
            let path = of_class[chance.below(of_class.len() as u64) as usize];
            let before = fs::read(path).unwrap();
            let kind = Kind::choose(&before, class, chance);
            let mut after = before.clone();
            match kind.change(&mut after) {
                Still::There if means_the_same(&before, &after, class) => continue,
                Still::There => fs::write(path, after).unwrap(),
                Still::Gone => fs::remove_file(path).unwrap(),
            }
            return Self { file: path.strip_prefix(data).unwrap().to_owned(), kind };
        }
    }
}

/// Whether a file is left.
enum Still {
    There,
    Gone,
}

impl Kind {
    fn choose(bytes: &[u8], class: &str, chance: &mut Chance) -> Self {
        let length = bytes.len() as u64;
        let parts = if class == "spool" { parts(bytes) } else { vec![0, length] };
        let part = chance.below(parts.len() as u64 - 1) as usize;
        let (start, end) = (parts[part], parts[part + 1]);
        let at = start + chance.below((end - start).max(1)).min(length - 1 - start.min(length - 1));
        match chance.below(8) {
            0..4 => Self::Flipped { at, bit: chance.below(8) as u32 },
            4..6 => Self::Cut { to: if chance.one_in(3) { start } else { at } },
            6 => Self::Zeroed { from: at / PAGE * PAGE, to: (at / PAGE * PAGE + PAGE).min(length) },
            _ => Self::Removed,
        }
    }

    fn change(&self, bytes: &mut Vec<u8>) -> Still {
        match *self {
            Self::Flipped { at, bit } => bytes[at as usize] ^= 1 << bit,
            Self::Cut { to } => bytes.truncate(to as usize),
            Self::Zeroed { from, to } => bytes[from as usize..to as usize].fill(0),
            Self::Removed => return Still::Gone,
        }
        Still::There
    }
}

/// Nothing changed, or only the four reserved bytes of a spool file's trailer, at which nobody looks.
fn means_the_same(before: &[u8], after: &[u8], class: &str) -> bool {
    let reserved = if class == "spool" { before.len() - 20..before.len() - 16 } else { 0..0 };
    let differs = |(at, (one, other)): (usize, (&u8, &u8))| one != other && !reserved.contains(&at);
    before.len() == after.len() && !before.iter().zip(after).enumerate().any(differs)
}

/// Where head, payload, tail, envelope and trailer of a spool file begin, and where it ends (`docs/QUEUE.md`, Spool file).
fn parts(bytes: &[u8]) -> Vec<u64> {
    let trailer = &bytes[bytes.len() - 80..];
    let word = |at: usize| u64::from(u32::from_le_bytes(trailer[at..at + 4].try_into().unwrap()));
    let lengths = [word(4), word(8), word(16), word(20), 80];
    let mut places = vec![0];
    for length in lengths {
        let last = *places.last().unwrap();
        if length > 0 {
            places.push(last + length);
        }
    }
    assert_eq!(places.last(), Some(&(bytes.len() as u64)), "the lengths in a trailer");
    places
}

// --- what is seen of it ---

/// What a node says about itself.
#[derive(Debug)]
struct Report {
    held: Vec<deliveries::Seen>,
    /// Files that it cannot make anything of.
    corrupt: Vec<String>,
    /// What it found when it read everything.
    problems: Vec<String>,
    errors: Vec<String>,
}

impl Report {
    fn of(node: &Node) -> Self {
        let checked: Value =
            serde_json::from_str(&node.api_post("/api/queue/fsck", "").text()).unwrap_or_default();
        let problems = checked["problems"].as_array().cloned().unwrap_or_default();
        let mut held = node.deliveries();
        held.retain(|seen| seen.state == "held");
        let output = node.output();
        let errors: Vec<_> =
            output.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
        let is_counted = node.metric("chrysalis_spool_corrupt_files", &[]) > 0.0;
        Self {
            held,
            corrupt: errors
                .iter()
                .filter(|line| is_counted && line.contains("beyond recognition"))
                .cloned()
                .collect(),
            problems: problems.iter().map(Value::to_string).collect(),
            errors,
        }
    }

    /// Held there or, if nobody knows where any more, nowhere in particular; and with a reason.
    fn holds(&self, name: &str, place: &str) -> bool {
        let fits = |seen: &deliveries::Seen| seen.sop_instance == name && seen.destination == place;
        self.held.iter().any(|seen| fits(seen) && !seen.reason.is_empty())
    }

    fn is_corrupt(&self, file: &Path) -> bool {
        self.corrupt.iter().any(|line| line.contains(&file.display().to_string()))
    }

    fn sees_damage(&self) -> bool {
        !self.problems.is_empty() || !self.errors.is_empty()
    }
}
