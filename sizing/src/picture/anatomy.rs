//! What is in the body, as shapes that move with the heart.

use super::View;
use super::probe::Point;

/// A part of the body; later ones lie over earlier ones. Lengths are depths of the image, echoes are levels of grey above or
/// below plain tissue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// An ellipse that leans by `lean` down for one across, with a bright or dark `rim` inside its border.
    Ellipse { centre: Point, across: f32, down: f32, lean: f32, inside: f32, rim: f32, blood: Option<f32> },
    /// A wall or a valve: brightest in the middle.
    Wall { from: Point, to: Point, thick: f32, echo: f32 },
    /// A layer from one depth to another, in the shape of the probe's surface.
    Layer { from: f32, to: f32, echo: f32 },
    /// What a stone or gas hides, or a fluid lets through, below a depth: between two slopes through `apex` above the skin.
    Below { from: f32, left: f32, right: f32, apex: f32, echo: f32 },
}

/// What is found at a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Levels of grey above or below plain tissue.
    pub(super) echo: f32,
    /// In blood: how fast it flows towards the probe, from -1 (away) to 1. Beyond 1 it wraps around, as on a screen.
    pub(super) blood: Option<f32>,
}

/// What lies at a place so far along a line of sight, by all shapes.
pub(super) fn find(shapes: &[Shape], at: Point, along: f32) -> Found {
    let start = Found { echo: 0.0, blood: None };
    shapes.iter().fold(start, |found, shape| shape.over(found, at, along))
}

impl Shape {
    fn over(&self, found: Found, at: Point, along: f32) -> Found {
        match *self {
            Self::Ellipse { centre, across, down, lean, inside, rim, blood } => {
                let x = (at.x - centre.x) / across;
                let y = (at.y - centre.y - lean * (at.x - centre.x)) / down;
                let from_middle = x * x + y * y;
                if from_middle >= 1.16 {
                    return found;
                }
                if from_middle > 1.0 {
                    // The rim fades outwards.
                    return Found { echo: found.echo + rim * (1.16 - from_middle) / 0.16, ..found };
                }
                let edge = if from_middle > 0.9 { rim * (from_middle - 0.9) / 0.1 } else { 0.0 };
                let blood = blood.map(|speed| speed * (1.0 - from_middle));
                Found { echo: inside + edge, blood }
            }
            Self::Wall { from, to, thick, echo } => {
                let (dx, dy) = (to.x - from.x, to.y - from.y);
                let along = ((at.x - from.x) * dx + (at.y - from.y) * dy) / (dx * dx + dy * dy).max(1e-9);
                let along = along.clamp(0.0, 1.0);
                let (x, y) = (at.x - from.x - along * dx, at.y - from.y - along * dy);
                let near = 1.0 - (x * x + y * y) / (thick * thick);
                if near <= 0.0 {
                    return found;
                }
                Found { echo: found.echo.max(-20.0) * (1.0 - near) + echo * near, blood: None }
            }
            Self::Layer { from, to, echo } => {
                if along < from || along > to {
                    return found;
                }
                Found { echo: found.echo + echo, ..found }
            }
            Self::Below { from, left, right, apex, echo } => {
                let slope = at.x / (at.y + apex).max(1e-6);
                let inside = (slope - left).min(right - slope);
                if at.y < from || inside <= 0.0 {
                    return found;
                }
                Found { echo: found.echo + echo * (inside / 0.02).min(1.0), ..found }
            }
        }
    }
}

/// The anatomy of a view at a moment of the heartbeat, 0 to 1. `aside` moves it a little, so that no two patients are equal.
pub(super) fn shapes(view: View, phase: f32, aside: f32) -> Vec<Shape> {
    match view {
        View::Liver => liver(phase, aside),
        View::Kidney => kidney(phase, aside),
        View::Vessel | View::VesselFlow | View::Spectral => vessel(phase, aside),
        View::Heart | View::HeartFlow | View::MMode => heart(phase, aside),
    }
}

const fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

const fn cyst(centre: Point, across: f32, down: f32, rim: f32) -> Shape {
    Shape::Ellipse { centre, across, down, lean: 0.0, inside: -86.0, rim, blood: None }
}

/// Skin, fat and muscle.
fn surface(muscle: f32) -> [Shape; 4] {
    [
        Shape::Layer { from: 0.0, to: 0.018, echo: 70.0 },
        Shape::Layer { from: 0.018, to: muscle * 0.5, echo: 18.0 },
        Shape::Layer { from: muscle * 0.5, to: muscle, echo: -12.0 },
        Shape::Layer { from: muscle - 0.01, to: muscle + 0.004, echo: 60.0 },
    ]
}

fn liver(phase: f32, aside: f32) -> Vec<Shape> {
    let (stir, pulse) = (0.004 * contraction(phase), 0.004 * pulse(phase));
    let mut shapes = surface(0.09).to_vec();
    // Diaphragm: the lower border of the liver, with the lung's dark haze behind it.
    shapes.push(Shape::Ellipse {
        centre: at(0.1, 1.42 + stir),
        across: 1.0,
        down: 0.58,
        lean: 0.1,
        inside: -42.0,
        rim: 95.0,
        blood: None,
    });
    // Portal and hepatic veins: with bright walls and without.
    shapes.push(cyst(at(-0.22 + aside, 0.42 + stir), 0.055, 0.032 + pulse, 70.0));
    shapes.push(cyst(at(-0.34, 0.56 + stir), 0.03, 0.045, 0.0));
    shapes.push(cyst(at(0.08 + aside, 0.6 + stir), 0.022, 0.02 + pulse, 75.0));
    shapes.push(cyst(at(-0.1, 0.3), 0.07, 0.014, 0.0));
    // Gall bladder with a stone, and the shadow that the stone throws.
    shapes.push(Shape::Below { from: 0.5, left: 0.18, right: 0.32, apex: 0.38, echo: 22.0 });
    shapes.push(cyst(at(0.23 + aside, 0.42 + stir), 0.1, 0.085, 60.0));
    let stone = at(0.25 + aside, 0.475 + stir);
    shapes.push(Shape::Wall { from: stone, to: at(stone.x + 0.03, stone.y), thick: 0.016, echo: 110.0 });
    let slope = stone.x / (stone.y + 0.38);
    shapes.push(Shape::Below {
        from: stone.y + 0.01,
        left: slope - 0.015,
        right: slope + 0.045,
        apex: 0.38,
        echo: -95.0,
    });
    shapes
}

fn kidney(phase: f32, aside: f32) -> Vec<Shape> {
    let stir = 0.003 * contraction(phase);
    let centre = at(0.02 + aside, 0.52 + stir);
    let organ = |across: f32, down: f32, inside: f32, rim: f32| Shape::Ellipse {
        centre,
        across,
        down,
        lean: 0.22,
        inside,
        rim,
        blood: None,
    };
    let mut shapes = surface(0.12).to_vec();
    shapes.push(organ(0.36, 0.19, -34.0, 72.0));
    // Pyramids, darker than the cortex around them, then the bright middle.
    for (x, y) in
        [(-0.2, -0.07), (-0.08, -0.1), (0.06, -0.09), (0.19, -0.03), (-0.14, 0.06), (0.02, 0.11), (0.15, 0.1)]
    {
        let centre = at(centre.x + x, centre.y + y + 0.22 * x * 0.6);
        shapes.push(Shape::Ellipse {
            centre,
            across: 0.045,
            down: 0.04,
            lean: 0.2,
            inside: -62.0,
            rim: 0.0,
            blood: None,
        });
    }
    shapes.push(organ(0.2, 0.065, 46.0, 0.0));
    shapes.push(cyst(at(centre.x + 0.05, centre.y + 0.02), 0.035, 0.014, 30.0));
    // Gas in the bowel beside it.
    shapes.push(Shape::Wall { from: at(-0.62, 0.5), to: at(-0.46, 0.46), thick: 0.02, echo: 100.0 });
    shapes.push(Shape::Below { from: 0.52, left: -0.68, right: -0.52, apex: 0.38, echo: -60.0 });
    shapes
}

fn vessel(phase: f32, aside: f32) -> Vec<Shape> {
    let beat = pulse(phase);
    let (middle, half, lean) = (0.5 + aside, 0.105 + 0.012 * beat, 0.1);
    let mut shapes = surface(0.1).to_vec();
    for (y, echo) in [(0.14, 45.0), (0.19, 35.0), (0.25, 50.0), (0.3, 30.0)] {
        shapes.push(Shape::Wall { from: at(-1.0, y + 0.02), to: at(1.0, y - 0.01), thick: 0.008, echo });
    }
    shapes.push(Shape::Layer { from: 0.1, to: 0.3, echo: -28.0 });
    // A tube much longer than the field of view.
    let tube = at(0.0, middle);
    shapes.push(Shape::Ellipse {
        centre: tube,
        across: 9.0,
        down: half,
        lean,
        inside: -80.0,
        rim: 0.0,
        blood: Some(-(0.25 + 1.0 * beat)),
    });
    for side in [-1.0, 1.0] {
        for (out, echo) in [(0.004, 70.0), (0.028, 92.0)] {
            let y = middle + side * (half + out);
            let ends = (at(-1.0, y - lean), at(1.0, y + lean));
            shapes.push(Shape::Wall { from: ends.0, to: ends.1, thick: 0.009, echo });
        }
    }
    // A plaque at the far wall.
    shapes.push(Shape::Ellipse {
        centre: at(0.16 + aside, middle + half + 0.01),
        across: 0.14,
        down: 0.035,
        lean,
        inside: 20.0,
        rim: 25.0,
        blood: None,
    });
    shapes
}

fn heart(phase: f32, aside: f32) -> Vec<Shape> {
    let squeeze = contraction(phase);
    let opened = opening(phase);
    let base = 0.56 - 0.035 * squeeze;
    let fill = 0.9 * opened - 0.75 * squeeze;
    let chamber = |x: f32, y: f32, across: f32, down: f32, flow: f32| Shape::Ellipse {
        centre: at(x + aside, y),
        across,
        down,
        lean: 0.0,
        inside: -76.0,
        rim: 30.0,
        blood: Some(flow),
    };
    let mut shapes = vec![
        Shape::Layer { from: 0.0, to: 0.02, echo: 70.0 },
        Shape::Layer { from: 0.02, to: 0.1, echo: 10.0 },
        // Outside the heart: lung.
        Shape::Layer { from: 0.0, to: 1.0, echo: -38.0 },
        // The muscle, then what is hollow in it.
        Shape::Ellipse {
            centre: at(0.02 + aside, 0.5),
            across: 0.43,
            down: 0.42,
            lean: 0.0,
            inside: 8.0,
            rim: 45.0,
            blood: None,
        },
        chamber(0.15, 0.38, 0.145 - 0.04 * squeeze, 0.24 - 0.035 * squeeze, fill),
        chamber(-0.17, 0.41, 0.125 - 0.03 * squeeze, 0.19 - 0.025 * squeeze, fill * 0.7),
        chamber(
            0.16,
            0.73 - 0.01 * squeeze,
            0.14 + 0.018 * squeeze,
            0.13 + 0.02 * squeeze,
            0.5 * opened - 0.2 * squeeze,
        ),
        chamber(-0.15, 0.72 - 0.01 * squeeze, 0.13 + 0.015 * squeeze, 0.12 + 0.018 * squeeze, 0.4 * opened),
    ];
    // The leaflets hang at the base and swing towards the tip when they open.
    for (middle, wide) in [(0.155, 0.12), (-0.16, 0.11)] {
        for side in [-1.0, 1.0] {
            let hinge = at(middle + side * wide + aside, base);
            let reach = wide * (1.0 - 0.65 * opened);
            let tip = at(hinge.x - side * reach, base - 0.02 - 0.1 * opened);
            shapes.push(Shape::Wall { from: hinge, to: tip, thick: 0.011, echo: 75.0 });
        }
    }
    // Septum.
    shapes.push(Shape::Wall {
        from: at(-0.01 + aside, 0.2),
        to: at(-0.005 + aside, 0.84),
        thick: 0.03,
        echo: 38.0,
    });
    shapes
}

/// How far the heart is squeezed together: 0 to 1 and back in the first 45 % of a beat.
pub(super) fn contraction(phase: f32) -> f32 {
    bump(phase / 0.45)
}

/// How far the valves of the ventricles are open: early filling, and again when the atria contract.
fn opening(phase: f32) -> f32 {
    bump((phase - 0.48) / 0.26).max(0.7 * bump((phase - 0.78) / 0.2))
}

/// Flow in an artery, 0 to 1: a steep rise, a notch, and a slow fall.
pub(super) fn pulse(phase: f32) -> f32 {
    if phase < 0.1 {
        smooth(phase / 0.1) * 0.78 + 0.22
    } else if phase < 0.36 {
        1.0 - 0.66 * smooth((phase - 0.1) / 0.26)
    } else if phase < 0.48 {
        0.34 + 0.1 * bump((phase - 0.36) / 0.12)
    } else {
        0.34 - 0.12 * (phase - 0.48) / 0.52
    }
}

/// 0 at 0 and 1, 1 in between, smooth.
fn bump(x: f32) -> f32 {
    if !(0.0..=1.0).contains(&x) {
        return 0.0;
    }
    let arch = 4.0 * x * (1.0 - x);
    arch * arch * (3.0 - 2.0 * arch)
}

/// From 0 to 1 without a corner at either end.
fn smooth(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// The electrocardiogram, from about -0.2 to 1: P, QRS and T.
pub(super) fn potential(phase: f32) -> f32 {
    let wave = |from: f32, length: f32, high: f32| high * bump((phase - from) / length);
    wave(0.82, 0.1, 0.14) - wave(0.95, 0.03, 0.12) + wave(0.0, 0.035, 1.0) - wave(0.035, 0.03, 0.22)
        + wave(0.24, 0.18, 0.26)
}
