//! A certificate in words.

use std::fmt;

use time::OffsetDateTime;

use crate::tls::Leaf;

/// A certificate as people see it, at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// What it says.
    pub leaf: &'a Leaf,
    /// Days left are counted from here.
    pub now: OffsetDateTime,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Leaf { subject, issuer, version, key, pin, .. } = self.leaf;
        let own = if self.leaf.is_self_signed() { " (itself)" } else { "" };
        let names: Vec<_> = self.leaf.names.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let authority = if self.leaf.is_ca { ", an authority" } else { "" };
        writeln!(f, "  subject  {subject}")?;
        writeln!(f, "  issuer   {issuer}{own}")?;
        writeln!(f, "  names    {names}")?;
        writeln!(f, "  valid    {}", validity(self.leaf, self.now))?;
        writeln!(f, "  form     X.509 v{version}, {key}{authority}")?;
        writeln!(f, "  pin      {pin}")
    }
}

/// From when to when, and how many days are left.
pub fn validity(leaf: &Leaf, now: OffsetDateTime) -> String {
    let (from, to) = (leaf.not_before.date(), leaf.not_after.date());
    let state = if leaf.not_before > now { "not valid yet".to_owned() } else { left(leaf.seconds_left(now)) };
    format!("{from} to {to}, {state}")
}

/// How long a certificate is still valid, or since when it is not: whole days, and less than two of them in hours.
pub fn left(seconds: i64) -> String {
    let span = seconds.unsigned_abs();
    let span = match span {
        0..7_200 => "less than 2 hours".to_owned(),
        7_200..172_800 => format!("{} hours", span.div_ceil(3_600)),
        _ => format!("{} days", span / 86_400),
    };
    if seconds > 0 { format!("{span} left") } else { format!("expired {span} ago") }
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn a_day_that_is_left_is_not_shown_as_none() {
        let table = [
            (30 * 86_400 - 1, "29 days left"),
            (2 * 86_400, "2 days left"),
            (86_400 - 1, "24 hours left"),
            (59, "less than 2 hours left"),
            (-59, "expired less than 2 hours ago"),
            (-3 * 86_400, "expired 3 days ago"),
        ];
        for (seconds, words) in table {
            assert_eq!(left(seconds), words, "{seconds}");
        }
    }
}
