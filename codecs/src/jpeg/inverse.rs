//! From coefficients to samples: the inverse transform in integers.
//!
//! This is the algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with 13 fractional bits, rounded where
//! libjpeg's accurate integer method rounds: other roundings are as true to the standard, but then a decoded image
//! would depend on who decoded it.

/// A block, by rows. Coefficients are dequantized.
pub(super) type Block = [[i32; 8]; 8];

/// The samples of a block, by rows.
pub(super) type Patch = [[u16; 8]; 8];

/// How samples of a precision are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inverse {
    precision: u8,
    /// Fractional bits kept between the two passes.
    between: u32,
}

impl Inverse {
    /// For samples of 8 or 12 bits.
    pub(super) const fn new(precision: u8) -> Self {
        Self { precision, between: if precision == 8 { 2 } else { 1 } }
    }

    /// The samples of a block.
    pub(super) fn block(self, block: &Block) -> Patch {
        let columns = pass(block, FRACTION - self.between);
        let rows = pass(&transpose(&columns), FRACTION + self.between + 3);
        transpose(&rows).map(|row| row.map(|value| self.limit(value)))
    }

    /// The samples of a block that has no coefficient but the first: all the same.
    pub(super) fn flat(self, dc: i32) -> Patch {
        let bits = self.between + 3;
        let value = (dc << self.between).wrapping_add(1 << (bits - 1)) >> bits;
        [[self.limit(value); 8]; 8]
    }

    /// Shifts the level (A.3.1) and clamps. As in libjpeg only two bits above the precision count, so that absurd
    /// coefficients come out as absurd in the same way.
    #[inline(always)]
    fn limit(self, value: i32) -> u16 {
        let precision = u32::from(self.precision);
        let unused = 30 - precision;
        let value = (value << unused) >> unused;
        (value + (1 << (precision - 1))).clamp(0, (1 << precision) - 1) as u16
    }
}

/// Fractional bits of the constants.
const FRACTION: u32 = 13;

/// The transform of eight columns side by side, rounded to `shift` bits less.
#[expect(clippy::indexing_slicing, reason = "the lanes of eight arrays of eight")]
#[inline(always)]
fn pass(block: &Block, shift: u32) -> Block {
    let mut out = [[0; 8]; 8];
    let half = 1 << (shift - 1);
    for lane in 0..8 {
        let [x0, x1, x2, x3, x4, x5, x6, x7] = block.map(|row| Wrapping(row[lane]));

        let z = (x2 + x6) * C_0_541196100;
        let (t2, t3) = (z - x6 * C_1_847759065, z + x2 * C_0_765366865);
        let (t0, t1) = ((x0 + x4) << FRACTION as usize, (x0 - x4) << FRACTION as usize);
        let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];

        let (z1, z2, z3, z4) = (x7 + x1, x5 + x3, x7 + x3, x5 + x1);
        let z5 = (z3 + z4) * C_1_175875602;
        let (z1, z2) = (z1 * C_0_899976223, z2 * C_2_562915447);
        let (z3, z4) = (z5 - z3 * C_1_961570560, z5 - z4 * C_0_390180644);
        let odd = [
            x1 * C_1_501321110 - z1 + z4,
            x3 * C_3_072711026 - z2 + z3,
            x5 * C_2_053119869 - z2 + z4,
            x7 * C_0_298631336 - z1 + z3,
        ];
        for index in 0..4 {
            out[index][lane] = (even[index] + odd[index] + Wrapping(half)).0 >> shift;
            out[7 - index][lane] = (even[index] - odd[index] + Wrapping(half)).0 >> shift;
        }
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "eight arrays of eight")]
#[inline(always)]
fn transpose(block: &Block) -> Block {
    let mut out = [[0; 8]; 8];
    for row in 0..8 {
        for column in 0..8 {
            out[column][row] = block[row][column];
        }
    }
    out
}

use std::num::Wrapping;

const C_0_298631336: Wrapping<i32> = Wrapping(2446);
const C_0_390180644: Wrapping<i32> = Wrapping(3196);
const C_0_541196100: Wrapping<i32> = Wrapping(4433);
const C_0_765366865: Wrapping<i32> = Wrapping(6270);
const C_0_899976223: Wrapping<i32> = Wrapping(7373);
const C_1_175875602: Wrapping<i32> = Wrapping(9633);
const C_1_501321110: Wrapping<i32> = Wrapping(12299);
const C_1_847759065: Wrapping<i32> = Wrapping(15137);
const C_1_961570560: Wrapping<i32> = Wrapping(16069);
const C_2_053119869: Wrapping<i32> = Wrapping(16819);
const C_2_562915447: Wrapping<i32> = Wrapping(20995);
const C_3_072711026: Wrapping<i32> = Wrapping(25172);

#[cfg(test)]
mod tests {
    use super::*;

    /// The transform as the standard writes it (A.3.3).
    fn exact(block: &Block) -> [[f64; 8]; 8] {
        let scale = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos();
        std::array::from_fn(|y| {
            std::array::from_fn(|x| {
                let terms = (0..64).map(|i| {
                    let (v, u) = (i / 8, i % 8);
                    scale(u) * scale(v) * f64::from(block[v][u]) * wave(x, u) * wave(y, v)
                });
                terms.sum::<f64>() / 4.0
            })
        })
    }

    fn some_block(seed: u32) -> Block {
        let mut state = seed;
        std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as i32 % 60 - 30
            })
        })
    }

    #[test]
    fn the_samples_are_within_one_of_the_exact_transform() {
        for (seed, precision) in [(1, 8_u8), (2, 8), (3, 12), (4, 12)] {
            let block = some_block(seed);
            let found = Inverse::new(precision).block(&block);
            let level = f64::from(1_u16 << (precision - 1));
            let top = f64::from((1_u16 << precision) - 1);
            for (row, exact) in found.iter().zip(exact(&block)) {
                for (value, exact) in row.iter().zip(exact) {
                    assert!((f64::from(*value) - (exact + level).clamp(0.0, top)).abs() < 1.0);
                }
            }
        }
    }

    #[test]
    fn a_block_of_one_coefficient_is_the_same_by_the_short_way() {
        for precision in [8, 12] {
            let inverse = Inverse::new(precision);
            for dc in -9000..9000 {
                let mut block = [[0; 8]; 8];
                block[0][0] = dc;
                assert_eq!(inverse.block(&block), inverse.flat(dc), "{dc} at {precision} bits");
            }
        }
    }

    #[test]
    fn the_largest_coefficients_do_not_overflow_into_a_panic() {
        for extreme in [i32::MAX, i32::MIN, 32_767 * 65_535, -32_768 * 65_535] {
            let _ = Inverse::new(8).block(&[[extreme; 8]; 8]);
            let _ = Inverse::new(12).flat(extreme);
        }
    }
}
