//! P-DATA-TF (PS3.8 9.3.5): the framer that takes PDVs apart as their bytes arrive, and the header that puts them together.
//!
//! The framer never waits for a whole PDU. Every length is checked when its header is complete, against what encloses it, and
//! the bytes behind it are handed on in whatever pieces the socket gave, without a copy. So memory does not depend on any
//! length that a peer claims.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::{Buf, Bytes, BytesMut};

/// Empty PDVs that one message may hold: no sender needs any, and they cost more to read than to send.
pub const EMPTY_PDV_BUDGET: u32 = 1024;
/// PDV header: four bytes of length, context identifier, message control header.
pub const PDV_HEADER: usize = 6;
/// PDU and PDV header together, for a PDU with one PDV.
pub const FULL_HEADER: usize = super::pdu::HEADER + PDV_HEADER;

/// What a PDV belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The command set.
    Command,
    /// The data set.
    Data,
}

/// A piece of a PDV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Presentation context.
    pub context: u8,
    /// Command or data set.
    pub part: Part,
    /// The bytes; may be empty only when `last`.
    pub data: Bytes,
    /// Whether the command or data set ends with this piece.
    pub last: bool,
}

/// Why a P-DATA-TF is refused, always with abort 2/6. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum FrameError {
    #[error("a P-DATA-TF longer than the maximum that was agreed")]
    PduTooLong,
    #[error("a P-DATA-TF too short to hold a PDV")]
    PduTooShort,
    #[error("a PDV too short for its header")]
    PdvTooShort,
    #[error("a PDV longer than its PDU")]
    PdvTooLong,
    #[error("too many empty PDVs")]
    EmptyPdvs,
}

/// Takes the variable fields of P-DATA-TF PDUs apart.
#[derive(Debug)]
pub struct Framer {
    max_pdu: u32,
    /// Bytes of the current PDU not yet taken.
    pdu_left: u32,
    pdv: Option<Pdv>,
    empty: u32,
}

#[derive(Debug, Clone, Copy)]
struct Pdv {
    context: u8,
    part: Part,
    last: bool,
    left: u32,
}

impl Framer {
    /// A framer for PDUs of at most `max_pdu` bytes behind their header.
    pub fn new(max_pdu: u32) -> Self {
        Self { max_pdu, pdu_left: 0, pdv: None, empty: 0 }
    }

    /// Whether all of the current PDU was taken, so that a PDU header comes next.
    pub fn is_between_pdus(&self) -> bool {
        self.pdu_left == 0 && self.pdv.is_none()
    }

    /// A PDU header of type 04H with this length was read.
    ///
    /// # Errors
    /// [`FrameError`] when the length is beyond the agreed maximum or below one PDV header.
    pub fn begin_pdu(&mut self, length: u32) -> Result<(), FrameError> {
        if length > self.max_pdu {
            return Err(FrameError::PduTooLong);
        }
        if (length as usize) < PDV_HEADER {
            return Err(FrameError::PduTooShort);
        }
        self.pdu_left = length;
        Ok(())
    }

    /// The next piece that `buffer` holds of the current PDU, taken out of it; none if more bytes are needed or the PDU is
    /// done.
    ///
    /// # Errors
    /// [`FrameError`] when a PDV does not fit its PDU, or too many are empty.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Fragment>, FrameError> {
        loop {
            let Some(mut pdv) = self.pdv else {
                if self.pdu_left == 0 || !self.begin_pdv(buffer)? {
                    return Ok(None);
                }
                continue;
            };
            let take = (pdv.left as usize).min(buffer.len());
            if take == 0 && pdv.left > 0 {
                return Ok(None);
            }
            // `take` is at most `left`, a u32, and `left` is at most `pdu_left`.
            pdv.left -= take as u32;
            self.pdu_left -= take as u32;
            let done = pdv.left == 0;
            self.pdv = (!done).then_some(pdv);
            let last = done && pdv.last;
            if last {
                self.empty = 0;
            }
            if take > 0 || last {
                let data = buffer.split_to(take).freeze();
                return Ok(Some(Fragment { context: pdv.context, part: pdv.part, data, last }));
            }
        }
    }

    /// Reads a PDV header if all of it is there.
    fn begin_pdv(&mut self, buffer: &mut BytesMut) -> Result<bool, FrameError> {
        if (self.pdu_left as usize) < PDV_HEADER {
            return Err(FrameError::PdvTooLong);
        }
        let Some(&[a, b, c, d, context, control]) = buffer.first_chunk::<PDV_HEADER>() else {
            return Ok(false);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length < 2 {
            return Err(FrameError::PdvTooShort);
        }
        if length > self.pdu_left - 4 {
            return Err(FrameError::PdvTooLong);
        }
        buffer.advance(PDV_HEADER);
        self.pdu_left -= PDV_HEADER as u32;
        let part = if control & 1 == 1 { Part::Command } else { Part::Data };
        self.pdv = Some(Pdv { context, part, last: control & 2 == 2, left: length - 2 });
        if length == 2 {
            self.empty += 1;
            if self.empty > EMPTY_PDV_BUDGET {
                return Err(FrameError::EmptyPdvs);
            }
        }
        Ok(true)
    }
}

/// The twelve bytes in front of `length` bytes that travel as one PDV in one PDU.
pub fn header(context: u8, part: Part, last: bool, length: u32) -> [u8; FULL_HEADER] {
    let [p0, p1, p2, p3] = (length + PDV_HEADER as u32).to_be_bytes();
    let [v0, v1, v2, v3] = (length + 2).to_be_bytes();
    let control = u8::from(part == Part::Command) | u8::from(last) << 1;
    [4, 0, p0, p1, p2, p3, v0, v1, v2, v3, context, control]
}

/// A piece of a data set in PDUs of one PDV each, with at most `room` bytes of it in each and none much shorter than the
/// others: header and body, without a copy. `room` is even, and so are all bodies but the last. `last` says that the data
/// set ends with this piece, which may be empty then.
pub fn cut(context: u8, piece: &[u8], room: usize, last: bool) -> Vec<([u8; FULL_HEADER], &[u8])> {
    let count = piece.len().div_ceil(room).max(1);
    let each = piece.len().div_ceil(count).next_multiple_of(2).max(2);
    let count = piece.len().div_ceil(each).max(1);
    let mut rest = piece;
    let pdus = (1..=count).map(|n| {
        let (body, behind) = rest.split_at(each.min(rest.len()));
        rest = behind;
        // No PDU is longer than a piece, which is in memory.
        (header(context, Part::Data, last && n == count, body.len() as u32), body)
    });
    pdus.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pdv(length: u32, control: u8, data: &[u8]) -> Vec<u8> {
        [&length.to_be_bytes()[..], &[1, control], data].concat()
    }

    /// Feeds the variable field of one PDU, all at once.
    fn frame(field: &[u8]) -> Result<Vec<Fragment>, FrameError> {
        let mut framer = Framer::new(131_072);
        framer.begin_pdu(field.len() as u32)?;
        let mut buffer = BytesMut::from(field);
        let mut fragments = Vec::new();
        while let Some(fragment) = framer.next(&mut buffer)? {
            fragments.push(fragment);
        }
        assert!(framer.is_between_pdus());
        Ok(fragments)
    }

    #[test]
    fn command_and_data_in_one_pdu_come_apart() {
        let fragments = frame(&[pdv(5, 3, b"abc"), pdv(4, 2, b"de")].concat()).unwrap();
        assert_eq!(fragments.len(), 2);
        assert_eq!((fragments[0].part, fragments[0].last), (Part::Command, true));
        assert_eq!((fragments[1].part, &fragments[1].data[..]), (Part::Data, &b"de"[..]));
    }

    #[test]
    fn a_pdv_is_handed_on_before_it_is_complete() {
        let mut framer = Framer::new(100);
        framer.begin_pdu(12).unwrap();
        let mut buffer = BytesMut::from(&pdv(8, 2, b"abc")[..]);
        let first = framer.next(&mut buffer).unwrap().unwrap();
        assert_eq!((&first.data[..], first.last), (&b"abc"[..], false));
        assert_eq!(framer.next(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"defREST");
        let second = framer.next(&mut buffer).unwrap().unwrap();
        assert_eq!((&second.data[..], second.last), (&b"def"[..], true));
        assert_eq!(&buffer[..], b"REST");
    }

    #[test]
    fn lengths_are_checked_at_their_headers() {
        let mut framer = Framer::new(1000);
        assert_eq!(framer.begin_pdu(u32::MAX), Err(FrameError::PduTooLong));
        assert_eq!(framer.begin_pdu(1001), Err(FrameError::PduTooLong));
        assert_eq!(framer.begin_pdu(0), Err(FrameError::PduTooShort));
        assert_eq!(frame(&pdv(0, 0, b"")), Err(FrameError::PdvTooShort));
        assert_eq!(frame(&pdv(1, 0, b"")), Err(FrameError::PdvTooShort));
        assert_eq!(frame(&pdv(4, 0, b"a")), Err(FrameError::PdvTooLong));
        assert_eq!(frame(&pdv(0xFFFF_FFFC, 0, b"a")), Err(FrameError::PdvTooLong));
        assert_eq!(frame(&[pdv(3, 0, b"a"), vec![0; 5]].concat()), Err(FrameError::PdvTooLong));
    }

    #[test]
    fn odd_lengths_are_fine() {
        assert_eq!(frame(&pdv(3, 2, b"a")).unwrap()[0].data, &b"a"[..]);
    }

    #[test]
    fn empty_pdvs_have_a_budget_per_message() {
        let many = |count: u32| pdv(2, 0, b"").repeat(count as usize);
        assert!(frame(&many(EMPTY_PDV_BUDGET)).unwrap().is_empty());
        assert_eq!(frame(&many(EMPTY_PDV_BUDGET + 1)), Err(FrameError::EmptyPdvs));
        let ended = frame(&pdv(2, 2, b"")).unwrap();
        assert_eq!((ended.len(), ended[0].last), (1, true));
    }

    #[test]
    fn a_piece_is_cut_evenly_and_comes_back_whole() {
        for (length, room) in [(0, 4), (1, 4), (9, 4), (262_144, 16_378), (262_144, 131_066), (7, 1_000_000)]
        {
            let piece: Vec<u8> = (0..length).map(|n| n as u8).collect();
            for last in [false, true] {
                let pdus = cut(1, &piece, room, last);
                assert!(pdus.iter().all(|(_, body)| body.len() <= room), "{length} in {room}");
                assert!(pdus.iter().rev().skip(1).all(|(_, body)| body.len() % 2 == 0), "{length} in {room}");
                let (mut back, mut ends) = (Vec::new(), Vec::new());
                for (head, body) in &pdus {
                    for fragment in frame(&[&head[6..], body].concat()).unwrap() {
                        back.extend_from_slice(&fragment.data);
                        ends.push(fragment.last);
                    }
                }
                assert_eq!(back, piece);
                assert_eq!(ends.iter().filter(|ends| **ends).count(), usize::from(last));
                assert!(ends.last().is_none_or(|ends| *ends == last));
            }
        }
        let sizes =
            |length| cut(1, &vec![0; length], 131_066, true).iter().map(|(_, b)| b.len()).collect::<Vec<_>>();
        assert_eq!(sizes(262_144), [87_382, 87_382, 87_380]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = [&header(1, Part::Data, true, 3)[..], b"abc"].concat();
        assert_eq!(frame(&bytes[6..]).unwrap()[0].data, &b"abc"[..]);
    }
}
