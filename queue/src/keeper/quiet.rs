//! When something was last committed to each group, so that a study can be sent when nothing more comes.
//!
//! In memory only: after a start every group counts as seen when the queue was opened.

use std::collections::HashMap;
use std::time::Duration;

/// Groups that are remembered before the table is gone through for old ones.
const ROOM: usize = 1024;

/// The last commit of every group, for as long as anybody asks.
pub(crate) struct LastSeen {
    opened: Duration,
    /// By the digest of the group's name; times of the monotonic clock.
    seen: HashMap<u64, Duration>,
    /// The longest quiet that was ever asked for: what is older counts as quiet.
    longest: Duration,
    /// The table is gone through when it has grown to this.
    limit: usize,
}

impl LastSeen {
    /// When the queue is opened.
    pub(crate) fn new(opened: Duration) -> Self {
        Self { opened, seen: HashMap::new(), longest: Duration::ZERO, limit: ROOM }
    }

    /// Something was committed to the group.
    pub(crate) fn saw(&mut self, group: u64, now: Duration) {
        self.seen.insert(group, now);
        if self.seen.len() >= self.limit {
            let longest = self.longest;
            self.seen.retain(|_, at| now.saturating_sub(*at) < longest);
            self.limit = (self.seen.len() * 2).max(ROOM);
        }
    }

    /// Somebody waits for so long a quiet.
    pub(crate) fn asked_for(&mut self, quiet: Duration) {
        self.longest = self.longest.max(quiet);
    }

    /// From when on the group counts as quiet.
    pub(crate) fn quiet_from(&self, group: u64, quiet: Duration) -> Duration {
        self.seen.get(&group).copied().unwrap_or(self.opened).saturating_add(quiet)
    }

    /// Before this moment no group at all counts as quiet.
    pub(crate) fn none_before(&self, quiet: Duration) -> Duration {
        self.opened.saturating_add(quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::{LastSeen, ROOM};
    use std::time::Duration;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_group_is_quiet_so_long_after_its_last_commit_or_after_the_start() {
        let mut last = LastSeen::new(s(100));
        last.asked_for(s(10));
        assert_eq!(last.quiet_from(1, s(10)), s(110));
        last.saw(1, s(105));
        last.saw(1, s(107));
        assert_eq!((last.quiet_from(1, s(10)), last.quiet_from(2, s(10))), (s(117), s(110)));
        assert_eq!(last.quiet_from(1, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn groups_older_than_the_longest_quiet_are_forgotten_and_younger_ones_are_not() {
        let mut last = LastSeen::new(s(0));
        last.asked_for(s(60));
        last.asked_for(s(10));
        for n in 0..100_000 {
            last.saw(n, s(1000 + n / 100));
        }
        assert!(last.seen.len() <= 60 * 100 * 2 + ROOM, "{} are remembered", last.seen.len());
        assert_eq!(last.quiet_from(99_999 - 5_000, s(60)), s(1000 + 949 + 60));
    }
}
