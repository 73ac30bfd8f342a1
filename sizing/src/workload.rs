//! When studies come: at random, and a site is planned for its busiest minutes rather than for its mean.

/// Arrivals at a given mean rate, independent of each other (a Poisson process): seconds since the start, endless.
///
/// The same seed and rate give the same arrivals. A rate that is not above zero, or no number, has none.
#[derive(Debug, Clone)]
pub struct Arrivals {
    state: u64,
    per_second: f64,
    at: f64,
}

impl Arrivals {
    /// Those of `seed`, with a mean of `per_hour` in each hour.
    #[must_use]
    pub const fn new(seed: u64, per_hour: f64) -> Self {
        Self { state: seed, per_second: per_hour / 3600.0, at: 0.0 }
    }

    /// The next number of SplitMix64, above 0 and at most 1.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Arrivals {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        // Negated, so that a rate that is no number has none either.
        if !(self.per_second > 0.0 && self.per_second.is_finite()) {
            return None;
        }
        // The pauses of a Poisson process are distributed exponentially.
        self.at -= self.uniform().ln() / self.per_second;
        Some(self.at)
    }
}

/// Length of the shortest time that a node should keep up in, in seconds: what comes within it may wait within it.
pub const BUSY_SECONDS: f64 = 300.0;

/// How many such times a working day of ten hours has; also how rare it should be that more comes than was planned for.
pub const PERIODS: f64 = 120.0;

/// How many of something come in a time in which `mean` come on average, in all but one of [`PERIODS`] such times.
///
/// This is `mean * (1 + u)` with `mean * ((1 + u) ln(1 + u) - u) = ln(PERIODS)`: Chernoff's bound for a Poisson distribution,
/// which is a little more than the distribution itself has (for a mean of 3.3: 10.4 and not 8), and grows smoothly with the
/// mean. Nothing comes where `mean` is not above zero.
#[must_use]
pub fn most_of(mean: f64) -> f64 {
    if !(mean > 0.0 && mean.is_finite()) {
        return 0.0;
    }
    let is_rare = |u: f64| mean * ((1.0 + u) * u.ln_1p() - u) >= PERIODS.ln();
    let (mut low, mut high) = (0.0, 1.0);
    while !is_rare(high) {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if is_rare(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    mean * (1.0 + high)
}

/// How many times the mean rate come in the busiest [`BUSY_SECONDS`] of a working day: [`most_of`] over its mean.
#[must_use]
pub fn peak_factor(studies_per_hour: f64) -> f64 {
    let mean = studies_per_hour * BUSY_SECONDS / 3600.0;
    if mean > 0.0 && mean.is_finite() { most_of(mean) / mean } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_seed_others() {
        let some = |seed| Arrivals::new(seed, 40.0).take(20).collect::<Vec<_>>();
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
    }

    #[test]
    fn arrivals_come_in_order_at_the_rate_that_was_asked_for() {
        let times: Vec<_> = Arrivals::new(7, 40.0).take(40_000).collect();
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        let hours = times.last().expect("some") / 3600.0;
        assert!((980.0..1020.0).contains(&hours), "{hours}");
    }

    #[test]
    fn pauses_vary_as_much_as_they_are_long() {
        // The standard deviation of an exponential distribution is its mean.
        let times: Vec<_> = Arrivals::new(7, 3600.0).take(40_000).collect();
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
        let variance = pauses.iter().map(|pause| (pause - mean).powi(2)).sum::<f64>() / pauses.len() as f64;
        assert!((0.97..1.03).contains(&(variance.sqrt() / mean)), "{mean} {variance}");
    }

    #[test]
    fn a_rate_that_is_none_has_no_arrivals() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Arrivals::new(1, rate).next(), None);
        }
    }

    #[test]
    fn the_busiest_five_minutes_of_simulated_days_seldom_have_more_than_is_planned() {
        for rate in [15.0, 40.0, 400.0] {
            let planned = most_of(rate / 12.0);
            let mut counts = std::collections::BTreeMap::new();
            for at in Arrivals::new(3, rate).take_while(|at| *at < 1000.0 * 36_000.0) {
                *counts.entry((at / BUSY_SECONDS) as u64).or_insert(0_u32) += 1;
            }
            let beyond = counts.values().filter(|count| f64::from(**count) > planned).count();
            assert!(beyond < 1000, "{rate}: {beyond} of 120,000");
        }
    }

    proptest! {
        #[test]
        fn more_on_average_is_more_at_most_and_less_often_far_from_it(a in 1e-4_f64..1e5, b in 1e-4_f64..1e5) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(most_of(less) <= most_of(more) * (1.0 + 1e-9));
            prop_assert!(most_of(less) / less >= most_of(more) / more * (1.0 - 1e-9));
            prop_assert!(most_of(less) >= less);
        }
    }
}
