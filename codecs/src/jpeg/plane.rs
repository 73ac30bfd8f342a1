//! One component of a frame while it is decoded.

use super::header::{Component, FrameHeader, Quantization};
use super::inverse::{Inverse, Patch};
use super::tables::natural;

/// The coefficients of a block in the order in which they are coded, not dequantized.
pub(super) type Coefficients = [i16; 64];

/// The samples of a component, and its coefficients if they come in several scans.
pub(super) struct Plane {
    pub(super) component: Component,
    /// Columns and rows that the image has of this component (ISO 10918-1 A.1.1).
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Blocks, across and down, with those that complete the last MCUs of an interleaved scan (A.2.4).
    padded: (usize, usize),
    inverse: Inverse,
    /// The table that was in force when the first scan of this component started.
    quantization: Option<Quantization>,
    samples: Vec<u16>,
    /// Empty unless the frame is progressive.
    coefficients: Vec<Coefficients>,
}

impl Plane {
    /// An empty plane. Of a frame below the limit it takes at most twice the limit, or four times if it is progressive,
    /// and what completes the last MCUs.
    pub(super) fn new(header: &FrameHeader, component: Component) -> Self {
        let (across, down) = header.largest();
        let size =
            |whole: u16, factor: usize, largest: usize| (usize::from(whole) * factor).div_ceil(largest);
        let blocks =
            |whole: u16, factor: usize, largest: usize| usize::from(whole).div_ceil(8 * largest) * factor;
        let (rows, columns) = (header.layout.rows, header.layout.columns);
        let padded = (blocks(columns, component.horizontal, across), blocks(rows, component.vertical, down));
        let count = padded.0 * padded.1;
        Self {
            component,
            columns: size(columns, component.horizontal, across),
            rows: size(rows, component.vertical, down),
            padded,
            inverse: Inverse::new(header.precision),
            quantization: None,
            samples: vec![0; count * 64],
            coefficients: if header.progressive { vec![[0; 64]; count] } else { Vec::new() },
        }
    }

    /// The blocks, across and down, of a scan that has this component alone.
    pub(super) const fn blocks(&self) -> (usize, usize) {
        (self.columns.div_ceil(8), self.rows.div_ceil(8))
    }

    /// The MCUs of an interleaved scan, across and down.
    pub(super) const fn mcus(&self) -> (usize, usize) {
        (self.padded.0 / self.component.horizontal, self.padded.1 / self.component.vertical)
    }

    /// Takes a copy of the table that is in force, unless an earlier scan did.
    pub(super) const fn latch(&mut self, quantization: Quantization) {
        if self.quantization.is_none() {
            self.quantization = Some(quantization);
        }
    }

    /// Whether a scan had this component.
    pub(super) const fn is_started(&self) -> bool {
        self.quantization.is_some()
    }

    /// Row `row` of the samples, as wide as the image has it.
    pub(super) fn row(&self, row: usize) -> &[u16] {
        let start = row * self.padded.0 * 8;
        self.samples.get(start..start + self.columns).unwrap_or_default()
    }

    /// The stored coefficients of a block.
    pub(super) fn coefficients(&mut self, across: usize, down: usize) -> Option<&mut Coefficients> {
        self.coefficients.get_mut(down * self.padded.0 + across)
    }

    /// Computes the samples of a block whose last coefficient that is not zero is number `last`, or one before it.
    #[inline(always)]
    pub(super) fn draw(&mut self, across: usize, down: usize, coefficients: &Coefficients, last: usize) {
        let Some(quantization) = &self.quantization else { return };
        let patch = patch(self.inverse, quantization, coefficients, last);
        let width = self.padded.0 * 8;
        let start = down * 8 * width + across * 8;
        let rows = self.samples.get_mut(start..).unwrap_or_default().chunks_mut(width);
        for (place, row) in rows.zip(&patch) {
            if let Some(place) = place.first_chunk_mut::<8>() {
                *place = *row;
            }
        }
    }

    /// Computes the samples of all blocks from their stored coefficients.
    pub(super) fn draw_all(&mut self) {
        let stored = std::mem::take(&mut self.coefficients);
        for (index, coefficients) in stored.iter().enumerate() {
            let last = coefficients.iter().rposition(|value| *value != 0).unwrap_or(0);
            self.draw(index % self.padded.0, index / self.padded.0, coefficients, last);
        }
    }
}

fn patch(inverse: Inverse, quantization: &Quantization, coefficients: &Coefficients, last: usize) -> Patch {
    let mut block = [[0_i32; 8]; 8];
    let flat = block.as_flattened_mut();
    for (index, value) in coefficients.iter().enumerate().take(last + 1) {
        let place = natural(index);
        if let (Some(place), Some(step)) = (flat.get_mut(place), quantization.get(place)) {
            *place = i32::from(*value) * i32::from(*step);
        }
    }
    if last == 0 { inverse.flat(flat.first().copied().unwrap_or(0)) } else { inverse.block(&block) }
}
