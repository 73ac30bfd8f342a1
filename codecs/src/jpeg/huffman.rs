//! Huffman tables for decoding (ISO 10918-1 Annex C, F.2.2.3).

/// Bits that are looked up at once; longer codes are rare.
const LOOKUP: u32 = 10;

/// One table.
#[derive(Clone)]
pub(super) struct Huffman {
    /// By the next bits: length of the code in the high byte, its symbol in the low one; 0 for longer codes.
    lookup: Box<[u16; 1 << LOOKUP]>,
    /// By length: the first code beyond those of this length, aligned to 16 bits; rising.
    beyond: [u32; 17],
    /// By length: what to add to a code to get the index of its symbol.
    first: [i32; 17],
    symbols: [u8; 256],
}

impl Huffman {
    /// From the numbers of codes of each length, and the symbols in their order. `symbols` has as many as `counts` say.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, &'static str> {
        let mut table =
            Self { lookup: Box::new([0; 1 << LOOKUP]), beyond: [0; 17], first: [0; 17], symbols: [0; 256] };
        if symbols.len() > 256 {
            return Err("a Huffman table has more than 256 codes");
        }
        table.symbols.iter_mut().zip(symbols).for_each(|(place, symbol)| *place = *symbol);
        let (mut code, mut index) = (0_u32, 0_u32);
        let places = table.beyond.iter_mut().zip(table.first.iter_mut()).skip(1);
        for ((length, count), (beyond, first)) in (1_u32..).zip(counts).zip(places) {
            let count = u32::from(*count);
            *first = index.cast_signed() - code.cast_signed();
            for (code, symbol) in (code..code + count).zip(symbols.iter().skip(index as usize)) {
                if length <= LOOKUP {
                    let start = (code << (LOOKUP - length)) as usize;
                    let places = table.lookup.iter_mut().skip(start).take(1 << (LOOKUP - length));
                    places.for_each(|place| *place = (length as u16) << 8 | u16::from(*symbol));
                }
            }
            code += count;
            index += count;
            if code > 1 << length {
                return Err("a Huffman table has more codes of a length than there are");
            }
            *beyond = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// The symbol at the start of `window`, the next 16 bits, and the length of its code; length 0 if there is no such code.
    #[inline(always)]
    pub(super) fn decode(&self, window: u32) -> (u8, u32) {
        let entry = self.lookup.get((window >> (16 - LOOKUP)) as usize).copied().unwrap_or(0);
        if entry != 0 {
            return (entry as u8, u32::from(entry >> 8));
        }
        self.decode_long(window)
    }

    #[cold]
    fn decode_long(&self, window: u32) -> (u8, u32) {
        let lengths = (0_u32..).zip(self.beyond.iter().zip(&self.first)).skip(LOOKUP as usize + 1);
        for (length, (beyond, first)) in lengths {
            if window < *beyond {
                let index = (window >> (16 - length)).cast_signed() + first;
                let symbol = usize::try_from(index).ok().and_then(|index| self.symbols.get(index));
                return symbol.map_or((0, 0), |symbol| (*symbol, length));
            }
        }
        (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(usize, u8)]) -> [u8; 16] {
        let mut counts = [0; 16];
        of.iter().for_each(|(length, count)| counts[length - 1] = *count);
        counts
    }

    #[test]
    fn short_and_long_codes_give_their_symbols() {
        let table = Huffman::new(&counts(&[(1, 1), (2, 1), (12, 2)]), &[7, 8, 9, 10]).unwrap();
        assert_eq!(table.decode(0), (7, 1));
        assert_eq!(table.decode(0b1000_0000_0000_0000), (8, 2));
        assert_eq!(table.decode(0b1100_0000_0000_0000), (9, 12));
        assert_eq!(table.decode(0b1100_0000_0001_1111), (10, 12));
        assert_eq!(table.decode(0b1100_0000_0010_0000).1, 0);
        assert_eq!(table.decode(0xFFFF).1, 0);
    }

    #[test]
    fn a_table_with_too_many_codes_is_refused() {
        assert!(Huffman::new(&counts(&[(1, 3)]), &[1, 2, 3]).is_err());
        assert!(Huffman::new(&counts(&[(1, 2), (2, 1)]), &[1, 2, 3]).is_err());
    }
}
