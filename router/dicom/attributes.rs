//! The few attributes that routing and reporting need, captured as raw bytes while a data set passes by.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use super::uid::Uid;

/// The most bytes kept of one value; longer ones are cut and marked.
pub const MAX_VALUE: usize = 1024;

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident = $tag:literal,)*) => {
        /// An attribute that a scan captures, at top level and at its first occurrence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Attribute { $($(#[$doc])* $name,)* }

        impl Attribute {
            /// All of them, by tag.
            pub const ALL: &[Attribute] = &[$(Attribute::$name,)*];

            /// The attribute with this tag (group in the upper half), if it is one that is captured.
            pub fn by_tag(tag: u32) -> Option<Self> {
                match tag { $($tag => Some(Self::$name),)* _ => None }
            }
        }
    };
}

attributes! {
    /// Specific Character Set.
    SpecificCharacterSet = 0x0008_0005,
    /// SOP Class UID.
    SopClassUid = 0x0008_0016,
    /// SOP Instance UID.
    SopInstanceUid = 0x0008_0018,
    /// Study Date.
    StudyDate = 0x0008_0020,
    /// Accession Number.
    AccessionNumber = 0x0008_0050,
    /// Modality.
    Modality = 0x0008_0060,
    /// Institution Name.
    InstitutionName = 0x0008_0080,
    /// Station Name.
    StationName = 0x0008_1010,
    /// Study Description.
    StudyDescription = 0x0008_1030,
    /// Series Description.
    SeriesDescription = 0x0008_103E,
    /// Patient ID.
    PatientId = 0x0010_0020,
    /// Issuer of Patient ID.
    IssuerOfPatientId = 0x0010_0021,
    /// Study Instance UID.
    StudyInstanceUid = 0x0020_000D,
    /// Series Instance UID.
    SeriesInstanceUid = 0x0020_000E,
    /// Samples per Pixel (US).
    SamplesPerPixel = 0x0028_0002,
    /// Photometric Interpretation.
    PhotometricInterpretation = 0x0028_0004,
    /// Number of Frames (IS).
    NumberOfFrames = 0x0028_0008,
    /// Rows (US).
    Rows = 0x0028_0010,
    /// Columns (US).
    Columns = 0x0028_0011,
    /// Bits Allocated (US).
    BitsAllocated = 0x0028_0100,
    /// Lossy Image Compression.
    LossyImageCompression = 0x0028_2110,
}

/// Raw values, bounded in number and size. They hold patient data: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Attributes {
    values: Vec<Option<Value>>,
    big_endian: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    cut: bool,
}

impl Attributes {
    /// An empty set whose binary values will be in the given byte order.
    pub(super) fn new(big_endian: bool) -> Self {
        Self { values: vec![None; Attribute::ALL.len()], big_endian }
    }

    /// Whether the attribute was seen, even if empty.
    pub fn contains(&self, attribute: Attribute) -> bool {
        self.raw(attribute).is_some()
    }

    /// The value as received, padding included, at most [`MAX_VALUE`] bytes of it.
    pub fn raw(&self, attribute: Attribute) -> Option<&[u8]> {
        self.slot(attribute).map(|value| value.bytes.as_slice())
    }

    /// Whether the value was longer than what is kept.
    pub fn is_cut(&self, attribute: Attribute) -> bool {
        self.slot(attribute).is_some_and(|value| value.cut)
    }

    /// The value without padding, read as UTF-8 where it is that and as Latin-1 otherwise; empty if absent.
    pub fn text(&self, attribute: Attribute) -> String {
        let raw = self.raw(attribute).unwrap_or_default();
        let text = std::str::from_utf8(raw)
            .map_or_else(|_| raw.iter().map(|&byte| char::from(byte)).collect(), str::to_owned);
        text.trim_matches([' ', '\0']).to_owned()
    }

    /// The value as a UID, or none if it is absent or empty.
    pub fn uid(&self, attribute: Attribute) -> Option<Uid> {
        self.raw(attribute).map(Uid::from_wire).filter(|uid| !uid.is_empty())
    }

    /// The value as one unsigned 16-bit number (VR US), if it is exactly two bytes long.
    pub fn unsigned_short(&self, attribute: Attribute) -> Option<u16> {
        let bytes: [u8; 2] = self.raw(attribute)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// The value as one integer string (VR IS).
    pub fn integer(&self, attribute: Attribute) -> Option<i64> {
        self.text(attribute).parse().ok()
    }

    /// Starts an attribute; returns whether it is the first of its tag.
    pub(super) fn begin(&mut self, attribute: Attribute) -> bool {
        match self.values.get_mut(attribute as usize) {
            Some(slot @ None) => {
                *slot = Some(Value { bytes: Vec::new(), cut: false });
                true
            }
            Some(Some(_)) | None => false,
        }
    }

    /// Adds the next piece of the attribute's value.
    pub(super) fn extend(&mut self, attribute: Attribute, piece: &[u8]) {
        if let Some(Some(value)) = self.values.get_mut(attribute as usize) {
            let room = MAX_VALUE - value.bytes.len();
            value.cut |= piece.len() > room;
            value.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }

    fn slot(&self, attribute: Attribute) -> Option<&Value> {
        self.values.get(attribute as usize)?.as_ref()
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attributes(<phi>)")
    }
}
