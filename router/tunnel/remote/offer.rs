//! The gateway's side of a session: what it holds for the site is offered, at once and whenever it changes. Where the newest is
//! refused or undone at the link, the last one that was in force for good is offered first: a link that has it says so, and one
//! that was installed anew gets it back.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;

use super::held::{Held, Holdings, Standing, Stood};
use super::message::{Announcement, Lines, Reply};
use super::state::{Outcome, Report};
use super::store::StoreError;
use crate::audit::{Actor, Claims};
use crate::config::MAX_AFAR_BYTES;
use crate::tunnel::SiteName;
use crate::tunnel::connection::{Broken, Connection, Stream};
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

/// What is offered to one link, and where it is written down.
pub(in crate::tunnel) struct Offering {
    pub(in crate::tunnel) holdings: Holdings,
    pub(in crate::tunnel) site: SiteName,
    pub(in crate::tunnel) claims: Claims,
    /// The link.
    pub(in crate::tunnel) by: Actor,
}

/// Offers a link what is held for its site, until the session is over.
pub(in crate::tunnel) async fn hold(connection: Connection, offering: Offering) {
    let Offering { holdings, site, .. } = &offering;
    let (mut offered, mut unreadable): (Offered, Option<String>) = (Offered::default(), None);
    loop {
        let standing = look(holdings, site).await.unwrap_or_else(|error| {
            // Said once, not every second.
            if unreadable.as_ref() != Some(&error) {
                tracing::error!(%site, error, "A site's configuration cannot be read.");
            }
            unreadable = Some(error);
            None
        });
        let news = standing.as_ref().and_then(|standing| offered.next(standing));
        let round = async {
            let (Some((which, held)), Some(standing)) = (&news, &standing) else {
                tokio::time::sleep(ROUND).await;
                return Done::No;
            };
            tokio::select! {
                outcome = offering.offer(&connection, held, *which) => match outcome {
                    Ok(()) => Done::Yes,
                    Err(error) => {
                        let revision = &held.overlay.revision;
                        // A stream that ends with its session is no news; the next session offers it again.
                        if !connection.is_over() {
                            tracing::warn!(%site, revision, %error, "A site's configuration could not be offered.");
                        }
                        tokio::time::sleep(ROUND).await;
                        if matches!(error, OfferError::NoStream(_)) { Done::No } else { Done::Yes }
                    }
                },
                // The one on probation there is given up for the newer one.
                () = changed(holdings, site, &standing.held.overlay.revision) => Done::Yes,
            }
        };
        let done = tokio::select! {
            () = connection.ended() => return,
            done = round => done,
        };
        if let (Done::Yes, Some((which, held))) = (done, news) {
            offered.note(which, held.overlay.revision);
        }
    }
}

/// Which of the two that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Newest,
    /// The last one that was in force for good.
    Good,
}

/// The revisions that were offered in this session.
#[derive(Debug, Default)]
struct Offered {
    newest: Option<String>,
    good: Option<String>,
}

impl Offered {
    /// What is to be offered now.
    fn next(&self, standing: &Standing) -> Option<(Which, Held)> {
        let is_new = |held: &&Held, before: &Option<String>| before.as_ref() != Some(&held.overlay.revision);
        let good = standing.good().filter(|held| is_new(held, &self.good)).map(|held| (Which::Good, held));
        let newest = || Some(&standing.held).filter(|held| is_new(held, &self.newest));
        good.or_else(|| newest().map(|held| (Which::Newest, held))).map(|(which, held)| (which, held.clone()))
    }

    fn note(&mut self, which: Which, revision: String) {
        match which {
            Which::Newest => self.newest = Some(revision),
            Which::Good => self.good = Some(revision),
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
        if let Ok(Some(standing)) = look(holdings, site).await
            && standing.held.overlay.revision != revision
        {
            return;
        }
    }
}

/// # Errors
/// Why it cannot be read.
async fn look(holdings: &Holdings, site: &SiteName) -> Result<Option<Standing>, String> {
    let (holdings, name) = (holdings.clone(), site.clone());
    let looked = tokio::task::spawn_blocking(move || holdings.standing(&name)).await;
    looked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

impl Offering {
    /// Offers one, and notes what the link says of it until that is final.
    async fn offer(&self, connection: &Connection, held: &Held, which: Which) -> Result<(), OfferError> {
        let body = Announcement::of(&held.overlay).encode();
        let stream = connection.open(Kind::Configuration, body).map_err(OfferError::NoStream)?;
        let (mut lines, mut last) = (Lines::default(), None);
        loop {
            let bytes = match stream.receive().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(()),
                Err(Broken::Reset(Why::Unsupported)) => {
                    let problems = vec!["the link is of a version that takes no configuration".to_owned()];
                    self.note(held, which, Outcome::Refused { problems }).await;
                    return Ok(());
                }
                // Everything was said; how the stream ends is no matter then.
                Err(_) if last.as_ref().is_some_and(Outcome::is_final) => return Ok(()),
                Err(broken) => return Err(broken.into()),
            };
            for reply in lines.push(&bytes)? {
                match reply {
                    Reply::Wanted => {
                        self.send(&stream, held).await?;
                        self.record(held, "sent", &[]).await;
                    }
                    Reply::Report(outcome) if may_follow(last.as_ref(), &outcome) => {
                        self.note(held, which, outcome.clone()).await;
                        last = Some(outcome);
                    }
                    Reply::Report(_) => return Err(Malformed::Value("an answer after the last one").into()),
                }
            }
        }
    }

    async fn send(&self, stream: &Stream, held: &Held) -> Result<(), Broken> {
        let text = held.overlay.text.as_bytes();
        for piece in text.get(..MAX_AFAR_BYTES.min(text.len())).unwrap_or_default().chunks(PIECE) {
            stream.send(Bytes::copy_from_slice(piece)).await?;
        }
        stream.finish();
        Ok(())
    }

    /// Writes down what the link said, if it is news.
    async fn note(&self, held: &Held, which: Which, outcome: Outcome) {
        let (site, revision) = (&self.site, held.overlay.revision.as_str());
        let state = outcome.word();
        let reasons = outcome.reasons().join("; ");
        match &outcome {
            Outcome::Probation | Outcome::Applied => {
                tracing::info!(%site, revision, state, "A link has the configuration of its site.");
            }
            Outcome::Refused { .. } | Outcome::GoneBack { .. } => {
                tracing::warn!(%site, revision, state, reasons, "A link does not have the configuration of its site.");
            }
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // What the link says of the good one is nothing new about the newest.
        if which == Which::Good {
            if outcome != Outcome::Applied {
                self.record(held, state, outcome.reasons()).await;
            }
            return;
        }
        let applied = (outcome == Outcome::Applied).then(|| held.clone());
        let stood = Stood { report: Report { revision: revision.to_owned(), outcome: outcome.clone() }, at };
        let (holdings, name) = (self.holdings.clone(), site.clone());
        let noting = tokio::task::spawn_blocking(move || {
            let before = holdings.standing(&name)?.and_then(|standing| standing.stood);
            holdings.note(&name, &stood)?;
            if let Some(held) = applied {
                holdings.keep(&name, &held)?;
            }
            Ok::<_, StoreError>(before.is_none_or(|before| before.report != stood.report))
        });
        match noting.await {
            Ok(Ok(true)) => self.record(held, state, outcome.reasons()).await,
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::error!(%site, %error, "What a link said of its configuration cannot be written down.");
            }
        }
    }

    async fn record(&self, held: &Held, state: &str, reasons: &[String]) {
        let details = json!({ "revision": held.overlay.revision, "state": state, "reasons": reasons });
        let (claims, by, subject) = (self.claims.clone(), self.by.clone(), format!("site {}", self.site));
        let recording = move || claims.record(&by, "site configuration", &subject, details);
        let _ = tokio::task::spawn_blocking(recording).await;
    }
}

/// On probation is said once and first, and after anything else nothing more.
fn may_follow(last: Option<&Outcome>, outcome: &Outcome) -> bool {
    last.is_none_or(|last| !last.is_final() && outcome.is_final())
}

#[cfg(test)]
mod tests {
    use super::{Offered, Which};
    use crate::config::Overlay;
    use crate::tunnel::remote::held::{Held, Standing, Stood};
    use crate::tunnel::remote::{Outcome, Report};

    fn held(serial: u64) -> Held {
        let overlay = Overlay { revision: serial.to_string(), text: String::new() };
        Held { serial, overlay, since: 0, by: String::new() }
    }

    fn standing(outcome: Option<Outcome>) -> Standing {
        let stood = outcome.map(|outcome| Stood { report: Report { revision: "2".into(), outcome }, at: 0 });
        Standing { held: held(2), stood, applied: Some(held(1)) }
    }

    #[test]
    fn where_the_newest_is_refused_the_last_good_one_comes_first_and_each_once() {
        let refused = standing(Some(Outcome::Refused { problems: Vec::new() }));
        let mut offered = Offered::default();
        let mut order = Vec::new();
        while let Some((which, held)) = offered.next(&refused) {
            order.push((which, held.serial));
            offered.note(which, held.overlay.revision);
        }
        assert_eq!(order, [(Which::Good, 1), (Which::Newest, 2)]);
        for other in [None, Some(Outcome::Probation), Some(Outcome::Applied)] {
            let next = Offered::default().next(&standing(other)).map(|(which, held)| (which, held.serial));
            assert_eq!(next, Some((Which::Newest, 2)));
        }
    }
}
