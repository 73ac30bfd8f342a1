//! The relays that are open, and how a reload changes them: as with listeners, a relay that keeps its address keeps its
//! socket, and what is open goes on under the settings that it began with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::port::{Port, Settings};
use crate::config::{Config, Live, Relay};
use crate::dimse::socket;
use crate::metrics::Metrics;
use crate::receive::BindError;
use crate::tls::{ClientTls, MaterialError, ServerTls};

/// The open relays. Clones are the same ones.
#[derive(Clone)]
pub struct Relays {
    metrics: Metrics,
    drain: CancellationToken,
    halt: CancellationToken,
    /// Connections, which are waited for at the end.
    tasks: TaskTracker,
    /// What runs until the end.
    services: TaskTracker,
    /// By configured address.
    open: Arc<Mutex<HashMap<SocketAddr, Open>>>,
}

struct Open {
    settings: Live<Settings>,
    close: CancellationToken,
}

/// The relays of a configuration, with sockets for those that are not open yet.
#[derive(Debug)]
pub struct Bound {
    sockets: HashMap<SocketAddr, TcpListener>,
    settings: Vec<Settings>,
}

impl Relays {
    /// None open yet. `drain` and `halt` end them, as everything; connections are among `tasks`.
    pub fn new(
        metrics: Metrics,
        drain: CancellationToken,
        halt: CancellationToken,
        tasks: TaskTracker,
        services: TaskTracker,
    ) -> Self {
        Self { metrics, drain, halt, tasks, services, open: Arc::default() }
    }

    /// Reads the certificates that `config` names, and binds what it wants and is not open. Nothing is accepted on it
    /// before [`Relays::apply`].
    ///
    /// # Errors
    /// Every relay that cannot be had; none is bound then.
    pub async fn bind(&self, config: &Config) -> Result<Bound, Vec<BindError>> {
        let open: Vec<_> = self.lock().keys().copied().collect();
        let (mut sockets, mut settings, mut errors) = (HashMap::new(), Vec::new(), Vec::new());
        for relay in &config.relays {
            match Settings::read(relay).await {
                Ok(made) => settings.push(made),
                Err((key, error)) => errors.push(BindError::relay(relay, key, error.to_string())),
            }
            if open.contains(&relay.listen) {
                continue;
            }
            match socket::listen(relay.listen).await {
                Ok(socket) => drop(sockets.insert(relay.listen, socket)),
                Err(error) => errors.push(BindError::relay(relay, "relay.listen", error.to_string())),
            }
        }
        if errors.is_empty() { Ok(Bound { sockets, settings }) } else { Err(errors) }
    }

    /// Makes the relays what `config` said to [`Relays::bind`].
    pub fn apply(&self, bound: Bound) {
        let Bound { mut sockets, settings } = bound;
        let mut open = self.lock();
        let certificates = &self.metrics.certificates;
        for known in open.values() {
            certificates.relay(known.settings.now().relay.name.as_str(), None, None);
        }
        let wanted: Vec<_> = settings.iter().map(|settings| settings.relay.listen).collect();
        for made in settings {
            let address = made.relay.listen;
            certificates.relay(made.relay.name.as_str(), made.tls.as_ref(), made.connect_tls.as_ref());
            if let Some(port) = open.get(&address) {
                port.settings.replace(made);
            } else if let Some(socket) = sockets.remove(&address) {
                let (settings, close) = (Live::new(made), CancellationToken::new());
                let port = Port {
                    socket,
                    settings: settings.clone(),
                    metrics: self.metrics.clone(),
                    close: close.clone(),
                    drain: self.drain.clone(),
                    halt: self.halt.clone(),
                };
                self.services.spawn(port.run(self.tasks.clone()));
                open.insert(address, Open { settings, close });
            }
        }
        open.retain(|address, port| {
            let is_wanted = wanted.contains(address);
            if !is_wanted {
                port.close.cancel();
            }
            is_wanted
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    /// Reads the files that a relay names; what fails comes with the key that names it.
    async fn read(relay: &Relay) -> Result<Self, (&'static str, MaterialError)> {
        let relay = Arc::new(relay.clone());
        let of = Arc::clone(&relay);
        let read = move || {
            let tls = of.tls.as_ref().map(ServerTls::new).transpose();
            let connect_tls = of.connect_tls.as_ref().map(ClientTls::new).transpose();
            Ok((
                tls.map_err(|error| ("relay.tls", error))?,
                connect_tls.map_err(|error| ("relay.connect_tls", error))?,
            ))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (tls, connect_tls) =
            read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        Ok(Self { relay, tls, connect_tls })
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Settings").field(&self.relay.name).finish()
    }
}
