//! Times at which the PACS is down: as written, and in order.

use std::str::FromStr;
use std::time::Duration;

/// A time at which the PACS is down, in modelled time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downtime {
    /// When it goes, since the first study is due.
    pub start: Duration,
    /// How long it is away.
    pub length: Duration,
}

/// Why text is not a [`Downtime`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DowntimeError {
    /// There is no plus sign between start and length.
    #[error("expected START+LENGTH, as in 1h+4h")]
    Shape,
    /// One of the two is no duration.
    #[error("{0:?} is not a duration such as 30m or 4h")]
    Duration(String),
    /// It ends when it begins.
    #[error("it has no length")]
    Empty,
}

impl Downtime {
    /// When the PACS is back.
    pub fn end(&self) -> Duration {
        self.start + self.length
    }
}

impl FromStr for Downtime {
    type Err = DowntimeError;

    fn from_str(text: &str) -> Result<Self, DowntimeError> {
        let (start, length) = text.split_once('+').ok_or(DowntimeError::Shape)?;
        let read = |text: &str| {
            humantime::parse_duration(text.trim())
                .map_err(|_| DowntimeError::Duration(text.trim().to_owned()))
        };
        // Nought needs no unit.
        let start = if start.trim() == "0" { Duration::ZERO } else { read(start)? };
        let length = read(length)?;
        if length.is_zero() {
            return Err(DowntimeError::Empty);
        }
        Ok(Self { start, length })
    }
}

impl std::fmt::Display for Downtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let squeezed = |duration: Duration| humantime::format_duration(duration).to_string().replace(' ', "");
        write!(f, "{}+{}", squeezed(self.start), squeezed(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_read_and_shown_alike() {
        for text in ["1h+4h", "0s+30m", "1h30m+2s"] {
            assert_eq!(text.parse::<Downtime>().unwrap().to_string(), text);
        }
        let hour = Duration::from_secs(3600);
        assert_eq!("0+1h".parse(), Ok(Downtime { start: Duration::ZERO, length: hour }));
        assert_eq!("1h+4h".parse::<Downtime>().unwrap().end(), 5 * hour);
    }

    #[test]
    fn what_is_wrong_with_an_outage_is_said() {
        let error = |text: &str| text.parse::<Downtime>().unwrap_err();
        assert_eq!(error("4h"), DowntimeError::Shape);
        assert_eq!(error("1h+soon"), DowntimeError::Duration("soon".into()));
        assert_eq!(error("1h+0s"), DowntimeError::Empty);
    }
}
