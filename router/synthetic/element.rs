//! Data elements, written in the two encodings that carts use.

use crate::dicom::Tag;

/// Writes elements one after another, in ascending order of tags if the caller keeps it.
pub(super) struct Writer {
    vr: Vr,
    out: Vec<u8>,
}

/// Whether elements name their value representation (PS3.5 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vr {
    Explicit,
    Implicit,
}

impl Writer {
    pub(super) const fn new(vr: Vr) -> Self {
        Self { vr, out: Vec::new() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// A text or UID, padded to an even length (PS3.5 6.2).
    pub(super) fn text(&mut self, tag: Tag, vr: &[u8; 2], value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == b"UI" { 0 } else { b' ' });
        }
        self.element(tag, vr, &bytes);
    }

    /// An unsigned short, or several.
    pub(super) fn shorts(&mut self, tag: Tag, values: &[u16]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.element(tag, b"US", &bytes);
    }

    pub(super) fn long(&mut self, tag: Tag, value: u32) {
        self.element(tag, b"UL", &value.to_le_bytes());
    }

    pub(super) fn signed_long(&mut self, tag: Tag, value: i32) {
        self.element(tag, b"SL", &value.to_le_bytes());
    }

    pub(super) fn double(&mut self, tag: Tag, value: f64) {
        self.element(tag, b"FD", &value.to_le_bytes());
    }

    /// The tag of another element.
    pub(super) fn pointer(&mut self, tag: Tag, value: Tag) {
        self.element(tag, b"AT", &[value.0.to_le_bytes(), value.1.to_le_bytes()].concat());
    }

    /// A sequence whose items `fill` writes, one for each of `items`; lengths are explicit.
    pub(super) fn sequence<T>(&mut self, tag: Tag, items: &[T], fill: impl Fn(&mut Self, &T)) {
        let mut value = Vec::new();
        for item in items {
            let mut inner = Self::new(self.vr);
            fill(&mut inner, item);
            value.extend(ITEM);
            value.extend(length(inner.out.len()).to_le_bytes());
            value.extend(inner.out);
        }
        self.element(tag, b"SQ", &value);
    }

    /// An element whose value is even already.
    pub(super) fn element(&mut self, tag: Tag, vr: &[u8; 2], value: &[u8]) {
        self.header(tag, vr, length(value.len()));
        self.out.extend_from_slice(value);
    }

    /// What stands before a value of so many bytes; `u32::MAX` is an undefined length.
    pub(super) fn header(&mut self, tag: Tag, vr: &[u8; 2], length: u32) {
        self.out.extend(tag.0.to_le_bytes());
        self.out.extend(tag.1.to_le_bytes());
        match (self.vr, vr, u16::try_from(length)) {
            (Vr::Implicit, ..) => self.out.extend(length.to_le_bytes()),
            (Vr::Explicit, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT", _) | (Vr::Explicit, _, Err(_)) => {
                self.out.extend_from_slice(vr);
                self.out.extend([0, 0]);
                self.out.extend(length.to_le_bytes());
            }
            (Vr::Explicit, _, Ok(length)) => {
                self.out.extend_from_slice(vr);
                self.out.extend(length.to_le_bytes());
            }
        }
    }

    /// An item of a sequence of fragments (PS3.5 A.4), whose value is even already.
    pub(super) fn fragment(&mut self, value: &[u8]) {
        self.out.extend(ITEM);
        self.out.extend(length(value.len()).to_le_bytes());
        self.out.extend_from_slice(value);
    }
}

/// The tag of an item.
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];

/// The item that ends a sequence of undefined length.
pub(super) const SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

/// Headers of a few kilobytes and single frames are written here, nothing of 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_with_a_space_and_uids_with_a_nul() {
        let mut writer = Writer::new(Vr::Explicit);
        writer.text(Tag(0x0010, 0x0020), b"LO", "A");
        writer.text(Tag(0x0020, 0x000D), b"UI", "1.2");
        let expected = b"\x10\0\x20\0LO\x02\0A \x20\0\x0D\0UI\x04\x001.2\0";
        assert_eq!(writer.into_bytes(), expected);
    }

    #[test]
    fn implicit_elements_have_no_value_representation_and_long_ones_four_bytes_of_length() {
        let mut implicit = Writer::new(Vr::Implicit);
        implicit.shorts(Tag(0x0028, 0x0010), &[7]);
        assert_eq!(implicit.into_bytes(), b"\x28\0\x10\0\x02\0\0\0\x07\0");
        let mut explicit = Writer::new(Vr::Explicit);
        explicit.sequence(Tag(0x0018, 0x6011), &[1_u16], |item, value| {
            item.shorts(Tag(0x0018, 0x6012), &[*value]);
        });
        let expected = b"\x18\0\x11\x60SQ\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0\x18\0\x12\x60US\x02\0\x01\0";
        assert_eq!(explicit.into_bytes(), expected);
    }
}
