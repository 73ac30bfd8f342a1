//! What a site needs, and what a host can do. Pure arithmetic; every formula stands at its function.
//!
//! Everything grows with the studies per hour, so that what a host can do is found as the largest rate whose need still fits.

use crate::measured::Measured;
use crate::profile::{Host, PROFILES, Profile, Resource};
use crate::work::Work;
use crate::workload::{BUSY_SECONDS, most_of};

/// The most studies per hour, hours of outage, and so on, that are reckoned with: more is a slip of the pen.
pub const MOST_STUDIES_PER_HOUR: f64 = 100_000.0;
/// The longest outage that is reckoned with, in hours: 90 days.
pub const MOST_OUTAGE_HOURS: f64 = 2160.0;

/// The part of a core that is planned with; the rest is the system's, and for what comes at once within five minutes. An assumption.
pub const CORES_SHARE: f64 = 0.7;
/// The part of the memory that is planned with; the rest is the system's and its page cache's. An assumption.
pub const MEMORY_SHARE: f64 = 0.5;
/// Bytes on disk for an instance in the spool beside its data set: head, envelope and trailer (1 KiB), half a block that is
/// not filled (2 KiB), and its rows in the index (1 KiB). By the formats in docs/QUEUE.md, with UIDs of 64 characters.
pub const SPOOL_BYTES: f64 = 4096.0;
/// Bytes in the journals for an instance and one delivery, as long as the ledger is kept. By the formats in docs/QUEUE.md, with UIDs
/// of 64 characters.
pub const JOURNAL_BYTES: f64 = 700.0;

/// What a site asks of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site<'a> {
    /// What comes, and how it goes.
    pub work: Work<'a>,
    /// The mean of a busy hour: above 0, at most [`MOST_STUDIES_PER_HOUR`].
    pub studies_per_hour: f64,
    /// How long nothing can be delivered: 0 to [`MOST_OUTAGE_HOURS`].
    pub outage_hours: f64,
    /// Bytes per second to the destination; none where the network is no limit.
    pub uplink: Option<f64>,
    /// Carts that send at once.
    pub associations: u32,
    /// How the node keeps what it has.
    pub keeping: Keeping,
}

/// How a node keeps what it has: the keys of `[queue]` and `transcode.cache`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keeping {
    /// `queue.reserve` in bytes.
    pub reserve: f64,
    /// `transcode.cache` in bytes.
    pub cache: f64,
    /// `queue.high_watermark`, above 0 and at most 1.
    pub high_watermark: f64,
    /// `queue.retain` in hours.
    pub retain_hours: f64,
    /// `queue.ledger` in hours.
    pub ledger_hours: f64,
}

impl Keeping {
    /// What a node does where its configuration says nothing.
    pub const DEFAULT: Self = Self {
        reserve: (256_u64 << 20) as f64,
        cache: (512_u64 << 20) as f64,
        high_watermark: 0.9,
        retain_hours: 72.0,
        ledger_hours: 90.0 * 24.0,
    };
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CapacityError {
    /// A figure that makes no sense.
    #[error("{value} {what} make no sense; from {least} to {most} do")]
    Senseless {
        /// What it counts.
        what: &'static str,
        /// What was given.
        value: f64,
        /// The least that makes sense.
        least: f64,
        /// The most that makes sense.
        most: f64,
    },
    /// More arrives than can ever leave.
    #[error("the uplink is slower than what arrives: a backlog never drains")]
    NeverDrains {
        /// Bytes per second that leave at most.
        leaves: f64,
        /// Bytes per second that have to.
        arrives: f64,
    },
    /// The host is full or busy before the first study.
    #[error("the host has too little {resource} even for a node that nothing comes to")]
    TooSmall {
        /// What there is too little of.
        resource: Resource,
        /// How much there is, in cores or bytes.
        has: f64,
        /// How much a node takes at least.
        wants: f64,
    },
}

impl Site<'_> {
    /// Whether every figure makes sense.
    ///
    /// # Errors
    /// [`CapacityError::Senseless`]
    pub fn check(&self) -> Result<(), CapacityError> {
        let figures = [
            ("studies per hour", self.studies_per_hour, LEAST_RATE, MOST_STUDIES_PER_HOUR),
            ("hours of outage", self.outage_hours, 0.0, MOST_OUTAGE_HOURS),
            ("bytes per second", self.uplink.unwrap_or(1.0), 1.0, MOST_UPLINK),
            ("of high_watermark", self.keeping.high_watermark, 0.01, 1.0),
        ];
        figures.into_iter().try_for_each(|(what, value, least, most)| sensible(what, value, least, most))
    }

    /// The same site at another rate.
    #[must_use]
    pub const fn at(self, studies_per_hour: f64) -> Self {
        Self { studies_per_hour, ..self }
    }

    /// Studies that come in so many hours, in all but one of 120 such times: [`most_of`] `studies_per_hour * hours`.
    #[must_use]
    pub fn studies_in(&self, hours: f64) -> f64 {
        most_of(self.studies_per_hour * hours)
    }

    /// Cores: `studies in the busiest five minutes * seconds of a core for a study / 300 / CORES_SHARE`.
    #[must_use]
    pub fn cores(&self, costs: &Measured) -> f64 {
        let studies = most_of(self.studies_per_hour * BUSY_SECONDS / 3600.0);
        studies * self.work.cpu_seconds(costs) / BUSY_SECONDS / CORES_SHARE
    }

    /// Bytes that the node has resident:
    /// `idle + associations * each + frames in flight * native frame * frame_memory + instances in the spool * instance_memory`.
    ///
    /// Frames are in flight only where something is converted, two for each core that is needed. In the spool is what comes
    /// during the outage and while delivered payloads are retained.
    #[must_use]
    pub fn resident(&self, costs: &Measured) -> f64 {
        let frames = if self.work.converts() { 2.0 * self.cores(costs).ceil().max(1.0) } else { 0.0 };
        let hours = self.outage_hours + self.keeping.retain_hours;
        costs.idle_memory
            + f64::from(self.associations) * costs.association_memory
            + frames * f64::from(self.work.mix.native_frame) * costs.frame_memory
            + self.studies_in(hours) * self.work.instances() * costs.instance_memory
    }

    /// Memory of the host: `resident / MEMORY_SHARE`.
    #[must_use]
    pub fn memory(&self, costs: &Measured) -> f64 {
        self.resident(costs) / MEMORY_SHARE
    }

    /// Studies that wait at the end of the outage.
    #[must_use]
    pub fn backlog(&self) -> f64 {
        self.studies_in(self.outage_hours)
    }

    /// The file system of the spool in bytes: `(backlog * (bytes of a study + instances * SPOOL_BYTES) + journals + reserve + cache)
    /// / high_watermark`, with journals as in [`Self::journals`]. What is retained after its delivery takes no part: it gives way.
    #[must_use]
    pub fn disk(&self) -> f64 {
        self.disk_for(self.backlog())
    }

    /// The same if nothing that is retained should have to give way: with what comes in `retain_hours` more.
    #[must_use]
    pub fn disk_to_retain(&self) -> f64 {
        self.disk_for(self.studies_in(self.outage_hours + self.keeping.retain_hours))
    }

    /// Bytes of journals: `studies in ledger_hours * instances * JOURNAL_BYTES`, as if every hour were a busy one.
    #[must_use]
    pub fn journals(&self) -> f64 {
        self.studies_in(self.keeping.ledger_hours) * self.work.instances() * JOURNAL_BYTES
    }

    fn disk_for(&self, studies: f64) -> f64 {
        let payloads = studies * (self.work.bytes_in() + self.work.instances() * SPOOL_BYTES);
        (payloads + self.journals() + self.keeping.reserve + self.keeping.cache) / self.keeping.high_watermark
    }

    /// Bytes per second that have to leave on average: `studies_per_hour * bytes of a study as it goes / 3600`.
    #[must_use]
    pub fn leaving(&self) -> f64 {
        self.studies_per_hour * self.work.bytes_out() / 3600.0
    }

    /// The uplink in bytes per second: `leaving / uplink_share`. With exactly this a backlog never drains; twice of it drains one in the
    /// time that it took to come about.
    #[must_use]
    pub fn uplink_needed(&self, costs: &Measured) -> f64 {
        self.leaving() / costs.uplink_share
    }

    /// Studies per hour that can leave a node with so many cores: the least of
    /// `uplink * uplink_share * 3600 / bytes`, `forward_rate * 3600 / bytes` and `cores * CORES_SHARE * 3600 / seconds of a core`.
    #[must_use]
    pub fn drains_at(&self, cores: f64, costs: &Measured) -> f64 {
        let network = self.uplink.map_or(f64::INFINITY, |uplink| uplink * costs.uplink_share);
        let network = network.min(costs.forward_rate) * 3600.0 / self.work.bytes_out();
        network.min(cores * CORES_SHARE * 3600.0 / self.work.cpu_seconds(costs))
    }

    /// Hours until the backlog of the outage has drained while more comes: `backlog / (drains_at - studies_per_hour)`.
    ///
    /// # Errors
    /// [`CapacityError::NeverDrains`]
    pub fn drain_hours(&self, cores: f64, costs: &Measured) -> Result<f64, CapacityError> {
        let spare = self.drains_at(cores, costs) - self.studies_per_hour;
        if spare > 0.0 {
            return Ok(self.backlog() / spare);
        }
        let leaves = (spare + self.studies_per_hour) * self.work.bytes_out() / 3600.0;
        Err(CapacityError::NeverDrains { leaves, arrives: self.leaving() })
    }

    /// How much of a resource the site needs: cores, bytes, or bytes per second.
    #[must_use]
    pub fn need(&self, resource: Resource, costs: &Measured) -> f64 {
        match resource {
            Resource::Cores => self.cores(costs),
            Resource::Memory => self.memory(costs),
            Resource::Disk => self.disk(),
            Resource::Uplink => self.uplink_needed(costs),
        }
    }

    /// What of a host is too little for the site.
    #[must_use]
    pub fn lacks(&self, host: &Host, costs: &Measured) -> Vec<Resource> {
        let lacks = |resource: &Resource| self.need(*resource, costs) > self.has(*resource, host, costs);
        [Resource::Cores, Resource::Memory, Resource::Disk, Resource::Uplink]
            .into_iter()
            .filter(lacks)
            .collect()
    }

    /// The smallest profile with enough of a resource, by this arithmetic; none where even the largest has too little, or where
    /// it is not a machine's.
    #[must_use]
    pub fn profile_for(&self, resource: Resource, costs: &Measured) -> Option<&'static Profile> {
        let need = self.need(resource, costs);
        PROFILES.iter().find(|profile| match resource {
            Resource::Cores => f64::from(profile.cores) >= need,
            Resource::Memory => profile.memory as f64 >= need,
            Resource::Disk => profile.disk as f64 >= need,
            Resource::Uplink => false,
        })
    }

    /// How many studies per hour a host can take, by one resource alone: the largest rate whose need is not more than what there is,
    /// at most [`MOST_STUDIES_PER_HOUR`]. The rate of the site itself plays no part.
    ///
    /// # Errors
    /// [`CapacityError::TooSmall`]
    pub fn most_studies(
        &self,
        resource: Resource,
        host: &Host,
        costs: &Measured,
    ) -> Result<f64, CapacityError> {
        let has = self.has(resource, host, costs);
        let need = |rate| self.at(rate).need(resource, costs);
        // A rate so low that nothing comes is as good as none.
        let least = need(LEAST_RATE);
        if least > has || has.is_nan() {
            return Err(CapacityError::TooSmall { resource, has, wants: least });
        }
        Ok(largest(LEAST_RATE, MOST_STUDIES_PER_HOUR, |rate| need(rate) <= has))
    }

    /// How many hours of outage the host's disk holds at the site's rate, at most [`MOST_OUTAGE_HOURS`].
    ///
    /// # Errors
    /// [`CapacityError::TooSmall`]
    pub fn most_outage_hours(&self, host: &Host) -> Result<f64, CapacityError> {
        let (has, need) = (host.disk as f64, |outage_hours| Self { outage_hours, ..*self }.disk());
        if need(0.0) > has {
            return Err(CapacityError::TooSmall { resource: Resource::Disk, has, wants: need(0.0) });
        }
        Ok(largest(0.0, MOST_OUTAGE_HOURS, |hours| need(hours) <= has))
    }

    fn has(&self, resource: Resource, host: &Host, costs: &Measured) -> f64 {
        match resource {
            Resource::Cores => host.cores,
            Resource::Memory => host.memory as f64,
            Resource::Disk => host.disk as f64,
            Resource::Uplink => {
                let network = costs.forward_rate / costs.uplink_share;
                self.uplink.map_or(network, |uplink| uplink.min(network))
            }
        }
    }
}

/// The least rate that is reckoned with, in studies per hour: one in six weeks.
const LEAST_RATE: f64 = 0.001;
/// 10 Tbit/s, in bytes per second.
const MOST_UPLINK: f64 = 1.25e12;

fn sensible(what: &'static str, value: f64, least: f64, most: f64) -> Result<(), CapacityError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(CapacityError::Senseless { what, value, least, most })
}

/// The largest value that `fits`, where `least` does and larger ones do less.
fn largest(least: f64, most: f64, fits: impl Fn(f64) -> bool) -> f64 {
    if fits(most) {
        return most;
    }
    let (mut low, mut high) = (least, most);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
