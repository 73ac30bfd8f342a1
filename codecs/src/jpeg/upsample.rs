//! Subsampled components at full size.
//!
//! As in libjpeg: halved components go through a triangle filter, which weighs the nearer sample 3 and the farther 1,
//! and everything else is repeated. The roundings, which alternate, are libjpeg's too.

use super::error::DecodeError;
use super::header::FrameHeader;
use super::plane::Plane;

/// How a component is brought to full size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upsampling {
    /// It is at full size.
    None,
    /// Half as wide.
    Across,
    /// Half as wide and half as high.
    Both,
    /// Each sample so many times, across and down.
    Repeat(usize, usize),
}

impl Upsampling {
    /// What a plane needs; nothing if its factors do not divide the largest ones.
    pub(super) fn of(plane: &Plane, header: &FrameHeader) -> Option<Self> {
        let (across, down) = header.largest();
        let component = plane.component;
        if !across.is_multiple_of(component.horizontal) || !down.is_multiple_of(component.vertical) {
            return None;
        }
        // Narrower planes have no middle for the filter.
        let wide = plane.columns > 2;
        Some(match (across / component.horizontal, down / component.vertical) {
            (1, 1) => Self::None,
            (2, 1) if wide => Self::Across,
            (2, 2) if wide => Self::Both,
            (across, down) => Self::Repeat(across, down),
        })
    }

    /// Writes row `row` of the image into `out`, which it makes as wide as the image or one sample wider.
    pub(super) fn row(self, plane: &Plane, row: usize, scratch: &mut Vec<u16>, out: &mut Vec<u16>) {
        match self {
            Self::None => replace(out, plane.row(row).iter().copied()),
            Self::Repeat(across, down) => {
                let samples = plane.row(row / down).iter();
                replace(out, samples.flat_map(|sample| std::iter::repeat_n(*sample, across)));
            }
            Self::Across => across(plane.row(row), &ACROSS, out),
            Self::Both => {
                let near = row / 2;
                let far = if row.is_multiple_of(2) { near.saturating_sub(1) } else { near + 1 };
                let far = far.min(plane.rows - 1);
                let rows = plane.row(near).iter().zip(plane.row(far));
                replace(scratch, rows.map(|(near, far)| near * 3 + far));
                across(scratch, &BOTH, out);
            }
        }
    }
}

/// The refusal of factors that do not divide the largest ones.
pub(super) const FRACTIONAL: &str = "a sampling factor that does not divide the largest";

/// The error of a component that cannot be brought to full size.
pub(super) const fn fractional(marker: u8, offset: usize) -> DecodeError {
    DecodeError::Unsupported { marker, offset, what: FRACTIONAL }
}

/// How a filtered pair is rounded: `bits` are shifted away after these were added.
struct Rounding {
    bits: u32,
    left: u16,
    right: u16,
}

const ACROSS: Rounding = Rounding { bits: 2, left: 1, right: 2 };
const BOTH: Rounding = Rounding { bits: 4, left: 8, right: 7 };

/// The triangle filter across. With twelve bits, and rows filtered before, the sums just fit 16 bits.
fn across(samples: &[u16], rounding: &Rounding, out: &mut Vec<u16>) {
    let Rounding { bits, left, right } = *rounding;
    out.clear();
    out.resize(samples.len() * 2, 0);
    let weigh = |near: u16, far: u16, add: u16| (near * 3 + far + add) >> bits;
    let pairs = out.as_chunks_mut::<2>().0;
    if let ([first, second, ..], [.., before, last]) = (samples, samples) {
        if let Some((pair, _)) = pairs.split_first_mut() {
            *pair = [weigh(*first, *first, left), weigh(*first, *second, right)];
        }
        if let Some((pair, _)) = pairs.split_last_mut() {
            *pair = [weigh(*last, *before, left), weigh(*last, *last, right)];
        }
    }
    for (pair, three) in pairs.iter_mut().skip(1).zip(samples.windows(3)) {
        if let [before, sample, after] = three {
            *pair = [weigh(*sample, *before, left), weigh(*sample, *after, right)];
        }
    }
}

fn replace(row: &mut Vec<u16>, samples: impl Iterator<Item = u16>) {
    row.clear();
    row.extend(samples);
}
