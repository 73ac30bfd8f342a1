//! The link's associations for its gateway: as the endpoint is configured, and kept for a moment for what follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::message::{Answer, Order};
use crate::config::{CallingAe, DicomDestination};
use crate::dicom::{AeTitle, TransferSyntax, Uid, uid};
use crate::dimse::{DialError, OpenError, Outbound, Proposal, Requestor, Timers, dial};
use crate::metrics::Metrics;
use crate::tls::{ClientTls, HandshakeError, Role};
use crate::tunnel::connection::Connection;
use crate::tunnel::endpoints::Endpoint;

/// How long an association is kept for what may still come.
const LINGER: Duration = Duration::from_secs(2);
/// How long the release of an association may take that nobody needs.
const RELEASE: Duration = Duration::from_secs(2);

/// What is proposed together: one presentation context each.
type Pair = (Uid, TransferSyntax);

/// The associations of one session.
pub(super) struct Associations {
    kept: Mutex<Vec<Association>>,
    news: Notify,
    places: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
    tls: tokio::sync::Mutex<HashMap<String, (crate::config::ClientTls, ClientTls)>>,
    metrics: Metrics,
}

/// One association with an endpoint.
pub(super) struct Association {
    pub(super) requestor: Requestor<Outbound>,
    /// It has carried something.
    pub(super) is_used: bool,
    endpoint: String,
    settings: DicomDestination,
    calling: AeTitle,
    proposed: Vec<Pair>,
    since: Instant,
}

impl Associations {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            kept: Mutex::default(),
            news: Notify::new(),
            places: Mutex::default(),
            tls: tokio::sync::Mutex::default(),
            metrics,
        }
    }

    /// A place for one association: as many are open for the gateway as the endpoint's own settings allow.
    pub(super) async fn place(&self, endpoint: &Endpoint) -> Result<OwnedSemaphorePermit, Answer> {
        let most = endpoint.settings.max_associations;
        let places = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, places) =
                places.entry(endpoint.name.clone()).or_insert_with(|| (most, Arc::new(Semaphore::new(most))));
            if *count != most {
                (*count, *places) = (most, Arc::new(Semaphore::new(most)));
            }
            Arc::clone(places)
        };
        match timeout(endpoint.settings.timeouts.connect, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Answer::Unreachable("max_associations are open to it".to_owned())),
        }
    }

    /// An association on which everything was proposed that the instance could be sent as.
    pub(super) async fn take(&self, endpoint: &Endpoint, order: &Order) -> Result<Association, Answer> {
        let calling = calling(endpoint, order);
        let wanted = pairs(order);
        let fits = |kept: &Association| {
            kept.endpoint == endpoint.name
                && kept.settings == endpoint.settings
                && kept.calling == calling
                && wanted.iter().all(|pair| kept.proposed.contains(pair))
        };
        let found = {
            let mut kept = self.lock();
            // The one that was used last: the others idle until they are released.
            let fitting = kept.iter().rposition(fits);
            // Or one whose place is needed.
            let other = || kept.iter().position(|kept| kept.endpoint == endpoint.name);
            fitting.or_else(other).map(|at| (fitting.is_some(), kept.remove(at)))
        };
        match found {
            Some((true, association)) => return Ok(association),
            Some((false, other)) => other.release().await,
            None => {}
        }
        self.open(endpoint, calling, wanted).await
    }

    /// Keeps an association for a moment.
    pub(super) fn keep(&self, mut association: Association) {
        association.since = Instant::now();
        self.lock().push(association);
        self.news.notify_one();
    }

    /// Releases what nobody has used for a while, until the session is over, and then everything.
    pub(super) async fn release_idle(&self, connection: &Connection) {
        tokio::select! {
            () = connection.ended() => {}
            () = self.release_in_time() => {}
        }
        let left = std::mem::take(&mut *self.lock());
        let releasing = async {
            for association in left {
                association.release().await;
            }
        };
        let _ = timeout(RELEASE, releasing).await;
    }

    async fn release_in_time(&self) {
        loop {
            let oldest = self.lock().iter().map(|kept| kept.since + LINGER).min();
            match oldest {
                Some(due) => sleep_until(due).await,
                None => self.news.notified().await,
            }
            let now = Instant::now();
            let idle: Vec<_> = self.lock().extract_if(.., |kept| kept.since + LINGER <= now).collect();
            for association in idle {
                association.release().await;
            }
        }
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        calling: AeTitle,
        proposed: Vec<Pair>,
    ) -> Result<Association, Answer> {
        let settings = &endpoint.settings;
        let tls = self.tls(endpoint).await.map_err(|error| self.insecure(endpoint, &error))?;
        let (address, timeouts) = (&settings.address, settings.timeouts);
        let dialled = dial(&address.host, address.port, tls.as_ref(), timeouts.connect).await;
        let stream = dialled.map_err(|error| match error {
            DialError::Connect(error) => Answer::Unreachable(error.to_string()),
            DialError::Handshake(error) => self.insecure(endpoint, &error),
        })?;
        let contexts = proposed.iter().map(|(class, syntax)| (class.clone(), vec![syntax.0.clone()]));
        let mut proposal = Proposal::new(calling.clone(), settings.called_ae.clone(), contexts.collect());
        proposal.max_pdu = settings.max_pdu;
        let timers = Timers { acse: timeouts.acse, dimse: timeouts.dimse, ..Timers::default() };
        match Requestor::open(stream, &proposal, timers).await {
            Ok(requestor) => Ok(Association {
                requestor,
                is_used: false,
                endpoint: endpoint.name.clone(),
                settings: settings.clone(),
                calling,
                proposed,
                since: Instant::now(),
            }),
            Err(OpenError::Rejected(rejection)) => Err(Answer::Rejected(rejection)),
            Err(error @ (OpenError::Link(_) | OpenError::Contexts(_))) => {
                Err(Answer::Unreachable(format!("no association: {error}")))
            }
        }
    }

    /// TLS as the endpoint is configured, made once. Nothing is kept of a failure.
    async fn tls(&self, endpoint: &Endpoint) -> Result<Option<ClientTls>, HandshakeError> {
        let Some(settings) = endpoint.settings.tls.as_deref() else { return Ok(None) };
        let mut made = self.tls.lock().await;
        if let Some((of, tls)) = made.get(&endpoint.name)
            && of == settings
        {
            return Ok(Some(tls.clone()));
        }
        let owned = settings.clone();
        let making = tokio::task::spawn_blocking(move || ClientTls::new(&owned)).await;
        let tls = making.map_err(|error| HandshakeError::Protocol(error.to_string()))??;
        made.insert(endpoint.name.clone(), (settings.clone(), tls.clone()));
        Ok(Some(tls))
    }

    fn insecure(&self, endpoint: &Endpoint, error: &HandshakeError) -> Answer {
        self.metrics.handshake_failed(Role::Destination, &endpoint.name, error.reason());
        let what = format!("TLS: {error}");
        if error.is_for_a_person() { Answer::Insecure(what) } else { Answer::Unreachable(what) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Association>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Association {
    /// What was accepted of a SOP class.
    pub(super) fn accepted(&self, class: &Uid) -> Vec<TransferSyntax> {
        let contexts = self.requestor.accepted_contexts().iter();
        let of_class = contexts.filter(|context| context.abstract_syntax == *class);
        of_class.map(|context| context.transfer_syntax.clone()).collect()
    }

    async fn release(self) {
        if !matches!(timeout(RELEASE, self.requestor.release()).await, Ok(Ok(()))) {
            tracing::debug!(endpoint = self.endpoint, "A release was not answered.");
        }
    }
}

fn calling(endpoint: &Endpoint, order: &Order) -> AeTitle {
    match &endpoint.settings.calling_ae {
        CallingAe::Fixed(title) => title.clone(),
        CallingAe::Passthrough if order.offer.calling.is_empty() => endpoint.node_ae.clone(),
        CallingAe::Passthrough => order.offer.calling.clone(),
    }
}

/// What the instance could be sent as; and the usual images and loops in the same, so that "nothing accepted" says something of
/// the endpoint and not of one odd instance, and a study's other instances find the association that they need.
fn pairs(order: &Order) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for class in [&order.offer.sop_class, &uid::US_IMAGE, &uid::US_MULTIFRAME] {
        for syntax in order.syntaxes.iter().chain([&TransferSyntax::EXPLICIT_VR_LE]) {
            let pair = (class.clone(), syntax.clone());
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::pairs;
    use crate::dicom::{AeTitle, TransferSyntax, Uid, uid};
    use crate::tunnel::push::Order;
    use crate::tunnel::push::message::MAX_SYNTAXES;
    use crate::tunnel::upload::Offer;

    #[test]
    fn as_many_syntaxes_as_there_may_be_are_fewer_contexts_than_there_may_be() {
        let syntaxes: Vec<_> =
            (0..MAX_SYNTAXES).map(|n| TransferSyntax(Uid::new(&format!("1.2.{n}")))).collect();
        let offer = Offer {
            sop_class: Uid::new("1.2"),
            sop_instance: Uid::new("1.2.3"),
            transfer_syntax: syntaxes[0].clone(),
            calling: AeTitle::from_text("A"),
            called: AeTitle::from_text("B"),
            length: 1,
            sha256: [0; 32],
        };
        let order = Order { endpoint: "pacs".into(), syntaxes, offer };
        let all = pairs(&order);
        assert_eq!(all.len(), 3 * (MAX_SYNTAXES + 1));
        assert!(all.len() <= 128 && all[0].0 == order.offer.sop_class);
        assert!(all.contains(&(uid::US_MULTIFRAME, TransferSyntax::EXPLICIT_VR_LE)));
    }
}
