//! Limits on associations: in all, and for each address or network.
//!
//! A connection over a limit is still read, so that it can be rejected in the protocol's words (2/3/2); but only a few
//! at a time, and the rest is closed at once: refusing must cost less than calling.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::config::Listener;

/// Connections being rejected at a time, in all and for one network.
const REJECTING: usize = 64;
const REJECTING_PER_NETWORK: usize = 8;

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Entry {
    /// It may open an association, for as long as the pass is kept.
    Admitted(Pass),
    /// It is over a limit and is to be told so.
    OverLimit(Pass),
    /// It is closed without a word.
    Shut(&'static str),
}

/// Counts the connections of one listener.
#[derive(Debug, Clone)]
pub struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    admitted: usize,
    rejecting: usize,
    /// From proxies that have not said yet whom they speak for.
    nameless: usize,
    networks: HashMap<IpNet, (usize, usize)>,
}

/// A place in the counts, given back when dropped.
#[derive(Debug)]
pub struct Pass {
    counts: Arc<Mutex<Counts>>,
    network: IpNet,
    is_admitted: bool,
}

/// A connection of which nobody knows yet whose it is, for as long as this is kept.
#[derive(Debug)]
pub struct Nameless(Arc<Mutex<Counts>>);

impl Gate {
    /// A gate with nobody inside.
    pub fn new() -> Self {
        Self { counts: Arc::default() }
    }

    /// Lets a trusted proxy's connection say whose it is; there may be as many such as there may be associations.
    pub fn ask(&self, listener: &Listener) -> Option<Nameless> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = counts.nameless < listener.max_associations;
        has_room.then(|| {
            counts.nameless += 1;
            Nameless(Arc::clone(&self.counts))
        })
    }

    /// Decides about a connection from `address`.
    pub fn enter(&self, listener: &Listener, address: IpAddr) -> Entry {
        let address = address.to_canonical();
        if !listener.allow.is_empty() && !listener.allow.iter().any(|network| network.contains(&address)) {
            return Entry::Shut("address not allowed");
        }
        let limit = listener.limit_for(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all = counts.admitted;
        let rejecting = counts.rejecting;
        let (here, rejecting_here) = counts.networks.entry(limit.network).or_default();
        let is_admitted = all < listener.max_associations && *here < limit.max;
        if is_admitted {
            *here += 1;
            counts.admitted += 1;
        } else if rejecting < REJECTING && *rejecting_here < REJECTING_PER_NETWORK {
            *rejecting_here += 1;
            counts.rejecting += 1;
        } else {
            return Entry::Shut("too many connections");
        }
        let pass = Pass { counts: Arc::clone(&self.counts), network: limit.network, is_admitted };
        if is_admitted { Entry::Admitted(pass) } else { Entry::OverLimit(pass) }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Nameless {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).nameless -= 1;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut *counts;
        if let Some((here, rejecting_here)) = counts.networks.get_mut(&self.network) {
            if self.is_admitted {
                *here -= 1;
                counts.admitted -= 1;
            } else {
                *rejecting_here -= 1;
                counts.rejecting -= 1;
            }
            if (*here, *rejecting_here) == (0, 0) {
                counts.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Gate};
    use crate::config::{Config, Listener};

    fn listener(more: &str) -> Listener {
        let text = format!("[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\n{more}");
        Config::parse(&text, "test").unwrap().listeners.remove(0)
    }

    fn word(entry: &Entry) -> &'static str {
        match entry {
            Entry::Admitted(_) => "admitted",
            Entry::OverLimit(_) => "over limit",
            Entry::Shut(_) => "shut",
        }
    }

    #[test]
    fn the_seventeenth_from_one_address_is_over_the_limit_and_a_freed_place_can_be_taken() {
        let (gate, listener) = (Gate::new(), listener(""));
        let address = "10.0.0.1".parse().unwrap();
        let mut inside: Vec<_> = (0..16).map(|_| gate.enter(&listener, address)).collect();
        assert!(inside.iter().all(|entry| word(entry) == "admitted"));
        assert_eq!(word(&gate.enter(&listener, address)), "over limit");
        assert_eq!(word(&gate.enter(&listener, "10.0.0.2".parse().unwrap())), "admitted");
        inside.pop();
        assert_eq!(word(&gate.enter(&listener, address)), "admitted");
    }

    #[test]
    fn beyond_a_few_rejections_under_way_connections_are_closed_at_once() {
        let (gate, listener) = (Gate::new(), listener("max_associations = 1"));
        let address = "10.0.0.1".parse().unwrap();
        let entries: Vec<_> = (0..20).map(|_| gate.enter(&listener, address)).collect();
        let words: Vec<_> = entries.iter().map(word).collect();
        assert_eq!(words[0], "admitted");
        assert!(words[1..9].iter().all(|w| *w == "over limit"));
        assert!(words[9..].iter().all(|w| *w == "shut"));
        drop(entries);
        assert!(gate.counts.lock().unwrap().networks.is_empty(), "nothing is remembered of who has left");
    }

    #[test]
    fn proxies_that_say_nothing_take_no_more_places_than_there_are() {
        let (gate, listener) = (Gate::new(), listener("max_associations = 2"));
        let nameless: Vec<_> = (0..3).filter_map(|_| gate.ask(&listener)).collect();
        assert_eq!(nameless.len(), 2);
        assert_eq!(word(&gate.enter(&listener, "10.0.0.1".parse().unwrap())), "admitted");
        drop(nameless);
        assert!(gate.ask(&listener).is_some());
    }

    #[test]
    fn only_allowed_networks_enter_and_a_network_may_have_its_own_limit() {
        let listener =
            listener("allow = [\"10.0.0.0/8\"]\nper_network = [{ network = \"10.1.0.0/16\", max = 2 }]");
        let gate = Gate::new();
        assert_eq!(word(&gate.enter(&listener, "192.168.0.1".parse().unwrap())), "shut");
        let ward: Vec<_> =
            (1..4).map(|n| gate.enter(&listener, format!("10.1.0.{n}").parse().unwrap())).collect();
        assert_eq!(ward.iter().map(word).collect::<Vec<_>>(), ["admitted", "admitted", "over limit"]);
        assert_eq!(word(&gate.enter(&listener, "::ffff:10.2.0.1".parse().unwrap())), "admitted");
    }
}
