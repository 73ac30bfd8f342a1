//! Looking at the queue, a page at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{Delivery, Instance, State};
use crate::view::kv::KvError;

/// Instances looked at for one page, so that a page never keeps the keeper for long.
const LOOK: usize = 5_000;

/// Which deliveries a page shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this destination.
    pub destination: Option<String>,
    /// Only this state, by its [`Standing::name`].
    pub state: Option<String>,
    /// Only instances after this one.
    pub after: Option<Sequence>,
    /// At most this many deliveries and the rest of the last instance's.
    pub limit: usize,
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
    /// Where the next page begins; none at the end.
    pub next: Option<Sequence>,
}

impl Keeper {
    pub(crate) fn list(&mut self, filter: &Filter) -> Result<Page, Unavailable> {
        self.look(|keeper| {
            let from = filter.after.map_or(Sequence::default(), |after| Sequence::from_raw(after.raw() + 1));
            let mut instances = Vec::new();
            keeper.view.instances(from, &mut |instance| {
                instances.push(instance);
                if instances.len() == LOOK { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            let mut page = Page::default();
            let whole_look = instances.len() == LOOK;
            let mut last = None;
            for instance in instances {
                if page.rows.len() >= filter.limit {
                    page.next = last;
                    return Ok(page);
                }
                last = Some(instance.sequence);
                page.rows.extend(keeper.rows(instance)?.rows.into_iter().filter(|row| filter.shows(row)));
            }
            page.next = last.filter(|_| whole_look);
            Ok(page)
        })
    }

    pub(crate) fn show(&mut self, sequence: Sequence) -> Result<Option<Shown>, Unavailable> {
        self.look(|keeper| match keeper.view.instance(sequence)? {
            None => Ok(None),
            Some(instance) => keeper.rows(instance).map(Some),
        })
    }

    fn rows(&self, instance: Instance) -> Result<Shown, KvError> {
        let instance = Arc::new(instance);
        let has_payload = !self.view.is_payload_gone(instance.sequence);
        let deliveries = self.view.deliveries(instance.sequence)?;
        let rows = deliveries.into_iter().map(|delivery| Row {
            instance: Arc::clone(&instance),
            standing: self.standing(instance.sequence, &delivery),
            delivery,
            has_payload,
        });
        let rows = rows.collect();
        Ok(Shown { instance, rows })
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
    fn shows(&self, row: &Row) -> bool {
        self.destination.as_ref().is_none_or(|name| *name == row.delivery.destination)
            && self.state.as_ref().is_none_or(|state| state == row.standing.name())
    }
}
