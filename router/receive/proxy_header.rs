//! The PROXY protocol's header, versions 1 and 2: what a load balancer writes before a connection's first byte, so that
//! who is behind it can be known. HAProxy's `doc/proxy-protocol.txt` is the specification; its sections are cited.
//!
//! [`parse`] is pure and sees a prefix of the stream; it says how many bytes are certainly missing, so that [`read`] takes
//! not one byte of what follows, whoever speaks there, TLS or DICOM.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Who is at the other end of a connection that a proxy made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The one whom the proxy speaks for.
    Behind(SocketAddr),
    /// The proxy itself (`LOCAL`, a health check), or one whom it cannot name (`UNKNOWN`, `AF_UNSPEC`).
    Proxy,
}

/// What the beginning of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// So far a header; at least so many bytes are missing.
    Partial(NonZeroUsize),
    /// A header, to the last byte.
    Whole(Caller),
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It begins like neither version.
    #[error("no PROXY protocol header")]
    Absent,
    /// Version 1 without its end.
    #[error("a PROXY protocol header of version 1 beyond {MAX_V1} bytes")]
    Endless,
    /// Version 1, and not as section 2.1 has it.
    #[error("a PROXY protocol header of version 1 with a bad {0}")]
    Text(&'static str),
    /// Version 2, and not as section 2.2 has it.
    #[error("a PROXY protocol header of version 2 with a bad {0}")]
    Binary(&'static str),
    /// Version 2, longer than is taken.
    #[error("a PROXY protocol header of {0} bytes; {MAX_V2} are taken")]
    TooLong(usize),
}

/// Why no header came.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It is no proper one.
    #[error("{0}")]
    Fault(#[from] HeaderFault),
    /// The proxy closed or reset without a byte, as health checks do.
    #[error("closed without a PROXY protocol header")]
    Nothing,
    /// The proxy closed within the header.
    #[error("closed within the PROXY protocol header")]
    Cut,
    /// It did not come in time.
    #[error("no PROXY protocol header within {0:?}")]
    Late(Duration),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

impl HeaderError {
    /// The kind of fault, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Fault(HeaderFault::Absent) => "proxy_header_missing",
            Self::Fault(_) => "proxy_header_bad",
            Self::Nothing | Self::Cut => "closed_by_peer",
            Self::Late(_) => "timeout",
            Self::Io(_) => "connection_failed",
        }
    }
}

/// Reads a header, all of it within `limit`, and nothing behind it.
///
/// # Errors
/// [`HeaderError`]; the stream is of no use then.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, limit: Duration) -> Result<Caller, HeaderError> {
    timeout(limit, read_whole(stream)).await.map_err(|_| HeaderError::Late(limit))?
}

async fn read_whole<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Caller, HeaderError> {
    let mut seen = Vec::new();
    loop {
        let missing = match parse(&seen)? {
            Parsed::Whole(caller) => return Ok(caller),
            Parsed::Partial(missing) => missing.get() as u64,
        };
        // What is missing is at most the longest header.
        match (&mut *stream).take(missing).read_buf(&mut seen).await {
            // Health checks end with a RST as often as with a FIN.
            Err(_) if seen.is_empty() => return Err(HeaderError::Nothing),
            Err(error) => return Err(error.into()),
            Ok(0) if seen.is_empty() => return Err(HeaderError::Nothing),
            Ok(0) => return Err(HeaderError::Cut),
            Ok(_) => {}
        }
    }
}

/// Whether a connection from `address` has to begin with a header.
pub fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// Whether a stream begins like a header: for naming one that nobody asked for.
pub fn begins(start: &[u8]) -> bool {
    start.starts_with(SIGNATURE) || start.starts_with(b"PROXY ")
}

/// Looks at the beginning of a stream.
///
/// # Errors
/// [`HeaderFault`] as soon as it cannot become a header any more.
pub fn parse(seen: &[u8]) -> Result<Parsed, HeaderFault> {
    let agrees = |with: &[u8]| seen.iter().zip(with).all(|(a, b)| a == b);
    match () {
        // Also of nothing at all: version 1 may be the shorter one.
        () if agrees(TEXT) => parse_v1(seen),
        () if agrees(SIGNATURE) => parse_v2(seen),
        () => Err(HeaderFault::Absent),
    }
}

/// Section 2.1: `PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n`.
fn parse_v1(seen: &[u8]) -> Result<Parsed, HeaderFault> {
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        let missing = match seen {
            [.., b'\r'] => 1,
            _ => 2,
        };
        // The shortest is PROXY UNKNOWN, which is longer than the signature of version 2.
        let missing = missing.max(MIN_V1.saturating_sub(seen.len()));
        return match seen.len() + missing > MAX_V1 {
            true => Err(HeaderFault::Endless),
            false => partial(missing),
        };
    };
    let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(HeaderFault::Text("end of line"))?;
    let line = line.strip_prefix(TEXT).ok_or(HeaderFault::Absent)?;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Parsed::Whole(Caller::Proxy));
    }
    let line = std::str::from_utf8(line).map_err(|_| HeaderFault::Text("character"))?;
    let mut parts = line.split(' ');
    let mut part = || parts.next().ok_or(HeaderFault::Text("number of parts"));
    let (family, source, destination) = (part()?, part()?, part()?);
    let (source_port, destination_port) = (part()?, part()?);
    if parts.next().is_some() {
        return Err(HeaderFault::Text("number of parts"));
    }
    let (source, _) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(HeaderFault::Text("protocol")),
    };
    let (source_port, _) = (port(source_port)?, port(destination_port)?);
    Ok(Parsed::Whole(Caller::Behind(SocketAddr::new(source, source_port))))
}

fn address<T: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, HeaderFault> {
    text.parse::<T>().map(Into::into).map_err(|_| HeaderFault::Text("address"))
}

fn port(text: &str) -> Result<u16, HeaderFault> {
    // A sign is no digit, though the parser takes one.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(HeaderFault::Text("port"))
}

/// Section 2.2: signature, version and command, family and transport, length, addresses, then type-length-values.
fn parse_v2(seen: &[u8]) -> Result<Parsed, HeaderFault> {
    // Faults are found as early as possible: what is wrong never gets more bytes of us.
    if seen.get(12).is_some_and(|version| version >> 4 != 2) {
        return Err(HeaderFault::Binary("version"));
    }
    let Some((&[version, kind, high, low], rest)) = seen.get(12..).and_then(|rest| rest.split_first_chunk())
    else {
        return partial(HEAD_V2 - seen.len());
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = HEAD_V2 + length;
    if whole > MAX_V2 {
        return Err(HeaderFault::TooLong(whole));
    }
    let is_proxied = match version & 0x0F {
        0 => false,
        1 => true,
        _ => return Err(HeaderFault::Binary("command")),
    };
    let addresses = match kind {
        // Unspecified is as good as none, and so is a socket of the proxy's own machine.
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 | 0x32 => 216,
        0x12 | 0x22 => return Err(HeaderFault::Binary("transport: datagrams")),
        _ => return Err(HeaderFault::Binary("family")),
    };
    if is_proxied && length < addresses {
        return Err(HeaderFault::Binary("length"));
    }
    if let Some(missing) = NonZeroUsize::new(length.saturating_sub(rest.len())) {
        return Ok(Parsed::Partial(missing));
    }
    if !is_proxied {
        // What a LOCAL header carries is to be skipped, whatever it is.
        return Ok(Parsed::Whole(Caller::Proxy));
    }
    let values = rest.get(addresses..).unwrap_or_default();
    check_values(seen, values)?;
    Ok(Parsed::Whole(source(kind, rest)))
}

fn source(kind: u8, rest: &[u8]) -> Caller {
    let behind = |ip: IpAddr, port: [u8; 2]| Caller::Behind((ip, u16::from_be_bytes(port)).into());
    match (kind, rest.first_chunk::<10>(), rest.first_chunk::<34>()) {
        (0x11, Some(&[a, b, c, d, _, _, _, _, high, low]), _) => behind([a, b, c, d].into(), [high, low]),
        (0x21, _, Some(addresses)) => match (addresses.first_chunk::<16>(), addresses.last_chunk::<2>()) {
            (Some(source), Some(port)) => behind((*source).into(), *port),
            _ => Caller::Proxy,
        },
        _ => Caller::Proxy,
    }
}

/// The values tell nothing that is wanted here, but they have to fill the header, and the checksum that may be among them
/// (`PP2_TYPE_CRC32C`, over the header with the checksum's own bytes zero) has to be right.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), HeaderFault> {
    while let Some((&[kind, high, low], rest)) = values.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(HeaderFault::Binary("value's length"))?;
        values = rest;
        if kind != CRC32C {
            continue;
        }
        let stored = value.try_into().map(u32::from_be_bytes);
        let stored = stored.map_err(|_| HeaderFault::Binary("checksum's length"))?;
        let before = header.len() - rest.len() - value.len();
        let sum = crc32c::crc32c(header.get(..before).unwrap_or_default());
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &[0; 4]), rest);
        if sum != stored {
            return Err(HeaderFault::Binary("checksum"));
        }
    }
    if values.is_empty() { Ok(()) } else { Err(HeaderFault::Binary("value's length")) }
}

fn partial(missing: usize) -> Result<Parsed, HeaderFault> {
    Ok(Parsed::Partial(NonZeroUsize::new(missing).unwrap_or(NonZeroUsize::MIN)))
}

/// What version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// `PROXY UNKNOWN\r\n`.
const MIN_V1: usize = 15;
/// The longest that the specification allows, to the line feed.
const MAX_V1: usize = 107;
/// Signature, command, family and length.
const HEAD_V2: usize = 16;
/// The longest that is taken, with all its values. Senders stay far below.
const MAX_V2: usize = 4096;
/// The type of a checksum among the values.
const CRC32C: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::{
        Caller, HeaderError, HeaderFault, MAX_V1, MAX_V2, Parsed, SIGNATURE, begins, parse, read, read_whole,
    };
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;

    const LONG: Duration = Duration::from_secs(30);

    fn v2(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
        [SIGNATURE, &[command, kind], &length, body].concat()
    }

    fn v2_of(source: SocketAddr, values: &[u8]) -> Vec<u8> {
        let port = source.port().to_be_bytes();
        match source {
            SocketAddr::V4(v4) => {
                v2(0x21, 0x11, &[&v4.ip().octets()[..], &[10, 0, 0, 9], &port, &[0, 104], values].concat())
            }
            SocketAddr::V6(v6) => {
                v2(0x21, 0x21, &[&v6.ip().octets()[..], &[0; 16], &port, &[0, 104], values].concat())
            }
        }
    }

    fn v1_of(source: SocketAddr) -> Vec<u8> {
        let (family, us) = if source.is_ipv4() { ("TCP4", "10.0.0.9") } else { ("TCP6", "::1") };
        format!("PROXY {family} {} {us} {} 104\r\n", source.ip(), source.port()).into_bytes()
    }

    fn whole(bytes: &[u8]) -> Caller {
        match parse(bytes) {
            Ok(Parsed::Whole(caller)) => caller,
            other => panic!("{other:?} of {bytes:?}"),
        }
    }

    fn fault(bytes: &[u8]) -> HeaderFault {
        parse(bytes).expect_err("a fault")
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let v1 = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
        assert_eq!(whole(v1), Caller::Behind("192.168.0.1:56324".parse().expect("an address")));
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert!(matches!(whole(longest.as_bytes()), Caller::Behind(_)));
        assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Caller::Proxy);
        let with_rest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1 - 16));
        assert_eq!((with_rest.len(), whole(with_rest.as_bytes())), (MAX_V1, Caller::Proxy));
    }

    #[test]
    fn a_health_check_and_an_unspecified_family_leave_the_proxys_own_address() {
        assert_eq!(whole(&v2(0x20, 0x00, &[])), Caller::Proxy);
        assert_eq!(whole(&v2(0x20, 0x11, &[1; 5])), Caller::Proxy, "what LOCAL carries is skipped");
        assert_eq!(whole(&v2(0x21, 0x00, &[])), Caller::Proxy);
        assert_eq!(whole(&v2(0x21, 0x31, &[0; 216])), Caller::Proxy);
    }

    #[test]
    fn bad_text_headers_are_named() {
        let table: [(&[u8], HeaderFault); 14] = [
            (b"GET / HTTP/1.1\r\n", HeaderFault::Absent),
            (b"PROXY\r\n", HeaderFault::Absent),
            (b"\x01\x00\x00\x00\x00\xCD", HeaderFault::Absent),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", HeaderFault::Text("end of line")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", HeaderFault::Text("number of parts")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n", HeaderFault::Text("number of parts")),
            (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", HeaderFault::Text("number of parts")),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", HeaderFault::Text("address")),
            (b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", HeaderFault::Text("address")),
            (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n", HeaderFault::Text("address")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n", HeaderFault::Text("port")),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", HeaderFault::Text("port")),
            (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", HeaderFault::Text("protocol")),
            (b"PROXY TCP4 \xFF 1.2.3.4 1 1\r\n", HeaderFault::Text("character")),
        ];
        for (bytes, expected) in table {
            assert_eq!(fault(bytes), expected, "{}", bytes.escape_ascii());
        }
        assert_eq!(fault(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()), HeaderFault::Endless);
    }

    #[test]
    fn bad_binary_headers_are_named() {
        let source = "192.0.2.7:104".parse().expect("an address");
        let sum = |value: u32| v2_of(source, &[&[3, 0, 4][..], &value.to_be_bytes()].concat());
        let right = crc32c::crc32c(&sum(0));
        assert_eq!(whole(&sum(right)), Caller::Behind(source));
        let table = [
            (v2(0x31, 0x11, &[0; 12]), HeaderFault::Binary("version")),
            (v2(0x2F, 0x11, &[0; 12]), HeaderFault::Binary("command")),
            (v2(0x21, 0x41, &[0; 12]), HeaderFault::Binary("family")),
            (v2(0x21, 0x12, &[0; 12]), HeaderFault::Binary("transport: datagrams")),
            (v2(0x21, 0x11, &[0; 11]), HeaderFault::Binary("length")),
            (v2(0x21, 0x21, &[0; 35]), HeaderFault::Binary("length")),
            (v2_of(source, &[4, 0]), HeaderFault::Binary("value's length")),
            (v2_of(source, &[4, 0, 9, 1]), HeaderFault::Binary("value's length")),
            (v2_of(source, &[3, 0, 1, 1]), HeaderFault::Binary("checksum's length")),
            (sum(right ^ 1), HeaderFault::Binary("checksum")),
            (v2(0x21, 0x11, &[0; MAX_V2 - 15]), HeaderFault::TooLong(MAX_V2 + 1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(fault(&bytes), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_length_alone() {
        let header = v2(0x20, 0, &[0; 5000]);
        assert_eq!(fault(&header[..16]), HeaderFault::TooLong(5016));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_cut_short_or_never_ending_is_given_up() {
        assert!(matches!(read(&mut &b""[..], LONG).await, Err(HeaderError::Nothing)));
        assert!(matches!(read(&mut &b"PROXY TCP4"[..], LONG).await, Err(HeaderError::Cut)));
        let (mut stream, mut proxy) = tokio::io::duplex(64);
        proxy.write_all(b"PROXY TCP4").await.expect("an open stream");
        assert!(matches!(read(&mut stream, LONG).await, Err(HeaderError::Late(limit)) if limit == LONG));
    }

    /// Polls once.
    trait NowOrNever: Future + Sized {
        fn now_or_never(self) -> Option<Self::Output> {
            let mut future = Box::pin(self);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match future.as_mut().poll(&mut context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }

    impl<F: Future> NowOrNever for F {}

    #[test]
    fn a_header_is_recognised_by_its_beginning() {
        assert!(begins(b"PROXY TCP4 ") && begins(&v2(0x20, 0, &[])));
        assert!(!begins(b"PROX") && !begins(b"POST / ") && !begins(b"\r\n\r\n"));
    }

    fn sources() -> impl Strategy<Value = SocketAddr> {
        (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        let value = (4u8.., prop::collection::vec(any::<u8>(), 0..40));
        prop::collection::vec(value, 0..4).prop_map(|values| {
            let encode = |(kind, value): (u8, Vec<u8>)| [&[kind, 0, value.len() as u8], &value[..]].concat();
            values.into_iter().flat_map(encode).collect()
        })
    }

    proptest! {
        #[test]
        fn a_header_is_read_to_its_last_byte_and_no_further(
            source in sources(),
            values in values(),
            is_binary in any::<bool>(),
            behind in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let header = if is_binary { v2_of(source, &values) } else { v1_of(source) };
            prop_assert_eq!(whole(&header), Caller::Behind(source));
            for cut in 0..header.len() {
                // Asking for more than is there of the header would eat what follows.
                match parse(&header[..cut]) {
                    Ok(Parsed::Partial(missing)) => prop_assert!(cut + missing.get() <= header.len()),
                    other => prop_assert!(false, "{:?} at {}", other, cut),
                }
            }
            let stream = [&header[..], &behind].concat();
            let mut rest = &stream[..];
            let caller = read_whole(&mut rest).now_or_never().expect("all of it is there");
            prop_assert_eq!(caller.expect("a header"), Caller::Behind(source));
            prop_assert_eq!(rest, &behind[..]);
        }

        #[test]
        fn whatever_comes_is_a_header_or_refused_within_the_longest_ones_length(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP6 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        ) {
            let stream = [start, &bytes, &[0; 2 * MAX_V2]].concat();
            let mut rest = &stream[..];
            let outcome = read_whole(&mut rest).now_or_never().expect("all of it is there");
            prop_assert!(stream.len() - rest.len() <= MAX_V2);
            prop_assert!(matches!(outcome, Ok(_) | Err(HeaderError::Fault(_))));
        }
    }
}
