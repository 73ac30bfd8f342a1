//! What a stored data set is, as far as its pixels are concerned.

use crate::dicom::{TransferSyntax, Uid};

/// A stored data set, looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How it is stored.
    pub syntax: TransferSyntax,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// What there is to transcode.
    pub content: Content,
}

/// What there is to transcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No Pixel Data: reports, waveforms, raw data. Its elements may be encoded anew, no more.
    NoPixels,
    /// An image or a loop.
    Image(Box<Image>),
    /// It may not be touched, or nobody would know how: why, in a sentence's end for administrators.
    Untouchable(String),
}

/// An image or a loop, as its attributes describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Number of Frames (0028,0008); 1 when there is none.
    pub frames: u32,
    /// Samples per Pixel (0028,0002): 1 or 3.
    pub samples: u8,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Bits Allocated (0028,0100): 8 or 16.
    pub bits_allocated: u8,
    /// Bits Stored (0028,0101): 1 to Bits Allocated.
    pub bits_stored: u8,
    /// Pixel Representation (0028,0103).
    pub sign: Sign,
    /// Planar Configuration (0028,0006).
    pub order: chrysalis_codecs::Order,
    /// What loss the pixels have suffered.
    pub loss: Loss,
    /// What the attributes say against taking it for a grey B-mode image.
    pub veto: Option<Veto>,
}

/// Photometric Interpretation (PS3.3 C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the standard's own names")]
pub enum Photometric {
    Monochrome1,
    Monochrome2,
    PaletteColor,
    Rgb,
    YbrFull,
    YbrFull422,
    YbrPartial420,
    YbrPartial422,
    YbrIct,
    YbrRct,
}

/// Pixel Representation (0028,0103).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// 0
    Unsigned,
    /// 1: two's complement.
    Signed,
}

/// What loss the pixels have suffered before they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None that is known.
    None,
    /// Lossy Image Compression (0028,2110) is 01, and the pixels are stored without further loss.
    Earlier,
    /// They are stored with loss, or may be: the transfer syntax is lossy and nothing says that it was used without.
    Stored,
}

/// Why an image's attributes speak against greying it. Attributes never permit, they only forbid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Veto {
    /// A region (0018,6011) has colour flow, or another data type that has colour (0018,6014).
    Region,
    /// Image Type (0008,0008) says colour or spectral Doppler, or another mode with colour.
    ImageType,
}
