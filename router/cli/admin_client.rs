//! The admin API of a running node, from the side of the command line.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ureq::Agent;
use ureq::http::Response;
use ureq::{Body, RequestBuilder};

use crate::admin::{Asked, DamageWatch, LedgerQuery, Order, Outcome, Patient, Told};
use crate::config::Config;
use crate::echo::Report;
use crate::tunnel::SiteName;

/// The longest answer that is read, in bytes. A page of the longest listing is a tenth of it.
const MAX_ANSWER: u64 = 16 << 20;

/// How many deliveries one page of a listing has.
pub(super) const PAGE: usize = 500;

/// What is asked of a running node.
pub struct AdminClient {
    agent: Agent,
    address: SocketAddr,
    token_file: PathBuf,
}

/// Why a running node did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing listens there: the node is stopped, or its configuration names another address.
    #[error(
        "no node answers at {0}; is it running with this configuration? After a change of admin.address it listens at the old one until a restart: --set admin.address=OLD"
    )]
    NotRunning(SocketAddr),
    /// The file that holds the right to change something.
    #[error("{}: cannot be read: {source}", file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node said no.
    #[error("the node at {address} answered {status}: {message}")]
    Refused {
        /// Who.
        address: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The exchange broke off, or the answer is none that a node gives.
    #[error("the node at {address}: {source}")]
    Exchange {
        /// Who.
        address: SocketAddr,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// A file did not come whole, or could not be written.
    #[error("the file: {0}")]
    Copy(io::Error),
    /// It cannot be part of a request.
    #[error("{0:?} is not an instance id")]
    InstanceId(String),
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Due now.
    Ready,
    /// Due later, after a failed attempt.
    Waiting,
    /// Under way.
    Leased,
    /// Waits for a decision.
    Held,
    /// The destination has it.
    Delivered,
    /// A newer instance of the same UID took over.
    Superseded,
    /// Somebody decided that it is not sent.
    Discarded,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Superseded => "superseded",
            Self::Discarded => "discarded",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One instance owed to one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The queue's own id of the instance.
    pub instance: String,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Study Instance UID; empty where the data set has none.
    pub study_instance_uid: String,
    /// SOP Class UID.
    pub sop_class_uid: String,
    /// Where it goes.
    pub destination: String,
    /// How far it is.
    pub state: State,
    /// Why it is held, waiting, or discarded.
    pub reason: Option<String>,
    /// When it was received, RFC 3339.
    pub received_at: String,
    /// How long ago that was.
    pub age_seconds: f64,
    /// The length of its data set.
    pub bytes: u64,
    /// Who sent it.
    pub calling_ae: String,
    /// The site whose link brought it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Its data is in the spool.
    pub has_data: bool,
    /// Whose it is, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Patient>,
}

/// A page of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// In the order of receiving.
    pub deliveries: Vec<Delivery>,
    /// Where the next page starts; none at the end.
    pub next: Option<String>,
    /// Instances that could not be searched by patient.
    #[serde(default)]
    pub unread: u64,
}

/// One study at one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyLine {
    /// Study Instance UID; empty where the data sets have none.
    pub study_instance_uid: String,
    /// Where it goes.
    pub destination: String,
    /// How many instances it has there.
    pub instances: u64,
    /// The length of their data sets.
    pub bytes: u64,
    /// How many of them are in which state.
    pub states: BTreeMap<String, u64>,
    /// Since when the oldest is here.
    pub oldest_age_seconds: f64,
    /// Who sent it.
    pub calling_ae: Vec<String>,
    /// The sites whose links brought it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<String>,
    /// There are senders or sites that are not named.
    #[serde(default)]
    pub more_senders: bool,
    /// Whose it is, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Patient>,
}

/// Studies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Studies {
    /// In the order in which each began to come.
    pub studies: Vec<StudyLine>,
    /// There are others.
    pub more: bool,
    /// Instances that could not be searched by patient.
    #[serde(default)]
    pub unread: u64,
}

impl AdminClient {
    /// A client of the node that runs with `config`.
    pub fn new(config: &Config) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        Self {
            agent,
            address: reachable(config.admin.address),
            token_file: config.node.data_dir.join("admin.token"),
        }
    }

    /// One page of the deliveries that pass, from `after` on. `GET /api/queue`, or where it is about patients
    /// `POST /api/queue/search`, which needs the token.
    ///
    /// # Errors
    ///
    /// The node is not running, refuses, or answers with something else; the token is needed and cannot be read.
    pub fn search(
        &self,
        asked: &Asked,
        after: Option<&str>,
        limit: usize,
        reveal: bool,
    ) -> Result<Listing, AdminError> {
        let mut fields = fields(asked);
        fields.insert("limit".to_owned(), limit.into());
        if let Some(after) = after {
            fields.insert("after".to_owned(), after.into());
        }
        self.find(fields, reveal)
    }

    /// The studies of what passes, each with its destinations.
    ///
    /// # Errors
    ///
    /// As [`Self::search`].
    pub fn studies(&self, asked: &Asked, limit: usize, reveal: bool) -> Result<Studies, AdminError> {
        let mut fields = fields(asked);
        fields.insert("limit".to_owned(), limit.into());
        fields.insert("by_study".to_owned(), true.into());
        self.find(fields, reveal)
    }

    fn find<T: DeserializeOwned>(
        &self,
        mut fields: Map<String, Value>,
        reveal: bool,
    ) -> Result<T, AdminError> {
        if reveal || fields.contains_key("patient_id") || fields.contains_key("accession") {
            fields.insert("reveal".to_owned(), reveal.into());
            let request =
                self.agent.post(self.url("/api/queue/search")).header("Authorization", self.right()?);
            // Reading many headers takes as long as it takes.
            let request = request.config().timeout_recv_response(None).build();
            return self.answer(request.send_json(fields));
        }
        let mut request = self.agent.get(self.url("/api/queue"));
        for (name, value) in &fields {
            request = request.query(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        self.answer(self.readable(request).call())
    }

    /// `GET /api/queue/{instance}`: everything about one instance; what destinations said in words only where the token can
    /// be read.
    ///
    /// # Errors
    ///
    /// As [`Self::search`].
    pub fn show(&self, instance: &str) -> Result<Value, AdminError> {
        let instance = checked(instance)?;
        self.answer(self.readable(self.agent.get(self.url(&format!("/api/queue/{instance}")))).call())
    }

    /// `GET /api/queue/{instance}/file`: the instance as a file, written to `out`.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`]; `out` cannot be written; the file did not come whole.
    pub fn copy(&self, instance: &str, out: &mut dyn io::Write) -> Result<(), AdminError> {
        let path = format!("/api/queue/{}/file", checked(instance)?);
        let request = self.agent.get(self.url(&path)).header("Authorization", self.right()?);
        // Its hash is compared before the first byte comes.
        let answer = request.config().timeout_recv_response(None).build().call();
        let mut answer = self.accept(answer)?;
        let length = answer.body().content_length();
        let copied = io::copy(&mut answer.body_mut().as_reader(), out).map_err(AdminError::Copy)?;
        if length.is_some_and(|length| length != copied) {
            return Err(AdminError::Copy(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// `GET /api/ledger`, written to `out`. However many journals are read before the first line comes, it is waited for.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`]; `out` cannot be written; it did not come whole.
    pub fn ledger(&self, query: &LedgerQuery, out: &mut dyn io::Write) -> Result<Told, AdminError> {
        let mut request = self.agent.get(self.url("/api/ledger")).header("Authorization", self.right()?);
        if let Ok(Value::Object(fields)) = serde_json::to_value(query) {
            for (name, value) in fields {
                request = request.query(name, value.as_str().unwrap_or_default());
            }
        }
        let request = request.config().timeout_recv_response(None).build();
        let mut answer = self.accept(request.call())?;
        let mut watch = DamageWatch::new(query.format, out);
        io::copy(&mut answer.body_mut().as_reader(), &mut watch).map_err(AdminError::Copy)?;
        Ok(watch.told())
    }

    /// `POST /api/queue/{verb}`: an operator's decision. Ok means that it is durable for what counts as changed. However
    /// many deliveries it is about, the node answers when it is done, so there is no limit to the waiting.
    ///
    /// # Errors
    ///
    /// As [`Self::search`]; the token cannot be read.
    pub fn decide(&self, verb: &str, order: &Order) -> Result<Outcome, AdminError> {
        let request =
            self.agent.post(self.url(&format!("/api/queue/{verb}"))).header("Authorization", self.right()?);
        let request = request.config().timeout_recv_response(None).build();
        self.answer(request.send_json(order))
    }

    /// `POST /api/queue/fsck`: has the node check every file of its spool against its hash.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    pub fn fsck(&self) -> Result<Value, AdminError> {
        // Reading a whole spool takes as long as it takes.
        let request = self.agent.post(self.url("/api/queue/fsck")).header("Authorization", self.right()?);
        let request = request.config().timeout_recv_response(None).build();
        self.answer(request.send_empty())
    }

    /// `GET` of any path.
    ///
    /// # Errors
    ///
    /// As [`Self::search`].
    pub fn read(&self, path: &str) -> Result<Value, AdminError> {
        self.answer(self.readable(self.agent.get(self.url(path))).call())
    }

    /// `POST` of any path.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    pub fn tell(&self, path: &str, order: &Value) -> Result<Value, AdminError> {
        let request = self.agent.post(self.url(path)).header("Authorization", self.right()?);
        self.answer(request.send_json(order))
    }

    /// `POST /api/sites/{site}/echo`: what the site's link found when it asked its destination `endpoint`.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`]; the site's link is not connected, has no such endpoint, or does not answer.
    pub fn site_echo(&self, site: &SiteName, endpoint: &str, step: Duration) -> Result<Report, AdminError> {
        #[derive(Deserialize)]
        struct Answer {
            report: Report,
        }
        let url = self.url(&format!("/api/sites/{site}/echo"));
        let request = self.agent.post(url).header("Authorization", self.right()?);
        // The node has a limit of its own, which follows from the steps.
        let request = request.config().timeout_recv_response(None).build();
        let step = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let order = json!({ "endpoint": endpoint, "step_milliseconds": step });
        self.answer::<Answer>(request.send_json(order)).map(|answer| answer.report)
    }

    /// `POST /api/reload`: what is or would be changed, or, as the error, what is wrong with the configuration.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    pub fn reload(&self, order: &Value) -> Result<Result<Value, Value>, AdminError> {
        let request = self.agent.post(self.url("/api/reload")).header("Authorization", self.right()?);
        let answer = request.send_json(order);
        match answer {
            Ok(mut answer) if answer.status().as_u16() == 422 => {
                let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_json();
                let exchange =
                    |source| AdminError::Exchange { address: self.address, source: Box::new(source) };
                body.map(Err).map_err(exchange)
            }
            answer => self.answer(answer).map(Ok),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn right(&self) -> Result<String, AdminError> {
        let unreadable = |source| AdminError::Token { file: self.token_file.clone(), source };
        fs::read_to_string(&self.token_file)
            .map(|token| format!("Bearer {}", token.trim()))
            .map_err(unreadable)
    }

    /// Reading needs the token only from elsewhere; who cannot read it may still read the queue on this machine.
    fn readable<T>(&self, request: RequestBuilder<T>) -> RequestBuilder<T> {
        match self.right() {
            Ok(right) => request.header("Authorization", right),
            Err(_) => request,
        }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, AdminError> {
        let mut answer = self.accept(answer)?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        body.read_json().map_err(|error| self.failed(error))
    }

    /// The answer, if it is one of success.
    fn accept(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, AdminError> {
        let mut answer = answer.map_err(|error| self.failed(error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        let message = words(&body.read_to_string().map_err(|error| self.failed(error))?);
        Err(AdminError::Refused { address: self.address, status: status.as_u16(), message })
    }

    fn failed(&self, error: ureq::Error) -> AdminError {
        let address = self.address;
        match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                AdminError::NotRunning(address)
            }
            source => AdminError::Exchange { address, source: Box::new(source) },
        }
    }
}

/// The filter's fields that say something.
fn fields(asked: &Asked) -> Map<String, Value> {
    match serde_json::to_value(asked) {
        Ok(Value::Object(fields)) => fields,
        // A struct of optional texts is always an object.
        _ => Map::new(),
    }
}

/// An id that may stand in a path.
fn checked(instance: &str) -> Result<&str, AdminError> {
    let good =
        !instance.is_empty() && instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if good { Ok(instance) } else { Err(AdminError::InstanceId(instance.to_owned())) }
}

/// A short, printable form of what a node says when it refuses: its `error`, or the text itself.
fn words(body: &str) -> String {
    let error = serde_json::from_str::<Value>(body).ok();
    let error = error.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str).unwrap_or(body);
    super::table::printable(&error.trim().chars().take(400).collect::<String>())
}

/// An address to connect to: one that stands for all is reached on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
