//! The link's side: what the gateway offers is judged, put in force, and kept or undone. One task does it, one thing at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::message::{Announcement, Reply};
use super::state::{Event, Kept, Outcome, Then};
use crate::audit::Actor;
use crate::config::{Config, Loader, Overlay};
use crate::control::{Control, ReloadError};
use crate::metrics::Metrics;
use crate::tunnel::connection::{Broken, Connection, Stream};
use crate::tunnel::wire::{Kind, Why};

/// How long a question to the gateway may take before it is asked again.
const ROUND_TRIP: Duration = Duration::from_secs(10);
/// The pause between two questions that came to nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the good one is tried again where it could not be put in force at the start: the network may come up late.
const RETRY: Duration = Duration::from_secs(30);
/// Offers that wait; each has a stream of its own.
const OFFERS: usize = 16;
/// What is asked: it has to come back.
const QUESTION: &[u8] = b"chrysalis probation";

/// Where a link takes what its gateway offers. Clones are the same.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    offers: mpsc::Sender<Offer>,
    seen: watch::Sender<Seen>,
    session: watch::Sender<Option<Connection>>,
}

/// What can be seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is kept.
    pub kept: Kept,
    /// The revision that is in force.
    pub in_force: Option<String>,
}

/// The sender is dropped when it has been judged.
struct Offer {
    overlay: Overlay,
    judged: oneshot::Sender<()>,
}

/// Does it all.
pub struct Keeper {
    remote: Remote,
    offers: mpsc::Receiver<Offer>,
    kept: Kept,
    data_dir: PathBuf,
    probation: Duration,
    base: Instant,
    metrics: Metrics,
    gateway: String,
    /// Something became of one at the start.
    has_news: bool,
}

impl Remote {
    /// A session is open: it can be asked over.
    pub(in crate::tunnel) fn opened(&self, connection: &Connection) {
        self.0.session.send_replace(Some(connection.clone()));
    }

    /// What is kept, and what is in force.
    pub fn seen(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    async fn offer(&self, overlay: Overlay) {
        let (judged, done) = oneshot::channel();
        if self.0.offers.send(Offer { overlay, judged }).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// Serves one offer of the gateway; without `remote` this node takes none.
pub(in crate::tunnel) async fn take(
    remote: Option<&Remote>,
    connection: &Connection,
    body: Bytes,
    stream: Stream,
) {
    let Ok(announced) = Announcement::decode(body) else { return stream.cut(Why::Malformed) };
    let Some(remote) = remote else {
        let problems = vec!["this link takes no configuration from afar: remote_configuration".to_owned()];
        let refused = Reply::Report(Outcome::Refused { problems });
        if stream.send(refused.encode()).await.is_ok() {
            stream.finish();
        }
        return;
    };
    // A session that is over is not kept waiting by what is still on probation.
    let outcome = tokio::select! {
        () = connection.ended() => Err(Broken::Session),
        outcome = taken(remote, announced, &stream) => outcome,
    };
    match outcome {
        Ok(true) => stream.finish(),
        Ok(false) => stream.cut(Why::Malformed),
        Err(error) => tracing::debug!(%error, "An offered configuration was not followed to its end."),
    }
}

/// Whether what came was in the form of its kind.
async fn taken(remote: &Remote, announced: Announcement, stream: &Stream) -> Result<bool, Broken> {
    let revision = announced.revision.clone();
    let mut seen = remote.0.seen.subscribe();
    if remote.seen().kept.report(&revision).is_none() {
        stream.send(Reply::Wanted.encode()).await?;
        let mut text = Vec::new();
        while let Some(bytes) = stream.receive().await? {
            text.extend_from_slice(&bytes);
            if text.len() > announced.length as usize {
                return Ok(false);
            }
        }
        match announced.take(text) {
            Ok(overlay) => remote.offer(overlay).await,
            Err(_) => return Ok(false),
        }
    }
    let mut said = None;
    loop {
        let report = seen.borrow_and_update().kept.report(&revision);
        // None: a newer one has taken its place.
        let Some(outcome) = report.map(|report| report.outcome) else { return Ok(true) };
        if said.as_ref() != Some(&outcome) {
            stream.send(Reply::Report(outcome.clone()).encode()).await?;
            said = Some(outcome.clone());
        }
        if outcome.is_final() || seen.changed().await.is_err() {
            return Ok(true);
        }
    }
}

impl Keeper {
    /// At the start of a program that has read `config`: what is kept is looked at, and written down anew, before anything is
    /// done. Returns the configuration that is to be started with.
    pub fn begin(config: Config, loader: &Loader, metrics: Metrics) -> (Self, Remote, Config) {
        let kept = Kept::of(&config).unwrap_or_else(|error| {
            tracing::error!(%error, "What the gateway had set is lost; it will be asked for again.");
            config.afar_gateway().map(|(_, tunnel)| Kept::from(tunnel)).unwrap_or_default()
        });
        let (offers, received) = mpsc::channel(OFFERS);
        let shared =
            Shared { offers, seen: watch::Sender::new(Seen::default()), session: watch::Sender::new(None) };
        let remote = Remote(Arc::new(shared));
        let mut keeper = Self {
            remote: remote.clone(),
            offers: received,
            kept,
            data_dir: config.node.data_dir.clone(),
            probation: Duration::MAX,
            base: Instant::now(),
            metrics,
            gateway: String::new(),
            has_news: false,
        };
        keeper.follow(&config);
        let then = keeper.started(&config, loader.left_out());
        let config = if then == Then::WriteAndApply {
            let under = |over| loader.under(over);
            under(keeper.kept.in_force()).or_else(|_| under(None)).unwrap_or(config)
        } else {
            config
        };
        (keeper, remote, config)
    }

    /// The program could not start with what is in force, and has started with `config`, which is the file alone.
    pub fn started(&mut self, config: &Config, problems: Vec<String>) -> Then {
        let event = Event::Started { in_force: config.afar.clone(), problems };
        let (kept, then) = self.kept.clone().step(event, Duration::ZERO, self.probation);
        self.has_news |= kept.last != self.kept.last;
        self.kept = kept;
        if then != Then::Nothing
            && let Err(error) = self.kept.write(&self.data_dir)
        {
            tracing::error!(%error, "What is kept of the gateway's configuration cannot be written.");
        }
        then
    }

    /// Takes offers, watches over what is on probation, and goes back by itself, until `halt`.
    pub async fn run(mut self, control: Control, halt: CancellationToken) {
        if std::mem::take(&mut self.has_news) {
            self.tell(&control).await;
        }
        if self.kept.candidate.is_none() && self.is_missing(&control) {
            self.retry(&control).await;
        }
        self.show(&control);
        loop {
            self.follow(&control.config());
            let deadlines = self.kept.deadlines(self.probation);
            let at = |time: Duration| self.base + time;
            let is_missing = self.kept.candidate.is_none() && self.is_missing(&control);
            let event = tokio::select! {
                () = halt.cancelled() => return,
                Some(offer) = self.offers.recv() => {
                    self.offered(&control, offer.overlay).await;
                    drop(offer.judged);
                    continue;
                }
                () = answered(&self.remote, deadlines.map(|(from, _)| at(from))), if deadlines.is_some() => Event::Answered,
                () = until(deadlines.map(|(_, end)| at(end))), if deadlines.is_some() => Event::Passed,
                () = tokio::time::sleep(RETRY), if is_missing => {
                    self.retry(&control).await;
                    continue;
                }
            };
            self.happened(&control, event).await;
        }
    }

    /// Judged as a whole, with the file, before anything is changed.
    async fn offered(&mut self, control: &Control, overlay: Overlay) {
        self.follow(&control.config());
        let revision = overlay.revision.clone();
        // Asked twice, judged once.
        if self.kept.report(&revision).is_some() {
            return;
        }
        match control.rehearse_afar(Some(overlay.clone())).await {
            Ok(_) => self.happened(control, Event::Offered(overlay)).await,
            Err(ReloadError::Stopping) => {}
            Err(error) => {
                let problems = error.reasons();
                self.happened(control, Event::Wrong { revision, problems }).await;
            }
        }
    }

    /// What follows: written first, then done, then told.
    async fn happened(&mut self, control: &Control, event: Event) {
        self.follow(&control.config());
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let is_new = matches!(event, Event::Offered(_));
            let before = self.kept.clone();
            let (kept, then) = before.clone().step(event, self.base.elapsed(), self.probation);
            if then == Then::Nothing {
                return;
            }
            if let Err(error) = self.write(kept.clone()).await {
                tracing::error!(%error, "What is kept of the gateway's configuration cannot be written.");
                if is_new {
                    // Nothing is in force that a power cut could not undo.
                    self.show(control);
                    return;
                }
            }
            self.kept = kept;
            if then == Then::WriteAndApply {
                next = self.apply(control).await;
            }
            if next.is_none() && self.kept != before {
                self.tell(control).await;
            }
        }
        self.show(control);
    }

    /// Puts in force what is to be; what comes of it where that is on probation.
    async fn apply(&self, control: &Control) -> Option<Event> {
        let by = self.actor();
        let error = match control.put_afar(self.kept.in_force().cloned(), &by).await {
            Ok(_) => return None,
            Err(error) => error,
        };
        if self.kept.candidate.is_some() {
            return Some(Event::Failed(error.reasons()));
        }
        tracing::error!(%error, "The last good configuration cannot be put in force; the file alone is.");
        if let Err(error) = control.put_afar(None, &by).await {
            tracing::error!(%error, "The file alone cannot be put in force either: somebody has to look.");
        }
        None
    }

    /// The good one could not be put in force at the start: once more.
    async fn retry(&mut self, control: &Control) {
        let problems = match control.rehearse_afar(self.kept.in_force().cloned()).await {
            Ok(_) => {
                self.apply(control).await;
                Vec::new()
            }
            Err(error) => error.reasons(),
        };
        let event = Event::Started { in_force: control.config().afar.clone(), problems };
        self.happened(control, event).await;
    }

    fn is_missing(&self, control: &Control) -> bool {
        self.kept.in_force().map(|overlay| &overlay.revision) != control.config().afar.as_ref()
    }

    /// The configuration says whose it is, and how long a probation lasts.
    fn follow(&mut self, config: &Config) {
        let Some((_, tunnel)) = config.afar_gateway() else {
            self.kept = Kept::default();
            return;
        };
        self.probation = tunnel.remote_probation;
        self.gateway = format!("gateway {}", tunnel.url);
        if !self.kept.is_from(tunnel) {
            self.kept = Kept::of(config).unwrap_or_else(|_| Kept::from(tunnel));
        }
    }

    async fn write(&self, kept: Kept) -> Result<(), String> {
        let data_dir = self.data_dir.clone();
        let written = tokio::task::spawn_blocking(move || kept.write(&data_dir)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Writes down, counts and logs what became of one.
    async fn tell(&self, control: &Control) {
        let candidate = self.kept.candidate.as_ref().map(|candidate| candidate.overlay.revision.clone());
        let newest = candidate.and_then(|revision| self.kept.report(&revision)).or(self.kept.last.clone());
        let Some(report) = newest else { return };
        let (revision, state) = (report.revision.as_str(), report.outcome.word());
        let reasons = report.outcome.reasons();
        self.metrics.remote_configurations.with_label_values(&[state]).inc();
        match &report.outcome {
            Outcome::Probation => tracing::warn!(
                revision,
                "A configuration from the gateway is on probation: the gateway has to be reached with it."
            ),
            Outcome::Applied => tracing::info!(revision, "The configuration from the gateway is good."),
            Outcome::Refused { .. } => {
                tracing::error!(
                    revision,
                    why = reasons.join("; "),
                    "A configuration from the gateway is refused."
                );
            }
            Outcome::GoneBack { why } => tracing::error!(
                revision,
                why,
                "The configuration from the gateway is undone: the last good one is in force again."
            ),
        }
        let details = json!({ "revision": revision, "state": state, "reasons": reasons });
        control.note_afar(&self.actor(), details).await;
    }

    fn actor(&self) -> Actor {
        Actor::local(&self.gateway)
    }

    fn show(&self, control: &Control) {
        let in_force = control.config().afar.clone();
        self.metrics.remote_probation.set(i64::from(self.kept.candidate.is_some()));
        self.remote.0.seen.send_replace(Seen { kept: self.kept.clone(), in_force });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns when the gateway has answered a question that was asked at `from` or later.
async fn answered(remote: &Remote, from: Option<Instant>) {
    until(from).await;
    let mut sessions = remote.0.session.subscribe();
    loop {
        let session = sessions.borrow_and_update().clone();
        if let Some(session) = session.filter(|session| !session.is_over())
            && timeout(ROUND_TRIP, round_trip(&session)).await == Ok(Ok(true))
        {
            return;
        }
        tokio::select! {
            _ = sessions.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn round_trip(session: &Connection) -> Result<bool, Broken> {
    let stream = session.open(Kind::Loopback, Bytes::new()).map_err(|_| Broken::Session)?;
    stream.send(Bytes::from_static(QUESTION)).await?;
    stream.finish();
    let mut answer = Vec::new();
    while let Some(bytes) = stream.receive().await? {
        answer.extend_from_slice(&bytes);
        if answer.len() > QUESTION.len() {
            return Ok(false);
        }
    }
    Ok(answer == QUESTION)
}
