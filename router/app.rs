//! A configuration becomes running stages: start, drain, stop. Every task of the program is spawned here, by the
//! fleet of dispatchers and the ports that a reload changes, in their accept loops, and in the admin server's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrysalis_queue::{Admission, OpenError, Options, Queue, Recovered};
use chrysalis_sizing::Host;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminState, Headers, Server, Token, TokenError};
use crate::audit::{self, AuditError};
use crate::config::{ChosenProfile, Config, Destination, DestinationKind, Live, Loader};
use crate::control::{Control, Reins, SetLevel};
use crate::dimse::socket;
use crate::forward::{Board, Fleet, sweep_leftovers};
use crate::metrics::{Metrics, MetricsError};
use crate::pauses::Pauses;
use crate::platform::{self, Volume};
use crate::receive::{BindError, Bound, Ports};
use crate::relay::{self, Relays};
use crate::route::Routes;
use crate::transcode::{Claimed, Engine, Settings};
use crate::tunnel::remote::{Holdings, Keeper};
use crate::tunnel::{Gateway, Sites};

/// The folder of copies in the data directory.
const CACHE: &str = "cache";

/// The program's own folders in the data directory. Others in it, such as a destination's, have the modes that somebody wants.
const OWN_FOLDERS: [&str; 6] = [CACHE, "index", "journal", "spool", "remote", "site-configuration"];

/// Extension of spool files: they are DICOM Part 10 files.
const EXTENSION: &str = "dcm";

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool cannot be opened.
    #[error("the spool cannot be opened: {0}")]
    Queue(#[from] OpenError),
    /// Addresses of listeners or relays cannot be listened on.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Listeners(Vec<BindError>),
    /// The admin address cannot be listened on.
    #[error("admin.address {address}: {error}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The record of decisions cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The token file cannot be made or read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What makes copies cannot be set up.
    #[error("the cache of copies: {0}")]
    Transcode(io::Error),
    /// A mistake in the program.
    #[error("metrics: {0}")]
    Metrics(#[from] MetricsError),
}

/// How to open the queue of a configuration.
pub fn queue_options(config: &Config) -> Options {
    Options {
        extension: EXTENSION,
        reserve: config.queue.reserve,
        high_watermark: u32::from(config.queue.high_watermark.get()) * 10,
        retain: config.queue.retain,
        ledger: config.queue.ledger,
        ..Options::new(&config.node.data_dir)
    }
}

/// A running node.
pub struct App {
    queue: Queue,
    live: Live,
    control: Control,
    /// Somebody asked for the end.
    asked_to_stop: CancellationToken,
    /// Take no more; finish what is under way.
    drain: CancellationToken,
    /// End at once.
    halt: CancellationToken,
    /// Associations and dispatchers: what is waited for.
    tasks: TaskTracker,
    /// Listeners and the admin server: what runs until the end.
    services: TaskTracker,
}

impl App {
    /// Opens the spool, binds every address, and starts receiving and forwarding. `loader` is how the configuration was
    /// read, for reloads, and `set_level` changes how much is logged.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config, loader: Loader, set_level: SetLevel) -> Result<Self, StartError> {
        let metrics = Metrics::new(&config)?;
        let (mut keeper, remote, config) = Keeper::begin(config, &loader, metrics.clone());
        let destinations = || config.destinations.iter().map(|destination| destination.name.as_str());
        let pauses = Pauses::open(&config.node.data_dir, destinations());
        let board = Board::new(pauses.clone());
        destinations().for_each(|name| board.add(name));
        let queue = open(&config, &board).await?;
        make_private(&config);
        metrics.set_volume(Volume::of(&config.node.data_dir));
        compare_with_profile(&config, &metrics);
        let token = Token::open(&config.node.data_dir)?;
        let audit = audit::Log::open(&config.node.data_dir)?;
        let engine = engine(&config).await?;
        sweep_folders(&config);
        let (drain, halt) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, services) = (TaskTracker::new(), TaskTracker::new());
        let routes = Live::new(Routes::new(&config));
        let live = Live::new(config);
        let config = live.now();
        let gateway = gateway(&live, &board, &audit);
        services.spawn(gateway.clone().keep(queue.clone(), halt.clone()));
        let ports = Ports {
            gateway: gateway.clone(),
            queue: queue.clone(),
            routes: routes.clone(),
            pauses: pauses.clone(),
            metrics: metrics.clone(),
            alerts: audit::Alerts::open(&config.node.data_dir)?,
            drain: drain.clone(),
            halt: halt.clone(),
            tasks: tasks.clone(),
            services: services.clone(),
            open: Default::default(),
        };
        let relays =
            Relays::new(metrics.clone(), drain.clone(), halt.clone(), tasks.clone(), services.clone());
        let bound = bind(&live, &routes, &ports, &relays, &loader, &mut keeper).await?;
        let config = live.now();
        let address = config.admin.address;
        let admin = socket::listen(address).await.map_err(|error| StartError::Admin { address, error })?;
        let fleet = Fleet {
            queue: queue.clone(),
            metrics: metrics.clone(),
            board: board.clone(),
            engine: engine.clone(),
            remote: remote.clone(),
            drain: drain.clone(),
            halt: halt.clone(),
            tasks: tasks.clone(),
            live: live.clone(),
            gateway: gateway.clone(),
            running: Default::default(),
        };
        config.destinations.iter().for_each(|destination| fleet.begin(&config, destination));
        ports.apply(&config, bound.ports);
        relays.apply(bound.relays);
        let asked_to_stop = CancellationToken::new();
        let control = Control::new(Reins {
            queue: queue.clone(),
            live: live.clone(),
            routes,
            loader,
            set_level,
            metrics: metrics.clone(),
            pauses,
            audit,
            fleet,
            ports,
            relays,
            stop: asked_to_stop.clone(),
            reloading: Default::default(),
        });
        control.warn_of_strangers();
        services.spawn(keeper.run(control.clone(), halt.clone()));
        let state = AdminState {
            queue: queue.clone(),
            metrics,
            board,
            address,
            live: live.clone(),
            control: control.clone(),
            token,
            drain: drain.clone(),
            headers: Headers::default(),
            engine,
            gateway,
            remote,
        };
        services.spawn(Server::new(admin).run(state, halt.clone()));
        Ok(Self { queue, live, control, asked_to_stop, drain, halt, tasks, services })
    }

    /// What an administrator changes while the node runs.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns when somebody asked over the API for the end.
    pub async fn asked_to_stop(&self) {
        self.asked_to_stop.cancelled().await;
    }

    /// Takes no more associations, finishes what is under way, and after the grace period ends what is not finished.
    /// What is owed stays in the spool.
    pub async fn stop(self) {
        self.drain.cancel();
        self.tasks.close();
        let grace = self.live.now().node.grace;
        let finished = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        if !finished {
            tracing::warn!(?grace, "The grace period is over; ending what is not finished.");
        }
        self.halt.cancel();
        self.services.close();
        self.services.wait().await;
        self.tasks.wait().await;
        let queue = self.queue;
        let _ = tokio::task::spawn_blocking(move || queue.close()).await;
    }
}

/// Whether the host is the machine that the node is set up for. A node runs on a smaller one too.
fn compare_with_profile(config: &Config, metrics: &Metrics) {
    let Some(ChosenProfile { profile, by }) = config.profile else { return };
    let host = platform::host(&config.node.data_dir);
    let Host { cores, memory, disk } = host;
    tracing::info!(profile = profile.name, ?by, cores, memory, disk, "The node is set up by a profile.");
    let shortfalls = profile.shortfalls(&host);
    for short in &shortfalls {
        let (resource, has, wants) = (short.resource.name(), short.has, short.wants);
        tracing::warn!(
            profile = profile.name,
            resource,
            has,
            wants,
            "This host has less than its profile asks for."
        );
    }
    metrics.set_shortfalls(&shortfalls);
}

/// The sessions of links. What waits to be pushed through one is due as soon as it is open.
fn gateway(live: &Live, board: &Board, audit: &audit::Log) -> Gateway {
    let data_dir = &live.now().node.data_dir;
    let (sites, holdings) = (Sites::of(data_dir), Holdings::of(data_dir));
    let (live, board) = (live.clone(), board.clone());
    Gateway::new(sites, holdings, audit::Claims::new(audit.clone()), move |opened| {
        for destination in &live.now().destinations {
            if matches!(&destination.kind, DestinationKind::Site(at) if at.site.as_str() == opened) {
                board.try_now(destination.name.as_str());
            }
        }
    })
}

/// Binds what is configured. What a gateway has set is left out where it keeps the node from starting.
async fn bind(
    live: &Live,
    routes: &Live<Routes>,
    ports: &Ports,
    relays: &Relays,
    loader: &Loader,
    keeper: &mut Keeper,
) -> Result<Bounds, StartError> {
    let config = live.now();
    let errors = match sockets(&config, ports, relays).await {
        Ok(bound) => return Ok(bound),
        Err(errors) => errors,
    };
    let alone = loader.under(None).ok().filter(|_| config.afar.is_some());
    let Some(alone) = alone else { return Err(StartError::Listeners(errors)) };
    let bound = sockets(&alone, ports, relays).await.map_err(StartError::Listeners)?;
    keeper.started(&alone, errors.iter().map(ToString::to_string).collect());
    ports.metrics.begin_at_zero(&alone);
    routes.replace(Routes::new(&alone));
    live.replace(alone);
    Ok(bound)
}

/// The sockets of listeners and of relays.
struct Bounds {
    ports: Bound,
    relays: relay::Bound,
}

async fn sockets(config: &Config, ports: &Ports, relays: &Relays) -> Result<Bounds, Vec<BindError>> {
    Ok(Bounds { ports: ports.bind(config).await?, relays: relays.bind(config).await? })
}

/// Opens the spool.
async fn open(config: &Config, board: &Board) -> Result<Queue, StartError> {
    let options = queue_options(config);
    let observer = board.clone();
    let began = Instant::now();
    let opened = tokio::task::spawn_blocking(move || Queue::open(&options, observer)).await;
    let (queue, recovered) = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    report(&recovered, began.elapsed());
    if queue.admission() == Admission::Full {
        tracing::error!("The disk is beyond queue.high_watermark: nothing is received until there is room.");
    }
    Ok(queue)
}

/// What makes copies. Its cache is emptied; one that cannot be used costs speed and keeps nobody from receiving.
async fn engine(config: &Config) -> Result<Engine, StartError> {
    let folder = config.node.data_dir.join(CACHE);
    let (cached, streaming) = (engine_settings(config, Some(folder.clone())), engine_settings(config, None));
    let made = tokio::task::spawn_blocking(move || {
        Engine::new(cached).or_else(|error| {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "The cache of copies cannot be used; they are made while they are sent.");
            Engine::new(streaming)
        })
    });
    let made = made.await;
    made.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map_err(StartError::Transcode)
}

/// How a configuration has copies made, in this folder.
pub fn engine_settings(config: &Config, cache: Option<PathBuf>) -> Settings {
    Settings {
        workers: config.transcode.workers.get(),
        frames_in_flight: config.transcode.frames_in_flight.get(),
        compare: config.transcode.compare,
        decoder: this_program(),
        cache_dir: cache,
        cache_budget: config.transcode.cache,
        cache_claimed: claimed(config),
    }
}

/// Room for copies is taken at start where somebody wants them, or may take nothing else. A reload may add such a destination.
fn claimed(config: &Config) -> Claimed {
    let may_want = |destination: &Destination| match &destination.kind {
        DestinationKind::Dicom(_) | DestinationKind::Web(_) | DestinationKind::Site(_) => true,
        DestinationKind::Folder(_) | DestinationKind::Tunnel(_) => !destination.compression.is_as_received(),
    };
    match config.destinations.iter().any(may_want) {
        true => Claimed::AtStart,
        false => Claimed::WithTheFirstCopy,
    }
}

/// On Linux as the kernel names it, which stays the program that runs when its file is replaced by another version's.
fn this_program() -> Option<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Some(running.to_owned()) } else { std::env::current_exe().ok() }
}

fn report(recovered: &Recovered, took: std::time::Duration) {
    let Recovered { boot, instances, adopted, swept, corrupt, missing, damaged_journals } = recovered;
    let seconds = took.as_secs_f64();
    tracing::info!(boot, instances, adopted, swept, seconds, "The spool is open.");
    for path in corrupt {
        tracing::error!(file = %path.display(), "A spool file is damaged beyond recognition; it is left where it is.");
    }
    if *missing > 0 {
        tracing::error!(missing, "Instances are held because their spool file is missing or damaged.");
    }
    if *damaged_journals > 0 {
        tracing::error!(damaged_journals, "Journals are damaged; what was open in them is held.");
    }
}

/// Earlier versions made some of their folders for everybody to look into.
fn make_private(config: &Config) {
    for name in OWN_FOLDERS {
        let folder = config.node.data_dir.join(name);
        match platform::make_private(&folder) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(folder = %folder.display(), "A folder was open to others, and is private now.");
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "A folder is open to others.");
            }
        }
    }
}

fn sweep_folders(config: &Config) {
    for destination in &config.destinations {
        if let DestinationKind::Folder(folder) = &destination.kind
            && let Err(error) = sweep_leftovers(&folder.path)
        {
            // A share that is not mounted now may be later: deliveries wait for it.
            tracing::warn!(folder = %folder.path.display(), %error, "A folder cannot be looked at now.");
        }
    }
}
