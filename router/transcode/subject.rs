//! What a stored data set is, as far as its pixels are concerned.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use dicom_dictionary_std::tags;

use super::Source;
use super::dataset::{InflateError, Outline, OutlineError, ReadError, inflate};
use super::facts;
use super::values::{Refusal, Values};
use crate::dicom::scan::Structure;
use crate::dicom::walk::Walk;
use crate::dicom::{Encoding, Tag, TransferSyntax, Uid};

/// A stored data set, looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How it is stored.
    pub syntax: TransferSyntax,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// Its elements; none where it cannot be read.
    pub outline: Outline,
    /// What there is to transcode.
    pub content: Content,
}

/// Whether the running walk found the structure of a data set sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// It did.
    Sound,
    /// It did not, or could not look.
    Odd,
}

impl From<bool> for Soundness {
    fn from(is_sound: bool) -> Self {
        if is_sound { Self::Sound } else { Self::Odd }
    }
}

/// A stored data set cannot be looked at: a fault of this machine, never of the data set.
#[derive(Debug, thiserror::Error)]
#[error("the data set cannot be read: {0}")]
pub struct SubjectError(#[from] pub io::Error);

impl Subject {
    /// Looks at a stored data set. A deflated one is inflated for that, and its outline is that of what was inflated. What is wrong with it makes it [`Content::Untouchable`] and is no error.
    ///
    /// # Errors
    /// [`SubjectError`] when the stored bytes cannot be read.
    pub fn read(
        source: &dyn Source,
        syntax: &TransferSyntax,
        soundness: Soundness,
    ) -> Result<Self, SubjectError> {
        let untouchable = |why: &str| Self {
            syntax: syntax.clone(),
            sop_class: Uid::default(),
            sop_instance: Uid::default(),
            outline: Outline {
                encoding: syntax.encoding(),
                elements: Vec::new(),
                start: 0,
                length: source.len(),
            },
            content: Content::Untouchable(why.to_owned()),
        };
        let encoding = match (syntax.encoding(), soundness) {
            // Its structure can only be looked at once it is inflated.
            (Encoding::DeflatedLe, _) => {
                return match inflated(source)? {
                    Ok(bytes) => {
                        let looked_at =
                            Self::read(&bytes, &TransferSyntax::EXPLICIT_VR_LE, structure(&bytes))?;
                        Ok(Self { syntax: syntax.clone(), ..looked_at })
                    }
                    Err(why) => Ok(untouchable(&why)),
                };
            }
            (Encoding::Unknown, _) => return Ok(untouchable("its transfer syntax is not known here")),
            (_, Soundness::Odd) => return Ok(untouchable("its structure is odd")),
            (encoding, Soundness::Sound) => encoding,
        };
        let outline = match Outline::read(source, encoding) {
            Ok(outline) => outline,
            Err(OutlineError::Read(ReadError::Source(error))) if is_of_the_disk(&error) => {
                return Err(error.into());
            }
            Err(error) => return Ok(untouchable(&error.to_string())),
        };
        let values = Values { source, outline: &outline };
        let (sop_class, sop_instance) =
            match (values.uid(tags::SOP_CLASS_UID), values.uid(tags::SOP_INSTANCE_UID)) {
                (Ok(class), Ok(instance)) => (class, instance),
                (Err(Refusal::Source(error)), _) | (_, Err(Refusal::Source(error))) => {
                    return Err(error.into());
                }
                (Err(_), _) | (_, Err(_)) => return Ok(untouchable("it does not say what it is")),
            };
        let content = match content(&values, syntax) {
            Ok(content) => content,
            Err(Refusal::Source(error)) => return Err(error.into()),
            Err(Refusal::Foreign(why)) => Content::OtherPixels(why),
            Err(Refusal::Odd(why)) => Content::Untouchable(why),
        };
        Ok(Self { syntax: syntax.clone(), sop_class, sop_instance, outline, content })
    }

    /// The image, if it is one that can be decoded.
    pub fn image(&self) -> Option<&Image> {
        match &self.content {
            Content::Image(image) => Some(image),
            Content::NoPixels | Content::OtherPixels(_) | Content::Untouchable(_) => None,
        }
    }
}

/// What there is to transcode in a data set that has an outline.
fn content(values: &Values<'_>, syntax: &TransferSyntax) -> Result<Content, Refusal> {
    let there = |tag: Tag| values.outline.get(tag).is_some();
    if there(tags::DIGITAL_SIGNATURES_SEQUENCE) || there(tags::MAC_PARAMETERS_SEQUENCE) {
        return Err(Refusal::Odd("it is digitally signed".to_owned()));
    }
    if there(tags::FLOAT_PIXEL_DATA) || there(tags::DOUBLE_FLOAT_PIXEL_DATA) {
        return Err(Refusal::Foreign("its pixels are floating point numbers".to_owned()));
    }
    let mut pixel_data = values.outline.elements.iter().filter(|element| element.tag == tags::PIXEL_DATA);
    let content = match (pixel_data.next(), pixel_data.next()) {
        (None, _) => Content::NoPixels,
        (Some(_), Some(_)) => return Err(Refusal::Odd("it has Pixel Data twice".to_owned())),
        (Some(element), None) => Content::Image(Box::new(facts::read(values, syntax, element)?)),
    };
    // Its own pixels are decoded, and its icon can be left out of a copy; nobody looks for other pixels.
    let goes = |tag| tag == tags::ICON_IMAGE_SEQUENCE && content != Content::NoPixels;
    for element in values.outline.elements.iter().filter(|element| !goes(element.tag)) {
        if values.outline.has_fragments_within(values.source, element)? {
            return Err(Refusal::Foreign(format!("there are compressed pixels within {}", element.tag)));
        }
    }
    Ok(content)
}

/// An inflated data set, or why it is left as it is.
fn inflated(source: &dyn Source) -> Result<Result<Vec<u8>, String>, SubjectError> {
    let mut bytes = Vec::new();
    match inflate(source, &mut bytes, MOST_INFLATED) {
        Ok(_) => Ok(Ok(bytes)),
        Err(InflateError::Source(error)) if is_of_the_disk(&error) => Err(error.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What the running walk says of a whole data set in Explicit VR Little Endian.
fn structure(bytes: &[u8]) -> Soundness {
    let mut walk = Walk::new(Encoding::ExplicitLe);
    walk.feed(bytes);
    match walk.finish().structure {
        Structure::Sound => Soundness::Sound,
        Structure::Odd { .. } | Structure::Truncated { .. } | Structure::NotWalked => Soundness::Odd,
    }
}

/// Whether the disk failed, and not only the data set ended early.
fn is_of_the_disk(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof
}

/// What there is to transcode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// No Pixel Data: reports, waveforms, raw data. Its elements may be encoded anew, no more.
    NoPixels,
    /// An image or a loop.
    Image(Box<Image>),
    /// Pixels that are not decoded here: why, in a sentence's end for administrators. Native ones go along, as they are,
    /// when elements are encoded anew.
    OtherPixels(String),
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

/// What a deflated data set may become in memory to be looked at, in bytes.
const MOST_INFLATED: u64 = 64 << 20;
