//! What people decide about a delivery. Each decision is one record, and is answered after its sync.

use super::{Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{BY_RULE, Delivery, Hold, HoldKind, Instance, State};
use crate::journal::Record;

/// A decision about one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Do not send it until it is released.
    Hold {
        /// Why.
        why: String,
    },
    /// Send it after all, and at once if it was waiting.
    Release,
    /// Never send it.
    Discard {
        /// Why.
        why: String,
    },
    /// Send it again, or for the first time, while the payload is retained: where it was delivered, discarded, superseded
    /// or never owed.
    Resend,
    /// Send it to these destinations instead. Where one of them has it, or is to have it, nothing changes there.
    Reroute {
        /// Their names.
        to: Vec<String>,
    },
}

/// Why a decision had no effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// No such instance, or it is not owed there.
    #[error("there is no such delivery")]
    NotFound,
    /// The delivery is in a state, named as [`State::name`] does, in which the decision means nothing: only what is
    /// neither owed nor held can be sent again, and only what is can be held, released, discarded or rerouted.
    #[error("the delivery is {0}: {hint}", hint = hint(.0))]
    State(&'static str),
    /// The payload has been evicted.
    #[error("the payload is gone; only the ledger knows of it")]
    PayloadGone,
    /// The queue cannot record it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What would mean something.
fn hint(state: &str) -> &'static str {
    match state {
        "owed" => "it is sent without this",
        "held" => "release it instead",
        _ => "it can only be sent again",
    }
}

impl Action {
    /// Fails where this means nothing for a delivery in such a state, none where nothing was ever owed: what the queue
    /// itself would answer, for whoever wants to know before.
    ///
    /// # Errors
    /// [`CommandError`], but never [`CommandError::Unavailable`].
    pub fn check(&self, state: Option<&State>, has_payload: bool) -> Result<(), CommandError> {
        match (self, state) {
            (Self::Resend, Some(state)) if state.is_open() => Err(CommandError::State(state.name())),
            (Self::Resend, _) if !has_payload => Err(CommandError::PayloadGone),
            (Self::Resend, _) => Ok(()),
            (_, None) => Err(CommandError::NotFound),
            (_, Some(state)) if !state.is_open() => Err(CommandError::State(state.name())),
            (Self::Reroute { to }, _) if to.is_empty() => Err(CommandError::NotFound),
            _ => Ok(()),
        }
    }
}

impl Keeper {
    /// Applies a decision. It is durable when a waiter given to [`Keeper::when_durable`] afterwards says so.
    pub(crate) fn command(
        &mut self,
        sequence: Sequence,
        destination: &str,
        action: Action,
        who: &str,
    ) -> Result<(), CommandError> {
        self.spool.poison.check_recording().map_err(Unavailable::Poisoned)?;
        let found = self.look(|keeper| {
            let delivery = keeper.view.delivery(sequence, destination)?;
            Ok(keeper.view.instance(sequence)?.map(|instance| (instance, delivery)))
        })?;
        let (instance, delivery) = found.ok_or(CommandError::NotFound)?;
        let record = self.decision(&instance, delivery, destination, action, who)?;
        self.idle.clear();
        if let Some(waiting) = self.waiting.get_mut(destination) {
            waiting.remove(&sequence);
        }
        if let Some(record) = record {
            let rerouted = match &record {
                Record::Rerouted { to, .. } => to.clone(),
                _ => Vec::new(),
            };
            self.record(instance.bucket, record);
            rerouted.iter().for_each(|name| self.notices.ready(name));
        }
        self.notices.ready(destination);
        Ok(())
    }

    /// The record that says it, or none when it is so already.
    fn decision(
        &self,
        instance: &Instance,
        delivery: Option<Delivery>,
        destination: &str,
        action: Action,
        who: &str,
    ) -> Result<Option<Record>, CommandError> {
        // Nobody decides in the name of the rules.
        let who = if who == BY_RULE { "a person named rule" } else { who };
        let (sequence, at, who) = (instance.sequence, self.spool.clock.wall_ms(), who.to_owned());
        let destination = destination.to_owned();
        let has_payload = !self.view.is_payload_gone(sequence);
        action.check(delivery.as_ref().map(|delivery| &delivery.state), has_payload)?;
        if action == Action::Resend {
            return Ok(Some(Record::Resent { sequence, destination, at, who }));
        }
        let delivery = delivery.ok_or(CommandError::NotFound)?;
        Ok(match action {
            Action::Hold { why } => {
                let hold = Hold::new(HoldKind::Operator, with_reason_before(&why, &delivery.state));
                Some(Record::Held { sequence, destination, at, hold, who })
            }
            Action::Release if delivery.state == State::Owed => None,
            Action::Release => Some(Record::Released { sequence, destination, at, who }),
            Action::Discard { why } => Some(Record::Discarded { sequence, destination, at, who, why }),
            Action::Reroute { to } => Some(Record::Rerouted { sequence, from: destination, to, at, who }),
            Action::Resend => None,
        })
    }
}

/// A person's reason, and what held it before anybody looked: a hold by hand must not hide what is wrong.
fn with_reason_before(why: &str, state: &State) -> String {
    let State::Held(before) = state else { return why.to_owned() };
    match (before.kind, before.why.find(WAS)) {
        (HoldKind::Operator, None) => why.to_owned(),
        _ if before.why == why => why.to_owned(),
        (HoldKind::Operator, Some(at)) => format!("{why}{}", before.why.get(at..).unwrap_or_default()),
        (_, _) => format!("{why}{WAS}{})", before.why),
    }
}

/// Between a person's reason and the one before it.
const WAS: &str = " (was: ";

#[cfg(test)]
mod tests {
    use super::{CommandError, with_reason_before};
    use crate::instance::{Hold, HoldKind, State};

    #[test]
    fn a_hold_by_hand_keeps_the_refusal_it_stands_for() {
        let held = |kind, why: &str| State::Held(Hold::new(kind, why));
        let first = with_reason_before("ask the PACS", &held(HoldKind::Refused, "A900 (no such study)"));
        assert_eq!(first, "ask the PACS (was: A900 (no such study))");
        let second = with_reason_before("ask the cart", &held(HoldKind::Operator, &first));
        assert_eq!(second, "ask the cart (was: A900 (no such study))");
        assert_eq!(with_reason_before("x", &held(HoldKind::Operator, "y")), "x");
        assert_eq!(with_reason_before("x", &State::Owed), "x");
        assert_eq!(with_reason_before("no route", &held(HoldKind::Rule, "no route")), "no route");
    }

    #[test]
    fn a_state_that_does_not_fit_is_named_with_what_would() {
        let told = |state| CommandError::State(state).to_string();
        assert_eq!(told("held"), "the delivery is held: release it instead");
        assert_eq!(told("owed"), "the delivery is owed: it is sent without this");
        assert_eq!(told("delivered"), "the delivery is delivered: it can only be sent again");
    }
}
