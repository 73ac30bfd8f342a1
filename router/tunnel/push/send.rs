//! The gateway's side of a push.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::message::{Answer, Order};
use crate::dimse::DataSource;
use crate::tunnel::connection::{Broken, Connection, Stream};
use crate::tunnel::mux::Refused;
use crate::tunnel::upload::{SendError, carry};
use crate::tunnel::wire::{Kind, Why};

/// How long the link may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To have an association with the PACS.
    pub(crate) association: Duration,
    /// To take the next bytes, and to say what the PACS answered.
    pub(crate) answer: Duration,
}

/// Why it is not known what the PACS did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// The connection is gone.
    #[error("the connection to the site's link broke")]
    Broken,
    /// The link has cut the stream off.
    #[error("the site's link cut it off: {0}")]
    Cut(Why),
    /// The link is of a version that cannot do it.
    #[error("the site's link does not serve pushes: it is of an older version")]
    Unsupported,
    /// The link says nothing.
    #[error("the site's link neither takes nor says anything for {0:?}")]
    Silence(Duration),
    /// As many streams are open as the link allows.
    #[error("the site's link takes no more streams now")]
    NoStream,
    /// The link says what cannot be.
    #[error("the site's link says what cannot be: {0}")]
    Untrue(String),
    /// Our own copy cannot be read.
    #[error("our own copy cannot be read: {0}")]
    Source(io::Error),
}

/// Has a link bring one instance to one of its endpoints, and says what the link answered; never [`Answer::Send`]. A PACS's
/// answer is believed only after all of the data set was sent. `carried` says how many bytes of it went.
pub(crate) async fn push<S: DataSource>(
    connection: &Connection,
    order: &Order,
    source: S,
    patience: Patience,
    carried: &mut u64,
) -> Result<Answer, PushError> {
    let stream = connection.open(Kind::Push, order.encode()).map_err(|refused| match refused {
        Refused::TooManyStreams | Refused::Full => PushError::NoStream,
        Refused::Over(_) => PushError::Broken,
    })?;
    match answer(&stream, patience.association).await? {
        Answer::Send => {}
        early @ (Answer::Response { .. } | Answer::Aborted { .. } | Answer::OtherBytes) => {
            return Err(PushError::Untrue(format!("{} before anything was sent", early.name())));
        }
        none @ (Answer::OtherSyntaxes(_)
        | Answer::ClassNotAccepted
        | Answer::NothingAccepted
        | Answer::Rejected(_)
        | Answer::Unreachable(_)
        | Answer::Insecure(_)
        | Answer::NoEndpoint) => return Ok(none),
    }
    let early = {
        let sending = carry(connection, &stream, source, patience.answer, carried);
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(()) => None,
                // What the link said before it cut the stream off is still there to be read.
                Err(SendError::Broken { .. }) => Some(answer(&stream, patience.answer).await?),
                Err(SendError::Source(error)) => return Err(PushError::Source(error)),
                Err(SendError::Silence(limit)) => return Err(PushError::Silence(limit)),
                Err(other @ (SendError::NoStream | SendError::Untrue(_))) => {
                    return Err(PushError::Untrue(other.to_string()));
                }
            },
            early = receive(&stream) => Some(early?),
        }
    };
    let last = match early {
        Some(answer) => answer,
        None => answer(&stream, patience.answer).await?,
    };
    match last {
        Answer::Response { .. } | Answer::OtherBytes if !stream.has_ended() => {
            Err(PushError::Untrue(format!("{} before all was sent", last.name())))
        }
        Answer::Response { .. } | Answer::Unreachable(_) | Answer::Aborted { .. } | Answer::OtherBytes => {
            Ok(last)
        }
        Answer::Send
        | Answer::OtherSyntaxes(_)
        | Answer::ClassNotAccepted
        | Answer::NothingAccepted
        | Answer::Rejected(_)
        | Answer::Insecure(_)
        | Answer::NoEndpoint => Err(PushError::Untrue(format!("{} after it began", last.name()))),
    }
}

async fn answer(stream: &Stream, patience: Duration) -> Result<Answer, PushError> {
    timeout(patience, receive(stream)).await.map_err(|_| PushError::Silence(patience))?
}

async fn receive(stream: &Stream) -> Result<Answer, PushError> {
    match stream.receive().await {
        Ok(Some(bytes)) => Answer::decode(bytes).map_err(|error| PushError::Untrue(error.to_string())),
        Ok(None) => Err(PushError::Untrue("it ended without an answer".to_owned())),
        Err(Broken::Session) => Err(PushError::Broken),
        Err(Broken::Reset(Why::Unsupported)) => Err(PushError::Unsupported),
        Err(Broken::Reset(why)) => Err(PushError::Cut(why)),
    }
}
