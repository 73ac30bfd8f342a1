//! Two streams become one: bytes from each to the other, until both have said their last.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::receive::proxy_header;
use crate::tls;

/// Bytes on the way in one direction.
const BUFFER: usize = 64 << 10;
/// While the program stops, a connection that is silent for so long is ended.
const SILENCE_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// Nothing came from either side for so long.
    #[error("nothing came from either side for {0:?}")]
    Idle(Duration),
    /// The program is about to stop.
    #[error("the node is stopping")]
    Stopping,
    /// The caller began with a PROXY protocol header, and is none of the proxies that may, or has sent one already.
    #[error("a PROXY protocol header, from an address that is not among trusted_proxies, or a second one")]
    Uninvited,
    /// The caller's connection broke.
    #[error("the caller's connection broke: {}", tls::io_words(.0))]
    Caller(io::Error),
    /// The service's connection broke.
    #[error("the service's connection broke: {}", tls::io_words(.0))]
    Service(io::Error),
}

impl End {
    /// The kind, for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::Stopping => "stopping",
            Self::Uninvited => "proxy_header_uninvited",
            Self::Caller(_) => "caller_broke",
            Self::Service(_) => "service_broke",
        }
    }
}

/// What one connection is counted by.
#[derive(Debug)]
pub(super) struct Counters {
    /// Bytes from the caller to the service.
    pub(super) forth: Counter,
    /// Bytes from the service to the caller.
    pub(super) back: Counter,
}

/// Bytes of one direction: of this connection, and of all.
#[derive(Debug)]
pub(super) struct Counter {
    own: AtomicU64,
    all: IntCounter,
}

impl Counter {
    /// One that has seen nothing of this connection.
    pub(super) fn new(all: IntCounter) -> Self {
        Self { own: AtomicU64::new(0), all }
    }

    /// Bytes of this connection.
    pub(super) fn get(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.inc_by(bytes);
    }
}

/// Copies until both sides have ended, or one of them breaks, or nothing happens for `idle`.
///
/// # Errors
/// [`End`], for everything but an orderly end of both.
pub(super) async fn pass<A, B>(
    caller: A,
    service: B,
    idle: Duration,
    counters: &Counters,
    drain: &CancellationToken,
) -> Result<(), End>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let activity = Activity::new();
    let (mut from_caller, mut to_caller) = split(caller);
    let (mut from_service, mut to_service) = split(service);
    let forth = Direction { count: &counters.forth, activity: &activity, begins: true };
    let back = Direction { count: &counters.back, activity: &activity, begins: false };
    let both = async {
        let forth = forth.copy(&mut from_caller, &mut to_service, End::Caller, End::Service);
        let back = back.copy(&mut from_service, &mut to_caller, End::Service, End::Caller);
        tokio::try_join!(forth, back).map(drop)
    };
    tokio::select! {
        end = both => end,
        end = activity.silence(idle, drain) => Err(end),
    }
}

/// One way.
struct Direction<'a> {
    count: &'a Counter,
    activity: &'a Activity,
    /// Whether a header at its beginning would be a way to lie.
    begins: bool,
}

impl Direction<'_> {
    async fn copy(
        mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        source: fn(io::Error) -> End,
        sink: fn(io::Error) -> End,
    ) -> Result<(), End> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = from.read(&mut buffer).await.map_err(source)?;
            self.activity.touch();
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                // FIN, after close_notify where there is TLS; whoever is gone already needs none.
                let _ = to.shutdown().await;
                return Ok(());
            }
            if std::mem::take(&mut self.begins) && proxy_header::begins(bytes) {
                return Err(End::Uninvited);
            }
            to.write_all(bytes).await.map_err(sink)?;
            to.flush().await.map_err(sink)?;
            self.activity.touch();
            self.count.add(count as u64);
        }
    }
}

/// When something happened last.
struct Activity {
    began: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn touch(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    /// Waits until nothing has happened for `idle`, or for a moment while the program stops.
    async fn silence(&self, idle: Duration, drain: &CancellationToken) -> End {
        let due =
            |limit: Duration| self.began + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
        loop {
            let is_draining = drain.is_cancelled();
            let limit = if is_draining { idle.min(SILENCE_WHILE_DRAINING) } else { idle };
            if Instant::now() >= due(limit) {
                return if is_draining { End::Stopping } else { End::Idle(idle) };
            }
            tokio::select! {
                () = sleep_until(due(limit)) => {}
                () = drain.cancelled(), if !is_draining => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Counters, End, pass};
    use prometheus::IntCounter;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    const IDLE: Duration = Duration::from_secs(60);

    struct Relayed {
        caller: DuplexStream,
        service: DuplexStream,
        counters: Arc<Counters>,
        drain: CancellationToken,
        end: JoinHandle<Result<(), End>>,
    }

    fn relayed() -> Relayed {
        let ((caller, near), (far, service)) = (duplex(1 << 10), duplex(1 << 10));
        let counter = |name: &str| Counter::new(IntCounter::new(name, "bytes").expect("a counter"));
        let counters = Arc::new(Counters { forth: counter("forth"), back: counter("back") });
        let drain = CancellationToken::new();
        let (counted, token) = (Arc::clone(&counters), drain.clone());
        let end = tokio::spawn(async move { pass(near, far, IDLE, &counted, &token).await });
        Relayed { caller, service, counters, drain, end }
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_has_finished_can_still_be_answered() {
        let Relayed { mut caller, mut service, counters, end, .. } = relayed();
        caller.write_all(b"question").await.expect("an open stream");
        caller.shutdown().await.expect("an open stream");
        let mut heard = Vec::new();
        service.read_to_end(&mut heard).await.expect("all of it");
        assert_eq!(heard, b"question");
        // Longer than a moment, shorter than the idle timeout.
        tokio::time::sleep(IDLE / 2).await;
        let answer = vec![7; 10_000];
        let (bytes, mut heard) = (answer.clone(), Vec::new());
        let answering = tokio::spawn(async move { service.write_all(&bytes).await });
        caller.read_to_end(&mut heard).await.expect("all of it");
        answering.await.expect("no panic").expect("an open stream");
        assert_eq!(heard, answer);
        end.await.expect("no panic").expect("an orderly end");
        assert_eq!((counters.forth.get(), counters.back.get()), (8, 10_000));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_of_both_ends_it_and_a_word_of_either_puts_that_off() {
        let Relayed { caller: _caller, mut service, end, .. } = relayed();
        let began = tokio::time::Instant::now();
        tokio::time::sleep(IDLE / 2).await;
        service.write_all(b"x").await.expect("an open stream");
        let ended = end.await.expect("no panic");
        assert!(matches!(ended, Err(End::Idle(IDLE))), "{ended:?}");
        assert!(began.elapsed() >= IDLE + IDLE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_holds_no_more_than_a_buffer_and_goes_with_the_silence() {
        let Relayed { mut caller, service: _service, counters, end, .. } = relayed();
        let pushed = tokio::spawn(async move { caller.write_all(&vec![0; 10 << 20]).await });
        assert!(matches!(end.await.expect("no panic"), Err(End::Idle(_))));
        assert!(pushed.await.expect("no panic").is_err(), "most of it was never taken");
        assert!(counters.forth.get() <= super::BUFFER as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_program_stops_what_is_silent_is_ended_soon() {
        let Relayed { caller: _caller, service: _service, drain, end, .. } = relayed();
        let began = tokio::time::Instant::now();
        drain.cancel();
        assert!(matches!(end.await.expect("no panic"), Err(End::Stopping)));
        assert!(began.elapsed() <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_uninvited_header_goes_no_further() {
        let Relayed { mut caller, mut service, end, .. } = relayed();
        caller.write_all(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n").await.expect("an open stream");
        assert!(matches!(end.await.expect("no panic"), Err(End::Uninvited)));
        let mut heard = Vec::new();
        service.read_to_end(&mut heard).await.expect("nothing");
        assert!(heard.is_empty());
    }
}
