//! The dispatchers that run, one for each configured destination, and how one takes over from another.
//!
//! ```text
//!  configured ──► waits for the one before to end ──► workers run ──► told to stop ──► what is under way ends ──► ended
//! ```
//!
//! Two dispatchers of one name never send at once: the later one begins when the earlier one's last worker has ended,
//! however often the configuration changes meanwhile. A worker that is stuck until its timeout delays its own
//! destination's next dispatcher and nothing else.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrysalis_queue::Queue;
use futures_util::FutureExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::circuit::Health;
use super::dispatcher::Dispatcher;
use crate::config::{Config, Destination, Live};
use crate::metrics::Metrics;
use crate::transcode::Engine;
use crate::tunnel::{Gateway, Link, Remote};

/// What dispatchers are made of and run in. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet {
    /// Where deliveries are.
    pub queue: Queue,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// Where dispatchers are woken.
    pub board: Board,
    /// What makes copies.
    pub engine: Engine,
    /// Where a link takes what configuration its gateway sets.
    pub remote: Remote,
    /// Take no more.
    pub drain: CancellationToken,
    /// End at once.
    pub halt: CancellationToken,
    /// What is waited for at the end.
    pub tasks: TaskTracker,
    /// The configuration in force: what a gateway may reach through a link.
    pub live: Live,
    /// The links that are connected here.
    pub gateway: Gateway,
    /// The latest dispatcher of each name.
    pub running: Arc<Mutex<HashMap<String, Generation>>>,
}

/// One dispatcher, from its configuration to its end.
pub struct Generation {
    stop: CancellationToken,
    ended: CancellationToken,
    link: Option<Link>,
}

/// How long a worker rests that has panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Runs a worker to its end. A panic is a mistake in this program, and no reason for a destination to stand still: what was
/// leased is ready again, and so is the worker, soon.
async fn working(worker: Arc<Dispatcher>) {
    while AssertUnwindSafe(Arc::clone(&worker).run()).catch_unwind().await.is_err() {
        tracing::error!(destination = worker.name(), "A worker has panicked, and begins again.");
        tokio::time::sleep(AFTER_PANIC).await;
    }
}

impl Fleet {
    /// Starts a dispatcher for a destination, after the one that has its name now, if any, has finished.
    pub fn begin(&self, config: &Config, destination: &Destination) {
        let name = destination.name.as_str();
        self.board.add(name);
        let (stop, ended) = (self.drain.child_token(), CancellationToken::new());
        let dispatcher = Dispatcher::new(config, destination, self, &stop);
        let link = dispatcher.link().cloned();
        let generation = Generation { stop: stop.clone(), ended: ended.clone(), link };
        let before = self.lock().insert(name.to_owned(), generation);
        if before.is_none() {
            self.board.forget(name);
        }
        let before = before.inspect(|before| before.stop.cancel()).map(|before| before.ended);
        let (fleet, name, ended) = (self.clone(), name.to_owned(), ended.drop_guard());
        self.tasks.spawn(async move {
            if let Some(before) = before {
                before.cancelled().await;
                fleet.begin_anew(&name, &stop).await;
            }
            fleet.run(dispatcher, &stop, ended).await;
        });
    }

    /// Has the dispatcher of a destination that is not configured any more finish.
    pub fn end(&self, name: &str) {
        let mut running = self.lock();
        if let Some(generation) = running.get(name) {
            generation.stop.cancel();
        }
        // What ended long ago and was not begun again is forgotten.
        running.retain(|_, generation| !generation.ended.is_cancelled());
        self.board.remove(name);
        self.metrics.certificates.destination(name, None);
    }

    /// The link of a destination that is a tunnel.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.lock().get(name).and_then(|generation| generation.link.clone())
    }

    /// The circuit is new: what waited for the old one's back-off is due.
    async fn begin_anew(&self, name: &str, stop: &CancellationToken) {
        if stop.is_cancelled() {
            return;
        }
        self.board.forget(name);
        self.metrics.set_health(name, Health::Well);
        let (queue, destination) = (self.queue.clone(), name.to_owned());
        let hurried = tokio::task::spawn_blocking(move || queue.hurry(&destination)).await;
        if let Ok(Err(error)) = hurried {
            tracing::warn!(destination = name, %error, "What waits there is due only when its pause is over.");
        }
    }

    async fn run(&self, dispatcher: Arc<Dispatcher>, stop: &CancellationToken, ended: DropGuard) {
        let (workers, links) = (TaskTracker::new(), TaskTracker::new());
        if !stop.is_cancelled() {
            if let Some(link) = dispatcher.link().cloned() {
                let (halt, watcher) = (self.halt.clone(), Arc::clone(&dispatcher).watch(link.clone()));
                links.spawn(async move {
                    tokio::select! {
                        () = halt.cancelled() => {}
                        ((), ()) = async { tokio::join!(link.run(), watcher) } => {}
                    }
                });
            }
            dispatcher.ready().await;
            for _ in 0..dispatcher.workers() {
                let (worker, halt) = (Arc::clone(&dispatcher), self.halt.clone());
                workers.spawn(async move {
                    tokio::select! {
                        () = halt.cancelled() => {}
                        () = working(worker) => {}
                    }
                });
            }
        }
        workers.close();
        workers.wait().await;
        // Nobody needs the tunnel any more.
        dispatcher.link().inspect(|link| link.stop());
        links.close();
        links.wait().await;
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Generation>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
