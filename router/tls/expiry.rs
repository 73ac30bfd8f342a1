//! The certificates that this node shows, for whoever watches when they expire.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use super::client::ClientTls;
use super::leaf::Leaf;
use super::server::ServerTls;

/// What a certificate is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// By a listener, to those who call.
    Listener,
    /// To a destination that is called.
    Destination,
    /// By a relay, to those who call.
    Relay,
    /// By a relay, to the service that it calls.
    RelayConnect,
}

/// The certificates in force. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Certificates(Arc<Mutex<BTreeMap<(Role, String), Source>>>);

#[derive(Clone)]
enum Source {
    Server(ServerTls),
    Client(ClientTls),
}

impl Role {
    /// As metrics name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Destination => "destination",
            Self::Relay => "relay",
            Self::RelayConnect => "relay_connect",
        }
    }
}

impl Certificates {
    /// The listener of that name shows this one from now on, or none.
    pub fn listener(&self, name: &str, tls: Option<&ServerTls>) {
        self.set(Role::Listener, name, tls.cloned().map(Source::Server));
    }

    /// The destination of that name is shown this one from now on, or none.
    pub fn destination(&self, name: &str, tls: Option<&ClientTls>) {
        self.set(Role::Destination, name, tls.cloned().map(Source::Client));
    }

    /// The relay of that name shows these from now on, to those who call it and to whom it calls, or none.
    pub fn relay(&self, name: &str, tls: Option<&ServerTls>, connect: Option<&ClientTls>) {
        self.set(Role::Relay, name, tls.cloned().map(Source::Server));
        self.set(Role::RelayConnect, name, connect.cloned().map(Source::Client));
    }

    fn set(&self, role: Role, name: &str, source: Option<Source>) {
        let key = (role, name.to_owned());
        match source {
            Some(source) => drop(self.lock().insert(key, source)),
            None => drop(self.lock().remove(&key)),
        }
    }

    /// Every one with the seconds that it is still valid, negative when it is not; files that have changed are read first.
    pub async fn seconds_left(&self) -> Vec<(Role, String, i64)> {
        let known: Vec<_> = self.lock().iter().map(|(key, source)| (key.clone(), source.clone())).collect();
        let mut left = Vec::with_capacity(known.len());
        for ((role, name), source) in known {
            if let Some(leaf) = source.leaf().await {
                left.push((role, name, leaf.seconds_left(OffsetDateTime::now_utc())));
            }
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Role, String), Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    async fn leaf(&self) -> Option<Leaf> {
        match self {
            Self::Server(tls) => {
                tls.refresh().await;
                Some(tls.own())
            }
            Self::Client(tls) => {
                tls.refresh().await;
                tls.own()
            }
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn the_manual_names_every_role_of_the_metric() {
        let manual = include_str!("../../docs/OPERATIONS.md");
        let row = manual.lines().find(|line| line.starts_with("| `chrysalis_certificate_expiry_seconds` |"));
        for role in [Role::Listener, Role::Destination, Role::Relay, Role::RelayConnect] {
            let word = format!("`{}`", role.word());
            assert!(row.is_some_and(|row| row.contains(&word)), "{word}");
        }
    }
}
