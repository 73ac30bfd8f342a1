//! How far each journal is durable, at least.
//!
//! A journal that has lost its end looks like one whose end was being written when the power went. What tells them
//! apart stands in another file: after a batch is durable, its number is noted there, in the bucket's slot. The note
//! is not synced, so a power cut may take it, and then less is known, never anything wrong: each slot that can be read
//! names a batch that was durable once. Nothing depends on this file being there.
//!
//! While a start recovers, the slots stay as the start before left them: what they accuse is held durably first, and a
//! start that is cut off before that must not take the proof with it.
//!
//! A slot has 32 bytes, so that it lies within one sector: bucket (u32), boot (u32), batch (u64), 12 bytes of zero, CRC32C
//! of these (u32).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::{File, Fs, Mode};
use crate::wire::{Decoder, Encoder, Malformed};

const SLOT_LEN: usize = 32;

/// A batch of a bucket that is durable in the file of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) boot: u32,
    pub(crate) batch: u64,
}

/// The marks of all buckets.
pub(crate) struct Marks(Mutex<Slots>);

struct Slots {
    /// None when it cannot be written: then nothing is noted.
    file: Option<Box<dyn File>>,
    /// By bucket: which slot, and what it says.
    used: BTreeMap<u32, (u64, Mark)>,
    free: BTreeSet<u64>,
    /// What was noted since the start and is not written yet; none once recovery is over.
    gathered: Option<BTreeMap<u32, Mark>>,
}

impl Marks {
    /// Reads what is there, or begins anew. A slot whose bytes are wrong marks nothing.
    ///
    /// # Errors
    /// The file is there and cannot be read: what it may accuse must not be sent meanwhile.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let slots = match fs.open(path, Mode::ReadWrite) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Slots::read(fs.create_new(path).ok(), &[]),
            other => {
                let file = other?;
                let bytes = file.read_all()?;
                Slots::read(Some(file), &bytes)
            }
        };
        Ok(Self(Mutex::new(slots)))
    }

    /// What is known of a bucket.
    pub(crate) fn of(&self, bucket: u32) -> Option<Mark> {
        self.lock().used.get(&bucket).map(|(_, mark)| *mark)
    }

    /// The buckets of which something is known.
    pub(crate) fn buckets(&self) -> Vec<u32> {
        self.lock().used.keys().copied().collect()
    }

    /// The highest bucket and the highest boot.
    pub(crate) fn newest(&self) -> (u32, u32) {
        let slots = self.lock();
        let boot = slots.used.values().map(|(_, mark)| mark.boot).max();
        (slots.used.keys().next_back().copied().unwrap_or(0), boot.unwrap_or(0))
    }

    /// Notes that the batch is durable. Where that cannot be written, less will be known after the next start.
    pub(crate) fn note(&self, bucket: u32, mark: Mark) {
        self.lock().write(bucket, mark);
    }

    /// Forgets a bucket whose journal is gone.
    pub(crate) fn forget(&self, bucket: u32) {
        self.lock().forget(bucket);
    }

    /// Recovery is over, and all that it decided is durable: from now on what is noted is written.
    pub(crate) fn recovered(&self) {
        let mut slots = self.lock();
        for (bucket, mark) in slots.gathered.take().into_iter().flatten() {
            slots.write(bucket, mark);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn read(file: Option<Box<dyn File>>, bytes: &[u8]) -> Self {
        let (used, free, gathered) = (BTreeMap::new(), BTreeSet::new(), Some(BTreeMap::new()));
        let mut slots = Self { file, used, free, gathered };
        for (place, slot) in bytes.chunks(SLOT_LEN).enumerate() {
            let place = place as u64;
            let Ok((bucket, mark)) = decode(slot) else {
                slots.free.insert(place);
                continue;
            };
            // A slot that was forgotten may come back beside the one that was written later.
            match slots.used.get(&bucket) {
                Some((_, known)) if *known >= mark => _ = slots.free.insert(place),
                _ => {
                    let older = slots.used.insert(bucket, (place, mark));
                    slots.free.extend(older.map(|(place, _)| place));
                }
            }
        }
        slots
    }

    fn write(&mut self, bucket: u32, mark: Mark) {
        if let Some(gathered) = &mut self.gathered {
            gathered.insert(bucket, mark);
            return;
        }
        let place = match self.used.get(&bucket) {
            Some((place, _)) => *place,
            None => self.free.pop_first().unwrap_or(self.used.len() as u64),
        };
        self.used.insert(bucket, (place, mark));
        self.put(place, &encode(bucket, mark));
    }

    fn forget(&mut self, bucket: u32) {
        if let Some(gathered) = &mut self.gathered {
            gathered.remove(&bucket);
        }
        let Some((place, _)) = self.used.remove(&bucket) else { return };
        self.free.insert(place);
        self.put(place, &[0; SLOT_LEN]);
    }

    /// A mark is worth nothing to whoever waits for the batch, so an error ends the marks and nothing else.
    fn put(&mut self, place: u64, slot: &[u8]) {
        let offset = place * SLOT_LEN as u64;
        if self.file.as_ref().is_some_and(|file| file.write_all_at(slot, offset).is_err()) {
            self.file = None;
        }
    }
}

fn encode(bucket: u32, mark: Mark) -> Vec<u8> {
    let mut out = Encoder::default();
    out.u32(bucket);
    out.u32(mark.boot);
    out.u64(mark.batch);
    out.raw(&[0; 12]);
    let crc = crc32c::crc32c(&out.0);
    out.u32(crc);
    out.0
}

fn decode(slot: &[u8]) -> Result<(u32, Mark), Malformed> {
    let (covered, crc) = slot.split_at_checked(SLOT_LEN - 4).ok_or(Malformed)?;
    if crc32c::crc32c(covered).to_le_bytes() != crc {
        return Err(Malformed);
    }
    let mut from = Decoder(covered);
    Ok((from.u32()?, Mark { boot: from.u32()?, batch: from.u64()? }))
}

#[cfg(test)]
mod tests {
    use super::{Mark, Slots, encode};

    #[test]
    fn what_is_written_is_read_and_what_is_broken_marks_nothing() {
        let mut bytes = encode(7, Mark { boot: 2, batch: 12 });
        bytes.extend(encode(9, Mark { boot: 3, batch: 1 }));
        bytes[33] ^= 1;
        bytes.extend(encode(7, Mark { boot: 3, batch: 1 }));
        bytes.extend([0; 32]);
        bytes.extend([1; 7]);
        let slots = Slots::read(None, &bytes);
        assert_eq!(slots.used.into_iter().collect::<Vec<_>>(), [(7, (2, Mark { boot: 3, batch: 1 }))]);
        assert_eq!(slots.free.into_iter().collect::<Vec<_>>(), [0, 1, 3, 4]);
    }

    #[test]
    fn a_bucket_keeps_its_slot_and_what_is_forgotten_is_used_again() {
        let mut slots = Slots::read(None, &[]);
        slots.gathered = None;
        slots.write(1, Mark { boot: 1, batch: 1 });
        slots.write(2, Mark { boot: 1, batch: 1 });
        slots.write(1, Mark { boot: 1, batch: 2 });
        assert_eq!(slots.used[&1], (0, Mark { boot: 1, batch: 2 }));
        slots.forget(1);
        slots.write(3, Mark { boot: 1, batch: 1 });
        slots.write(4, Mark { boot: 1, batch: 1 });
        assert_eq!((slots.used[&3].0, slots.used[&4].0), (0, 2));
    }
}
