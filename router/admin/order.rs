//! A decision about many deliveries as it is asked for, and as it is answered.

use std::collections::BTreeMap;

use chrysalis_queue::Unavailable;
use serde::{Deserialize, Serialize};

use super::filter::{Asked, FilterError};
use super::search::SearchError;

/// Instances that one request may name.
pub(super) const MAX_NAMED: usize = 10_000;
/// Failures that are told one by one; the others are counted.
const MAX_FAILURES: usize = 100;

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Try again now; what has no route is routed by today's rules.
    Retry,
    /// Let go what is held.
    Release,
    /// Keep back.
    Hold,
    /// Give up for good.
    Discard,
    /// Owe it to other destinations instead.
    Reroute,
    /// Send again what was delivered.
    Resend,
}

impl Verb {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Retry, Self::Release, Self::Hold, Self::Discard, Self::Reroute, Self::Resend];

    /// The word in paths and in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Hold => "hold",
            Self::Discard => "discard",
            Self::Reroute => "reroute",
            Self::Resend => "resend",
        }
    }

    /// What a filter that names no state is about: a sweep must not send again what was delivered, nor discard what is
    /// about to leave. To resend looks at more than it sends, so that what is left out of a study is counted; somewhere
    /// new goes what is in any state.
    pub(super) fn states(self, somewhere_new: bool) -> Vec<&'static str> {
        match self {
            Self::Retry => vec!["held", "waiting", "ready"],
            Self::Release | Self::Discard => vec!["held"],
            Self::Hold => vec!["ready", "waiting"],
            // What is under way is refused one by one, so that nobody takes it for done.
            Self::Reroute => vec!["held", "waiting", "ready", "leased"],
            Self::Resend if somewhere_new => Vec::new(),
            Self::Resend => vec!["delivered", "ready", "waiting", "leased", "held", "discarded"],
        }
    }
}

/// A decision as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Order {
    /// These instances; or else [`Order::filter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<String>>,
    /// What passes this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Asked>,
    /// A filter that lets everything pass is meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of the named instances only what is owed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Why; kept with the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Reroute: from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Reroute and resend: to these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Who decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Say what would change, and change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Why nothing is decided, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// It asks for what makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// More instances are named than are taken.
    #[error("at most {MAX_NAMED} instances at a time; a filter may be about any number")]
    TooMany,
    /// The search for what is meant failed.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl From<FilterError> for OrderError {
    fn from(error: FilterError) -> Self {
        Self::Search(error.into())
    }
}

impl From<Unavailable> for OrderError {
    fn from(error: Unavailable) -> Self {
        Self::Search(error.into())
    }
}

/// What a decision came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Deliveries that it was about: those that changed, those that failed and those that were passed over.
    pub matched: u64,
    /// Those that changed, durably; in a dry run, those that would.
    pub changed: u64,
    /// Some of those that did not.
    pub failed: Vec<Failure>,
    /// How many did not.
    pub failed_total: u64,
    /// Of these: whose data is no longer in the spool.
    pub gone: u64,
    /// Those that a decision by filter leaves alone, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub passed_over: BTreeMap<String, u64>,
    /// Instances that could not be told to be the patient's or not, because their data is gone or unreadable.
    pub unread: u64,
}

/// A delivery that did not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The queue's own id of the instance.
    pub instance: String,
    /// Which of its deliveries; none where it is about the instance as a whole.
    pub destination: Option<String>,
    /// Why.
    pub error: String,
}

impl Outcome {
    /// Notes a delivery that is left alone.
    pub(super) fn pass_over(&mut self, why: String) {
        *self.passed_over.entry(why).or_default() += 1;
    }

    /// Notes a delivery, or an instance, that did not change.
    pub(super) fn fail(&mut self, instance: &str, destination: Option<&str>, error: String) {
        self.failed_total += 1;
        if self.failed.len() < MAX_FAILURES {
            let (instance, destination) = (clean(instance, 40), destination.map(str::to_owned));
            self.failed.push(Failure { instance, destination, error });
        }
    }
}

/// A text from outside, bounded and without what is not printable.
pub(super) fn clean(text: &str, longest: usize) -> String {
    let text = text.trim().chars().filter(|character| !character.is_control());
    text.take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::{MAX_FAILURES, Outcome, clean};

    #[test]
    fn a_text_from_outside_is_printable_and_bounded() {
        assert_eq!(clean(" \u{1b}[2J\n", 64), "[2J");
        assert_eq!(clean(&"x".repeat(1000), 64).len(), 64);
    }

    #[test]
    fn failures_are_counted_beyond_those_that_are_told() {
        let mut outcome = Outcome::default();
        for _ in 0..250 {
            outcome.fail("1-1", Some("pacs"), "no".to_owned());
        }
        assert_eq!((outcome.failed.len(), outcome.failed_total), (MAX_FAILURES, 250));
    }
}
