//! Headers and copied values on their way out, in pieces of a fixed size.

use std::io::Write;

use dicom_core::{Tag, VR};

use super::coding::{Coding, ITEM, ITEM_END, SEQUENCE_END, is_long};
use super::reader::ReadError;
use super::vr;
use super::write::WriteError;
use crate::transcode::Source;

/// Bytes copied at a time; a multiple of any number's size.
const PIECE: usize = 64 << 10;

/// Where a data set is written to, and where its values come from. What is written is in little endian.
pub(super) struct Sink<'a> {
    source: &'a dyn Source,
    out: &'a mut dyn Write,
    piece: Vec<u8>,
}

impl<'a> Sink<'a> {
    /// A sink that copies from `source`.
    pub(super) fn new(source: &'a dyn Source, out: &'a mut dyn Write) -> Self {
        Self { source, out, piece: vec![0; PIECE] }
    }

    /// A sink to the same end that copies from elsewhere.
    pub(super) fn from<'b>(&'b mut self, source: &'b dyn Source) -> Sink<'b> {
        Sink { source, out: self.out, piece: vec![0; PIECE] }
    }

    /// Where values are copied from.
    pub(super) fn source(&self) -> &'a dyn Source {
        self.source
    }

    /// Writes these bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes).map_err(WriteError::Output)
    }

    /// The header of an element, `length` being none if it is undefined. What is too long for a length of 16 bits is of
    /// unknown representation then (PS3.5 6.2.2).
    pub(super) fn header(
        &mut self,
        to: Coding,
        tag: Tag,
        vr: VR,
        length: Option<u32>,
    ) -> Result<(), WriteError> {
        self.tag(tag)?;
        let long = length.unwrap_or(u32::MAX);
        if to == Coding::ImplicitLe {
            return self.bytes(&long.to_le_bytes());
        }
        match u16::try_from(long) {
            Ok(short) if !is_long(vr) => {
                self.bytes(&vr.to_bytes())?;
                self.bytes(&short.to_le_bytes())
            }
            _ => {
                let vr = if is_long(vr) { vr } else { VR::UN };
                self.bytes(&vr.to_bytes())?;
                self.bytes(&[0, 0])?;
                self.bytes(&long.to_le_bytes())
            }
        }
    }

    /// The header of an item.
    pub(super) fn item(&mut self, length: Option<u32>) -> Result<(), WriteError> {
        self.tag(ITEM)?;
        self.bytes(&length.unwrap_or(u32::MAX).to_le_bytes())
    }

    /// The delimiter of an item.
    pub(super) fn item_end(&mut self) -> Result<(), WriteError> {
        self.tag(ITEM_END)?;
        self.bytes(&[0; 4])
    }

    /// The delimiter of a sequence.
    pub(super) fn sequence_end(&mut self) -> Result<(), WriteError> {
        self.tag(SEQUENCE_END)?;
        self.bytes(&[0; 4])
    }

    /// Copies bytes of the source as they are.
    pub(super) fn copy(&mut self, start: u64, end: u64) -> Result<(), WriteError> {
        self.copy_pieces(start, end, |_| {})
    }

    /// Copies a value, its numbers turned into little endian if they are in big endian.
    pub(super) fn copy_value(
        &mut self,
        coding: Coding,
        vr: VR,
        start: u64,
        end: u64,
    ) -> Result<(), WriteError> {
        if coding == Coding::ExplicitBe {
            self.copy_pieces(start, end, |piece| vr::swap(vr, piece))
        } else {
            self.copy(start, end)
        }
    }

    fn copy_pieces(
        &mut self,
        mut start: u64,
        end: u64,
        change: impl Fn(&mut [u8]),
    ) -> Result<(), WriteError> {
        while start < end {
            let count = usize::try_from(end - start).unwrap_or(PIECE).min(PIECE);
            let piece = self.piece.get_mut(..count).unwrap_or_default();
            self.source.read_exact_at(piece, start).map_err(ReadError::Source)?;
            change(piece);
            self.out.write_all(piece).map_err(WriteError::Output)?;
            start += count as u64;
        }
        Ok(())
    }

    fn tag(&mut self, tag: Tag) -> Result<(), WriteError> {
        let ([a, b], [c, d]) = (tag.0.to_le_bytes(), tag.1.to_le_bytes());
        self.bytes(&[a, b, c, d])
    }
}
