//! What the configuration says of the tunnel: listeners and destinations of kind `tunnel`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_tungstenite::tungstenite::http::Uri;

use super::file::{Item, Read, Section};
use super::meaning::{DestinationKind, DestinationTimeouts, HostPort, Listener};
use super::names::DestinationName;
use super::read::{host_port, non_empty, path, secret_place, timeout, user_name};
use super::tls::{ClientTls, Verify};
use super::web::WebLogin;
use crate::tls::{Pin, Security};
use crate::tunnel::SiteName;

/// What a listener takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// Associations.
    Dicom,
    /// Links: this node is their gateway.
    Tunnel(TunnelListener),
}

/// A gateway's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelListener {
    /// The path of the WebSocket.
    pub path: String,
    /// Bytes of one stream that wait here at most.
    pub window: u32,
    /// Bytes of all streams of a session that wait here at most.
    pub session_window: u32,
    /// Streams that a link has open at once.
    pub streams: u16,
    /// Each side says something as often.
    pub keepalive: Duration,
    /// Failed hellos a minute from one address, after which it has to wait.
    pub max_failures: u32,
    /// Instances that are kept in part, to be gone on with.
    pub partials: usize,
    /// Their bytes.
    pub partial_bytes: u64,
    /// How long each waits to be gone on with.
    pub partial_age: Duration,
}

/// A gateway, as a link calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelDestination {
    /// Where it is.
    pub url: TunnelUrl,
    /// The site's name there.
    pub site: SiteName,
    /// Where the site's code is.
    pub code: CodeSource,
    /// The keys that the gateway's certificate may have.
    pub pins: Vec<Pin>,
    /// The authorities of its certificate, instead of those that the system trusts.
    pub ca: Option<PathBuf>,
    /// An HTTP proxy to go through.
    pub proxy: Option<HostPort>,
    /// Who we are there: nobody, or a user with a password.
    pub proxy_login: WebLogin,
    /// Instances that are on their way at once.
    pub uploads: usize,
    /// Destinations here that the gateway may echo and push to.
    pub endpoints: Vec<DestinationName>,
    /// How long it may take.
    pub timeouts: DestinationTimeouts,
    /// Whether the gateway may set some of this node's configuration.
    pub remote_configuration: bool,
    /// How long a configuration from there has to show that the gateway is still reached.
    pub remote_probation: Duration,
}

/// A destination behind a link, as its gateway reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteDestination {
    /// The link's site.
    pub site: SiteName,
    /// What the link calls the destination.
    pub endpoint: DestinationName,
    /// Instances that are on their way at once, each on an association of its own.
    pub max_associations: usize,
    /// How long it may take.
    pub timeouts: DestinationTimeouts,
    /// Whether links come by TLS.
    pub security: Security,
}

/// How links come here: as the least secure of the listeners that they may come by. None without a listener for them.
pub(super) fn way_of_links(listeners: &[Listener]) -> Option<Security> {
    let mut links = listeners.iter().filter(|listener| matches!(listener.kind, ListenerKind::Tunnel(_)));
    let first = links.next()?;
    let is_secure = first.tls.is_some() && links.all(|listener| listener.tls.is_some());
    Some(if is_secure { Security::Secured } else { Security::Unsecured })
}

impl TunnelDestination {
    /// TLS towards the gateway: authorities first, then the pins.
    pub fn tls(&self) -> ClientTls {
        let verify = Verify::CaAndPin(self.ca.clone(), self.pins.clone());
        ClientTls { verify, server_name: None, identity: None }
    }

    /// Whether it is encrypted to somebody who is verified.
    pub fn security(&self) -> Security {
        if self.url.is_secure { self.tls().security() } else { Security::Unsecured }
    }
}

/// Where a site's code is. It is never in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// In a file that only its owner can read.
    File(PathBuf),
    /// In this variable of the environment.
    Environment(String),
}

/// The address of a gateway: `wss://`, or `ws://` on this very machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TunnelUrl {
    /// By TLS.
    pub is_secure: bool,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// With its slash.
    pub path: String,
}

/// Not the address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelUrlError {
    /// Something else.
    #[error("{0:?} is no address such as \"wss://gateway.example.org/tunnel\"")]
    NotAUrl(String),
    /// Not encrypted.
    #[error("ws:// is not encrypted, and is for this very machine only; use wss://")]
    Plain,
    /// A name and a password in the address.
    #[error("holds a user name; the site's code goes into code_file")]
    User,
}

impl TunnelUrl {
    /// For the upgrade, which is always made inside of whatever encrypts it.
    pub fn plain(&self) -> String {
        let Self { host, port, path, .. } = self;
        let authority = HostPort { host: host.clone(), port: *port };
        format!("ws://{authority}{path}")
    }
}

impl fmt::Display for TunnelUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_secure, host, port, path } = self;
        let scheme = if *is_secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{path}", HostPort { host: host.clone(), port: *port })
    }
}

impl FromStr for TunnelUrl {
    type Err = TunnelUrlError;

    fn from_str(text: &str) -> Result<Self, TunnelUrlError> {
        let none = || TunnelUrlError::NotAUrl(text.chars().take(120).collect());
        if text.contains('@') {
            return Err(TunnelUrlError::User);
        }
        let uri: Uri = text.parse().map_err(|_| none())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(none)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") if is_here(&host) => false,
            Some("ws") => return Err(TunnelUrlError::Plain),
            _ => return Err(none()),
        };
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        if port == 0 || uri.query().is_some() {
            return Err(none());
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(Self { is_secure, host, port, path: path.to_owned() })
    }
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What a listener takes, and how.
pub(super) fn listener(section: &Section<'_>) -> Read<ListenerKind> {
    let is_tunnel = section.or("kind", false, |item| item.choice(&[("dicom", false), ("tunnel", true)]))?;
    let table = section.table("tunnel");
    if !is_tunnel {
        return match section.get("tunnel") {
            None => Ok(ListenerKind::Dicom),
            Some(item) => Err(item.fail("is for listeners with kind = \"tunnel\"")),
        };
    }
    let mut outcome = Ok(());
    for item in DICOM_ONLY.iter().filter_map(|key| section.get(key)) {
        outcome = Err(item.fail("has no meaning for a listener of kind \"tunnel\""));
    }
    let address = section.required("address", |item| item.parse::<std::net::SocketAddr>());
    if address.is_ok_and(|address| !address.ip().to_canonical().is_loopback()) && section.get("tls").is_none()
    {
        outcome =
            Err(section.fail("tls", "is required for a tunnel, unless it is for this very machine only"));
    }
    let path = table.or("path", "/tunnel".to_owned(), url_path);
    let window = table.or("window", 1 << 20, |item| size(item, 64 << 10..=64 << 20));
    let session_window = table.or("session_window", 4 << 20, |item| size(item, 64 << 10..=1 << 30));
    let streams = table.or("streams", 64, |item| item.count(1..=1024));
    let keepalive = table.or("keepalive", Duration::from_secs(15), |item| item.duration(KEEPALIVE));
    let max_failures = table.or("max_failures", 10, |item| item.count(1..=10_000));
    let partials = table.or("partials", 64, |item| item.count(0..=4096));
    let partial_bytes = table.or("partial_bytes", 8 << 30, |item| item.size(0..=1 << 50));
    let partial_age = table.or("partial_age", Duration::from_secs(3600), timeout);
    outcome?;
    let (window, session_window) = (window?, session_window?);
    if session_window < window {
        return Err(table.fail("session_window", "is smaller than window"));
    }
    Ok(ListenerKind::Tunnel(TunnelListener {
        path: path?,
        window,
        session_window,
        streams: u16::try_from(streams?).unwrap_or(u16::MAX),
        keepalive: keepalive?,
        max_failures: u32::try_from(max_failures?).unwrap_or(u32::MAX),
        partials: partials?,
        partial_bytes: partial_bytes?,
        partial_age: partial_age?,
    }))
}

const KEEPALIVE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// What only associations have.
const DICOM_ONLY: [&str; 6] =
    ["called_ae", "calling_ae", "max_pdu", "sop_classes", "transfer_syntaxes", "user_identity"];

/// A destination of kind `site`; `timeouts` and `max_associations` have been read. How links come here is known later.
pub(super) fn site(
    section: &Section<'_>,
    timeouts: Read<DestinationTimeouts>,
    max_associations: Read<usize>,
) -> Read<DestinationKind> {
    let site = section.required("site", Item::parse::<SiteName>);
    let endpoint = section.required("endpoint", Item::parse::<DestinationName>);
    Ok(DestinationKind::Site(SiteDestination {
        site: site?,
        endpoint: endpoint?,
        max_associations: max_associations?,
        timeouts: timeouts?,
        security: Security::Unsecured,
    }))
}

/// A destination of kind `tunnel`; `timeouts` have been read.
pub(super) fn destination(
    section: &Section<'_>,
    timeouts: Read<DestinationTimeouts>,
) -> Read<DestinationKind> {
    let url = section.required("url", Item::parse::<TunnelUrl>);
    let site = section.required("site", Item::parse::<SiteName>);
    let code = code(section);
    let pins = non_empty(section, "pins", Item::parse::<Pin>);
    let ca = section.or("ca", None, |item| path(item).map(Some));
    let proxy = section.or("proxy", None, |item| host_port(item).map(Some));
    let proxy_login = proxy_login(section);
    let uploads = section.or("uploads", 4, |item| item.count(1..=32));
    let endpoints = endpoints(section);
    let remote_configuration = section.or("remote_configuration", false, Item::truth);
    let remote_probation = section.or("remote_probation", PROBATION, |item| item.duration(PROBATIONS));
    let (url, pins) = (url?, pins?);
    match (url.is_secure, pins.len()) {
        (true, 0..2) => {
            return Err(
                section.fail("pins", "two or more are required: the key that is used, and a spare one")
            );
        }
        (false, 1..) => return Err(section.fail("pins", "have no meaning without TLS: use wss://")),
        _ => {}
    }
    Ok(DestinationKind::Tunnel(TunnelDestination {
        url,
        site: site?,
        code: code?,
        pins,
        ca: ca?,
        proxy: proxy?,
        proxy_login: proxy_login?,
        uploads: uploads?,
        endpoints: endpoints?,
        timeouts: timeouts?,
        remote_configuration: remote_configuration?,
        remote_probation: remote_probation?,
    }))
}

const PROBATION: Duration = Duration::from_secs(120);
const PROBATIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

fn proxy_login(section: &Section<'_>) -> Read<WebLogin> {
    let password = secret_place(section, "proxy_password_file", "proxy_password_variable");
    let user = section.or("proxy_user", None, |item| user_name(item).map(Some));
    if section.get("proxy_user").is_some() && section.get("proxy").is_none() {
        return Err(section.fail("proxy_user", "has no meaning without proxy"));
    }
    match (user?, password?) {
        (None, None) => Ok(WebLogin::Anonymous),
        (Some(user), Some(password)) => Ok(WebLogin::Basic { user, password }),
        (Some(_), None) => {
            Err(section.fail("proxy_user", "needs proxy_password_file or proxy_password_variable"))
        }
        (None, Some(_)) => Err(section.fail("proxy_user", "is missing beside a password")),
    }
}

fn endpoints(section: &Section<'_>) -> Read<Vec<DestinationName>> {
    section.each("endpoints", Item::parse::<DestinationName>)
}

fn code(section: &Section<'_>) -> Read<CodeSource> {
    let file = section.or("code_file", None, |item| path(item).map(Some))?;
    let variable = section.or("code_env", None, |item| item.text().map(|text| Some(text.to_owned())))?;
    match (file, variable) {
        (Some(file), None) => Ok(CodeSource::File(file)),
        (None, Some(name)) if !name.is_empty() => Ok(CodeSource::Environment(name)),
        (Some(_), Some(_)) => Err(section.fail("code_env", "and code_file: one of them")),
        _ => Err(section.fail("code_file", "is required, or code_env: where the site's code is")),
    }
}

fn url_path(item: &Item<'_>) -> Read<String> {
    let text = item.text()?;
    let fine = |c: char| c.is_ascii_graphic() && !"?#\"<>".contains(c);
    if text.starts_with('/') && text.len() <= 200 && text.chars().all(fine) {
        Ok(text.to_owned())
    } else {
        Err(item.fail("is no path such as \"/tunnel\""))
    }
}

fn size(item: &Item<'_>, range: std::ops::RangeInclusive<u64>) -> Read<u32> {
    let size = item.size(range)?;
    u32::try_from(size).map_err(|_| item.fail("is too large"))
}

#[cfg(test)]
mod tests {
    use super::{CodeSource, ListenerKind, TunnelUrl, TunnelUrlError};
    use crate::config::{Config, DestinationKind};
    use crate::tls::Security;

    #[test]
    fn an_address_is_encrypted_or_on_this_machine() {
        let plain = |text: &str| text.parse::<TunnelUrl>().map(|url| url.to_string());
        assert_eq!(plain("wss://Gateway.example.org"), Ok("wss://gateway.example.org:443/".into()));
        assert_eq!(plain("wss://[2001:db8::1]:8443/t"), Ok("wss://[2001:db8::1]:8443/t".into()));
        assert_eq!(plain("ws://127.0.0.1:9/tunnel"), Ok("ws://127.0.0.1:9/tunnel".into()));
        assert_eq!(plain("ws://gateway.example.org"), Err(TunnelUrlError::Plain));
        assert_eq!(plain("wss://north:code@gateway"), Err(TunnelUrlError::User));
        for wrong in ["", "gateway", "https://gateway", "wss://", "wss:///x", "wss://g?x=1", "wss://g:0"] {
            assert!(matches!(plain(wrong), Err(TunnelUrlError::NotAUrl(_))), "{wrong:?}");
        }
    }

    const LINK: &str = "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nsite = \"north\"\n";

    fn problems(text: &str) -> String {
        Config::parse(text, "test").map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_link_has_two_pins_a_code_and_a_place_to_go() {
        let pins = format!("pins = [\"{}\", \"{}\"]\n", "0".repeat(64), "1".repeat(64));
        let text =
            format!("{LINK}url = \"wss://gateway\"\ncode_file = \"code\"\nproxy = \"proxy:3128\"\n{pins}");
        let config = Config::parse(&text, "test").unwrap();
        let DestinationKind::Tunnel(tunnel) = &config.destinations[0].kind else { panic!("a tunnel") };
        assert_eq!((tunnel.code.clone(), tunnel.uploads), (CodeSource::File("code".into()), 4));
        for (lines, why) in [
            ("proxy_user = \"u\"\n", "needs proxy_password_file"),
            ("proxy_password_file = \"p\"\n", "is missing beside a password"),
            ("proxy_user = \"a:b\"\nproxy_password_file = \"p\"\n", "has a colon"),
            ("user = \"u\"\npassword_file = \"p\"\n", "has no meaning for a destination of kind \"tunnel\""),
        ] {
            let said = problems(&format!("{text}{lines}"));
            assert!(said.contains(why), "{said}");
        }
        let basic = format!("{text}proxy_user = \"u\"\nproxy_password_file = \"p\"\n");
        assert!(Config::parse(&basic, "test").is_ok());
        let nowhere = basic.replace("proxy = \"proxy:3128\"\n", "");
        assert!(problems(&nowhere).contains("has no meaning without proxy"));
        let one = text.replace(&format!(", \"{}\"", "1".repeat(64)), "");
        assert!(problems(&one).contains("two or more"), "{}", problems(&one));
        let none = text.replace("code_file = \"code\"\n", "");
        assert!(problems(&none).contains("where the site's code is"));
        let both = format!("{text}code_env = \"CODE\"\n");
        assert!(problems(&both).contains("one of them"));
        let dicom = format!("{text}called_ae = \"PACS\"\n");
        assert!(problems(&dicom).contains("has no meaning for a destination of kind \"tunnel\""));
    }

    #[test]
    fn a_gateway_that_others_reach_has_tls() {
        let text = "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"127.0.0.1:8443\"\n";
        let config = Config::parse(text, "test").unwrap();
        assert!(
            matches!(&config.listeners[0].kind, ListenerKind::Tunnel(tunnel) if tunnel.path == "/tunnel")
        );
        assert!(problems(&text.replace("127.0.0.1", "0.0.0.0")).contains("is required for a tunnel"));
        assert!(problems(&format!("{text}called_ae = [\"A\"]\n")).contains("no meaning"));
        assert!(
            problems(&format!("{text}tunnel = {{ window = \"2MiB\", session_window = \"1MiB\" }}\n"))
                .contains("smaller")
        );
    }

    const SITE: &str =
        "[[destination]]\nname = \"far\"\nkind = \"site\"\nsite = \"north\"\nendpoint = \"pacs\"\n";
    const LISTENER: &str =
        "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"127.0.0.1:8443\"\n";

    #[test]
    fn what_is_behind_a_link_is_named_by_site_and_endpoint_and_as_secure_as_the_way_there() {
        let security = |text: &str| {
            let config = Config::parse(text, "test").unwrap();
            config.destinations[0].security().unwrap()
        };
        assert_eq!(security(&format!("{LISTENER}{SITE}")), Security::Unsecured);
        let tls = "tls = { certificate = \"c.pem\", key = \"k.pem\" }\n";
        assert_eq!(security(&format!("{LISTENER}{tls}{SITE}")), Security::Secured);
        let second = LISTENER.replace("links", "others").replace("8443", "8444");
        assert_eq!(security(&format!("{LISTENER}{tls}{second}{SITE}")), Security::Unsecured);
        assert!(problems(SITE).contains("no listener of kind"), "{}", problems(SITE));
        let table = [
            ("address = \"a:1\"", "no meaning"),
            ("url = \"wss://g\"", "no meaning"),
            ("endpoints = []", "no meaning"),
        ];
        for (key, why) in table {
            let said = problems(&format!("{LISTENER}{SITE}{key}\n"));
            assert!(said.contains(why), "{key}: {said}");
        }
        let twice = format!("{LISTENER}{SITE}{}", SITE.replace("far", "farther"));
        assert!(problems(&twice).contains("is the same"), "{}", problems(&twice));
        let nameless = SITE.replace("kind = \"site\"\n", "");
        assert!(problems(&format!("{LISTENER}{nameless}")).contains("kind"));
    }

    #[test]
    fn an_endpoint_is_a_dicom_destination_of_this_very_node() {
        let pins = format!("pins = [\"{}\", \"{}\"]\n", "0".repeat(64), "1".repeat(64));
        let link = format!("{LINK}url = \"wss://gateway\"\ncode_file = \"code\"\n{pins}");
        let pacs =
            "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"a:104\"\ncalled_ae = \"P\"\n";
        let folder = "[[destination]]\nname = \"disk\"\nkind = \"folder\"\npath = \"disk\"\n";
        let with = |endpoints: &str| format!("{link}endpoints = [{endpoints}]\n{pacs}{folder}");
        let config = Config::parse(&with("\"pacs\""), "test").unwrap();
        let DestinationKind::Tunnel(tunnel) = &config.destinations[0].kind else { panic!("a tunnel") };
        assert_eq!(tunnel.endpoints[0].as_str(), "pacs");
        assert!(problems(&with("\"disk\"")).contains("is not of kind \"dicom\""));
        assert!(problems(&with("\"pax\"")).contains("there is no destination \"pax\""));
        assert!(problems(&with("\"cloud\"")).contains("is not of kind"), "not the link itself");
    }
}
