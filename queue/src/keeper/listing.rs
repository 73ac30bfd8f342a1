//! What can be asked of the queue, and what is answered.

use std::fmt;
use std::sync::Arc;

use super::{Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{Delivery, Glimpse, Instance, State};

/// Chooses among instances. It runs on the keeper's thread, once for each instance that the rest of the filter lets
/// through: it must be quick, and must not ask the queue.
pub type Select = Arc<dyn Fn(&Glimpse<'_>) -> bool + Send + Sync>;

/// Which deliveries a page shows: those that meet all of it. The default shows every one, as far as the limit lets it.
#[derive(Clone, Default)]
pub struct Filter {
    /// Only this destination.
    pub destination: Option<String>,
    /// Only this state, by its [`Standing::name`].
    pub state: Option<String>,
    /// Only instances of exactly this group.
    pub group: Option<String>,
    /// Only instances received then or later: wall clock, milliseconds since 1970.
    pub since: Option<u64>,
    /// Only instances received before: wall clock, milliseconds since 1970.
    pub until: Option<u64>,
    /// Only instances of which this is true.
    pub select: Option<Select>,
    /// Only instances after this one.
    pub after: Option<Sequence>,
    /// At most this many deliveries and the rest of the last instance's; 0 gives none.
    pub limit: usize,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, state, group, since, until, select, after, limit } = self;
        f.debug_struct("Filter")
            .field("destination", destination)
            .field("state", state)
            .field("group", group)
            .field("since", since)
            .field("until", until)
            .field("select", &select.is_some())
            .field("after", after)
            .field("limit", limit)
            .finish()
    }
}

/// A delivery's state with what only memory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Being sent now.
    Leased,
    /// To be tried again later.
    Waiting,
    /// As the journal says.
    Journalled(State),
}

impl Standing {
    /// The word used in listings: `ready`, `waiting`, `leased`, `held`, `superseded`, `delivered` or `discarded`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Journalled(State::Owed) => "ready",
            Self::Journalled(state) => state.name(),
        }
    }
}

/// One delivery in a listing.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its instance.
    pub instance: Arc<Instance>,
    /// The delivery as recorded.
    pub delivery: Delivery,
    /// Where it stands now.
    pub standing: Standing,
    /// Whether the payload is still there.
    pub has_payload: bool,
}

/// One instance with all its deliveries.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its deliveries.
    pub rows: Vec<Row>,
}

/// A page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The deliveries, in order of receipt.
    pub rows: Vec<Row>,
    /// Where to go on, as [`Filter::after`]; none at the end.
    pub next: Option<Sequence>,
}

impl Keeper {
    pub(crate) fn show(&mut self, sequence: Sequence) -> Result<Option<Shown>, Unavailable> {
        self.look(|keeper| match keeper.view.instance(sequence)? {
            None => Ok(None),
            Some(instance) => Ok(Some(keeper.shown(instance, keeper.view.deliveries(sequence)?))),
        })
    }

    pub(super) fn shown(&self, instance: Instance, deliveries: Vec<Delivery>) -> Shown {
        let instance = Arc::new(instance);
        let has_payload = !self.view.is_payload_gone(instance.sequence);
        let rows = deliveries.into_iter().map(|delivery| Row {
            instance: Arc::clone(&instance),
            standing: self.standing(instance.sequence, &delivery),
            delivery,
            has_payload,
        });
        let rows = rows.collect();
        Shown { instance, rows }
    }

    fn standing(&self, sequence: Sequence, delivery: &Delivery) -> Standing {
        if self.is_leased(&delivery.destination, sequence) {
            Standing::Leased
        } else if delivery.state == State::Owed && self.is_waiting(&delivery.destination, sequence) {
            Standing::Waiting
        } else {
            Standing::Journalled(delivery.state.clone())
        }
    }
}

impl Filter {
    /// Whether the delivery is one of those that are asked for.
    pub(super) fn shows(&self, row: &Row) -> bool {
        self.destination.as_ref().is_none_or(|name| *name == row.delivery.destination)
            && self.state.as_ref().is_none_or(|state| state == row.standing.name())
    }
}
