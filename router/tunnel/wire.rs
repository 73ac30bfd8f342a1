//! The messages of the tunnel, byte for byte as docs/TUNNEL.md has them. One message is one binary WebSocket message.
//!
//! Decoding looks at lengths before it keeps anything, takes what it keeps as slices of the message, and wants every
//! message to be used up to its last byte.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of the protocol that is spoken here.
pub const VERSION: u16 = 1;
/// What a GREETING begins with, after its type.
pub const MAGIC: [u8; 8] = *b"CHRYSTUN";
/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = (64 << 10) + 64;
/// The most that one DATA carries, in bytes.
pub const MAX_DATA: usize = 64 << 10;
/// The most that an OPEN carries, in bytes.
pub const MAX_BODY: usize = 16 << 10;
/// The longest name or reason, in bytes of UTF-8.
pub const MAX_TEXT: usize = 256;

/// A number that is used once.
pub type Nonce = [u8; 32];
/// What shows that somebody has a site's code.
pub type Proof = [u8; 32];

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The gateway's first word.
    Greeting(Greeting),
    /// The link's first word.
    Hello(Hello),
    /// The session is open.
    Welcome(Welcome),
    /// Answer with a PONG of the same number.
    Ping(u64),
    /// The answer.
    Pong(u64),
    /// A new stream.
    Open {
        /// Odd from the link, even from the gateway, and higher than any before from that side.
        stream: u32,
        /// What it is for.
        kind: Kind,
        /// What is asked, in the form of its kind.
        body: Bytes,
    },
    /// Bytes of a stream.
    Data {
        /// Which.
        stream: u32,
        /// At least one.
        bytes: Bytes,
    },
    /// More may be sent.
    Credit {
        /// Which stream; 0 for none.
        stream: u32,
        /// Bytes more on that stream.
        on_stream: u32,
        /// Bytes more on all streams together.
        in_all: u32,
    },
    /// The sender of this sends nothing more on a stream.
    End {
        /// Which.
        stream: u32,
    },
    /// A stream is over, in both directions.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        why: Why,
    },
}

/// The gateway's first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The lowest version it speaks.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
    /// New in every session: what is recorded of one cannot be used in another.
    pub nonce: Nonce,
}

/// The link's first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version that is spoken from now on.
    pub version: u16,
    /// The name of the site.
    pub site: String,
    /// New in every session, so that the gateway's answer cannot be a recorded one either.
    pub nonce: Nonce,
    /// That the link has the site's code.
    pub proof: Proof,
    /// What bytes it takes before it gives credit.
    pub windows: Windows,
    /// Name and version of the program, for the log.
    pub software: String,
}

/// The session is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// That the gateway knows the site's code.
    pub proof: Proof,
    /// What bytes it takes before it gives credit.
    pub windows: Windows,
    /// Milliseconds after which each side has said something.
    pub keepalive: u32,
    /// Name and version of the program, for the log.
    pub software: String,
}

/// What somebody takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Bytes of DATA on one stream.
    pub stream: u32,
    /// Bytes of DATA on all streams together.
    pub session: u32,
    /// Streams that the other side has open at once.
    pub streams: u16,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Every byte comes back: how long that takes.
    Loopback,
    /// An instance from the link to the gateway.
    Upload,
    /// C-ECHO by the link to one of its destinations, for the gateway.
    Echo,
    /// An instance from the gateway through the link to a PACS.
    Push,
    /// The site's configuration, from the gateway to the link.
    Configuration,
    /// A worklist query by the link.
    Worklist,
    /// An HL7 message, in either direction.
    Hl7,
}

/// Who goes first when there is more to send than can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Questions and answers.
    Small,
    /// Instances.
    Bulk,
}

/// Why a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Whoever asked wants it no more.
    Cancelled,
    /// This side does not do what the stream is for.
    Unsupported,
    /// More streams than were allowed.
    TooMany,
    /// What was sent on it is not in the form of its kind.
    Malformed,
    /// Nothing came for too long.
    Timeout,
    /// Something failed here.
    Failed,
}

const KINDS: [(u8, Kind); 7] = [
    (0, Kind::Loopback),
    (1, Kind::Upload),
    (2, Kind::Echo),
    (3, Kind::Push),
    (4, Kind::Configuration),
    (5, Kind::Worklist),
    (6, Kind::Hl7),
];

const WHYS: [(u16, Why); 6] = [
    (1, Why::Cancelled),
    (2, Why::Unsupported),
    (3, Why::TooMany),
    (4, Why::Malformed),
    (5, Why::Timeout),
    (6, Why::Failed),
];

impl Kind {
    /// Who goes first.
    pub fn priority(self) -> Priority {
        match self {
            Self::Upload | Self::Push => Priority::Bulk,
            Self::Loopback | Self::Echo | Self::Configuration | Self::Worklist | Self::Hl7 => Priority::Small,
        }
    }

    fn code(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(u8::MAX, |(code, _)| *code)
    }
}

impl Why {
    fn code(self) -> u16 {
        WHYS.iter().find(|(_, why)| *why == self).map_or(u16::MAX, |(code, _)| *code)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Unsupported => "not supported",
            Self::TooMany => "too many streams",
            Self::Malformed => "malformed",
            Self::Timeout => "nothing came for too long",
            Self::Failed => "failed",
        })
    }
}

/// A message that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends within a field.
    #[error("a message ends too early")]
    Short,
    /// It goes on after its last field.
    #[error("a message goes on after its end")]
    Long,
    /// A text or body is longer than it may be.
    #[error("a field is too long")]
    FieldTooLong,
    /// Its type is not known.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    /// A stream is for something that is not known.
    #[error("unknown stream kind {0}")]
    UnknownKind(u8),
    /// A field has a value that it cannot have.
    #[error("{0}")]
    Value(&'static str),
}

const GREETING: u8 = 0x01;
const HELLO: u8 = 0x02;
const WELCOME: u8 = 0x03;
const PING: u8 = 0x05;
const PONG: u8 = 0x06;
const OPEN: u8 = 0x10;
const DATA: u8 = 0x11;
const CREDIT: u8 = 0x12;
const END: u8 = 0x13;
const RESET: u8 = 0x14;

impl Message {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.room());
        match self {
            Self::Greeting(greeting) => {
                out.put_u8(GREETING);
                out.put_slice(&MAGIC);
                out.put_u16(greeting.lowest);
                out.put_u16(greeting.highest);
                out.put_slice(&greeting.nonce);
            }
            Self::Hello(hello) => {
                out.put_u8(HELLO);
                out.put_u16(hello.version);
                put_text(&mut out, &hello.site);
                out.put_slice(&hello.nonce);
                out.put_slice(&hello.proof);
                hello.windows.put(&mut out);
                put_text(&mut out, &hello.software);
            }
            Self::Welcome(welcome) => {
                out.put_u8(WELCOME);
                out.put_slice(&welcome.proof);
                welcome.windows.put(&mut out);
                out.put_u32(welcome.keepalive);
                put_text(&mut out, &welcome.software);
            }
            Self::Ping(number) => {
                out.put_u8(PING);
                out.put_u64(*number);
            }
            Self::Pong(number) => {
                out.put_u8(PONG);
                out.put_u64(*number);
            }
            Self::Open { stream, kind, body } => {
                out.put_u8(OPEN);
                out.put_u32(*stream);
                out.put_u8(kind.code());
                out.put_slice(body);
            }
            Self::Data { stream, bytes } => {
                out.put_u8(DATA);
                out.put_u32(*stream);
                out.put_slice(bytes);
            }
            Self::Credit { stream, on_stream, in_all } => {
                out.put_u8(CREDIT);
                out.put_u32(*stream);
                out.put_u32(*on_stream);
                out.put_u32(*in_all);
            }
            Self::End { stream } => {
                out.put_u8(END);
                out.put_u32(*stream);
            }
            Self::Reset { stream, why } => {
                out.put_u8(RESET);
                out.put_u32(*stream);
                out.put_u16(why.code());
            }
        }
        out.freeze()
    }

    fn room(&self) -> usize {
        match self {
            Self::Open { body, .. } => 6 + body.len(),
            Self::Data { bytes, .. } => 5 + bytes.len(),
            _ => 64,
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Malformed::FieldTooLong);
        }
        let mut fields = Fields(bytes);
        let message = match fields.u8()? {
            GREETING => Self::Greeting(Greeting::read(&mut fields)?),
            HELLO => Self::Hello(Hello::read(&mut fields)?),
            WELCOME => Self::Welcome(Welcome::read(&mut fields)?),
            PING => Self::Ping(fields.u64()?),
            PONG => Self::Pong(fields.u64()?),
            OPEN => {
                Self::Open { stream: fields.stream()?, kind: fields.kind()?, body: fields.rest(MAX_BODY)? }
            }
            DATA => {
                let (stream, bytes) = (fields.stream()?, fields.rest(MAX_DATA)?);
                if bytes.is_empty() {
                    return Err(Malformed::Value("DATA without a byte"));
                }
                Self::Data { stream, bytes }
            }
            CREDIT => {
                let (stream, on_stream, in_all) = (fields.u32()?, fields.u32()?, fields.u32()?);
                if on_stream == 0 && in_all == 0 || stream == 0 && on_stream != 0 {
                    return Err(Malformed::Value("CREDIT for nothing"));
                }
                Self::Credit { stream, on_stream, in_all }
            }
            END => Self::End { stream: fields.stream()? },
            RESET => Self::Reset { stream: fields.stream()?, why: fields.why()? },
            other => return Err(Malformed::UnknownType(other)),
        };
        fields.end()?;
        Ok(message)
    }

    /// Its name, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Greeting(_) => "GREETING",
            Self::Hello(_) => "HELLO",
            Self::Welcome(_) => "WELCOME",
            Self::Ping(_) => "PING",
            Self::Pong(_) => "PONG",
            Self::Open { .. } => "OPEN",
            Self::Data { .. } => "DATA",
            Self::Credit { .. } => "CREDIT",
            Self::End { .. } => "END",
            Self::Reset { .. } => "RESET",
        }
    }
}

impl Greeting {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        if fields.array()? != MAGIC {
            return Err(Malformed::Value("this is no gateway of ours"));
        }
        let (lowest, highest, nonce) = (fields.u16()?, fields.u16()?, fields.array()?);
        if lowest > highest {
            return Err(Malformed::Value("the lowest version is above the highest"));
        }
        Ok(Self { lowest, highest, nonce })
    }
}

impl Hello {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self {
            version: fields.u16()?,
            site: fields.text()?,
            nonce: fields.array()?,
            proof: fields.array()?,
            windows: Windows::read(fields)?,
            software: fields.text()?,
        })
    }
}

impl Welcome {
    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self {
            proof: fields.array()?,
            windows: Windows::read(fields)?,
            keepalive: fields.u32()?,
            software: fields.text()?,
        })
    }
}

impl Windows {
    fn put(self, out: &mut BytesMut) {
        out.put_u32(self.stream);
        out.put_u32(self.session);
        out.put_u16(self.streams);
    }

    fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        Ok(Self { stream: fields.u32()?, session: fields.u32()?, streams: fields.u16()? })
    }
}

/// Whether something can be said as a text, as it is.
pub(crate) fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

/// Puts a text in front of which its length stands; what is too long is cut.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

/// What is left of a message.
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    fn has(&self, count: usize) -> Result<(), Malformed> {
        if self.0.remaining() < count { Err(Malformed::Short) } else { Ok(()) }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.has(1).map(|()| self.0.get_u8())
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.has(2).map(|()| self.0.get_u16())
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.has(4).map(|()| self.0.get_u32())
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.has(8).map(|()| self.0.get_u64())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.has(N)?;
        let mut array = [0; N];
        self.0.copy_to_slice(&mut array);
        Ok(array)
    }

    /// A text: UTF-8 without control characters.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.u16()?);
        if length > MAX_TEXT {
            return Err(Malformed::FieldTooLong);
        }
        self.has(length)?;
        let bytes = self.0.split_to(length);
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed::Value("a text is not UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(Malformed::Value("a text has a control character in it"));
        }
        Ok(text.to_owned())
    }

    fn stream(&mut self) -> Result<u32, Malformed> {
        match self.u32()? {
            0 => Err(Malformed::Value("there is no stream 0")),
            stream => Ok(stream),
        }
    }

    fn kind(&mut self) -> Result<Kind, Malformed> {
        let code = self.u8()?;
        let known = KINDS.iter().find(|(known, _)| *known == code);
        known.map(|(_, kind)| *kind).ok_or(Malformed::UnknownKind(code))
    }

    /// A reason that is not known is one of a later version, and as good as any.
    fn why(&mut self) -> Result<Why, Malformed> {
        let code = self.u16()?;
        Ok(WHYS.iter().find(|(known, _)| *known == code).map_or(Why::Failed, |(_, why)| *why))
    }

    fn rest(&mut self, most: usize) -> Result<Bytes, Malformed> {
        if self.0.remaining() > most {
            return Err(Malformed::FieldTooLong);
        }
        Ok(self.0.split_to(self.0.remaining()))
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.has_remaining() { Err(Malformed::Long) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{
        Greeting, Hello, Kind, MAX_BODY, MAX_DATA, MAX_TEXT, Malformed, Message, Welcome, Why, Windows,
    };

    const WINDOWS: Windows = Windows { stream: 1 << 20, session: 4 << 20, streams: 64 };

    fn examples() -> Vec<(&'static str, Message)> {
        let hello = Hello {
            version: 1,
            site: "no".into(),
            nonce: [1; 32],
            proof: [2; 32],
            windows: WINDOWS,
            software: "c".into(),
        };
        let welcome = Welcome { proof: [3; 32], windows: WINDOWS, keepalive: 15_000, software: "c".into() };
        let (one, two, three) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
        let table = vec![
            (
                format!("01 4348525953545 54e 0001 0001 {one}"),
                Message::Greeting(Greeting { lowest: 1, highest: 1, nonce: [1; 32] }),
            ),
            (format!("02 0001 0002 6e6f {one} {two} 00100000 00400000 0040 0001 63"), Message::Hello(hello)),
            (format!("03 {three} 00100000 00400000 0040 00003a98 0001 63"), Message::Welcome(welcome)),
            ("05 0000000000000007".into(), Message::Ping(7)),
            ("06 0000000000000007".into(), Message::Pong(7)),
            (
                "10 00000001 02 70616373".into(),
                Message::Open { stream: 1, kind: Kind::Echo, body: Bytes::from_static(b"pacs") },
            ),
            (
                "11 00000003 dead".into(),
                Message::Data { stream: 3, bytes: Bytes::from_static(&[0xde, 0xad]) },
            ),
            (
                "12 00000003 00004000 00008000".into(),
                Message::Credit { stream: 3, on_stream: 0x4000, in_all: 0x8000 },
            ),
            ("13 00000003".into(), Message::End { stream: 3 }),
            ("14 00000003 0004".into(), Message::Reset { stream: 3, why: Why::Malformed }),
        ];
        table.into_iter().map(|(hex, message)| (&*hex.leak(), message)).collect()
    }

    fn bytes(hex: &str) -> Bytes {
        let digits: Vec<u8> =
            hex.bytes().filter(|b| *b != b' ').map(|b| (b as char).to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn every_message_is_in_bytes_as_the_document_says() {
        for (hex, message) in examples() {
            assert_eq!(message.encode(), bytes(hex), "{}", message.name());
            assert_eq!(Message::decode(bytes(hex)), Ok(message));
        }
    }

    #[test]
    fn a_message_cut_short_or_made_longer_is_none() {
        for (hex, message) in examples() {
            let whole = bytes(hex);
            let is_open_ended = matches!(message, Message::Open { .. } | Message::Data { .. });
            for end in 0..whole.len() {
                let cut = Message::decode(whole.slice(..end));
                assert!(cut.is_err() || is_open_ended, "{} to {end}: {cut:?}", message.name());
                assert_ne!(cut, Ok(message.clone()));
            }
            let longer = [&whole[..], b"\0"].concat();
            assert_eq!(Message::decode(longer.into()).is_err(), !is_open_ended, "{}", message.name());
        }
    }

    #[test]
    fn what_no_message_may_be_is_named() {
        let table: [(Vec<u8>, Malformed); 9] = [
            (vec![], Malformed::Short),
            (vec![0x7f], Malformed::UnknownType(0x7f)),
            (vec![0x10, 0, 0, 0, 1, 99], Malformed::UnknownKind(99)),
            (vec![0x10, 0, 0, 0, 0, 1], Malformed::Value("there is no stream 0")),
            (vec![0x11, 0, 0, 0, 1], Malformed::Value("DATA without a byte")),
            ([&[0x11, 0, 0, 0, 1][..], &vec![0; MAX_DATA + 1]].concat(), Malformed::FieldTooLong),
            ([&[0x10, 0, 0, 0, 1, 1][..], &vec![0; MAX_BODY + 1]].concat(), Malformed::FieldTooLong),
            (vec![0x12; 1].into_iter().chain([0; 12]).collect(), Malformed::Value("CREDIT for nothing")),
            (vec![0; 70 << 10], Malformed::FieldTooLong),
        ];
        for (bytes, error) in table {
            assert_eq!(Message::decode(bytes.into()), Err(error));
        }
    }

    #[test]
    fn a_text_is_bounded_and_has_no_control_characters() {
        let hello = |site: &str| {
            let site = site.to_owned();
            Message::Hello(Hello {
                version: 1,
                site,
                nonce: [0; 32],
                proof: [0; 32],
                windows: WINDOWS,
                software: String::new(),
            })
        };
        let cut = Message::decode(hello(&"ü".repeat(MAX_TEXT)).encode());
        assert!(matches!(cut, Ok(Message::Hello(hello)) if hello.site.len() == MAX_TEXT));
        let control = Message::decode(hello("a\nb").encode());
        assert_eq!(control, Err(Malformed::Value("a text has a control character in it")));
        let mut not_utf8 = hello("aa").encode().to_vec();
        not_utf8[5] = 0xff;
        assert_eq!(Message::decode(not_utf8.into()), Err(Malformed::Value("a text is not UTF-8")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error_and_a_message_is_those_bytes(
            kind in 0u8..0x18, rest in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let all: Bytes = [&[kind][..], &rest].concat().into();
            if let Ok(message) = Message::decode(all.clone()) {
                let is_unknown_reason = matches!(message, Message::Reset { .. });
                prop_assert!(is_unknown_reason || message.encode() == all);
            }
        }
    }
}
