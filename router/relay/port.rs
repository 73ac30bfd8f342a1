//! The accept loop of one relay, and each connection from its beginning to its end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pass::{Counter, Counters, End, pass};
use crate::config::{Live, Relay};
use crate::dimse::socket::{self, ConnectError};
use crate::metrics::Metrics;
use crate::receive::proxy_header::{self, Caller, HeaderError};
use crate::tls::{ClientTls, HandshakeError, ServerTls};

/// How long to wait after an accept that failed for want of something the system has too little of.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A relay as it is configured now, its certificate files read.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) relay: Arc<Relay>,
    pub(super) tls: Option<ServerTls>,
    pub(super) connect_tls: Option<ClientTls>,
}

/// One listening socket.
pub(super) struct Port {
    pub(super) socket: TcpListener,
    pub(super) settings: Live<Settings>,
    pub(super) metrics: Metrics,
    pub(super) close: CancellationToken,
    pub(super) drain: CancellationToken,
    pub(super) halt: CancellationToken,
}

/// Why a caller was not connected to the service.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("address not allowed")]
    Address,
    #[error("too many connections")]
    Limit,
    #[error("too many connections from one address")]
    Share,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("TLS with the caller: {0}")]
    CallerTls(HandshakeError),
    #[error("the service: {0}")]
    Connect(#[from] ConnectError),
    #[error("TLS with the service: {0}")]
    ServiceTls(HandshakeError),
}

impl Refusal {
    fn reason(&self) -> &'static str {
        match self {
            Self::Address => "address not allowed",
            Self::Limit => "too many connections",
            Self::Share => "too many connections from one address",
            Self::Header(error) => error.reason(),
            Self::CallerTls(error) => error.reason(),
            Self::Connect(_) => "service_unreachable",
            Self::ServiceTls(_) => "service_tls",
        }
    }
}

impl Port {
    /// Accepts until the port is closed or the program stops, each connection in a task of its own among `tasks`.
    pub(super) async fn run(self, tasks: TaskTracker) {
        let open = Arc::new(AtomicUsize::new(0));
        let addresses = Addresses::default();
        loop {
            let accepted = tokio::select! {
                () = self.halt.cancelled() => return,
                () = self.drain.cancelled() => return,
                () = self.close.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let settings = self.settings.now();
            match accepted {
                Ok((stream, peer)) => {
                    socket::prepare(&stream);
                    let connection = Connection {
                        settings,
                        metrics: self.metrics.clone(),
                        open: Arc::clone(&open),
                        addresses: Arc::clone(&addresses),
                        drain: self.drain.clone(),
                    };
                    let halt = self.halt.clone();
                    tasks.spawn(async move {
                        tokio::select! {
                            () = halt.cancelled() => {}
                            () = Box::pin(connection.serve(stream, peer)) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(relay = %settings.relay.name, %error, "Cannot accept a connection.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// What one connection needs.
struct Connection {
    settings: Arc<Settings>,
    metrics: Metrics,
    open: Arc<AtomicUsize>,
    addresses: Addresses,
    drain: CancellationToken,
}

/// A place among the connections that may be open, given back when dropped.
struct Place(Arc<AtomicUsize>);

/// How many connections each address has.
type Addresses = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A place among those of one address, given back when dropped.
struct Share {
    addresses: Addresses,
    address: IpAddr,
}

impl Share {
    fn take(addresses: &Addresses, address: IpAddr, most: usize) -> Option<Self> {
        let mut counts = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let open = counts.get(&address).copied().unwrap_or(0);
        (open < most).then(|| {
            counts.insert(address, open + 1);
            Self { addresses: Arc::clone(addresses), address }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.address) {
            Some(open) if *open > 1 => *open -= 1,
            _ => {
                counts.remove(&self.address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let relay = &self.settings.relay.name;
        match self.admit(stream, peer).await {
            Ok(()) => {}
            Err(Refusal::Header(HeaderError::Nothing)) => {
                tracing::debug!(%relay, proxy = %peer, "A proxy connected and left.");
            }
            Err(Refusal::CallerTls(HandshakeError::Left)) => {
                tracing::debug!(%relay, %peer, "Somebody connected and left.");
            }
            Err(refusal) => {
                self.metrics.relays.refused(relay.as_str(), refusal.reason());
                tracing::warn!(%relay, %peer, why = %refusal, "Refused a connection.");
            }
        }
    }

    /// A place is taken before the first byte is read, so that whoever says nothing is counted too.
    async fn admit(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<(), Refusal> {
        let relay = &self.settings.relay;
        let is_proxy = proxy_header::is_trusted(&relay.trusted_proxies, peer.ip());
        if !is_proxy && !relay.admits(peer.ip()) {
            return Err(Refusal::Address);
        }
        let _place = self.place().ok_or(Refusal::Limit)?;
        let peer = match is_proxy {
            false => peer,
            true => match proxy_header::read(&mut stream, relay.timeouts.connect).await? {
                Caller::Behind(caller) => caller,
                Caller::Proxy => peer,
            },
        };
        if !relay.admits(peer.ip()) {
            return Err(Refusal::Address);
        }
        let _share = Share::take(&self.addresses, peer.ip().to_canonical(), relay.max_per_address)
            .ok_or(Refusal::Share)?;
        match &self.settings.tls {
            None => self.connect(stream, peer).await,
            Some(tls) => {
                let accepted = tls.accept(stream, tls.handshake()).await;
                let (stream, _) = accepted.map_err(Refusal::CallerTls)?;
                self.connect(stream, peer).await
            }
        }
    }

    fn place(&self) -> Option<Place> {
        let most = self.settings.relay.max_connections;
        let enter = |open: usize| (open < most).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter);
        entered.ok().map(|_| Place(Arc::clone(&self.open)))
    }

    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        caller: S,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        let relay = &self.settings.relay;
        let (to, began) = (&relay.connect, Instant::now());
        let service = socket::connect(&to.host, to.port, relay.timeouts.connect).await?;
        match &self.settings.connect_tls {
            None => self.pass(caller, service, peer).await,
            Some(tls) => {
                let left = relay.timeouts.connect.saturating_sub(began.elapsed());
                let name = tls.name_for(&to.host).map_err(Refusal::ServiceTls)?;
                let service = tls.connect(service, &name, left).await.map_err(Refusal::ServiceTls)?;
                self.pass(caller, service, peer).await;
            }
        }
        Ok(())
    }

    async fn pass<A, B>(&self, caller: A, service: B, peer: SocketAddr)
    where
        A: AsyncRead + AsyncWrite,
        B: AsyncRead + AsyncWrite,
    {
        let relay = &self.settings.relay;
        let name = relay.name.as_str();
        let began = Instant::now();
        let counters = Counters {
            forth: Counter::new(self.metrics.relays.bytes(name, "in")),
            back: Counter::new(self.metrics.relays.bytes(name, "out")),
        };
        self.metrics.relays.begin(name);
        let end = Box::pin(pass(caller, service, relay.timeouts.idle, &counters, &self.drain)).await;
        self.metrics.relays.end(name);
        let seconds = began.elapsed().as_secs_f64();
        let (bytes_in, bytes_out) = (counters.forth.get(), counters.back.get());
        match end {
            Ok(()) | Err(End::Caller(_)) if bytes_in == 0 && bytes_out == 0 => {
                tracing::debug!(relay = name, %peer, "Somebody connected and left.");
            }
            Ok(()) => {
                tracing::info!(relay = name, %peer, bytes_in, bytes_out, seconds, "Relayed a connection.")
            }
            Err(end @ (End::Idle(_) | End::Stopping)) => {
                tracing::info!(relay = name, %peer, bytes_in, bytes_out, seconds, how = %end, "Ended a relayed connection.");
            }
            Err(end) => {
                self.metrics.relays.refused(name, end.reason());
                tracing::warn!(relay = name, %peer, bytes_in, bytes_out, seconds, how = %end, "A relayed connection broke.");
            }
        }
    }
}
