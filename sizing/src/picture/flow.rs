//! Flow in colour: where it is looked for, and which colours it has.

use super::View;
use super::canvas::Rgb;
use super::probe::Beam;

/// The part of the field of view in which flow is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    across: (f32, f32),
    along: (f32, f32),
    /// How far it leans aside on its way down.
    lean: f32,
}

impl Window {
    /// The window of a view, if it shows flow.
    pub(super) const fn of(view: View) -> Option<Self> {
        match view {
            View::VesselFlow | View::Spectral => {
                Some(Self { across: (-0.62, 0.42), along: (0.3, 0.74), lean: 0.28 })
            }
            View::HeartFlow => Some(Self { across: (-0.1, 0.62), along: (0.2, 0.88), lean: 0.0 }),
            View::Liver | View::Kidney | View::Vessel | View::Heart | View::MMode => None,
        }
    }

    pub(super) fn contains(&self, beam: Beam) -> bool {
        let across = beam.across - self.shift(beam.along);
        (self.along.0..=self.along.1).contains(&beam.along)
            && (self.across.0..=self.across.1).contains(&across)
    }

    /// Points around its border, in order, the last one the first again.
    pub(super) fn border(&self) -> impl Iterator<Item = Beam> + '_ {
        let corners = [
            (self.across.0, self.along.0),
            (self.across.1, self.along.0),
            (self.across.1, self.along.1),
            (self.across.0, self.along.1),
            (self.across.0, self.along.0),
        ];
        (0..4).flat_map(move |side| {
            let (from, to) = (corners[side], corners[side + 1]);
            (0..=BORDER_STEPS).map(move |step| {
                let part = step as f32 / BORDER_STEPS as f32;
                let along = from.1 + (to.1 - from.1) * part;
                Beam { across: from.0 + (to.0 - from.0) * part + self.shift(along), along }
            })
        })
    }

    fn shift(&self, along: f32) -> f32 {
        (along - self.along.0) * self.lean
    }
}

/// Points on each side of a border, which may be an arc.
const BORDER_STEPS: usize = 24;

/// A velocity as it is kept for a grid: 0 is none, and what is faster than the scale wraps around to the other direction.
pub(super) fn quantized(velocity: f32) -> i8 {
    let turned = if velocity > 1.0 {
        velocity - 2.0
    } else if velocity < -1.0 {
        velocity + 2.0
    } else {
        velocity
    };
    let level = (turned.clamp(-1.0, 1.0) * 127.0) as i8;
    // What is slow is taken for moving tissue and filtered away.
    if level.unsigned_abs() < SLOWEST { 0 } else { level }
}

const SLOWEST: u8 = 12;

/// The colour of a pixel with this echo and flow: towards the probe is red to yellow, away is blue to cyan.
pub(super) fn colour(grey: u8, flow: i8) -> Rgb {
    let strength = u16::from(flow.unsigned_abs());
    // Bright tissue is no blood, whatever moves there.
    if strength == 0 || grey > 150 {
        return [grey; 3];
    }
    let main = (90 + strength * 165 / 127) as u8;
    let second = (strength.saturating_sub(40) * 230 / 87) as u8;
    if flow > 0 { [main, second, 0] } else { [0, second, main] }
}
