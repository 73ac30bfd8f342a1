//! What a gateway may set in a link's configuration, and how that is laid over the link's own file. Pure.
//!
//! ```text
//! own file ──► tree ──┐
//! from afar ──► tree ─┴─ judged, laid over ──► overrides ──► the same reader and the same checks
//! ```
//!
//! What is not in [`AFAR`] cannot be set, whatever else the file has.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Problems};
use super::file::{Read, Reported, Source, shown};
use super::keys::{self, KEYS};
use super::load::on_deep_stack;
use super::overrides::moved;

/// Every key that can be set from afar, by section. Nothing that names a file, that is a secret or says where one is, that belongs to
/// `[node]`, or that says who is believed to be whom; of a tunnel nothing but how what goes there is compressed.
pub const AFAR: &[(&str, &[&str])] = &[
    (
        "listener",
        &[
            "name",
            "address",
            "called_ae",
            "calling_ae",
            "allow",
            "max_associations",
            "max_per_address",
            "per_network",
            "max_pdu",
            "max_data_set",
            "malformed",
            "sop_class_mismatch",
            "sop_classes",
            "transfer_syntaxes",
            "timeouts",
        ],
    ),
    ("listener.timeouts", &["request", "idle"]),
    ("listener.per_network", &["network", "max"]),
    (
        "destination",
        &[
            "name",
            "kind",
            "address",
            "called_ae",
            "calling_ae",
            "timeouts",
            "max_associations",
            "one_study_per_association",
            "max_pdu",
            "tls",
            "study_quiet",
            "image",
            "loop",
            "image_quality",
            "loop_quality",
            "monochrome",
            "lossy_source",
            "lossy_uid",
            "backoff",
        ],
    ),
    ("destination.timeouts", &["connect", "acse", "dimse"]),
    ("destination.tls", &["verify", "server_name"]),
    ("destination.backoff", &["first", "max"]),
    ("route", &["name", "when", "action", "to"]),
];

/// Of these, what can be set of a tunnel that the link's own file has: how what goes there is compressed.
const OF_TUNNELS: &[&str] =
    &["name", "image", "loop", "image_quality", "loop_quality", "monochrome", "lossy_source", "lossy_uid"];

/// The most that is taken from afar, in bytes.
pub const MAX_AFAR_BYTES: usize = 64 << 10;

/// The lists of tables that it can have.
const LISTS: [&str; 3] = ["listener", "destination", "route"];

/// What is laid over a link's own file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What the gateway calls it.
    pub revision: String,
    /// TOML.
    pub text: String,
}

/// Judges a text as far as that goes without the file that it will lie over: whether it is TOML, and sets nothing that it may not.
///
/// # Errors
/// Everything that is wrong with it, with line and key; `name` is what the text is called.
pub fn judge_afar(text: &str, name: &str) -> Result<(), ConfigError> {
    on_deep_stack(name, || {
        let source = Source::new("", Some(text), &[]);
        let read = read(&source, 0, text);
        let problems = source.problems();
        match read {
            Ok(_) if problems.is_empty() => Ok(()),
            _ => Err(Problems { file: name.to_owned(), problems }.into()),
        }
    })?
}

/// Lays what came from afar over the tree of the link's own file. What may not be set is a mistake.
pub(super) fn lay_over<'t>(source: &Source<'t>, tree: &mut DeTable<'t>) -> Read<()> {
    let Some((start, text)) = source.afar() else { return Ok(()) };
    let mut outcome = Ok(());
    for (key, list) in read(source, start, text)? {
        let DeValue::Array(tables) = list.into_inner() else { continue };
        let tables = tables.into_iter().filter_map(|item| match (item.span(), item.into_inner()) {
            (span, DeValue::Table(table)) => Some((span, table)),
            _ => None,
        });
        for (span, table) in tables {
            outcome = outcome.and(place(source, tree, &key, span, table));
        }
    }
    outcome
}

/// What came from afar, if all of it may be set.
fn read<'t>(source: &Source<'t>, start: usize, text: &'t str) -> Read<DeTable<'t>> {
    if text.len() > MAX_AFAR_BYTES {
        return Err(source.problem(start..start, "", format_args!("is larger than {MAX_AFAR_BYTES} bytes")));
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    let at = |span: Range<usize>| span.start + start..span.end + start;
    for error in &errors {
        source.problem(at(error.span().unwrap_or_default()), "", error.message());
    }
    if !errors.is_empty() {
        return Err(Reported);
    }
    let span = tree.span();
    let tree = moved(Spanned::new(span, DeValue::Table(tree.into_inner())), &at);
    let DeValue::Table(tree) = tree.into_inner() else { return Err(Reported) };
    judge(source, &tree).map(|()| tree)
}

fn judge(source: &Source<'_>, tree: &DeTable<'_>) -> Read<()> {
    let mut outcome = Ok(());
    for (key, value) in tree {
        let name = key.get_ref().as_ref();
        if !LISTS.contains(&name) {
            let message = if keys::top_level().contains(&name) { FORBIDDEN } else { UNKNOWN };
            outcome = Err(source.problem(key.span(), shown(name), message));
            continue;
        }
        let DeValue::Array(items) = value.get_ref() else {
            outcome = Err(source.problem(value.span(), name, format_args!("write [[{name}]]")));
            continue;
        };
        let mut earlier = Vec::new();
        for item in items.iter() {
            let judged = match item.get_ref() {
                DeValue::Table(table) => judge_table(source, name, table)
                    .and(judge_values(source, name, table))
                    .and(judge_name(source, name, item.span(), table, &mut earlier)),
                _ => Err(source.problem(item.span(), name, "expected a table")),
            };
            outcome = outcome.and(judged);
        }
    }
    outcome
}

const FORBIDDEN: &str = "may not be set from afar";
const UNKNOWN: &str = "unknown key; from afar there are [[listener]], [[destination]] and [[route]]";

/// Every key of a table, and of the tables in it, may be set.
fn judge_table(source: &Source<'_>, section: &str, table: &DeTable<'_>) -> Read<()> {
    let mut outcome = Ok(());
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let dotted = format!("{section}.{}", shown(name));
        if !allowed(section).contains(&name) {
            let is_known = KEYS.iter().any(|key| key.section == section && key.name == name);
            let message = if is_known {
                FORBIDDEN.to_owned()
            } else {
                format!("unknown key; from afar may be set: {}", allowed(section).join(", "))
            };
            outcome = Err(source.problem(key.span(), dotted, message));
            continue;
        }
        // What has no keys of its own is the reader's to judge: a text, a number, or a condition.
        if allowed(&dotted).is_empty() {
            continue;
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => judge_table(source, &dotted, inner),
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                // Every one is judged before a failure is looked for.
                let judged: Vec<_> = tables.map(|inner| judge_table(source, &dotted, inner)).collect();
                judged.into_iter().collect()
            }
            _ => Ok(()),
        };
        outcome = outcome.and(inner);
    }
    outcome
}

/// Values that only the file itself may have.
fn judge_values(source: &Source<'_>, list: &str, table: &DeTable<'_>) -> Read<()> {
    if list != "destination" {
        return Ok(());
    }
    let tls = table.get("tls").and_then(|tls| tls.get_ref().as_table());
    let only = |key: &str, value: Option<&Spanned<DeValue<'_>>>, allowed: &str| match value {
        Some(value) if value.get_ref().as_str() != Some(allowed) => {
            let message = format_args!("only \"{allowed}\" may be set from afar");
            Err(source.problem(value.span(), key, message))
        }
        _ => Ok(()),
    };
    only("destination.kind", table.get("kind"), "dicom").and(only(
        "destination.tls.verify",
        tls.and_then(|tls| tls.get("verify")),
        "ca",
    ))
}

/// Whatever is laid over something is known by its name.
fn judge_name<'a>(
    source: &Source<'_>,
    list: &str,
    span: Range<usize>,
    table: &'a DeTable<'_>,
    earlier: &mut Vec<&'a str>,
) -> Read<()> {
    let key = format!("{list}.name");
    match name_of(table) {
        Some(name) if earlier.contains(&name) => Err(source.problem(span, key, "is there twice")),
        Some(name) => {
            earlier.push(name);
            Ok(())
        }
        None if list == "route" => Ok(()),
        None => Err(source.problem(span, key, "is required")),
    }
}

/// Lays one table over the one of that name, or puts it behind the others.
fn place<'t>(
    source: &Source<'t>,
    tree: &mut DeTable<'t>,
    list: &Spanned<Cow<'t, str>>,
    span: Range<usize>,
    table: DeTable<'t>,
) -> Read<()> {
    let new = || Spanned::new(list.span(), DeValue::Array(DeArray::new()));
    // Where the file has something else than a list, the reader says so.
    let DeValue::Array(own) = tree.entry(list.clone()).or_insert_with(new).get_mut() else { return Ok(()) };
    let name = name_of(&table).map(str::to_owned);
    let tables = own.iter_mut().filter_map(|item| match item.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    });
    let same = tables.into_iter().find(|own| name.is_some() && name_of(own) == name.as_deref());
    match same {
        Some(own) => {
            guard(source, list.get_ref(), own, &table)?;
            lay(own, table);
        }
        None => own.push(Spanned::new(span, DeValue::Table(table))),
    }
    Ok(())
}

/// What of the link's own file is not to be changed from afar.
fn guard(source: &Source<'_>, list: &str, own: &DeTable<'_>, over: &DeTable<'_>) -> Read<()> {
    let kind = own.get("kind").and_then(|kind| kind.get_ref().as_str()).unwrap_or("dicom");
    let refuse = |key: &str, message: String| {
        let span = over.get(key).map(Spanned::span).unwrap_or_default();
        Err(source.problem(span, format!("{list}.{key}"), message))
    };
    match (list, kind) {
        ("destination", "tunnel") => {
            let other = over.keys().find(|key| !OF_TUNNELS.contains(&key.get_ref().as_ref()));
            other.map_or(Ok(()), |key| {
                let key = shown(key.get_ref());
                refuse(&key, "is of kind \"tunnel\" in the site's own file; only its compression may be changed from afar".to_owned())
            })
        }
        ("listener" | "destination", kind) if kind != "dicom" => {
            let message = "is of kind \"{}\" in the site's own file; only those of kind \"dicom\" may be changed from afar";
            refuse("name", message.replace("{}", &shown(kind)))
        }
        ("destination", _) if own.contains_key("tls") && over.contains_key("tls") => {
            refuse("tls", "is in the site's own file, which alone says who is believed there".to_owned())
        }
        _ => Ok(()),
    }
}

/// Key by key, tables in tables too; a list, and a condition, as a whole.
fn lay<'t>(own: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        let is_whole = key.get_ref() == "when";
        let span = value.span();
        match (own.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(inner)), DeValue::Table(over)) if !is_whole => lay(inner, over),
            (_, value) => drop(own.insert(key, Spanned::new(span, value))),
        }
    }
}

fn allowed(section: &str) -> &'static [&'static str] {
    AFAR.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

fn name_of<'a>(table: &'a DeTable<'_>) -> Option<&'a str> {
    table.get("name").and_then(|name| name.get_ref().as_str())
}

#[cfg(test)]
#[path = "afar_tests.rs"]
mod tests;
