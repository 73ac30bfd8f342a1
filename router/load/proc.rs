//! What a process uses, as `/proc` has it. Elsewhere than on Linux nothing is known.

use std::fs;

/// What a process has used, and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor seconds in all.
    pub(super) cpu_seconds: f64,
    /// Those of its children that have ended.
    pub(super) children_cpu_seconds: f64,
    /// Resident memory.
    pub(super) memory: u64,
    /// The most that ever was.
    pub(super) peak_memory: u64,
    /// Open descriptors.
    pub(super) descriptors: u64,
}

impl Usage {
    /// Of the process with this number; nothing if there is none, or none that may be looked at.
    pub(super) fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count) as u64;
        let memory = |field| kilobytes(&status, field);
        let [cpu, children] = ticks(&stat)?.map(|ticks| ticks as f64 / TICKS_PER_SECOND);
        Some(Self {
            cpu_seconds: cpu,
            children_cpu_seconds: children,
            memory: memory("VmRSS:")?,
            peak_memory: memory("VmHWM:")?,
            descriptors,
        })
    }

    /// Of this process.
    pub(super) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }
}

/// Linux tells programs of hundredths on every processor that there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Its own ticks, and those of its children that have ended: utime and stime, cutime and cstime, which are fields 14 to 17 of
/// proc_pid_stat(5). The second may contain anything, and ends with the last parenthesis.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let mut sum = || Some(fields.next()?? + fields.next()??);
    Some([sum()?, sum()?])
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 7 3 20 0 9 0 100 1 1";
        assert_eq!(ticks(stat), Some([300, 10]));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(
            (kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:")),
            (Some(1 << 20), Some(2 << 20))
        );
        assert_eq!(kilobytes(status, "VmSwap:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory_and_descriptors() {
        let usage = Usage::own().unwrap();
        assert!(usage.memory > 0 && usage.peak_memory >= usage.memory && usage.descriptors > 0);
    }
}
