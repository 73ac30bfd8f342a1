//! A session in use: streams as tasks see them. The driver in [`socket`](super::socket) moves the messages.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::mux::{Event, Incoming, Refused};
use super::session::{Close, Session};
use super::wire::{Kind, Why};

/// An open session. Clones are the same one; it goes on until one of the two sides closes it, whoever holds it.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

/// What the driver and the users of a session share.
pub(super) struct Shared {
    core: Mutex<Core>,
    pub(super) driver: AtomicWaker,
    accepted: Notify,
    over: CancellationToken,
}

/// The session itself, and who waits for what of it.
pub(super) struct Core {
    pub(super) session: Session,
    pub(super) closing: Option<Close>,
    places: HashMap<u32, Arc<Place>>,
    /// Bounded by how many streams the other side may have open.
    opened: VecDeque<(u32, Kind, Bytes)>,
    is_over: bool,
}

/// Who waits for one stream.
#[derive(Default)]
struct Place {
    readable: Notify,
    writable: Notify,
}

/// One stream. Dropped before both halves have ended it is cut off.
pub struct Stream {
    shared: Arc<Shared>,
    place: Arc<Place>,
    id: u32,
    why: Why,
}

/// A stream that the other side has opened.
pub struct Accepted {
    /// What it is for.
    pub kind: Kind,
    /// What is asked.
    pub body: Bytes,
    /// The stream.
    pub stream: Stream,
}

/// Why a stream says nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The session is over.
    #[error("the session is over")]
    Session,
    /// The other side has cut the stream off.
    #[error("the stream was cut off: {0}")]
    Reset(Why),
}

impl Connection {
    pub(super) fn new(session: Session) -> Self {
        let core =
            Core { session, closing: None, places: HashMap::new(), opened: VecDeque::new(), is_over: false };
        Self(Arc::new(Shared {
            core: Mutex::new(core),
            driver: AtomicWaker::new(),
            accepted: Notify::new(),
            over: CancellationToken::new(),
        }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`Refused`]: as many are open as may be, or the session is over.
    pub fn open(&self, kind: Kind, body: Bytes) -> Result<Stream, Refused> {
        let mut core = self.0.lock();
        if core.is_over || core.closing.is_some() {
            return Err(Refused::Over(Why::Cancelled));
        }
        let id = core.session.mux.open(kind, body)?;
        let stream = self.0.stream(&mut core, id);
        drop(core);
        self.0.driver.wake();
        Ok(stream)
    }

    /// The next stream that the other side opens; none when the session is over.
    pub async fn accept(&self) -> Option<Accepted> {
        loop {
            {
                let mut core = self.0.lock();
                if core.is_over {
                    return None;
                }
                if let Some((id, kind, body)) = core.opened.pop_front() {
                    let stream = self.0.stream(&mut core, id);
                    return Some(Accepted { kind, body, stream });
                }
            }
            tokio::select! {
                () = self.0.accepted.notified() => {}
                () = self.0.over.cancelled() => {}
            }
        }
    }

    /// Ends the session.
    pub fn close(&self, why: Close) {
        self.0.lock().closing.get_or_insert(why);
        self.0.driver.wake();
    }

    /// Returns when the session is over.
    pub async fn ended(&self) {
        self.0.over.cancelled().await;
    }

    /// Whether the session is over, or about to be.
    pub fn is_over(&self) -> bool {
        let core = self.0.lock();
        core.is_over || core.closing.is_some()
    }

    /// Bytes of DATA that went out and came in.
    pub fn traffic(&self) -> (u64, u64) {
        let core = self.0.lock();
        (core.session.sent, core.session.received)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(self: &Arc<Self>, core: &mut Core, id: u32) -> Stream {
        let place = Arc::clone(core.places.entry(id).or_default());
        Stream { shared: Arc::clone(self), place, id, why: Why::Cancelled }
    }

    /// Tells whom an event concerns.
    pub(super) fn note(&self, core: &mut Core, event: Event) {
        match event {
            Event::Opened { stream, kind, body } => {
                core.places.insert(stream, Arc::default());
                core.opened.push_back((stream, kind, body));
                self.accepted.notify_one();
            }
            Event::Readable(stream) => {
                if let Some(place) = core.places.get(&stream) {
                    place.readable.notify_one();
                    // A stream that is over has no room, and whoever waits for some has to know.
                    place.writable.notify_one();
                }
            }
            Event::Writable(_) | Event::AllWritable => {}
        }
    }

    /// Something has gone out: there is room in line.
    pub(super) fn note_room(&self, core: &Core) {
        core.places.values().for_each(|place| place.writable.notify_one());
    }

    /// The session is over: everybody is told.
    pub(super) fn end(&self) {
        let mut core = self.lock();
        core.is_over = true;
        core.opened.clear();
        for place in core.places.values() {
            place.readable.notify_one();
            place.writable.notify_one();
        }
        self.over.cancel();
        self.accepted.notify_one();
    }
}

impl Stream {
    /// Puts bytes in line, when there is room.
    ///
    /// # Errors
    /// [`Broken`]
    pub async fn send(&self, bytes: Bytes) -> Result<(), Broken> {
        loop {
            {
                let mut core = self.shared.lock();
                if core.is_over {
                    return Err(Broken::Session);
                }
                match core.session.mux.send(self.id, bytes.clone()) {
                    Ok(()) => break,
                    Err(Refused::Over(why)) => return Err(Broken::Reset(why)),
                    Err(Refused::Full | Refused::TooManyStreams) => {}
                }
            }
            self.place.writable.notified().await;
        }
        self.shared.driver.wake();
        Ok(())
    }

    /// Says that nothing more comes from this side.
    pub fn finish(&self) {
        self.shared.lock().session.mux.finish(self.id);
        self.shared.driver.wake();
    }

    /// Whether everything of this side has gone out, its end too: until then nobody can have dealt with all of it.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().session.mux.has_ended(self.id)
    }

    /// The next bytes; none at the end. Asking says that what came before has been dealt with.
    ///
    /// # Errors
    /// [`Broken`]
    pub async fn receive(&self) -> Result<Option<Bytes>, Broken> {
        loop {
            {
                let mut core = self.shared.lock();
                let incoming = core.session.mux.take(self.id);
                if core.is_over && incoming == Incoming::Nothing {
                    return Err(Broken::Session);
                }
                drop(core);
                self.shared.driver.wake();
                match incoming {
                    Incoming::Bytes(bytes) => return Ok(Some(bytes)),
                    Incoming::End => return Ok(None),
                    Incoming::Reset(why) => return Err(Broken::Reset(why)),
                    Incoming::Nothing => {}
                }
            }
            self.place.readable.notified().await;
        }
    }

    /// Cuts the stream off.
    pub fn cut(mut self, why: Why) {
        self.why = why;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        core.session.mux.drop_stream(self.id, self.why);
        core.places.remove(&self.id);
        drop(core);
        self.shared.driver.wake();
    }
}
