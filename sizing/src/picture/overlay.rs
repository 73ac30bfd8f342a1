//! What a machine writes around and over the image.

use super::anatomy;
use super::canvas::{Canvas, Rgb};
use super::flow::{self, Window};
use super::probe::{Beam, Point};
use super::screen::{ABOVE, FASTEST, Layout};
use super::{Picture, View, strip};

/// Texts, scales, bars, the window of flow, and the electrocardiogram at this moment of a beat.
pub(super) fn draw(picture: &Picture, layout: &Layout, phase: f32, canvas: &mut Canvas) {
    let screen = Screen { picture, layout, rows: layout.rows, columns: layout.columns };
    screen.texts(canvas);
    screen.depth_scale(canvas);
    screen.bars(canvas);
    screen.window(canvas);
    screen.sight(canvas);
    if matches!(picture.view, View::Heart | View::HeartFlow) {
        screen.electrocardiogram(phase, canvas);
    }
}

struct Screen<'a> {
    picture: &'a Picture,
    layout: &'a Layout,
    rows: usize,
    columns: usize,
}

impl Screen<'_> {
    fn texts(&self, canvas: &mut Canvas) {
        let dot = self.layout.dot;
        let margin = 4 * dot;
        canvas.text(margin, 3 * dot, dot, WHITE, "TEST PATIENT");
        canvas.text(margin, 12 * dot, dot, GREY, "CHRYSALIS");
        let (title, settings) = words(self.picture.view);
        let right = |text: &str| self.columns.saturating_sub(Canvas::text_width(text, dot) + margin);
        canvas.text(right(title), 3 * dot, dot, WHITE, title);
        canvas.text(right(PROBE_LINE), 12 * dot, dot, GREY, PROBE_LINE);
        let middle = |text: &str, dot| self.columns.saturating_sub(Canvas::text_width(text, dot)) / 2;
        canvas.text(middle(WARNING, dot), 3 * dot, dot, YELLOW, WARNING);
        canvas.text(middle(WARNING, dot), self.rows.saturating_sub(10 * dot), dot, YELLOW, WARNING);
        for (line, text) in settings.iter().enumerate() {
            canvas.text(margin, self.layout.image.y + (26 + line * 10) * dot, dot, CYAN, text);
        }
    }

    /// Marks each centimetre, with numbers where they matter.
    fn depth_scale(&self, canvas: &mut Canvas) {
        let (layout, dot) = (self.layout, self.layout.dot);
        let x = layout.image.x + layout.image.width + dot;
        let per_centimetre = layout.pixels_of_depth() / layout.depth;
        let every = if layout.depth > 6.0 { 5 } else { 1 };
        let top = layout.image.y as f32 + layout.probe.rise() * layout.pixels_of_depth();
        for centimetre in 0..=layout.depth as usize {
            let y = (top + centimetre as f32 * per_centimetre) as usize;
            let long = centimetre.is_multiple_of(every);
            canvas.fill(x, y, if long { 5 } else { 3 } * dot, dot.div_ceil(2), GREY);
            if long && centimetre > 0 {
                canvas.text(x + 7 * dot, y.saturating_sub(3 * dot), dot, GREY, &centimetre.to_string());
            }
        }
        // Focus.
        let y = top + layout.pixels_of_depth() * 0.5;
        for step in 0..4 * dot {
            canvas.fill(
                x.saturating_sub(step + dot),
                y as usize + step / 2,
                1,
                (4 * dot - step).max(1),
                YELLOW,
            );
        }
    }

    /// The grey scale, and that of colours with the velocities at its ends.
    fn bars(&self, canvas: &mut Canvas) {
        let dot = self.layout.dot;
        let (x, wide) = (self.columns.saturating_sub(12 * dot), 6 * dot);
        let (top, high) = (24 * dot, self.rows / 7);
        for row in 0..high {
            let grey = (255 - row * 255 / high.max(1)) as u8;
            canvas.fill(x, top + row, wide, 1, [grey; 3]);
        }
        if !self.picture.view.shows_flow() {
            return;
        }
        let top = top + high + 14 * dot;
        for row in 0..high {
            let flow = 127 - (row * 254 / high.max(1)) as i32;
            canvas.fill(x, top + row, wide, 1, flow::colour(0, flow as i8));
        }
        let ends = if self.picture.view == View::HeartFlow { ["+65", "-65"] } else { ["+38", "-38"] };
        let left = x.saturating_sub(8 * dot);
        canvas.text(left, top.saturating_sub(9 * dot), dot, WHITE, ends[0]);
        canvas.text(left, top + high + 2 * dot, dot, WHITE, ends[1]);
    }

    fn window(&self, canvas: &mut Canvas) {
        let Some(window) = Window::of(self.picture.view) else { return };
        let points: Vec<_> = window.border().map(|beam| self.on_screen(beam)).collect();
        for pair in points.windows(2) {
            canvas.line(pair[0], pair[1], self.layout.dot.div_ceil(2), GREEN);
        }
    }

    /// The line of sight of a strip, and the gate whose velocities it shows.
    fn sight(&self, canvas: &mut Canvas) {
        let (Some(area), dot) = (self.layout.strip, self.layout.dot) else { return };
        let across = if self.picture.view == View::MMode { strip::M_MODE_ACROSS } else { -0.05 };
        for part in (0..60).filter(|part| part % 2 == 0) {
            let along = part as f32 / 60.0;
            let ends = [along, along + 1.0 / 60.0].map(|along| self.on_screen(Beam { across, along }));
            canvas.line(ends[0], ends[1], dot.div_ceil(2), WHITE);
        }
        if self.picture.view != View::Spectral {
            return;
        }
        for along in [0.46, 0.53] {
            let (x, y) = self.on_screen(Beam { across, along });
            canvas.fill((x as usize).saturating_sub(5 * dot), y as usize, 10 * dot, dot, WHITE);
        }
        let x = area.x + area.width + 2 * dot;
        for velocity in [-20.0_f32, 40.0, 80.0] {
            let part = ABOVE * (1.0 - velocity / FASTEST);
            let y = area.y + (area.height as f32 * part) as usize;
            canvas.fill(x.saturating_sub(2 * dot), y, 3 * dot, dot.div_ceil(2), GREY);
            canvas.text(x + 3 * dot, y.saturating_sub(3 * dot), dot, GREY, &format!("{velocity:.0}"));
        }
    }

    /// Three beats along the bottom; a bar shows where in the last of them the frame is.
    fn electrocardiogram(&self, phase: f32, canvas: &mut Canvas) {
        let dot = self.layout.dot;
        let high = self.rows as f32 / 14.0;
        let (left, wide) = (self.columns / 12, self.columns * 5 / 12);
        let base = self.rows as f32 * 0.9;
        let mut before = None;
        for x in 0..wide {
            let beats = x as f32 / wide as f32 * 3.0;
            let here = ((left + x) as f32, base - high * anatomy::potential(beats - beats.floor()));
            canvas.line(before.unwrap_or(here), here, dot.div_ceil(2), GREEN);
            before = Some(here);
        }
        let x = left + ((2.0 + phase) / 3.0 * wide as f32) as usize;
        canvas.fill(x, (base - high) as usize, dot, (high * 1.3) as usize, YELLOW);
    }

    fn on_screen(&self, beam: Beam) -> (f32, f32) {
        let (image, scale) = (self.layout.image, self.layout.pixels_of_depth());
        let Point { x, y } = self.layout.probe.point(beam);
        let middle = image.x as f32 + image.width as f32 / 2.0;
        (middle + x * scale, image.y as f32 + (y + self.layout.probe.rise()) * scale)
    }
}

/// What the screen says of a view.
const fn words(view: View) -> (&'static str, &'static [&'static str]) {
    match view {
        View::Liver => ("ABDOMEN LIVER", &["2D", "62%", "DR 60", "P LOW"]),
        View::Kidney => ("ABDOMEN KIDNEY", &["2D", "58%", "DR 60", "P LOW"]),
        View::Vessel => ("VASCULAR NECK", &["2D", "48%", "DR 55", "P MED"]),
        View::VesselFlow => ("VASCULAR NECK", &["2D", "48%", "CF", "55%", "WF 60HZ"]),
        View::Heart => ("ADULT ECHO", &["2D", "70%", "DR 50", "75 BPM"]),
        View::HeartFlow => ("ADULT ECHO", &["2D", "70%", "CF", "50%", "75 BPM"]),
        View::MMode => ("ADULT ECHO", &["MM", "65%", "75MM/S"]),
        View::Spectral => ("VASCULAR NECK", &["PW", "40%", "WF 40HZ", "SV 2.0MM"]),
    }
}

const WARNING: &str = "TEST IMAGE - NOT FOR DIAGNOSIS";
const PROBE_LINE: &str = "MI 0.0 TIS 0.0";

const WHITE: Rgb = [235, 235, 235];
const GREY: Rgb = [170, 170, 170];
const YELLOW: Rgb = [255, 215, 0];
const CYAN: Rgb = [90, 200, 215];
const GREEN: Rgb = [0, 200, 70];
