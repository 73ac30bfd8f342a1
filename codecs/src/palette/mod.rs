#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! PALETTE COLOR to RGB (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6; segmented tables C.7.9.2).
//!
//! Writers disagree with the standard and with each other about the width of entries, so the data decide:
//!
//! * As many bytes as entries are entries of one byte, as many words are entries of two, whatever the descriptor says.
//! * Words are scaled to 8 bits by their high byte, unless no word of all three tables exceeds 255: then they hold 8 bits.

mod segments;

use crate::layout::Depth;

/// One of the three Palette Color Lookup Tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// The descriptor (0028,1101) to (0028,1103): number of entries (0 is 65,536), first value mapped, bits of an entry (8, 16).
    pub descriptor: [u16; 3],
    /// The data (0028,1201) to (0028,1203), or the segmented data (0028,1221) to (0028,1223). Words lie low byte first.
    pub data: &'a [u8],
    /// Which of the two it is.
    pub form: Form,
}

/// How the data of a table are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Entry after entry.
    Plain,
    /// Segments to be expanded (PS3.3 C.7.9.2).
    Segmented,
}

/// Pixel Representation (0028,0103) of the indices, and so of the descriptor's first value mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indices {
    /// 0: no sign.
    Unsigned,
    /// 1: two's complement.
    Signed,
}

/// Which table an error speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primary {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
}

impl std::fmt::Display for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        })
    }
}

/// What is wrong with a table. Offsets are in bytes from the start of its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaletteError {
    /// The descriptor's third value is neither 8 nor 16.
    #[error("the {table} palette has entries of {bits} bits")]
    Bits {
        /// The table.
        table: Primary,
        /// Its descriptor's third value.
        bits: u16,
    },
    /// The data end before the last entry.
    #[error("the {table} palette has {found} bytes of data, which are not {entries} entries")]
    TooShort {
        /// The table.
        table: Primary,
        /// Bytes of data.
        found: usize,
        /// Entries that the descriptor announces.
        entries: usize,
    },
    /// A segment cannot be expanded.
    #[error("the {table} palette has a bad segment at byte {offset}: {fault}")]
    Segment {
        /// The table.
        table: Primary,
        /// Where the segment starts.
        offset: usize,
        /// What is wrong with it.
        fault: SegmentFault,
    },
    /// The segments end before the last entry.
    #[error("the segments of the {table} palette expand to {found} of {entries} entries")]
    TooFewEntries {
        /// The table.
        table: Primary,
        /// Entries expanded.
        found: usize,
        /// Entries that the descriptor announces.
        entries: usize,
    },
}

/// What is wrong with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// The type is not 0, 1 or 2.
    #[error("its type {0} is unknown")]
    UnknownType(u16),
    /// The data end within it.
    #[error("the data end within it")]
    Truncated,
    /// It has more entries than are still missing.
    #[error("it goes beyond the entries that the descriptor announces")]
    BeyondTheEnd,
    /// A line needs a value to start from.
    #[error("it is linear and nothing precedes it")]
    NothingBefore,
    /// An indirect segment names an indirect one, or is met within what another copies.
    #[error("it is indirect and copied by another indirect segment")]
    Nested,
    /// More segments than any table needs.
    #[error("there are more than {0} segments")]
    TooMany(usize),
}

/// Three tables as one: the colour of every index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    /// The index that has the first colour. Smaller ones have it too, as larger ones have the last.
    first: i32,
    colours: Vec<[u8; 3]>,
    indices: Indices,
}

impl Palette {
    /// Reads the three tables. They may differ in length and in the first value mapped.
    ///
    /// # Errors
    /// A table's data do not hold the entries that its descriptor announces.
    pub fn new(
        red: Table<'_>,
        green: Table<'_>,
        blue: Table<'_>,
        indices: Indices,
    ) -> Result<Self, PaletteError> {
        let mut tables = [
            Entries::read(red, Primary::Red, indices)?,
            Entries::read(green, Primary::Green, indices)?,
            Entries::read(blue, Primary::Blue, indices)?,
        ];
        let words_hold_bytes = tables.iter().all(|table| table.values.iter().all(|value| *value <= 0xFF));
        for table in tables.iter_mut().filter(|table| table.width == Depth::Sixteen && !words_hold_bytes) {
            table.values.iter_mut().for_each(|value| *value >>= 8);
        }
        let first = tables.iter().map(|table| table.first).min().unwrap_or(0);
        let end = tables.iter().map(|table| table.first + table.values.len() as i32).max().unwrap_or(0);
        let colours = (first..end).map(|index| tables.each_ref().map(|table| table.at(index))).collect();
        Ok(Self { first, colours, indices })
    }

    /// The colours of `indices`, 8-bit RGB by pixel. Indices of two bytes lie low byte first; bits above Bits Stored are the
    /// caller's to clear or to extend.
    #[must_use]
    pub fn expand(&self, indices: &[u8], depth: Depth) -> Vec<u8> {
        match depth {
            Depth::Eight => {
                let mut colours = [[0; 3]; 256];
                for (byte, colour) in (0..=255_u8).zip(&mut colours) {
                    *colour = self.colour(match self.indices {
                        Indices::Unsigned => i32::from(byte),
                        Indices::Signed => i32::from(byte.cast_signed()),
                    });
                }
                coloured(indices, |index| colours.get(usize::from(*index)).copied().unwrap_or_default())
            }
            Depth::Sixteen => coloured(indices.as_chunks::<2>().0, |index| {
                self.colour(match self.indices {
                    Indices::Unsigned => i32::from(u16::from_le_bytes(*index)),
                    Indices::Signed => i32::from(i16::from_le_bytes(*index)),
                })
            }),
        }
    }

    #[inline]
    fn colour(&self, index: i32) -> [u8; 3] {
        let last = self.colours.len().saturating_sub(1);
        let position = usize::try_from(index - self.first).unwrap_or(0).min(last);
        self.colours.get(position).copied().unwrap_or_default()
    }
}

/// The colour of each index, side by side.
#[inline]
fn coloured<T>(indices: &[T], colour: impl Fn(&T) -> [u8; 3]) -> Vec<u8> {
    let mut out = vec![0; indices.len() * 3];
    for (pixel, index) in out.as_chunks_mut::<3>().0.iter_mut().zip(indices) {
        *pixel = colour(index);
    }
    out
}

/// One table, expanded.
struct Entries {
    first: i32,
    /// Of an entry in the data.
    width: Depth,
    values: Vec<u16>,
}

impl Entries {
    fn read(table: Table<'_>, name: Primary, indices: Indices) -> Result<Self, PaletteError> {
        let [entries, first, bits] = table.descriptor;
        let entries = if entries == 0 { 65_536 } else { usize::from(entries) };
        let first = match indices {
            Indices::Unsigned => i32::from(first),
            Indices::Signed => i32::from(first.cast_signed()),
        };
        let announced = match bits {
            8 => Depth::Eight,
            16 => Depth::Sixteen,
            _ => return Err(PaletteError::Bits { table: name, bits }),
        };
        let (width, values) = match table.form {
            Form::Segmented => (announced, segments::expand(table.data, announced, entries, name)?),
            Form::Plain => {
                let too_short = PaletteError::TooShort { table: name, found: table.data.len(), entries };
                let width = width_of(table.data.len(), entries, announced).ok_or(too_short)?;
                (width, values(table.data, width).take(entries).collect())
            }
        };
        Ok(Self { first, width, values })
    }

    fn at(&self, index: i32) -> u8 {
        let last = self.values.len().saturating_sub(1);
        let position = usize::try_from(index - self.first).unwrap_or(0).min(last);
        self.values.get(position).copied().unwrap_or(0) as u8
    }
}

/// How wide the entries in `length` bytes are; none if they are too few. An odd number of bytes may be padded.
fn width_of(length: usize, entries: usize, announced: Depth) -> Option<Depth> {
    let bytes = entries..=entries.next_multiple_of(2);
    match announced {
        _ if bytes.contains(&length) && (announced == Depth::Eight || entries > 1) => Some(Depth::Eight),
        _ if length >= 2 * entries => Some(Depth::Sixteen),
        Depth::Eight if length >= entries => Some(Depth::Eight),
        _ => None,
    }
}

fn values(data: &[u8], width: Depth) -> Box<dyn Iterator<Item = u16> + '_> {
    match width {
        Depth::Eight => Box::new(data.iter().copied().map(u16::from)),
        Depth::Sixteen => Box::new(data.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(descriptor: [u16; 3], data: &[u8]) -> Table<'_> {
        Table { descriptor, data, form: Form::Plain }
    }

    fn same(table: Table<'_>, indices: Indices) -> Palette {
        Palette::new(table, table, table, indices).unwrap()
    }

    fn reds(palette: &Palette, indices: &[u8], depth: Depth) -> Vec<u8> {
        palette.expand(indices, depth).as_chunks::<3>().0.iter().map(|[red, ..]| *red).collect()
    }

    #[test]
    fn each_index_gets_the_entry_of_each_table() {
        let (red, green, blue) =
            (plain([2, 0, 8], &[1, 2]), plain([2, 0, 8], &[3, 4]), plain([2, 0, 8], &[5, 6]));
        let palette = Palette::new(red, green, blue, Indices::Unsigned).unwrap();
        assert_eq!(palette.expand(&[1, 0, 1], Depth::Eight), [2, 4, 6, 1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn indices_outside_get_the_first_or_the_last_entry() {
        let palette = same(plain([3, 10, 8], &[7, 8, 9, 0]), Indices::Unsigned);
        assert_eq!(reds(&palette, &[0, 10, 11, 12, 13, 255], Depth::Eight), [7, 7, 8, 9, 9, 9]);
        assert_eq!(reds(&palette, &[0, 0, 11, 0, 255, 255], Depth::Sixteen), [7, 8, 9]);
    }

    #[test]
    fn signed_indices_have_a_signed_first_value() {
        let first = (-2_i16).cast_unsigned();
        let palette = same(plain([4, first, 8], &[1, 2, 3, 4]), Indices::Signed);
        assert_eq!(reds(&palette, &[0x80, 0xFE, 0xFF, 0, 1, 0x7F], Depth::Eight), [1, 1, 2, 3, 4, 4]);
        assert_eq!(reds(&palette, &[0xFF, 0xFF, 0, 0, 0, 0x80], Depth::Sixteen), [2, 3, 1]);
    }

    #[test]
    fn words_are_scaled_by_their_high_byte_and_bytes_are_taken_as_they_are() {
        let words = same(plain([2, 0, 16], &[0xFF, 0x12, 0x01, 0x80]), Indices::Unsigned);
        assert_eq!(reds(&words, &[0, 1], Depth::Eight), [0x12, 0x80]);
        let bytes_although_16 = same(plain([2, 0, 16], &[0xFF, 0x12]), Indices::Unsigned);
        assert_eq!(reds(&bytes_although_16, &[0, 1], Depth::Eight), [0xFF, 0x12]);
        let words_although_8 = same(plain([2, 0, 8], &[0x12, 0, 0x80, 0]), Indices::Unsigned);
        assert_eq!(reds(&words_although_8, &[0, 1], Depth::Eight), [0x12, 0x80]);
    }

    #[test]
    fn words_of_which_none_exceeds_255_in_any_table_hold_bytes() {
        let (small, large) = (plain([2, 0, 16], &[0x12, 0, 0x80, 0]), plain([2, 0, 16], &[0, 1, 0, 0xFF]));
        assert_eq!(reds(&same(small, Indices::Unsigned), &[0, 1], Depth::Eight), [0x12, 0x80]);
        let palette = Palette::new(small, large, small, Indices::Unsigned).unwrap();
        assert_eq!(palette.expand(&[0, 1], Depth::Eight), [0, 1, 0, 0, 0xFF, 0]);
    }

    #[test]
    fn no_entries_are_65536_entries() {
        let data: Vec<u8> = (0..=0xFFFF_u16).flat_map(u16::to_le_bytes).collect();
        let palette = same(plain([0, 0, 16], &data), Indices::Unsigned);
        assert_eq!(reds(&palette, &[0, 0, 0xFF, 0x7F, 0xFF, 0xFF], Depth::Sixteen), [0, 0x7F, 0xFF]);
    }

    #[test]
    fn tables_of_different_range_each_keep_their_own() {
        let (long, short) = (plain([4, 0, 8], &[1, 2, 3, 4]), plain([2, 1, 8], &[10, 20]));
        let palette = Palette::new(long, short, long, Indices::Unsigned).unwrap();
        assert_eq!(palette.expand(&[0, 1, 2, 3], Depth::Eight), [1, 10, 1, 2, 10, 2, 3, 20, 3, 4, 20, 4]);
    }

    #[test]
    fn data_that_are_not_the_announced_entries_are_an_error_that_names_the_table() {
        let (good, short) = (plain([4, 0, 16], &[0; 8]), plain([4, 0, 16], &[0; 6]));
        let error = Palette::new(good, good, short, Indices::Unsigned).unwrap_err();
        assert_eq!(error.to_string(), "the blue palette has 6 bytes of data, which are not 4 entries");
        let odd = plain([4, 0, 12], &[0; 8]);
        let error = Palette::new(odd, good, good, Indices::Unsigned).unwrap_err();
        assert_eq!(error, PaletteError::Bits { table: Primary::Red, bits: 12 });
        let empty = plain([0, 0, 8], &[]);
        assert!(Palette::new(empty, good, good, Indices::Unsigned).is_err());
    }
}
