//! `[routing]` and `[[route]]`: the rules as they are written, as a table or as an expression.

use std::sync::Arc;

use super::file::{Item, Read, Reported, Section};
use super::meaning::{Listener, Match, OnNoRoute, RouteAction, RouteRule, Routing};
use super::read::non_empty;
use crate::route::condition::{MAX_DEPTH, MAX_TESTS};
use crate::route::expression::{self, ExpressionError};
use crate::route::{Condition, Field, Operand, never};

/// The longest name of a rule, in characters.
const MAX_NAME: usize = 64;

/// `[routing]`.
pub(super) fn routing(section: &Section<'_>) -> Read<Routing> {
    let matching =
        section.or("match", Match::All, |item| item.choice(&[("all", Match::All), ("first", Match::First)]));
    let on_no_route = section.or("on_no_route", OnNoRoute::Hold, |item| {
        item.choice(&[("hold", OnNoRoute::Hold), ("refuse", OnNoRoute::Refuse)])
    });
    Ok(Routing { matching: matching?, on_no_route: on_no_route? })
}

/// The `place`th `[[route]]`, counted from 1. Whether its destinations exist is looked at when all are known; the listeners
/// are looked at where they could be read.
pub(super) fn route(section: &Section<'_>, place: usize, listeners: Option<&[Listener]>) -> Read<RouteRule> {
    let name = section.or("name", format!("route {place}").into(), rule_name);
    let when = section.or("when", Condition::always(), |item| when(item, listeners));
    let actions = [("send", RouteAction::Send), ("hold", RouteAction::Hold), ("drop", RouteAction::Drop)];
    let action = section.or("action", RouteAction::Send, |item| item.choice(&actions));
    let to = match (action, section.get("to")) {
        (Ok(RouteAction::Drop), Some(to)) => Err(to.fail("has no meaning with action = \"drop\"")),
        (Ok(RouteAction::Send), None) => section.required("to", |_| Ok(Vec::new())),
        _ => non_empty(section, "to", Item::parse),
    };
    Ok(RouteRule { name: name?, when: when?, action: action?, to: to? })
}

fn rule_name(item: &Item<'_>) -> Read<Arc<str>> {
    let text = item.text()?.trim();
    if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(item.fail(format_args!("a name has 1 to {MAX_NAME} printable characters")));
    }
    Ok(text.into())
}

/// What a rule asks for, and whether anything can pass it.
fn when(item: &Item<'_>, listeners: Option<&[Listener]>) -> Read<Condition> {
    let condition = condition(item, listeners, 0)?;
    if condition.tests().len() > MAX_TESTS {
        return Err(item.fail(format_args!("more than {MAX_TESTS} comparisons")));
    }
    let never = listeners.and_then(|listeners| never::why_never(&condition, listeners));
    never.map_or(Ok(condition), |why| Err(item.fail(format_args!("can never match: {why}"))))
}

/// A table of comparisons, or an expression.
fn condition(item: &Item<'_>, listeners: Option<&[Listener]>, depth: usize) -> Read<Condition> {
    if depth >= MAX_DEPTH {
        return Err(item.fail(format_args!("nested deeper than {MAX_DEPTH}")));
    }
    let Some(text) = item.as_text() else {
        let section = item.open_section("a table, or an expression such as 'modality = \"US\"'")?;
        return table(&section, listeners, depth);
    };
    let report =
        |errors: Vec<ExpressionError>| errors.iter().map(|error| item.fail(error)).last().unwrap_or(Reported);
    let condition = expression::parse(text).map_err(report)?;
    let mut outcome = Ok(());
    for test in condition.tests().into_iter().filter(|test| test.field == Field::Listener) {
        if let Operand::OneOf(patterns) = &test.with {
            let texts = patterns.iter().map(|pattern| (item, pattern.as_str()));
            outcome = outcome.and(known_listeners(texts, listeners));
        }
    }
    outcome.map(|()| condition)
}

/// Every key has to hold.
fn table(section: &Section<'_>, listeners: Option<&[Listener]>, depth: usize) -> Read<Condition> {
    let mut parts = Vec::new();
    let mut outcome = Ok(());
    for (name, item) in section.entries() {
        let part = match name {
            "any" => each(&item, listeners, depth).map(Condition::any),
            "all" => each(&item, listeners, depth).map(Condition::all),
            "not" => condition(&item, listeners, depth + 1).map(Condition::negated),
            name => comparison(name, &item, listeners),
        };
        match part {
            Ok(part) => parts.push(part),
            Err(Reported) => outcome = Err(Reported),
        }
    }
    outcome.map(|()| Condition::all(parts))
}

fn each(item: &Item<'_>, listeners: Option<&[Listener]>, depth: usize) -> Read<Vec<Condition>> {
    let items = item.list()?;
    if items.is_empty() {
        return Err(item.fail("is empty"));
    }
    let parts: Vec<_> = items.iter().map(|item| condition(item, listeners, depth + 1)).collect();
    parts.into_iter().collect()
}

/// One text or a list of alternatives.
fn comparison(name: &str, item: &Item<'_>, listeners: Option<&[Listener]>) -> Read<Condition> {
    let field = Field::named(name).map_err(|error| item.fail(error))?;
    let items = if item.is_list() { item.list()? } else { vec![item.clone()] };
    if items.is_empty() {
        return Err(item.fail("is empty"));
    }
    let texts: Vec<_> = items.iter().map(Item::text_or_number).collect();
    let texts: Vec<_> = texts.into_iter().collect::<Read<_>>()?;
    let condition = Condition::one_of(field, &texts).map_err(|errors| {
        let failed = errors.iter().filter_map(|(place, error)| Some(items.get(*place)?.fail(error)));
        failed.last().unwrap_or(Reported)
    })?;
    if field == Field::Listener {
        known_listeners(items.iter().zip(texts.iter().copied()), listeners)?;
    }
    Ok(condition)
}

/// A name without wildcards is that of a listener.
fn known_listeners<'i, 't: 'i, 'n>(
    names: impl Iterator<Item = (&'i Item<'t>, &'n str)>,
    listeners: Option<&[Listener]>,
) -> Read<()> {
    let Some(listeners) = listeners else { return Ok(()) };
    let is_known =
        |name: &str| name.contains(['*', '?']) || listeners.iter().any(|l| l.name.as_str() == name);
    let mut outcome = Ok(());
    for (item, name) in names.filter(|(_, name)| !is_known(name)) {
        let known: Vec<_> = listeners.iter().map(|listener| format!("\"{}\"", listener.name)).collect();
        outcome =
            Err(item.fail(format_args!("there is no listener \"{name}\"; there are {}", known.join(", "))));
    }
    outcome
}
