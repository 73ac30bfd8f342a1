#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! Entropy-coded bytes in a stream: after each FF comes 00, so that no marker appears in them (F.1.2.3).

/// Appends `plain` to `out`, a 00 after each FF.
pub(super) fn stuff(plain: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * plain.len());
    let (chunks, rest) = plain.as_chunks::<CHUNK>();
    for chunk in chunks {
        if has_ff(chunk) { stuff_bytes(chunk, out) } else { out.extend_from_slice(chunk) }
    }
    stuff_bytes(rest, out);
}

fn stuff_bytes(plain: &[u8], out: &mut Vec<u8>) {
    for &byte in plain {
        out.push(byte);
        if byte == 0xFF {
            out.push(0);
        }
    }
}

/// Appends the entropy-coded bytes at the beginning of `stream` to `plain`, without stuffing. Returns how many bytes of `stream`
/// they are: what follows is a marker, or nothing.
pub(super) fn unstuff(stream: &[u8], plain: &mut Vec<u8>) -> usize {
    let mut rest = stream;
    loop {
        // Whole chunks first, then the bytes before the next FF.
        let clean = rest.as_chunks::<CHUNK>().0.iter().take_while(|chunk| !has_ff(chunk)).count() * CHUNK;
        let (chunks, tail) = rest.split_at_checked(clean).unwrap_or((rest, &[]));
        let before = tail.iter().position(|&byte| byte == 0xFF).unwrap_or(tail.len());
        let (bytes, tail) = tail.split_at_checked(before).unwrap_or((tail, &[]));
        plain.extend_from_slice(chunks);
        plain.extend_from_slice(bytes);
        let Some(after) = tail.strip_prefix(&[0xFF, 0]) else { return stream.len() - tail.len() };
        plain.push(0xFF);
        rest = after;
    }
}

/// Where byte number `plain` of the entropy-coded bytes lies in `stream`.
pub(super) fn position(stream: &[u8], plain: usize) -> usize {
    let mut at = 0;
    for _ in 0..plain {
        let stuffed = stream.get(at..).is_some_and(|rest| rest.starts_with(&[0xFF, 0]));
        at += if stuffed { 2 } else { 1 };
    }
    at.min(stream.len())
}

const CHUNK: usize = 16;

fn has_ff(chunk: &[u8; CHUNK]) -> bool {
    chunk.iter().fold(false, |found, &byte| found | (byte == 0xFF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_stuffed_comes_back(plain in prop::collection::vec(prop_oneof![Just(0xFF), Just(0), any::<u8>()], 0..200)) {
            let mut stream = vec![];
            stuff(&plain, &mut stream);
            let length = stream.len();
            stream.extend([0xFF, 0xD9, 1]);
            let mut back = vec![];
            prop_assert_eq!(unstuff(&stream, &mut back), length);
            prop_assert_eq!(&back, &plain);
            prop_assert_eq!(position(&stream, plain.len()), length);
        }
    }
}
