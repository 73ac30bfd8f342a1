//! A moment as people write it: a date, a time of day, both, `yesterday`, or an age such as `2h`.

use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone};

/// What is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment; write 2026-11-21, \"2026-11-21 14:00\", 2026-11-21T14:00:00Z, 14:00, today, yesterday, \"yesterday 14:00\", or an age such as 90m or 2d"
)]
pub struct NotAMoment(String);

/// Which end of a span a moment is: a whole day begins at one and ends at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The first moment that counts.
    Since,
    /// The last one.
    Until,
}

/// Reads a moment, in milliseconds since 1970. Without an offset it is in the time zone of this machine.
///
/// # Errors
/// [`NotAMoment`].
pub(crate) fn parse(text: &str, edge: Edge) -> Result<u64, NotAMoment> {
    read(text, edge, Local::now()).ok_or_else(|| NotAMoment(text.chars().take(40).collect()))
}

/// A moment written so that any machine reads it alike (RFC 3339).
pub(crate) fn write(wall_ms: u64) -> String {
    let moment = i64::try_from(wall_ms).ok().and_then(DateTime::from_timestamp_millis);
    moment.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    since_1970(&Local::now()).unwrap_or_default()
}

fn read<Z: TimeZone>(text: &str, edge: Edge, now: DateTime<Z>) -> Option<u64> {
    let text = text.trim();
    let zone = now.timezone();
    let today = now.date_naive();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return since_1970(&moment);
    }
    if let Ok(age) = humantime::parse_duration(text) {
        return since_1970(&now.checked_sub_signed(chrono::Duration::from_std(age).ok()?)?);
    }
    let day = |text: &str| match text {
        "today" => Some(today),
        "yesterday" => today.checked_sub_days(Days::new(1)),
        _ => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok(),
    };
    if let Some(day) = day(text) {
        return match edge {
            Edge::Since => begin(day, &zone),
            Edge::Until => begin(day.checked_add_days(Days::new(1))?, &zone)?.checked_sub(1),
        };
    }
    let local = match text.split_once([' ', 'T']) {
        Some((date, time)) => day(date)?.and_time(time_of_day(time.trim_start())?),
        None => today.and_time(time_of_day(text)?),
    };
    at(local, &zone)
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok())
}

fn begin<Z: TimeZone>(day: NaiveDate, zone: &Z) -> Option<u64> {
    at(day.and_time(NaiveTime::MIN), zone)
}

/// Where clocks are turned back a local time comes twice, and the first is meant; where they are turned forward some
/// never come, and an hour later is.
fn at<Z: TimeZone>(local: NaiveDateTime, zone: &Z) -> Option<u64> {
    let later = || local.checked_add_signed(chrono::Duration::hours(1));
    let moment = zone.from_local_datetime(&local).earliest();
    since_1970(&moment.or_else(|| zone.from_local_datetime(&later()?).earliest())?)
}

fn since_1970<Z: TimeZone>(moment: &DateTime<Z>) -> Option<u64> {
    u64::try_from(moment.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::{Edge, parse, read, write};
    use chrono::DateTime;

    /// Read at 09:30 on 21 November 2026, one hour east of Greenwich.
    fn moment(text: &str, edge: Edge) -> String {
        let now = DateTime::parse_from_rfc3339("2026-11-21T09:30:00+01:00").expect("a moment");
        read(text, edge, now).map(write).unwrap_or_default()
    }

    #[test]
    fn dates_times_and_ages_are_moments() {
        let table = [
            ("2026-11-20", "2026-11-19T23:00:00.000Z"),
            ("2026-11-20 14:00", "2026-11-20T13:00:00.000Z"),
            ("2026-11-20T14:00:05", "2026-11-20T13:00:05.000Z"),
            ("2026-11-20T14:00:05Z", "2026-11-20T14:00:05.000Z"),
            ("2026-11-20T14:00:05-02:00", "2026-11-20T16:00:05.000Z"),
            ("today", "2026-11-20T23:00:00.000Z"),
            ("yesterday", "2026-11-19T23:00:00.000Z"),
            ("08:15", "2026-11-21T07:15:00.000Z"),
            ("today 08:15", "2026-11-21T07:15:00.000Z"),
            ("yesterday 14:00:30", "2026-11-20T13:00:30.000Z"),
            ("2h", "2026-11-21T06:30:00.000Z"),
            ("1d 30m", "2026-11-20T08:00:00.000Z"),
        ];
        for (text, expected) in table {
            assert_eq!(moment(text, Edge::Since), expected, "{text}");
        }
    }

    #[test]
    fn a_day_is_meant_to_its_end_where_a_span_ends() {
        assert_eq!(moment("yesterday", Edge::Until), "2026-11-20T22:59:59.999Z");
        assert_eq!(moment("2026-11-20", Edge::Until), "2026-11-20T22:59:59.999Z");
        assert_eq!(moment("2026-11-20 14:00", Edge::Until), "2026-11-20T13:00:00.000Z");
    }

    #[test]
    fn what_is_no_moment_is_said_to_be_none() {
        for text in [
            "",
            "tomorrow",
            "2026-13-01",
            "21.11.2026",
            "24:00",
            "tomorrow 14:00",
            "yesterday 2h",
            "1900-01-01",
            "99999999999y",
        ] {
            let error = parse(text, Edge::Since).expect_err(text).to_string();
            assert!(error.contains("yesterday"), "{error}");
        }
    }
}
