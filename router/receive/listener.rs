//! The accept loop of one port, and what an association that came in by it needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrysalis_queue::Queue;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Entry, Gate};
use super::proxy_header::{self, Caller, HeaderError};
use super::session;
use crate::audit;
use crate::config::{Listener, Live};
use crate::dicom::AePattern;
use crate::dimse::negotiate::{Admission, Policy};
use crate::dimse::{Timers, pdu, socket};
use crate::metrics::Metrics;
use crate::pauses::Pauses;
use crate::route::Routes;
use crate::tls::{Bindings, ServerTls, Titles};
use crate::tunnel::Gateway;

/// How long to wait after an accept that failed for want of something the system has too little of.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything that one association needs to be received.
#[derive(Clone)]
pub struct Reception {
    /// TLS, where the listener has it.
    pub tls: Option<ServerTls>,
    /// Where it is written down who was refused.
    pub alerts: audit::Alerts,
    /// The configuration of the listener it came in by, as it was then.
    pub listener: Arc<Listener>,
    /// Whose the AE titles are, at whichever listener that is said.
    pub bindings: Arc<Bindings>,
    /// The sessions of links.
    pub gateway: Gateway,
    /// Where instances are kept.
    pub queue: Queue,
    /// To whom they are owed: each is routed by what is in force when its data set begins.
    pub routes: Live<Routes>,
    /// What is paused.
    pub pauses: Pauses,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// Take no more.
    pub drain: CancellationToken,
    /// End at once.
    pub halt: CancellationToken,
}

/// What is in force at a port.
pub(super) struct Settings {
    pub(super) listener: Arc<Listener>,
    pub(super) tls: Option<ServerTls>,
    /// Of all listeners that are in force together with this one.
    pub(super) bindings: Arc<Bindings>,
}

/// One listening socket, and what is in force for associations that come in by it.
pub(super) struct Port {
    pub(super) socket: TcpListener,
    pub(super) settings: Live<Settings>,
    pub(super) close: CancellationToken,
}

impl Port {
    /// Accepts until the port is closed or everything ends, each association in a task of its own: among `tasks`, which
    /// are waited for, or while stopping, when it can only be rejected, among `rejections`. What was accepted outlives
    /// the port.
    pub(super) async fn run(self, reception: Reception, tasks: TaskTracker, rejections: TaskTracker) {
        let gate = Gate::new();
        loop {
            let accepted = tokio::select! {
                () = reception.halt.cancelled() => return,
                () = self.close.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let settings = self.settings.now();
            let (listener, tls) = (Arc::clone(&settings.listener), settings.tls.clone());
            let bindings = Arc::clone(&settings.bindings);
            match accepted {
                Ok((stream, peer)) => {
                    let tracker = if reception.drain.is_cancelled() { &rejections } else { &tasks };
                    let reception = Arc::new(Reception { listener, tls, bindings, ..reception.clone() });
                    reception.admit(stream, peer, &gate, tracker);
                }
                Err(error) => {
                    tracing::warn!(listener = %listener.name, %error, "Cannot accept a connection.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Reception {
    fn admit(self: &Arc<Self>, mut stream: TcpStream, peer: SocketAddr, gate: &Gate, tasks: &TaskTracker) {
        socket::prepare(&stream);
        if !proxy_header::is_trusted(&self.listener.trusted_proxies, peer.ip()) {
            self.enter(stream, peer, gate, tasks);
            return;
        }
        let Some(nameless) = gate.ask(&self.listener) else {
            return self.shut("too many connections", peer);
        };
        let (reception, gate, tasks_after) = (Arc::clone(self), gate.clone(), tasks.clone());
        tasks.spawn(async move {
            let asked = tokio::select! {
                () = reception.halt.cancelled() => return,
                asked = proxy_header::read(&mut stream, reception.listener.timeouts.request) => asked,
            };
            drop(nameless);
            match asked {
                Ok(Caller::Behind(caller)) => {
                    tracing::debug!(proxy = %peer, peer = %caller, "A proxy said whom it speaks for.");
                    reception.enter(stream, caller, &gate, &tasks_after);
                }
                Ok(Caller::Proxy) => reception.enter(stream, peer, &gate, &tasks_after),
                Err(error) => reception.unnamed(&error, peer),
            }
        });
    }

    /// Lets in whoever may come in from `peer`.
    fn enter(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, gate: &Gate, tasks: &TaskTracker) {
        let (pass, over_limit) = match gate.enter(&self.listener, peer.ip()) {
            Entry::Admitted(pass) => (pass, false),
            Entry::OverLimit(pass) => (pass, true),
            Entry::Shut(why) => return self.shut(why, peer),
        };
        let reception = Arc::clone(self);
        tasks.spawn(async move {
            tokio::select! {
                () = reception.halt.cancelled() => {}
                () = session::serve(&reception, stream, peer, over_limit) => {}
            }
            drop(pass);
        });
    }

    fn shut(&self, why: &str, peer: SocketAddr) {
        self.refused(why);
        tracing::warn!(listener = %self.listener.name, %peer, why, "Closed a connection.");
    }

    /// A proxy did not say whom it speaks for. One that connects and leaves has only looked whether we are here.
    fn unnamed(&self, error: &HeaderError, proxy: SocketAddr) {
        let listener = &self.listener.name;
        if matches!(error, HeaderError::Nothing) {
            tracing::debug!(%listener, %proxy, "A proxy connected and left.");
            return;
        }
        self.refused(error.reason());
        tracing::warn!(%listener, %proxy, %error, "Closed a connection of a trusted proxy.");
    }

    /// The rules in force now. Whoever receives an instance asks once, so that one set of rules captures and decides.
    pub(super) fn routes(&self) -> Arc<Routes> {
        self.routes.now()
    }

    /// Counts an instance that is durable and answered.
    pub(crate) fn stored(&self, bytes: u64, complete: Instant) {
        let (metrics, name) = (&self.metrics, self.listener.name.as_str());
        metrics.received_instances.with_label_values(&[name]).inc();
        metrics.received_bytes.with_label_values(&[name]).inc_by(bytes);
        metrics.acknowledge.with_label_values(&[name]).observe(complete.elapsed().as_secs_f64());
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, reason: &str) {
        self.metrics.refusals.with_label_values(&[self.listener.name.as_str(), reason]).inc();
    }

    /// What is negotiated, given how things stand now.
    pub(super) fn policy(&self, admission: Admission, bound: Titles) -> Policy {
        let listener = &self.listener;
        let titles = |titles: &[crate::dicom::AeTitle]| {
            let patterns = titles.iter().map(|title| AePattern::exactly(title.clone()));
            (!titles.is_empty()).then(|| patterns.collect())
        };
        let identities = listener.user_identity.iter().map(|known| pdu::UserIdentity {
            kind: if known.passcode.is_some() { 2 } else { 1 },
            primary: known.username.as_bytes().to_vec(),
            secondary: known.passcode.as_ref().map(|p| p.as_bytes().to_vec()).unwrap_or_default(),
        });
        Policy {
            called_ae: titles(&listener.called_ae),
            calling_ae: titles(&listener.calling_ae),
            sop_classes: (!listener.sop_classes.is_empty()).then(|| listener.sop_classes.clone()),
            private_transfer_syntaxes: listener.transfer_syntaxes.clone(),
            max_pdu: listener.max_pdu,
            max_data_set: listener.max_data_set,
            identities: (!listener.user_identity.is_empty()).then(|| identities.collect()),
            admission,
            titles: bound,
            ..Policy::default()
        }
    }

    pub(super) fn timers(&self) -> Timers {
        let timeouts = self.listener.timeouts;
        Timers { artim: timeouts.request, dimse: timeouts.idle, idle: timeouts.idle, ..Timers::default() }
    }
}
