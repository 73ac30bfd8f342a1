//! One decoded frame.

use crate::layout::FrameLayout;

/// A frame of native pixels: what decoders return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// How the samples lie in `pixels`. Decoders return [`Order::ByPixel`](crate::Order::ByPixel).
    pub layout: FrameLayout,
    /// Bits of a sample that the stream carries, 2 to 16. More than 8 lie in two bytes, the low byte first.
    pub precision: u8,
    /// What the stream itself says of its three components; nothing for one component.
    pub marking: Option<Marking>,
    /// The samples as they are coded: upsampled where they were subsampled, but in the stream's own colour space.
    pub pixels: Vec<u8>,
}

/// What a compressed stream says of its colour space. Attributes of the data set come first, but some are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// Red, green, blue: component ids R, G, B, or an Adobe segment that says "no transform".
    Rgb,
    /// Luma and two chroma: a JFIF or Adobe segment, subsampling, or a colour transform of the codec.
    Ybr,
    /// Nothing tells.
    Unmarked,
}
