//! Probes: the shape of a field of view, and how a grid of echoes is brought into it.

use super::canvas::Canvas;
use super::flow;
use super::screen::Layout;

/// A field of view. Lengths are in depths of the image; lines of sight meet above the skin, if they do not run in parallel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Probe {
    /// Lines fan out from `above` the skin, at most as steep as `slope` across for one down.
    Fan { above: f32, slope: f32 },
    /// Lines run down in parallel within `half` of the middle.
    Parallel { half: f32 },
}

/// A place in the body: across from the middle, and down from the skin, in depths of the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

/// A place among the echoes: across from -1 to 1, along a line of sight from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beam {
    pub(super) across: f32,
    pub(super) along: f32,
}

/// How many echoes there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) lines: usize,
    pub(super) samples: usize,
}

impl Probe {
    pub(super) const CONVEX: Self = Self::Fan { above: 0.38, slope: 0.66 };
    pub(super) const PHASED: Self = Self::Fan { above: 0.02, slope: 0.92 };
    pub(super) const LINEAR: Self = Self::Parallel { half: 0.55 };

    /// The widest part of the field of view.
    pub(super) fn width(&self) -> f32 {
        match *self {
            Self::Fan { above, slope } => 2.0 * (1.0 + above) * slope / (1.0 + slope * slope).sqrt(),
            Self::Parallel { half } => 2.0 * half,
        }
    }

    /// How far the outermost lines of sight begin above the middle one.
    pub(super) fn rise(&self) -> f32 {
        match *self {
            Self::Fan { above, slope } => above * (1.0 - 1.0 / (1.0 + slope * slope).sqrt()),
            Self::Parallel { .. } => 0.0,
        }
    }

    pub(super) fn point(&self, beam: Beam) -> Point {
        match *self {
            Self::Fan { above, slope } => {
                let slope = beam.across * slope;
                let down = 1.0 / (1.0 + slope * slope).sqrt();
                let reach = beam.along + above;
                Point { x: reach * slope * down, y: reach * down - above }
            }
            Self::Parallel { half } => Point { x: beam.across * half, y: beam.along },
        }
    }

    /// Where a point lies among the echoes, if it is in the field of view.
    pub(super) fn beam(&self, point: Point) -> Option<Beam> {
        let beam = match *self {
            Self::Fan { above, slope } => {
                let down = (point.y + above).max(1e-6);
                let across = point.x / down / slope;
                Beam { across, along: (point.x * point.x + down * down).sqrt() - above }
            }
            Self::Parallel { half } => Beam { across: point.x / half, along: point.y },
        };
        (beam.across.abs() <= 1.0 && (0.0..=1.0).contains(&beam.along)).then_some(beam)
    }
}

/// What was found along the lines of sight; samples of all lines at one depth lie side by side.
pub(super) struct Scan {
    /// Echoes, from black to white.
    pub(super) echoes: Vec<u8>,
    /// Flow towards the probe (positive) or away; nothing where none is shown.
    pub(super) flow: Option<Vec<i8>>,
}

/// For every pixel of the field of view, where its echo is in the grid.
pub(super) struct ScanConverter {
    lines: usize,
    rows: Vec<Span>,
    taps: Vec<Tap>,
}

/// The pixels of one row.
struct Span {
    y: usize,
    x: usize,
    length: usize,
}

/// The upper left of four neighbouring samples, and the weights of those right of it and below it, of 256.
struct Tap {
    at: u32,
    right: u8,
    below: u8,
}

impl ScanConverter {
    pub(super) fn new(layout: &Layout, grid: Grid) -> Self {
        let (area, scale) = (layout.image, layout.pixels_of_depth());
        let middle = area.x as f32 + area.width as f32 / 2.0;
        let (mut rows, mut taps) = (Vec::new(), Vec::new());
        for y in area.y..(area.y + area.height).min(layout.rows) {
            // The upper edge of a convex field of view is an arc, so that a row may be two spans.
            let mut span = Span { y, x: 0, length: 0 };
            for x in area.x..(area.x + area.width).min(layout.columns) {
                let down = (y as f32 + 0.5 - area.y as f32) / scale - layout.probe.rise();
                let point = Point { x: (x as f32 + 0.5 - middle) / scale, y: down };
                if let Some(beam) = layout.probe.beam(point) {
                    taps.push(Tap::new(beam, grid));
                    span.x = if span.length == 0 { x } else { span.x };
                    span.length += 1;
                } else if span.length > 0 {
                    rows.push(std::mem::replace(&mut span, Span { y, x: 0, length: 0 }));
                }
            }
            if span.length > 0 {
                rows.push(span);
            }
        }
        Self { lines: grid.lines, rows, taps }
    }

    /// Draws a scan.
    pub(super) fn convert(&self, scan: &Scan, canvas: &mut Canvas) {
        let mut taps = self.taps.as_slice();
        for span in &self.rows {
            let (here, rest) = taps.split_at(span.length);
            taps = rest;
            let pixels = canvas.row(span.y, span.x, span.length).chunks_exact_mut(3);
            match &scan.flow {
                None => pixels.zip(here).for_each(|(pixel, tap)| pixel.fill(self.echo(&scan.echoes, tap))),
                Some(field) => {
                    for (pixel, tap) in pixels.zip(here) {
                        let grey = self.echo(&scan.echoes, tap);
                        pixel.copy_from_slice(&flow::colour(grey, self.nearest(field, tap)));
                    }
                }
            }
        }
    }

    fn echo(&self, echoes: &[u8], tap: &Tap) -> u8 {
        let at = tap.at as usize;
        let (right, below) = (u32::from(tap.right), u32::from(tap.below));
        let mix = |at: usize| u32::from(echoes[at]) * (256 - right) + u32::from(echoes[at + 1]) * right;
        ((mix(at) * (256 - below) + mix(at + self.lines) * below + (1 << 15)) >> 16) as u8
    }

    fn nearest(&self, field: &[i8], tap: &Tap) -> i8 {
        let right = usize::from(tap.right >= 128);
        let below = if tap.below >= 128 { self.lines } else { 0 };
        field[tap.at as usize + right + below]
    }
}

impl Tap {
    fn new(beam: Beam, grid: Grid) -> Self {
        let across = (beam.across + 1.0) / 2.0 * (grid.lines - 1) as f32;
        let along = beam.along * (grid.samples - 1) as f32;
        let line = (across as usize).min(grid.lines - 2);
        let sample = (along as usize).min(grid.samples - 2);
        let part = |value: f32, whole: usize| ((value - whole as f32) * 256.0).clamp(0.0, 255.0) as u8;
        Self {
            at: (sample * grid.lines + line) as u32,
            right: part(across, line),
            below: part(along, sample),
        }
    }
}
