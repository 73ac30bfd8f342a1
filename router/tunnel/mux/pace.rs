//! How much of instances is on its way at once: enough to fill the path, and little enough that a question which comes
//! after it does not wait long.
//!
//! A socket's buffer, and the routers' after it, take megabytes, and what is in them cannot be overtaken. So what is on
//! its way is bounded from end to end: to what the path has lately carried in one round trip and a little more. What
//! stands in queues is then that little, wherever they are; and as long as something stands there the path is full.

use std::time::Duration;

/// What is always allowed.
const FLOOR: u64 = 128 << 10;
/// How long what stands in queues may take to drain.
const STANDING: Duration = Duration::from_millis(50);
/// The shortest time over which a rate is measured.
const SPAN: Duration = Duration::from_millis(50);
/// Rates that are remembered; the highest counts.
const REMEMBERED: usize = 16;

/// What is on its way, and what may be.
#[derive(Debug, Default)]
pub(super) struct Pace {
    in_flight: u64,
    rtt: Option<Duration>,
    /// Bytes a second, the newest at `at`.
    rates: [u64; REMEMBERED],
    at: usize,
    measuring: Option<Measuring>,
}

#[derive(Debug)]
struct Measuring {
    since: Duration,
    bytes: u64,
}

impl Pace {
    /// Whether more may be sent.
    pub(super) fn allows(&self) -> bool {
        self.in_flight < self.limit()
    }

    /// Bytes that may be on their way.
    pub(super) fn limit(&self) -> u64 {
        let rate = self.rates.iter().copied().max().unwrap_or_default();
        let time = self.rtt.unwrap_or_default() + STANDING;
        FLOOR.max((u128::from(rate) * time.as_micros() / 1_000_000) as u64)
    }

    /// A question and its answer took so long.
    pub(super) fn round_trip(&mut self, took: Duration) {
        self.rtt = Some(self.rtt.map_or(took, |known| known.min(took)));
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: u64, now: Duration) {
        if self.in_flight == 0 {
            // Time in which there was nothing to send says nothing of the path.
            self.measuring = Some(Measuring { since: now, bytes: 0 });
        }
        self.in_flight += bytes;
    }

    /// So many have arrived and been dealt with.
    pub(super) fn arrived(&mut self, bytes: u64, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        let Some(measuring) = &mut self.measuring else { return };
        measuring.bytes += bytes;
        let took = now.saturating_sub(measuring.since);
        if took >= SPAN {
            let rate = u128::from(measuring.bytes) * 1_000_000 / took.as_micros().max(1);
            self.at = (self.at + 1) % REMEMBERED;
            if let Some(place) = self.rates.get_mut(self.at) {
                *place = u64::try_from(rate).unwrap_or(u64::MAX);
            }
            *measuring = Measuring { since: now, bytes: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use super::{FLOOR, Pace};

    /// Sends as much as is allowed over a path of a rate and a delay for a time; says how much of the path was used in the
    /// second half, and how long what was sent last had to wait in it.
    fn run(rate: u64, delay: Duration, time: Duration) -> (f64, Duration) {
        const CHUNK: u64 = 16 << 10;
        let mut pace = Pace::default();
        pace.round_trip(delay);
        let (mut under_way, mut free_at) = (VecDeque::new(), Duration::ZERO);
        let (mut now, mut second_half, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
        while now < time {
            while under_way.front().is_some_and(|arrives| *arrives <= now) {
                under_way.pop_front();
                pace.arrived(CHUNK, now);
                second_half += if now > time / 2 { CHUNK } else { 0 };
            }
            while pace.allows() {
                pace.sent(CHUNK, now);
                free_at = free_at.max(now) + Duration::from_secs_f64(CHUNK as f64 / rate as f64);
                under_way.push_back(free_at + delay);
                if now > time / 2 {
                    longest = longest.max(free_at.saturating_sub(now));
                }
            }
            now += Duration::from_micros(200);
        }
        (second_half as f64 / (rate as f64 * time.as_secs_f64() / 2.0), longest)
    }

    #[test]
    fn a_path_is_filled_and_what_stands_in_front_of_it_drains_soon_whatever_path_it_is() {
        let table = [(2_500_000, 10), (2_500_000, 100), (125_000_000, 1), (125_000_000, 80), (300_000, 30)];
        for (rate, delay) in table {
            let (used, waits) = run(rate, Duration::from_millis(delay), Duration::from_secs(30));
            let floor = Duration::from_secs_f64(FLOOR as f64 / rate as f64);
            assert!(used > 0.9, "{rate} at {delay} ms: {used}");
            assert!(waits < Duration::from_millis(90).max(floor * 3 / 2), "{rate} at {delay} ms: {waits:?}");
        }
    }

    #[test]
    fn silence_says_nothing_of_the_path() {
        let mut pace = Pace::default();
        for second in 0..100 {
            let now = Duration::from_secs(second * 3600);
            pace.sent(100_000, now);
            pace.arrived(100_000, now + Duration::from_millis(100));
        }
        assert_eq!(pace.rates.iter().max(), Some(&1_000_000));
        assert!(pace.allows() && pace.in_flight == 0);
    }
}
