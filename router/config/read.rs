//! From the file as written to the parts of a [`Config`](super::Config), one function per table.
//!
//! Each function first reads every key and only then puts the part together, so that one mistake does not
//! hide another.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::file::{Item, Read, Reported, Section};
use super::meaning::{
    Admin, Backoff, CallingAe, Destination, DestinationKind, DestinationTimeouts, DicomDestination,
    FolderDestination, HostPort, Leniency, Listener, ListenerTimeouts, Log, LogFormat, LogLevel,
    NetworkLimit, Node, Passcode, Queue, Transcode, UserIdentity,
};
use super::places::{self, Look};
use super::profile::Defaults;
use super::read_tls;
use super::tls::{ClientTls, Verify};
use super::tunnel::{self, TunnelUrl};
use super::web::{SecretPlace, WebDestination, WebLogin, WebTimeouts, WebUrl};
use crate::dicom::AeTitle;
use crate::transcode::{Compare, Compression, LossySource, LossyUid, Monochrome, Quality, Target};

const COUNT: RangeInclusive<u64> = 1..=65_535;
const PDU: RangeInclusive<u64> = 4 << 10..=16 << 20;
const DATA_SET: RangeInclusive<u64> = 1 << 10..=1 << 40;
const RESERVE: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// Of data sets in one request to a DICOMweb server.
const REQUEST: RangeInclusive<u64> = 1 << 10..=4 << 30;
/// Of copies on disk; none at all is fine.
const CACHE: RangeInclusive<u64> = 0..=1 << 40;
const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// How long a study may have to be quiet.
const QUIET: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);
const KEEP: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3650 * 24 * 3600);
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

const DEFAULT_PDU: u32 = 128 << 10;

/// `[node]`.
pub(super) fn node(section: &Section<'_>, look: Look) -> Read<Node> {
    let ae_title = own_title(section);
    let data_dir = data_dir(section, look);
    let grace = section.or("grace", Duration::from_secs(30), |item| item.duration(GRACE));
    Ok(Node { ae_title: ae_title?, data_dir: data_dir?, grace: grace? })
}

/// The node's own title.
pub(super) fn own_title(section: &Section<'_>) -> Read<AeTitle> {
    section.parse_or("ae_title", "CHRYSALIS")
}

/// Where the node keeps its data.
pub(super) fn data_dir(section: &Section<'_>, look: Look) -> Read<PathBuf> {
    let data_dir = section.or("data_dir", PathBuf::from("./chrysalis-data"), path)?;
    (look.usable)(&data_dir).map_err(|error| section.fail("data_dir", error))?;
    Ok(data_dir)
}

/// One `[[listener]]`.
pub(super) fn listener(section: &Section<'_>, defaults: Defaults) -> Read<Listener> {
    let name = name(section);
    let address = address(section);
    let called_ae = ae_list(section, "called_ae");
    let calling_ae = ae_list(section, "calling_ae");
    let allow = section.each("allow", network);
    let trusted_proxies = section.each("trusted_proxies", network);
    let max_associations =
        section.or("max_associations", defaults.max_associations, |item| item.count(COUNT));
    let max_per_address = section.or("max_per_address", 16, |item| item.count(COUNT));
    let per_network = section.each("per_network", network_limit);
    let max_pdu = section.or("max_pdu", DEFAULT_PDU, pdu_size);
    let max_data_set = section.or("max_data_set", 4 << 30, |item| item.size(DATA_SET));
    let malformed = section.or("malformed", Leniency::Accept, |item| {
        item.choice(&[("accept", Leniency::Accept), ("refuse", Leniency::Refuse)])
    });
    let sop_class_mismatch = section.or("sop_class_mismatch", Leniency::Refuse, |item| {
        item.choice(&[("accept", Leniency::Accept), ("refuse", Leniency::Refuse)])
    });
    let sop_classes = section.each("sop_classes", Item::parse);
    let transfer_syntaxes = section.each("transfer_syntaxes", Item::parse);
    let timeouts = listener_timeouts(&section.table("timeouts"));
    let user_identity = section.each("user_identity", user_identity);
    let tls = read_tls::server(section);
    let kind = tunnel::listener(section);
    Ok(Listener {
        name: name?,
        kind: kind?,
        address: address?,
        called_ae: called_ae?,
        calling_ae: calling_ae?,
        allow: allow?,
        trusted_proxies: trusted_proxies?,
        max_associations: max_associations?,
        max_per_address: max_per_address?,
        per_network: per_network?,
        max_pdu: max_pdu?,
        max_data_set: max_data_set?,
        malformed: malformed?,
        sop_class_mismatch: sop_class_mismatch?,
        sop_classes: sop_classes?,
        transfer_syntaxes: transfer_syntaxes?,
        timeouts: timeouts?,
        user_identity: user_identity?,
        tls: tls?,
    })
}

/// The name of a listener or destination.
pub(super) fn name<T: FromStr<Err: Display>>(section: &Section<'_>) -> Read<T> {
    section.required("name", Item::parse)
}

/// Where a listener listens.
pub(super) fn address(section: &Section<'_>) -> Read<SocketAddr> {
    section.required("address", socket_address)
}

fn listener_timeouts(section: &Section<'_>) -> Read<ListenerTimeouts> {
    let request = section.or("request", Duration::from_secs(30), timeout);
    let idle = section.or("idle", Duration::from_secs(300), timeout);
    Ok(ListenerTimeouts { request: request?, idle: idle? })
}

fn network_limit(item: &Item<'_>) -> Read<NetworkLimit> {
    let section = item.section()?;
    let network = section.required("network", network);
    let max = section.required("max", |item| item.count(COUNT));
    Ok(NetworkLimit { network: network?, max: max? })
}

fn user_identity(item: &Item<'_>) -> Read<UserIdentity> {
    let section = item.section()?;
    let username = section.required("username", |item| match item.text()? {
        "" => Err(item.fail("is empty")),
        text => Ok(text.to_owned()),
    });
    // Not through `parse`, whose errors would quote the passcode.
    let passcode = section.or("passcode", None, |item| Ok(Some(Passcode::new(item.secret()?))));
    Ok(UserIdentity { username: username?, passcode: passcode? })
}

/// `[queue]`.
pub(super) fn queue(section: &Section<'_>, defaults: Defaults) -> Read<Queue> {
    let retain = section.or("retain", Duration::from_secs(72 * 3600), |item| item.duration(KEEP));
    let ledger = section.or("ledger", Duration::from_secs(90 * 24 * 3600), |item| item.duration(KEEP));
    let reserve = section.or("reserve", defaults.reserve, |item| item.size(RESERVE));
    let high_watermark = section.parse_or("high_watermark", "90%");
    Ok(Queue { retain: retain?, ledger: ledger?, reserve: reserve?, high_watermark: high_watermark? })
}

/// One `[[destination]]`; `own` is the title it is called with unless it says otherwise.
pub(super) fn destination(section: &Section<'_>, own: Option<&AeTitle>) -> Read<Destination> {
    let name = name(section);
    let backoff = backoff(&section.table("backoff"));
    let study_quiet = section.or("study_quiet", Duration::ZERO, |item| item.duration(QUIET));
    let compression = compression(section);
    let kind = kind(section).and_then(|kind| kind.read(section, own));
    if kind.is_err() && section.get("kind").is_none_or(|item| item.text().is_err()) {
        guess(section, own);
    }
    Ok(Destination {
        name: name?,
        kind: kind?,
        study_quiet: study_quiet?,
        compression: compression?,
        backoff: backoff?,
    })
}

/// How a destination wants images and loops.
fn compression(section: &Section<'_>) -> Read<Compression> {
    let image = target(section, "image", "image_quality");
    let cine = target(section, "loop", "loop_quality");
    let monochrome = section.or("monochrome", Monochrome::Never, |item| {
        item.choice(&[("never", Monochrome::Never), ("b-mode-only", Monochrome::BModeOnly)])
    });
    let lossy_source = section.or("lossy_source", LossySource::Keep, |item| {
        item.choice(&[("keep", LossySource::Keep), ("force", LossySource::Force)])
    });
    let lossy_uid = section.or("lossy_uid", LossyUid::New, |item| {
        item.choice(&[("new", LossyUid::New), ("keep", LossyUid::Keep)])
    });
    Ok(Compression {
        image: image?,
        cine: cine?,
        monochrome: monochrome?,
        lossy_source: lossy_source?,
        lossy_uid: lossy_uid?,
    })
}

fn target(section: &Section<'_>, name: &str, quality: &str) -> Read<Target> {
    let quality = section.or(quality, Quality::DEFAULT, |item| {
        let percent = item.integer(1..=100)?;
        u8::try_from(percent).ok().and_then(Quality::new).ok_or_else(|| item.fail("is not a quality"))
    });
    let words = [
        ("as-received", Target::AsReceived),
        ("uncompressed", Target::Uncompressed),
        ("jpeg-lossless", Target::JpegLossless),
        ("jpeg-lossy", Target::JpegLossy(quality.unwrap_or(Quality::DEFAULT))),
    ];
    let target = section.or(name, Target::AsReceived, |item| item.choice(&words));
    quality.and(target)
}

type ReadKind = fn(&Section<'_>, Option<&AeTitle>) -> Read<DestinationKind>;

/// A kind of destination, and the keys that say something of it.
struct Kind {
    name: &'static str,
    read: ReadKind,
    keys: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "dicom",
        read: dicom_destination,
        keys: &[
            "address",
            "called_ae",
            "calling_ae",
            "max_associations",
            "one_study_per_association",
            "max_pdu",
            "timeouts",
            "tls",
        ],
    },
    Kind { name: "folder", read: folder_destination, keys: &["path"] },
    Kind {
        name: "dicomweb",
        read: web_destination,
        keys: &[
            "url",
            "token_file",
            "token_variable",
            "user",
            "password_file",
            "password_variable",
            "max_request",
            "max_request_instances",
            "max_connections",
            "timeouts",
            "tls",
        ],
    },
    Kind {
        name: "tunnel",
        read: tunnel_destination,
        keys: &[
            "url",
            "site",
            "code_file",
            "code_env",
            "pins",
            "ca",
            "proxy",
            "proxy_user",
            "proxy_password_file",
            "proxy_password_variable",
            "uploads",
            "endpoints",
            "remote_configuration",
            "remote_probation",
            "timeouts",
        ],
    },
    Kind {
        name: "site",
        read: site_destination,
        keys: &["site", "endpoint", "max_associations", "timeouts"],
    },
];

impl Kind {
    /// Whether a key is there that no other kind has.
    fn is_meant(&self, section: &Section<'_>) -> bool {
        let is_own = |key: &&&str| KINDS.iter().filter(|kind| kind.keys.contains(*key)).count() == 1;
        self.keys.iter().filter(is_own).any(|key| section.get(key).is_some())
    }

    /// Complains of keys that only say something of other kinds, and reads it.
    fn read(&self, section: &Section<'_>, own: Option<&AeTitle>) -> Read<DestinationKind> {
        let others = KINDS.iter().flat_map(|kind| kind.keys).filter(|key| !self.keys.contains(key));
        let others: BTreeSet<_> = others.collect();
        refuse_keys(section, self.name, others);
        (self.read)(section, own)
    }
}

fn kind(section: &Section<'_>) -> Read<&'static Kind> {
    let kinds = KINDS.each_ref().map(|kind| (kind.name, kind));
    section.required("kind", |item| item.choice(&kinds))
}

/// Reads what can only be of one kind as such, so that its mistakes are found although it does not say which it is.
fn guess(section: &Section<'_>, own: Option<&AeTitle>) {
    let mut meant = KINDS.iter().filter(|kind| kind.is_meant(section));
    if let (Some(kind), None) = (meant.next(), meant.next()) {
        // What it would yield is of no use without the kind.
        let _ = kind.read(section, own);
    }
}

/// What makes a destination the same as another, whatever else it says.
#[derive(PartialEq, Eq)]
pub(super) enum Identity {
    Dicom(HostPort, AeTitle, CallingAe),
    Folder(PathBuf),
    Web(WebUrl, WebLogin),
    Tunnel(TunnelUrl, String),
    Site(String, String),
}

/// Reads only that.
pub(super) fn identity(section: &Section<'_>, own: Option<&AeTitle>) -> Read<Identity> {
    match section.required("kind", Item::text)? {
        "dicom" => {
            let mut address = section.required("address", host_port)?;
            address.host.make_ascii_lowercase();
            let called_ae = section.required("called_ae", Item::parse)?;
            Ok(Identity::Dicom(address, called_ae, calling_ae(section, own)?))
        }
        "folder" => section.required("path", folder).map(Identity::Folder),
        "dicomweb" => Ok(Identity::Web(section.required("url", web_url)?, login(section)?)),
        "tunnel" => {
            let url = section.required("url", Item::parse)?;
            Ok(Identity::Tunnel(url, section.required("site", |item| item.text().map(str::to_owned))?))
        }
        "site" => {
            let site = section.required("site", |item| item.text().map(str::to_owned))?;
            Ok(Identity::Site(site, section.required("endpoint", |item| item.text().map(str::to_owned))?))
        }
        _ => Err(Reported),
    }
}

fn folder_destination(section: &Section<'_>, _own: Option<&AeTitle>) -> Read<DestinationKind> {
    let path = section.required("path", folder)?;
    Ok(DestinationKind::Folder(FolderDestination { path }))
}

fn tunnel_destination(section: &Section<'_>, _own: Option<&AeTitle>) -> Read<DestinationKind> {
    refuse_keys(&section.table("timeouts"), "tunnel", WEB_TIMEOUTS);
    tunnel::destination(section, destination_timeouts(&section.table("timeouts")))
}

fn site_destination(section: &Section<'_>, _own: Option<&AeTitle>) -> Read<DestinationKind> {
    refuse_keys(&section.table("timeouts"), "site", WEB_TIMEOUTS);
    let timeouts = destination_timeouts(&section.table("timeouts"));
    tunnel::site(section, timeouts, max_associations(section))
}

fn max_associations(section: &Section<'_>) -> Read<usize> {
    section.or("max_associations", 1, |item| item.count(1..=64))
}

/// A share that is not there now may be later: whether a folder can be written is found out by writing.
fn folder(item: &Item<'_>) -> Read<PathBuf> {
    let path = path(item)?;
    places::unseen(&path).map_err(|error| item.fail(error))?;
    Ok(path)
}

/// Timeouts that one kind has and others have not.
const WEB_TIMEOUTS: &[&str] = &["transfer", "answer"];
const DIMSE_TIMEOUTS: &[&str] = &["acse", "dimse"];

fn refuse_keys<'k>(section: &Section<'_>, kind: &str, keys: impl IntoIterator<Item = &'k &'k str>) {
    for item in keys.into_iter().filter_map(|key| section.get(key)) {
        item.fail(format_args!("has no meaning for a destination of kind \"{kind}\""));
    }
}

fn dicom_destination(section: &Section<'_>, own: Option<&AeTitle>) -> Read<DestinationKind> {
    refuse_keys(&section.table("timeouts"), "dicom", WEB_TIMEOUTS);
    let address = section.required("address", host_port);
    let called_ae = section.required("called_ae", Item::parse);
    let calling_ae = calling_ae(section, own);
    let timeouts = destination_timeouts(&section.table("timeouts"));
    let max_associations = max_associations(section);
    let one_study = section.or("one_study_per_association", false, Item::truth);
    let max_pdu = section.or("max_pdu", DEFAULT_PDU, pdu_size);
    let tls = read_tls::client(section);
    Ok(DestinationKind::Dicom(DicomDestination {
        address: address?,
        called_ae: called_ae?,
        calling_ae: calling_ae?,
        timeouts: timeouts?,
        max_associations: max_associations?,
        one_study_per_association: one_study?,
        max_pdu: max_pdu?,
        tls: tls?.map(Box::new),
    }))
}

fn web_destination(section: &Section<'_>, _own: Option<&AeTitle>) -> Read<DestinationKind> {
    refuse_keys(&section.table("timeouts"), "dicomweb", DIMSE_TIMEOUTS);
    let url = section.required("url", web_url);
    let login = login(section);
    let tls = web_tls(section, url.as_ref().ok());
    let timeouts = web_timeouts(&section.table("timeouts"));
    let max_request = section.or("max_request", 16 << 20, |item| item.size(REQUEST));
    let max_request_instances = section.or("max_request_instances", 32, |item| item.count(1..=64));
    let max_connections = section.or("max_connections", 1, |item| item.count(1..=16));
    Ok(DestinationKind::Web(WebDestination {
        url: url?,
        login: login?,
        max_request: max_request?,
        max_request_instances: max_request_instances?,
        max_connections: max_connections?,
        timeouts: timeouts?,
        tls: tls?,
    }))
}

/// An https URL is verified by the system's authorities unless something else is said.
fn web_tls(section: &Section<'_>, url: Option<&WebUrl>) -> Read<Option<ClientTls>> {
    match (read_tls::client(section)?, url.is_none_or(WebUrl::is_tls)) {
        (Some(_), false) => Err(section.fail("tls", "has no meaning with an http URL")),
        (Some(tls), true) => Ok(Some(tls)),
        (None, true) => Ok(Some(ClientTls { verify: Verify::Ca(None), server_name: None, identity: None })),
        (None, false) => Ok(None),
    }
}

/// Not through `parse`, so that nothing of the text is quoted, which may have a password in it.
fn web_url(item: &Item<'_>) -> Read<WebUrl> {
    item.secret()?.parse().map_err(|error| item.fail(error))
}

fn login(section: &Section<'_>) -> Read<WebLogin> {
    let token = secret_place(section, "token_file", "token_variable");
    let password = secret_place(section, "password_file", "password_variable");
    let user = section.or("user", None, |item| user_name(item).map(Some));
    match (token?, user?, password?) {
        (None, None, None) => Ok(WebLogin::Anonymous),
        (Some(token), None, None) => Ok(WebLogin::Bearer(token)),
        (None, Some(user), Some(password)) => Ok(WebLogin::Basic { user, password }),
        (None, Some(_), None) => Err(section.fail("user", "needs password_file or password_variable")),
        (None, None, Some(_)) => Err(section.fail("user", "is missing beside a password")),
        (Some(_), ..) => Err(section.fail("user", "and password go with no token: one of the two")),
    }
}

/// The name of a user of HTTP's basic authentication (RFC 7617 2).
pub(super) fn user_name(item: &Item<'_>) -> Read<String> {
    match item.text()? {
        "" => Err(item.fail("is empty")),
        text if text.contains(':') || text.contains(char::is_control) => Err(item.fail("has a colon")),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn secret_place(section: &Section<'_>, file: &str, variable: &str) -> Read<Option<SecretPlace>> {
    let path = section.or(file, None, |item| path(item).map(|path| Some(SecretPlace::File(path))));
    let name = section.or(variable, None, |item| match item.secret()? {
        "" => Err(item.fail("is empty")),
        // Whoever wrote the secret itself here would find it quoted.
        text if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Err(item.fail("is not the name of a variable"))
        }
        text => Ok(Some(SecretPlace::Variable(text.to_owned()))),
    });
    match (path?, name?) {
        (Some(_), Some(_)) => {
            Err(section.fail(variable, format_args!("goes with no {file}: one of the two")))
        }
        (path, name) => Ok(path.or(name)),
    }
}

fn web_timeouts(section: &Section<'_>) -> Read<WebTimeouts> {
    let default = Duration::from_secs(300);
    let connect = section.or("connect", default, timeout);
    let transfer = section.or("transfer", default, timeout);
    let answer = section.or("answer", default, timeout);
    Ok(WebTimeouts { connect: connect?, transfer: transfer?, answer: answer? })
}

fn calling_ae(section: &Section<'_>, own: Option<&AeTitle>) -> Read<CallingAe> {
    match (section.get("calling_ae"), own) {
        (Some(item), _) if item.text() == Ok("passthrough") => Ok(CallingAe::Passthrough),
        (Some(item), _) => item.parse().map(CallingAe::Fixed),
        (None, Some(own)) => Ok(CallingAe::Fixed(own.clone())),
        // The node's own title is wrong, which is reported where it stands.
        (None, None) => Err(Reported),
    }
}

fn destination_timeouts(section: &Section<'_>) -> Read<DestinationTimeouts> {
    let default = Duration::from_secs(300);
    let connect = section.or("connect", default, timeout);
    let acse = section.or("acse", default, timeout);
    let dimse = section.or("dimse", default, timeout);
    Ok(DestinationTimeouts { connect: connect?, acse: acse?, dimse: dimse? })
}

fn backoff(section: &Section<'_>) -> Read<Backoff> {
    let first = section.or("first", Duration::from_secs(5), timeout);
    // With only `first` given, and that longer than the usual maximum, every pause is as long as the first.
    let usual = Duration::from_secs(300).max(first.unwrap_or_default());
    let max = section.or("max", usual, timeout);
    let (first, max) = (first?, max?);
    if max < first {
        return Err(section.fail("max", "is shorter than first"));
    }
    Ok(Backoff { first, max })
}

/// `[transcode]`.
pub(super) fn transcode(section: &Section<'_>, defaults: Defaults) -> Read<Transcode> {
    let workers = section.or("workers", defaults.workers, |item| some(item, 1..=256));
    // A worker has one frame in its hands, and the next one should be there when it has finished.
    let two_each = workers.unwrap_or(defaults.workers).saturating_mul(TWO);
    let frames_in_flight = section.or("frames_in_flight", two_each, |item| some(item, 1..=1024));
    let cache = section.or("cache", defaults.cache, |item| item.size(CACHE));
    let compare = section.or("compare", true, Item::truth);
    Ok(Transcode {
        workers: workers?,
        frames_in_flight: frames_in_flight?,
        cache: cache?,
        compare: if compare? { Compare::Yes } else { Compare::No },
    })
}

/// Not zero of something.
fn some(item: &Item<'_>, range: RangeInclusive<u64>) -> Read<NonZeroUsize> {
    NonZeroUsize::new(item.count(range)?).ok_or_else(|| item.fail("is none"))
}

/// `[admin]`.
pub(super) fn admin(section: &Section<'_>) -> Read<Admin> {
    let default = SocketAddr::from(([127, 0, 0, 1], 8080));
    Ok(Admin { address: section.or("address", default, socket_address)? })
}

/// `[log]`.
pub(super) fn log(section: &Section<'_>) -> Read<Log> {
    let format = section.or("format", LogFormat::Human, |item| {
        item.choice(&[("human", LogFormat::Human), ("json", LogFormat::Json)])
    });
    let level = section.or("level", LogLevel::Info, |item| {
        item.choice(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ])
    });
    Ok(Log { format: format?, level: level? })
}

pub(super) fn ae_list(section: &Section<'_>, name: &str) -> Read<Vec<AeTitle>> {
    let items = section.or(name, Vec::new(), Item::list)?;
    let mut seen: Vec<AeTitle> = Vec::with_capacity(items.len());
    let mut outcome = Ok(());
    for item in &items {
        match item.parse::<AeTitle>() {
            Ok(title) if seen.contains(&title) => {
                outcome = Err(item.fail(format_args!("\"{title}\" is listed twice")));
            }
            Ok(title) => seen.push(title),
            Err(reported) => outcome = Err(reported),
        }
    }
    outcome.map(|()| seen)
}

/// A list that matches nothing when it is empty is a mistake: "any" is said by leaving it out.
pub(super) fn non_empty<'t, T>(
    section: &Section<'t>,
    name: &str,
    read: impl Fn(&Item<'t>) -> Read<T>,
) -> Read<Vec<T>> {
    let values = section.each(name, read)?;
    match section.get(name) {
        Some(item) if values.is_empty() => Err(item.fail("is empty")),
        _ => Ok(values),
    }
}

pub(super) fn timeout(item: &Item<'_>) -> Read<Duration> {
    item.duration(TIMEOUT)
}

fn pdu_size(item: &Item<'_>) -> Read<u32> {
    let size = item.size(PDU)?;
    u32::try_from(size).map_err(|_| item.fail("does not fit a PDU's length"))
}

pub(super) fn path(item: &Item<'_>) -> Read<PathBuf> {
    match item.text()? {
        "" => Err(item.fail("is empty")),
        text if text.contains('\0') => Err(item.fail("contains a NUL character")),
        text => Ok(PathBuf::from(text)),
    }
}

/// A network, or a single address, which is a network of one.
pub(super) fn network(item: &Item<'_>) -> Read<IpNet> {
    let text = item.text()?;
    let parsed = text
        .parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map_err(|_| item.fail(format_args!("{text:?} is not a network such as \"10.0.0.0/8\"")))
}

pub(super) fn socket_address(item: &Item<'_>) -> Read<SocketAddr> {
    let (host, port) = split_address(item)?;
    let ip = host.and_then(|host| {
        host.parse::<IpAddr>().map_err(|_| item.fail(format_args!("{host:?} is not an IP address")))
    });
    Ok(SocketAddr::new(ip?, port?))
}

pub(super) fn host_port(item: &Item<'_>) -> Read<HostPort> {
    let (host, port) = split_address(item)?;
    Ok(HostPort { host: host?.to_owned(), port: port? })
}

/// Host and port, each of which may be wrong by itself.
fn split_address<'t>(item: &Item<'t>) -> Read<(Read<&'t str>, Read<u16>)> {
    let text = item.text()?;
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(item.fail(format_args!("{text:?} is not host:port")));
    };
    let number = port.parse::<u16>().ok().filter(|&port| port != 0);
    let port = number.ok_or_else(|| item.fail_part("port", format_args!("{port} is not 1..65535")));
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |host: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (1..=253).contains(&host.len()) && host.bytes().all(allowed)
    };
    let host = match bare {
        Some(inside) if inside.parse::<std::net::Ipv6Addr>().is_ok() => Ok(inside),
        None if named(host) => Ok(host),
        _ => Err(item.fail(format_args!("{host:?} is not a host name or an IP address"))),
    };
    Ok((host, port))
}
