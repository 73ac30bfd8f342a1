//! Segmented tables (PS3.3 C.7.9.2): runs of values, straight lines, and copies of segments elsewhere in the same data.

use super::{PaletteError, Primary, SegmentFault};
use crate::layout::Depth;

/// Expands `data` to exactly `entries` values. What follows the last entry is padding.
pub(super) fn expand(
    data: &[u8],
    width: Depth,
    entries: usize,
    table: Primary,
) -> Result<Vec<u16>, PaletteError> {
    let mut expansion = Expansion { data, width, entries, values: Vec::with_capacity(entries), segments: 0 };
    let mut offset = 0;
    // Less than a type and a length is padding too.
    while expansion.values.len() < entries && data.len().saturating_sub(offset) >= 2 * expansion.step() {
        let next = expansion.segment(offset, Copied::No);
        offset = next.map_err(|(offset, fault)| PaletteError::Segment { table, offset, fault })?;
    }
    let found = expansion.values.len();
    if found < entries {
        Err(PaletteError::TooFewEntries { table, found, entries })
    } else {
        Ok(expansion.values)
    }
}

/// Segments that each add an entry are at most half as many; the others can only be there to keep a reader busy.
const MOST_SEGMENTS: usize = 2 * 65_536;

struct Expansion<'a> {
    data: &'a [u8],
    width: Depth,
    entries: usize,
    values: Vec<u16>,
    segments: usize,
}

/// Whether a segment is reached through an indirect one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Yes,
    No,
}

/// Where the bad segment starts, and what is wrong with it.
type Fault = (usize, SegmentFault);

impl Expansion<'_> {
    /// Expands the segment at `offset` and returns where the next one starts.
    fn segment(&mut self, offset: usize, copied: Copied) -> Result<usize, Fault> {
        let at = |fault| (offset, fault);
        self.segments += 1;
        if self.segments > MOST_SEGMENTS {
            return Err(at(SegmentFault::TooMany(MOST_SEGMENTS)));
        }
        let (kind, length) = (self.word(offset, 0).map_err(at)?, self.word(offset, 1).map_err(at)?);
        let words = match kind {
            0 => self.discrete(offset, length).map_err(at)?,
            1 => self.linear(offset, length).map_err(at)?,
            2 if copied == Copied::Yes => return Err(at(SegmentFault::Nested)),
            2 => self.indirect(offset, length)?,
            unknown => return Err(at(SegmentFault::UnknownType(unknown))),
        };
        Ok(offset + words * self.step())
    }

    /// Type 0: `length` values as they are. Returns the words of the segment, as its siblings do.
    fn discrete(&mut self, offset: usize, length: u16) -> Result<usize, SegmentFault> {
        self.reserve(length)?;
        for index in 0..usize::from(length) {
            let value = self.word(offset, 2 + index)?;
            self.values.push(value);
        }
        Ok(2 + usize::from(length))
    }

    /// Type 1: a line of `length` steps from the value before to the one given, which is the last of them.
    fn linear(&mut self, offset: usize, length: u16) -> Result<usize, SegmentFault> {
        self.reserve(length)?;
        let from = f64::from(*self.values.last().ok_or(SegmentFault::NothingBefore)?);
        let to = f64::from(self.word(offset, 2)?);
        let slope = (to - from) / f64::from(length);
        let line = (1..length).map(|step| (from + slope * f64::from(step)).round_ties_even() as u16);
        self.values.extend(line.chain((length > 0).then_some(to as u16)));
        Ok(3)
    }

    /// Type 2: copies `count` segments, the first of which starts at a byte offset of 32 bits, low half first.
    fn indirect(&mut self, offset: usize, count: u16) -> Result<usize, Fault> {
        let (words, per_word) = match self.width {
            Depth::Eight => (4, 8),
            Depth::Sixteen => (2, 16),
        };
        let mut target = 0_u32;
        for index in 0..words {
            let word = self.word(offset, 2 + index).map_err(|fault| (offset, fault))?;
            target |= u32::from(word) << (index * per_word);
        }
        let mut copied = target as usize;
        for _ in 0..count {
            copied = self.segment(copied, Copied::Yes)?;
        }
        Ok(2 + words)
    }

    fn reserve(&self, more: u16) -> Result<(), SegmentFault> {
        let fits = self.values.len() + usize::from(more) <= self.entries;
        if fits { Ok(()) } else { Err(SegmentFault::BeyondTheEnd) }
    }

    fn step(&self) -> usize {
        match self.width {
            Depth::Eight => 1,
            Depth::Sixteen => 2,
        }
    }

    /// The word `index` words after the byte `offset`.
    fn word(&self, offset: usize, index: usize) -> Result<u16, SegmentFault> {
        let rest = self.data.get(offset.saturating_add(index * self.step())..).unwrap_or_default();
        let word = match self.width {
            Depth::Eight => rest.first().copied().map(u16::from),
            Depth::Sixteen => rest.first_chunk().copied().map(u16::from_le_bytes),
        };
        word.ok_or(SegmentFault::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn expanded(data: &[u16], entries: usize) -> Result<Vec<u16>, PaletteError> {
        expand(&words(data), Depth::Sixteen, entries, Primary::Green)
    }

    fn fault(result: Result<Vec<u16>, PaletteError>) -> (usize, SegmentFault) {
        match result {
            Err(PaletteError::Segment { table: Primary::Green, offset, fault }) => (offset, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn discrete_values_and_lines_follow_one_another() {
        let data = [0, 2, 5, 100, 1, 4, 104, 1, 2, 101];
        assert_eq!(expanded(&data, 8).unwrap(), [5, 100, 101, 102, 103, 104, 102, 101]);
    }

    #[test]
    fn an_indirect_segment_copies_what_its_byte_offset_names() {
        // The line at byte 8 is copied, from the value that is then the last; then the first segment.
        let data = [0, 2, 5, 100, 1, 2, 200, 0, 1, 0, 2, 1, 8, 0, 2, 1, 0, 0];
        assert_eq!(expanded(&data, 9).unwrap(), [5, 100, 150, 200, 0, 100, 200, 5, 100]);
    }

    #[test]
    fn tables_of_bytes_have_offsets_of_four_bytes() {
        let data = [0, 2, 7, 9, 2, 1, 0, 0, 0, 0, 0];
        assert_eq!(expand(&data, Depth::Eight, 4, Primary::Red).unwrap(), [7, 9, 7, 9]);
    }

    #[test]
    fn what_follows_the_last_entry_is_padding() {
        assert_eq!(expand(&[0, 1, 7, 0], Depth::Eight, 1, Primary::Red).unwrap(), [7]);
    }

    #[test]
    fn a_segment_beyond_the_entries_is_refused_before_it_is_expanded() {
        assert_eq!(fault(expanded(&[0, 1, 5, 1, 0xFFFF, 9], 4)), (6, SegmentFault::BeyondTheEnd));
    }

    #[test]
    fn an_indirect_segment_cannot_name_an_indirect_one_or_itself() {
        assert_eq!(fault(expanded(&[0, 1, 5, 2, 1, 6, 0], 4)), (6, SegmentFault::Nested));
        assert_eq!(fault(expanded(&[0, 1, 5, 2, 2, 0, 0], 4)), (6, SegmentFault::Nested));
    }

    #[test]
    fn segments_that_add_nothing_end_in_an_error_and_not_in_an_hour() {
        let empty = [[0, 0]; 8].concat();
        let copies = [[2, 0xFFFF, 0, 0]; 40].concat();
        let (_, fault) = fault(expanded(&[empty, copies].concat(), 4));
        assert!(matches!(fault, SegmentFault::Nested), "{fault}");
        let zeros = vec![0; 4 * MOST_SEGMENTS + 8];
        let error = expand(&zeros, Depth::Sixteen, 4, Primary::Green).unwrap_err();
        assert!(error.to_string().contains("more than 131072 segments"), "{error}");
    }

    #[test]
    fn other_damage_is_reported_with_its_place() {
        assert_eq!(fault(expanded(&[1, 4, 9], 4)), (0, SegmentFault::NothingBefore));
        assert_eq!(fault(expanded(&[0, 1, 5, 7, 1], 4)), (6, SegmentFault::UnknownType(7)));
        assert_eq!(fault(expanded(&[0, 3, 5], 4)), (0, SegmentFault::Truncated));
        assert_eq!(fault(expanded(&[0, 1, 5, 2, 1, 0, 0xFFFF], 4)), (0xFFFF_0000, SegmentFault::Truncated));
        let error = expanded(&[0, 1, 5], 4).unwrap_err();
        assert_eq!(error.to_string(), "the segments of the green palette expand to 1 of 4 entries");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_as_many_entries_as_announced_or_in_an_error(
            data in prop::collection::vec(0_u8..6, 0..60),
            entries in 1_usize..300,
            sixteen in any::<bool>(),
        ) {
            let width = if sixteen { Depth::Sixteen } else { Depth::Eight };
            if let Ok(values) = expand(&data, width, entries, Primary::Blue) {
                prop_assert_eq!(values.len(), entries);
            }
        }
    }
}
