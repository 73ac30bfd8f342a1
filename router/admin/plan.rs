//! What a decision does to each delivery that it is about. A dry run asks the same.

use chrysalis_queue::{
    Action, CommandError, HoldKind, NO_ROUTE, Queue, Row, Sequence, Standing, State, Unavailable,
};

use super::order::Verb;
use crate::route::{Outcome as Routed, Routes, facts_of};

/// Why what only the ledger knows is not sent again.
pub(super) const GONE: &str = "its data is no longer in the spool; only the ledger knows of it";

/// A decision, with all that it needs to say what becomes of a delivery.
pub(super) struct Planner<'a> {
    pub(super) verb: Verb,
    /// A filter chose, and nobody named the instance: what a person, a conflict or a rule keeps back is left alone.
    pub(super) by_filter: bool,
    pub(super) to: &'a [String],
    pub(super) why: String,
    /// Today's rules, for what has no route.
    pub(super) routes: Routes,
}

/// What becomes of a delivery.
#[derive(Debug)]
pub(super) enum Fate {
    /// This is done.
    Change(Action),
    /// It cannot be done.
    Fail(Refusal),
    /// It is left alone, for this reason.
    PassOver(String),
}

/// One delivery, and what becomes of it.
pub(super) type Planned = (Sequence, String, Fate);

/// Why a delivery is not changed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Its data is no longer in the spool.
    pub(super) is_gone: bool,
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
                    plan.push((sequence, to.clone(), self.somewhere_new(&rows, first.has_payload, to)));
                }
                continue;
            }
            for row in instance {
                plan.push((sequence, row.delivery.destination.clone(), self.fate(queue, row)));
            }
        }
        Ok(plan)
    }

    fn fate(&self, queue: &Queue, row: &Row) -> Fate {
        if self.by_filter
            && let Some(why) = left_alone(self.verb, row)
        {
            return Fate::PassOver(why.to_owned());
        }
        let action = match self.verb {
            Verb::Retry | Verb::Release => Action::Release,
            Verb::Hold if self.why.is_empty() => Action::Hold { why: "held by an operator".to_owned() },
            Verb::Hold => Action::Hold { why: self.why.clone() },
            Verb::Discard => Action::Discard { why: self.why.clone() },
            Verb::Reroute if row.standing == Standing::Leased => {
                return refuse("it is being sent there at this moment; ask again when that has ended");
            }
            Verb::Reroute => Action::Reroute { to: self.to.to_vec() },
            Verb::Resend => Action::Resend,
        };
        match checked(action, Some(&row.delivery.state), row.has_payload) {
            Fate::Change(Action::Release) if row.delivery.destination == NO_ROUTE => {
                self.route_again(queue, row)
            }
            fate => fate,
        }
    }

    /// What becomes of an instance with these deliveries where it is to go to a destination that need not know it yet.
    fn somewhere_new(&self, rows: &[Row], has_payload: bool, to: &str) -> Fate {
        let there = rows.iter().find(|row| row.delivery.destination == to).map(|row| &row.delivery.state);
        match kept_back(rows, there) {
            Some(why) if self.by_filter => Fate::PassOver(why.to_owned()),
            _ => checked(Action::Resend, there, has_payload),
        }
    }

    /// What is at `none` goes by today's rules, with attributes read again from its file. Where they hold it somewhere it
    /// stays where it is.
    fn route_again(&self, queue: &Queue, row: &Row) -> Fate {
        let facts = match facts_of(queue, &row.instance, self.routes.tags()) {
            Ok(facts) => facts,
            Err(error) => return refuse(&format!("the rules cannot be asked: {error}")),
        };
        let decision = self.routes.decide(&facts.facts());
        match decision.outcome {
            Routed::Dropped { why } => Fate::Change(Action::Discard { why }),
            Routed::Owed(owed) => match owed.iter().find(|owed| owed.hold.is_some()) {
                Some(_) if decision.rules.is_empty() => self.has_no_route(),
                Some(held) if self.verb == Verb::Release && held.destination == NO_ROUTE => {
                    self.has_no_route()
                }
                Some(held) => Fate::PassOver(held.hold.clone().unwrap_or_default()),
                None => {
                    let to = owed.into_iter().map(|owed| owed.destination).collect();
                    checked(Action::Reroute { to }, Some(&row.delivery.state), row.has_payload)
                }
            },
            Routed::Refused => self.has_no_route(),
        }
    }

    fn has_no_route(&self) -> Fate {
        refuse(match self.verb {
            Verb::Release => "there is nowhere to let it go to: add a rule and retry",
            _ => "no rule routes it",
        })
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::PayloadGone => Self { why: GONE.to_owned(), is_gone: true },
            error => Self { why: error.to_string(), is_gone: false },
        }
    }
}

fn refuse(why: &str) -> Fate {
    Fate::Fail(Refusal { why: why.to_owned(), is_gone: false })
}

/// The queue's own judgement, which it would give as well if it were asked to do it.
fn checked(action: Action, state: Option<&State>, has_payload: bool) -> Fate {
    match action.check(state, has_payload) {
        Ok(()) => Fate::Change(action),
        Err(error) => Fate::Fail(error.into()),
    }
}

/// Why a decision by filter leaves a delivery alone, if it does.
fn left_alone(verb: Verb, row: &Row) -> Option<&'static str> {
    match (verb, &row.delivery.state) {
        // What a rule holds at `none` is retried: the rules of today may send it.
        (Verb::Retry, State::Held(hold)) if hold.kind == HoldKind::Rule => {
            (row.delivery.destination != NO_ROUTE).then_some("held by a rule")
        }
        (Verb::Retry, State::Held(hold)) => decided(hold.kind),
        (Verb::Resend, State::Owed | State::Held(_)) => Some("not delivered yet"),
        // It was dropped from there by a rule, or routed from there when there was a rule.
        (Verb::Resend, State::Discarded { .. }) if row.delivery.destination == NO_ROUTE => {
            Some("without a destination")
        }
        (Verb::Resend, State::Discarded { .. }) => Some("discarded there"),
        _ => None,
    }
}

/// Why an instance is not sent somewhere new by a filter, if it is not: somebody or something keeps it back, or it goes
/// there without that.
fn kept_back(rows: &[Row], there: Option<&State>) -> Option<&'static str> {
    let states = || rows.iter().map(|row| &row.delivery.state);
    let held = states().find_map(|state| match state {
        State::Held(hold) => decided(hold.kind),
        _ => None,
    });
    if held.is_some() {
        return held;
    }
    match there {
        Some(State::Owed) => return Some("on its way there already"),
        Some(State::Held(_)) => return Some("held there"),
        Some(State::Discarded { .. }) => return Some("discarded there"),
        Some(State::Superseded { .. }) => return Some("superseded by a newer copy"),
        Some(State::Delivered { .. }) | None => {}
    }
    let was_let_go = |state: &State| state.is_open() || matches!(state, State::Delivered { .. });
    if states().any(was_let_go) {
        None
    } else if states().any(|state| matches!(state, State::Superseded { .. })) {
        Some("superseded by a newer copy")
    } else {
        Some("never let go")
    }
}

/// Who or what keeps back what is held so, where a refusal or damage does not.
fn decided(kind: HoldKind) -> Option<&'static str> {
    match kind {
        HoldKind::Operator => Some("held by a person"),
        HoldKind::Conflict => Some("conflict"),
        HoldKind::Rule => Some("held by a rule"),
        HoldKind::Refused | HoldKind::Damage => None,
    }
}
