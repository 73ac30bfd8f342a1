//! What people decide about a delivery. Each decision is one record, and is answered after its sync.

use super::{Keeper, Unavailable};
use crate::id::Sequence;
use crate::instance::{Delivery, Hold, HoldKind, Instance, State};
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
    /// Send it again, whatever was before, while the payload is retained.
    Resend,
    /// Send it to these destinations instead.
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
    /// The delivery is not in a state in which this means anything.
    #[error("the delivery is {0} already")]
    State(&'static str),
    /// The payload has been evicted.
    #[error("the payload is gone; only the ledger knows of it")]
    PayloadGone,
    /// The queue cannot record it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
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
        let (sequence, at, who) = (instance.sequence, self.spool.clock.wall_ms(), who.to_owned());
        let destination = destination.to_owned();
        if action == Action::Resend {
            if self.view.is_payload_gone(sequence) {
                return Err(CommandError::PayloadGone);
            }
            return Ok(Some(Record::Resent { sequence, destination, at, who }));
        }
        let delivery = delivery.ok_or(CommandError::NotFound)?;
        if !delivery.state.is_open() {
            return Err(CommandError::State(delivery.state.name()));
        }
        Ok(match action {
            Action::Hold { why } => {
                let hold = Hold::new(HoldKind::Operator, why);
                Some(Record::Held { sequence, destination, at, hold, who })
            }
            Action::Release if delivery.state == State::Owed => None,
            Action::Release => Some(Record::Released { sequence, destination, at, who }),
            Action::Discard { why } => Some(Record::Discarded { sequence, destination, at, who, why }),
            Action::Reroute { to } if to.is_empty() => return Err(CommandError::NotFound),
            Action::Reroute { to } => Some(Record::Rerouted { sequence, from: destination, to, at, who }),
            Action::Resend => None,
        })
    }
}
