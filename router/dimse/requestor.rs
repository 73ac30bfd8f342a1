//! The requestor's side: open an association, echo, store, release.
//!
//! No future here is cancel-safe: whoever drops one half way drops the association with it. After any error the association is
//! over and never used again.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::future::Future;
use std::io::{self, IoSlice};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::association::{Event, State};
use super::command::{Command, EchoRequest, MAX_COMMAND_SET, Response, StoreCommand};
use super::connection::{Input, Link, LinkError, Timers, Transport};
use super::negotiate::{DEFAULT_MAX_PDU, NegotiatedContext, sendable};
use super::pdata::{self, Part};
use super::pdu::{
    Abort, AssociateAccept, AssociateRequest, ContextResult, PduType, ProposedContext, Rejection,
    UserInformation,
};
use crate::dicom::uid;
use crate::dicom::{AeTitle, Status, TransferSyntax, Uid};

/// What to propose.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Whom to call.
    pub called: AeTitle,
    /// Who we are.
    pub calling: AeTitle,
    /// SOP class and transfer syntaxes of each context, at most 128; one syntax each keeps the choice ours.
    pub contexts: Vec<(Uid, Vec<Uid>)>,
    /// The P-DATA-TF length to advertise, in bytes; responses are short, so it matters little.
    pub max_pdu: u32,
}

impl Proposal {
    /// A proposal with the default maximum length.
    pub fn new(calling: AeTitle, called: AeTitle, contexts: Vec<(Uid, Vec<Uid>)>) -> Self {
        Self { called, calling, contexts, max_pdu: DEFAULT_MAX_PDU }
    }
}

/// Why no association came about.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The peer rejected it.
    #[error("the peer rejected the association: {0}")]
    Rejected(Rejection),
    /// The peer aborted, kept silent, broke the protocol or went away.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our fault: no context, or more than 128.
    #[error("{0} presentation contexts cannot be proposed in one association")]
    Contexts(usize),
}

/// Why an instance has no response.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The association ended.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our fault: the data could not be read, or was shorter than said. The association was aborted.
    #[error("the data set cannot be read: {0}")]
    Source(io::Error),
    /// Our fault: the context is not one that was agreed on. Nothing was sent.
    #[error("presentation context {0} was not agreed on")]
    Context(u8),
}

/// One instance to be sent.
#[derive(Debug, Clone)]
pub struct StoreRequest {
    /// The context to send it on, one of [`Requestor::accepted_contexts`].
    pub context: u8,
    /// Affected SOP Class UID.
    pub sop_class: Uid,
    /// Affected SOP Instance UID.
    pub sop_instance: Uid,
    /// Length of the data set, in bytes.
    pub data_length: u64,
}

/// The peer's answer to a C-STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreResponse {
    /// The status as sent; FF00 and everything else that is neither success nor warning is a failure.
    pub status: Status,
    /// Error Comment, escaped, possibly empty.
    pub comment: String,
}

/// Where the bytes of a data set come from.
pub trait DataSource: Send {
    /// The next bytes; none when there are no more. All pieces but the last are of even length. `used` is a buffer of an
    /// earlier piece that has been sent, or an empty one: it may be filled again, so that buffers go back and forth.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being read; the association is then aborted, so that the peer keeps nothing.
    fn next(&mut self, used: Vec<u8>) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// Bytes that [`AsyncSource`] and [`SyncSource`] read at a time.
const PIECE: usize = 128 << 10;

/// A data source that is an [`AsyncRead`].
#[derive(Debug)]
pub struct AsyncSource<R>(pub R);

impl<R: AsyncRead + Unpin + Send> DataSource for AsyncSource<R> {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        used.clear();
        (&mut self.0).take(PIECE as u64).read_to_end(&mut used).await?;
        Ok(used)
    }
}

/// A data source that is a [`std::io::Read`] and answers promptly: memory, or a file that is cached or on a fast disk.
#[derive(Debug)]
pub struct SyncSource<R>(pub R);

impl<R: io::Read + Send> DataSource for SyncSource<R> {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        used.clear();
        io::Read::read_to_end(&mut io::Read::take(&mut self.0, PIECE as u64), &mut used)?;
        Ok(used)
    }
}

/// An open association, seen from the requestor.
#[derive(Debug)]
pub struct Requestor<S> {
    link: Link<S>,
    contexts: Vec<NegotiatedContext>,
    refused_classes: Vec<Uid>,
    peer: UserInformation,
    peer_max_pdu: u32,
    message_id: u16,
    /// Used for a piece of data set, and to be used again.
    buffer: Vec<u8>,
}

impl<S: Transport> Requestor<S> {
    /// Proposes an association on an open connection and waits for the answer.
    ///
    /// # Errors
    /// [`OpenError`]; the connection is closed by then.
    pub async fn open(stream: S, proposal: &Proposal, timers: Timers) -> Result<Self, OpenError> {
        if !(1..=128).contains(&proposal.contexts.len()) {
            return Err(OpenError::Contexts(proposal.contexts.len()));
        }
        let request = request(proposal);
        let mut link = Link::new(stream, proposal.max_pdu, timers);
        link.event(Event::AssociateRequest, &[]).await?;
        link.event(Event::Connected, &request.encode()).await?;
        let accept = read_answer(&mut link).await?;
        let Some(peer_max_pdu) = sendable(accept.user.max_length) else {
            return Err(link.refuse(Abort::USER, "a maximum length too short to work with").await.into());
        };
        let contexts = agreed(&request, &accept);
        let refused_classes = refused_classes(&request, &accept);
        Ok(Self {
            link,
            contexts,
            refused_classes,
            peer: accept.user,
            peer_max_pdu,
            message_id: 0,
            buffer: Vec::new(),
        })
    }

    /// Contexts that the peer accepted, with the transfer syntax it chose; only such as were proposed.
    pub fn accepted_contexts(&self) -> &[NegotiatedContext] {
        &self.contexts
    }

    /// Whether the peer said that it does not take this SOP class at all (result 3 of PS3.8 Table 9-18). Some peers say so
    /// of a transfer syntax they do not know too: a class that was accepted in another one is taken.
    pub fn refuses_class(&self, sop_class: &Uid) -> bool {
        let is_accepted = self.contexts.iter().any(|context| context.abstract_syntax == *sop_class);
        self.refused_classes.contains(sop_class) && !is_accepted
    }

    /// What the peer says of itself.
    pub fn peer(&self) -> &UserInformation {
        &self.peer
    }

    /// The accepted context for a SOP class in a transfer syntax.
    pub fn context_for(&self, sop_class: &Uid, syntax: &TransferSyntax) -> Option<u8> {
        let fits = |context: &&NegotiatedContext| {
            context.abstract_syntax == *sop_class && context.transfer_syntax == *syntax
        };
        self.contexts.iter().find(fits).map(|context| context.id)
    }

    /// C-ECHO on the first accepted Verification context.
    ///
    /// # Errors
    /// [`StoreError`], `Context` when Verification was not accepted.
    pub async fn echo(&mut self) -> Result<Status, StoreError> {
        let verification = self.contexts.iter().find(|context| context.abstract_syntax == uid::VERIFICATION);
        let context = verification.map(|context| context.id).ok_or(StoreError::Context(0))?;
        let message_id = self.next_message_id();
        let command = EchoRequest { message_id, sop_class: uid::VERIFICATION, has_data: false };
        self.send_command(context, &Command::EchoRequest(command)).await?;
        match self.response(context).await? {
            Command::EchoResponse(response) => Ok(self.check_response(response, message_id).await?.status),
            _ => Err(self.link.refuse(Abort::UNEXPECTED_PDU, "no C-ECHO response").await.into()),
        }
    }

    /// C-STORE: command and data set in PDUs of their own, then the response.
    ///
    /// # Errors
    /// [`StoreError`]; but for `Context` the association is over, and whether the peer kept the instance is unknown.
    pub async fn store(
        &mut self,
        request: &StoreRequest,
        data: &mut impl DataSource,
    ) -> Result<StoreResponse, StoreError> {
        if !self.contexts.iter().any(|context| context.id == request.context) {
            return Err(StoreError::Context(request.context));
        }
        let message_id = self.next_message_id();
        let command = StoreCommand {
            message_id,
            sop_class: request.sop_class.clone(),
            sop_instance: Some(request.sop_instance.clone()),
            priority: 0,
            has_data: true,
            move_originator: None,
        };
        self.send_command(request.context, &Command::StoreRequest(command)).await?;
        self.send_data(request, data).await?;
        match self.response(request.context).await? {
            Command::StoreResponse(response) => {
                let response = self.check_response(response, message_id).await?;
                if !response.sop_instance.is_empty() && response.sop_instance != request.sop_instance {
                    let what = "a response about another instance";
                    return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await.into());
                }
                Ok(StoreResponse { status: response.status, comment: response.comment })
            }
            _ => Err(self.link.refuse(Abort::UNEXPECTED_PDU, "no C-STORE response").await.into()),
        }
    }

    /// Releases the association and closes the connection; a collision of releases is seen through.
    ///
    /// # Errors
    /// [`LinkError`]; everything that was answered before stays answered.
    pub async fn release(mut self) -> Result<(), LinkError> {
        self.link.event(Event::Release, &[]).await?;
        while self.link.state() != State::IDLE {
            match self.link.input(self.link.timers.acse, "the answer to a release").await? {
                // AR-6: what was under way when we released is let pass.
                Input::Fragment(_) => {}
                Input::ReleaseRp => self.link.event(Event::ReleaseRpPdu, &[]).await?,
                Input::ReleaseRq => {
                    self.link.event(Event::ReleaseRqPdu, &[]).await?;
                    self.link.event(Event::ReleaseResponse, &[]).await?;
                }
            }
        }
        Ok(())
    }

    /// Aborts and closes.
    pub async fn abort(mut self, abort: Abort) {
        self.link.end(Event::Abort(abort)).await;
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    async fn send_command(&mut self, context: u8, command: &Command) -> Result<(), LinkError> {
        let room = self.peer_max_pdu as usize - pdata::PDV_HEADER;
        let bytes = command.encode();
        let mut pieces = bytes.chunks(room).peekable();
        while let Some(piece) = pieces.next() {
            let last = pieces.peek().is_none();
            // A command of ours is a few hundred bytes long.
            let header = pdata::header(context, Part::Command, last, piece.len() as u32);
            self.link.event(Event::SendData, &[&header[..], piece].concat()).await?;
        }
        Ok(())
    }

    /// Sends the data set as it is read: each piece in PDUs with one PDV each, as even in length as the peer's maximum
    /// allows, all of them in as few writes as the connection takes.
    async fn send_data(
        &mut self,
        request: &StoreRequest,
        data: &mut impl DataSource,
    ) -> Result<(), StoreError> {
        let room = (self.peer_max_pdu as usize - pdata::PDV_HEADER) & !1;
        let mut left = request.data_length;
        let mut piece = std::mem::take(&mut self.buffer);
        loop {
            if left > 0 {
                piece = match next_piece(data, piece, left).await {
                    Ok(piece) => piece,
                    Err(error) => {
                        self.link.end(Event::Abort(Abort::USER)).await;
                        return Err(StoreError::Source(error));
                    }
                };
                left -= piece.len() as u64;
            } else {
                piece.clear();
            }
            let pdus = pdata::cut(request.context, &piece, room, left == 0);
            let mut slices = pdus
                .iter()
                .flat_map(|(head, body)| [IoSlice::new(head), IoSlice::new(body)])
                .collect::<Vec<_>>();
            self.link.write_watching(&mut slices).await?;
            if left == 0 {
                self.buffer = piece;
                return Ok(());
            }
        }
    }

    /// Reads one response: a command set of at most 16 KiB and nothing else, all of it within the DIMSE timeout, however slowly
    /// it comes.
    async fn response(&mut self, context: u8) -> Result<Command, LinkError> {
        self.link.answer_by = Some(Instant::now() + self.link.timers.dimse);
        let response = self.read_response(context).await;
        self.link.answer_by = None;
        response
    }

    async fn read_response(&mut self, context: u8) -> Result<Command, LinkError> {
        let mut bytes = BytesMut::new();
        loop {
            let fragment = match self.link.input(self.link.timers.dimse, "a response").await? {
                Input::Fragment(fragment) => fragment,
                Input::ReleaseRq | Input::ReleaseRp => {
                    return Err(self
                        .link
                        .refuse(Abort::UNEXPECTED_PDU, "a release instead of a response")
                        .await);
                }
            };
            if fragment.context != context {
                let what = "a response on another presentation context";
                return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await);
            }
            if fragment.part == Part::Data {
                return Err(self
                    .link
                    .refuse(Abort::UNEXPECTED_PDU, "a data set instead of a response")
                    .await);
            }
            if bytes.len() + fragment.data.len() > MAX_COMMAND_SET {
                return Err(self.link.refuse(Abort::INVALID_PARAMETER, "a response beyond 16 KiB").await);
            }
            bytes.extend_from_slice(&fragment.data);
            if fragment.last {
                break;
            }
        }
        match Command::read(&bytes) {
            Ok(command) => Ok(command),
            Err(fault) => Err(self.link.refuse(Abort::INVALID_PARAMETER, fault.to_string()).await),
        }
    }

    async fn check_response(&mut self, response: Response, message_id: u16) -> Result<Response, LinkError> {
        if response.message_id != message_id {
            let what = format!("a response to message {} instead of {message_id}", response.message_id);
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, what).await);
        }
        if response.has_data {
            return Err(self.link.refuse(Abort::INVALID_PARAMETER, "a response with a data set").await);
        }
        Ok(response)
    }
}

/// The next bytes of a data set of which `left` are still to come; a source that ends before is an error.
async fn next_piece(data: &mut impl DataSource, used: Vec<u8>, left: u64) -> io::Result<Vec<u8>> {
    let mut piece = data.next(used).await?;
    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    if piece.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(piece) }
}

fn request(proposal: &Proposal) -> AssociateRequest {
    let ids = (1..=u8::MAX).step_by(2);
    let contexts = ids.zip(&proposal.contexts).map(|(id, (class, syntaxes))| ProposedContext {
        id,
        abstract_syntax: class.clone(),
        transfer_syntaxes: syntaxes.clone(),
    });
    AssociateRequest {
        protocol_version: 1,
        called: proposal.called.clone(),
        calling: proposal.calling.clone(),
        raw_titles: [0; 64],
        application_context: uid::APPLICATION_CONTEXT,
        contexts: contexts.collect(),
        user: UserInformation {
            max_length: Some(proposal.max_pdu),
            implementation_class: Some(uid::IMPLEMENTATION_CLASS),
            implementation_version: Some(uid::IMPLEMENTATION_VERSION.to_owned()),
            ..UserInformation::default()
        },
    }
}

/// Sta5: the answer, which is as long as 128 contexts can make it at most.
async fn read_answer<S: Transport>(link: &mut Link<S>) -> Result<AssociateAccept, OpenError> {
    link.answer_by = Some(Instant::now() + link.timers.acse);
    let answer = read_whole_answer(link).await;
    link.answer_by = None;
    answer
}

async fn read_whole_answer<S: Transport>(link: &mut Link<S>) -> Result<AssociateAccept, OpenError> {
    const WHAT: &str = "the answer to an A-ASSOCIATE-RQ";
    const LONGEST: u32 = 64 * 1024;
    let wait = link.timers.acse;
    let (kind, length) = link.peek_header(wait, WHAT).await?;
    let invalid = Event::InvalidPdu(Abort::INVALID_PARAMETER);
    let kind = PduType::from_byte(kind);
    let fits = match kind {
        Some(PduType::AssociateAc) => length <= LONGEST,
        Some(PduType::AssociateRj | PduType::Abort) => length == 4,
        Some(PduType::ReleaseRq | PduType::ReleaseRp | PduType::PData | PduType::AssociateRq) | None => true,
    };
    if !fits {
        return Err(link.violation(invalid, format!("an answer of {length} bytes")).await.into());
    }
    match kind {
        Some(PduType::AssociateAc) => {
            let body = link.take_body(length, wait, WHAT).await?;
            match AssociateAccept::read(&body) {
                Ok(accept) => {
                    link.event(Event::AcceptPdu, &[]).await?;
                    Ok(accept)
                }
                Err(fault) => Err(link.violation(invalid, fault.to_string()).await.into()),
            }
        }
        Some(PduType::AssociateRj) => {
            let body = link.take_body(length, wait, WHAT).await?;
            link.event(Event::RejectPdu, &[]).await?;
            let &[_, result, source, reason] = body.first_chunk::<4>().unwrap_or(&[0; 4]);
            Err(OpenError::Rejected(Rejection { result, source, reason }))
        }
        Some(PduType::Abort) => {
            let body = link.take_body(length, wait, WHAT).await?;
            Err(link.peer_aborted(&body).await.into())
        }
        Some(PduType::ReleaseRq | PduType::ReleaseRp | PduType::PData | PduType::AssociateRq) => {
            let unexpected = Event::InvalidPdu(Abort::UNEXPECTED_PDU);
            Err(link.violation(unexpected, "no answer to an A-ASSOCIATE-RQ").await.into())
        }
        None => {
            let unknown = Event::InvalidPdu(Abort::UNRECOGNISED_PDU);
            Err(link.violation(unknown, "no DICOM").await.into())
        }
    }
}

/// What was proposed and accepted; an answer to something that was not proposed is ignored.
fn agreed(request: &AssociateRequest, accept: &AssociateAccept) -> Vec<NegotiatedContext> {
    let accepted = accept.contexts.iter().filter(|answer| answer.result == ContextResult::Acceptance);
    let known = accepted.filter_map(|answer| {
        let proposed = request.contexts.iter().find(|context| context.id == answer.id)?;
        proposed.transfer_syntaxes.contains(&answer.transfer_syntax).then(|| NegotiatedContext {
            id: answer.id,
            abstract_syntax: proposed.abstract_syntax.clone(),
            transfer_syntax: TransferSyntax(answer.transfer_syntax.clone()),
        })
    });
    known.collect()
}

fn refused_classes(request: &AssociateRequest, accept: &AssociateAccept) -> Vec<Uid> {
    let refused = accept
        .contexts
        .iter()
        .filter(|answer| answer.result == ContextResult::AbstractSyntaxNotSupported)
        .filter_map(|answer| request.contexts.iter().find(|context| context.id == answer.id));
    refused.map(|context| context.abstract_syntax.clone()).collect()
}
