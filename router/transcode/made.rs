#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A copy that is made, and how it is read.

use std::io;
use std::sync::Arc;

use super::TranscodeError;
use super::assemble::PixelData;
use super::cache::{Cache, Kept, Key, PIECE, Weight};
use super::edits::Edits;
use super::source::Source;
use super::stream::{Stream, Streaming};
use crate::dicom::{TransferSyntax, Uid};

/// What is to be sent instead of a stored data set. Clones are the same bytes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Made {
    /// How it is encoded.
    pub syntax: TransferSyntax,
    /// Its SOP Instance UID: that of the source, or one of its own.
    pub sop_instance: Uid,
    /// Bytes of the data set.
    pub length: u64,
    /// Whether colour became grey.
    pub grey: bool,
    /// Why it did not, although grey was wanted.
    pub first_colour: Option<FirstColour>,
    pub(super) bytes: Bytes,
}

/// The first pixel in a loop that has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstColour {
    /// Its frame, counted from 0.
    pub frame: u32,
    /// Its place in the frame, counted from 0, row by row.
    pub pixel: u64,
}

/// Where the bytes come from.
#[derive(Clone)]
pub(super) enum Bytes {
    Original(Arc<dyn Source>),
    Cached { product: Arc<Product>, shelf: Arc<Cache<Product>>, key: Key },
    Streamed(Streaming),
}

impl Made {
    /// Whether nothing was to be changed after all: these are the stored bytes.
    pub fn is_original(&self) -> bool {
        matches!(self.bytes, Bytes::Original(_))
    }

    /// Whether it lies in the cache; else it is made anew each time that it is read.
    pub fn is_cached(&self) -> bool {
        matches!(self.bytes, Bytes::Cached { .. })
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> Reader {
        let from = match &self.bytes {
            Bytes::Original(source) => From::Original { source: source.clone(), offset: 0 },
            Bytes::Cached { .. } => {
                From::Cached { made: self.clone(), piece: Vec::new(), at: None, offset: 0 }
            }
            Bytes::Streamed(streaming) => From::Unbegun(streaming.clone()),
        };
        Reader { from, left: self.length }
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made")
            .field("syntax", &self.syntax)
            .field("sop_instance", &self.sop_instance)
            .field("length", &self.length)
            .field("grey", &self.grey)
            .field("first_colour", &self.first_colour)
            .finish_non_exhaustive()
    }
}

/// What the cache remembers of a copy.
#[derive(Debug)]
pub(super) enum Product {
    /// Only grey was wanted, and there is a colour.
    Original(FirstColour),
    /// A copy.
    Copy { facts: Facts, body: Body },
}

/// What is known of a copy.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) syntax: TransferSyntax,
    pub(super) sop_instance: Uid,
    pub(super) length: u64,
    pub(super) grey: bool,
    pub(super) first_colour: Option<FirstColour>,
}

/// Where a copy is.
#[derive(Debug)]
pub(super) enum Body {
    /// In a file: from `head_at` to its end, and then from its beginning to `head_at`.
    Kept { file: Kept, head_at: u64 },
    /// Nowhere: this is what the head needs to know of the rest.
    Measured(Measured),
}

/// What the first of two passes finds out.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) edits: Edits,
    /// None when only elements are encoded anew.
    pub(super) pixels: Option<PixelData>,
}

impl Weight for Product {
    fn bytes(&self) -> u64 {
        match self {
            Self::Copy { body: Body::Kept { file, .. }, .. } => file.len(),
            Self::Copy { body: Body::Measured(_), .. } | Self::Original(_) => 0,
        }
    }
}

/// Reads a copy once, from its beginning to its end.
pub struct Reader {
    from: From,
    left: u64,
}

enum From {
    Original {
        source: Arc<dyn Source>,
        offset: u64,
    },
    /// `piece` is what was read last, from `at` on in the file.
    Cached {
        made: Made,
        piece: Vec<u8>,
        at: Option<u64>,
        offset: u64,
    },
    Unbegun(Streaming),
    Stream(Stream),
}

impl Reader {
    /// Puts the next bytes in place of what is in the buffer: at most [`PIECE`], nothing at the end. It may have to wait for
    /// the disk, or for frames to be made.
    ///
    /// # Errors
    /// What the disk says, that the bytes are not what was written, or that frames cannot be made. There is no going on then:
    /// what was read so far is the beginning of a data set that has no end.
    pub fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let count = self.left.min(PIECE as u64) as usize;
        if count == 0 {
            return Ok(());
        }
        if let From::Unbegun(streaming) = &self.from {
            self.from = From::Stream(streaming.begin()?);
        }
        let read = match &mut self.from {
            From::Original { source, offset } => {
                buffer.resize(count, 0);
                let read = source.read_exact_at(buffer, *offset);
                *offset += count as u64;
                read
            }
            From::Cached { made, piece, at, offset } => fill(made, piece, at, offset, count, buffer)
                .map_err(|error| TranscodeError::Cache(error.into()).into_io()),
            From::Stream(stream) => stream.next(buffer),
            From::Unbegun(_) => Ok(()),
        };
        if read.is_err() {
            buffer.clear();
            return read;
        }
        if buffer.is_empty() || buffer.len() as u64 > self.left {
            buffer.clear();
            return Err(TranscodeError::Pixels("the copy has another length than before".into()).into_io());
        }
        self.left -= buffer.len() as u64;
        Ok(())
    }
}

/// Appends `count` bytes of a file of the cache, from `offset` on in the order of the data set. A copy that is not what was
/// written is forgotten, so that it is made again.
fn fill(
    made: &Made,
    piece: &mut Vec<u8>,
    at: &mut Option<u64>,
    offset: &mut u64,
    count: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let Bytes::Cached { product, shelf, key } = &made.bytes else { return Ok(()) };
    let Product::Copy { body: Body::Kept { file, head_at }, .. } = &**product else { return Ok(()) };
    while buffer.len() < count && *offset < file.len() {
        let head = file.len() - head_at;
        let (place, end) =
            if *offset < head { (head_at + *offset, file.len()) } else { (*offset - head, *head_at) };
        let begin = place - place % PIECE as u64;
        if *at != Some(begin) {
            *at = None;
            file.read_piece(begin, piece).inspect_err(|_| shelf.forget(key, product))?;
            *at = Some(begin);
        }
        let end = end.min(begin + piece.len() as u64);
        let range = (place - begin) as usize..(end - begin) as usize;
        let bytes = piece.get(range).unwrap_or_default();
        let taken = bytes.get(..bytes.len().min(count - buffer.len())).unwrap_or_default();
        buffer.extend_from_slice(taken);
        *offset += taken.len() as u64;
        if taken.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
