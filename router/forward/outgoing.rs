//! What is really sent of an instance: the original, or a copy as its destination wants it.

use std::io;

use chrysalis_queue::{BlobError, CHUNK, Checked};
use tokio::task::JoinHandle;

use super::carrier::Item;
use crate::dicom::{TransferSyntax, Uid};
use crate::dimse::DataSource;
use crate::transcode::{Made, Reader, TranscodeError, called};

/// A data set that is ready to leave. Clones are the same bytes.
#[derive(Clone)]
pub(super) struct Outgoing {
    /// How it is encoded.
    pub(super) syntax: TransferSyntax,
    /// Under which SOP Instance UID it leaves.
    pub(super) sop_instance: Uid,
    bytes: Bytes,
    /// What there is to say of it, where it is not simply the original.
    note: Option<String>,
}

#[derive(Clone)]
enum Bytes {
    Original(Checked),
    Copy(Made),
}

impl Outgoing {
    /// An instance as it was received.
    pub(super) fn original(item: &Item, checked: Checked) -> Self {
        Self {
            syntax: item.transfer_syntax.clone(),
            sop_instance: item.sop_instance.clone(),
            bytes: Bytes::Original(checked),
            note: None,
        }
    }

    /// An instance as it was received, although a copy was wanted.
    pub(super) fn original_after_all(item: &Item, checked: Checked, why: &str) -> Self {
        Self { note: Some(format!("as received: {why}")), ..Self::original(item, checked) }
    }

    /// A copy. What is said of it lets an administrator find it at its destination.
    pub(super) fn copy(item: &Item, made: Made) -> Self {
        let mut note = format!("as {}", called(&made.syntax));
        if made.sop_instance != item.sop_instance {
            note = format!("{note}{OTHER_UID}{}", made.sop_instance);
        }
        Self {
            syntax: made.syntax.clone(),
            sop_instance: made.sop_instance.clone(),
            bytes: Bytes::Copy(made),
            note: Some(note),
        }
    }

    /// Bytes of the data set.
    pub(super) fn len(&self) -> u64 {
        match &self.bytes {
            Bytes::Original(checked) => checked.blob().payload_len(),
            Bytes::Copy(made) => made.length,
        }
    }

    /// For the ledger: as what it was sent, where that is not simply as it was received.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The original, if it is that.
    pub(super) fn as_original(&self) -> Option<&Checked> {
        match &self.bytes {
            Bytes::Original(checked) => Some(checked),
            Bytes::Copy(_) => None,
        }
    }

    /// Its bytes, piece by piece, from the beginning.
    pub(super) fn pieces(&self) -> Pieces {
        match &self.bytes {
            Bytes::Original(checked) => Pieces::Original { checked: Box::new(checked.clone()), offset: 0 },
            Bytes::Copy(made) => Pieces::Copy(Box::new(made.reader())),
        }
    }
}

/// What stands in a delivery's detail before a SOP Instance UID that is not the original's.
const OTHER_UID: &str = ", SOP Instance UID ";

/// Whether a delivery with this detail brought its instance there under its own SOP Instance UID.
pub(super) fn is_under_its_own_uid(detail: &str) -> bool {
    !detail.contains(OTHER_UID)
}

/// The bytes of a data set in order. Each piece is compared before it is handed out.
pub(super) enum Pieces {
    Original { checked: Box<Checked>, offset: u64 },
    Copy(Box<Reader>),
}

/// Why there is no next piece.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    #[error(transparent)]
    Spool(#[from] BlobError),
    #[error(transparent)]
    Copy(io::Error),
}

impl Pieces {
    /// Puts the next piece in place of what is in the buffer; nothing at the end.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<(), PieceError> {
        match self {
            Self::Original { checked, offset } => {
                checked.read_chunk(*offset, buffer)?;
                *offset += buffer.len() as u64;
                Ok(())
            }
            Self::Copy(reader) => reader.next(buffer).map_err(PieceError::Copy),
        }
    }
}

/// What the transcoding stage said, where an error of reading a copy came from there.
pub(super) fn copy_error(error: &io::Error) -> Option<&TranscodeError> {
    error.get_ref()?.downcast_ref()
}

impl From<PieceError> for io::Error {
    fn from(error: PieceError) -> Self {
        match error {
            PieceError::Spool(error) => Self::other(error),
            PieceError::Copy(error) => error,
        }
    }
}

/// As a data source: while one piece is sent, a blocking thread reads the next.
pub(super) struct OutgoingSource {
    outgoing: Outgoing,
    pieces: Option<Pieces>,
    left: u64,
    ahead: Option<Reading>,
}

type Reading = JoinHandle<(Pieces, Result<Vec<u8>, PieceError>)>;

impl OutgoingSource {
    pub(super) fn new(outgoing: Outgoing) -> Self {
        let (pieces, left) = (Some(outgoing.pieces()), outgoing.len());
        Self { outgoing, pieces, left, ahead: None }
    }

    fn read(&mut self, mut buffer: Vec<u8>) -> Option<Reading> {
        let mut pieces = self.pieces.take()?;
        Some(tokio::task::spawn_blocking(move || {
            let read = pieces.next(&mut buffer).map(|()| buffer);
            (pieces, read)
        }))
    }
}

impl DataSource for OutgoingSource {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        if let Some(whole) = self.outgoing.as_original().and_then(Checked::whole) {
            used.clear();
            used.extend_from_slice(whole);
            return Ok(used);
        }
        let reading = self.ahead.take().or_else(|| self.read(Vec::new()));
        let Some(reading) = reading else { return Ok(Vec::new()) };
        let (pieces, read) = reading.await.map_err(io::Error::other)?;
        self.pieces = Some(pieces);
        let piece = read?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left > 0 {
            self.ahead = self.read(used);
        }
        Ok(piece)
    }
}

/// The bytes from some place on, to the end: while one piece is sent, a blocking thread reads the next.
pub(super) struct TailSource {
    pieces: Option<Pieces>,
    /// Bytes that are read and not handed out.
    skip: u64,
    left: u64,
    ahead: Option<Reading>,
}

impl TailSource {
    pub(super) fn new(outgoing: &Outgoing, offset: u64) -> Self {
        let left = outgoing.len().saturating_sub(offset);
        // A copy is read from its beginning: it may be made while it is read.
        let (pieces, skip) = match outgoing.pieces() {
            Pieces::Original { checked, .. } => {
                let skip = offset % CHUNK as u64;
                (Pieces::Original { checked, offset: offset - skip }, skip)
            }
            copy @ Pieces::Copy(_) => (copy, offset),
        };
        Self { pieces: Some(pieces), skip, left, ahead: None }
    }

    fn read(&mut self, mut buffer: Vec<u8>) -> Option<Reading> {
        let mut pieces = self.pieces.take()?;
        Some(tokio::task::spawn_blocking(move || {
            let read = pieces.next(&mut buffer).map(|()| buffer);
            (pieces, read)
        }))
    }
}

impl DataSource for TailSource {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        while self.left > 0 {
            let reading = self.ahead.take().or_else(|| self.read(std::mem::take(&mut used)));
            let Some(reading) = reading else { break };
            let (pieces, read) = reading.await.map_err(io::Error::other)?;
            self.pieces = Some(pieces);
            let mut piece = read?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let skipped = self.skip.min(piece.len() as u64) as usize;
            self.skip -= skipped as u64;
            piece.drain(..skipped);
            if piece.is_empty() {
                used = piece;
                continue;
            }
            self.left = self.left.saturating_sub(piece.len() as u64);
            if self.left > 0 {
                self.ahead = self.read(Vec::new());
            }
            return Ok(piece);
        }
        Ok(Vec::new())
    }
}
