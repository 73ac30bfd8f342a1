//! Keys and rows of the index. Integers in keys are big-endian, so that order is order.

use sha2::{Digest, Sha256};

use crate::id::Sequence;
use crate::instance::Instance;

/// The first eight bytes of a text's SHA-256.
pub(crate) fn digest(text: &str) -> u64 {
    let full = Sha256::digest(text.as_bytes());
    full.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(crate) struct Key;

fn key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    key.push(tag);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

fn bytes(sequence: Sequence) -> [u8; 8] {
    sequence.raw().to_be_bytes()
}

/// All keys that begin with a tag and a number.
fn all_of<const N: usize>(tag: u8, prefix: [u8; N]) -> (Vec<u8>, Vec<u8>) {
    (key(tag, &[&prefix]), key(tag, &[&prefix, &[0xFF; 20]]))
}

fn number_at(key: &[u8], at: usize) -> Option<u64> {
    let bytes = key.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*bytes))
}

impl Key {
    pub(crate) fn instance(sequence: Sequence) -> Vec<u8> {
        key(b'i', &[&bytes(sequence)])
    }
    pub(crate) fn instances_end() -> Vec<u8> {
        key(b'i' + 1, &[])
    }
    pub(crate) fn delivery(sequence: Sequence, destination: u16) -> Vec<u8> {
        key(b'd', &[&bytes(sequence), &destination.to_be_bytes()])
    }
    pub(crate) fn deliveries_of(sequence: Sequence) -> (Vec<u8>, Vec<u8>) {
        all_of(b'd', bytes(sequence))
    }
    pub(crate) fn deliveries_end() -> Vec<u8> {
        key(b'd' + 1, &[])
    }
    /// The sequence that a key of `i` or `d` begins with.
    pub(crate) fn subject_of(key: &[u8]) -> Option<Sequence> {
        number_at(key, 1).map(Sequence::from_raw)
    }
    pub(crate) fn destination_of(delivery_key: &[u8]) -> Option<u16> {
        Some(u16::from_be_bytes(*delivery_key.get(9..)?.first_chunk()?))
    }
    pub(crate) fn ready(destination: u16, sequence: Sequence) -> Vec<u8> {
        key(b'r', &[&destination.to_be_bytes(), &bytes(sequence)])
    }
    pub(crate) fn ready_of(destination: u16) -> (Vec<u8>, Vec<u8>) {
        all_of(b'r', destination.to_be_bytes())
    }
    pub(crate) fn age(destination: u16, since: u64, sequence: Sequence) -> Vec<u8> {
        key(b'a', &[&destination.to_be_bytes(), &since.to_be_bytes(), &bytes(sequence)])
    }
    pub(crate) fn ages_of(destination: u16) -> (Vec<u8>, Vec<u8>) {
        all_of(b'a', destination.to_be_bytes())
    }
    pub(crate) fn since_of(age_key: &[u8]) -> Option<u64> {
        number_at(age_key, 3)
    }
    pub(crate) fn same(digest: u64, sequence: Sequence) -> Vec<u8> {
        key(b'k', &[&digest.to_be_bytes(), &bytes(sequence)])
    }
    pub(crate) fn same_as(digest: u64) -> (Vec<u8>, Vec<u8>) {
        all_of(b'k', digest.to_be_bytes())
    }
    pub(crate) fn last(at: u64, sequence: Sequence) -> Vec<u8> {
        key(b'f', &[&at.to_be_bytes(), &bytes(sequence)])
    }
    pub(crate) fn lasts_until(until: u64) -> (Vec<u8>, Vec<u8>) {
        (key(b'f', &[]), key(b'f', &[&until.to_be_bytes()]))
    }
    pub(crate) fn last_of(last_key: &[u8]) -> Option<(u64, Sequence)> {
        Some((number_at(last_key, 1)?, Self::sequence_of(last_key)?))
    }
    /// The sequence that ends a key of `r`, `a`, `k` or `f`.
    pub(crate) fn sequence_of(key: &[u8]) -> Option<Sequence> {
        let bytes = key.last_chunk::<8>()?;
        Some(Sequence::from_raw(u64::from_be_bytes(*bytes)))
    }
}

/// What the choice of the next delivery needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadyRow {
    pub(crate) key: u64,
    pub(crate) group: u64,
    pub(crate) bytes: u64,
    pub(crate) since: u64,
}

impl ReadyRow {
    pub(crate) fn of(instance: &Instance) -> Self {
        Self {
            key: digest(&instance.keys.key),
            group: digest(&instance.keys.group),
            bytes: instance.payload_len(),
            since: instance.since,
        }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let parts = [self.key, self.group, self.bytes, self.since];
        parts.iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        Some(Self {
            key: number_at(row, 0)?,
            group: number_at(row, 8)?,
            bytes: number_at(row, 16)?,
            since: number_at(row, 24)?,
        })
    }
}
