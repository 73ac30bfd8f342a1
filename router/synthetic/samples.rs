//! RGB pictures become the samples that a cart stores.

use chrysalis_codecs::{Depth, FrameLayout, Order, Samples, colour};

use super::Pixels;
use super::factory::FactoryError;

/// The samples of one frame, twice where a cart stores them in another arrangement than a lossless copy has.
pub(super) struct Stored {
    /// As they are stored natively, or given to an encoder.
    pub(super) bytes: Vec<u8>,
    /// Side by side and with chroma for every pixel; nothing where that is `bytes`.
    pub(super) plain: Option<Vec<u8>>,
}

impl Pixels {
    /// The layout of a native frame; of [`Pixels::Ybr422`], that of the picture before its chroma is halved.
    pub(super) const fn layout(self, rows: u16, columns: u16) -> FrameLayout {
        let (samples, depth) = match self {
            Self::Mono | Self::Palette8 => (Samples::One, Depth::Eight),
            Self::Palette16 => (Samples::One, Depth::Sixteen),
            Self::Rgb | Self::YbrPlanes | Self::Ybr422 => (Samples::Three, Depth::Eight),
        };
        let order = if matches!(self, Self::YbrPlanes) { Order::ByPlane } else { Order::ByPixel };
        FrameLayout { rows, columns, samples, depth, order }
    }

    /// Bytes of a native frame.
    pub(super) const fn native_bytes(self, rows: u16, columns: u16) -> u64 {
        match self {
            Self::Ybr422 => colour::ybr_422_bytes(rows, columns),
            _ => self.layout(rows, columns).bytes(),
        }
    }

    /// Turns an RGB picture into samples of this kind.
    ///
    /// # Errors
    /// The picture is not as large as was said.
    pub(super) fn store(self, mut rgb: Vec<u8>, rows: u16, columns: u16) -> Result<Stored, FactoryError> {
        let whole = |bytes| Stored { bytes, plain: None };
        Ok(match self {
            Self::Rgb => whole(rgb),
            Self::Mono => whole(colour::rgb_to_luma(&rgb)),
            Self::Palette8 => {
                whole(rgb.as_chunks().0.iter().map(|pixel| PALETTE_8.index(*pixel) as u8).collect())
            }
            Self::Palette16 => whole(
                rgb.as_chunks().0.iter().flat_map(|pixel| PALETTE_16.index(*pixel).to_le_bytes()).collect(),
            ),
            Self::YbrPlanes => {
                colour::rgb_to_ybr_full(&mut rgb);
                let layout = FrameLayout { order: Order::ByPixel, ..self.layout(rows, columns) };
                let planes = colour::pixels_to_planes(&rgb, layout).map_err(FactoryError::encoding)?;
                Stored { bytes: planes, plain: Some(rgb) }
            }
            Self::Ybr422 => {
                colour::rgb_to_ybr_full(&mut rgb);
                let bytes = halve_chroma(&rgb, columns);
                let plain = colour::ybr_422_to_ybr_full(&bytes, self.layout(rows, columns));
                Stored { bytes, plain: Some(plain.map_err(FactoryError::encoding)?) }
            }
        })
    }

    /// The palette of its indices, if they are such.
    pub(super) const fn palette(self) -> Option<&'static Palette> {
        match self {
            Self::Palette8 => Some(&PALETTE_8),
            Self::Palette16 => Some(&PALETTE_16),
            Self::Mono | Self::Rgb | Self::YbrPlanes | Self::Ybr422 => None,
        }
    }
}

/// Y, Y, B, R for every two pixels, with the chroma of the first (PS3.3 C.7.6.3.1.2).
fn halve_chroma(ybr: &[u8], columns: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(ybr.len() * 2 / 3);
    for line in ybr.chunks(usize::from(columns) * 3) {
        for pair in line.chunks(6) {
            if let [y, blue, red, rest @ ..] = pair {
                out.extend([*y, *rest.first().unwrap_or(y), *blue, *red]);
            }
        }
    }
    out
}

/// A ramp of greys followed by a cube of colours.
pub(super) struct Palette {
    greys: u16,
    /// Levels of each of red, green and blue.
    levels: u16,
}

const PALETTE_8: Palette = Palette { greys: 128, levels: 5 };
const PALETTE_16: Palette = Palette { greys: 256, levels: 8 };

impl Palette {
    /// Colours in the table.
    pub(super) const fn entries(&self) -> u16 {
        self.greys + self.levels * self.levels * self.levels
    }

    fn index(&self, pixel: [u8; 3]) -> u16 {
        let [red, green, blue] = pixel.map(u16::from);
        if red == green && green == blue {
            return red * (self.greys - 1) / 255;
        }
        let level = |value: u16| (value * (self.levels - 1) + 127) / 255;
        self.greys + (level(red) * self.levels + level(green)) * self.levels + level(blue)
    }

    /// Red, green and blue tables, 16 bits an entry.
    pub(super) fn tables(&self) -> [Vec<u16>; 3] {
        let wide = |part: u16, of: u16| (u32::from(part) * 65_535 / u32::from(of - 1)) as u16;
        let table = |step: u16| {
            let greys = (0..self.greys).map(|grey| wide(grey, self.greys));
            let cube = 0..self.entries() - self.greys;
            let colours = cube.map(|entry| wide(entry / step % self.levels, self.levels));
            greys.chain(colours).collect()
        };
        [self.levels * self.levels, self.levels, 1].map(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_gives_back_greys_exactly_or_nearly_and_colours_nearly() {
        for (palette, near) in [(&PALETTE_8, 2), (&PALETTE_16, 0)] {
            let [red, green, blue] = palette.tables();
            let shown = |pixel| {
                let index = usize::from(palette.index(pixel));
                [&red, &green, &blue].map(|table| table[index] >> 8)
            };
            for grey in 0..=255_u8 {
                let found = shown([grey; 3]);
                assert!(
                    found.iter().all(|value| value.abs_diff(u16::from(grey)) <= near),
                    "{grey}: {found:?}"
                );
            }
            assert_eq!(shown([255, 0, 0]), [255, 0, 0]);
            assert_eq!(shown([0, 255, 255]), [0, 255, 255]);
            assert_eq!(red.len(), usize::from(palette.entries()));
        }
    }

    #[test]
    fn halved_chroma_is_two_bytes_a_pixel_and_keeps_every_luma() {
        let ybr = [10, 1, 2, 20, 3, 4, 30, 5, 6, 40, 7, 8];
        assert_eq!(halve_chroma(&ybr, 2), [10, 20, 1, 2, 30, 40, 5, 6]);
    }
}
