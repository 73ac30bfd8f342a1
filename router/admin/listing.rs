//! What is listed: deliveries, or studies with what became of their instances.

use std::collections::{BTreeMap, HashMap};

use chrysalis_queue::{Row, Sequence};
use serde::Serialize;
use serde_json::{Value, json};

use super::filter::Filter;
use super::headers::Patient;
use super::search::{Scope, SearchError};
use super::view::{DeliveryView, standing};
use crate::metrics::age_seconds;
use crate::receive::Arrival;

/// Lines on a page when nothing is said, and at most.
pub(super) const PAGE: usize = 100;
/// See [`PAGE`].
pub(super) const MAX_PAGE: usize = 1000;
/// Studies in a listing by study, at most.
pub(super) const MAX_STUDIES: usize = 10_000;
/// Senders of one study that are named, and sites: a study has few, and whoever pretends to be many takes no room with that.
const MAX_SENDERS: usize = 64;

/// Whether a listing tells of patients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reveal {
    /// Only UIDs and statuses.
    Nothing,
    /// Patient and study in words, read from the data sets, and what destinations said in words.
    Patient,
}

/// A page of deliveries, as JSON.
///
/// # Errors
/// [`SearchError`]
pub(crate) fn deliveries(
    scope: &Scope<'_>,
    filter: &Filter,
    after: Option<Sequence>,
    limit: usize,
    reveal: Reveal,
) -> Result<Value, SearchError> {
    scope.check_names(filter)?;
    let found = scope.page(filter, after, limit.clamp(1, MAX_PAGE))?;
    let mut views = Vec::with_capacity(found.rows.len());
    let mut patient: Option<(Sequence, Option<Patient>)> = None;
    for row in &found.rows {
        let sequence = row.instance.sequence;
        if reveal == Reveal::Patient && patient.as_ref().is_none_or(|(known, _)| *known != sequence) {
            scope.go_on()?;
            patient = Some((sequence, scope.reveal(row)));
        }
        let whose = patient.as_ref().and_then(|(_, patient)| patient.clone());
        views.push(DeliveryView::new(row, scope.config, scope.board, reveal).revealing(whose));
    }
    let next = found.next.map(|sequence| sequence.to_string());
    Ok(json!({ "deliveries": views, "next": next, "unread": found.unread }))
}

/// A study at one destination.
#[derive(Debug, Serialize)]
struct Study {
    study_instance_uid: String,
    destination: String,
    instances: u64,
    bytes: u64,
    states: BTreeMap<&'static str, u64>,
    oldest_age_seconds: u64,
    calling_ae: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sites: Vec<String>,
    /// There are senders or sites that are not named.
    more_senders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Patient>,
}

/// Studies with their destinations, in the order in which each began to come, as JSON. At most `limit` lines: `more`
/// says whether there are others.
///
/// # Errors
/// [`SearchError`]
pub(crate) fn studies(
    scope: &Scope<'_>,
    filter: &Filter,
    limit: usize,
    reveal: Reveal,
) -> Result<Value, SearchError> {
    scope.check_names(filter)?;
    let mut gathered = Studies { limit: limit.clamp(1, MAX_STUDIES), ..Studies::default() };
    let (mut after, mut unread) = (None, 0);
    loop {
        let found = scope.page(filter, after, MAX_PAGE)?;
        unread += found.unread;
        for row in &found.rows {
            gathered.add(scope, row, reveal);
        }
        match found.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(json!({ "studies": gathered.lines, "more": gathered.more, "unread": unread }))
}

#[derive(Default)]
struct Studies {
    lines: Vec<Study>,
    places: HashMap<(String, String), usize>,
    limit: usize,
    more: bool,
}

impl Studies {
    fn add(&mut self, scope: &Scope<'_>, row: &Row, reveal: Reveal) {
        let Some(line) = self.line(scope, row, reveal) else { return };
        line.instances += 1;
        line.bytes += row.instance.payload_len();
        *line.states.entry(standing(row, scope.config, scope.board).0).or_default() += 1;
        line.oldest_age_seconds = line.oldest_age_seconds.max(age_seconds(row.instance.since).as_secs());
        let (sender, site) =
            Arrival::of(&row.instance).map(|arrival| (arrival.calling_ae, arrival.site)).unwrap_or_default();
        let all = named(&mut line.calling_ae, sender) & site.is_none_or(|site| named(&mut line.sites, site));
        line.more_senders |= !all;
    }

    fn line(&mut self, scope: &Scope<'_>, row: &Row, reveal: Reveal) -> Option<&mut Study> {
        let key = (row.instance.keys.group.clone(), row.delivery.destination.clone());
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.lines.len() >= self.limit => {
                self.more = true;
                return None;
            }
            None => {
                let (study_instance_uid, destination) = key.clone();
                self.places.insert(key, self.lines.len());
                self.lines.push(Study {
                    study_instance_uid,
                    destination,
                    instances: 0,
                    bytes: 0,
                    states: BTreeMap::new(),
                    oldest_age_seconds: 0,
                    calling_ae: Vec::new(),
                    sites: Vec::new(),
                    more_senders: false,
                    patient: None,
                });
                self.lines.len() - 1
            }
        };
        let line = self.lines.get_mut(place)?;
        if reveal == Reveal::Patient && line.patient.is_none() {
            line.patient = scope.reveal(row);
        }
        Some(line)
    }
}

/// Adds one that is not among them. False where there are too many.
fn named(names: &mut Vec<String>, name: String) -> bool {
    if names.contains(&name) {
        return true;
    }
    let has_room = names.len() < MAX_SENDERS;
    if has_room {
        names.push(name);
    }
    has_room
}
