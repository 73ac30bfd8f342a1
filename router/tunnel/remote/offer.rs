//! The gateway's side of a session: what it holds for the site is offered, at once and whenever it changes.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::held::{Held, Holdings, Stood};
use super::message::{Announcement, Lines, Reply};
use super::state::{Outcome, Report};
use crate::config::MAX_AFAR_BYTES;
use crate::tunnel::SiteName;
use crate::tunnel::connection::{Broken, Connection};
use crate::tunnel::mux::Refused;
use crate::tunnel::wire::{Kind, Malformed, Why};

/// How often it is looked whether something else is held.
const ROUND: Duration = Duration::from_secs(1);
/// The pieces of the sections, in bytes.
const PIECE: usize = 16 << 10;

/// Why an offer came to nothing.
#[derive(Debug, thiserror::Error)]
enum OfferError {
    #[error("no stream could be opened")]
    NoStream(Refused),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the link's answer: {0}")]
    Malformed(#[from] Malformed),
}

/// Offers a link what is held for its site, until the session is over.
pub(in crate::tunnel) async fn hold(connection: Connection, holdings: Holdings, site: SiteName) {
    let mut offered: Option<String> = None;
    loop {
        let held = look(&holdings, &site).await;
        let news = held.filter(|held| offered.as_ref() != Some(&held.overlay.revision));
        let round = async {
            let Some(held) = &news else {
                tokio::time::sleep(ROUND).await;
                return Done::No;
            };
            tokio::select! {
                outcome = offer(&connection, held, &holdings, &site) => match outcome {
                    Ok(()) => Done::Yes,
                    Err(error) => {
                        let revision = &held.overlay.revision;
                        tracing::warn!(%site, revision, %error, "A site's configuration could not be offered.");
                        tokio::time::sleep(ROUND).await;
                        if matches!(error, OfferError::NoStream(_)) { Done::No } else { Done::Yes }
                    }
                },
                // The one on probation there is given up for the newer one.
                () = changed(&holdings, &site, &held.overlay.revision) => Done::Yes,
            }
        };
        let done = tokio::select! {
            () = connection.ended() => return,
            done = round => done,
        };
        if let (Done::Yes, Some(held)) = (done, news) {
            offered = Some(held.overlay.revision);
        }
    }
}

/// Whether an offer is over with, in this session.
enum Done {
    Yes,
    No,
}

async fn changed(holdings: &Holdings, site: &SiteName, revision: &str) {
    loop {
        tokio::time::sleep(ROUND).await;
        if look(holdings, site).await.is_some_and(|held| held.overlay.revision != revision) {
            return;
        }
    }
}

async fn look(holdings: &Holdings, site: &SiteName) -> Option<Held> {
    let (holdings, name) = (holdings.clone(), site.clone());
    match tokio::task::spawn_blocking(move || holdings.held(&name)).await {
        Ok(Ok(held)) => held,
        Ok(Err(error)) => {
            tracing::error!(%site, %error, "A site's configuration cannot be read.");
            None
        }
        Err(_) => None,
    }
}

/// Offers one, and notes what the link says of it until that is final.
async fn offer(
    connection: &Connection,
    held: &Held,
    holdings: &Holdings,
    site: &SiteName,
) -> Result<(), OfferError> {
    let body = Announcement::of(&held.overlay).encode();
    let stream = connection.open(Kind::Configuration, body).map_err(OfferError::NoStream)?;
    let mut lines = Lines::default();
    loop {
        let bytes = match stream.receive().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(Broken::Reset(Why::Unsupported)) => {
                let problems = vec!["the link is of a version that takes no configuration".to_owned()];
                note(holdings, site, held, Outcome::Refused { problems }).await;
                return Ok(());
            }
            Err(broken) => return Err(broken.into()),
        };
        for reply in lines.push(&bytes)? {
            match reply {
                Reply::Wanted => {
                    let text = held.overlay.text.as_bytes();
                    for piece in text.get(..MAX_AFAR_BYTES.min(text.len())).unwrap_or_default().chunks(PIECE)
                    {
                        stream.send(Bytes::copy_from_slice(piece)).await?;
                    }
                    stream.finish();
                }
                Reply::Report(outcome) => note(holdings, site, held, outcome).await,
            }
        }
    }
}

async fn note(holdings: &Holdings, site: &SiteName, held: &Held, outcome: Outcome) {
    let revision = held.overlay.revision.as_str();
    let reasons = outcome.reasons().join("; ");
    match &outcome {
        Outcome::Probation | Outcome::Applied => {
            tracing::info!(%site, revision, state = outcome.word(), "A link has the configuration of its site.");
        }
        Outcome::Refused { .. } | Outcome::GoneBack { .. } => {
            tracing::warn!(%site, revision, state = outcome.word(), reasons, "A link does not have the configuration of its site.");
        }
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let stood = Stood { report: Report { revision: revision.to_owned(), outcome }, at };
    let (holdings, name) = (holdings.clone(), site.clone());
    let written = tokio::task::spawn_blocking(move || holdings.note(&name, &stood)).await;
    if let Ok(Err(error)) = written {
        tracing::error!(%site, %error, "What a link said of its configuration cannot be written down.");
    }
}
