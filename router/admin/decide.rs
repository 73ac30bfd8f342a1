//! Decisions about many deliveries at once: which, what is to happen to each, and what became of it.
//!
//! Deliveries are searched and decided about a page at a time, in the order of receipt. So memory does not grow with
//! their number, and what a decision adds to an instance is never decided about again.

use std::net::IpAddr;
use std::ops::ControlFlow;

use chrysalis_queue::{
    Action, Delivery, LedgerEntry, LedgerSpan, NO_ROUTE, Queue, Row, Sequence, State, Unavailable,
};
use serde::{Deserialize, Serialize};

use super::filter::{Asked, Filter, FilterError};
use super::search::{Scope, SearchError};
use crate::audit::Actor;
use crate::config::Config;
use crate::route::{Outcome as Routed, Routes, facts_of};

/// Instances that one request may name.
const MAX_NAMED: usize = 10_000;
/// Failures that are told one by one; the others are counted.
const MAX_FAILURES: usize = 100;
/// Deliveries that are decided about between two looks at whether anybody still waits.
const BATCH: usize = 500;
/// Longest reason, in characters.
const MAX_REASON: usize = 500;

const GONE: &str = "its data is no longer in the spool; only the ledger knows of it";

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Try again now; what has no route is routed by today's rules.
    Retry,
    /// Let go what is held.
    Release,
    /// Keep back.
    Hold,
    /// Give up for good.
    Discard,
    /// Owe it to other destinations instead.
    Reroute,
    /// Send again what was delivered.
    Resend,
}

impl Verb {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Retry, Self::Release, Self::Hold, Self::Discard, Self::Reroute, Self::Resend];

    /// The word in paths and in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Discard => "discard",
            Self::Reroute => "reroute",
            Self::Resend => "resend",
        }
    }

    /// What a filter that names no state is about: a sweep must not send again what was delivered, nor discard what is
    /// about to leave.
    fn states(self) -> Vec<&'static str> {
        match self {
            Self::Retry => vec!["held", "waiting", "ready"],
            Self::Release | Self::Discard => vec!["held"],
            Self::Hold => vec!["ready", "waiting"],
            // What is under way is refused one by one, so that nobody takes it for done.
            Self::Reroute => vec!["held", "waiting", "ready", "leased"],
            Self::Resend => vec!["delivered"],
        }
    }
}

/// A decision as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// These instances; or else [`Order::filter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<String>>,
    /// What passes this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Asked>,
    /// A filter that lets everything pass is meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of the named instances only what is owed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Why; kept with the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Reroute: from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Reroute and resend: to these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Who decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Say what would change, and change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Why nothing is decided, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// It asks for what makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// More instances are named than are taken.
    #[error("at most {MAX_NAMED} instances at a time; a filter may be about any number")]
    TooMany,
    /// The search for what is meant failed.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl From<FilterError> for OrderError {
    fn from(error: FilterError) -> Self {
        Self::Search(error.into())
    }
}

impl From<Unavailable> for OrderError {
    fn from(error: Unavailable) -> Self {
        Self::Search(error.into())
    }
}

/// What a decision came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Deliveries that it was about.
    pub matched: u64,
    /// Those that changed, durably; in a dry run, those that would.
    pub changed: u64,
    /// Some of those that did not.
    pub failed: Vec<Failure>,
    /// How many did not.
    pub failed_total: u64,
    /// Of these: whose data is no longer in the spool.
    pub gone: u64,
    /// Instances that could not be told to be the patient's or not, because their data is gone or unreadable.
    pub unread: u64,
}

/// A delivery that did not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The queue's own id of the instance.
    pub instance: String,
    /// Which of its deliveries; none where it is about the instance as a whole.
    pub destination: Option<String>,
    /// Why.
    pub error: String,
}

/// A decision that makes sense.
pub(super) struct Decision<'a> {
    verb: Verb,
    order: &'a Order,
    filter: Filter,
    who: String,
    why: String,
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
            filter.states = verb.states();
        }
        scope.check_names(&filter)?;
        order.destination.as_deref().map_or(Ok(()), |name| scope.check_destination(name))?;
        check_targets(verb, order, &mut filter, scope)?;
        let why = clean(order.reason.as_deref().unwrap_or_default(), MAX_REASON);
        if verb == Verb::Discard && why.is_empty() {
            return senseless("to discard needs a reason");
        }
        Ok(Self { verb, order, filter, who: who(by, peer), why })
    }

    /// Carries it out. What counts as changed is durable, after an error too; after that nothing more is changed.
    ///
    /// # Errors
    /// [`OrderError::Search`]
    pub(super) fn carry_out(&self, scope: &Scope<'_>, outcome: &mut Outcome) -> Result<(), OrderError> {
        match &self.order.instances {
            Some(named) => self.named(scope, named, outcome),
            None => self.filtered(scope, outcome),
        }
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
                    let why = match self.verb {
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
        match (wanted, self.verb) {
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
                None if self.verb == Verb::Resend => return self.count_forgotten(scope, outcome),
                None => return Ok(()),
            }
        }
    }

    /// Counts what was delivered and is known to the ledger alone: whoever wants a study again has to hear that some of
    /// it, or all, cannot be had here any more.
    fn count_forgotten(&self, scope: &Scope<'_>, outcome: &mut Outcome) -> Result<(), OrderError> {
        let mut asked = Ok(());
        let span = LedgerSpan {
            since: self.filter.since,
            until: self.filter.until.map(|until| until.saturating_add(1)),
        };
        let told = scope.queue.ledger(span, &mut |entry| {
            asked = self.count_entry(scope, &entry, outcome);
            if asked.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if let Err(error) = told {
            tracing::warn!(%error, "The ledger cannot be read.");
        }
        asked
    }

    fn count_entry(
        &self,
        scope: &Scope<'_>,
        entry: &LedgerEntry,
        outcome: &mut Outcome,
    ) -> Result<(), OrderError> {
        scope.go_on()?;
        let is_meant = |delivery: &&Delivery| {
            self.filter.destination.as_ref().is_none_or(|name| *name == delivery.destination)
                && self.filter.takes_standing(delivery.state.name(), None)
        };
        if entry.has_payload || !self.filter.takes_instance(&entry.instance) {
            return Ok(());
        }
        // What the queue itself still knows has been searched.
        let forgotten = entry.deliveries.iter().filter(is_meant).count();
        if forgotten == 0 || scope.queue.show(entry.instance.sequence)?.is_some() {
            return Ok(());
        }
        if self.filter.asks_for_patient() {
            outcome.unread += 1;
            return Ok(());
        }
        for delivery in entry.deliveries.iter().filter(is_meant) {
            outcome.matched += 1;
            outcome.gone += 1;
            outcome.fail(&entry.instance.sequence.to_string(), Some(&delivery.destination), GONE.to_owned());
        }
        Ok(())
    }

    /// Decides about some deliveries, those of one instance next to each other.
    fn decide(&self, scope: &Scope<'_>, rows: Vec<Row>, outcome: &mut Outcome) -> Result<(), OrderError> {
        let mut groups: Vec<(Action, Vec<(Sequence, String)>)> = Vec::new();
        for (sequence, destination, planned) in self.plan(scope, &rows)? {
            outcome.matched += 1;
            match planned {
                Err(Refusal { why, is_gone }) => {
                    outcome.gone += u64::from(is_gone);
                    outcome.fail(&sequence.to_string(), Some(&destination), why);
                }
                Ok(action) => match groups.iter_mut().find(|(known, _)| *known == action) {
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
                    Err(error) => outcome.fail(&sequence.to_string(), Some(&destination), error.to_string()),
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

    /// What is to happen to each delivery. To resend somewhere else is about an instance, once for each destination.
    fn plan(&self, scope: &Scope<'_>, rows: &[Row]) -> Result<Vec<Planned>, OrderError> {
        let mut plan = Vec::new();
        for instance in rows.chunk_by(|a, b| a.instance.sequence == b.instance.sequence) {
            let Some(first) = instance.first() else { continue };
            let sequence = first.instance.sequence;
            if self.verb == Verb::Resend && !self.order.to.is_empty() {
                // The filter may have left out what stands there.
                let rows = scope.queue.show(sequence)?.map(|shown| shown.rows).unwrap_or_default();
                for to in &self.order.to {
                    let there = rows.iter().find(|row| row.delivery.destination == *to);
                    plan.push((sequence, to.clone(), resend(first.has_payload, there)));
                }
                continue;
            }
            for row in instance {
                plan.push((sequence, row.delivery.destination.clone(), self.action(scope, row)));
            }
        }
        Ok(plan)
    }

    fn action(&self, scope: &Scope<'_>, row: &Row) -> Result<Action, Refusal> {
        match self.verb {
            Verb::Retry | Verb::Release if row.delivery.destination == NO_ROUTE => {
                Ok(route_again(scope.queue, scope.config, row))
            }
            Verb::Retry | Verb::Release => Ok(Action::Release),
            Verb::Hold if self.why.is_empty() => Ok(Action::Hold { why: "held by an operator".to_owned() }),
            Verb::Hold => Ok(Action::Hold { why: self.why.clone() }),
            Verb::Discard => Ok(Action::Discard { why: self.why.clone() }),
            Verb::Reroute if row.standing == chrysalis_queue::Standing::Leased => {
                Err(Refusal::because("it is being sent there at this moment; ask again when that has ended"))
            }
            Verb::Reroute => Ok(Action::Reroute { to: self.order.to.clone() }),
            Verb::Resend => resend(row.has_payload, Some(row)),
        }
    }
}

/// One delivery, and what is to happen to it.
type Planned = (Sequence, String, Result<Action, Refusal>);

/// Why a delivery is not changed, where that is known without asking the queue.
struct Refusal {
    why: String,
    is_gone: bool,
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
fn route_again(queue: &Queue, config: &Config, row: &Row) -> Action {
    let routes = Routes::new(config);
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

/// A text from outside, bounded and without what is not printable.
fn clean(text: &str, longest: usize) -> String {
    let text = text.trim().chars().filter(|character| !character.is_control());
    text.take(longest).collect()
}

impl Outcome {
    fn fail(&mut self, instance: &str, destination: Option<&str>, error: String) {
        self.failed_total += 1;
        if self.failed.len() < MAX_FAILURES {
            let (instance, destination) = (clean(instance, 40), destination.map(str::to_owned));
            self.failed.push(Failure { instance, destination, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_FAILURES, Outcome, clean, who};
    use crate::audit::Actor;

    #[test]
    fn who_decides_is_printable_bounded_and_told_with_the_address_it_came_from() {
        let here = "127.0.0.1".parse().expect("an address");
        let there = "10.0.0.5".parse().expect("an address");
        let by = |name| Actor::new(name, "127.0.0.1:1".parse().expect("an address"));
        assert_eq!(who(&by(None), here), "admin api");
        assert_eq!(who(&by(Some("oncall")), there), "oncall at 10.0.0.5");
        assert_eq!(clean(" \u{1b}[2J\n", 64), "[2J");
        assert_eq!(clean(&"x".repeat(1000), 64).len(), 64);
    }

    #[test]
    fn failures_are_counted_beyond_those_that_are_told() {
        let mut outcome = Outcome::default();
        for _ in 0..250 {
            outcome.fail("1-1", Some("pacs"), "no".to_owned());
        }
        assert_eq!((outcome.failed.len(), outcome.failed_total), (MAX_FAILURES, 250));
    }
}
