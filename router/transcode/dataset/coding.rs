//! How the headers of elements and items are written in bytes (PS3.5 7.1, 7.5).

use dicom_core::{Tag, VR};

/// How elements are encoded: what there is of a transfer syntax once pixels and deflation are left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    ImplicitLe,
    ExplicitLe,
    ExplicitBe,
}

/// Item (PS3.5 7.5).
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
/// Item Delimitation Item.
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
/// Sequence Delimitation Item.
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Pixel Data.
pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// The length that means that a delimiter ends it.
const UNDEFINED: u32 = 0xFFFF_FFFF;

impl Coding {
    fn is_explicit(self) -> bool {
        self != Self::ImplicitLe
    }

    fn short(self, bytes: [u8; 2]) -> u16 {
        if self == Self::ExplicitBe { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn long(self, bytes: [u8; 4]) -> u32 {
        if self == Self::ExplicitBe { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The tag at the beginning of a header.
    pub(super) fn tag(self, [a, b, c, d, ..]: [u8; 8]) -> Tag {
        Tag(self.short([a, b]), self.short([c, d]))
    }

    /// The length in a header of eight bytes without a value representation: implicit, or of an item or delimiter.
    pub(super) fn length(self, [.., e, f, g, h]: [u8; 8]) -> Option<u32> {
        Some(self.long([e, f, g, h])).filter(|&length| length != UNDEFINED)
    }

    /// The length of 32 bits behind an explicit header of the long form.
    pub(super) fn long_length(self, bytes: [u8; 4]) -> Option<u32> {
        Some(self.long(bytes)).filter(|&length| length != UNDEFINED)
    }

    /// The length of 16 bits in an explicit header of the short form.
    pub(super) fn short_length(self, [.., g, h]: [u8; 8]) -> u32 {
        u32::from(self.short([g, h]))
    }

    /// Whether this element's header says its value representation.
    pub(super) fn names_vr(self, tag: Tag) -> bool {
        self.is_explicit() && tag.0 != 0xFFFE
    }
}

/// Whether the explicit header of this VR has two reserved bytes and a length of 32 bits (PS3.5 Table 7.1-1).
pub(super) fn is_long(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}
