//! The link's side of a push: an association with one of its endpoints, and what comes goes straight into a C-STORE.

use std::time::Duration;

use bytes::Bytes;

use super::associations::{Association, Associations};
use super::message::{Answer, Order};
use super::source::{Fault, FromStream};
use crate::dimse::{LinkError, StoreError, StoreRequest};
use crate::metrics::Metrics;
use crate::tunnel::connection::{Connection, Stream};
use crate::tunnel::endpoints::Endpoints;
use crate::tunnel::wire::Why;

/// What the gateway pushes in one session.
pub(crate) struct Pushes {
    endpoints: Endpoints,
    associations: Associations,
    /// How long the gateway may say nothing.
    patience: Duration,
}

impl Pushes {
    /// Nothing is under way.
    pub(crate) fn new(endpoints: Endpoints, patience: Duration, metrics: Metrics) -> Self {
        Self { endpoints, associations: Associations::new(metrics), patience }
    }

    /// Releases associations that nobody needs any more, until the session is over.
    pub(crate) async fn release_idle(&self, connection: &Connection) {
        self.associations.release_idle(connection).await;
    }

    /// Brings one instance to an endpoint and answers. Ends with the session: an association that is under way then is closed,
    /// so that the PACS keeps nothing of what it did not get whole.
    pub(crate) async fn serve(&self, connection: &Connection, body: Bytes, stream: Stream) {
        let order = match Order::decode(body) {
            Ok(order) => order,
            Err(error) => {
                tracing::warn!(%error, "The gateway pushes what is no instance.");
                return stream.cut(Why::Malformed);
            }
        };
        let (endpoint, sop_instance) = (order.endpoint.as_str(), order.offer.sop_instance.as_str());
        let outcome = tokio::select! {
            () = connection.ended() => {
                tracing::warn!(endpoint, sop_instance, "The session ended while the gateway pushed an instance.");
                return;
            }
            outcome = Box::pin(self.answer(&order, &stream)) => outcome,
        };
        match outcome {
            Ok(answer) => {
                log(&order, &answer);
                if stream.send(answer.encode()).await.is_ok() {
                    stream.finish();
                }
            }
            Err(fault) => {
                tracing::warn!(endpoint, sop_instance, why = %fault, "An instance was not pushed.");
                stream.cut(match fault {
                    Fault::Gone => Why::Cancelled,
                    Fault::Silence => Why::Timeout,
                    Fault::Length | Fault::OtherBytes => Why::Malformed,
                });
            }
        }
    }

    /// # Errors
    /// There is nothing to be said to a gateway that does this.
    async fn answer(&self, order: &Order, stream: &Stream) -> Result<Answer, Fault> {
        let Ok(endpoint) = self.endpoints.find(&order.endpoint) else { return Ok(Answer::NoEndpoint) };
        let _place = match self.associations.place(&endpoint).await {
            Ok(place) => place,
            Err(answer) => return Ok(answer),
        };
        let association = match self.associations.take(&endpoint, order).await {
            Ok(association) => association,
            Err(answer) => return Ok(answer),
        };
        let (class, syntax) = (&order.offer.sop_class, &order.offer.transfer_syntax);
        let requestor = &association.requestor;
        let Some(context) = requestor.context_for(class, syntax) else {
            let answer = if requestor.accepted_contexts().is_empty() {
                Answer::NothingAccepted
            } else if requestor.refuses_class(class) {
                Answer::ClassNotAccepted
            } else {
                Answer::OtherSyntaxes(association.accepted(class))
            };
            self.associations.keep(association);
            return Ok(answer);
        };
        self.store(order, stream, association, context).await
    }

    async fn store(
        &self,
        order: &Order,
        stream: &Stream,
        mut association: Association,
        context: u8,
    ) -> Result<Answer, Fault> {
        let offer = &order.offer;
        stream.send(Answer::Send.encode()).await.map_err(|_| Fault::Gone)?;
        let mut source = FromStream::new(stream, offer, self.patience);
        if offer.length == 0 {
            source.compare().await?;
        }
        let request = StoreRequest {
            context,
            sop_class: offer.sop_class.clone(),
            sop_instance: offer.sop_instance.clone(),
            data_length: offer.length,
        };
        match association.requestor.store(&request, &mut source).await {
            Ok(response) => {
                association.is_used = true;
                self.associations.keep(association);
                Ok(Answer::Response { status: response.status, comment: response.comment })
            }
            Err(StoreError::Source(error)) => match source.fault() {
                Some(Fault::OtherBytes) => Ok(Answer::OtherBytes),
                Some(fault) => Err(fault),
                None => Ok(Answer::Unreachable(error.to_string())),
            },
            Err(error @ (StoreError::Context(_) | StoreError::Link(LinkError::Timeout(_)))) => {
                Ok(Answer::Unreachable(error.to_string()))
            }
            Err(StoreError::Link(LinkError::Tls(error))) => Ok(Answer::Insecure(format!("TLS: {error}"))),
            Err(StoreError::Link(
                error @ (LinkError::Aborted(_)
                | LinkError::Closed
                | LinkError::Io(_)
                | LinkError::Violation { .. }),
            )) => {
                // An association that had idled may have been closed by the PACS for that.
                let was_used = association.is_used;
                tracing::debug!(endpoint = order.endpoint, came = source.came(), was_used, "It broke.");
                Ok(Answer::Aborted { was_used, what: error.to_string() })
            }
        }
    }
}

/// One line for each instance, without what the PACS said in words.
fn log(order: &Order, answer: &Answer) {
    let (endpoint, sop_instance) = (order.endpoint.as_str(), order.offer.sop_instance.as_str());
    let bytes = order.offer.length;
    let why = match answer {
        Answer::Response { status, .. } if status.is_taken() => {
            tracing::info!(endpoint, sop_instance, %status, bytes, "Pushed an instance for the gateway.");
            return;
        }
        Answer::Response { status, .. } => status.to_string(),
        Answer::Rejected(rejection) => rejection.to_string(),
        Answer::Unreachable(what) | Answer::Insecure(what) | Answer::Aborted { what, .. } => what.clone(),
        Answer::OtherSyntaxes(_) => {
            tracing::debug!(endpoint, sop_instance, "The endpoint takes other transfer syntaxes.");
            return;
        }
        Answer::ClassNotAccepted => "it does not take the SOP class".to_owned(),
        Answer::NothingAccepted => "it accepts no presentation context".to_owned(),
        Answer::NoEndpoint => "it is not among the endpoints of the link".to_owned(),
        Answer::OtherBytes => "other bytes came than were offered".to_owned(),
        Answer::Send => return,
    };
    tracing::warn!(endpoint, sop_instance, bytes, why, "An instance of the gateway was not taken.");
}
