//! The one async driver: a byte stream, a read buffer, the state machine and the framer.
//!
//! Reading is cancel-safe throughout: dropping a future that reads loses nothing. Writing is not: after dropping a future that
//! writes, the association has to be dropped too. Nothing here spawns a task.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::association::{Action, Event, State};
use super::pdata::{Fragment, FrameError, Framer};
use super::pdu::{self, Abort, PduType};
use crate::tls::{self, HandshakeError};

/// A stream that an association can run on.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Called before every read; TCP asks for prompt acknowledgements here.
    fn before_read(&self) {}
}

impl Transport for DuplexStream {}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// ARTIM (PS3.8 9.1.5): for the whole A-ASSOCIATE-RQ, and for the peer to close after the end.
    pub artim: Duration,
    /// For the answer to our A-ASSOCIATE-RQ or A-RELEASE-RQ.
    pub acse: Duration,
    /// For the next bytes of a message under way, for a response, and for the peer to take what we send.
    pub dimse: Duration,
    /// For the next message of an open association.
    pub idle: Duration,
    /// How long a connection that we end is still read, so that the peer gets to see our last PDU. At most `artim` counts.
    pub linger: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let long = Duration::from_secs(300);
        Self {
            artim: Duration::from_secs(30),
            acse: long,
            dimse: long,
            idle: long,
            linger: Duration::from_secs(1),
        }
    }
}

/// How an association ended that was not released.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer broke the protocol and was sent this abort.
    #[error("the peer broke the protocol: {what}; answered with an A-ABORT, {abort}")]
    Violation {
        /// What it did.
        what: String,
        /// What it was answered.
        abort: Abort,
    },
    /// The peer aborted.
    #[error("the peer aborted: {0}")]
    Aborted(Abort),
    /// The connection was closed without release or abort.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer did nothing in time; the association was aborted.
    #[error("timeout waiting for {0}")]
    Timeout(&'static str),
    /// The connection failed.
    #[error("the connection failed: {}", tls::io_words(.0))]
    Io(io::Error),
    /// The peer will not have our certificate, which it says after the handshake in TLS 1.3.
    #[error("TLS: {0}")]
    Tls(HandshakeError),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        HandshakeError::late(&error).map_or(Self::Io(error), Self::Tls)
    }
}

/// What comes in on an open association.
#[derive(Debug)]
pub(super) enum Input {
    Fragment(Fragment),
    ReleaseRq,
    ReleaseRp,
}

/// Bytes read at once before an association is accepted.
const FIRST_READ: usize = 4 * 1024;
/// Bytes of read buffer of an open association.
const READ_BUFFER: usize = 256 * 1024;
/// Below this much room the read buffer is made anew.
const READ_ROOM: usize = 128 * 1024;
/// Bytes a peer may send while we are sending.
const WATCH_LIMIT: usize = 64 * 1024;

/// One connection and where it stands.
#[derive(Debug)]
pub(super) struct Link<S> {
    stream: S,
    buffer: BytesMut,
    state: State,
    framer: Framer,
    pub(super) timers: Timers,
    /// When an answer has to be there whole, however slowly it comes.
    pub(super) answer_by: Option<Instant>,
    /// When ARTIM expires, while it runs.
    artim: Option<Instant>,
    established: bool,
}

impl<S: Transport> Link<S> {
    pub(super) fn new(stream: S, max_pdu: u32, timers: Timers) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            state: State::IDLE,
            framer: Framer::new(max_pdu),
            timers,
            answer_by: None,
            artim: None,
            established: false,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Runs one event through the state machine and carries out what it asks for. `payload` is what a sending action sends.
    pub(super) async fn event(&mut self, event: Event, payload: &[u8]) -> Result<(), LinkError> {
        let (next, actions) = self.state.on(event);
        self.state = next;
        for action in actions {
            match action {
                Action::SendRequest | Action::SendAccept | Action::SendReject | Action::SendData => {
                    self.write(payload).await?;
                }
                Action::SendReleaseRq => self.write(&pdu::RELEASE_RQ).await?,
                Action::SendReleaseRp => self.write(&pdu::RELEASE_RP).await?,
                Action::SendAbort(abort) => self.write_last(&pdu::encode_abort(abort)).await,
                Action::StartArtim => self.artim = Some(Instant::now() + self.timers.artim),
                Action::StopArtim => self.artim = None,
                Action::CloseTransport => self.shut().await,
                Action::OpenTransport
                | Action::IndicateAssociate
                | Action::ConfirmAccept
                | Action::ConfirmReject
                | Action::IndicateData
                | Action::IndicateRelease
                | Action::ConfirmRelease
                | Action::IndicateAbort => {}
            }
        }
        self.established |= matches!(self.state, State::Established(_));
        Ok(())
    }

    /// The peer broke the protocol: abort, end the connection, and say so.
    pub(super) async fn violation(&mut self, event: Event, what: impl Into<String>) -> LinkError {
        let abort = match self.state.on(event).1.first() {
            Some(Action::SendAbort(abort)) => *abort,
            _ => Abort::UNSPECIFIED,
        };
        self.end(event).await;
        LinkError::Violation { what: what.into(), abort }
    }

    /// A violation above the Upper Layer: the provider aborts with this reason.
    pub(super) async fn refuse(&mut self, abort: Abort, what: impl Into<String>) -> LinkError {
        self.violation(Event::Abort(abort), what).await
    }

    /// Runs a last event, lets the peer see what was sent, and closes.
    pub(super) async fn end(&mut self, event: Event) {
        if self.event(event, &[]).await.is_ok() {
            self.await_close().await;
        }
    }

    /// Sta13: waits for the peer to close, reading and discarding, no longer than `linger`, then closes.
    pub(super) async fn await_close(&mut self) {
        self.buffer.clear();
        let limit = self.timers.linger.min(self.timers.artim);
        let mut rest = [0; 2048];
        let drain = async { while self.stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = timeout(limit, drain).await;
        self.state = State::IDLE;
        self.artim = None;
        self.shut().await;
    }

    /// The header of the next PDU, which stays in the buffer: type and length.
    pub(super) async fn peek_header(
        &mut self,
        wait: Duration,
        what: &'static str,
    ) -> Result<(u8, u32), LinkError> {
        loop {
            if let Some(&[kind, _, a, b, c, d]) = self.buffer.first_chunk::<{ pdu::HEADER }>() {
                return Ok((kind, u32::from_be_bytes([a, b, c, d])));
            }
            self.fill(wait, what).await?;
        }
    }

    /// What has come so far, for telling other protocols from DICOM.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// The variable field of a PDU of this length, which the caller has checked. The buffer grows with what arrives.
    pub(super) async fn take_body(
        &mut self,
        length: u32,
        wait: Duration,
        what: &'static str,
    ) -> Result<BytesMut, LinkError> {
        let whole = pdu::HEADER + length as usize;
        while self.buffer.len() < whole {
            self.fill(wait, what).await?;
        }
        self.buffer.advance(pdu::HEADER);
        Ok(self.buffer.split_to(length as usize))
    }

    /// The next piece of a message, or a release. An abort, a violation or a silence is an error.
    pub(super) async fn input(&mut self, wait: Duration, what: &'static str) -> Result<Input, LinkError> {
        loop {
            while !self.framer.is_between_pdus() {
                match self.framer.next(&mut self.buffer) {
                    Ok(Some(fragment)) => return Ok(Input::Fragment(fragment)),
                    Ok(None) if self.framer.is_between_pdus() => {}
                    Ok(None) => self.fill(wait, what).await?,
                    Err(fault) => return Err(self.bad_frame(fault).await),
                }
            }
            let (kind, length) = self.peek_header(wait, what).await?;
            match PduType::from_byte(kind) {
                Some(PduType::PData) => {
                    if let Err(fault) = self.framer.begin_pdu(length) {
                        return Err(self.bad_frame(fault).await);
                    }
                    self.buffer.advance(pdu::HEADER);
                    self.event(Event::DataPdu, &[]).await?;
                }
                Some(PduType::ReleaseRq | PduType::ReleaseRp | PduType::Abort) if length != 4 => {
                    let invalid = Event::InvalidPdu(Abort::INVALID_PARAMETER);
                    return Err(self.violation(invalid, "a release or abort of the wrong length").await);
                }
                Some(PduType::ReleaseRq) => {
                    self.take_body(length, wait, what).await?;
                    return Ok(Input::ReleaseRq);
                }
                Some(PduType::ReleaseRp) => {
                    self.take_body(length, wait, what).await?;
                    return Ok(Input::ReleaseRp);
                }
                Some(PduType::Abort) => {
                    let body = self.take_body(length, wait, what).await?;
                    return Err(self.peer_aborted(&body).await);
                }
                Some(PduType::AssociateRq) => {
                    let event = Event::RequestPdu { acceptable: true };
                    return Err(self.violation(event, "an A-ASSOCIATE-RQ on an open association").await);
                }
                Some(PduType::AssociateAc) => {
                    return Err(self.violation(Event::AcceptPdu, "an unexpected A-ASSOCIATE-AC").await);
                }
                Some(PduType::AssociateRj) => {
                    return Err(self.violation(Event::RejectPdu, "an unexpected A-ASSOCIATE-RJ").await);
                }
                None => {
                    let unknown = Event::InvalidPdu(Abort::UNRECOGNISED_PDU);
                    return Err(self.violation(unknown, format!("a PDU of type {kind:02X}")).await);
                }
            }
        }
    }

    async fn bad_frame(&mut self, fault: FrameError) -> LinkError {
        self.violation(Event::InvalidPdu(Abort::INVALID_PARAMETER), fault.to_string()).await
    }

    /// Accounts for an A-ABORT whose variable field is `body`.
    pub(super) async fn peer_aborted(&mut self, body: &[u8]) -> LinkError {
        let abort = match body.first_chunk::<4>() {
            Some(&[_, _, source, reason]) => Abort { source, reason },
            None => Abort::UNSPECIFIED,
        };
        let _ = self.event(Event::AbortPdu, &[]).await;
        LinkError::Aborted(abort)
    }

    /// Writes a whole PDU at once, within the DIMSE timeout.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            // TLS may have taken it and not passed it on.
            self.stream.flush().await
        };
        match timeout(self.timers.dimse, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.said_before(error).await),
            Err(_) => Err(self.silence("the peer to take what is sent").await),
        }
    }

    /// Writes whole PDUs while taking in what the peer says meanwhile, so that two sides that both write cannot block each
    /// other, and an A-ABORT ends the sending at once.
    pub(super) async fn write_watching(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), LinkError> {
        IoSlice::advance_slices(&mut slices, 0);
        loop {
            let is_flushing = slices.is_empty();
            let step = timeout(self.timers.dimse, self.write_or_read(slices)).await;
            let count = match step {
                Ok(Ok(count)) => count,
                Ok(Err(LinkError::Io(error))) => return Err(self.last_words(error).await),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.silence("the peer to take what is sent").await),
            };
            IoSlice::advance_slices(&mut slices, count);
            self.check_for_abort().await?;
            if is_flushing {
                return Ok(());
            }
        }
    }

    /// Bytes written; what could be read without waiting went into the buffer first. With nothing to write, all that TLS
    /// has taken is passed on.
    async fn write_or_read(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, LinkError> {
        let between = self.framer.is_between_pdus();
        let (stream, buffer) = (&mut self.stream, &mut self.buffer);
        poll_fn(move |context| {
            if slices.is_empty()
                && let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(context)
            {
                return Poll::Ready(flushed.map(|()| 0).map_err(LinkError::from));
            }
            while buffer.len() < WATCH_LIMIT {
                let mut space = [0; 512];
                let mut read = ReadBuf::new(&mut space);
                match Pin::new(&mut *stream).poll_read(context, &mut read) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Ready(Ok(())) if read.filled().is_empty() => {
                        return Poll::Ready(Err(LinkError::Closed));
                    }
                    Poll::Ready(Ok(())) => buffer.extend_from_slice(read.filled()),
                }
                if between && buffer.first() == Some(&ABORT) && buffer.len() >= 10 {
                    return Poll::Ready(Ok(0));
                }
            }
            if slices.is_empty() {
                return Poll::Pending;
            }
            Pin::new(&mut *stream).poll_write_vectored(context, slices).map(|result| match result {
                Ok(0) => Err(LinkError::Closed),
                Ok(count) => Ok(count),
                Err(error) => Err(error.into()),
            })
        })
        .await
    }

    async fn check_for_abort(&mut self) -> Result<(), LinkError> {
        let between = self.framer.is_between_pdus();
        match self.buffer.first_chunk::<10>() {
            Some(&[ABORT, _, _, _, _, _, body @ ..]) if between => Err(self.peer_aborted(&body).await),
            _ => Ok(()),
        }
    }

    /// A write failed: perhaps a TLS alert says why.
    async fn said_before(&mut self, error: io::Error) -> LinkError {
        let mut rest = [0; 512];
        match timeout(self.timers.linger, self.stream.read(&mut rest)).await {
            Ok(Err(said)) if HandshakeError::late(&said).is_some() => said.into(),
            _ => error.into(),
        }
    }

    /// A write failed: perhaps the peer said why before it went.
    async fn last_words(&mut self, error: io::Error) -> LinkError {
        let mut rest = [0; 512];
        let limit = Instant::now() + self.timers.linger;
        while self.buffer.len() < WATCH_LIMIT {
            match timeout_at(limit, self.stream.read(&mut rest)).await {
                Ok(Ok(count)) if count > 0 => {
                    self.buffer.extend_from_slice(rest.get(..count).unwrap_or_default())
                }
                Ok(Err(said)) if HandshakeError::late(&said).is_some() => return said.into(),
                _ => break,
            }
        }
        match self.check_for_abort().await {
            Err(abort) => abort,
            Ok(()) => {
                let _ = self.event(Event::Closed, &[]).await;
                error.into()
            }
        }
    }

    /// Reads once, whatever comes, into the buffer.
    async fn fill(&mut self, wait: Duration, what: &'static str) -> Result<(), LinkError> {
        if !self.established {
            self.buffer.reserve(FIRST_READ);
        } else if self.buffer.capacity() - self.buffer.len() < READ_ROOM {
            self.buffer.reserve(READ_BUFFER);
        }
        self.stream.before_read();
        let until = Instant::now() + wait;
        let until = [self.artim, self.answer_by].into_iter().flatten().fold(until, Instant::min);
        let read = if self.established {
            timeout_at(until, self.stream.read_buf(&mut self.buffer)).await
        } else {
            // A growing buffer may have more room than a stranger should fill.
            timeout_at(until, (&mut self.stream).take(FIRST_READ as u64).read_buf(&mut self.buffer)).await
        };
        match read {
            Ok(Ok(0)) => {
                let _ = self.event(Event::Closed, &[]).await;
                Err(LinkError::Closed)
            }
            Ok(Ok(_)) => Ok(()),
            // Many peers end TLS without saying so (RFC 8446 6.1). Nothing can be cut off unseen by that: every message and
            // the association itself have an end of their own.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let _ = self.event(Event::Closed, &[]).await;
                Err(LinkError::Closed)
            }
            Ok(Err(error)) => {
                let _ = self.event(Event::Closed, &[]).await;
                Err(error.into())
            }
            Err(_) => Err(self.silence(what).await),
        }
    }

    /// A timeout: ARTIM closes (AA-2), any other aborts; the association is not used again.
    async fn silence(&mut self, what: &'static str) -> LinkError {
        let event = if self.artim.is_some() { Event::ArtimExpired } else { Event::Abort(Abort::USER) };
        if let Some(Action::SendAbort(abort)) = self.state.on(event).1.first() {
            self.write_last(&pdu::encode_abort(*abort)).await;
        }
        self.shut().await;
        // Sta13 would wait for a peer that has just shown that it is not there.
        self.state = State::IDLE;
        self.artim = None;
        LinkError::Timeout(what)
    }

    /// Writes something that the peer may not be there to take.
    async fn write_last(&mut self, bytes: &[u8]) {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let _ = timeout(self.timers.linger, write).await;
        self.shut().await;
    }

    async fn shut(&mut self) {
        let _ = timeout(self.timers.linger, self.stream.shutdown()).await;
    }
}

/// The type of an A-ABORT.
const ABORT: u8 = 7;
