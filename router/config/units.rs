//! Durations, sizes and shares as people write them: `500ms`, `256MiB`, `90%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("{0:?} is not a duration such as \"500ms\", \"30s\", \"5m\" or \"72h\"")]
    Duration(String),
    /// Not a number of bytes.
    #[error("{0:?} is not a size such as 65536, \"128KiB\", \"256MiB\" or \"4GiB\"")]
    Size(String),
    /// Not a whole share of a hundred.
    #[error("{0:?} is not a share from \"1%\" to \"100%\"")]
    Percent(String),
}

/// A share of a whole, 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// The share as a whole number, 1 to 100.
    pub fn get(self) -> u8 {
        self.0
    }

    /// This share of `total`, rounded down.
    pub fn of(self, total: u64) -> u64 {
        let share = u128::from(total) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<u8>().ok());
        match number {
            Some(share @ 1..=100) => Ok(Self(share)),
            _ => Err(UnitError::Percent(text.to_owned())),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A duration in humantime's notation; units may be combined (`1h 30m`).
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    humantime::parse_duration(text.trim()).map_err(|_| UnitError::Duration(text.to_owned()))
}

/// A number of bytes: a plain integer, or one with a binary (`KiB`) or decimal (`kB`) unit.
pub(crate) fn size(text: &str) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = trimmed.split_at(digits);
    let scale =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start())).map(|(_, scale)| *scale);
    let bytes = number.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
    bytes.ok_or_else(|| UnitError::Size(text.to_owned()))
}

/// Writes a size with the largest binary unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value != 0 && value.is_multiple_of(1024) && unit + 1 < units.len() {
        value /= 1024;
        unit += 1;
    }
    match units.get(unit) {
        Some(&"B") | None => value.to_string(),
        Some(name) => format!("{value}{name}"),
    }
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::{Percent, duration, size, size_text};
    use std::time::Duration;

    #[test]
    fn durations_are_read_down_to_milliseconds() {
        let table = [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("72h", 259_200_000),
            ("90d", 7_776_000_000),
            ("1m 1s", 61_000),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "-1s", "five minutes", "1e9s", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let table = [
            ("0", 0),
            ("65536", 65536),
            ("128KiB", 131_072),
            ("256 MiB", 268_435_456),
            ("4GiB", 1 << 32),
            ("1MB", 1_000_000),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "1XiB", "99999999999TiB", "18446744073709551616"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_would_be_typed() {
        for text in ["0", "1", "1025", "128KiB", "256MiB", "4GiB", "2048TiB"] {
            assert_eq!(size(text).map(size_text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_share_is_between_one_and_a_hundred_percent() {
        let ninety: Percent = "90%".parse().expect("a share");
        assert_eq!((ninety.get(), ninety.of(1000), ninety.of(u64::MAX)), (90, 900, u64::MAX / 10 * 9 + 4));
        for text in ["0%", "101%", "90", "-1%", "", "%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
