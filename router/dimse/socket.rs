//! TCP as the driver wants it: no Nagle, prompt acknowledgements, and a deadline on connecting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::connection::Transport;
use crate::platform;

impl Transport for TcpStream {
    fn before_read(&self) {
        platform::acknowledge_at_once(self);
    }
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or the resolver failed.
    #[error("{host} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Every address refused or is unreachable; this is the last one's answer.
    #[error("{address} cannot be reached: {source}")]
    Unreachable {
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing happened in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// Resolves the name and connects to the first of its addresses that answers, all within `limit`.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + limit;
    let expired = |_| ConnectError::Timeout(limit);
    let resolve = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let addresses =
        timeout_at(deadline, lookup_host((host, port))).await.map_err(expired)?.map_err(resolve)?;
    let mut failure = resolve(io::Error::from(io::ErrorKind::NotFound));
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address)).await.map_err(expired)? {
            Ok(stream) => {
                prepare(&stream);
                return Ok(stream);
            }
            Err(source) => failure = ConnectError::Unreachable { address, source },
        }
    }
    Err(failure)
}

/// A listening socket. Port 0 picks a free one.
///
/// # Errors
/// The address cannot be bound.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Sets the options of a connection, made or accepted. A failure is harmless: it only costs speed.
pub fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}
