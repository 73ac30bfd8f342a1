//! Running a part round by round, and what is kept of it on disk.
//!
//! ```text
//! target/proof/lock              one run at a time
//! target/proof/<part>.json       the tally of `release`, written after each round
//! target/proof/<part>-<seed>/    a round; gone after it, unless it broke: then why.txt tells why
//! ```

use crate::part::{Broken, Part, Round, Seen};
use crate::tally::Tally;
use crate::wish::{Scale, Wish};
use std::any::Any;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Rounds without a single attack, one after another, after which a part is given up.
const GIVE_UP: u32 = 3;

/// How a part ended.
pub enum Ended {
    Passed(Tally),
    Failed(Tally),
    /// Something is missing on this machine.
    Skipped,
}

impl Ended {
    pub fn tally(&self) -> Option<&Tally> {
        match self {
            Self::Passed(tally) | Self::Failed(tally) => Some(tally),
            Self::Skipped => None,
        }
    }
}

/// Makes rounds until there were as many attacks as are wanted.
pub fn run(part: &Part, wish: &Wish, place: &Place) -> Ended {
    let count = wish.count(part);
    println!("\n=== {}: {} {}", part.name, count, part.what);
    if let Err(missing) = (part.needs)() {
        println!("skipped: {missing}");
        let required = std::env::var_os("CHRYSALIS_REQUIRE_STRANGERS").is_some();
        return if required { Ended::Failed(Tally::default()) } else { Ended::Skipped };
    }
    let mut tally = if wish.scale == Scale::Release { place.kept(part) } else { Tally::default() };
    let (mut broken, mut in_vain) = (0, 0);
    while in_vain < GIVE_UP && tally.seen.attacks < count {
        let seed = wish.seed.unwrap_or(tally.next_seed);
        let before = tally.seen.attacks;
        let started = Instant::now();
        let result = one_round(part, seed, count - before, place);
        broken += u32::from(result.is_err());
        tally.note(seed, &result, started.elapsed());
        in_vain = if tally.seen.attacks > before { 0 } else { in_vain + 1 };
        if wish.scale == Scale::Release && wish.seed.is_none() {
            place.keep(part, &tally);
        }
        report(part, seed, &result, started, &tally, count);
        if wish.seed.is_some() {
            break;
        }
    }
    if broken == 0 && tally.broken.is_empty() { Ended::Passed(tally) } else { Ended::Failed(tally) }
}

fn one_round(part: &Part, seed: u64, wanted: u64, place: &Place) -> Result<Seen, Broken> {
    let folder = place.fresh(part, seed);
    let round = Round { seed, wanted, folder: folder.clone() };
    let result = catch_unwind(AssertUnwindSafe(|| (part.round)(&round)));
    let result = result.unwrap_or_else(|panic| Err(Broken::new(message(&*panic))));
    match &result {
        Ok(_) => drop(fs::remove_dir_all(&folder)),
        Err(broken) => fs::write(folder.join(WHY), format!("{}\n", broken.why)).unwrap(),
    }
    result
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

fn report(
    part: &Part,
    seed: u64,
    result: &Result<Seen, Broken>,
    started: Instant,
    tally: &Tally,
    count: u64,
) {
    let seen = result.as_ref().unwrap_or_else(|broken| &broken.seen);
    println!(
        "{}, seed {seed}: {} of {count}; {} acknowledged, {} delivered, {} repeated, {} lost, {} altered; {:.1} s",
        part.name,
        tally.seen.attacks,
        seen.acknowledged,
        seen.delivered,
        seen.repeated,
        seen.lost,
        seen.altered,
        started.elapsed().as_secs_f64()
    );
    if let Err(broken) = result {
        println!("BROKEN: {}", broken.why);
        println!("kept in {}-{seed}; again with: everyday {} --seed {seed}", part.name, part.name);
    }
}

const WHY: &str = "why.txt";

/// The folder `proof` in Cargo's target folder, taken by one run at a time.
pub struct Place {
    folder: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes it, and clears what a run that was ended from outside left there.
    pub fn take() -> Result<Self, String> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder");
        let folder = target.join("proof");
        let here = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(here)?;
        let lock = File::create(folder.join("lock")).map_err(here)?;
        lock.try_lock().map_err(|error| format!("{}: another run? {error}", folder.display()))?;
        unmount_all(&folder);
        for entry in fs::read_dir(&folder).map_err(here)? {
            let path = entry.map_err(here)?.path();
            if path.is_dir() && !path.join(WHY).exists() {
                fs::remove_dir_all(&path).map_err(here)?;
            }
        }
        Ok(Self { folder, _lock: lock })
    }

    /// An empty folder for a round.
    fn fresh(&self, part: &Part, seed: u64) -> PathBuf {
        let folder = self.folder.join(format!("{}-{seed}", part.name));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// What earlier runs of `release` did.
    pub fn kept(&self, part: &Part) -> Tally {
        match fs::read(self.state(part)) {
            Ok(text) => serde_json::from_slice(&text).expect("a tally as this program writes it"),
            Err(_) => Tally::default(),
        }
    }

    fn keep(&self, part: &Part, tally: &Tally) {
        fs::write(self.state(part), serde_json::to_vec_pretty(tally).unwrap()).unwrap();
    }

    fn state(&self, part: &Part) -> PathBuf {
        self.folder.join(format!("{}.json", part.name))
    }
}

/// Unmounts what is mounted below a folder.
fn unmount_all(folder: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for place in
        places.map(|place| place.replace("\\040", " ")).filter(|place| Path::new(place).starts_with(folder))
    {
        let _ = Command::new("umount").arg("--lazy").arg(place).status();
    }
}
