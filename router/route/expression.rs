//! Conditions written as one text, with `and`, `or` and `not`.
//!
//! ```text
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | "(" or ")" | "exists" NAME | comparison
//! comparison = NAME ( "=" | "!=" | "~" ) VALUE | NAME [ "not" ] "in" "[" VALUE { "," VALUE } "]"
//! ```
//!
//! A value is a text in double quotes, with `\"` and `\\` for these two characters, or a plain number. The words may be
//! written in capitals. `x != y` is `not x = y`.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;

use super::condition::{Condition, MAX_DEPTH, MAX_TESTS};
use super::field::Field;

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 16 << 10;

/// A mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpressionError {
    /// Line within the text, from 1.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message } = self;
        if *line > 1 {
            write!(f, "line {line}, column {column}: {message}")
        } else {
            write!(f, "column {column}: {message}")
        }
    }
}

impl std::error::Error for ExpressionError {}

/// Reads a condition.
///
/// # Errors
/// Every name and value that is wrong, and the first place where something else was expected.
pub fn parse(text: &str) -> Result<Condition, Vec<ExpressionError>> {
    let mut parser = Parser { text, tokens: Vec::new(), next: 0, tests: 0, errors: Vec::new() };
    let parsed = parser.run();
    let mut errors = parser.errors;
    errors.sort();
    match parsed {
        Ok(condition) if errors.is_empty() => Ok(condition),
        _ => Err(errors),
    }
}

/// The reading cannot go on; why is among the errors.
struct Stop;

type Parsed<T> = Result<T, Stop>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
    End,
}

impl Token {
    fn is_word(&self, wanted: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(wanted))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(&word.chars().take(64).collect::<String>()),
            Self::Text(text) => write!(f, "{:?}", text.chars().take(64).collect::<String>()),
            Self::Sign(sign) => write!(f, "{sign}"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Longer signs before the shorter ones that they begin with.
const SIGNS: [&str; 8] = ["!=", "=", "~", "(", ")", "[", "]", ","];

/// Signs of other languages, and what is written here.
const FOREIGN: [(&str, &str); 6] =
    [("==", "="), ("&&", "and"), ("||", "or"), ("&", "and"), ("|", "or"), ("!", "not")];

struct Parser<'a> {
    text: &'a str,
    /// With the byte at which each begins.
    tokens: Vec<(usize, Token)>,
    next: usize,
    tests: usize,
    errors: Vec<ExpressionError>,
}

impl Parser<'_> {
    fn run(&mut self) -> Parsed<Condition> {
        if self.text.len() > MAX_TEXT {
            return Err(self.fail(0, format!("is longer than {MAX_TEXT} bytes")));
        }
        self.read_tokens()?;
        let condition = self.or(0)?;
        match self.peek() {
            Token::End => Ok(condition),
            found => {
                let message = format!("expected `and`, `or` or the end, found {found}");
                Err(self.fail(self.position(), message))
            }
        }
    }

    fn read_tokens(&mut self) -> Parsed<()> {
        let mut at = 0;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let blank = rest.len() - rest.trim_start().len();
            at += blank;
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(first) = rest.chars().next() else {
                self.tokens.push((at, Token::End));
                return Ok(());
            };
            let (token, length) = if first == '"' {
                self.read_text(rest, at)?
            } else if let Some((sign, ours)) = foreign(rest) {
                return Err(self.fail(at, format!("unexpected {sign}: write {ours}")));
            } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                (Token::Sign(sign), sign.len())
            } else {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                if length == 0 {
                    return Err(self.fail(at, format!("unexpected {first:?}; texts stand in double quotes")));
                }
                (Token::Word(rest.get(..length).unwrap_or_default().to_owned()), length)
            };
            self.tokens.push((at, token));
            at += length;
        }
    }

    /// The text in quotes at the beginning of `rest`, and how many bytes it takes.
    fn read_text(&mut self, rest: &str, at: usize) -> Parsed<(Token, usize)> {
        let mut text = String::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => return Ok((Token::Text(text), index + 1)),
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => {
                        let message = "after a backslash, expected \" or another backslash";
                        return Err(self.fail(at + index, message));
                    }
                },
                other => text.push(other),
            }
        }
        Err(self.fail(at, "this text has no closing quote"))
    }

    fn or(&mut self, depth: usize) -> Parsed<Condition> {
        let mut parts = vec![self.and(depth)?];
        while self.take_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(Condition::any(parts))
    }

    fn and(&mut self, depth: usize) -> Parsed<Condition> {
        let mut parts = vec![self.not(depth)?];
        while self.take_word("and") {
            parts.push(self.not(depth)?);
        }
        Ok(Condition::all(parts))
    }

    fn not(&mut self, depth: usize) -> Parsed<Condition> {
        if depth >= MAX_DEPTH {
            return Err(self.fail(self.position(), format!("nested deeper than {MAX_DEPTH}")));
        }
        if self.take_word("not") {
            return Ok(self.not(depth + 1)?.negated());
        }
        if self.take_sign("(") {
            let inner = self.or(depth + 1)?;
            self.expect_sign(")", "`and`, `or` or )")?;
            return Ok(inner);
        }
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(self.fail(self.position(), format!("more than {MAX_TESTS} comparisons")));
        }
        if self.take_word("exists") {
            let field = self.field()?;
            return Ok(field.map_or_else(Condition::always, Condition::exists));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let field = self.field()?;
        let at = self.position();
        if self.take_sign("=") {
            return self.values(field, false);
        }
        if self.take_sign("!=") {
            return Ok(self.values(field, false)?.negated());
        }
        if self.take_sign("~") {
            let (at, text) = self.value()?;
            let made = field.map(|field| Condition::contains(field, &text));
            return Ok(self.keep(made.transpose().map_err(|error| vec![(at, error.to_string())])));
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            let condition = self.values(field, true)?;
            return Ok(if negated { condition.negated() } else { condition });
        }
        if self.peek().is_word("contains") {
            return Err(self.fail(at, "unexpected contains: write ~"));
        }
        let wanted = if negated { "`in`" } else { "=, !=, ~ or `in`" };
        let found = if negated { self.peek() } else { self.token_at(at) };
        Err(self.fail(self.position(), format!("expected {wanted}, found {found}")))
    }

    /// One value, or a list of them, as a comparison.
    fn values(&mut self, field: Option<Field>, list: bool) -> Parsed<Condition> {
        let mut values = Vec::new();
        if list {
            self.expect_sign("[", "[")?;
            values.push(self.value()?);
            while self.take_sign(",") {
                values.push(self.value()?);
            }
            self.expect_sign("]", ", or ]")?;
        } else {
            values.push(self.value()?);
        }
        let texts: Vec<_> = values.iter().map(|(_, text)| text.as_str()).collect();
        let made = field.map(|field| Condition::one_of(field, &texts)).transpose();
        let place = |place: usize| values.get(place).map_or(0, |(at, _)| *at);
        Ok(self.keep(made.map_err(|errors| {
            errors.into_iter().map(|(index, error)| (place(index), error.to_string())).collect()
        })))
    }

    /// A condition, or the errors and anything in its place, so that reading can go on.
    fn keep(&mut self, made: Result<Option<Condition>, Vec<(usize, String)>>) -> Condition {
        match made {
            Ok(condition) => condition.unwrap_or_else(Condition::always),
            Err(errors) => {
                for (at, message) in errors {
                    self.fail(at, message);
                }
                Condition::always()
            }
        }
    }

    /// A name; none when it is wrong, which is noted.
    fn field(&mut self) -> Parsed<Option<Field>> {
        let at = self.position();
        let is_name =
            |word: &str| !["and", "or", "not", "in", "exists"].contains(&word.to_lowercase().as_str());
        match self.take() {
            Token::Word(word) if is_name(&word) => Ok(match Field::named(&word) {
                Ok(field) => Some(field),
                Err(error) => {
                    self.fail(at, error.to_string());
                    None
                }
            }),
            found => Err(self.fail(
                at,
                format!("expected an attribute such as calling_ae or StudyDescription, found {found}"),
            )),
        }
    }

    fn value(&mut self) -> Parsed<(usize, String)> {
        let at = self.position();
        let is_number =
            |word: &str| word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
        match self.take() {
            Token::Text(text) => Ok((at, text)),
            Token::Word(word) if is_number(&word) => Ok((at, word)),
            found => Err(self.fail(at, format!("expected a text in double quotes, found {found}"))),
        }
    }

    fn peek(&self) -> Token {
        self.tokens.get(self.next).map_or(Token::End, |(_, token)| token.clone())
    }

    fn token_at(&self, at: usize) -> Token {
        self.tokens.iter().find(|(start, _)| *start == at).map_or(Token::End, |(_, token)| token.clone())
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).map_or(self.text.len(), |(at, _)| *at)
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = self.peek().is_word(word);
        self.next += usize::from(is);
        is
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Token::Sign(found) if found == sign);
        self.next += usize::from(is);
        is
    }

    fn expect_sign(&mut self, sign: &str, wanted: &str) -> Parsed<()> {
        if self.take_sign(sign) {
            return Ok(());
        }
        let message = format!("expected {wanted}, found {}", self.peek());
        Err(self.fail(self.position(), message))
    }

    fn fail(&mut self, at: usize, message: impl Into<String>) -> Stop {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = 1 + before.get(start..).unwrap_or_default().chars().count();
        self.errors.push(ExpressionError { line, column, message: message.into() });
        Stop
    }
}

/// The sign of another language that a text begins with, and what is written here.
fn foreign(rest: &str) -> Option<(&'static str, &'static str)> {
    FOREIGN.into_iter().find(|(sign, _)| rest.starts_with(sign) && !rest.starts_with("!="))
}

#[cfg(test)]
mod tests {
    use super::{MAX_TEXT, parse};
    use crate::route::condition::{Condition, MAX_DEPTH, MAX_TESTS};
    use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

    fn shown(text: &str) -> String {
        parse(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}")).to_string()
    }

    fn errors(text: &str) -> Vec<String> {
        parse(text).expect_err(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_written() {
        for text in [
            "calling_ae = \"EPIQ*\"",
            "calling_ae in [\"A\", \"B?\"]",
            "calling_ae = \"A\" and (modality = \"US\" or modality = \"SR\") and source = \"10.1.0.0/16\"",
            "not (StudyDescription ~ \"say \\\"echo\\\" \\\\\")",
            "not exists StudyDescription",
            "exists Rows",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_other_languages_write_is_answered_with_what_is_written_here() {
        for (text, expected) in [
            ("modality == \"US\"", "column 10: unexpected ==: write ="),
            ("modality = \"US\" && Rows = 1", "column 17: unexpected &&: write and"),
            ("modality = \"US\" || Rows = 1", "column 17: unexpected ||: write or"),
            ("!(modality = \"US\")", "column 1: unexpected !: write not"),
            ("StudyDescription contains \"echo\"", "column 18: unexpected contains: write ~"),
        ] {
            assert_eq!(errors(text), [expected]);
        }
    }

    #[test]
    fn words_bind_as_they_do_in_speech() {
        for (text, meant) in [
            (
                "modality = \"US\" or modality = \"SR\" and calling_ae = \"A\"",
                "modality = \"US\" or (modality = \"SR\" and calling_ae = \"A\")",
            ),
            ("not modality = \"US\" and Rows = 480", "not (modality = \"US\") and Rows = \"480\""),
            ("modality != \"US\"", "not (modality = \"US\")"),
            ("modality NOT IN [\"US\"]", "not (modality = \"US\")"),
            ("((modality=\"US\"))", "modality = \"US\""),
            ("sop_class = \"UltrasoundImageStorage\"", "sop_class = \"1.2.840.10008.5.1.4.1.1.6.1\""),
            (
                "source = \"10.1.2.3/8\" AND source != \"10.0.0.1\"",
                "source = \"10.0.0.0/8\" and not (source = \"10.0.0.1\")",
            ),
        ] {
            assert_eq!(shown(text), meant);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_column_and_what_was_expected() {
        for (text, expected) in [
            ("", "column 1: expected an attribute such as calling_ae or StudyDescription, found the end"),
            ("modality", "column 9: expected =, !=, ~ or `in`, found the end"),
            ("modality = US", "column 12: expected a text in double quotes, found US"),
            ("modality = \"US", "column 12: this text has no closing quote"),
            ("modality = 'US'", "column 12: unexpected '\\''; texts stand in double quotes"),
            ("(modality = \"US\"", "column 17: expected `and`, `or` or ), found the end"),
            ("modality = \"US\")", "column 16: expected `and`, `or` or the end, found )"),
            ("modality in \"US\"", "column 13: expected [, found \"US\""),
            ("modality in [\"US\" \"SR\"]", "column 19: expected , or ], found \"SR\""),
            ("modality in []", "column 14: expected a text in double quotes, found ]"),
            ("modality not \"US\"", "column 14: expected `in`, found \"US\""),
            ("modality = \"\"", "column 12: an empty text matches nothing; write `not exists modality`"),
            ("Ütest = \"x\" and ä = ", "column 21: expected a text in double quotes, found the end"),
            ("modality = \"a\\b\"", "column 14: after a backslash, expected \" or another backslash"),
            ("source ~ \"10\"", "column 10: ~ compares texts; source is compared with = or in"),
            ("source = \"ten\"", "column 10: \"ten\" is not an address or a network such as \"10.1.0.0/16\""),
            (
                "sop_class = \"Ultrasound\"",
                "column 13: \"Ultrasound\" is no SOP class: a UID, or the standard's keyword such as UltrasoundImageStorage",
            ),
            (
                "calling_ae = \"ABCDEFGHIJKLMNOPQ\"",
                "column 14: can never match: calling_ae has at most 16 characters, \"ABCDEFGHIJKLMNOPQ\" has 17",
            ),
            (
                "modality = \"US\"\n and x ? 1",
                "line 2, column 8: unexpected '?'; texts stand in double quotes",
            ),
        ] {
            let found = errors(text);
            assert_eq!(found.last().map(String::as_str), Some(expected), "{text}");
        }
    }

    #[test]
    fn several_wrong_names_and_values_are_reported_at_once() {
        let found = errors(
            "StudyDesciption ~ \"x\" and source in [\"a\", \"10.0.0.1\", \"b\"] and not exists PixelData",
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("did you mean StudyDescription?"));
    }

    #[test]
    fn depth_size_and_length_are_bounded() {
        let deep = |n: usize| format!("{}modality = \"US\"{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&deep(MAX_DEPTH - 1)).is_ok() && parse(&deep(MAX_DEPTH)).is_err());
        assert!(parse(&"not ".repeat(100_000)).is_err());
        let wide = |n: usize| vec!["exists Rows"; n].join(" or ");
        assert!(parse(&wide(MAX_TESTS)).is_ok() && parse(&wide(MAX_TESTS + 1)).is_err());
        assert!(parse(&" ".repeat(MAX_TEXT + 1)).is_err());
    }

    fn expression() -> impl Strategy<Value = String> {
        let test = prop_oneof![
            Just("modality = \"US\"".to_owned()),
            Just("calling_ae in [\"A*\", \"B\"]".to_owned()),
            Just("StudyDescription ~ \"echo\"".to_owned()),
            Just("exists PatientID".to_owned()),
            Just("source != \"10.0.0.0/8\"".to_owned()),
        ];
        test.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|x| format!("not ({x})")),
                (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("({x}) and ({y})")),
                (inner.clone(), inner).prop_map(|(x, y)| format!("({x}) or ({y})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_text_is_too_strange(
            text in ".{0,80}",
            pieces in prop::collection::vec("not|and|or|in|exists|\\(|\\)|\\[|\\]|,|=|!=|~|\"a\"|modality|source|1|\"|\\\\", 0..30),
        ) {
            let _ = parse(&text);
            let _ = parse(&pieces.join(" "));
        }

        #[test]
        fn twice_not_is_the_thing_itself(text in expression()) {
            prop_assert_eq!(parse(&format!("not not ({text})")), parse(&text));
        }

        #[test]
        fn what_is_shown_reads_as_the_same(text in expression()) {
            let condition: Condition = parse(&text).unwrap();
            prop_assert_eq!(parse(&condition.to_string()), Ok(condition));
        }
    }
}
