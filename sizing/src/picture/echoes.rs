//! Echoes along lines of sight: an anatomy under speckle.

use super::anatomy::{self, Shape};
use super::flow::{self, Window};
use super::probe::{Beam, Grid, Point, Probe, Scan};
use super::screen::Layout;
use super::{Picture, View};
use crate::speckle::Speckle;

/// What all moments of a picture share.
pub(super) struct Echoes {
    view: View,
    grid: Grid,
    speckle: Speckle,
    cells: Vec<Cell>,
    aside: f32,
    probe: Probe,
}

/// A sample of a line of sight.
struct Cell {
    point: Point,
    along: f32,
    /// Levels of grey that depth, and unevenness of tissue and contact, add or take.
    level: f32,
    in_window: bool,
}

impl Echoes {
    pub(super) fn new(picture: &Picture, layout: &Layout) -> Self {
        let deep = layout.pixels_of_depth();
        let samples = ((deep * 0.9) as usize).clamp(8, 1024);
        let grid = Grid { lines: (samples * 2 / 3).clamp(8, 512), samples };
        let log2_side = samples.next_power_of_two().ilog2().clamp(6, 10);
        let speckle = Speckle::with_grain(picture.seed, log2_side, LATERAL, AXIAL);
        let window = Window::of(picture.view);
        let aside = ((picture.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as f32 / 255.0 - 0.5) * 0.04;
        let mut echoes =
            Self { view: picture.view, grid, speckle, cells: Vec::new(), aside, probe: layout.probe };
        echoes.cells.reserve_exact(grid.lines * grid.samples);
        for sample in 0..grid.samples {
            for line in 0..grid.lines {
                let beam = grid.beam(line, sample);
                let cell = Cell {
                    point: layout.probe.point(beam),
                    along: beam.along,
                    level: 8.0 - 46.0 * beam.along * beam.along + echoes.mottle(line, sample),
                    in_window: window.is_some_and(|window| window.contains(beam)),
                };
                echoes.cells.push(cell);
            }
        }
        echoes
    }

    pub(super) const fn grid(&self) -> Grid {
        self.grid
    }

    /// The echoes of frame `n`, which is this moment of a beat.
    pub(super) fn scan(&self, phase: f32, n: u32) -> Scan {
        let shapes = anatomy::shapes(self.view, phase, self.aside);
        let shows_flow = self.view.shows_flow();
        let mut echoes = Vec::with_capacity(self.cells.len());
        let mut field = Vec::with_capacity(if shows_flow { self.cells.len() } else { 0 });
        let stir = self.stir(phase);
        let lines = self.cells.chunks_exact(self.grid.lines);
        for (sample, cells) in lines.enumerate() {
            for (line, cell) in cells.iter().enumerate() {
                let found = anatomy::find(&shapes, cell.point, cell.along);
                let grain = match found.blood {
                    Some(_) => self.grain(line + n as usize * 37, sample + n as usize * 101),
                    None => self.grain(line, sample + stir),
                };
                // The receiver's own noise, louder where echoes were amplified more.
                let noise = self.grain(line + n as usize * 71, sample * 3 + n as usize * 29) - 110.0;
                echoes.push(level(grain, found.echo + cell.level + noise * cell.along * 0.06));
                if shows_flow {
                    let uneven = 0.8 + self.grain(line + 91, sample + n as usize * 53) / 400.0;
                    let flow = found.blood.filter(|_| cell.in_window).map_or(0.0, |speed| speed * uneven);
                    field.push(flow::quantized(flow));
                }
            }
        }
        Scan { echoes, flow: shows_flow.then_some(field) }
    }

    /// The echoes of one line of sight straight down, at this moment, with `high` samples: for a strip over time. `column`
    /// counts moments.
    pub(super) fn line(
        &self,
        across: f32,
        phase: f32,
        column: usize,
        high: usize,
    ) -> impl Iterator<Item = u8> + '_ {
        let shapes: Vec<Shape> = anatomy::shapes(self.view, phase, self.aside);
        let stir = self.stir(phase);
        (0..high).map(move |y| {
            let beam = Beam { across, along: y as f32 / high as f32 };
            let found = anatomy::find(&shapes, self.probe.point(beam), beam.along);
            let sample = y * self.grid.samples / high.max(1) + stir;
            let blood = usize::from(found.blood.is_some());
            let grain = self.grain(column * (1 + blood), sample);
            let noise = self.grain(column * 5, sample * 3) - 110.0;
            level(grain, found.echo + 6.0 - 40.0 * beam.along * beam.along + noise * 0.08)
        })
    }

    /// A grain of the speckle, for strips of other kinds.
    pub(super) fn grain(&self, line: usize, sample: usize) -> f32 {
        let side = self.speckle.side();
        f32::from(self.speckle.grains()[(sample * side + line) & self.speckle.mask()])
    }

    /// Samples by which tissue has moved down.
    fn stir(&self, phase: f32) -> usize {
        let most = if self.view == View::Heart || self.view == View::HeartFlow { 0.03 } else { 0.01 };
        (anatomy::contraction(phase) * most * self.grid.samples as f32) as usize
    }

    /// Slow unevenness: the speckle's own grains, stretched, and lines of sight with better and worse contact.
    fn mottle(&self, line: usize, sample: usize) -> f32 {
        let stretched = |across: usize, down: usize, stretch: usize| {
            let (x, y) = (across / stretch, down / stretch);
            let (right, below) = ((across % stretch) as f32, (down % stretch) as f32);
            let stretch = stretch as f32;
            let mix =
                |y: usize| (self.grain(x, y) * (stretch - right) + self.grain(x + 1, y) * right) / stretch;
            (mix(y) * (stretch - below) + mix(y + 1) * below) / stretch - 100.0
        };
        stretched(line + 500, sample, 9) * 0.16 + stretched(line, 40, 5) * 0.12
    }
}

impl Grid {
    fn beam(&self, line: usize, sample: usize) -> Beam {
        Beam {
            across: line as f32 / (self.lines - 1) as f32 * 2.0 - 1.0,
            along: sample as f32 / (self.samples - 1) as f32,
        }
    }
}

/// The grey of a grain of speckle in tissue of this level. Compression is logarithmic, so that levels are added.
fn level(grain: f32, level: f32) -> u8 {
    (grain * 0.48 + 34.0 + level).clamp(0.0, 255.0) as u8
}

/// Samples that a grain is wide and long: a beam is wider than a pulse is long.
const LATERAL: usize = 7;
const AXIAL: usize = 5;
