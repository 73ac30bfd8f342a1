//! Which value representation an element has whose header does not say so: by the dictionary, and where that leaves a
//! choice, by other elements beside it (PS3.5 Annex A, PS3.6).

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

const WAVEFORM_BITS_ALLOCATED: Tag = Tag(0x5400, 0x1004);
const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);

/// What has been seen in a data set or an item that other elements' representations depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Context {
    /// Pixel Representation (0028,0103); 1 is signed.
    pixel_representation: Option<u16>,
    /// Waveform Bits Allocated (5400,1004).
    waveform_bits: Option<u16>,
}

impl Context {
    /// Whether others depend on this element; its first two bytes are to be [noted](Context::note).
    pub(super) fn depends_on(tag: Tag) -> bool {
        matches!(tag, PIXEL_REPRESENTATION | WAVEFORM_BITS_ALLOCATED)
    }

    /// Takes the first value of an element.
    pub(super) fn note(&mut self, tag: Tag, value: u16) {
        match tag {
            PIXEL_REPRESENTATION => self.pixel_representation = Some(value),
            WAVEFORM_BITS_ALLOCATED => self.waveform_bits = Some(value),
            _ => {}
        }
    }

    /// The context in which an item begins: the pixels that its values may be about are those of the data set around it.
    pub(super) fn inside(self) -> Self {
        Self { pixel_representation: self.pixel_representation, ..Self::default() }
    }

    /// The value representation of a tag. Private and unknown elements are UN; so is one that would be a sequence, since
    /// those are told by their items.
    pub(super) fn vr(self, tag: Tag) -> VR {
        match standard(tag) {
            None | Some(VirtualVr::Exact(VR::SQ)) => VR::UN,
            Some(VirtualVr::Exact(vr)) => vr,
            Some(VirtualVr::Xs) if self.pixel_representation == Some(1) => VR::SS,
            Some(VirtualVr::Xs) => VR::US,
            // Curve Data is of bytes, whatever its points are (PS3.5-2004 A.1).
            Some(VirtualVr::Ox) if tag.0 & 0xFF00 == 0x5000 && tag.1 == 0x3000 => VR::OB,
            Some(VirtualVr::Ox) if tag.0 == 0x5400 && self.waveform_bits == Some(8) => VR::OB,
            // What was in implicit VR is in words (PS3.5 A.1), and OW is allowed for all of these in explicit VR (A.2).
            Some(_) => VR::OW,
        }
    }
}

/// What the dictionary says of a tag. Of a private group it knows private creators and the group length, whatever it has for
/// repeating groups around it (PS3.5 7.8.1).
pub(super) fn standard(tag: Tag) -> Option<VirtualVr> {
    match tag {
        Tag(group, 0x0000) if group % 2 == 1 => Some(VirtualVr::Exact(VR::UL)),
        Tag(group, 0x0010..=0x00FF) if group % 2 == 1 => Some(VirtualVr::Exact(VR::LO)),
        Tag(group, _) if group % 2 == 1 => None,
        _ => StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr),
    }
}

/// Whether the dictionary has a sequence under this tag.
pub(super) fn is_sequence(tag: Tag) -> bool {
    standard(tag) == Some(VirtualVr::Exact(VR::SQ))
}

/// Whether a reader of implicit VR takes a value of this representation for what it is: by the dictionary it would be the
/// same, or another of the kind. Of what the dictionary does not know, no reader knows anything.
pub(super) fn is_read_alike(tag: Tag, vr: VR) -> bool {
    match standard(tag) {
        None => true,
        // What came as UN came from implicit VR, a sequence too (PS3.5 6.2.2 Note 2).
        Some(_) if vr == VR::UN => true,
        Some(VirtualVr::Exact(known)) => {
            known == vr || kind(known).is_some_and(|known| Some(known) == kind(vr))
        }
        Some(_) => matches!(vr, VR::OB | VR::OW | VR::SS | VR::US),
    }
}

/// Whether a reader of implicit VR takes a sequence under this tag for one.
pub(super) fn is_sequence_read(tag: Tag) -> bool {
    matches!(standard(tag), None | Some(VirtualVr::Exact(VR::SQ)))
}

/// Representations whose values are read in the same way.
#[derive(PartialEq, Eq)]
enum Kind {
    Text,
    Bytes,
}

/// None for numbers: each has a size and a meaning of its own; and for sequences.
fn kind(vr: VR) -> Option<Kind> {
    match vr {
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::PN
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => Some(Kind::Text),
        VR::OB | VR::OW => Some(Kind::Bytes),
        VR::AT
        | VR::FD
        | VR::FL
        | VR::OD
        | VR::OF
        | VR::OL
        | VR::OV
        | VR::SL
        | VR::SQ
        | VR::SS
        | VR::SV
        | VR::UL
        | VR::UN
        | VR::US
        | VR::UV => None,
    }
}

/// Bytes of one number in a value of this representation: what is turned round between byte orders (PS3.5 7.3). 1 where
/// there is nothing to turn. The values of UN stay as they are (PS3.5 6.2.2).
pub(super) fn unit(vr: VR) -> usize {
    match vr {
        VR::AT | VR::OW | VR::SS | VR::US => 2,
        VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::OB
        | VR::PN
        | VR::SH
        | VR::SQ
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UN
        | VR::UR
        | VR::UT => 1,
    }
}

/// Turns the bytes of each number round. A remainder that is no whole number stays as it is.
pub(super) fn swap(vr: VR, bytes: &mut [u8]) {
    let unit = unit(vr);
    if unit > 1 {
        bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Tag, VR, is_read_alike, is_sequence, is_sequence_read, swap};

    #[test]
    fn what_depends_on_others_follows_them() {
        let mut context = Context::default();
        assert_eq!(context.vr(Tag(0x0028, 0x0106)), VR::US);
        context.note(Tag(0x0028, 0x0103), 1);
        context.note(Tag(0x5400, 0x1004), 8);
        assert_eq!(context.vr(Tag(0x0028, 0x0106)), VR::SS);
        assert_eq!(context.vr(Tag(0x5400, 0x1010)), VR::OB);
        assert_eq!(context.inside().vr(Tag(0x0028, 0x0106)), VR::SS);
        assert_eq!(context.inside().vr(Tag(0x5400, 0x1010)), VR::OW);
        for tag in [Tag(0x7FE0, 0x0010), Tag(0x6002, 0x3000), Tag(0x0028, 0x3006)] {
            assert_eq!(context.vr(tag), VR::OW);
        }
    }

    #[test]
    fn of_private_groups_only_creators_are_known() {
        let context = Context::default();
        for group in [0x0009, 0x5001, 0x6001, 0x7FDD, 0x7FE1] {
            assert_eq!(context.vr(Tag(group, 0x0010)), VR::LO);
            assert_eq!(context.vr(Tag(group, 0x1010)), VR::UN);
            assert_eq!(context.vr(Tag(group, 0x3000)), VR::UN);
        }
        assert_eq!(context.vr(Tag(0x0008, 0x9999)), VR::UN);
        assert!(is_sequence(Tag(0x0018, 0x6011)) && !is_sequence(Tag(0x0018, 0x6012)));
    }

    #[test]
    fn what_a_reader_of_implicit_vr_takes_for_something_else_is_told() {
        let (rows, station, lut, private) =
            (Tag(0x0028, 0x0010), Tag(0x0008, 0x1010), Tag(0x0028, 0x3006), Tag(0x0029, 0x1010));
        for (tag, vr) in [
            (rows, VR::US),
            (rows, VR::UN),
            (station, VR::LO),
            (lut, VR::US),
            (lut, VR::OW),
            (Tag(0x0028, 0x0106), VR::SS),
            (Tag(0x7FE0, 0x0010), VR::OB),
            (Tag(0x0028, 0x2000), VR::OW),
            (private, VR::FD),
        ] {
            assert!(is_read_alike(tag, vr), "{tag} {vr}");
        }
        for (tag, vr) in [
            (rows, VR::UL),
            (rows, VR::SS),
            (rows, VR::IS),
            (station, VR::US),
            (lut, VR::DS),
            (Tag(0x0008, 0x1140), VR::LO),
            (Tag(0x0018, 0x602C), VR::FL),
        ] {
            assert!(!is_read_alike(tag, vr), "{tag} {vr}");
        }
        assert!(is_sequence_read(private) && is_sequence_read(Tag(0x0008, 0x1140)));
        assert!(!is_sequence_read(station) && !is_sequence_read(Tag(0x7FE0, 0x0010)));
    }

    #[test]
    fn numbers_are_turned_and_a_remainder_is_not() {
        let turned = |vr, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            swap(vr, &mut bytes);
            bytes
        };
        assert_eq!(turned(VR::AT, &[1, 2, 3, 4]), [2, 1, 4, 3]);
        assert_eq!(turned(VR::UL, &[1, 2, 3, 4, 5, 6]), [4, 3, 2, 1, 5, 6]);
        assert_eq!(turned(VR::FD, &[1, 2, 3, 4, 5, 6, 7, 8]), [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(turned(VR::UN, &[1, 2]), [1, 2]);
        assert_eq!(turned(VR::LO, b"AB"), b"AB");
    }
}
