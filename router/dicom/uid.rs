//! Unique identifiers (PS3.5 chapter 9): lenient in what is read, and checked before anything depends on their form.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::borrow::Cow;
use std::fmt;

/// The longest a UID may be, in characters (PS3.5 9.1).
pub const MAX_LENGTH: usize = 64;

/// A UID without its trailing padding; may be anything that came from the wire until [`Uid::check`] has passed it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uid(Cow<'static, str>);

/// How well a usable UID keeps to the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conformance {
    /// As PS3.5 9.1 demands.
    Conformant,
    /// Usable, but with letters, leading zeros or empty components: accept and warn.
    Odd,
}

/// Why a UID cannot be used as the name of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UidFault {
    /// Nothing but padding.
    #[error("UID is empty")]
    Empty,
    /// More than 64 characters.
    #[error("UID is longer than 64 characters")]
    TooLong,
    /// NUL, slash, backslash, space, a control character or one outside ASCII.
    #[error("UID holds a forbidden character")]
    Character,
}

/// A typed text that is not a UID (PS3.5 9.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a UID: digits and dots, at most 64 characters")]
pub struct NotAUid(String);

impl Uid {
    /// A UID known at compile time.
    pub const fn from_static(uid: &'static str) -> Self {
        Self(Cow::Borrowed(uid))
    }

    /// Reads a UI value, trimmed of trailing NULs and of spaces on either side.
    pub fn from_wire(bytes: &[u8]) -> Self {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        Self(Cow::Owned(text.trim_start_matches(' ').trim_end_matches([' ', '\0']).to_owned()))
    }

    /// A UID from text, trimmed in the same way.
    pub fn new(text: &str) -> Self {
        Self(Cow::Owned(text.trim_start_matches(' ').trim_end_matches([' ', '\0']).to_owned()))
    }

    /// The UID's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing but padding was there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is `[0-9]+(\.[0-9]+)*` with at most 64 characters: the form that is safe as a path component.
    /// (Leading zeros of a component, which PS3.5 9.1 forbids, are let pass.)
    pub fn is_conformant(&self) -> bool {
        self.0.len() <= MAX_LENGTH
            && self.0.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    }

    /// Whether it can name an instance.
    ///
    /// # Errors
    /// [`UidFault`] when it is empty, too long, or holds a character that no UID of any cart has.
    pub fn check(&self) -> Result<Conformance, UidFault> {
        if self.0.is_empty() {
            return Err(UidFault::Empty);
        }
        if self.0.chars().count() > MAX_LENGTH {
            return Err(UidFault::TooLong);
        }
        if !self.0.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\') {
            return Err(UidFault::Character);
        }
        let leading_zero = self.0.split('.').any(|part| part.len() > 1 && part.starts_with('0'));
        if self.is_conformant() && !leading_zero { Ok(Conformance::Conformant) } else { Ok(Conformance::Odd) }
    }

    /// The value padded with one NUL to an even length, as PS3.5 9.1 has it.
    pub fn to_padded(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        bytes
    }
}

impl std::str::FromStr for Uid {
    type Err = NotAUid;

    /// A UID as somebody typed it: conformant but for leading zeros.
    fn from_str(text: &str) -> Result<Self, NotAUid> {
        let uid = Self::new(text);
        if uid.is_conformant() { Ok(uid) } else { Err(NotAUid(text.to_owned())) }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_ascii_graphic() && character != '\\' {
                write!(f, "{character}")?;
            } else {
                write!(f, "\\x{:02x}", u32::from(character))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

/// The DICOM application context (PS3.7 A.2.1).
pub const APPLICATION_CONTEXT: Uid = Uid::from_static("1.2.840.10008.3.1.1.1");
/// Verification SOP class (PS3.4 A.4).
pub const VERIFICATION: Uid = Uid::from_static("1.2.840.10008.1.1");
/// Implicit VR Little Endian.
pub const IMPLICIT_VR_LE: Uid = Uid::from_static("1.2.840.10008.1.2");
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LE: Uid = Uid::from_static("1.2.840.10008.1.2.1");
/// Deflated Explicit VR Little Endian.
pub const DEFLATED_LE: Uid = Uid::from_static("1.2.840.10008.1.2.1.99");
/// Explicit VR Big Endian (retired).
pub const EXPLICIT_VR_BE: Uid = Uid::from_static("1.2.840.10008.1.2.2");
/// Ultrasound Image Storage.
pub const US_IMAGE: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.6.1");
/// Ultrasound Multi-frame Image Storage.
pub const US_MULTIFRAME: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.3.1");

/// This implementation's class UID (PS3.7 D.3.3.2): a random UUID under 2.25, ours alone.
pub const IMPLEMENTATION_CLASS: Uid = Uid::from_static("2.25.9683165558034406097089984394530510824");
/// This implementation's version name (PS3.7 D.3.3.2), at most 16 characters.
pub const IMPLEMENTATION_VERSION: &str = concat!("CHRYSALIS_", env!("CARGO_PKG_VERSION"));
const _: () = assert!(IMPLEMENTATION_VERSION.len() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_nuls_and_spaces_are_no_part_of_a_uid() {
        assert_eq!(Uid::from_wire(b"1.2.3\0"), Uid::new("1.2.3"));
        assert_eq!(Uid::from_wire(b" 1.2.3 \0 "), Uid::new("1.2.3"));
    }

    #[test]
    fn case_72_what_cannot_name_an_instance_is_refused_and_oddities_are_let_pass() {
        assert_eq!(Uid::from_wire(b"1.2\x003").check(), Err(UidFault::Character));
        assert_eq!(Uid::new("../../etc").check(), Err(UidFault::Character));
        assert_eq!(Uid::new("1.2\\3").check(), Err(UidFault::Character));
        assert_eq!(Uid::new("").check(), Err(UidFault::Empty));
        assert_eq!(Uid::new(&"1".repeat(65)).check(), Err(UidFault::TooLong));
        assert_eq!(Uid::new("1.02.3").check(), Ok(Conformance::Odd));
        assert_eq!(Uid::new("1.2.abc").check(), Ok(Conformance::Odd));
        assert_eq!(Uid::new("..").check(), Ok(Conformance::Odd));
        assert_eq!(Uid::new("1.2.3").check(), Ok(Conformance::Conformant));
        assert_eq!(IMPLEMENTATION_CLASS.check(), Ok(Conformance::Conformant));
    }

    #[test]
    fn only_dotted_digits_are_safe_as_a_path_component() {
        assert!(Uid::new("1.2.3").is_conformant());
        for bad in ["", ".", "..", "1..2", "1.2.", "1/2", "a.b"] {
            assert!(!Uid::new(bad).is_conformant(), "{bad}");
        }
    }
}
