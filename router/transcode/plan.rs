//! What is done with a stored data set for one destination: a pure function.

use chrysalis_codecs::Limits;

use super::want::{LossyUid, Quality};
use crate::dicom::TransferSyntax;

/// What is done with an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It goes as it is stored, byte for byte.
    PassThrough {
        /// Why, for administrators.
        why: String,
    },
    /// It goes as this makes it.
    Transcode(Recipe),
    /// It cannot go.
    Hold {
        /// Why, for administrators.
        why: String,
    },
}

/// What a receiver takes of an instance's SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepts {
    /// Whatever it is given, as a folder does.
    Anything,
    /// These transfer syntaxes.
    These(Vec<TransferSyntax>),
}

/// How a copy is made: everything its bytes depend on, beside the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The copy's transfer syntax.
    pub to: TransferSyntax,
    /// What becomes of the pixels.
    pub pixels: Pixels,
    /// Whether colour without colour becomes grey.
    pub grey: Grey,
    /// The SOP Instance UID of what was encoded with loss.
    pub lossy_uid: LossyUid,
    /// Why, for administrators. The copy does not depend on it.
    pub why: String,
}

/// What becomes of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pixels {
    /// They stay as they are; only elements are encoded anew.
    AsTheyAre,
    /// They are decoded.
    Native,
    /// JPEG Lossless, Process 14, Selection Value 1.
    JpegLossless,
    /// JPEG Baseline.
    JpegLossy(Quality),
    /// RLE Lossless.
    Rle,
}

/// Whether colour images without a colour become MONOCHROME2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grey {
    /// They stay in colour.
    Never,
    /// When in every pixel of every frame red, green and blue are within this of each other.
    Within(u8),
}

/// The tolerance for grey after decoding what was compressed with loss.
pub const GREY_AFTER_LOSS: u8 = 10;

/// What frames may need at most.
pub const LIMITS: Limits = Limits { frame_bytes: 256 << 20 };
