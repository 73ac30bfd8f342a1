//! What a rule asks for: a pure tree of comparisons, bounded in depth and size, whichever way it was written.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Facts;
use super::field::Field;
use crate::dicom::{AeTitle, Pattern, Tag, Uid, keyword};

/// Comparisons that one condition may hold.
pub const MAX_TESTS: usize = 256;
/// The deepest nesting of one condition.
pub const MAX_DEPTH: usize = 32;
/// The longest text to compare with, in bytes: no value is kept longer.
pub const MAX_LITERAL: usize = crate::dicom::attributes::MAX_VALUE;

/// What a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Every one of these holds. None of them: always.
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// A comparison.
    Test(Test),
}

/// One comparison. What is missing or empty passes none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What is compared.
    pub field: Field,
    /// With what.
    pub with: Operand,
}

/// What a field is compared with. Of several values of a field, one has to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// The whole value fits one of these.
    OneOf(Vec<Pattern>),
    /// The address is in one of these networks.
    Within(Vec<IpNet>),
    /// The value contains this text, case aside.
    Contains(String),
    /// There is a value.
    Exists,
}

/// A text that this field cannot be compared with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperandError {
    /// Nothing has an empty value.
    #[error("an empty text matches nothing; write `not exists {0}`")]
    Empty(Field),
    /// No value can be so long.
    #[error("can never match: {field} has at most {longest} characters, {text:?} has {length}")]
    TooLong {
        /// What was to be compared.
        field: Field,
        /// With what.
        text: String,
        /// Characters of the shortest text that would fit.
        length: usize,
        /// Characters of the longest value.
        longest: usize,
    },
    /// An AE title that no association can carry.
    #[error("can never match: the character {0:?} is not allowed in an AE title")]
    Character(char),
    /// Not an address.
    #[error("{0:?} is not an address or a network such as \"10.1.0.0/16\"")]
    NotANetwork(String),
    /// Not a SOP class.
    #[error("{0:?} is no SOP class: a UID, or the standard's keyword such as UltrasoundImageStorage")]
    NotASopClass(String),
    /// Only texts contain others.
    #[error("~ compares texts; {0} is compared with = or in")]
    NotText(Field),
}

impl Condition {
    /// What always holds.
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    /// All of these.
    pub fn all(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 { parts.swap_remove(0) } else { Self::All(parts) }
    }

    /// At least one of these.
    pub fn any(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 { parts.swap_remove(0) } else { Self::Any(parts) }
    }

    /// The opposite; the opposite of an opposite is the thing itself.
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// The value is one of these, wildcards allowed.
    ///
    /// # Errors
    /// Each text that this field cannot be compared with, by its place.
    pub fn one_of(field: Field, texts: &[&str]) -> Result<Self, Vec<(usize, OperandError)>> {
        let mut errors = Vec::new();
        let mut each = |check: &mut dyn FnMut(&str) -> Result<(), OperandError>| {
            for (place, text) in texts.iter().enumerate() {
                if let Err(error) = check(text) {
                    errors.push((place, error));
                }
            }
        };
        let (mut networks, mut patterns) = (Vec::new(), Vec::new());
        if field == Field::Source {
            each(&mut |text| network(text).map(|network| networks.push(network)));
        } else {
            each(&mut |text| pattern(field, text).map(|pattern| patterns.push(pattern)));
        }
        let with = if field == Field::Source { Operand::Within(networks) } else { Operand::OneOf(patterns) };
        if errors.is_empty() { Ok(Self::Test(Test { field, with })) } else { Err(errors) }
    }

    /// The value contains this text, case aside.
    ///
    /// # Errors
    /// The field cannot be compared with it.
    pub fn contains(field: Field, text: &str) -> Result<Self, OperandError> {
        if matches!(field, Field::Source | Field::SopClass) {
            return Err(OperandError::NotText(field));
        }
        if text.is_empty() {
            return Err(OperandError::Empty(field));
        }
        fits(field, text, text.chars().count())?;
        Ok(Self::Test(Test { field, with: Operand::Contains(text.to_owned()) }))
    }

    /// There is a value.
    pub fn exists(field: Field) -> Self {
        Self::Test(Test { field, with: Operand::Exists })
    }

    /// Whether it holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(facts)),
            Self::Not(inner) => !inner.holds(facts),
            Self::Test(test) => test.holds(facts),
        }
    }

    /// Every comparison in it, in the order of writing.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::tests).collect(),
            Self::Not(inner) => inner.tests(),
            Self::Test(test) => vec![test],
        }
    }

    /// The attributes it looks at.
    pub fn tags(&self) -> Vec<Tag> {
        self.tests().into_iter().filter_map(|test| test.field.tag()).collect()
    }
}

impl Test {
    /// Whether the instance passes.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        if let (Operand::Within(networks), Some(address)) = (&self.with, facts.address(self.field)) {
            return networks.iter().any(|network| network.contains(&address));
        }
        facts.values(self.field).iter().any(|value| self.with.takes(value))
    }
}

impl Operand {
    /// Whether one value passes; it is not empty.
    pub(super) fn takes(&self, value: &str) -> bool {
        match self {
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.matches(value)),
            Self::Within(networks) => {
                value.parse().is_ok_and(|address: IpAddr| networks.iter().any(|n| n.contains(&address)))
            }
            Self::Contains(text) => value.to_lowercase().contains(&text.to_lowercase()),
            Self::Exists => true,
        }
    }
}

fn pattern(field: Field, text: &str) -> Result<Pattern, OperandError> {
    let text = text.trim_matches(' ');
    if text.is_empty() {
        return Err(OperandError::Empty(field));
    }
    if field == Field::SopClass {
        return sop_class(text);
    }
    let pattern = Pattern::new(text);
    fits(field, text, pattern.shortest())?;
    if matches!(field, Field::CallingAe | Field::CalledAe) {
        let title = AeTitle::from_text(text);
        let strange = title.as_str().chars().find(|c| *c == '\\' || c.is_control());
        return strange.map_or(Ok(pattern), |character| Err(OperandError::Character(character)));
    }
    Ok(pattern)
}

fn sop_class(text: &str) -> Result<Pattern, OperandError> {
    let is_uid = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'*' | b'?'));
    let uid = if is_uid { Some(Uid::new(text)) } else { keyword::sop_class(text) };
    let uid = uid.ok_or_else(|| OperandError::NotASopClass(text.chars().take(64).collect()))?;
    let pattern = Pattern::new(uid.as_str());
    fits(Field::SopClass, text, pattern.shortest())?;
    Ok(pattern)
}

fn fits(field: Field, text: &str, length: usize) -> Result<(), OperandError> {
    let longest = field.longest().unwrap_or(MAX_LITERAL).min(MAX_LITERAL);
    if length <= longest && text.len() <= 4 * MAX_LITERAL {
        return Ok(());
    }
    let text = text.chars().take(64).collect();
    Err(OperandError::TooLong { field, text, length, longest })
}

fn network(text: &str) -> Result<IpNet, OperandError> {
    let network = text.parse::<IpNet>().map(|network| network.trunc());
    let network =
        network.or_else(|_| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())));
    network.map_err(|_| OperandError::NotANetwork(text.chars().take(64).collect()))
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str, empty: &str| {
            if parts.is_empty() {
                return f.write_str(empty);
            }
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    Self::Not(_) | Self::Test(_) => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All(parts) => list(f, parts, "and", "always"),
            Self::Any(parts) => list(f, parts, "or", "never"),
            Self::Not(inner) => match &**inner {
                Self::Test(Test { with: Operand::Exists, .. }) => write!(f, "not {inner}"),
                inner => write!(f, "not ({inner})"),
            },
            Self::Test(test) => test.fmt(f),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match &self.with {
            Operand::OneOf(patterns) => one_of(f, field, patterns.iter().map(Pattern::as_str)),
            Operand::Within(networks) => {
                let written: Vec<_> = networks.iter().map(|network| shown(*network)).collect();
                one_of(f, field, written.iter().map(String::as_str))
            }
            Operand::Contains(text) => write!(f, "{field} ~ {}", Quoted(text)),
            Operand::Exists => write!(f, "exists {field}"),
        }
    }
}

fn one_of<'a>(
    f: &mut fmt::Formatter<'_>,
    field: Field,
    mut texts: impl ExactSizeIterator<Item = &'a str>,
) -> fmt::Result {
    if texts.len() == 1 {
        return write!(f, "{field} = {}", Quoted(texts.next().unwrap_or_default()));
    }
    write!(f, "{field} in [")?;
    for (index, text) in texts.enumerate() {
        write!(f, "{}{}", if index > 0 { ", " } else { "" }, Quoted(text))?;
    }
    f.write_str("]")
}

fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// A text as an expression writes it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}
