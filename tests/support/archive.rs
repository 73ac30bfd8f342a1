//! A PACS: accepts, logs every arrival, and follows a script of answers and faults.

use super::instance::{
    Digest, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Instance, JPEG_BASELINE, RLE_LOSSLESS,
};
use super::ports::free_address;
use super::wait::eventually;
use super::wire::{self, Answered, Associate, COMMAND_BIT, Command, LAST_BIT, Proposed};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A data set that came in completely, whatever was answered.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Counts C-STORE requests from 1, over all associations.
    pub number: usize,
    /// Counts associations from 1, over restarts too.
    pub association: usize,
    pub sop_class: String,
    pub sop_instance: String,
    pub transfer_syntax: String,
    pub calling_ae: String,
    pub called_ae: String,
    /// SHA-256 of the data set.
    pub digest: Digest,
    /// Bytes of the data set.
    pub length: u64,
    /// When the last byte of the data set had been read.
    pub at: Instant,
    /// What was decided about it.
    pub action: Action,
    /// The data set itself, if the script keeps it.
    pub data_set: Option<Arc<[u8]>>,
}

/// What to do with one C-STORE request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the data set and answer with this status.
    Answer(u16),
    /// The same, with an Error Comment.
    AnswerWith(u16, &'static str),
    /// Read the data set, wait, then answer.
    SleepThen(Duration, u16),
    /// Read the data set and send A-ABORT instead of an answer.
    Abort,
    /// Send A-ABORT once so many bytes of the data set are there.
    AbortDuring(u64),
    /// Read the data set and close the connection.
    Close,
    /// Read the data set and say nothing, until the peer gives up or the archive stops.
    Silence,
}

/// What to do with one association request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    Accept,
    /// A-ASSOCIATE-RJ with result, source, reason.
    Reject(u8, u8, u8),
    Abort,
    Close,
    /// Say nothing, until the peer gives up or the archive stops.
    Silence,
}

/// An association request as it came.
#[derive(Debug, Clone)]
pub struct Knock {
    /// Counts associations from 1.
    pub association: usize,
    pub request: Associate,
    pub at: Instant,
    /// How many others were open when it came.
    pub open: usize,
}

type OnStore = dyn FnMut(usize, &str) -> Action + Send;
type OnAssociate = dyn FnMut(&Knock) -> Greeting + Send;
type Accepts = dyn Fn(&str, &str) -> bool + Send + Sync;

/// How an archive behaves. By default it takes everything and answers 0000H.
pub struct Script {
    on_store: Box<OnStore>,
    on_associate: Box<OnAssociate>,
    accepts: Box<Accepts>,
    max_pdu: u32,
    keeps: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            on_store: Box::new(|_, _| Action::Answer(0)),
            on_associate: Box::new(|_| Greeting::Accept),
            accepts: Box::new(|_, _| true),
            max_pdu: 131_072,
            keeps: false,
        }
    }
}

impl Script {
    /// Decides about every C-STORE from its number (from 1, over all associations) and SOP Instance UID.
    pub fn on_store(mut self, decide: impl FnMut(usize, &str) -> Action + Send + 'static) -> Self {
        self.on_store = Box::new(decide);
        self
    }

    /// Answers every C-STORE with this status.
    pub fn status(self, status: u16) -> Self {
        self.on_store(move |_, _| Action::Answer(status))
    }

    pub fn on_associate(mut self, decide: impl FnMut(&Knock) -> Greeting + Send + 'static) -> Self {
        self.on_associate = Box::new(decide);
        self
    }

    /// Decides about every pair of abstract syntax and transfer syntax; the first accepted one of a context is taken.
    pub fn accepts(mut self, decide: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.accepts = Box::new(decide);
        self
    }

    pub fn only_sop_classes(self, classes: &'static [&str]) -> Self {
        self.accepts(move |class, _| classes.contains(&class))
    }

    pub fn only_transfer_syntaxes(self, syntaxes: &'static [&str]) -> Self {
        self.accepts(move |_, syntax| syntaxes.contains(&syntax))
    }

    /// The maximum length that is announced; 0 is no limit.
    pub fn max_pdu(mut self, bytes: u32) -> Self {
        self.max_pdu = bytes;
        self
    }

    /// Keeps every data set in memory, for those who want to look into it.
    pub fn keep_data_sets(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// Starts listening on a free port of 127.0.0.1.
    pub fn start(self) -> Archive {
        Archive::start(self)
    }
}

/// A running archive; dropping it stops it.
pub struct Archive {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    arrivals: Mutex<Vec<Arrival>>,
    knocks: Mutex<Vec<Knock>>,
    stores: Mutex<usize>,
    /// Accepted and not ended.
    associated: AtomicUsize,
    open: Mutex<Open>,
    stopped: Condvar,
}

/// What is running now.
#[derive(Default)]
struct Open {
    listening: bool,
    /// Counts `stop` calls, so that a connection knows that it is to end.
    era: usize,
    connections: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Archive {
    /// An archive that takes everything.
    pub fn new() -> Self {
        Script::default().start()
    }

    fn start(script: Script) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            arrivals: Mutex::default(),
            knocks: Mutex::default(),
            stores: Mutex::default(),
            associated: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: Condvar::new(),
        });
        let mut archive = Self { address: free_address(), shared, acceptor: None };
        archive.start_again();
        archive
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the behaviour from the next request on.
    pub fn set_script(&self, script: Script) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// Every data set that came in completely, in order of arrival.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// The arrivals that were answered with success or a warning.
    pub fn stored(&self) -> Vec<Arrival> {
        let mut arrivals = self.arrivals();
        arrivals.retain(|arrival| match arrival.action {
            Action::Answer(status) | Action::AnswerWith(status, _) | Action::SleepThen(_, status) => {
                status == 0 || status >> 12 == 0xB
            }
            Action::Abort | Action::AbortDuring(_) | Action::Close | Action::Silence => false,
        });
        arrivals
    }

    /// How often each of these was stored, with the bytes that were sent; none may be missing, and nothing else be there.
    #[track_caller]
    pub fn times_stored(&self, sent: &[Instance]) -> Vec<usize> {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for arrival in self.stored() {
            *counts.entry((arrival.sop_instance, arrival.digest)).or_default() += 1;
        }
        let count =
            |i: &Instance| counts.get(&(i.sop_instance.clone(), i.digest())).copied().unwrap_or_default();
        let counted: Vec<_> = sent.iter().map(count).collect();
        assert!(counted.iter().all(|count| *count > 0), "missing: {counted:?}");
        assert_eq!(counts.len(), sent.len(), "something arrived that was not sent");
        counted
    }

    /// Every association request, accepted or not.
    pub fn knocks(&self) -> Vec<Knock> {
        self.shared.knocks.lock().unwrap().clone()
    }

    /// Stops listening and cuts every connection; the log stays.
    pub fn stop(&mut self) {
        let mut open = self.shared.open.lock().unwrap();
        open.listening = false;
        open.era += 1;
        open.connections.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(open);
        self.shared.stopped.notify_all();
        let Some(acceptor) = self.acceptor.take() else { return };
        // Wakes the acceptor, which then sees that it is to end.
        drop(TcpStream::connect(self.address));
        acceptor.join().unwrap();
        let threads = std::mem::take(&mut self.shared.open.lock().unwrap().threads);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Listens on the same port again.
    pub fn start_again(&mut self) {
        // A process that another test is just starting may have inherited the old socket until it runs its program.
        let listener =
            eventually("its port", Duration::from_secs(5), || TcpListener::bind(self.address).ok());
        self.shared.open.lock().unwrap().listening = true;
        let shared = Arc::clone(&self.shared);
        self.acceptor = Some(std::thread::spawn(move || accept_loop(&listener, &shared)));
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Joining could wait for what failed; the threads end with their connections.
            let mut open = self.shared.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            open.listening = false;
            open.era += 1;
            return;
        }
        self.stop();
    }
}

fn accept_loop(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let mut open = shared.open.lock().unwrap();
        if !open.listening {
            return;
        }
        let (Ok(copy), era) = (stream.try_clone(), open.era) else { return };
        open.connections.push(copy);
        let shared = Arc::clone(shared);
        open.threads.push(std::thread::spawn(move || {
            let mut connection = Connection { stream, shared, era };
            // A peer that goes away or talks nonsense ends its connection; what arrived is in the log.
            let _ = connection.serve();
            let _ = connection.stream.shutdown(Shutdown::Both);
        }));
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    era: usize,
}

/// Whether the association goes on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Connection {
    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let Some(pdu) = wire::read_pdu(&mut self.stream)? else { return Ok(()) };
        if pdu.kind != wire::ASSOCIATE_RQ {
            return self.abort();
        }
        let (knock, greeting) = self.greet(Associate::parse(&pdu.body)?);
        match greeting {
            Greeting::Accept => {
                self.shared.associated.fetch_add(1, Ordering::SeqCst);
                let ended = self.associated(&knock);
                self.shared.associated.fetch_sub(1, Ordering::SeqCst);
                ended
            }
            Greeting::Reject(result, source, reason) => {
                wire::write_pdu(&mut self.stream, wire::ASSOCIATE_RJ, &[0, result, source, reason])
            }
            Greeting::Abort => self.abort(),
            Greeting::Close => Ok(()),
            Greeting::Silence => self.be_silent(),
        }
    }

    fn greet(&self, request: Associate) -> (Knock, Greeting) {
        let mut knocks = self.shared.knocks.lock().unwrap();
        let open = self.shared.associated.load(Ordering::SeqCst);
        let knock = Knock { association: knocks.len() + 1, request, at: Instant::now(), open };
        knocks.push(knock.clone());
        drop(knocks);
        let greeting = (self.shared.script.lock().unwrap().on_associate)(&knock);
        (knock, greeting)
    }

    fn associated(&mut self, knock: &Knock) -> io::Result<()> {
        let accept = self.accept(&knock.request);
        wire::write_pdu(&mut self.stream, wire::ASSOCIATE_AC, &accept.to_body())?;
        let syntaxes = accept.answered.into_iter().filter(|answer| answer.result == 0);
        let syntaxes: HashMap<u8, String> = syntaxes.map(|a| (a.id, a.transfer_syntax)).collect();
        let mut command = Vec::new();
        let mut store: Option<Store> = None;
        while let Some(pdu) = wire::read_pdu(&mut self.stream)? {
            match pdu.kind {
                wire::DATA => {}
                wire::RELEASE_RQ => return wire::write_pdu(&mut self.stream, wire::RELEASE_RP, &[0; 4]),
                _ => return Ok(()),
            }
            for (context, control, fragment) in wire::pdvs(&pdu.body)? {
                let last = control & LAST_BIT != 0;
                if control & COMMAND_BIT != 0 {
                    command.extend_from_slice(fragment);
                    if last {
                        store = self.command(context, &Command::parse(&std::mem::take(&mut command))?)?;
                    }
                } else if let Some(current) = &mut store {
                    current.take(fragment);
                    if matches!(current.action, Action::AbortDuring(after) if current.length >= after) {
                        return self.abort();
                    }
                    if last {
                        let done = store.take().unwrap();
                        let syntax = syntaxes.get(&context).cloned().unwrap_or_default();
                        if self.finish(done, context, knock, syntax)? == Next::End {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&self, request: &Associate) -> Associate {
        let script = self.shared.script.lock().unwrap();
        let answer = |context: &Proposed| {
            let class = &context.abstract_syntax;
            let taken = context.transfer_syntaxes.iter().find(|ts| (script.accepts)(class, ts));
            let known = taken.is_some() || class == wire::VERIFICATION;
            let transfer_syntax = taken.or(context.transfer_syntaxes.first()).cloned().unwrap_or_default();
            // 3 is "abstract syntax not supported", 4 "transfer syntaxes not supported" (PS3.8 9.3.3.2).
            let any = |ts: &str| (script.accepts)(class, ts);
            let reason = if PROBES.into_iter().any(any) { 4 } else { 3 };
            Answered { id: context.id, result: if known { 0 } else { reason }, transfer_syntax }
        };
        Associate {
            called_ae: request.called_ae.clone(),
            calling_ae: request.calling_ae.clone(),
            answered: request.proposed.iter().map(answer).collect(),
            max_pdu: script.max_pdu,
            implementation_class: wire::IMPLEMENTATION.into(),
            implementation_version: "TEST_ARCHIVE".into(),
            ..Associate::default()
        }
    }

    /// Answers an echo; starts a store.
    fn command(&mut self, context: u8, command: &Command) -> io::Result<Option<Store>> {
        match command.get_number(0x0100) {
            Some(wire::STORE_RQ) => {
                let sop_instance = command.string(0x1000).unwrap_or_default();
                let mut stores = self.shared.stores.lock().unwrap();
                *stores += 1;
                let number = *stores;
                drop(stores);
                let action = (self.shared.script.lock().unwrap().on_store)(number, &sop_instance);
                let kept = self.shared.script.lock().unwrap().keeps.then(Vec::new);
                let (command, hash) = (command.clone(), Sha256::new());
                Ok(Some(Store { number, command, action, hash, length: 0, kept }))
            }
            Some(wire::ECHO_RQ) => {
                self.respond(context, &Command::response(command, 0, None))?;
                Ok(None)
            }
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("command {other:?}"))),
        }
    }

    fn finish(
        &mut self,
        store: Store,
        context: u8,
        knock: &Knock,
        transfer_syntax: String,
    ) -> io::Result<Next> {
        let action = store.action;
        self.shared.arrivals.lock().unwrap().push(Arrival {
            number: store.number,
            association: knock.association,
            sop_class: store.command.string(0x0002).unwrap_or_default(),
            sop_instance: store.command.string(0x1000).unwrap_or_default(),
            transfer_syntax,
            calling_ae: knock.request.calling_ae.clone(),
            called_ae: knock.request.called_ae.clone(),
            digest: Digest(store.hash.finalize().into()),
            length: store.length,
            at: Instant::now(),
            action,
            data_set: store.kept.map(Arc::from),
        });
        let (status, comment) = match action {
            Action::Answer(status) => (status, None),
            Action::AnswerWith(status, comment) => (status, Some(comment)),
            Action::SleepThen(time, status) => {
                self.wait(time);
                (status, None)
            }
            Action::Abort | Action::AbortDuring(_) => return self.abort().map(|()| Next::End),
            Action::Close => return Ok(Next::End),
            Action::Silence => return self.be_silent().map(|()| Next::End),
        };
        self.respond(context, &Command::response(&store.command, status, comment))?;
        Ok(Next::GoOn)
    }

    fn respond(&mut self, context: u8, response: &Command) -> io::Result<()> {
        let pdv = wire::pdv(context, COMMAND_BIT | LAST_BIT, &response.to_bytes());
        wire::write_pdu(&mut self.stream, wire::DATA, &pdv)
    }

    fn abort(&mut self) -> io::Result<()> {
        wire::write_pdu(&mut self.stream, wire::ABORT, &[0, 0, 0, 0])
    }

    /// Waits, but not longer than the archive runs.
    fn wait(&self, time: Duration) {
        let open = self.shared.open.lock().unwrap();
        let running = |open: &mut Open| open.era == self.era;
        drop(self.shared.stopped.wait_timeout_while(open, time, running));
    }

    /// Reads what comes and answers nothing until the peer closes.
    fn be_silent(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }
}

/// A C-STORE under way.
struct Store {
    number: usize,
    command: Command,
    action: Action,
    hash: Sha256,
    length: u64,
    kept: Option<Vec<u8>>,
}

impl Store {
    fn take(&mut self, fragment: &[u8]) {
        self.hash.update(fragment);
        self.length += fragment.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(fragment);
        }
    }
}

/// Transfer syntaxes by which a script's opinion of an abstract syntax is found out.
const PROBES: [&str; 5] = [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, RLE_LOSSLESS, JPEG_BASELINE];
