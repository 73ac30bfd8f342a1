//! What `queue list` prints.

use std::collections::BTreeSet;
use std::io::Write;

use super::admin_client::{Delivery, Listing, PAGE, Studies};
use super::source::Source;
use super::table::{Table, age, size};
use crate::admin::{Asked, Patient};
use crate::config::{Config, Destination};
use crate::tls::Security;

/// Characters of a UID that are shown where there is no room for all of it: its end tells more than its root.
const SHORT: usize = 12;

/// Senders of a study that are shown where there is no room for all of them.
const SENDERS: usize = 4;

/// How a listing is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) limit: usize,
    pub(super) wide: bool,
    pub(super) reveal: bool,
}

/// Up to `look.limit` deliveries, fetched page by page.
pub(super) fn fetch(source: &Source<'_>, asked: &Asked, look: Look) -> anyhow::Result<Listing> {
    let mut whole = Listing::default();
    loop {
        let room = look.limit - whole.deliveries.len();
        let page = source.page(asked, whole.next.as_deref(), room.min(PAGE), look.reveal)?;
        let more = page.next.filter(|next| whole.next.as_ref() != Some(next));
        whole.deliveries.extend(page.deliveries);
        whole.unread += page.unread;
        whole.next = more;
        if whole.next.is_none() || whole.deliveries.len() >= look.limit {
            whole.deliveries.truncate(look.limit);
            return Ok(whole);
        }
    }
}

pub(super) fn print(
    listing: Listing,
    look: Look,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let plain = ["INSTANCE", "STUDY", "DESTINATION", "STATE", "AGE", "SIZE", "FROM", "REASON"];
    let headings = if look.reveal { [&PATIENT[..], &plain].concat() } else { plain.to_vec() };
    let mut table = Table::new(&headings);
    let Listing { deliveries, next, unread } = listing;
    let to: BTreeSet<_> = deliveries.iter().map(|delivery| delivery.destination.clone()).collect();
    for delivery in deliveries {
        let Delivery { instance, study_instance_uid, destination, state, patient, .. } = delivery;
        let (age, size) = (age(delivery.age_seconds), size(delivery.bytes));
        let removed = (!delivery.has_data).then(|| "data removed".to_owned());
        let reason = delivery.reason.into_iter().chain(removed).collect::<Vec<_>>().join("; ");
        let study = short(&study_instance_uid, look.wide);
        let from = from(&[delivery.calling_ae], delivery.site.as_slice(), false, look.wide);
        let cells = [instance, study, destination, state.to_string(), age, size, from, reason];
        table.row(words(patient, look.reveal).into_iter().chain(cells));
    }
    table.write(out)?;
    print_unsecured(&to, config, out)?;
    print_unread(unread, out)?;
    print_more(next.is_some(), look.limit, out)
}

pub(super) fn print_studies(
    studies: &Studies,
    look: Look,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let plain = ["STUDY", "DESTINATION", "INSTANCES", "SIZE", "STATES", "OLDEST", "FROM"];
    let headings = if look.reveal { [&PATIENT[..], &plain].concat() } else { plain.to_vec() };
    let mut table = Table::new(&headings);
    for study in studies.studies.iter().cloned() {
        let states: Vec<_> = study.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let cells = [
            study.study_instance_uid,
            study.destination,
            study.instances.to_string(),
            size(study.bytes),
            states.join(", "),
            age(study.oldest_age_seconds),
            from(&study.calling_ae, &study.sites, study.more_senders, look.wide),
        ];
        table.row(words(study.patient, look.reveal).into_iter().chain(cells));
    }
    table.write(out)?;
    let to: BTreeSet<_> = studies.studies.iter().map(|study| study.destination.clone()).collect();
    print_unsecured(&to, config, out)?;
    print_unread(studies.unread, out)?;
    print_more(studies.more, look.limit, out)
}

/// Who sent it, and at which site where that is known; where there is no room for all of them, how many more there are.
fn from(titles: &[String], sites: &[String], more: bool, wide: bool) -> String {
    let few = |names: &[String]| {
        let shown = if wide { names } else { names.get(..SENDERS).unwrap_or(names) };
        let left = names.len() - shown.len();
        let untold = if left > 0 { format!(" and {left} more") } else { String::new() };
        shown.join(", ") + &untold
    };
    let at = if sites.is_empty() { String::new() } else { format!(" at {}", few(sites)) };
    let others = if more { " and others" } else { "" };
    few(titles) + &at + others
}

/// Names those of the destinations that are Unsecured: a column would say it again with each instance.
fn print_unsecured(to: &BTreeSet<String>, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let security = |name: &str| config.destination(name).and_then(Destination::security);
    let unsecured = to.iter().filter(|name| security(name) == Some(Security::Unsecured));
    let unsecured: Vec<_> = unsecured.map(String::as_str).collect();
    if !unsecured.is_empty() {
        writeln!(out, "{}: {}", Security::Unsecured.word(), unsecured.join(", "))?;
    }
    Ok(())
}

/// Says what a search by patient could not look into.
pub(super) fn print_unread(unread: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    if unread > 0 {
        writeln!(
            out,
            "{unread} instances could not be searched by patient: their data is gone or unreadable."
        )?;
    }
    Ok(())
}

fn print_more(more: bool, limit: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    if more {
        writeln!(
            out,
            "The limit of {limit} is reached; there may be more: ask with a filter or a higher --limit."
        )?;
    }
    Ok(())
}

const PATIENT: [&str; 6] = ["PATIENT ID", "NAME", "ACCESSION", "DATE", "DESCRIPTION", "MODALITY"];

fn words(patient: Option<Patient>, reveal: bool) -> Vec<String> {
    if !reveal {
        return Vec::new();
    }
    let patient = patient.unwrap_or_default();
    let Patient { patient_id, patient_name, accession_number, study_date, study_description, modality } =
        patient;
    vec![patient_id, patient_name, accession_number, study_date, study_description, modality]
}

fn short(uid: &str, wide: bool) -> String {
    let length = uid.chars().count();
    if wide || length <= SHORT + 1 {
        return uid.to_owned();
    }
    std::iter::once('…').chain(uid.chars().skip(length - SHORT)).collect()
}
