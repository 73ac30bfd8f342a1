//! The ledger in a form that others read: what came, and what became of it at each destination, also after the data is
//! gone. One line for an instance and a destination. UIDs, titles and hashes; and what destinations said in words, which may
//! tell of patients: it is for those with the token.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::ops::ControlFlow;

use chrysalis_queue::{Decision, Delivery, LedgerDamage, LedgerEntry, LedgerError, LedgerSpan, Queue};
use serde::{Deserialize, Serialize};

use super::csv;
use super::damage::{self, Told};
use super::filter::{FilterError, asks, check_destination, check_span, fits};
use super::moment::{self, Edge};
use super::view::reason;
use crate::config::Config;
use crate::dicom::Pattern;
use crate::receive::Arrival;

/// How the ledger is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LedgerFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Comma-separated values with a line of headings (RFC 4180).
    Csv,
}

/// Which part of the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerQuery {
    /// Received then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Received then or earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Study Instance UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    /// Calling AE title, with `*` and `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calling_ae: Option<String>,
    /// The site whose link brought it, with `*` and `?`; empty is what came without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Where it was owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How it is written.
    pub format: LedgerFormat,
}

/// Why the ledger is not asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// What is asked for cannot be meant.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The journals cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why the ledger is not told, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The journals cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Nobody takes what is written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LedgerQuery {
    /// The span that is asked for, of a destination that there is or was. Blocks on the disk where it is not configured.
    ///
    /// # Errors
    /// [`QueryError`]
    pub fn read(&self, queue: &Queue, config: &Config) -> Result<LedgerSpan, QueryError> {
        let span = self.span()?;
        let Some(name) = &self.destination else { return Ok(span) };
        if check_destination(name, config, &[]).is_ok() {
            return Ok(span);
        }
        // One that is gone from the configuration, and from the queue, may be in the ledger for long.
        let mut seen = BTreeSet::new();
        queue.ledger(LedgerSpan::default(), &mut |entry| {
            seen.extend(entry.deliveries.iter().map(|delivery| delivery.destination.clone()));
            if seen.contains(name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        check_destination(name, config, &seen.into_iter().collect::<Vec<_>>())?;
        Ok(span)
    }

    fn span(&self) -> Result<LedgerSpan, FilterError> {
        let moment = |key, text: &Option<String>, edge| {
            let read = text.as_deref().map(|text| moment::parse(text, edge)).transpose();
            read.map_err(|error| FilterError::Moment { key, error })
        };
        let since = moment("since", &self.since, Edge::Since)?;
        let until = moment("until", &self.until, Edge::Until)?;
        check_span(since, until)?;
        // The queue's span ends before this moment, a query's with it.
        let until = until.map(|until| until.saturating_add(1));
        Ok(LedgerSpan { since, until })
    }

    /// Writes the ledger, an instance at a time. Blocks on the disk and on `out`.
    ///
    /// # Errors
    /// [`TellError`]; what could not be read in places is no error: the last line tells of it.
    pub fn tell(&self, queue: &Queue, span: LedgerSpan, out: &mut dyn Write) -> Result<Told, TellError> {
        if self.format == LedgerFormat::Csv {
            csv::write_row(out, &HEADINGS.map(str::to_owned))?;
        }
        let calling_ae = self.calling_ae.as_deref().and_then(asks);
        let site = self.site.as_deref().and_then(asks);
        let from = Sender { calling_ae: calling_ae.as_ref(), site: site.as_ref() };
        let mut failed = None;
        let damage = queue.ledger(span, &mut |entry| match self.tell_one(&entry, from, out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        if damage != LedgerDamage::default() {
            tracing::error!(?damage, "The ledger was asked for and cannot be told whole.");
            damage::write(self.format, damage, out)?;
        }
        Ok(Told::of(damage))
    }

    fn tell_one(&self, entry: &LedgerEntry, from: Sender<'_>, out: &mut dyn Write) -> io::Result<()> {
        if self.study.as_ref().is_some_and(|study| *study != entry.instance.keys.group) {
            return Ok(());
        }
        if !from.takes(entry) {
            return Ok(());
        }
        let is_meant =
            |delivery: &&Delivery| self.destination.as_ref().is_none_or(|name| *name == delivery.destination);
        for delivery in entry.deliveries.iter().filter(is_meant) {
            let line = Line::new(entry, delivery);
            match self.format {
                LedgerFormat::Csv => csv::write_row(out, &line.cells())?,
                LedgerFormat::Json => {
                    serde_json::to_writer(&mut *out, &line)?;
                    out.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }
}

/// Who sent what is asked for.
#[derive(Clone, Copy)]
struct Sender<'a> {
    calling_ae: Option<&'a Pattern>,
    site: Option<&'a Pattern>,
}

impl Sender<'_> {
    fn takes(self, entry: &LedgerEntry) -> bool {
        if self.calling_ae.is_none() && self.site.is_none() {
            return true;
        }
        let (calling_ae, site) = Arrival::of(&entry.instance)
            .map(|a| (a.calling_ae, a.site.unwrap_or_default()))
            .unwrap_or_default();
        self.calling_ae.is_none_or(|pattern| fits(pattern, &calling_ae))
            && self.site.is_none_or(|pattern| fits(pattern, &site))
    }
}

/// An instance at a destination.
#[derive(Debug, Serialize)]
struct Line {
    instance: String,
    received_at: String,
    listener: String,
    peer: String,
    calling_ae: String,
    called_ae: String,
    study_instance_uid: String,
    sop_instance_uid: String,
    sop_class_uid: String,
    transfer_syntax_uid: String,
    bytes: u64,
    sha256: String,
    revision: String,
    /// The names of the rules that decided where it goes.
    rules: Vec<String>,
    destination: String,
    outcome: &'static str,
    /// What the destination said, with its status and comment; or why it is held, discarded or superseded.
    detail: String,
    outcome_at: String,
    has_data: bool,
    decisions: Vec<Decided>,
    /// The site whose link brought it; empty where none did.
    site: String,
}

/// A decision about a delivery.
#[derive(Debug, Serialize)]
struct Decided {
    at: String,
    who: String,
    what: &'static str,
    why: String,
}

/// Of the columns, in the order of [`Line::cells`].
pub(super) const HEADINGS: [&str; 21] = [
    "instance",
    "received_at",
    "listener",
    "peer",
    "calling_ae",
    "called_ae",
    "study_instance_uid",
    "sop_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
    "bytes",
    "sha256",
    "revision",
    "rules",
    "destination",
    "outcome",
    "detail",
    "outcome_at",
    "has_data",
    "decisions",
    "site",
];

impl Line {
    fn new(entry: &LedgerEntry, delivery: &Delivery) -> Self {
        let instance = &entry.instance;
        let arrival = Arrival::of(instance).ok();
        let came = |of: fn(&Arrival) -> String| arrival.as_ref().map(of).unwrap_or_default();
        let is_about = |decision: &&Decision| decision.destination == delivery.destination;
        Self {
            instance: instance.sequence.to_string(),
            received_at: moment::write(instance.received_at),
            listener: came(|arrival| arrival.listener.clone()),
            peer: came(|arrival| arrival.peer.to_string()),
            calling_ae: came(|arrival| arrival.calling_ae.clone()),
            called_ae: came(|arrival| arrival.called_ae.clone()),
            study_instance_uid: instance.keys.group.clone(),
            sop_instance_uid: instance.keys.key.clone(),
            sop_class_uid: instance.keys.kind.clone(),
            transfer_syntax_uid: came(|arrival| arrival.transfer_syntax.clone()),
            bytes: instance.payload_len(),
            sha256: instance.sha256().iter().map(|byte| format!("{byte:02x}")).collect(),
            revision: came(|arrival| arrival.revision.clone()),
            rules: arrival.as_ref().map(|arrival| arrival.rules.clone()).unwrap_or_default(),
            destination: delivery.destination.clone(),
            outcome: delivery.state.name(),
            detail: reason(&delivery.state).unwrap_or_default(),
            outcome_at: moment::write(delivery.at),
            has_data: entry.has_payload,
            decisions: entry.decisions.iter().filter(is_about).map(Decided::new).collect(),
            site: came(|arrival| arrival.site.clone().unwrap_or_default()),
        }
    }

    fn cells(&self) -> [String; 21] {
        let decisions: Vec<_> = self.decisions.iter().map(ToString::to_string).collect();
        [
            self.instance.clone(),
            self.received_at.clone(),
            self.listener.clone(),
            self.peer.clone(),
            self.calling_ae.clone(),
            self.called_ae.clone(),
            self.study_instance_uid.clone(),
            self.sop_instance_uid.clone(),
            self.sop_class_uid.clone(),
            self.transfer_syntax_uid.clone(),
            self.bytes.to_string(),
            self.sha256.clone(),
            self.revision.clone(),
            self.rules.join("; "),
            self.destination.clone(),
            self.outcome.to_owned(),
            self.detail.clone(),
            self.outcome_at.clone(),
            self.has_data.to_string(),
            decisions.join("; "),
            self.site.clone(),
        ]
    }
}

impl Decided {
    fn new(decision: &Decision) -> Self {
        let (who, why) = (decision.who.clone(), decision.why.clone());
        Self { at: moment::write(decision.at), who, what: decision.what, why }
    }
}

impl std::fmt::Display for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, who, what, why } = self;
        write!(f, "{at} {what} by {who}")?;
        if why.is_empty() { Ok(()) } else { write!(f, ": {why}") }
    }
}
