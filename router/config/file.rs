//! The file as it was written: a tree of TOML values that know where they stand.
//!
//! A [`Section`] is one table, an [`Item`] one value in it. Reading them never stops at the first mistake: a
//! mistake is kept with its line and its dotted key, and [`Reported`] stands in for the value.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::overrides::Override;
use super::{keys, units};

/// A value that could not be had; why is among the problems already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

/// How many mistakes are kept. Nobody mends more in one go, and each costs a walk to its line.
const MAX_PROBLEMS: usize = 100;

/// The longest message, in characters: one may quote a value, and a value may be as long as the file.
const MAX_MESSAGE: usize = 1000;

/// What a reading step yields.
pub(super) type Read<T> = Result<T, Reported>;

/// What is read, and what was found wrong with it so far.
///
/// The file, what came from afar, and each text that overrides a value lie one behind the other: a span says whose it is.
pub(super) struct Source<'t> {
    text: &'t str,
    /// What came from afar, with where it begins.
    afar: Option<(usize, &'t str)>,
    /// Each with where it begins.
    overrides: Vec<(usize, &'t Override)>,
    problems: RefCell<Vec<Problem>>,
    questions: RefCell<Vec<Problem>>,
}

/// One table of the file.
#[derive(Clone)]
pub(super) struct Section<'t> {
    source: &'t Source<'t>,
    path: String,
    span: Range<usize>,
    table: Option<&'t DeTable<'t>>,
}

/// One value of the file.
#[derive(Clone)]
pub(super) struct Item<'t> {
    source: &'t Source<'t>,
    key: String,
    span: Range<usize>,
    value: &'t DeValue<'t>,
}

/// A key may be any text in TOML; what is printed of it is short and has no control characters.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str, afar: Option<&'t str>, overrides: &'t [Override]) -> Self {
        let afar = afar.map(|afar| (text.len() + 1, afar));
        let mut start = text.len() + 1 + afar.map_or(0, |(_, afar)| afar.len() + 1);
        let place = |given: &'t Override| {
            let begins = start;
            start += given.text().len() + 1;
            (begins, given)
        };
        let overrides = overrides.iter().map(place).collect();
        Self { text, afar, overrides, problems: RefCell::default(), questions: RefCell::default() }
    }

    /// What came from afar, with where it begins.
    pub(super) fn afar(&self) -> Option<(usize, &'t str)> {
        self.afar
    }

    /// What overrides values of the file, each with where it begins.
    pub(super) fn overrides(&self) -> &[(usize, &'t Override)] {
        &self.overrides
    }

    /// The tree of `text`, which must be this source's text. Where it is no TOML, every syntax error found is
    /// reported, and nothing else can be.
    pub(super) fn tree(&self) -> Read<Spanned<DeTable<'t>>> {
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problem(error.span().unwrap_or_default(), "", error.message());
        }
        if errors.is_empty() { Ok(tree) } else { Err(Reported) }
    }

    /// Keeps a mistake found at `span`.
    pub(super) fn problem(
        &self,
        span: Range<usize>,
        key: impl Into<String>,
        message: impl Display,
    ) -> Reported {
        if self.problems.borrow().len() >= MAX_PROBLEMS {
            return Reported;
        }
        let problem = self.locate(span.start, key.into(), message.to_string());
        // A key that is read for more than one purpose is wrong only once.
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        Reported
    }

    /// Everything questioned so far, in the order of the lines.
    pub(super) fn questions(&self) -> Vec<Problem> {
        let mut questions = self.questions.borrow().clone();
        questions.sort();
        questions
    }

    /// Keeps a question about what stands at `span`.
    fn question(&self, span: Range<usize>, key: String, question: impl Display) {
        let question = self.locate(span.start, key, question.to_string());
        let mut questions = self.questions.borrow_mut();
        if questions.len() < MAX_PROBLEMS {
            questions.push(question);
        }
    }

    fn locate(&self, at: usize, key: String, mut message: String) -> Problem {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push_str(" ...");
        }
        let overriding = self.overrides.partition_point(|(start, _)| *start <= at);
        let given = overriding.checked_sub(1).and_then(|index| self.overrides.get(index));
        match given {
            Some((_, given)) => {
                let key = if given.is_about(&key) { String::new() } else { key };
                Problem { place: Place::Override(given.to_string()), key, message }
            }
            None => {
                let line = |text: &str, at| {
                    let before = text.as_bytes().iter().take(at);
                    1 + before.filter(|&&byte| byte == b'\n').count()
                };
                let place = match self.afar {
                    Some((start, afar)) if at >= start => Place::Afar(line(afar, at - start)),
                    _ => Place::Line(line(self.text, at)),
                };
                Problem { place, key, message }
            }
        }
    }

    /// Everything kept so far, in the order of the lines.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort();
        problems
    }
}

impl<'t> Section<'t> {
    /// The root of the tree; tables that nobody may write are reported.
    pub(super) fn root(source: &'t Source<'t>, tree: &'t Spanned<DeTable<'t>>) -> Self {
        let root = Self { source, path: String::new(), span: 0..0, table: Some(tree.get_ref()) };
        root.refuse_unknown(&keys::top_level());
        root
    }

    /// The table `name` of the root, which is empty where the file has none.
    pub(super) fn table(&self, name: &str) -> Section<'t> {
        match self.get(name).map(|item| item.section()) {
            Some(Ok(section)) => section,
            Some(Err(Reported)) | None => {
                Section { source: self.source, path: self.dotted(name), span: self.span.clone(), table: None }
            }
        }
    }

    /// The tables `[[name]]`, none where the file has none.
    pub(super) fn tables(&self, name: &str) -> Vec<Section<'t>> {
        let Some(item) = self.get(name) else { return Vec::new() };
        if matches!(item.value, DeValue::Table(_)) {
            item.fail(format_args!("write [[{name}]]: there can be several"));
            return Vec::new();
        }
        let items = item.list().unwrap_or_default();
        if items.is_empty() && item.value.is_array() {
            item.fail("is empty");
        }
        items.into_iter().filter_map(|item| item.section().ok()).collect()
    }

    /// Whether the file has this key here.
    pub(super) fn get(&self, name: &str) -> Option<Item<'t>> {
        let value = self.table?.get(name)?;
        Some(Item { source: self.source, key: self.dotted(name), span: value.span(), value: value.get_ref() })
    }

    /// Every key here with its value, in the order of their lines.
    pub(super) fn entries(&self) -> Vec<(&'t str, Item<'t>)> {
        let keys = self.table.into_iter().flat_map(|table| table.keys());
        let entry = |key: &'t Spanned<std::borrow::Cow<'t, str>>| {
            Some((key.get_ref().as_ref(), self.get(key.get_ref())?))
        };
        let mut entries: Vec<_> = keys.filter_map(entry).collect();
        entries.sort_by_key(|(_, item)| item.span.start);
        entries
    }

    /// The value of a key that has to be there.
    pub(super) fn required<T>(&self, name: &str, read: impl FnOnce(&Item<'t>) -> Read<T>) -> Read<T> {
        match self.get(name) {
            Some(item) => read(&item),
            None => Err(self.source.problem(self.span.clone(), self.dotted(name), "is required")),
        }
    }

    /// The value of a key, or `default` where it is left out.
    pub(super) fn or<T>(&self, name: &str, default: T, read: impl FnOnce(&Item<'t>) -> Read<T>) -> Read<T> {
        self.get(name).map_or(Ok(default), |item| read(&item))
    }

    /// The value of a key, or what `default` stands for where it is left out.
    pub(super) fn parse_or<T: FromStr<Err: Display>>(&self, name: &str, default: &str) -> Read<T> {
        match self.get(name) {
            Some(item) => item.parse(),
            None => default.parse().map_err(|error| self.fail(name, error)),
        }
    }

    /// The values of a list, which is empty where it is left out.
    pub(super) fn each<T>(&self, name: &str, read: impl Fn(&Item<'t>) -> Read<T>) -> Read<Vec<T>> {
        let items = self.or(name, Vec::new(), Item::list)?;
        // Read every element before looking for a failure, so that each one is reported.
        let values: Vec<_> = items.iter().map(read).collect();
        values.into_iter().collect()
    }

    /// Keeps a mistake about the key `name`: where it stands, or where its table does when it was left out.
    pub(super) fn fail(&self, name: &str, message: impl Display) -> Reported {
        let span = self.get(name).map_or(self.span.clone(), |item| item.span);
        self.source.problem(span, self.dotted(name), message)
    }

    /// Keeps a question about the key `name`.
    pub(super) fn question(&self, name: &str, question: impl Display) {
        let span = self.get(name).map_or(self.span.clone(), |item| item.span);
        self.source.question(span, self.dotted(name), question);
    }

    fn refuse_unknown(&self, allowed: &[&'static str]) {
        let unknown = self.table.into_iter().flat_map(|table| table.keys());
        for key in unknown.filter(|key| !allowed.contains(&key.get_ref().as_ref())) {
            let known = allowed.iter().copied();
            let nearest = crate::dicom::keyword::nearest_of(key.get_ref(), known)
                .map(|name| format!("; did you mean {name}?"));
            let nearest = nearest.unwrap_or_else(|| ";".to_owned());
            let message = format!("unknown key{nearest} allowed here: {}", allowed.join(", "));
            self.source.problem(key.span(), self.dotted(key.get_ref()), message);
        }
    }

    fn dotted(&self, name: &str) -> String {
        let name = shown(name);
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }
}

impl<'t> Item<'t> {
    /// Keeps a mistake about this value.
    pub(super) fn fail(&self, message: impl Display) -> Reported {
        self.source.problem(self.span.clone(), self.key.clone(), message)
    }

    /// Keeps a question about this value.
    pub(super) fn question(&self, question: impl Display) {
        self.source.question(self.span.clone(), self.key.clone(), question);
    }

    /// Keeps a mistake about a part of this value that has a name of its own: the port of an address.
    pub(super) fn fail_part(&self, part: &str, message: impl Display) -> Reported {
        let section = self.key.rsplit_once('.').map_or("", |(section, _)| section);
        self.source.problem(self.span.clone(), format!("{section}.{part}"), message)
    }

    /// A table, whose keys are all known.
    pub(super) fn section(&self) -> Read<Section<'t>> {
        let DeValue::Table(table) = self.value else { return Err(self.expected("a table")) };
        let section = Section {
            source: self.source,
            path: self.key.clone(),
            span: self.span.clone(),
            table: Some(table),
        };
        section.refuse_unknown(&keys::names_in(&self.key).collect::<Vec<_>>());
        Ok(section)
    }

    /// A table whose keys are for the reader to judge; `what` is said to be expected where it is none.
    pub(super) fn open_section(&self, what: &str) -> Read<Section<'t>> {
        let DeValue::Table(table) = self.value else { return Err(self.expected(what)) };
        let (path, span) = (self.key.clone(), self.span.clone());
        Ok(Section { source: self.source, path, span, table: Some(table) })
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&'t str> {
        self.value.as_str()
    }

    /// A text, or a whole decimal number as it was written.
    pub(super) fn text_or_number(&self) -> Read<&'t str> {
        match self.value {
            DeValue::Integer(written) if written.radix() == 10 => Ok(written.as_str()),
            _ => self.text(),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// The elements of an array, each under the array's own key.
    pub(super) fn list(&self) -> Read<Vec<Item<'t>>> {
        let DeValue::Array(array) = self.value else { return Err(self.expected("a list")) };
        let element = |value: &'t Spanned<DeValue<'t>>| Item {
            source: self.source,
            key: self.key.clone(),
            span: value.span(),
            value: value.get_ref(),
        };
        Ok(array.iter().map(element).collect())
    }

    /// A text.
    pub(super) fn text(&self) -> Read<&'t str> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    /// A text that no error may quote.
    pub(super) fn secret(&self) -> Read<&'t str> {
        self.value.as_str().ok_or_else(|| self.fail("expected a string"))
    }

    /// A text that stands for something.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self) -> Read<T> {
        self.text()?.parse().map_err(|error| self.fail(error))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Read<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.fail(format_args!("{text:?} is not one of {}", allowed.join(", ")))
        })
    }

    /// `true` or `false`.
    pub(super) fn truth(&self) -> Read<bool> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Read<u64> {
        let DeValue::Integer(written) = self.value else { return Err(self.expected("an integer")) };
        let number = u64::from_str_radix(written.as_str(), written.radix()).ok();
        let within = number.filter(|number| range.contains(number));
        within.ok_or_else(|| self.fail(format_args!("{written} is not {}..{}", range.start(), range.end())))
    }

    /// A count of things within `range`.
    pub(super) fn count(&self, range: RangeInclusive<u64>) -> Read<usize> {
        let number = self.integer(range)?;
        usize::try_from(number).map_err(|_| self.fail(format_args!("{number} is too large for this machine")))
    }

    /// A size in bytes within `range`, a plain number or a text with a unit.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Read<u64> {
        let bytes = match self.value {
            DeValue::Integer(written) => u64::from_str_radix(written.as_str(), written.radix()).ok(),
            DeValue::String(text) => Some(units::size(text).map_err(|error| self.fail(error))?),
            _ => return Err(self.expected("a size such as \"128KiB\"")),
        };
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (low, high) = (units::size_text(*range.start()), units::size_text(*range.end()));
            self.fail(format_args!("{} is not {low}..{high}", self.written()))
        })
    }

    /// A duration within `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Read<Duration> {
        let text = self.value.as_str().ok_or_else(|| self.expected("a duration such as \"30s\""))?;
        let duration = units::duration(text).map_err(|error| self.fail(error))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (low, high) =
            (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
        Err(self.fail(format_args!("{text:?} is not {low}..{high}")))
    }

    fn expected(&self, what: &str) -> Reported {
        self.fail(format_args!("expected {what}, found {}", self.written()))
    }

    fn written(&self) -> String {
        match self.value {
            DeValue::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(value) => value.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}
