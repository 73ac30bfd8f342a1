//! A peer does what a script says, in any order and with any silence, on a clock that is held. Both roles, through the code that
//! serves a connection, down to the queue on a disk in memory; and the state machine by itself.
//!
//! **No 0000H goes out before the sync of that instance has returned**: when a C-STORE-RSP with Success is written, a
//! finished file with just this data set has to be durable, name and bytes, one for each such answer. Answers come in the order of
//! the requests, one for each at most, none before its data set has ended. Everything ends: ARTIM, and every other timer.
//!
//! Bytes: what is played, which operation of the disk fails, after how many others, how the bytes are cut; then the script
//! (`src/steps.rs`).
#![no_main]

use std::cell::RefCell;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrysalis::config::{Config, Live};
use chrysalis::dicom::{AeTitle, Uid, uid};
use chrysalis::dimse::association::{Action, Event, State};
use chrysalis::dimse::requestor::SyncSource;
use chrysalis::dimse::{Abort, Proposal, Requestor, StoreRequest, Timers};
use chrysalis::metrics::Metrics;
use chrysalis::pauses::Pauses;
use chrysalis::receive::{Reception, serve_stream};
use chrysalis::route::Routes;
use chrysalis::tunnel::remote::Holdings;
use chrysalis::tunnel::{Gateway, Sites};
use chrysalis::{audit, tls};
use chrysalis_fuzz::conversation::messages;
use chrysalis_fuzz::on_held_clock;
use chrysalis_fuzz::peer::{Act, Ear, Peer};
use chrysalis_fuzz::steps::{self, PAUSES, Step};
use chrysalis_fuzz::watch::{Failure, Watched};
use chrysalis_queue::{Options, Queue};
use libfuzzer_sys::fuzz_target;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Steps of a script that are played.
const STEPS: usize = 40;
/// Silences, of the listener below and of `Timers::default()`.
const ARTIM: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(300);
/// For a peer to take the last words and to close.
const LINGER: Duration = Duration::from_secs(5);

fuzz_target!(|input: &[u8]| {
    let Some((&[play, failure, after, seed], script)) = input.split_first_chunk::<4>() else { return };
    match play % 4 {
        0 => machine(script),
        1 => requestor(script, seed),
        _ => acceptor(script, failure, after, seed),
    }
});

/// What the peer does, and how long it is silent in all of it.
fn acts(script: &[u8]) -> (Vec<Act>, Duration) {
    let mut silence = Duration::ZERO;
    let mut steps = steps::decode(script);
    steps.truncate(STEPS);
    let act = |step: Step| match step {
        Step::Pause(which) => {
            let pause = Duration::from_millis(PAUSES[usize::from(which) % PAUSES.len()]);
            silence += pause;
            Act::Pause(pause)
        }
        Step::Await => Act::Await,
        Step::Stall => Act::Stall,
        Step::Close => Act::Close,
        Step::Reset => Act::Reset,
        said => Act::Say(said.bytes()),
    };
    (steps.into_iter().map(act).collect(), silence)
}

/// No longer than each step may take, each on its own.
fn longest(acts: &[Act], silence: Duration) -> Duration {
    silence + (IDLE + ARTIM + LINGER) * (acts.len() as u32 + 3)
}

// --------------------------------------------------------------------------------------------------- the acceptor

/// Everything a connection is served with, and the disk below it.
struct Node {
    reception: Arc<Reception>,
    disk: Watched,
    uses: u32,
}

/// Connections that one queue is used for.
const USES: u32 = 64;

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

impl Node {
    fn new() -> Self {
        static FOLDER: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);
        let mut folder = FOLDER.lock().expect("no panic before");
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a folder")).path();
        let config = Config::parse(CONFIGURATION, "fuzz").expect("a configuration");
        let disk = Watched::new();
        let mut options = Options::new(Path::new("/q"));
        options.fs = Arc::new(disk.clone());
        options.reserve = 64 << 10;
        options.high_watermark = 1000;
        options.index_cache = None;
        let (queue, _) = Queue::open(&options, ()).expect("a queue");
        let log = audit::Log::open(folder).expect("a log");
        let (sites, holdings) = (Sites::of(folder), Holdings::of(folder));
        let reception = Reception {
            tls: None,
            alerts: audit::Alerts::open(folder).expect("a log"),
            listener: Arc::new(config.listeners[0].clone()),
            bindings: Arc::<tls::Bindings>::default(),
            gateway: Gateway::new(sites, holdings, audit::Claims::new(log), |_| {}),
            queue,
            routes: Live::new(Routes::new(&config)),
            pauses: Pauses::open(folder, std::iter::empty()),
            metrics: Metrics::new(&config).expect("metrics"),
            drain: CancellationToken::new(),
            halt: CancellationToken::new(),
        };
        Self { reception: Arc::new(reception), disk, uses: 0 }
    }
}

const CONFIGURATION: &str = r#"
[[listener]]
name = "modalities"
address = "127.0.0.1:104"
max_data_set = "1MiB"
timeouts = { request = "30s", idle = "300s" }

[[destination]]
name = "pacs"
kind = "dicom"
address = "127.0.0.1:105"
called_ae = "PACS"
"#;

fn acceptor(script: &[u8], failure: u8, after: u8, seed: u8) {
    NODE.with_borrow_mut(|slot| {
        let node = slot.get_or_insert_with(Node::new);
        node.disk.begin(failure_of(failure).map(|failure| (failure, u32::from(after % 16))));
        let (acts, silence) = acts(script);
        let is_stalled = acts.iter().any(|act| matches!(act, Act::Stall));
        let longest = longest(&acts, silence);
        let record = Arc::new(Mutex::new(Record::default()));
        let oracle = Oracle { disk: node.disk.clone(), record: Arc::clone(&record) };
        let peer = Peer::new(acts, seed, oracle);
        let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let taken = on_held_clock(async {
            let started = Instant::now();
            let served = timeout(longest, serve_stream(&node.reception, peer, caller)).await;
            assert!(served.is_ok(), "it does not end");
            started.elapsed()
        });
        let record = record.lock().expect("no panic before");
        if record.heard.first() != Some(&2) && !is_stalled {
            assert!(taken <= ARTIM + LINGER, "{taken:?} without an association");
        }
        node.uses += 1;
        if node.uses >= USES || node.disk.has_failed() {
            *slot = None;
        }
    });
}

fn failure_of(byte: u8) -> Option<Failure> {
    match byte % 8 {
        0 => Some(Failure::Sync),
        1 => Some(Failure::SyncFull),
        2 => Some(Failure::WriteFull),
        3 => Some(Failure::Write),
        _ => None,
    }
}

/// What both sides have said.
#[derive(Default)]
struct Record {
    said: Vec<u8>,
    heard: Vec<u8>,
    answers: usize,
    /// Data sets that were answered with Success.
    kept: Vec<Vec<u8>>,
}

struct Oracle {
    disk: Watched,
    record: Arc<Mutex<Record>>,
}

impl Ear for Oracle {
    fn said(&mut self, bytes: &[u8]) {
        self.record.lock().expect("no panic before").said.extend_from_slice(bytes);
    }

    fn heard(&mut self, bytes: &[u8]) {
        let mut record = self.record.lock().expect("no panic before");
        record.heard.extend_from_slice(bytes);
        let answers = messages(&record.heard);
        if answers.len() == record.answers {
            return;
        }
        let mut asked = messages(&record.said);
        asked.retain(|message| message.wants_answer());
        for (place, answer) in answers.iter().enumerate().skip(record.answers) {
            let request = asked.get(place).expect("an answer to what was not asked, or not to its end");
            assert_eq!((answer.field, answer.responded), (request.field | 0x8000, request.id));
            if request.is_store() && answer.status == Some(0) {
                record.kept.push(request.data.clone());
                let promised = record.kept.iter().filter(|data| **data == request.data).count();
                assert!(self.disk.durable(&request.data) >= promised, "Success before the sync");
            }
        }
        record.answers = answers.len();
    }
}

// -------------------------------------------------------------------------------------------------- the requestor

/// What the peer of a requestor has said; both sides share it.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Ear for Said {
    fn said(&mut self, bytes: &[u8]) {
        self.0.lock().expect("no panic before").extend_from_slice(bytes);
    }

    fn heard(&mut self, _: &[u8]) {}
}

fn requestor(script: &[u8], seed: u8) {
    let (acts, silence) = acts(script);
    let longest = longest(&acts, silence);
    let said = Said::default();
    let peer = Peer::new(acts, seed, said.clone());
    let ended = on_held_clock(async { timeout(longest, call(peer, &said)).await });
    assert!(ended.is_ok(), "it does not end");
}

/// Echo, three instances, release. Whatever is taken for an answer was one, to this message and with this status.
async fn call(peer: Peer<Said>, said: &Said) {
    let class = Uid::from_static("1.2.840.10008.5.1.4.1.1.6.1");
    let syntaxes = || vec![uid::IMPLICIT_VR_LE];
    let contexts = vec![(uid::VERIFICATION, syntaxes()), (class.clone(), syntaxes())];
    let titles = (AeTitle::from_wire(b"CHRYSALIS"), AeTitle::from_wire(b"FUZZ"));
    let proposal = Proposal::new(titles.0, titles.1, contexts);
    let Ok(mut requestor) = Requestor::open(peer, &proposal, Timers::default()).await else { return };
    let answered = |field, id: u16, status| {
        let answers = messages(&said.0.lock().expect("no panic before"));
        let answer = answers.get(usize::from(id) - 1).expect("an answer that was not given");
        assert_eq!((answer.field, answer.responded, answer.status), (field, id, Some(status)));
    };
    let Ok(status) = requestor.echo().await else { return };
    answered(0x8030, 1, status.0);
    for id in 2..5_u16 {
        let data = steps::data_set(id as u8, if id == 4 { 8 } else { 1 });
        let request = StoreRequest {
            context: 3,
            sop_class: class.clone(),
            sop_instance: Uid::new(&steps::instance_uid(id as u8)),
            data_length: data.len() as u64,
        };
        let Ok(response) = requestor.store(&request, &mut SyncSource(Cursor::new(data))).await else {
            return;
        };
        answered(0x8001, id, response.status.0);
    }
    let _ = requestor.release().await;
}

// -------------------------------------------------------------------------------------------- the state machine

/// Any events in any order: data goes out only while an association is open, ARTIM runs exactly while nothing but the peer or
/// ARTIM can end the connection, and ends it.
fn machine(script: &[u8]) {
    let (mut state, mut artim) = (State::IDLE, false);
    for byte in script {
        let event = event(*byte);
        let (next, actions) = state.on(event);
        for action in actions {
            match action {
                Action::StartArtim => artim = true,
                Action::StopArtim => artim = false,
                Action::SendData => assert!(matches!(state.number(), 6 | 8)),
                Action::SendAccept => assert_eq!(state.number(), 3),
                _ => {}
            }
        }
        state = next;
        assert_eq!(artim, matches!(state.number(), 2 | 13), "{event:?} to Sta{}", state.number());
        let (expired, actions) = state.on(Event::ArtimExpired);
        if artim {
            assert!(expired == State::IDLE && actions.contains(&Action::CloseTransport));
        } else {
            assert!(expired == state && actions.is_empty());
        }
        assert_eq!(state.on(Event::Closed).0, State::IDLE);
    }
}

fn event(byte: u8) -> Event {
    let abort = Abort { source: byte & 2, reason: byte >> 5 };
    match byte % 20 {
        0 => Event::AssociateRequest,
        1 => Event::Connected,
        2 => Event::AcceptPdu,
        3 => Event::RejectPdu,
        4 => Event::Incoming,
        5 => Event::RequestPdu { acceptable: true },
        6 => Event::RequestPdu { acceptable: false },
        7 => Event::Accept,
        8 => Event::Reject,
        9 => Event::SendData,
        10 => Event::DataPdu,
        11 => Event::Release,
        12 => Event::ReleaseRqPdu,
        13 => Event::ReleaseRpPdu,
        14 => Event::ReleaseResponse,
        15 => Event::Abort(abort),
        16 => Event::AbortPdu,
        17 => Event::Closed,
        18 => Event::ArtimExpired,
        _ => Event::InvalidPdu(abort),
    }
}
