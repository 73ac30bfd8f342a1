//! Patterns in which each `*` stands for any run of characters, and each `?` for one.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;

/// A text with wildcards, compared with the whole of another text, case included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern that is written like this.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        covers(&self.0, text)
    }

    /// The one text that fits, if there are no wildcards.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(self.0.as_str())
    }

    /// How many characters the shortest text has that fits.
    pub fn shortest(&self) -> usize {
        self.0.chars().filter(|&c| c != '*').count()
    }

    /// Whether some text fits both.
    pub fn intersects(&self, other: &Self) -> bool {
        let (a, b): (Vec<char>, Vec<char>) = (self.0.chars().collect(), other.0.chars().collect());
        // After each character of `a`: which beginnings of `b` some text can have used up.
        let mut reached = vec![false; b.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        pass_stars(&mut reached, &b);
        for &own in &a {
            let mut next = vec![false; b.len() + 1];
            for (at, _) in reached.iter().enumerate().filter(|(_, is)| **is) {
                let theirs = b.get(at).copied();
                if own == '*' {
                    // The star takes nothing, or any further part of `b`.
                    next.iter_mut().skip(at).for_each(|cell| *cell = true);
                    break;
                }
                if theirs == Some('*')
                    && let Some(cell) = next.get_mut(at)
                {
                    *cell = true;
                }
                let fits = theirs
                    .is_some_and(|theirs| theirs != '*' && (own == '?' || theirs == '?' || own == theirs));
                if fits && let Some(cell) = next.get_mut(at + 1) {
                    *cell = true;
                }
            }
            pass_stars(&mut next, &b);
            reached = next;
        }
        reached.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A star that is reached may take nothing.
fn pass_stars(reached: &mut [bool], pattern: &[char]) {
    for (at, &character) in pattern.iter().enumerate() {
        if character == '*'
            && reached.get(at).copied().unwrap_or_default()
            && let Some(cell) = reached.get_mut(at + 1)
        {
            *cell = true;
        }
    }
}

/// Whether the whole of `text` fits `pattern`. Greedy with one point to return to: the last star, and how much it has
/// swallowed so far.
pub(super) fn covers(pattern: &str, text: &str) -> bool {
    let (mut rest, mut left) = (pattern.chars(), text.chars());
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut after, mut following) = (rest.clone(), left.clone());
        match (after.next(), following.next()) {
            (Some('*'), _) => {
                star = Some((after.clone(), left.clone()));
                rest = after;
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                rest = after;
                left = following;
            }
            (_, None) => return false,
            (_, Some(_)) => {
                let Some((behind, swallowed)) = star.as_mut() else { return false };
                swallowed.next();
                rest = behind.clone();
                left = swallowed.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn stars_and_question_marks_cover_what_they_should() {
        for (pattern, text, fits) in [
            ("EPIQ*", "EPIQ7", true),
            ("EPIQ*", "EPIQ", true),
            ("EPIQ?", "EPIQ", false),
            ("*", "", true),
            ("", "", true),
            ("", "A", false),
            ("*A*B", "xAyAzB", true),
            ("*A*B", "xAyBz", false),
            ("M?ller", "Müller", true),
            ("epiq", "EPIQ", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn two_patterns_meet_or_do_not() {
        for (a, b, meet) in [
            ("A", "A", true),
            ("A", "B", false),
            ("A*", "*B", true),
            ("A*", "B*", false),
            ("?", "*", true),
            ("??", "A", false),
            ("A*C", "AB*", true),
            ("*A*", "B?", true),
            ("", "*", true),
            ("", "?", false),
            ("EPIQ*", "EPIQ?", true),
            ("*X*X", "X", false),
        ] {
            let (a, b) = (Pattern::new(a), Pattern::new(b));
            assert_eq!((a.intersects(&b), b.intersects(&a)), (meet, meet), "{a} {b}");
        }
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn patterns_that_one_text_fits_are_never_said_not_to_meet(
            a in "[AB*?]{0,6}", b in "[AB*?]{0,6}", text in "[AB]{0,6}",
        ) {
            let (a, b) = (Pattern::new(a), Pattern::new(b));
            if a.matches(&text) && b.matches(&text) {
                prop_assert!(a.intersects(&b));
            }
        }
    }
}
