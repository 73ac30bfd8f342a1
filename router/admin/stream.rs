//! A body that is written while it is sent: by a blocking thread, through a channel of a few pieces, so that neither its
//! length nor a slow reader costs memory.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of a piece, and pieces under way.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

/// A body of what `write` writes. When it fails the connection is broken off, so that nobody takes the part for the whole.
pub(super) fn body(
    length: Option<u64>,
    write: impl FnOnce(&mut Pipe) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, pieces) = channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe { sender, piece: Vec::new() };
        if let Err(error) = write(&mut pipe).and_then(|()| pipe.flush()) {
            let _ = pipe.sender.blocking_send(Err(error));
        }
    });
    Body::new(Pieces { pieces, length })
}

/// Where the body is written to. Fails with `BrokenPipe` once nobody reads any more.
pub(super) struct Pipe {
    sender: Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Pieces {
    pieces: Receiver<io::Result<Bytes>>,
    length: Option<u64>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
