//! A configuration becomes running stages: start, drain, stop. Every task of the program is spawned here, in the accept
//! loops of the listeners, and in the admin server's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrysalis_queue::{Admission, NO_ROUTE, OpenError, Options, Queue, Recovered};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminState, Headers, Server, Token, TokenError};
use crate::config::{Config, DestinationKind, Live};
use crate::dimse::socket;
use crate::forward::{Board, Dispatcher, sweep_leftovers};
use crate::metrics::{Metrics, MetricsError};
use crate::receive::Reception;

/// Extension of spool files: they are DICOM Part 10 files.
const EXTENSION: &str = "dcm";

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool cannot be opened.
    #[error("the spool cannot be opened: {0}")]
    Queue(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("{key} {address}: {error}")]
    Bind {
        /// Which setting.
        key: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The token file cannot be made or read.
    #[error(transparent)]
    Token(#[from] TokenError),
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
    grace: Duration,
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
    /// Opens the spool, binds every address, and starts receiving and forwarding.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::new(&config)?;
        let board = Board::new(&config);
        let options = queue_options(&config);
        let observer = board.clone();
        let began = Instant::now();
        let opened = tokio::task::spawn_blocking(move || Queue::open(&options, observer)).await;
        let (queue, recovered) =
            opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        report(&recovered, began.elapsed());
        if queue.admission() == Admission::Full {
            tracing::error!(
                "The disk is beyond queue.high_watermark: nothing is received until there is room."
            );
        }
        warn_of_strangers(&queue, &config);
        let token = Token::open(&config.node.data_dir)?;
        sweep_folders(&config);
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            sockets.push(bind("listener.address", listener.address).await?);
        }
        let admin = bind("admin.address", config.admin.address).await?;
        let app = Self {
            queue,
            grace: config.node.grace,
            drain: CancellationToken::new(),
            halt: CancellationToken::new(),
            tasks: TaskTracker::new(),
            services: TaskTracker::new(),
        };
        app.forward(&config, &metrics, &board);
        for (listener, socket) in config.listeners.iter().zip(sockets) {
            let reception = Reception::new(&config, listener, &app.queue, &metrics, &app.drain, &app.halt);
            app.services.spawn(reception.run(socket, app.tasks.clone(), app.services.clone()));
        }
        let state = AdminState {
            queue: app.queue.clone(),
            metrics,
            board,
            address: config.admin.address,
            live: Live::new(config),
            token,
            drain: app.drain.clone(),
            headers: Headers::default(),
        };
        app.services.spawn(Server::new(admin).run(state, app.halt.clone()));
        Ok(app)
    }

    fn forward(&self, config: &Config, metrics: &Metrics, board: &Board) {
        for destination in &config.destinations {
            let dispatcher = Dispatcher::new(config, destination, &self.queue, metrics, board, &self.drain);
            for _ in 0..dispatcher.workers() {
                let (worker, halt) = (Arc::clone(&dispatcher), self.halt.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = halt.cancelled() => {}
                        () = worker.run() => {}
                    }
                });
            }
        }
    }

    /// Takes no more associations, finishes what is under way, and after the grace period ends what is not finished.
    /// What is owed stays in the spool.
    pub async fn stop(self) {
        self.drain.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(self.grace, self.tasks.wait()).await.is_ok();
        if !finished {
            tracing::warn!(grace = ?self.grace, "The grace period is over; ending what is not finished.");
        }
        self.halt.cancel();
        self.services.close();
        self.services.wait().await;
        self.tasks.wait().await;
        let queue = self.queue;
        let _ = tokio::task::spawn_blocking(move || queue.close()).await;
    }
}

fn report(recovered: &Recovered, took: Duration) {
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

/// What is owed to destinations that are not configured goes nowhere until their name returns.
fn warn_of_strangers(queue: &Queue, config: &Config) {
    for destination in queue.stats().map(|stats| stats.destinations).unwrap_or_default() {
        let (name, owed) = (destination.name, destination.tally.owed);
        if owed > 0 && name != NO_ROUTE && config.destination(&name).is_none() {
            tracing::error!(
                destination = name,
                owed,
                "Deliveries are held: the destination is not configured."
            );
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

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = socket::listen(address).await;
    bound.map_err(|error| StartError::Bind { key: key.to_owned(), address, error })
}
