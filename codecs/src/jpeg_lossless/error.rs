//! What can go wrong, and whose fault it is.

/// Why a frame cannot be encoded. All of it is the caller's: pixels and description do not agree.
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
    /// A frame without rows or columns cannot be written as JPEG.
    #[error("a frame of {rows} rows and {columns} columns cannot be encoded")]
    Empty {
        /// Rows of the layout.
        rows: u16,
        /// Columns of the layout.
        columns: u16,
    },
    /// Precision is 2 to 8 for samples of one byte and 9 to 16 for samples of two.
    #[error("{precision} bits of precision do not fit samples of {bytes} bytes")]
    Precision {
        /// Bits of a sample.
        precision: u8,
        /// Bytes of a sample in the layout.
        bytes: u8,
    },
    /// A sample has bits above its precision, which would be lost.
    #[error("row {row} has a sample with more than {precision} bits")]
    SampleTooLarge {
        /// The row, counted from 0.
        row: u16,
        /// Bits a sample may have.
        precision: u8,
    },
    /// The tables were made for another frame, and this one has a difference that they have no code for.
    #[error("the Huffman tables have no code for a difference in row {row}")]
    NoCode {
        /// The row, counted from 0.
        row: u16,
    },
}

/// Why a stream cannot be decoded. Offsets are in bytes from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not begin with SOI.
    #[error("the bytes do not begin as a JPEG stream does")]
    NotJpeg,
    /// The bytes end before the image is complete.
    #[error("the JPEG stream ends at {offset}, within {within}")]
    Truncated {
        /// Where the bytes end.
        offset: usize,
        /// What was being read.
        within: &'static str,
    },
    /// A marker was expected, and something else is there; or this marker cannot stand here.
    #[error("FF{marker:02X} at {offset} cannot stand there")]
    Unexpected {
        /// The second byte of the marker.
        marker: u8,
        /// Where it is.
        offset: usize,
    },
    /// There should be a marker here.
    #[error("there is no marker at {offset}")]
    NoMarker {
        /// Where it should be.
        offset: usize,
    },
    /// A sound stream, but another process than lossless Huffman coding.
    #[error("FF{marker:02X} at {offset} is not the lossless Huffman process")]
    OtherProcess {
        /// The second byte of the frame's marker.
        marker: u8,
        /// Where it is.
        offset: usize,
    },
    /// A sound stream, perhaps, but nothing that DICOM has a use for.
    #[error("{what} at {offset} is not supported")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Where it is.
        offset: usize,
    },
    /// A segment contradicts the standard or itself.
    #[error("the {segment} segment at {offset} is wrong: {why}")]
    Malformed {
        /// Name of the segment.
        segment: &'static str,
        /// Where its marker is.
        offset: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Bits that no code begins with.
    #[error("the bits at {offset} are no code of the Huffman table")]
    NoSuchCode {
        /// Where they are.
        offset: usize,
    },
    /// The stream ends, and a component had no scan.
    #[error("the JPEG stream ends at {offset} without the scan of component {component}")]
    MissingScan {
        /// Where the stream ends.
        offset: usize,
        /// The component, counted from 1.
        component: u8,
    },
    /// The frame would be larger than the limit. Nothing was allocated.
    #[error("the frame has {needed} bytes, the limit is {limit}")]
    FrameTooLarge {
        /// Bytes of the frame.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}

/// Why a stream is not the given frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The stream cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The pixels given do not have the length that the layout asks for.
    #[error("the frame to compare has {found} bytes, its layout needs {expected}")]
    WrongPixelLength {
        /// Bytes given.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The stream has other dimensions, components or precision.
    #[error("the stream is {found}, the frame is {expected}")]
    Shape {
        /// What the stream has.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A row decodes to other samples.
    #[error("row {row} decodes to other samples")]
    Differs {
        /// The first such row, counted from 0.
        row: u16,
    },
}
