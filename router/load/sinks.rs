//! The PACS at the end: takes everything, keeps nothing but what it needs to compare, and can be taken down.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::Ledger;
use super::bucket::Bucket;
use super::copies::{Decoded, Likeness, Reading};
use crate::dicom::Status;
use crate::dimse::acceptor::StoreMessage;
use crate::dimse::{Acceptor, Association, Incoming, LinkError, Policy, Timers, socket};

/// The title that it answers to; it answers to every other as well.
pub(super) const TITLE: &str = "TESTPACS";

/// A PACS that compares what comes with what was sent.
#[derive(Debug)]
pub(super) struct Pacs {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// Ends what is open; nothing while it is down.
    open: Option<CancellationToken>,
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    decoded: Decoded,
    bucket: Option<Mutex<Bucket>>,
    began: Instant,
}

/// What a shaped path holds besides, in bytes: else the kernel takes megabytes at once.
const SHAPED_BUFFER: usize = 128 << 10;

impl Pacs {
    /// Listens here (port 0 for any), and takes at most so many bytes a second. Times are counted from `began`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) async fn start(
        address: SocketAddr,
        ledger: Arc<Ledger>,
        bytes_per_second: Option<f64>,
        began: Instant,
    ) -> io::Result<Self> {
        let bucket = bytes_per_second.map(|rate| Mutex::new(Bucket::new(rate)));
        let shared = Arc::new(Shared { ledger, decoded: Decoded::default(), bucket, began });
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut pacs = Self { address, shared, tasks: TaskTracker::new(), open: None };
        pacs.accept(listener);
        Ok(pacs)
    }

    /// Where it listens, also while it is down.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections and cuts those that are open.
    pub(super) async fn take_down(&mut self) {
        let Some(open) = self.open.take() else { return };
        open.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Listens again.
    ///
    /// # Errors
    /// Somebody else has taken the port.
    pub(super) async fn bring_back(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.accept(listener);
        }
        Ok(())
    }

    fn accept(&mut self, listener: TcpListener) {
        let open = CancellationToken::new();
        self.open = Some(open.clone());
        let (shared, tasks) = (Arc::clone(&self.shared), self.tasks.clone());
        self.tasks.spawn(async move {
            let accepting = async {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let (shared, open) = (Arc::clone(&shared), open.clone());
                            tasks.spawn(async move {
                                open.run_until_cancelled(shared.serve(stream)).await;
                            });
                        }
                        // Out of descriptors, most likely; what is open goes on.
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            };
            open.run_until_cancelled(accepting).await;
        });
    }
}

impl Drop for Pacs {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.cancel();
        }
    }
}

impl Shared {
    /// One connection. A peer that goes away, or breaks the protocol, ends it; what has arrived is in the ledger.
    async fn serve(&self, stream: TcpStream) {
        socket::prepare(&stream);
        if self.bucket.is_some() {
            let _ = socket2::SockRef::from(&stream).set_recv_buffer_size(SHAPED_BUFFER);
        }
        let policy = Policy { max_data_set: u64::MAX, ..Policy::default() };
        let Ok(Ok(mut association)) =
            timeout(GREETING, Acceptor::accept(stream, &policy, Timers::default())).await
        else {
            return;
        };
        loop {
            let answered = match association.next_message().await {
                Ok(Incoming::Echo(echo)) => association.respond_echo(&echo).await,
                Ok(Incoming::Store(store)) => self.take(&mut association, &store).await,
                Ok(Incoming::Released) | Err(_) => return,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    async fn take(
        &self,
        association: &mut Association<TcpStream>,
        store: &StoreMessage,
    ) -> Result<(), LinkError> {
        let known = self.ledger.expected(&store.sop_instance);
        let mut reading = Reading::new(known.as_ref().map(|(_, expected)| expected), &store.transfer_syntax);
        while let Some(piece) = association.next_data().await? {
            self.let_through(piece.len() as u64).await;
            reading.feed(&piece, &self.decoded);
        }
        let now = self.began.elapsed().as_secs_f64();
        let likeness = reading.finish();
        if let Some((number, _)) = known {
            self.ledger.arrived(number, now, likeness);
            if likeness == Likeness::None {
                tracing::warn!(sop_instance = %store.sop_instance, syntax = %store.transfer_syntax, "An instance is not what was sent.");
            }
        }
        association.respond(store, Status::SUCCESS, "").await
    }

    async fn let_through(&self, bytes: u64) {
        let Some(bucket) = &self.bucket else { return };
        let now = self.began.elapsed();
        let wait = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

/// For the association request to come.
const GREETING: Duration = Duration::from_secs(60);
