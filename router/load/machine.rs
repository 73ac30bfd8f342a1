//! What the run runs on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use super::latency::Times;
use super::node::Limits;
use super::report::Machine;

/// This machine, or as much of it as the node is given, with the flush time of the disk below `folder`.
///
/// # Errors
/// Nothing can be written there.
pub(super) fn describe(folder: &Path, limits: &Limits) -> io::Result<Machine> {
    let (flush_seconds, flush_p99_seconds) = flush_time(folder)?;
    let own = own_limits();
    let (own_cores, own_memory) = (own.cores, own.memory);
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let cores = [own_cores, limits.cores].into_iter().flatten().fold(cores, f64::min);
    let memory = [own_memory, limits.memory].into_iter().flatten().fold(total_memory(), u64::min);
    let described = [("control group of this machine", own), ("control group of the node", limits.clone())];
    let words: Vec<_> = described
        .iter()
        .filter_map(|(whose, limits)| Some(format!("{whose}: {}", limits.words()?)))
        .collect();
    Ok(Machine {
        cpu: processor(),
        cores,
        memory_bytes: memory,
        os: system(),
        flush_seconds,
        flush_p99_seconds,
        limits: (!words.is_empty()).then(|| words.join("; ")),
    })
}

/// Bytes that may be written below `folder` before its file system is as full as `keep` says, of 1.
///
/// # Errors
/// The system does not tell.
pub(super) fn room(folder: &Path, most_used: f64) -> io::Result<u64> {
    let space = rustix::fs::statvfs(folder)?;
    // As df has it, and the node: without what is kept for root.
    let usable = space.f_blocks.saturating_sub(space.f_bfree).saturating_add(space.f_bavail);
    let (total, free) = (usable * space.f_frsize, space.f_bavail * space.f_frsize);
    let kept = total as f64 * (1.0 - most_used);
    Ok((free as f64 - kept).max(0.0) as u64)
}

/// Median and 99th percentile of so many appends of 4 KiB, each with `fdatasync`.
fn flush_time(folder: &Path) -> io::Result<(f64, f64)> {
    const APPENDS: usize = 500;
    let path = folder.join("flush-time");
    let mut file = File::create(&path)?;
    let mut times = Times::default();
    for _ in 0..APPENDS {
        let started = Instant::now();
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        times.add(started.elapsed().as_secs_f64());
    }
    drop(file);
    fs::remove_file(&path)?;
    let (p50, p99) = times.p50_and_p99();
    Ok((p50.unwrap_or_default(), p99.unwrap_or_default()))
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned()
}

fn total_memory() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// What the control group that this process is in allows (version 2); one further up may allow less, which is not looked for.
fn own_limits() -> Limits {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Limits::default();
    };
    let folder = Path::new("/sys/fs/cgroup").join(path);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    Limits { cores: cores_of(&read("cpu.max")), memory: read("memory.max").trim().parse().ok() }
}

/// `cpu.max` is microseconds in how many, or `max` for no limit.
fn cores_of(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_a_quota_in_a_period() {
        assert_eq!(cores_of("150000 100000\n"), Some(1.5));
        assert_eq!((cores_of("max 100000"), cores_of("")), (None, None));
    }

    #[test]
    fn room_is_what_is_free_without_what_is_kept() {
        let folder = std::env::temp_dir();
        assert!(room(&folder, 1.0).unwrap() >= room(&folder, 0.5).unwrap());
    }
}
