//! To a DICOMweb server: STOW-RS (PS3.18 10.5), several instances of a study in one request.
//!
//! ```text
//! items ─ gather ─► parts ─ post ─► response ─ judge ─► what is said of each
//!            ▲                          │
//!            └── one alone, or in another transfer syntax, where it is not clear which was meant
//! ```
//!
//! Whatever speaks of a request with several instances as a whole, and might be about one of them, costs no instance its
//! name: they are sent again one by one, and then it shows. To store an instance twice does no harm (PS3.18 10.5.1).

mod body;
mod connection;
mod credentials;
mod payload;
mod response;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use chrysalis_queue::{Checked, Queue, Sequence};

use self::body::{Boundary, Part};
use self::connection::{Connection, PostError};
pub(crate) use self::credentials::{CredentialsError, authorization};
use self::response::{Judged, Said};
use super::carrier::{Association, Attempted, Item, unreadable};
use super::outgoing::{Outgoing, copy_error, history};
use super::prepare::{Preparer, Unprepared};
use super::secure::Secure;
use super::verdict::End;
use crate::config::WebDestination;
use crate::dicom::{Status, TransferSyntax, Uid};
use crate::transcode::{Accepts, TranscodeError, called, ladder};

/// Instances that are remembered as better sent alone.
const MAX_ALONE: usize = 256;
/// SOP class and transfer syntax pairs that are remembered as refused.
const MAX_REFUSED: usize = 64;
/// Answers in a row that cannot be read, after which the destination is paused.
const MAX_UNCLEAR: u32 = 3;
/// Referenced Transfer Syntax not supported (PS3.18 table I.2-2).
const SYNTAX_NOT_SUPPORTED: Status = Status(0xC122);

pub(super) struct WebCarrier {
    name: String,
    destination: WebDestination,
    queue: Queue,
    preparer: Preparer,
    connection: Connection,
    /// What was in a request that failed as a whole.
    alone: VecDeque<Sequence>,
    /// What the server was found not to take. Forgotten with the connection: an administrator may change it.
    refused: Vec<(Uid, TransferSyntax)>,
    /// Answers in a row that said success, each to one instance, and could not be read.
    unclear: u32,
    /// What was made ready and had no room in the last request.
    ahead: Option<Ready>,
}

/// An instance that is open, checked, and as the server is to get it.
struct Ready {
    sequence: Sequence,
    accepts: Accepts,
    checked: Checked,
    part: Part,
}

/// A request had no response that could be judged.
enum Unanswered {
    /// Nothing was sent.
    Unsent(End),
    /// No answer came, or the connection broke.
    Broken(PostError),
}

/// What an instance that was sent alone came to.
enum Alone {
    Done(Attempted),
    /// It is not taken in this transfer syntax.
    NotSo(Attempted),
    /// Its copy could not be made after all.
    NoCopy(TranscodeError),
}

impl WebCarrier {
    pub(super) fn new(
        name: &str,
        destination: WebDestination,
        queue: Queue,
        preparer: Preparer,
        secure: Arc<Secure>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            connection: Connection::new(destination.clone(), secure),
            destination,
            queue,
            preparer,
            alone: VecDeque::new(),
            refused: Vec::new(),
            unclear: 0,
            ahead: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    pub(super) fn rest(&mut self) {
        self.connection.close();
        self.refused.clear();
        self.ahead = None;
    }

    /// Instances that may go at once.
    pub(super) fn at_once(&self) -> usize {
        self.destination.max_request_instances
    }

    /// Brings the first of these there, and as many of those that follow as go with it. Says what became of each, in order.
    pub(super) async fn attempt(&mut self, items: &[Item]) -> Vec<Attempted> {
        let Some(first) = items.first() else { return Vec::new() };
        let mut ready = match self.gather(items).await {
            Ok(ready) => ready,
            Err(attempted) => return vec![attempted],
        };
        if ready.len() == 1 {
            return vec![self.attempt_alone(first, ready.pop()).await];
        }
        let items = items.get(..ready.len()).unwrap_or_default();
        let uids: Vec<_> = ready.iter().map(|ready| ready.part.outgoing.sop_instance.clone()).collect();
        let (parts, sent): (Vec<_>, Vec<_>) = ready
            .into_iter()
            .map(|ready| {
                let outgoing = ready.part.outgoing.clone();
                (ready.part, outgoing)
            })
            .unzip();
        for (item, outgoing) in items.iter().zip(&sent) {
            self.preparer.count(item, outgoing);
        }
        let answered = self.post(&parts, &uids).await;
        drop(parts);
        match answered {
            Ok(Judged::Each(each)) => self.conclude(items, &sent, each).await,
            Ok(Judged::Destination(end)) => vec![Attempted::sent(end, 0)],
            Err(Unanswered::Unsent(end)) => vec![Attempted::before(end)],
            Ok(Judged::Request(_) | Judged::Syntax(_)) | Err(Unanswered::Broken(_)) => {
                items.iter().for_each(|item| self.better_alone(item));
                vec![self.attempt_alone(first, None).await]
            }
        }
    }

    async fn conclude(&mut self, items: &[Item], sent: &[Outgoing], each: Vec<Said>) -> Vec<Attempted> {
        let mut all = Vec::with_capacity(items.len());
        for ((item, outgoing), said) in items.iter().zip(sent).zip(each) {
            let is_unclear = match &said {
                Said::Silent(_) => true,
                Said::Failed(status) => *status == SYNTAX_NOT_SUPPORTED,
                Said::Stored(_) => false,
            };
            let attempted = if is_unclear {
                self.better_alone(item);
                self.attempt_alone(item, None).await
            } else {
                self.attempted(item, outgoing, said).await
            };
            all.push(attempted);
        }
        all
    }

    fn better_alone(&mut self, item: &Item) {
        if !self.alone.contains(&item.instance.sequence) {
            self.alone.push_back(item.instance.sequence);
        }
        if self.alone.len() > MAX_ALONE {
            self.alone.pop_front();
        }
    }

    /// Makes ready what goes into one request: the first, and what follows as long as there is room.
    async fn gather(&mut self, items: &[Item]) -> Result<Vec<Ready>, Attempted> {
        let mut all: Vec<Ready> = Vec::new();
        let mut bytes = 0;
        for item in items {
            let is_alone = self.alone.contains(&item.instance.sequence);
            if !all.is_empty() && is_alone {
                break;
            }
            let ready = match self.ready(item).await {
                Ok(ready) => ready,
                Err(attempted) if all.is_empty() => return Err(attempted),
                // It comes first the next time, and then it is told.
                Err(_) => break,
            };
            bytes += ready.part.outgoing.len();
            let uid = &ready.part.outgoing.sop_instance;
            let is_twice = all.iter().any(|other| other.part.outgoing.sop_instance == *uid);
            if !all.is_empty() && (bytes > self.destination.max_request || is_twice) {
                self.ahead = Some(ready);
                break;
            }
            all.push(ready);
            if is_alone || bytes >= self.destination.max_request {
                break;
            }
        }
        Ok(all)
    }

    /// Opens and checks an instance, and has it made as the server wants it.
    async fn ready(&mut self, item: &Item) -> Result<Ready, Attempted> {
        let accepts = self.accepts(item);
        let sequence = item.instance.sequence;
        if let Some(ahead) = self.ahead.take()
            && ahead.sequence == sequence
            && ahead.accepts == accepts
        {
            return Ok(ahead);
        }
        let (queue, preparer, item) = (self.queue.clone(), self.preparer.clone(), item.clone());
        let working = tokio::task::spawn_blocking(move || {
            let opened = queue.open_blob(&item.instance).and_then(Checked::new);
            let checked = opened.map_err(|error| unreadable(&error))?;
            let prepared = preparer.prepare(&item, checked.clone(), &accepts);
            let outgoing = prepared.map_err(|unprepared| unprepared_end(unprepared, &accepts))?;
            let head = outgoing.head(&item).map_err(|error| End::Unreachable(error.to_string()))?;
            Ok(Ready { sequence, accepts, checked, part: Part { head, outgoing } })
        });
        let worked = working.await.unwrap_or_else(|error| Err(End::Unreachable(error.to_string())));
        worked.map_err(|end| match end {
            // What the server has refused so far was refused of such an instance.
            End::NotTaken { .. } => Attempted::sent(end, 0),
            end => Attempted::before(end),
        })
    }

    /// Nothing is negotiated: anything, until the server says otherwise.
    fn accepts(&self, item: &Item) -> Accepts {
        let is_refused = |syntax: &TransferSyntax| {
            self.refused.iter().any(|(class, refused)| *class == item.sop_class && refused == syntax)
        };
        if !self.refused.iter().any(|(class, _)| *class == item.sop_class) {
            return Accepts::Anything;
        }
        let mut syntaxes = ladder::syntaxes(self.preparer.wish(), &item.transfer_syntax);
        syntaxes.retain(|syntax| !is_refused(syntax));
        Accepts::These(syntaxes)
    }

    /// One instance in a request of its own, down the ladder of transfer syntaxes.
    async fn attempt_alone(&mut self, item: &Item, mut prepared: Option<Ready>) -> Attempted {
        let mut refusal = None;
        let mut tried = Vec::new();
        loop {
            let ready = match prepared.take() {
                Some(ready) => ready,
                None => match self.ready(item).await {
                    Ok(ready) => ready,
                    Err(attempted) => {
                        // It may be this instance only: the next one is tried as it is wanted.
                        self.refused.retain(|(class, _)| *class != item.sop_class);
                        // What the server said of it tells more than that nothing else is left.
                        return refusal.map_or(attempted, |refusal| in_every_syntax(refusal, &tried));
                    }
                },
            };
            let Ready { sequence, accepts, checked, part } = ready;
            let syntax = part.outgoing.syntax.clone();
            match self.send_alone(item, part).await {
                Alone::Done(attempted) => return attempted,
                Alone::NotSo(attempted) => {
                    let pair = (item.sop_class.clone(), syntax);
                    if self.refused.contains(&pair) || self.refused.len() >= MAX_REFUSED {
                        return attempted;
                    }
                    tried.push(called(&pair.1).to_owned());
                    self.refused.push(pair);
                    refusal = Some(attempted);
                }
                Alone::NoCopy(error) => {
                    let original = match self.preparer.failed(item, checked.clone(), &accepts, error) {
                        Ok(original) => original,
                        Err(unprepared) => return Attempted::before(unprepared_end(unprepared, &accepts)),
                    };
                    let head = match original.head(item) {
                        Ok(head) => head,
                        Err(error) => return Attempted::before(End::Unreachable(error.to_string())),
                    };
                    let part = Part { head, outgoing: original };
                    prepared = Some(Ready { sequence, accepts, checked, part });
                }
            }
        }
    }

    async fn send_alone(&mut self, item: &Item, part: Part) -> Alone {
        let outgoing = part.outgoing.clone();
        self.preparer.count(item, &outgoing);
        let (parts, uids) = ([part], [outgoing.sop_instance.clone()]);
        let answered = self.post(&parts, &uids).await;
        drop(parts);
        let bytes = outgoing.len();
        match answered {
            Ok(Judged::Each(each)) => {
                let Some(said) = each.into_iter().next() else {
                    return Alone::Done(Attempted::sent(End::Unreachable("no answer".to_owned()), bytes));
                };
                let is_syntax = said == Said::Failed(SYNTAX_NOT_SUPPORTED);
                let attempted = self.attempted(item, &outgoing, said).await;
                if is_syntax { Alone::NotSo(attempted) } else { Alone::Done(attempted) }
            }
            Ok(Judged::Syntax(end)) => Alone::NotSo(Attempted::sent(end, bytes)),
            Ok(Judged::Request(End::Unclear { what, .. })) => Alone::Done(Attempted {
                broke: Some(Association::New),
                ..Attempted::sent(self.unclear(what), bytes)
            }),
            Ok(Judged::Request(end) | Judged::Destination(end)) => Alone::Done(Attempted::sent(end, bytes)),
            Err(Unanswered::Unsent(end)) => Alone::Done(Attempted::before(end)),
            Err(Unanswered::Broken(error)) => broken(error, bytes),
        }
    }

    /// A success of which nobody can tell what it was of. That may be the instance; but where it goes on so without one
    /// answer in between that can be read, somebody else than a DICOMweb server answers there.
    fn unclear(&mut self, what: String) -> End {
        self.unclear += 1;
        match self.unclear {
            times @ MAX_UNCLEAR.. => End::NotAdmitted {
                what: format!("{what}, {times} times in a row: does a DICOMweb server answer at this URL?"),
                comment: String::new(),
            },
            _ => End::Unclear { what, times: 0 },
        }
    }

    /// What was said of an instance, in the words of the table of verdicts.
    async fn attempted(&mut self, item: &Item, outgoing: &Outgoing, said: Said) -> Attempted {
        let end = match said {
            Said::Stored(status) | Said::Failed(status) => End::Response {
                status,
                comment: String::new(),
                history: history(&self.queue, &self.name, item, outgoing, status).await,
                sent: outgoing.note().map(str::to_owned),
            },
            Said::Silent(end) => end,
        };
        Attempted::sent(end, outgoing.len())
    }

    /// Posts, a second time where the connection that was kept turned out to be closed.
    async fn post(&mut self, parts: &[Part], uids: &[Uid]) -> Result<Judged, Unanswered> {
        let login = self.destination.login.clone();
        let read = tokio::task::spawn_blocking(move || authorization(&login)).await;
        let unsent = |what: String| Unanswered::Unsent(End::Unreachable(what));
        let authorization =
            read.map_err(|error| unsent(error.to_string()))?.map_err(|error: CredentialsError| {
                Unanswered::Unsent(End::NotAdmitted {
                    what: format!("credentials: {error}"),
                    comment: String::new(),
                })
            })?;
        let uids: Vec<_> = uids.iter().collect();
        let mut again = true;
        loop {
            let boundary = Boundary::random().map_err(|error| unsent(error.to_string()))?;
            match Box::pin(self.connection.post(&boundary, parts, authorization.clone())).await {
                Ok(response) if response.is_not_acceptable() && self.connection.ask_otherwise() => {}
                Ok(response) => {
                    let judged = response.judge(&uids);
                    if matches!(judged, Judged::Each(_)) {
                        self.unclear = 0;
                    }
                    return Ok(judged);
                }
                Err(PostError::Broken { is_used: true, .. }) if again => again = false,
                Err(PostError::Unconnected(end)) => return Err(Unanswered::Unsent(end)),
                Err(error) => return Err(Unanswered::Broken(error)),
            }
        }
    }
}

/// What the server said last, and of which transfer syntaxes it said so.
fn in_every_syntax(refusal: Attempted, tried: &[String]) -> Attempted {
    let end = match refusal.end {
        End::NotTaken { what, comment } => {
            End::NotTaken { what: format!("{what}, whether as {}", tried.join(" or as ")), comment }
        }
        other => other,
    };
    Attempted { end, ..refusal }
}

/// Where the server has narrowed the choice, its own refusal is what counts.
fn unprepared_end(unprepared: Unprepared, accepts: &Accepts) -> End {
    match (unprepared, accepts) {
        (Unprepared::Hold(why), Accepts::These(_)) => End::NotTaken {
            what: format!("destination takes no transfer syntax in which it could be sent: {why}"),
            comment: String::new(),
        },
        (unprepared, _) => unprepared.end(),
    }
}

fn broken(error: PostError, bytes: u64) -> Alone {
    let attempted = match error {
        PostError::Unconnected(end) => Attempted::before(end),
        PostError::Silent(what) => Attempted::sent(End::Unreachable(what), bytes),
        PostError::Broken { what, .. } => Attempted {
            end: End::Aborted { what, times: 0 },
            was_sent: true,
            broke: Some(Association::New),
            bytes,
        },
        PostError::Source(error) => return source_failed(&error, bytes),
    };
    Alone::Done(attempted)
}

fn source_failed(error: &io::Error, bytes: u64) -> Alone {
    let what = error.to_string();
    match copy_error(error) {
        Some(error) => Alone::NoCopy(error.clone()),
        None => Alone::Done(Attempted { end: End::Unreadable(what), was_sent: true, broke: None, bytes }),
    }
}
