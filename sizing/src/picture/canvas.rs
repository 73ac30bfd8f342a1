//! An RGB frame that is drawn on; whatever lies outside is left out.

use super::font;

/// Red, green, blue.
pub(super) type Rgb = [u8; 3];

/// A frame under the brush, black at first.
pub(super) struct Canvas {
    rows: usize,
    columns: usize,
    bytes: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, bytes: vec![0; rows * columns * 3] }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Pixels of row `y` from column `from` on, three bytes each.
    pub(super) fn row(&mut self, y: usize, from: usize, length: usize) -> &mut [u8] {
        let start = y * self.columns + from;
        &mut self.bytes[start * 3..(start + length) * 3]
    }

    pub(super) fn put(&mut self, x: usize, y: usize, colour: Rgb) {
        if x < self.columns && y < self.rows {
            self.row(y, x, 1).copy_from_slice(&colour);
        }
    }

    /// A rectangle.
    pub(super) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Rgb) {
        let (from, to) = (x.min(self.columns), x.saturating_add(width).min(self.columns));
        for y in y.min(self.rows)..y.saturating_add(height).min(self.rows) {
            for pixel in self.row(y, from, to - from).chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// A line of the given thickness between two points, in pixels.
    pub(super) fn line(&mut self, from: (f32, f32), to: (f32, f32), thick: usize, colour: Rgb) {
        let (across, down) = (to.0 - from.0, to.1 - from.1);
        let steps = across.abs().max(down.abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let part = step as f32 / steps;
            let (x, y) = (from.0 + across * part, from.1 + down * part);
            if x >= 0.0 && y >= 0.0 {
                self.fill(x as usize, y as usize, thick, thick, colour);
            }
        }
    }

    /// A text whose upper left corner is at (x, y), each dot of the font `scale` pixels wide and high.
    pub(super) fn text(&mut self, x: usize, y: usize, scale: usize, colour: Rgb, text: &str) {
        for (place, letter) in text.chars().enumerate() {
            let left = x + place * font::ADVANCE * scale;
            for (row, bits) in font::glyph(letter).iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    self.fill(left + column * scale, y + row * scale, scale, scale, colour);
                }
            }
        }
    }

    /// Width of a text in pixels.
    pub(super) const fn text_width(text: &str, scale: usize) -> usize {
        text.len() * font::ADVANCE * scale
    }
}
