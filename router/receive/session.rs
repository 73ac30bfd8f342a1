//! One association, from the connection to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrysalis_queue::Admission as Room;
use tokio::net::TcpStream;

use super::listener::Reception;
use super::store::{self, Fate};
use crate::dimse::acceptor::StoreMessage;
use crate::dimse::negotiate::Admission;
use crate::dimse::pdu::Abort;
use crate::dimse::{AcceptError, Acceptor, Association, Incoming, LinkError};

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

/// Serves one connection to its end.
pub(super) async fn serve(reception: &Arc<Reception>, stream: TcpStream, peer: SocketAddr, over_limit: bool) {
    let admission = if over_limit { Admission::LimitExceeded } else { room(reception).await };
    let policy = reception.policy(admission);
    match Box::pin(Acceptor::accept(stream, &policy, reception.timers())).await {
        Ok(association) => converse(reception, association, peer).await,
        Err(AcceptError::Rejected { rejection, request }) => {
            let reason = format!("rejected_{}_{}_{}", rejection.result, rejection.source, rejection.reason);
            reception.refused(&reason);
            tracing::warn!(
                listener = %reception.listener.name, %peer, calling = %request.calling, called = %request.called,
                %rejection, "Rejected an association.",
            );
        }
        Err(AcceptError::Link(error)) => {
            reception.refused(reason_of(&error));
            tracing::warn!(listener = %reception.listener.name, %peer, %error, "No association came about.");
        }
    }
}

/// Whether an association may be had now: nobody paused the listener, and the queue has room.
async fn room(reception: &Reception) -> Admission {
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

async fn converse(reception: &Arc<Reception>, association: Association<TcpStream>, peer: SocketAddr) {
    let name = reception.listener.name.as_str();
    let started = Instant::now();
    let (calling, called) = (association.request().calling.clone(), association.request().called.clone());
    reception.metrics.associations_total.with_label_values(&[name]).inc();
    reception.metrics.associations.with_label_values(&[name]).inc();
    let mut deeds = Deeds::default();
    let end = Box::pin(messages(reception, association, peer, &mut deeds)).await;
    reception.metrics.associations.with_label_values(&[name]).dec();
    let seconds = started.elapsed().as_secs_f64();
    let Deeds { stored, bytes, refused, echoes } = deeds;
    match end {
        Ok(how) => tracing::info!(
            listener = name, %peer, %calling, %called, stored, bytes, refused, echoes, seconds, how,
            "Association ended.",
        ),
        Err(error) => {
            reception.refused(reason_of(&error));
            tracing::warn!(
                listener = name, %peer, %calling, %called, stored, bytes, refused, echoes, seconds, %error,
                "Association broke.",
            );
        }
    }
}

async fn messages(
    reception: &Arc<Reception>,
    mut association: Association<TcpStream>,
    peer: SocketAddr,
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
            Incoming::Store(message) => store_one(reception, &mut association, peer, &message, deeds).await?,
            Incoming::Released => return Ok("released"),
        }
    }
}

async fn store_one(
    reception: &Arc<Reception>,
    association: &mut Association<TcpStream>,
    peer: SocketAddr,
    message: &StoreMessage,
    deeds: &mut Deeds,
) -> Result<(), LinkError> {
    let name = reception.listener.name.as_str();
    let received = store::receive(reception, association, peer, message).await?;
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
                listener = name, %peer, calling = %association.request().calling,
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
    }
}
