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

use super::listener::{Port, Reception};
use crate::config::{Config, Listener, Live};
use crate::dimse::socket;
use crate::metrics::Metrics;
use crate::pauses::Pauses;
use crate::route::Routes;
use chrysalis_queue::Queue;

/// The open ports. Clones are the same ones.
#[derive(Clone)]
pub struct Ports {
    /// Where instances are kept.
    pub queue: Queue,
    /// To whom they are owed.
    pub rules: Live<Routes>,
    /// What is paused.
    pub pauses: Pauses,
    /// What Prometheus sees.
    pub metrics: Metrics,
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
    settings: Live<Listener>,
    close: CancellationToken,
}

/// Sockets for the addresses of a configuration that are not open yet.
#[derive(Debug)]
pub struct Bound(HashMap<SocketAddr, TcpListener>);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listener.address {address} of {listener:?}: {why}")]
pub struct BindError {
    /// The listener.
    pub listener: String,
    /// Its address.
    pub address: SocketAddr,
    why: String,
}

impl BindError {
    fn new(listener: &Listener, why: String) -> Self {
        Self { listener: listener.name.as_str().to_owned(), address: listener.address, why }
    }
}

impl Ports {
    /// Binds what `config` wants and is not open. Nothing is accepted on it before [`Ports::apply`].
    ///
    /// # Errors
    /// Every address that cannot be had; none is bound then.
    pub async fn bind(&self, config: &Config) -> Result<Bound, Vec<BindError>> {
        let open: Vec<_> = self.lock().keys().copied().collect();
        let (mut bound, mut errors) = (HashMap::new(), Vec::new());
        for listener in config.listeners.iter().filter(|listener| !open.contains(&listener.address)) {
            match bind(listener.address, &open).await {
                Ok(socket) => drop(bound.insert(listener.address, socket)),
                Err(why) => errors.push(BindError::new(listener, why)),
            }
        }
        if errors.is_empty() { Ok(Bound(bound)) } else { Err(errors) }
    }

    /// Makes the ports what `config` says: associations from now on see the new settings, those under way finish under
    /// the old ones.
    pub fn apply(&self, config: &Config, Bound(mut bound): Bound) {
        let mut open = self.lock();
        for listener in &config.listeners {
            if let Some(port) = open.get(&listener.address) {
                port.settings.replace(listener.clone());
            } else if let Some(socket) = bound.remove(&listener.address) {
                let (settings, close) = (Live::new(listener.clone()), CancellationToken::new());
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

    fn reception(&self, listener: &Listener) -> Reception {
        Reception {
            listener: Arc::new(listener.clone()),
            queue: self.queue.clone(),
            rules: self.rules.clone(),
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
