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

/// Why a stream could not be decoded. Offsets are in bytes from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first two bytes are not SOI.
    #[error("the bytes do not start a JPEG stream (FFD8H)")]
    NotJpeg,
    /// The stream ends before its image is complete.
    #[error("the JPEG stream ends at {offset}, before its image is complete")]
    Ended {
        /// Where it ends.
        offset: usize,
    },
    /// A marker segment contradicts the standard, or an earlier one.
    #[error("JPEG segment FF{marker:02X}H at {offset}: {why}")]
    Segment {
        /// The marker's second byte.
        marker: u8,
        /// Where the marker lies.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// The entropy-coded data contradict their tables.
    #[error("JPEG entropy-coded data at {offset}: {why}")]
    Entropy {
        /// About where, behind the fault by a few bytes at most.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A sound stream of a kind that is not decoded here.
    #[error("JPEG segment FF{marker:02X}H at {offset}: {what} is not supported")]
    Unsupported {
        /// The marker's second byte.
        marker: u8,
        /// Where the marker lies.
        offset: usize,
        /// What is not supported.
        what: &'static str,
    },
    /// The decoded frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}
