//! A network that is bad by chance: each connection through a proxy may have a fault in either direction.

use crate::chance::Chance;
use crate::support::faults::{Fault, Faults, Proxy};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What may happen to answers, beside what may happen to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// They go astray.
    Lost,
    /// They may come twice as well.
    Doubled,
}

/// A proxy with bad weather. Nothing in it changes a byte, and no request comes twice: without TLS DICOM has nothing to
/// notice that by.
pub struct Weather {
    proxy: Proxy,
    shared: Arc<Shared>,
}

struct Shared {
    chance: Mutex<Chance>,
    answers: Answers,
    calm: AtomicBool,
    suffered: AtomicU64,
}

impl Weather {
    /// Between whoever calls [`Self::address`] and `target`.
    pub fn begin(target: SocketAddr, seed: u64, answers: Answers) -> Self {
        let shared = Arc::new(Shared {
            chance: Mutex::new(Chance::new(seed)),
            answers,
            calm: false.into(),
            suffered: AtomicU64::new(0),
        });
        let plan = Arc::clone(&shared);
        Self { proxy: Proxy::start(target, move |_| plan.faults()), shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    /// Cuts whatever is under way.
    pub fn cut(&self) {
        self.proxy.cut_all();
    }

    /// No faults any more; what suffers from one is cut.
    pub fn end(&self) {
        self.shared.calm.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub fn connections(&self) -> u64 {
        self.proxy.connections() as u64
    }

    /// Connections that had a fault.
    pub fn suffered(&self) -> u64 {
        self.shared.suffered.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Half of the connections have a fault, most of those in one direction.
    fn faults(&self) -> Faults {
        let mut chance = self.chance.lock().unwrap();
        if self.calm.load(Ordering::SeqCst) || chance.one_in(2) {
            return Faults::default();
        }
        self.suffered.fetch_add(1, Ordering::SeqCst);
        match chance.below(5) {
            0 | 1 => Faults::forth(on_requests(&mut chance)),
            2 | 3 => Faults::back(self.on_answers(&mut chance)),
            _ => Faults { forth: on_requests(&mut chance), back: self.on_answers(&mut chance) },
        }
    }

    fn on_answers(&self, chance: &mut Chance) -> Fault {
        // Some two hundred bytes for the association, and a hundred for each answer.
        let place = place(chance, 4);
        if self.answers == Answers::Doubled && chance.one_in(8) {
            Fault::Twice(place)
        } else {
            any(chance, place)
        }
    }
}

fn on_requests(chance: &mut Chance) -> Fault {
    if chance.one_in(8) {
        return Fault::CutAtPdv(chance.below(200) as u32 + 1);
    }
    // Several stills.
    let place = place(chance, 7);
    any(chance, place)
}

/// A place in the bytes of a direction: each order of magnitude up to this one is as likely.
fn place(chance: &mut Chance, magnitudes: u64) -> u64 {
    let limit = 10_u64.pow(chance.below(magnitudes) as u32 + 1);
    chance.below(limit)
}

fn any(chance: &mut Chance, place: u64) -> Fault {
    match chance.below(8) {
        0 => Fault::Delay(chance.milliseconds(1, 20)),
        1 => Fault::Dribble(chance.below(300) as usize + 1),
        2 => Fault::Pace(chance.below(1000) as usize + 1, Duration::from_millis(5)),
        3 => Fault::Cut(place),
        4 => Fault::Reset(place),
        5 => Fault::HalfClose(place),
        6 => Fault::Stall(place),
        _ => Fault::Swallow(place),
    }
}
