//! Searching the queue, a look at a time.
//!
//! A look goes through so many rows and no more, whatever it finds, so that the keeper gets to its other work in between;
//! [`Page::next`] says where the next one begins. Rows are compared where they lie, and only what matched is built: the
//! instances' rows where instances are asked for, the much shorter deliveries' where a destination or state alone is.

use std::ops::ControlFlow;

use super::listing::{Filter, Page, Standing};
use super::{Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{Delivery, Glimpse, Instance};
use crate::view::kv::KvError;
use crate::view::unreadable;

/// Instances' rows that one look goes through.
const LOOK: usize = 5_000;
/// Deliveries' rows that one look goes through: they are short.
const LOOK_DELIVERIES: usize = 20_000;

/// What a look found, and where it ended.
struct Looked<T> {
    found: Vec<T>,
    /// The last instance that was looked at, when there are more after it.
    next: Option<Sequence>,
}

impl<T> Default for Looked<T> {
    fn default() -> Self {
        Self { found: Vec::new(), next: None }
    }
}

impl Keeper {
    /// One look: the deliveries that the filter shows, at most about its limit.
    pub(crate) fn list(&mut self, filter: &Filter) -> Result<Page, Unavailable> {
        if filter.limit == 0 {
            return Ok(Page::default());
        }
        self.look(|keeper| {
            let from = filter.after.map_or(Sequence::default(), Sequence::following);
            let looked = match keeper.wanted_deliveries(filter, from)? {
                None => keeper.wanted_instances(filter, from)?,
                Some(Looked { found, next }) => {
                    Looked { found: keeper.instances_among(filter, &found)?, next }
                }
            };
            keeper.page(filter, looked)
        })
    }

    /// Goes through the instances themselves.
    fn wanted_instances(&self, filter: &Filter, from: Sequence) -> Result<Looked<Instance>, KvError> {
        let mut looked = Looked::default();
        let (mut rows, mut last, mut bad) = (0, None, false);
        self.view.instance_rows(from, &mut |sequence, row| {
            if rows == LOOK || looked.found.len() == filter.limit {
                looked.next = last;
                return ControlFlow::Break(());
            }
            rows += 1;
            last = Some(sequence);
            match filter.take(row) {
                Ok(instance) => looked.found.extend(instance),
                Err(_) => bad = true,
            }
            ControlFlow::Continue(())
        })?;
        if bad { Err(unreadable(())) } else { Ok(looked) }
    }

    /// Those of the instances named that the filter shows.
    fn instances_among(&self, filter: &Filter, sequences: &[Sequence]) -> Result<Vec<Instance>, KvError> {
        let (mut found, mut bad) = (Vec::new(), false);
        self.view.instance_rows_of(sequences, &mut |row| match filter.take(row) {
            Ok(instance) => found.extend(instance),
            Err(_) => bad = true,
        })?;
        if bad { Err(unreadable(())) } else { Ok(found) }
    }

    /// The instances with a delivery of the destination and state that are asked for; none where the instances
    /// themselves had better be looked through.
    fn wanted_deliveries(
        &self,
        filter: &Filter,
        from: Sequence,
    ) -> Result<Option<Looked<Sequence>>, KvError> {
        if filter.group.is_some() || filter.select.is_some() {
            return Ok(None);
        }
        match (filter.destination.as_deref(), filter.state.as_deref()) {
            (None, None) => Ok(None),
            (destination, Some("leased")) => Ok(Some(self.leased_from(destination, from, filter.limit))),
            (Some(destination), Some(state @ ("ready" | "waiting"))) => {
                self.ready_from(destination, state, from, filter.limit).map(Some)
            }
            (destination, state) => self.deliveries_from(destination, state, from, filter.limit).map(Some),
        }
    }

    fn leased_from(&self, destination: Option<&str>, from: Sequence, limit: usize) -> Looked<Sequence> {
        let to = self.leased.iter().filter(|(name, _)| destination.is_none_or(|wanted| wanted == *name));
        let mut found: Vec<_> = to.flat_map(|(_, leased)| leased.keys().copied()).collect();
        found.retain(|sequence| *sequence >= from);
        found.sort_unstable();
        found.dedup();
        let next = (found.len() > limit).then(|| found.get(limit - 1).copied()).flatten();
        found.truncate(limit);
        Looked { found, next }
    }

    /// What is owed to a destination has rows of its own.
    fn ready_from(
        &self,
        destination: &str,
        state: &str,
        from: Sequence,
        limit: usize,
    ) -> Result<Looked<Sequence>, KvError> {
        let mut looked = Looked::default();
        let (mut rows, mut last) = (0, None);
        self.view.ready(destination, from, &mut |sequence, _| {
            if rows == LOOK_DELIVERIES || looked.found.len() == limit {
                looked.next = last;
                return ControlFlow::Break(());
            }
            rows += 1;
            last = Some(sequence);
            if self.standing_name(destination, sequence, "owed") == state {
                looked.found.push(sequence);
            }
            ControlFlow::Continue(())
        })?;
        Ok(looked)
    }

    fn deliveries_from(
        &self,
        destination: Option<&str>,
        state: Option<&str>,
        from: Sequence,
        limit: usize,
    ) -> Result<Looked<Sequence>, KvError> {
        let mut looked = Looked::default();
        let (mut rows, mut last, mut bad) = (0, None, false);
        self.view.delivery_rows(from, &mut |sequence, name, row| {
            // A look ends between two instances.
            if last != Some(sequence) && (rows >= LOOK_DELIVERIES || looked.found.len() == limit) {
                looked.next = last;
                return ControlFlow::Break(());
            }
            rows += 1;
            last = Some(sequence);
            if destination.is_some_and(|wanted| wanted != name) || looked.found.last() == Some(&sequence) {
                return ControlFlow::Continue(());
            }
            match Delivery::state_name(row) {
                Ok(journalled) => {
                    let is_wanted =
                        state.is_none_or(|state| state == self.standing_name(name, sequence, journalled));
                    looked.found.extend(is_wanted.then_some(sequence));
                }
                Err(_) => bad = true,
            }
            ControlFlow::Continue(())
        })?;
        if bad { Err(unreadable(())) } else { Ok(looked) }
    }

    /// [`Standing::name`] of a delivery of which the journal's word is known.
    fn standing_name(&self, destination: &str, sequence: Sequence, journalled: &'static str) -> &'static str {
        match journalled {
            _ if self.is_leased(destination, sequence) => Standing::Leased.name(),
            "owed" if self.is_waiting(destination, sequence) => Standing::Waiting.name(),
            "owed" => "ready",
            other => other,
        }
    }

    /// The rows to show of the instances found.
    fn page(&self, filter: &Filter, looked: Looked<Instance>) -> Result<Page, KvError> {
        let sequences: Vec<_> = looked.found.iter().map(|instance| instance.sequence).collect();
        let mut deliveries = self.view.deliveries_of_all(&sequences)?;
        let mut page = Page { next: looked.next, ..Page::default() };
        let mut last = None;
        for instance in looked.found {
            if page.rows.len() >= filter.limit {
                page.next = last;
                break;
            }
            let sequence = instance.sequence;
            last = Some(sequence);
            let shown = self.shown(instance, deliveries.remove(&sequence).unwrap_or_default());
            page.rows.extend(shown.rows.into_iter().filter(|row| filter.shows(row)));
        }
        Ok(page)
    }
}

impl Filter {
    /// The instance in a row, if it is one of those that are asked for. What costs nothing is compared first.
    fn take(&self, row: &[u8]) -> Result<Option<Instance>, crate::wire::Malformed> {
        let glimpse = Glimpse::decode(row)?;
        let is_wanted = self.group.as_ref().is_none_or(|group| group == glimpse.group)
            && self.since.is_none_or(|since| glimpse.received_at >= since)
            && self.until.is_none_or(|until| glimpse.received_at < until)
            && self.select.as_ref().is_none_or(|select| select(&glimpse));
        is_wanted.then(|| Instance::decode(&mut crate::wire::Decoder(row))).transpose()
    }
}
