//! How a link gets to its gateway: name, perhaps a proxy, TLS, the upgrade, and the three words that open a session.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{self, Error};

use super::SUBPROTOCOL;
use super::code::{LinkKey, NoRandomness, random};
use super::session::{Close, LinkOpening, Opened, OpeningError, Step};
use super::socket::{Ended, Over, Socket, limits};
use super::wire::Windows;
use crate::config::{HostPort, TunnelDestination, TunnelUrl, WebLogin};
use crate::dimse::socket::{self, ConnectError};
use crate::forward::authorization;
use crate::tls::{ClientTls, HandshakeError, MaterialError};

/// The longest answer of a proxy, in bytes.
const MAX_ANSWER: usize = 8 << 10;
/// What a link takes at once: the gateway has little to send.
const WINDOWS: Windows = Windows { stream: 1 << 20, session: 4 << 20, streams: 64 };

/// A connection, whatever it is made of.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Why a link is not connected.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody is there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The proxy does not let it through.
    #[error("the proxy {proxy} answered {answer:?}")]
    Proxy {
        /// Which.
        proxy: HostPort,
        /// Its first line.
        answer: String,
    },
    /// The proxy wants to know who we are, or our password cannot be had.
    #[error("the proxy {proxy} {why}")]
    ProxyLogin {
        /// Which.
        proxy: HostPort,
        /// In words, without the password.
        why: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    /// Our own files are of no use.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// No WebSocket.
    #[error("{}", upgrade_words(.0))]
    Upgrade(Box<Error>),
    /// No session.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The gateway ended it.
    #[error("the gateway does not let this link in: {0}")]
    Ended(Ended),
    /// It took too long.
    #[error("no session within {0:?}")]
    Timeout(Duration),
    /// The site's code cannot be had.
    #[error("{0}")]
    Code(String),
    /// No random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl DialError {
    /// Somebody has to look: it will not pass by itself.
    pub fn is_for_a_person(&self) -> bool {
        match self {
            Self::Ended(ended) => matches!(ended.close, Close::Unauthorised | Close::Version),
            Self::Opening(_) | Self::Material(_) | Self::Code(_) | Self::ProxyLogin { .. } => true,
            Self::Tls(error) => error.is_for_a_person(),
            Self::Connect(_)
            | Self::Proxy { .. }
            | Self::Io(_)
            | Self::Upgrade(_)
            | Self::Timeout(_)
            | Self::Randomness(_) => false,
        }
    }

    /// The kind of failure, for the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::Io(_) => "unreachable",
            Self::Proxy { .. } => "proxy",
            Self::ProxyLogin { .. } => "proxy_login",
            Self::Tls(_) | Self::Material(_) => "tls",
            Self::Upgrade(_) => "no_upgrade",
            Self::Ended(Ended { close: Close::Unauthorised, .. }) | Self::Code(_) => "code",
            Self::Opening(_) | Self::Ended(_) | Self::Randomness(_) => "refused",
            Self::Timeout(_) => "timeout",
        }
    }
}

/// A way to a gateway.
pub(super) struct Dial<'a> {
    pub(super) url: &'a TunnelUrl,
    pub(super) proxy: Option<&'a HostPort>,
    pub(super) login: &'a WebLogin,
    pub(super) tls: Option<&'a ClientTls>,
    pub(super) site: &'a str,
    pub(super) key: LinkKey,
    pub(super) limit: Duration,
}

/// Goes as far as one gets without the site's code: says which address answered, and by TLS if that is configured.
///
/// # Errors
/// [`DialError`]
pub async fn reach(tunnel: &TunnelDestination, limit: Duration) -> Result<String, DialError> {
    let reaching = async {
        let stream = connect(&tunnel.url, tunnel.proxy.as_ref(), &tunnel.proxy_login, limit).await?;
        let address = stream.peer_addr()?.to_string();
        if tunnel.url.is_secure {
            let settings = tunnel.tls();
            let made = tokio::task::spawn_blocking(move || ClientTls::new(&settings)).await;
            let tls = made.map_err(|error| DialError::Code(error.to_string()))??;
            let name = tls.name_for(&tunnel.url.host)?;
            let encrypted = Box::pin(tls.connect(stream, &name, limit)).await;
            encrypted?;
        }
        Ok(address)
    };
    timeout(limit, reaching).await.map_err(|_| DialError::Timeout(limit))?
}

impl Dial<'_> {
    /// Opens a session.
    pub(super) async fn open(self) -> Result<(Socket<Box<dyn Wire>>, Opened), DialError> {
        let limit = self.limit;
        timeout(limit, self.open_in_time()).await.map_err(|_| DialError::Timeout(limit))?
    }

    async fn open_in_time(self) -> Result<(Socket<Box<dyn Wire>>, Opened), DialError> {
        let stream = connect(self.url, self.proxy, self.login, self.limit).await?;
        let wire: Box<dyn Wire> = match self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = tls.name_for(&self.url.host)?;
                let encrypted = Box::pin(tls.connect(stream, &name, self.limit)).await;
                Box::new(encrypted?)
            }
        };
        let upgrade = |error| DialError::Upgrade(Box::new(error));
        let mut request = self.url.plain().into_client_request().map_err(upgrade)?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let over = if self.tls.is_some() { Over::Tls } else { Over::Plain };
        let upgrading = Box::pin(client_async_with_config(request, wire, Some(limits(over))));
        let (web, _) = upgrading.await.map_err(upgrade)?;
        self.hello(Socket::new(web)).await
    }

    async fn hello(
        self,
        mut socket: Socket<Box<dyn Wire>>,
    ) -> Result<(Socket<Box<dyn Wire>>, Opened), DialError> {
        let mut opening = LinkOpening::new(self.site, self.key, random()?, WINDOWS);
        loop {
            let bytes = socket.read().await.map_err(DialError::Ended)?;
            match opening.received(bytes, Duration::ZERO) {
                Ok(Step::Say(bytes)) => socket.say(bytes).await.map_err(DialError::Ended)?,
                Ok(Step::Open(opened)) => return Ok((socket, opened)),
                Err(error) => {
                    socket.close(&Ended::by_us(error.close(), error.to_string())).await;
                    return Err(error.into());
                }
            }
        }
    }
}

async fn connect(
    url: &TunnelUrl,
    proxy: Option<&HostPort>,
    login: &WebLogin,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let Some(proxy) = proxy else {
        return Ok(socket::connect(&url.host, url.port, limit).await?);
    };
    let authorization = proxy_authorization(proxy, login).await?;
    let mut stream = socket::connect(&proxy.host, proxy.port, limit).await?;
    let target = HostPort { host: url.host.clone(), port: url.port };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = &authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let answer = read_answer(&mut stream).await?;
    match status(&answer) {
        Some(200..=299) => Ok(stream),
        Some(407) => {
            Err(DialError::ProxyLogin { proxy: proxy.clone(), why: login_words(login, &schemes(&answer)) })
        }
        _ => Err(DialError::Proxy { proxy: proxy.clone(), answer: first_line(&answer) }),
    }
}

/// What the proxy is told of us.
async fn proxy_authorization(proxy: &HostPort, login: &WebLogin) -> Result<Option<HeaderValue>, DialError> {
    let login = login.clone();
    let read = tokio::task::spawn_blocking(move || authorization(&login)).await;
    let failed = |error: String| DialError::ProxyLogin {
        proxy: proxy.clone(),
        why: format!("is not asked, because our password cannot be had: {error}"),
    };
    read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// The head of a proxy's answer; all of it has been read, and not a byte more.
async fn read_answer(stream: &mut TcpStream) -> Result<String, DialError> {
    let mut answer = Vec::new();
    // Byte by byte: what comes after it is somebody else's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(io::Error::other("the proxy's answer is too long").into());
        }
        answer.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn first_line(answer: &str) -> String {
    let first = answer.split('\r').next().unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).take(120).collect()
}

fn status(answer: &str) -> Option<u16> {
    let first = first_line(answer);
    let mut words = first.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|status| status.len() == 3)?.parse().ok()
}

/// The ways of saying who one is that a proxy offers (RFC 9110 11.7.1), as it calls them.
fn schemes(answer: &str) -> Vec<String> {
    let fields = answer.split("\r\n").filter_map(|line| line.split_once(':'));
    let offers = fields.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"));
    let scheme = |value: &str| {
        let word = value.split_whitespace().next().unwrap_or_default();
        word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(20).collect::<String>()
    };
    offers.map(|(_, value)| scheme(value)).filter(|scheme| !scheme.is_empty()).take(8).collect()
}

/// What a 407 means.
fn login_words(login: &WebLogin, schemes: &[String]) -> String {
    let is_basic = schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    let said = match login {
        _ if !is_basic => {
            return format!("wants a login by {}, and this program has Basic only (407)", schemes.join(", "));
        }
        WebLogin::Anonymous => "wants a user and a password: proxy_user and proxy_password_file",
        WebLogin::Basic { .. } | WebLogin::Bearer(_) => "does not take this user and password",
    };
    format!("{said} (407)")
}

fn upgrade_words(error: &Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let what = match status.as_u16() {
                404 => "there is no tunnel at this path",
                429 => "this address has failed too often",
                503 => "it has too many connections",
                _ => "this is no gateway of ours, or something stands before it",
            };
            format!("the gateway answered {status}: {what}")
        }
        other => format!("no WebSocket came about: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{login_words, schemes, status};
    use crate::config::{SecretPlace, WebLogin};

    #[test]
    fn a_proxy_lets_through_with_any_success_and_nothing_else() {
        let success = |answer: &str| matches!(status(answer), Some(200..=299));
        assert!(success("HTTP/1.1 200 Connection established\r\n\r\n") && success("HTTP/1.0 204"));
        for refusal in [
            "HTTP/1.1 407 Proxy Authentication Required",
            "SSH-2.0",
            "",
            "HTTP/1.1 2000 x",
            "x\r\nHTTP/1.1 200",
        ] {
            assert!(!success(refusal), "{refusal}");
        }
    }

    #[test]
    fn a_407_is_said_in_words_by_what_we_said_and_what_the_proxy_offers() {
        let basic = "HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: Basic realm=\"a\"\r\n\r\n";
        assert_eq!(schemes(basic), ["Negotiate", "Basic"]);
        let (nobody, user) = (
            WebLogin::Anonymous,
            WebLogin::Basic { user: "u".into(), password: SecretPlace::Variable("P".into()) },
        );
        assert!(login_words(&nobody, &schemes(basic)).contains("proxy_password_file"));
        assert!(login_words(&user, &schemes(basic)).contains("does not take this user and password"));
        let other = schemes("HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n");
        assert!(login_words(&user, &other).contains("by NTLM, and this program has Basic only"));
    }
}
