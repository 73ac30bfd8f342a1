//! To a PACS: C-STORE over an association that is kept for the instances that follow.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use chrysalis_queue::{BlobError, Checked, History, LeaseRequest, Queue, Sequence};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::carrier::{Association, Attempted, Item, unreadable};
use super::studies::{Claim, Elsewhere};
use super::verdict::End;
use crate::config::{CallingAe, DicomDestination};
use crate::dicom::{AeTitle, TransferSyntax, Uid, uid};
use crate::dimse::{
    DataSource, LinkError, OpenError, Proposal, Requestor, StoreError, StoreRequest, Timers, socket,
};

/// Presentation contexts that one association can have (PS3.8 9.3.2.2: odd numbers up to 255).
const MAX_CONTEXTS: usize = 128;
/// SOP class and transfer syntax pairs that are proposed because they were sent lately, so that the association opened
/// for a study's first still can carry its loops too.
const MAX_RECENT: usize = 60;
/// Instances that one association is known not to fit.
const MAX_UNFIT: usize = 64;
type Pair = (Uid, TransferSyntax);

pub(super) struct DicomCarrier {
    name: String,
    config: DicomDestination,
    node_ae: AeTitle,
    queue: Queue,
    open: Option<Open>,
    claim: Option<Claim>,
    ahead: Option<Ahead>,
    recent: VecDeque<Pair>,
}

/// An instance that is opened and checked on a blocking thread, before it is its turn if possible.
struct Ahead {
    sequence: Sequence,
    checking: JoinHandle<Result<Checked, BlobError>>,
}

struct Open {
    requestor: Requestor<TcpStream>,
    calling: AeTitle,
    proposed: Vec<Pair>,
    /// It has carried something.
    is_used: bool,
    /// Instances for which it has no context. One that comes again was sent by an administrator, who may have changed
    /// what the peer accepts: that takes a new association.
    unfit: Vec<Sequence>,
}

impl DicomCarrier {
    /// With a claim, an association carries one study only.
    pub(super) fn new(
        name: &str,
        config: DicomDestination,
        node_ae: AeTitle,
        queue: Queue,
        claim: Option<Claim>,
    ) -> Self {
        // Proposed always, so that "nothing accepted" says something of the destination and not of one odd instance.
        let usual = [uid::US_IMAGE, uid::US_MULTIFRAME];
        let recent = usual.into_iter().map(|class| (class, TransferSyntax::EXPLICIT_VR_LE)).collect();
        Self { name: name.to_owned(), config, node_ae, queue, open: None, claim, ahead: None, recent }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) async fn rest(&mut self) {
        self.ahead = None;
        self.release().await;
        if let Some(claim) = &mut self.claim {
            claim.give_back();
        }
    }

    pub(super) fn narrow(&self, request: &mut LeaseRequest) {
        if let Some(claim) = &self.claim {
            claim.narrow(request);
        }
    }

    pub(super) async fn take_up(&mut self, study: &str) -> Result<(), Elsewhere> {
        if self.claim.as_ref().is_some_and(|claim| !claim.holds(study)) {
            self.release().await;
        }
        self.claim.as_mut().map_or(Ok(()), |claim| claim.take(study))
    }

    async fn release(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.requestor.release().await
        {
            tracing::debug!(%error, "A release was not answered.");
        }
    }

    pub(super) async fn attempt(&mut self, item: &Item, upcoming: &[Item]) -> Attempted {
        let checked = match self.load(item, upcoming).await {
            Ok(checked) => checked,
            Err(error) => return Attempted::before(unreadable(&error)),
        };
        self.send(item, upcoming, &checked).await
    }

    async fn send(&mut self, item: &Item, upcoming: &[Item], checked: &Checked) -> Attempted {
        if let Err(end) = self.associate(item, upcoming).await {
            return Attempted::before(end);
        }
        let Some(mut open) = self.open.take() else {
            return Attempted::before(End::Unreachable("no association".to_owned()));
        };
        let context = match choose(&open, item) {
            Ok(context) => context,
            Err(end) => {
                if open.unfit.len() < MAX_UNFIT {
                    open.unfit.push(item.instance.sequence);
                }
                self.open = Some(open);
                return Attempted::before(end);
            }
        };
        let request = StoreRequest {
            context,
            sop_class: item.sop_class.clone(),
            sop_instance: item.sop_instance.clone(),
            data_length: checked.blob().payload_len(),
        };
        let mut source = BlobSource::new(checked.clone());
        match open.requestor.store(&request, &mut source).await {
            Ok(response) => {
                open.is_used = true;
                self.open = Some(open);
                let history = self.history(item, response.status.0).await;
                Attempted::sent(End::Response { status: response.status, comment: response.comment, history })
            }
            Err(error) => broken(&error, if open.is_used { Association::Used } else { Association::New }),
        }
    }

    /// Opens an instance and checks all of it, through the same open file that is then read; and begins the same with
    /// the one that follows, so that it can be sent when this one is answered.
    async fn load(&mut self, item: &Item, upcoming: &[Item]) -> Result<Checked, BlobError> {
        let is_this = |ahead: &Ahead| ahead.sequence == item.instance.sequence;
        let ahead = self.ahead.take().filter(is_this).unwrap_or_else(|| Ahead::begin(&self.queue, item));
        let checked = ahead.checking.await.map_err(|error| BlobError::Io(io::Error::other(error)))??;
        self.ahead = upcoming.first().map(|next| Ahead::begin(&self.queue, next));
        Ok(checked)
    }

    /// Makes sure that there is an association on which the instance was proposed.
    async fn associate(&mut self, item: &Item, upcoming: &[Item]) -> Result<(), End> {
        let calling = self.calling(item);
        let wanted = (item.sop_class.clone(), item.transfer_syntax.clone());
        let fits = |open: &Open| {
            open.calling == calling
                && open.proposed.contains(&wanted)
                && !open.unfit.contains(&item.instance.sequence)
        };
        if self.open.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.release().await;
        let proposed = self.propose(wanted, upcoming);
        let contexts = proposed.iter().map(|(class, syntax)| (class.clone(), vec![syntax.0.clone()]));
        let mut proposal = Proposal::new(calling.clone(), self.config.called_ae.clone(), contexts.collect());
        proposal.max_pdu = self.config.max_pdu;
        let (address, timeouts) = (&self.config.address, self.config.timeouts);
        let stream = socket::connect(&address.host, address.port, timeouts.connect)
            .await
            .map_err(|error| End::Unreachable(error.to_string()))?;
        let timers = Timers { acse: timeouts.acse, dimse: timeouts.dimse, ..Timers::default() };
        match Requestor::open(stream, &proposal, timers).await {
            Ok(requestor) => {
                self.open = Some(Open { requestor, calling, proposed, is_used: false, unfit: Vec::new() });
                Ok(())
            }
            Err(OpenError::Rejected(rejection)) => Err(End::Rejected(rejection)),
            Err(error @ (OpenError::Link(_) | OpenError::Contexts(_))) => {
                Err(End::Unreachable(format!("no association: {error}")))
            }
        }
    }

    fn calling(&self, item: &Item) -> AeTitle {
        match &self.config.calling_ae {
            CallingAe::Fixed(title) => title.clone(),
            CallingAe::Passthrough if item.calling.is_empty() => self.node_ae.clone(),
            CallingAe::Passthrough => item.calling.clone(),
        }
    }

    /// This instance, those that follow, and what was sent lately, each once.
    fn propose(&mut self, wanted: Pair, upcoming: &[Item]) -> Vec<Pair> {
        let mut proposed = vec![wanted.clone()];
        let following = upcoming.iter().map(|item| (item.sop_class.clone(), item.transfer_syntax.clone()));
        for pair in following.chain(self.recent.iter().cloned()) {
            if proposed.len() < MAX_CONTEXTS && !proposed.contains(&pair) {
                proposed.push(pair);
            }
        }
        self.recent.retain(|pair| *pair != wanted);
        self.recent.push_front(wanted);
        self.recent.truncate(MAX_RECENT);
        proposed
    }

    /// Only a duplicate needs to know what was sent before.
    async fn history(&self, item: &Item, status: u16) -> History {
        if status != 0x0111 {
            return History::default();
        }
        let (queue, sequence) = (self.queue.clone(), item.instance.sequence);
        let name = self.name.clone();
        let asked = tokio::task::spawn_blocking(move || queue.history(&name, sequence)).await;
        // When nobody can tell, it is taken for another content: held is visible, delivered is not.
        asked.ok().and_then(Result::ok).unwrap_or(History { delivered_before: false, other_content: true })
    }
}

/// The context on which the instance can go, or why there is none.
fn choose(open: &Open, item: &Item) -> Result<u8, End> {
    let requestor = &open.requestor;
    if let Some(context) = requestor.context_for(&item.sop_class, &item.transfer_syntax) {
        return Ok(context);
    }
    if requestor.accepted_contexts().is_empty() {
        return Err(End::NothingAccepted);
    }
    if requestor.refuses_class(&item.sop_class) {
        return Err(End::ClassNotAccepted { class: item.sop_class.to_string() });
    }
    Err(End::SyntaxNotAccepted { stored: item.transfer_syntax.name().to_owned() })
}

impl Ahead {
    fn begin(queue: &Queue, item: &Item) -> Self {
        let (queue, instance) = (queue.clone(), Arc::clone(&item.instance));
        let sequence = instance.sequence;
        let checking = tokio::task::spawn_blocking(move || Checked::new(queue.open_blob(&instance)?));
        Self { sequence, checking }
    }
}

fn broken(error: &StoreError, association: Association) -> Attempted {
    let what = error.to_string();
    match error {
        StoreError::Source(_) => Attempted { end: End::Unreadable(what), was_sent: true, broke: None },
        StoreError::Context(_) => Attempted::before(End::Unreachable(what)),
        StoreError::Link(LinkError::Timeout(_)) => Attempted::sent(End::Unreachable(what)),
        StoreError::Link(
            LinkError::Aborted(_) | LinkError::Closed | LinkError::Io(_) | LinkError::Violation { .. },
        ) => Attempted { end: End::Aborted { what, times: 0 }, was_sent: true, broke: Some(association) },
    }
}

/// A checked blob as a data source: while one chunk is sent, a blocking thread reads the next.
struct BlobSource {
    checked: Checked,
    offset: u64,
    ahead: Option<JoinHandle<Result<Vec<u8>, BlobError>>>,
}

impl BlobSource {
    fn new(checked: Checked) -> Self {
        Self { checked, offset: 0, ahead: None }
    }

    fn read(&self, mut buffer: Vec<u8>) -> JoinHandle<Result<Vec<u8>, BlobError>> {
        let (checked, offset) = (self.checked.clone(), self.offset);
        tokio::task::spawn_blocking(move || checked.read_chunk(offset, &mut buffer).map(|()| buffer))
    }
}

impl DataSource for BlobSource {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        if let Some(whole) = self.checked.whole() {
            used.clear();
            used.extend_from_slice(whole);
            return Ok(used);
        }
        let reading = self.ahead.take().unwrap_or_else(|| self.read(Vec::new()));
        let chunk = reading.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.offset += chunk.len() as u64;
        if self.offset < self.checked.blob().payload_len() {
            self.ahead = Some(self.read(used));
        }
        Ok(chunk)
    }
}
