//! From samples to quantized coefficients: the forward transform in integers, of two blocks at once.
//!
//! The blocks lie side by side in rows of 16 samples, and every step does the same to all 16 lanes, so that the compiler
//! makes vector instructions of it.

use super::tables::ZIGZAG;

/// Two blocks side by side, by rows; samples have their level shifted to -128..=127.
pub(super) type Pair = [[i16; 16]; 8];

/// How the coefficients of a component are divided: rounded to the nearest, by multiplication.
pub(super) struct Divisors {
    /// Half of the divisor, the factor, and the second factor (a power of two), each for both blocks and in the order
    /// in which [`Pair`]s come out of the transform.
    half: [[u16; 16]; 8],
    factor: [[u16; 16]; 8],
    scale: [[u16; 16]; 8],
}

impl Divisors {
    /// For a quantization table by rows, its steps 1 to 255.
    pub(super) fn new(steps: &[u8; 64]) -> Self {
        let of = |column: usize, lane: usize| {
            let step = steps.get(lane % 8 * 8 + column).copied().unwrap_or(1);
            // The transform leaves its results 8 times too large.
            let divisor = 8 * u32::from(step.max(1));
            // A factor of 16 bits with its highest bit set makes the division exact for all numbers below 2^14.
            let bits = (divisor - 1).ilog2();
            let factor = (1_u32 << (16 + bits)).div_ceil(divisor);
            ((divisor / 2) as u16, factor as u16, 1_u16 << (16 - bits))
        };
        let all = |pick: fn((u16, u16, u16)) -> u16| {
            std::array::from_fn(|column| std::array::from_fn(|lane| pick(of(column, lane))))
        };
        Self { half: all(|it| it.0), factor: all(|it| it.1), scale: all(|it| it.2) }
    }
}

/// The quantized coefficients of two blocks.
pub(super) struct Quantized {
    /// By columns of the block: row `r` of the first block is lane `r`, of the second lane `8 + r`.
    values: Pair,
}

impl Quantized {
    /// Transforms and quantizes.
    #[inline(always)]
    pub(super) fn of(samples: &Pair, divisors: &Divisors) -> Self {
        let columns = pass::<true>(samples);
        let coefficients = pass::<false>(&transpose(&columns));
        Self { values: quantize(&coefficients, divisors) }
    }

    /// Coefficient number `index`, in the order in which they are coded, of the block in lanes `8 * block` on.
    #[inline(always)]
    pub(super) fn value(&self, block: usize, index: usize) -> i16 {
        let place = usize::from(PLACES.get(index & 63).copied().unwrap_or(0)) + block * 8;
        self.values.as_flattened().get(place & 127).copied().unwrap_or(0)
    }

    /// For each block, a bit for each coefficient that is not zero, in the order in which they are coded.
    #[inline(always)]
    pub(super) fn present(&self) -> [u64; 2] {
        let mut present = [0; 2];
        for (column, table) in self.values.iter().zip(&SPREAD) {
            let flags = column.map(|value| u8::from(value != 0));
            for (present, flags) in present.iter_mut().zip(flags.as_chunks::<8>().0) {
                // Gathers the lowest bits of eight bytes in the highest byte, the first one lowest.
                let byte = u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56;
                *present |= table.get(byte as usize).copied().unwrap_or(0);
            }
        }
        present
    }
}

/// Where a coefficient lies in the flattened [`Quantized::values`].
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const PLACES: [u8; 64] = {
    let mut places = [0; 64];
    let mut index = 0;
    while index < 64 {
        let (row, column) = (ZIGZAG[index] / 8, ZIGZAG[index] % 8);
        places[index] = column * 16 + row;
        index += 1;
    }
    places
};

/// By column and by the flags of its rows: the bits of [`Quantized::present`].
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static SPREAD: [[u64; 256]; 8] = {
    let mut spread = [[0; 256]; 8];
    let mut index = 0;
    while index < 64 {
        let (row, column) = ((ZIGZAG[index] / 8) as usize, (ZIGZAG[index] % 8) as usize);
        let mut flags = 0;
        while flags < 256 {
            if flags >> row & 1 == 1 {
                spread[column][flags] |= 1 << index;
            }
            flags += 1;
        }
        index += 1;
    }
    spread
};

/// Fractional bits of the constants, and bits kept between the passes.
const FRACTION: u32 = 13;
const BETWEEN: u32 = 2;

/// The transform of 16 columns side by side (Loeffler, Ligtenberg and Moschytz, ICASSP 1989).
#[expect(clippy::indexing_slicing, reason = "the lanes of eight arrays of sixteen")]
#[inline(always)]
fn pass<const FIRST: bool>(rows: &Pair) -> Pair {
    let mut out = [[0; 16]; 8];
    let shift = if FIRST { FRACTION - BETWEEN } else { FRACTION + BETWEEN };
    let half = 1_i32 << (shift - 1);
    for lane in 0..16 {
        let [x0, x1, x2, x3, x4, x5, x6, x7] = [
            rows[0][lane],
            rows[1][lane],
            rows[2][lane],
            rows[3][lane],
            rows[4][lane],
            rows[5][lane],
            rows[6][lane],
            rows[7][lane],
        ];
        let (s0, s1, s2, s3) = (x0 + x7, x1 + x6, x2 + x5, x3 + x4);
        let (d0, d1, d2, d3) = (x0 - x7, x1 - x6, x2 - x5, x3 - x4);

        let (a, b, c, d) = (s0 + s3, s1 + s2, s1 - s2, s0 - s3);
        let sides = |value: i16| if FIRST { value << BETWEEN } else { (value + 2) >> BETWEEN };
        out[0][lane] = sides(a + b);
        out[4][lane] = sides(a - b);
        let (c, d) = (i32::from(c), i32::from(d));
        out[2][lane] = ((d * (4433 + 6270) + c * 4433 + half) >> shift) as i16;
        out[6][lane] = ((d * 4433 + c * (4433 - 15137) + half) >> shift) as i16;

        let (z3, z4) = (i32::from(d3 + d1), i32::from(d2 + d0));
        let (d0, d1, d2, d3) = (i32::from(d0), i32::from(d1), i32::from(d2), i32::from(d3));
        let (z3, z4) = (z3 * (9633 - 16069) + z4 * 9633, z3 * 9633 + z4 * (9633 - 3196));
        out[7][lane] = ((d3 * (2446 - 7373) - d0 * 7373 + z3 + half) >> shift) as i16;
        out[5][lane] = ((d2 * (16819 - 20995) - d1 * 20995 + z4 + half) >> shift) as i16;
        out[3][lane] = ((d1 * (25172 - 20995) - d2 * 20995 + z3 + half) >> shift) as i16;
        out[1][lane] = ((d0 * (12299 - 7373) - d3 * 7373 + z4 + half) >> shift) as i16;
    }
    out
}

/// Each block for itself.
#[expect(clippy::indexing_slicing, reason = "eight arrays of sixteen")]
#[inline(always)]
fn transpose(rows: &Pair) -> Pair {
    let mut out = [[0; 16]; 8];
    for row in 0..8 {
        for column in 0..8 {
            out[column][row] = rows[row][column];
            out[column][8 + row] = rows[row][8 + column];
        }
    }
    out
}

#[expect(clippy::indexing_slicing, reason = "the lanes of arrays of sixteen")]
#[inline(always)]
fn quantize(coefficients: &Pair, divisors: &Divisors) -> Pair {
    let mut out = [[0; 16]; 8];
    for column in 0..8 {
        for lane in 0..16 {
            let value = coefficients[column][lane];
            let sign = value >> 15;
            let size = value.unsigned_abs() + divisors.half[column][lane];
            let size = high(high(size, divisors.factor[column][lane]), divisors.scale[column][lane]);
            out[column][lane] = (size.cast_signed() ^ sign) - sign;
        }
    }
    out
}

/// The high half of a product.
#[inline(always)]
const fn high(a: u16, b: u16) -> u16 {
    ((a as u32 * b as u32) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::tables::natural;

    #[test]
    fn every_number_is_divided_exactly() {
        for step in 1..=255 {
            let divisors = Divisors::new(&[step; 64]);
            let divisor = 8 * i32::from(step);
            for value in (-9000_i16..=9000).step_by(7) {
                let size = (i32::from(value.unsigned_abs()) + divisor / 2) / divisor;
                let found = quantize(&[[value; 16]; 8], &divisors);
                assert_eq!(i32::from(found[3][5]), size * i32::from(value.signum()), "{value} by {divisor}");
            }
        }
    }

    /// The transform as the standard writes it (A.3.3).
    fn exact(samples: &Pair, block: usize, row: usize, column: usize) -> f64 {
        let scale = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos();
        let sum: f64 = (0..64)
            .map(|i| f64::from(samples[i / 8][block * 8 + i % 8]) * wave(i / 8, row) * wave(i % 8, column))
            .sum();
        sum * scale(row) * scale(column) / 4.0
    }

    #[test]
    fn the_coefficients_are_those_of_the_exact_transform() {
        let mut state = 1_u32;
        let samples: Pair = std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                i16::from((state >> 24) as u8) - 128
            })
        });
        let found = Quantized::of(&samples, &Divisors::new(&[1; 64]));
        for (block, index) in (0..2).flat_map(|block| (0..64).map(move |index| (block, index))) {
            let place = natural(index);
            let exact = exact(&samples, block, place / 8, place % 8);
            assert!((f64::from(found.value(block, index)) - exact).abs() < 0.75, "{block} {index}");
            let bit = found.present()[block] >> index & 1;
            assert_eq!(bit == 1, found.value(block, index) != 0);
        }
    }

    #[test]
    fn the_extremes_fit() {
        for (value, dc) in [(-128_i16, -1024), (127, 1016)] {
            let found = Quantized::of(&[[value; 16]; 8], &Divisors::new(&[1; 64]));
            assert_eq!((found.value(0, 0), found.value(1, 0)), (dc, dc));
            assert_eq!(found.present(), [1, 1]);
        }
    }
}
