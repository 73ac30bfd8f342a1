//! The loops that everybody works on.

use chrysalis_sizing::{Colour, Scene};

/// A loop of frames of 8 bits.
pub struct Loop {
    /// What the table calls it.
    pub name: &'static str,
    /// Pixels in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Samples of a pixel.
    pub samples: usize,
    /// The frames, samples side by side.
    pub frames: Vec<Vec<u8>>,
}

impl Loop {
    /// Bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Vec::len).sum()
    }
}

/// B-mode loops of 12 frames of 800 by 600: grey, grey in RGB, with coloured marks, and with a Doppler box.
pub fn loops() -> Vec<Loop> {
    let kinds = [
        ("grey", Colour::Mono),
        ("grey as RGB", Colour::GreyRgb),
        ("RGB with marks", Colour::MarkedRgb),
        ("RGB with Doppler", Colour::Doppler),
    ];
    let painted = kinds.map(|(name, colour)| {
        let scene = Scene { seed: 7, rows: 600, columns: 800, frames: 12, colour };
        let frames = scene.painter().frames().collect();
        Loop { name, columns: 800, rows: 600, samples: scene.samples_per_pixel().into(), frames }
    });
    painted.into()
}
