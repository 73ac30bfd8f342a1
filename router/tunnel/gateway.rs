//! The gateway's end: whose link it is, one session for each site, and what comes over it.
//!
//! ```text
//!  connection ──► upgrade ──► GREETING, HELLO ──► the site's older session ends ──► WELCOME ──► streams
//!                  429, 503      4001 and counted                                       │
//!                                                                 upload ──► routed like a C-STORE
//! ```

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chrysalis_queue::{Admission, Queue};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::SUBPROTOCOL;
use super::code::{Verifier, random};
use super::connection::{Accepted, Connection, Stream};
use super::echo::{self, EchoError};
use super::failures::Failures;
use super::remote::{self, Holdings, Offering};
use super::session::{Close, GatewayOpening, Judged, OpeningError};
use super::sites::{Sites, SitesError};
use super::socket::{Ended, Over, Socket, limits};
use super::upload::{From, Limits, Partials, Receiver};
use super::wire::{Kind, Why, Windows};
use crate::audit::{self, Actor};
use crate::config::{ListenerKind, TunnelListener};
use crate::echo::Report;
use crate::receive::Reception;
use crate::tls::Role;

/// How long the older session of a site has to finish what it is storing.
const HANDOVER: Duration = Duration::from_secs(10);
/// How often the log has once more who was not let in, and of how many it is remembered.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
const MOST_TOLD: usize = 1024;
/// What a link is told while nobody can be judged.
const UNREADABLE: &str = "the gateway cannot read its list of sites";
/// How often it is looked whether sites were removed and uploads have waited too long.
const ROUND: Duration = Duration::from_secs(2);

/// Every session of every site. Clones are the same.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    sites: Sites,
    holdings: Holdings,
    claims: audit::Claims,
    base: Instant,
    failures: Mutex<Failures>,
    live: Mutex<HashMap<String, Live>>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    receiver: Receiver,
    /// Told whenever a site's session has been opened.
    on_open: Box<dyn Fn(&str) + Send + Sync>,
    numbers: AtomicU64,
    /// How long what was begun is kept, in milliseconds.
    age: AtomicU64,
    /// Why the sites cannot be read, as it was said last.
    unreadable: Mutex<Option<String>>,
    /// When it was said of whom that he was not let in, why, and for which site.
    told: Mutex<HashMap<(IpAddr, &'static str, String), Duration>>,
}

/// The session of a site.
struct Live {
    number: u64,
    connection: Connection,
    ended: CancellationToken,
    verifier: Option<Verifier>,
    shown: SessionInfo,
}

/// What there is to say of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The site.
    pub site: String,
    /// Where its link was connected from.
    pub peer: SocketAddr,
    /// What it calls itself.
    pub software: String,
    /// Since when.
    pub since: SystemTime,
}

/// A link that is not let in.
struct Unheard {
    /// What it did wrong, if it did.
    error: Option<OpeningError>,
    ended: Ended,
    /// The site that it asked for.
    claimed: Option<String>,
}

/// A link that is known.
struct Known<S> {
    socket: Socket<S>,
    judged: Judged,
    verifier: Option<Verifier>,
}

impl Gateway {
    /// No sessions yet. What links say of their configuration is written down in `claims`; `on_open` is called with the site
    /// whenever a session has been opened.
    pub fn new(
        sites: Sites,
        holdings: Holdings,
        claims: audit::Claims,
        on_open: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            sites,
            holdings,
            claims,
            base: Instant::now(),
            failures: Mutex::default(),
            live: Mutex::default(),
            turns: Mutex::default(),
            receiver: Receiver::new(),
            on_open: Box::new(on_open),
            numbers: AtomicU64::new(0),
            age: AtomicU64::new(u64::MAX),
            unreadable: Mutex::default(),
            told: Mutex::default(),
        }))
    }

    /// What is held of each site's configuration.
    pub fn holdings(&self) -> &Holdings {
        &self.0.holdings
    }

    /// Uploads that were cut and wait to be gone on with, and their bytes, by site.
    pub fn partials(&self) -> BTreeMap<String, Partials> {
        self.0.receiver.partials()
    }

    /// The sites whose links are let in.
    pub fn sites(&self) -> &Sites {
        &self.0.sites
    }

    /// Has a site's link ask one of its endpoints whether it answers; no step takes longer than `step`.
    ///
    /// # Errors
    /// [`EchoError`]: there is no report. That the endpoint does not answer is no error but in the report.
    pub async fn echo(&self, site: &str, endpoint: &str, step: Duration) -> Result<Report, EchoError> {
        let connection = self.connection(site).ok_or(EchoError::NotConnected)?;
        echo::ask(&connection, endpoint, step).await
    }

    /// The open session of a site.
    pub fn connection(&self, site: &str) -> Option<Connection> {
        self.live().get(site).map(|live| live.connection.clone())
    }

    /// Every open session.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.live().values().map(|live| live.shown.clone()).collect()
    }

    /// Looks now and then for sites that were removed and for uploads that nobody went on with, until `halt`. What is there
    /// in part is given back when `queue` has no room: a cart comes before it.
    pub async fn keep(self, queue: Queue, halt: CancellationToken) {
        loop {
            tokio::select! {
                () = halt.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
            self.0.receiver.expire(Duration::from_millis(self.0.age.load(Ordering::Relaxed)));
            self.end_removed().await;
            if !self.0.receiver.partials().is_empty() {
                let queue = queue.clone();
                let asked = tokio::task::spawn_blocking(move || queue.admission()).await;
                if let Ok(Admission::Full) = asked {
                    self.give_back("The disk is full: uploads in part are given back.", |_| true);
                }
            }
        }
    }

    /// Gives back what these sites have uploaded in part.
    fn give_back(&self, why: &str, is_of: impl FnMut(&str) -> bool) {
        let Partials { count, bytes } = self.0.receiver.give_back(is_of);
        if count > 0 {
            tracing::warn!(count, bytes, "{why}");
        }
    }

    /// Serves one connection to its end.
    pub async fn serve<S>(&self, reception: &Arc<Reception>, stream: S, peer: SocketAddr, is_over_limit: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let ListenerKind::Tunnel(settings) = &reception.listener.kind else { return };
        let listener = reception.listener.name.as_str();
        let patience = reception.listener.timeouts.request;
        let opening = self.open(reception, settings, stream, peer, is_over_limit);
        let known = match timeout(patience, opening).await {
            Ok(Some(known)) => known,
            Ok(None) => return,
            Err(_) => {
                reception.refused("timeout");
                tracing::warn!(listener, %peer, "A link did not open its session in time.");
                return;
            }
        };
        self.0.age.store(settings.partial_age.as_millis() as u64, Ordering::Relaxed);
        self.live_with(reception, settings, known, peer).await;
    }

    /// From the upgrade to a hello that is believed.
    async fn open<S>(
        &self,
        reception: &Arc<Reception>,
        settings: &TunnelListener,
        stream: S,
        peer: SocketAddr,
        is_over_limit: bool,
    ) -> Option<Known<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let listener = reception.listener.name.as_str();
        let may_try = self.failures().may_try(peer.ip(), settings.max_failures, self.now());
        let upgrade = Upgrade { path: &settings.path, may_try, is_full: is_over_limit };
        #[expect(clippy::result_large_err, reason = "the answer's type is the library's")]
        let answer = |request: &Request, response: Response| upgrade.answer(request, response);
        let over = if reception.tls.is_some() { Over::Tls } else { Over::Plain };
        let mut socket = match accept_hdr_async_with_config(stream, answer, Some(limits(over))).await {
            Ok(web) => Socket::new(web),
            // Who only looked whether TLS answers, as a check does, wanted no tunnel.
            Err(error) if has_left(&error) => {
                tracing::debug!(listener, %peer, "Somebody connected and left.");
                return None;
            }
            Err(error) => {
                reception.refused(if may_try { "no_upgrade" } else { "too_many_failures" });
                tracing::warn!(listener, %peer, %error, "No tunnel came about.");
                return None;
            }
        };
        match self.hello(&mut socket).await {
            Ok((judged, verifier)) => Some(Known { socket, judged, verifier }),
            Err(Unheard { error, ended, claimed }) => {
                let reason = match error {
                    Some(OpeningError::Unauthorised) => "wrong_code",
                    Some(_) => "protocol_violation",
                    None => "connection_failed",
                };
                if error.is_some() {
                    self.failures().note(peer.ip(), self.now());
                }
                reception.refused(reason);
                self.tell_refused(reception, peer, reason, claimed, &ended);
                socket.close(&ended).await;
                None
            }
        }
    }

    async fn hello<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut Socket<S>,
    ) -> Result<(Judged, Option<Verifier>), Unheard> {
        let lost = |ended| Unheard { error: None, ended, claimed: None };
        let internal = |why: String| lost(Ended::by_us(Close::Internal, why));
        let nonce = random().map_err(|error| internal(error.to_string()))?;
        let opening = GatewayOpening::new(nonce);
        socket.say(opening.greeting()).await.map_err(lost)?;
        let hello = socket.read().await.map_err(lost)?;
        let sites = self.0.sites.clone();
        let judging = tokio::task::spawn_blocking(move || {
            let (mut known, mut claimed) = (Ok(None), None);
            let judged = opening.received(hello, |site| {
                claimed = Some(site.to_owned());
                known = sites.verifier(site);
                known.as_ref().ok().cloned().flatten()
            });
            (judged, known, claimed)
        });
        let (judged, known, claimed) = judging.await.map_err(|error| internal(error.to_string()))?;
        self.note_sites(known.as_ref().err());
        match (judged, known) {
            (Ok(judged), Ok(known)) => Ok((judged, known)),
            // Nobody can be judged: that is this side's fault and no failure of the link's.
            (_, Err(_)) => Err(lost(Ended::by_us(Close::Later, UNREADABLE))),
            (Err(error), Ok(_)) => {
                let ended = Ended::by_us(error.close(), error.to_string());
                Err(Unheard { error: Some(error), ended, claimed })
            }
        }
    }

    /// Says who was not let in, and for which site it asked. The same of the same address is said once in a while, in the log and
    /// in the record of alerts; every one is counted.
    fn tell_refused(
        &self,
        reception: &Reception,
        peer: SocketAddr,
        reason: &'static str,
        claimed: Option<String>,
        ended: &Ended,
    ) {
        let listener = reception.listener.name.as_str();
        let site = claimed.map(|site| site.escape_debug().to_string());
        let site = site.as_deref();
        if !self.is_news(peer.ip(), reason, site) {
            tracing::debug!(listener, %peer, site, why = %ended, "A link was not let in, as before.");
            return;
        }
        tracing::warn!(listener, %peer, site, why = %ended, "A link was not let in.");
        if reason == "wrong_code" {
            let details = json!({ "reason": reason, "site": site });
            reception.alerts.raise(peer, &format!("listener {listener}"), &details);
        }
    }

    fn is_news(&self, address: IpAddr, reason: &'static str, site: Option<&str>) -> bool {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        told.retain(|_, at| now < *at + TOLD_AGAIN);
        let key = (address, reason, site.unwrap_or_default().to_owned());
        if told.contains_key(&key) {
            return false;
        }
        // Beyond that all of it is said.
        if told.len() < MOST_TOLD {
            told.insert(key, now);
        }
        true
    }

    /// Says that the sites cannot be read, or can be again: once, not whenever somebody asks.
    fn note_sites(&self, error: Option<&SitesError>) {
        let now = error.map(ToString::to_string);
        let mut said = self.0.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != now {
            match &now {
                Some(error) => tracing::error!(error, "The sites cannot be read: no link is let in."),
                None => tracing::info!("The sites can be read again."),
            }
            *said = now;
        }
    }

    /// The session, to its end.
    async fn live_with<S>(
        &self,
        reception: &Arc<Reception>,
        settings: &TunnelListener,
        known: Known<S>,
        peer: SocketAddr,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Known { mut socket, judged, verifier } = known;
        let (listener, site) = (reception.listener.name.as_str(), judged.site.clone());
        let turn = Arc::clone(self.turns().entry(site.clone()).or_default());
        let guard = turn.lock().await;
        if let Err(ended) = self.end_older(&site, listener).await {
            tracing::error!(listener, site, %peer, "The older session of the site does not end.");
            return socket.close(&ended).await;
        }
        let windows =
            Windows { stream: settings.window, session: settings.session_window, streams: settings.streams };
        let (welcome, session) = judged.open(windows, settings.keepalive, Duration::ZERO);
        if socket.say(welcome).await.is_err() {
            return;
        }
        let meter = reception.metrics.tunnels.meter(Role::Listener, listener);
        let (connection, driver) = socket.counted(meter).run(session);
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let ended = CancellationToken::new();
        let shown =
            SessionInfo { site: site.clone(), peer, software: judged.software, since: SystemTime::now() };
        tracing::info!(listener, site, %peer, software = shown.software, "A link is connected.");
        let live = Live { number, connection: connection.clone(), ended: ended.clone(), verifier, shown };
        self.live().insert(site.clone(), live);
        drop(guard);
        (self.0.on_open)(&site);
        let sessions = reception.metrics.tunnel_sessions.with_label_values(&[listener]);
        sessions.inc();
        let begun = Instant::now();
        let limits =
            Limits { count: settings.partials, bytes: settings.partial_bytes, age: settings.partial_age };
        let from = From { site: site.clone(), peer };
        let end = self.streams(reception, &connection, driver, from, limits).await;
        sessions.dec();
        let (sent, received) = connection.traffic();
        let seconds = begun.elapsed().as_secs_f64();
        tracing::info!(listener, site, %peer, sent, received, seconds, why = %end, "A link's session ended.");
        let mut live = self.live();
        if live.get(&site).is_some_and(|live| live.number == number) {
            live.remove(&site);
        }
        drop(live);
        ended.cancel();
    }

    /// Serves the link's streams, until the session is over and each of them has ended.
    async fn streams(
        &self,
        reception: &Arc<Reception>,
        connection: &Connection,
        driver: impl Future<Output = Ended>,
        from: From,
        limits: Limits,
    ) -> Ended {
        let mut driver = std::pin::pin!(driver);
        let mut streams = JoinSet::new();
        if let Ok(site) = from.site.parse() {
            let by = Actor::new(Some(&format!("link of {site}")), from.peer);
            let offering =
                Offering { holdings: self.0.holdings.clone(), site, claims: self.0.claims.clone(), by };
            streams.spawn(remote::hold(connection.clone(), offering));
        }
        let end = loop {
            tokio::select! {
                end = &mut driver => break end,
                () = reception.drain.cancelled(), if !connection.is_over() => connection.close(Close::GoingAway),
                Some(_) = streams.join_next(), if !streams.is_empty() => {}
                Some(accepted) = connection.accept() => {
                    let (gateway, reception, from) = (self.clone(), Arc::clone(reception), from.clone());
                    streams.spawn(async move { gateway.stream(&reception, &from, accepted, limits).await });
                }
            }
        };
        while streams.join_next().await.is_some() {}
        end
    }

    async fn stream(&self, reception: &Arc<Reception>, from: &From, accepted: Accepted, limits: Limits) {
        let Accepted { kind, body, stream } = accepted;
        match kind {
            Kind::Upload => self.0.receiver.receive(reception, from, body, stream, limits).await,
            Kind::Loopback => give_back(stream).await,
            Kind::Echo | Kind::Push | Kind::Configuration | Kind::Worklist | Kind::Hl7 => {
                stream.cut(Why::Unsupported);
            }
        }
    }

    /// The newer session wins: the older one is told, and what it is storing finishes first.
    async fn end_older(&self, site: &str, listener: &str) -> Result<(), Ended> {
        let older = self.live().get(site).map(|live| {
            live.connection.close(Close::Replaced);
            (live.ended.clone(), live.shown.peer)
        });
        let Some((ended, peer)) = older else { return Ok(()) };
        tracing::warn!(listener, site, older = %peer, "A newer session of the site takes the older one's place.");
        timeout(HANDOVER, ended.cancelled())
            .await
            .map_err(|_| Ended::by_us(Close::Later, "the older session does not end"))
    }

    /// Ends the sessions of sites that were removed, or have another code.
    async fn end_removed(&self) {
        let sites = self.0.sites.clone();
        let Ok(known) = tokio::task::spawn_blocking(move || sites.list()).await else { return };
        self.note_sites(known.as_ref().err());
        let Ok(known) = known else { return };
        let is_gone = |site: &str| site.parse().is_ok_and(|name| !known.contains_key(&name));
        self.give_back("A site was removed: its uploads in part are given back.", is_gone);
        for (site, live) in self.live().iter() {
            let verifier = site.parse().ok().and_then(|name| known.get(&name)).map(|site| &site.verifier);
            if verifier != live.verifier.as_ref() {
                tracing::warn!(site, "The site was removed or has another code: its session ends.");
                live.connection.close(Close::Unauthorised);
            }
        }
    }

    fn now(&self) -> Duration {
        self.0.base.elapsed()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there was nobody any more before anything was asked for.
fn has_left(error: &Error) -> bool {
    match error {
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed => true,
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
        _ => false,
    }
}

/// Every byte comes back.
pub(super) async fn give_back(stream: Stream) {
    while let Ok(Some(bytes)) = stream.receive().await {
        if stream.send(bytes).await.is_err() {
            return;
        }
    }
    stream.finish();
}

/// What an upgrade is answered.
struct Upgrade<'a> {
    path: &'a str,
    may_try: bool,
    is_full: bool,
}

impl Upgrade<'_> {
    #[expect(clippy::result_large_err, reason = "the answer's type is the library's")]
    fn answer(&self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let refuse = |status, why: &str| {
            let mut refusal = ErrorResponse::new(Some(why.to_owned()));
            *refusal.status_mut() = status;
            Err(refusal)
        };
        if !self.may_try {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "too many failures; try again in a minute");
        }
        if self.is_full {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
        }
        if request.uri().path() != self.path {
            return refuse(StatusCode::NOT_FOUND, "there is nothing here");
        }
        let asks = |value: &HeaderValue| {
            value.to_str().is_ok_and(|text| text.split(',').any(|one| one.trim() == SUBPROTOCOL))
        };
        let mut protocols = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        if !protocols.any(asks) {
            return refuse(StatusCode::BAD_REQUEST, "this is a tunnel");
        }
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    }
}
