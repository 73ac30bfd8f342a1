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
    scale: [[i16; 16]; 8],
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
            ((divisor / 2) as u16, factor as u16, 1_i16 << (16 - bits))
        };
        Self {
            half: each(|column, lane| of(column, lane).0),
            factor: each(|column, lane| of(column, lane).1),
            scale: each(|column, lane| of(column, lane).2),
        }
    }
}

/// Sixteen lanes of eight columns.
fn each<T>(of: impl Fn(usize, usize) -> T) -> [[T; 16]; 8] {
    std::array::from_fn(|column| std::array::from_fn(|lane| of(column, lane)))
}

/// The quantized coefficients of two blocks.
pub(super) struct Quantized {
    /// By columns of the block: row `r` of the first block is lane `r`, of the second lane `8 + r`.
    values: Pair,
    /// For each block, a bit for each coefficient that is not zero, in the order in which they are coded.
    pub(super) present: [u64; 2],
}

impl Quantized {
    /// Transforms and quantizes.
    #[inline(always)]
    pub(super) fn of(samples: &Pair, divisors: &Divisors) -> Self {
        let [[first, ..], ..] = *samples;
        let different = samples.iter().flatten().fold(0, |bits, sample| bits | (sample ^ first));
        if different == 0 {
            return Self::flat(first, divisors);
        }
        let columns = pass::<true>(samples);
        let coefficients = pass::<false>(&transpose(&columns));
        let values = quantize(&coefficients, divisors);
        Self { present: present(&values), values }
    }

    /// The same for samples that are all alike, as most of an ultrasound image is in colour, and much of it in luma.
    #[inline(always)]
    fn flat(sample: i16, divisors: &Divisors) -> Self {
        let first = |of: &[[u16; 16]; 8]| i32::from(of.as_flattened().first().copied().unwrap_or(0));
        let size = i32::from(sample.unsigned_abs()) * 64 + first(&divisors.half);
        let scale = i32::from(divisors.scale.as_flattened().first().copied().unwrap_or(0));
        let size = (((size * first(&divisors.factor)) >> 16) * scale) >> 16;
        let value = size as i16 * sample.signum();
        let mut values = [[0; 16]; 8];
        let [[one, .., other, _, _, _, _, _, _, _], ..] = &mut values;
        (*one, *other) = (value, value);
        Self { values, present: [u64::from(value != 0); 2] }
    }

    /// Coefficient number `index`, in the order in which they are coded, of the block in lanes `8 * block` on.
    #[inline(always)]
    pub(super) fn value(&self, block: usize, index: usize) -> i16 {
        let place = usize::from(PLACES.get(index & 63).copied().unwrap_or(0)) + block * 8;
        self.values.as_flattened().get(place & 127).copied().unwrap_or(0)
    }
}

/// See [`Quantized::present`].
#[inline(always)]
fn present(values: &Pair) -> [u64; 2] {
    // By row of a block, a bit for each column.
    let mut rows = [0_u16; 16];
    for (bit, column) in (0..).zip(values) {
        let lanes = rows.iter_mut().zip(column);
        lanes.for_each(|(row, value)| *row |= u16::from(*value != 0) << bit);
    }
    let rows = rows.map(|row| row as u8);
    let mut present = [0; 2];
    for (present, rows) in present.iter_mut().zip(rows.as_chunks::<8>().0) {
        let bits = rows.iter().zip(&SPREAD).map(|(row, bits)| bits.get(usize::from(*row)));
        *present = bits.flatten().fold(0, |all, bits| all | bits);
    }
    present
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

/// By row and by the flags of its columns: the bits of [`present`].
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static SPREAD: [[u64; 256]; 8] = {
    let mut spread = [[0; 256]; 8];
    let mut index = 0;
    while index < 64 {
        let (row, column) = ((ZIGZAG[index] / 8) as usize, ZIGZAG[index] % 8);
        let mut flags = 0;
        while flags < 256 {
            if flags >> column & 1 == 1 {
                spread[row][flags] |= 1 << index;
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
            let size = (u32::from(size) * u32::from(divisors.factor[column][lane])) >> 16;
            // Signed, because two unsigned ones in a row are not seen to be what vector instructions can do.
            let size = i32::from(size as i16) * i32::from(divisors.scale[column][lane]);
            out[column][lane] = ((size >> 16) as i16 ^ sign) - sign;
        }
    }
    out
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
            let bit = found.present[block] >> index & 1;
            assert_eq!(bit == 1, found.value(block, index) != 0);
        }
    }

    #[test]
    fn blocks_of_one_shade_are_the_same_by_the_short_way() {
        let divisors = Divisors::new(&std::array::from_fn(|index| 3 + index as u8));
        for sample in -128..=127 {
            let samples = [[sample; 16]; 8];
            let long = quantize(&pass::<false>(&transpose(&pass::<true>(&samples))), &divisors);
            let found = Quantized::of(&samples, &divisors);
            assert_eq!((found.values, found.present), (long, present(&long)));
        }
    }

    #[test]
    fn the_extremes_fit() {
        for (value, dc) in [(-128_i16, -1024), (127, 1016)] {
            let found = Quantized::of(&[[value; 16]; 8], &Divisors::new(&[1; 64]));
            assert_eq!((found.value(0, 0), found.value(1, 0)), (dc, dc));
            assert_eq!(found.present, [1, 1]);
        }
    }
}
