//! What comes on the stream of a push, as the data set of a C-STORE: a piece at a time, never on a disk.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::dimse::DataSource;
use crate::tunnel::connection::{Broken, Stream};
use crate::tunnel::upload::Offer;

/// Bytes that are collected before they are passed on.
const PIECE: usize = 64 << 10;

/// The data set. Its last bytes are passed on only when all of it has the hash that was offered, so that the PACS never has the
/// whole of something else.
pub(super) struct FromStream<'a> {
    stream: &'a Stream,
    offer: &'a Offer,
    patience: Duration,
    came: u64,
    hasher: Sha256,
    /// A byte that waits for another, because pieces are of even length.
    odd: Option<u8>,
    is_whole: bool,
    fault: Option<Fault>,
}

/// Why no more of it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The gateway wants it no more, or is gone.
    #[error("the gateway broke it off")]
    Gone,
    /// It says nothing.
    #[error("the gateway does not go on")]
    Silence,
    /// More or less than it offered.
    #[error("the gateway sends more or less than it offered")]
    Length,
    /// Something else than it offered.
    #[error("the gateway sends other bytes than it offered")]
    OtherBytes,
}

impl<'a> FromStream<'a> {
    /// `patience` is how long the gateway may say nothing.
    pub(super) fn new(stream: &'a Stream, offer: &'a Offer, patience: Duration) -> Self {
        Self {
            stream,
            offer,
            patience,
            came: 0,
            hasher: Sha256::new(),
            odd: None,
            is_whole: false,
            fault: None,
        }
    }

    /// Why it failed, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Bytes that have come.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    async fn piece(&mut self, mut piece: Vec<u8>) -> Result<Vec<u8>, Fault> {
        piece.clear();
        piece.extend(self.odd.take());
        while piece.len() < PIECE && self.came < self.offer.length {
            let bytes = self.receive().await?.ok_or(Fault::Length)?;
            if bytes.len() as u64 > self.offer.length - self.came {
                return Err(Fault::Length);
            }
            self.came += bytes.len() as u64;
            self.hasher.update(&bytes);
            piece.extend_from_slice(&bytes);
        }
        if self.came < self.offer.length {
            if piece.len() % 2 == 1 {
                self.odd = piece.pop();
            }
        } else if !self.is_whole {
            self.compare().await?;
        }
        Ok(piece)
    }

    /// All of it is there.
    pub(super) async fn compare(&mut self) -> Result<(), Fault> {
        if self.receive().await?.is_some() {
            return Err(Fault::Length);
        }
        let hash: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
        self.is_whole = hash == self.offer.sha256;
        if self.is_whole { Ok(()) } else { Err(Fault::OtherBytes) }
    }

    async fn receive(&self) -> Result<Option<bytes::Bytes>, Fault> {
        let received = timeout(self.patience, self.stream.receive()).await.map_err(|_| Fault::Silence)?;
        received.map_err(|broken| match broken {
            Broken::Session | Broken::Reset(_) => Fault::Gone,
        })
    }
}

impl DataSource for FromStream<'_> {
    async fn next(&mut self, used: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.piece(used).await {
            Ok(piece) => Ok(piece),
            Err(fault) => {
                self.fault = Some(fault);
                Err(io::Error::other(fault))
            }
        }
    }
}
