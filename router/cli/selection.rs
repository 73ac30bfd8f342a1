//! Which deliveries, as the queue's commands are told.

use std::time::Duration;

use clap::Args;

use super::admin_client::State;
use crate::admin::{Asked, Edge, parse_moment, write_moment};

/// Which deliveries: all of it must hold.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only for this destination; `none` is what has no route.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only in this state; several may be named with commas between them.
    #[arg(long, value_delimiter = ',')]
    pub state: Vec<State>,
    /// Only of this study.
    #[arg(long, value_name = "UID")]
    pub study: Option<String>,
    /// Only this SOP Instance UID.
    #[arg(long, value_name = "UID")]
    pub sop_instance: Option<String>,
    /// Only of this patient ID; `*` is any text, `?` one character. Read from the files themselves.
    #[arg(long, value_name = "ID")]
    pub patient_id: Option<String>,
    /// Only with this accession number; `*` is any text, `?` one character. Read from the files themselves.
    #[arg(long, value_name = "NUMBER")]
    pub accession: Option<String>,
    /// Only from this calling AE title; `*` is any text, `?` one character.
    #[arg(long, value_name = "AE")]
    pub calling_ae: Option<String>,
    /// Only what came in by this listener.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// Only what the link of this site brought; `*` is any text, `?` one character, and "" what came without a link.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Only what was received then or later: 2026-11-21, "2026-11-21 14:00", yesterday, or an age such as 2h.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<String>,
    /// Only what was received then or earlier; a day counts to its end.
    #[arg(long, value_name = "WHEN", value_parser = until)]
    pub until: Option<String>,
    /// Only what has been owed for longer than this, such as `90m` or `2d`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
}

impl Filter {
    /// The filter as the node is asked; `reason` is text that the reason of each delivery contains.
    pub(super) fn asked(&self, reason: Option<&str>) -> Asked {
        let states: Vec<_> = self.state.iter().map(ToString::to_string).collect();
        Asked {
            study: self.study.clone(),
            patient_id: self.patient_id.clone(),
            accession: self.accession.clone(),
            calling_ae: self.calling_ae.clone(),
            listener: self.listener.clone(),
            site: self.site.clone(),
            sop_instance: self.sop_instance.clone(),
            destination: self.destination.clone(),
            state: (!states.is_empty()).then(|| states.join(",")),
            reason: reason.map(str::to_owned),
            since: self.since.clone(),
            until: self.until.clone(),
            older_than: self.older_than.map(|age| humantime::format_duration(age).to_string()),
        }
    }
}

/// What is decided about: instances by id, or deliveries by filter.
#[derive(Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(WHICH))]
pub struct Selection {
    /// Instances, as `list` names them; only --destination goes with them.
    #[arg(conflicts_with_all = BY_FILTER)]
    pub instances: Vec<String>,
    /// Which deliveries.
    #[command(flatten)]
    pub filter: Filter,
    /// Every delivery that the command is meant for.
    #[arg(long)]
    pub all: bool,
}

impl Selection {
    /// The instances that are named, or the filter.
    pub(super) fn asked(&self, reason: Option<&str>) -> (Option<Vec<String>>, Option<Asked>) {
        if self.instances.is_empty() {
            (None, Some(self.filter.asked(reason)))
        } else {
            (Some(self.instances.clone()), None)
        }
    }
}

/// What a selection can be made by: one of it has to be there.
const WHICH: [&str; 14] = [
    "instances",
    "destination",
    "state",
    "study",
    "sop_instance",
    "patient_id",
    "accession",
    "calling_ae",
    "listener",
    "site",
    "since",
    "until",
    "older_than",
    "all",
];

/// The part of it that does not go with instances by id.
const BY_FILTER: [&str; 12] = [
    "state",
    "study",
    "sop_instance",
    "patient_id",
    "accession",
    "calling_ae",
    "listener",
    "site",
    "since",
    "until",
    "older_than",
    "all",
];

/// A moment is read where it is written, because the node may be in another time zone.
pub(super) fn since(text: &str) -> Result<String, crate::admin::NotAMoment> {
    parse_moment(text, Edge::Since).map(write_moment)
}

pub(super) fn until(text: &str) -> Result<String, crate::admin::NotAMoment> {
    parse_moment(text, Edge::Until).map(write_moment)
}
