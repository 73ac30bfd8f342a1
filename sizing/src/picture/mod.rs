//! Pictures as an ultrasound machine shows them: a speckled sector with organs that move, flow in colour, strips over time, and
//! the marks and texts of the screen around it.
//!
//! A picture is made as a machine makes it: echoes along scan lines (`echoes`) of an anatomy (`anatomy`), a grid that is
//! then brought into the shape of the probe's field of view (`probe`), under the texts of the screen (`overlay`). All of it
//! is additions, products, quotients and square roots, which IEEE 754 rounds the same everywhere, so that a seed gives the
//! same bytes on every machine.

mod anatomy;
mod canvas;
mod echoes;
mod flow;
mod font;
mod overlay;
mod probe;
mod screen;
mod strip;
#[cfg(test)]
mod tests;

use canvas::Canvas;
use echoes::Echoes;
use probe::ScanConverter;
use screen::Layout;

pub use screen::{Region, RegionKind};

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Liver and gall bladder, through a convex probe.
    Liver,
    /// A kidney, through a convex probe.
    Kidney,
    /// A vessel in the neck, through a linear probe.
    Vessel,
    /// The same with its flow in colour.
    VesselFlow,
    /// The four chambers of a heart, through a phased probe.
    Heart,
    /// The same with its flow in colour.
    HeartFlow,
    /// A heart and below it one line of sight over time.
    MMode,
    /// A vessel with its flow in colour, and below it the velocities over time.
    Spectral,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Liver,
        Self::Kidney,
        Self::Vessel,
        Self::VesselFlow,
        Self::Heart,
        Self::HeartFlow,
        Self::MMode,
        Self::Spectral,
    ];

    /// Whether some pixels have colours that mean flow.
    #[must_use]
    pub const fn shows_flow(self) -> bool {
        matches!(self, Self::VesselFlow | Self::HeartFlow | Self::Spectral)
    }
}

/// A synthetic picture, or a loop of one heartbeat; equal pictures give equal pixels on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Selects the speckle and moves the anatomy a little.
    pub seed: u64,
    /// Height of a frame in pixels.
    pub rows: u16,
    /// Width of a frame in pixels.
    pub columns: u16,
    /// Frames of a heartbeat, after which the pixels repeat; at least 1.
    pub period: u32,
    /// What is to be seen.
    pub view: View,
}

impl Picture {
    /// Bytes of a frame: RGB, 8 bits a sample, samples of a pixel side by side.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.rows as usize * self.columns as usize * 3
    }

    /// Prepares what all frames share.
    #[must_use]
    pub fn painter(&self) -> PicturePainter {
        PicturePainter::new(*self)
    }

    /// The calibrated areas of the screen (PS3.3 C.8.5.5), the B-mode first.
    #[must_use]
    pub fn regions(&self) -> Vec<Region> {
        Layout::of(self).regions(self.view)
    }
}

/// Paints the frames of one [`Picture`].
pub struct PicturePainter {
    picture: Picture,
    layout: Layout,
    echoes: Echoes,
    converter: ScanConverter,
}

impl PicturePainter {
    fn new(picture: Picture) -> Self {
        let layout = Layout::of(&picture);
        let echoes = Echoes::new(&picture, &layout);
        let converter = ScanConverter::new(&layout, echoes.grid());
        Self { picture, layout, echoes, converter }
    }

    /// Frame `n`, counted from 0, as RGB.
    #[must_use]
    pub fn frame(&self, n: u32) -> Vec<u8> {
        let phase = (n % self.picture.period.max(1)) as f32 / self.picture.period.max(1) as f32;
        let mut canvas = Canvas::new(usize::from(self.picture.rows), usize::from(self.picture.columns));
        let scan = self.echoes.scan(phase, n % self.picture.period.max(1));
        self.converter.convert(&scan, &mut canvas);
        strip::draw(&self.picture, &self.layout, &self.echoes, &mut canvas);
        overlay::draw(&self.picture, &self.layout, phase, &mut canvas);
        canvas.into_bytes()
    }
}
