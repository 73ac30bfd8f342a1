//! B-mode images and loops: a speckled sector on black with a beating cavity, depth marks and a few overlay marks.

use crate::speckle::Speckle;

/// What the samples of a pixel are and which colours occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// One sample per pixel (MONOCHROME2).
    Mono,
    /// RGB in which every pixel has R = G = B.
    GreyRgb,
    /// RGB: a grey image under coloured marks, as nearly every cart sends its B-mode.
    MarkedRgb,
    /// RGB: as [`Colour::MarkedRgb`], with a colour Doppler box.
    Doppler,
}

/// A synthetic ultrasound image or loop; equal scenes give equal pixels on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// Selects the speckle.
    pub seed: u64,
    /// Height of a frame in pixels.
    pub rows: u16,
    /// Width of a frame in pixels.
    pub columns: u16,
    /// Frames in the loop; 1 is a still.
    pub frames: u32,
    /// Samples and colours.
    pub colour: Colour,
}

impl Scene {
    /// Samples per pixel: 1 or 3.
    #[must_use]
    pub const fn samples_per_pixel(&self) -> u16 {
        match self.colour {
            Colour::Mono => 1,
            Colour::GreyRgb | Colour::MarkedRgb | Colour::Doppler => 3,
        }
    }

    /// Bytes of a frame: 8 bits per sample, samples of a pixel side by side.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.rows as usize * self.columns as usize * self.samples_per_pixel() as usize
    }

    /// Prepares what all frames share, so that each frame costs little more than writing it.
    #[must_use]
    pub fn painter(&self) -> Painter {
        Painter::new(*self)
    }

    /// Frame `n`, counted from 0. For more than a frame or two, [`Scene::painter`] is much faster.
    #[must_use]
    pub fn frame(&self, n: u32) -> Vec<u8> {
        self.painter().frame(n)
    }
}

/// Paints the frames of one [`Scene`].
pub struct Painter {
    scene: Scene,
    speckle: Speckle,
    /// For each pixel: the grain shown there while nothing moves, and its gain (0 outside the sector).
    pixels: Vec<(u32, u8)>,
}

impl Painter {
    fn new(scene: Scene) -> Self {
        let larger = usize::from(scene.rows.max(scene.columns));
        let log2_side = larger.next_power_of_two().ilog2().clamp(6, 9);
        let speckle = Speckle::new(scene.seed, log2_side);
        let pixels = sector(&scene, &speckle);
        Self { scene, speckle, pixels }
    }

    /// The scene that is painted.
    #[must_use]
    pub const fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Frame `n`, counted from 0; the motion goes on beyond the end of the loop.
    #[must_use]
    pub fn frame(&self, n: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.scene.frame_len());
        self.paint_onto(n, &mut out);
        out
    }

    /// The frames of the loop, in order.
    pub fn frames(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..self.scene.frames).map(|n| self.frame(n))
    }

    /// Appends frame `n` to `out`: exactly [`Scene::frame_len`] bytes.
    pub fn paint_onto(&self, n: u32, out: &mut Vec<u8>) {
        let start = out.len();
        match self.scene.colour {
            Colour::Mono => self.tissue(n, |value, _| out.push(value)),
            Colour::GreyRgb | Colour::MarkedRgb => self.tissue(n, |v, _| out.extend_from_slice(&[v, v, v])),
            Colour::Doppler => self.tissue(n, |v, flow| out.extend_from_slice(&flow_colour(v, flow))),
        }
        let mut canvas = Canvas { scene: &self.scene, bytes: &mut out[start..] };
        canvas.marks(n);
    }

    /// Calls `put` for every pixel with its grey value and whether blood flows there.
    fn tissue(&self, n: u32, mut put: impl FnMut(u8, Option<u8>)) {
        let (grains, mask) = (self.speckle.grains(), self.speckle.mask());
        let cavity = Cavity::at(&self.scene, n);
        // Tissue moves down and back while the texture drifts aside: no two frames of a loop are equal.
        let shift = beat(n) as usize / 4 * self.speckle.side() + n as usize;
        let blood = n as usize * (self.speckle.side() * 3 + 5);
        for (y, line) in self.pixels.chunks_exact(usize::from(self.scene.columns).max(1)).enumerate() {
            let (from, to) = cavity.span(y);
            for (x, &(index, gain)) in line.iter().enumerate() {
                if gain == 0 {
                    put(0, None);
                    continue;
                }
                let index = index as usize;
                let value = ((u32::from(grains[(index + shift) & mask]) * u32::from(gain)) >> 8) as u8;
                if x >= from && x < to {
                    put(value >> 3, Some(grains[(index + blood) & mask]));
                } else {
                    put(value, None);
                }
            }
        }
    }
}

/// Where the sector lies, in relation to the frame.
const HALF_ANGLE_TANGENT: f32 = 0.75;

/// Maps every pixel to its grain and gain. Lines of sight fan out from a point above the frame.
fn sector(scene: &Scene, speckle: &Speckle) -> Vec<(u32, u8)> {
    let (rows, columns) = (f32::from(scene.rows), f32::from(scene.columns));
    let side = speckle.side() as f32;
    let apex = rows * 0.06;
    let (near, far) = (apex + rows * 0.05, apex + rows * 0.88);
    let mut pixels = Vec::with_capacity(usize::from(scene.rows) * usize::from(scene.columns));
    for y in 0..scene.rows {
        for x in 0..scene.columns {
            let depth = f32::from(y) + 0.5;
            let aside = f32::from(x) + 0.5 - columns / 2.0;
            let distance = (depth * depth + aside * aside).sqrt();
            if aside.abs() > depth * HALF_ANGLE_TANGENT || distance < near || distance > far {
                pixels.push((0, 0));
                continue;
            }
            let along = (distance - near) / (far - near);
            let across = (aside / depth / HALF_ANGLE_TANGENT + 1.0) / 2.0;
            let row = (along * (side - 1.0)) as u32;
            let column = (across * (side * 0.6 - 1.0)) as u32;
            // Three bands of tissue, darker with depth.
            let band = if (along * 7.0) as u32 % 3 == 1 { 60.0 } else { 0.0 };
            let gain = 235.0 - along * 110.0 - band;
            pixels.push((row * speckle.side() as u32 + column, gain as u8));
        }
    }
    pixels
}

/// A dark, beating ellipse: a heart chamber or a vessel.
struct Cavity {
    centre: (f32, f32),
    radii: (f32, f32),
}

impl Cavity {
    fn at(scene: &Scene, n: u32) -> Self {
        let (rows, columns) = (f32::from(scene.rows), f32::from(scene.columns));
        let size = 0.12 + beat(n) as f32 * 0.0006;
        Self { centre: (columns / 2.0, rows * 0.52), radii: (rows * size, rows * size * 1.3) }
    }

    /// The columns inside the ellipse on row `y`, from and to (exclusive).
    fn span(&self, y: usize) -> (usize, usize) {
        let down = (y as f32 + 0.5 - self.centre.1) / self.radii.1;
        let rest = 1.0 - down * down;
        if rest <= 0.0 {
            return (0, 0);
        }
        let half = self.radii.0 * rest.sqrt();
        ((self.centre.0 - half).max(0.0) as usize, (self.centre.0 + half) as usize)
    }
}

/// A triangle wave of 0 to 100 with a period of 40 frames.
const fn beat(n: u32) -> u32 {
    let phase = n % 40;
    (if phase < 20 { phase } else { 40 - phase }) * 5
}

/// Towards the probe is red, away is blue, slow flow is not shown.
fn flow_colour(value: u8, flow: Option<u8>) -> [u8; 3] {
    match flow {
        Some(speed @ 120..) => [speed, speed / 3, 0],
        Some(speed @ ..=90) => [0, speed, 255 - speed],
        Some(_) | None => [value, value, value],
    }
}

/// Draws the marks of the user interface over a frame.
struct Canvas<'a> {
    scene: &'a Scene,
    bytes: &'a mut [u8],
}

const WHITE: [u8; 3] = [255, 255, 255];
const YELLOW: [u8; 3] = [255, 220, 0];
const GREEN: [u8; 3] = [0, 220, 60];

impl Canvas<'_> {
    fn marks(&mut self, n: u32) {
        let (rows, columns) = (usize::from(self.scene.rows), usize::from(self.scene.columns));
        let thick = (rows / 300).max(1);
        for depth in 1..=9 {
            let tick = if depth == 5 { 6 } else { 3 } * thick;
            self.fill(depth * rows / 10, columns.saturating_sub(tick + 1), thick, tick, WHITE);
        }
        for y in rows / 4..rows / 2 {
            let grey = (255 - (y - rows / 4) * 255 / (rows / 4).max(1)) as u8;
            self.fill(y, 2, 1, columns / 50, [grey, grey, grey]);
        }
        let (arm, y, x) = (rows / 60 + 1, rows * 2 / 5, columns / 2);
        self.fill(y, x.saturating_sub(arm), thick, 2 * arm + 1, YELLOW);
        self.fill(y.saturating_sub(arm), x, 2 * arm + 1, thick, YELLOW);
        self.electrocardiogram(n, thick);
        self.doppler_box(thick);
    }

    /// A trace along the bottom whose bar shows which frame this is.
    fn electrocardiogram(&mut self, n: u32, thick: usize) {
        let (rows, columns) = (usize::from(self.scene.rows), usize::from(self.scene.columns));
        let base = rows * 19 / 20;
        for x in 0..columns {
            let spike = if x % (columns / 5).max(1) < thick * 2 { rows / 30 } else { 0 };
            self.fill(base.saturating_sub(spike), x, thick + spike, 1, GREEN);
        }
        let at = n as usize * columns / (self.scene.frames.max(1) as usize).max(1) % columns.max(1);
        self.fill(base.saturating_sub(rows / 30), at, rows / 20, thick, YELLOW);
    }

    fn doppler_box(&mut self, thick: usize) {
        if self.scene.colour != Colour::Doppler {
            return;
        }
        let (rows, columns) = (usize::from(self.scene.rows), usize::from(self.scene.columns));
        let (top, height, width) = (rows * 3 / 10, rows * 9 / 20, rows / 2);
        let left = (columns / 2).saturating_sub(width / 2);
        self.fill(top, left, thick, width, GREEN);
        self.fill(top + height, left, thick, width, GREEN);
        self.fill(top, left, height, thick, GREEN);
        self.fill(top, left + width, height, thick, GREEN);
    }

    /// Fills a rectangle, clipped to the frame. Without coloured marks, a colour is drawn as its grey.
    fn fill(&mut self, top: usize, left: usize, height: usize, width: usize, colour: [u8; 3]) {
        let (rows, columns) = (usize::from(self.scene.rows), usize::from(self.scene.columns));
        let samples = usize::from(self.scene.samples_per_pixel());
        let colour = match self.scene.colour {
            Colour::Mono | Colour::GreyRgb => [colour[1]; 3],
            Colour::MarkedRgb | Colour::Doppler => colour,
        };
        let (left, right) = (left.min(columns), (left + width).min(columns));
        for y in top.min(rows)..(top + height).min(rows) {
            let line = &mut self.bytes[(y * columns + left) * samples..(y * columns + right) * samples];
            for pixel in line.chunks_exact_mut(samples) {
                pixel.copy_from_slice(&colour[..samples]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(colour: Colour) -> Scene {
        Scene { seed: 11, rows: 480, columns: 640, frames: 60, colour }
    }

    /// Shannon entropy of the differences to the left neighbour, in bits per sample: what a JPEG Lossless encoder with
    /// predictor 1 comes close to.
    fn difference_entropy(scene: &Scene, frame: &[u8]) -> f64 {
        let samples = usize::from(scene.samples_per_pixel());
        let mut counts = [0_u32; 256];
        for line in frame.chunks_exact(usize::from(scene.columns) * samples) {
            for (left, right) in line.iter().zip(line.iter().skip(samples)) {
                counts[usize::from(right.wrapping_sub(*left))] += 1;
            }
        }
        let total = f64::from(counts.iter().sum::<u32>());
        counts.iter().filter(|&&c| c > 0).map(|&c| f64::from(c) / total).map(|p| -p * p.log2()).sum()
    }

    #[test]
    fn the_same_scene_gives_the_same_pixels_and_another_seed_others() {
        let first = scene(Colour::MarkedRgb);
        assert_eq!(first.frame(3), scene(Colour::MarkedRgb).painter().frame(3));
        assert_ne!(first.frame(3), Scene { seed: 12, ..first }.frame(3));
    }

    #[test]
    fn the_pixels_of_a_seed_never_change_between_releases() {
        let small = Scene { seed: 1, rows: 64, columns: 64, frames: 1, colour: Colour::Mono };
        let sum: u64 = small.frame(0).iter().zip(1_u64..).map(|(&v, i)| u64::from(v) * i).sum();
        assert_eq!(sum, 361_522_807);
    }

    #[test]
    fn every_frame_of_a_loop_is_different() {
        let painter = scene(Colour::Mono).painter();
        let frames: std::collections::HashSet<_> = painter.frames().collect();
        assert_eq!(frames.len(), 60);
    }

    #[test]
    fn frames_have_the_length_that_was_promised_at_any_size() {
        for colour in [Colour::Mono, Colour::GreyRgb, Colour::MarkedRgb, Colour::Doppler] {
            for (rows, columns) in [(1, 1), (3, 5), (17, 200), (200, 17), (64, 64)] {
                let scene = Scene { seed: 0, rows, columns, frames: 2, colour };
                assert_eq!(scene.frame(1).len(), scene.frame_len());
            }
        }
    }

    #[test]
    fn the_sector_is_bright_and_the_corners_are_black() {
        let scene = scene(Colour::Mono);
        let frame = scene.frame(0);
        let at = |y: usize, x: usize| frame[y * 640 + x];
        assert!((0..20).all(|y| (0..60).all(|x| at(y, x) == 0)), "the upper left corner is black");
        assert!((0..20).all(|y| (560..630).all(|x| at(y, x) == 0)), "the upper right corner is black");
        let tissue: u32 =
            (120..140).flat_map(|y| (300..340).map(move |x| (y, x))).map(|(y, x)| u32::from(at(y, x))).sum();
        assert!(tissue / 800 > 40, "there is tissue in the middle");
    }

    #[test]
    fn grey_rgb_has_three_equal_samples_in_every_pixel_of_every_frame() {
        let painter = scene(Colour::GreyRgb).painter();
        assert!(painter.frames().all(|frame| frame.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2])));
    }

    fn chroma(pixel: &[u8]) -> u8 {
        pixel.iter().max().unwrap() - pixel.iter().min().unwrap()
    }

    #[test]
    fn marks_colour_about_one_percent_of_the_pixels_and_doppler_more() {
        let coloured = |colour| {
            let frame = scene(colour).frame(5);
            frame.chunks_exact(3).filter(|p| chroma(p) > 64).count() as f64 / (640.0 * 480.0)
        };
        assert!((0.0005..0.012).contains(&coloured(Colour::MarkedRgb)), "{}", coloured(Colour::MarkedRgb));
        assert!((0.012..0.18).contains(&coloured(Colour::Doppler)), "{}", coloured(Colour::Doppler));
    }

    #[test]
    fn it_compresses_without_loss_about_as_well_as_real_ultrasound() {
        for colour in [Colour::Mono, Colour::GreyRgb, Colour::Doppler] {
            let scene = Scene { rows: 768, columns: 1024, ..scene(colour) };
            let ratio = 8.0 / difference_entropy(&scene, &scene.frame(7));
            assert!((2.2..3.6).contains(&ratio), "{colour:?}: {ratio}");
        }
    }
}
