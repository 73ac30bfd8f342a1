//! Many streams over one session. Pure: no sockets, no clock.
//!
//! ```text
//!  open, send, finish ──► [ streams ] ──► next: what goes out now
//!                             ▲ ▼
//!        event ◄── received ──┘ take: what came in; taking more gives credit for what was taken before
//! ```
//!
//! - **Credit**: nobody sends more than the other side has room for, on a stream and in all. What is not taken is not
//!   credited, so a slow taker slows its sender and nobody else.
//! - **Priority** follows from what a stream is for: credit and questions go before instances.
//! - **Bounds**: streams by number, what waits to be sent by bytes for each stream, what came by credit, and what is on
//!   its way by [`pace`].
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod pace;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::pace::Pace;
use self::stream::{Stream, Taken};
use super::wire::{Kind, Message, Priority, Why, Windows};

/// Bytes that wait to be sent on one stream.
pub const SEND_QUEUE: usize = 128 << 10;
/// Credit is given when so much has been taken, so that not every piece costs a message.
const CREDIT_STEP: u32 = 16 << 10;
/// Credit in all that instances leave for questions, at most an eighth of it: a PACS that takes nothing more must not keep
/// anybody from asking.
const RESERVE: u64 = 64 << 10;

/// On which side of the session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It opens odd streams.
    Link,
    /// It opens even ones.
    Gateway,
}

/// Something that a message brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The other side has opened a stream.
    Opened {
        /// Its number.
        stream: u32,
        /// What it is for.
        kind: Kind,
        /// What is asked.
        body: Bytes,
    },
    /// There is something to take of a stream, or there will be nothing more.
    Readable(u32),
    /// More may be sent on a stream.
    Writable(u32),
    /// More may be sent on every stream.
    AllWritable,
}

/// The other side does what it must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A new stream has a number that it cannot have.
    #[error("stream {0} cannot be opened by the other side now")]
    StreamNumber(u32),
    /// More streams than were allowed.
    #[error("more than {0} streams at once")]
    TooManyStreams(u16),
    /// Something about a stream that was never opened.
    #[error("stream {0} was never opened")]
    NoSuchStream(u32),
    /// More bytes than there was credit for.
    #[error("more bytes than there was credit for on stream {0}")]
    NoCredit(u32),
    /// More credit than there can be.
    #[error("more credit than there can be on stream {0}")]
    TooMuchCredit(u32),
    /// Bytes behind the end.
    #[error("bytes on stream {0} after its end")]
    AfterEnd(u32),
    /// A message that only opens a session.
    #[error("{0} within a session")]
    OutOfOrder(&'static str),
}

/// Why nothing can be opened or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many streams as the other side allows are open.
    #[error("as many streams are open as the other side allows")]
    TooManyStreams,
    /// As much waits on this stream as may wait.
    #[error("as much waits to be sent as may wait")]
    Full,
    /// The stream is over.
    #[error("the stream is over: {0}")]
    Over(Why),
}

/// What there is to take of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The next bytes.
    Bytes(Bytes),
    /// The other side has ended its half.
    End,
    /// The stream is over.
    Reset(Why),
    /// Nothing yet.
    Nothing,
}

/// The streams of a session, as one side has them.
#[derive(Debug)]
pub struct Mux {
    side: Side,
    ours: Windows,
    theirs: Windows,
    streams: HashMap<u32, Stream>,
    next: u32,
    highest_of_theirs: u32,
    /// Bytes that we may send in all.
    credit: u64,
    /// Bytes that they may send in all.
    granted: u64,
    /// Bytes that were taken, or dropped, and not credited yet.
    owed: u64,
    opening: VecDeque<(u32, Kind, Bytes)>,
    resetting: VecDeque<(u32, Why)>,
    crediting: VecDeque<u32>,
    small: VecDeque<u32>,
    bulk: VecDeque<u32>,
    pace: Pace,
}

impl Mux {
    /// No streams yet: `ours` is what we take, `theirs` what the other side takes.
    pub fn new(side: Side, ours: Windows, theirs: Windows) -> Self {
        Self {
            side,
            ours,
            theirs,
            streams: HashMap::new(),
            next: if side == Side::Link { 1 } else { 2 },
            highest_of_theirs: 0,
            credit: theirs.session.into(),
            granted: ours.session.into(),
            owed: 0,
            opening: VecDeque::new(),
            resetting: VecDeque::new(),
            crediting: VecDeque::new(),
            small: VecDeque::new(),
            bulk: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`Refused::TooManyStreams`]
    pub fn open(&mut self, kind: Kind, body: Bytes) -> Result<u32, Refused> {
        let open = self.streams.iter().filter(|(id, stream)| self.is_ours(**id) && !stream.is_over()).count();
        if open >= usize::from(self.theirs.streams) {
            return Err(Refused::TooManyStreams);
        }
        let id = self.next;
        // Four thousand million streams: the session will have ended before.
        self.next = id.checked_add(2).ok_or(Refused::TooManyStreams)?;
        self.streams.insert(id, Stream::new(kind, self.ours.stream, self.theirs.stream));
        self.opening.push_back((id, kind, body));
        Ok(id)
    }

    /// Puts bytes in line. Empty ones are nothing.
    ///
    /// # Errors
    /// [`Refused::Full`] as long as [`SEND_QUEUE`] bytes wait; [`Refused::Over`].
    pub fn send(&mut self, id: u32, bytes: Bytes) -> Result<(), Refused> {
        let Some(stream) = self.streams.get_mut(&id) else { return Err(Refused::Over(Why::Cancelled)) };
        stream.push(bytes)?;
        self.schedule(id);
        Ok(())
    }

    /// Nothing more is sent on this stream after what is in line.
    pub fn finish(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finish();
            self.schedule(id);
        }
    }

    /// Whether our end of a stream has been said.
    pub fn has_ended(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(Stream::has_said_end)
    }

    /// What came on a stream. Asking for more says that what came before has been dealt with.
    pub fn take(&mut self, id: u32) -> Incoming {
        let Some(stream) = self.streams.get_mut(&id) else { return Incoming::Reset(Why::Cancelled) };
        let Taken { incoming, done } = stream.take();
        self.owe(id, done);
        incoming
    }

    /// Whoever used a stream uses it no more. What was in line before its end still goes; otherwise, and then if the other
    /// side has not ended its half, it is cut off.
    pub fn drop_stream(&mut self, id: u32, why: Why) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.owed += u64::from(stream.abandon(why));
        if !stream.is_ending() {
            self.forget(id, why);
        }
    }

    fn forget(&mut self, id: u32, why: Why) {
        let Some(stream) = self.streams.remove(&id) else { return };
        let waiting = self.opening.len();
        self.opening.retain(|(other, ..)| *other != id);
        // Of what was never said nothing is taken back.
        if !stream.is_over() && self.opening.len() == waiting {
            self.resetting.push_back((id, why));
        }
    }

    /// Puts a message of the other side where it belongs.
    ///
    /// # Errors
    /// [`Violation`]: the session is to be ended.
    pub fn received(&mut self, message: Message, now: Duration) -> Result<Option<Event>, Violation> {
        match message {
            Message::Open { stream, kind, body } => self.opened(stream, kind, body).map(Some),
            Message::Data { stream, bytes } => self.data(stream, bytes),
            Message::Credit { stream, on_stream, in_all } => {
                self.credited(stream, on_stream, in_all, now).map(Some)
            }
            Message::End { stream } => self.with(stream, |stream, id| stream.ended(id)),
            Message::Reset { stream, why } => {
                let event = self.with(stream, |stream, _| {
                    stream.reset(why);
                    Ok(())
                });
                if self.streams.get(&stream).is_some_and(|stream| stream.abandoned.is_some()) {
                    self.forget(stream, why);
                }
                event
            }
            Message::Greeting(_)
            | Message::Hello(_)
            | Message::Welcome(_)
            | Message::Ping(_)
            | Message::Pong(_) => Err(Violation::OutOfOrder(message.name())),
        }
    }

    /// What is to be sent now, the most urgent first.
    pub fn next(&mut self, now: Duration) -> Option<Message> {
        if let Some((stream, why)) = self.resetting.pop_front() {
            return Some(Message::Reset { stream, why });
        }
        if let Some(credit) = self.next_credit() {
            return Some(credit);
        }
        if let Some((stream, kind, body)) = self.opening.pop_front() {
            return Some(Message::Open { stream, kind, body });
        }
        self.next_of(Priority::Small, now).or_else(|| self.next_of(Priority::Bulk, now))
    }

    /// A question and its answer took so long.
    pub fn round_trip(&mut self, took: Duration) {
        self.pace.round_trip(took);
    }

    /// Bytes that may be sent on a stream at once: its queue has so much room.
    pub fn room(&self, id: u32) -> usize {
        self.streams.get(&id).map_or(0, Stream::room)
    }

    fn is_ours(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.side == Side::Link)
    }

    fn was_opened(&self, id: u32) -> bool {
        if self.is_ours(id) { id < self.next } else { id <= self.highest_of_theirs }
    }

    fn opened(&mut self, id: u32, kind: Kind, body: Bytes) -> Result<Event, Violation> {
        if self.is_ours(id) || id <= self.highest_of_theirs {
            return Err(Violation::StreamNumber(id));
        }
        let open =
            self.streams.iter().filter(|(id, stream)| !self.is_ours(**id) && !stream.is_over()).count();
        if open >= usize::from(self.ours.streams) {
            return Err(Violation::TooManyStreams(self.ours.streams));
        }
        self.highest_of_theirs = id;
        self.streams.insert(id, Stream::new(kind, self.ours.stream, self.theirs.stream));
        Ok(Event::Opened { stream: id, kind, body })
    }

    fn data(&mut self, id: u32, bytes: Bytes) -> Result<Option<Event>, Violation> {
        let length = bytes.len() as u64;
        self.granted = self.granted.checked_sub(length).ok_or(Violation::NoCredit(id))?;
        let was_opened = self.was_opened(id);
        match self.streams.get_mut(&id) {
            Some(stream) => {
                if !stream.received(bytes, id)? {
                    self.owed += length;
                }
                Ok(Some(Event::Readable(id)))
            }
            // We have cut it off, and this was on its way.
            None if was_opened => {
                self.owed += length;
                Ok(None)
            }
            None => Err(Violation::NoSuchStream(id)),
        }
    }

    fn credited(&mut self, id: u32, on_stream: u32, in_all: u32, now: Duration) -> Result<Event, Violation> {
        if id != 0 {
            let was_opened = self.was_opened(id);
            match self.streams.get_mut(&id) {
                Some(stream) => stream.credited(on_stream, self.theirs.stream, id)?,
                None if was_opened => {}
                None => return Err(Violation::NoSuchStream(id)),
            }
            self.schedule(id);
        }
        self.credit += u64::from(in_all);
        if self.credit > u64::from(self.theirs.session) {
            return Err(Violation::TooMuchCredit(0));
        }
        self.pace.arrived(in_all.into(), now);
        Ok(Event::AllWritable)
    }

    /// Does something with a stream that there is or was.
    fn with(
        &mut self,
        id: u32,
        run: impl FnOnce(&mut Stream, u32) -> Result<(), Violation>,
    ) -> Result<Option<Event>, Violation> {
        let was_opened = self.was_opened(id);
        match self.streams.get_mut(&id) {
            Some(stream) => run(stream, id).map(|()| Some(Event::Readable(id))),
            None if was_opened => Ok(None),
            None => Err(Violation::NoSuchStream(id)),
        }
    }

    /// So many bytes of a stream have been dealt with.
    fn owe(&mut self, id: u32, done: u32) {
        self.owed += u64::from(done);
        let step = CREDIT_STEP.min(self.ours.stream / 2);
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.owe(done, step)
        {
            self.crediting.push_back(id);
        }
    }

    fn next_credit(&mut self) -> Option<Message> {
        let step = u64::from(CREDIT_STEP.min(self.ours.session / 2));
        while let Some(id) = self.crediting.pop_front() {
            let on_stream = self.streams.get_mut(&id).map_or(0, Stream::grant);
            if on_stream > 0 {
                return Some(Message::Credit { stream: id, on_stream, in_all: self.grant() });
            }
        }
        (self.owed >= step).then(|| Message::Credit { stream: 0, on_stream: 0, in_all: self.grant() })
    }

    fn grant(&mut self) -> u32 {
        let in_all = u32::try_from(self.owed).unwrap_or(u32::MAX);
        self.owed -= u64::from(in_all);
        self.granted += u64::from(in_all);
        in_all
    }

    /// Puts a stream in line, if it has something to send that it may send.
    fn schedule(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.has_something() && !stream.is_scheduled {
            stream.is_scheduled = true;
            match stream.kind.priority() {
                Priority::Small => self.small.push_back(id),
                Priority::Bulk => self.bulk.push_back(id),
            }
        }
    }

    /// The next piece of the streams of a priority, in turn.
    fn next_of(&mut self, priority: Priority, now: Duration) -> Option<Message> {
        let is_bulk = priority == Priority::Bulk;
        loop {
            let line = if is_bulk { &mut self.bulk } else { &mut self.small };
            let id = line.front().copied()?;
            let Some(stream) = self.streams.get_mut(&id) else {
                line.pop_front();
                continue;
            };
            let reserve = if is_bulk { RESERVE.min(u64::from(self.theirs.session) / 8) } else { 0 };
            let credit = self.credit.saturating_sub(reserve);
            let may_send = credit > 0 && (!is_bulk || self.pace.allows());
            if !may_send && !stream.is_at_its_end() {
                return None;
            }
            line.pop_front();
            stream.is_scheduled = false;
            let piece = stream.next(credit);
            self.schedule(id);
            match piece {
                Some(Some(bytes)) => {
                    self.credit -= bytes.len() as u64;
                    self.pace.sent(bytes.len() as u64, now);
                    return Some(Message::Data { stream: id, bytes });
                }
                Some(None) => {
                    if let Some(why) = self.streams.get(&id).and_then(|stream| stream.abandoned) {
                        self.forget(id, why);
                    }
                    return Some(Message::End { stream: id });
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
