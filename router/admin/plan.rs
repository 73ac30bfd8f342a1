//! What a decision does to each delivery that it is about.

use chrysalis_queue::{Action, NO_ROUTE, Queue, Row, Sequence, Standing, State, Unavailable};

use super::order::Verb;
use crate::route::{Outcome as Routed, Routes, facts_of};

/// Why what only the ledger knows is not sent again.
pub(super) const GONE: &str = "its data is no longer in the spool; only the ledger knows of it";

/// A decision, with all that it needs to say what becomes of a delivery.
pub(super) struct Planner<'a> {
    pub(super) verb: Verb,
    pub(super) to: &'a [String],
    pub(super) why: String,
    /// Today's rules, for what has no route.
    pub(super) routes: Routes,
}

impl Planner<'_> {
    /// What is to happen to each delivery. To resend somewhere else is about an instance, once for each destination.
    pub(super) fn plan(&self, queue: &Queue, rows: &[Row]) -> Result<Vec<Planned>, Unavailable> {
        let mut plan = Vec::new();
        for instance in rows.chunk_by(|a, b| a.instance.sequence == b.instance.sequence) {
            let Some(first) = instance.first() else { continue };
            let sequence = first.instance.sequence;
            if self.verb == Verb::Resend && !self.to.is_empty() {
                // The filter may have left out what stands there.
                let rows = queue.show(sequence)?.map(|shown| shown.rows).unwrap_or_default();
                for to in self.to {
                    let there = rows.iter().find(|row| row.delivery.destination == *to);
                    plan.push((sequence, to.clone(), resend(first.has_payload, there)));
                }
                continue;
            }
            for row in instance {
                plan.push((sequence, row.delivery.destination.clone(), self.action(queue, row)));
            }
        }
        Ok(plan)
    }

    fn action(&self, queue: &Queue, row: &Row) -> Result<Action, Refusal> {
        match self.verb {
            Verb::Retry | Verb::Release if row.delivery.destination == NO_ROUTE => {
                Ok(route_again(queue, &self.routes, row))
            }
            Verb::Retry | Verb::Release => Ok(Action::Release),
            Verb::Hold if self.why.is_empty() => Ok(Action::Hold { why: "held by an operator".to_owned() }),
            Verb::Hold => Ok(Action::Hold { why: self.why.clone() }),
            Verb::Discard => Ok(Action::Discard { why: self.why.clone() }),
            Verb::Reroute if row.standing == Standing::Leased => {
                Err(Refusal::because("it is being sent there at this moment; ask again when that has ended"))
            }
            Verb::Reroute => Ok(Action::Reroute { to: self.to.to_vec() }),
            Verb::Resend => resend(row.has_payload, Some(row)),
        }
    }
}

/// One delivery, and what is to happen to it.
pub(super) type Planned = (Sequence, String, Result<Action, Refusal>);

/// Why a delivery is not changed, where that is known without asking the queue.
pub(super) struct Refusal {
    pub(super) why: String,
    /// Its data is no longer in the spool.
    pub(super) is_gone: bool,
}

impl Refusal {
    fn because(why: &str) -> Self {
        Self { why: why.to_owned(), is_gone: false }
    }
}

fn resend(has_payload: bool, there: Option<&Row>) -> Result<Action, Refusal> {
    if !has_payload {
        return Err(Refusal { why: GONE.to_owned(), is_gone: true });
    }
    match there.map(|row| &row.delivery.state) {
        Some(State::Owed) => Err(Refusal::because("it is on its way there already")),
        Some(State::Held(_)) => Err(Refusal::because("it is held there; release it instead")),
        _ => Ok(Action::Resend),
    }
}

/// What is at `none` is retried by asking today's rules, with attributes read again from its file. Where they hold it
/// somewhere, it stays, and says so.
fn route_again(queue: &Queue, routes: &Routes, row: &Row) -> Action {
    let facts = match facts_of(queue, &row.instance, routes.tags()) {
        Ok(facts) => facts,
        Err(error) => return Action::Hold { why: format!("no route: {error}") },
    };
    match routes.decide(&facts.facts()).outcome {
        Routed::Owed(owed) => match owed.iter().find_map(|owed| owed.hold.clone()) {
            Some(why) => Action::Hold { why },
            None => Action::Reroute { to: owed.into_iter().map(|owed| owed.destination).collect() },
        },
        Routed::Dropped { why } => Action::Discard { why },
        Routed::Refused => Action::Hold { why: "no route".to_owned() },
    }
}
