//! A sender that is never the bottleneck: everything is encoded before the clock starts, a message is one write, Nagle
//! is off, and what the peer says is acknowledged at once, so that a peer that leaves Nagle on and answers in two
//! pieces does not wait for us.

use super::support::instance::Instance;
use super::support::modality::{Association, Modality};
use super::support::wire::{self, COMMAND_BIT, Command, LAST_BIT};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest PDU sent, whatever the peer would take.
const MAX_PDU: usize = 131_072;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// An open association and the messages that are ready for it.
pub(crate) struct Burst {
    association: Association,
    messages: Vec<Vec<u8>>,
}

impl Burst {
    /// Associates and encodes.
    pub(crate) fn prepare(address: SocketAddr, instances: &[Instance]) -> Self {
        let modality = Modality::new(address).contexts_for(instances).timeout(PATIENCE);
        let association = modality.associate().unwrap();
        let room = match association.accept.max_pdu as usize {
            0 => MAX_PDU,
            limit => limit.min(MAX_PDU),
        } - 6;
        let message = |(n, instance): (usize, &Instance)| {
            let context = association.context_for(&instance.sop_class, &instance.transfer_syntax).unwrap();
            encode(instance, context, n as u16 + 1, room)
        };
        let messages = instances.iter().enumerate().map(message).collect();
        Self { association, messages }
    }

    /// Sends each message when the one before is answered, and returns the time from the first byte to the last answer.
    pub(crate) fn run(mut self) -> Duration {
        let started = Instant::now();
        for message in &self.messages {
            let stream = self.association.stream();
            stream.write_all(message).unwrap();
            read_success(stream);
        }
        let took = started.elapsed();
        self.association.release().unwrap();
        took
    }
}

/// Sends the instances over one association; the time from the first byte to the last answer.
pub(crate) fn send(address: SocketAddr, instances: &[Instance]) -> Duration {
    Burst::prepare(address, instances).run()
}

/// The PDUs of one C-STORE with its data set.
fn encode(instance: &Instance, context: u8, message_id: u16, room: usize) -> Vec<u8> {
    let command = Command::store_rq(message_id, &instance.sop_class, &instance.sop_instance).to_bytes();
    let mut out = wire::pdu(wire::DATA, &wire::pdv(context, COMMAND_BIT | LAST_BIT, &command));
    let mut left = instance.data_set.len() as usize;
    let mut fragment = Vec::with_capacity(room.min(left));
    instance
        .data_set
        .for_each_piece(|mut piece| {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(room - fragment.len()));
                fragment.extend_from_slice(now);
                (piece, left) = (later, left - now.len());
                if fragment.len() == room || left == 0 {
                    let control = if left == 0 { LAST_BIT } else { 0 };
                    out.extend(wire::pdu(wire::DATA, &wire::pdv(context, control, &fragment)));
                    fragment.clear();
                }
            }
            Ok(())
        })
        .unwrap();
    out
}

/// Reads one C-STORE-RSP, which must be Success. It comes in one piece as a rule, and is read so.
fn read_success(stream: &mut TcpStream) {
    let mut answer = [0; 4096];
    let mut got = 0;
    let wanted = |got: &[u8]| match got.first_chunk::<6>() {
        Some(&[_, _, a, b, c, d]) => 6 + u32::from_be_bytes([a, b, c, d]) as usize,
        None => 6,
    };
    while got < wanted(&answer[..got]) {
        rustix::net::sockopt::set_tcp_quickack(&*stream, true).unwrap();
        let count = stream.read(&mut answer[got..]).unwrap();
        assert!(count > 0, "the peer closed the connection");
        got += count;
    }
    assert_eq!(answer[0], wire::DATA, "an answer that is no P-DATA");
    let pdvs = wire::pdvs(&answer[6..got]).unwrap();
    let status = pdvs.iter().find_map(|(.., command)| Command::parse(command).unwrap().get_number(0x0900));
    assert_eq!(status, Some(0), "not stored");
}
