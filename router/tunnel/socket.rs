//! A session over a real connection: the one place where messages become frames. Works over anything that reads and
//! writes: plain TCP, TLS, or memory.

use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::connection::Connection;
use super::session::{Close, Session};
use super::wire::MAX_MESSAGE;
use crate::metrics::Meter;

/// Bytes that gather before they are written, and about as many as can wait in this program: nothing overtakes them.
const WRITE_BUFFER: usize = 32 << 10;
/// Bytes read at a time.
const READ_BUFFER: usize = 64 << 10;
/// The same over TLS, of which no more than a record comes at a time (RFC 8446 5.1). The library writes zeros first to as much as
/// it asks for.
const READ_RECORD: usize = 16 << 10;
/// Messages that are read before it is the turn of writing.
const TURN: usize = 64;
/// How long the other side has to answer a close.
const CLOSING: Duration = Duration::from_secs(1);
/// The longest reason in a close frame, in bytes (RFC 6455 5.5).
const MAX_REASON: usize = 120;

/// A WebSocket that carries the tunnel's messages.
pub struct Socket<S> {
    web: WebSocketStream<S>,
    meter: Option<Meter>,
}

/// How a session, or an attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{close}{}", if *by_us { "closed by this side: " } else { "" }, if why.is_empty() { String::new() } else { format!(" ({why})") })]
pub struct Ended {
    /// With what code.
    pub close: Close,
    /// Whether it was this side that closed.
    pub by_us: bool,
    /// What happened, or what the other side said.
    pub why: String,
}

/// What a WebSocket goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// TCP, or memory.
    Plain,
    /// TLS.
    Tls,
}

/// The limits of what is read and of what waits to be written.
pub fn limits(over: Over) -> WebSocketConfig {
    let read = match over {
        Over::Plain => READ_BUFFER,
        Over::Tls => READ_RECORD,
    };
    WebSocketConfig::default()
        .read_buffer_size(read)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 4 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

impl Ended {
    /// This side has had enough.
    pub fn by_us(close: Close, why: impl Into<String>) -> Self {
        Self { close, by_us: true, why: why.into() }
    }

    /// The connection is gone, without a word.
    pub fn lost(why: impl Into<String>) -> Self {
        Self { close: Close::Lost, by_us: false, why: why.into() }
    }

    fn from_error(error: &Error) -> Self {
        let close = match error {
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Self::lost(""),
            Error::Io(error) => return Self::lost(words(error)),
            Error::Capacity(_) => Close::TooBig,
            Error::Utf8(_) => Close::NotUtf8,
            Error::Protocol(_) => Close::Protocol,
            _ => Close::Internal,
        };
        Self::by_us(close, error.to_string())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Over a WebSocket that is open.
    pub fn new(web: WebSocketStream<S>) -> Self {
        Self { web, meter: None }
    }

    /// The same, and what goes over its session is counted.
    #[must_use]
    pub fn counted(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// The next message.
    ///
    /// # Errors
    /// [`Ended`]; the other side was told, if it is still there.
    pub async fn read(&mut self) -> Result<Bytes, Ended> {
        loop {
            match poll_fn(|cx| Pin::new(&mut self.web).poll_next(cx)).await {
                Some(frame) => match sort(frame) {
                    ControlFlow::Continue(Some(bytes)) => return Ok(bytes),
                    ControlFlow::Continue(None) => {}
                    ControlFlow::Break(ended) => {
                        self.close(&ended).await;
                        return Err(ended);
                    }
                },
                None => return Err(Ended::lost("")),
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Ended`]: the connection is gone.
    pub async fn say(&mut self, bytes: Bytes) -> Result<(), Ended> {
        let web = &mut self.web;
        let lost = |error: Error| Ended::from_error(&error);
        poll_fn(|cx| Pin::new(&mut *web).poll_ready(cx)).await.map_err(lost)?;
        Pin::new(&mut *web).start_send(Frame::Binary(bytes)).map_err(lost)?;
        poll_fn(|cx| Pin::new(&mut *web).poll_flush(cx)).await.map_err(lost)
    }

    /// Says why it is over, where it was this side that ended it, and waits a moment for the other side's answer.
    pub async fn close(&mut self, ended: &Ended) {
        if !ended.by_us {
            return;
        }
        let mut end = ended.why.len().min(MAX_REASON);
        while !ended.why.is_char_boundary(end) {
            end -= 1;
        }
        let reason = ended.why.get(..end).unwrap_or_default().to_owned();
        let frame = CloseFrame { code: CloseCode::from(ended.close.code()), reason: reason.into() };
        let closing = async {
            if self.web.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.web).poll_next(cx)).await {}
            }
        };
        let _ = timeout(CLOSING, closing).await;
    }

    /// Uses the connection for a session. The future is the driver: the session lives as long as it is polled, to its end.
    pub fn run(self, session: Session) -> (Connection, impl Future<Output = Ended> + use<S>) {
        let connection = Connection::new(session);
        let driver = Driver {
            web: self.web,
            meter: self.meter,
            connection: connection.clone(),
            base: Instant::now(),
            timer: Box::pin(sleep_until(Instant::now())),
            deaf: None,
        };
        (connection, driver.run())
    }
}

/// What went wrong with a connection, without the address of a library's manual.
fn words(error: &io::Error) -> String {
    let words = error.to_string();
    words.split_once(": https://").map_or(words.clone(), |(words, _)| words.to_owned())
}

/// What a frame means: a message, nothing, or the end.
fn sort(frame: Result<Frame, Error>) -> ControlFlow<Ended, Option<Bytes>> {
    match frame {
        Ok(Frame::Binary(bytes)) => ControlFlow::Continue(Some(bytes)),
        // The answer to a ping is on its way by itself.
        Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => ControlFlow::Continue(None),
        Ok(Frame::Text(_)) => ControlFlow::Break(Ended::by_us(Close::Text, "")),
        Ok(Frame::Close(frame)) => {
            let ended = frame.map_or_else(
                || Ended { close: Close::Normal, by_us: false, why: String::new() },
                |frame| {
                    let why: String = frame.reason.chars().filter(|c| !c.is_control()).collect();
                    Ended { close: Close::from_code(frame.code.into()), by_us: false, why }
                },
            );
            ControlFlow::Break(ended)
        }
        Err(error) => ControlFlow::Break(Ended::from_error(&error)),
    }
}

/// Moves messages between a session and its connection.
struct Driver<S> {
    web: WebSocketStream<S>,
    meter: Option<Meter>,
    connection: Connection,
    base: Instant,
    timer: Pin<Box<Sleep>>,
    /// Nothing can be written any more; what was sent to us before may still be read.
    deaf: Option<Ended>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(mut self) -> Ended {
        let guard = EndsWith(self.connection.clone());
        let ended = poll_fn(|cx| {
            let polled = self.poll(cx);
            self.count();
            polled
        })
        .await;
        drop(guard);
        let mut socket = Socket { web: self.web, meter: None };
        socket.close(&ended).await;
        ended
    }

    fn now(&self) -> Duration {
        self.base.elapsed()
    }

    fn count(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.count(self.connection.traffic());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.connection.shared().driver.register(cx.waker());
        if let Poll::Ready(ended) = self.poll_read(cx) {
            return Poll::Ready(ended);
        }
        if self.deaf.is_none() {
            match self.poll_write(cx) {
                Poll::Pending => {}
                Poll::Ready(ended) if ended.by_us => return Poll::Ready(ended),
                Poll::Ready(lost) => {
                    self.deaf = Some(lost);
                    cx.waker().wake_by_ref();
                }
            }
        }
        self.poll_timer(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..TURN {
            let frame = match Pin::new(&mut self.web).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ended::lost("")),
                Poll::Ready(Some(frame)) => frame,
            };
            let bytes = match sort(frame) {
                ControlFlow::Continue(Some(bytes)) => bytes,
                ControlFlow::Continue(None) => continue,
                ControlFlow::Break(ended) => return Poll::Ready(ended),
            };
            let (now, shared) = (self.now(), self.connection.shared());
            let mut core = shared.lock();
            match core.session.received(bytes, now) {
                Ok(Some(event)) => shared.note(&mut core, event),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Ended::by_us(Close::Protocol, fault.to_string())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let failed = |error: Error| Poll::Ready(Ended::from_error(&error));
        let mut has_said = false;
        for _ in 0..TURN {
            match Pin::new(&mut self.web).poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return failed(error),
                Poll::Ready(Ok(())) => {}
            }
            let now = self.now();
            let next = {
                let mut core = self.connection.shared().lock();
                if let Some(close) = core.closing {
                    return Poll::Ready(Ended::by_us(close, ""));
                }
                core.session.next(now)
            };
            let Some(bytes) = next else { break };
            has_said = true;
            if let Err(error) = Pin::new(&mut self.web).start_send(Frame::Binary(bytes)) {
                return failed(error);
            }
        }
        if has_said {
            let shared = self.connection.shared();
            shared.note_room(&shared.lock());
        }
        match Pin::new(&mut self.web).poll_flush(cx) {
            Poll::Ready(Err(error)) => failed(error),
            // There may be more: a turn is bounded, so that reading has its own.
            Poll::Ready(Ok(())) if has_said => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let now = self.now();
            let deadline = {
                let mut core = self.connection.shared().lock();
                // A close that cannot be said because nothing can be written is not waited for.
                if let Err(close) = core.session.tick(now) {
                    return Poll::Ready(self.deaf.take().unwrap_or_else(|| Ended::by_us(close, "")));
                }
                core.session.deadline()
            };
            self.timer.as_mut().reset(self.base + deadline);
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            cx.waker().wake_by_ref();
        }
    }
}

/// However the driver ends, whoever waits for something of its session is told.
struct EndsWith(Connection);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.shared().end();
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
