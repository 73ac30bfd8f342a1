//! The steps of a DICOMweb server: credentials, name, connection, TLS, and a query (QIDO-RS) for one study, of whose answer only
//! the status is read. `OPTIONS` would ask for less, but servers that are in use answer it with 404.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::advice::{self, advised, shown};
use super::dicom::{encrypted, shake_hands};
use super::report::{Advised, Finding, Found, Report, Security, Step, StepName, TargetName};
use crate::config::{ClientTls, WebDestination};
use crate::dimse::Outbound;
use crate::dimse::socket::{self, ConnectError};
use crate::forward::authorization;
use crate::tls::HandshakeError;

/// How many addresses of one name are shown.
const MAX_ADDRESSES: usize = 16;

pub(super) async fn probe(web: &WebDestination, limit: Duration) -> Report {
    let target = TargetName::Web { url: shown(&web.url.to_string(), 2048) };
    let security = web.tls.as_ref().map_or(Security::Unsecured, ClientTls::security);
    let mut probe = Probe { report: Report::new(target, Some(security)), web, limit };
    probe.report.authentication = web.tls.as_ref().map(ClientTls::authentication);
    let began = Instant::now();
    // Why it ended is in the report.
    let _ = probe.run().await;
    probe.report.total_ms = milliseconds(began);
    probe.report
}

struct Probe<'a> {
    report: Report,
    web: &'a WebDestination,
    limit: Duration,
}

/// A step failed; why is in the report.
struct Ended;

impl Probe<'_> {
    async fn run(&mut self) -> Result<(), Ended> {
        let authorization = self.credentials().await?;
        self.resolve().await?;
        let stream = self.connect().await?;
        let stream = self.encrypt(stream).await?;
        self.query(stream, authorization).await
    }

    async fn credentials(&mut self) -> Result<Option<HeaderValue>, Ended> {
        let began = Instant::now();
        let login = self.web.login.clone();
        let read = tokio::task::spawn_blocking(move || authorization(&login)).await;
        let read = match read {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let outcome = read.map_err(|error| {
            advised(
                error,
                "Nothing can be sent there without the token or password that the configuration names.",
                "Put it there, readable for the user that runs Chrysalis and for nobody else (chmod 600).",
            )
        });
        match outcome {
            Ok(None) => Ok(None),
            other => self.step(StepName::Credentials, began, other, |_| Found::Done),
        }
    }

    async fn resolve(&mut self) -> Result<(), Ended> {
        let began = Instant::now();
        let (host, port) = (self.web.url.host(), self.web.url.port());
        let found = within(self.limit, lookup_host((host, port))).await;
        let addresses = found.and_then(|found| {
            let mut addresses: Vec<_> = found.map(|a| a.ip().to_string()).take(MAX_ADDRESSES).collect();
            addresses.dedup();
            if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
        });
        let outcome = addresses.map_err(|error| advice::unresolved(&shown(host, 253), &error));
        self.step(StepName::Name, began, outcome, |addresses| Found::Addresses(addresses.clone())).map(drop)
    }

    async fn connect(&mut self) -> Result<TcpStream, Ended> {
        let began = Instant::now();
        let url = &self.web.url;
        let connected = socket::connect(url.host(), url.port(), self.limit).await;
        let outcome = connected.map_err(|error| {
            let kind = match &error {
                ConnectError::Resolve { source, .. } | ConnectError::Unreachable { source, .. } => {
                    source.kind()
                }
                ConnectError::Timeout(_) => io::ErrorKind::TimedOut,
            };
            advice::unconnected(&error.to_string(), kind)
        });
        self.step(StepName::Connection, began, outcome, |stream| Found::Connected {
            address: stream.peer_addr().map(|address| address.to_string()).unwrap_or_default(),
            passed_over: Vec::new(),
        })
    }

    async fn encrypt(&mut self, stream: TcpStream) -> Result<Outbound, Ended> {
        let Some(settings) = self.web.tls.clone() else { return Ok(Outbound::Plain(stream)) };
        let began = Instant::now();
        let outcome = shake_hands(settings, self.web.url.host(), stream, self.limit).await;
        let outcome = outcome.map_err(|error| advice::unencrypted(&error));
        let stream = self.step(StepName::Tls, began, outcome, encrypted)?;
        Ok(Outbound::Tls(Box::new(stream)))
    }

    async fn query(&mut self, stream: Outbound, authorization: Option<HeaderValue>) -> Result<(), Ended> {
        let began = Instant::now();
        let asked = timeout(self.limit, ask(self.web, stream, authorization)).await;
        let outcome = match asked {
            Ok(Ok(answer)) => judge(&answer).map(|question| {
                self.report.questions.extend(question);
                answer.status
            }),
            Ok(Err(Unasked::Tls(error))) => {
                // The handshake seemed to be over, and was not.
                self.report.steps.retain(|step| step.step != StepName::Tls);
                let failed = Err::<(), _>(advice::unencrypted(&error));
                return self.step(StepName::Tls, began, failed, |()| Found::Done);
            }
            Ok(Err(Unasked::Otherwise(what))) => Err(not_http(&what)),
            Err(_) => Err(advised(
                format!("no answer within {:?}", self.limit),
                "Something accepts the connection, but does not answer: the server is overloaded, or it is not HTTP.",
                "Check the port; ask the administrators of the server for its log.",
            )),
        };
        self.step(StepName::Query, began, outcome, |status| Found::Answered { status: *status }).map(drop)
    }

    fn step<T>(
        &mut self,
        step: StepName,
        began: Instant,
        outcome: Result<T, Advised>,
        found: impl FnOnce(&T) -> Found,
    ) -> Result<T, Ended> {
        let milliseconds = milliseconds(began);
        let (finding, outcome) = match outcome {
            Ok(value) => (Finding::Ok { found: found(&value) }, Ok(value)),
            Err(advised) => (Finding::Failed(advised), Err(Ended)),
        };
        self.report.steps.push(Step { step, milliseconds, finding });
        outcome
    }
}

/// What is read of an answer.
struct Answer {
    status: u16,
    is_page: bool,
}

/// Why there is no answer.
enum Unasked {
    Tls(HandshakeError),
    Otherwise(String),
}

impl From<hyper::Error> for Unasked {
    fn from(error: hyper::Error) -> Self {
        HandshakeError::late(&error).map_or_else(|| Self::Otherwise(error.to_string()), Self::Tls)
    }
}

async fn ask(
    web: &WebDestination,
    stream: Outbound,
    authorization: Option<HeaderValue>,
) -> Result<Answer, Unasked> {
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(format!("{}?limit=1", web.url.path()))
        .header(HOST, web.url.authority())
        .header(ACCEPT, "application/dicom+json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(String::new()).map_err(|error| Unasked::Otherwise(error.to_string()))?;
    let answered = sender.send_request(request);
    tokio::pin!(connection, answered);
    let response = tokio::select! {
        biased;
        response = &mut answered => response,
        Err(error) = &mut connection => return Err(error.into()),
    }?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    Ok(Answer {
        status: response.status().as_u16(),
        is_page: kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")),
    })
}

/// What an answer means; a question where it says nothing about storing.
fn judge(answer: &Answer) -> Result<Option<String>, Advised> {
    let what = format!("HTTP {}", answer.status);
    match answer.status {
        200..=299 if answer.is_page => Err(advised(
            what + " with a page for people",
            "Something answers, but it is a login page, a portal or another web server, and no DICOMweb service.",
            "Check the URL: it is that of the service, such as https://archive.example/dicom-web.",
        )),
        200..=299 => Ok(None),
        300..=399 => Err(advised(
            what,
            "The server wants to be asked elsewhere. Redirects are not followed.",
            "Put the final URL into the configuration; often it is https instead of http.",
        )),
        401 | 403 => Err(advised(
            what,
            "The server refuses these credentials, or they may store and not search.",
            "Check the token or the user and password. If they are made for storing only, send an instance instead.",
        )),
        404 | 410 => Err(advised(
            what,
            "A server answers, but it has no studies at this URL.",
            "Check the path of the URL; Orthanc's is /dicom-web.",
        )),
        400 | 405 | 406 | 501 => Ok(Some(format!(
            "the server answers {what} to a search: whether it stores is seen with the first instance"
        ))),
        _ => Err(advised(
            what,
            "The server, or something before it, is in trouble.",
            "Ask its administrators; it is tried again by itself.",
        )),
    }
}

fn not_http(what: &str) -> Advised {
    advised(
        what,
        "What listens there does not speak HTTP, or expects TLS on this port.",
        "Check the port, and whether the URL has to begin with https.",
    )
}

async fn within<T>(limit: Duration, action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, action).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn milliseconds(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
