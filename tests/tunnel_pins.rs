//! Whom a link takes for its gateway: authority, name, validity and the leaf's own key all have to be right.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use chrysalis::tls::{Pin, certificates};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use support::certificates::{Certificates, Pair};
use support::node::Node;
use support::ports::free_address;
use support::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that shows this chain, and a link that believes this authority and these pins.
struct Ends {
    gateway: Node,
    link: Node,
}

impl Ends {
    fn start(shown: &Pair, ca: &Path, pins: [&str; 2]) -> Self {
        let address = free_address();
        let links = format!(
            "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{address}\"\n[listener.tls]\n{}",
            shown.lines()
        );
        let mut gateway = Node::builder().folder("archive").table(&links).prepare();
        let code = gateway.run(&["site", "add", "north"]).expect_success().output;
        gateway.start();
        let cloud = format!(
            "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"wss://localhost:{}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nbackoff = {{ first = \"50ms\", max = \"200ms\" }}\nca = \"{}\"\npins = [\"{}\", \"{}\"]",
            address.port(),
            ca.display(),
            pins[0],
            pins[1],
        );
        let mut link = Node::builder().table(&cloud).prepare();
        let file = link.home().join("code");
        std::fs::write(&file, code.trim()).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        link.start();
        Self { gateway, link }
    }

    #[track_caller]
    fn assert_refused(&self, why: &str) {
        let tried = || self.link.metric("chrysalis_tunnel_dials_total", &["outcome=\"tls\""]) >= 2.0;
        eventually("two handshakes that failed", PATIENCE, || tried().then_some(()));
        assert_eq!(self.link.metric("chrysalis_tunnel_connected", &[]), 0.0);
        assert_eq!(self.gateway.metric("chrysalis_tunnel_sessions", &[]), 0.0);
        let output = self.link.output();
        assert!(output.contains(why), "{why:?} is not said in\n{output}");
    }
}

fn pin(certificate: &Path) -> String {
    Pin::of_certificate(&certificates(certificate).unwrap()[0]).unwrap().to_string()
}

/// Pins of keys that nobody has.
fn strange() -> [String; 2] {
    ["A", "B"].map(|letter| format!("sha256/{}A=", letter.repeat(42)))
}

#[test]
fn a_wrong_pin_is_refused() {
    let ours = Certificates::new();
    let [one, two] = strange();
    Ends::start(&ours.issue("gateway"), &ours.ca(), [&one, &two]).assert_refused("pin");
}

#[test]
fn the_spare_pin_is_as_good_as_the_first() {
    let ours = Certificates::new();
    let shown = ours.issue("gateway");
    let [strange, _] = strange();
    let ends = Ends::start(&shown, &ours.ca(), [&strange, &pin(&shown.certificate)]);
    let is_open = || ends.link.metric("chrysalis_tunnel_connected", &[]) == 1.0;
    eventually("a session", PATIENCE, || is_open().then_some(()));
}

#[test]
fn a_pinned_authority_at_the_end_of_somebody_elses_chain_is_not_the_leaf() {
    let (ours, foreign) = (Certificates::new(), Certificates::new());
    let shown = foreign.issue("gateway");
    let chain =
        std::fs::read_to_string(&shown.certificate).unwrap() + &std::fs::read_to_string(ours.ca()).unwrap();
    std::fs::write(&shown.certificate, chain).unwrap();
    let [strange, _] = strange();
    Ends::start(&shown, &foreign.ca(), [&strange, &pin(&ours.ca())]).assert_refused("pin");
    // Nor where the link believes the authority that was appended.
    Ends::start(&shown, &ours.ca(), [&strange, &pin(&ours.ca())]).assert_refused("authority");
}

#[test]
fn a_pinned_certificate_that_has_expired_is_refused() {
    let ours = Certificates::new();
    let shown = ours.expired("gateway");
    let [strange, _] = strange();
    Ends::start(&shown, &ours.ca(), [&strange, &pin(&shown.certificate)]).assert_refused("expired");
}

#[test]
fn a_pinned_certificate_for_another_name_is_refused() {
    let ours = Certificates::new();
    let shown = ours.elsewhere("gateway.example");
    let [strange, _] = strange();
    Ends::start(&shown, &ours.ca(), [&strange, &pin(&shown.certificate)]).assert_refused("gateway.example");
}
