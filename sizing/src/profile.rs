//! Profiles: machines by which sites of this field are planned, and what a node of ours sets itself to on each.

use std::fmt;

/// A machine and the studies per hour it is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What a configuration calls it.
    pub name: &'static str,
    /// About how many studies an hour the table has it for; none where the table names no rate.
    pub studies_per_hour: Option<u32>,
    /// Cores.
    pub cores: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Disk in bytes.
    pub disk: u64,
    /// Where these figures come from.
    pub source: &'static str,
    settings: Settings,
}

/// What a node sets itself to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Associations open at once at a listener.
    pub associations: usize,
    /// Threads that decode and encode frames.
    pub workers: usize,
    /// Frames in memory at once: two for each worker.
    pub frames_in_flight: usize,
    /// Bytes of disk for copies.
    pub cache: u64,
    /// Bytes of disk set aside, so that a full disk can still record what frees it.
    pub reserve: u64,
}

const GB: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;

const CLINICAL: &str = "the sizing table of a clinical DICOM router";

/// All of them, the smallest machine first.
///
/// The machines are those of a clinical product's table, so that a site that was planned by it finds itself here; what Chrysalis
/// needs is much less, which is measured and computed elsewhere. The settings are ours: a worker for each core, two frames for each
/// worker, copies and reserve together at most a tenth of the disk.
pub const PROFILES: [Profile; 4] = [
    profile("link-only", None, [2, 4, 10], [32, 256, 256]),
    profile("minimum", Some(15), [6, 16, 32], [128, 1024, 512]),
    profile("medium", Some(40), [12, 48, 125], [256, 4096, 1024]),
    profile("high", Some(40), [16, 64, 250], [512, 8192, 2048]),
];

/// Cores, memory and disk in GB; associations, cache and reserve in MiB.
const fn profile(
    name: &'static str,
    studies_per_hour: Option<u32>,
    [cores, memory, disk]: [u32; 3],
    [associations, cache, reserve]: [u32; 3],
) -> Profile {
    let workers = cores as usize;
    let settings = Settings {
        associations: associations as usize,
        workers,
        frames_in_flight: 2 * workers,
        cache: cache as u64 * MIB,
        reserve: reserve as u64 * MIB,
    };
    let (memory, disk) = (memory as u64 * GB, disk as u64 * GB);
    Profile { name, studies_per_hour, cores, memory, disk, source: CLINICAL, settings }
}

impl Profile {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The largest that this host has the machine for, or the smallest where it has it for none.
    #[must_use]
    pub fn for_host(host: &Host) -> &'static Self {
        let [smallest, ..] = &PROFILES;
        PROFILES.iter().rev().find(|profile| profile.shortfalls(host).is_empty()).unwrap_or(smallest)
    }

    /// What a node sets itself to on the machine of this profile.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// What this host has less of than the profile's machine.
    #[must_use]
    pub fn shortfalls(&self, host: &Host) -> Vec<Shortfall> {
        let wanted = [
            (Resource::Cores, host.cores, f64::from(self.cores), 1.0),
            (Resource::Memory, host.memory as f64, self.memory as f64, NEARLY),
            (Resource::Disk, host.disk as f64, self.disk as f64, NEARLY),
        ];
        let is_short = |(_, has, wants, share): &(Resource, f64, f64, f64)| *has < wants * share;
        let short = wanted.into_iter().filter(is_short);
        short.map(|(resource, has, wants, _)| Shortfall { resource, has, wants }).collect()
    }
}

/// A machine with 16 GB of memory shows somewhat less, and a disk of 32 GB too once there is a file system on it.
const NEARLY: f64 = 0.9;

impl Settings {
    /// The same as far as this host bears it: no more workers than cores, and of the disk at most a tenth for copies and a
    /// twentieth for the reserve, whatever machine the profile was made for.
    #[must_use]
    pub fn within(mut self, host: &Host) -> Self {
        // The cast saturates; what is no number has one core.
        self.workers = self.workers.min(host.cores.ceil() as usize).max(1);
        self.frames_in_flight = 2 * self.workers;
        self.cache = self.cache.min(host.disk / 10);
        self.reserve = self.reserve.min(host.disk / 20).max(MIB);
        self
    }
}

/// A machine as a program on it may use it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    /// Cores; a control group may allow part of one.
    pub cores: f64,
    /// Memory in bytes.
    pub memory: u64,
    /// The whole file system of the spool in bytes.
    pub disk: u64,
}

/// What a machine can have too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Processor cores.
    Cores,
    /// Memory.
    Memory,
    /// Disk.
    Disk,
    /// The way to the destinations.
    Uplink,
}

impl Resource {
    /// Those that a machine itself has.
    pub const OF_HOST: [Self; 3] = [Self::Cores, Self::Memory, Self::Disk];

    /// `cores`, `memory`, `disk`, `uplink`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Uplink => "uplink",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that a host has less of than it should, in cores or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortfall {
    /// What.
    pub resource: Resource,
    /// How much there is.
    pub has: f64,
    /// How much there should be.
    pub wants: f64,
}

impl Shortfall {
    /// The part that is missing, above 0 and at most 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        1.0 - self.has / self.wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Host = Host { cores: 2.0, memory: 512 << 20, disk: 50 * GB };

    fn machine(profile: &Profile) -> Host {
        Host { cores: f64::from(profile.cores), memory: profile.memory, disk: profile.disk }
    }

    #[test]
    fn every_profile_is_found_by_its_name_and_by_its_own_machine() {
        for profile in &PROFILES {
            assert_eq!(Profile::named(profile.name), Some(profile));
            assert_eq!(Profile::for_host(&machine(profile)), profile);
            assert_eq!(profile.shortfalls(&machine(profile)), []);
        }
        assert_eq!(Profile::named("huge"), None);
    }

    #[test]
    fn a_machine_sold_with_16_gb_is_not_short_of_memory_for_what_the_system_keeps() {
        let minimum = Profile::named("minimum").expect("a profile");
        let shown = Host { memory: 15 << 30, disk: 30 << 30, cores: 6.0 };
        assert_eq!(minimum.shortfalls(&Host { disk: 29_500_000_000, ..shown }), []);
        let short = minimum.shortfalls(&Host { cores: 5.5, memory: 8 * GB, ..shown });
        assert_eq!(
            short.iter().map(|short| short.resource).collect::<Vec<_>>(),
            [Resource::Cores, Resource::Memory]
        );
        assert!((short[1].share() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_host_below_every_profile_has_the_smallest() {
        assert_eq!(Profile::for_host(&SMALL).name, "link-only");
        assert_eq!(Profile::for_host(&Host { cores: 0.0, memory: 0, disk: 0 }).name, "link-only");
    }

    #[test]
    fn settings_never_take_more_of_a_host_than_it_has() {
        for profile in &PROFILES {
            let own = profile.settings();
            assert_eq!(own.within(&machine(profile)), own, "{} fits its own machine", profile.name);
            for disk in [0, GB, 10 * GB, 1000 * GB] {
                let fitted = own.within(&Host { disk, ..SMALL });
                assert_eq!((fitted.workers, fitted.frames_in_flight), (2, 4));
                assert!(fitted.cache + fitted.reserve <= (disk / 5).max(MIB), "{fitted:?}");
            }
        }
        assert_eq!(PROFILES[3].settings().within(&Host { cores: f64::NAN, ..SMALL }).workers, 1);
    }
}
