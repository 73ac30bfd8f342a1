//! A study from a link to a gateway, both on this machine: as it is received, and alone, when all of it has waited.

use super::forward::processor_seconds;
use super::load;
use super::report::{Row, Verdict, median, megabytes, spread};
use super::sender::Burst;
use super::support::certificates::Certificates;
use super::support::instance::Instance;
use super::support::node::Node;
use super::support::ports::free_address;
use super::support::wait::eventually;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the tunnel is to carry, in MB/s.
const RATE: f64 = 250.0;
/// What either process may have resident, in MB.
const MEMORY: f64 = 64.0;

/// By TLS and in the plain, in turns.
pub(crate) fn tunnel() -> Vec<Row> {
    let certificates = Certificates::new();
    let mut ways = [Way::new("wss"), Way::new("ws")];
    // The round with number 0 warms everybody up.
    for round in 0..=super::rounds() {
        let studies = [0, 1].map(|n| load::study(20_000 + 2 * round + n));
        for turn in 0..ways.len() {
            let at = (turn + round as usize) % ways.len();
            ways[at].measure(&certificates, &studies, round > 0);
        }
    }
    ways.iter().flat_map(Way::rows).collect()
}

/// The study by one scheme, and what came out of each round.
struct Way {
    scheme: &'static str,
    through: Vec<f64>,
    alone: Vec<f64>,
    /// The most of any round, in MB.
    link: f64,
    gateway: f64,
}

impl Way {
    fn new(scheme: &'static str) -> Self {
        Self { scheme, through: Vec::new(), alone: Vec::new(), link: 0.0, gateway: 0.0 }
    }

    /// Both ends are new in each round, so that no spool grows.
    fn measure(&mut self, certificates: &Certificates, studies: &[Vec<Instance>; 2], counts: bool) {
        let ends = Ends::start(self.scheme, certificates);
        let [first, second] = studies;
        let through = ends.through(first);
        let (alone, spent) = ends.alone(second);
        let (link, gateway) = (megabytes(ends.link.peak()), megabytes(ends.gateway.peak()));
        println!(
            "{}: as it is received {through:.0} MB/s, alone {alone:.0} MB/s ({:.2} s and {:.2} s of processor time); link {link:.1} MB, gateway {gateway:.1} MB",
            self.scheme, spent[0], spent[1]
        );
        if counts {
            self.through.push(through);
            self.alone.push(alone);
        }
        (self.link, self.gateway) = (self.link.max(link), self.gateway.max(gateway));
    }

    fn rows(&self) -> [Row; 4] {
        let named = |tls, plain| if self.scheme == "wss" { tls } else { plain };
        [
            at_least(named("the tunnel alone, wss", "the tunnel alone, ws"), &self.alone),
            at_least(
                named("from a cart through the tunnel, wss", "from a cart through the tunnel, ws"),
                &self.through,
            ),
            memory(named("peak memory of the link, wss", "peak memory of the link, ws"), self.link),
            memory(named("peak memory of the gateway, wss", "peak memory of the gateway, ws"), self.gateway),
        ]
    }
}

fn at_least(what: &'static str, rates: &[f64]) -> Row {
    let rate = median(rates);
    Row {
        what,
        goal: format!("{RATE} MB/s"),
        measured: format!("{} MB/s", spread(rates)),
        ratio: format!("{:.2} of it", rate / RATE),
        verdict: if rate >= RATE { Verdict::Hit } else { Verdict::Miss },
    }
}

fn memory(what: &'static str, peak: f64) -> Row {
    Row::below(what, MEMORY, "MB", peak, format!("{peak:.1} MB"))
}

/// A link and a gateway with a session.
struct Ends {
    link: Node,
    gateway: Node,
}

impl Ends {
    fn start(scheme: &str, certificates: &Certificates) -> Self {
        let address = free_address();
        let pair = certificates.issue("gateway");
        let (tls, believes) = if scheme == "wss" {
            let spare = format!("sha256/{}=", "A".repeat(43));
            let pins = format!("pins = [\"{}\", \"{spare}\"]", pin(&pair.certificate));
            (
                format!("[listener.tls]\n{}", pair.lines()),
                format!("ca = \"{}\"\n{pins}", certificates.ca().display()),
            )
        } else {
            (String::new(), String::new())
        };
        let links =
            format!("[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{address}\"\n{tls}");
        let mut gateway = load::paused().queue("high_watermark = \"99%\"").table(&links).prepare();
        let code = gateway.run(&["site", "add", "north"]).expect_success().output;
        gateway.start();
        let cloud = format!(
            "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"{scheme}://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\n{believes}"
        );
        let link = linked(&cloud, code.trim());
        Self { link, gateway }
    }

    /// The rate from the first byte at the link to the last *stored*.
    fn through(&self, study: &[Instance]) -> f64 {
        let wanted = self.delivered() + study.len() as f64;
        let burst = Burst::prepare(self.link.address, study);
        rustix::fs::sync();
        let began = Instant::now();
        let sender = std::thread::spawn(|| burst.run());
        self.wait(wanted);
        let took = began.elapsed();
        sender.join().unwrap();
        megabytes(load::bytes(study)) / took.as_secs_f64()
    }

    /// The rate from the moment at which everything is at the link and may go to the last *stored*, and what it cost.
    fn alone(&self, study: &[Instance]) -> (f64, [f64; 2]) {
        let wanted = self.delivered() + study.len() as f64;
        self.order("pause", "{\"reason\": \"everything is to wait\"}");
        Burst::prepare(self.link.address, study).run();
        rustix::fs::sync();
        let (before, began) = (self.spent(), Instant::now());
        self.order("resume", "{}");
        self.wait(wanted);
        let rate = megabytes(load::bytes(study)) / began.elapsed().as_secs_f64();
        let after = self.spent();
        (rate, [after[0] - before[0], after[1] - before[1]])
    }

    fn order(&self, what: &str, json: &str) {
        let answer = self.link.api_post(&format!("/api/destinations/cloud/{what}"), json);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What the gateway has said *stored* to.
    fn delivered(&self) -> f64 {
        self.link.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""])
    }

    fn wait(&self, wanted: f64) {
        eventually("the last stored", PATIENCE, || (self.delivered() >= wanted).then_some(()));
        let kept = self.gateway.metric("chrysalis_received_instances_total", &["links"]);
        assert!(kept >= wanted, "{kept} of {wanted} are at the gateway");
    }

    /// Seconds of processor time that the link and the gateway have spent.
    fn spent(&self) -> [f64; 2] {
        [processor_seconds(self.link.id()), processor_seconds(self.gateway.id())]
    }
}

/// A node with this destination, which has a session.
pub(crate) fn linked(cloud: &str, code: &str) -> Node {
    let mut link =
        Node::builder().queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"").table(cloud).prepare();
    let path: PathBuf = link.home().join("code");
    std::fs::write(&path, code).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    link.start();
    let is_open = || (link.metric("chrysalis_tunnel_connected", &[]) > 0.0).then_some(());
    eventually("a session", PATIENCE, is_open);
    link
}

/// The pin of a certificate's key.
pub(crate) fn pin(certificate: &Path) -> String {
    let chain = chrysalis::tls::certificates(certificate).unwrap();
    chrysalis::tls::Pin::of_certificate(chain.first().unwrap()).unwrap().to_string()
}
