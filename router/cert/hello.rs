//! The first record of a TLS handshake, written by hand: for asking a peer about versions and ciphers that our own library
//! does not speak. Nothing is negotiated; the answer is read and the connection closed.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A version as it stands in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(pub(super) u16);

impl Version {
    pub(super) const SSL_3: Self = Self(0x0300);
    pub(super) const TLS_1_0: Self = Self(0x0301);
    pub(super) const TLS_1_1: Self = Self(0x0302);
    pub(super) const TLS_1_2: Self = Self(0x0303);
}

/// What a peer answers to a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It would go on with this version and cipher suite.
    Took { version: Version, suite: u16 },
    /// It sent this alert.
    Alert(u8),
    /// It closed.
    Closed,
    /// What it says is no TLS.
    Other,
}

/// Suites with key exchange by RSA, without forward secrecy.
pub(super) const RSA_SUITES: &[u16] = &[0x009D, 0x009C, 0x003D, 0x003C, 0x0035, 0x002F, 0x000A, 0x0005];

/// Suites with forward secrecy and without AEAD: CBC.
pub(super) const CBC_SUITES: &[u16] =
    &[0x006B, 0x0067, 0x0039, 0x0033, 0x0016, 0xC014, 0xC013, 0xC00A, 0xC009, 0xC028, 0xC027, 0xC024, 0xC023];

/// Suites with key exchange by DHE that have both forward secrecy and AEAD.
pub(super) const DHE_SUITES: &[u16] = &[0x009F, 0x009E];

/// All of these: what is not spoken here, and old peers may have only.
pub(super) const OLD_SUITES: &[u16] = &[
    0x009D, 0x009C, 0x003D, 0x003C, 0x0035, 0x002F, 0x000A, 0x009F, 0x009E, 0x006B, 0x0067, 0x0039, 0x0033,
    0x0016, 0xC014, 0xC013, 0xC00A, 0xC009, 0xC028, 0xC027, 0xC024, 0xC023, 0x0005,
];

/// The name of one of [`OLD_SUITES`], as it is registered with IANA.
pub(super) fn suite_name(suite: u16) -> Option<&'static str> {
    Some(match suite {
        0x0005 => "TLS_RSA_WITH_RC4_128_SHA",
        0x000A => "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        0x0016 => "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
        0x002F => "TLS_RSA_WITH_AES_128_CBC_SHA",
        0x0033 => "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
        0x0035 => "TLS_RSA_WITH_AES_256_CBC_SHA",
        0x0039 => "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
        0x003C => "TLS_RSA_WITH_AES_128_CBC_SHA256",
        0x003D => "TLS_RSA_WITH_AES_256_CBC_SHA256",
        0x0067 => "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
        0x006B => "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
        0x009C => "TLS_RSA_WITH_AES_128_GCM_SHA256",
        0x009D => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        0x009E => "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        0x009F => "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        0xC009 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xC00A => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xC013 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xC014 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0xC023 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        0xC024 => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
        0xC027 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        0xC028 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
        _ => return None,
    })
}

/// Asks with one version and these suites.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    suites: &[u16],
    host: Option<&str>,
) -> io::Result<Answer> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    stream.write_all(&encode(version, suites, host, &random)).await?;
    let mut seen = Vec::new();
    loop {
        if let Some(answer) = parse(&seen) {
            return Ok(answer);
        }
        match (&mut *stream).take(LONGEST - seen.len() as u64).read_buf(&mut seen).await {
            Ok(0) => return Ok(Answer::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Answer::Closed),
            Err(error) => return Err(error),
        }
    }
}

/// RFC 5246 7.4.1.2; without extensions in SSL 3.0, which has none.
fn encode(version: Version, suites: &[u16], host: Option<&str>, random: &[u8; 32]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = version.0.to_be_bytes().to_vec();
    body.extend(random);
    body.push(0);
    body.extend(short(&suites));
    body.extend([1, 0]);
    if version != Version::SSL_3 {
        body.extend(short(&extensions(version, host)));
    }
    // Far below 64 KiB: a host name and fixed lists.
    let mut handshake = vec![1, 0];
    handshake.extend(short(&body));
    let record = if version == Version::SSL_3 { Version::SSL_3 } else { Version::TLS_1_0 };
    let [high, low] = record.0.to_be_bytes();
    [&[0x16, high, low], &short(&handshake)[..]].concat()
}

fn extensions(version: Version, host: Option<&str>) -> Vec<u8> {
    let extension = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &short(value)].concat();
    let mut all = Vec::new();
    if let Some(host) = host {
        let name = [&[0][..], &short(host.as_bytes())].concat();
        all.extend(extension(0, &short(&name)));
    }
    // secp256r1, secp384r1, x25519; uncompressed points.
    all.extend(extension(10, &short(&[0, 23, 0, 24, 0, 29])));
    all.extend(extension(11, &[1, 0]));
    if version == Version::TLS_1_2 {
        // RSA, RSA-PSS and ECDSA with SHA-256 and SHA-384, RSA and ECDSA with SHA-1.
        all.extend(extension(13, &short(&[4, 1, 4, 3, 5, 1, 5, 3, 8, 4, 8, 5, 2, 1, 2, 3])));
    }
    all
}

fn short(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The answer, if enough of it is there.
fn parse(seen: &[u8]) -> Option<Answer> {
    let (&[kind, major, _, _, _], record) = seen.split_first_chunk()?;
    if major != 3 {
        return Some(Answer::Other);
    }
    match kind {
        0x15 => record.get(1).map(|alert| Answer::Alert(*alert)),
        0x16 => {
            let (&[2, _, _, _, high, low], rest) = record.split_first_chunk()? else {
                return Some(Answer::Other);
            };
            let session = usize::from(*rest.get(32)?);
            let suite = rest.get(33 + session..35 + session)?.first_chunk::<2>()?;
            let version = Version(u16::from_be_bytes([high, low]));
            Some(Answer::Took { version, suite: u16::from_be_bytes(*suite) })
        }
        _ => Some(Answer::Other),
    }
}

/// Of an answer, what is read: a ServerHello's interesting part is in its first hundred bytes.
const LONGEST: u64 = 512;

#[cfg(test)]
mod tests {
    use super::{
        Answer, CBC_SUITES, DHE_SUITES, OLD_SUITES, RSA_SUITES, Version, ask, encode, parse, suite_name,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn every_old_suite_has_a_name_that_says_of_what_kind_it_is() {
        let mut kinds = [RSA_SUITES, CBC_SUITES, DHE_SUITES].concat();
        let mut all = OLD_SUITES.to_vec();
        kinds.sort_unstable();
        all.sort_unstable();
        assert_eq!(kinds, all, "each is of one kind");
        let is = |kind: &[u16], fits: fn(&str) -> bool| {
            kind.iter().all(|suite| suite_name(*suite).is_some_and(fits))
        };
        assert!(is(RSA_SUITES, |name| name.starts_with("TLS_RSA_")));
        assert!(is(CBC_SUITES, |name| name.contains("DHE_") && name.contains("_CBC_")));
        assert!(is(DHE_SUITES, |name| name.starts_with("TLS_DHE_") && name.contains("_GCM_")));
    }

    #[test]
    fn lengths_of_a_hello_add_up() {
        for version in [Version::SSL_3, Version::TLS_1_0, Version::TLS_1_2] {
            let hello = encode(version, OLD_SUITES, Some("pacs.example.org"), &[7; 32]);
            assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
            assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let mut took = vec![0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 1];
        took.extend([9; 32]);
        took.extend([0, 0, 0x2F, 0]);
        for cut in 0..took.len() - 1 {
            assert_eq!(parse(&took[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&took), Some(Answer::Took { version: Version::TLS_1_0, suite: 0x2F }));
        assert_eq!(parse(&[0x15, 3, 1, 0, 2, 2, 70]), Some(Answer::Alert(70)));
        assert_eq!(parse(b"HTTP/1.1 400"), Some(Answer::Other));
        assert_eq!(parse(&[0x17, 3, 1, 0, 2]), Some(Answer::Other));
    }

    #[tokio::test]
    async fn a_peer_that_talks_without_end_is_not_listened_to() {
        let (mut here, mut there) = tokio::io::duplex(1 << 20);
        // A ServerHello whose session identifier never comes.
        let endless = [&[0x16, 3, 3, 0xFF, 0xFF, 2, 0, 0xFF, 0xFF, 3, 3][..], &[0xFF; 400]].concat();
        there.write_all(&endless).await.expect("room");
        let answer = ask(&mut here, Version::TLS_1_2, OLD_SUITES, None).await.expect("an answer");
        assert!(matches!(answer, Answer::Took { .. }));
        let mut rest = Vec::new();
        drop(here);
        there.read_to_end(&mut rest).await.expect("what was asked");
        assert_eq!(rest[0], 0x16);
    }
}
