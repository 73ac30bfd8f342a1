//! What an administrator changes while the node runs: the configuration, what is paused, and whether it goes on.

use std::sync::Arc;

use chrysalis_queue::{NO_ROUTE, Queue, Unavailable};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Actor};
use crate::config::{
    CallingAe, Changes, Config, ConfigError, DestinationKind, Live, Loader, LogLevel, Overlay, Place,
};
use crate::dicom::AeTitle;
use crate::forward::{self, FilesError, Fleet, Health};
use crate::metrics::Metrics;
use crate::pauses::{Pause, PauseError, Paused, Pauses, Subject};
use crate::receive::{BindError, Bound, Ports};
use crate::relay::{self, Relays};
use crate::route::Routes;
use crate::tunnel::Link;

/// Changes how much is logged.
pub type SetLevel = Box<dyn Fn(LogLevel) + Send + Sync>;

/// The reins of a running node. Clones hold the same ones.
#[derive(Clone)]
pub struct Control(Arc<Reins>);

/// What [`Control`] is made of.
pub struct Reins {
    /// Where deliveries are.
    pub queue: Queue,
    /// The configuration in force.
    pub live: Live,
    /// Its rules.
    pub routes: Live<Routes>,
    /// How it is read.
    pub loader: Loader,
    /// How much is logged.
    pub set_level: SetLevel,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// What is paused.
    pub pauses: Pauses,
    /// Where decisions are written down.
    pub audit: audit::Log,
    /// The dispatchers.
    pub fleet: Fleet,
    /// The listeners.
    pub ports: Ports,
    /// The relays.
    pub relays: Relays,
    /// Set when somebody asks for the end.
    pub stop: CancellationToken,
    /// Held for the whole of a reload: one at a time.
    pub reloading: tokio::sync::Mutex<()>,
}

/// What a reload did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it was done.
    pub applied: bool,
    /// The revision in force before.
    pub from: String,
    /// The revision of the new configuration.
    pub to: String,
    /// What differs.
    pub changes: Changes,
    /// Destinations that are not configured any more, and what was queued for them then.
    pub gone: Vec<Gone>,
}

/// A destination that is not configured any more: its deliveries are held until the name returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// Its name.
    pub destination: String,
    /// What it is probably called now.
    pub renamed_to: Option<String>,
    /// Deliveries that were to be sent.
    pub owed: u64,
    /// Deliveries that were held already.
    pub held: u64,
}

/// Why a configuration is not put in force: nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new configuration's, all of them.
    #[error("the configuration is wrong; the old one stays in force")]
    Mistakes(Vec<Mistake>),
    /// The queue could not say what is owed.
    #[error(transparent)]
    Queue(#[from] Unavailable),
    /// The node is about to end.
    #[error("the node is stopping")]
    Stopping,
}

impl ReloadError {
    /// Everything that is wrong, a line each.
    pub fn reasons(&self) -> Vec<String> {
        match self {
            Self::Mistakes(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Self::Queue(_) | Self::Stopping => vec![self.to_string()],
        }
    }

    fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Mistakes(mistakes) => mistakes,
            Self::Queue(_) | Self::Stopping => &[],
        }
    }
}

/// What a reload needs of the machine.
struct Sockets {
    ports: Bound,
    relays: relay::Bound,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The dotted key; may be empty.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        let between = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}{between}{}", self.key, self.message)
    }
}

/// Why something is not paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum PauseRefused {
    /// The name.
    #[error("there is no {subject}; there are {}", known.join(", "))]
    Unknown {
        /// What was meant.
        subject: Subject,
        /// What there is of that kind.
        known: Vec<String>,
    },
    /// One title only makes sense where titles are passed through.
    #[error("destination {0} is always called with one title; pause it as a whole")]
    NoLanes(String),
    /// It is not a title.
    #[error("calling_ae: {0}")]
    Title(String),
    /// It could not be made durable.
    #[error(transparent)]
    Pauses(#[from] PauseError),
}

/// What came of lifting a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It was paused, and is not any more.
    Lifted,
    /// Nobody had paused it, but nothing could be sent there: that is tried now.
    Tried,
    /// It was not paused.
    NotPaused,
}

impl Control {
    /// Takes the reins.
    pub fn new(reins: Reins) -> Self {
        Self(Arc::new(reins))
    }

    /// What is paused.
    pub fn pauses(&self) -> &Pauses {
        &self.0.pauses
    }

    /// Where decisions are written down.
    pub fn audit(&self) -> &audit::Log {
        &self.0.audit
    }

    /// Reads the configuration again as it was read at the start, and puts it in force if nothing is wrong with it.
    ///
    /// # Errors
    /// [`ReloadError`]; the old configuration stays in force, and every mistake is in the log.
    pub async fn reload(&self, by: &Actor) -> Result<Report, ReloadError> {
        self.put(Source::File, by).await
    }

    /// Puts in force what a gateway has set, laid over the file as it was last put in force; none is the file alone.
    ///
    /// # Errors
    /// As [`Control::reload`].
    pub async fn put_afar(&self, over: Option<Overlay>, by: &Actor) -> Result<Report, ReloadError> {
        self.put(Source::Afar(over), by).await
    }

    /// The link of a destination that is a tunnel.
    pub fn link(&self, destination: &str) -> Option<Link> {
        self.0.fleet.link(destination)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.0.live.now()
    }

    /// Writes down what became of something that a gateway has set.
    pub async fn note_afar(&self, by: &Actor, details: Value) {
        self.record(by, "configuration from afar", "configuration", details).await;
    }

    async fn put(&self, source: Source, by: &Actor) -> Result<Report, ReloadError> {
        let reins = &self.0;
        let _one_at_a_time = reins.reloading.lock().await;
        let outcome = match self.prepare(source).await {
            Ok((config, report, bound, text)) if !reins.fleet.drain.is_cancelled() => {
                self.apply(config, &report.changes, bound);
                text.into_iter().for_each(|text| reins.loader.put_in_force(text));
                Ok(Report { applied: true, ..report })
            }
            Ok(_) => Err(ReloadError::Stopping),
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(report) => self.note_reload(by, report).await,
            Err(error) => {
                reins.metrics.reloads.with_label_values(&["refused"]).inc();
                let mistakes = error.mistakes();
                mistakes.iter().for_each(|mistake| tracing::error!(%mistake, "The configuration is wrong."));
                tracing::error!(%error, "Nothing is reloaded.");
                let details = json!({ "why": error.to_string(), "problems": mistakes.len() });
                self.record(by, "reload refused", "configuration", details).await;
            }
        }
        outcome
    }

    /// What a reload would do now, or if the file said `text`. Changes nothing.
    ///
    /// # Errors
    /// [`ReloadError`]
    pub async fn rehearse(&self, text: Option<String>) -> Result<Report, ReloadError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let source = text.map_or(Source::File, Source::Text);
        self.prepare(source).await.map(|(_, report, _, _)| report)
    }

    /// What [`Control::put_afar`] would do. Changes nothing.
    ///
    /// # Errors
    /// [`ReloadError`]
    pub async fn rehearse_afar(&self, over: Option<Overlay>) -> Result<Report, ReloadError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        self.prepare(Source::Afar(over)).await.map(|(_, report, _, _)| report)
    }

    /// Pauses a destination, a title at one, or a listener. Durable then.
    ///
    /// # Errors
    /// [`PauseRefused`]
    pub fn pause(&self, subject: &Subject, reason: &str, by: &Actor) -> Result<Paused, PauseRefused> {
        self.check(subject)?;
        let pause = Pause::new(by.who(), reason);
        let met = self.0.pauses.pause(subject, &pause)?;
        let instead = match &met {
            Paused::Already => return Ok(met),
            Paused::New => None,
            Paused::Instead(old) => Some(old.words()),
        };
        let details = json!({ "reason": pause.reason, "instead_of": instead });
        self.0.audit.record(by, "pause", &subject.to_string(), &details);
        Ok(met)
    }

    /// Lifts a pause. To resume a destination as a whole resumes every title at it. A destination that nobody paused and
    /// that is ill, or rejects us, is tried at once.
    ///
    /// # Errors
    /// [`PauseRefused`]
    pub fn resume(&self, subject: &Subject, by: &Actor) -> Result<Resumed, PauseRefused> {
        let within = |other: &Subject| match (subject, other) {
            (Subject::Destination(name), Subject::Lane { destination, .. }) => name == destination,
            _ => subject == other,
        };
        let lifted = self.0.pauses.resume(|other, _| within(other))?;
        if !lifted.is_empty() {
            self.resumed(&lifted, by);
            return Ok(Resumed::Lifted);
        }
        self.check(subject)?;
        let (Subject::Destination(name) | Subject::Lane { destination: name, .. }) = subject else {
            return Ok(Resumed::NotPaused);
        };
        if self.0.fleet.board.health(name) == Health::Well {
            return Ok(Resumed::NotPaused);
        }
        self.hurry(name);
        self.0.fleet.board.try_now(name);
        self.0.audit.record(by, "try now", &subject.to_string(), &Value::Null);
        Ok(Resumed::Tried)
    }

    /// Lifts every pause, and returns what was paused.
    ///
    /// # Errors
    /// [`PauseRefused`]
    pub fn resume_all(&self, by: &Actor) -> Result<Vec<Subject>, PauseRefused> {
        let lifted = self.0.pauses.resume(|_, _| true)?;
        self.resumed(&lifted, by);
        Ok(lifted)
    }

    /// Lifts what a drain paused and nobody has paused since, and returns that.
    ///
    /// # Errors
    /// [`PauseRefused`]
    pub fn resume_drained(&self, by: &Actor) -> Result<Vec<Subject>, PauseRefused> {
        let lifted = self.0.pauses.resume(|_, pause| pause.by_drain)?;
        self.resumed(&lifted, by);
        Ok(lifted)
    }

    /// Pauses every listener, so that the queue runs empty. Returns those that were open.
    ///
    /// # Errors
    /// [`PauseRefused`]
    pub fn drain(&self, reason: &str, by: &Actor) -> Result<Vec<Subject>, PauseRefused> {
        let config = self.0.live.now();
        let every =
            config.listeners.iter().map(|listener| Subject::Listener(listener.name.as_str().to_owned()));
        let fresh = self.0.pauses.pause_others(every.collect(), &Pause::of_drain(by.who(), reason))?;
        let names: Vec<_> = fresh.iter().map(ToString::to_string).collect();
        self.0.audit.record(by, "drain", "every listener", &json!({ "reason": reason, "paused": names }));
        Ok(fresh)
    }

    /// Has the program end as SIGTERM does.
    pub fn stop(&self, by: &Actor) {
        self.0.audit.record(by, "stop", "node", &Value::Null);
        self.0.stop.cancel();
    }

    /// Says what is owed to destinations that are not configured: it goes nowhere until their name returns.
    pub fn warn_of_strangers(&self) {
        let config = self.0.live.now();
        for destination in self.0.queue.stats().map(|stats| stats.destinations).unwrap_or_default() {
            let (name, owed) = (destination.name, destination.tally.owed);
            if owed > 0 && name != NO_ROUTE && config.destination(&name).is_none() {
                let destination = name;
                tracing::error!(destination, owed, "Deliveries are held: the destination is not configured.");
            }
        }
    }

    /// Reads, checks and binds, without changing anything.
    async fn prepare(
        &self,
        source: Source,
    ) -> Result<(Config, Report, Sockets, Option<String>), ReloadError> {
        let reins = &self.0;
        if reins.fleet.drain.is_cancelled() {
            return Err(ReloadError::Stopping);
        }
        // What a gateway sets names no files, and must not be kept by one from being undone.
        let names_files = !matches!(source, Source::Afar(_));
        let loader = reins.loader.clone();
        let read = move || match source {
            Source::Text(text) => loader.candidate(&text).map(|config| (config, None)),
            Source::Afar(over) => loader.under(over.as_ref()).map(|config| (config, None)),
            Source::File => loader.again().map(|loaded| {
                for advice in &loaded.advice {
                    tracing::warn!(%advice, "A question about the configuration.");
                }
                (loaded.config, Some(loaded.text))
            }),
        };
        let (new, text) = blocking(read).await.map_err(|error| ReloadError::Mistakes(mistakes_of(error)))?;
        let running = reins.live.now();
        let changes = Changes::between(&running, &new);
        let refused =
            |errors: Vec<BindError>| ReloadError::Mistakes(errors.iter().map(Mistake::from).collect());
        if names_files {
            files_of(&new, &changes).await?;
        }
        let ports = reins.ports.bind(&new).await.map_err(refused)?;
        let relays = reins.relays.bind(&new).await.map_err(refused)?;
        let bound = Sockets { ports, relays };
        let gone = self.gone(&changes).await?;
        let (from, to) = (running.revision.clone(), new.revision.clone());
        let report = Report { applied: false, from, to, changes, gone };
        Ok((new.in_place_of(&running), report, bound, text))
    }

    async fn gone(&self, changes: &Changes) -> Result<Vec<Gone>, Unavailable> {
        if changes.destinations.removed.is_empty() {
            return Ok(Vec::new());
        }
        let queue = self.0.queue.clone();
        let stats = blocking(move || queue.stats()).await?;
        let gone = changes.gone().map(|(name, renamed_to)| {
            let tally =
                stats.destinations.iter().find(|d| d.name == name).map(|d| d.tally).unwrap_or_default();
            let renamed_to = renamed_to.map(str::to_owned);
            Gone { destination: name.to_owned(), renamed_to, owed: tally.owed, held: tally.held }
        });
        Ok(gone.collect())
    }

    /// Without a pause between its steps, so that whoever drops a reload drops it before or after this.
    fn apply(&self, config: Config, changes: &Changes, bound: Sockets) {
        let reins = &self.0;
        reins.metrics.begin_at_zero(&config);
        let destinations = &changes.destinations;
        let changed = destinations.changed.iter().map(|changed| &changed.name);
        for name in destinations.added.iter().chain(changed) {
            if let Some(destination) = config.destination(name) {
                reins.fleet.begin(&config, destination);
            }
        }
        // Nothing is routed to a destination before it is there.
        reins.routes.replace(Routes::new(&config));
        reins.ports.apply(&config, bound.ports);
        reins.relays.apply(bound.relays);
        destinations.removed.iter().for_each(|name| reins.fleet.end(name));
        (reins.set_level)(config.log.level);
        reins.live.replace(config);
        reins.metrics.reloaded();
    }

    async fn note_reload(&self, by: &Actor, report: &Report) {
        for key in &report.changes.needs_restart {
            tracing::warn!(key, "This change needs a restart; the running value stays in force.");
        }
        for gone in &report.gone {
            let Gone { destination, owed, held, .. } = gone;
            let renamed_to = gone.renamed_to.as_deref().unwrap_or_default();
            tracing::warn!(destination, renamed_to, owed, held, "A destination is not configured any more.");
        }
        self.record(by, "reload", "configuration", json!(report)).await;
        let control = self.clone();
        blocking(move || control.warn_of_strangers()).await;
    }

    async fn record(&self, by: &Actor, decision: &'static str, subject: &'static str, details: Value) {
        let (audit, by) = (self.0.audit.clone(), by.clone());
        blocking(move || audit.record(&by, decision, subject, &details)).await;
    }

    /// What waited because its title was paused is due.
    fn resumed(&self, lifted: &[Subject], by: &Actor) {
        for subject in lifted {
            if let Subject::Lane { destination, .. } = subject {
                self.hurry(destination);
            }
            self.0.audit.record(by, "resume", &subject.to_string(), &Value::Null);
        }
    }

    /// What waits there for its turn is due.
    fn hurry(&self, destination: &str) {
        if let Err(error) = self.0.queue.hurry(destination) {
            tracing::warn!(destination, %error, "What waits there is due only when its pause is over.");
        }
    }

    fn check(&self, subject: &Subject) -> Result<(), PauseRefused> {
        let config = self.0.live.now();
        let unknown = |subject: Subject| {
            let destinations = || config.destinations.iter().map(|d| d.name.to_string()).collect();
            let known = match &subject {
                Subject::Listener(_) => config.listeners.iter().map(|l| l.name.to_string()).collect(),
                Subject::Destination(_) | Subject::Lane { .. } => destinations(),
            };
            PauseRefused::Unknown { subject, known }
        };
        match subject {
            Subject::Listener(name) => {
                let known = config.listeners.iter().any(|listener| listener.name.as_str() == name);
                if known { Ok(()) } else { Err(unknown(subject.clone())) }
            }
            Subject::Destination(name) => {
                config.destination(name).map(drop).ok_or_else(|| unknown(subject.clone()))
            }
            Subject::Lane { destination: name, calling_ae } => {
                let destination = config.destination(name);
                let destination = destination.ok_or_else(|| unknown(Subject::Destination(name.clone())))?;
                let title = calling_ae.parse::<AeTitle>();
                title.map_err(|error| PauseRefused::Title(error.to_string()))?;
                match &destination.kind {
                    DestinationKind::Dicom(dicom) if dicom.calling_ae == CallingAe::Passthrough => Ok(()),
                    DestinationKind::Dicom(_)
                    | DestinationKind::Folder(_)
                    | DestinationKind::Web(_)
                    | DestinationKind::Tunnel(_)
                    | DestinationKind::Site(_) => Err(PauseRefused::NoLanes(name.clone())),
                }
            }
        }
    }
}

/// What a new configuration is read from.
enum Source {
    /// The file, and what a gateway has set.
    File,
    /// This in the place of the file.
    Text(String),
    /// The file as it was last put in force, and this over it.
    Afar(Option<Overlay>),
}

impl From<&BindError> for Mistake {
    fn from(error: &BindError) -> Self {
        Self { line: None, key: String::new(), message: error.to_string() }
    }
}

impl From<FilesError> for Mistake {
    fn from(error: FilesError) -> Self {
        Self { line: None, key: String::new(), message: error.to_string() }
    }
}

/// Looks at the files of destinations that are new or changed. Those of others are in use already.
async fn files_of(new: &Config, changes: &Changes) -> Result<(), ReloadError> {
    let destinations = &changes.destinations;
    let names = destinations.added.iter().chain(destinations.changed.iter().map(|changed| &changed.name));
    let fresh: Vec<_> = names.filter_map(|name| new.destination(name).cloned()).collect();
    let look = move || fresh.iter().filter_map(|fresh| forward::look(fresh).err()).flatten().collect();
    let wrong: Vec<FilesError> = blocking(look).await;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(ReloadError::Mistakes(wrong.into_iter().map(Mistake::from).collect()))
}

/// What is wrong with a configuration, one by one.
pub fn mistakes_of(error: ConfigError) -> Vec<Mistake> {
    match error {
        ConfigError::Invalid(problems) => problems
            .problems
            .into_iter()
            .map(|problem| match problem.place {
                Place::Line(line) => Mistake { line: Some(line), key: problem.key, message: problem.message },
                Place::Afar(_) => {
                    let place = problem.place.to_string();
                    let between = if problem.key.is_empty() { "" } else { ": " };
                    Mistake {
                        line: None,
                        key: format!("{place}{between}{}", problem.key),
                        message: problem.message,
                    }
                }
                Place::Override(origin) => Mistake { line: None, key: origin, message: problem.message },
            })
            .collect(),
        other @ (ConfigError::Unreadable { .. } | ConfigError::TooLarge { .. }) => {
            vec![Mistake { line: None, key: String::new(), message: other.to_string() }]
        }
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let ran = tokio::task::spawn_blocking(run).await;
    ran.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
