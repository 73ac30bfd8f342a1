//! What is said on the stream of a push; docs/TUNNEL.md has it byte for byte.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::dicom::{Status, TransferSyntax, Uid};
use crate::dimse::pdu::Rejection;
use crate::tunnel::upload::Offer;
use crate::tunnel::wire::{Fields, Malformed, put_text};

/// Transfer syntaxes that are proposed at most.
pub(crate) const MAX_SYNTAXES: usize = 16;

/// What is to be brought where: the body of the OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The destination's name at the link.
    pub(crate) endpoint: String,
    /// In what the instance could be sent, the best first; what is offered is among them.
    pub(crate) syntaxes: Vec<TransferSyntax>,
    /// What is sent now.
    pub(crate) offer: Offer,
}

/// What the link says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The association is there: now the data set.
    Send,
    /// The PACS's own answer to the C-STORE.
    Response {
        /// Its status.
        status: Status,
        /// Its error comment, possibly empty.
        comment: String,
    },
    /// The PACS takes the SOP class, but not in what is offered. In these of what was proposed.
    OtherSyntaxes(Vec<TransferSyntax>),
    /// It does not take the SOP class, but takes others.
    ClassNotAccepted,
    /// It takes nothing that was proposed.
    NothingAccepted,
    /// An A-ASSOCIATE-RJ.
    Rejected(Rejection),
    /// No connection, or silence.
    Unreachable(String),
    /// TLS that somebody at the link has to mend.
    Insecure(String),
    /// The association broke while the instance was on its way.
    Aborted {
        /// It had carried something before, and may have idled until the PACS closed it.
        was_used: bool,
        /// What happened.
        what: String,
    },
    /// The link lets nobody push there.
    NoEndpoint,
    /// What came has another SHA-256 than was offered; the PACS did not get all of it.
    OtherBytes,
}

const SEND: u8 = 1;
const RESPONSE: u8 = 2;
const OTHER_SYNTAXES: u8 = 3;
const CLASS_NOT_ACCEPTED: u8 = 4;
const NOTHING_ACCEPTED: u8 = 5;
const REJECTED: u8 = 6;
const UNREACHABLE: u8 = 7;
const INSECURE: u8 = 8;
const ABORTED: u8 = 9;
const NO_ENDPOINT: u8 = 10;
const OTHER_BYTES: u8 = 11;

impl Order {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_text(&mut out, &self.endpoint);
        put_syntaxes(&mut out, &self.syntaxes);
        out.put_slice(&self.offer.encode());
        out.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let (endpoint, syntaxes) = (fields.text()?, syntaxes(&mut fields)?);
        let offer = Offer::decode(fields.0)?;
        if !syntaxes.contains(&offer.transfer_syntax) {
            return Err(Malformed::Value("an offer in a transfer syntax that is not proposed"));
        }
        Ok(Self { endpoint, syntaxes, offer })
    }
}

impl Answer {
    /// As the document calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Send => "SEND",
            Self::Response { .. } => "RESPONSE",
            Self::OtherSyntaxes(_) => "OTHER SYNTAXES",
            Self::ClassNotAccepted => "CLASS NOT ACCEPTED",
            Self::NothingAccepted => "NOTHING ACCEPTED",
            Self::Rejected(_) => "REJECTED",
            Self::Unreachable(_) => "UNREACHABLE",
            Self::Insecure(_) => "INSECURE",
            Self::Aborted { .. } => "ABORTED",
            Self::NoEndpoint => "NO ENDPOINT",
            Self::OtherBytes => "OTHER BYTES",
        }
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Send => out.put_u8(SEND),
            Self::Response { status, comment } => {
                out.put_u8(RESPONSE);
                out.put_u16(status.0);
                put_words(&mut out, comment);
            }
            Self::OtherSyntaxes(syntaxes) => {
                out.put_u8(OTHER_SYNTAXES);
                put_syntaxes(&mut out, syntaxes);
            }
            Self::ClassNotAccepted => out.put_u8(CLASS_NOT_ACCEPTED),
            Self::NothingAccepted => out.put_u8(NOTHING_ACCEPTED),
            Self::Rejected(Rejection { result, source, reason }) => {
                out.put_slice(&[REJECTED, *result, *source, *reason]);
            }
            Self::Unreachable(what) => {
                out.put_u8(UNREACHABLE);
                put_words(&mut out, what);
            }
            Self::Insecure(what) => {
                out.put_u8(INSECURE);
                put_words(&mut out, what);
            }
            Self::Aborted { was_used, what } => {
                out.put_slice(&[ABORTED, u8::from(*was_used)]);
                put_words(&mut out, what);
            }
            Self::NoEndpoint => out.put_u8(NO_ENDPOINT),
            Self::OtherBytes => out.put_u8(OTHER_BYTES),
        }
        out.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let answer = match fields.u8()? {
            SEND => Self::Send,
            RESPONSE => Self::Response { status: Status(fields.u16()?), comment: fields.text()? },
            OTHER_SYNTAXES => Self::OtherSyntaxes(syntaxes(&mut fields)?),
            CLASS_NOT_ACCEPTED => Self::ClassNotAccepted,
            NOTHING_ACCEPTED => Self::NothingAccepted,
            REJECTED => {
                let (result, source, reason) = (fields.u8()?, fields.u8()?, fields.u8()?);
                Self::Rejected(Rejection { result, source, reason })
            }
            UNREACHABLE => Self::Unreachable(fields.text()?),
            INSECURE => Self::Insecure(fields.text()?),
            ABORTED => {
                let was_used = match fields.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed::Value("neither yes nor no")),
                };
                Self::Aborted { was_used, what: fields.text()? }
            }
            NO_ENDPOINT => Self::NoEndpoint,
            OTHER_BYTES => Self::OtherBytes,
            _ => return Err(Malformed::Value("an answer of another kind")),
        };
        fields.end()?;
        Ok(answer)
    }
}

fn put_words(out: &mut BytesMut, words: &str) {
    let printable: String = words.chars().filter(|c| !c.is_control()).collect();
    put_text(out, &printable);
}

fn put_syntaxes(out: &mut BytesMut, syntaxes: &[TransferSyntax]) {
    let count = syntaxes.len().min(MAX_SYNTAXES);
    out.put_u8(count as u8);
    syntaxes.iter().take(count).for_each(|syntax| put_text(out, syntax.0.as_str()));
}

fn syntaxes(fields: &mut Fields) -> Result<Vec<TransferSyntax>, Malformed> {
    let count = usize::from(fields.u8()?);
    if count > MAX_SYNTAXES {
        return Err(Malformed::Value("too many transfer syntaxes"));
    }
    let one = |_| match fields.text()? {
        empty if empty.is_empty() => Err(Malformed::Value("a transfer syntax without a UID")),
        uid => Ok(TransferSyntax(Uid::new(&uid))),
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Answer, MAX_SYNTAXES, Order};
    use crate::dicom::{AeTitle, Status, TransferSyntax, Uid};
    use crate::dimse::pdu::Rejection;
    use crate::tunnel::upload::Offer;

    fn syntax(uid: &str) -> TransferSyntax {
        TransferSyntax(Uid::new(uid))
    }

    fn order() -> Order {
        let offer = Offer {
            sop_class: Uid::new("1.2"),
            sop_instance: Uid::new("1.2.3"),
            transfer_syntax: syntax("1.4"),
            calling: AeTitle::from_text("CART1"),
            called: AeTitle::from_text("CHRYSALIS"),
            length: 7,
            sha256: [9; 32],
        };
        Order { endpoint: "pacs".into(), syntaxes: vec![syntax("1.5"), syntax("1.4")], offer }
    }

    #[test]
    fn an_order_is_in_bytes_as_the_document_says() {
        let bytes = order().encode();
        let expected = [&b"\0\x04pacs\x02\0\x031.5\0\x031.4"[..], &order().offer.encode()];
        assert_eq!(bytes, expected.concat());
        assert_eq!(Order::decode(bytes.clone()), Ok(order()));
        for end in 0..bytes.len() {
            assert!(Order::decode(bytes.slice(..end)).is_err());
        }
        let other = Order { syntaxes: vec![syntax("1.5")], ..order() };
        assert!(Order::decode(other.encode()).is_err(), "what is offered is not proposed");
    }

    #[test]
    fn answers_come_back_as_they_were_and_in_the_bytes_of_the_document() {
        let table: [(Answer, &[u8]); 11] = [
            (Answer::Send, b"\x01"),
            (Answer::Response { status: Status(0xC000), comment: "no".into() }, b"\x02\xC0\0\0\x02no"),
            (Answer::OtherSyntaxes(vec![syntax("1.4")]), b"\x03\x01\0\x031.4"),
            (Answer::ClassNotAccepted, b"\x04"),
            (Answer::NothingAccepted, b"\x05"),
            (Answer::Rejected(Rejection { result: 1, source: 2, reason: 3 }), b"\x06\x01\x02\x03"),
            (Answer::Unreachable("x".into()), b"\x07\0\x01x"),
            (Answer::Insecure("x".into()), b"\x08\0\x01x"),
            (Answer::Aborted { was_used: true, what: "x".into() }, b"\x09\x01\0\x01x"),
            (Answer::NoEndpoint, b"\x0A"),
            (Answer::OtherBytes, b"\x0B"),
        ];
        for (answer, bytes) in table {
            assert_eq!(&answer.encode()[..], bytes);
            assert_eq!(Answer::decode(Bytes::from_static(bytes)), Ok(answer));
        }
        let controls = Answer::Unreachable("a\u{1b}[2Jb".into()).encode();
        assert_eq!(Answer::decode(controls), Ok(Answer::Unreachable("a[2Jb".into())));
        assert!(Answer::decode(Bytes::from(vec![3, MAX_SYNTAXES as u8 + 1])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_order_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Order::decode(bytes.clone().into()), Answer::decode(bytes.into()));
        }
    }
}
