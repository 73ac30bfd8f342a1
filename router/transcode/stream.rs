#![deny(clippy::unwrap_used, clippy::indexing_slicing)]
//! A copy that is sent while it is made: the second of two passes, by a thread of its own that is never more than a few
//! pieces ahead of its reader, and ends with it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::TranscodeError;
use super::cache::PIECE;
use super::engine::Inner;
use super::job::Job;
use super::made::{Body, Product};
use super::pipeline::guarded;

/// Pieces that may wait for the reader.
const AHEAD: usize = 2;

/// A copy that can be made again, byte for byte.
#[derive(Clone)]
pub(super) struct Streaming {
    pub(super) engine: Arc<Inner>,
    pub(super) job: Arc<Job>,
    pub(super) product: Arc<Product>,
}

impl Streaming {
    /// Begins to make it.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn begin(&self) -> io::Result<Stream> {
        let (sender, pieces) = sync_channel(AHEAD);
        let streaming = self.clone();
        let thread = std::thread::Builder::new().name("transcode-stream".into());
        thread.spawn(move || streaming.run(sender))?;
        Ok(Stream { pieces })
    }

    fn run(&self, sender: SyncSender<io::Result<Vec<u8>>>) {
        let mut pipe = Pipe { sender, pending: Vec::with_capacity(PIECE) };
        let made = guarded(|| match &*self.product {
            Product::Copy { body: Body::Measured(measured), .. } => {
                self.engine.again(&self.job, measured, &self.product, &mut pipe)?;
                pipe.flush().map_err(|error| TranscodeError::Cache(error.into()))
            }
            Product::Copy { body: Body::Kept { .. }, .. } | Product::Original(_) => {
                Err(TranscodeError::Panicked)
            }
        });
        if let Err(error) = made {
            // When nobody reads any more, that was the error.
            let _ = pipe.sender.send(Err(error.into_io()));
        }
    }
}

/// The pieces of a copy, as they are made.
pub(super) struct Stream {
    pieces: Receiver<io::Result<Vec<u8>>>,
}

impl Stream {
    /// Puts the next piece into the buffer; nothing at the end.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        *buffer = match self.pieces.recv() {
            Ok(piece) => piece?,
            Err(_) => Vec::new(),
        };
        Ok(())
    }
}

struct Pipe {
    sender: SyncSender<io::Result<Vec<u8>>>,
    pending: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.pending.len().min(PIECE));
        self.pending.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.pending.len() >= PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE));
        self.sender.send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
