//! The link's end: one session with the gateway, opened again whenever it ends.
//!
//! ```text
//!  dialling ──► open ──► over ──► a pause ──► dialling ...
//! ```
//!
//! The pause is random: after a session that was open it is short, after failures it doubles, and where somebody else's
//! session took the place of this one it is as long as it may be, because two links have one code.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::code::{Code, LinkKey};
use super::connection::{Accepted, Connection};
use super::dial::{Dial, DialError};
use super::echo;
use super::endpoints::Endpoints;
use super::gateway::give_back;
use super::push::Pushes;
use super::remote::{self, Remote};
use super::session::Close;
use super::socket::Ended;
use super::upload::Numbers;
use super::wire::{Kind, Why};
use crate::config::{Backoff, CodeSource, TunnelDestination};
use crate::metrics::Metrics;
use crate::platform;
use crate::tls::{ClientTls, Role};

/// The longest pause after a session that was open and carried something: it is worth trying at once.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How often the log has once more why there is no tunnel.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// The longest file with a code, in bytes.
const MAX_CODE_FILE: u64 = 4096;

/// The way to one gateway. Clones are the same one.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    name: String,
    settings: TunnelDestination,
    backoff: Backoff,
    metrics: Metrics,
    state: watch::Sender<State>,
    stop: CancellationToken,
    endpoints: Endpoints,
    numbers: Numbers,
    seen: Mutex<Seen>,
    /// Told whenever a session has been opened.
    on_open: Box<dyn Fn() + Send + Sync>,
    /// Where a configuration from the gateway goes, if it may set any.
    remote: Option<Remote>,
}

/// How the link is.
#[derive(Debug, Clone)]
pub enum State {
    /// It is being opened.
    Dialling,
    /// It is open.
    Open(Connection),
    /// It will be tried again later.
    Down(Trouble),
    /// It was stopped, and is not tried again.
    Stopped,
}

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub why: String,
    /// Somebody has to look: it will not pass by itself.
    pub is_for_a_person: bool,
    /// There was a session until now, and another one has not been tried yet.
    pub was_open: bool,
}

/// What there is to say of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Since when a session is open; none while there is none.
    pub open_since: Option<SystemTime>,
    /// Since when there is none, if there was one or it was tried.
    pub closed_since: Option<SystemTime>,
    /// What the gateway calls itself.
    pub software: Option<String>,
    /// When and why the last session ended or did not come about.
    pub last_error: Option<(SystemTime, String)>,
}

/// What is kept from one dialling to the next.
#[derive(Default)]
struct Kept {
    code: Option<(Code, LinkKey)>,
    tls: Option<ClientTls>,
    /// What was said last of why it cannot be opened, and when.
    told: Option<(String, Instant)>,
}

impl Kept {
    /// Says why the tunnel cannot be opened: at first, when that changes, and now and then.
    fn tell(&mut self, destination: &str, error: &DialError) {
        let what = error.to_string();
        let is_old = |(said, at): &(String, Instant)| *said == what && at.elapsed() < TOLD_AGAIN;
        if self.told.as_ref().is_some_and(is_old) {
            tracing::debug!(destination, %error, "The tunnel still cannot be opened.");
            return;
        }
        if error.is_for_a_person() {
            tracing::error!(destination, %error, "The tunnel cannot be opened; somebody has to look.");
        } else {
            tracing::warn!(destination, %error, "The tunnel cannot be opened now.");
        }
        self.told = Some((what, Instant::now()));
    }
}

impl Trouble {
    fn passing(why: &str) -> Self {
        Self { why: why.to_owned(), is_for_a_person: false, was_open: false }
    }
}

impl Link {
    /// A link that is not dialled before [`Link::run`]. `on_open` is called whenever a session has been opened; `remote` takes
    /// what configuration the gateway sets, if the settings let it.
    pub(crate) fn new(
        name: &str,
        settings: TunnelDestination,
        backoff: Backoff,
        metrics: Metrics,
        endpoints: Endpoints,
        remote: Remote,
        on_open: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            remote: settings.remote_configuration.then_some(remote),
            settings,
            backoff,
            metrics,
            state: watch::Sender::new(State::Dialling),
            stop: CancellationToken::new(),
            endpoints,
            numbers: Numbers::default(),
            seen: Mutex::default(),
            on_open: Box::new(on_open),
        }))
    }

    /// The open session. Waits while one is being opened, at most so long.
    ///
    /// # Errors
    /// Why there is none now.
    pub async fn session(&self, patience: Duration) -> Result<Connection, Trouble> {
        let mut states = self.0.state.subscribe();
        let looking = states.wait_for(|state| match state {
            State::Dialling => false,
            // Over, but nobody has noticed yet.
            State::Open(connection) => !connection.is_over(),
            State::Down(_) | State::Stopped => true,
        });
        match timeout(patience, looking).await.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(State::Open(connection))) => Ok(connection),
            Ok(Ok(State::Down(trouble))) => Err(trouble),
            Ok(Ok(State::Stopped)) => Err(Trouble::passing("this program stops")),
            Ok(Ok(State::Dialling) | Err(_)) | Err(_) => Err(Trouble::passing("the tunnel is not open")),
        }
    }

    /// The numbers of uploads of which it is not known what became of them.
    pub(crate) fn numbers(&self) -> &Numbers {
        &self.0.numbers
    }

    /// Tells how it is, whenever that changes.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// How it is, and was.
    pub fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends the session and does not open another.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Opens sessions, one after the other, until it is stopped.
    pub async fn run(self) {
        let inner = &*self.0;
        let connected = inner.metrics.tunnel_connected.with_label_values(&[&inner.name]);
        let (mut kept, mut failures) = (Kept::default(), 0);
        loop {
            inner.state.send_replace(State::Dialling);
            let Some(dialled) = self.once(&mut kept).await else { break };
            connected.set(0);
            let now = SystemTime::now();
            let trouble = match &dialled {
                Ok((ended, _)) => Trouble {
                    why: format!("the tunnel was closed: {ended}"),
                    is_for_a_person: matches!(ended.close, Close::Replaced | Close::Unauthorised),
                    was_open: true,
                },
                Err(error) => Trouble {
                    why: error.to_string(),
                    is_for_a_person: error.is_for_a_person(),
                    was_open: false,
                },
            };
            self.saw(|seen| {
                seen.open_since = None;
                seen.closed_since.get_or_insert(now);
                seen.last_error = Some((now, trouble.why.clone()));
            });
            let pause = match &dialled {
                Ok((ended, true)) if ended.close != Close::Replaced => {
                    failures = 0;
                    AT_ONCE.mul_f64(chance())
                }
                Ok((Ended { close: Close::Replaced, .. }, _)) => inner.backoff.max,
                Ok((_, _)) | Err(_) => {
                    failures += 1;
                    pause(inner.backoff, failures, chance())
                }
            };
            if inner.stop.is_cancelled() {
                break;
            }
            // Whoever waits for a session that is to be had at once goes on waiting.
            if pause > AT_ONCE {
                inner.state.send_replace(State::Down(trouble));
            } else {
                inner.state.send_replace(State::Dialling);
            }
            tokio::select! {
                () = inner.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        connected.set(0);
        inner.state.send_replace(State::Stopped);
    }

    /// One session, to its end, and whether it carried anything; none when the link was stopped before there was one.
    async fn once(&self, kept: &mut Kept) -> Option<Result<(Ended, bool), DialError>> {
        let inner = &*self.0;
        let destination = inner.name.as_str();
        let count = |outcome| inner.metrics.tunnel_dials.with_label_values(&[destination, outcome]).inc();
        let dialled = tokio::select! {
            () = inner.stop.cancelled() => return None,
            dialled = Box::pin(self.dial(kept)) => dialled,
        };
        let (socket, opened) = match dialled {
            Ok(open) => open,
            Err(error) => {
                count(error.reason());
                kept.tell(destination, &error);
                return Some(Err(error));
            }
        };
        kept.told = None;
        count("open");
        tracing::info!(destination, software = opened.software, "The tunnel is open.");
        let meter = inner.metrics.tunnels.meter(Role::Destination, destination);
        let (connection, driver) = socket.counted(meter).run(opened.session);
        self.saw(|seen| {
            (seen.open_since, seen.closed_since) = (Some(SystemTime::now()), None);
            seen.software = Some(opened.software.clone());
        });
        inner.metrics.tunnel_connected.with_label_values(&[destination]).set(1);
        inner.state.send_replace(State::Open(connection.clone()));
        (inner.on_open)();
        inner.remote.iter().for_each(|remote| remote.opened(&connection));
        // A link that is stopped closes the session in words, which is why this is not cut short.
        let ended = self.streams(&connection, driver).await;
        let (sent, received) = connection.traffic();
        match ended.close {
            Close::Replaced => tracing::error!(
                destination, site = %inner.settings.site,
                "Another link took this one's place: it uses the same site and code.",
            ),
            Close::GoingAway | Close::Normal => {
                tracing::info!(destination, sent, received, why = %ended, "The tunnel is closed.");
            }
            _ => tracing::warn!(destination, sent, received, why = %ended, "The tunnel is closed."),
        }
        Some(Ok((ended, sent > 0)))
    }

    async fn dial(
        &self,
        kept: &mut Kept,
    ) -> Result<(super::socket::Socket<Box<dyn super::dial::Wire>>, super::session::Opened), DialError> {
        let settings = &self.0.settings;
        if settings.url.is_secure && kept.tls.is_none() {
            let tls = settings.tls();
            let made = tokio::task::spawn_blocking(move || ClientTls::for_bulk(&tls)).await;
            kept.tls = Some(made.map_err(|error| DialError::Code(error.to_string()))??);
        }
        let (source, known) = (settings.code.clone(), kept.code.take());
        let reading = tokio::task::spawn_blocking(move || {
            let code = read_code(&source)?;
            Ok::<_, String>(match known {
                Some((known, key)) if known == code => (known, key),
                _ => {
                    let key = code.link_key();
                    (code, key)
                }
            })
        });
        let read = reading.await.map_err(|error| DialError::Code(error.to_string()))?;
        let (code, key) = read.map_err(DialError::Code)?;
        kept.code = Some((code, key.clone()));
        let dial = Dial {
            url: &settings.url,
            proxy: settings.proxy.as_ref(),
            login: &settings.proxy_login,
            tls: kept.tls.as_ref().filter(|_| settings.url.is_secure),
            site: settings.site.as_str(),
            key,
            limit: settings.timeouts.connect,
        };
        dial.open().await
    }

    /// Serves what the gateway asks for, until the session is over.
    async fn streams(&self, connection: &Connection, driver: impl Future<Output = Ended>) -> Ended {
        let mut driver = std::pin::pin!(driver);
        let mut streams = JoinSet::new();
        let Inner { settings, metrics, endpoints, .. } = &*self.0;
        let pushes = Arc::new(Pushes::new(endpoints.clone(), settings.timeouts.dimse, metrics.clone()));
        let (releasing, until) = (Arc::clone(&pushes), connection.clone());
        streams.spawn(async move { releasing.release_idle(&until).await });
        let ended = loop {
            tokio::select! {
                ended = &mut driver => break ended,
                () = self.0.stop.cancelled(), if !connection.is_over() => connection.close(Close::GoingAway),
                Some(_) = streams.join_next(), if !streams.is_empty() => {}
                Some(accepted) = connection.accept() => {
                    let (link, pushes) = (self.clone(), Arc::clone(&pushes));
                    let connection = connection.clone();
                    streams.spawn(async move { link.serve(&connection, &pushes, accepted).await });
                }
            }
        };
        while streams.join_next().await.is_some() {}
        ended
    }

    /// One question of the gateway. Ends with the session: another one is not opened before.
    async fn serve(&self, connection: &Connection, pushes: &Pushes, accepted: Accepted) {
        let Accepted { kind, body, stream } = accepted;
        match kind {
            Kind::Loopback => give_back(stream).await,
            Kind::Echo => echo::serve(&self.0.endpoints, connection, body, stream).await,
            Kind::Push => pushes.serve(connection, body, stream).await,
            Kind::Configuration => remote::take(self.0.remote.as_ref(), connection, body, stream).await,
            Kind::Upload | Kind::Worklist | Kind::Hl7 => {
                stream.cut(Why::Unsupported);
            }
        }
    }
}

/// The site's code, from a file that only its owner reads or from the environment. What is wrong is said without it.
pub fn read_code(source: &CodeSource) -> Result<Code, String> {
    match source {
        CodeSource::File(path) => read_file(path)
            .and_then(|text| text.parse().map_err(|error| format!("code_file {}: {error}", path.display()))),
        CodeSource::Environment(name) => {
            let text = std::env::var(name)
                .map_err(|_| format!("code_env: there is no {name} in the environment"))?;
            text.parse().map_err(|error| format!("code_env {name}: {error}"))
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let at = |error: std::io::Error| format!("code_file {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(at)?;
    if !platform::is_private(&file.metadata().map_err(at)?) {
        return Err(format!(
            "code_file {}: others than its owner can read it; chmod 600 {0}",
            path.display()
        ));
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_CODE_FILE), &mut text).map_err(at)?;
    Ok(text)
}

/// A pause after so many failures in a row: between half and all of what doubles.
fn pause(backoff: Backoff, failures: u32, chance: f64) -> Duration {
    let doubled = backoff.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    doubled.min(backoff.max).mul_f64(0.5 + chance / 2.0)
}

/// A number in 0..1 that differs between links and times; it need not be unpredictable.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{pause, read_code};
    use crate::config::{Backoff, CodeSource};
    use crate::tunnel::code::Code;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_quite_the_same() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
        let seconds = |failures, chance| pause(backoff, failures, chance).as_secs_f64();
        assert_eq!([1, 2, 3, 7, 99].map(|n| seconds(n, 1.0)), [1.0, 2.0, 4.0, 60.0, 60.0]);
        assert_eq!([1, 99].map(|n| seconds(n, 0.0)), [0.5, 30.0]);
    }

    #[test]
    fn a_code_that_others_can_read_is_refused_and_never_quoted() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        let code = Code::generate().unwrap();
        std::fs::write(&path, code.reveal() + "\n").unwrap();
        let source = CodeSource::File(path.clone());
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(read_code(&source).unwrap_err().contains("chmod 600"));
        mode(0o600);
        assert_eq!(read_code(&source), Ok(code));
        std::fs::write(&path, "secret").unwrap();
        assert!(!read_code(&source).unwrap_err().contains("secret"));
        let missing = CodeSource::Environment("CHRYSALIS_NO_SUCH_CODE".into());
        assert!(read_code(&missing).unwrap_err().contains("CHRYSALIS_NO_SUCH_CODE"));
    }
}
