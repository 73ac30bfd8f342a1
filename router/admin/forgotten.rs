//! What a request to send again is about and cannot have, because only the ledger still knows of it.

use std::ops::ControlFlow;

use chrysalis_queue::{Delivery, LedgerEntry, LedgerSpan, State};

use super::filter::Filter;
use super::order::{OrderError, Outcome};
use super::plan::GONE;
use super::search::Scope;

/// Counts what was delivered and is known to the ledger alone: whoever wants a study again has to hear that some of
/// it, or all, cannot be had here any more. What is to go `to` somewhere new counts once for each of these.
pub(super) fn count(
    scope: &Scope<'_>,
    filter: &Filter,
    to: &[String],
    outcome: &mut Outcome,
) -> Result<(), OrderError> {
    let mut asked = Ok(());
    let span = LedgerSpan { since: filter.since, until: filter.until.map(|until| until.saturating_add(1)) };
    let told = scope.queue.ledger(span, &mut |entry| {
        asked = count_entry(scope, filter, to, &entry, outcome);
        if asked.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if let Err(error) = told {
        tracing::warn!(%error, "The ledger cannot be read.");
    }
    asked
}

fn count_entry(
    scope: &Scope<'_>,
    filter: &Filter,
    to: &[String],
    entry: &LedgerEntry,
    outcome: &mut Outcome,
) -> Result<(), OrderError> {
    scope.go_on()?;
    let is_meant = |delivery: &&Delivery| {
        matches!(delivery.state, State::Delivered { .. })
            && filter.destination.as_ref().is_none_or(|name| *name == delivery.destination)
            && filter.takes_standing(delivery.state.name(), None)
    };
    if entry.has_payload || !filter.takes_instance(&entry.instance) {
        return Ok(());
    }
    // What the queue itself still knows has been searched.
    let forgotten = entry.deliveries.iter().filter(is_meant).map(|delivery| &delivery.destination);
    let mut forgotten: Vec<_> = forgotten.collect();
    if forgotten.is_empty() || scope.queue.show(entry.instance.sequence)?.is_some() {
        return Ok(());
    }
    if filter.asks_for_patient() {
        outcome.unread += 1;
        return Ok(());
    }
    if !to.is_empty() {
        forgotten = to.iter().collect();
    }
    for destination in forgotten {
        outcome.matched += 1;
        outcome.gone += 1;
        outcome.fail(&entry.instance.sequence.to_string(), Some(destination), GONE.to_owned());
    }
    Ok(())
}
