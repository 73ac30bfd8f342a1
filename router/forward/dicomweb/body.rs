//! The body of a request: `multipart/related` (RFC 2387) with a Part 10 file in each part, whose length is known before its
//! first byte is sent and of which no more is in memory than a few pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dimse::DataSource;
use crate::forward::outgoing::{Outgoing, OutgoingSource};

/// A file that is ready to leave.
pub(super) struct Part {
    /// Preamble and file meta group.
    pub(super) head: Vec<u8>,
    pub(super) outgoing: Outgoing,
}

/// What stands between the parts of one request.
pub(super) struct Boundary(String);

/// Why a body did not leave whole.
#[derive(Debug)]
pub(super) enum FeedError {
    /// A part could not be read.
    Source(io::Error),
    /// Nobody takes it any more.
    Closed,
    /// Nothing was taken for so long.
    Stalled(Duration),
}

impl Boundary {
    /// One that is in no file: 192 bits of chance.
    pub(super) fn random() -> io::Result<Self> {
        let mut chance = [0u8; 24];
        getrandom::fill(&mut chance).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(chance.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/related; type=\"application/dicom\"; boundary={}", self.0)
    }

    /// No `transfer-syntax` parameter: it is in the file, and there are servers that take no part which has it.
    fn before(&self) -> String {
        format!("--{}\r\nContent-Type: application/dicom\r\n\r\n", self.0)
    }

    const AFTER: &str = "\r\n";

    fn end(&self) -> String {
        format!("--{}--\r\n", self.0)
    }

    /// Bytes of a body with these parts.
    pub(super) fn length<'a>(&self, parts: impl IntoIterator<Item = &'a Part>) -> u64 {
        let around = (self.before().len() + Self::AFTER.len()) as u64;
        let part = |part: &Part| around + part.head.len() as u64 + part.outgoing.len();
        parts.into_iter().map(part).sum::<u64>() + self.end().len() as u64
    }

    /// Reads the parts one after the other and hands them over, as fast as they are taken.
    pub(super) async fn feed(
        &self,
        parts: &[Part],
        to: mpsc::Sender<Bytes>,
        limit: Duration,
    ) -> Result<(), FeedError> {
        let give = async |bytes: Bytes| match timeout(limit, to.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(FeedError::Closed),
            Err(_) => Err(FeedError::Stalled(limit)),
        };
        for part in parts {
            give([self.before().as_bytes(), &part.head].concat().into()).await?;
            let mut source = OutgoingSource::new(part.outgoing.clone());
            let mut left = part.outgoing.len();
            while left > 0 {
                let piece = source.next(Vec::new()).await.map_err(FeedError::Source)?;
                if piece.is_empty() || piece.len() as u64 > left {
                    return Err(FeedError::Source(io::Error::other("it is not as long as it was")));
                }
                left -= piece.len() as u64;
                give(piece.into()).await?;
            }
            give(Bytes::from_static(Self::AFTER.as_bytes())).await?;
        }
        give(self.end().into()).await
    }
}

/// The body as the connection takes it.
pub(super) struct Taken {
    from: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Taken {
    /// So many bytes, of which a piece or two may wait.
    pub(super) fn new(length: u64) -> (mpsc::Sender<Bytes>, Self) {
        let (to, from) = mpsc::channel(1);
        (to, Self { from, left: length })
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.from.poll_recv(context) {
            Poll::Ready(Some(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(None) if self.left > 0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
