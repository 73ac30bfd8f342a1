//! Cutting bytes at boundaries that the input chooses.

/// Lengths of pieces, from a seed: now and then long ones, mostly short ones, all of one byte for the seed 1.
#[derive(Debug, Clone)]
pub struct Lengths(u32);

impl Lengths {
    /// Those of a seed. The seed 0 cuts nothing.
    pub fn new(seed: u8) -> Self {
        Self(u32::from(seed))
    }

    /// The next length, at least 1.
    pub fn next_length(&mut self) -> usize {
        match self.0 {
            0 => usize::MAX,
            1 => 1,
            state => {
                // Numerical Recipes' generator: cheap, and any will do.
                let next = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223).max(2);
                self.0 = next;
                let length = (next >> 16) as usize;
                if next >> 30 == 0 { 1 + length % 4096 } else { 1 + length % 24 }
            }
        }
    }
}

/// The bytes in pieces.
pub fn cut(mut bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut lengths = Lengths::new(seed);
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(lengths.next_length()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
