//! The acceptor's side: from an open connection to an association, then message after message.
//!
//! What a peer does wrong in DIMSE is answered here, so that callers see only requests that can be carried out: a C-STORE
//! with a usable SOP class and instance UID on a context for it, or a C-ECHO.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};

use super::association::{Event, State};
use super::command::{Command, EchoRequest, MAX_COMMAND_SET, Other, Response, StoreCommand};
use super::connection::{Input, Link, LinkError, Timers, Transport};
use super::negotiate::{NegotiatedContext, Policy, Refusal, negotiate};
use super::pdata::{self, Fragment, Part};
use super::pdu::{self, Abort, AssociateRequest, PduType, Rejection};
use crate::dicom::uid::{self, Conformance, UidFault};
use crate::dicom::{Status, TransferSyntax, Uid};

/// Why no association came about.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It was rejected; the request tells who it was.
    #[error("rejected: {rejection}")]
    Rejected {
        /// What was answered.
        rejection: Rejection,
        /// The request.
        request: Box<AssociateRequest>,
    },
    /// The peer connected and went, by FIN or RST, without a byte: it only looked whether somebody is here.
    #[error("the peer connected and left")]
    Left,
    /// The peer broke the protocol, went away, or kept silent.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Accepts associations.
#[derive(Debug)]
pub struct Acceptor;

/// An open association, seen from the acceptor.
#[derive(Debug)]
pub struct Association<S> {
    link: Link<S>,
    request: AssociateRequest,
    contexts: Vec<NegotiatedContext>,
    peer_max_pdu: u32,
    max_data_set: u64,
    /// The command set being collected, and on which context.
    command: Option<(u8, BytesMut)>,
    /// The data set being received.
    data: Option<Incomplete>,
    /// What to answer once a data set that nobody wants has passed.
    pending: Option<(u8, Vec<u8>)>,
    /// Message IDs of C-STOREs handed out and not yet answered.
    outstanding: Vec<u16>,
    /// Whether it was said that this peer's group lengths are wrong: once is enough.
    has_noted_group_length: bool,
}

#[derive(Debug, Clone, Copy)]
struct Incomplete {
    context: u8,
    received: u64,
}

/// What an association brings next.
#[derive(Debug)]
pub enum Incoming {
    /// A C-ECHO; answer it with [`Association::respond_echo`].
    Echo(EchoMessage),
    /// A C-STORE whose data set follows: read it with [`Association::next_data`], then [`Association::respond`].
    Store(StoreMessage),
    /// The peer released the association; it is over.
    Released,
}

/// A C-ECHO-RQ and where it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoMessage {
    /// Presentation context.
    pub context: u8,
    /// The request.
    pub command: EchoRequest,
}

/// A C-STORE-RQ and where it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMessage {
    /// Presentation context.
    pub context: u8,
    /// The request; its UIDs were checked.
    pub command: StoreCommand,
    /// The SOP Instance UID.
    pub sop_instance: Uid,
    /// How the data set is encoded.
    pub transfer_syntax: TransferSyntax,
    /// Whether the SOP Instance UID keeps to the standard.
    pub conformance: Conformance,
}

impl Acceptor {
    /// Reads the A-ASSOCIATE-RQ, within ARTIM in all, and answers it.
    ///
    /// Dropping the future abandons the connection.
    ///
    /// # Errors
    /// [`AcceptError`]; the connection is closed by then.
    pub async fn accept<S: Transport>(
        stream: S,
        policy: &Policy,
        timers: Timers,
    ) -> Result<Association<S>, AcceptError> {
        let mut link = Link::new(stream, policy.max_pdu, timers);
        link.event(Event::Incoming, &[]).await?;
        let request = match read_request(&mut link, policy).await {
            Err(LinkError::Closed | LinkError::Io(_)) if link.buffered().is_empty() => {
                return Err(AcceptError::Left);
            }
            request => request?,
        };
        let acceptable = request.protocol_version & 1 == 1;
        let rejection = pdu::encode_rejection(Rejection::PROTOCOL_VERSION);
        link.event(Event::RequestPdu { acceptable }, &rejection).await?;
        if !acceptable {
            link.await_close().await;
            return Err(rejected(Rejection::PROTOCOL_VERSION, request));
        }
        let negotiated = match negotiate(&request, policy) {
            Ok(negotiated) => negotiated,
            Err(Refusal::Reject(rejection)) => {
                link.event(Event::Reject, &pdu::encode_rejection(rejection)).await?;
                link.await_close().await;
                return Err(rejected(rejection, request));
            }
            Err(Refusal::Abort(abort)) => {
                return Err(link.refuse(abort, "a maximum length too short to work with").await.into());
            }
        };
        link.event(Event::Accept, &negotiated.accept.encode(&request)).await?;
        if request.user.repeated_max_length {
            tracing::warn!(calling = %request.calling, "More than one maximum length was given; the first counts.");
        }
        Ok(Association {
            link,
            request,
            contexts: negotiated.contexts,
            peer_max_pdu: negotiated.peer_max_pdu,
            max_data_set: policy.max_data_set,
            command: None,
            data: None,
            pending: None,
            outstanding: Vec::new(),
            has_noted_group_length: false,
        })
    }
}

fn rejected(rejection: Rejection, request: AssociateRequest) -> AcceptError {
    AcceptError::Rejected { rejection, request: Box::new(request) }
}

/// Sta2: everything but a proper A-ASSOCIATE-RQ or an A-ABORT earns AA-1.
async fn read_request<S: Transport>(
    link: &mut Link<S>,
    policy: &Policy,
) -> Result<AssociateRequest, LinkError> {
    const WHAT: &str = "an A-ASSOCIATE-RQ";
    let (wait, invalid) = (link.timers.artim, Event::InvalidPdu(Abort::USER));
    let (kind, length) = link.peek_header(wait, WHAT).await?;
    match PduType::from_byte(kind) {
        Some(PduType::AssociateRq) if length > policy.max_request => {
            return Err(link.violation(invalid, format!("an A-ASSOCIATE-RQ of {length} bytes")).await);
        }
        Some(PduType::AssociateRq) => {}
        Some(PduType::Abort) => return Err(link.peer_aborted(&[]).await),
        Some(_) => return Err(link.violation(invalid, "no A-ASSOCIATE-RQ first").await),
        None => {
            let what = name_stranger(link.buffered());
            return Err(link.violation(invalid, what).await);
        }
    }
    if (length as usize) < pdu::ASSOCIATE_FIXED {
        return Err(link.violation(invalid, format!("an A-ASSOCIATE-RQ of {length} bytes")).await);
    }
    let body = link.take_body(length, wait, WHAT).await?;
    match AssociateRequest::read(&body, policy.limits) {
        Ok(request) => Ok(request),
        Err(fault) => Err(link.violation(invalid, fault.to_string()).await),
    }
}

/// What a connection is that does not begin like DICOM.
fn name_stranger(start: &[u8]) -> &'static str {
    match start {
        [0x16, 3, ..] => "TLS on plain port",
        [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [0x0D, 0x0A, 0x0D, 0x0A, 0, 0x0D, ..] => {
            "a PROXY protocol header, from an address that is not among trusted_proxies, or a second one"
        }
        [b'G' | b'P' | b'H' | b'D' | b'O', b'A'..=b'Z', ..] => "HTTP on DICOM port",
        [b'S', b'S', b'H', ..] => "SSH on DICOM port",
        _ => "no DICOM",
    }
}

impl<S: Transport> Association<S> {
    /// The request that opened it: titles, implementation, user identity.
    pub fn request(&self) -> &AssociateRequest {
        &self.request
    }

    /// Contexts that may be used.
    pub fn contexts(&self) -> &[NegotiatedContext] {
        &self.contexts
    }

    /// The next request that the caller has to do something about; everything else is answered on the way. What is left of
    /// an unread data set is discarded first. Cancel-safe but for answers given on the way, which are short.
    ///
    /// # Errors
    /// [`LinkError`]; the association is over.
    pub async fn next_message(&mut self) -> Result<Incoming, LinkError> {
        loop {
            while self.next_data().await?.is_some() {}
            if let Some((context, answer)) = self.pending.take() {
                self.send_command(context, &answer).await?;
            }
            let Some((context, bytes)) = self.read_command().await? else { return Ok(Incoming::Released) };
            let command = match Command::read(&bytes) {
                Ok(command) => command,
                Err(fault) => {
                    return Err(self.link.refuse(Abort::INVALID_PARAMETER, fault.to_string()).await);
                }
            };
            self.note_group_length(&bytes);
            match command {
                Command::EchoRequest(command) => {
                    self.expect_data(context, command.has_data);
                    return Ok(Incoming::Echo(EchoMessage { context, command }));
                }
                Command::StoreRequest(command) => {
                    self.expect_data(context, command.has_data);
                    match self.check_store(context, &command) {
                        Ok((transfer_syntax, conformance)) => {
                            self.outstanding.push(command.message_id);
                            self.note_conformance(&command, conformance);
                            let sop_instance = command.sop_instance.clone().unwrap_or_default();
                            let message =
                                StoreMessage { context, command, sop_instance, transfer_syntax, conformance };
                            return Ok(Incoming::Store(message));
                        }
                        Err((status, comment)) => self.refuse_store(context, &command, status, comment),
                    }
                }
                Command::Cancel => {}
                Command::Other(other) => self.refuse_other(context, &other),
                Command::StoreResponse(_) | Command::EchoResponse(_) => {
                    return Err(self
                        .link
                        .refuse(Abort::UNEXPECTED_PDU, "a response that nobody asked for")
                        .await);
                }
            }
        }
    }

    /// The next piece of the current data set as it arrived, or none when it is complete. Cancel-safe.
    ///
    /// # Errors
    /// [`LinkError`]; what came so far is to be thrown away.
    pub async fn next_data(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some(Incomplete { context, received }) = self.data else { return Ok(None) };
        let fragment = match self.link.input(self.link.timers.dimse, "the rest of a data set").await? {
            Input::Fragment(fragment) => fragment,
            Input::ReleaseRq | Input::ReleaseRp => {
                return Err(self.link.refuse(Abort::UNEXPECTED_PDU, "a release inside a data set").await);
            }
        };
        if fragment.part == Part::Command {
            return Err(self.link.refuse(Abort::UNEXPECTED_PDU, "a command inside a data set").await);
        }
        if fragment.context != context {
            let what = "another presentation context inside a data set";
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await);
        }
        let received = received + fragment.data.len() as u64;
        if received > self.max_data_set {
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, "a data set beyond the size limit").await);
        }
        self.data = (!fragment.last).then_some(Incomplete { context, received });
        Ok(Some(fragment.data))
    }

    /// Answers a C-STORE; what is left of its data set is discarded first, since the answer may not overtake it.
    ///
    /// # Errors
    /// [`LinkError`]; the answer may or may not have arrived.
    pub async fn respond(
        &mut self,
        to: &StoreMessage,
        status: Status,
        comment: &str,
    ) -> Result<(), LinkError> {
        while self.next_data().await?.is_some() {}
        self.outstanding.retain(|&id| id != to.command.message_id);
        let answer = store_response(&to.command, status, comment);
        self.send_command(to.context, &answer).await
    }

    /// Answers a C-ECHO with Success.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn respond_echo(&mut self, to: &EchoMessage) -> Result<(), LinkError> {
        while self.next_data().await?.is_some() {}
        let class =
            if to.command.sop_class.is_empty() { uid::VERIFICATION } else { to.command.sop_class.clone() };
        let response = Response {
            message_id: to.command.message_id,
            status: Status::SUCCESS,
            sop_class: class,
            sop_instance: Uid::default(),
            comment: String::new(),
            has_data: false,
        };
        self.send_command(to.context, &Command::EchoResponse(response).encode()).await
    }

    /// Aborts and closes.
    pub async fn abort(mut self, abort: Abort) {
        self.link.end(Event::Abort(abort)).await;
    }

    /// Collects a command set; none when the peer releases instead.
    async fn read_command(&mut self) -> Result<Option<(u8, BytesMut)>, LinkError> {
        loop {
            let started = self.command.is_some();
            let (wait, what) = match started {
                true => (self.link.timers.dimse, "the rest of a command"),
                false => (self.link.timers.idle, "the next message"),
            };
            match self.link.input(wait, what).await? {
                Input::Fragment(fragment) => {
                    if let Some(done) = self.collect(fragment).await? {
                        return Ok(Some(done));
                    }
                }
                Input::ReleaseRq if !started => {
                    self.release().await?;
                    return Ok(None);
                }
                Input::ReleaseRq => {
                    return Err(self.link.refuse(Abort::UNEXPECTED_PDU, "a release inside a command").await);
                }
                Input::ReleaseRp => {
                    return Err(self.link.violation(Event::ReleaseRpPdu, "an A-RELEASE-RP unasked").await);
                }
            }
        }
    }

    /// Adds a fragment to the command set under way; returns it when it is complete.
    async fn collect(&mut self, fragment: Fragment) -> Result<Option<(u8, BytesMut)>, LinkError> {
        if !self.contexts.iter().any(|context| context.id == fragment.context) {
            let what = format!("presentation context {} was not agreed on", fragment.context);
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await);
        }
        if fragment.part == Part::Data {
            return Err(self.link.refuse(Abort::UNEXPECTED_PDU, "a data set before its command").await);
        }
        let (context, bytes) = self.command.get_or_insert_with(|| (fragment.context, BytesMut::new()));
        let fault = match () {
            () if *context != fragment.context => Some("another presentation context inside a command"),
            () if bytes.len() + fragment.data.len() > MAX_COMMAND_SET => Some("a command beyond 16 KiB"),
            () => None,
        };
        if let Some(what) = fault {
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await);
        }
        bytes.extend_from_slice(&fragment.data);
        Ok(if fragment.last { self.command.take() } else { None })
    }

    async fn release(&mut self) -> Result<(), LinkError> {
        self.link.event(Event::ReleaseRqPdu, &[]).await?;
        self.link.event(Event::ReleaseResponse, &[]).await?;
        debug_assert!(matches!(self.link.state(), State::AwaitingClose(_)));
        self.link.await_close().await;
        Ok(())
    }

    fn expect_data(&mut self, context: u8, has_data: bool) {
        self.data = has_data.then_some(Incomplete { context, received: 0 });
    }

    /// Whether a C-STORE can be carried out, and if not, what to answer.
    fn check_store(
        &self,
        context: u8,
        command: &StoreCommand,
    ) -> Result<(TransferSyntax, Conformance), (Status, &'static str)> {
        let agreed = self.contexts.iter().find(|agreed| agreed.id == context);
        let Some(agreed) = agreed else { return Err((Status::CLASS_NOT_SUPPORTED, "presentation context")) };
        if self.outstanding.contains(&command.message_id) {
            return Err((Status::DUPLICATE_INVOCATION, "message ID in use"));
        }
        if command.sop_class.is_empty() {
            return Err((Status::MISTYPED_ARGUMENT, "missing affected SOP class UID"));
        }
        let Some(instance) = &command.sop_instance else {
            return Err((Status::MISTYPED_ARGUMENT, "missing affected SOP instance UID"));
        };
        if command.sop_class != agreed.abstract_syntax || agreed.abstract_syntax == uid::VERIFICATION {
            return Err((Status::CLASS_NOT_SUPPORTED, "SOP class is not that of the context"));
        }
        let conformance = instance.check().map_err(|fault| {
            let comment = match fault {
                UidFault::Empty => "SOP instance UID is empty",
                UidFault::TooLong => "SOP instance UID is longer than 64",
                UidFault::Character => "SOP instance UID has a forbidden character",
            };
            (Status::INVALID_INSTANCE, comment)
        })?;
        if !command.has_data {
            return Err((Status::CANNOT_UNDERSTAND, "no data set"));
        }
        Ok((agreed.transfer_syntax.clone(), conformance))
    }

    fn note_group_length(&mut self, set: &[u8]) {
        if !self.has_noted_group_length && Command::has_wrong_group_length(set) {
            self.has_noted_group_length = true;
            tracing::warn!(calling = %self.request.calling, "The group length of a command set is wrong; it is not used.");
        }
    }

    fn note_conformance(&self, command: &StoreCommand, conformance: Conformance) {
        if let (Conformance::Odd, Some(sop_instance)) = (conformance, &command.sop_instance) {
            tracing::warn!(%sop_instance, calling = %self.request.calling, "The SOP instance UID is none by the standard; taken as it is.");
        }
    }

    fn refuse_store(&mut self, context: u8, command: &StoreCommand, status: Status, comment: &str) {
        tracing::warn!(%status, comment, calling = %self.request.calling, "Refused a C-STORE.");
        self.pending = Some((context, store_response(command, status, comment)));
    }

    fn refuse_other(&mut self, context: u8, other: &Other) {
        self.expect_data(context, other.has_data);
        if other.field & 0x8000 == 0 {
            tracing::warn!(field = other.field, calling = %self.request.calling, "Refused an unknown operation.");
            self.pending =
                Some((context, other.refusal(Status::UNRECOGNISED_OPERATION, "unrecognised operation")));
        }
    }

    /// Sends a command set in as many PDUs as the peer's maximum asks for; one, as a rule.
    async fn send_command(&mut self, context: u8, command: &[u8]) -> Result<(), LinkError> {
        let room = self.peer_max_pdu as usize - pdata::PDV_HEADER;
        let mut pieces = command.chunks(room).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            // A piece is at most 16 KiB long.
            let header = pdata::header(context, Part::Command, last, piece.len() as u32);
            self.link.event(Event::SendData, &[&header[..], piece].concat()).await?;
        }
        Ok(())
    }
}

fn store_response(command: &StoreCommand, status: Status, comment: &str) -> Vec<u8> {
    let response = Response {
        message_id: command.message_id,
        status,
        sop_class: command.sop_class.clone(),
        sop_instance: command.sop_instance.clone().unwrap_or_default(),
        comment: comment.to_owned(),
        has_data: false,
    };
    Command::StoreResponse(response).encode()
}
