//! Frames to test with.

use chrysalis_codecs::{Depth, FrameLayout, Order, Samples};
use proptest::prelude::*;

/// A native frame.
#[derive(Clone)]
pub(crate) struct Native {
    pub(crate) layout: FrameLayout,
    pub(crate) precision: u8,
    pub(crate) pixels: Vec<u8>,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let samples = self.samples();
        let beginning = &samples[..samples.len().min(100)];
        write!(f, "{:?} of {} bits, {beginning:?}", self.layout, self.precision)
    }
}

impl Native {
    pub(crate) fn new(layout: FrameLayout, precision: u8, samples: &[u16]) -> Self {
        let pixels = match layout.depth {
            Depth::Eight => samples.iter().map(|sample| *sample as u8).collect(),
            Depth::Sixteen => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
        };
        Self { layout, precision, pixels }
    }

    pub(crate) fn samples(&self) -> Vec<u16> {
        match self.layout.depth {
            Depth::Eight => self.pixels.iter().map(|byte| u16::from(*byte)).collect(),
            Depth::Sixteen => {
                self.pixels.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
            }
        }
    }

    /// The pixels with the samples of a pixel side by side.
    pub(crate) fn by_pixel(&self) -> Vec<u8> {
        if self.layout.order == Order::ByPixel || self.layout.samples == Samples::One {
            return self.pixels.clone();
        }
        let (samples, count) = (self.samples(), self.layout.pixels() as usize);
        let turned: Vec<u16> = (0..count * 3).map(|n| samples[n % 3 * count + n / 3]).collect();
        Self::new(self.layout, self.precision, &turned).pixels
    }
}

pub(crate) fn layout(rows: u16, columns: u16, samples: Samples, precision: u8) -> FrameLayout {
    let depth = if precision > 8 { Depth::Sixteen } else { Depth::Eight };
    FrameLayout { rows, columns, samples, depth, order: Order::ByPixel }
}

/// Frames of all precisions, layouts and tempers, most of them small.
pub(crate) fn frames() -> impl Strategy<Value = Native> {
    let size = prop_oneof![3 => (1_u16..6, 1_u16..40), 1 => (1_u16..5, 250_u16..300), 1 => Just((130, 131))];
    let shape = (size, 2_u8..=16, any::<bool>(), any::<bool>());
    (shape, 0_u8..4, any::<u64>()).prop_map(|(((rows, columns), precision, colour, planar), temper, seed)| {
        let samples = if colour { Samples::Three } else { Samples::One };
        let order = if planar { Order::ByPlane } else { Order::ByPixel };
        let layout = FrameLayout { order, ..layout(rows, columns, samples, precision) };
        let count = layout.pixels() as usize * if colour { 3 } else { 1 };
        Native::new(layout, precision, &temperament(temper, seed, precision, count))
    })
}

/// Samples that are random, smooth, at the extremes, or mostly empty.
fn temperament(temper: u8, seed: u64, precision: u8, count: usize) -> Vec<u16> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u16
    };
    let top = u16::MAX >> (16 - precision);
    let mut level = top / 2;
    let mut sample = || match temper {
        0 => random() & top,
        1 => {
            level = level.saturating_add(random() % 7).saturating_sub(3).min(top);
            level
        }
        2 => [0, top, top / 2 + 1][usize::from(random() % 3)],
        _ => {
            if random() % 20 == 0 {
                random() & top
            } else {
                0
            }
        }
    };
    (0..count).map(|_| sample()).collect()
}
