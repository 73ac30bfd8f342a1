//! Questions about a configuration that is not wrong: what works, and yet is seldom meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::error::Problem;
use super::file::{Item, Section};
use super::meaning::{
    CallingAe, Config, Destination, DestinationKind, DicomDestination, FolderDestination, Listener, Match,
    RouteAction, RouteRule,
};
use super::places::Look;
use super::relay::Relay;
use super::web::{WebDestination, WebLogin};
use crate::route::{Field, Operand, never};
use crate::tls::Security;
use crate::transcode::{Compression, LossySource, LossyUid, Target};

/// One question, as it is printed: `chrysalis.toml:12: listener.address: ...`. A configuration is in force in spite of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Where it was written: file and line, or what overrides the file.
    pub place: String,
    /// The dotted key; empty where the place says it.
    pub key: String,
    /// What is asked.
    pub question: String,
}

impl Advice {
    pub(super) fn new(file: &str, question: Problem) -> Self {
        let place = question.place.in_file(file);
        Self { place, key: question.key, question: question.message }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.question)
    }
}

/// What is odd about an AE title: sentences that follow the title, `has lower case letters: ...`.
pub fn title_questions(title: &str) -> Vec<String> {
    let mut questions = Vec::new();
    if title.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let upper = title.to_ascii_uppercase();
        questions.push(format!("has lower case letters: case counts; is it not \"{upper}\"?"));
    }
    if title.contains(' ') {
        questions.push("has spaces inside: some systems cut a title there".to_owned());
    }
    questions
}

/// Asks all questions about `config`, which was read from `root`.
pub(super) fn ask(root: &Section<'_>, config: &Config, look: Look) {
    let node = root.table("node");
    title(node.get("ae_title"));
    let queue = root.table("queue");
    if config.queue.retain.is_zero() {
        queue.question("retain", "a study that was delivered cannot be sent again from here");
    }
    for (section, part) in root.tables("listener").iter().zip(&config.listeners) {
        listener(section, part);
    }
    for (section, part) in root.tables("relay").iter().zip(&config.relays) {
        relay(section, part);
    }
    let tables = root.tables("destination");
    for (index, (section, part)) in tables.iter().zip(&config.destinations).enumerate() {
        compression(section, &part.compression);
        match &part.kind {
            DestinationKind::Dicom(dicom) => {
                destination(section, dicom);
                same_address(section, dicom, config.destinations.iter().take(index));
            }
            DestinationKind::Folder(place) => folder(section, place, &config.node.data_dir, look),
            DestinationKind::Web(place) => web(section, place),
            DestinationKind::Tunnel(_) | DestinationKind::Site(_) => {}
        }
    }
    for (section, rule) in root.tables("route").iter().zip(&config.routes) {
        drops_nothing(section, rule, config);
        conditions(section, rule);
    }
}

/// A drop gives way to every rule that sends or holds; one that always does drops nothing.
fn drops_nothing(section: &Section<'_>, rule: &RouteRule, config: &Config) {
    if rule.action != RouteAction::Drop || config.routing.matching != Match::All {
        return;
    }
    let others = config.routes.iter().filter(|other| other.action != RouteAction::Drop);
    if let Some(other) = others.into_iter().find(|other| never::is_hidden(&rule.when, &other.when)) {
        let does = if other.action == RouteAction::Hold { "holds" } else { "sends" };
        let question = format_args!(
            "drops nothing: rule \"{}\" {does} the same; use match = \"first\" with this rule before it, or put `not` into that rule",
            other.name
        );
        section.question("action", question);
    }
}

fn conditions(section: &Section<'_>, rule: &RouteRule) {
    for test in rule.when.tests() {
        match &test.with {
            Operand::OneOf(titles) if matches!(test.field, Field::CallingAe | Field::CalledAe) => {
                for title in titles.iter().map(|title| title.as_str()) {
                    let asked = title_questions(title).into_iter();
                    asked.for_each(|question| {
                        section.question("when", format!("{} \"{title}\" {question}", test.field))
                    });
                }
            }
            Operand::Contains(text) if text.contains('*') => {
                let bare = text.replace('*', "");
                let question = format!(
                    "~ takes no wildcards: it looks for the star itself; write {} ~ {bare:?}",
                    test.field
                );
                section.question("when", question);
            }
            Operand::OneOf(_) | Operand::Within(_) | Operand::Contains(_) | Operand::Exists => {}
        }
    }
}

fn listener(section: &Section<'_>, listener: &Listener) {
    for key in ["called_ae", "calling_ae"] {
        let items = section.get(key).and_then(|item| item.list().ok()).unwrap_or_default();
        items.into_iter().for_each(|item| title(Some(item)));
    }
    if listener.address.ip().is_unspecified() && listener.allow.is_empty() {
        let question = "listens on every interface, and `allow` names no networks: may anybody on them send?";
        section.question("address", question);
    }
    proxies(section, &listener.trusted_proxies);
    let timeouts = section.get("timeouts").and_then(|item| item.section().ok());
    let (request, idle) = (listener.timeouts.request, listener.timeouts.idle);
    short(
        timeouts.as_ref(),
        "request",
        request,
        Duration::from_secs(5),
        "carts on a slow network take longer",
    );
    short(timeouts.as_ref(), "idle", idle, Duration::from_secs(10), "carts pause between two images");
}

fn relay(section: &Section<'_>, relay: &Relay) {
    if relay.tls.is_none() && relay.listen.ip().is_unspecified() && relay.allow.is_empty() {
        let question = "listens on every interface without TLS, and `allow` names no networks: may anybody on them use the service behind it?";
        section.question("listen", question);
    }
    proxies(section, &relay.trusted_proxies);
}

/// Load balancers are single addresses: a wide network has others in it, who could lie.
fn proxies(section: &Section<'_>, trusted: &[IpNet]) {
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        section.question("trusted_proxies", "trusts everybody: whoever connects can say he is any address");
        return;
    }
    let is_wide = |network: &&IpNet| match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        IpNet::V6(network) => network.prefix_len() < 32,
    };
    if let Some(wide) = trusted.iter().find(is_wide) {
        let question =
            format_args!("trusts the whole of {wide}: whoever connects from it can say he is any address");
        section.question("trusted_proxies", question);
    }
}

fn destination(section: &Section<'_>, dicom: &DicomDestination) {
    title(section.get("called_ae"));
    match &dicom.calling_ae {
        CallingAe::Fixed(_) => title(section.get("calling_ae")),
        CallingAe::Passthrough => {
            section.question(
                "calling_ae",
                "the peer has to know the title of every cart, each at this machine's address",
            );
        }
    }
    if dicom.max_associations > 4 {
        let question = format_args!(
            "{} associations at once: does the peer take so many from one system?",
            dicom.max_associations
        );
        section.question("max_associations", question);
    }
    if dicom.tls.is_none() && dicom.address.host.parse().is_ok_and(|ip| !is_near(ip)) {
        section.question("address", "plain DICOM (Unsecured) to a public address: it can be read on the way");
    }
    if dicom.tls.as_ref().is_some_and(|tls| tls.security() == Security::Unsecured) {
        section
            .table("tls")
            .question("verify", "encrypted to whoever answers (Unsecured): pin the key of the peer");
    }
    let timeouts = section.get("timeouts").and_then(|item| item.section().ok());
    let given = dicom.timeouts;
    short(timeouts.as_ref(), "connect", given.connect, Duration::from_secs(1), "a busy peer takes longer");
    short(timeouts.as_ref(), "acse", given.acse, Duration::from_secs(5), "a busy peer takes longer");
    short(
        timeouts.as_ref(),
        "dimse",
        given.dimse,
        Duration::from_secs(10),
        "some peers answer a loop after many seconds",
    );
}

/// Below this, blocks are seen in what a physician looks at.
const LOW_QUALITY: u8 = 75;

fn compression(section: &Section<'_>, wish: &Compression) {
    let targets = [("image", "image_quality", wish.image), ("loop", "loop_quality", wish.cine)];
    for (key, quality_key, target) in targets {
        match target {
            Target::JpegLossy(quality) if quality.get() < LOW_QUALITY => {
                let question =
                    format_args!("{} is low: what is lost is seen, and is lost for good", quality.get());
                section.question(quality_key, question);
            }
            Target::JpegLossy(_) => {}
            _ if section.get(quality_key).is_some() => {
                section.question(quality_key, format_args!("has no effect without {key} = \"jpeg-lossy\""));
            }
            _ => {}
        }
    }
    let encodes =
        targets.iter().any(|(.., target)| matches!(target, Target::JpegLossy(_) | Target::JpegLossless));
    if wish.lossy_uid == LossyUid::Keep {
        section.question(
            "lossy_uid",
            "is not conformant (PS3.3 C.7.6.1.1.5): two different images will have one SOP Instance UID",
        );
    }
    if wish.lossy_source == LossySource::Force {
        let question = if encodes {
            "what came compressed with loss is compressed again: it gets larger, or loses more"
        } else {
            "has no effect without \"jpeg-lossless\" or \"jpeg-lossy\""
        };
        section.question("lossy_source", question);
    }
}

fn same_address<'a>(
    section: &Section<'_>,
    dicom: &DicomDestination,
    earlier: impl Iterator<Item = &'a Destination>,
) {
    let at = |other: &&Destination| match &other.kind {
        DestinationKind::Dicom(other) => {
            other.address.port == dicom.address.port
                && other.address.host.eq_ignore_ascii_case(&dicom.address.host)
        }
        DestinationKind::Folder(_)
        | DestinationKind::Web(_)
        | DestinationKind::Tunnel(_)
        | DestinationKind::Site(_) => false,
    };
    if let Some(other) = earlier.filter(at).last() {
        let question =
            format_args!("is the address of destination \"{}\" too, under another title", other.name);
        section.question("address", question);
    }
}

fn folder(section: &Section<'_>, folder: &FolderDestination, data_dir: &Path, look: Look) {
    if (look.share_a_disk)(&folder.path, data_dir) {
        let question =
            "is on the file system of the spool: what is delivered there takes the room of what is received";
        section.question("path", question);
    }
}

fn web(section: &Section<'_>, web: &WebDestination) {
    let ip = web.url.host().parse::<IpAddr>().ok();
    if !web.url.is_tls() && web.login != WebLogin::Anonymous && !ip.is_some_and(|ip| ip.is_loopback()) {
        section.question("url", "plain HTTP (Unsecured): the token or password can be read on the way");
    } else if !web.url.is_tls() && ip.is_some_and(|ip| !is_near(ip)) {
        section.question("url", "plain HTTP (Unsecured) to a public address: it can be read on the way");
    }
    let timeouts = section.get("timeouts").and_then(|item| item.section().ok());
    let given = web.timeouts;
    short(timeouts.as_ref(), "connect", given.connect, Duration::from_secs(1), "a busy server takes longer");
    short(
        timeouts.as_ref(),
        "answer",
        given.answer,
        Duration::from_secs(10),
        "some servers answer when all of a loop is on disk",
    );
}

fn title(item: Option<Item<'_>>) {
    let Some(item) = item else { return };
    for question in item.text().map(title_questions).unwrap_or_default() {
        item.question(question);
    }
}

fn short(section: Option<&Section<'_>>, key: &str, given: Duration, least: Duration, why: &str) {
    // What was not written is the default, which is long enough.
    if let Some(section) = section.filter(|_| given < least) {
        section.question(key, format_args!("{} is short: {why}", humantime::format_duration(given)));
    }
}

/// Whether an address is on this machine or in a network of one's own (RFC 1918, 4193, 6598, link-local).
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_shared = u32::from(ip) & 0xFFC0_0000 == u32::from(Ipv4Addr::new(100, 64, 0, 0));
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
    }
}

#[cfg(test)]
#[path = "advice_tests.rs"]
mod tests;
