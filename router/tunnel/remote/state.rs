//! What a link keeps of what its gateway set, and what follows from what happens. Pure.
//!
//! ```text
//!            offered, judged right              the gateway answers
//!  settled ─────────────────────► on probation ────────────────────► settled: it is the good one
//!     ▲                                │ the deadline is over; it cannot be put in force; too many starts
//!     └────────────────────────────────┘ the good one again
//! ```
//!
//! On probation the new one is in force, the good one is kept beside it, and both are on the disk before anything changes.
//! So whatever moment the power is cut at, a start finds one of two things: settled, or on probation, which then begins anew.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Overlay, TunnelDestination};

/// How often a node starts with one that is on probation: what ends the program every time must not do so for ever.
const MOST_STARTS: u32 = 3;
/// The part of the probation before which an answer does not count: some harm takes a moment to show.
const SETTLES: u32 = 4;

/// What is kept. It is written down before it is acted upon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose it is: what another gateway had set is nothing.
    pub from: String,
    /// The last one that proved good; none is the file alone.
    pub good: Option<Overlay>,
    /// The one that is on probation.
    pub candidate: Option<Candidate>,
    /// What became of the last one that was judged.
    pub last: Option<Report>,
}

/// One that is on probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub overlay: Overlay,
    /// How often the program has started with it.
    pub starts: u32,
    /// Since when, by the clock of the events: since it was put in force, or since the start.
    #[serde(skip)]
    pub since: Duration,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which.
    pub revision: String,
    /// What.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is in force, and has to show that the gateway is still reached.
    Probation,
    /// It is in force for good.
    Applied,
    /// It was never in force.
    Refused {
        /// Why, each with its place and key.
        problems: Vec<String>,
    },
    /// It was in force and is not any more.
    GoneBack {
        /// Why.
        why: String,
    },
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One was offered, and judged right.
    Offered(Overlay),
    /// One was offered, and judged wrong.
    Wrong {
        /// Which.
        revision: String,
        /// Why.
        problems: Vec<String>,
    },
    /// The one on probation cannot be put in force.
    Failed(Vec<String>),
    /// The program has started, with this revision in force.
    Started {
        /// None is the file alone.
        in_force: Option<String>,
        /// Why it is not another one.
        problems: Vec<String>,
    },
    /// The gateway has answered a question that was asked when [`Kept::may_be_asked`].
    Answered,
    /// Time has passed.
    Passed,
}

/// What is to be done, in this order: what is kept is written, then put in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// What is kept is to be written down.
    Write,
    /// That, and what is in force now is to be put in force.
    WriteAndApply,
}

impl Outcome {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Probation => "probation",
            Self::Applied => "applied",
            Self::Refused { .. } => "refused",
            Self::GoneBack { .. } => "gone-back",
        }
    }

    /// Whether something else may still become of it.
    pub fn is_final(&self) -> bool {
        *self != Self::Probation
    }

    /// Why it is not in force, a line for each reason.
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Refused { problems } => problems,
            Self::GoneBack { why } => std::slice::from_ref(why),
            Self::Probation | Self::Applied => &[],
        }
    }
}

impl Kept {
    /// Nothing yet, of this gateway.
    pub fn from(tunnel: &TunnelDestination) -> Self {
        Self { from: source(tunnel), ..Self::default() }
    }

    /// Whether it is of this gateway.
    pub fn is_from(&self, tunnel: &TunnelDestination) -> bool {
        self.from == source(tunnel)
    }

    /// What is laid over the link's own file. Sections that were cleared are none.
    pub fn in_force(&self) -> Option<&Overlay> {
        self.candidate.as_ref().map(|candidate| &candidate.overlay).or(self.good.as_ref())
    }

    /// What a start tries, one after the other, before it does with the file alone.
    pub fn to_try(&self) -> impl Iterator<Item = &Overlay> {
        self.candidate.as_ref().map(|candidate| &candidate.overlay).into_iter().chain(&self.good)
    }

    /// What there is to say of a revision. None: it is not known, and is wanted.
    pub fn report(&self, revision: &str) -> Option<Report> {
        let is = |overlay: &Overlay| overlay.revision == revision;
        let report = |outcome| Some(Report { revision: revision.to_owned(), outcome });
        if self.candidate.as_ref().is_some_and(|candidate| is(&candidate.overlay)) {
            return report(Outcome::Probation);
        }
        let last = self.last.as_ref().filter(|last| last.revision == revision).cloned();
        last.or_else(|| self.good.as_ref().filter(|good| is(good)).and_then(|_| report(Outcome::Applied)))
    }

    /// From when on the gateway's answer counts, and until when it has to have come; none when nothing is on probation.
    pub fn deadlines(&self, probation: Duration) -> Option<(Duration, Duration)> {
        self.candidate
            .as_ref()
            .map(|candidate| (candidate.since + probation / SETTLES, candidate.since + probation))
    }

    /// Something has happened, `now`; `probation` is how long one lasts.
    #[must_use]
    pub fn step(mut self, event: Event, now: Duration, probation: Duration) -> (Self, Then) {
        match (event, self.candidate.take()) {
            (Event::Offered(overlay), _) => {
                self.candidate = Some(Candidate { overlay, starts: 0, since: now });
                (self, Then::WriteAndApply)
            }
            (Event::Wrong { revision, problems }, candidate) => {
                self.candidate = candidate;
                self.last = Some(Report { revision, outcome: Outcome::Refused { problems } });
                (self, Then::Write)
            }
            (Event::Failed(problems), Some(candidate)) => {
                self.give_up(candidate, Outcome::Refused { problems })
            }
            (Event::Started { in_force, problems }, Some(mut candidate)) => {
                if in_force.as_ref() != Some(&candidate.overlay.revision) {
                    return self.give_up(candidate, Outcome::Refused { problems });
                }
                if candidate.starts >= MOST_STARTS {
                    let why = format!("the program started {MOST_STARTS} times with it and did not last");
                    return self.give_up(candidate, Outcome::GoneBack { why });
                }
                candidate.starts += 1;
                candidate.since = now;
                self.candidate = Some(candidate);
                (self, Then::Write)
            }
            (Event::Answered, Some(candidate)) => {
                let revision = candidate.overlay.revision.clone();
                self.last = Some(Report { revision, outcome: Outcome::Applied });
                self.good = Some(candidate.overlay);
                (self, Then::Write)
            }
            (Event::Passed, Some(candidate)) if now >= candidate.since + probation => {
                let why =
                    format!("the gateway was not reached within {}", humantime::format_duration(probation));
                self.give_up(candidate, Outcome::GoneBack { why })
            }
            (Event::Started { in_force, problems }, None) => {
                let Some(revision) = self.good.as_ref().map(|good| good.revision.clone()) else {
                    return (self, Then::Nothing);
                };
                // A good one that does not go with the file stays the good one: the file may be mended.
                let outcome = match in_force.as_ref() == Some(&revision) {
                    true => Outcome::Applied,
                    false => Outcome::Refused { problems },
                };
                let was = self.last.as_ref().filter(|last| last.revision == revision);
                let is_known = was.map_or(outcome == Outcome::Applied, |was| was.outcome == outcome);
                if is_known {
                    return (self, Then::Nothing);
                }
                self.last = Some(Report { revision, outcome });
                (self, Then::Write)
            }
            (Event::Passed, candidate) => {
                self.candidate = candidate;
                (self, Then::Nothing)
            }
            (Event::Failed(_) | Event::Answered, None) => (self, Then::Nothing),
        }
    }

    fn give_up(mut self, candidate: Candidate, outcome: Outcome) -> (Self, Then) {
        self.last = Some(Report { revision: candidate.overlay.revision, outcome });
        (self, Then::WriteAndApply)
    }
}

fn source(tunnel: &TunnelDestination) -> String {
    format!("{} at {}", tunnel.site, tunnel.url)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
