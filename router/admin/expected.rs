//! What an instance that is not delivered yet would be sent as.

use std::io;

use chrysalis_queue::{Blob, Instance, Queue, Shown};

use crate::config::Config;
use crate::dicom::{TransferSyntax, Uid};
use crate::receive::Arrival;
use crate::transcode::{Expectation, Source, Subject, expect};

/// What an instance is, read from its file in the spool; none where that is gone or cannot be read, which whoever sends it
/// says at the delivery. The payload's hash is not checked.
pub(crate) fn subject(queue: &Queue, shown: &Shown) -> Option<Subject> {
    let is_open = shown.rows.iter().any(|row| row.has_payload && row.delivery.state.is_open());
    if !is_open {
        return None;
    }
    read(queue, &shown.instance)
}

fn read(queue: &Queue, instance: &Instance) -> Option<Subject> {
    let arrival = Arrival::of(instance).ok()?;
    let syntax = TransferSyntax(Uid::new(&arrival.transfer_syntax));
    let stored = Stored(queue.open_blob(instance).ok()?);
    Subject::read(&stored, &syntax, arrival.soundness()).ok()
}

/// The ways in which it may leave to a destination, the first one first; none where that is not configured.
pub(super) fn at(subject: &Subject, destination: &str, config: &Config) -> Option<Vec<Expectation>> {
    let destination = config.destination(destination)?;
    Some(expect(subject, &destination.compression, destination.receiver()))
}

/// A payload as it lies there.
struct Stored(Blob);

impl Source for Stored {
    fn len(&self) -> u64 {
        self.0.payload_len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}
