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
use super::socket::{Ended, Socket, limits};
use super::wire::Windows;
use crate::config::{HostPort, TunnelDestination, TunnelUrl};
use crate::dimse::socket::{self, ConnectError};
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
            Self::Opening(_) | Self::Material(_) | Self::Code(_) => true,
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
        let stream = connect(&tunnel.url, tunnel.proxy.as_ref(), limit).await?;
        let address = stream.peer_addr()?.to_string();
        if tunnel.url.is_secure {
            let settings = tunnel.tls();
            let made = tokio::task::spawn_blocking(move || ClientTls::new(&settings)).await;
            let tls = made.map_err(|error| DialError::Code(error.to_string()))??;
            let name = tls.name_for(&tunnel.url.host)?;
            Box::pin(tls.connect(stream, &name, limit)).await?;
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
        let stream = connect(self.url, self.proxy, self.limit).await?;
        let wire: Box<dyn Wire> = match self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = tls.name_for(&self.url.host)?;
                Box::new(Box::pin(tls.connect(stream, &name, self.limit)).await?)
            }
        };
        let upgrade = |error| DialError::Upgrade(Box::new(error));
        let mut request = self.url.plain().into_client_request().map_err(upgrade)?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let upgrading = Box::pin(client_async_with_config(request, wire, Some(limits())));
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

async fn connect(url: &TunnelUrl, proxy: Option<&HostPort>, limit: Duration) -> Result<TcpStream, DialError> {
    let Some(proxy) = proxy else {
        return Ok(socket::connect(&url.host, url.port, limit).await?);
    };
    let mut stream = socket::connect(&proxy.host, proxy.port, limit).await?;
    let target = HostPort { host: url.host.clone(), port: url.port };
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let answer = read_answer(&mut stream).await?;
    if is_success(&answer) {
        return Ok(stream);
    }
    Err(DialError::Proxy { proxy: proxy.clone(), answer })
}

/// The first line of a proxy's answer; all of the answer has been read, and not a byte more is there.
async fn read_answer(stream: &mut TcpStream) -> Result<String, DialError> {
    let mut answer = Vec::new();
    // Byte by byte: what comes after it is somebody else's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(io::Error::other("the proxy's answer is too long").into());
        }
        answer.push(stream.read_u8().await?);
    }
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(first);
    Ok(text.chars().filter(|c| !c.is_control()).take(120).collect())
}

fn is_success(answer: &str) -> bool {
    let mut words = answer.split(' ');
    words.next().is_some_and(|version| version.starts_with("HTTP/1."))
        && words.next().is_some_and(|status| status.len() == 3 && status.starts_with('2'))
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
    use super::is_success;

    #[test]
    fn a_proxy_lets_through_with_any_success_and_nothing_else() {
        assert!(is_success("HTTP/1.1 200 Connection established") && is_success("HTTP/1.0 204"));
        for refusal in ["HTTP/1.1 407 Proxy Authentication Required", "SSH-2.0", "", "HTTP/1.1 2000 x"] {
            assert!(!is_success(refusal), "{refusal}");
        }
    }
}
