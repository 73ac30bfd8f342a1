//! What the journal says, and how it is written. The format is frozen: a code is never given a second meaning.

use crate::id::Sequence;
use crate::instance::{Hold, Instance, Owed};
use crate::wire::{Decoder, Encoder, Malformed};

/// One record: one decision or one outcome. Times are wall clock, milliseconds since 1970.
///
/// Code 12 is kept for *sent, to be confirmed by* of storage commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// 1: an instance is durable, and this is what it is owed after duplicates were looked at.
    Committed { instance: Box<Instance>, owed: Vec<Owed>, conflicting: bool },
    /// 2: the destination has it.
    Delivered { sequence: Sequence, destination: String, at: u64, detail: String },
    /// 3: not to be sent until somebody decides.
    Held { sequence: Sequence, destination: String, at: u64, hold: Hold, who: String },
    /// 4: a hold is lifted.
    Released { sequence: Sequence, destination: String, at: u64, who: String },
    /// 5: a newer instance with the same bytes goes instead.
    Superseded { sequence: Sequence, destinations: Vec<String>, at: u64, by: Sequence },
    /// 6: not to be sent at all.
    Discarded { sequence: Sequence, destination: String, at: u64, who: String, why: String },
    /// 7: what was owed to one destination is owed to others.
    Rerouted { sequence: Sequence, from: String, to: Vec<String>, at: u64, who: String },
    /// 8: owed again, whatever was before.
    Resent { sequence: Sequence, destination: String, at: u64, who: String },
    /// 9: no file will be added to this bucket.
    Closed { at: u64 },
    /// 10: the bucket's payloads are gone and its directory with them; the journal stays as the ledger.
    Removed { at: u64 },
    /// 11: damage in this bucket's journals up to and including that boot has been dealt with.
    DamageNoted { boot: u32, at: u64 },
}

impl Record {
    /// The record's code and body.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Encoder::default();
        let code = self.encode_body(&mut out);
        (code, out.0)
    }

    fn encode_body(&self, out: &mut Encoder) -> u8 {
        match self {
            Self::Committed { instance, owed, conflicting } => {
                instance.encode(out);
                out.u8(u8::from(*conflicting));
                out.u16(owed.len() as u16);
                owed.iter().for_each(|owed| owed.encode(out));
                1
            }
            Self::Delivered { sequence, destination, at, detail } => {
                subject(out, *sequence, destination, *at);
                out.text(detail);
                2
            }
            Self::Held { sequence, destination, at, hold, who } => {
                subject(out, *sequence, destination, *at);
                hold.encode(out);
                out.text(who);
                3
            }
            Self::Released { sequence, destination, at, who } => {
                subject(out, *sequence, destination, *at);
                out.text(who);
                4
            }
            Self::Superseded { sequence, destinations, at, by } => {
                out.u64(sequence.raw());
                out.u64(*at);
                out.u64(by.raw());
                texts(out, destinations);
                5
            }
            Self::Discarded { sequence, destination, at, who, why } => {
                subject(out, *sequence, destination, *at);
                out.text(who);
                out.text(why);
                6
            }
            Self::Rerouted { sequence, from, to, at, who } => {
                subject(out, *sequence, from, *at);
                texts(out, to);
                out.text(who);
                7
            }
            Self::Resent { sequence, destination, at, who } => {
                subject(out, *sequence, destination, *at);
                out.text(who);
                8
            }
            Self::Closed { at } => {
                out.u64(*at);
                9
            }
            Self::Removed { at } => {
                out.u64(*at);
                10
            }
            Self::DamageNoted { boot, at } => {
                out.u32(*boot);
                out.u64(*at);
                11
            }
        }
    }

    pub(crate) fn decode(code: u8, body: &[u8]) -> Result<Self, Malformed> {
        let from = &mut Decoder(body);
        Ok(match code {
            1 => Self::decode_committed(from)?,
            2 => {
                let (sequence, destination, at) = read_subject(from)?;
                Self::Delivered { sequence, destination, at, detail: from.text()? }
            }
            3 => {
                let (sequence, destination, at) = read_subject(from)?;
                Self::Held { sequence, destination, at, hold: Hold::decode(from)?, who: from.text()? }
            }
            4 => {
                let (sequence, destination, at) = read_subject(from)?;
                Self::Released { sequence, destination, at, who: from.text()? }
            }
            5 => {
                let sequence = Sequence::from_raw(from.u64()?);
                let at = from.u64()?;
                let by = Sequence::from_raw(from.u64()?);
                Self::Superseded { sequence, destinations: read_texts(from)?, at, by }
            }
            6 => {
                let (sequence, destination, at) = read_subject(from)?;
                Self::Discarded { sequence, destination, at, who: from.text()?, why: from.text()? }
            }
            7 => {
                let (sequence, from_destination, at) = read_subject(from)?;
                let to = read_texts(from)?;
                Self::Rerouted { sequence, from: from_destination, to, at, who: from.text()? }
            }
            8 => {
                let (sequence, destination, at) = read_subject(from)?;
                Self::Resent { sequence, destination, at, who: from.text()? }
            }
            9 => Self::Closed { at: from.u64()? },
            10 => Self::Removed { at: from.u64()? },
            11 => Self::DamageNoted { boot: from.u32()?, at: from.u64()? },
            _ => return Err(Malformed),
        })
    }

    fn decode_committed(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let instance = Box::new(Instance::decode(from)?);
        let conflicting = from.u8()? != 0;
        let mut owed = Vec::new();
        for _ in 0..from.u16()? {
            owed.push(Owed::decode(from)?);
        }
        Ok(Self::Committed { instance, owed, conflicting })
    }
}

fn subject(out: &mut Encoder, sequence: Sequence, destination: &str, at: u64) {
    out.u64(sequence.raw());
    out.text(destination);
    out.u64(at);
}

fn read_subject(from: &mut Decoder<'_>) -> Result<(Sequence, String, u64), Malformed> {
    Ok((Sequence::from_raw(from.u64()?), from.text()?, from.u64()?))
}

fn texts(out: &mut Encoder, texts: &[String]) {
    out.u16(texts.len() as u16);
    for text in texts {
        out.text(text);
    }
}

fn read_texts(from: &mut Decoder<'_>) -> Result<Vec<String>, Malformed> {
    let mut texts = Vec::new();
    for _ in 0..from.u16()? {
        texts.push(from.text()?);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::Record;
    use crate::id::{Name, Sequence};
    use crate::instance::{Hold, HoldKind, Instance, Keys, Owed};
    use crate::spool::layout::Extent;

    /// One of each, as it stands in the fixture of the frozen format too.
    fn one_of_each() -> Vec<Record> {
        let sequence = Sequence::new(1, 2);
        let destination = || "pacs".to_owned();
        let who = || "operator".to_owned();
        let instance = Instance {
            sequence,
            bucket: 3,
            name: Name::new(5, 1, 4),
            extent: Extent { head_len: 1, payload_len: 2, tail_len: 3, envelope_len: 4, sha256: [9; 32] },
            received_at: 10,
            since: 9,
            keys: Keys { kind: "k".into(), key: "i".into(), group: "g".into(), subject: [8; 16] },
            attachment: vec![1, 2, 3],
        };
        let hold = Hold::new(HoldKind::Refused, "A900");
        let owed = vec![Owed::hold(destination(), hold.clone())];
        vec![
            Record::Committed { instance: Box::new(instance), owed, conflicting: true },
            Record::Delivered { sequence, destination: destination(), at: 11, detail: "0000".into() },
            Record::Held { sequence, destination: destination(), at: 12, hold, who: who() },
            Record::Released { sequence, destination: destination(), at: 13, who: who() },
            Record::Superseded { sequence, destinations: vec![destination()], at: 14, by: sequence },
            Record::Discarded { sequence, destination: destination(), at: 15, who: who(), why: "w".into() },
            Record::Rerouted { sequence, from: "none".into(), to: vec![destination()], at: 16, who: who() },
            Record::Resent { sequence, destination: destination(), at: 17, who: who() },
            Record::Closed { at: 18 },
            Record::Removed { at: 19 },
            Record::DamageNoted { boot: 7, at: 20 },
        ]
    }

    #[test]
    fn every_record_reads_back_and_none_reads_back_from_less() {
        for (place, record) in one_of_each().into_iter().enumerate() {
            let (code, body) = record.encode();
            assert_eq!(usize::from(code), place + 1, "codes are frozen");
            assert_eq!(Record::decode(code, &body), Ok(record));
            for len in 0..body.len() {
                assert!(Record::decode(code, &body[..len]).is_err(), "code {code} of {len} bytes");
            }
        }
        assert!(Record::decode(12, &[]).is_err());
    }

    #[test]
    fn the_frozen_format_still_gives_the_bytes_it_was_frozen_with() {
        let mut all = Vec::new();
        for record in one_of_each() {
            let (code, body) = record.encode();
            all.push(code);
            all.extend(body);
        }
        assert_eq!(crc32c::crc32c(&all), FROZEN, "length {}", all.len());
    }

    #[test]
    fn every_way_a_delivery_may_begin_still_gives_the_bytes_it_was_frozen_with() {
        let Some(Record::Committed { instance, .. }) = one_of_each().into_iter().next() else {
            panic!("the first is committed")
        };
        let owed = vec![
            Owed::send("pacs"),
            Owed::hold("archive", Hold::new(HoldKind::Rule, "r")),
            Owed::discard("none", "too much"),
        ];
        let record = Record::Committed { instance, owed, conflicting: false };
        let (code, body) = record.encode();
        let of_owed =
            [b"\x03\0\x04\0pacs\0".as_slice(), b"\x07\0archive\x02\x01\0r", b"\x04\0none\x06\x08\0too much"];
        assert!(body.ends_with(&of_owed.concat()));
        assert_eq!(crc32c::crc32c(&body), FROZEN_STARTS, "length {}", body.len());
        assert_eq!(Record::decode(code, &body), Ok(record));
        for len in 0..body.len() {
            assert!(Record::decode(code, &body[..len]).is_err());
        }
    }

    /// CRC32C of the codes and bodies of [`one_of_each`], taken when the format was frozen.
    const FROZEN: u32 = 2_231_200_456;
    /// The same of one that is sent, held and discarded.
    const FROZEN_STARTS: u32 = 2_853_144_748;
}
