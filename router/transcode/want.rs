//! What a destination wants of pixels, as it is configured.

use super::coding::Coding;
use super::subject::Image;
use crate::dicom::TransferSyntax;

/// How a destination wants images and loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    /// What becomes of images of one frame.
    pub image: Target,
    /// What becomes of loops: images of several frames.
    pub cine: Target,
    /// Whether colour without colour becomes grey.
    pub monochrome: Monochrome,
    /// Whether what was compressed with loss before may be encoded again.
    pub lossy_source: LossySource,
    /// Whether a lossy copy has a SOP Instance UID of its own.
    pub lossy_uid: LossyUid,
}

impl Compression {
    /// Whether everything leaves as it came, as far as the receiver takes it.
    pub fn is_as_received(&self) -> bool {
        self.image == Target::AsReceived
            && self.cine == Target::AsReceived
            && self.monochrome == Monochrome::Never
    }

    /// What is wanted of such an image.
    pub fn of(&self, image: &Image) -> Target {
        if image.frames > 1 { self.cine } else { self.image }
    }
}

/// What pixels become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// As they came.
    #[default]
    AsReceived,
    /// Native, in Explicit VR Little Endian.
    Uncompressed,
    /// JPEG Lossless, Process 14, Selection Value 1.
    JpegLossless,
    /// JPEG Baseline, Process 1.
    JpegLossy(Quality),
}

impl Target {
    /// Whether it is fulfilled by leaving what is stored in this transfer syntax as it is.
    pub fn leaves(self, stored: &TransferSyntax) -> bool {
        match self {
            Self::AsReceived => true,
            Self::Uncompressed => Coding::of(stored) == Coding::Native,
            Self::JpegLossless => *stored == TransferSyntax::JPEG_LOSSLESS,
            Self::JpegLossy(_) => *stored == TransferSyntax::JPEG_BASELINE,
        }
    }
}

/// Quality of lossy compression: 1 to 100, as the IJG's library scales its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quality(u8);

impl Quality {
    /// What is configured when nothing is said.
    pub const DEFAULT: Self = Self(90);

    /// A quality of 1 to 100.
    pub const fn new(percent: u8) -> Option<Self> {
        if percent >= 1 && percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// 1 to 100.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Whether colour images in which no pixel has a colour become MONOCHROME2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Monochrome {
    /// Colour stays colour.
    #[default]
    Never,
    /// When every pixel of every frame is grey, and nothing in the attributes speaks against it.
    BModeOnly,
}

/// What becomes of pixels that were compressed with loss before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossySource {
    /// They are never encoded again: as received, or decoded where "uncompressed" asks for it.
    #[default]
    Keep,
    /// They are encoded as all others.
    Force,
}

/// The SOP Instance UID of a copy that was compressed with loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossyUid {
    /// Its own, because the source was a DICOM image already (PS3.3 C.7.6.1.1.5).
    #[default]
    New,
    /// The source's. Not conformant: two contents have one UID.
    Keep,
}
