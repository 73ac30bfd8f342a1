//! Decisions about many deliveries at once, carried out.
//!
//! Deliveries are searched and decided about a page at a time, in the order of receipt. So memory does not grow with
//! their number, and what a decision adds to an instance is never decided about again.

use std::net::IpAddr;

use chrysalis_queue::{Action, Row, Sequence, State};

use super::filter::{Filter, FilterError};
use super::forgotten;
use super::order::{MAX_NAMED, Order, OrderError, Outcome, Verb, clean};
use super::plan::{Fate, Planner, Refusal};
use super::search::Scope;
use crate::audit::Actor;
use crate::route::Routes;

/// Deliveries that are decided about between two looks at whether anybody still waits.
const BATCH: usize = 500;
/// Longest reason, in characters.
const MAX_REASON: usize = 500;

/// A decision that makes sense.
pub(super) struct Decision<'a> {
    order: &'a Order,
    filter: Filter,
    planner: Planner<'a>,
    who: String,
}

impl<'a> Decision<'a> {
    /// Reads an order that came from `peer`.
    ///
    /// # Errors
    /// [`OrderError`] when it cannot be meant.
    pub(super) fn read(
        verb: Verb,
        order: &'a Order,
        by: &Actor,
        peer: IpAddr,
        scope: &Scope<'_>,
    ) -> Result<Self, OrderError> {
        let mut filter = match (&order.instances, &order.filter) {
            (Some(_), Some(_)) => return senseless("either instances or a filter, not both"),
            (None, None) => return senseless("decided about what? Give instances or a filter"),
            (Some(named), None) if named.len() > MAX_NAMED => return Err(OrderError::TooMany),
            (Some(_), None) => Filter::default(),
            (None, Some(asked)) => Filter::read(asked)?,
        };
        if order.filter.is_some() && filter.is_everything() && order.from.is_none() && !order.all {
            return senseless(
                "this filter lets everything pass; if that is meant, say so (--all, or \"all\": true)",
            );
        }
        if order.filter.is_some() && filter.states.is_empty() {
            filter.states = verb.states(!order.to.is_empty());
        }
        scope.check_names(&filter)?;
        order.destination.as_deref().map_or(Ok(()), |name| scope.check_destination(name))?;
        check_targets(verb, order, &mut filter, scope)?;
        let why = clean(order.reason.as_deref().unwrap_or_default(), MAX_REASON);
        if verb == Verb::Discard && why.is_empty() {
            return senseless("to discard needs a reason");
        }
        let (by_filter, routes) = (order.filter.is_some(), Routes::new(scope.config));
        let planner = Planner { verb, by_filter, to: &order.to, why, routes };
        Ok(Self { order, filter, planner, who: who(by, peer) })
    }

    /// Carries it out. What counts as changed is durable, after an error too; after that nothing more is changed.
    ///
    /// # Errors
    /// [`OrderError::Search`]
    pub(super) fn carry_out(&self, scope: &Scope<'_>, outcome: &mut Outcome) -> Result<(), OrderError> {
        match &self.order.instances {
            Some(named) => self.named(scope, named, outcome)?,
            None => self.filtered(scope, outcome)?,
        }
        // Even "nothing to change" is said of what is on the disk, and by a queue that can record.
        Ok(scope.queue.flush()?)
    }

    fn named(&self, scope: &Scope<'_>, named: &[String], outcome: &mut Outcome) -> Result<(), OrderError> {
        for some in named.chunks(BATCH) {
            scope.go_on()?;
            let mut batch = Vec::new();
            for name in some {
                let sequence: Sequence = name
                    .parse()
                    .map_err(|error| OrderError::Senseless(format!("{:?}: {error}", clean(name, 40))))?;
                let Some(shown) = scope.queue.show(sequence)? else {
                    outcome.fail(name, None, "there is no such instance".to_owned());
                    continue;
                };
                let rows: Vec<_> = shown.rows.into_iter().filter(|row| self.is_meant(row)).collect();
                if rows.is_empty() {
                    let why = match self.planner.verb {
                        Verb::Resend => "nothing of it was delivered there",
                        _ => "nothing of it is open there",
                    };
                    outcome.fail(name, self.order.destination.as_deref(), why.to_owned());
                }
                batch.extend(rows);
            }
            self.decide(scope, batch, outcome)?;
        }
        Ok(())
    }

    /// Whether a named instance's delivery is decided about.
    fn is_meant(&self, row: &Row) -> bool {
        let destination = &row.delivery.destination;
        let wanted = self.order.destination.as_ref().or(self.order.from.as_ref());
        match (wanted, self.planner.verb) {
            (Some(wanted), _) => wanted == destination,
            (None, Verb::Resend) if !self.order.to.is_empty() => true,
            (None, Verb::Resend) => matches!(row.delivery.state, State::Delivered { .. }),
            (None, _) => row.delivery.state.is_open(),
        }
    }

    fn filtered(&self, scope: &Scope<'_>, outcome: &mut Outcome) -> Result<(), OrderError> {
        let mut after = None;
        loop {
            let found = scope.page(&self.filter, after, BATCH)?;
            outcome.unread += found.unread;
            self.decide(scope, found.rows, outcome)?;
            match found.next {
                Some(next) => after = Some(next),
                None if self.planner.verb == Verb::Resend => {
                    return forgotten::count(scope, &self.filter, &self.order.to, outcome);
                }
                None => return Ok(()),
            }
        }
    }

    /// Decides about some deliveries, those of one instance next to each other.
    fn decide(&self, scope: &Scope<'_>, rows: Vec<Row>, outcome: &mut Outcome) -> Result<(), OrderError> {
        let mut groups: Vec<(Action, Vec<(Sequence, String)>)> = Vec::new();
        for (sequence, destination, fate) in self.planner.plan(scope.queue, &rows)? {
            outcome.matched += 1;
            match fate {
                Fate::PassOver(why) => outcome.pass_over(why),
                Fate::Fail(refusal) => refused(refusal, sequence, &destination, outcome),
                Fate::Change(action) => match groups.iter_mut().find(|(known, _)| *known == action) {
                    Some((_, targets)) => targets.push((sequence, destination)),
                    None => groups.push((action, vec![(sequence, destination)])),
                },
            }
        }
        for (action, targets) in groups {
            if self.order.dry_run {
                outcome.changed += targets.len() as u64;
                continue;
            }
            let results = scope.queue.decide(targets.clone(), action.clone(), &self.who)?;
            for ((sequence, destination), result) in targets.into_iter().zip(results) {
                match result {
                    Ok(()) => {
                        outcome.changed += 1;
                        self.tell(scope, &action, sequence, &destination);
                    }
                    Err(error) => refused(error.into(), sequence, &destination, outcome),
                }
            }
        }
        Ok(())
    }

    fn tell(&self, scope: &Scope<'_>, action: &Action, sequence: Sequence, destination: &str) {
        if let Some(board) = scope.board
            && *action == Action::Release
        {
            board.probe(destination, sequence);
        }
        tracing::debug!(instance = %sequence, destination, ?action, who = self.who, "An administrator decided about a delivery.");
    }
}

fn refused(refusal: Refusal, sequence: Sequence, destination: &str, outcome: &mut Outcome) {
    outcome.gone += u64::from(refusal.is_gone);
    outcome.fail(&sequence.to_string(), Some(destination), refusal.why);
}

/// Checks where something is to go, and for a reroute from where.
fn check_targets(
    verb: Verb,
    order: &Order,
    filter: &mut Filter,
    scope: &Scope<'_>,
) -> Result<(), OrderError> {
    let takes_to = matches!(verb, Verb::Reroute | Verb::Resend);
    if (!takes_to && !order.to.is_empty()) || (verb != Verb::Reroute && order.from.is_some()) {
        return Err(OrderError::Senseless(format!("to {} knows no such target", verb.name())));
    }
    for name in &order.to {
        if scope.config.destination(name).is_none() {
            let known: Vec<_> = scope.config.destinations.iter().map(|d| d.name.as_str()).collect();
            let known = known.join(", ");
            return Err(
                FilterError::Unknown { what: "configured destination", name: name.clone(), known }.into()
            );
        }
    }
    if verb != Verb::Reroute {
        return Ok(());
    }
    let Some(from) = &order.from else { return senseless("to reroute needs a destination to take from") };
    if order.to.is_empty() {
        return senseless("to reroute needs a destination to give to");
    }
    if order.to.contains(from) {
        return senseless("to reroute needs two different destinations");
    }
    if filter.destination.as_ref().or(order.destination.as_ref()).is_some_and(|name| name != from) {
        return senseless("to reroute takes from one destination: it is named twice, and differently");
    }
    scope.check_destination(from)?;
    filter.destination = Some(from.clone());
    Ok(())
}

fn senseless<T>(why: &str) -> Result<T, OrderError> {
    Err(OrderError::Senseless(why.to_owned()))
}

/// Who decides, as the journals have it: the name that was given, and where from when that is not this machine.
fn who(by: &Actor, peer: IpAddr) -> String {
    let peer = peer.to_canonical();
    if peer.is_loopback() { by.who().to_owned() } else { format!("{by} at {peer}") }
}

#[cfg(test)]
mod tests {
    use super::who;
    use crate::audit::Actor;

    #[test]
    fn who_decides_is_told_with_the_address_it_came_from() {
        let here = "127.0.0.1".parse().expect("an address");
        let there = "10.0.0.5".parse().expect("an address");
        let by = |name| Actor::new(name, "127.0.0.1:1".parse().expect("an address"));
        assert_eq!(who(&by(None), here), "admin api");
        assert_eq!(who(&by(Some("oncall")), there), "oncall at 10.0.0.5");
    }
}
