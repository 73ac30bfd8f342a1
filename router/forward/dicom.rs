//! To a PACS: C-STORE over an association that is kept for the instances that follow.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use chrysalis_queue::{BlobError, Checked, LeaseRequest, Queue, Sequence};
use tokio::task::JoinHandle;

use super::carrier::{Association, Attempted, Item, unreadable};
use super::outgoing::{Outgoing, OutgoingSource, copy_error, history};
use super::prepare::{Preparer, Unprepared};
use super::secure::Secure;
use super::studies::{Claim, Elsewhere};
use super::verdict::End;
use crate::config::{CallingAe, DicomDestination};
use crate::dicom::{AeTitle, TransferSyntax, Uid, uid};
use crate::dimse::{LinkError, OpenError, Outbound, Proposal, Requestor, StoreError, StoreRequest, Timers};
use crate::transcode::{Accepts, TranscodeError, ladder};

/// Presentation contexts that one association can have (PS3.8 9.3.2.2: odd numbers up to 255).
const MAX_CONTEXTS: usize = 128;
/// SOP class and stored transfer syntax pairs that are proposed for because they were sent lately, so that the association
/// opened for a study's first still can carry its loops too.
const MAX_RECENT: usize = 60;
/// Instances that one association is known not to fit.
const MAX_UNFIT: usize = 64;

/// A SOP class and a transfer syntax: what one presentation context is for, or what is stored.
type Pair = (Uid, TransferSyntax);

pub(super) struct DicomCarrier {
    name: String,
    config: DicomDestination,
    node_ae: AeTitle,
    queue: Queue,
    preparer: Preparer,
    open: Option<Open>,
    claim: Option<Claim>,
    secure: Arc<Secure>,
    ahead: Option<Ahead>,
    recent: VecDeque<Pair>,
}

/// An instance that is opened, checked and made ready on a blocking thread, before it is its turn if possible.
struct Ahead {
    sequence: Sequence,
    working: JoinHandle<Result<Loaded, BlobError>>,
}

/// An instance that is open and checked.
struct Loaded {
    checked: Checked,
    /// It is ready too, for somebody who takes so much.
    ready: Option<(Accepts, Result<Outgoing, Unprepared>)>,
}

struct Open {
    requestor: Requestor<Outbound>,
    calling: AeTitle,
    proposed: Vec<Pair>,
    /// It has carried something.
    is_used: bool,
    /// Instances that cannot go over it. One that comes again was sent by an administrator, who may have changed what the
    /// peer accepts: that takes a new association.
    unfit: Vec<Sequence>,
}

impl DicomCarrier {
    /// With a claim, an association carries one study only.
    pub(super) fn new(
        name: &str,
        config: DicomDestination,
        node_ae: AeTitle,
        queue: Queue,
        preparer: Preparer,
        claim: Option<Claim>,
        secure: Arc<Secure>,
    ) -> Self {
        // Proposed always, so that "nothing accepted" says something of the destination and not of one odd instance.
        let usual =
            [TransferSyntax::EXPLICIT_VR_LE, TransferSyntax::RLE_LOSSLESS, TransferSyntax::JPEG_BASELINE];
        let of = |class: Uid| usual.clone().map(|syntax| (class.clone(), syntax));
        let recent = [uid::US_IMAGE, uid::US_MULTIFRAME].into_iter().flat_map(of).collect();
        let name = name.to_owned();
        Self { name, config, node_ae, queue, preparer, open: None, claim, secure, ahead: None, recent }
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
        let loaded = match self.load(item).await {
            Ok(loaded) => loaded,
            Err(error) => return Attempted::before(unreadable(&error)),
        };
        let checked = loaded.checked.clone();
        match self.carry(item, upcoming, loaded).await {
            Ok(attempted) => attempted,
            // Found out while it was on its way: what there is already is sent instead, over a new association.
            Err(Failed(error)) => self.carry_instead(item, upcoming, checked, error).await,
        }
    }

    /// # Errors
    /// [`Failed`]: a copy that was made while it was sent; the association is over.
    async fn carry(&mut self, item: &Item, upcoming: &[Item], loaded: Loaded) -> Result<Attempted, Failed> {
        let accepts = match self.agree(item, upcoming).await {
            Ok(accepts) => accepts,
            Err(end) => return Ok(Attempted::before(end)),
        };
        self.look_ahead(upcoming);
        match self.ready(item, loaded, accepts).await {
            Ok(outgoing) => self.send(item, outgoing).await,
            Err(unprepared) => Ok(self.not_so(item, unprepared.end())),
        }
    }

    async fn carry_instead(
        &mut self,
        item: &Item,
        upcoming: &[Item],
        checked: Checked,
        error: TranscodeError,
    ) -> Attempted {
        let accepts = match self.agree(item, upcoming).await {
            Ok(accepts) => accepts,
            Err(end) => return Attempted::before(end),
        };
        match self.preparer.failed(item, checked, &accepts, error) {
            Ok(original) => match self.send(item, original).await {
                Ok(attempted) => attempted,
                Err(Failed(error)) => Attempted::before(End::Unreadable(error.to_string())),
            },
            Err(unprepared) => self.not_so(item, unprepared.end()),
        }
    }

    /// What the peer takes of the instance's SOP class, over an association on which it was asked.
    async fn agree(&mut self, item: &Item, upcoming: &[Item]) -> Result<Accepts, End> {
        self.associate(item, upcoming).await?;
        let Some(open) = &self.open else { return Err(End::Unreachable("no association".to_owned())) };
        let requestor = &open.requestor;
        let end = if requestor.accepted_contexts().is_empty() {
            End::NothingAccepted
        } else if requestor.refuses_class(&item.sop_class) {
            End::ClassNotAccepted { class: item.sop_class.to_string() }
        } else {
            return Ok(open.accepts(&item.sop_class));
        };
        Err(self.not_so(item, end).end)
    }

    /// The association is not for this instance, but for others.
    fn not_so(&mut self, item: &Item, end: End) -> Attempted {
        if let Some(open) = self.open.as_mut().filter(|open| open.unfit.len() < MAX_UNFIT) {
            open.unfit.push(item.instance.sequence);
        }
        Attempted::before(end)
    }

    async fn send(&mut self, item: &Item, outgoing: Outgoing) -> Result<Attempted, Failed> {
        let context = |open: &Open| open.requestor.context_for(&item.sop_class, &outgoing.syntax);
        let Some(context) = self.open.as_ref().and_then(context) else {
            let why = format!("destination does not accept {}", outgoing.syntax.name());
            return Ok(self.not_so(item, End::SyntaxNotAccepted { why }));
        };
        let Some(mut open) = self.open.take() else {
            return Ok(Attempted::before(End::Unreachable("no association".to_owned())));
        };
        let request = StoreRequest {
            context,
            sop_class: item.sop_class.clone(),
            sop_instance: outgoing.sop_instance.clone(),
            data_length: outgoing.len(),
        };
        self.preparer.count(item, &outgoing);
        match open.requestor.store(&request, &mut OutgoingSource::new(outgoing.clone())).await {
            Ok(response) => {
                open.is_used = true;
                self.open = Some(open);
                let history = history(&self.queue, &self.name, item, &outgoing, response.status).await;
                let sent = outgoing.note().map(str::to_owned);
                let end = End::Response { status: response.status, comment: response.comment, history, sent };
                Ok(Attempted::sent(end, outgoing.len()))
            }
            Err(error) => {
                let association = if open.is_used { Association::Used } else { Association::New };
                broken(&error, association, outgoing.len())
            }
        }
    }

    /// Opens an instance and checks all of it, through the same open file that is then read.
    async fn load(&mut self, item: &Item) -> Result<Loaded, BlobError> {
        let is_this = |ahead: &Ahead| ahead.sequence == item.instance.sequence;
        let ahead = self.ahead.take().filter(is_this);
        let ahead = ahead.unwrap_or_else(|| Ahead::begin(&self.queue, &self.preparer, item, None));
        ahead.working.await.map_err(|error| BlobError::Io(io::Error::other(error)))?
    }

    /// Begins the same with the one that follows, and has it made ready for what the peer is expected to take of it, so that
    /// it can be sent when this one is answered.
    fn look_ahead(&mut self, upcoming: &[Item]) {
        let Some(next) = upcoming.first() else { return };
        let ladder = self.ladder(&stored(next));
        let open = self.open.as_ref().filter(|open| open.was_asked(&ladder));
        let expected = match open {
            Some(open) => open.accepts(&next.sop_class),
            None => Accepts::These(ladder.into_iter().map(|(_, syntax)| syntax).collect()),
        };
        self.ahead = Some(Ahead::begin(&self.queue, &self.preparer, next, Some(expected)));
    }

    /// What is sent of an instance: what was made ready, if it was for this, or what is made now.
    async fn ready(&self, item: &Item, loaded: Loaded, accepts: Accepts) -> Result<Outgoing, Unprepared> {
        let Loaded { checked, ready } = loaded;
        if let Some((expected, outgoing)) = ready
            && expected == accepts
        {
            return outgoing;
        }
        if self.preparer.takes_as_it_is(item, &accepts) {
            return Ok(Outgoing::original(item, checked));
        }
        let (preparer, item) = (self.preparer.clone(), item.clone());
        let preparing = tokio::task::spawn_blocking(move || preparer.prepare(&item, checked, &accepts));
        preparing.await.unwrap_or_else(|error| Err(Unprepared::Later(error.to_string())))
    }

    /// Makes sure that there is an association on which everything was proposed that the instance could be sent as.
    async fn associate(&mut self, item: &Item, upcoming: &[Item]) -> Result<(), End> {
        let calling = self.calling(item);
        let ladder = self.ladder(&stored(item));
        let fits = |open: &Open| {
            open.calling == calling
                && open.was_asked(&ladder)
                && !open.unfit.contains(&item.instance.sequence)
        };
        if self.open.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.release().await;
        let proposed = self.propose(item, upcoming);
        let contexts = proposed.iter().map(|(class, syntax)| (class.clone(), vec![syntax.0.clone()]));
        let mut proposal = Proposal::new(calling.clone(), self.config.called_ae.clone(), contexts.collect());
        proposal.max_pdu = self.config.max_pdu;
        let (address, timeouts) = (&self.config.address, self.config.timeouts);
        let stream = self.secure.dial(&address.host, address.port, timeouts.connect).await?;
        let timers = Timers { acse: timeouts.acse, dimse: timeouts.dimse, ..Timers::default() };
        match Requestor::open(stream, &proposal, timers).await {
            Ok(requestor) => {
                self.open = Some(Open { requestor, calling, proposed, is_used: false, unfit: Vec::new() });
                Ok(())
            }
            Err(OpenError::Rejected(rejection)) => Err(End::Rejected(rejection)),
            Err(OpenError::Link(LinkError::Tls(error))) => Err(self.secure.failed(&error)),
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

    /// In what an instance that is stored so could be sent, the best first.
    fn ladder(&self, (class, syntax): &Pair) -> Vec<Pair> {
        let syntaxes = ladder::syntaxes(self.preparer.wish(), syntax).into_iter();
        syntaxes.map(|syntax| (class.clone(), syntax)).collect()
    }

    /// All that this instance could be sent as; then what those that follow, and what was sent lately, are best sent as, and
    /// the way down from there. Each once, as many as there may be.
    fn propose(&mut self, item: &Item, upcoming: &[Item]) -> Vec<Pair> {
        let this = stored(item);
        let mut kinds: Vec<Pair> = Vec::with_capacity(upcoming.len() + MAX_RECENT);
        for kind in upcoming.iter().map(stored).chain(self.recent.iter().cloned()) {
            if kind != this && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let ladders: Vec<_> = kinds.iter().map(|kind| self.ladder(kind)).collect();
        let depth = ladders.iter().map(Vec::len).max().unwrap_or(0);
        let level = |depth: usize| ladders.iter().filter_map(move |ladder| ladder.get(depth)).cloned();
        let mut proposed: Vec<Pair> = Vec::with_capacity(MAX_CONTEXTS);
        for pair in self.ladder(&this).into_iter().chain((0..depth).flat_map(level)) {
            if proposed.len() < MAX_CONTEXTS && !proposed.contains(&pair) {
                proposed.push(pair);
            }
        }
        self.recent.retain(|kind| *kind != this);
        self.recent.push_front(this);
        self.recent.truncate(MAX_RECENT);
        proposed
    }
}

/// A copy turned out to be impossible while it was sent.
struct Failed(TranscodeError);

impl Open {
    /// What was accepted of a SOP class.
    fn accepts(&self, class: &Uid) -> Accepts {
        let contexts = self.requestor.accepted_contexts().iter();
        let of_class = contexts.filter(|context| context.abstract_syntax == *class);
        Accepts::These(of_class.map(|context| context.transfer_syntax.clone()).collect())
    }

    /// Whether all of it was proposed.
    fn was_asked(&self, ladder: &[Pair]) -> bool {
        ladder.iter().all(|pair| self.proposed.contains(pair))
    }
}

fn stored(item: &Item) -> Pair {
    (item.sop_class.clone(), item.transfer_syntax.clone())
}

impl Ahead {
    fn begin(queue: &Queue, preparer: &Preparer, item: &Item, expected: Option<Accepts>) -> Self {
        let (queue, preparer, item) = (queue.clone(), preparer.clone(), item.clone());
        let sequence = item.instance.sequence;
        let working = tokio::task::spawn_blocking(move || {
            let checked = Checked::new(queue.open_blob(&item.instance)?)?;
            let ready = expected.map(|accepts| {
                let outgoing = preparer.prepare(&item, checked.clone(), &accepts);
                (accepts, outgoing)
            });
            Ok(Loaded { checked, ready })
        });
        Self { sequence, working }
    }
}

fn broken(error: &StoreError, association: Association, bytes: u64) -> Result<Attempted, Failed> {
    let what = error.to_string();
    Ok(match error {
        StoreError::Source(io) => match copy_error(io) {
            Some(error) => return Err(Failed(error.clone())),
            None => Attempted { end: End::Unreadable(what), was_sent: true, broke: None, bytes },
        },
        StoreError::Context(_) => Attempted::before(End::Unreachable(what)),
        StoreError::Link(LinkError::Tls(_)) => Attempted::sent(End::Insecure(what), bytes),
        StoreError::Link(LinkError::Timeout(_)) => Attempted::sent(End::Unreachable(what), bytes),
        StoreError::Link(
            LinkError::Aborted(_) | LinkError::Closed | LinkError::Io(_) | LinkError::Violation { .. },
        ) => Attempted {
            end: End::Aborted { what, times: 0 },
            was_sent: true,
            broke: Some(association),
            bytes,
        },
    })
}
