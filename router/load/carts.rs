//! The carts: each sends one study at a time, over one association, as fast as it is taken.

use std::io;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use chrysalis_sizing::StudyKind;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::account::{Entry, Ledger, Number};
use super::copies::{Expected, Pieces};
use super::plan::Route;
use crate::dicom::AeTitle;
use crate::dimse::{DataSource, Outbound, PeerAddress, Proposal, Requestor, StoreRequest, Timers, dial};
use crate::synthetic::{Factory, TestInstance, TestStudy};

/// What all carts share.
#[derive(Debug)]
pub(super) struct Carts {
    pub(super) target: PeerAddress,
    pub(super) source: Source,
    pub(super) ledger: Arc<Ledger>,
    pub(super) began: Instant,
    pub(super) lateness: StdMutex<Lateness>,
}

/// Where studies come from.
pub(super) struct Source {
    pub(super) factory: Factory,
    pub(super) kind: Option<&'static StudyKind>,
    pub(super) route: Route,
    pub(super) pieces: Pieces,
}

/// How late studies began to be sent, because all carts were at work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Lateness {
    pub(super) studies: u64,
    pub(super) most: f64,
}

/// A study that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) number: u64,
    /// Seconds since the beginning.
    pub(super) at: f64,
}

/// How often a cart tries a study: once, and again after each pause.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];
const TIMEOUT: Duration = Duration::from_secs(120);

impl Carts {
    /// Sends what comes through `due`, over `count` associations at most, and returns when all of it is answered or given up.
    pub(super) async fn run(self: &Arc<Self>, count: u32, due: mpsc::Receiver<Due>) {
        let due = Arc::new(Mutex::new(due));
        let tasks = TaskTracker::new();
        for number in 1..=count {
            let (carts, due) = (Arc::clone(self), Arc::clone(&due));
            tasks.spawn(async move {
                loop {
                    let next = due.lock().await.recv().await;
                    let Some(next) = next else { return };
                    carts.send(number, next).await;
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    /// How late it became since this was asked before.
    pub(super) fn take_lateness(&self) -> Lateness {
        std::mem::take(&mut *self.lateness.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn send(&self, cart: u32, due: Due) {
        self.note_start(self.now() - due.at);
        let study = self.source.study(due.number);
        let instances: Vec<_> = study.instances().collect();
        let entries = instances.iter().map(|instance| self.source.entry(instance)).collect();
        let numbers = self.ledger.open(entries);
        let mut left: Vec<(Number, TestInstance)> = numbers.into_iter().zip(instances).collect();
        // A title is 16 characters at most.
        let calling = AeTitle::from_wire(format!("TESTCART{cart}").as_bytes());
        let mut pauses = PAUSES.into_iter();
        loop {
            left = self.attempt(&calling, left).await;
            if left.is_empty() {
                return;
            }
            let Some(pause) = pauses.next() else { return };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends all of these over one association; what was not taken comes back.
    async fn attempt(
        &self,
        calling: &AeTitle,
        instances: Vec<(Number, TestInstance)>,
    ) -> Vec<(Number, TestInstance)> {
        let mut left = Vec::new();
        let mut open = match self.connect(calling, &instances).await {
            Ok(open) => open,
            Err(error) => {
                tracing::debug!(%error, "A cart got no association.");
                self.ledger.failed();
                return instances;
            }
        };
        let mut instances = instances.into_iter();
        while let Some((number, instance)) = instances.next() {
            match self.store(&mut open, number, &instance).await {
                Ok(true) => {}
                Ok(false) => left.push((number, instance)),
                Err(error) => {
                    tracing::debug!(%error, "A cart lost its association.");
                    left.push((number, instance));
                    left.extend(instances);
                    return left;
                }
            }
        }
        let _ = open.release().await;
        left
    }

    async fn connect(
        &self,
        calling: &AeTitle,
        instances: &[(Number, TestInstance)],
    ) -> Result<Requestor<Outbound>, ConnectError> {
        let mut contexts = Vec::new();
        for (_, instance) in instances {
            let context = (instance.sop_class.clone(), vec![instance.transfer_syntax.0.clone()]);
            if !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        let proposal = Proposal::new(calling.clone(), self.target.ae_title.clone(), contexts);
        let stream = dial(&self.target.host, self.target.port, None, TIMEOUT).await?;
        let timers = Timers { acse: TIMEOUT, dimse: TIMEOUT, ..Timers::default() };
        Ok(Requestor::open(stream, &proposal, timers).await?)
    }

    /// Whether it was taken. The time to acknowledge is that from before the first byte of the request until the answer has been
    /// read: all of the data set is on its way meanwhile.
    async fn store(
        &self,
        open: &mut Requestor<Outbound>,
        number: Number,
        instance: &TestInstance,
    ) -> Result<bool, crate::dimse::StoreError> {
        let Some(context) = open.context_for(&instance.sop_class, &instance.transfer_syntax) else {
            self.ledger.failed();
            return Ok(false);
        };
        let request = StoreRequest {
            context,
            sop_class: instance.sop_class.clone(),
            sop_instance: instance.sop_instance.clone(),
            data_length: instance.length(),
        };
        let mut data = PieceSource::new(instance);
        self.ledger.sending(number, self.now());
        let started = Instant::now();
        match open.store(&request, &mut data).await {
            Ok(response) if response.status.is_taken() => {
                let seconds = started.elapsed().as_secs_f64();
                self.ledger.acknowledged(number, self.now(), seconds);
                Ok(true)
            }
            Ok(_) => {
                self.ledger.failed();
                Ok(false)
            }
            Err(error) => {
                self.ledger.failed();
                Err(error)
            }
        }
    }

    fn note_start(&self, late: f64) {
        let mut lateness = self.lateness.lock().unwrap_or_else(PoisonError::into_inner);
        lateness.studies += u64::from(late > LATE);
        lateness.most = lateness.most.max(late);
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// A study that begins so many seconds after it was due is late.
const LATE: f64 = 0.5;

impl Source {
    /// Study `number`, of the mix or of the one kind that is wanted.
    pub(super) fn study(&self, number: u64) -> TestStudy {
        let of_kind = self.kind.and_then(|kind| self.factory.study_of(number, kind).ok());
        of_kind.unwrap_or_else(|| self.factory.study(number))
    }

    /// What the account has to know of an instance. This draws its frames, if they were not drawn before.
    pub(super) fn entry(&self, instance: &TestInstance) -> Entry {
        let is_copied = self.route.transcodes(instance.is_still);
        Entry {
            sop_instance: instance.sop_instance.clone(),
            bytes: instance.length(),
            is_still: instance.is_still,
            expected: Expected::of(instance, is_copied, &self.pieces),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("kind", &self.kind).field("route", &self.route).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Dial(#[from] crate::dimse::DialError),
    #[error(transparent)]
    Open(#[from] crate::dimse::OpenError),
}

/// The pieces of a data set, one after the other.
struct PieceSource {
    pieces: std::vec::IntoIter<Bytes>,
    current: Bytes,
}

/// Bytes that are written at once.
const AT_ONCE: usize = 512 << 10;

impl PieceSource {
    fn new(instance: &TestInstance) -> Self {
        Self { pieces: instance.pieces().collect::<Vec<_>>().into_iter(), current: Bytes::new() }
    }
}

impl DataSource for PieceSource {
    async fn next(&mut self, mut used: Vec<u8>) -> io::Result<Vec<u8>> {
        used.clear();
        while used.len() < AT_ONCE {
            if self.current.is_empty() {
                match self.pieces.next() {
                    Some(piece) => self.current = piece,
                    None => break,
                }
            }
            let taken = self.current.len().min(AT_ONCE - used.len());
            used.extend_from_slice(self.current.get(..taken).unwrap_or_default());
            self.current.advance(taken);
        }
        Ok(used)
    }
}
