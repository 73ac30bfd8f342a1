//! Single failures: while the program starts, receives, transcodes and forwards, one of its system calls fails.
//!
//! `strace` makes it fail: the Nth call of one kind in each thread that gets that far, counted from the start or from some
//! time while it works, instead of being made. Which kinds there are, and how far threads get, is measured first. One spool
//! lives through all failures of a round.

use crate::chance::Chance;
use crate::load::{Load, decoded, filed, received, wait_drained};
use crate::part::{Broken, Part, Round, Seen};
use crate::support::archive::{Archive, Script};
use crate::support::deliveries::BRISK;
use crate::support::http;
use crate::support::instance::{Instance, Study};
use crate::support::modality::Modality;
use crate::support::node::{Node, parse_metrics, program_under_test};
use crate::support::process::{Process, find, write_file};
use crate::support::wait::{eventually, let_pass, poll};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const PART: Part = Part {
    name: "failure",
    what: "single system calls that fail under load",
    everyday: 200,
    release: 2_000,
    needs: || find("strace").map(drop).ok_or_else(|| "strace is not installed".to_owned()),
    round,
};

/// Failures from one empty spool to the comparison.
const FAILURES: u64 = 20;
/// Lives without any failure, because no thread got that far, after which a round goes without.
const MISSES: u32 = 60;
const CARTS: u64 = 2;
/// Longest wait for what has to follow from a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can fail, and how. `retval=0` is a write that wrote nothing.
const CALLS: [(&str, &[&str]); 26] = [
    ("openat", &["error=EIO", "error=ENOSPC", "error=EMFILE", "error=EROFS", "error=EDQUOT"]),
    ("write", &["error=EIO", "error=ENOSPC", "error=EDQUOT", "retval=0"]),
    ("writev", &["error=EIO", "error=ENOSPC"]),
    ("pwrite64", &["error=EIO", "error=ENOSPC", "error=EDQUOT", "retval=0"]),
    ("pwritev2", &["error=EIO", "error=ENOSPC"]),
    ("fdatasync", &["error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EROFS"]),
    ("fsync", &["error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EROFS"]),
    ("ftruncate", &["error=EIO", "error=ENOSPC", "error=EROFS"]),
    ("fallocate", &["error=EIO", "error=ENOSPC", "error=EDQUOT", "error=EOPNOTSUPP"]),
    ("sync_file_range", &["error=EIO", "error=ENOSPC"]),
    ("unlink", &["error=EIO", "error=EROFS"]),
    ("unlinkat", &["error=EIO", "error=EROFS"]),
    ("rename", &["error=EIO", "error=ENOSPC", "error=EROFS"]),
    ("renameat", &["error=EIO", "error=ENOSPC"]),
    ("renameat2", &["error=EIO", "error=ENOSPC", "error=EROFS"]),
    ("linkat", &["error=EIO", "error=ENOSPC", "error=EMLINK"]),
    ("mkdir", &["error=EIO", "error=ENOSPC", "error=EROFS", "error=EDQUOT"]),
    ("rmdir", &["error=EIO", "error=EROFS"]),
    ("read", &["error=EIO"]),
    ("pread64", &["error=EIO"]),
    ("getdents64", &["error=EIO"]),
    ("statx", &["error=EIO", "error=EACCES"]),
    ("flock", &["error=EIO", "error=ENOLCK"]),
    ("statfs", &["error=EIO"]),
    ("accept4", &["error=EMFILE", "error=ENFILE", "error=ECONNABORTED"]),
    ("copy_file_range", &["error=EIO", "error=ENOSPC"]),
];

/// Two carts, and three destinations as when the program is killed.
pub fn round(round: &Round) -> Result<Seen, Broken> {
    let reach = REACH.get_or_init(|| measure(&round.folder.join("measured")));
    let (pacs, lossless) = (Archive::new(), Script::default().keep_data_sets().start());
    let mut node = node(&round.folder, &pacs, &lossless);
    let mut chance = Chance::new(round.seed);
    let mut seen = Seen::default();
    let load = Load::start(node.address, round.seed, CARTS);
    let mut misses = 0;
    let mut life = 0;
    while seen.attacks < round.wanted.min(FAILURES) && misses < MISSES {
        let fault = Fault::choose(&mut chance, reach);
        life += 1;
        let began = Instant::now();
        let trace = round.folder.join(format!("life-{life}.trace"));
        let attack = Attack { fault, trace, home: &round.folder, load: &load };
        let outcome = attack.make(&mut node, &mut chance);
        let hit = outcome.map_err(|why| Broken {
            why: format!(
                "life {life}, {:?}, {}: {why}; hit: {:?}",
                attack.fault.from,
                attack.fault,
                attack.hits()
            ),
            seen: seen.clone(),
        })?;
        note(
            &round.folder,
            &format!(
                "life {life}, {:.1} s, {:?}, {}: {hit:?}\n",
                began.elapsed().as_secs_f64(),
                attack.fault.from,
                attack.fault
            ),
        );
        load.next_life(None);
        match hit {
            Hit::Nothing | Hit::Elsewhere => misses += 1,
            Hit::Survived | Hit::Poisoned | Hit::NotStarted => seen.attacks += 1,
        }
    }
    let started = Instant::now();
    run_plainly(&round.folder);
    node.spawn();
    node.wait_listening();
    seen.slowest_start = started.elapsed();
    node.wait_ready();
    load.wait_for_more(10);
    let account = load.end();
    // A file that could not be read at a start is held, and is as it was: a person has it sent.
    seen.held = release_all(&node);
    wait_drained(&node).map_err(|why| Broken { why, seen: seen.clone() })?;
    let came = [
        ("pacs", account.compare(&received(&pacs.stored()))),
        ("archive", account.compare(&filed(&node.delivered("archive")))),
        ("lossless", account.compare_pixels(&decoded(&lossless.stored()))),
    ];
    account.judge(seen, &came)
}

fn node(home: &Path, pacs: &Archive, lossless: &Archive) -> Node {
    run_plainly(home);
    Node::builder()
        .home(home)
        .program(&script(home))
        .queue("reserve = \"8MiB\"\nhigh_watermark = \"100%\"")
        .dicom_with("pacs", pacs.address(), BRISK)
        .dicom_with("lossless", lossless.address(), &format!("{BRISK}\nimage = \"jpeg-lossless\""))
        .folder("archive")
        .prepare()
}

// --- what fails ---

/// In which place of each call's sequence in a thread a file of the program was touched, once for each time it was.
type Reach = BTreeMap<&'static str, Vec<u64>>;

/// From the start on, and while it works.
static REACH: OnceLock<[Reach; 2]> = OnceLock::new();

/// From when on calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    Work,
}

/// The Nth call of this kind in each thread ends like this, without being made.
struct Fault {
    from: From,
    call: &'static str,
    how: &'static str,
    nth: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:when={}", self.call, self.how, self.nth)
    }
}

impl Fault {
    /// Any kind as likely as any other, and of a kind any place that a run comes to.
    fn choose(chance: &mut Chance, [start, work]: &[Reach; 2]) -> Self {
        let (from, reach) = if chance.one_in(3) { (From::Start, start) } else { (From::Work, work) };
        let kinds: Vec<_> = CALLS.iter().filter(|(call, _)| reach.contains_key(call)).collect();
        let (call, ways) = kinds[chance.below(kinds.len() as u64) as usize];
        let places = &reach[call];
        Self {
            from,
            call,
            how: ways[chance.below(ways.len() as u64) as usize],
            nth: places[chance.below(places.len() as u64) as usize],
        }
    }

    fn is_sync(&self) -> bool {
        ["fdatasync", "fsync"].contains(&self.call)
    }

    fn is_full_disk(&self) -> bool {
        self.how.ends_with("ENOSPC") || self.how.ends_with("EDQUOT")
    }
}

/// Two lives without any failure, watched from the start on and from when it works.
fn measure(home: &Path) -> [Reach; 2] {
    std::fs::create_dir(home).unwrap();
    let (pacs, lossless) = (Archive::new(), Script::default().keep_data_sets().start());
    let mut node = node(home, &pacs, &lossless);
    let load = Load::start(node.address, 0, CARTS);
    let calls: Vec<_> = CALLS.iter().map(|(call, _)| *call).collect();
    let reach = [From::Start, From::Work].map(|from| {
        let trace = home.join(format!("{from:?}.trace"));
        let options = format!("-e trace={}", calls.join(","));
        let tracer = start_traced(&mut node, home, from, &trace, &options);
        load.wait_for_more(60);
        drop(tracer);
        node.stop();
        reached(&trace, home)
    });
    drop(load.end());
    reach
}

fn reached(trace: &Path, home: &Path) -> Reach {
    let mut reach = Reach::new();
    let mut counts: HashMap<(u32, &str), u64> = HashMap::new();
    for line in Line::read_all(trace) {
        let Some((call, _)) = CALLS.iter().find(|(call, _)| *call == line.call) else { continue };
        let place = counts.entry((line.thread, call)).or_default();
        *place += 1;
        if line.is_ours(home) {
            reach.entry(call).or_default().push(*place);
        }
    }
    reach
}

// --- one life with a failure ---

/// What a life came to.
#[derive(Debug)]
enum Hit {
    /// No thread got that far.
    Nothing,
    /// The kernel's, not a file's: a wake-up, a library, `/proc`.
    Elsewhere,
    /// It went on.
    Survived,
    /// It refuses since, and says so.
    Poisoned,
    /// It said why it cannot start.
    NotStarted,
}

struct Attack<'a> {
    fault: Fault,
    trace: PathBuf,
    home: &'a Path,
    load: &'a Load,
}

impl Attack<'_> {
    fn make(&self, node: &mut Node, chance: &mut Chance) -> Result<Hit, String> {
        let said = node.output().len();
        let options = format!("-e trace={} --inject={}", self.fault.call, self.fault);
        let _tracer = start_traced(node, self.home, self.fault.from, &self.trace, &options);
        let listens = poll(PATIENCE, || {
            if node.is_running() { self.is_listening(node).then_some(true) } else { Some(false) }
        });
        let listens = listens.ok_or("it neither listens nor ends")?;
        if !listens {
            return self.not_started(node, said);
        }
        let_pass(chance.milliseconds(30, 250));
        let outcome = self.judge(node);
        let is_killed = chance.one_in(2);
        if is_killed {
            node.kill()
        } else {
            node.signal_stop()
        }
        // Some of it may fail only while it ends.
        let ended = poll(PATIENCE * 2, || (!node.is_running() || self.is_elsewhere()).then_some(()));
        if self.is_elsewhere() {
            node.kill();
            return Ok(Hit::Elsewhere);
        }
        let hit = outcome?;
        self.no_panic(node, said)?;
        ended.ok_or("it does not end after SIGTERM")?;
        let status = node.wait_end();
        if !is_killed && !status.success() {
            return Err(format!("it ended with {status} after SIGTERM"));
        }
        Ok(hit)
    }

    /// Something failed that is no file of the node.
    fn is_elsewhere(&self) -> bool {
        !self.hits().iter().all(|hit| hit.is_ours(self.home))
    }

    fn is_listening(&self, node: &Node) -> bool {
        std::net::TcpStream::connect(node.address).is_ok() && http::get(node.admin, "/health/live").is_ok()
    }

    /// What failed, as far as the trace tells.
    fn hits(&self) -> Vec<Line> {
        let mut lines = Line::read_all(&self.trace);
        lines.retain(|line| line.is_injected);
        lines
    }

    fn no_panic(&self, node: &Node, said: usize) -> Result<(), String> {
        let output = node.output();
        // The index's library panics where it may fail; that is caught, and the index made anew.
        let is_bad = |line: &&str| line.contains("panicked at") && !line.contains("/sled-");
        let panicked = output.get(said..).unwrap_or_default().lines().find(is_bad);
        panicked.map_or(Ok(()), |line| Err(line.to_owned()))
    }

    /// It ended instead of listening: with words, and only this time.
    fn not_started(&self, node: &mut Node, said: usize) -> Result<Hit, String> {
        let status = node.wait_end();
        let hits = self.hits();
        if hits.is_empty() {
            return Err(format!("it ended with {status} although nothing failed"));
        }
        let output = node.output().split_off(said);
        if status.success() || output.trim().is_empty() {
            return Err(format!("it ended with {status} and said {output:?}"));
        }
        let ours = hits.iter().any(|hit| hit.is_ours(self.home));
        if ours {
            self.no_panic(node, said)?;
        }
        self.load.next_life(None);
        run_plainly(self.home);
        node.spawn();
        let up = poll(PATIENCE, || (node.is_running() && node.is_ready()).then_some(()));
        up.ok_or_else(|| format!("the next start does not work, after: {output}"))?;
        node.kill();
        Ok(if ours { Hit::NotStarted } else { Hit::Elsewhere })
    }

    fn judge(&self, node: &mut Node) -> Result<Hit, String> {
        // First what it says, then what failed: that may go on meanwhile.
        let poisoned = http::get(node.admin, "/metrics")
            .map(|said| parse_metrics(&said.text()).get("chrysalis_queue_poisoned") == Some(&1.0));
        let hits = self.hits();
        if hits.is_empty() {
            return Ok(Hit::Nothing);
        }
        if self.is_elsewhere() {
            return Ok(Hit::Elsewhere);
        }
        if !node.is_running() {
            return Err("it ended".to_owned());
        }
        if self.fault.is_sync() && hits.iter().any(|hit| hit.is_of_queue(self.home)) {
            return self.poisoned(node, &hits);
        }
        let may_poison = !self.fault.is_full_disk() && hits.iter().any(|hit| hit.is_of_queue(self.home));
        let poisoned = poisoned.map_err(|error| format!("it does not tell its metrics: {error}"))?;
        match (poisoned, may_poison) {
            (true, true) => self.refuses(node),
            (true, false) => Err("it is poisoned by what is no failed sync".to_owned()),
            (false, _) => {
                let before = self.load.acknowledged();
                let goes_on = || (self.load.acknowledged() > before).then_some(());
                if poll(PATIENCE, goes_on).is_some() {
                    return Ok(Hit::Survived);
                }
                // It may have failed since it was asked.
                let has_failed = self.hits().iter().any(|hit| hit.is_of_queue(self.home));
                let is_poisoned = node.metric("chrysalis_queue_poisoned", &[]) == 1.0;
                match is_poisoned && has_failed && !self.fault.is_full_disk() {
                    true => self.refuses(node),
                    false => Err("nothing is acknowledged any more".to_owned()),
                }
            }
        }
    }

    /// A sync failed: nobody was told Success because of it, and nobody is until the next start.
    fn poisoned(&self, node: &Node, hits: &[Line]) -> Result<Hit, String> {
        let poisoned = || (node.metric("chrysalis_queue_poisoned", &[]) == 1.0).then_some(());
        poll(PATIENCE, poisoned).ok_or("a sync failed, and it is not poisoned")?;
        for file in hits.iter().filter_map(Line::path).filter(|path| path.extension().is_some()) {
            let unsynced = Instance::from_part10(file).map(|instance| instance.sop_instance);
            if let Ok(name) = unsynced
                && file.extension().is_some_and(|extension| extension == "dcm")
                && self.load.has_acknowledged(&name)
            {
                return Err(format!("{name} was acknowledged, and {} is not synced", file.display()));
            }
        }
        self.refuses(node)
    }

    /// Everything is refused, and stays so.
    fn refuses(&self, node: &Node) -> Result<Hit, String> {
        let probe = Study::new(u64::MAX).small(1);
        let mut acknowledged = None;
        for _ in 0..3 {
            match Modality::new(node.address).store(&probe) {
                Ok(answer) if answer.status != 0xA700 => {
                    return Err(format!("it is poisoned and answers {:04X}", answer.status));
                }
                Ok(_) | Err(_) => {}
            }
            if node.is_ready() {
                return Err("it is poisoned and says that it is ready".to_owned());
            }
            if node.metric("chrysalis_queue_poisoned", &[]) != 1.0 {
                return Err("it is not poisoned any more".to_owned());
            }
            let_pass(Duration::from_millis(20));
            let now = self.load.acknowledged();
            if acknowledged.is_some_and(|before| before != now) {
                return Err("it is poisoned and acknowledges".to_owned());
            }
            acknowledged = Some(now);
        }
        Ok(Hit::Poisoned)
    }
}

// --- what strace writes ---

/// Follows threads and children, and names files.
const STRACE: &str = "strace -f -y -e signal=none";

/// Starts the program watched by `strace`, or has it watched as soon as it is ready, until what is returned is dropped.
fn start_traced(node: &mut Node, home: &Path, from: From, trace: &Path, options: &str) -> Option<Process> {
    let strace = format!("{STRACE} -o {} {options}", trace.display());
    match from {
        From::Start => {
            // The program stays the child of whoever started it.
            run_by(home, &format!("{strace} -qq -D --seccomp-bpf"));
            node.spawn();
            None
        }
        From::Work => {
            run_plainly(home);
            node.start();
            let mut words = strace.split(' ');
            let mut command = Command::new(words.next().unwrap());
            command.args(words).arg("-p").arg(node.id().to_string());
            let name = trace.file_stem().unwrap().to_string_lossy().into_owned();
            let tracer = Process::start(&format!("strace-{name}"), command, home);
            eventually("strace attached", PATIENCE, || tracer.output().contains("attached").then_some(()));
            Some(tracer)
        }
    }
}

/// One call.
#[derive(Debug)]
struct Line {
    thread: u32,
    call: String,
    /// All that is said of it.
    text: String,
    is_injected: bool,
}

impl Line {
    /// The calls of a trace, one whose end is told later as one.
    fn read_all(trace: &Path) -> Vec<Self> {
        let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned();
        let mut lines: Vec<Self> = Vec::new();
        let mut unfinished: HashMap<u32, usize> = HashMap::new();
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Ok(thread) = thread.parse() else { continue };
            let (rest, is_injected) = (rest.trim_start(), line.contains("(INJECTED)"));
            if rest.starts_with("<... ") {
                if let Some(line) = unfinished.remove(&thread).and_then(|at| lines.get_mut(at)) {
                    line.is_injected = is_injected;
                    line.text += rest;
                }
                continue;
            }
            let Some((call, _)) = rest.split_once('(') else { continue };
            if rest.ends_with("<unfinished ...>") {
                unfinished.insert(thread, lines.len());
            }
            lines.push(Self { thread, call: call.to_owned(), text: rest.to_owned(), is_injected });
        }
        lines
    }

    /// Whether it is about a file below `home`, or about a cart that calls.
    fn is_ours(&self, home: &Path) -> bool {
        self.call == "accept4" || self.text.contains(&format!("{}/", home.display()))
    }

    /// Whether it is about a spool file, a journal, or a directory of these.
    fn is_of_queue(&self, home: &Path) -> bool {
        let data = home.join("data");
        ["spool", "journal"].iter().any(|name| self.text.contains(&data.join(name).display().to_string()))
    }

    /// The file that a descriptor is of.
    fn path(&self) -> Option<&Path> {
        let (_, rest) = self.text.split_once('<')?;
        rest.split_once('>').map(|(path, _)| Path::new(path))
    }
}

// --- how the program is run ---

fn script(home: &Path) -> PathBuf {
    home.join("program")
}

fn run_plainly(home: &Path) {
    run_by(home, "");
}

/// From the next start on, the program is run by this one.
fn run_by(home: &Path, command: &str) {
    let program = program_under_test();
    write_file(&script(home), &format!("#!/bin/sh\nexec {command} {} \"$@\"\n", program.display()));
    std::fs::set_permissions(script(home), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Adds to the account of the round, which is kept if it breaks.
fn note(home: &Path, line: &str) {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(home.join("lives.txt"));
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

/// Has everything sent that is held; how much that was.
fn release_all(node: &Node) -> u64 {
    let body = "{\"filter\": {\"state\": \"held\"}, \"reason\": \"looked at\"}";
    let answer = node.api_post("/api/queue/release", body);
    let outcome: serde_json::Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    outcome["changed"].as_u64().unwrap_or_else(|| panic!("{} {}", answer.status, answer.text()))
}
