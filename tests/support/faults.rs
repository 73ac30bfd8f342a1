//! A bad network: a TCP proxy between two parties that delays, cuts, swallows, damages and dribbles.

use super::ports::free_address;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to the bytes of one direction. Offsets count bytes of that direction and connection from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every piece is held back for this long.
    Delay(Duration),
    /// After so many bytes, both directions are closed.
    Cut(u64),
    /// After so many bytes, this direction is closed and the other goes on.
    HalfClose(u64),
    /// After so many bytes, what comes is read and thrown away, so that the sender notices nothing.
    Swallow(u64),
    /// After so many bytes, nothing is read any more, so that the sender stalls when the buffers are full.
    Stall(u64),
    /// The lowest bit of the byte at this offset is flipped.
    Flip(u64),
    /// At most so many bytes are passed on at once, which cuts PDUs apart anywhere.
    Dribble(usize),
    /// A slow line: so many bytes, and then nothing for so long.
    Pace(usize, Duration),
    /// After so many bytes, both directions are reset instead of closed.
    Reset(u64),
    /// Where the data of the n-th PDV would begin, counted from 1, both directions are closed.
    CutAtPdv(u32),
    /// What comes in one piece after so many bytes comes twice.
    Twice(u64),
}

/// The faults of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// From the party that connected.
    pub forth: Fault,
    /// To the party that connected.
    pub back: Fault,
}

impl Faults {
    pub fn forth(fault: Fault) -> Self {
        Self { forth: fault, ..Self::default() }
    }

    pub fn back(fault: Fault) -> Self {
        Self { back: fault, ..Self::default() }
    }
}

type Plan = dyn FnMut(usize) -> Faults + Send;

/// A running proxy; dropping it cuts everything.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    plan: Mutex<Box<Plan>>,
    open: Mutex<Open>,
    stopped: Condvar,
    connections: AtomicUsize,
    /// Bytes passed on from those who connected.
    forth: AtomicU64,
}

#[derive(Default)]
struct Open {
    stopping: bool,
    /// Counts `cut_all`, so that what waits knows that it is to end.
    era: usize,
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Forwards to `target`; `plan` chooses the faults of every connection from its number, counted from 1.
    pub fn start(target: SocketAddr, plan: impl FnMut(usize) -> Faults + Send + 'static) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            target,
            plan: Mutex::new(Box::new(plan)),
            open: Mutex::default(),
            stopped: Condvar::new(),
            connections: AtomicUsize::new(0),
            forth: AtomicU64::new(0),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_loop(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The same faults for every connection.
    pub fn always(target: SocketAddr, faults: Faults) -> Self {
        Self::start(target, move |_| faults)
    }

    /// Other faults for the connections to come.
    pub fn set(&self, faults: Faults) {
        *self.shared.plan.lock().unwrap() = Box::new(move |_| faults);
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes passed on so far from those who connected.
    pub fn forth(&self) -> u64 {
        self.shared.forth.load(Ordering::SeqCst)
    }

    /// Cuts every connection that is open now; new ones are taken.
    pub fn cut_all(&self) {
        let mut open = self.shared.open.lock().unwrap();
        open.streams.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        open.era += 1;
        drop(open);
        self.shared.stopped.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).stopping = true;
        self.shared.stopped.notify_all();
        if std::thread::panicking() {
            return;
        }
        self.cut_all();
        // Wakes the acceptor, which then sees that it is to end.
        drop(TcpStream::connect(self.address));
        self.acceptor.take().into_iter().for_each(|acceptor| acceptor.join().unwrap());
        let threads = std::mem::take(&mut self.shared.open.lock().unwrap().threads);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn accept_loop(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let mut open = shared.open.lock().unwrap();
        if open.stopping {
            return;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        // When the target is down, the client finds its connection closed.
        let Ok(server) = TcpStream::connect(shared.target) else { continue };
        let faults = (shared.plan.lock().unwrap())(number);
        open.threads.retain(|lane| !lane.is_finished());
        let era = open.era;
        let lanes =
            [(&client, &server, faults.forth, Way::Forth), (&server, &client, faults.back, Way::Back)];
        for (from, to, fault, way) in lanes {
            let lane = Lane::new(from, to, (fault, way), shared, era).unwrap();
            open.threads.push(std::thread::spawn(move || lane.run()));
        }
        open.streams.extend([client, server]);
    }
}

/// One direction of one connection.
struct Lane {
    from: TcpStream,
    to: TcpStream,
    fault: Fault,
    way: Way,
    shared: Arc<Shared>,
    era: usize,
    passed: u64,
    pdvs: Pdvs,
}

/// Follows the PDUs of one direction (PS3.8 9.3) and counts the PDVs in them.
#[derive(Default)]
struct Pdvs {
    header: Vec<u8>,
    /// Bytes that belong to nothing that is counted.
    skip: u64,
    /// Bytes that are left of a P-DATA-TF PDU.
    left: u64,
    seen: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forth,
    Back,
}

/// Whether a direction goes on.
enum Flow {
    Goes,
    Ends,
}

impl Lane {
    fn new(
        from: &TcpStream,
        to: &TcpStream,
        (fault, way): (Fault, Way),
        shared: &Arc<Shared>,
        era: usize,
    ) -> io::Result<Self> {
        to.set_nodelay(true)?;
        Ok(Self {
            from: from.try_clone()?,
            to: to.try_clone()?,
            fault,
            way,
            shared: Arc::clone(shared),
            era,
            passed: 0,
            pdvs: Pdvs::default(),
        })
    }

    fn run(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let room = match self.fault {
                Fault::Dribble(size) | Fault::Pace(size, _) => size.clamp(1, buffer.len()),
                _ => buffer.len(),
            };
            let got = match self.from.read(&mut buffer[..room]) {
                Ok(0) | Err(_) => break,
                Ok(got) => got,
            };
            match self.pass(&mut buffer[..got]) {
                Ok(Flow::Goes) => {}
                Ok(Flow::Ends) | Err(_) => break,
            }
        }
        // The end of one direction is passed on as such; the other may still have something to say.
        let _ = self.to.shutdown(Shutdown::Write);
    }

    fn pass(&mut self, bytes: &mut [u8]) -> io::Result<Flow> {
        let start = self.passed;
        self.passed += bytes.len() as u64;
        let before = |limit: u64| usize::try_from(limit.saturating_sub(start)).unwrap().min(bytes.len());
        match self.fault {
            Fault::None | Fault::Dribble(_) => {
                self.count(bytes.len());
                self.to.write_all(bytes)?;
            }
            Fault::Delay(time) | Fault::Pace(_, time) => {
                self.wait(time);
                self.to.write_all(bytes)?;
            }
            Fault::Twice(limit) => {
                self.to.write_all(bytes)?;
                if start >= limit {
                    self.to.write_all(bytes)?;
                }
            }
            Fault::Flip(offset) => {
                let at = before(offset);
                if let Some(byte) = bytes.get_mut(at).filter(|_| start <= offset) {
                    *byte ^= 1;
                }
                self.to.write_all(bytes)?;
            }
            Fault::Swallow(limit) => self.to.write_all(&bytes[..before(limit)])?,
            Fault::HalfClose(limit) => {
                self.to.write_all(&bytes[..before(limit)])?;
                if self.passed >= limit {
                    return Ok(Flow::Ends);
                }
            }
            Fault::Cut(limit) => {
                let passing = before(limit);
                self.count(passing);
                self.to.write_all(&bytes[..passing])?;
                if self.passed >= limit {
                    return Ok(self.close());
                }
            }
            Fault::Reset(limit) => {
                self.to.write_all(&bytes[..before(limit)])?;
                if self.passed >= limit {
                    // Dissolving the association of a connected socket resets it (connect(2)).
                    let _ = rustix::net::connect_unspec(&self.from);
                    let _ = rustix::net::connect_unspec(&self.to);
                    return Ok(Flow::Ends);
                }
            }
            Fault::CutAtPdv(wanted) => match self.pdvs.find(bytes, wanted) {
                Some(at) => {
                    self.to.write_all(&bytes[..at])?;
                    return Ok(self.close());
                }
                None => self.to.write_all(bytes)?,
            },
            Fault::Stall(limit) => {
                self.to.write_all(&bytes[..before(limit)])?;
                if self.passed >= limit {
                    self.wait(Duration::MAX);
                    return Ok(Flow::Ends);
                }
            }
        }
        Ok(Flow::Goes)
    }

    /// Ends both directions.
    fn close(&self) -> Flow {
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
        Flow::Ends
    }

    fn count(&self, bytes: usize) {
        if self.way == Way::Forth {
            self.shared.forth.fetch_add(bytes as u64, Ordering::SeqCst);
        }
    }

    /// Waits, but not longer than the proxy runs and does not cut.
    fn wait(&self, time: Duration) {
        let open = self.shared.open.lock().unwrap();
        let goes_on = |open: &mut Open| !open.stopping && open.era == self.era;
        drop(self.shared.stopped.wait_timeout_while(open, time, goes_on));
    }
}

impl Pdvs {
    /// Where in these bytes, which follow those before, the data of the n-th PDV begins.
    fn find(&mut self, bytes: &[u8], wanted: u32) -> Option<usize> {
        const P_DATA_TF: u8 = 4;
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let skipped = usize::try_from(self.skip).unwrap().min(bytes.len() - at);
                self.skip -= skipped as u64;
                at += skipped;
                continue;
            }
            // Type, reserved, length of a PDU; length of a PDV.
            let is_pdv = self.left > 0;
            self.header.push(bytes[at]);
            at += 1;
            if self.header.len() < if is_pdv { 4 } else { 6 } {
                continue;
            }
            let header = std::mem::take(&mut self.header);
            let length = u64::from(u32::from_be_bytes(*header.last_chunk().unwrap()));
            match (is_pdv, header[0]) {
                (true, _) => {
                    self.seen += 1;
                    if self.seen == wanted {
                        return Some(at);
                    }
                    self.left = self.left.saturating_sub(4 + length);
                    self.skip = length;
                }
                (false, P_DATA_TF) => self.left = length,
                (false, _) => self.skip = length,
            }
        }
        None
    }
}
