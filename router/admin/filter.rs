//! Which deliveries: the one filter of listings and of every decision, as it is written and as it is meant.

use std::borrow::Cow;
use std::sync::Arc;

use chrysalis_queue::{self as queue, Glimpse, Instance, Select, Sequence};
use serde::{Deserialize, Serialize};

use super::moment::{self, Edge, NotAMoment};
use crate::config::Config;
use crate::dicom::Pattern;

/// The states that a delivery is shown in.
pub const STATES: [&str; 7] = ["ready", "waiting", "leased", "held", "delivered", "superseded", "discarded"];

/// A filter as it is written. What is left out lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// Study Instance UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
    /// Patient ID, with `*` and `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_id: Option<String>,
    /// Accession number, with `*` and `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accession: Option<String>,
    /// Calling AE title, with `*` and `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calling_ae: Option<String>,
    /// The listener it came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The site whose link brought it, with `*` and `?`; empty is what came without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// SOP Instance UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sop_instance: Option<String>,
    /// Where it is owed; `none` is what has no route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// One state, or several with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Text that the reason contains, in whatever case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Received then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Received then or earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Owed for longer than this, such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<String>,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not one of [`STATES`].
    #[error("{0:?} is not a state; there is: {known}", known = STATES.join(", "))]
    State(String),
    /// A time that cannot be read.
    #[error("{key}: {error}")]
    Moment {
        /// Which field.
        key: &'static str,
        /// What is wrong with it.
        error: NotAMoment,
    },
    /// Nothing is received then.
    #[error("since is later than until: nothing is received then")]
    Backwards,
    /// An age that cannot be read.
    #[error("older_than: {0:?} is no duration; write 90m, 2h or 3d")]
    Age(String),
    /// A name that nothing has.
    #[error("there is no {what} {name:?}; there is: {known}")]
    Unknown {
        /// What sort of name.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// A filter as it is meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub(super) study: Option<String>,
    pub(super) patient_id: Option<Pattern>,
    pub(super) accession: Option<Pattern>,
    pub(super) calling_ae: Option<Pattern>,
    pub(super) listener: Option<String>,
    pub(super) site: Option<Pattern>,
    pub(super) sop_instance: Option<String>,
    pub(super) destination: Option<String>,
    /// None stands for any.
    pub(super) states: Vec<&'static str>,
    /// In lower case.
    pub(super) reason: Option<String>,
    pub(super) since: Option<u64>,
    pub(super) until: Option<u64>,
    /// Owed since before this moment.
    pub(super) owed_before: Option<u64>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterError`] says which field cannot be meant.
    pub fn read(asked: &Asked) -> Result<Self, FilterError> {
        let moment = |key, text: &Option<String>, edge| {
            let read = text.as_deref().map(|text| moment::parse(text, edge)).transpose();
            read.map_err(|error| FilterError::Moment { key, error })
        };
        let age = asked.older_than.as_deref().map(|text| {
            humantime::parse_duration(text).map_err(|_| FilterError::Age(text.chars().take(40).collect()))
        });
        let before = |age: std::time::Duration| {
            moment::now().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
        };
        let pattern = |text: &Option<String>| text.as_deref().and_then(asks);
        let since = moment("since", &asked.since, Edge::Since)?;
        let until = moment("until", &asked.until, Edge::Until)?;
        check_span(since, until)?;
        let trimmed = |text: &Option<String>| text.as_deref().map(|text| text.trim().to_owned());
        Ok(Self {
            study: trimmed(&asked.study),
            patient_id: pattern(&asked.patient_id),
            accession: pattern(&asked.accession),
            calling_ae: pattern(&asked.calling_ae),
            listener: asked.listener.clone(),
            site: pattern(&asked.site),
            sop_instance: trimmed(&asked.sop_instance),
            destination: asked.destination.clone(),
            states: states(asked.state.as_deref())?,
            reason: asked.reason.as_deref().map(str::to_lowercase).filter(|reason| !reason.is_empty()),
            since,
            until,
            owed_before: age.transpose()?.map(before),
        })
    }

    /// Whether nothing that there is fails it.
    pub fn is_everything(&self) -> bool {
        let Self { study, patient_id, accession, calling_ae, listener, sop_instance, .. } = self;
        let Self { site, destination, states, reason, since, until, owed_before, .. } = self;
        let texts = [study, listener, sop_instance, destination, reason];
        let times = [since, until, owed_before];
        texts.iter().all(|text| text.is_none())
            && times.iter().all(|time| time.is_none())
            && [patient_id, accession, calling_ae, site].iter().all(|pattern| pattern.is_none())
            && states.is_empty()
    }

    /// Whether it asks for what only the data sets themselves tell.
    pub fn asks_for_patient(&self) -> bool {
        self.patient_id.is_some() || self.accession.is_some()
    }

    /// A filter for what came in by one listener.
    pub(super) fn by_listener(listener: &str) -> Self {
        Self { listener: Some(listener.to_owned()), ..Self::default() }
    }

    /// What the queue itself is asked for: everything but what the data sets tell, and but the states and reasons that
    /// depend on the configuration.
    pub(super) fn to_queue(self: &Arc<Self>, after: Option<Sequence>, limit: usize) -> queue::Filter {
        let filter = Arc::clone(self);
        let chooses = self.asks_for_arrival() || self.sop_instance.is_some() || self.owed_before.is_some();
        queue::Filter {
            destination: self.destination.clone(),
            state: self.state_for_the_queue(),
            group: self.study.clone(),
            since: self.since,
            // The queue's span ends before this moment, a filter's with it.
            until: self.until.map(|until| until.saturating_add(1)),
            select: chooses.then(|| -> Select { Arc::new(move |glimpse| filter.takes(glimpse)) }),
            after,
            limit,
        }
    }

    /// A state that the queue calls as it is shown: what is ready or held may be so for want of a destination.
    fn state_for_the_queue(&self) -> Option<String> {
        match self.states.as_slice() {
            [state @ ("delivered" | "superseded" | "discarded" | "leased" | "waiting" | "ready")] => {
                Some((*state).to_owned())
            }
            _ => None,
        }
    }

    /// Whether an instance passes, as far as it takes a look at it. Runs on the queue's own thread.
    fn takes(&self, glimpse: &Glimpse<'_>) -> bool {
        self.sop_instance.as_ref().is_none_or(|wanted| wanted == glimpse.key)
            && self.owed_before.is_none_or(|before| glimpse.since < before)
            && self.takes_arrival(glimpse.attachment)
    }

    /// The same for an instance that only the ledger knows.
    pub(super) fn takes_instance(&self, instance: &Instance) -> bool {
        self.study.as_ref().is_none_or(|study| *study == instance.keys.group)
            && self.sop_instance.as_ref().is_none_or(|wanted| *wanted == instance.keys.key)
            && self.owed_before.is_none_or(|before| instance.since < before)
            && self.takes_arrival(&instance.attachment)
    }

    /// Whether it asks for how an instance came.
    fn asks_for_arrival(&self) -> bool {
        self.calling_ae.is_some() || self.listener.is_some() || self.site.is_some()
    }

    fn takes_arrival(&self, attachment: &[u8]) -> bool {
        if !self.asks_for_arrival() {
            return true;
        }
        let arrival = Sender::of(attachment);
        self.calling_ae.as_ref().is_none_or(|pattern| fits(pattern, &arrival.calling_ae))
            && self.listener.as_ref().is_none_or(|listener| *listener == arrival.listener)
            && self.site.as_ref().is_none_or(|pattern| fits(pattern, &arrival.site))
    }

    /// Whether a delivery of an instance that passes is in one of the states, for such a reason.
    pub(super) fn takes_standing(&self, state: &str, reason: Option<&str>) -> bool {
        let reason_fits = |wanted: &String| reason.is_some_and(|text| text.to_lowercase().contains(wanted));
        (self.states.is_empty() || self.states.contains(&state))
            && self.reason.as_ref().is_none_or(reason_fits)
    }
}

/// Fails for a span that ends before it begins.
pub(super) fn check_span(since: Option<u64>, until: Option<u64>) -> Result<(), FilterError> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(FilterError::Backwards),
        _ => Ok(()),
    }
}

/// Fails for a destination that is neither configured nor anywhere in the queue.
pub(super) fn check_destination(name: &str, config: &Config, seen: &[String]) -> Result<(), FilterError> {
    let configured = config.destinations.iter().map(|destination| destination.name.as_str());
    let mut known: Vec<&str> = configured.chain(seen.iter().map(String::as_str)).collect();
    known.push(chrysalis_queue::NO_ROUTE);
    if known.contains(&name) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    Err(FilterError::Unknown { what: "destination", name: name.to_owned(), known: known.join(", ") })
}

/// The part of an [`Arrival`](crate::receive::Arrival) that is searched by, borrowed where it can be.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sender<'a> {
    #[serde(borrow)]
    listener: Cow<'a, str>,
    #[serde(borrow)]
    calling_ae: Cow<'a, str>,
    /// Empty where it came without a tunnel.
    #[serde(borrow)]
    site: Cow<'a, str>,
}

impl<'a> Sender<'a> {
    /// Reads what was written by [`Arrival::to_bytes`](crate::receive::Arrival::to_bytes). Half of a search by title was
    /// reading JSON, so what has no escapes is taken from where it stands.
    fn of(attachment: &'a [u8]) -> Self {
        let plain = |key| plain_text(attachment, key).map(Cow::Borrowed);
        match (plain(b"\"listener\":\""), plain(b"\"calling_ae\":\"")) {
            (Some(listener), Some(calling_ae)) => {
                // A site's name has no escapes, and is not written where there is none.
                let site = plain(b"\"site\":\"").unwrap_or_default();
                Self { listener, calling_ae, site }
            }
            _ => serde_json::from_slice(attachment).unwrap_or_default(),
        }
    }
}

/// The text behind a key with its quotation marks, which within another text would be escaped and so is not found there;
/// none when the text has escapes of its own.
fn plain_text<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let at = json.windows(key.len()).position(|window| window == key)?;
    let text = json.get(at + key.len()..)?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let text = text.split_at_checked(end).filter(|(_, rest)| rest.starts_with(b"\""))?.0;
    std::str::from_utf8(text).ok()
}

fn states(text: Option<&str>) -> Result<Vec<&'static str>, FilterError> {
    let wanted = text.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let known = |name: &str| STATES.into_iter().find(|state| *state == name);
    wanted
        .map(|name| known(name).ok_or_else(|| FilterError::State(name.chars().take(40).collect())))
        .collect()
}

/// The pattern that is written like this; none where every text fits it, so that it asks for nothing.
pub(super) fn asks(text: &str) -> Option<Pattern> {
    let text = text.trim();
    let says_something = text.is_empty() || text.chars().any(|character| character != '*');
    says_something.then(|| Pattern::new(text))
}

/// Whether the whole text fits; white space around it does not count.
pub(super) fn fits(pattern: &Pattern, text: &str) -> bool {
    pattern.matches(text.trim())
}

#[cfg(test)]
mod tests {
    use super::{Asked, Filter, Sender};
    use chrysalis_queue::Glimpse;
    use std::sync::Arc;

    fn takes(asked: Asked) -> bool {
        let attachment = br#"{"listener":"wards","peer":"127.0.0.1:1","site":"north","calling_ae":"VIVID1"}"#;
        let glimpse = Glimpse {
            sequence: "1-1".parse().expect("a sequence"),
            received_at: 1000,
            since: 500,
            payload_len: 1,
            kind: "1",
            key: "1.2.3",
            group: "1.2",
            subject: [0; 16],
            attachment,
        };
        let filter = Arc::new(Filter::read(&asked).expect("a filter"));
        let asked = filter.to_queue(None, 1);
        asked.group.is_none_or(|group| group == glimpse.group)
            && asked.since.is_none_or(|since| glimpse.received_at >= since)
            && asked.until.is_none_or(|until| glimpse.received_at < until)
            && asked.select.is_none_or(|select| select(&glimpse))
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn each_field_lets_pass_what_it_names_and_nothing_else() {
        type Field = fn(&mut Asked) -> &mut Option<String>;
        let table: [(Field, &str, &str); 7] = [
            (|asked| &mut asked.study, "1.2", "1.2.3"),
            (|asked| &mut asked.sop_instance, " 1.2.3 ", "1.2"),
            (|asked| &mut asked.calling_ae, "VIV?D*", "EPIQ*"),
            (|asked| &mut asked.listener, "wards", "cath-lab"),
            (|asked| &mut asked.site, "n?rth", ""),
            (|asked| &mut asked.since, "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"),
            (|asked| &mut asked.until, "1970-01-01T00:00:01Z", "1970-01-01T00:00:00Z"),
        ];
        assert!(takes(Asked::default()));
        for (field, good, bad) in table {
            for (value, expected) in [(good, true), (bad, false)] {
                let mut asked = Asked::default();
                *field(&mut asked) = text(value);
                assert_eq!(takes(asked.clone()), expected, "{asked:?}");
                assert!(!Filter::read(&asked).expect("a filter").is_everything(), "{asked:?}");
            }
        }
    }

    #[test]
    fn the_sender_is_read_as_it_was_written_whatever_the_titles_contain() {
        let odd = ["VIVID1", "", "A\"B\\", "\",\"calling_ae\":\"X", "\u{1}\u{e9}"];
        for listener in odd {
            for calling_ae in odd {
                let json =
                    serde_json::json!({ "listener": listener, "peer": "[::1]:1", "calling_ae": calling_ae });
                let bytes = json.to_string().into_bytes();
                let sender = Sender::of(&bytes);
                assert_eq!(
                    (&*sender.listener, &*sender.calling_ae, &*sender.site),
                    (listener, calling_ae, "")
                );
                let mut json = json;
                json["site"] = "north".into();
                assert_eq!(&*Sender::of(json.to_string().as_bytes()).site, "north");
            }
        }
    }

    #[test]
    fn stars_alone_are_no_filter() {
        let asked = Asked { calling_ae: text("*"), patient_id: text("**"), ..Asked::default() };
        assert!(Filter::read(&asked).expect("a filter").is_everything());
    }

    #[test]
    fn states_and_reasons_are_compared_in_words() {
        let asked = Asked { state: text("held, waiting"), reason: text("a900"), ..Asked::default() };
        let filter = Filter::read(&asked).expect("a filter");
        assert!(filter.takes_standing("held", Some("status A900 (no)")));
        assert!(!filter.takes_standing("ready", Some("status A900 (no)")));
        assert!(!filter.takes_standing("held", Some("status C000")) && !filter.takes_standing("held", None));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let table = [
            (Asked { state: text("lost"), ..Asked::default() }, "superseded"),
            (Asked { since: text("soon"), ..Asked::default() }, "since"),
            (Asked { until: text("soon"), ..Asked::default() }, "until"),
            (Asked { older_than: text("soon"), ..Asked::default() }, "older_than"),
            (Asked { since: text("today"), until: text("yesterday"), ..Asked::default() }, "later than"),
        ];
        for (asked, hint) in table {
            let error = Filter::read(&asked).expect_err("no filter").to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
