//! The keeper's thread, and what passes between it and everybody else.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::instance::{Hold, Instance};
use crate::keeper::{BATCH, Keeper, Notices, Unavailable};
use crate::queue::Observer;
use crate::spool::{Events, Fresh};

/// How long a record may wait for its batch.
const BATCH_DELAY: Duration = Duration::from_millis(20);
/// How long to wait before a failed batch is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What the keeper's thread is told.
pub(crate) enum Message {
    Committed(Box<Fresh>),
    BucketDrained(u32),
    NamesLow,
    Call(Box<dyn FnOnce(&mut Keeper) + Send>),
    Stop,
}

/// The keeper's thread: messages as they come, a batch when it is full or old enough, maintenance when it is due.
pub(crate) fn keep<O: Observer>(mut keeper: Keeper, inbox: &Receiver<Message>, observer: &Mutex<O>) {
    let clock = Arc::clone(&keeper.spool.clock);
    let mut batch_due: Option<Duration> = None;
    let mut maintenance_due = Some(clock.monotonic());
    loop {
        let due = batch_due.into_iter().chain(maintenance_due).min();
        let message = match due {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.saturating_sub(clock.monotonic())),
        };
        match message {
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(message) => handle(&mut keeper, message),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = clock.monotonic();
        let pending = keeper.pending();
        if pending == 0 || keeper.spool.poison.check_recording().is_err() {
            batch_due = None;
        } else if batch_due.is_some_and(|due| due <= now)
            || (pending >= BATCH && !is_retrying(batch_due, now))
        {
            // A poisoned journal is told of here once, and not tried again.
            batch_due = match keeper.flush() {
                Ok(()) => None,
                Err(why) => {
                    observer.lock().unwrap_or_else(PoisonError::into_inner).recording_failed(&why);
                    matches!(why, Unavailable::Full).then(|| now + RETRY_DELAY)
                }
            };
            maintenance_due.get_or_insert(now + RETRY_DELAY);
        } else {
            batch_due.get_or_insert(now + BATCH_DELAY);
        }
        if maintenance_due.is_some_and(|due| due <= now) {
            maintenance_due = match keeper.maintain() {
                Ok(next) => next.map(|after| clock.monotonic() + after.max(RETRY_DELAY / 10)),
                Err(Unavailable::Poisoned(_) | Unavailable::Closed) => None,
                Err(Unavailable::Full | Unavailable::Index(_)) => Some(now + RETRY_DELAY),
            };
        }
    }
    let _ = keeper.flush();
    keeper.remove_unused_names();
}

/// A batch that failed waits its time, however much is added to it.
fn is_retrying(batch_due: Option<Duration>, now: Duration) -> bool {
    batch_due.is_some_and(|due| due > now + BATCH_DELAY)
}

fn handle(keeper: &mut Keeper, message: Message) {
    match message {
        Message::Committed(fresh) => keeper.committed(*fresh),
        Message::BucketDrained(bucket) => keeper.bucket_drained(bucket),
        // When it fails, whoever takes the next name hears why.
        Message::NamesLow => drop(keeper.spool.names.refill(&keeper.spool)),
        Message::Call(run) => run(keeper),
        Message::Stop => {}
    }
}

/// From the spool to the keeper.
pub(crate) struct ToKeeper {
    pub(crate) messages: SyncSender<Message>,
}

impl ToKeeper {
    fn send(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl Events for ToKeeper {
    fn committed(&self, fresh: Fresh) {
        self.send(Message::Committed(Box::new(fresh)));
    }

    fn bucket_drained(&self, bucket: u32) {
        self.send(Message::BucketDrained(bucket));
    }

    fn names_low(&self) {
        self.send(Message::NamesLow);
    }

    fn pressure(&self, bytes: u64) {
        let (done, wait) = sync_channel(1);
        self.send(Message::Call(Box::new(move |keeper| {
            let _ = done.send(keeper.evict(bytes).is_ok());
        })));
        let _ = wait.recv();
    }
}

/// From the keeper to the user.
pub(crate) struct ToObserver<O>(pub(crate) Arc<Mutex<O>>);

impl<O: Observer> Notices for ToObserver<O> {
    fn ready(&self, destination: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ready(destination);
    }

    fn held(&self, instance: &Instance, destination: &str, hold: &Hold) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).held(instance, destination, hold);
    }

    fn index_rebuilt(&self, why: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).index_rebuilt(why);
    }
}
