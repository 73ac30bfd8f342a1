//! A token bucket: how long to wait before so many bytes are taken from a path that carries so many a second.

use std::time::Duration;

/// A bucket that fills at a rate. Whoever takes more than is there waits for it, and those after him for theirs, so that
/// several connections share it fairly.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    bytes_per_second: f64,
    burst: f64,
    /// May be less than nothing: what was promised to those who wait.
    level: f64,
    filled_at: Duration,
}

impl Bucket {
    /// A full one. It holds what flows in a twentieth of a second, but at least one PDU.
    pub(super) fn new(bytes_per_second: f64) -> Self {
        let burst = (bytes_per_second / 20.0).max(128.0 * 1024.0);
        Self { bytes_per_second, burst, level: burst, filled_at: Duration::ZERO }
    }

    /// Takes `bytes` at the moment `now`, counted from any moment, and says how long to wait for them.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.level = (self.level + passed * self.bytes_per_second).min(self.burst);
        self.filled_at = self.filled_at.max(now);
        self.level -= bytes as f64;
        Duration::from_secs_f64((-self.level).max(0.0) / self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_gives_its_burst_at_once() {
        let mut bucket = Bucket::new(20e6);
        assert_eq!(bucket.take(1_000_000, Duration::ZERO), Duration::ZERO);
        assert_eq!(bucket.take(2_000_000, Duration::ZERO), Duration::from_millis(100));
    }

    #[test]
    fn over_time_it_gives_its_rate_and_no_more() {
        let (mut bucket, mut now, mut taken) = (Bucket::new(1e6), Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            now += bucket.take(65_536, now);
            taken += 65_536;
        }
        assert!((9_900_000..10_400_000).contains(&taken), "{taken}");
    }

    #[test]
    fn rest_fills_it_to_its_burst_only() {
        let mut bucket = Bucket::new(20e6);
        assert_eq!(bucket.take(1_000_000, Duration::from_secs(3600)), Duration::ZERO);
        assert!(bucket.take(1_000_000, Duration::from_secs(3600)) > Duration::ZERO);
    }

    #[test]
    fn those_who_come_while_others_wait_stand_behind_them() {
        let mut bucket = Bucket::new(1e6);
        let first = bucket.take(1_131_072, Duration::ZERO);
        let second = bucket.take(1_000_000, Duration::ZERO);
        assert_eq!((first, second), (Duration::from_secs(1), Duration::from_secs(2)));
    }
}
