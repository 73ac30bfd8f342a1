//! Rows packed into blocks: a map of bytes that asks the map below it for one large row where it has a hundred small
//! ones.
//!
//! sled's cost is by the row, about 10 µs each whatever its size, and a queued instance has four. So changes gather
//! here in order; when there are enough, each block they fall into is read, merged and written once. A block is named by
//! a key that is not after its first row's, and the names, about one for ten rows, are kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::ControlFlow;

use super::kv::{Kv, KvError, Visit};
use crate::wire::{Decoder, Encoder, Malformed};

/// Bytes of changes that gather before they are merged into blocks.
const RECENT: usize = 1 << 20;
/// Bytes that each change is counted as beside its key and value.
const OVERHEAD: usize = 64;
/// A block grows to so many bytes before it is split.
const BLOCK: usize = 2048;

/// A map over another that holds blocks of its rows.
pub(crate) struct Packed<K> {
    below: K,
    blocks: BTreeSet<Vec<u8>>,
    /// Changes not merged yet; `None` takes a row out.
    recent: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    recent_bytes: usize,
    limit: usize,
}

impl<K: Kv> Packed<K> {
    /// Over an empty map.
    pub(crate) fn new(below: K) -> Self {
        Self { below, blocks: BTreeSet::new(), recent: BTreeMap::new(), recent_bytes: 0, limit: RECENT }
    }

    fn note(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), KvError> {
        self.recent_bytes += key.len() + value.map_or(0, <[u8]>::len) + OVERHEAD;
        self.recent.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        if self.recent_bytes > self.limit { self.merge() } else { Ok(()) }
    }

    /// The block that has the row, if any has.
    fn block_for(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.blocks.range::<[u8], _>((Unbounded, Included(key))).next_back()
    }

    fn read(&self, block: &[u8]) -> Result<Vec<u8>, KvError> {
        self.below.get(block)?.ok_or_else(|| KvError("a block is missing".to_owned()))
    }

    /// Brings all changes into their blocks.
    fn merge(&mut self) -> Result<(), KvError> {
        self.recent_bytes = 0;
        let mut recent = std::mem::take(&mut self.recent).into_iter().peekable();
        while let Some((first, _)) = recent.peek() {
            let block = self.block_for(first).cloned();
            let from = block.as_ref().unwrap_or(first).as_slice();
            let next = self.blocks.range::<[u8], _>((Excluded(from), Unbounded)).next().cloned();
            let mut changes = Vec::new();
            while let Some(change) = recent.next_if(|(key, _)| next.as_ref().is_none_or(|next| key < next)) {
                changes.push(change);
            }
            self.merge_into(block, &changes)?;
        }
        Ok(())
    }

    fn merge_into(
        &mut self,
        block: Option<Vec<u8>>,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), KvError> {
        let old = block.as_ref().map(|block| self.read(block)).transpose()?.unwrap_or_default();
        let rows = merged(&old, changes)?;
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len() + ROW_HEAD).sum();
        let full = bytes / bytes.div_ceil(BLOCK).max(1);
        let mut names = BTreeSet::new();
        let mut rows = rows.into_iter().peekable();
        while let Some((first, _)) = rows.peek() {
            let first = first.to_vec();
            let mut content = Encoder::default();
            while content.0.len() < full
                && let Some((key, value)) = rows.next()
            {
                content.bytes(key);
                content.bytes(value);
            }
            self.below.put(&first, &content.0)?;
            names.insert(first);
        }
        if let Some(block) = block.filter(|block| !names.contains(block)) {
            self.below.delete(&block)?;
            self.blocks.remove(&block);
        }
        self.blocks.extend(names);
        Ok(())
    }
}

impl<K: Kv> Kv for Packed<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if let Some(value) = self.recent.get(key) {
            return Ok(value.clone());
        }
        let Some(block) = self.block_for(key) else { return Ok(None) };
        for row in Rows(Decoder(&self.read(block)?)) {
            let (found, value) = row?;
            if found == key {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.note(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.note(key, None)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        let mut recent = self.recent.range::<[u8], _>((Included(from), Excluded(to))).peekable();
        let first = self.block_for(from).map_or(from, Vec::as_slice);
        for block in self.blocks.range::<[u8], _>((Included(first), Excluded(to))) {
            let content = self.read(block)?;
            for row in Rows(Decoder(&content)) {
                let (key, value) = row?;
                if key < from || key >= to {
                    continue;
                }
                while let Some((changed, new)) = recent.next_if(|(changed, _)| changed.as_slice() < key) {
                    if let Some(new) = new
                        && visit(changed, new).is_break()
                    {
                        return Ok(());
                    }
                }
                // What changed since stands in the row's place.
                let value = match recent.next_if(|(changed, _)| changed.as_slice() == key) {
                    None => Some(value),
                    Some((_, new)) => new.as_deref(),
                };
                if let Some(value) = value
                    && visit(key, value).is_break()
                {
                    return Ok(());
                }
            }
        }
        for (key, value) in recent {
            if let Some(value) = value
                && visit(key, value) == ControlFlow::Break(())
            {
                break;
            }
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), KvError> {
        self.blocks.clear();
        self.recent.clear();
        self.recent_bytes = 0;
        self.below.reset()
    }
}

/// A key with its value.
type Row<'a> = (&'a [u8], &'a [u8]);

/// The rows of a block as the changes leave them; both are in order.
fn merged<'a>(block: &'a [u8], changes: &'a [(Vec<u8>, Option<Vec<u8>>)]) -> Result<Vec<Row<'a>>, KvError> {
    let changed = |(key, value): &'a (Vec<u8>, Option<Vec<u8>>)| Some((key.as_slice(), value.as_deref()?));
    let mut changes = changes.iter().peekable();
    let mut rows = Vec::new();
    for row in Rows(Decoder(block)) {
        let (key, value) = row?;
        while let Some(change) = changes.next_if(|(before, _)| before.as_slice() < key) {
            rows.extend(changed(change));
        }
        match changes.next_if(|(same, _)| same.as_slice() == key) {
            Some(change) => rows.extend(changed(change)),
            None => rows.push((key, value)),
        }
    }
    rows.extend(changes.filter_map(changed));
    Ok(rows)
}

/// Bytes of a row beside its key and value.
const ROW_HEAD: usize = 8;

/// The rows of a block, in order.
struct Rows<'a>(Decoder<'a>);

impl<'a> Rows<'a> {
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.0.u32()?;
        self.0.raw(len as usize)
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, KvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let row = self.text().and_then(|key| Ok((key, self.text()?)));
        if row.is_err() {
            self.0 = Decoder(&[]);
        }
        Some(row.map_err(|_| KvError("a block is unreadable".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kv::{Kv, MemKv};
    use super::{BLOCK, Packed};
    use std::ops::ControlFlow;

    fn rows(kv: &dyn Kv, from: &[u8], to: &[u8], max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        kv.scan(from, to, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        rows
    }

    /// A number that looks like chance.
    fn chance(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn it_answers_as_a_plain_map_does_whatever_is_done_to_it() {
        for (seed, limit) in [(1, 0), (2, 500), (3, 5_000), (4, 50_000)] {
            let mut state = seed;
            let mut packed = Packed { limit, ..Packed::new(MemKv::default()) };
            let mut plain = MemKv::default();
            for step in 0..1_500_u64 {
                let key = (chance(&mut state) % 900).to_be_bytes();
                let key = &key[chance(&mut state) as usize % 2 * 6..];
                if chance(&mut state).is_multiple_of(3) {
                    packed.delete(key).unwrap();
                    plain.delete(key).unwrap();
                } else {
                    let value = vec![step as u8; chance(&mut state) as usize % 300];
                    packed.put(key, &value).unwrap();
                    plain.put(key, &value).unwrap();
                }
                let asked = (chance(&mut state) % 900).to_be_bytes();
                assert_eq!(packed.get(&asked).unwrap(), plain.get(&asked).unwrap());
                if step.is_multiple_of(50) {
                    let to = (chance(&mut state) % 1000).to_be_bytes();
                    let (from, to) = if asked < to { (asked, to) } else { (to, asked) };
                    let max = 1 + chance(&mut state) as usize % 40;
                    assert_eq!(rows(&packed, &from, &to, max), rows(&plain, &from, &to, max));
                    assert_eq!(rows(&packed, &[], &[0xFF], 10_000), rows(&plain, &[], &[0xFF], 10_000));
                }
            }
            packed.merge().unwrap();
            assert_eq!(rows(&packed, &[], &[0xFF], 10_000), rows(&plain, &[], &[0xFF], 10_000));
        }
    }

    #[test]
    fn blocks_stay_near_their_size_and_empty_ones_go() {
        let mut packed = Packed { limit: 10_000, ..Packed::new(MemKv::default()) };
        for n in 0..5_000_u32 {
            packed.put(&n.to_be_bytes(), &[1; 100]).unwrap();
        }
        packed.merge().unwrap();
        let blocks = packed.blocks.len();
        assert!((5_000 * 112 / BLOCK..5_000 * 112 / BLOCK * 3).contains(&blocks), "{blocks} blocks");
        for block in &packed.blocks {
            assert!(packed.read(block).unwrap().len() < BLOCK + 200);
        }
        for n in 0..5_000_u32 {
            packed.delete(&n.to_be_bytes()).unwrap();
        }
        packed.merge().unwrap();
        assert!(packed.blocks.is_empty());
        assert!(rows(&packed.below, &[], &[0xFF], 1).is_empty(), "nothing is left below");
    }

    #[test]
    fn a_block_that_is_missing_or_damaged_is_an_error() {
        let mut packed = Packed { limit: 0, ..Packed::new(MemKv::default()) };
        packed.put(b"a", b"1").unwrap();
        packed.below.put(b"a", &[9, 0, 0]).unwrap();
        assert!(packed.get(b"a").is_err());
        assert!(packed.scan(b"a", b"b", &mut |_, _| ControlFlow::Continue(())).is_err());
        packed.below.delete(b"a").unwrap();
        assert!(packed.get(b"a").is_err());
        packed.reset().unwrap();
        assert_eq!(packed.get(b"a").unwrap(), None);
    }
}
