//! One association, from the connection to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrysalis_queue::Admission as Room;
use serde_json::json;
use tokio::net::TcpStream;

use super::listener::Reception;
use super::store::{self, Fate};
use crate::config::ListenerKind;
use crate::dimse::acceptor::StoreMessage;
use crate::dimse::negotiate::Admission;
use crate::dimse::pdu::{Abort, Rejection};
use crate::dimse::{AcceptError, Acceptor, Association, Incoming, LinkError, Transport};
use crate::tls::{HandshakeError, Leaf, Role};

/// While the program stops, an association that is silent for so long is ended.
const SILENCE_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// What one association did.
#[derive(Debug, Default)]
struct Deeds {
    stored: u64,
    bytes: u64,
    refused: u64,
    echoes: u64,
}

/// Who calls.
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// The certificate it showed, which was verified.
    pub(super) leaf: Option<Leaf>,
    /// One of the listener's authorities vouches for it.
    by_authority: bool,
}

impl Caller {
    /// Whose certificate it is, for the log.
    fn identity(&self) -> Option<&str> {
        self.leaf.as_ref().map(|leaf| leaf.subject.as_str())
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(reception: &Arc<Reception>, stream: TcpStream, peer: SocketAddr, over_limit: bool) {
    let Some(tls) = &reception.tls else {
        return speak(reception, stream, &Caller { peer, leaf: None, by_authority: false }, over_limit).await;
    };
    match Box::pin(tls.accept(stream, tls.handshake())).await {
        Ok((stream, shown)) => {
            let by_authority = shown.as_ref().is_some_and(|shown| shown.by_authority);
            let caller = Caller { peer, leaf: shown.map(|shown| shown.leaf), by_authority };
            speak(reception, stream, &caller, over_limit).await;
        }
        Err(HandshakeError::Left) => note_visit(reception, peer),
        Err(error) => note_handshake(reception, peer, &error),
    }
}

/// One association with somebody at `peer` over any stream: all of the way of a connection but its socket, TLS and gate, for a
/// test that has none of these.
#[doc(hidden)]
pub async fn serve_stream<S: Transport>(reception: &Arc<Reception>, stream: S, peer: SocketAddr) {
    associate(reception, stream, &Caller { peer, leaf: None, by_authority: false }, false).await;
}

/// What the listener is for.
async fn speak<S: Transport>(reception: &Arc<Reception>, stream: S, caller: &Caller, over_limit: bool) {
    match &reception.listener.kind {
        ListenerKind::Dicom => associate(reception, stream, caller, over_limit).await,
        ListenerKind::Tunnel(_) => {
            Box::pin(reception.gateway.serve(reception, stream, caller.peer, over_limit)).await;
        }
    }
}

/// Somebody connected and left before the first byte, as health checks do: nobody was refused.
fn note_visit(reception: &Reception, peer: SocketAddr) {
    tracing::debug!(listener = %reception.listener.name, %peer, "Somebody connected and left.");
}

fn note_handshake(reception: &Reception, peer: SocketAddr, error: &HandshakeError) {
    let name = reception.listener.name.as_str();
    reception.refused(error.reason());
    reception.metrics.handshake_failed(Role::Listener, name, error.reason());
    tracing::warn!(listener = name, %peer, %error, "No TLS connection came about.");
    if let HandshakeError::Certificate { fault, leaf, .. } = error {
        let (subject, pin) =
            (leaf.as_ref().map(|l| l.subject.clone()), leaf.as_ref().map(|l| l.pin.to_string()));
        let details =
            json!({ "reason": error.reason(), "fault": fault.to_string(), "subject": subject, "pin": pin });
        reception.alerts.raise(peer, &format!("listener {name}"), &details);
    }
}

async fn associate<S: Transport>(reception: &Arc<Reception>, stream: S, caller: &Caller, over_limit: bool) {
    let admission = if over_limit { Admission::LimitExceeded } else { room(reception).await };
    let ca = reception.listener.tls.as_ref().and_then(|tls| tls.ca.as_ref()).filter(|_| caller.by_authority);
    let titles = reception.bindings.titles(caller.leaf.as_ref(), ca);
    let policy = reception.policy(admission, titles);
    let peer = caller.peer;
    match Box::pin(Acceptor::accept(stream, &policy, reception.timers())).await {
        Ok(association) => converse(reception, association, caller).await,
        Err(AcceptError::Rejected { rejection, request }) => {
            let reason = format!("rejected_{}_{}_{}", rejection.result, rejection.source, rejection.reason);
            reception.refused(&reason);
            let is_for_title = rejection == Rejection::CALLING_AE;
            let why = policy.titles.allow(&request.calling).err().filter(|_| is_for_title);
            tracing::warn!(
                listener = %reception.listener.name, %peer, calling = %request.calling, called = %request.called,
                identity = caller.identity(), %rejection, why, "Rejected an association.",
            );
            if let Some(why) = why {
                let details = json!({
                    "reason": "title_not_allowed", "fault": why, "calling_ae": request.calling.to_string(),
                    "subject": caller.identity(), "pin": caller.leaf.as_ref().map(|leaf| leaf.pin.to_string()),
                });
                reception.alerts.raise(peer, &format!("listener {}", reception.listener.name), &details);
            }
        }
        Err(AcceptError::Left) => note_visit(reception, peer),
        Err(AcceptError::Link(error)) => {
            reception.refused(reason_of(&error));
            tracing::warn!(listener = %reception.listener.name, %peer, %error, "No association came about.");
        }
    }
}

/// Whether an association, or an instance by the tunnel, may be had now: nobody paused the listener, and the queue has room.
pub(crate) async fn room(reception: &Reception) -> Admission {
    let is_paused = reception.pauses.listener(reception.listener.name.as_str()).is_some();
    if is_paused || reception.drain.is_cancelled() {
        return Admission::Congested;
    }
    let queue = reception.queue.clone();
    match tokio::task::spawn_blocking(move || queue.admission()).await {
        Ok(Room::Open) => Admission::Open,
        Ok(Room::Full | Room::Poisoned(_)) | Err(_) => Admission::Congested,
    }
}

async fn converse<S: Transport>(reception: &Arc<Reception>, association: Association<S>, caller: &Caller) {
    let (peer, identity) = (caller.peer, caller.identity());
    let name = reception.listener.name.as_str();
    let started = Instant::now();
    let (calling, called) = (association.request().calling.clone(), association.request().called.clone());
    reception.metrics.associations_total.with_label_values(&[name]).inc();
    reception.metrics.associations.with_label_values(&[name]).inc();
    let mut deeds = Deeds::default();
    let end = Box::pin(messages(reception, association, caller, &mut deeds)).await;
    reception.metrics.associations.with_label_values(&[name]).dec();
    let seconds = started.elapsed().as_secs_f64();
    let Deeds { stored, bytes, refused, echoes } = deeds;
    match end {
        Ok(how) => tracing::info!(
            listener = name, %peer, %calling, %called, identity, stored, bytes, refused, echoes, seconds, how,
            "Association ended.",
        ),
        Err(error) => {
            reception.refused(reason_of(&error));
            tracing::warn!(
                listener = name, %peer, %calling, %called, identity, stored, bytes, refused, echoes, seconds, %error,
                "Association broke.",
            );
        }
    }
}

async fn messages<S: Transport>(
    reception: &Arc<Reception>,
    mut association: Association<S>,
    caller: &Caller,
    deeds: &mut Deeds,
) -> Result<&'static str, LinkError> {
    loop {
        let silence = async {
            reception.drain.cancelled().await;
            tokio::time::sleep(SILENCE_WHILE_DRAINING).await;
        };
        let incoming = tokio::select! {
            biased;
            incoming = association.next_message() => incoming?,
            () = silence => {
                association.abort(Abort::USER).await;
                return Ok("aborted while stopping");
            }
        };
        match incoming {
            Incoming::Echo(message) => {
                association.respond_echo(&message).await?;
                deeds.echoes += 1;
            }
            Incoming::Store(message) => {
                store_one(reception, &mut association, caller, &message, deeds).await?
            }
            Incoming::Released => return Ok("released"),
        }
    }
}

async fn store_one<S: Transport>(
    reception: &Arc<Reception>,
    association: &mut Association<S>,
    caller: &Caller,
    message: &StoreMessage,
    deeds: &mut Deeds,
) -> Result<(), LinkError> {
    let name = reception.listener.name.as_str();
    let received = store::receive(reception, association, caller, message).await?;
    association.respond(message, received.status, &received.comment).await?;
    match received.fate {
        Fate::Stored(bytes) => {
            deeds.stored += 1;
            deeds.bytes += bytes;
            reception.stored(bytes, received.complete);
        }
        Fate::Refused | Fate::OtherBytes => {
            deeds.refused += 1;
            reception.refused(&format!("status_{:04x}", received.status.0));
            tracing::warn!(
                listener = name, peer = %caller.peer, calling = %association.request().calling,
                sop_instance = %message.sop_instance, status = %received.status, why = received.comment,
                "Refused an instance.",
            );
        }
    }
    Ok(())
}

/// The kind of end, for the metric.
fn reason_of(error: &LinkError) -> &'static str {
    match error {
        LinkError::Violation { .. } => "protocol_violation",
        LinkError::Aborted(_) => "aborted_by_peer",
        LinkError::Closed => "closed_by_peer",
        LinkError::Timeout(_) => "timeout",
        LinkError::Io(_) => "connection_failed",
        LinkError::Tls(error) => error.reason(),
    }
}
