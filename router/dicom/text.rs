//! Values as text: characters by the Specific Character Set (PS3.5 6.1, PS3.3 C.12.1.1.2), binary numbers in decimal.
//! Nothing is refused: what cannot be decoded comes out as well as it can.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use dicom_core::VR;
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

const ESCAPE: u8 = 0x1B;

/// What switches to a character set, and the defined term of that set (PS3.3 Tables C.12-3 and C.12-4). The ISO 2022 decoder of the
/// Japanese sets reads their escape sequences itself.
const ESCAPES: &[(&[u8], &str, KeepsEscape)] = &[
    (b"(B", "ISO 2022 IR 6", KeepsEscape::No),
    (b"-A", "ISO 2022 IR 100", KeepsEscape::No),
    (b"-B", "ISO 2022 IR 101", KeepsEscape::No),
    (b"-C", "ISO 2022 IR 109", KeepsEscape::No),
    (b"-D", "ISO 2022 IR 110", KeepsEscape::No),
    (b"-L", "ISO 2022 IR 144", KeepsEscape::No),
    (b"-G", "ISO 2022 IR 127", KeepsEscape::No),
    (b"-F", "ISO 2022 IR 126", KeepsEscape::No),
    (b"-H", "ISO 2022 IR 138", KeepsEscape::No),
    (b"-T", "ISO 2022 IR 166", KeepsEscape::No),
    (b"(J", "ISO 2022 IR 87", KeepsEscape::Yes),
    (b")I", "ISO 2022 IR 13", KeepsEscape::No),
    (b"$B", "ISO 2022 IR 87", KeepsEscape::Yes),
    (b"$(D", "ISO 2022 IR 87", KeepsEscape::Yes),
    (b"$)C", "ISO 2022 IR 149", KeepsEscape::No),
    (b"$)A", "ISO 2022 IR 58", KeepsEscape::No),
];

/// Whether a decoder wants to see the escape sequence that switched to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeepsEscape {
    Yes,
    No,
}

/// The text of `value` by the raw value of Specific Character Set, which may be empty.
pub(super) fn decode(charset: &[u8], value: &[u8]) -> String {
    let terms = guess(charset);
    let first = terms.split('\\').next().map(|term| term.trim_matches([' ', '\0'])).unwrap_or_default();
    let known = SpecificCharacterSet::from_code(first);
    // What declares nothing, or nothing known, is read as most such senders mean it.
    let declared = known.filter(|known| *known != SpecificCharacterSet::ISO_IR_6);
    let initial = |bytes: &[u8]| declared.as_ref().map_or_else(|| guess(bytes), |set| apply(set, bytes));
    let mut segments = value.split(|&byte| byte == ESCAPE);
    let mut text = initial(segments.next().unwrap_or_default());
    for segment in segments {
        let switched = ESCAPES.iter().find(|(escape, ..)| segment.starts_with(escape));
        match switched
            .and_then(|(escape, term, keeps)| Some((*escape, SpecificCharacterSet::from_code(term)?, *keeps)))
        {
            Some((_, set, KeepsEscape::Yes)) => text += &apply(&set, &[&[ESCAPE], segment].concat()),
            Some((escape, set, KeepsEscape::No)) => {
                text += &apply(&set, segment.get(escape.len()..).unwrap_or_default());
            }
            None => text += &initial(segment),
        }
    }
    text
}

/// UTF-8 where it is that, and Latin-1 otherwise.
pub(super) fn guess(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|&byte| char::from(byte)).collect(), str::to_owned)
}

fn apply(set: &SpecificCharacterSet, bytes: &[u8]) -> String {
    set.decode(bytes).unwrap_or_else(|_| guess(bytes))
}

/// The numbers of a binary value in decimal, separated by backslashes. None where the value representation is text; an empty
/// text where it is neither text nor numbers.
pub(super) fn numbers(vr: Option<VR>, value: &[u8], big_endian: bool) -> Option<String> {
    macro_rules! decimal {
        ($number:ty) => {
            each(value, |bytes| {
                if big_endian { <$number>::from_be_bytes(bytes) } else { <$number>::from_le_bytes(bytes) }
            })
        };
    }
    Some(match vr? {
        VR::US => decimal!(u16),
        VR::SS => decimal!(i16),
        VR::UL => decimal!(u32),
        VR::SL => decimal!(i32),
        VR::UV => decimal!(u64),
        VR::SV => decimal!(i64),
        VR::FL => decimal!(f32),
        VR::FD => decimal!(f64),
        VR::AT | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SQ | VR::UN => String::new(),
        _ => return None,
    })
}

fn each<const N: usize, T: ToString>(value: &[u8], read: impl Fn([u8; N]) -> T) -> String {
    let (whole, _) = value.as_chunks::<N>();
    let written: Vec<_> = whole.iter().map(|bytes| read(*bytes).to_string()).collect();
    written.join("\\")
}

#[cfg(test)]
mod tests {
    use super::{decode, numbers};
    use dicom_core::VR;
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn the_standards_examples_of_code_extension_are_read() {
        // PS3.5 H.3.1, H.3.2 and I.2.
        let kanji = b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B";
        assert_eq!(decode(b"\\ISO 2022 IR 87", kanji), "Yamada^Tarou=山田^太郎");
        let katakana = b"\xD4\xCF\xC0\xDE^\xC0\xDB\xB3=\x1B$B;3ED\x1B(J^\x1B$BB@O:\x1B(J";
        assert_eq!(decode(b"ISO 2022 IR 13\\ISO 2022 IR 87", katakana), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎");
        let hangul = b"Hong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7";
        assert_eq!(decode(b"\\ISO 2022 IR 149", hangul), "Hong^Gildong=洪^吉洞");
    }

    #[test]
    fn numbers_are_read_in_their_byte_order_and_a_rest_is_left_out() {
        assert_eq!(numbers(Some(VR::US), &[1, 2, 0, 1, 9], true), Some("258\\1".into()));
        assert_eq!(numbers(Some(VR::SL), &[0xFF; 4], false), Some("-1".into()));
        assert_eq!(numbers(Some(VR::OB), &[1, 2], false), Some(String::new()));
        assert_eq!(numbers(Some(VR::LO), b"1", false), None);
        assert_eq!(numbers(None, b"1", false), None);
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_value_in_any_character_set_is_too_strange(
            set in 0_usize..12, value in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let sets = [
                "", "ISO_IR 100", "ISO_IR 192", "GB18030", "GBK", "ISO_IR 13", "ISO_IR 166", "\\ISO 2022 IR 87",
                "\\ISO 2022 IR 149", "ISO 2022 IR 13\\ISO 2022 IR 87", "ISO_IR 87", "\\ISO 2022 IR 58",
            ];
            let _ = decode(sets[set].as_bytes(), &value);
            let escaped: Vec<u8> = value.iter().map(|b| if b % 7 == 0 { 0x1B } else { *b }).collect();
            let _ = decode(sets[set].as_bytes(), &escaped);
        }
    }
}
