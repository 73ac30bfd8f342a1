//! How the samples of a native frame lie in memory.

/// Samples per Pixel (0028,0002).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// Greyscale or palette indices.
    One,
    /// RGB or YBR.
    Three,
}

/// Bits Allocated (0028,0100).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One byte per sample.
    Eight,
    /// Two bytes per sample, the low byte first.
    Sixteen,
}

/// Planar Configuration (0028,0006). It makes no difference for one sample per pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// 0: the samples of a pixel lie side by side.
    ByPixel,
    /// 1: all of the first sample, then all of the second, then all of the third.
    ByPlane,
}

/// The shape of one native frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per pixel.
    pub samples: Samples,
    /// Bits per sample.
    pub depth: Depth,
    /// The order of the samples.
    pub order: Order,
}

impl FrameLayout {
    /// Pixels in the frame.
    #[must_use]
    pub const fn pixels(&self) -> u64 {
        self.rows as u64 * self.columns as u64
    }

    /// Bytes in the frame; at most 6 x 65,535 x 65,535.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.pixels() * self.byte_planes() as u64
    }

    /// Bytes per pixel, which is also the number of byte planes an RLE frame is made of.
    #[must_use]
    pub const fn byte_planes(&self) -> u8 {
        self.sample_count() * self.sample_bytes()
    }

    pub(crate) const fn sample_count(&self) -> u8 {
        match self.samples {
            Samples::One => 1,
            Samples::Three => 3,
        }
    }

    pub(crate) const fn sample_bytes(&self) -> u8 {
        match self.depth {
            Depth::Eight => 1,
            Depth::Sixteen => 2,
        }
    }
}

/// What a decoder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame, in bytes, that may be allocated.
    pub frame_bytes: u64,
}

impl Default for Limits {
    /// 256 MiB, which is more than any ultrasound frame.
    fn default() -> Self {
        Self { frame_bytes: 256 << 20 }
    }
}
