//! Texts with wildcards: `*` is any run of characters, `?` any one of them.

/// A pattern that a whole text fits or does not. Case matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<char>);

impl Pattern {
    /// Takes a pattern; white space around it does not count. None when every text fits it.
    pub(super) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let says_something = text.is_empty() || text.chars().any(|character| character != '*');
        says_something.then(|| Self(text.chars().collect()))
    }

    /// Whether the whole text fits; white space around it does not count.
    pub(super) fn fits(&self, text: &str) -> bool {
        let text: Vec<char> = text.trim().chars().collect();
        // Greedy, with one point to return to: the last star, and where what it swallows ends so far.
        let (mut at, mut here) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while let Some(&character) = text.get(here) {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, here));
                    at += 1;
                }
                Some(&wanted) if wanted == '?' || wanted == character => {
                    at += 1;
                    here += 1;
                }
                Some(_) | None => {
                    let Some((star_at, swallowed)) = star else { return false };
                    star = Some((star_at, swallowed + 1));
                    at = star_at + 1;
                    here = swallowed + 1;
                }
            }
        }
        self.0.iter().skip(at).all(|&rest| rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn stars_are_any_run_and_question_marks_one_character() {
        let table = [
            ("VIVID*", "VIVID1", true),
            ("VIVID*", "VIVID", true),
            ("VIVID?", "VIVID", false),
            ("*7", "EPIQ7", true),
            ("E*Q?", "EPIQ7", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("EPIQ7", "EPIQ7  ", true),
            ("EPIQ7", "epiq7", false),
            ("M?ller*", "Müller^Ä", true),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, text, fits) in table {
            assert_eq!(Pattern::new(pattern).expect("a pattern").fits(text), fits, "{pattern} on {text}");
        }
        assert_eq!(Pattern::new(" ** "), None);
    }
}
