//! The configuration as it is meant: every value has its type and its default, and the parts fit together.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::names::{DestinationName, ListenerName};
use super::profile::ChosenProfile;
use super::relay::Relay;
use super::tls::{ClientTls, ServerTls};
use super::tunnel::{ListenerKind, SiteDestination, TunnelDestination};
use super::units::Percent;
use super::web::WebDestination;
use crate::dicom::{AeTitle, Uid};
use crate::route::Condition;
use crate::tls::{Authentication, Security};
use crate::transcode::{Compare, Compression, Receiver};

/// A whole, consistent configuration. Made by [`Config::parse`] or [`Config::load`] only from text, so that
/// whoever holds one may rely on it: names are unique, every route leads to a destination that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `profile`: the machine that the node is set up for, if any.
    pub profile: Option<ChosenProfile>,
    /// `[node]`: this program itself.
    pub node: Node,
    /// `[[listener]]`: at least one, with unique names and addresses.
    pub listeners: Vec<Listener>,
    /// `[[relay]]`: none, or with unique names and addresses.
    pub relays: Vec<Relay>,
    /// `[queue]`: the spool.
    pub queue: Queue,
    /// `[[destination]]`: at least one, with unique names, in the order of the file.
    pub destinations: Vec<Destination>,
    /// `[routing]`: how the rules are taken together.
    pub routing: Routing,
    /// `[[route]]`: in the order of the file, with unique names; empty means that everything goes everywhere.
    pub routes: Vec<RouteRule>,
    /// `[transcode]`: how copies are made for destinations that want something else than what came.
    pub transcode: Transcode,
    /// `[admin]`: the HTTP side.
    pub admin: Admin,
    /// `[log]`: what is written to standard error.
    pub log: Log,
    /// Names this configuration: 16 hexadecimal digits that change when a value does, not when a comment does.
    pub revision: String,
    /// The revision of what a gateway set, where that is part of this.
    pub afar: Option<String>,
}

/// This program itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Our own title: the calling AE title at destinations that set none.
    pub ae_title: AeTitle,
    /// Where spool, journals, index and the admin token are.
    pub data_dir: PathBuf,
    /// How long a stop waits for what is under way.
    pub grace: Duration,
}

/// One port where carts call in, and whom it admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Routes and metrics name it by this.
    pub name: ListenerName,
    /// What it takes.
    pub kind: ListenerKind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Called AE titles that are accepted; empty means any.
    pub called_ae: Vec<AeTitle>,
    /// Calling AE titles that are accepted; empty means any.
    pub calling_ae: Vec<AeTitle>,
    /// Networks that may connect; empty means any.
    pub allow: Vec<IpNet>,
    /// Proxies that say whom they speak for, by the PROXY protocol; from them a header is required.
    pub trusted_proxies: Vec<IpNet>,
    /// Associations open at once, in total.
    pub max_associations: usize,
    /// Associations open at once from one address, where no entry of `per_network` speaks for it.
    pub max_per_address: usize,
    /// Other limits for networks behind one address; the longest matching prefix decides.
    pub per_network: Vec<NetworkLimit>,
    /// The largest P-DATA-TF PDU we announce, in bytes (PS3.8 D.1).
    pub max_pdu: u32,
    /// The largest data set that is taken, in bytes.
    pub max_data_set: u64,
    /// What becomes of a data set that is not as it should be but can be kept.
    pub malformed: Leniency,
    /// What becomes of a data set whose SOP class is not the one of the command.
    pub sop_class_mismatch: Leniency,
    /// Abstract syntaxes that are accepted; empty means every storage class, private ones included.
    pub sop_classes: Vec<Uid>,
    /// Transfer syntaxes that are accepted in addition to the registered ones.
    pub transfer_syntaxes: Vec<Uid>,
    /// How long a peer may be silent.
    pub timeouts: ListenerTimeouts,
    /// Users that may call; empty means that no identity is asked for.
    pub user_identity: Vec<UserIdentity>,
    /// TLS; none is plain DICOM.
    pub tls: Option<ServerTls>,
}

impl Listener {
    /// Whether what is sent to it is encrypted. A caller that looks who answers is sure of it, too.
    pub fn security(&self) -> Security {
        if self.tls.is_some() { Security::Secured } else { Security::Unsecured }
    }

    /// How many associations may be open at once from where `address` is, and what they are counted under:
    /// the network whose limit applies, or the address alone.
    pub fn limit_for(&self, address: std::net::IpAddr) -> NetworkLimit {
        let address = address.to_canonical();
        let matching = self.per_network.iter().filter(|limit| limit.network.contains(&address));
        let narrowest = matching.max_by_key(|limit| limit.network.prefix_len()).copied();
        narrowest.unwrap_or(NetworkLimit { network: IpNet::from(address), max: self.max_per_address })
    }
}

/// A limit on associations that one network has open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkLimit {
    /// The network that is counted as one.
    pub network: IpNet,
    /// How many associations it may have open.
    pub max: usize,
}

/// What becomes of a data set whose structure is odd but complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leniency {
    /// Stored as it is, answered with success, passed through untouched.
    Accept,
    /// Answered with a failure and the reason; not stored.
    Refuse,
}

/// How long a calling peer may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// From the connection to the whole association request (ARTIM, PS3.8 9.1.5), and for a peer to close.
    pub request: Duration,
    /// Between two bytes of an open association.
    pub idle: Duration,
}

/// A user that may call (PS3.7 D.3.3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// The name that is presented.
    pub username: String,
    /// The passcode that must go with it; none means that the name is enough.
    pub passcode: Option<Passcode>,
}

/// A passcode. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passcode(String);

impl Passcode {
    /// Keeps `text` as a passcode.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The passcode itself, as it is compared with what a peer presents.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether `given` is this passcode. The time taken does not tell where they differ.
    pub fn matches(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let difference = own.iter().zip(given).fold(0, |seen, (a, b)| seen | (a ^ b));
        own.len() == given.len() && difference == 0
    }
}

impl fmt::Debug for Passcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<passcode>")
    }
}

/// The spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// How long a delivered payload is kept, unless its space is needed.
    pub retain: Duration,
    /// How long outcomes are kept after the payload is gone.
    pub ledger: Duration,
    /// Bytes set aside at start for journals and index, so that a full disk can still record what frees it.
    pub reserve: u64,
    /// The share of the file system above which retained payloads are evicted and then nothing more is taken.
    pub high_watermark: Percent,
}

/// Where instances are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Routes, deliveries and metrics name it by this.
    pub name: DestinationName,
    /// What it is.
    pub kind: DestinationKind,
    /// A study is sent when nothing has come of it for so long; zero sends each instance as it comes.
    pub study_quiet: Duration,
    /// How it wants images and loops.
    pub compression: Compression,
    /// The pauses between attempts.
    pub backoff: Backoff,
}

impl Destination {
    /// Whether it says what it accepts before anything is sent.
    pub fn receiver(&self) -> Receiver {
        match &self.kind {
            DestinationKind::Dicom(_) | DestinationKind::Site(_) => Receiver::Negotiates,
            DestinationKind::Folder(_) | DestinationKind::Web(_) | DestinationKind::Tunnel(_) => {
                Receiver::TakesAnything
            }
        }
    }

    /// Whether it is reached by TLS, verified or not.
    pub fn has_tls(&self) -> bool {
        matches!(&self.kind, DestinationKind::Dicom(dicom) if dicom.tls.is_some())
    }

    /// Whether what is sent there is encrypted to somebody who was verified; none for a folder.
    pub fn security(&self) -> Option<Security> {
        match &self.kind {
            DestinationKind::Dicom(dicom) => {
                Some(dicom.tls.as_ref().map_or(Security::Unsecured, |tls| tls.security()))
            }
            DestinationKind::Web(web) => {
                Some(web.tls.as_ref().map_or(Security::Unsecured, ClientTls::security))
            }
            DestinationKind::Folder(_) => None,
            DestinationKind::Tunnel(tunnel) => Some(tunnel.security()),
            DestinationKind::Site(site) => Some(site.security),
        }
    }

    /// Whether this node shows there by TLS who it is; none where there is no TLS. In a tunnel it is the site's code that
    /// shows it.
    pub fn authentication(&self) -> Option<Authentication> {
        match &self.kind {
            DestinationKind::Dicom(dicom) => dicom.tls.as_ref().map(|tls| tls.authentication()),
            DestinationKind::Web(web) => web.tls.as_ref().map(ClientTls::authentication),
            DestinationKind::Folder(_) | DestinationKind::Tunnel(_) | DestinationKind::Site(_) => None,
        }
    }
}

/// What a destination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationKind {
    /// A storage SCP.
    Dicom(DicomDestination),
    /// A directory tree of Part 10 files.
    Folder(FolderDestination),
    /// A DICOMweb server.
    Web(WebDestination),
    /// A gateway, through the tunnel.
    Tunnel(TunnelDestination),
    /// A destination of a link, through the tunnel that the link has made.
    Site(SiteDestination),
}

/// A storage SCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DicomDestination {
    /// Where it listens.
    pub address: HostPort,
    /// Its title.
    pub called_ae: AeTitle,
    /// The title we call it by.
    pub calling_ae: CallingAe,
    /// How long it may take.
    pub timeouts: DestinationTimeouts,
    /// Associations we have open to it at once.
    pub max_associations: usize,
    /// Each association carries the instances of one study, and each study is on one association at a time.
    pub one_study_per_association: bool,
    /// The largest P-DATA-TF PDU we send, in bytes; the peer's own limit is obeyed where it is smaller.
    pub max_pdu: u32,
    /// TLS; none is plain DICOM.
    pub tls: Option<Box<ClientTls>>,
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The calling AE title of an association that we open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallingAe {
    /// Always this one.
    Fixed(AeTitle),
    /// The one that the cart used with us.
    Passthrough,
}

/// How long a destination may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationTimeouts {
    /// To accept the connection.
    pub connect: Duration,
    /// To answer an association or release request.
    pub acse: Duration,
    /// To take the next byte of a message or to answer it.
    pub dimse: Duration,
}

/// A directory tree of Part 10 files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderDestination {
    /// Its root.
    pub path: PathBuf,
}

/// The pauses between attempts: doubled from `first` up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this; at least `first`.
    pub max: Duration,
}

/// How the rules are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// Which of the rules that match decide.
    pub matching: Match,
    /// What becomes of an instance that no rule matches.
    pub on_no_route: OnNoRoute,
}

/// Which of the rules that match decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// All of them, together.
    All,
    /// The first in the file.
    First,
}

/// What becomes of an instance that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoRoute {
    /// It is kept, held.
    Hold,
    /// It is not taken: status 0124.
    Refuse,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// Deliveries and explanations name it by this; `route 3` by its place, where it has no other.
    pub name: Arc<str>,
    /// What it asks for.
    pub when: Condition,
    /// What it does with what matches.
    pub action: RouteAction,
    /// Where it leads: configured destinations, at least one to send, none to drop.
    pub to: Vec<DestinationName>,
}

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAction {
    /// It is owed to the rule's destinations.
    Send,
    /// It is owed to them and held there, or held without a destination.
    Hold,
    /// It is stored and given up.
    Drop,
}

/// How copies are made for destinations that want something else than what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcode {
    /// Threads that decode and encode frames.
    pub workers: NonZeroUsize,
    /// Frames that are in memory at once.
    pub frames_in_flight: NonZeroUsize,
    /// Bytes of disk that copies may take; what is larger is made while it is sent.
    pub cache: u64,
    /// Whether a frame that was encoded without loss is decoded and compared before it is sent.
    pub compare: Compare,
}

/// The HTTP side: metrics, health, API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
}

/// What is written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// How much.
    pub level: LogLevel,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Human,
    /// One JSON object per event.
    Json,
}

/// The least important events that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// And what may.
    Warn,
    /// And one line per association and delivery.
    Info,
    /// And every message.
    Debug,
    /// And every PDU.
    Trace,
}

#[cfg(test)]
mod tests {
    use super::Passcode;

    #[test]
    fn a_passcode_is_compared_whole_and_never_printed() {
        let passcode = Passcode::new("secret");
        assert!(passcode.matches(b"secret"));
        assert!(!passcode.matches(b"secre") && !passcode.matches(b"secrets") && !passcode.matches(b""));
        assert!(!format!("{passcode:?}").contains("secret"));
    }
}
