//! The loop of one destination: lease, attempt, judge, settle.
//!
//! A destination with several associations has as many workers, which share its circuits. Where the carts' own AE
//! titles are passed through, each title has a circuit of its own: a PACS that does not know one cart takes the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrysalis_queue::{Hold, HoldKind, Instance, Lease, LeaseRequest, Leased, Outcome, Queue, Sequence};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Notice};
use super::carrier::{Association, Attempted, Carrier, Item};
use super::circuit::{Circuit, Health, Permission, Settlement};
use super::fleet::Fleet;
use super::prepare::Preparer;
use super::secure::Secure;
use super::studies::Claims;
use super::tunnel::no_tunnel;
use super::verdict::{ABORTS_UNTIL_REFUSED, End, Verdict, judge, without_comment};
use crate::config::{CallingAe, Config, Destination, DestinationKind};
use crate::dicom::AeTitle;
use crate::metrics::Metrics;
use crate::tunnel::endpoints::Endpoints;
use crate::tunnel::link::State;
use crate::tunnel::{Gateway, Link};

/// Deliveries leased at a time.
const BATCH: usize = 64;
/// How long an association is kept for what may still come of a study.
const LINGER: Duration = Duration::from_secs(2);
/// How long files that cannot be used are left alone, at least.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait when the queue cannot be asked.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
/// How long what a paused calling AE title sent is put aside; it is due at once when that is resumed.
const PAUSED_LANE: Duration = Duration::from_secs(300);
/// How long to leave a study to the worker whose association it is on.
const STUDY_ELSEWHERE: Duration = Duration::from_millis(20);
/// How long an instance that was tried in this illness waits for others to be tried.
const LET_OTHERS_FIRST: Duration = Duration::from_secs(1);

/// What one destination's dispatcher is made of.
pub struct Dispatcher {
    destination: Destination,
    node_ae: AeTitle,
    queue: Queue,
    metrics: Metrics,
    board: Board,
    preparer: Preparer,
    stop: CancellationToken,
    lanes: Mutex<Lanes>,
    claims: Claims,
    secure: Arc<Secure>,
    link: Option<Link>,
    gateway: Gateway,
    started: Instant,
}

#[derive(Default)]
struct Lanes {
    circuits: HashMap<String, Circuit>,
    /// A probe of the whole destination is under way.
    is_probing: bool,
}

/// What a worker may do next.
enum Turn {
    /// Somebody paused the destination.
    Rest,
    Lease {
        request: LeaseRequest,
        is_probe: bool,
    },
    Wait(Duration),
}

impl Dispatcher {
    /// A dispatcher for one destination of the configuration.
    pub fn new(
        config: &Config,
        destination: &Destination,
        fleet: &Fleet,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let Fleet { queue, metrics, board, engine, gateway, .. } = fleet;
        Arc::new(Self {
            preparer: Preparer::new(destination.compression, engine.clone(), metrics.transcodes(destination)),
            destination: destination.clone(),
            node_ae: config.node.ae_title.clone(),
            queue: queue.clone(),
            metrics: metrics.clone(),
            board: board.clone(),
            stop: stop.clone(),
            lanes: Mutex::default(),
            claims: Claims::default(),
            secure: Arc::new(Secure::new(destination, metrics)),
            link: link(destination, fleet),
            gateway: gateway.clone(),
            started: Instant::now(),
        })
    }

    /// How many workers the destination wants.
    pub fn workers(&self) -> usize {
        match &self.destination.kind {
            DestinationKind::Dicom(dicom) => dicom.max_associations,
            DestinationKind::Folder(_) => 1,
            DestinationKind::Web(web) => web.max_connections,
            DestinationKind::Tunnel(tunnel) => tunnel.uploads,
            DestinationKind::Site(site) => site.max_associations,
        }
    }

    /// The tunnel that the destination is reached by, if it is. Somebody has to run it.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Waits until the files that the destination needs can be used, or told to stop. Until then it is paused, and says why;
    /// nothing is sent, and nothing has to be waiting for that to be known.
    pub async fn ready(&self) {
        let probes = self.board.probes(self.name());
        let mut said = String::new();
        loop {
            let ended = tokio::select! {
                () = self.stop.cancelled() => return,
                ended = self.secure.ready() => ended,
            };
            let Err(end) = ended else { break };
            let why = judge(end).why().into_owned();
            if said != why {
                self.health_changed("", Health::Paused, &why);
                said = why;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = probes.notified() => {}
                () = tokio::time::sleep(self.destination.backoff.first.max(LOOK_AGAIN)) => {}
            }
        }
        if !said.is_empty() {
            self.health_changed("", Health::Well, "");
        }
    }

    /// Has the destination be as its tunnel is, whether something waits to be sent or not, until the tunnel is stopped.
    pub async fn watch(self: Arc<Self>, link: Link) {
        let (mut states, mut shut) = (link.states(), None::<String>);
        loop {
            let state = states.borrow_and_update().clone();
            let change = match state {
                State::Stopped => return,
                State::Dialling => None,
                // It may be open again in a moment.
                State::Down(trouble) if trouble.was_open && !trouble.is_for_a_person => None,
                State::Down(trouble) => {
                    let verdict = judge(no_tunnel(&trouble));
                    shut = Some(verdict.why().into());
                    let (now, chance) = (self.now(), chance());
                    self.with_circuit("", |circuit| circuit.unreachable(verdict, now, chance))
                }
                State::Open(_) => {
                    shut.take().and_then(|why| self.with_circuit("", |circuit| circuit.reached(&why)))
                }
            };
            if let Some((health, why)) = change {
                self.health_changed("", health, &why);
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// One worker, until told to stop. What is under way then is finished first.
    pub async fn run(self: Arc<Self>) {
        let Some(mut wakes) = self.board.wakes(self.name()) else { return };
        let carrier = Carrier::new(
            &self.destination,
            &self.node_ae,
            &self.queue,
            &self.preparer,
            &self.claims,
            &self.secure,
            self.link.as_ref(),
            &self.gateway,
        );
        let Some(mut carrier) = carrier else { return };
        let mut pauses = self.board.pauses().news();
        while !self.stop.is_cancelled() {
            wakes.borrow_and_update();
            pauses.seen();
            match self.turn() {
                Turn::Rest => {
                    carrier.rest().await;
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = pauses.changed() => {}
                    }
                }
                Turn::Wait(pause) => self.idle(&mut carrier, &mut wakes, Some(pause)).await,
                Turn::Lease { mut request, is_probe } => {
                    carrier.narrow(&mut request);
                    request.quiet = self.destination.study_quiet;
                    let is_from_the_middle = request.after.is_some();
                    let leased = self.lease(request).await;
                    let next = self.carry(leased, is_from_the_middle, &mut carrier).await;
                    if is_probe {
                        self.lock().is_probing = false;
                    }
                    if let Some(pause) = next {
                        self.idle(&mut carrier, &mut wakes, pause).await;
                    }
                }
            }
        }
        carrier.rest().await;
    }

    pub(super) fn name(&self) -> &str {
        self.destination.name.as_str()
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn has_lanes(&self) -> bool {
        matches!(&self.destination.kind, DestinationKind::Dicom(d) if d.calling_ae == CallingAe::Passthrough)
    }

    /// The circuit that an instance from this calling AE title belongs to.
    fn lane(&self, calling: &AeTitle) -> String {
        if self.has_lanes() { calling.to_string() } else { String::new() }
    }

    fn is_paused(&self) -> bool {
        self.board.pauses().destination(self.name()).is_some()
    }

    fn turn(&self) -> Turn {
        if self.is_paused() {
            return Turn::Rest;
        }
        let everything = LeaseRequest { max: BATCH, ..LeaseRequest::default() };
        if self.has_lanes() {
            return Turn::Lease { request: everything, is_probe: false };
        }
        let now = self.now();
        let mut lanes = self.lock();
        let permission = lanes.circuits.get("").map_or(Permission::Send, |circuit| circuit.permission(now));
        match permission {
            Permission::Send => Turn::Lease { request: everything, is_probe: false },
            Permission::Wait(pause) => Turn::Wait(pause),
            Permission::Probe { .. } if lanes.is_probing => Turn::Wait(LET_OTHERS_FIRST),
            Permission::Probe { after, avoid } => {
                lanes.is_probing = true;
                Turn::Lease {
                    request: LeaseRequest { max: 1, after, avoid, ..LeaseRequest::default() },
                    is_probe: true,
                }
            }
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Option<Leased> {
        let (queue, name) = (self.queue.clone(), self.name().to_owned());
        match tokio::task::spawn_blocking(move || queue.lease(&name, request)).await {
            Ok(Ok(leased)) => Some(leased),
            Ok(Err(error)) => {
                tracing::warn!(destination = self.name(), %error, "Nothing can be sent now.");
                None
            }
            Err(_) => None,
        }
    }

    /// Carries what was leased. Returns how long to idle, if at all: `Some(None)` is until something happens.
    async fn carry(
        &self,
        leased: Option<Leased>,
        is_from_the_middle: bool,
        carrier: &mut Carrier,
    ) -> Option<Option<Duration>> {
        let Some(leased) = leased else { return Some(Some(QUEUE_PAUSE)) };
        if leased.leases.is_empty() {
            if is_from_the_middle {
                self.lock().circuits.values_mut().for_each(Circuit::begin_again);
                return None;
            }
            return Some(leased.next_due);
        }
        // All of it is of one study.
        let study =
            leased.leases.first().map(|lease| lease.instance().keys.group.clone()).unwrap_or_default();
        if carrier.take_up(&study).await.is_err() {
            return Some(Some(STUDY_ELSEWHERE));
        }
        let mut waiting = Vec::with_capacity(leased.leases.len());
        for lease in leased.leases {
            match Item::new(Arc::clone(lease.instance())) {
                Ok(item) => waiting.push((lease, item)),
                Err(error) => {
                    self.finish(lease, Outcome::Held(Hold::new(HoldKind::Damage, error.to_string())))
                }
            }
        }
        self.carry_all(waiting, carrier).await;
        if !carrier.is_open() {
            carrier.rest().await;
        }
        None
    }

    /// One after the other, or as many at once as the carrier takes, until it is over or what follows has to wait.
    async fn carry_all(&self, waiting: Vec<(Lease, Item)>, carrier: &mut Carrier) {
        let (leases, items): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let mut leases: VecDeque<_> = leases.into_iter().map(Some).collect();
        let mut rest = items.as_slice();
        // Leases that are dropped here are ready again.
        while !rest.is_empty() && !self.stop.is_cancelled() && !self.is_paused() {
            let together = self.together(&mut leases, rest, carrier.at_once());
            let (now, upcoming) = rest.split_at(together.max(1));
            let (done, goes_on) = match together {
                // It is finished without an attempt.
                0 => (1, true),
                _ => self.carry_some(&mut leases, now, upcoming, carrier).await,
            };
            leases.drain(..done.min(leases.len()));
            rest = rest.get(done..).unwrap_or_default();
            if !goes_on {
                break;
            }
        }
    }

    /// How many of the first may be tried at once. What is known of one before trying finishes it.
    fn together(&self, leases: &mut VecDeque<Option<Lease>>, items: &[Item], at_once: usize) -> usize {
        for (place, (lease, item)) in leases.iter_mut().zip(items).take(at_once).enumerate() {
            if lease.is_none() {
                return place;
            }
            if let Some(outcome) = self.before(&self.lane(&item.calling), item.instance.sequence) {
                if let Some(lease) = lease.take() {
                    self.finish(lease, outcome);
                }
                return place;
            }
        }
        at_once.min(items.len())
    }

    /// Deliveries that are tried at once. Returns how many of them were, and whether those that follow may be.
    async fn carry_some(
        &self,
        leases: &mut VecDeque<Option<Lease>>,
        items: &[Item],
        upcoming: &[Item],
        carrier: &mut Carrier,
    ) -> (usize, bool) {
        let begun = Instant::now();
        let attempts = self.metrics.attempts.with_label_values(&[self.name()]);
        attempts.inc();
        let mut all = carrier.attempt(items, upcoming).await;
        attempts.inc_by(all.len().saturating_sub(1) as u64);
        let (done, mut goes_on) = (all.len(), true);
        for ((lease, item), attempted) in leases.iter_mut().zip(items).zip(all.drain(..)) {
            let Some(lease) = lease.take() else { continue };
            // That the destination is to be left alone counts once, however many were on their way.
            if goes_on || !judge(attempted.end.clone()).is_about_destination() {
                let again = Again { items: std::slice::from_ref(item), upcoming };
                goes_on &= self.conclude(lease, item, attempted, again, begun, carrier).await;
            }
        }
        (done, goes_on)
    }

    /// The end of one attempt. False when deliveries that follow have to wait.
    async fn conclude(
        &self,
        lease: Lease,
        item: &Item,
        mut attempted: Attempted,
        again: Again<'_>,
        begun: Instant,
        carrier: &mut Carrier,
    ) -> bool {
        let lane = self.lane(&item.calling);
        let sequence = item.instance.sequence;
        let mut aborts = self.count_abort(&lane, sequence, &attempted);
        if attempted.broke == Some(Association::Used) && aborts < ABORTS_UNTIL_REFUSED {
            // The peer may have closed an association that idled. But it may have been the instance, too.
            if let Some(once_more) = carrier.attempt(again.items, again.upcoming).await.pop() {
                attempted = once_more;
                aborts = self.count_abort(&lane, sequence, &attempted);
            }
        }
        let settled = self.settle(&lane, &item.instance, attempted, aborts);
        self.report(&lane, &lease, &settled, begun);
        let goes_on = self.has_lanes() || !matches!(settled.settlement.outcome, Outcome::Untried);
        let outcome = match settled.settlement.outcome {
            // Where only this lane has to wait, the others go on meanwhile.
            Outcome::Untried if self.has_lanes() => Outcome::Retry(self.pause_of(&lane)),
            other => other,
        };
        lease.finish(outcome);
        goes_on && self.lock().circuits.values().all(|c| c.health() == Health::Well || self.has_lanes())
    }

    /// What is known before trying: an instance that an illness condemned, or a lane that is paused or has to wait.
    fn before(&self, lane: &str, sequence: Sequence) -> Option<Outcome> {
        if self.has_lanes() && self.board.pauses().lane(self.name(), lane).is_some() {
            return Some(Outcome::Retry(PAUSED_LANE));
        }
        let now = self.now();
        let mut lanes = self.lock();
        let circuit = lanes.circuits.get_mut(lane)?;
        if let Some(hold) = circuit.is_condemned(sequence) {
            return Some(Outcome::Held(hold));
        }
        if !self.has_lanes() {
            return None;
        }
        match circuit.permission(now) {
            Permission::Send => None,
            Permission::Wait(pause) => Some(Outcome::Retry(pause)),
            Permission::Probe { after, .. } if after.is_some_and(|after| sequence <= after) => {
                circuit.begin_again();
                Some(Outcome::Retry(LET_OTHERS_FIRST))
            }
            Permission::Probe { .. } => None,
        }
    }

    fn pause_of(&self, lane: &str) -> Duration {
        let now = self.now();
        match self.lock().circuits.get(lane).map(|circuit| circuit.permission(now)) {
            Some(Permission::Wait(pause)) => pause,
            _ => Duration::ZERO,
        }
    }

    /// How often an association broke with this instance under way, this time included.
    fn count_abort(&self, lane: &str, sequence: Sequence, attempted: &Attempted) -> u32 {
        if attempted.broke.is_none() {
            return 0;
        }
        self.with_circuit(lane, |circuit| circuit.count_abort(sequence))
    }

    fn with_circuit<T>(&self, lane: &str, run: impl FnOnce(&mut Circuit) -> T) -> T {
        let backoff = self.destination.backoff;
        let mut lanes = self.lock();
        run(lanes.circuits.entry(lane.to_owned()).or_insert_with(|| Circuit::new(backoff)))
    }

    fn settle(&self, lane: &str, instance: &Instance, attempted: Attempted, aborts: u32) -> Settled {
        let (sequence, group) = (instance.sequence, &instance.keys.group);
        let (now, chance) = (self.now(), chance());
        let bytes = attempted.bytes;
        let end = match attempted.end {
            End::Aborted { what, .. } => End::Aborted { what, times: aborts },
            End::Unclear { what, .. } => End::Unclear { what, times: aborts },
            other => other,
        };
        // What was proposed for this instance may be to blame, and something else be accepted.
        let may_be_the_instance = matches!(end, End::NothingAccepted);
        let verdict = judge(end);
        let is_about_instance = matches!(verdict, Verdict::Delivered { .. } | Verdict::Hold(_));
        let is_tried = attempted.was_sent || is_about_instance;
        let settlement = self.with_circuit(lane, |circuit| {
            if is_tried {
                return circuit.settle(sequence, group, verdict.clone(), now, chance);
            }
            let change = circuit.unreachable(verdict.clone(), now, chance);
            if may_be_the_instance {
                circuit.try_another_than(sequence, group);
            }
            Settlement { outcome: Outcome::Untried, change }
        });
        Settled { verdict, settlement, bytes }
    }

    /// One line and one count for each attempt, and one line for each change of health.
    fn report(&self, lane: &str, lease: &Lease, settled: &Settled, begun: Instant) {
        let instance = lease.instance();
        let (destination, seconds) = (self.name(), begun.elapsed().as_secs_f64());
        let (sequence, sop_instance) = (instance.sequence, instance.keys.key.escape_debug());
        let count = |outcome| self.metrics.deliveries.with_label_values(&[destination, outcome]).inc();
        match (&settled.settlement.outcome, &settled.verdict) {
            (Outcome::Delivered(_), verdict) => {
                let detail = verdict.why();
                let is_warning = matches!(verdict, Verdict::Delivered { is_warning: true, .. });
                let bytes = settled.bytes;
                self.metrics.delivered_bytes.with_label_values(&[destination]).inc_by(bytes);
                if is_warning || lease.is_conflicting() {
                    count("warning");
                    let conflicting = lease.is_conflicting();
                    tracing::warn!(
                        destination, instance = %sequence, %sop_instance, %detail, conflicting, bytes, seconds,
                        "Delivered with a warning.",
                    );
                } else {
                    count("delivered");
                    tracing::info!(destination, instance = %sequence, %sop_instance, %detail, bytes, seconds, "Delivered.");
                }
            }
            (Outcome::Held(hold), _) => {
                count("held");
                let why = without_comment(&hold.why);
                tracing::error!(destination, instance = %sequence, %sop_instance, %why, seconds, "Held.");
            }
            (Outcome::Retry(_) | Outcome::Untried, verdict) => {
                count("retry");
                let why = verdict.why();
                tracing::warn!(destination, instance = %sequence, %sop_instance, %why, seconds, "Not delivered yet.");
            }
        }
        if let Some((health, why)) = &settled.settlement.change {
            self.health_changed(lane, *health, why);
        }
        if let Verdict::RetryAfter(_, after) = settled.verdict {
            self.board.leave_alone(destination, lane, OffsetDateTime::now_utc() + after);
        }
    }

    fn health_changed(&self, lane: &str, health: Health, why: &str) {
        let destination = self.name();
        match health {
            Health::Well => tracing::info!(destination, lane, "The destination is well again."),
            Health::Ill => tracing::warn!(destination, lane, why, "The destination is ill; it is probed."),
            Health::Paused => {
                tracing::error!(destination, lane, why, "The destination is paused; somebody has to look.");
            }
        }
        let why = if health == Health::Well { String::new() } else { why.to_owned() };
        self.board.note(destination, lane, Notice { health, why, until: None });
        self.metrics.set_health(destination, self.board.health(destination));
    }

    fn finish(&self, lease: Lease, outcome: Outcome) {
        if let Outcome::Held(hold) = &outcome {
            let instance = lease.instance();
            let sop_instance = instance.keys.key.escape_debug();
            let why = without_comment(&hold.why);
            self.metrics.deliveries.with_label_values(&[self.name(), "held"]).inc();
            tracing::error!(
                destination = self.name(), instance = %instance.sequence, %sop_instance, %why, "Held.",
            );
        }
        lease.finish(outcome);
    }

    /// Waits for something to do, and gives the association back when nothing comes for a while.
    async fn idle(&self, carrier: &mut Carrier, wakes: &mut watch::Receiver<u64>, pause: Option<Duration>) {
        let deadline = pause.map(|pause| tokio::time::Instant::now() + pause);
        let is_ill = matches!(self.turn_is_waiting(), Some(pause) if !pause.is_zero());
        if carrier.is_open() {
            let linger = if is_ill { Duration::ZERO } else { LINGER };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = wakes.changed(), if !is_ill => { if changed.is_ok() { return } }
                () = until(deadline) => return,
                () = tokio::time::sleep(linger) => {}
            }
            carrier.rest().await;
        }
        let probes = self.board.probes(self.name());
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = probes.notified() => {
                let first = self.board.take_probe(self.name());
                self.lock().circuits.values_mut().for_each(|circuit| circuit.try_now(first));
            }
            // News of more to send does not end a pause.
            _ = wakes.changed(), if !is_ill => {}
            () = until(deadline) => {}
        }
    }

    /// How long the whole destination has to wait, if it has to.
    fn turn_is_waiting(&self) -> Option<Duration> {
        if self.has_lanes() {
            return None;
        }
        let now = self.now();
        match self.lock().circuits.get("").map(|circuit| circuit.permission(now)) {
            Some(Permission::Wait(pause)) => Some(pause),
            _ => None,
        }
    }
}

/// What is tried once more where an association may have been closed before.
struct Again<'a> {
    items: &'a [Item],
    upcoming: &'a [Item],
}

/// An attempt's verdict and what follows from it.
struct Settled {
    verdict: Verdict,
    settlement: Settlement,
    /// Of the data set that was sent.
    bytes: u64,
}

/// The tunnel to a gateway. What waits for it is due as soon as it is open.
fn link(destination: &Destination, fleet: &Fleet) -> Option<Link> {
    let Fleet { metrics, board, live, remote, .. } = fleet;
    let DestinationKind::Tunnel(tunnel) = &destination.kind else { return None };
    let (name, board) = (destination.name.as_str(), board.clone());
    let owned = name.to_owned();
    let on_open = move || board.try_now(&owned);
    let endpoints = Endpoints::new(live.clone(), name);
    let settings = tunnel.clone();
    let (metrics, remote) = (metrics.clone(), remote.clone());
    Some(Link::new(name, settings, destination.backoff, metrics, endpoints, remote, on_open))
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A number in 0..1 that differs between destinations and times; it need not be unpredictable.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
