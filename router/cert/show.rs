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
    let days = leaf.seconds_left(now).div_euclid(86_400);
    let state = match () {
        () if leaf.not_before > now => "not valid yet".to_owned(),
        () if days < 0 => format!("expired {} days ago", -days),
        () => format!("{days} days left"),
    };
    format!("{from} to {to}, {state}")
}
