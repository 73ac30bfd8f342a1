//! The HTTP server: bounded in connections, header and body sizes, and time.
//!
//! Whoever connects and then says nothing takes a place away from others. When all are taken, the one that has been
//! without a request for longest is closed for a new one, so that silent connections never keep anybody waiting.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::api::{self, AdminState};

/// Connections served at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Longest request head, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a request head may take, and how long a connection may stay open between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What a request head that takes too long is answered.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The admin server, bound but not serving yet.
#[derive(Debug)]
pub struct Server {
    socket: TcpListener,
}

impl Server {
    /// Takes a bound socket.
    pub fn new(socket: TcpListener) -> Self {
        Self { socket }
    }

    /// Serves until told to stop.
    pub async fn run(self, state: AdminState, stop: CancellationToken) {
        let router = api::router(state);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let idle = Idle::default();
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "Cannot accept an admin connection.");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if places.available_permits() == 0 {
                idle.close_longest();
            }
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { return };
            number += 1;
            let (router, idle, stop) = (router.clone(), idle.clone(), stop.clone());
            tokio::spawn(async move {
                let closed = idle.enter(number);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = closed.cancelled() => tracing::debug!(%peer, "A silent admin connection gave way."),
                    () = serve(stream, peer, router, &idle, number) => {}
                }
                idle.leave(number);
                drop(place);
            });
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, idle: &Idle, number: u64) {
    let service = service_fn(move |request: Request<Incoming>| {
        idle.leave(number);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else { return };
    tracing::debug!(%peer, %error, "An admin connection ended early.");
    let rest = connection.into_parts();
    // Whoever has not even begun a request is told nothing.
    if error.is_timeout() && !rest.read_buf.is_empty() {
        let _ = rest.io.into_inner().write_all(TOO_SLOW).await;
    }
}

/// The connections that have not made a request yet, by their order of coming. Clones are the same.
#[derive(Clone, Default)]
struct Idle(Arc<Mutex<BTreeMap<u64, CancellationToken>>>);

impl Idle {
    /// Notes a connection, and gives what closes it.
    fn enter(&self, number: u64) -> CancellationToken {
        let closes = CancellationToken::new();
        self.lock().insert(number, closes.clone());
        closes
    }

    /// It has made a request, or is gone.
    fn leave(&self, number: u64) {
        self.lock().remove(&number);
    }

    fn close_longest(&self) {
        if let Some((_, closes)) = self.lock().pop_first() {
            closes.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
