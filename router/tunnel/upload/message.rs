//! What is said on the stream of an upload; docs/TUNNEL.md has it byte for byte.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::dicom::{AeTitle, Status, TransferSyntax, Uid};
use crate::tunnel::wire::{Fields, Malformed, put_text};

/// Tells an upload from another one of the same bytes. Random; a link says it again until it knows what became of the upload.
pub type Number = [u8; 16];

/// The body of the OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Which one it is.
    pub number: Number,
    /// What the link has.
    pub offer: Offer,
}

/// What the link has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offer {
    /// SOP Class UID.
    pub sop_class: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// How the data set is encoded.
    pub transfer_syntax: TransferSyntax,
    /// The calling AE title that it came to the link with.
    pub calling: AeTitle,
    /// The called one.
    pub called: AeTitle,
    /// Bytes of the data set.
    pub length: u64,
    /// Of these bytes.
    pub sha256: [u8; 32],
}

/// What the gateway says of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is durable, and what it is owed is recorded with it: from before, or made of the same bytes that are there.
    Have {
        /// Of what is there.
        sha256: [u8; 32],
    },
    /// Send from here on.
    Resume {
        /// Bytes that need not be sent.
        offset: u64,
    },
    /// It is not taken: at once, or when all of it was there.
    Refused {
        /// As a C-STORE would have been answered.
        status: Status,
        /// Why.
        comment: String,
    },
    /// It is durable, and what it is owed is recorded with it.
    Stored {
        /// Of what was stored.
        sha256: [u8; 32],
    },
    /// What came is not what was offered: send it again from its beginning.
    OtherBytes,
}

const FORM: u8 = 1;
const HAVE: u8 = 1;
const RESUME: u8 = 2;
const REFUSED: u8 = 3;
const STORED: u8 = 4;
const OTHER_BYTES: u8 = 5;

impl Upload {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        [&self.number[..], &self.offer.encode()].concat().into()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        Ok(Self { number: fields.array()?, offer: Offer::decode(fields.0)? })
    }
}

impl Offer {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORM);
        let texts = [
            self.sop_class.as_str(),
            self.sop_instance.as_str(),
            self.transfer_syntax.0.as_str(),
            self.calling.as_str(),
            self.called.as_str(),
        ];
        texts.iter().for_each(|text| put_text(&mut out, text));
        out.put_u64(self.length);
        out.put_slice(&self.sha256);
        out.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        if fields.u8()? != FORM {
            return Err(Malformed::Value("an offer of another form"));
        }
        let mut uid = || fields.text().map(|text| Uid::new(&text));
        let (sop_class, sop_instance, transfer_syntax) = (uid()?, uid()?, TransferSyntax(uid()?));
        if sop_class.is_empty() || sop_instance.is_empty() || transfer_syntax.0.is_empty() {
            return Err(Malformed::Value("an offer without a UID"));
        }
        let mut title = || fields.text().map(|text| AeTitle::from_text(&text));
        let (calling, called) = (title()?, title()?);
        let (length, sha256) = (fields.u64()?, fields.array()?);
        fields.end()?;
        Ok(Self { sop_class, sop_instance, transfer_syntax, calling, called, length, sha256 })
    }
}

impl Answer {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Have { .. } => "HAVE",
            Self::Resume { .. } => "RESUME",
            Self::Refused { .. } => "REFUSED",
            Self::Stored { .. } => "STORED",
            Self::OtherBytes => "OTHER BYTES",
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Have { sha256 } => {
                out.put_u8(HAVE);
                out.put_slice(sha256);
            }
            Self::Resume { offset } => {
                out.put_u8(RESUME);
                out.put_u64(*offset);
            }
            Self::Refused { status, comment } => {
                out.put_u8(REFUSED);
                out.put_u16(status.0);
                let printable: String = comment.chars().filter(|c| !c.is_control()).collect();
                put_text(&mut out, &printable);
            }
            Self::Stored { sha256 } => {
                out.put_u8(STORED);
                out.put_slice(sha256);
            }
            Self::OtherBytes => out.put_u8(OTHER_BYTES),
        }
        out.freeze()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let answer = match fields.u8()? {
            HAVE => Self::Have { sha256: fields.array()? },
            RESUME => Self::Resume { offset: fields.u64()? },
            REFUSED => {
                let (status, comment) = (Status(fields.u16()?), fields.text()?);
                if !is_refusal(status) {
                    return Err(Malformed::Value("refused with a status that is none of a refusal"));
                }
                Self::Refused { status, comment }
            }
            STORED => Self::Stored { sha256: fields.array()? },
            OTHER_BYTES => Self::OtherBytes,
            _ => return Err(Malformed::Value("an answer of another kind")),
        };
        fields.end()?;
        Ok(answer)
    }
}

/// Whether nothing is stored under this status (PS3.7 Annex C): no success, no warning, nothing pending or cancelled, and not
/// that it is there already.
fn is_refusal(status: Status) -> bool {
    matches!(status.0, 0x0105..=0x0124 | 0x0210..=0x0213 | 0xA000..=0xAFFF | 0xC000..=0xCFFF)
        && status != Status::DUPLICATE_INSTANCE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Answer, Offer, Upload};
    use crate::dicom::{AeTitle, Status, TransferSyntax, Uid};

    fn offer() -> Offer {
        Offer {
            sop_class: Uid::new("1.2"),
            sop_instance: Uid::new("1.2.3"),
            transfer_syntax: TransferSyntax(Uid::new("1.2.840.10008.1.2.1")),
            calling: AeTitle::from_text("CART1"),
            called: AeTitle::from_text("CHRYSALIS"),
            length: 1 << 40,
            sha256: [7; 32],
        }
    }

    #[test]
    fn an_offer_is_in_bytes_as_the_document_says() {
        let bytes = offer().encode();
        let expected = [
            &b"\x01\0\x031.2\0\x051.2.3\0\x131.2.840.10008.1.2.1\0\x05CART1\0\x09CHRYSALIS"[..],
            &[0, 0, 1, 0, 0, 0, 0, 0],
            &[7; 32],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(Offer::decode(bytes.clone()), Ok(offer()));
        for end in 0..bytes.len() {
            assert!(Offer::decode(bytes.slice(..end)).is_err());
        }
        assert!(Offer::decode(Offer { sop_instance: Uid::new(""), ..offer() }.encode()).is_err());
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let refused = Answer::Refused { status: Status(0xA700), comment: "no room".into() };
        let answers = [
            Answer::Have { sha256: [1; 32] },
            Answer::Resume { offset: 5 },
            refused,
            Answer::Stored { sha256: [2; 32] },
            Answer::OtherBytes,
        ];
        for answer in answers {
            assert_eq!(Answer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn nothing_that_may_mean_stored_is_a_refusal() {
        for status in [0x0000, 0x0001, 0x0111, 0xB000, 0xB007, 0xFE00, 0xFF00] {
            let said = Answer::Refused { status: Status(status), comment: String::new() };
            assert!(Answer::decode(said.encode()).is_err(), "{status:04X}");
        }
    }

    #[test]
    fn an_upload_is_its_number_and_its_offer() {
        let upload = Upload { number: *b"0123456789abcdef", offer: offer() };
        assert_eq!(upload.encode(), [&b"0123456789abcdef"[..], &offer().encode()].concat());
        assert_eq!(Upload::decode(upload.encode()), Ok(upload));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_an_offer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Offer::decode(bytes.clone().into()), Answer::decode(bytes.into()));
        }
    }
}
