//! A narrow path with a short queue, such as a hospital's way out: how much of it a bulk upload uses, and how long a
//! question waits meanwhile.

use super::load;
use super::report::{Row, Verdict, megabytes};
use super::sender;
use super::support::certificates::{Certificates, Pair};
use super::support::instance::{Instance, Study};
use super::tunnel::{linked, pin};
use bytes::Bytes;
use chrysalis::tunnel::SUBPROTOCOL;
use chrysalis::tunnel::code::Code;
use chrysalis::tunnel::connection::{Connection, Stream};
use chrysalis::tunnel::session::GatewayOpening;
use chrysalis::tunnel::socket::{Over, Socket, limits};
use chrysalis::tunnel::upload::{Answer, Offer};
use chrysalis::tunnel::wire::{Kind, Windows};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

/// What the path carries, in bits per second.
const RATE: f64 = 20e6;
/// Of it, so much is to be used.
const USED: f64 = 0.9;
/// How long 99 of 100 questions may wait at most, in milliseconds.
const ANSWERED: f64 = 250.0;
/// How often something is asked.
const EVERY: Duration = Duration::from_millis(50);
/// How long the answers are taken without anything else on the path.
const QUIET: Duration = Duration::from_secs(3);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// The addresses of the two sides (RFC 5737).
const NEAR: &str = "192.0.2.1";
const FAR: &str = "192.0.2.2";
/// The interface on each side.
const WIRE: &str = "wire";
/// What a gateway allows unless it is told otherwise.
const WINDOWS: Windows = Windows { stream: 1 << 20, session: 4 << 20, streams: 64 };

/// The upload and the questions.
pub(crate) fn shaped() -> Vec<Row> {
    const WHAT: &str = "20 Mbit/s with 50 ms of queue";
    match Path::new() {
        Ok(path) => std::thread::scope(|scope| {
            let measuring = scope.spawn(|| {
                enter(&path.near);
                measure(&path)
            });
            measuring.join().unwrap()
        }),
        Err(why) => vec![Row::only(WHAT, format!("left out: {why}"))],
    }
}

fn measure(path: &Path) -> Vec<Row> {
    let certificates = Certificates::new();
    let pair = certificates.issue(FAR);
    let code = Code::generate().unwrap();
    let far = Far::start(path, &pair, code.clone());
    let cloud = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"wss://{}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nca = \"{}\"\npins = [\"{}\", \"sha256/{}=\"]",
        far.address,
        certificates.ca().display(),
        pin(&pair.certificate),
        "A".repeat(43),
    );
    let link = linked(&cloud, &code.reveal());
    let quiet = far.asked_for(QUIET);
    let mut instances: Vec<Instance> = load::parts(30_000, 8, 0);
    instances.push(Study::new(30_001).huge(1, 60_000_000));
    let (wire, began) = (sent(), Instant::now());
    sender::send(link.address, &instances);
    let received = far.wait(instances.len());
    let busy = far.asked_since(began, received.last);
    let seconds = (received.last - received.first).as_secs_f64();
    let wire = (sent() - wire) as f64 * 8.0 / seconds / RATE;
    let used = received.bytes as f64 * 8.0 / seconds / RATE;
    let megabytes = megabytes(received.bytes);
    let quiet = percentiles(&quiet);
    let busy_said = percentiles(&busy);
    let p99 = percentile(&busy, 0.99);
    vec![
        Row {
            what: "20 Mbit/s with 50 ms of queue: used by data sets",
            goal: format!("{USED}"),
            measured: format!("{used:.3} ({megabytes:.0} MB in {seconds:.1} s); with all headers {wire:.3}"),
            ratio: format!("{:.2} of it", used / USED),
            verdict: if used >= USED { Verdict::Hit } else { Verdict::Miss },
        },
        Row::below(
            "a question through it meanwhile, p99",
            ANSWERED,
            "ms",
            p99,
            format!("{busy_said}; without the upload {quiet}"),
        ),
    ]
}

/// Of how many, and how long they took, in milliseconds.
fn percentiles(times: &[f64]) -> String {
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| percentile(times, part));
    format!("{p99:.0} ms (median {p50:.0}, longest {most:.0}, of {})", times.len())
}

fn percentile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Two network namespaces and between them a pair of interfaces, shaped in both directions; gone with the value.
struct Path {
    near: String,
    far: String,
}

impl Path {
    /// Why there is none: it takes root, iproute2 and the kernel's tbf.
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let path = Self { near: format!("chrysalis-near-{id}"), far: format!("chrysalis-far-{id}") };
        let (near, far) = (&path.near, &path.far);
        run(&format!("ip netns add {near}"))?;
        run(&format!("ip netns add {far}"))?;
        run(&format!("ip -n {near} link add {WIRE} type veth peer name {WIRE} netns {far}"))?;
        for (space, address) in [(near, NEAR), (far, FAR)] {
            run(&format!("ip -n {space} addr add {address}/30 dev {WIRE}"))?;
            run(&format!("ip -n {space} link set lo up"))?;
            run(&format!("ip -n {space} link set {WIRE} up"))?;
            run(&format!("tc -n {space} qdisc add dev {WIRE} root tbf rate 20mbit burst 16kb latency 50ms"))?;
        }
        Ok(path)
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // The interfaces go with them.
        let _ = run(&format!("ip netns del {}", self.near));
        let _ = run(&format!("ip netns del {}", self.far));
    }
}

/// Moves this thread there, with the sockets that it makes from now on and the processes that it starts.
fn enter(namespace: &str) {
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(file.as_fd(), kind).unwrap();
}

/// Bytes that this side has sent, with all headers.
fn sent() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{WIRE}:"))).unwrap();
    line.split_whitespace().nth(8).unwrap().parse().unwrap()
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let said = Command::new(words.next().unwrap()).args(words).output();
    match said {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{line}: {error}")),
    }
}

/// What came, and from when to when.
#[derive(Clone, Copy)]
struct Received {
    bytes: u64,
    stored: usize,
    first: Instant,
    last: Instant,
}

#[derive(Default)]
struct Told {
    received: Option<Received>,
    /// When something was asked, and how many milliseconds its answer took.
    answers: Vec<(Instant, f64)>,
}

/// A gateway on the far side that keeps nothing, so that the path alone is measured, and asks all the time.
struct Far {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    asks: Arc<AtomicBool>,
}

impl Far {
    fn start(path: &Path, pair: &Pair, code: Code) -> Self {
        let told: Arc<Mutex<Told>> = Arc::default();
        let asks = Arc::new(AtomicBool::new(true));
        let (say, hear) = mpsc::channel();
        let (namespace, pair) = (path.far.clone(), pair.clone());
        let (theirs, asking) = (Arc::clone(&told), Arc::clone(&asks));
        std::thread::spawn(move || {
            enter(&namespace);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((FAR, 0)).await.unwrap();
                say.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, &pair, &code, &theirs, &asking).await;
            });
        });
        Self { address: hear.recv().unwrap(), told, asks }
    }

    /// How long the answers of so much time took.
    fn asked_for(&self, time: Duration) -> Vec<f64> {
        let began = Instant::now();
        super::support::wait::poll(time, || None::<()>);
        self.asked_since(began, Instant::now())
    }

    /// The answers to what was asked between the two.
    fn asked_since(&self, began: Instant, ended: Instant) -> Vec<f64> {
        let told = lock(&self.told);
        let within = told.answers.iter().filter(|(asked, _)| (began..=ended).contains(asked));
        within.map(|(_, took)| *took).collect()
    }

    fn wait(&self, count: usize) -> Received {
        super::support::wait::eventually("the upload", PATIENCE, || {
            lock(&self.told).received.filter(|received| received.stored >= count)
        })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.asks.store(false, Ordering::Relaxed);
    }
}

fn lock(told: &Mutex<Told>) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::result_large_err, reason = "the answer's type is the library's")]
fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

/// One session, until nobody asks any more.
async fn serve(listener: TcpListener, pair: &Pair, code: &Code, told: &Arc<Mutex<Told>>, asks: &AtomicBool) {
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = accept_tls(stream, pair).await;
    let mut socket =
        Socket::new(accept_hdr_async_with_config(stream, agree, Some(limits(Over::Plain))).await.unwrap());
    let opening = GatewayOpening::new([7; 32]);
    socket.say(opening.greeting()).await.unwrap();
    let hello = socket.read().await.unwrap();
    let judged = opening.received(hello, |_| Some(code.verifier())).unwrap();
    let (welcome, session) = judged.open(WINDOWS, Duration::from_secs(15), Duration::ZERO);
    socket.say(welcome).await.unwrap();
    let (connection, driver) = socket.run(session);
    tokio::spawn(driver);
    tokio::spawn(take_all(connection.clone(), Arc::clone(told)));
    let mut ticks = tokio::time::interval(EVERY);
    while asks.load(Ordering::Relaxed) {
        ticks.tick().await;
        // Each by itself: one that waits does not keep the next from being asked.
        tokio::spawn(ask(connection.clone(), Arc::clone(told)));
    }
}

async fn accept_tls(stream: TcpStream, pair: &Pair) -> tokio_rustls::server::TlsStream<TcpStream> {
    let chain = chrysalis::tls::certificates(&pair.certificate).unwrap();
    let key = chrysalis::tls::private_key(&pair.key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(chrysalis::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap()
}

/// One question of the size of an echo's, which the link gives back.
async fn ask(connection: Connection, told: Arc<Mutex<Told>>) {
    let asked = Instant::now();
    let Ok(stream) = connection.open(Kind::Loopback, Bytes::new()) else { return };
    if stream.send(Bytes::from_static(&[0; 64])).await.is_err() {
        return;
    }
    stream.finish();
    let mut got = 0;
    while let Ok(Some(bytes)) = stream.receive().await {
        got += bytes.len();
    }
    let took = if got == 64 { asked.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY };
    lock(&told).answers.push((asked, took));
}

async fn take_all(connection: Connection, told: Arc<Mutex<Told>>) {
    while let Some(accepted) = connection.accept().await {
        tokio::spawn(take(accepted.stream, accepted.body, Arc::clone(&told)));
    }
}

/// Takes an instance and says *stored*.
async fn take(stream: Stream, body: Bytes, told: Arc<Mutex<Told>>) {
    let offer = Offer::decode(body).unwrap();
    let mut hasher = Sha256::new();
    if stream.send(Answer::Resume { offset: 0 }.encode()).await.is_err() {
        return;
    }
    while let Ok(Some(bytes)) = stream.receive().await {
        hasher.update(&bytes);
        let now = Instant::now();
        let mut told = lock(&told);
        let received = told.received.get_or_insert(Received { bytes: 0, stored: 0, first: now, last: now });
        received.bytes += bytes.len() as u64;
        received.last = now;
    }
    let sha256: [u8; 32] = hasher.finalize().into();
    if sha256 != offer.sha256 {
        return;
    }
    if let Some(received) = &mut lock(&told).received {
        received.stored += 1;
    }
    let _ = stream.send(Answer::Stored { sha256 }.encode()).await;
    stream.finish();
}
