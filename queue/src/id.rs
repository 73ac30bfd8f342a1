//! What an instance is called: its receive sequence, and the name of its file.

use std::fmt;
use std::str::FromStr;

/// The receive sequence: (boot, n). It orders everything, because a clock can be set back. Written `boot-n`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(boot: u32, n: u32) -> Self {
        Self(u64::from(boot) << 32 | u64::from(n))
    }

    pub(crate) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    /// How often the queue had been opened when this was received, counted from 1.
    #[must_use]
    pub fn boot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The sequence just before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The sequence just after this one.
    pub(crate) fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The place within that boot, counted from 1.
    #[must_use]
    pub fn n(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot(), self.n())
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not `boot-n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instance is named by two numbers, as in 3-17")]
pub struct NotASequence;

impl FromStr for Sequence {
    type Err = NotASequence;

    fn from_str(text: &str) -> Result<Self, NotASequence> {
        let (boot, n) = text.split_once('-').ok_or(NotASequence)?;
        let boot = boot.parse().map_err(|_| NotASequence)?;
        let n = n.parse().map_err(|_| NotASequence)?;
        Ok(Self::new(boot, n))
    }
}

/// Crockford's base 32, as the ULID specification uses it.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A file's name without its extension, a ULID: 48 bits of milliseconds, then boot and a counter, which together
/// never repeat in one spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(crate) u128);

impl Name {
    pub(crate) fn new(now_ms: u64, boot: u32, counter: u32) -> Self {
        let time = u128::from(now_ms & 0xFFFF_FFFF_FFFF) << 80;
        Self(time | u128::from(boot) << 32 | u128::from(counter))
    }

    /// How often the queue had been opened when the file was created.
    pub(crate) fn boot(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..26).rev() {
            let digit = (self.0 >> (place * 5)) as usize & 31;
            write!(f, "{}", char::from(ALPHABET[digit]))?;
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = NotASequence;

    fn from_str(text: &str) -> Result<Self, NotASequence> {
        if text.len() != 26 {
            return Err(NotASequence);
        }
        let mut value = 0u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|&c| c == byte).ok_or(NotASequence)?;
            value = value << 5 | digit as u128;
        }
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, Sequence};

    #[test]
    fn a_sequence_and_a_name_read_back_as_they_are_written() {
        let sequence = Sequence::new(3, 17);
        assert_eq!(sequence.to_string(), "3-17");
        assert_eq!("3-17".parse(), Ok(sequence));
        assert!("317".parse::<Sequence>().is_err());
        let name = Name::new(1_700_000_000_000, 3, 17);
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(name.to_string().len(), 26);
    }

    #[test]
    fn a_later_boot_comes_after_every_sequence_of_the_one_before() {
        assert!(Sequence::new(2, 1) > Sequence::new(1, u32::MAX));
    }
}
