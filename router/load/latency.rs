//! Distributions of seconds.

use super::report::Latency;

/// Seconds, one by one: four bytes each, so that a million are four megabytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<f32>);

impl Times {
    pub(super) fn add(&mut self, seconds: f64) {
        self.0.push(seconds as f32);
    }

    /// How many took at most `seconds` of 100, or nothing where there are none.
    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let sorted = self.sorted();
        pick(&sorted, percent)
    }

    /// Half of them took at most as long, and 99 of 100.
    pub(super) fn p50_and_p99(&self) -> (Option<f64>, Option<f64>) {
        let sorted = self.sorted();
        (pick(&sorted, 50.0), pick(&sorted, 99.0))
    }

    /// All of it; zeros where there are none.
    pub(super) fn latency(&self) -> Latency {
        let sorted = self.sorted();
        let sum: f64 = sorted.iter().map(|&seconds| f64::from(seconds)).sum();
        let at = |percent| pick(&sorted, percent).unwrap_or_default();
        Latency {
            count: sorted.len() as u64,
            mean: if sorted.is_empty() { 0.0 } else { sum / sorted.len() as f64 },
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            max: at(100.0),
        }
    }

    fn sorted(&self) -> Vec<f32> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f32::total_cmp);
        sorted
    }
}

/// The nearest rank: the smallest value that so many of 100 do not exceed.
fn pick(sorted: &[f32], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).map(|&seconds| f64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut times = Times::default();
        (1..=200).rev().for_each(|number| times.add(f64::from(number)));
        let latency = times.latency();
        assert_eq!((latency.count, latency.p50, latency.p90), (200, 100.0, 180.0));
        assert_eq!((latency.p99, latency.max, latency.mean), (198.0, 200.0, 100.5));
        assert_eq!(times.percentile(99.0), Some(198.0));
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Times::default().p50_and_p99(), (None, None));
        assert_eq!(Times::default().latency(), Latency::default());
    }
}
