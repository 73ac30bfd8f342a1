//! Speckle: the grain of a B-mode image.
//!
//! Echoes of many scatterers add up to a complex Gaussian field, band-limited by the pulse and the beam; what is shown is
//! its compressed magnitude. Here the field is white noise under a box filter, and the compression is a fourth root of the
//! power. Only additions, products and square roots are used, which IEEE 754 rounds the same everywhere, so that a seed
//! gives the same bytes on every machine.

/// A square, wrapping texture whose side is a power of two.
pub(crate) struct Speckle {
    side: usize,
    grains: Vec<u8>,
}

impl Speckle {
    /// Makes the texture of `seed` with `2^log2_side` grains a side.
    pub(crate) fn new(seed: u64, log2_side: u32) -> Self {
        Self::with_grain(seed, log2_side, LATERAL, AXIAL)
    }

    /// The same with a grain of so many samples across and down.
    pub(crate) fn with_grain(seed: u64, log2_side: u32, lateral: usize, axial: usize) -> Self {
        let side = 1_usize << log2_side;
        let mut noise = Noise(seed);
        let smooth = |field: &[f32]| {
            let once = box_filter(field, side, 1, side, lateral);
            box_filter(&once, side, side, 1, axial)
        };
        let real = smooth(&noise.field(side));
        let imaginary = smooth(&noise.field(side));
        let power: Vec<f32> = real.iter().zip(&imaginary).map(|(a, b)| a * a + b * b).collect();
        let mean = power.iter().sum::<f32>() / power.len() as f32;
        let grains = power.iter().map(|p| ((p / mean).sqrt().sqrt() * 110.0).min(255.0) as u8).collect();
        Self { side, grains }
    }

    /// Grains, row after row; the length is a power of two, so that an index can be wrapped with [`Self::mask`].
    pub(crate) fn grains(&self) -> &[u8] {
        &self.grains
    }

    pub(crate) fn side(&self) -> usize {
        self.side
    }

    pub(crate) fn mask(&self) -> usize {
        self.grains.len() - 1
    }
}

/// Lateral and axial length of the box filter, in grains: a beam is wider than a pulse is long.
const LATERAL: usize = 7;
const AXIAL: usize = 5;

/// A running mean along lines of `side` samples that lie `step` apart, with wrap-around.
fn box_filter(field: &[f32], side: usize, step: usize, line_step: usize, length: usize) -> Vec<f32> {
    let mut out = vec![0.0; field.len()];
    for line in 0..side {
        let at = |i: usize| line * line_step + (i & (side - 1)) * step;
        for i in 0..side {
            out[at(i)] = (0..length).map(|k| field[at(i + k)]).sum();
        }
    }
    out
}

/// SplitMix64, which is enough for a texture and needs no dependency.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn field(&mut self, side: usize) -> Vec<f32> {
        // The filter adds up dozens of samples, so that a uniform distribution is as good as a Gaussian.
        (0..side * side).map(|_| (self.next() >> 40) as f32 / (1_u32 << 24) as f32 - 0.5).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_grains_and_another_seed_gives_others() {
        assert_eq!(Speckle::new(1, 6).grains(), Speckle::new(1, 6).grains());
        assert_ne!(Speckle::new(1, 6).grains(), Speckle::new(2, 6).grains());
    }

    #[test]
    fn speckle_uses_most_of_the_grey_scale() {
        let speckle = Speckle::new(3, 8);
        assert!(speckle.grains().iter().any(|&g| g < 40));
        assert!(speckle.grains().iter().any(|&g| g > 160));
    }
}
