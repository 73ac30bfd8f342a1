//! The size of the image: the first bits of a codestream (ISO 18181-1 D.2), which may lie in a container (ISO 18181-2 9).

use super::JpegXlError;

/// Width and height in pixels, before any orientation is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Reads the size of the first image in `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Size, JpegXlError> {
    let codestream = if bytes.starts_with(&CONTAINER) { first_codestream_box(bytes)? } else { bytes };
    let header = codestream.strip_prefix(&[0xFF, 0x0A]).ok_or(JpegXlError::NotJpegXl)?;
    let mut word = [0; 16];
    for (to, from) in word.iter_mut().zip(header) {
        *to = *from;
    }
    let mut bits = Bits(u128::from_le_bytes(word));
    let in_eights = bits.take(1) == 1;
    let height = side(&mut bits, in_eights);
    let width = match bits.take(3) {
        0 => side(&mut bits, in_eights),
        ratio => {
            let (times, over) = RATIOS.get(ratio as usize - 1).copied().unwrap_or((1, 1));
            u64::from(height) * times / over
        }
        .try_into()
        .unwrap_or(u32::MAX),
    };
    Ok(Size { width, height })
}

const CONTAINER: [u8; 12] = [0, 0, 0, 12, b'J', b'X', b'L', b' ', 13, 10, 0x87, 10];

/// Width to height, by the three bits that stand for it.
const RATIOS: [(u64, u64); 7] = [(1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)];

fn side(bits: &mut Bits, in_eights: bool) -> u32 {
    if in_eights {
        return (bits.take(5) + 1) * 8;
    }
    let count = match bits.take(2) {
        0 => 9,
        1 => 13,
        2 => 18,
        _ => 30,
    };
    bits.take(count) + 1
}

/// The contents of the first jxlc or jxlp box; the latter start with a number of four bytes.
fn first_codestream_box(bytes: &[u8]) -> Result<&[u8], JpegXlError> {
    let ended = || JpegXlError::Ended { length: bytes.len() };
    let mut rest = bytes;
    loop {
        let Some(&[l0, l1, l2, l3, k0, k1, k2, k3]) = rest.first_chunk() else { return Err(ended()) };
        let (header, length) = match u32::from_be_bytes([l0, l1, l2, l3]) {
            0 => (8, rest.len() as u64),
            1 => (
                16,
                rest.get(8..).and_then(<[u8]>::first_chunk).map_or(0, |length| u64::from_be_bytes(*length)),
            ),
            length => (8, u64::from(length)),
        };
        let content = match &[k0, k1, k2, k3] {
            b"jxlc" => Some(header),
            b"jxlp" => Some(header + 4),
            _ => None,
        };
        if let Some(start) = content {
            return rest.get(start..).ok_or_else(ended);
        }
        let length =
            usize::try_from(length).ok().filter(|length| *length >= header).ok_or(JpegXlError::NotJpegXl)?;
        rest = rest.get(length..).ok_or_else(ended)?;
    }
}

/// The first bits, least significant first. After the last there are zeros: the decoder will find the end, not we.
struct Bits(u128);

impl Bits {
    fn take(&mut self, count: u32) -> u32 {
        let value = self.0 & ((1 << count) - 1);
        self.0 >>= count;
        value as u32
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Signature and size, each side written in thirty bits.
    pub(in super::super) fn codestream(height: u32, width: u32) -> Vec<u8> {
        let side = |value: u32| u128::from(value - 1) << 2 | 3;
        let bits = side(height) << 1 | side(width) << 36;
        [&[0xFF, 0x0A], &bits.to_le_bytes()[..9]].concat()
    }

    #[test]
    fn each_way_to_write_a_size_is_read() {
        assert_eq!(read(&codestream(70_000, 708)), Ok(Size { width: 708, height: 70_000 }));
        // In eights, 5 bits each: height 16, ratio 0, width 24.
        let bits = 1_u16 | 1 << 1 | 2 << 9;
        assert_eq!(
            read(&[&[0xFF, 0x0A][..], &bits.to_le_bytes()].concat()),
            Ok(Size { width: 24, height: 16 })
        );
        // Nine bits: height 300, ratio 3 (4:3).
        let bits = 299_u32 << 3 | 3 << 12;
        assert_eq!(
            read(&[&[0xFF, 0x0A][..], &bits.to_le_bytes()].concat()),
            Ok(Size { width: 400, height: 300 })
        );
    }

    #[test]
    fn the_size_is_found_in_a_container_too() {
        let brand =
            [0, 0, 0, 20, b'f', b't', b'y', b'p', b'j', b'x', b'l', b' ', 0, 0, 0, 0, b'j', b'x', b'l', b' '];
        let whole = [&CONTAINER[..], &brand, &[0, 0, 0, 0], b"jxlc", &codestream(9, 8)].concat();
        assert_eq!(read(&whole), Ok(Size { width: 8, height: 9 }));
        let parts = [&CONTAINER[..], &brand, &[0, 0, 0, 23], b"jxlp", &[0; 4], &codestream(9, 8)].concat();
        assert_eq!(read(&parts), Ok(Size { width: 8, height: 9 }));
        let endless = [&CONTAINER[..], &[0, 0, 0, 3], b"free"].concat();
        assert_eq!(read(&endless), Err(JpegXlError::NotJpegXl));
        assert!(matches!(read(&whole[..36]), Err(JpegXlError::Ended { .. } | JpegXlError::NotJpegXl)));
    }
}
