#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Huffman tables and their code words (Annex C).

/// Categories of differences are 0 to 16 (H.1.2.2).
pub(super) const CATEGORIES: usize = 17;

/// The longest code.
pub(super) const LONGEST: usize = 16;

/// A Huffman table as a DHT segment carries it (B.2.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    /// How many codes there are of each length, from 1 to 16.
    counts: [u8; LONGEST],
    /// The categories, shortest code first.
    categories: Vec<u8>,
}

/// One code word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) category: u8,
    /// In the low `length` bits.
    pub(super) bits: u16,
    pub(super) length: u8,
}

impl Code {
    /// From how many words there are of each length, and the categories in that order.
    pub(super) const fn new(counts: [u8; LONGEST], categories: Vec<u8>) -> Self {
        Self { counts, categories }
    }

    /// A table from the wire.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn from_wire(counts: [u8; LONGEST], categories: &[u8]) -> Result<Self, &'static str> {
        let space: u32 = (0..).zip(&counts).map(|(shorter, &count)| u32::from(count) << (15 - shorter)).sum();
        if space > 1 << LONGEST {
            return Err("it has more codes than fit their lengths");
        }
        if categories.iter().any(|&category| usize::from(category) >= CATEGORIES) {
            return Err("it has a category above 16");
        }
        Ok(Self { counts, categories: categories.to_vec() })
    }

    pub(super) const fn counts(&self) -> &[u8; LONGEST] {
        &self.counts
    }

    pub(super) fn categories(&self) -> &[u8] {
        &self.categories
    }

    /// The code words, shortest first (C.2).
    pub(super) fn words(&self) -> impl Iterator<Item = Word> + '_ {
        let lengths = (1_u8..).zip(&self.counts).flat_map(|(length, &count)| (0..count).map(move |_| length));
        let mut next = 0_u32;
        let mut before = 1;
        self.categories.iter().zip(lengths).map(move |(&category, length)| {
            next <<= length - before;
            before = length;
            let bits = next as u16;
            next += 1;
            Word { category, bits, length }
        })
    }
}
