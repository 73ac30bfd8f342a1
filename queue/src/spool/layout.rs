//! The bytes of a spool file, in this order:
//!
//! | part | length | what |
//! |---|---|---|
//! | head | any | opaque to the queue, given when the blob is staged |
//! | payload | any | exactly what was received |
//! | tail | any | opaque, given at commit with the length of what follows |
//! | envelope | even | how it came, and to whom it is owed |
//! | trailer | 80 | lengths, SHA-256 of the payload, CRC32C, end mark |
//!
//! All integers are little-endian. A file without its end mark is unfinished. `docs/QUEUE.md` has the fields.

use crate::id::Sequence;
use crate::instance::{Keys, Owed};
use crate::wire::{Decoder, Encoder, Malformed};

/// Length of the trailer in bytes.
pub(crate) const TRAILER_LEN: usize = 80;
/// The last 16 bytes of every finished file.
pub(crate) const END_MARK: &[u8; 16] = b"\x89CHRYSALIS-END\r\n";
/// Longest envelope that is written or believed.
pub(crate) const MAX_ENVELOPE: usize = 1 << 20;
/// Longest tail that is believed.
pub(crate) const MAX_TAIL: usize = 1 << 16;
/// Longest head that is believed.
pub(crate) const MAX_HEAD: usize = 1 << 20;

const TRAILER_VERSION: u16 = 1;
const ENVELOPE_VERSION: u8 = 1;
/// Offset of the CRC within the trailer: it covers all that comes before it there.
const CRC_AT: usize = 56;

/// How an instance came and to whom it is owed; written with it, so that nothing that matters is elsewhere alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) sequence: Sequence,
    /// Wall clock, milliseconds since 1970.
    pub(crate) received_at: u64,
    pub(crate) keys: Keys,
    pub(crate) owed: Vec<Owed>,
    /// Opaque to the queue.
    pub(crate) attachment: Vec<u8>,
}

impl Envelope {
    /// The envelope's bytes, padded to an even length.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u8(ENVELOPE_VERSION);
        out.u64(self.sequence.raw());
        out.u64(self.received_at);
        self.keys.encode(&mut out);
        out.u16(self.owed.len() as u16);
        self.owed.iter().for_each(|owed| owed.encode(&mut out));
        out.bytes(&self.attachment);
        if out.0.len() % 2 == 1 {
            out.u8(0);
        }
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder(bytes);
        if from.u8()? != ENVELOPE_VERSION {
            return Err(Malformed);
        }
        let sequence = Sequence::from_raw(from.u64()?);
        let received_at = from.u64()?;
        let keys = Keys::decode(&mut from)?;
        let count = from.u16()?;
        let mut owed = Vec::new();
        for _ in 0..count {
            owed.push(Owed::decode(&mut from)?);
        }
        let attachment = from.bytes()?;
        Ok(Self { sequence, received_at, keys, owed, attachment })
    }
}

/// The lengths of a file's parts and the payload's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) head_len: u32,
    pub(crate) payload_len: u64,
    pub(crate) tail_len: u32,
    pub(crate) envelope_len: u32,
    pub(crate) sha256: [u8; 32],
}

impl Extent {
    /// Length of the whole file, or `None` when the numbers are nonsense.
    pub(crate) fn file_len(&self) -> Option<u64> {
        let around = u64::from(self.head_len) + u64::from(self.tail_len) + u64::from(self.envelope_len);
        self.payload_len.checked_add(around)?.checked_add(TRAILER_LEN as u64)
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u32(self.head_len);
        out.u64(self.payload_len);
        out.u32(self.tail_len);
        out.u32(self.envelope_len);
        out.raw(&self.sha256);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            head_len: from.u32()?,
            payload_len: from.u64()?,
            tail_len: from.u32()?,
            envelope_len: from.u32()?,
            sha256: from.array()?,
        })
    }

    /// The trailer, whose CRC covers head, tail, envelope and the trailer's own fields.
    pub(crate) fn trailer(&self, crc_so_far: u32) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u16(TRAILER_VERSION);
        out.u16(0);
        self.encode(&mut out);
        let crc = crc32c::crc32c_append(crc_so_far, &out.0);
        out.u32(crc);
        out.u32(0);
        out.raw(END_MARK);
        out.0
    }
}

/// What the last 80 bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailer {
    /// Nothing like a trailer: the file was never finished.
    None,
    /// The remains of one: the file was finished and has been damaged since.
    Damaged,
    /// A trailer, with the CRC that head, tail and envelope must lead to.
    Found { extent: Extent, crc: u32 },
}

impl Trailer {
    /// Reads the trailer of a file that is `file_len` bytes long.
    pub(crate) fn read(bytes: &[u8], file_len: u64) -> Self {
        let Ok((extent, crc, marked)) = Self::parse(bytes) else { return Self::None };
        let lengths_agree = extent.file_len() == Some(file_len)
            && extent.head_len as usize <= MAX_HEAD
            && extent.tail_len as usize <= MAX_TAIL
            && extent.envelope_len as usize <= MAX_ENVELOPE;
        match (lengths_agree, marked) {
            (true, true) => Self::Found { extent, crc },
            (false, false) => Self::None,
            _ => Self::Damaged,
        }
    }

    fn parse(bytes: &[u8]) -> Result<(Extent, u32, bool), Malformed> {
        let mut from = Decoder(bytes);
        let version = from.u16()?;
        let _flags = from.u16()?;
        let extent = Extent::decode(&mut from)?;
        let crc = from.u32()?;
        let _reserved = from.u32()?;
        let marked = from.raw(END_MARK.len())? == END_MARK && version == TRAILER_VERSION;
        Ok((extent, crc, marked))
    }
}

/// The CRC over head, tail, envelope and the fields of the trailer.
pub(crate) fn checksum(head: &[u8], tail: &[u8], envelope: &[u8], trailer: &[u8]) -> u32 {
    let crc = crc32c::crc32c(head);
    let crc = crc32c::crc32c_append(crc, tail);
    let crc = crc32c::crc32c_append(crc, envelope);
    crc32c::crc32c_append(crc, trailer.get(..CRC_AT).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Extent, TRAILER_LEN, Trailer, checksum};
    use crate::id::Sequence;
    use crate::instance::{Hold, HoldKind, Keys, Owed};

    fn envelope() -> Envelope {
        Envelope {
            sequence: Sequence::new(2, 9),
            received_at: 1_700_000_000_123,
            keys: Keys { kind: "k".into(), key: "1.2.3".into(), group: "1.2".into(), subject: [7; 16] },
            owed: vec![Owed::send("pacs"), Owed::hold("none", Hold::new(HoldKind::Rule, "no route"))],
            attachment: b"how it came".to_vec(),
        }
    }

    #[test]
    fn an_envelope_reads_back_and_has_an_even_length() {
        let bytes = envelope().encode();
        assert_eq!(bytes.len() % 2, 0);
        assert_eq!(Envelope::decode(&bytes), Ok(envelope()));
        assert!(Envelope::decode(&bytes[..bytes.len() / 2]).is_err());
    }

    #[test]
    fn an_envelope_tells_what_a_rule_discarded_in_the_bytes_it_was_frozen_with() {
        let mut discarded = envelope();
        discarded.owed = vec![Owed::discard("none", "drop")];
        let bytes = discarded.encode();
        assert_eq!(Envelope::decode(&bytes), Ok(discarded));
        let part = b"\x01\0\x04\0none\x06\x04\0drop";
        assert!(bytes.windows(part.len()).any(|window| window == part));
        assert_eq!(crc32c::crc32c(&envelope().encode()), FROZEN);
        assert_eq!(crc32c::crc32c(&bytes), FROZEN_DISCARD);
    }

    /// CRC32C of [`envelope`], and of the same discarded by a rule.
    const FROZEN: u32 = 1_646_257_867;
    const FROZEN_DISCARD: u32 = 4_156_563_941;

    #[test]
    fn a_trailer_is_found_only_in_a_file_of_its_own_length() {
        let extent =
            Extent { head_len: 10, payload_len: 1000, tail_len: 12, envelope_len: 40, sha256: [1; 32] };
        let crc = checksum(b"head", b"tail", b"envelope", &[]);
        let bytes = extent.trailer(crc);
        assert_eq!(bytes.len(), TRAILER_LEN);
        let len = extent.file_len().unwrap();
        assert!(matches!(Trailer::read(&bytes, len), Trailer::Found { extent: e, .. } if e == extent));
        assert_eq!(Trailer::read(&bytes, len + 1), Trailer::Damaged);
        assert_eq!(Trailer::read(&[0; TRAILER_LEN], len), Trailer::None);
        assert_eq!(Trailer::read(b"short", 5), Trailer::None);
    }

    #[test]
    fn the_checksum_covers_every_field_of_the_trailer_before_it() {
        let extent = Extent { head_len: 4, payload_len: 1000, tail_len: 4, envelope_len: 8, sha256: [1; 32] };
        let start = checksum(b"head", b"tail", b"envelope", &[]);
        let bytes = extent.trailer(start);
        let Trailer::Found { crc, .. } = Trailer::read(&bytes, extent.file_len().unwrap()) else {
            panic!("a whole trailer")
        };
        assert_eq!(crc, checksum(b"head", b"tail", b"envelope", &bytes));
        let mut bent = bytes;
        bent[30] ^= 1;
        assert_ne!(crc, checksum(b"head", b"tail", b"envelope", &bent));
    }
}
