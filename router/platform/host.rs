//! What of this machine the process may use: all of it, or what a control group leaves.

use std::fs;
use std::path::{Path, PathBuf};

use chrysalis_sizing::Host;

/// The machine as this process may use it, with the file system that `data_dir` is on, or would be.
///
/// Cores and memory are those of the machine, or less where a control group (version 1 or 2) or the affinity of the process says so.
/// What cannot be told is 0.
pub fn host(data_dir: &Path) -> Host {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = Limits::of(&groups, Path::new("/sys/fs/cgroup"));
    Host {
        cores: limits.cores.unwrap_or(f64::INFINITY).min(cores()),
        memory: limits.memory.unwrap_or(u64::MAX).min(memory()),
        disk: disk(data_dir),
    }
}

/// Cores that this process may run on.
fn cores() -> f64 {
    let allowed = rustix::thread::sched_getaffinity(None).map(|set| f64::from(set.count()));
    // The standard library's figure is rounded down to whole cores.
    allowed.unwrap_or_else(|_| std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64))
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    total.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The whole file system as `df` shows it: without what is kept for the superuser.
fn disk(path: &Path) -> u64 {
    let there = path.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    rustix::fs::statvfs(there).map_or(0, |space| {
        let kept = space.f_bfree.saturating_sub(space.f_bavail);
        space.f_blocks.saturating_sub(kept).saturating_mul(space.f_frsize)
    })
}

/// What control groups allow; none is no limit.
#[derive(Debug, Default, PartialEq)]
struct Limits {
    cores: Option<f64>,
    memory: Option<u64>,
}

impl Limits {
    /// Those of a process with this `/proc/self/cgroup`, and of every group above it. In a container the path is often one outside
    /// of it, while `root` begins at the container: then the groups below `root` are not there, and its own files count.
    fn of(groups: &str, root: &Path) -> Self {
        let mut limits = Self::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let base = root.join(controllers);
            for folder in upwards(&base, path) {
                limits.tighten(&folder, controllers);
            }
        }
        limits
    }

    fn tighten(&mut self, folder: &Path, controllers: &str) {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let has = |controller| controllers.split(',').any(|each| each == controller);
        // Version 2 has one hierarchy for all, whose list of controllers is empty.
        let (cores, memory) = match controllers {
            "" => (read("cpu.max").and_then(|text| quota(&text)), read("memory.max")),
            _ if has("memory") => (None, read("memory.limit_in_bytes")),
            _ if has("cpu") => {
                let both = read("cpu.cfs_quota_us").zip(read("cpu.cfs_period_us"));
                (both.and_then(|(quota_us, period)| quota(&format!("{quota_us} {period}"))), None)
            }
            _ => (None, None),
        };
        let memory = memory.and_then(|text| text.trim().parse::<u64>().ok());
        self.cores = self.cores.into_iter().chain(cores).reduce(f64::min);
        self.memory = self.memory.into_iter().chain(memory).min();
    }
}

/// The folder of a group and those above it, up to that of the hierarchy.
fn upwards(base: &Path, path: &str) -> Vec<PathBuf> {
    let own = base.join(path.trim_start_matches('/'));
    own.ancestors().take_while(|folder| folder.starts_with(base)).map(Path::to_owned).collect()
}

/// Microseconds of processor time in a period, as `150000 100000`; `max` or a negative quota is no limit.
fn quota(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::{Limits, host};
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        fs::write(file, text).expect("a file");
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "cpu.max", "max 100000\n");
        write(root.path(), "system.slice/cpu.max", "150000 100000\n");
        write(root.path(), "system.slice/memory.max", "max\n");
        write(root.path(), "system.slice/chrysalis.service/cpu.max", "max 100000\n");
        write(root.path(), "system.slice/chrysalis.service/memory.max", "536870912\n");
        let limits = Limits::of("0::/system.slice/chrysalis.service\n", root.path());
        assert_eq!(limits, Limits { cores: Some(1.5), memory: Some(512 << 20) });
        assert_eq!(Limits::of("0::/elsewhere\n", root.path()), Limits::default());
    }

    #[test]
    fn groups_of_the_first_version_count_too_also_from_within_a_container() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "memory/memory.limit_in_bytes", "9223372036854771712\n");
        write(root.path(), "cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
        write(root.path(), "cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        write(root.path(), "cpuset/cpu.cfs_quota_us", "1\n");
        let groups = "7:cpuset:/\n4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n1:name=systemd:/\n";
        let limits = Limits::of(groups, root.path());
        assert_eq!(limits, Limits { cores: Some(2.0), memory: Some(9_223_372_036_854_771_712) });
        let unlimited = "-1 100000";
        assert_eq!(
            (super::quota(unlimited), super::quota("max 100000"), super::quota("")),
            (None, None, None)
        );
    }

    #[test]
    fn this_machine_has_something_of_everything() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = host(&folder.path().join("not/there/yet"));
        assert!(host.cores > 0.0 && host.cores.is_finite() && host.memory > 0 && host.disk > 0, "{host:?}");
    }
}
