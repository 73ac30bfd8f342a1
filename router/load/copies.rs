//! Whether what arrived is what was sent: byte for byte, or for a lossless copy pixel for pixel.
//!
//! Bytes are hashed as they come, in the pieces in which they were made: a study's frames are shared by all its loops, so their
//! hashes are known from the first time on, and the side that sends hashes little more than headers. Of a copy in JPEG Lossless, each
//! frame is hashed as it is compressed, and decoded only when no frame with these bytes was decoded before.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrysalis_codecs::{Limits, jpeg_lossless};
use sha2::{Digest, Sha256};

use crate::dicom::TransferSyntax;
use crate::synthetic::TestInstance;

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What an instance has to be when it arrives.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    syntax: TransferSyntax,
    /// Lengths of the pieces that the data set was made of.
    pieces: Arc<[u32]>,
    /// Hash of the pieces' hashes.
    bytes: Hash,
    /// Hash of the hashes of all frames as native samples, and how many there are.
    pixels: Option<(Hash, u32)>,
}

/// How something that arrived stands to what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Every byte.
    Bytes,
    /// Every pixel.
    Pixels,
    /// Neither.
    None,
}

/// Hashes of pieces that many instances share, found by where they are in memory.
#[derive(Debug, Default)]
pub(super) struct Pieces(Mutex<HashMap<(usize, usize), (Bytes, Hash)>>);

/// More are hashed each time.
const MOST_PIECES: usize = 4096;
/// Shorter ones are headers, which nobody shares.
const SHARED: usize = 32 << 10;

impl Expected {
    /// What this instance has to be; the pixels too, where copies are made of it.
    pub(super) fn of(instance: &TestInstance, is_copied: bool, known: &Pieces) -> Self {
        let mut lengths = Vec::new();
        let mut all = Sha256::new();
        for piece in instance.pieces() {
            lengths.push(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            all.update(known.hash(&piece));
        }
        let pixels = is_copied.then(|| {
            let frames = instance.pixel_digests();
            let mut all = Sha256::new();
            frames.iter().for_each(|frame| all.update(frame));
            (all.finalize().into(), u32::try_from(frames.len()).unwrap_or(u32::MAX))
        });
        Self {
            syntax: instance.transfer_syntax.clone(),
            pieces: lengths.into(),
            bytes: all.finalize().into(),
            pixels,
        }
    }

    /// For tests of what does not look at bytes.
    #[cfg(test)]
    pub(super) fn nothing() -> Self {
        let syntax = TransferSyntax::EXPLICIT_VR_LE;
        Self { syntax, pieces: Arc::new([]), bytes: Hash::default(), pixels: None }
    }
}

impl Pieces {
    fn hash(&self, piece: &Bytes) -> Hash {
        let place = (piece.as_ptr() as usize, piece.len());
        if piece.len() >= SHARED
            && let Some((_, hash)) = self.lock().get(&place)
        {
            return *hash;
        }
        let hash = Sha256::digest(piece).into();
        let mut known = self.lock();
        if piece.len() >= SHARED && known.len() < MOST_PIECES {
            // It is kept, so that nothing else can ever be in its place.
            known.insert(place, (piece.clone(), hash));
        }
        hash
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(usize, usize), (Bytes, Hash)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes of the samples of compressed frames, by the hashes of what they were compressed to.
#[derive(Debug, Default)]
pub(super) struct Decoded(Mutex<HashMap<Hash, Hash>>);

/// Frames of which that is kept; more are decoded each time.
const MOST_DECODED: usize = 65_536;

impl Decoded {
    /// The hash of a frame's samples; nothing if it cannot be decoded.
    fn samples(&self, compressed: &[u8]) -> Option<Hash> {
        let key = Sha256::digest(compressed).into();
        if let Some(known) = self.lock().get(&key) {
            return Some(*known);
        }
        let frame =
            jpeg_lossless::decode_frame(compressed, Limits { frame_bytes: MOST_FRAME as u64 }).ok()?;
        let hash = Sha256::digest(&frame.pixels).into();
        let mut known = self.lock();
        if known.len() < MOST_DECODED {
            known.insert(key, hash);
        }
        Some(hash)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Hash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a data set as it arrives.
#[derive(Debug)]
pub(super) enum Reading {
    /// In the syntax it was sent in.
    Bytes(Box<ByPieces>),
    /// As a copy.
    Frames(Box<ByFrames>),
    /// As something that nobody asked for, or nobody knows.
    Strange,
}

impl Reading {
    /// Of something that comes in this syntax and should be that.
    pub(super) fn new(expected: Option<&Expected>, syntax: &TransferSyntax) -> Self {
        match expected {
            Some(expected) if expected.syntax == *syntax => {
                Self::Bytes(Box::new(ByPieces::new(expected.clone())))
            }
            Some(Expected { pixels: Some((hash, count)), .. })
                if *syntax == TransferSyntax::JPEG_LOSSLESS =>
            {
                Self::Frames(Box::new(ByFrames::new(*hash, *count)))
            }
            _ => Self::Strange,
        }
    }

    /// The next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], decoded: &Decoded) {
        match self {
            Self::Bytes(reading) => reading.feed(bytes),
            Self::Frames(reading) => reading.feed(bytes, decoded),
            Self::Strange => {}
        }
    }

    /// There are no more.
    pub(super) fn finish(self) -> Likeness {
        let (is_alike, likeness) = match self {
            Self::Bytes(reading) => (reading.into_likeness(), Likeness::Bytes),
            Self::Frames(reading) => (reading.into_likeness(), Likeness::Pixels),
            Self::Strange => (false, Likeness::None),
        };
        if is_alike { likeness } else { Likeness::None }
    }
}

/// See [`Reading::Bytes`].
#[derive(Debug)]
pub(super) struct ByPieces {
    expected: Expected,
    /// Pieces that are complete.
    complete: usize,
    /// Of the one under way, with the bytes that are still to come.
    piece: Sha256,
    left: usize,
    all: Sha256,
    is_too_long: bool,
}

impl ByPieces {
    fn new(expected: Expected) -> Self {
        let left = expected.pieces.first().map_or(0, |length| *length as usize);
        Self { expected, complete: 0, piece: Sha256::new(), left, all: Sha256::new(), is_too_long: false }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.complete == self.expected.pieces.len() {
                self.is_too_long = true;
                return;
            }
            let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.piece.update(now);
            self.left -= now.len();
            bytes = rest;
            if self.left == 0 {
                self.all.update(std::mem::take(&mut self.piece).finalize());
                self.complete += 1;
                self.left = self.expected.pieces.get(self.complete).map_or(0, |length| *length as usize);
            }
        }
    }

    fn into_likeness(self) -> bool {
        let is_whole = self.complete == self.expected.pieces.len() && !self.is_too_long;
        is_whole && Hash::from(self.all.finalize()) == self.expected.bytes
    }
}

/// See [`Reading::Frames`]: Explicit VR Little Endian, a fragment for each frame (PS3.5 A.4).
#[derive(Debug)]
pub(super) struct ByFrames {
    wanted: (Hash, u32),
    at: At,
    /// The header so far, the header of an item, or the fragment that it announced.
    held: Vec<u8>,
    frames: u32,
    all: Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    Item { is_first: bool },
    Value { length: usize, is_table: bool },
    End,
    Broken,
}

/// (7FE0,0010) of undefined length, as it begins.
const PIXEL_DATA: [u8; 12] = [0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
/// Test images have shorter ones.
const MOST_HEADER: usize = 1 << 20;
/// And smaller frames.
const MOST_FRAME: usize = 64 << 20;

impl ByFrames {
    fn new(hash: Hash, count: u32) -> Self {
        Self { wanted: (hash, count), at: At::Header, held: Vec::new(), frames: 0, all: Sha256::new() }
    }

    fn feed(&mut self, mut bytes: &[u8], decoded: &Decoded) {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Header => self.find_pixels(bytes),
                At::Item { is_first } => match self.collect(8, bytes) {
                    (true, rest) => {
                        self.at = self.open_item(is_first);
                        self.skip_empty(decoded);
                        rest
                    }
                    (false, rest) => rest,
                },
                At::Value { length, is_table } => {
                    let (is_whole, rest) = self.collect(length, bytes);
                    if is_whole {
                        self.close_value(is_table, decoded);
                    }
                    rest
                }
                At::End | At::Broken => return,
            };
        }
    }

    fn find_pixels<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let before = self.held.len();
        let from = before.saturating_sub(PIXEL_DATA.len() - 1);
        self.held.extend_from_slice(bytes);
        let searched = self.held.get(from..).unwrap_or_default();
        match searched.windows(PIXEL_DATA.len()).position(|window| window == PIXEL_DATA) {
            Some(found) => {
                let used = (from + found + PIXEL_DATA.len()).saturating_sub(before);
                self.held.clear();
                self.at = At::Item { is_first: true };
                bytes.get(used..).unwrap_or_default()
            }
            None => {
                if self.held.len() > MOST_HEADER {
                    self.at = At::Broken;
                }
                &[]
            }
        }
    }

    /// Adds to what is held until it is `length` long; says whether it is.
    fn collect<'b>(&mut self, length: usize, bytes: &'b [u8]) -> (bool, &'b [u8]) {
        let missing = length.saturating_sub(self.held.len());
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        self.held.extend_from_slice(now);
        (self.held.len() == length, rest)
    }

    fn open_item(&mut self, is_first: bool) -> At {
        let header: [u8; 8] = self.held.as_slice().try_into().unwrap_or_default();
        self.held.clear();
        let [a, b, c, d, length @ ..] = header;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        match [a, b, c, d] {
            [0xFE, 0xFF, 0x00, 0xE0] if length <= MOST_FRAME => At::Value { length, is_table: is_first },
            [0xFE, 0xFF, 0xDD, 0xE0] => At::End,
            _ => At::Broken,
        }
    }

    /// A value of no length is complete before its first byte.
    fn skip_empty(&mut self, decoded: &Decoded) {
        if let At::Value { length: 0, is_table } = self.at {
            self.close_value(is_table, decoded);
        }
    }

    fn close_value(&mut self, is_table: bool, decoded: &Decoded) {
        self.at = At::Item { is_first: false };
        if !is_table {
            self.frames += 1;
            match decoded.samples(&self.held) {
                Some(hash) => self.all.update(hash),
                None => self.at = At::Broken,
            }
        }
        self.held.clear();
    }

    fn into_likeness(self) -> bool {
        let hash = Hash::from(self.all.finalize());
        self.at == At::End && (hash, self.frames) == self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrysalis_codecs::{Depth, FrameLayout, Order, Samples};

    fn expected(pieces: &[&[u8]]) -> Expected {
        let mut all = Sha256::new();
        pieces.iter().for_each(|piece| all.update(Sha256::digest(piece)));
        Expected {
            syntax: TransferSyntax::EXPLICIT_VR_LE,
            pieces: pieces.iter().map(|piece| piece.len() as u32).collect(),
            bytes: all.finalize().into(),
            pixels: None,
        }
    }

    fn likeness(expected: &Expected, syntax: &TransferSyntax, arrived: &[u8], step: usize) -> Likeness {
        let mut reading = Reading::new(Some(expected), syntax);
        arrived.chunks(step).for_each(|chunk| reading.feed(chunk, &Decoded::default()));
        reading.finish()
    }

    #[test]
    fn the_same_bytes_are_known_however_they_are_cut() {
        let wanted = expected(&[b"header", b"frame one", b"frame two"]);
        let arrived = b"headerframe oneframe two";
        for step in 1..=arrived.len() {
            assert_eq!(likeness(&wanted, &TransferSyntax::EXPLICIT_VR_LE, arrived, step), Likeness::Bytes);
        }
    }

    #[test]
    fn a_byte_more_less_or_other_is_noticed() {
        let wanted = expected(&[b"header", b"frame"]);
        for wrong in [&b"headerfram"[..], b"headerframes", b"headerfrAme", b"header", b""] {
            assert_eq!(likeness(&wanted, &TransferSyntax::EXPLICIT_VR_LE, wrong, 4), Likeness::None);
        }
    }

    #[test]
    fn another_syntax_than_was_sent_is_not_the_same_bytes() {
        let wanted = expected(&[b"header"]);
        assert_eq!(likeness(&wanted, &TransferSyntax::IMPLICIT_VR_LE, b"header", 6), Likeness::None);
    }

    fn frame(value: u8) -> (Vec<u8>, Vec<u8>) {
        let layout = FrameLayout {
            rows: 8,
            columns: 16,
            samples: Samples::Three,
            depth: Depth::Eight,
            order: Order::ByPixel,
        };
        let pixels: Vec<u8> = (0..16 * 8 * 3).map(|at| (at as u8).wrapping_mul(value)).collect();
        let tables = jpeg_lossless::Tables::of_frame(&pixels, layout, 8).unwrap();
        let compressed = jpeg_lossless::encode_frame(&pixels, layout, 8, &tables).unwrap();
        (pixels, compressed)
    }

    fn item(value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u32).to_le_bytes();
        [&[0xFE, 0xFF, 0x00, 0xE0][..], &length, value].concat()
    }

    #[test]
    fn a_lossless_copy_is_compared_by_its_pixels() {
        let frames = [frame(3), frame(5)];
        let mut all = Sha256::new();
        frames.iter().for_each(|(pixels, _)| all.update(Sha256::digest(pixels)));
        let wanted = Expected { pixels: Some((all.finalize().into(), 2)), ..expected(&[b"native"]) };
        let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        let copy = |order: &[usize]| {
            let mut bytes = b"some header".to_vec();
            bytes.extend_from_slice(&PIXEL_DATA);
            bytes.extend(item(&[]));
            for &at in order {
                let mut compressed = frames[at].1.clone();
                compressed.resize(compressed.len().next_multiple_of(2), 0);
                bytes.extend(item(&compressed));
            }
            bytes.extend_from_slice(&end);
            bytes
        };
        for step in [1, 7, 4096] {
            let like =
                |order: &[usize]| likeness(&wanted, &TransferSyntax::JPEG_LOSSLESS, &copy(order), step);
            assert_eq!(like(&[0, 1]), Likeness::Pixels);
            assert_eq!(like(&[1, 0]), Likeness::None);
            assert_eq!(like(&[0]), Likeness::None);
            assert_eq!(like(&[0, 1, 1]), Likeness::None);
        }
        let mut cut = copy(&[0, 1]);
        cut.truncate(cut.len() - 8);
        assert_eq!(likeness(&wanted, &TransferSyntax::JPEG_LOSSLESS, &cut, 100), Likeness::None);
    }
}
