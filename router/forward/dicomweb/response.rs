//! What a response to STOW-RS means for each instance that was sent (PS3.18 10.5.3): a pure table.
//!
//! A status line alone proves little. There are servers that answer 200 and name nothing, because they did not recognise a
//! single part, and proxies and pages behind a login that answer 200 to everything. So an instance counts as stored only where
//! Referenced SOP Sequence names it under a success; a body that has it is required (PS3.18 10.5.3.2). Whatever is not clear is
//! sent again, alone: to store an instance twice does no harm.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::payload::Payload;
use crate::dicom::{Status, Uid};
use crate::forward::verdict::End;

/// A longer pause that a server asks for is shortened to this: an administrator may have corrected something there.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How much is kept of an answer that is meant for people, in characters.
const MAX_COMMENT: usize = 200;

/// A response, read to its end or to where it was too long.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// `Retry-After`, as a pause.
    pub(super) retry_after: Option<Duration>,
    /// `Location` of a redirect, without what follows the host.
    pub(super) location: Option<String>,
    pub(super) body: Body,
}

/// The body of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Whole(Vec<u8>),
    TooLong,
    /// The connection ended or fell silent within it.
    Cut,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Something is said of each instance, in the order in which they were sent.
    Each(Vec<Said>),
    /// It may be about one of the instances: sent alone, each will show.
    Request(End),
    /// It is about the media type, or the transfer syntax within it.
    Syntax(End),
    /// It is about us or the server, whatever was sent.
    Destination(End),
}

/// What was said of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Stored, and the warning if there was one.
    Stored(Status),
    /// Not stored, and why.
    Failed(Status),
    /// Nothing; and how the request ended, for when it was the only one in it.
    Silent(End),
}

impl Response {
    /// Whether the server has no answer of the media type that was asked for.
    pub(super) fn is_not_acceptable(&self) -> bool {
        self.status == StatusCode::NOT_ACCEPTABLE
    }

    /// What this means for the instances that were sent under these UIDs.
    pub(super) fn judge(&self, sent: &[&Uid]) -> Judged {
        let what = self.words();
        let refused = |what| End::NotTaken { what, comment: self.comment() };
        let shut_out = |why: &str| {
            Judged::Destination(End::NotAdmitted { what: format!("{what}: {why}"), comment: self.comment() })
        };
        let failing =
            || End::Failing { what: what.clone(), comment: self.comment(), after: self.retry_after };
        match self.status.as_u16() {
            200..=299 => self.success(sent),
            300..=399 => {
                let to = self.location.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
                shut_out(&format!("redirects{to} are not followed; the URL has to be the final one"))
            }
            400 | 409 | 422 => self.refusal(sent),
            401 => shut_out("the credentials are missing, wrong or expired"),
            403 => shut_out("these credentials may not store there"),
            404 | 410 => shut_out("nothing is stored at this URL"),
            405 | 501 => shut_out("the server does not take STOW-RS at this URL"),
            406 => shut_out("the server answers neither in DICOM JSON nor in DICOM XML"),
            407 => shut_out("a proxy wants credentials of its own"),
            411 => shut_out("something on the way removed the length of the request"),
            505 => shut_out("the server does not speak HTTP/1.1"),
            408 | 421 | 425 | 429 | 503 | 507 => Judged::Destination(failing()),
            413 => Judged::Request(refused(format!("{what}: the request is too large for the server"))),
            415 => Judged::Syntax(refused(what)),
            500..=599 => Judged::Request(failing()),
            _ => Judged::Request(refused(what)),
        }
    }

    fn success(&self, sent: &[&Uid]) -> Judged {
        let what = self.words();
        let unclear =
            |why: &str| Judged::Request(End::Unclear { what: format!("{what}, but {why}"), times: 0 });
        let body = match &self.body {
            Body::Whole(body) => body.trim_ascii(),
            Body::TooLong => return unclear("the body is too long to be an answer"),
            Body::Cut => return unclear("the connection ended within the body"),
        };
        if body.is_empty() {
            return Judged::Request(End::NotTaken {
                what: format!("{what} without saying which instances were stored"),
                comment: String::new(),
            });
        }
        match Payload::read(body) {
            Ok(payload) => {
                let silent = End::NotTaken {
                    what: format!("{what}, but names the instance neither as stored nor as failed"),
                    comment: String::new(),
                };
                Judged::Each(sent.iter().map(|uid| said(&payload, uid, sent.len(), &silent)).collect())
            }
            Err(error) => unclear(&format!("the body {error}")),
        }
    }

    /// What failed is told with its reason. What is told as stored in spite of it all is sent again: a server that
    /// contradicts itself is asked twice.
    fn refusal(&self, sent: &[&Uid]) -> Judged {
        let whole = End::NotTaken { what: self.words(), comment: self.comment() };
        let Body::Whole(body) = &self.body else { return Judged::Request(whole) };
        let Ok(mut payload) = Payload::read(body) else { return Judged::Request(whole) };
        payload.stored.clear();
        let each: Vec<_> = sent.iter().map(|uid| said(&payload, uid, sent.len(), &whole)).collect();
        let says_something = each.iter().any(|said| matches!(said, Said::Failed(_)));
        if says_something { Judged::Each(each) } else { Judged::Request(whole) }
    }

    fn words(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or("a status of its own");
        format!("HTTP {} ({reason})", self.status.as_u16())
    }

    /// What the server says in words, if it is text for people and not a page or a data set.
    fn comment(&self) -> String {
        let Body::Whole(body) = &self.body else { return String::new() };
        let text = String::from_utf8_lossy(body);
        if text.trim_start().starts_with('<') || Payload::read(body).is_ok_and(|p| p != Payload::default()) {
            return String::new();
        }
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ").chars().take(MAX_COMMENT).collect()
    }
}

fn said(payload: &Payload, uid: &Uid, sent: usize, silent: &End) -> Said {
    let of = |entry: &&super::payload::Entry| entry.sop_instance == uid.as_str();
    // Failure Reason is required; without it something failed all the same.
    let why = |reason: Option<Status>| reason.unwrap_or(Status::PROCESSING_FAILURE);
    if let Some(entry) = payload.failed.iter().find(of) {
        return Said::Failed(why(entry.reason));
    }
    if let Some(entry) = payload.stored.iter().find(of) {
        return Said::Stored(entry.reason.unwrap_or(Status::SUCCESS));
    }
    match payload.other.first() {
        Some(entry) if sent == 1 => Said::Failed(why(entry.reason)),
        _ => Said::Silent(silent.clone()),
    }
}

/// `Retry-After`: seconds, or a date, which is compared with the server's own clock if it tells it.
pub(super) fn pause(
    value: Option<&HeaderValue>,
    date: Option<&HeaderValue>,
    now: SystemTime,
) -> Option<Duration> {
    let text = value?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if is_number => LONGEST_PAUSE,
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let theirs = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            until.duration_since(theirs.unwrap_or(now)).unwrap_or_default()
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// Where a redirect leads to, without what may be secret or about a patient in it.
pub(super) fn host_of(location: &HeaderValue) -> Option<String> {
    let uri: hyper::Uri = location.to_str().ok()?.parse().ok()?;
    let host = uri.host()?;
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", uri.scheme_str()?))
}

#[cfg(test)]
mod tests {
    use super::{Body, Judged, Response, Said, host_of, pause};
    use crate::dicom::{Status, Uid};
    use crate::forward::verdict::{End, Verdict, judge};
    use hyper::StatusCode;
    use hyper::header::HeaderValue;
    use std::time::{Duration, SystemTime};

    fn response(status: u16, body: &str) -> Response {
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            location: None,
            body: Body::Whole(body.into()),
        }
    }

    fn item(uid: &str, reason: Option<(&str, u16)>) -> String {
        let reason = reason.map(|(tag, code)| format!(r#", "{tag}": {{"Value": [{code}]}}"#));
        format!(r#"{{"00081155": {{"Value": ["{uid}"]}}{}}}"#, reason.unwrap_or_default())
    }

    fn body(stored: &[String], failed: &[String]) -> String {
        format!(
            r#"{{"00081199": {{"Value": [{}]}}, "00081198": {{"Value": [{}]}}}}"#,
            stored.join(","),
            failed.join(",")
        )
    }

    fn word(end: &End) -> &'static str {
        match judge(end.clone()) {
            Verdict::Delivered { .. } => "delivered",
            Verdict::Retry(_) | Verdict::RetryAfter(..) => "retry",
            Verdict::Pause(_) => "pause",
            Verdict::Refused(_) => "refused",
            Verdict::Hold(_) => "hold",
        }
    }

    /// What is made of it where two instances were sent, 1.1 and 1.2, in words.
    fn judged(response: &Response) -> Vec<String> {
        let (one, two) = (Uid::new("1.1"), Uid::new("1.2"));
        match response.judge(&[&one, &two]) {
            Judged::Each(each) => each
                .iter()
                .map(|said| match said {
                    Said::Stored(status) => format!("stored {:04X}", status.0),
                    Said::Failed(status) => format!("failed {:04X}", status.0),
                    Said::Silent(_) => "silent".to_owned(),
                })
                .collect(),
            Judged::Request(end) => vec![format!("request {}", word(&end))],
            Judged::Syntax(end) => vec![format!("syntax {}", word(&end))],
            Judged::Destination(end) => vec![format!("destination {}", word(&end))],
        }
    }

    #[test]
    fn every_status_without_a_body_has_its_meaning() {
        let table = [
            (200, "request refused"),
            (201, "request refused"),
            (202, "request refused"),
            (204, "request refused"),
            (301, "destination pause"),
            (302, "destination pause"),
            (307, "destination pause"),
            (400, "request refused"),
            (401, "destination pause"),
            (403, "destination pause"),
            (404, "destination pause"),
            (405, "destination pause"),
            (406, "destination pause"),
            (407, "destination pause"),
            (408, "destination retry"),
            (409, "request refused"),
            (411, "destination pause"),
            (413, "request refused"),
            (415, "syntax refused"),
            (418, "request refused"),
            (429, "destination retry"),
            (500, "request retry"),
            (501, "destination pause"),
            (502, "request retry"),
            (503, "destination retry"),
            (504, "request retry"),
            (507, "destination retry"),
            (599, "request retry"),
        ];
        for (status, expected) in table {
            assert_eq!(judged(&response(status, ""))[0], expected, "{status}");
        }
    }

    #[test]
    fn each_instance_has_what_is_said_of_it() {
        let warned = item("1.1", Some(("00081196", 0xB000)));
        let failed = item("1.2", Some(("00081197", 0xA700)));
        let both = body(&[item("1.1", None), item("1.2", None)], &[]);
        for status in [200, 201, 202] {
            assert_eq!(judged(&response(status, &both)), ["stored 0000", "stored 0000"]);
            let answer = body(std::slice::from_ref(&warned), std::slice::from_ref(&failed));
            assert_eq!(judged(&response(status, &answer)), ["stored B000", "failed A700"]);
        }
    }

    #[test]
    fn a_success_that_does_not_name_an_instance_is_none() {
        let answers = ["{}", "[]", &body(&[], &[]), &body(&[item("9.9", None)], &[])];
        for answer in answers {
            assert_eq!(judged(&response(200, answer)), ["silent", "silent"], "{answer}");
        }
        let one = body(&[item("1.2", None)], &[]);
        assert_eq!(judged(&response(200, &one)), ["silent", "stored 0000"]);
    }

    #[test]
    fn a_success_that_cannot_be_read_is_asked_again() {
        for text in ["<html>Please log in</html>", "OK", "{\"00081199\":", "\0\0"] {
            assert_eq!(judged(&response(200, text)), ["request retry"], "{text}");
        }
        for body in [Body::TooLong, Body::Cut] {
            assert_eq!(judged(&Response { body, ..response(200, "") }), ["request retry"]);
        }
    }

    #[test]
    fn what_is_named_as_stored_and_as_failed_has_failed() {
        let answer = body(&[item("1.1", None)], &[item("1.1", None)]);
        assert_eq!(judged(&response(200, &answer))[0], "failed 0110");
    }

    #[test]
    fn a_conflict_names_what_failed_and_never_what_is_stored() {
        let duplicate = item("1.1", Some(("00081197", 0x0111)));
        let answer = body(&[item("1.2", None)], &[duplicate]);
        assert_eq!(judged(&response(409, &answer)), ["failed 0111", "silent"]);
        assert_eq!(judged(&response(400, &body(&[item("1.1", None)], &[]))), ["request refused"]);
    }

    #[test]
    fn a_reason_without_an_instance_is_that_of_the_only_one() {
        let answer = r#"{"0008119A": {"Value": [{"00081197": {"Value": [49442]}}]}}"#;
        let one = Uid::new("1.1");
        let judged = response(409, answer).judge(&[&one]);
        assert_eq!(judged, Judged::Each(vec![Said::Failed(Status(0xC122))]));
        assert_eq!(self::judged(&response(409, answer)), ["request refused"]);
    }

    #[test]
    fn what_a_server_says_in_words_is_kept_apart_and_short() {
        let said = |text: &str| response(400, text).comment();
        assert_eq!(said("{\"error\": \"no\n such\tproject\"}"), "{\"error\": \"no such project\"}");
        assert_eq!(said("<html>a page</html>"), "");
        assert_eq!(said(&"x".repeat(10_000)).len(), 200);
        let one = Uid::new("1.1");
        let Judged::Request(end) = response(400, "Name^Of unknown").judge(&[&one]) else { panic!() };
        let verdict = judge(end);
        assert!(!verdict.why().contains("Name") && verdict.why().contains("400"));
    }

    #[test]
    fn a_pause_is_seconds_or_a_date_and_never_too_long() {
        let header = |text: &str| HeaderValue::from_str(text).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let of = |text: &str, date: Option<&str>| pause(Some(&header(text)), date.map(header).as_ref(), now);
        assert_eq!(of("120", None), Some(Duration::from_secs(120)));
        assert_eq!(of(" 0 ", None), Some(Duration::ZERO));
        assert_eq!(of("99999999999", None), Some(Duration::from_secs(3600)));
        assert_eq!(of("18446744073709551616", None), Some(Duration::from_secs(3600)));
        for odd in ["-1", "soon", "", "1.5"] {
            assert_eq!(of(odd, None), None, "{odd}");
        }
        let later = httpdate::fmt_http_date(now + Duration::from_secs(90));
        assert_eq!(of(&later, None), Some(Duration::from_secs(90)));
        // A server whose clock is wrong means its own clock.
        let theirs = httpdate::fmt_http_date(now + Duration::from_secs(60));
        assert_eq!(of(&later, Some(&theirs)), Some(Duration::from_secs(30)));
        assert_eq!(of(&httpdate::fmt_http_date(now - Duration::from_secs(1)), None), Some(Duration::ZERO));
    }

    #[test]
    fn of_a_redirect_only_the_host_is_told() {
        let of = |text: &'static str| host_of(&HeaderValue::from_static(text));
        assert_eq!(
            of("https://user:secret@b.example:8443/x?token=1").as_deref(),
            Some("https://b.example:8443")
        );
        assert_eq!(of("/login"), None);
    }
}
