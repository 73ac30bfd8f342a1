//! Application Entity titles (PS3.5 6.2, VR AE; PS3.8 9.3.2), lenient from the wire and strict in configuration.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::str::FromStr;

use super::pattern;

/// Bytes an AE title occupies in an A-ASSOCIATE PDU.
pub const WIRE_LENGTH: usize = 16;

/// An AE title without its insignificant leading and trailing spaces; compared exactly, case included.
///
/// A title from the wire may be empty or hold any byte but NUL, because carts send all of that; one from configuration
/// ([`FromStr`]) may not. Each byte is kept as the character of the same number, so that nothing is lost on the way back.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AeTitle(String);

/// Why a configured AE title was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AeTitleError {
    /// Nothing is left once spaces are trimmed.
    #[error("an AE title cannot be empty")]
    Empty,
    /// Longer than 16 characters.
    #[error("an AE title has at most 16 characters, this one has {0}")]
    TooLong(usize),
    /// A backslash, a control character or one outside ASCII.
    #[error("the character {0:?} is not allowed in an AE title")]
    Character(char),
}

impl AeTitle {
    /// Reads the field of an A-ASSOCIATE PDU or an AE value: cut at the first NUL, then trimmed of spaces.
    ///
    /// The result can be [empty](Self::is_empty); whether that is acceptable is the receiver's decision.
    pub fn from_wire(bytes: &[u8]) -> Self {
        let text: String =
            bytes.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect();
        Self(text.trim_matches(' ').to_owned())
    }

    /// A title as [`AeTitle::as_str`] gave it, whatever its characters.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The 16 byte field of an A-ASSOCIATE PDU, padded with spaces.
    pub fn to_wire(&self) -> [u8; WIRE_LENGTH] {
        let mut field = [b' '; WIRE_LENGTH];
        for (slot, character) in field.iter_mut().zip(self.0.chars()) {
            *slot = u8::try_from(character).unwrap_or(b'?');
        }
        field
    }

    /// Whether nothing but padding was there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The trimmed title; may hold control characters when it came from the wire, so log the `Display` form instead.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = AeTitleError;

    fn from_str(text: &str) -> Result<Self, AeTitleError> {
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err(AeTitleError::Empty);
        }
        if let Some(character) = text.chars().find(|c| *c == '\\' || !(' '..='~').contains(c)) {
            return Err(AeTitleError::Character(character));
        }
        if text.len() > WIRE_LENGTH {
            return Err(AeTitleError::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if (' '..='~').contains(&character) && character != '\\' {
                write!(f, "{character}")?;
            } else {
                write!(f, "\\x{:02x}", u32::from(character))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeTitle({self})")
    }
}

/// A configured AE title in which each `*` stands for any run of characters and each `?` for one, as in `EPIQ*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AePattern(AeTitle);

impl AePattern {
    /// The pattern that a title is by itself.
    pub fn exactly(title: AeTitle) -> Self {
        Self(title)
    }

    /// Whether the pattern covers the whole title.
    pub fn matches(&self, title: &AeTitle) -> bool {
        pattern::covers(self.0.as_str(), title.as_str())
    }
}

impl FromStr for AePattern {
    type Err = AeTitleError;

    fn from_str(text: &str) -> Result<Self, AeTitleError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for AePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_from_the_wire_is_cut_at_the_first_nul_and_trimmed() {
        assert_eq!(AeTitle::from_wire(b"  Vivid 1\0rubbish"), "Vivid 1".parse().unwrap());
        assert!(AeTitle::from_wire(&[b' '; 16]).is_empty());
        assert!(AeTitle::from_wire(b"\0GARBAGE").is_empty());
    }

    #[test]
    fn what_is_not_printable_is_escaped_when_shown() {
        assert_eq!(AeTitle::from_wire(b"A\nB\\C\xff").to_string(), "A\\x0aB\\x5cC\\xff");
    }

    #[test]
    fn every_wire_title_goes_back_to_the_wire_unchanged_but_for_padding() {
        assert_eq!(&AeTitle::from_wire(b"\xe9CHO").to_wire(), b"\xe9CHO            ");
    }

    #[test]
    fn a_configured_title_has_one_to_sixteen_plain_characters() {
        assert_eq!("".parse::<AeTitle>(), Err(AeTitleError::Empty));
        assert_eq!("A\\B".parse::<AeTitle>(), Err(AeTitleError::Character('\\')));
        assert_eq!("ABCDEFGHIJKLMNOPQ".parse::<AeTitle>(), Err(AeTitleError::TooLong(17)));
        assert!("ABCDEFGHIJKLMNOP".parse::<AeTitle>().is_ok());
    }

    #[test]
    fn a_glob_matches_as_a_shell_would() {
        let table = [
            ("VIVID1", "VIVID1", true),
            ("VIVID1", "VIVID12", false),
            ("VIVID1", "vivid1", false),
            ("EPIQ*", "EPIQ", true),
            ("EPIQ*", "EPIQ_7C", true),
            ("EPIQ*", "AEPIQ", false),
            ("*", "", true),
            ("*US", "CART_US", true),
            ("*US", "US_CART", false),
            ("*A*B*", "xxAyyABzz", true),
            ("?", "A", true),
            ("?", "", false),
            ("C?RT*", "CART", true),
            ("C?RT", "CRT", false),
            ("*a*a*a*a*a*a*ab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ];
        for (pattern, title, expected) in table {
            let glob: AePattern = pattern.parse().expect("a pattern");
            assert_eq!(
                glob.matches(&AeTitle::from_wire(title.as_bytes())),
                expected,
                "{pattern} against {title}"
            );
        }
    }
}
