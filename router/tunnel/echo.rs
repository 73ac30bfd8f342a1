//! An echo for the gateway: the link asks one of its endpoints and answers with the report. docs/TUNNEL.md has it byte for byte.
//!
//! ```text
//!  gateway                                   link
//!   OPEN echo: endpoint, time for a step ──►  is it one of my endpoints?
//!                                             name, connection, TLS, association, C-ECHO, release
//!   ◄── the report, or the endpoints that there are
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::connection::{Broken, Connection, Stream};
use super::endpoints::Endpoints;
use super::mux::Refused;
use super::wire::{Fields, Kind, Malformed, Why, put_text};
use crate::echo::{self, Report};

/// How long a step may take at most, whatever is asked.
pub(crate) const LONGEST_STEP: Duration = Duration::from_secs(60);
/// So many steps' time is given to all of them together: one that takes its whole time is the last.
const STEPS: u32 = 6;
/// What the gateway waits longer than the link, for the way there and back.
const WAY: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 256 << 10;
/// Bytes of an answer that are sent at once.
const PIECE: usize = 16 << 10;

/// What is asked: the body of the OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    endpoint: String,
    step: Duration,
}

/// What the link answers, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// It was asked; a failure is part of the report.
    Report(Box<Report>),
    /// The link lets nobody ask that. It lets ask these.
    NoEndpoint { endpoints: Vec<String> },
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// The site is not connected.
    #[error("the site's link is not connected")]
    NotConnected,
    /// The connection is gone.
    #[error("the connection to the site's link broke")]
    Broken,
    /// The link has no such endpoint, or lets nobody ask it.
    #[error("the site has no endpoint \"{endpoint}\"; {}", known(endpoints))]
    NoEndpoint {
        /// What was asked for.
        endpoint: String,
        /// What there is.
        endpoints: Vec<String>,
    },
    /// Too many questions at once.
    #[error("as much is being asked of the link as may be")]
    Busy,
    /// The link is of a version that cannot do it.
    #[error("the site's link does not serve echoes: it is of an older version")]
    Unsupported,
    /// The link took too long.
    #[error("the site's link did not answer within {0:?}")]
    Timeout(Duration),
    /// The link says what makes no sense.
    #[error("the site's link answers what is no report: {0}")]
    Untrue(String),
}

fn known(endpoints: &[String]) -> String {
    match endpoints {
        [] => "it lets its gateway reach none".to_owned(),
        some => format!("it has {}", some.join(", ")),
    }
}

impl Question {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_text(&mut out, &self.endpoint);
        out.put_u32(u32::try_from(self.step.as_millis()).unwrap_or(u32::MAX));
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let endpoint = fields.text()?;
        let step = Duration::from_millis(fields.u32()?.into());
        fields.end()?;
        if step.is_zero() || step > LONGEST_STEP {
            return Err(Malformed::Value("a time for a step that is none"));
        }
        Ok(Self { endpoint, step })
    }
}

/// Asks a link, at the gateway. No step takes longer than `step`, at most [`LONGEST_STEP`].
pub(crate) async fn ask(
    connection: &Connection,
    endpoint: &str,
    step: Duration,
) -> Result<Report, EchoError> {
    let step = step.clamp(Duration::from_millis(1), LONGEST_STEP);
    let question = Question { endpoint: endpoint.to_owned(), step };
    let stream = connection.open(Kind::Echo, question.encode()).map_err(|refused| match refused {
        Refused::TooManyStreams | Refused::Full => EchoError::Busy,
        Refused::Over(_) => EchoError::Broken,
    })?;
    stream.finish();
    let limit = step * STEPS + WAY;
    let answer = timeout(limit, read(&stream)).await.map_err(|_| EchoError::Timeout(limit))??;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Report(report)) => Ok(*report),
        Ok(Answer::NoEndpoint { endpoints }) => {
            Err(EchoError::NoEndpoint { endpoint: endpoint.to_owned(), endpoints })
        }
        Err(error) => Err(EchoError::Untrue(error.to_string())),
    }
}

async fn read(stream: &Stream) -> Result<Vec<u8>, EchoError> {
    let mut answer = Vec::new();
    loop {
        match stream.receive().await {
            Ok(Some(bytes)) if answer.len() + bytes.len() > MAX_ANSWER => {
                return Err(EchoError::Untrue("it is too long".to_owned()));
            }
            Ok(Some(bytes)) => answer.extend_from_slice(&bytes),
            Ok(None) => return Ok(answer),
            Err(Broken::Session) => return Err(EchoError::Broken),
            Err(Broken::Reset(Why::Unsupported)) => return Err(EchoError::Unsupported),
            Err(Broken::Reset(why)) => return Err(EchoError::Untrue(format!("it cut it off: {why}"))),
        }
    }
}

/// Answers one question of the gateway, at the link. Ends with the session.
pub(super) async fn serve(endpoints: &Endpoints, connection: &Connection, body: Bytes, stream: Stream) {
    let question = match Question::decode(body) {
        Ok(question) => question,
        Err(error) => {
            tracing::warn!(%error, "The gateway asked for an echo that makes no sense.");
            return stream.cut(Why::Malformed);
        }
    };
    let answering = timeout(question.step * STEPS, answer(endpoints, &question));
    let answer = tokio::select! {
        () = connection.ended() => return,
        answer = answering => answer,
    };
    let Ok(answer) = answer else {
        tracing::warn!(endpoint = question.endpoint, "An echo for the gateway took too long.");
        return stream.cut(Why::Timeout);
    };
    let Ok(json) = serde_json::to_vec(&answer) else { return stream.cut(Why::Failed) };
    let mut rest = Bytes::from(json);
    while !rest.is_empty() {
        let piece = rest.split_to(PIECE.min(rest.len()));
        if stream.send(piece).await.is_err() {
            return;
        }
    }
    stream.finish();
}

async fn answer(endpoints: &Endpoints, question: &Question) -> Answer {
    let name = question.endpoint.as_str();
    match endpoints.find(name) {
        Ok(endpoint) => {
            let report = echo::probe(Some(name), &endpoint.target, question.step).await;
            let is_ok = report.is_ok();
            tracing::info!(endpoint = name, is_ok, "Asked an endpoint whether it answers, for the gateway.");
            Answer::Report(Box::new(report))
        }
        Err(endpoints) => {
            tracing::warn!(endpoint = name, "The gateway asked for what is not among the endpoints.");
            Answer::NoEndpoint { endpoints }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::{Answer, Question};

    #[test]
    fn a_question_is_in_bytes_as_the_document_says() {
        let question = Question { endpoint: "pacs".into(), step: Duration::from_secs(10) };
        let bytes = question.encode();
        assert_eq!(&bytes[..], b"\0\x04pacs\0\0\x27\x10");
        assert_eq!(Question::decode(bytes.clone()), Ok(question));
        for end in 0..bytes.len() {
            assert!(Question::decode(bytes.slice(..end)).is_err());
        }
        assert!(Question::decode(Bytes::from_static(b"\0\x04pacs\0\0\0\0")).is_err(), "no time at all");
        assert!(Question::decode(Bytes::from_static(b"\0\x04pacs\xFF\0\0\0")).is_err(), "half a year");
    }

    #[test]
    fn an_answer_is_json_as_the_document_says() {
        let answer = Answer::NoEndpoint { endpoints: vec!["pacs".into()] };
        let json = r#"{"no_endpoint":{"endpoints":["pacs"]}}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        assert_eq!(serde_json::from_str::<Answer>(json).unwrap(), answer);
    }
}
