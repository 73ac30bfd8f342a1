//! What can be wrong with a frame to encode, and with a stream to decode.

/// Why a frame could not be encoded: each is a mistake of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The pixels do not have the length that the layout asks for.
    #[error("the frame to encode has {found} bytes, its layout needs {expected}")]
    WrongPixelLength {
        /// Bytes given.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The frame has no rows or no columns.
    #[error("a frame without rows or columns cannot be JPEG")]
    Empty,
    /// Baseline JPEG has 8 bits per sample (ISO 10918-1 table B.2).
    #[error("baseline JPEG has 8 bits per sample, the frame has 16")]
    TooDeep,
    /// Grey needs one sample per pixel, colour three.
    #[error("the samples per pixel do not suit the colour space")]
    WrongSamples,
}

/// Why a stream could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The stream is not what the standard says.
    #[error("the JPEG stream is broken: {0}")]
    Broken(String),
    /// The decoded frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}
