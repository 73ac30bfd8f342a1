//! The ports that are open, and how a reload changes them.
//!
//! A port is its address: a listener that keeps its address keeps its socket, whatever else of it changes, its name
//! included. Sockets for new addresses are bound before anything is changed, so that a reload that cannot have one of
//! them changes nothing.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::{Port, Reception, Settings};
use crate::audit;
use crate::config::{Config, Listener, Live, Relay};
use crate::dimse::socket;
use crate::metrics::Metrics;
use crate::pauses::Pauses;
use crate::route::Routes;
use crate::tls::{Bindings, ServerTls};
use crate::tunnel::Gateway;
use chrysalis_queue::Queue;

/// The open ports. Clones are the same ones.
#[derive(Clone)]
pub struct Ports {
    /// The sessions of links.
    pub gateway: Gateway,
    /// Where instances are kept.
    pub queue: Queue,
    /// To whom they are owed.
    pub routes: Live<Routes>,
    /// What is paused.
    pub pauses: Pauses,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// Where it is written down who was refused.
    pub alerts: audit::Alerts,
    /// Take no more.
    pub drain: CancellationToken,
    /// End at once.
    pub halt: CancellationToken,
    /// Associations, which are waited for at the end.
    pub tasks: TaskTracker,
    /// What runs until the end.
    pub services: TaskTracker,
    /// By configured address.
    pub open: Arc<Mutex<HashMap<SocketAddr, Open>>>,
}

/// A port that is open.
pub struct Open {
    settings: Live<Settings>,
    close: CancellationToken,
}

/// Sockets for the addresses of a configuration that are not open yet, and TLS for those that have it.
#[derive(Debug)]
pub struct Bound {
    sockets: HashMap<SocketAddr, TcpListener>,
    tls: HashMap<SocketAddr, ServerTls>,
}

/// A listener, or a relay, cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{key}{} of {listener:?}: {why}", .address.map(|address| format!(" {address}")).unwrap_or_default())]
pub struct BindError {
    /// The listener's name, or the relay's.
    pub listener: String,
    /// The key that is to blame.
    pub key: &'static str,
    address: Option<SocketAddr>,
    why: String,
}

impl BindError {
    pub(crate) fn relay(relay: &Relay, key: &'static str, why: String) -> Self {
        let address = (key == "relay.listen").then_some(relay.listen);
        Self { listener: relay.name.as_str().to_owned(), key, address, why }
    }

    fn address(listener: &Listener, why: String) -> Self {
        let (listener, address) = (listener.name.as_str().to_owned(), Some(listener.address));
        Self { listener, key: "listener.address", address, why }
    }

    fn tls(listener: &Listener, why: String) -> Self {
        Self { listener: listener.name.as_str().to_owned(), key: "listener.tls", address: None, why }
    }
}

impl Ports {
    /// Binds what `config` wants and is not open. Nothing is accepted on it before [`Ports::apply`].
    ///
    /// # Errors
    /// Every address that cannot be had; none is bound then.
    pub async fn bind(&self, config: &Config) -> Result<Bound, Vec<BindError>> {
        let open: Vec<_> = self.lock().keys().copied().collect();
        let (mut sockets, mut errors) = (HashMap::new(), Vec::new());
        let mut tls = HashMap::new();
        for listener in &config.listeners {
            match encrypted(listener).await {
                Ok(Some(made)) => drop(tls.insert(listener.address, made)),
                Ok(None) => {}
                Err(why) => errors.push(BindError::tls(listener, why)),
            }
        }
        for listener in config.listeners.iter().filter(|listener| !open.contains(&listener.address)) {
            match bind(listener.address, &open).await {
                Ok(socket) => drop(sockets.insert(listener.address, socket)),
                Err(why) => errors.push(BindError::address(listener, why)),
            }
        }
        if errors.is_empty() { Ok(Bound { sockets, tls }) } else { Err(errors) }
    }

    /// Makes the ports what `config` says: associations from now on see the new settings, those under way finish under
    /// the old ones.
    pub fn apply(&self, config: &Config, bound: Bound) {
        let Bound { mut sockets, mut tls } = bound;
        let mut open = self.lock();
        self.forget_names(&open);
        let bindings = Arc::new(Bindings::of(config.listeners.iter().filter_map(|l| l.tls.as_ref())));
        for listener in &config.listeners {
            let tls = tls.remove(&listener.address);
            self.metrics.certificates.listener(listener.name.as_str(), tls.as_ref());
            let (listener_now, bindings) = (Arc::new(listener.clone()), Arc::clone(&bindings));
            let settings = Settings { listener: listener_now, tls, bindings };
            if let Some(port) = open.get(&listener.address) {
                port.settings.replace(settings);
            } else if let Some(socket) = sockets.remove(&listener.address) {
                let (settings, close) = (Live::new(settings), CancellationToken::new());
                let port = Port { socket, settings: settings.clone(), close: close.clone() };
                self.services.spawn(port.run(
                    self.reception(listener),
                    self.tasks.clone(),
                    self.services.clone(),
                ));
                open.insert(listener.address, Open { settings, close });
            }
        }
        open.retain(|address, port| {
            let is_wanted = config.listeners.iter().any(|listener| listener.address == *address);
            if !is_wanted {
                port.close.cancel();
            }
            is_wanted
        });
    }

    /// What listeners are called may change with a configuration.
    fn forget_names(&self, open: &HashMap<SocketAddr, Open>) {
        for port in open.values() {
            self.metrics.certificates.listener(port.settings.now().listener.name.as_str(), None);
        }
    }

    fn reception(&self, listener: &Listener) -> Reception {
        Reception {
            listener: Arc::new(listener.clone()),
            tls: None,
            bindings: Arc::default(),
            alerts: self.alerts.clone(),
            gateway: self.gateway.clone(),
            queue: self.queue.clone(),
            routes: self.routes.clone(),
            pauses: self.pauses.clone(),
            metrics: self.metrics.clone(),
            drain: self.drain.clone(),
            halt: self.halt.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS of a listener that has it: its files are read.
async fn encrypted(listener: &Listener) -> Result<Option<ServerTls>, String> {
    let Some(settings) = listener.tls.clone() else { return Ok(None) };
    let made = tokio::task::spawn_blocking(move || ServerTls::new(&settings)).await;
    let tls = made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let own = tls.own();
    if own.seconds_left(time::OffsetDateTime::now_utc()) < 0 {
        // It is served all the same: not every cart looks at the dates.
        let (name, subject, expired) = (&listener.name, &own.subject, own.not_after);
        tracing::error!(listener = %name, subject, %expired, "The listener's certificate has expired.");
    }
    Ok(Some(tls))
}

async fn bind(address: SocketAddr, open: &[SocketAddr]) -> Result<TcpListener, String> {
    socket::listen(address).await.map_err(|error: io::Error| {
        // From 127.0.0.1 to 0.0.0.0 with the same port: the old socket is in the way, and closing it first would leave
        // a moment without either, or for good if the new one cannot be had.
        let own = open.iter().find(|own| own.port() == address.port());
        match own {
            Some(own) if error.kind() == io::ErrorKind::AddrInUse => {
                format!("this node listens at {own}, which is in the way; that change needs a restart")
            }
            _ => error.to_string(),
        }
    })
}
