//! A session, from the first word to the last, as each side sees it. Pure: no socket, no clock.
//!
//! ```text
//!  link:     waits for GREETING ──HELLO──► waits for WELCOME ──────────► open ──► over
//!  gateway:  ──GREETING──► waits for HELLO ──(its user looks)──WELCOME──► open ──► over
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod opening;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

pub use self::opening::{GatewayOpening, Judged, LinkOpening, Opened, OpeningError, Step};
use super::mux::{Event, Mux, Violation};
use super::wire::{Malformed, Message};

/// Keepalive intervals of silence after which a session is over.
const SILENCES: u32 = 3;

/// Why a session is over; on the wire it is the code of the WebSocket close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// There is nothing more to do (1000).
    Normal,
    /// This side stops (1001).
    GoingAway,
    /// A message that may not come, or not now (1002).
    Protocol,
    /// A text message (1003).
    Text,
    /// A text message that is not even that (1007).
    NotUtf8,
    /// A message that is too long (1009).
    TooBig,
    /// The connection is gone without a word (1006, which nobody sends).
    Lost,
    /// Something failed here (1011).
    Internal,
    /// Come again later (1013).
    Later,
    /// No such site, or not its code; which of them is not said (4001).
    Unauthorised,
    /// A newer session of the same site is there (4002).
    Replaced,
    /// No version of the protocol in common (4003).
    Version,
    /// Nothing came for too long (4004).
    Silence,
}

const CODES: [(u16, Close, &str); 13] = [
    (1000, Close::Normal, "done"),
    (1001, Close::GoingAway, "stopping"),
    (1002, Close::Protocol, "protocol violation"),
    (1003, Close::Text, "text is not spoken here"),
    (1006, Close::Lost, "connection lost"),
    (1007, Close::NotUtf8, "not UTF-8"),
    (1009, Close::TooBig, "message too long"),
    (1011, Close::Internal, "internal error"),
    (1013, Close::Later, "come again later"),
    (4001, Close::Unauthorised, "unknown site or wrong code"),
    (4002, Close::Replaced, "replaced by a newer session of the same site"),
    (4003, Close::Version, "no version in common"),
    (4004, Close::Silence, "nothing came for too long"),
];

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        CODES.iter().find(|(_, close, _)| *close == self).map_or(1011, |(code, ..)| *code)
    }

    /// What a code says; an unknown one is taken for an error of the other side.
    pub fn from_code(code: u16) -> Self {
        CODES.iter().find(|(known, ..)| *known == code).map_or(Self::Internal, |(_, close, _)| *close)
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CODES.iter().find(|(_, close, _)| close == self).map_or("", |(.., words)| words))
    }
}

/// What the other side did so that the session has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message that is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message that may not come now.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    /// Its streams.
    pub mux: Mux,
    keepalive: Duration,
    heard: Duration,
    said: Duration,
    asked: Option<(u64, Duration)>,
    questions: u64,
    urgent: VecDeque<Message>,
    /// Bytes of DATA that have gone out.
    pub sent: u64,
    /// Bytes of DATA that have come in.
    pub received: u64,
}

impl Session {
    /// An open session, at `now`; each side says something every `keepalive`.
    pub fn new(mux: Mux, keepalive: Duration, now: Duration) -> Self {
        let mut session = Self {
            mux,
            keepalive,
            heard: now,
            said: now,
            asked: None,
            questions: 0,
            urgent: VecDeque::new(),
            sent: 0,
            received: 0,
        };
        session.ask(now);
        session
    }

    /// A message has come.
    ///
    /// # Errors
    /// [`Fault`]: the session is to be closed with [`Close::Protocol`].
    pub fn received(&mut self, bytes: Bytes, now: Duration) -> Result<Option<Event>, Fault> {
        self.heard = now;
        match Message::decode(bytes)? {
            Message::Ping(number) => {
                // Only the latest is answered: who asks faster than he reads the answers gets fewer.
                self.urgent.retain(|message| !matches!(message, Message::Pong(_)));
                self.urgent.push_back(Message::Pong(number));
                Ok(None)
            }
            Message::Pong(number) => {
                if let Some((asked, at)) = self.asked
                    && asked == number
                {
                    self.asked = None;
                    self.mux.round_trip(now.saturating_sub(at));
                }
                Ok(None)
            }
            message => {
                if let Message::Data { bytes, .. } = &message {
                    self.received += bytes.len() as u64;
                }
                Ok(self.mux.received(message, now)?)
            }
        }
    }

    /// What is to be sent now.
    pub fn next(&mut self, now: Duration) -> Option<Bytes> {
        let message = self.urgent.pop_front().or_else(|| self.mux.next(now))?;
        self.said = now;
        if let Message::Data { bytes, .. } = &message {
            self.sent += bytes.len() as u64;
        }
        Some(message.encode())
    }

    /// Time has passed.
    ///
    /// # Errors
    /// [`Close::Silence`]: the session is over.
    pub fn tick(&mut self, now: Duration) -> Result<(), Close> {
        if now >= self.heard + self.keepalive * SILENCES {
            return Err(Close::Silence);
        }
        if now >= self.said + self.keepalive {
            self.said = now;
            self.ask(now);
        }
        Ok(())
    }

    /// When [`Session::tick`] is due next.
    pub fn deadline(&self) -> Duration {
        (self.heard + self.keepalive * SILENCES).min(self.said + self.keepalive)
    }

    fn ask(&mut self, now: Duration) {
        self.questions += 1;
        self.asked = Some((self.questions, now));
        self.urgent.retain(|message| !matches!(message, Message::Ping(_)));
        self.urgent.push_back(Message::Ping(self.questions));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CODES, Close, Session};
    use crate::tunnel::mux::{Mux, Side};
    use crate::tunnel::wire::{Message, Windows};

    const WINDOWS: Windows = Windows { stream: 1 << 20, session: 1 << 20, streams: 4 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn session(now: Duration) -> Session {
        Session::new(Mux::new(Side::Link, WINDOWS, WINDOWS), at(10), now)
    }

    #[test]
    fn who_says_nothing_is_asked_and_who_does_not_answer_is_given_up() {
        let mut session = session(at(0));
        assert_eq!(session.next(at(0)), Some(Message::Ping(1).encode()), "at once, for the round trip");
        assert_eq!((session.next(at(0)), session.deadline()), (None, at(10)));
        session.tick(at(10)).unwrap();
        assert_eq!(session.next(at(10)), Some(Message::Ping(2).encode()));
        session.tick(at(20)).unwrap();
        assert_eq!(session.tick(at(30)), Err(Close::Silence));
    }

    #[test]
    fn any_word_keeps_a_session_alive_and_questions_are_answered_once_each_and_the_last_only() {
        let mut session = session(at(0));
        while session.next(at(0)).is_some() {}
        for second in 1..100 {
            session.received(Message::Ping(second).encode(), at(second)).unwrap();
            session.tick(at(second)).unwrap();
        }
        let said: Vec<_> = std::iter::from_fn(|| session.next(at(99))).collect();
        assert!(said.contains(&Message::Pong(99).encode()) && said.len() == 2, "{said:?}");
    }

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        for (code, close, _) in CODES {
            assert_eq!((close.code(), Close::from_code(code)), (code, close));
        }
        assert_eq!(Close::from_code(4999), Close::Internal);
    }
}
