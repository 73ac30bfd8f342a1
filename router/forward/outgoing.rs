//! What is really sent of an instance: the original, or a copy as its destination wants it.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrysalis_queue::{Blob, BlobError, CHUNK, Checked, Checking, History, Queue};
use tokio::task::JoinHandle;

use super::carrier::Item;
use crate::dicom::part10::{self, HeadFields};
use crate::dicom::{Status, TransferSyntax, Uid};
use crate::dimse::DataSource;
use crate::metrics::{Made as Outcome, Monochrome as Greyed};
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
    /// What was gone through for it.
    pub(super) effort: Effort,
}

/// What was gone through to have something to send, for the metrics: counted when it is sent, because what is made ahead may
/// be made again or not be sent at all.
#[derive(Clone, Copy, Default)]
pub(super) struct Effort {
    /// A copy was wanted: how making it ended.
    pub(super) made: Option<Outcome>,
    /// What was decided about the wish for grey.
    pub(super) grey: Option<Greyed>,
    /// How long the copy took, or waiting for it.
    pub(super) took: Duration,
    /// The original goes, because what is wanted could not be made of it.
    pub(super) fell_back: bool,
}

#[derive(Clone)]
enum Bytes {
    Original(Checked),
    /// The original, compared while it is sent: for who does nothing with what has no end.
    Unread(Arc<Unread>),
    Copy(Made),
}

/// What is compared while it is sent; or once before it is gone on with, because that may be often.
pub(super) struct Unread {
    blob: Arc<Blob>,
    checked: OnceLock<Checked>,
}

impl Unread {
    /// Compared as a whole, if that was not done yet.
    fn checked(&self) -> Result<&Checked, BlobError> {
        match self.checked.get() {
            Some(checked) => Ok(checked),
            None => {
                let checked = Checked::new(Arc::clone(&self.blob))?;
                Ok(self.checked.get_or_init(|| checked))
            }
        }
    }
}

impl Outgoing {
    /// An instance as it was received.
    pub(super) fn original(item: &Item, checked: Checked) -> Self {
        Self {
            syntax: item.transfer_syntax.clone(),
            sop_instance: item.sop_instance.clone(),
            bytes: Bytes::Original(checked),
            note: None,
            effort: Effort::default(),
        }
    }

    /// An instance as it was received, although something else was wanted.
    pub(super) fn original_after_all(item: &Item, checked: Checked, why: &str) -> Self {
        Self { note: Some(format!("as received: {why}")), ..Self::original(item, checked) }
    }

    /// An instance as it was received, which is compared while it leaves: its last piece leaves only if all of it is right.
    pub(super) fn unread(item: &Item, blob: Blob) -> Self {
        Self {
            syntax: item.transfer_syntax.clone(),
            sop_instance: item.sop_instance.clone(),
            bytes: Bytes::Unread(Arc::new(Unread { blob: Arc::new(blob), checked: OnceLock::new() })),
            note: None,
            effort: Effort::default(),
        }
    }

    /// The same, and what was gone through for it.
    pub(super) fn after(self, effort: Effort) -> Self {
        Self { effort, ..self }
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
            effort: Effort::default(),
        }
    }

    /// Bytes of the data set.
    pub(super) fn len(&self) -> u64 {
        match &self.bytes {
            Bytes::Original(checked) => checked.blob().payload_len(),
            Bytes::Unread(unread) => unread.blob.payload_len(),
            Bytes::Copy(made) => made.length,
        }
    }

    /// For the ledger: as what it was sent, where that is not simply as it was received.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Preamble and file meta group to put before it: those of the spool's own file, or of its own for a copy.
    pub(super) fn head(&self, item: &Item) -> io::Result<Vec<u8>> {
        match &self.bytes {
            Bytes::Original(checked) => checked.blob().head(),
            Bytes::Unread(unread) => unread.blob.head(),
            Bytes::Copy(made) => Ok(part10::head(&HeadFields {
                sop_class: &item.sop_class,
                sop_instance: &made.sop_instance,
                transfer_syntax: &made.syntax,
                calling: &item.calling,
                called: &item.called,
            })),
        }
    }

    /// The original, if it is that and was compared before.
    pub(super) fn as_original(&self) -> Option<&Checked> {
        match &self.bytes {
            Bytes::Original(checked) => Some(checked),
            Bytes::Unread(_) | Bytes::Copy(_) => None,
        }
    }

    /// Its bytes, piece by piece, from the beginning.
    pub(super) fn pieces(&self) -> Pieces {
        match &self.bytes {
            Bytes::Original(checked) => Pieces::Original { checked: Box::new(checked.clone()), offset: 0 },
            Bytes::Unread(unread) => Pieces::Unread(Box::new(Checking::new(Arc::clone(&unread.blob)))),
            Bytes::Copy(made) => Pieces::Copy(Box::new(made.reader())),
        }
    }
}

/// What stands in a delivery's detail before a SOP Instance UID that is not the original's.
const OTHER_UID: &str = ", SOP Instance UID ";

/// Whether a delivery with this detail brought its instance there under its own SOP Instance UID.
fn is_under_its_own_uid(detail: &str) -> bool {
    !detail.contains(OTHER_UID)
}

/// What is known of an instance's UID besides this instance. Only a duplicate needs to know what was sent before.
///
/// A UID that a copy has of its own is made of the original's UID, its content and the way it was encoded: what the peer
/// has under it is this very copy. Under the original's UID, a delivery under another one does not count.
pub(super) async fn history(
    queue: &Queue,
    destination: &str,
    item: &Item,
    outgoing: &Outgoing,
    status: Status,
) -> History {
    if status != Status::DUPLICATE_INSTANCE {
        return History::default();
    }
    if outgoing.sop_instance != item.sop_instance {
        return History { delivered_before: true, other_content: false };
    }
    let (queue, sequence) = (queue.clone(), item.instance.sequence);
    let name = destination.to_owned();
    let asked =
        tokio::task::spawn_blocking(move || queue.history(&name, sequence, is_under_its_own_uid)).await;
    // When nobody can tell, it is taken for another content: held is visible, delivered is not.
    asked.ok().and_then(Result::ok).unwrap_or(History { delivered_before: false, other_content: true })
}

/// The bytes of a data set in order. Each piece is compared before it is handed out, or all of them before the last is.
pub(super) enum Pieces {
    Original { checked: Box<Checked>, offset: u64 },
    Unread(Box<Checking>),
    Rest { unread: Arc<Unread>, offset: u64 },
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
            Self::Unread(checking) => Ok(checking.next(buffer)?),
            Self::Rest { unread, offset } => {
                unread.checked()?.read_chunk(*offset, buffer)?;
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
        let within = offset % CHUNK as u64;
        let (pieces, skip) = match &outgoing.bytes {
            Bytes::Original(checked) => {
                (Pieces::Original { checked: Box::new(checked.clone()), offset: offset - within }, within)
            }
            Bytes::Unread(unread) if offset > 0 => {
                (Pieces::Rest { unread: Arc::clone(unread), offset: offset - within }, within)
            }
            Bytes::Unread(_) => (outgoing.pieces(), 0),
            // From its beginning: it may be made while it is read.
            Bytes::Copy(_) => (outgoing.pieces(), offset),
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
