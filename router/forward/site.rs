//! To a destination of a link: pushed through the session that the link has made, straight into the link's own C-STORE. The
//! delivery stays open here until the PACS's own status has come.

use std::collections::HashMap;

use chrysalis_queue::Queue;

use super::carrier::{Association, Attempted, Item};

use super::outgoing::{TailSource, history};
use super::prepare::Preparer;
use super::ready::{Ready, unreadable_source};
use super::verdict::End;
use crate::config::SiteDestination;
use crate::dicom::{TransferSyntax, Uid};
use crate::transcode::{Accepts, ladder};
use crate::tunnel::Gateway;
use crate::tunnel::connection::Connection;
use crate::tunnel::push::{Answer, Order, Patience, PushError, push};

/// What is known of so many SOP classes in one syntax each, until the next rest.
const MAX_KNOWN: usize = 64;

pub(super) struct SiteCarrier {
    name: String,
    config: SiteDestination,
    gateway: Gateway,
    queue: Queue,
    preparer: Preparer,
    /// What the PACS takes of what is stored so.
    known: HashMap<(Uid, TransferSyntax), Accepts>,
}

impl SiteCarrier {
    pub(super) fn new(
        name: &str,
        config: SiteDestination,
        gateway: Gateway,
        queue: Queue,
        preparer: Preparer,
    ) -> Self {
        Self { name: name.to_owned(), config, gateway, queue, preparer, known: HashMap::new() }
    }

    /// What the PACS takes may be another thing when there is something to send again.
    pub(super) fn rest(&mut self) {
        self.known.clear();
    }

    pub(super) async fn attempt(&mut self, item: &Item) -> Attempted {
        // Nothing is read, decoded or hashed for a link that is not there.
        let connection = self.gateway.connection(self.config.site.as_str());
        let Some(connection) = connection.filter(|connection| !connection.is_over()) else {
            let why = format!("the link of site {} is not connected", self.config.site);
            return Attempted::before(End::Unreachable(why));
        };
        let stored = (item.sop_class.clone(), item.transfer_syntax.clone());
        let ladder = ladder::syntaxes(self.preparer.wish(), &item.transfer_syntax);
        if let Some(accepts) = self.known.get(&stored) {
            match self.bring(&connection, item, &ladder, accepts.clone()).await {
                Ok(attempted) => return attempted,
                Err(Others(_)) => {
                    self.known.remove(&stored);
                }
            }
        }
        // As if it took everything, and then as it does.
        let accepted = match self.bring(&connection, item, &ladder, Accepts::These(ladder.clone())).await {
            Ok(attempted) => return attempted,
            Err(Others(accepted)) => Accepts::These(accepted),
        };
        if self.known.len() < MAX_KNOWN {
            self.known.insert(stored, accepted.clone());
        }
        match self.bring(&connection, item, &ladder, accepted).await {
            Ok(attempted) => attempted,
            Err(Others(_)) => {
                let why = "what it accepts changes from one association to the next".to_owned();
                Attempted::before(End::Unreachable(why))
            }
        }
    }

    /// # Errors
    /// [`Others`]: the PACS takes something else.
    async fn bring(
        &self,
        connection: &Connection,
        item: &Item,
        ladder: &[TransferSyntax],
        accepts: Accepts,
    ) -> Result<Attempted, Others> {
        let ready = match Ready::of(&self.queue, &self.preparer, item, accepts).await {
            Ok(ready) => ready,
            Err(attempted) => return Ok(attempted),
        };
        let mut syntaxes = ladder.to_vec();
        if !syntaxes.contains(&ready.offer.transfer_syntax) {
            syntaxes.push(ready.offer.transfer_syntax.clone());
        }
        let order =
            Order { endpoint: self.config.endpoint.to_string(), syntaxes, offer: ready.offer.clone() };
        let timeouts = self.config.timeouts;
        let patience = Patience { association: timeouts.connect + timeouts.acse, answer: timeouts.dimse };
        let mut carried = 0;
        let source = TailSource::new(&ready.outgoing, 0);
        let pushing = push(connection, &order, source, patience, &mut carried);
        self.preparer.count(item, &ready.outgoing);
        match Box::pin(pushing).await {
            Ok(Answer::OtherSyntaxes(accepted)) => Err(Others(accepted)),
            Ok(answer) => Ok(self.answered(answer, item, &ready, carried > 0).await),
            Err(PushError::Source(error)) => Ok(unreadable_source(&error)),
            Err(error) => Ok(Attempted {
                end: End::Unreachable(error.to_string()),
                was_sent: carried > 0,
                broke: None,
                bytes: 0,
            }),
        }
    }

    async fn answered(&self, answer: Answer, item: &Item, ready: &Ready, was_sent: bool) -> Attempted {
        let bytes = ready.offer.length;
        let before = Attempted::before;
        match answer {
            Answer::Response { status, comment } => {
                let history = history(&self.queue, &self.name, item, &ready.outgoing, status).await;
                let sent = ready.outgoing.note().map(str::to_owned);
                Attempted::sent(End::Response { status, comment, history, sent }, bytes)
            }
            Answer::ClassNotAccepted => before(End::ClassNotAccepted { class: item.sop_class.to_string() }),
            Answer::NothingAccepted => before(End::NothingAccepted),
            Answer::Rejected(rejection) => before(End::Rejected(rejection)),
            Answer::Unreachable(what) => {
                let end = End::Unreachable(at_the_link(&what));
                Attempted { end, was_sent, broke: None, bytes: if was_sent { bytes } else { 0 } }
            }
            Answer::Insecure(what) => before(End::Insecure(at_the_link(&what))),
            Answer::Aborted { was_used, what } => {
                broken(at_the_link(&what), if was_used { Association::Used } else { Association::New }, bytes)
            }
            Answer::NoEndpoint => before(End::NoEndpoint {
                site: self.config.site.to_string(),
                endpoint: self.config.endpoint.to_string(),
            }),
            Answer::OtherBytes => {
                broken("other bytes arrived than were sent".to_owned(), Association::New, bytes)
            }
            Answer::Send | Answer::OtherSyntaxes(_) => {
                before(End::Unreachable("the link says what cannot be".to_owned()))
            }
        }
    }
}

/// The PACS takes the SOP class, but in these transfer syntaxes only.
struct Others(Vec<TransferSyntax>);

fn broken(what: String, association: Association, bytes: u64) -> Attempted {
    Attempted { end: End::Aborted { what, times: 0 }, was_sent: true, broke: Some(association), bytes }
}

fn at_the_link(what: &str) -> String {
    format!("at the link: {what}")
}
