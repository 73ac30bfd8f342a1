//! The steps of a DICOM peer: name, connection, association, C-ECHO, release.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::advice::{self, shown};
use super::classes::{self, CLASSES, SYNTAXES};
use super::report::{
    Advised, Finding, Found, Peer, Report, Security, SopClassAnswer, Step, StepName, Syntaxes, TargetName,
};
use super::tap::Tap;
use crate::config::{ClientTls as Settings, title_questions};
use crate::dicom::{AeTitle, Status, TransferSyntax, Uid, uid};
use crate::dimse::requestor::StoreError;
use crate::dimse::{LinkError, OpenError, Outbound, PeerAddress, Proposal, Requestor, Timers, socket};
use crate::tls::{ClientStream, ClientTls, HandshakeError, Leaf};

/// How many addresses of one name are tried and shown.
const MAX_ADDRESSES: usize = 16;
/// How much is kept of what a peer calls itself, in characters.
const MAX_NAME: usize = 64;
/// And of whose certificate it shows.
const MAX_SUBJECT: usize = 200;

pub(super) async fn probe(
    peer: &PeerAddress,
    calling: &AeTitle,
    passthrough: bool,
    tls: Option<&Settings>,
    limit: Duration,
) -> Report {
    let target = TargetName::Dicom {
        called_ae: peer.ae_title.to_string(),
        calling_ae: calling.to_string(),
        host: shown(&peer.host, 253),
        port: peer.port,
    };
    let security = tls.map_or(Security::Unsecured, Settings::security);
    let mut probe = Probe { report: Report::new(target, Some(security)), peer, calling, tls, limit };
    probe.report.authentication = tls.map(Settings::authentication);
    let began = Instant::now();
    probe.questions_before(passthrough);
    // Why it ended is in the report.
    let _ = probe.run().await;
    probe.report.total_ms = milliseconds(began);
    probe.report
}

struct Probe<'a> {
    report: Report,
    peer: &'a PeerAddress,
    calling: &'a AeTitle,
    tls: Option<&'a Settings>,
    limit: Duration,
}

/// A step failed; why is in the report.
struct Ended;

impl Probe<'_> {
    async fn run(&mut self) -> Result<(), Ended> {
        let addresses = self.resolve().await?;
        let stream = self.connect(&addresses).await?;
        let stream = self.encrypt(stream).await?;
        let mut association = self.associate(stream, classes::proposal()).await?;
        self.note_peer(&association);
        self.echo(&mut association).await?;
        self.release(association).await
    }

    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, Ended> {
        let began = Instant::now();
        let host = self.peer.host.as_str();
        let found = within(self.limit, lookup_host((host, self.peer.port))).await.map(|found| {
            let mut addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
            addresses.dedup();
            addresses
        });
        let found = match found {
            Ok(addresses) if addresses.is_empty() => Err(io::ErrorKind::NotFound.into()),
            other => other,
        };
        let outcome = found.map_err(|error| advice::unresolved(&shown(host, 253), &error));
        self.step(StepName::Name, began, outcome, |addresses| {
            Found::Addresses(addresses.iter().map(|address| address.ip().to_string()).collect())
        })
    }

    async fn connect(&mut self, addresses: &[SocketAddr]) -> Result<TcpStream, Ended> {
        let began = Instant::now();
        let mut passed_over: Vec<String> = Vec::new();
        let mut failure = io::ErrorKind::NotFound;
        let mut connected = None;
        for &address in addresses {
            match within(self.limit, TcpStream::connect(address)).await {
                Ok(stream) => {
                    socket::prepare(&stream);
                    connected = Some((stream, address));
                    break;
                }
                Err(error) => {
                    failure = error.kind();
                    passed_over.push(format!("{address}: {error}"));
                }
            }
        }
        let outcome = connected.ok_or_else(|| advice::unconnected(&passed_over.join(", "), failure));
        let (stream, _) = self.step(StepName::Connection, began, outcome, |(_, address)| {
            Found::Connected { address: address.to_string(), passed_over: passed_over.clone() }
        })?;
        Ok(stream)
    }

    async fn encrypt(&mut self, stream: TcpStream) -> Result<Outbound, Ended> {
        let Some(settings) = self.tls.cloned() else { return Ok(Outbound::Plain(stream)) };
        let began = Instant::now();
        let outcome = shake_hands(settings, &self.peer.host, stream, self.limit)
            .await
            .map_err(|error| advice::unencrypted(&error));
        let stream = self.step(StepName::Tls, began, outcome, encrypted)?;
        Ok(Outbound::Tls(Box::new(stream)))
    }

    async fn associate(
        &mut self,
        stream: Outbound,
        contexts: Vec<(Uid, Vec<Uid>)>,
    ) -> Result<Requestor<Tap>, Ended> {
        let began = Instant::now();
        let proposed = contexts.len();
        let (stream, first_bytes) = Tap::new(stream);
        let proposal = Proposal::new(self.calling.clone(), self.peer.ae_title.clone(), contexts);
        let opening = Requestor::open(stream, &proposal, self.timers());
        let opened = timeout(self.limit, opening)
            .await
            .unwrap_or_else(|_| Err(OpenError::Link(LinkError::Timeout("the answer to an A-ASSOCIATE-RQ"))));
        if let Err(OpenError::Link(LinkError::Tls(error))) = &opened {
            // The handshake seemed to be over, and was not.
            self.report.steps.retain(|step| step.step != StepName::Tls);
            return self.step(StepName::Tls, began, Err(advice::unencrypted(error)), |_| Found::Done);
        }
        let outcome = opened
            .map_err(|error| advice::unassociated(&error, &first_bytes, self.calling, &self.peer.ae_title));
        self.step(StepName::Association, began, outcome, |association| Found::Associated {
            accepted: association.accepted_contexts().len(),
            proposed,
        })
    }

    /// Who answered, and what it takes.
    fn note_peer(&mut self, association: &Requestor<Tap>) {
        let user = association.peer();
        self.report.peer = Some(Peer {
            implementation_class: user
                .implementation_class
                .as_ref()
                .map(|uid| shown(&uid.to_string(), MAX_NAME)),
            implementation_version: user.implementation_version.as_ref().map(|name| shown(name, MAX_NAME)),
            max_pdu: user.max_length,
        });
        self.report.classes = [("Verification", uid::VERIFICATION)]
            .iter()
            .chain(&CLASSES)
            .map(|(name, class)| answer(association, name, class))
            .collect();
        self.questions_after();
    }

    async fn echo(&mut self, association: &mut Requestor<Tap>) -> Result<(), Ended> {
        let began = Instant::now();
        let echoed = timeout(self.limit, association.echo()).await;
        let echoed = echoed.unwrap_or(Err(StoreError::Link(LinkError::Timeout("the answer to a C-ECHO"))));
        let outcome = match echoed {
            Ok(Status::SUCCESS) => Ok(()),
            Ok(status) => Err(advice::refused(status)),
            Err(error) => Err(advice::unechoed(&error)),
        };
        self.step(StepName::Echo, began, outcome, |()| Found::Accepted)
    }

    async fn release(&mut self, association: Requestor<Tap>) -> Result<(), Ended> {
        let began = Instant::now();
        let released = timeout(self.limit, association.release()).await;
        let released = released.unwrap_or(Err(LinkError::Timeout("the answer to a release")));
        let outcome = released.map_err(|error| advice::unreleased(&error));
        self.step(StepName::Release, began, outcome, |()| Found::Done)
    }

    /// Keeps how a step ended.
    fn step<T>(
        &mut self,
        step: StepName,
        began: Instant,
        outcome: Result<T, Advised>,
        found: impl FnOnce(&T) -> Found,
    ) -> Result<T, Ended> {
        let finding = match &outcome {
            Ok(value) => Finding::Ok { found: found(value) },
            Err(advised) => Finding::Failed(advised.clone()),
        };
        self.report.steps.push(Step { step, milliseconds: milliseconds(began), finding });
        outcome.map_err(|_| Ended)
    }

    fn timers(&self) -> Timers {
        Timers { acse: self.limit, dimse: self.limit, ..Timers::default() }
    }

    fn questions_before(&mut self, passthrough: bool) {
        let titles = [("called", &self.peer.ae_title), ("calling", self.calling)];
        for (role, title) in titles {
            for question in title_questions(title.as_str()) {
                self.report.questions.push(format!("the {role} AE title \"{title}\" {question}"));
            }
        }
        if passthrough {
            self.report.questions.push(format!(
                "deliveries call with the cart's own title, this echo with \"{}\"; try those with --calling",
                self.calling
            ));
        }
    }

    fn questions_after(&mut self) {
        let taken = |class: &SopClassAnswer| matches!(class.accepted, Syntaxes::Some(_));
        let storage: Vec<_> = self.report.classes.iter().skip(1).collect();
        if !storage.iter().any(|class| taken(class)) {
            let question = "the peer takes none of the SOP classes that ultrasound carts send: nothing can be stored there";
            self.report.questions.push(question.to_owned());
            return;
        }
        let missing: Vec<_> =
            storage.iter().take(2).filter(|class| !taken(class)).map(|class| class.name.clone()).collect();
        for name in missing {
            let question = format!("the peer does not take {name}: such instances would be held");
            self.report.questions.push(question);
        }
    }
}

/// Makes a connection to a host an encrypted one.
pub(super) async fn shake_hands(
    settings: Settings,
    host: &str,
    stream: TcpStream,
    limit: Duration,
) -> Result<ClientStream<TcpStream>, HandshakeError> {
    let made = tokio::task::spawn_blocking(move || ClientTls::new(&settings)).await;
    let tls = made.map_err(|error| HandshakeError::Protocol(error.to_string()))??;
    let name = tls.name_for(host)?;
    tls.connect(stream, &name, limit).await
}

/// What was agreed on, and with whom.
pub(super) fn encrypted(stream: &ClientStream<TcpStream>) -> Found {
    let session = stream.get_ref().1;
    let leaf = session.peer_certificates().and_then(|chain| Leaf::of(chain.first()?).ok());
    let days_left = leaf.as_ref().map_or(0, |leaf| leaf.seconds_left(OffsetDateTime::now_utc()) / 86_400);
    let version = session.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
    let cipher =
        session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str().map(str::to_owned));
    Found::Encrypted {
        version: version.unwrap_or_default().replace("TLSv1_", "TLS 1."),
        cipher: cipher.unwrap_or_default(),
        subject: leaf.as_ref().map(|leaf| shown(&leaf.subject, MAX_SUBJECT)).unwrap_or_default(),
        pin: leaf.map(|leaf| leaf.pin.to_string()).unwrap_or_default(),
        days_left,
    }
}

fn answer(association: &Requestor<Tap>, name: &str, class: &Uid) -> SopClassAnswer {
    let accepted = SYNTAXES
        .iter()
        .filter(|(_, syntax)| association.context_for(class, &TransferSyntax(syntax.clone())).is_some());
    let accepted: Vec<_> = accepted.map(|(name, _)| (*name).to_owned()).collect();
    let accepted = match accepted.is_empty() {
        false => Syntaxes::Some(accepted),
        true if association.refuses_class(class) => Syntaxes::ClassRefused,
        true => Syntaxes::NoneOfThese,
    };
    SopClassAnswer { name: name.to_owned(), uid: class.to_string(), accepted }
}

async fn within<T>(limit: Duration, action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let expired = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
    timeout(limit, action).await.map_err(expired).and_then(|outcome| outcome)
}

fn milliseconds(began: Instant) -> f64 {
    // Microseconds are as much as anybody can use.
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
