//! What was sent to a destination before under one UID: whether a duplicate is this very content.

use chrysalis_queue::{History, Queue};

use super::carrier::Item;
use super::outgoing::{Outgoing, is_under_its_own_uid};
use crate::dicom::Status;

/// Only a duplicate needs to know what was sent before.
///
/// A UID that a copy has of its own is made of the original's UID, its content and the way it was encoded: what the peer
/// has under it is this very copy. Under the original's UID, a delivery under another one does not count.
pub(super) async fn history(
    queue: &Queue,
    destination: &str,
    item: &Item,
    outgoing: &Outgoing,
    status: Status,
) -> History {
    if status.0 != 0x0111 {
        return History::default();
    }
    if outgoing.sop_instance != item.sop_instance {
        return History { delivered_before: true, other_content: false };
    }
    let (queue, sequence) = (queue.clone(), item.instance.sequence);
    let name = destination.to_owned();
    let asked =
        tokio::task::spawn_blocking(move || queue.history(&name, sequence, is_under_its_own_uid)).await;
    // When nobody can tell, it is taken for another content: held is visible, delivered is not.
    asked.ok().and_then(Result::ok).unwrap_or(History { delivered_before: false, other_content: true })
}
