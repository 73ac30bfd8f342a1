//! A connection to a peer that we call: plain, or by TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Transport;
use super::socket::{self, ConnectError};
use crate::tls::{ClientStream, ClientTls, HandshakeError};

/// A connection to a peer that we call.
#[derive(Debug)]
pub enum Outbound {
    /// Whoever is on the way can read it.
    Plain(TcpStream),
    /// Nobody can.
    Tls(Box<ClientStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection, but no TLS on it.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// Resolves the name, connects to the first of its addresses that answers, and makes the connection an encrypted one if it is
/// to be; each of the two within `limit`.
///
/// # Errors
/// [`DialError`]
pub async fn dial(
    host: &str,
    port: u16,
    tls: Option<&ClientTls>,
    limit: Duration,
) -> Result<Outbound, DialError> {
    let stream = socket::connect(host, port, limit).await?;
    let Some(tls) = tls else { return Ok(Outbound::Plain(stream)) };
    let name = tls.name_for(host)?;
    Ok(Outbound::Tls(Box::new(tls.connect(stream, &name, limit).await?)))
}

impl Transport for Outbound {
    fn before_read(&self) {
        match self {
            Self::Plain(stream) => stream.before_read(),
            Self::Tls(stream) => stream.before_read(),
        }
    }
}

impl AsyncRead for Outbound {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Outbound {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
