//! The search for the highest rate that is sustained: doubling until one is not, then halving what lies between.

/// A search. Ask [`Search::next`] for a rate, try it, [`Search::tell`] how it went.
#[derive(Debug, Clone)]
pub(super) struct Search {
    sustained: Option<f64>,
    failed: Option<f64>,
    next: Option<f64>,
    tries: u32,
}

/// It is found well enough when the rate that failed is less than this many times the one that did not.
const NARROW: f64 = 1.1;
/// Rates that are tried at most.
const MOST_TRIES: u32 = 16;
/// Below this many studies an hour nothing is worth knowing.
const LEAST: f64 = 1.0;

impl Search {
    /// A search that begins here, in studies per hour.
    pub(super) fn from(start: f64) -> Self {
        Self { sustained: None, failed: None, next: Some(start), tries: 0 }
    }

    /// The rate to try next; nothing when the search is over.
    pub(super) fn next(&self) -> Option<f64> {
        self.next
    }

    /// How the rate that was to be tried went.
    pub(super) fn tell(&mut self, is_sustained: bool) {
        let Some(tried) = self.next.take() else { return };
        self.tries += 1;
        if is_sustained {
            self.sustained = Some(tried);
        } else {
            self.failed = Some(tried);
        }
        if self.tries < MOST_TRIES {
            self.next = self.choose();
        }
    }

    /// The highest rate that was sustained.
    pub(super) fn found(&self) -> Option<f64> {
        self.sustained
    }

    /// Whether a higher rate was tried and failed: else the search ended before it found the limit.
    pub(super) fn is_bounded(&self) -> bool {
        self.failed.is_some()
    }

    fn choose(&self) -> Option<f64> {
        match (self.sustained, self.failed) {
            (Some(low), None) => Some(low * 2.0),
            (None, Some(high)) => Some(high / 2.0).filter(|rate| *rate >= LEAST),
            // Halfway as factors go.
            (Some(low), Some(high)) => Some((low * high).sqrt()).filter(|_| high / low > NARROW),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, limit: f64) -> (Option<f64>, u32, bool) {
        let mut search = Search::from(start);
        while let Some(rate) = search.next() {
            search.tell(rate <= limit);
        }
        (search.found(), search.tries, search.is_bounded())
    }

    #[test]
    fn a_limit_above_the_start_is_found_to_a_tenth() {
        for limit in [260.0, 999.0, 4000.0, 17_234.0] {
            let (found, tries, bounded) = search(250.0, limit);
            let found = found.unwrap();
            assert!(found <= limit && found * NARROW >= limit && bounded, "{limit}: {found}");
            assert!(tries <= 12, "{limit}: {tries} tries");
        }
    }

    #[test]
    fn a_limit_below_the_start_is_found_by_halving() {
        let found = search(1000.0, 90.0).0.unwrap();
        assert!((80.0..=90.0).contains(&found), "{found}");
    }

    #[test]
    fn what_never_works_ends_without_a_rate() {
        assert_eq!(search(250.0, 0.0), (None, 8, true));
    }

    #[test]
    fn what_always_works_ends_and_says_that_no_limit_was_met() {
        let (found, tries, bounded) = search(1.0, f64::INFINITY);
        assert_eq!((found, tries, bounded), (Some(32_768.0), MOST_TRIES, false));
    }
}
