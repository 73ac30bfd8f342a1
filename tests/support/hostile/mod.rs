//! The list of hostile and broken input as data: what is said by which door, and what is the right answer. The same rows run
//! against the acceptor in memory, one test each, and in rounds against a running node.
//!
//! Cases have numbers, which stand in their names: a test asserts that none is missing.

pub mod accepted;
pub mod answers;
mod associations;
pub mod bytes;
pub mod data_sets;
mod messages;
pub mod pdus;

use answers::Answers;

/// The listener by which a case comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// As built in.
    Open,
    /// With lists of AE titles: called [`CALLED`], calling [`CALLING`].
    Listed,
    /// For the user [`USER`] with [`PASSCODE`] only.
    Identified,
    /// For data sets of at most [`SHORT`] bytes.
    Short,
}

impl Door {
    pub const ALL: [Self; 4] = [Self::Open, Self::Listed, Self::Identified, Self::Short];
}

pub const CALLED: &str = "ROUTER";
pub const CALLING: &str = "VIVID1";
pub const USER: &str = "cart";
pub const PASSCODE: &str = "not-to-be-read-anywhere";
pub const SHORT: u64 = 1024;

/// One connection: everything that is sent, and what has to be answered.
pub struct Talk {
    pub door: Door,
    pub sent: Vec<u8>,
    /// Instances that are stored by it.
    pub stores: usize,
    pub judge: Judge,
}

/// Whether this is the right answer.
pub type Judge = Box<dyn Fn(&Answers) -> bool + Send + Sync>;

/// A case, named by number and sentence.
pub struct Case {
    pub name: &'static str,
    pub talks: Vec<Talk>,
}

/// Every case that is bytes sent and an answer.
pub fn cases() -> Vec<Case> {
    [pdus::cases(), associations::cases(), messages::cases()].into_iter().flatten().collect()
}

impl Case {
    fn new(name: &'static str, talks: impl IntoIterator<Item = Talk>) -> Self {
        Self { name, talks: talks.into_iter().collect() }
    }
}

impl Talk {
    fn new(sent: Vec<u8>, judge: impl Fn(&Answers) -> bool + Send + Sync + 'static) -> Self {
        Self { door: Door::Open, sent, stores: 0, judge: Box::new(judge) }
    }

    /// The last word is this A-ABORT.
    fn aborted(source: u8, reason: u8, sent: impl Into<Vec<u8>>) -> Self {
        Self::new(sent.into(), move |answers| answers.abort() == Some((source, reason)))
    }

    /// The same on an association that is open, and nothing was answered in between.
    fn open_aborted(source: u8, reason: u8, sent: impl AsRef<[u8]>) -> Self {
        let judge = move |answers: &Answers| {
            answers.is_accepted() && answers.0.len() == 2 && answers.abort() == Some((source, reason))
        };
        Self::new([&bytes::Rq::default().bytes(), sent.as_ref()].concat(), judge)
    }

    /// The only word is this A-ASSOCIATE-RJ.
    fn rejected(result: u8, source: u8, reason: u8, rq: &bytes::Rq) -> Self {
        Self::new(rq.bytes(), move |answers| {
            answers.0.len() == 1 && answers.rejection() == Some((result, source, reason))
        })
    }

    /// Accepted, and released as asked; and this is so.
    fn released(rq: &bytes::Rq, judge: impl Fn(&Answers) -> bool + Send + Sync + 'static) -> Self {
        let sent = [&rq.bytes()[..], &bytes::RELEASE].concat();
        Self::new(sent, move |answers| answers.is_accepted() && answers.is_released() && judge(answers))
    }

    /// The contexts of this request are answered so, and the association is released as asked.
    fn negotiated(items: Vec<u8>, results: &[(u8, u8)]) -> Self {
        let results = results.to_vec();
        let rq = bytes::Rq { items, ..bytes::Rq::default() };
        Self::released(&rq, move |answers| answers.results() == results)
    }

    /// On an open association that is released afterwards, the one response has this status and comment.
    fn answered(status: u16, comment: &'static str, sent: impl AsRef<[u8]>) -> Self {
        let sent = [&bytes::Rq::default().bytes(), sent.as_ref(), &bytes::RELEASE].concat();
        let judge = move |answers: &Answers| match &answers.statuses()[..] {
            [(found, said)] => {
                let is_said = if comment.is_empty() { said.is_empty() } else { said.contains(comment) };
                *found == status && is_said && answers.is_released()
            }
            _ => false,
        };
        Self::new(sent, judge)
    }

    /// On an open association that is released afterwards, one instance is stored.
    fn stored(sent: impl AsRef<[u8]>) -> Self {
        Self::answered(0, "", sent).storing(1)
    }

    fn storing(self, stores: usize) -> Self {
        Self { stores, ..self }
    }

    fn by(self, door: Door) -> Self {
        Self { door, ..self }
    }
}
