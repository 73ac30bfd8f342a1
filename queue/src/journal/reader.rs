//! Reading one journal file, and telling a torn tail from damage.

use std::io;

use super::record::Record;
use super::writer::{FRAME_HEAD, FRAME_MAGIC, HEADER_LEN, HEADER_MAGIC};
use crate::fs::File;
use crate::wire::{Decoder, Malformed};

/// How a journal file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every byte is a good frame.
    Clean,
    /// A bad frame in the last batch: it was being written when the power went, and nobody was told of it.
    Torn,
    /// A bad frame before a later batch, or in one that was marked: something that was durable is gone.
    Damaged,
}

/// One frame's place in the order of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    batch: u64,
    index: u16,
    count: u16,
}

impl Place {
    fn ends_its_batch(self) -> bool {
        self.index.saturating_add(1) >= self.count
    }

    /// The batch that bytes after this frame belong to. When they cannot be read and a later batch can, they were
    /// durable once, because no batch is begun before the one before it is synced.
    fn next_batch(self) -> u64 {
        if self.ends_its_batch() { self.batch.saturating_add(1) } else { self.batch }
    }
}

/// The content of one journal file.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The last batch of the file before it, 0 for none.
    pub(crate) after_batch: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) ending: Ending,
    /// The last batch of which anything is readable.
    pub(crate) last_batch: u64,
    /// How many records at the end belong to it.
    pub(crate) last_batch_len: usize,
}

impl Journal {
    /// Reads a whole file. `before` is the last batch of the bucket's earlier files, 0 for none; `durable` is a batch up to
    /// which this file must be whole, 0 when none is known. Only an error of the disk is an error; bad bytes are told by
    /// [`Ending`].
    pub(crate) fn read(
        file: &dyn File,
        bucket: u32,
        boot: u32,
        before: u64,
        durable: u64,
    ) -> io::Result<Self> {
        Ok(Self::parse(&file.read_all()?, bucket, boot, before, durable))
    }

    fn parse(bytes: &[u8], bucket: u32, boot: u32, before: u64, durable: u64) -> Self {
        let after_batch = read_header(bytes, bucket, boot).unwrap_or(before);
        let mut journal = Self {
            after_batch,
            records: Vec::new(),
            ending: Ending::Clean,
            last_batch: after_batch,
            last_batch_len: 0,
        };
        let mut last = Place { batch: after_batch, index: 0, count: 1 };
        let mut doubt = None;
        let mut damaged = false;
        let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        while !rest.is_empty() {
            match read_frame(rest) {
                Ok((place, record, len)) => {
                    damaged |= doubt.is_some_and(|batch| place.batch > batch);
                    journal.push(place, record);
                    last = place;
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(Malformed) => {
                    doubt.get_or_insert(last.next_batch());
                    rest = next_frame(rest);
                }
            }
        }
        damaged |= doubt.unwrap_or_else(|| last.next_batch()) <= durable;
        journal.ending = match (damaged, doubt) {
            (true, _) => Ending::Damaged,
            (false, None) if last.ends_its_batch() => Ending::Clean,
            (false, _) => Ending::Torn,
        };
        journal
    }

    fn push(&mut self, place: Place, record: Record) {
        if place.batch == self.last_batch {
            self.last_batch_len += 1;
        } else {
            self.last_batch = place.batch;
            self.last_batch_len = 1;
        }
        self.records.push(record);
    }

    /// What a file amounts to that the disk will not read.
    pub(crate) fn unreadable(before: u64) -> Self {
        Self {
            after_batch: before,
            records: Vec::new(),
            ending: Ending::Damaged,
            last_batch: before,
            last_batch_len: 0,
        }
    }

    /// The record in bytes that should be one whole frame.
    pub(crate) fn single_frame(bytes: &[u8]) -> Option<Record> {
        read_frame(bytes).ok().map(|(_, record, _)| record)
    }

    /// The records of the last batch: the only ones that may not be durable yet.
    pub(crate) fn last_batch_records(&self) -> &[Record] {
        self.records.get(self.records.len() - self.last_batch_len..).unwrap_or_default()
    }
}

fn read_header(bytes: &[u8], bucket: u32, boot: u32) -> Result<u64, Malformed> {
    let header = bytes.get(..HEADER_LEN).ok_or(Malformed)?;
    let (covered, crc) = header.split_at(HEADER_LEN - 4);
    if crc32c::crc32c(covered).to_le_bytes() != crc {
        return Err(Malformed);
    }
    let mut from = Decoder(covered);
    if from.raw(HEADER_MAGIC.len())? != HEADER_MAGIC || from.u32()? != bucket || from.u32()? != boot {
        return Err(Malformed);
    }
    from.u64()
}

fn read_frame(bytes: &[u8]) -> Result<(Place, Record, usize), Malformed> {
    let mut from = Decoder(bytes);
    if from.raw(FRAME_MAGIC.len())? != FRAME_MAGIC {
        return Err(Malformed);
    }
    let len = from.u32()? as usize;
    let crc = from.u32()?;
    let covered = from.raw(len)?;
    if crc32c::crc32c(covered) != crc {
        return Err(Malformed);
    }
    let mut inner = Decoder(covered);
    let place = Place { batch: inner.u64()?, index: inner.u16()?, count: inner.u16()? };
    let record = Record::decode(inner.u8()?, inner.0)?;
    Ok((place, record, FRAME_HEAD + len))
}

/// The bytes from the next place on where a frame may begin.
fn next_frame(bytes: &[u8]) -> &[u8] {
    let after = bytes.get(1..).unwrap_or_default();
    let at = after.windows(FRAME_MAGIC.len()).position(|w| w == FRAME_MAGIC);
    at.map_or(&[], |at| after.get(at..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Ending, Journal};
    use crate::journal::record::Record;
    use crate::journal::writer::{HEADER_LEN, encode_batch, encode_header};

    fn batches(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = encode_header(4, 2, 0);
        let mut starts = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            starts.push(bytes.len());
            let records: Vec<_> = (0..*size).map(|at| Record::Closed { at: at as u64 }).collect();
            bytes.extend(encode_batch(n as u64 + 1, &records));
        }
        (bytes, starts)
    }

    #[test]
    fn whole_batches_end_clean() {
        let (bytes, _) = batches(&[2, 1, 3]);
        let journal = Journal::parse(&bytes, 4, 2, 0, 0);
        assert_eq!((journal.ending, journal.records.len()), (Ending::Clean, 6));
        assert_eq!((journal.last_batch, journal.last_batch_records().len()), (3, 3));
    }

    #[test]
    fn every_cut_within_the_last_batch_is_a_torn_tail() {
        let (bytes, starts) = batches(&[2, 3]);
        for len in starts[1] + 1..bytes.len() {
            let journal = Journal::parse(&bytes[..len], 4, 2, 0, 0);
            assert_eq!(journal.ending, Ending::Torn, "cut at {len}");
        }
    }

    #[test]
    fn a_bad_byte_before_a_later_batch_is_damage_and_in_the_last_batch_is_not() {
        let (bytes, starts) = batches(&[2, 2, 3]);
        for at in starts[0]..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0x10;
            let expected = if at < starts[2] { Ending::Damaged } else { Ending::Torn };
            assert_eq!(Journal::parse(&bent, 4, 2, 0, 0).ending, expected, "at {at}");
        }
    }

    #[test]
    fn a_first_batch_that_is_gone_is_damage_when_a_second_follows() {
        let (bytes, starts) = batches(&[2, 1]);
        let mut bent = bytes;
        bent[starts[0]..starts[1]].fill(0);
        assert_eq!(Journal::parse(&bent, 4, 2, 0, 0).ending, Ending::Damaged);
    }

    #[test]
    fn a_bad_header_loses_nothing_while_every_frame_is_there() {
        let (mut bytes, starts) = batches(&[1, 1]);
        bytes[3] ^= 1;
        assert_eq!(Journal::parse(&bytes, 4, 2, 0, 0).ending, Ending::Clean);
        bytes[starts[0] + 20] ^= 1;
        assert_eq!(Journal::parse(&bytes, 4, 2, 0, 0).ending, Ending::Damaged);
    }

    #[test]
    fn a_torn_tail_is_damage_where_the_batch_was_marked_as_durable() {
        let (bytes, starts) = batches(&[2, 3]);
        let ending = |len: usize, durable| Journal::parse(&bytes[..len], 4, 2, 0, durable).ending;
        for len in [0, HEADER_LEN, starts[1] - 1, starts[1], starts[1] + 1, bytes.len() - 1] {
            assert_eq!(ending(len, 2), Ending::Damaged, "cut at {len}");
        }
        assert_eq!(ending(bytes.len() - 1, 1), Ending::Torn);
        assert_eq!(ending(bytes.len(), 2), Ending::Clean);
    }

    #[test]
    fn two_bad_frames_of_one_batch_are_damage_when_a_later_batch_follows() {
        let (mut bytes, starts) = batches(&[3, 1]);
        bytes[starts[0] + 20] ^= 1;
        assert_eq!(Journal::parse(&bytes, 4, 2, 0, 0).records.len(), 3);
        assert_eq!(Journal::parse(&bytes, 4, 2, 0, 0).ending, Ending::Damaged);
    }
}
