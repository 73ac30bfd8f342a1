//! What would become of an instance, told before it is sent.

use serde::Serialize;

use super::ladder;
use super::plan::{Accepts, Plan, Recipe, called, not_accepted, plan};
use super::subject::Subject;
use super::want::Compression;

/// One way in which an instance may leave, and why so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// In which transfer syntax, by name; `as received` where nothing is changed; `held` where it does not leave.
    #[serde(rename = "as")]
    pub form: String,
    /// Its UID; none where it is held.
    pub transfer_syntax_uid: Option<String>,
    /// Why, for administrators.
    pub why: String,
}

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// It takes whatever it is given, or refuses it then: a folder, a DICOMweb server.
    TakesAnything,
    /// It says what it accepts when it is asked, as a storage SCP does.
    Negotiates,
}

/// What becomes of `subject` for whoever wants `wish`: first where everything is accepted, then where that is not, and so
/// on down to the bottom, which is `held` for a receiver that accepts nothing of it.
pub fn expect(subject: &Subject, wish: &Compression, receiver: Receiver) -> Vec<Expectation> {
    let mut accepted = ladder::syntaxes(wish, &subject.syntax);
    let mut ways = Vec::with_capacity(accepted.len() + 1);
    let mut next = plan(subject, wish, &Accepts::Anything);
    if receiver == Receiver::TakesAnything {
        return vec![Expectation::of(subject, next)];
    }
    let mut said: Vec<String> = Vec::new();
    loop {
        let gone = match &next {
            Plan::PassThrough { .. } => subject.syntax.clone(),
            Plan::Transcode(recipe) => recipe.to.clone(),
            Plan::Hold { .. } => {
                let mut bottom = Expectation::of(subject, next).but_for(&said);
                if !ways.is_empty() {
                    bottom.why = NONE_OF_THESE.to_owned();
                }
                ways.push(bottom);
                return ways;
            }
        };
        let way = Expectation::of(subject, next);
        ways.push(way.clone().but_for(&said));
        said.extend(way.reasons().map(str::to_owned));
        said.push(not_accepted(&gone));
        accepted.retain(|syntax| *syntax != gone);
        next = plan(subject, wish, &Accepts::These(accepted.clone()));
    }
}

impl Expectation {
    fn of(subject: &Subject, plan: Plan) -> Self {
        match plan {
            Plan::PassThrough { why } => {
                let form = format!("as received ({})", called(&subject.syntax));
                Self { form, transfer_syntax_uid: Some(subject.syntax.0.to_string()), why }
            }
            Plan::Transcode(Recipe { to, why, .. }) => {
                Self { form: called(&to).to_owned(), transfer_syntax_uid: Some(to.0.to_string()), why }
            }
            Plan::Hold { why } => Self { form: "held".to_owned(), transfer_syntax_uid: None, why },
        }
    }

    fn reasons(&self) -> impl Iterator<Item = &str> {
        self.why.split(BETWEEN)
    }

    /// Without the reasons that were given already, as far as there are others.
    fn but_for(mut self, said: &[String]) -> Self {
        let new: Vec<_> = self.reasons().filter(|reason| !said.iter().any(|said| said == reason)).collect();
        if !new.is_empty() {
            self.why = new.join(BETWEEN);
        }
        self
    }
}

/// Why it is held at the bottom.
const NONE_OF_THESE: &str = "the receiver accepts none of these";

/// What stands between the reasons of a plan.
const BETWEEN: &str = "; ";
