//! Where things lie on the screen.

use super::probe::Probe;
use super::{Picture, View};

/// What a calibrated area shows (PS3.3 C.8.5.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionKind {
    /// Two dimensions of tissue; deltas are centimetres a pixel.
    BMode,
    /// The same with flow in colour.
    ColourFlow,
    /// A line of sight over time: seconds a pixel across, centimetres a pixel down.
    MMode,
    /// Velocities over time: seconds a pixel across, centimetres per second a pixel down.
    Spectral,
}

/// A calibrated area of the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// What it shows.
    pub kind: RegionKind,
    /// First and last column.
    pub columns: (u16, u16),
    /// First and last row.
    pub rows: (u16, u16),
    /// What a pixel is worth across and down.
    pub delta: (f64, f64),
    /// The row that is velocity 0, counted from the region's first; 0 for all others.
    pub reference_row: u16,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The areas of a picture's screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) probe: Probe,
    /// The field of view.
    pub(super) image: Area,
    /// The strip over time, if there is one.
    pub(super) strip: Option<Area>,
    /// Centimetres that the field of view is deep.
    pub(super) depth: f32,
    /// Pixels of a dot of the font.
    pub(super) dot: usize,
}

/// Seconds that a strip shows.
pub(super) const STRIP_SECONDS: f32 = 3.2;
/// Seconds of a heartbeat.
pub(super) const BEAT_SECONDS: f32 = 0.8;
/// The fastest flow that the scale of a spectral strip shows, in centimetres per second.
pub(super) const FASTEST: f32 = 120.0;
/// The part of a spectral strip that lies above velocity 0.
pub(super) const ABOVE: f32 = 0.75;

impl Layout {
    pub(super) fn of(picture: &Picture) -> Self {
        let (rows, columns) = (usize::from(picture.rows), usize::from(picture.columns));
        let (probe, depth) = match picture.view {
            View::Liver => (Probe::CONVEX, 16.0),
            View::Kidney => (Probe::CONVEX, 12.0),
            View::Vessel | View::VesselFlow | View::Spectral => (Probe::LINEAR, 4.0),
            View::Heart | View::HeartFlow | View::MMode => (Probe::PHASED, 15.0),
        };
        let dot = (rows / 330).max(1);
        let (top, bottom) = (dot * 22, dot * 24);
        let high = rows.saturating_sub(top + bottom).max(8);
        let with_strip = matches!(picture.view, View::MMode | View::Spectral);
        let image_high = if with_strip { high * 47 / 100 } else { high };
        let (left, right) = (columns * 6 / 100, columns * 6 / 100);
        let wide = columns.saturating_sub(left + right).max(8);
        let image = Area { x: left, y: top, width: wide, height: image_high };
        let strip = with_strip.then(|| Area { x: left, y: top + high / 2, width: wide, height: high / 2 });
        Self { rows, columns, probe, image, strip, depth, dot }
    }

    /// Pixels of the depth of the field of view.
    pub(super) fn pixels_of_depth(&self) -> f32 {
        let by_width = self.image.width as f32 / self.probe.width();
        (self.image.height as f32 / (1.0 + self.probe.rise())).min(by_width)
    }

    pub(super) fn regions(&self, view: View) -> Vec<Region> {
        let span = |from: usize, length: usize| (from as u16, (from + length).saturating_sub(1) as u16);
        let area = |area: &Area| (span(area.x, area.width), span(area.y, area.height));
        let (columns, rows) = area(&self.image);
        let per_pixel = f64::from(self.depth / self.pixels_of_depth());
        let kind = if view.shows_flow() { RegionKind::ColourFlow } else { RegionKind::BMode };
        let image = Region { kind, columns, rows, delta: (per_pixel, per_pixel), reference_row: 0 };
        let strip = self.strip.as_ref().map(|strip| {
            let (columns, rows) = area(strip);
            let seconds = f64::from(STRIP_SECONDS / strip.width as f32);
            let height = strip.height as f32;
            if view == View::MMode {
                let delta = (seconds, f64::from(self.depth / height));
                Region { kind: RegionKind::MMode, columns, rows, delta, reference_row: 0 }
            } else {
                let delta = (seconds, f64::from(FASTEST / (height * ABOVE)));
                let reference_row = (height * ABOVE) as u16;
                Region { kind: RegionKind::Spectral, columns, rows, delta, reference_row }
            }
        });
        std::iter::once(image).chain(strip).collect()
    }
}
