//! Strips over time: one line of sight (M-mode), or velocities at one place (spectral Doppler).

use super::anatomy;
use super::canvas::{Canvas, Rgb};
use super::echoes::Echoes;
use super::screen::{ABOVE, Area, BEAT_SECONDS, FASTEST, Layout, STRIP_SECONDS};
use super::{Picture, View};

/// Draws the strip of a picture, if it has one. It is the same in all frames: a machine that shows a strip has frozen it.
pub(super) fn draw(picture: &Picture, layout: &Layout, echoes: &Echoes, canvas: &mut Canvas) {
    let Some(area) = layout.strip else { return };
    if picture.view == View::MMode {
        m_mode(&area, echoes, canvas);
    } else {
        spectral(&area, layout.dot, echoes, canvas);
    }
    for second in 0..=(STRIP_SECONDS * 2.0) as usize {
        let x = area.x + (second as f32 / 2.0 / STRIP_SECONDS * area.width as f32) as usize;
        let high = layout.dot * if second % 2 == 0 { 4 } else { 2 };
        canvas.fill(x, area.y + area.height - high, layout.dot, high, SCALE);
    }
}

/// The part of a beat that column `x` shows.
fn phase(x: usize, area: &Area) -> f32 {
    let beats = x as f32 / area.width as f32 * STRIP_SECONDS / BEAT_SECONDS;
    beats - beats.floor()
}

fn m_mode(area: &Area, echoes: &Echoes, canvas: &mut Canvas) {
    for x in 0..area.width {
        let column = echoes.line(M_MODE_ACROSS, phase(x, area), x, area.height);
        for (y, grey) in column.enumerate() {
            canvas.put(area.x + x, area.y + y, [grey; 3]);
        }
    }
}

/// Where the line of sight of M-mode runs: through a ventricle.
pub(super) const M_MODE_ACROSS: f32 = 0.3;

fn spectral(area: &Area, dot: usize, echoes: &Echoes, canvas: &mut Canvas) {
    let baseline = (area.height as f32 * ABOVE) as usize;
    for x in 0..area.width {
        let fastest = (0.06 + 0.74 * anatomy::pulse(phase(x, area))) * FASTEST;
        for y in 0..area.height {
            let velocity = (baseline as f32 - y as f32) / baseline as f32 * FASTEST;
            let grain = echoes.grain(y, x) / 110.0;
            let power = power(velocity / fastest);
            // The wall filter leaves nothing next to the baseline.
            let quiet = velocity.abs() < 0.03 * FASTEST;
            let grey =
                if quiet { 0.0 } else { (power * grain + 9.0 * grain * grain - 4.0).clamp(0.0, 255.0) };
            canvas.put(area.x + x, area.y + y, [grey as u8; 3]);
        }
    }
    canvas.fill(area.x, area.y + baseline, area.width, dot.div_ceil(2), BASELINE);
}

/// How strong echoes are that move at this part of the fastest velocity: most blood is nearly as fast as the fastest.
fn power(part: f32) -> f32 {
    if part <= 0.0 {
        // A weak mirror image.
        return if part > -0.9 { 6.0 } else { 0.0 };
    }
    let rise = 35.0 + 160.0 * part * part * part;
    if part <= 0.92 { rise } else { rise * ((1.12 - part) / 0.2).max(0.0) }
}

const SCALE: Rgb = [200, 200, 200];
const BASELINE: Rgb = [210, 170, 60];
