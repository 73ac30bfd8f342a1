//! What the queue knows of an instance, and the states of what is owed of it.

use crate::id::{Name, Sequence};
use crate::spool::layout::Extent;
use crate::wire::{Decoder, Encoder, Malformed, clip};

/// The name of the destination that stands for "no rule said where". It cannot be configured.
pub const NO_ROUTE: &str = "none";

/// How instances are told apart and put together. Opaque to the queue; a text is at most 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Keys {
    /// What sort of thing it is (DICOM: SOP Class UID).
    pub kind: String,
    /// Its identity: two instances with one key are the same thing sent twice, or a conflict (SOP Instance UID).
    pub key: String,
    /// What is sent together, in order (Study Instance UID).
    pub group: String,
    /// Whom it is about, as a digest: one key with two subjects is a conflict that holds the second.
    pub subject: [u8; 16],
}

impl Keys {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.text(&self.kind);
        out.text(&self.key);
        out.text(&self.group);
        out.raw(&self.subject);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { kind: from.text()?, key: from.text()?, group: from.text()?, subject: from.array()? })
    }
}

/// A destination an instance is owed to, decided when it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The destination's configured name, or [`NO_ROUTE`].
    pub destination: String,
    /// How it begins.
    pub start: Start,
}

impl Owed {
    /// To be sent.
    #[must_use]
    pub fn send(destination: impl Into<String>) -> Self {
        Self { destination: destination.into(), start: Start::Send }
    }

    /// Held from the start.
    #[must_use]
    pub fn hold(destination: impl Into<String>, hold: Hold) -> Self {
        Self { destination: destination.into(), start: Start::Hold(hold) }
    }

    /// Never sent, because a rule says so; the reason is cut at 1,024 bytes.
    #[must_use]
    pub fn discard(destination: impl Into<String>, why: impl AsRef<str>) -> Self {
        let why = clip(why.as_ref()).to_owned();
        Self { destination: destination.into(), start: Start::Discard { why } }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.text(&self.destination);
        match &self.start {
            Start::Send => out.u8(0),
            Start::Hold(hold) => hold.encode(out),
            Start::Discard { why } => {
                out.u8(DISCARD_CODE);
                out.text(why);
            }
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let destination = from.text()?;
        let start = match from.u8()? {
            0 => Start::Send,
            DISCARD_CODE => Start::Discard { why: from.text()? },
            code => Start::Hold(Hold::decode_kind(code, from)?),
        };
        Ok(Self { destination, start })
    }
}

/// What a routing rule says of a delivery when its instance is received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It is to be sent.
    Send,
    /// It is not sent until somebody decides.
    Hold(Hold),
    /// It is never sent: [`State::Discarded`] by [`BY_RULE`] from the start.
    Discard {
        /// Which rule, or why; at most 1,024 bytes.
        why: String,
    },
}

impl Start {
    /// What holds it, if it is held.
    #[must_use]
    pub fn held(&self) -> Option<&Hold> {
        match self {
            Self::Hold(hold) => Some(hold),
            Self::Send | Self::Discard { .. } => None,
        }
    }

    /// The delivery's first state.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Send => State::Owed,
            Self::Hold(hold) => State::Held(hold.clone()),
            Self::Discard { why } => State::Discarded { who: BY_RULE.to_owned(), why: why.clone() },
        }
    }

    /// Holds what is to be sent. What is held or discarded stays so.
    pub(crate) fn hold_if_sent(&mut self, hold: impl FnOnce() -> Hold) {
        if *self == Self::Send {
            *self = Self::Hold(hold());
        }
    }
}

/// Who discarded what a rule discards.
pub const BY_RULE: &str = "rule";
/// Stands where the kind of a hold does.
const DISCARD_CODE: u8 = 6;

/// Who or what holds a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldKind {
    /// A person.
    Operator,
    /// A routing rule, or the want of one.
    Rule,
    /// The same key came with another subject, or had been discarded before.
    Conflict,
    /// The destination will not take it.
    Refused,
    /// What is on the disk is missing, damaged or in doubt.
    Damage,
}

impl HoldKind {
    const ALL: [Self; 5] = [Self::Operator, Self::Rule, Self::Conflict, Self::Refused, Self::Damage];

    /// The word used in listings and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Rule => "rule",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Damage => "damage",
        }
    }

    pub(crate) fn code(self) -> u8 {
        self as u8 + 1
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether an instance that takes over from another takes over its hold too. A refusal is not inherited: the
    /// destination is asked again.
    pub(crate) fn is_inherited(self) -> bool {
        matches!(self, Self::Operator | Self::Rule | Self::Conflict)
    }
}

/// Why a delivery is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who or what holds it.
    pub kind: HoldKind,
    /// The reason in words, at most 1,024 bytes.
    pub why: String,
}

impl Hold {
    /// A hold with a reason; the reason is cut at 1,024 bytes.
    #[must_use]
    pub fn new(kind: HoldKind, why: impl AsRef<str>) -> Self {
        Self { kind, why: clip(why.as_ref()).to_owned() }
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u8(self.kind.code());
        out.text(&self.why);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Self::decode_option(from)?.ok_or(Malformed)
    }

    pub(crate) fn encode_option(hold: Option<&Self>, out: &mut Encoder) {
        match hold {
            None => out.u8(0),
            Some(hold) => hold.encode(out),
        }
    }

    pub(crate) fn decode_option(from: &mut Decoder<'_>) -> Result<Option<Self>, Malformed> {
        match from.u8()? {
            0 => Ok(None),
            code => Self::decode_kind(code, from).map(Some),
        }
    }

    fn decode_kind(code: u8, from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let kind = HoldKind::from_code(code).ok_or(Malformed)?;
        Ok(Self { kind, why: from.text()? })
    }
}

/// A committed instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its place in the order of receipt.
    pub sequence: Sequence,
    pub(crate) bucket: u32,
    pub(crate) name: Name,
    pub(crate) extent: Extent,
    /// When it came: wall clock, milliseconds since 1970.
    pub received_at: u64,
    /// Since when it is owed: earlier than `received_at` where it took over from one that waited.
    pub since: u64,
    /// Its keys.
    pub keys: Keys,
    /// What the receiver wrote about how it came.
    pub attachment: Vec<u8>,
}

impl Instance {
    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> u64 {
        self.extent.payload_len
    }

    /// SHA-256 of the payload.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.extent.sha256
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.sequence.raw());
        out.u32(self.bucket);
        out.u128(self.name.0);
        self.extent.encode(out);
        out.u64(self.received_at);
        out.u64(self.since);
        self.keys.encode(out);
        out.bytes(&self.attachment);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: Sequence::from_raw(from.u64()?),
            bucket: from.u32()?,
            name: Name(from.u128()?),
            extent: Extent::decode(from)?,
            received_at: from.u64()?,
            since: from.u64()?,
            keys: Keys::decode(from)?,
            attachment: from.bytes()?,
        })
    }
}

/// An instance read where its row lies in the index: enough to choose by, before anything is built of it.
#[derive(Debug, Clone, Copy)]
pub struct Glimpse<'a> {
    /// Its place in the order of receipt.
    pub sequence: Sequence,
    /// When it came: wall clock, milliseconds since 1970.
    pub received_at: u64,
    /// Since when it is owed, in the same clock.
    pub since: u64,
    /// Length of the payload in bytes.
    pub payload_len: u64,
    /// [`Keys::kind`]
    pub kind: &'a str,
    /// [`Keys::key`]
    pub key: &'a str,
    /// [`Keys::group`]
    pub group: &'a str,
    /// [`Keys::subject`]
    pub subject: [u8; 16],
    /// [`Instance::attachment`]
    pub attachment: &'a [u8],
}

impl<'a> Glimpse<'a> {
    /// Reads what [`Instance::encode`] wrote.
    pub(crate) fn decode(row: &'a [u8]) -> Result<Self, Malformed> {
        let from = &mut Decoder(row);
        let sequence = Sequence::from_raw(from.u64()?);
        let (_bucket, _name) = (from.u32()?, from.u128()?);
        let payload_len = Extent::decode(from)?.payload_len;
        Ok(Self {
            sequence,
            received_at: from.u64()?,
            since: from.u64()?,
            payload_len,
            kind: from.str()?,
            key: from.str()?,
            group: from.str()?,
            subject: from.array()?,
            attachment: from.slice()?,
        })
    }
}

/// Where a delivery stands, as the journal tells it. *Leased* and *waiting* are known in memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// To be sent.
    Owed,
    /// Not sent until somebody decides.
    Held(Hold),
    /// A newer instance with the same content goes in its place.
    Superseded {
        /// That instance.
        by: Sequence,
        /// What held this one until then.
        held: Option<Hold>,
    },
    /// The destination has it.
    Delivered {
        /// What the destination said.
        detail: String,
    },
    /// Somebody, or a rule, decided that it is not to be sent.
    Discarded {
        /// Who; [`BY_RULE`] for a rule.
        who: String,
        /// Why.
        why: String,
    },
}

impl State {
    /// Whether a rule discarded it when it was received.
    pub(crate) fn is_dropped(&self) -> bool {
        matches!(self, Self::Discarded { who, .. } if who == BY_RULE)
    }

    /// Whether something is still owed: the payload must stay.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Owed | Self::Held(_))
    }

    /// The word used in listings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Held(_) => "held",
            Self::Superseded { .. } => "superseded",
            Self::Delivered { .. } => "delivered",
            Self::Discarded { .. } => "discarded",
        }
    }
}

/// One instance owed to one destination: the unit of retry and of counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The destination's name.
    pub destination: String,
    /// Where it stands.
    pub state: State,
    /// When it came to stand there: wall clock, milliseconds since 1970.
    pub at: u64,
    /// Another content of the same key is known, of the same subject: a destination may keep either.
    pub conflicting: bool,
}

impl Delivery {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.at);
        out.u8(u8::from(self.conflicting));
        match &self.state {
            State::Owed => out.u8(0),
            State::Held(hold) => {
                out.u8(1);
                hold.encode(out);
            }
            State::Superseded { by, held } => {
                out.u8(2);
                out.u64(by.raw());
                Hold::encode_option(held.as_ref(), out);
            }
            State::Delivered { detail } => {
                out.u8(3);
                out.text(detail);
            }
            State::Discarded { who, why } => {
                out.u8(4);
                out.text(who);
                out.text(why);
            }
        }
    }

    /// The name of the state in a row, without reading the rest of it.
    pub(crate) fn state_name(row: &[u8]) -> Result<&'static str, Malformed> {
        match row.get(9) {
            Some(0) => Ok("owed"),
            Some(1) => Ok("held"),
            Some(2) => Ok("superseded"),
            Some(3) => Ok("delivered"),
            Some(4) => Ok("discarded"),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn decode(destination: String, from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let at = from.u64()?;
        let conflicting = from.u8()? != 0;
        let state = match from.u8()? {
            0 => State::Owed,
            1 => State::Held(Hold::decode(from)?),
            2 => {
                let by = Sequence::from_raw(from.u64()?);
                State::Superseded { by, held: Hold::decode_option(from)? }
            }
            3 => State::Delivered { detail: from.text()? },
            4 => State::Discarded { who: from.text()?, why: from.text()? },
            _ => return Err(Malformed),
        };
        Ok(Self { destination, state, at, conflicting })
    }
}
