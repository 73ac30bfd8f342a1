//! Just enough of DER (X.690 10) to find the parts of a certificate: definite lengths, one-byte tags, nothing copied.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

/// INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(super) const OID: u8 = 0x06;
/// UTCTime.
pub(super) const UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// SET.
pub(super) const SET: u8 = 0x31;

/// The bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not DER where it should be")]
pub(super) struct NotDer;

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// What is in it.
    pub(super) content: &'a [u8],
    /// All of it, with tag and length.
    pub(super) whole: &'a [u8],
}

/// Reads element after element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of what comes next.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever it is.
    pub(super) fn next(&mut self) -> Result<Element<'a>, NotDer> {
        let (header, length) = match *self.0 {
            [_, length @ 0..=0x7F, ..] => (2, usize::from(length)),
            [_, 0x81, a, ..] => (3, usize::from(a)),
            [_, 0x82, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            [_, 0x83, a, b, c, ..] => (5, u32::from_be_bytes([0, a, b, c]) as usize),
            _ => return Err(NotDer),
        };
        let tag = self.peek().ok_or(NotDer)?;
        let (whole, rest) = self.0.split_at_checked(header + length).ok_or(NotDer)?;
        let content = whole.get(header..).ok_or(NotDer)?;
        self.0 = rest;
        Ok(Element { tag, content, whole })
    }

    /// The next element, which has to have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        let element = self.next()?;
        if element.tag == tag { Ok(element) } else { Err(NotDer) }
    }

    /// What is inside the next element, which has to have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Result<Reader<'a>, NotDer> {
        Ok(Reader(self.expect(tag)?.content))
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, NotDer> {
        if self.peek() == Some(tag) { self.next().map(Some) } else { Ok(None) }
    }
}

/// An object identifier as it is written: `1.2.840.113549.1.1.1`.
pub(super) fn oid_text(content: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut value: u64 = 0;
    for byte in content {
        value = value.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (value / 40).min(2);
                arcs.extend([first, value - first * 40]);
            } else {
                arcs.push(value);
            }
            value = 0;
        }
    }
    arcs.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::{INTEGER, NotDer, Reader, SEQUENCE, oid_text};

    #[test]
    fn lengths_of_one_to_four_bytes_are_read_and_longer_ones_and_cut_ones_refused() {
        for (header, length) in
            [(vec![0x30, 3], 3), (vec![0x30, 0x81, 200], 200), (vec![0x30, 0x82, 1, 0], 256)]
        {
            let bytes = [header, vec![0; length]].concat();
            let element = Reader::new(&bytes).expect(SEQUENCE).expect("an element");
            assert_eq!((element.content.len(), element.whole.len()), (length, bytes.len()));
            let cut = bytes.split_last().expect("not empty").1;
            assert_eq!(Reader::new(cut).next().err(), Some(NotDer));
        }
        for bytes in [&[][..], &[0x30], &[0x30, 0x80, 0, 0], &[0x30, 0x84, 0, 0, 0, 0], &[0x30, 0x82, 1]] {
            assert_eq!(Reader::new(bytes).next().err(), Some(NotDer), "{bytes:?}");
        }
        assert!(Reader::new(&[0x30, 0]).expect(INTEGER).is_err());
    }

    #[test]
    fn object_identifiers_are_written_with_dots() {
        assert_eq!(oid_text(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1]), "1.2.840.113549.1.1.1");
        assert_eq!(oid_text(&[0x55, 4, 3]), "2.5.4.3");
    }
}
