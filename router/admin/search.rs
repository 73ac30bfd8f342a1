//! Looking for deliveries: first by what the queue keeps of each instance, then, where a patient is asked for, in the
//! beginnings of the data sets that are left. Blocks on the queue and on the disk; a page at a time, so that neither
//! the queue's own thread nor memory is ever taken up by a long search.

use std::sync::Arc;

use chrysalis_queue::{Queue, Row, Sequence, Unavailable};
use tokio_util::sync::CancellationToken;

use super::filter::{Filter, FilterError, check_destination, fits};
use super::headers::{Headers, Patient};
use super::view::standing;
use crate::config::Config;
use crate::forward::{Board, without_comment};

/// Deliveries that the queue is asked for at a time.
const LOOK: usize = 1000;

/// What is searched.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The queue.
    pub queue: &'a Queue,
    /// The configuration in force.
    pub config: &'a Config,
    /// How the destinations are, where the node runs.
    pub board: Option<&'a Board>,
    /// The reader of data sets.
    pub headers: &'a Headers,
    /// Whoever asked no longer waits.
    pub stop: &'a CancellationToken,
}

/// Why a search did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The queue cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Nobody waits for it any more.
    #[error("cancelled")]
    Cancelled,
    /// The filter names something that is not there.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// A part of what was found, in order of receipt.
#[derive(Default)]
pub struct Found {
    /// Deliveries; all of one instance that pass are on one page.
    pub rows: Vec<Row>,
    /// Where to go on; none at the end.
    pub next: Option<Sequence>,
    /// Instances that could not be told to be the patient's or not: their data is gone or cannot be read.
    pub unread: u64,
}

impl Scope<'_> {
    /// Fails for a filter that names a destination or a listener that is neither configured nor in the queue.
    ///
    /// # Errors
    /// [`SearchError`]
    pub fn check_names(&self, filter: &Filter) -> Result<(), SearchError> {
        if let Some(name) = &filter.destination {
            self.check_destination(name)?;
        }
        let configured = self.config.listeners.iter().map(|listener| listener.name.as_str());
        if let Some(name) = &filter.listener
            && !configured.clone().any(|known| known == name)
            && self.page(&Filter::by_listener(name), None, 1)?.rows.is_empty()
        {
            let known = configured.collect::<Vec<_>>().join(", ");
            return Err(FilterError::Unknown { what: "listener", name: name.clone(), known }.into());
        }
        Ok(())
    }

    /// Fails once whoever asked no longer waits.
    ///
    /// # Errors
    /// [`SearchError::Cancelled`]
    pub fn go_on(&self) -> Result<(), SearchError> {
        if self.stop.is_cancelled() { Err(SearchError::Cancelled) } else { Ok(()) }
    }

    /// Fails for a destination that is neither configured nor in the queue.
    ///
    /// # Errors
    /// [`SearchError`]
    pub fn check_destination(&self, name: &str) -> Result<(), SearchError> {
        let seen = self.queue.stats()?.destinations;
        let seen: Vec<_> = seen.into_iter().map(|destination| destination.name).collect();
        Ok(check_destination(name, self.config, &seen)?)
    }

    /// At most `limit` deliveries that pass, and the rest of the last one's instance.
    ///
    /// # Errors
    /// [`SearchError`]
    pub fn page(&self, filter: &Filter, after: Option<Sequence>, limit: usize) -> Result<Found, SearchError> {
        let mut found = Found::default();
        let mut after = after;
        let asked = Arc::new(filter.clone());
        loop {
            self.go_on()?;
            let wanted = LOOK.min(limit.max(1));
            let page = self.queue.list(asked.to_queue(after, wanted))?;
            for instance in page.rows.chunk_by(|a, b| a.instance.sequence == b.instance.sequence) {
                let Some(first) = instance.first() else { continue };
                self.take(filter, instance, &mut found)?;
                if found.rows.len() >= limit {
                    found.next = Some(first.instance.sequence);
                    return Ok(found);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Takes what passes of one instance's deliveries.
    fn take(&self, filter: &Filter, rows: &[Row], found: &mut Found) -> Result<(), SearchError> {
        let passes = |row: &&Row| {
            let (state, reason) = standing(row, self.config, self.board);
            // As everybody may read it: what a peer said in words is not to be guessed piece by piece.
            let reason = reason.as_deref().map(without_comment);
            filter.takes_standing(state, reason.as_deref())
        };
        let Some(first) = rows.first() else { return Ok(()) };
        let passing: Vec<_> = rows.iter().filter(passes).collect();
        if passing.is_empty() {
            return Ok(());
        }
        if filter.asks_for_patient() {
            self.go_on()?;
            match self.is_patients(filter, first) {
                Some(true) => {}
                Some(false) => return Ok(()),
                None => {
                    found.unread += 1;
                    return Ok(());
                }
            }
        }
        found.rows.extend(passing.into_iter().cloned());
        Ok(())
    }

    /// Whether an instance is of the patient that is asked for; none where its data set cannot be read.
    fn is_patients(&self, filter: &Filter, row: &Row) -> Option<bool> {
        let (headers, queue, instance) = (self.headers, self.queue, &row.instance);
        if let Some(pattern) = &filter.patient_id {
            // What is gone could be known from another instance, or not, by what was searched before: so it never is.
            let id = match headers.known_patient_id(instance) {
                _ if !row.has_payload => return None,
                Some(id) => id,
                None => headers.patient_id(queue, instance).ok()?,
            };
            if !fits(pattern, &id) {
                return Some(false);
            }
        }
        match &filter.accession {
            None => Some(true),
            Some(_) if !row.has_payload => None,
            Some(pattern) => Some(fits(pattern, &headers.accession(queue, instance).ok()?)),
        }
    }

    /// Whose an instance is; none where its data set cannot be read.
    pub fn reveal(&self, row: &Row) -> Option<Patient> {
        row.has_payload.then(|| self.headers.reveal(self.queue, &row.instance).ok()).flatten()
    }
}
