//! What an attempt's end means for the delivery and for its destination: a pure table.
//!
//! What a peer says in words may be a patient's name. It is kept apart from what we say ourselves from here on: only what
//! is stored with the delivery has both, joined by [`Why::stored`], and whoever shows or logs a stored reason to others
//! than those with the token takes the peer's words off with [`without_comment`].

use std::borrow::Cow;
use std::time::Duration;

use chrysalis_queue::{History, Hold, HoldKind};

use crate::dicom::Status;
use crate::dimse::pdu::Rejection;

/// Aborts provoked by one instance after which it counts as refused.
pub(super) const ABORTS_UNTIL_REFUSED: u32 = 3;

/// What stands between our words and the peer's in a stored reason; a `"` ends them.
const SAID: &str = ", said: \"";

/// Why an attempt ended as it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    text: String,
    comment: String,
}

impl Why {
    /// In our words: a status with its meaning, or what happened. Fit for a log and for anybody's eyes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With the peer's words, if it said any. For the journal, and for those with the token: they may tell of a patient.
    pub fn stored(&self) -> String {
        let Self { text, comment } = self;
        // No quotation mark within, so that the end of what was said is known.
        if comment.is_empty() { text.clone() } else { format!("{text}{SAID}{}\"", comment.replace('"', "'")) }
    }

    /// The reason that the destination will not have an instance.
    pub(super) fn refused(&self) -> Hold {
        Hold::new(HoldKind::Refused, self.stored())
    }
}

impl<T: Into<String>> From<T> for Why {
    fn from(text: T) -> Self {
        Self { text: text.into(), comment: String::new() }
    }
}

/// A stored reason without what a peer said in words.
pub fn without_comment(stored: &str) -> Cow<'_, str> {
    let Some((ours, rest)) = stored.split_once(SAID) else { return stored.into() };
    // A reason that was cut ends within the peer's words.
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    Cow::Owned(format!("{ours}{}", without_comment(after)))
}

/// How an attempt ended, as far as the destination is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A C-STORE-RSP.
    Response {
        /// Its status.
        status: Status,
        /// Its error comment, possibly empty.
        comment: String,
        /// What is known of this SOP Instance UID besides this instance.
        history: History,
        /// As what it was sent, where that is not simply as it was received.
        sent: Option<String>,
    },
    /// An A-ASSOCIATE-RJ.
    Rejected(Rejection),
    /// The destination accepted no presentation context at all.
    NothingAccepted,
    /// It does not take this SOP class, but takes others.
    ClassNotAccepted {
        /// The SOP class, by name or UID.
        class: String,
    },
    /// It takes the SOP class, but neither as it is stored nor in any way in which it could be sent.
    SyntaxNotAccepted {
        /// What is stored, what is accepted, and why nothing else can be made of it.
        why: String,
    },
    /// TLS that somebody has to mend: a certificate, a version, a file.
    Insecure(String),
    /// The link lets nobody push to this destination.
    NoEndpoint {
        /// The link's site.
        site: String,
        /// What it was asked for.
        endpoint: String,
    },
    /// It cannot go this way, whatever the destination says.
    Unfit(String),
    /// No connection, silence, or a broken association.
    Unreachable(String),
    /// The association was aborted or broke while this instance was on its way, for the n-th time.
    Aborted {
        /// What happened.
        what: String,
        /// How often this instance has provoked it.
        times: u32,
    },
    /// It was answered with success, and nobody can tell of what, for the n-th time with this instance.
    Unclear {
        /// What happened.
        what: String,
        /// How often that has happened with this instance.
        times: u32,
    },
    /// The destination has it, without a DIMSE status (a folder).
    Stored(String),
    /// Our own copy cannot be read.
    Unreadable(String),
    /// The destination will not have this instance, and says so without a DIMSE status.
    NotTaken {
        /// What happened.
        what: String,
        /// What it said in words, possibly empty.
        comment: String,
    },
    /// The destination will have nothing from us as things are: credentials, a wrong URL.
    NotAdmitted {
        /// What happened.
        what: String,
        /// What it said in words, possibly empty.
        comment: String,
    },
    /// The destination cannot now.
    Failing {
        /// What happened.
        what: String,
        /// What it said in words, possibly empty.
        comment: String,
        /// How long it wants to be left alone, if it said so.
        after: Option<Duration>,
    },
}

/// What follows for the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has arrived.
    Delivered {
        /// What the destination said, for the ledger.
        detail: Why,
        /// It came with a warning.
        is_warning: bool,
    },
    /// Try again later; the destination is ill.
    Retry(Why),
    /// The same, and not before so long: the destination asked for it.
    RetryAfter(Why, Duration),
    /// The destination will have none of it: pause it and alarm, retry slowly.
    Pause(Why),
    /// The destination will not have this instance; held while the destination is well.
    Refused(Why),
    /// Held whatever the destination's health.
    Hold(Hold),
}

impl Verdict {
    /// What the destination answered, or why not; without what it said in words.
    pub fn why(&self) -> Cow<'_, str> {
        match self {
            Self::Delivered { detail: why, .. }
            | Self::Retry(why)
            | Self::RetryAfter(why, _)
            | Self::Pause(why)
            | Self::Refused(why) => why.text().into(),
            Self::Hold(hold) => without_comment(&hold.why),
        }
    }

    /// Whether the destination is to be left alone for now.
    pub(super) fn is_about_destination(&self) -> bool {
        matches!(self, Self::Retry(_) | Self::RetryAfter(..) | Self::Pause(_))
    }
}

/// The table of verdicts.
pub fn judge(end: End) -> Verdict {
    match end {
        End::Response { status, comment, history, sent } => {
            judge_status(status.corrected(), comment, history, sent.as_deref())
        }
        End::Rejected(rejection) if rejection.is_transient() => Verdict::Retry(rejected(&rejection)),
        End::Rejected(rejection) => Verdict::Pause(rejected(&rejection)),
        End::NothingAccepted => Verdict::Pause("it accepts no presentation context".into()),
        End::ClassNotAccepted { class } => {
            refused(format!("destination does not take this SOP class: {class}").into())
        }
        End::SyntaxNotAccepted { why } => {
            refused(format!("destination does not accept the stored transfer syntax: {why}").into())
        }
        End::Unfit(why) => refused(why.into()),
        End::Insecure(what) => Verdict::Pause(what.into()),
        End::NoEndpoint { site, endpoint } => Verdict::Pause(
            format!("the link of site {site} has no \"{endpoint}\" among its endpoints").into(),
        ),
        End::Unreachable(what) => Verdict::Retry(what.into()),
        End::Aborted { what, times } | End::Unclear { what, times } if times >= ABORTS_UNTIL_REFUSED => {
            Verdict::Refused(format!("{what}, {times} times for this instance").into())
        }
        End::Aborted { what, .. } | End::Unclear { what, .. } => Verdict::Retry(what.into()),
        End::Stored(detail) => Verdict::Delivered { detail: detail.into(), is_warning: false },
        End::Unreadable(why) => Verdict::Hold(Hold::new(HoldKind::Damage, why)),
        End::NotTaken { what, comment } => Verdict::Refused(Why { text: what, comment }),
        End::NotAdmitted { what, comment } => Verdict::Pause(Why { text: what, comment }),
        End::Failing { what, comment, after: None } => Verdict::Retry(Why { text: what, comment }),
        End::Failing { what, comment, after: Some(after) } => {
            Verdict::RetryAfter(Why { text: what, comment }, after)
        }
    }
}

/// The peer is named, so that nobody takes a pause that follows for one that a person made.
fn rejected(rejection: &Rejection) -> Why {
    format!("it rejects the association: {rejection}").into()
}

fn refused(why: Why) -> Verdict {
    Verdict::Hold(why.refused())
}

fn judge_status(status: Status, comment: String, history: History, sent: Option<&str>) -> Verdict {
    let text = sent.map_or_else(|| status.to_string(), |sent| format!("{status}, {sent}"));
    let why = Why { text, comment };
    match status.0 {
        0x0000 => Verdict::Delivered { detail: why, is_warning: false },
        0xB000..=0xBFFF => Verdict::Delivered { detail: why, is_warning: true },
        // Duplicate SOP instance: true of these bytes, or of others under the same UID?
        0x0111 if history.delivered_before || !history.other_content => {
            Verdict::Delivered { detail: why, is_warning: true }
        }
        0x0111 => refused(Why { text: format!("{}; another content of this UID is known", why.text), ..why }),
        0x0213 | 0xA700..=0xA7FF => Verdict::Retry(why),
        0x0124 => Verdict::Pause(why),
        _ => Verdict::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Verdict, Why, judge, without_comment};
    use crate::dicom::Status;
    use crate::dimse::pdu::Rejection;
    use chrysalis_queue::History;

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Delivered { is_warning: false, .. } => "delivered",
            Verdict::Delivered { is_warning: true, .. } => "warning",
            Verdict::Retry(_) | Verdict::RetryAfter(..) => "retry",
            Verdict::Pause(_) => "pause",
            Verdict::Refused(_) => "refused",
            Verdict::Hold(_) => "hold",
        }
    }

    fn status(code: u16, history: History) -> &'static str {
        word(&judge(End::Response { status: Status(code), comment: String::new(), history, sent: None }))
    }

    #[test]
    fn every_status_has_its_verdict() {
        let plain = History::default();
        let table = [
            (0x0000, "delivered"),
            (0xB000, "warning"),
            (0xB007, "warning"),
            (0xBFFF, "warning"),
            (0xA700, "retry"),
            (0xA7FF, "retry"),
            (0x0213, "retry"),
            (0x0124, "pause"),
            (0xA900, "refused"),
            (0xC000, "refused"),
            (0xCFFF, "refused"),
            (0x0110, "refused"),
            (0x0117, "refused"),
            (0x0122, "refused"),
            (0x0112, "refused"),
            (0xFF00, "refused"),
            (0xFE00, "refused"),
            (0x1234, "refused"),
            (0x0001, "refused"),
        ];
        for (code, expected) in table {
            assert_eq!(status(code, plain), expected, "{code:04X}");
        }
    }

    #[test]
    fn what_a_peer_said_is_stored_with_the_status_and_can_be_taken_off_whatever_it_is() {
        for comment in ["Name^Of unknown", "\"", ", said: \"Name", "a\", said: \"b", "(Name) \"; Name"] {
            let why = Why { text: "C000 (cannot understand)".into(), comment: comment.into() };
            let stored = why.stored();
            assert!(stored.starts_with("C000 (cannot understand), said: \"") && stored.ends_with('"'));
            assert_eq!(without_comment(&stored), why.text());
            assert_eq!(
                without_comment(&format!("a hold (was: {stored})")),
                format!("a hold (was: {})", why.text())
            );
            assert_eq!(without_comment(&stored[..stored.len() - 1]), why.text(), "cut");
        }
        assert_eq!(Why::from("A700 (out of resources)").stored(), "A700 (out of resources)");
        assert_eq!(without_comment("she said: \"no\""), "she said: \"no\"");
    }

    #[test]
    fn a_verdict_never_has_the_peers_words_among_ours() {
        let history = History { delivered_before: false, other_content: true };
        for code in [0x0000, 0xB000, 0x0111, 0x0213, 0x0124, 0xC000] {
            let verdict =
                judge(End::Response { status: Status(code), comment: "Name^Of".into(), history, sent: None });
            assert!(!verdict.why().contains("Name") && verdict.why().contains(&format!("{code:04X}")));
        }
    }

    #[test]
    fn as_what_it_was_sent_is_said_with_every_status() {
        for code in [0x0000, 0xB000, 0xC000] {
            let sent = Some("as JPEG Baseline (Process 1), SOP Instance UID 2.25.1".to_owned());
            let end = End::Response {
                status: Status(code),
                comment: String::new(),
                history: History::default(),
                sent,
            };
            let why = judge(end).why().into_owned();
            assert!(why.starts_with(&format!("{code:04X}")), "{why}");
            assert!(why.ends_with("), as JPEG Baseline (Process 1), SOP Instance UID 2.25.1"), "{why}");
        }
    }

    #[test]
    fn a_duplicate_is_delivered_only_when_it_can_only_be_this_content() {
        let history = |delivered_before, other_content| History { delivered_before, other_content };
        assert_eq!(status(0x0111, history(false, false)), "warning");
        assert_eq!(status(0x0111, history(true, true)), "warning");
        assert_eq!(status(0x0111, history(false, true)), "hold");
    }

    #[test]
    fn a_rejection_is_said_to_be_the_peer_s() {
        let why =
            |result| judge(End::Rejected(Rejection { result, source: 1, reason: 1 })).why().into_owned();
        assert_eq!(why(1), "it rejects the association: no reason given, permanent (1/1/1)");
        assert_eq!(why(2), "it rejects the association: no reason given, transient (2/1/1)");
    }

    #[test]
    fn rejections_are_retried_or_pause_by_their_result() {
        let rejected =
            |result, source, reason| word(&judge(End::Rejected(Rejection { result, source, reason })));
        for (source, reason) in [(1, 1), (2, 1), (3, 1), (3, 2)] {
            assert_eq!(rejected(2, source, reason), "retry", "2/{source}/{reason}");
        }
        for (source, reason) in [(1, 1), (1, 2), (1, 3), (1, 7), (2, 2)] {
            assert_eq!(rejected(1, source, reason), "pause", "1/{source}/{reason}");
        }
    }

    #[test]
    fn the_third_abort_by_one_instance_counts_as_a_refusal() {
        let aborted = |times| word(&judge(End::Aborted { what: "aborted".into(), times }));
        assert_eq!((aborted(1), aborted(2), aborted(3)), ("retry", "retry", "refused"));
        let unclear = |times| word(&judge(End::Unclear { what: "200, but".into(), times }));
        assert_eq!((unclear(1), unclear(2), unclear(3)), ("retry", "retry", "refused"));
    }

    #[test]
    fn what_is_said_without_a_status_has_its_verdict_and_its_words_apart() {
        let (what, comment) = ("HTTP 4xx".to_owned(), "Name^Of".to_owned());
        let after = Some(std::time::Duration::from_secs(7));
        let ends = [
            (End::NotTaken { what: what.clone(), comment: comment.clone() }, "refused"),
            (End::NotAdmitted { what: what.clone(), comment: comment.clone() }, "pause"),
            (End::Failing { what: what.clone(), comment: comment.clone(), after: None }, "retry"),
            (End::Failing { what: what.clone(), comment, after }, "retry"),
        ];
        for (end, expected) in ends {
            let verdict = judge(end);
            assert_eq!((word(&verdict), &*verdict.why()), (expected, "HTTP 4xx"));
        }
    }

    #[test]
    fn what_cannot_be_negotiated_is_held_unless_nothing_can() {
        assert_eq!(word(&judge(End::ClassNotAccepted { class: "x".into() })), "hold");
        assert_eq!(word(&judge(End::SyntaxNotAccepted { why: "x".into() })), "hold");
        assert_eq!(word(&judge(End::NothingAccepted)), "pause");
        assert_eq!(word(&judge(End::Unreachable("x".into()))), "retry");
        assert_eq!(word(&judge(End::Unreadable("x".into()))), "hold");
    }
}
