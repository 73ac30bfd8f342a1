//! A queue on a simulated disk, a driver that uses it, and an oracle that stands outside: it knows what was
//! answered, what arrived and what was decided, and asks the queue only what any user can ask.
//!
//! A broken promise is a panic; whoever runs a seed prints it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use chrysalis_queue::simulation::{Fault, HeldClock, Rng, SimDisk, Stepped};
use chrysalis_queue::{
    Action, BY_RULE, BlobError, CommitError, Filter, Hold, HoldKind, Instance, Keys, Meta, Options, Outcome,
    Owed, Recovered, Sequence, Shown, Standing, Start, State,
};

pub(crate) const RETAIN: Duration = Duration::from_secs(60);
pub(crate) const LEDGER: Duration = Duration::from_secs(600);
/// Records after which the real keeper writes its batch.
const BATCH: u64 = 64;

/// What one run did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) operations: u64,
    pub(crate) cuts: u64,
    pub(crate) restarts: u64,
    pub(crate) acknowledged: u64,
    pub(crate) delivered: u64,
    pub(crate) repeats: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.cuts += other.cuts;
        self.restarts += other.restarts;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.repeats += other.repeats;
    }
}

/// An instance that was answered with success.
#[derive(Clone)]
pub(crate) struct Promise {
    pub(crate) key: String,
    pub(crate) bytes: Arc<Vec<u8>>,
    sha256: [u8; 32],
    pub(crate) owed: BTreeSet<String>,
    /// Where a rule will not have it sent.
    pub(crate) dropped: BTreeSet<String>,
    /// Where a person sent it instead, and so no envelope tells of.
    rerouted: BTreeSet<String>,
    /// How many came before it.
    at: u64,
}

/// How a delivery ended, or was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Discarded,
    Held,
}

/// What the outside knows of one delivery.
#[derive(Debug, Default, Clone)]
struct Track {
    arrivals: u32,
    /// Known to this process, and lost if it dies.
    soft: Option<End>,
    /// Durable: a flush said so.
    firm: Option<End>,
    /// An arrival whose outcome a crash took: one more is allowed.
    may_repeat: bool,
    discard_asked: bool,
    /// Nobody decided about this one: the decision about an older one with its bytes holds for it.
    inherited: bool,
    /// A decision came while it was under way.
    decided_under_way: bool,
}

pub(crate) struct Flight {
    pub(crate) destination: String,
    pub(crate) instance: Instance,
}

/// What a run may meet beside power cuts; it decides what the oracle forgives.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lenience {
    /// Bytes on the disk were changed behind the queue's back: holds of kind *damage* are its duty.
    pub(crate) damage: bool,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) clock: HeldClock,
    pub(crate) options: Options,
    pub(crate) queue: Option<Stepped>,
    pub(crate) rng: Rng,
    pub(crate) promises: BTreeMap<Sequence, Promise>,
    /// Every content that was ever sent, by key, whether or not it was answered.
    attempted: HashMap<String, Vec<Arc<Vec<u8>>>>,
    tracks: HashMap<(Sequence, String), Track>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) tally: Tally,
    pub(crate) lenience: Lenience,
    pub(crate) recovered: Recovered,
    /// Rises when time passes or payloads go: what was known before may be forgotten.
    epoch: u64,
    discarded_in: HashMap<(Sequence, String), u64>,
    /// For every content and destination: how many had been acknowledged when it last arrived or was discarded.
    settled: HashMap<([u8; 32], String), u64>,
}

impl World {
    pub(crate) fn new(seed: u64, capacity: u64) -> Self {
        Self::with_reserve(seed, capacity, 64 << 10)
    }

    pub(crate) fn with_reserve(seed: u64, capacity: u64, reserve: u64) -> Self {
        let disk = SimDisk::new(capacity);
        let clock = HeldClock::start();
        let mut options = Options::new(std::path::Path::new("/q"));
        options.fs = Arc::new(disk.clone());
        options.clock = Arc::new(clock.clone());
        options.reserve = reserve;
        options.high_watermark = 1000;
        options.retain = RETAIN;
        options.ledger = LEDGER;
        options.index_cache = None;
        Self {
            disk,
            clock,
            options,
            queue: None,
            rng: Rng::new(seed),
            promises: BTreeMap::new(),
            attempted: HashMap::new(),
            tracks: HashMap::new(),
            flights: Vec::new(),
            tally: Tally::default(),
            lenience: Lenience::default(),
            recovered: Recovered::default(),
            epoch: 0,
            discarded_in: HashMap::new(),
            settled: HashMap::new(),
        }
    }

    /// Everything as it is now, on a disk of its own; the process is not copied.
    pub(crate) fn fork(&self, rng: Rng) -> Self {
        let disk = self.disk.fork();
        let mut options = self.options.clone();
        options.fs = Arc::new(disk.clone());
        Self {
            disk,
            clock: self.clock.clone(),
            options,
            queue: None,
            rng,
            promises: self.promises.clone(),
            attempted: self.attempted.clone(),
            tracks: self.tracks.clone(),
            flights: Vec::new(),
            tally: Tally::default(),
            lenience: self.lenience,
            recovered: self.recovered.clone(),
            epoch: self.epoch,
            discarded_in: self.discarded_in.clone(),
            settled: self.settled.clone(),
        }
    }

    /// Tells what happens, for a seed that is looked at (`CHRYSALIS_SIM_TRACE`).
    fn tell(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("CHRYSALIS_SIM_TRACE").is_some() {
            eprintln!("{:6} {}", self.disk.counts().operations, what());
        }
    }

    // --- the process and the power ---

    /// Tries to open once. False when it failed.
    pub(crate) fn try_open(&mut self) -> bool {
        assert!(self.queue.is_none());
        match Stepped::open(&self.options) {
            Ok((queue, recovered)) => {
                self.queue = Some(queue);
                self.recovered = recovered;
                self.tell(|| format!("opened {:?}", self.recovered));
                true
            }
            Err(why) => {
                self.tell(|| format!("it does not open: {why}"));
                false
            }
        }
    }

    pub(crate) fn open(&mut self) {
        assert!(self.queue.is_none());
        match Stepped::open(&self.options) {
            Ok((queue, recovered)) => {
                self.queue = Some(queue);
                self.recovered = recovered;
            }
            Err(error) => panic!("opening a healthy disk: {error}"),
        }
    }

    /// The process dies; what it had not flushed is uncertain.
    pub(crate) fn kill(&mut self) {
        self.tell(|| "the process dies".into());
        self.flights.clear();
        self.queue = None;
        self.tally.restarts += 1;
        let mut lost = 0;
        for track in self.tracks.values_mut() {
            if track.soft.take() == Some(End::Delivered) {
                track.may_repeat = true;
                lost += 1;
            }
            track.decided_under_way = false;
        }
        assert!(lost <= BATCH, "{lost} outcomes were not durable");
    }

    pub(crate) fn cut(&mut self) {
        self.kill();
        self.tell(|| "the power is cut".into());
        self.disk.power_cut(&mut self.rng);
        self.tally.cuts += 1;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.disk.is_off()
    }

    pub(crate) fn queue(&mut self) -> &mut Stepped {
        self.queue.as_mut().expect("an open queue")
    }

    // --- receiving ---

    pub(crate) fn meta(key: &str, subject: u8, owed: Vec<Owed>) -> Meta {
        Meta {
            keys: Keys {
                kind: "kind".into(),
                key: key.into(),
                group: format!("group{}", key.len() % 2),
                subject: [subject; 16],
            },
            owed,
            attachment: b"how it came".to_vec(),
        }
    }

    /// Receives; `Some` when it was acknowledged.
    pub(crate) fn receive(&mut self, key: &str, bytes: &[u8], owed: &[&str]) -> Option<Sequence> {
        let owed = owed.iter().map(|destination| Owed::send(*destination)).collect();
        self.receive_with(Self::meta(key, 1, owed), bytes)
    }

    pub(crate) fn receive_with(&mut self, meta: Meta, bytes: &[u8]) -> Option<Sequence> {
        let ballast = self.queue().ballast();
        let received = self.stage_and_commit(meta, bytes);
        assert_eq!(self.queue().ballast(), ballast, "receiving took from the ballast");
        if received.is_err() && !self.is_off() {
            self.evict(1 << 20);
        }
        received.ok()
    }

    fn stage_and_commit(&mut self, meta: Meta, bytes: &[u8]) -> Result<Sequence, CommitError> {
        let bytes = Arc::new(bytes.to_vec());
        let key = meta.keys.key.clone();
        self.attempted.entry(key.clone()).or_default().push(Arc::clone(&bytes));
        let (dropped, owed): (Vec<_>, Vec<_>) =
            meta.owed.iter().partition(|owed| matches!(owed.start, Start::Discard { .. }));
        let names =
            |owed: Vec<&Owed>| -> BTreeSet<_> { owed.iter().map(|o| o.destination.clone()).collect() };
        let (dropped, owed) = (names(dropped), names(owed));
        let mut staged = self.queue().stage(b"HEAD")?;
        for chunk in bytes.chunks(100_000) {
            staged.write(chunk)?;
        }
        let sequence = staged.commit(meta, |after| vec![b't'; after as usize % 7])?;
        assert!(!self.is_off(), "acknowledged without power");
        self.tally.acknowledged += 1;
        let len = bytes.len();
        self.tell(|| format!("acknowledged {sequence} {key} {len} bytes for {owed:?}, not for {dropped:?}"));
        for destination in &dropped {
            self.track(sequence, destination).firm = Some(End::Discarded);
        }
        for destination in &owed {
            self.inherit(sequence, &key, &bytes, destination);
        }
        let sha256 = Sha256::digest(&*bytes).into();
        let promise = Promise {
            key,
            bytes,
            sha256,
            owed,
            dropped,
            rerouted: BTreeSet::new(),
            at: self.promises.len() as u64,
        };
        let before = self.promises.insert(sequence, promise);
        assert!(before.is_none(), "the receive sequence {sequence} was given out twice");
        Ok(sequence)
    }

    /// The same bytes that are held, or were just discarded, are held when they come again.
    fn inherit(&mut self, new: Sequence, key: &str, bytes: &Arc<Vec<u8>>, destination: &str) {
        if self.may_be_damaged() {
            return; // What the older one looked like may have been undone by a journal that can be read again.
        }
        let same = self.promises.iter().rev().find(|(_, p)| p.key == key && p.bytes == *bytes);
        let Some((older, _)) = same.filter(|(_, p)| p.owed.contains(destination)) else { return };
        let at = (*older, destination.to_owned());
        let Some(track) = self.tracks.get(&at) else { return };
        if track.may_repeat {
            return; // It was held while it was under way, and arrived: a crash decided which of both is remembered.
        }
        let under_way = self.flights.iter().any(|f| f.instance.keys.key == key);
        let counts = match track.firm {
            Some(End::Held) => true,
            Some(End::Discarded) => self.discarded_in.get(&at) == Some(&self.epoch),
            _ => false,
        };
        if counts && track.soft.is_none_or(|soft| Some(soft) == track.firm) && !under_way {
            let track = self.track(new, destination);
            (track.firm, track.inherited) = (Some(End::Held), true);
        }
    }

    // --- delivering ---

    /// Leases, and checks that nothing of one key overlaps or overtakes.
    pub(crate) fn lease(&mut self, destination: &str, max: usize) -> usize {
        let Ok(leased) = self.queue().lease(destination, max) else { return 0 };
        let n = leased.len();
        for instance in leased {
            let key = instance.keys.key.clone();
            let overlaps =
                self.flights.iter().any(|f| f.destination == destination && f.instance.keys.key == key);
            assert!(!overlaps, "two deliveries of {key} to {destination} at once");
            let older: Vec<_> = self
                .promises
                .iter()
                .filter(|(s, p)| **s < instance.sequence && p.key == key && p.owed.contains(destination))
                .map(|(s, _)| *s)
                .collect();
            for older in older {
                let overtaken = self.standing(older, destination).is_some_and(|s| {
                    matches!(s, Standing::Waiting | Standing::Leased | Standing::Journalled(State::Owed))
                });
                assert!(!overtaken, "{} overtakes {older} to {destination}", instance.sequence);
            }
            self.flights.push(Flight { destination: destination.to_owned(), instance });
        }
        n
    }

    /// Sends one of those under way and ends its lease. `choose` picks the outcome of an attempt that arrived.
    pub(crate) fn attempt(&mut self, at: usize, delivers: bool, otherwise: Outcome) {
        let flight = self.flights.swap_remove(at);
        let read = self.read(&flight.instance);
        let outcome = match read {
            Err(Some(hold)) => Outcome::Held(hold),
            Err(None) => Outcome::Retry(Duration::from_secs(1)),
            Ok(()) if delivers => {
                self.arrive(&flight);
                Outcome::Delivered("0000".into())
            }
            Ok(()) => otherwise,
        };
        if let Outcome::Delivered(_) = outcome {
            self.track(flight.instance.sequence, &flight.destination).soft = Some(End::Delivered);
        }
        self.track(flight.instance.sequence, &flight.destination).decided_under_way = false;
        self.queue().finish(&flight.destination, &flight.instance, outcome);
        self.flush_when_full();
    }

    /// Opens, verifies and reads a payload. `Err(Some)` is damage to be held, `Err(None)` a disk that would not.
    fn read(&mut self, instance: &Instance) -> Result<(), Option<Hold>> {
        let blob = self.queue().open_blob(instance);
        let sound = blob.and_then(|blob| blob.verify().map(|()| blob));
        let blob = match sound {
            Ok(blob) => blob,
            Err(BlobError::Io(_)) => return Err(None),
            Err(error) => {
                let promised = self.promises.contains_key(&instance.sequence);
                assert!(
                    self.may_be_damaged() || !promised,
                    "{} cannot be read on a sound disk: {error}",
                    instance.sequence
                );
                return Err(Some(Hold::new(HoldKind::Damage, error.to_string())));
            }
        };
        let mut bytes = vec![0; blob.payload_len() as usize];
        let mut done = 0;
        while done < bytes.len() {
            match blob.read_at(&mut bytes[done..], done as u64) {
                Ok(0) => panic!("a verified payload ends early"),
                Ok(n) => done += n,
                Err(_) => return Err(None),
            }
        }
        match self.promises.get(&instance.sequence) {
            Some(promise) => assert!(*promise.bytes == bytes, "{} has other bytes", instance.sequence),
            None => {
                let known = self.attempted.get(&instance.keys.key);
                let sent = known.is_some_and(|all| all.iter().any(|one| **one == bytes));
                assert!(sent, "{} has bytes that nobody sent", instance.sequence);
            }
        }
        Ok(())
    }

    fn arrive(&mut self, flight: &Flight) {
        let (sequence, destination) = (flight.instance.sequence, flight.destination.clone());
        self.tally.delivered += 1;
        self.settle(*flight.instance.sha256(), &destination);
        self.tell(|| format!("{sequence} {} arrives at {destination}", flight.instance.keys.key));
        let may_be_damaged = self.may_be_damaged();
        let track = self.track(sequence, &destination);
        if may_be_damaged && track.inherited && track.firm == Some(End::Held) {
            track.firm = None; // The decision it came from was in a journal that would not be read.
        }
        let mut repeats = 0;
        let now = track.soft.or(track.firm);
        match now {
            Some(End::Delivered) => panic!("{sequence} was delivered to {destination} again"),
            Some(end) if !track.decided_under_way => {
                panic!("{sequence} was delivered to {destination} although it is {end:?}")
            }
            _ => {}
        }
        if track.may_repeat {
            track.may_repeat = false;
            repeats = 1;
        }
        track.arrivals += 1;
        self.tally.repeats += repeats;
    }

    fn settle(&mut self, sha256: [u8; 32], destination: &str) {
        let at = self.promises.len() as u64;
        self.settled.insert((sha256, destination.to_owned()), at);
    }

    // --- deciding ---

    pub(crate) fn decide(&mut self, sequence: Sequence, destination: &str, action: Action) -> bool {
        if let Err(why) = self.queue().decide(sequence, destination, action.clone()) {
            self.tell(|| format!("{action:?} of {sequence} to {destination}: {why}"));
            return false;
        }
        self.tell(|| format!("{action:?} of {sequence} to {destination}"));
        let under_way =
            self.flights.iter().any(|f| f.instance.sequence == sequence && f.destination == destination);
        let epoch = self.epoch;
        self.discarded_in.insert((sequence, destination.to_owned()), epoch);
        if let Some(promise) = self.promises.get_mut(&sequence) {
            promise.dropped.remove(destination);
        }
        let track = self.track(sequence, destination);
        track.decided_under_way |= under_way;
        match &action {
            Action::Hold { .. } => track.soft = Some(End::Held),
            Action::Discard { .. } | Action::Reroute { .. } => {
                track.soft = Some(End::Discarded);
                track.discard_asked = true;
                if let Some(shown) = self.shown(sequence) {
                    self.settle(*shown.instance.sha256(), destination);
                }
            }
            Action::Release | Action::Resend => {
                track.soft = None;
                track.firm = None;
                track.may_repeat = false;
            }
        }
        if let Action::Reroute { to } = &action {
            for to in to {
                let track = self.track(sequence, to);
                track.soft = None;
                track.firm = None;
                if let Some(promise) = self.promises.get_mut(&sequence) {
                    promise.dropped.remove(to);
                }
            }
        }
        if self.queue().flush().is_ok() {
            self.flushed();
            if let (Action::Reroute { to }, Some(promise)) = (action, self.promises.get_mut(&sequence)) {
                promise.rerouted.extend(to.iter().filter(|to| !promise.owed.contains(*to)).cloned());
                promise.owed.extend(to);
            }
        }
        true
    }

    pub(crate) fn flush(&mut self) -> bool {
        let ok = self.queue().flush().is_ok();
        if ok {
            self.flushed();
        }
        ok
    }

    fn flushed(&mut self) {
        self.tell(|| "flushed".into());
        for track in self.tracks.values_mut() {
            if let Some(end) = track.soft.take() {
                track.firm = Some(end);
                track.may_repeat = false;
            }
        }
    }

    fn flush_when_full(&mut self) {
        let soft = self.tracks.values().filter(|t| t.soft == Some(End::Delivered)).count() as u64;
        if soft >= BATCH / 2 {
            self.flush();
        }
    }

    /// Time passes, and what is due goes.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.tell(|| format!("{by:?} pass"));
        self.clock.advance(by);
        self.epoch += 1;
        if self.queue().maintain().is_ok() {
            self.flushed();
        }
    }

    pub(crate) fn evict(&mut self, bytes: u64) {
        self.epoch += 1;
        if self.queue().evict(bytes).is_ok() {
            self.flushed();
        }
    }

    fn track(&mut self, sequence: Sequence, destination: &str) -> &mut Track {
        self.tracks.entry((sequence, destination.to_owned())).or_default()
    }

    pub(crate) fn arrivals(&self, sequence: Sequence, destination: &str) -> u32 {
        self.tracks.get(&(sequence, destination.to_owned())).map_or(0, |t| t.arrivals)
    }

    pub(crate) fn shown(&mut self, sequence: Sequence) -> Option<Shown> {
        match self.queue().show(sequence) {
            Ok(shown) => shown,
            Err(_) if self.is_off() => None,
            Err(why) => panic!("a queue that does not answer: {why}"),
        }
    }

    pub(crate) fn standing(&mut self, sequence: Sequence, destination: &str) -> Option<Standing> {
        let shown = self.queue().show(sequence).ok()??;
        shown.rows.into_iter().find(|r| r.delivery.destination == destination).map(|r| r.standing)
    }

    pub(crate) fn state(&mut self, sequence: Sequence, destination: &str) -> &'static str {
        match self.standing(sequence, destination) {
            None => "unknown",
            Some(standing) => standing.name(),
        }
    }

    // --- the oracle ---

    /// Every promise stands: sent, or visibly to be sent, held, discarded on request, or taken over.
    pub(crate) fn audit(&mut self) {
        let read_errors = self.disk.counts().read_errors > 0;
        if read_errors && !self.recovered.corrupt.is_empty() {
            return; // It would not be read, and is listed; the next start looks again.
        }
        for (sequence, promise) in self.promises.clone() {
            for destination in &promise.owed {
                if let Err(why) = self.stands(sequence, destination, 0) {
                    let boot = self.recovered.clone();
                    panic!("{sequence} ({}) to {destination}: {why}; {boot:?}", promise.key);
                }
            }
            for destination in &promise.dropped {
                self.stays_dropped(sequence, destination);
            }
        }
    }

    /// What a rule discarded, and nobody decided otherwise, is discarded by it, or forgotten.
    fn stays_dropped(&mut self, sequence: Sequence, destination: &str) {
        assert_eq!(self.arrivals(sequence, destination), 0, "{sequence} was dropped and sent");
        let Some(shown) = self.shown(sequence) else { return };
        let row = shown.rows.into_iter().find(|row| row.delivery.destination == destination);
        match row.map(|row| row.delivery.state) {
            Some(State::Discarded { who, why }) => assert_eq!((who.as_str(), why.as_str()), (BY_RULE, DROP)),
            other => panic!("{sequence} was dropped at {destination} and is {other:?}"),
        }
    }

    fn stands(&mut self, sequence: Sequence, destination: &str, depth: u32) -> Result<(), String> {
        let track = self.tracks.get(&(sequence, destination.to_owned())).cloned().unwrap_or_default();
        let promise = self.promises.get(&sequence);
        let was_rerouted = promise.is_none_or(|p| p.rerouted.contains(destination));
        // When the journal that told of a reroute is unreadable, it is held where it came from, and a person asked.
        let excused = self.may_be_damaged() && was_rerouted;
        let ended = track.arrivals > 0 || track.discard_asked || excused;
        let Some(shown) = self.shown(sequence) else {
            return match ended || self.is_taken_over(sequence, destination) {
                true => Ok(()),
                false => Err("lost: nobody knows it".into()),
            };
        };
        let promised = self.promises.contains_key(&sequence);
        let forgiving = self.may_be_damaged() || !promised;
        let Some(row) = shown.rows.into_iter().find(|r| r.delivery.destination == destination) else {
            if excused {
                return Ok(());
            }
            return Err("lost: it is not owed there".into());
        };
        match row.delivery.state {
            State::Owed if row.has_payload => Ok(()),
            State::Held(hold) if row.has_payload => match hold.kind == HoldKind::Damage && !forgiving {
                true => Err(format!("held without reason: {}", hold.why)),
                false => Ok(()),
            },
            State::Owed | State::Held(_) => Err("its payload was evicted".into()),
            State::Delivered { .. } if track.arrivals > 0 => Ok(()),
            State::Delivered { .. } => Err("lost: it never arrived".into()),
            State::Discarded { .. } if track.discard_asked => Ok(()),
            State::Discarded { .. } => Err("lost: nobody discarded it".into()),
            State::Superseded { .. } if depth > 60 => Err("superseded in a circle".into()),
            State::Superseded { by, .. } => match self.stands(by, destination, depth + 1) {
                // The one in between may be forgotten before both its neighbours.
                Err(_) if self.is_taken_over(sequence, destination) => Ok(()),
                other => other.map_err(|e| format!("by {by}: {e}")),
            },
        }
    }

    /// Bytes were changed, or would not be read: a journal that cannot be read is as good as damaged, so holds of
    /// that kind are the queue's duty then.
    fn may_be_damaged(&self) -> bool {
        self.lenience.damage || self.disk.counts().read_errors > 0
    }

    /// Another instance with these bytes went there, or visibly waits, and the queue has forgotten this one.
    fn is_taken_over(&mut self, sequence: Sequence, destination: &str) -> bool {
        let Some(promise) = self.promises.get(&sequence) else { return false };
        let settled = self.settled.get(&(promise.sha256, destination.to_owned()));
        if settled.is_some_and(|at| *at >= promise.at) {
            return true;
        }
        let (key, sha256) = (promise.key.clone(), promise.sha256);
        let filter = Filter { destination: Some(destination.into()), limit: 10_000, ..Filter::default() };
        let page = self.queue().list(&filter).expect("a queue that answers");
        page.rows.iter().any(|row| {
            let is_twin = row.instance.keys.key == key && *row.instance.sha256() == sha256;
            is_twin && row.has_payload && row.delivery.state.is_open()
        })
    }

    /// Rows in a state, from the queue's own listing.
    pub(crate) fn rows(&mut self, state: &str) -> Vec<(Sequence, String)> {
        let filter = Filter { state: Some(state.into()), limit: 10_000, ..Filter::default() };
        let page = self.queue().list(&filter).expect("a queue that answers");
        page.rows.into_iter().map(|r| (r.instance.sequence, r.delivery.destination)).collect()
    }

    /// Sends everything that can be sent.
    pub(crate) fn drain(&mut self) {
        while !self.flights.is_empty() {
            self.attempt(0, true, Outcome::Untried);
        }
        for _ in 0..500 {
            self.clock.advance(Duration::from_secs(5));
            let mut leased = 0;
            for destination in DESTINATIONS {
                leased += self.lease(destination, 8);
                while !self.flights.is_empty() {
                    self.attempt(0, true, Outcome::Untried);
                }
            }
            if leased == 0 && self.rows("ready").is_empty() && self.rows("waiting").is_empty() {
                assert!(self.flush(), "nothing keeps a drained queue from recording");
                return;
            }
        }
        panic!("it does not drain: {:?} {:?}", self.rows("ready"), self.rows("waiting"));
    }

    /// The end of a run: a healthy restart, everything sent, everything decided, everything forgotten.
    pub(crate) fn finish(mut self) -> Tally {
        self.disk.clear_faults();
        self.disk.set_capacity(u64::MAX);
        if self.queue.is_some() {
            self.kill();
        }
        self.open();
        self.audit();
        self.drain();
        self.audit();
        for (sequence, destination) in self.rows("held") {
            assert!(self.decide(sequence, &destination, Action::Discard { why: "the end".into() }));
        }
        self.audit();
        self.forget_everything();
        self.tally
    }

    fn forget_everything(&mut self) {
        let mut corrupt = self.recovered.corrupt.clone();
        for _ in 0..3 {
            self.pass(RETAIN + Duration::from_secs(1));
            self.pass(LEDGER + Duration::from_secs(1));
            self.kill();
            self.open();
            corrupt.extend(self.recovered.corrupt.clone());
            self.audit();
        }
        self.pass(RETAIN + Duration::from_secs(1));
        self.pass(LEDGER + Duration::from_secs(1));
        let lost = corrupt.iter().filter_map(|p| p.parent()).collect::<BTreeSet<_>>();
        let bucket = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        for file in self.disk.files() {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let excused = match file.parent().expect("a parent") {
                dir if dir.ends_with("journal") => lost.iter().any(|d| d.ends_with(bucket(&name))),
                dir if dir.ends_with("q") => true,
                dir => lost.contains(dir),
            };
            assert!(excused, "{} is left for ever", file.display());
        }
    }
}

/// Why a rule discards.
pub(crate) const DROP: &str = "drop";
pub(crate) const DESTINATIONS: [&str; 3] = ["pacs", "archive", "cloud"];

/// Has the next open meet a fault, then opens until it works. The power is on afterwards.
pub(crate) fn reopen_through(world: &mut World, fault: Option<(u64, Fault)>) {
    if let Some((at, fault)) = fault {
        world.disk.fault_in(at, fault);
    }
    for attempt in 0..20 {
        if world.try_open() {
            if world.is_off() {
                world.cut();
                continue;
            }
            return;
        }
        world.tally.restarts += 1;
        if world.is_off() {
            world.cut();
        } else if attempt > 2 {
            world.disk.clear_faults();
            world.disk.set_capacity(u64::MAX);
        }
    }
    panic!("it does not open");
}
