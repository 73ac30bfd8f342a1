//! Any bytes are what a peer says: read to the same end however they are cut, with memory that depends on what is configured and
//! on the bytes that are there, never on a length that is claimed. The first byte chooses the reader, the second the cuts.
#![no_main]

use std::io::Cursor;

use bytes::BytesMut;
use chrysalis::dicom::{AeTitle, Status, Uid, uid};
use chrysalis::dimse::command::Command;
use chrysalis::dimse::pdata::{Fragment, FrameError, Framer};
use chrysalis::dimse::pdu::{AssociateAccept, AssociateRequest, RequestLimits};
use chrysalis::dimse::requestor::SyncSource;
use chrysalis::dimse::{
    Acceptor, Association, Incoming, LinkError, Policy, Proposal, Requestor, StoreRequest, Timers,
};
use chrysalis_fuzz::peer::{Act, Ear, Peer};
use chrysalis_fuzz::{heap, on_held_clock, pieces};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, Mutex};

/// Two read buffers of an open association, what is answered, and the copies that this target makes itself.
const OWN: usize = 1 << 20;
/// What one byte that is there may become: an empty sub-item has four, and is a few words in memory.
const EACH: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&[reader, seed], bytes)) = input.split_first_chunk::<2>() else { return };
    heap::within(OWN + EACH * bytes.len(), || match reader % 4 {
        0 => accepted_alike(bytes, seed),
        1 => framed_alike(bytes, seed),
        2 => read(bytes),
        _ => opened(bytes, seed),
    });
});

// ------------------------------------------------------------------------------------------ as an acceptor

/// What an acceptor makes of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    answers: Vec<u8>,
    messages: Vec<(String, Vec<u8>)>,
    end: String,
}

fn accepted_alike(bytes: &[u8], seed: u8) {
    let whole = accepted(bytes, 0);
    let cut = accepted(bytes, seed);
    assert_eq!(whole, cut);
}

fn accepted(bytes: &[u8], seed: u8) -> Outcome {
    let heard = Heard::default();
    let acts = [Act::Say(bytes.to_vec()), Act::Close];
    let peer = Peer::new(acts, seed, heard.clone());
    let (messages, end) = on_held_clock(serve(peer));
    let answers = std::mem::take(&mut *heard.0.lock().expect("no panic before"));
    Outcome { answers, messages, end }
}

async fn serve(peer: Peer<Heard>) -> (Vec<(String, Vec<u8>)>, String) {
    let mut messages = Vec::new();
    let policy = Policy { max_data_set: 1 << 20, ..Policy::default() };
    let end = match Acceptor::accept(peer, &policy, Timers::default()).await {
        Ok(mut association) => match converse(&mut association, &mut messages).await {
            Ok(()) => "released".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    (messages, end)
}

async fn converse(
    association: &mut Association<Peer<Heard>>,
    messages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), LinkError> {
    loop {
        match association.next_message().await? {
            Incoming::Echo(echo) => {
                messages.push((format!("{:?}", echo.command), Vec::new()));
                association.respond_echo(&echo).await?;
            }
            Incoming::Store(store) => {
                let mut data = Vec::new();
                while let Some(piece) = association.next_data().await? {
                    data.extend_from_slice(&piece);
                }
                messages.push((format!("{:?}", store.command), data));
                association.respond(&store, Status::SUCCESS, "").await?;
            }
            Incoming::Released => return Ok(()),
        }
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Ear for Heard {
    fn said(&mut self, _: &[u8]) {}

    fn heard(&mut self, bytes: &[u8]) {
        self.0.lock().expect("no panic before").extend_from_slice(bytes);
    }
}

// ------------------------------------------------------------------------------------------- PDVs by themselves

fn framed_alike(bytes: &[u8], seed: u8) {
    // A length that is not the one of the bytes, now and then.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(u32::from(seed == 255));
    assert_eq!(framed(bytes, length, 0), framed(bytes, length, seed));
}

/// The fragments of one P-DATA-TF, those of one PDV put together; and how it ended.
fn framed(bytes: &[u8], length: u32, seed: u8) -> (Vec<Fragment>, Result<bool, FrameError>) {
    const MAX_PDU: u32 = 32 << 10;
    let mut framer = Framer::new(MAX_PDU);
    let mut fragments = Vec::new();
    let mut joined: Vec<Fragment> = Vec::new();
    if let Err(error) = framer.begin_pdu(length) {
        return (joined, Err(error));
    }
    let mut buffer = BytesMut::new();
    for piece in pieces::cut(bytes, seed) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&mut buffer) {
                Ok(Some(fragment)) => fragments.push(fragment),
                Ok(None) => break,
                Err(error) => return (join(&mut joined, fragments), Err(error)),
            }
        }
    }
    (join(&mut joined, fragments), Ok(framer.is_between_pdus()))
}

/// Neighbours that belong together: pieces of one command or data set.
fn join(joined: &mut Vec<Fragment>, fragments: Vec<Fragment>) -> Vec<Fragment> {
    for fragment in fragments {
        match joined.last_mut() {
            Some(last) if !last.last && (last.context, last.part) == (fragment.context, fragment.part) => {
                last.data = [&last.data[..], &fragment.data].concat().into();
                last.last = fragment.last;
            }
            _ => joined.push(fragment),
        }
    }
    std::mem::take(joined)
}

// ------------------------------------------------------------------------------------------------ pure readers

/// Every reader takes them or not; what was read, and written again, is read as the same.
fn read(bytes: &[u8]) {
    if let Ok(request) = AssociateRequest::read(bytes, RequestLimits::default()) {
        assert!(request.contexts.len() <= 128);
        assert!(request.contexts.iter().all(|context| context.transfer_syntaxes.len() <= 64));
    }
    let _ = AssociateAccept::read(bytes);
    if let Ok(command) = Command::read(bytes) {
        let Ok(once) = Command::read(&command.encode()) else { panic!("{command:?} does not read back") };
        assert_eq!(Command::read(&once.encode()).as_ref(), Ok(&once));
    }
}

// ----------------------------------------------------------------------------------------------- as a requestor

/// What the peer answers to an association, an echo and a store.
fn opened(bytes: &[u8], seed: u8) {
    let heard = Heard::default();
    let peer = Peer::new([Act::Say(bytes.to_vec()), Act::Close], seed, heard);
    on_held_clock(async {
        let class = Uid::from_static("1.2.840.10008.5.1.4.1.1.6.1");
        let contexts =
            vec![(uid::VERIFICATION, vec![uid::IMPLICIT_VR_LE]), (class.clone(), vec![uid::IMPLICIT_VR_LE])];
        let titles = (AeTitle::from_wire(b"CHRYSALIS"), AeTitle::from_wire(b"FUZZ"));
        let proposal = Proposal::new(titles.0, titles.1, contexts);
        let Ok(mut requestor) = Requestor::open(peer, &proposal, Timers::default()).await else { return };
        if requestor.accepted_contexts().len() > 1 && requestor.echo().await.is_err() {
            return;
        }
        let data = [7; 1000];
        let request = StoreRequest {
            context: 3,
            sop_class: class,
            sop_instance: Uid::from_static("1.2.3"),
            data_length: data.len() as u64,
        };
        if requestor.store(&request, &mut SyncSource(Cursor::new(data))).await.is_ok() {
            let _ = requestor.release().await;
        }
    });
}
