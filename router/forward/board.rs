//! Who is to be woken when there is something to send, and how each destination is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrysalis_queue::{Hold, Instance, Observer, Sequence, Unavailable};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use super::circuit::Health;
use super::verdict::without_comment;
use crate::pauses::Pauses;

/// How one destination is, or one calling AE title at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it takes what it is sent.
    pub health: Health,
    /// Why not; empty when it does.
    pub why: String,
    /// Until when it asked to be left alone, if it did.
    pub until: Option<OffsetDateTime>,
}

/// The board that dispatchers and the queue share. Clones are the same board.
#[derive(Debug, Clone)]
pub struct Board {
    wakes: Arc<RwLock<HashMap<String, Arc<Wake>>>>,
    notices: Arc<Mutex<BTreeMap<(String, String), Notice>>>,
    pauses: Pauses,
}

/// How the dispatchers of one destination are woken.
#[derive(Debug, Default)]
struct Wake {
    /// Counts the times that there may have been something to send.
    ready: watch::Sender<u64>,
    /// Somebody wants a probe now, whatever the back-off says.
    probe: Arc<Notify>,
    /// With which instance, if somebody said so.
    first: Mutex<Option<Sequence>>,
}

impl Board {
    /// A board without any destination, that knows what is paused.
    pub fn new(pauses: Pauses) -> Self {
        Self { wakes: Arc::default(), notices: Arc::default(), pauses }
    }

    /// Makes a place for a destination, or keeps the one there is.
    pub fn add(&self, destination: &str) {
        let mut wakes = self.wakes.write().unwrap_or_else(PoisonError::into_inner);
        wakes.entry(destination.to_owned()).or_default();
    }

    /// Takes a destination off the board.
    pub fn remove(&self, destination: &str) {
        self.wakes.write().unwrap_or_else(PoisonError::into_inner).remove(destination);
        self.forget(destination);
    }

    /// Forgets how a destination was: it is taken to be well until it shows otherwise.
    pub fn forget(&self, destination: &str) {
        self.lock().retain(|(name, _), _| name != destination);
    }

    /// What is paused.
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// A receiver that changes whenever there may be something to send.
    pub fn wakes(&self, destination: &str) -> Option<watch::Receiver<u64>> {
        self.place(destination).map(|wake| wake.ready.subscribe())
    }

    /// Wakes the dispatchers of a destination.
    pub fn wake(&self, destination: &str) {
        if let Some(wake) = self.place(destination) {
            wake.ready.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Has an ill or paused destination probed now, with this instance first: somebody says that it is worth it.
    pub fn probe(&self, destination: &str, first: Sequence) {
        if let Some(wake) = self.place(destination) {
            wake.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(first);
            wake.probe.notify_one();
        }
    }

    /// The same without saying with which instance.
    pub fn try_now(&self, destination: &str) {
        if let Some(wake) = self.place(destination) {
            wake.probe.notify_one();
        }
    }

    /// The instance that the next probe is to begin with.
    pub fn take_probe(&self, destination: &str) -> Option<Sequence> {
        let wake = self.place(destination)?;
        wake.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What [`Board::probe`] notifies.
    pub fn probes(&self, destination: &str) -> Arc<Notify> {
        self.place(destination).map(|wake| Arc::clone(&wake.probe)).unwrap_or_default()
    }

    /// Notes how a destination is; `lane` is the calling AE title where that makes a difference, else empty.
    pub fn note(&self, destination: &str, lane: &str, notice: Notice) {
        self.lock().insert((destination.to_owned(), lane.to_owned()), notice);
    }

    /// Notes that a destination that is ill asked to be left alone until then. Its next word takes that back.
    pub fn leave_alone(&self, destination: &str, lane: &str, until: OffsetDateTime) {
        let mut notices = self.lock();
        if let Some(notice) = notices.get_mut(&(destination.to_owned(), lane.to_owned())) {
            notice.until = (notice.health != Health::Well).then_some(until);
        }
    }

    /// Everything noted so far, by destination and lane.
    pub fn notices(&self) -> BTreeMap<(String, String), Notice> {
        self.lock().clone()
    }

    /// The worst health noted for a destination.
    pub fn health(&self, destination: &str) -> Health {
        let notices = self.lock();
        let here = notices.iter().filter(|((name, _), _)| name == destination);
        let rank = |health: Health| match health {
            Health::Well => 0,
            Health::Ill => 1,
            Health::Paused => 2,
        };
        here.map(|(_, notice)| notice.health).max_by_key(|health| rank(*health)).unwrap_or(Health::Well)
    }

    /// Why a destination takes nothing now of what a calling AE title sent, if that is so: somebody paused it, or it is
    /// ill. What concerns other titles alone is not told.
    pub fn trouble(&self, destination: &str, calling_ae: &str) -> Option<String> {
        if let Some(pause) = self.pauses.destination(destination) {
            return Some(format!("destination {}", pause.words()));
        }
        let pause = self.pauses.lane(destination, calling_ae);
        let paused = pause.iter().map(|pause| format!("destination for {calling_ae} {}", pause.words()));
        let notices = self.lock();
        let concerns = |lane: &str| lane.is_empty() || lane == calling_ae;
        let ill = notices.iter().filter(|((name, lane), notice)| {
            name == destination && concerns(lane) && notice.health != Health::Well
        });
        let said = ill.map(|((_, lane), notice)| {
            let whom = if lane.is_empty() { String::new() } else { format!(" for {lane}") };
            match notice.health {
                // What concerns the association is said of the peer itself.
                Health::Paused if notice.why.starts_with("it ") => {
                    format!("destination takes nothing{whom}: {}", notice.why)
                }
                health => format!("destination {}{whom}: {}", health.name(), notice.why),
            }
        });
        let said: Vec<_> = paused.chain(said).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn place(&self, destination: &str) -> Option<Arc<Wake>> {
        self.wakes.read().unwrap_or_else(PoisonError::into_inner).get(destination).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Board {
    fn ready(&self, destination: &str) {
        self.wake(destination);
    }

    fn index_rebuilt(&self, why: &str) {
        tracing::warn!(why, "The queue's index failed and was made anew; nothing is lost by it.");
    }

    fn held(&self, instance: &Instance, destination: &str, hold: &Hold) {
        let (sequence, sop_instance) = (instance.sequence, instance.keys.key.escape_debug());
        let why = without_comment(&hold.why);
        tracing::warn!(destination, instance = %sequence, %sop_instance, %why, "Held on receipt.");
    }

    fn recording_failed(&self, why: &Unavailable) {
        tracing::error!(%why, "The queue cannot record outcomes.");
    }
}
