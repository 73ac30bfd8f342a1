//! The stream under TLS: it remembers how the peer's bytes began, because what is not TLS gives itself away by that, and it reads
//! ahead, because the library over it asks for 4 KiB at a time.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::dimse::Transport;

/// How many bytes are remembered.
const REMEMBERED: usize = 11;

/// The first byte of a ClientHello's record.
const HANDSHAKE: u8 = 0x16;
/// How far is read ahead, once somebody is known.
const AHEAD: usize = 128 << 10;

/// A stream whose first received bytes are kept.
#[derive(Debug)]
pub struct Sniffed<S> {
    stream: S,
    first: [u8; REMEMBERED],
    count: usize,
    /// What was read ahead, as far as it is not taken; empty until it is asked for.
    ahead: Vec<u8>,
    is_reading_ahead: bool,
    taken: usize,
    filled: usize,
}

/// What a peer speaks, going by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    /// It has said nothing.
    Nothing,
    /// A record of SSL 3.0 to TLS 1.3 (RFC 8446 5.1).
    Tls,
    /// The hello of SSL 2, which old programs send for what comes after it too.
    Ssl2,
    /// A PDU of DICOM without TLS (PS3.8 9.3).
    Dicom,
    /// HTTP, either side of it.
    Http,
    /// SSH.
    Ssh,
    /// Something else.
    Unknown,
}

impl<S> Sniffed<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            first: [0; REMEMBERED],
            count: 0,
            ahead: Vec::new(),
            is_reading_ahead: false,
            taken: 0,
            filled: 0,
        }
    }

    /// What the peer speaks.
    pub fn tongue(&self) -> Tongue {
        Tongue::of(self.first.get(..self.count).unwrap_or_default())
    }

    /// Reads ahead from now on: a stranger should not cost that much memory.
    pub(super) fn read_ahead(&mut self) {
        let rest = self.ahead.get(self.taken..self.filled).unwrap_or_default().to_vec();
        (self.taken, self.filled) = (0, rest.len());
        self.ahead = rest;
        self.ahead.resize(AHEAD, 0);
        self.is_reading_ahead = true;
    }

    /// The version of a ClientHello that is too old to lead to TLS 1.2: of everything newer it is 3.3 (RFC 8446 4.1.2).
    pub(super) fn old_hello(&self) -> Option<[u8; 2]> {
        match self.first {
            [0x16, 3, _, _, _, 1, _, _, _, 3, minor @ 0..=2] if self.count == REMEMBERED => Some([3, minor]),
            _ => None,
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    fn remember(&mut self, bytes: &[u8]) {
        for (place, byte) in self.first.iter_mut().skip(self.count).zip(bytes) {
            *place = *byte;
            self.count += 1;
        }
    }
}

impl<S: AsyncRead + Unpin> Sniffed<S> {
    /// Reads what tells who speaks, and leaves it to be read again.
    pub(super) async fn look(&mut self) -> io::Result<()> {
        let mut start = [0; REMEMBERED];
        let mut count = 0;
        while let Some(space) = start.get_mut(count..).filter(|space| !space.is_empty()) {
            count += match self.read(space).await? {
                0 => break,
                read => read,
            };
            if self.first.first() != Some(&HANDSHAKE) {
                break;
            }
        }
        self.ahead = start.get(..count).unwrap_or_default().to_vec();
        (self.taken, self.filled) = (0, count);
        Ok(())
    }
}

impl Tongue {
    /// What speaks like this.
    pub fn of(first: &[u8]) -> Self {
        match first {
            [] => Self::Nothing,
            [0x14..=0x17, 0x03, ..] => Self::Tls,
            [0x80..=0xFF, _, 0x01, ..] => Self::Ssl2,
            // PDU type 1 to 7, a reserved byte, and a length that nobody exceeds.
            [1..=7, 0, ..] => Self::Dicom,
            [b'H', b'T', b'T', b'P', ..] | [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] => {
                Self::Http
            }
            [b'S', b'S', b'H', b'-', ..] => Self::Ssh,
            _ => Self::Unknown,
        }
    }
}

impl<S: Transport> Transport for Sniffed<S> {
    fn before_read(&self) {
        self.stream.before_read();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_reading_ahead && this.taken == this.filled {
            let before = buffer.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            if this.count < REMEMBERED {
                this.remember(buffer.filled().get(before..).unwrap_or_default());
            }
            return polled;
        }
        if this.taken == this.filled {
            let mut space = ReadBuf::new(&mut this.ahead);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut space))?;
            (this.taken, this.filled) = (0, space.filled().len());
        }
        let rest = this.ahead.get(this.taken..this.filled).unwrap_or_default();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        this.taken += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use super::{Sniffed, Tongue};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_and_ends_with_the_stream() {
        let mut sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        sent[0] = 0x16;
        let (mut peer, ours) = tokio::io::duplex(64 << 10);
        let data = sent.clone();
        let sending = tokio::spawn(async move { peer.write_all(&data).await });
        let mut sniffed = Sniffed::new(ours);
        let mut received = vec![0; 5];
        sniffed.look().await.expect("bytes");
        sniffed.read_exact(&mut received).await.expect("bytes");
        sniffed.read_ahead();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = sniffed.read(&mut piece).await {
            received.extend_from_slice(&piece[..count]);
        }
        sending.await.expect("a task").expect("written");
        assert!(received == sent);
    }

    #[test]
    fn a_peer_is_known_by_its_first_bytes_however_they_come() {
        let table: [(&[u8], Tongue); 8] = [
            (b"", Tongue::Nothing),
            (b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0", Tongue::Tls),
            (b"\x15\x03\x03\x00\x02\x02\x46", Tongue::Tls),
            (b"\x80\x2e\x01\x03\x01\x00\x15\x00", Tongue::Ssl2),
            (b"\x01\x00\x00\x00\x00\xcd\x00\x01", Tongue::Dicom),
            (b"\x07\x00\x00\x00\x00\x04\x00\x00", Tongue::Dicom),
            (b"GET / HTTP/1.1\r\n", Tongue::Http),
            (b"\xff\xff\xff\xff", Tongue::Unknown),
        ];
        for (bytes, tongue) in table {
            let mut sniffed = Sniffed::new(());
            bytes.chunks(3).for_each(|chunk| sniffed.remember(chunk));
            assert_eq!(sniffed.tongue(), tongue, "{bytes:?}");
        }
    }
}
