//! A connection that remembers how the peer's bytes began: what is not DICOM gives itself away by that.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dimse::{Outbound, Transport};

/// How many bytes are remembered.
const REMEMBERED: usize = 16;

/// A connection whose first bytes are kept.
#[derive(Debug)]
pub(super) struct Tap {
    stream: Outbound,
    began: Began,
}

/// How the peer's bytes began. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Began(Arc<Mutex<Vec<u8>>>);

/// What a peer speaks instead of DICOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    Nothing,
    Tls,
    Http,
    Ssh,
    /// A greeting in letters, as mail servers and FTP give.
    Text,
    Unknown,
}

impl Tap {
    pub(super) fn new(stream: Outbound) -> (Self, Began) {
        let began = Began::default();
        (Self { stream, began: began.clone() }, began)
    }
}

impl Began {
    /// What the first bytes look like.
    pub(super) fn tongue(&self) -> Tongue {
        match self.bytes().as_slice() {
            [] => Tongue::Nothing,
            // An alert or a handshake record of SSL 3.0 to TLS 1.3 (RFC 8446 5.1).
            [0x15 | 0x16, 0x03, ..] => Tongue::Tls,
            [b'H', b'T', b'T', b'P', ..] => Tongue::Http,
            [b'S', b'S', b'H', b'-', ..] => Tongue::Ssh,
            bytes if bytes.iter().all(|byte| byte.is_ascii_graphic() || b" \r\n\t".contains(byte)) => {
                Tongue::Text
            }
            _ => Tongue::Unknown,
        }
    }

    /// The first bytes, escaped.
    pub(super) fn shown(&self) -> String {
        self.bytes().escape_ascii().to_string()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, bytes: &[u8]) {
        let mut began = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REMEMBERED.saturating_sub(began.len());
        began.extend(bytes.iter().take(room));
    }
}

impl Transport for Tap {
    fn before_read(&self) {
        self.stream.before_read();
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.began.add(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{Began, Tongue};

    #[test]
    fn a_peer_is_known_by_its_first_bytes_and_no_more_of_them_are_kept() {
        let table: [(&[u8], Tongue); 7] = [
            (b"", Tongue::Nothing),
            (b"\x15\x03\x03\x00\x02\x02\x46", Tongue::Tls),
            (b"HTTP/1.1 400 Bad Request\r\n", Tongue::Http),
            (b"SSH-2.0-OpenSSH_9.2", Tongue::Ssh),
            (b"220 mail.example.org", Tongue::Text),
            (b"\x00\x00\x01", Tongue::Unknown),
            (b"\x02\x00\x00\x00", Tongue::Unknown),
        ];
        for (bytes, tongue) in table {
            let began = Began::default();
            bytes.chunks(3).for_each(|chunk| began.add(chunk));
            assert_eq!(began.tongue(), tongue, "{bytes:?}");
            assert!(began.bytes().len() <= 16);
        }
    }
}
