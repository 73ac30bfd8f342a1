//! The link's side of an upload.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::message::{Answer, Number, Offer, Upload};
use crate::dicom::Status;
use crate::dimse::DataSource;
use crate::tunnel::connection::{Broken, Connection, Stream};
use crate::tunnel::mux::Refused;
use crate::tunnel::wire::{Kind, Malformed};

/// The smallest and the largest piece. What was not whole when a connection is cut has to be sent again: pieces grow with
/// what a connection has carried, so that little is lost with one that carries little.
const PIECE: std::ops::RangeInclusive<u64> = 4 << 10..=32 << 10;
/// The part of what a connection has carried that a piece may be.
const SHARE: u64 = 64;

/// What is offered, and where its bytes come from.
pub(crate) trait Offering {
    /// Its bytes from `offset` on.
    type Source: DataSource;
    /// What is offered.
    fn offer(&self) -> &Offer;
    /// Its bytes from `offset` on.
    fn from(&self, offset: u64) -> Self::Source;
}

/// What the gateway did with an instance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is durable there.
    Stored,
    /// It was there already.
    Had,
    /// The gateway will not have it.
    Refused { status: Status, comment: String },
    /// What arrived was something else.
    OtherBytes,
}

/// Why it is not known what the gateway did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection is gone; so many bytes got so far.
    #[error("the tunnel broke after {carried} bytes")]
    Broken { carried: u64 },
    /// The gateway says nothing.
    #[error("the gateway neither takes nor says anything for {0:?}")]
    Silence(Duration),
    /// As many streams are open as the gateway allows.
    #[error("the gateway takes no more streams now")]
    NoStream,
    /// The gateway says what cannot be.
    #[error("the gateway says what cannot be: {0}")]
    Untrue(String),
    /// Our own copy cannot be read.
    #[error("our own copy cannot be read: {0}")]
    Source(io::Error),
}

/// Sends an instance, or what the gateway does not have of it yet. Nothing is taken for stored but what the gateway says was,
/// with the right hash, after all of it was sent.
pub(crate) async fn send<O: Offering>(
    connection: &Connection,
    number: Number,
    offering: &O,
    patience: Duration,
) -> Result<Sent, SendError> {
    let offer = offering.offer();
    let upload = Upload { number, offer: offer.clone() };
    let stream = match connection.open(Kind::Upload, upload.encode()) {
        Ok(stream) => stream,
        Err(Refused::TooManyStreams | Refused::Full) => return Err(SendError::NoStream),
        Err(Refused::Over(_)) => return Err(SendError::Broken { carried: 0 }),
    };
    let offset = match answer(&stream, patience, 0).await? {
        Answer::Resume { offset } if offset > offer.length => {
            return Err(SendError::Untrue(format!("it has {offset} of {} bytes", offer.length)));
        }
        Answer::Resume { offset } => offset,
        Answer::Have { sha256 } if sha256 == offer.sha256 => return Ok(Sent::Had),
        Answer::Have { .. } => return Err(SendError::Untrue("it has other bytes".to_owned())),
        Answer::Refused { status, comment } => return Ok(Sent::Refused { status, comment }),
        other @ (Answer::Stored { .. } | Answer::OtherBytes) => {
            return Err(SendError::Untrue(format!("{} before anything was sent", other.name())));
        }
    };
    let mut carried = 0;
    let early = {
        let sending = carry(connection, &stream, offering.from(offset), patience, &mut carried);
        tokio::select! {
            biased;
            sent = sending => sent.map(|()| None),
            early = receive(&stream) => early.map(Some),
        }
    };
    let last = match early {
        Ok(Some(answer)) => answer,
        // A stream that was cut off may have brought an answer before.
        Ok(None) | Err(SendError::Broken { .. }) => answer(&stream, patience, carried).await?,
        Err(other) => return Err(other),
    };
    match last {
        Answer::Stored { .. } if !stream.has_ended() => {
            Err(SendError::Untrue("it stored what was not sent yet".to_owned()))
        }
        Answer::Stored { sha256 } if sha256 == offer.sha256 => Ok(Sent::Stored),
        Answer::Stored { .. } => Err(SendError::Untrue("it stored other bytes".to_owned())),
        Answer::Refused { status, comment } => Ok(Sent::Refused { status, comment }),
        Answer::OtherBytes => Ok(Sent::OtherBytes),
        other @ (Answer::Have { .. } | Answer::Resume { .. }) => {
            Err(SendError::Untrue(format!("{} after it began", other.name())))
        }
    }
}

/// Puts the bytes on the stream, and its end; says how many went.
pub(crate) async fn carry(
    connection: &Connection,
    stream: &Stream,
    mut source: impl DataSource,
    patience: Duration,
    carried: &mut u64,
) -> Result<(), SendError> {
    let mut used = Vec::new();
    loop {
        let read = source.next(used).await.map_err(SendError::Source)?;
        if read.is_empty() {
            stream.finish();
            return Ok(());
        }
        let mut rest = Bytes::from(read);
        while !rest.is_empty() {
            let piece = piece(connection.traffic().0).min(rest.len());
            let sending = stream.send(rest.split_to(piece));
            let sent = timeout(patience, sending).await.map_err(|_| SendError::Silence(patience))?;
            sent.map_err(|_| SendError::Broken { carried: *carried })?;
            *carried += piece as u64;
        }
        used = Vec::new();
    }
}

/// How long a piece is, on a connection that has carried so much.
fn piece(carried: u64) -> usize {
    (carried / SHARE).clamp(*PIECE.start(), *PIECE.end()) as usize
}

async fn answer(stream: &Stream, patience: Duration, carried: u64) -> Result<Answer, SendError> {
    let received = timeout(patience, receive(stream)).await.map_err(|_| SendError::Silence(patience))?;
    received.map_err(|error| match error {
        SendError::Broken { .. } => SendError::Broken { carried },
        other => other,
    })
}

async fn receive(stream: &Stream) -> Result<Answer, SendError> {
    match stream.receive().await {
        Ok(Some(bytes)) => {
            Answer::decode(bytes).map_err(|error: Malformed| SendError::Untrue(error.to_string()))
        }
        Ok(None) => Err(SendError::Untrue("it ended without an answer".to_owned())),
        Err(Broken::Session) => Err(SendError::Broken { carried: 0 }),
        Err(Broken::Reset(why)) => Err(SendError::Untrue(format!("it cut the stream off: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::piece;

    #[test]
    fn pieces_grow_with_what_the_connection_has_carried() {
        assert_eq!([0, 64 << 10, 1 << 20, 1 << 30].map(piece), [4 << 10, 4 << 10, 16 << 10, 32 << 10]);
    }
}
