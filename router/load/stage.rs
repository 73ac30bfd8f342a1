//! Everything that a run needs, set up and taken down: the PACS, the node, the carts, the account.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use chrysalis_sizing::REFERENCE;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::{Ledger, Leftover};
use super::carts::{Carts, Due, Source};
use super::copies::Pieces;
use super::live::Live;
use super::machine;
use super::node::{Admin, Keep, Limits, MOST_USED, Own};
use super::plan::Plan;
use super::report::{Machine, Sample};
use super::run::{RunError, Settings, Target};
use super::sinks::Pacs;
use super::watch::{Asks, View, Watch};
use crate::synthetic::{Factory, Recipe};

/// All that takes part.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) plan: Plan,
    pub(super) ledger: Arc<Ledger>,
    pub(super) carts: Arc<Carts>,
    /// Nothing where an external node's destination is somebody else's.
    pub(super) pacs: Option<Mutex<Pacs>>,
    pub(super) view: View,
    pub(super) machine: Machine,
    /// Share of a core of the node before anything came.
    pub(super) idle_cores: Option<f64>,
    pub(super) began: Instant,
    pub(super) is_down: Arc<AtomicBool>,
    pub(super) samples: Arc<StdMutex<Vec<Sample>>>,
    pub(super) cancel: CancellationToken,
    own: Option<StdMutex<Own>>,
    next: AtomicU64,
}

/// How waiting for the backlog ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// Nothing waits any more.
    Empty,
    /// Something does, and nothing moves.
    Stuck,
}

impl Stage {
    /// Makes the pictures, opens the PACS, starts or looks at the node.
    pub(super) async fn open(settings: &Settings, cancel: CancellationToken) -> Result<Self, RunError> {
        let plan = settings.plan.clone();
        let folder = match &settings.target {
            Target::Own(setup) => setup.data.clone(),
            Target::Known(known) => {
                known.check().await?;
                std::env::temp_dir()
            }
        };
        check_room(&plan, settings, &folder)?;
        let source = make_source(&plan).await?;
        let ledger = Arc::new(Ledger::default());
        let began = Instant::now();
        let pacs_at = match &settings.target {
            Target::Own(_) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Target::Known(known) => known.pacs,
        };
        let rate = plan.asked.uplink.map(|uplink| uplink * plan.compression);
        let pacs = match pacs_at {
            Some(address) => {
                let pacs = Pacs::start(address, Arc::clone(&ledger), rate, began).await;
                Some(pacs.map_err(|source| RunError::Pacs { address, source })?)
            }
            None => None,
        };
        let (own, peer, view) = match &settings.target {
            Target::Own(setup) => {
                let address = pacs.as_ref().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Pacs::address);
                let (route, compression) = (plan.asked.route, plan.compression);
                let own = Own::start(setup, route, address, compression).await?;
                let view = View { process: Some(own.id()), admin: Some(own.admin.clone()) };
                let peer = own.peer();
                (Some(own), peer, view)
            }
            Target::Known(known) => {
                let admin = known.metrics.clone().map(Admin::new);
                (None, known.peer.clone(), View { process: None, admin })
            }
        };
        let spool = own.as_ref().map_or(folder, |own| own.home().to_owned());
        let limits = match &settings.target {
            Target::Own(setup) => setup.limits.clone(),
            Target::Known(_) => Limits::default(),
        };
        let described = tokio::task::spawn_blocking(move || machine::describe(&spool, &limits));
        let machine = described.await.map_err(RunError::joined)?.map_err(RunError::Machine)?;
        let carts =
            Carts { target: peer, source, ledger: Arc::clone(&ledger), began, lateness: StdMutex::default() };
        let mut stage = Self {
            plan,
            ledger,
            carts: Arc::new(carts),
            pacs: pacs.map(Mutex::new),
            view,
            machine,
            idle_cores: None,
            began,
            is_down: Arc::default(),
            samples: Arc::default(),
            cancel,
            own: own.map(StdMutex::new),
            next: AtomicU64::new(0),
        };
        stage.idle_cores = stage.measure_idle().await;
        Ok(stage)
    }

    /// Seconds since the beginning.
    pub(super) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Has studies sent at these times, in seconds from now, and returns how many when all are answered or given up. Where the run
    /// is interrupted, no further study begins.
    pub(super) async fn send(&self, times: impl Iterator<Item = f64>) -> u64 {
        let (due, queue) = mpsc::channel(QUEUED);
        let start = self.now();
        let arrivals = async {
            let mut sent = 0;
            for time in times {
                let at = start + time;
                let instant = self.began + Duration::from_secs_f64(at);
                let waiting = tokio::time::sleep_until(instant);
                if self.cancel.run_until_cancelled(waiting).await.is_none() {
                    break;
                }
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                if due.send(Due { number, at }).await.is_err() {
                    break;
                }
                sent += 1;
            }
            drop(due);
            sent
        };
        let (sent, ()) = tokio::join!(arrivals, self.carts.run(self.plan.asked.carts, queue));
        sent
    }

    /// Waits until nothing waits any more, or nothing has moved for `patience`.
    pub(super) async fn drain(&self, patience: Duration) -> Drain {
        let mut moved = (Instant::now(), self.ledger.totals().delivered);
        loop {
            let totals = self.ledger.totals();
            if self.is_empty(totals.backlog).await {
                return Drain::Empty;
            }
            if totals.delivered != moved.1 {
                moved = (Instant::now(), totals.delivered);
            }
            let is_patient = moved.0.elapsed() < patience;
            if !is_patient || self.has_ended() || self.holds_the_rest(totals.backlog).await {
                return Drain::Stuck;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes samples in the background until the token is cancelled.
    pub(super) fn watch(
        &self,
        live: Live,
        until: CancellationToken,
        interval: Duration,
    ) -> tokio::task::JoinHandle<()> {
        let watch = Watch {
            view: self.view.clone(),
            ledger: Arc::clone(&self.ledger),
            zero: Instant::now(),
            interval,
            is_down: Arc::clone(&self.is_down),
            samples: Arc::clone(&self.samples),
        };
        tokio::spawn(watch.run(live, until))
    }

    /// What the node still has, as it says.
    pub(super) async fn leftover(&self) -> Leftover {
        let Some(admin) = self.view.admin.clone() else { return Leftover::Unknown };
        let asked = tokio::task::spawn_blocking(move || admin.leftover()).await;
        asked.ok().flatten().map_or(Leftover::Unknown, Leftover::Known)
    }

    /// Ends the node. Where something went wrong, that of it stays which tells why; where that is.
    pub(super) async fn close(self, keep: Keep) -> Option<PathBuf> {
        if let Some(pacs) = self.pacs {
            pacs.into_inner().take_down().await;
        }
        let mut own = self.own?.into_inner().unwrap_or_else(PoisonError::into_inner);
        own.stop(GRACE).await;
        let home = own.keep(keep);
        (keep != Keep::Nothing).then_some(home)
    }

    /// Without a PACS of ours only the node can tell whether something waits.
    async fn is_empty(&self, backlog: u64) -> bool {
        if self.pacs.is_some() {
            return backlog == 0;
        }
        match self.view.look(Asks::Metrics).await.told {
            Some(told) => told.queued.unwrap_or_default() == 0,
            None => true,
        }
    }

    async fn holds_the_rest(&self, backlog: u64) -> bool {
        if self.is_down.load(Ordering::Relaxed) {
            return false;
        }
        let told = self.view.look(Asks::Metrics).await.told.unwrap_or_default();
        told.queued == Some(0) && told.held.is_some_and(|held| held >= backlog)
    }

    /// Whether an own node has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let Some(own) = &self.own else { return false };
        own.lock().unwrap_or_else(PoisonError::into_inner).ended().is_some()
    }

    async fn measure_idle(&self) -> Option<f64> {
        let seconds = (self.plan.modelled_seconds() / self.plan.compression / 20.0).clamp(0.5, 5.0);
        // What the start leaves to be done is no idling.
        tokio::time::sleep(Duration::from_secs_f64(seconds / 5.0)).await;
        let (before, started) = (self.view.cpu_seconds().await?, Instant::now());
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        Some((self.view.cpu_seconds().await? - before) / started.elapsed().as_secs_f64())
    }
}

/// Studies that wait for a cart, at most; then arrivals wait, and are late.
const QUEUED: usize = 100_000;
/// Between two looks at whether the backlog is empty.
const LOOK: Duration = Duration::from_millis(20);
/// For the node to end by itself.
const GRACE: Duration = Duration::from_secs(40);

/// What the node keeps, and where, has to fit.
fn check_room(plan: &Plan, settings: &Settings, folder: &Path) -> Result<(), RunError> {
    let Target::Own(setup) = &settings.target else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|source| RunError::Folder { folder: folder.to_owned(), source })?;
    let room = machine::room(folder, MOST_USED)
        .map_err(|source| RunError::Folder { folder: folder.to_owned(), source })?;
    let needed = plan.backlog_bytes() + setup.set_aside();
    if room < needed {
        return Err(RunError::Room { folder: folder.to_owned(), needed, room });
    }
    Ok(())
}

/// Draws and hashes all that instances share, so that nothing of it is done while a clock runs.
async fn make_source(plan: &Plan) -> Result<Source, RunError> {
    let asked = plan.asked.clone();
    let making = tokio::task::spawn_blocking(move || {
        let recipe = Recipe { seed: asked.seed, mix: &REFERENCE, encoding: asked.encoding };
        let source = Source {
            factory: Factory::new(recipe)?,
            kind: asked.kind,
            route: asked.route,
            pieces: Pieces::default(),
        };
        // Each still and loop of a few studies has other pictures.
        for number in 0..10 {
            source.study(number).instances().for_each(|instance| drop(source.entry(&instance)));
        }
        Ok(source)
    });
    making.await.map_err(RunError::joined)?
}
