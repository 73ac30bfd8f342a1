//! Who has shown a wrong code lately: few tries in a time, from one address. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Time over which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; beyond that the oldest is forgotten.
const REMEMBERED: usize = 4096;

/// Failures by address; of IPv6 by /64, which is one customer's.
#[derive(Debug, Default)]
pub struct Failures {
    counts: HashMap<IpAddr, Count>,
}

#[derive(Debug)]
struct Count {
    since: Duration,
    failures: u32,
}

impl Failures {
    /// Whether somebody may try, who may have failed `most` times in a minute.
    pub fn may_try(&self, address: IpAddr, most: u32, now: Duration) -> bool {
        self.counts.get(&of(address)).is_none_or(|count| count.failures < most || now >= count.since + WINDOW)
    }

    /// Somebody failed.
    pub fn note(&mut self, address: IpAddr, now: Duration) {
        let address = of(address);
        if self.counts.len() >= REMEMBERED && !self.counts.contains_key(&address) {
            self.counts.retain(|_, count| now < count.since + WINDOW);
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.since).map(|(oldest, _)| *oldest);
            if let Some(oldest) = oldest.filter(|_| self.counts.len() >= REMEMBERED) {
                self.counts.remove(&oldest);
            }
        }
        let count = self.counts.entry(address).or_insert(Count { since: now, failures: 0 });
        if now >= count.since + WINDOW {
            *count = Count { since: now, failures: 0 };
        }
        count.failures += 1;
    }
}

fn of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, REMEMBERED};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    #[test]
    fn who_fails_often_has_to_wait_and_nobody_else() {
        let (mut failures, now) = (Failures::default(), Duration::ZERO);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..3 {
            assert!(failures.may_try(a, 3, now));
            failures.note(a, now);
        }
        assert!(!failures.may_try(a, 3, now) && failures.may_try(b, 3, now));
        assert!(failures.may_try(a, 3, Duration::from_secs(60)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_what_is_remembered_is_bounded() {
        let (mut failures, now) = (Failures::default(), Duration::ZERO);
        failures.note("2001:db8::1".parse().unwrap(), now);
        assert!(!failures.may_try("2001:db8::ffff".parse().unwrap(), 1, now));
        for n in 0..2 * REMEMBERED as u32 {
            failures.note(Ipv4Addr::from(n).into(), now);
        }
        assert!(failures.counts.len() <= REMEMBERED);
    }
}
