//! A peer that follows a script, as a stream that an association runs on: no socket, no second task.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrysalis::dimse::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::pieces::Lengths;

/// What the peer does next.
#[derive(Debug, Clone)]
pub enum Act {
    /// It says this.
    Say(Vec<u8>),
    /// It says nothing for so long.
    Pause(Duration),
    /// It waits until it has heard something since it last waited.
    Await,
    /// It takes nothing any more of what is said to it.
    Stall,
    /// It closes the connection.
    Close,
    /// Its machine is gone.
    Reset,
}

/// Hears what both sides say, as it happens.
pub trait Ear {
    /// The peer has said this, and the program has taken it.
    fn said(&mut self, bytes: &[u8]);
    /// The program says this.
    fn heard(&mut self, bytes: &[u8]);
}

/// The stream. At the end of its script the peer stays and says nothing more.
pub struct Peer<E> {
    acts: VecDeque<Act>,
    /// Bytes of the first act that were taken already.
    taken: usize,
    lengths: Lengths,
    sleep: Option<Pin<Box<Sleep>>>,
    has_heard: bool,
    is_stalled: bool,
    reader: Option<Waker>,
    ear: E,
}

impl<E: Ear> Peer<E> {
    /// A peer that does this; what it says is taken in pieces by the seed.
    pub fn new(acts: impl IntoIterator<Item = Act>, seed: u8, ear: E) -> Self {
        Self {
            acts: acts.into_iter().collect(),
            taken: 0,
            lengths: Lengths::new(seed),
            sleep: None,
            has_heard: false,
            is_stalled: false,
            reader: None,
            ear,
        }
    }

    fn say(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(Act::Say(bytes)) = self.acts.front() else { return false };
        let rest = &bytes[self.taken..];
        let count = rest.len().min(self.lengths.next_length()).min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.ear.said(&rest[..count]);
        self.taken += count;
        if self.taken == bytes.len() {
            self.acts.pop_front();
            self.taken = 0;
        }
        count > 0
    }
}

impl<E: Ear + Send + Unpin> Transport for Peer<E> {}

impl<E: Ear + Unpin> AsyncRead for Peer<E> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.acts.front() {
                Some(Act::Say(_)) => {
                    if this.say(buf) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Some(Act::Pause(time)) => {
                    let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep(*time)));
                    if sleep.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    this.sleep = None;
                    this.acts.pop_front();
                }
                Some(Act::Await) => {
                    if !std::mem::take(&mut this.has_heard) {
                        this.reader = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                    this.acts.pop_front();
                }
                Some(Act::Stall) => {
                    this.is_stalled = true;
                    this.acts.pop_front();
                }
                Some(Act::Close) => return Poll::Ready(Ok(())),
                Some(Act::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => return Poll::Pending,
            }
        }
    }
}

impl<E: Ear + Unpin> AsyncWrite for Peer<E> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_stalled {
            return Poll::Pending;
        }
        if matches!(this.acts.front(), Some(Act::Reset)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        this.ear.heard(bytes);
        this.has_heard = true;
        if let Some(reader) = this.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
