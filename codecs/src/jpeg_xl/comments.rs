//! Comments of a JPEG stream that was put together again.
//!
//! The reconstruction data of JPEG XL keep a comment with its marker, and jxl-jbr 0.2 writes the marker once more: FFFEH, FEH,
//! length, text. What follows is then misread by that byte.

/// The stream without those second markers. Only what precedes the first scan is looked at, and only a comment is touched that
/// is followed by a marker if read so and is not if read as it stands.
pub(super) fn mended(mut stream: Vec<u8>) -> Vec<u8> {
    let mut offset = 2;
    while let Some(&[0xFF, marker, l1, l0, more]) = stream.get(offset..).and_then(<[u8]>::first_chunk) {
        let end = offset + 2 + usize::from(u16::from_be_bytes([l1, l0]));
        let end_if_doubled = offset + 3 + usize::from(u16::from_be_bytes([l0, more]));
        let is_marker = |at: usize| stream.get(at) == Some(&0xFF);
        offset = match marker {
            SOS | EOI => break,
            COM if l1 == COM && !is_marker(end) && is_marker(end_if_doubled) => {
                stream.remove(offset + 1);
                end_if_doubled - 1
            }
            _ => end,
        };
    }
    stream
}

const COM: u8 = 0xFE;
const SOS: u8 = 0xDA;
const EOI: u8 = 0xD9;

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [u8; 8] = [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2];
    const AFTER: [u8; 10] = [0xFF, 0xDB, 0, 2, 0xFF, 0xDA, 0, 2, 9, 9];

    #[test]
    fn a_marker_written_twice_is_written_once() {
        let doubled = [&BEFORE[..], &[0xFF, 0xFE, 0xFE, 0, 5, b'a', b'b', b'c'], &AFTER].concat();
        let single = [&BEFORE[..], &[0xFF, 0xFE, 0, 5, b'a', b'b', b'c'], &AFTER].concat();
        assert_eq!(mended(doubled), single);
        assert_eq!(mended(single.clone()), single);
    }

    #[test]
    fn a_stream_that_ends_anywhere_stays_as_it_is() {
        let doubled = [&BEFORE[..], &[0xFF, 0xFE, 0xFE, 0, 5, b'a', b'b', b'c']].concat();
        for length in 0..=doubled.len() {
            assert_eq!(mended(doubled[..length].to_vec()), doubled[..length]);
        }
    }
}
