//! The few attributes that routing and reporting need, captured as raw bytes while a data set passes by: a fixed set that the
//! router itself asks for, and as many more as the configuration or a search names.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use dicom_core::{Tag, VR};

use super::keyword;
use super::text;
use super::uid::Uid;

/// The most bytes kept of one value; longer ones are cut and marked.
pub const MAX_VALUE: usize = 1024;

/// The same for an extra tag: rules compare whole values, and the longest that is bounded is of 10,240 characters (LT).
pub const MAX_EXTRA_VALUE: usize = 16 << 10;

/// The most tags that may be asked for beside the fixed set.
pub const MAX_EXTRA_TAGS: usize = 64;

macro_rules! attributes {
    ($($(#[$doc:meta])* $name:ident = $tag:literal,)*) => {
        /// An attribute that every scan captures, at top level and at its first occurrence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Attribute { $($(#[$doc])* $name,)* }

        impl Attribute {
            /// All of them, by tag.
            pub const ALL: &[Attribute] = &[$(Attribute::$name,)*];

            /// The attribute with this tag (group in the upper half), if it is one that is always captured.
            pub fn by_tag(tag: u32) -> Option<Self> {
                match tag { $($tag => Some(Self::$name),)* _ => None }
            }

            /// Its tag.
            pub const fn tag(self) -> Tag {
                match self { $(Self::$name => Tag(($tag >> 16) as u16, ($tag & 0xFFFF) as u16),)* }
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

/// Tags to be captured beside the fixed set. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtraTags(Option<Arc<[u32]>>);

/// More tags were asked for than are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_EXTRA_TAGS} attributes are asked for")]
pub struct TooManyTags;

impl ExtraTags {
    /// The tags in any order; those that are captured anyway are left out.
    ///
    /// # Errors
    /// [`TooManyTags`] when more than [`MAX_EXTRA_TAGS`] are left.
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Result<Self, TooManyTags> {
        let wanted = tags.into_iter().map(number).filter(|&tag| Attribute::by_tag(tag).is_none());
        let mut tags: Vec<u32> = wanted.collect();
        tags.sort_unstable();
        tags.dedup();
        match tags.len() {
            0 => Ok(Self(None)),
            1..=MAX_EXTRA_TAGS => Ok(Self(Some(tags.into()))),
            _ => Err(TooManyTags),
        }
    }

    fn as_slice(&self) -> &[u32] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Where a captured value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u8);

/// Raw values, bounded in number and size. They hold patient data: not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Attributes {
    /// One for each of the fixed set, then one for each extra tag.
    values: Vec<Option<Value>>,
    extra: ExtraTags,
    big_endian: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    /// As the data set has it; none in implicit VR.
    vr: Option<[u8; 2]>,
    cut: bool,
}

impl Attributes {
    /// An empty set whose binary values will be in the given byte order.
    pub(super) fn new(big_endian: bool, extra: ExtraTags) -> Self {
        Self { values: vec![None; Attribute::ALL.len() + extra.as_slice().len()], extra, big_endian }
    }

    /// Whether the attribute was seen, even if empty.
    pub fn contains(&self, attribute: Attribute) -> bool {
        self.raw(attribute).is_some()
    }

    /// The value as received, padding included, at most [`MAX_VALUE`] bytes of it.
    pub fn raw(&self, attribute: Attribute) -> Option<&[u8]> {
        self.value(Slot(attribute as u8)).map(|value| value.bytes.as_slice())
    }

    /// Whether the value was longer than what is kept.
    pub fn is_cut(&self, attribute: Attribute) -> bool {
        self.value(Slot(attribute as u8)).is_some_and(|value| value.cut)
    }

    /// The value without padding, read as UTF-8 where it is that and as Latin-1 otherwise; empty if absent. For values that
    /// only have ASCII; [`Attributes::decoded`] is for those that people write.
    pub fn text(&self, attribute: Attribute) -> String {
        let raw = self.raw(attribute).unwrap_or_default();
        text::guess(raw).trim_matches([' ', '\0']).to_owned()
    }

    /// The value of any captured tag as text, its values separated by backslashes and each without padding: text decoded by
    /// the Specific Character Set, binary numbers in decimal (PS3.5 6.2). Empty where the attribute is absent or empty, was
    /// not asked for, or is nothing that can be written as text.
    pub fn decoded(&self, tag: Tag) -> String {
        let Some(value) = self.slot(number(tag)).and_then(|slot| self.value(slot)) else {
            return String::new();
        };
        let vr = value.vr.and_then(VR::from_binary).filter(|vr| *vr != VR::UN);
        let whole = match text::numbers(vr.or_else(|| keyword::vr_of(tag)), &value.bytes, self.big_endian) {
            Some(numbers) => numbers,
            None => text::decode(self.raw(Attribute::SpecificCharacterSet).unwrap_or_default(), &value.bytes),
        };
        let trimmed: Vec<_> = whole.split('\\').map(|part| part.trim_matches([' ', '\0'])).collect();
        trimmed.join("\\")
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

    /// Where a value of this tag would be kept, if it is captured at all.
    pub(super) fn slot(&self, tag: u32) -> Option<Slot> {
        let fixed = Attribute::by_tag(tag).map(|attribute| attribute as usize);
        let asked = || self.extra.as_slice().binary_search(&tag).ok().map(|at| Attribute::ALL.len() + at);
        fixed.or_else(asked).and_then(|index| u8::try_from(index).ok()).map(Slot)
    }

    /// Whether one of these was longer than what is kept.
    pub fn is_any_cut(&self, tags: &[Tag]) -> bool {
        let values = tags.iter().filter_map(|tag| self.slot(number(*tag)).and_then(|slot| self.value(slot)));
        values.into_iter().any(|value| value.cut)
    }

    /// Starts an attribute; returns whether it is the first of its tag.
    pub(super) fn begin(&mut self, slot: Slot, vr: Option<[u8; 2]>) -> bool {
        match self.values.get_mut(usize::from(slot.0)) {
            Some(empty @ None) => {
                *empty = Some(Value { bytes: Vec::new(), vr, cut: false });
                true
            }
            Some(Some(_)) | None => false,
        }
    }

    /// Adds the next piece of the attribute's value.
    pub(super) fn extend(&mut self, slot: Slot, piece: &[u8]) {
        if let Some(Some(value)) = self.values.get_mut(usize::from(slot.0)) {
            let is_extra = usize::from(slot.0) >= Attribute::ALL.len();
            let room = if is_extra { MAX_EXTRA_VALUE } else { MAX_VALUE } - value.bytes.len();
            value.cut |= piece.len() > room;
            value.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }

    fn value(&self, slot: Slot) -> Option<&Value> {
        self.values.get(usize::from(slot.0))?.as_ref()
    }
}

impl Default for Attributes {
    /// Nothing was captured.
    fn default() -> Self {
        Self::new(false, ExtraTags::default())
    }
}

/// A tag with its group in the upper half.
fn number(tag: Tag) -> u32 {
    u32::from(tag.0) << 16 | u32::from(tag.1)
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attributes(<phi>)")
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, ExtraTags, MAX_EXTRA_TAGS, TooManyTags};
    use crate::dicom::scan::Scanner;
    use crate::dicom::{Encoding, Tag};

    const BODY_PART: Tag = Tag(0x0018, 0x0015);

    /// Elements of Implicit VR Little Endian.
    fn data_set(elements: &[(Tag, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, value) in elements {
            bytes.extend(tag.0.to_le_bytes());
            bytes.extend(tag.1.to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    fn decoded(elements: &[(Tag, &[u8])], tag: Tag) -> String {
        let extra = ExtraTags::new(elements.iter().map(|(tag, _)| *tag)).unwrap();
        let mut scanner = Scanner::capturing(Encoding::ImplicitLe, extra);
        scanner.feed(&data_set(elements));
        scanner.attributes().decoded(tag)
    }

    #[test]
    fn text_is_decoded_by_the_character_set_and_every_value_is_trimmed() {
        let charset = Attribute::SpecificCharacterSet.tag();
        let institution = Attribute::InstitutionName.tag();
        for (code, value, text) in [
            ("ISO_IR 100", &b"Universit\xE4t "[..], "Universität"),
            ("ISO_IR 192", "Universität".as_bytes(), "Universität"),
            ("ISO_IR 144", b"\xBC\xDE\xE1\xDA\xD2\xD0", "Москва"),
            ("\\ISO 2022 IR 149", b"Kim \x1B$)C\xB1\xE8", "Kim 김"),
            ("", b"A \\ B ", "A\\B"),
            ("", b"Klinik S\xFCd", "Klinik Süd"),
            ("NONSENSE", b"Klinik ", "Klinik"),
        ] {
            let elements = [(charset, code.as_bytes()), (institution, value)];
            assert_eq!(decoded(&elements, institution), text, "{code}");
        }
    }

    #[test]
    fn binary_numbers_are_written_in_decimal() {
        let rows = Attribute::Rows.tag();
        assert_eq!(decoded(&[(rows, &[0x34, 0x12])], rows), "4660");
        let heart_rate = Tag(0x0018, 0x1088);
        assert_eq!(decoded(&[(heart_rate, b" 72 ")], heart_rate), "72");
        let delta = Tag(0x0018, 0x602C);
        assert_eq!(decoded(&[(delta, &0.25_f64.to_le_bytes())], delta), "0.25");
        let overlay_origin = Tag(0x6000, 0x0050);
        assert_eq!(decoded(&[(overlay_origin, &[1, 0, 0xFF, 0xFF])], overlay_origin), "1\\-1");
    }

    #[test]
    fn what_was_not_asked_for_or_is_not_there_is_empty() {
        assert_eq!(decoded(&[(Attribute::Modality.tag(), b"US")], BODY_PART), "");
        let mut scanner = Scanner::new(Encoding::ImplicitLe);
        scanner.feed(&data_set(&[(BODY_PART, b"HEART ")]));
        assert_eq!(scanner.attributes().decoded(BODY_PART), "");
        assert_eq!(decoded(&[(BODY_PART, b"HEART ")], BODY_PART), "HEART");
    }

    #[test]
    fn only_so_many_tags_may_be_asked_for_and_fixed_ones_do_not_count() {
        let tags = |count: usize| (0..count).map(|n| Tag(0x0018, 0x1000 + n as u16));
        assert!(ExtraTags::new(tags(MAX_EXTRA_TAGS)).is_ok());
        assert_eq!(ExtraTags::new(tags(MAX_EXTRA_TAGS + 1)), Err(TooManyTags));
        assert_eq!(ExtraTags::new(Attribute::ALL.iter().map(|a| a.tag())), Ok(ExtraTags::default()));
    }
}
