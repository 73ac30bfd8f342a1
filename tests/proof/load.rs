//! Carts that never stop, what they were answered, and what became of it.
//!
//! This is the oracle, and it stands outside: it knows what was sent and answered, and looks at what arrived elsewhere. It
//! asks the router nothing but whether it is done.

use crate::part::{Broken, Seen};
use crate::support::archive::Arrival;
use crate::support::deliveries;
use crate::support::instance::{Digest, Encoding, Instance, Study, US_IMAGE};
use crate::support::ledger::{Entry, Ledger};
use crate::support::modality::{Association, Failure, Modality};
use crate::support::node::Node;
use crate::support::wait::{eventually, let_pass, poll};
use chrysalis_codecs::{Limits, jpeg_lossless};
use chrysalis_sizing::{Colour, Scene};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Outcomes that may be in a batch which a crash takes.
const BATCH: u64 = 64;
/// Instances that a cart sends before it releases the association.
const PER_ASSOCIATION: usize = 50;
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

// --- what is sent ---

/// A cart, told by its number: the same number sends the same instances.
#[derive(Debug, Clone)]
struct Cart {
    study: Study,
}

impl Cart {
    fn new(number: u64) -> Self {
        Self { study: Study::new(number) }
    }

    /// Grey images of 5 kB, colour images of 36 kB and now and then a still of 0.9 MB, no two of the same pixels, in every
    /// encoding that carts use.
    fn instance(&self, number: u32) -> Instance {
        let encoding = Encoding::ALL[number as usize % Encoding::ALL.len()];
        self.study.instance(number, self.scene(number), encoding)
    }

    fn scene(&self, number: u32) -> Scene {
        let (rows, columns, colour) = match number % 40 {
            7 | 28 => (480, 640, Colour::MarkedRgb),
            n if n % 5 == 0 => (96, 128, Colour::MarkedRgb),
            _ => (64, 64, Colour::Mono),
        };
        Scene { seed: self.study.seed << 32 | u64::from(number), rows, columns, frames: 1, colour }
    }
}

/// One instance as a cart sent it, perhaps more than once.
#[derive(Debug, Clone, Copy)]
struct Sent {
    digest: Digest,
    cart: u64,
    number: u32,
    /// How often.
    times: u64,
}

impl Sent {
    /// SHA-256 of the native pixels.
    fn pixels(&self) -> Digest {
        Digest::of(&Cart::new(self.cart).scene(self.number).frame(0))
    }
}

// --- who sends ---

/// Carts at work. Dropping it ends them.
pub struct Load {
    shared: Arc<Shared>,
    carts: Vec<JoinHandle<()>>,
}

/// How carts send.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// How long they wait for a connection and for each answer.
    pub patience: Duration,
    /// How long they wait from one instance to the next.
    pub pause: Duration,
}

/// As fast as they can.
impl Default for Habits {
    fn default() -> Self {
        Self { patience: Duration::from_secs(10), pause: Duration::ZERO }
    }
}

struct Shared {
    address: SocketAddr,
    habits: Habits,
    stop: AtomicBool,
    /// Nothing new is sent.
    rests: AtomicBool,
    sent: Mutex<HashMap<String, Sent>>,
    lives: Mutex<Vec<Life>>,
}

/// The node's time from one start to the next.
#[derive(Default)]
struct Life {
    ledger: Ledger,
    /// When the power began to go at its end, if that is how it ended.
    cut: Option<Instant>,
}

impl Load {
    /// So many carts begin to send to this address; `seed` tells what.
    pub fn start(address: SocketAddr, seed: u64, carts: u64) -> Self {
        Self::start_with(address, seed, carts, Habits::default())
    }

    /// The same with other habits.
    pub fn start_with(address: SocketAddr, seed: u64, carts: u64, habits: Habits) -> Self {
        let shared = Arc::new(Shared {
            address,
            habits,
            stop: AtomicBool::new(false),
            rests: AtomicBool::new(false),
            sent: Mutex::default(),
            lives: Mutex::new(vec![Life::default()]),
        });
        let cart = |n: u64| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send_on(seed * 1000 + n))
        };
        let carts = (0..carts).map(cart).collect();
        Self { shared, carts }
    }

    /// To be called after the node was killed and before it is started again. After a power cut, with the time before
    /// it began: what was acknowledged later by the node that is gone does not count.
    pub fn next_life(&self, cut: Option<Instant>) {
        let mut lives = self.shared.lives.lock().unwrap();
        lives.last_mut().unwrap().cut = cut;
        lives.push(Life::default());
    }

    /// Has the carts send nothing new, or go on.
    pub fn rest(&self, rests: bool) {
        self.shared.rests.store(rests, Ordering::SeqCst);
    }

    /// Instances acknowledged by the node as it runs now.
    pub fn acknowledged(&self) -> usize {
        self.shared.ledger().len()
    }

    /// Whether the node as it runs now has acknowledged this SOP Instance UID.
    pub fn has_acknowledged(&self, sop_instance: &str) -> bool {
        self.shared.ledger().entries().iter().any(|entry| entry.sop_instance == sop_instance)
    }

    /// Waits until so many more are acknowledged: the node works.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize) {
        let wanted = self.acknowledged() + count;
        eventually("more being acknowledged", Duration::from_secs(30), || {
            (self.acknowledged() >= wanted).then_some(())
        });
    }

    /// Ends the carts, and returns what they know.
    pub fn end(mut self) -> Account {
        let carts = self.carts.len() as u64;
        self.shared.stop.store(true, Ordering::SeqCst);
        self.carts.drain(..).for_each(|cart| cart.join().unwrap());
        let lives = self.shared.lives.lock().unwrap();
        let counts = |life: &Life| match life.cut {
            Some(cut) => life.ledger.before(cut).entries(),
            None => life.ledger.entries(),
        };
        Account {
            acknowledged: lives.iter().flat_map(counts).collect(),
            sent: self.shared.sent.lock().unwrap().clone(),
            may_repeat: (lives.len() as u64 - 1) * (BATCH + 1 + carts),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Each of their waits has a limit; nobody needs to wait for them.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// The ledger of the node as it runs now.
    fn ledger(&self) -> Ledger {
        self.lives.lock().unwrap().last().unwrap().ledger.clone()
    }

    /// A cart's life: what is not acknowledged is sent again under its own name.
    fn send_on(&self, cart: u64) {
        let encodings = Encoding::ALL.map(Encoding::uid);
        let modality = Modality::new(self.address).calling(&format!("CART{}", cart % 1000));
        let modality = modality.timeout(self.habits.patience);
        let modality = encodings.iter().fold(modality, |modality, uid| modality.context(US_IMAGE, &[*uid]));
        let (name, cart) = (cart, Cart::new(cart));
        let mut number = 0;
        while !self.stop.load(Ordering::SeqCst) {
            // Before calling: what is acknowledged on an association is put to the life in which it began.
            let ledger = self.ledger();
            match modality.associate() {
                Ok(association) => drop(self.send_some(association, &cart, name, &mut number, &ledger)),
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
    }

    fn send_some(
        &self,
        mut association: Association,
        cart: &Cart,
        name: u64,
        number: &mut u32,
        ledger: &Ledger,
    ) -> Result<(), Failure> {
        for _ in 0..PER_ASSOCIATION {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let instance = cart.instance(*number);
            let new = Sent { digest: instance.digest(), cart: name, number: *number, times: 0 };
            self.sent.lock().unwrap().entry(instance.sop_instance.clone()).or_insert(new).times += 1;
            let answer = association.store(&instance)?;
            if !ledger.note(&instance, &answer) {
                break;
            }
            *number += 1;
            self.pause();
        }
        association.release()
    }

    /// Before the next instance.
    fn pause(&self) {
        if self.habits.pause > Duration::ZERO {
            let_pass(self.habits.pause);
        }
        while self.rests.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
            let_pass(Duration::from_millis(20));
        }
    }
}

// --- what is compared ---

/// What the carts know at the end.
pub struct Account {
    acknowledged: Vec<Entry>,
    sent: HashMap<String, Sent>,
    may_repeat: u64,
}

/// An arrival somewhere: SOP Instance UID, and SHA-256 of the data set or of its pixels.
pub type Came = (String, Digest);

impl Account {
    /// Instances that are owed to every destination.
    pub fn owed(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// Where no crash but the network has answers go astray, what of `stored` may be repeated is told from all that arrived:
    /// an instance once for each time that a cart sent it, and once more for each association that ended with it, because
    /// nobody knows who has heard that answer. After any other the next instance came, so that the answer was heard.
    pub fn with_answers_lost(mut self, arrivals: &[Arrival], stored: &[Arrival]) -> Self {
        let mut last: HashMap<usize, usize> = HashMap::new();
        for arrival in arrivals {
            let number = last.entry(arrival.association).or_default();
            *number = arrival.number.max(*number);
        }
        let mut times: HashMap<&str, (u64, u64)> = HashMap::new();
        for arrival in stored {
            let (came, in_doubt) = times.entry(&arrival.sop_instance).or_default();
            *came += 1;
            *in_doubt += u64::from(last[&arrival.association] == arrival.number);
        }
        let explained = times.into_iter().map(|(uid, (came, in_doubt))| {
            let again = self.sent.get(uid).map_or(0, |sent| sent.times.saturating_sub(1));
            (came - 1).min(again + in_doubt)
        });
        self.may_repeat += explained.sum::<u64>();
        self
    }

    /// Compares what came at a destination that takes everything as it was received.
    pub fn compare(&self, came: &[Came]) -> Compared {
        self.compare_by(came, |sent| sent.digest)
    }

    /// Compares what came at a destination that gets other encodings, by [`decoded`] pixels.
    pub fn compare_pixels(&self, came: &[Came]) -> Compared {
        self.compare_by(came, Sent::pixels)
    }

    fn compare_by(&self, came: &[Came], expected: impl Fn(&Sent) -> Digest) -> Compared {
        let expected: HashMap<&str, Digest> =
            self.sent.iter().map(|(uid, sent)| (uid.as_str(), expected(sent))).collect();
        let (mut right, mut altered) = (HashSet::new(), Vec::new());
        for (uid, digest) in came {
            if expected.get(uid.as_str()) == Some(digest) {
                right.insert(uid.as_str());
            } else {
                altered.push(uid.clone());
            }
        }
        let lost = self.acknowledged.iter().filter(|entry| !right.contains(entry.sop_instance.as_str()));
        Compared {
            delivered: right.len() as u64,
            repeated: (came.len() - altered.len() - right.len()) as u64,
            lost: lost.map(|entry| entry.sop_instance.clone()).collect(),
            altered,
        }
    }

    /// Adds the comparison at each destination, which is named, to what was seen; whether the promise was kept there.
    pub fn judge(&self, seen: Seen, destinations: &[(&str, Compared)]) -> Result<Seen, Broken> {
        let mut seen = Seen { acknowledged: seen.acknowledged + self.owed(), ..seen };
        let mut why = Vec::new();
        for (name, compared) in destinations {
            seen.delivered += compared.delivered;
            seen.repeated += compared.repeated;
            seen.lost += compared.lost.len() as u64;
            seen.altered += compared.altered.len() as u64;
            if !compared.lost.is_empty() {
                why.push(format!("lost at {name}: {}", compared.lost.join(" ")));
            }
            if !compared.altered.is_empty() {
                why.push(format!("altered at {name}: {}", compared.altered.join(" ")));
            }
            if compared.repeated > self.may_repeat {
                why.push(format!("{} repeated at {name}, {} may be", compared.repeated, self.may_repeat));
            }
        }
        if why.is_empty() { Ok(seen) } else { Err(Broken { why: why.join("; "), seen }) }
    }
}

/// What came at one destination, beside what is owed to it.
#[derive(Debug)]
pub struct Compared {
    /// Different instances that arrived as they should.
    pub delivered: u64,
    /// Arrivals of what had arrived before.
    pub repeated: u64,
    pub lost: Vec<String>,
    /// Arrivals with another content than was sent, or of what nobody sent.
    pub altered: Vec<String>,
}

/// Waits until the node owes nothing and holds nothing; else says what it has.
pub fn wait_drained(node: &Node) -> Result<(), String> {
    let left =
        || node.metric("chrysalis_queued_instances", &[]) + node.metric("chrysalis_held_instances", &[]);
    let drained = poll(Duration::from_secs(120), || (left() == 0.0).then_some(()));
    drained.ok_or_else(|| {
        let open = node.api_get("/api/queue?limit=20&state=held,waiting,ready,leased").text();
        format!("not everything is delivered: {:?}", deliveries::Seen::read(&open))
    })
}

/// Arrivals by the SHA-256 of their data sets.
pub fn received(arrivals: &[Arrival]) -> Vec<Came> {
    arrivals.iter().map(|arrival| (arrival.sop_instance.clone(), arrival.digest)).collect()
}

/// Files of a folder destination by the SHA-256 of their data sets.
#[track_caller]
pub fn filed(files: &[PathBuf]) -> Vec<Came> {
    let read = |file: &PathBuf| Instance::from_part10(file).unwrap();
    files.iter().map(read).map(|instance| (instance.sop_instance.clone(), instance.digest())).collect()
}

/// Arrivals in JPEG Lossless, kept by the archive, by the SHA-256 of their pixels; whatever else came has one of nothing.
pub fn decoded(arrivals: &[Arrival]) -> Vec<Came> {
    let mut known: HashMap<Digest, Digest> = HashMap::new();
    let mut pixels = |arrival: &Arrival| {
        *known.entry(arrival.digest).or_insert_with(|| Digest::of(&pixels(arrival).unwrap_or_default()))
    };
    arrivals.iter().map(|arrival| (arrival.sop_instance.clone(), pixels(arrival))).collect()
}

/// The pixels of the one frame of an image in JPEG Lossless.
fn pixels(arrival: &Arrival) -> Option<Vec<u8>> {
    /// Pixel Data, OB, of undefined length (PS3.5 A.4).
    const PIXEL_DATA: [u8; 12] = [0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    if arrival.transfer_syntax != JPEG_LOSSLESS {
        return None;
    }
    let data_set = arrival.data_set.as_deref()?;
    let start = data_set.windows(PIXEL_DATA.len()).position(|window| window == PIXEL_DATA)?;
    let mut rest = data_set.get(start + PIXEL_DATA.len()..)?;
    let mut items = Vec::new();
    while let Some(([0xFE, 0xFF, 0x00, 0xE0], after)) = rest.split_at_checked(4) {
        let (length, value) = after.split_first_chunk::<4>()?;
        let (item, after) = value.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        items.push(item);
        rest = after;
    }
    // The first is the Basic Offset Table.
    let frame = items.get(1..)?.concat();
    jpeg_lossless::decode_frame(&frame, Limits::default()).ok().map(|frame| frame.pixels)
}
