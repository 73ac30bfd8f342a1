//! Single values given outside the file: `--set KEY=VALUE` and `CHRYSALIS__SECTION__KEY=VALUE`.
//!
//! They are put into the tree of the file before it is read, so that the same reader and the same checks judge them. A
//! table of a list goes by its `name`: `destination.pacs.address`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::file::Source;
use super::keys::{self, KEYS, Key};
use super::load::DEFAULT_TEXT;

/// One value given outside the file. It prints without its value, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    from: From,
    /// As it was given: `node.ae_title`, or the whole name of the environment variable.
    name: String,
    /// None where what was given is no text.
    value: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Flag,
    Environment,
}

/// Why an argument of `--set` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is written KEY=VALUE, as in node.ae_title=WARD")]
pub struct OverrideError;

/// What the names of overriding environment variables begin with. A single underscore is somebody else's.
const PREFIX: &str = "CHRYSALIS__";

impl Override {
    /// Those of a process's environment, in the order of their names.
    pub fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Self> {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some(Self { from: From::Environment, name, value: value.into_string().ok() })
        });
        let mut overrides: Vec<_> = ours.collect();
        overrides.sort_by(|a, b| a.name.cmp(&b.name));
        overrides
    }

    /// Whether it only says where a running node is to be found, rather than what it does.
    pub fn says_where_the_node_is(&self) -> bool {
        let words = self.words();
        let is = |section, name| words == [fold(section), fold(name)];
        is("admin", "address") || is("node", "data_dir")
    }

    pub(super) fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// Whether the name alone says which key is meant, which is written without the names of tables.
    pub(super) fn is_about(&self, key: &str) -> bool {
        let (own, key) = (self.words(), key.split('.').map(fold).collect::<Vec<_>>());
        own.first() == key.first() && own.last() == key.last()
    }

    fn words(&self) -> Vec<String> {
        match self.from {
            From::Flag => self.name.split('.').map(fold).collect(),
            From::Environment => {
                self.name.strip_prefix(PREFIX).unwrap_or_default().split("__").map(fold).collect()
            }
        }
    }

    fn names(&self, target: &Target) -> bool {
        match self.from {
            From::Flag => target.words.join(".") == self.name,
            From::Environment => {
                let words: Vec<_> = target.words.iter().map(fold).collect();
                Some(fold(words.join("__"))) == self.name.strip_prefix(PREFIX).map(fold)
            }
        }
    }
}

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let (name, value) = text.split_once('=').ok_or(OverrideError)?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(OverrideError);
        }
        Ok(Self { from: From::Flag, name, value: Some(value.trim().to_owned()) })
    }
}

/// Where it was given, as mistakes name it: `--set node.ae_title`, `environment CHRYSALIS__NODE__AE_TITLE`. Never the value.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.chars().take(200).flat_map(char::escape_debug).collect();
        match self.from {
            From::Flag => write!(f, "--set {name}"),
            From::Environment => write!(f, "environment {name}"),
        }
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Override({self})")
    }
}

/// Puts every override of `source` into its tree. One that fits no key, or more than one, is a mistake.
pub(super) fn apply<'t>(source: &Source<'t>, tree: &mut DeTable<'t>) {
    let is_destination = |given: &Override| given.words().first().is_some_and(|word| word == "destination");
    // The folder built in moves with the data directory, which has to be known by then.
    for destinations in [false, true] {
        for (start, given) in
            source.overrides().iter().filter(|(_, given)| is_destination(given) == destinations)
        {
            add_default(tree, given);
            let span = *start..start + given.text().len();
            let placed = target(tree, given).and_then(|target| {
                let value = value(given, target.key, span.clone())?;
                put(tree, &target, value, &span);
                Ok(())
            });
            if let Err(message) = placed {
                source.problem(span, "", message);
            }
        }
    }
}

/// A key that may be given, in one table of the tree.
struct Target {
    key: &'static Key,
    words: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Table(&'static str),
    Item(usize),
}

fn target(tree: &DeTable<'_>, given: &Override) -> Result<Target, String> {
    let targets = targets(tree);
    let unknown = unknown(&targets, given);
    let mut meant = targets.into_iter().filter(|target| given.names(target));
    match (meant.next(), meant.next()) {
        (Some(target), None) => Ok(target),
        (Some(one), Some(other)) => {
            Err(format!("could mean {} or {}; use --set", one.words.join("."), other.words.join(".")))
        }
        (None, _) => Err(unknown),
    }
}

/// Says how far the name can be followed, and what there is from there.
fn unknown(targets: &[Target], given: &Override) -> String {
    let words = given.words();
    let common = |target: &Target| {
        target.words.iter().zip(&words).take_while(|(own, word)| fold(own) == **word).count()
    };
    let longest = targets.iter().map(common).max().unwrap_or(0);
    let nearest: Vec<_> = targets.iter().filter(|target| common(target) == longest).collect();
    let mut next: Vec<&str> = Vec::new();
    for word in nearest.iter().filter_map(|target| target.words.get(longest)) {
        if !next.contains(&word.as_str()) {
            next.push(word);
        }
    }
    let after = nearest.first().map(|target| target.words.iter().take(longest).cloned().collect::<Vec<_>>());
    let after = after.filter(|words| !words.is_empty()).map(|words| format!(" after {}", words.join(".")));
    format!("unknown key; there is{}: {}", after.unwrap_or_default(), next.join(", "))
}

fn targets(tree: &DeTable<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    for key in KEYS {
        for (mut words, steps) in tables(tree, key.section) {
            words.push(key.name.to_owned());
            targets.push(Target { key, words, steps });
        }
    }
    targets
}

/// Every table of a section, with the words and the steps that lead to it. One in a list needs a name.
fn tables(tree: &DeTable<'_>, section: &'static str) -> Vec<(Vec<String>, Vec<Step>)> {
    let mut tables = vec![(Vec::new(), Vec::new())];
    let mut end = 0;
    // What stands in no table is in the tree itself.
    for part in section.split('.').filter(|part| !part.is_empty()) {
        end += part.len();
        let path = section.get(..end).unwrap_or_default();
        end += 1;
        for (words, steps) in &mut tables {
            words.push(part.to_owned());
            steps.push(Step::Table(part));
        }
        if keys::is_list(path) {
            tables = tables.iter().flat_map(|(words, steps)| items(tree, words, steps)).collect();
        }
    }
    tables
}

fn items(tree: &DeTable<'_>, words: &[String], steps: &[Step]) -> Vec<(Vec<String>, Vec<Step>)> {
    let list = walk(tree, steps).and_then(DeValue::as_array);
    let named = list.into_iter().flatten().enumerate().filter_map(|(index, item)| {
        let name = item.get_ref().as_table()?.get("name")?.get_ref().as_str()?;
        let words = words.iter().cloned().chain([name.to_owned()]).collect();
        let steps = steps.iter().cloned().chain([Step::Item(index)]).collect();
        Some((words, steps))
    });
    named.collect()
}

fn walk<'a, 't>(tree: &'a DeTable<'t>, steps: &[Step]) -> Option<&'a DeValue<'t>> {
    let (first, rest) = steps.split_first()?;
    let Step::Table(name) = first else { return None };
    rest.iter().try_fold(tree.get(*name)?.get_ref(), |value, step| match step {
        Step::Table(name) => Some(value.as_table()?.get(*name)?.get_ref()),
        Step::Item(index) => Some(value.as_array()?.get(*index)?.get_ref()),
    })
}

/// What was given as the value it stands for: TOML, or the plain text where the key takes text.
fn value<'t>(given: &'t Override, key: &Key, span: Range<usize>) -> Result<Spanned<DeValue<'t>>, String> {
    let Some(text) = given.value.as_deref() else { return Err("is not UTF-8 text".to_owned()) };
    let start = span.start;
    match DeValue::parse(text) {
        Ok(value) if value.get_ref().is_str() || !key.takes_text() => {
            Ok(moved(value, &|inner| inner.start + start..inner.end + start))
        }
        _ if key.takes_text() => Ok(Spanned::new(span, DeValue::String(Cow::Borrowed(text)))),
        // The value itself may hold a secret.
        _ => Err(format!("is not a {} in the notation of TOML", key.range)),
    }
}

/// The value with all its spans changed.
pub(super) fn moved<'t>(
    value: Spanned<DeValue<'t>>,
    to: &impl Fn(Range<usize>) -> Range<usize>,
) -> Spanned<DeValue<'t>> {
    let span = to(value.span());
    let value = match value.into_inner() {
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|item| moved(item, to)).collect::<DeArray<'_>>())
        }
        DeValue::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                let at = to(key.span());
                (Spanned::new(at, key.into_inner()), moved(value, to))
            });
            DeValue::Table(entries.collect())
        }
        plain => plain,
    };
    Spanned::new(span, value)
}

/// Puts a value where its target is. Where the file has something else than a table on the way, the reader says so.
fn put<'t>(tree: &mut DeTable<'t>, target: &Target, value: Spanned<DeValue<'t>>, span: &Range<usize>) {
    let mut steps = target.steps.iter();
    let Some(Step::Table(first)) = steps.next() else {
        tree.insert(Spanned::new(span.clone(), Cow::Borrowed(target.key.name)), value);
        return;
    };
    let mut place = entry(tree, first, span);
    for step in steps {
        place = match (step, place) {
            (Step::Table(name), DeValue::Table(table)) => entry(table, name, span),
            (Step::Item(index), DeValue::Array(array)) => match array.get_mut(*index) {
                Some(item) => item.get_mut(),
                None => return,
            },
            _ => return,
        };
    }
    if let DeValue::Table(table) = place {
        table.insert(Spanned::new(span.clone(), Cow::Borrowed(target.key.name)), value);
    }
}

fn entry<'a, 't>(table: &'a mut DeTable<'t>, name: &'static str, span: &Range<usize>) -> &'a mut DeValue<'t> {
    let key = Spanned::new(span.clone(), Cow::Borrowed(name));
    table.entry(key).or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new()))).get_mut()
}

/// What is built in, where the file says nothing at all of the list that the override is about.
fn add_default(tree: &mut DeTable<'_>, given: &Override) {
    let words = given.words();
    let Some(list) =
        ["listener", "destination"].into_iter().find(|list| words.first().is_some_and(|w| w == list))
    else {
        return;
    };
    if tree.contains_key(list) {
        return;
    }
    let Ok(default) = DeTable::parse(DEFAULT_TEXT) else { return };
    let Some(value) = default.get_ref().get(list).cloned() else { return };
    let mut value = moved(value, &|_| 0..0);
    let data_dir = walk(tree, &[Step::Table("node"), Step::Table("data_dir")]).and_then(DeValue::as_str);
    if let (Some(data_dir), DeValue::Array(array)) = (data_dir, value.get_mut()) {
        for table in array.iter_mut().filter_map(|item| match item.get_mut() {
            DeValue::Table(table) => table.get_mut("path"),
            _ => None,
        }) {
            *table.get_mut() = DeValue::String(Cow::Owned(format!("{data_dir}/archive")));
        }
    }
    tree.insert(Spanned::new(0..0, Cow::Borrowed(list)), value);
}

/// Without regard to case, and to what cannot stand in the name of an environment variable.
fn fold(word: impl AsRef<str>) -> String {
    word.as_ref().to_ascii_lowercase().replace(['-', '.'], "_")
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
mod tests;
