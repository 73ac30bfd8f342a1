//! Whether everything is as a node needs it, before it starts or while it runs: findings, each with what it means and what to
//! try. Nothing is changed by looking.

mod machine;
mod profile;
mod sites;
mod spool;
mod tls;

use std::fmt;

use serde::Serialize;

pub use machine::{clock, data_dir, descriptors, ports};
pub use profile::profile;
pub use sites::sites;
pub use spool::{Inside, Look, is_locked, look, spool};
pub use tls::certificates;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at: `spool`, `port`, `destination pacs`.
    pub about: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What that means, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// What to try.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but is it meant?
    Question,
    /// It does not work.
    Failed,
}

impl Line {
    /// As it should be.
    pub fn ok(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { about: about.into(), state: State::Ok, what: what.into(), means: None, attempt: None }
    }

    /// It works, but is it meant?
    pub fn question(about: impl Into<String>, what: impl Into<String>, means: &str, attempt: &str) -> Self {
        let (means, attempt) = (Some(means.to_owned()), Some(attempt.to_owned()));
        Self { about: about.into(), state: State::Question, what: what.into(), means, attempt }
    }

    /// It does not work.
    pub fn failed(about: impl Into<String>, what: impl Into<String>, means: &str, attempt: &str) -> Self {
        Self { state: State::Failed, ..Self::question(about, what, means, attempt) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ok => "ok",
            State::Question => "question",
            State::Failed => "FAILED",
        };
        write!(f, "{state:<8} {}: {}", self.about, self.what)?;
        for (word, text) in [("means", &self.means), ("try", &self.attempt)] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                write!(f, "\n           {word:<5}  {text}")?;
            }
        }
        Ok(())
    }
}
