//! What a certificate says: read from any X.509 version, with nothing taken on trust.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

use super::der::{self, Element, NotDer, Reader};
use super::pin::Pin;

/// Longest text that is kept of a name, in characters.
const MAX_TEXT: usize = 256;
/// Names that are kept of a certificate.
const MAX_NAMES: usize = 64;
/// Stands where something was left out.
const CUT: char = '\u{2026}';

/// The facts of a certificate. Texts are escaped and short: they come from whoever presents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whose it is: `CN=pacs.example.org, O=Hospital`, in the order in which it stands, values escaped as in RFC 4514 2.4.
    pub subject: String,
    /// Whose key signed it.
    pub issuer: String,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// The common name, where the subject has one and no more than one.
    pub common_name: Option<String>,
    /// The subject's alternative names, which X.509 v1 has not.
    pub names: Vec<San>,
    /// From when it is valid.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
    /// 1 or 3, seldom 2.
    pub version: u8,
    /// The kind of key, such as `RSA 2048` or `ECDSA P-256`.
    pub key: String,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// The pin of its key.
    pub pin: Pin,
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum San {
    /// A host name, perhaps with `*` as its first label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
}

/// Bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct LeafError;

impl From<NotDer> for LeafError {
    fn from(_: NotDer) -> Self {
        Self
    }
}

/// The SubjectPublicKeyInfo of a certificate, in DER.
///
/// # Errors
/// [`LeafError`]
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, LeafError> {
    Ok(Parts::of(certificate)?.public_key.whole.to_vec())
}

impl Leaf {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`LeafError`]
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let parts = Parts::of(certificate)?;
        let (names, is_ca) = parts.extensions.map(extensions).transpose()?.unwrap_or_default();
        Ok(Self {
            subject: name_text(parts.subject)?,
            issuer: name_text(parts.issuer)?,
            serial: parts.serial.iter().take(20).map(|byte| format!("{byte:02x}")).collect(),
            common_name: only_common_name(parts.subject)?,
            names,
            not_before: parts.not_before,
            not_after: parts.not_after,
            version: parts.version,
            key: key_kind(parts.public_key)?,
            is_ca,
            pin: Pin::of_public_key(parts.public_key.whole),
        })
    }

    /// Whether it signed itself, as far as names tell.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// Seconds until it expires; negative when it has.
    pub fn seconds_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_seconds()
    }

    /// Whether it is for a host: by its alternative names, or by its common name where it has none (RFC 6125 6.4.4).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        let address = host.parse::<IpAddr>().ok();
        let matches = |name: &San| match (name, address) {
            (San::Ip(ip), Some(address)) => *ip == address,
            (San::Dns(pattern), None) => is_dns_match(pattern, host),
            _ => false,
        };
        let by_common_name = || self.common_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(host));
        if self.names.is_empty() { by_common_name() } else { self.names.iter().any(matches) }
    }
}

/// A wildcard stands for one whole label (RFC 6125 6.4.3).
fn is_dns_match(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A point in time as people write it.
pub(super) fn date_text(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// The parts of a TBSCertificate (RFC 5280 4.1).
struct Parts<'a> {
    version: u8,
    serial: &'a [u8],
    issuer: &'a [u8],
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    subject: &'a [u8],
    public_key: Element<'a>,
    extensions: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(certificate: &'a CertificateDer<'_>) -> Result<Self, LeafError> {
        let mut outer = Reader::new(certificate.as_ref()).enter(der::SEQUENCE)?;
        let mut tbs = outer.enter(der::SEQUENCE)?;
        let version = match tbs.optional(0xA0)? {
            Some(tagged) => Reader::new(tagged.content)
                .expect(der::INTEGER)?
                .content
                .last()
                .map_or(1, |v| v.saturating_add(1)),
            None => 1,
        };
        let serial = tbs.expect(der::INTEGER)?.content;
        tbs.expect(der::SEQUENCE)?;
        let issuer = tbs.expect(der::SEQUENCE)?.content;
        let mut validity = tbs.enter(der::SEQUENCE)?;
        let (not_before, not_after) = (moment(validity.next()?)?, moment(validity.next()?)?);
        let subject = tbs.expect(der::SEQUENCE)?.content;
        let public_key = tbs.expect(der::SEQUENCE)?;
        // Unique identifiers, which nobody uses.
        tbs.optional(0x81)?;
        tbs.optional(0x82)?;
        let extensions = tbs.optional(0xA3)?.map(|tagged| tagged.content);
        outer.expect(der::SEQUENCE)?;
        outer.expect(der::BIT_STRING)?;
        Ok(Self { version, serial, issuer, not_before, not_after, subject, public_key, extensions })
    }
}

/// UTCTime with two digits of year, or GeneralizedTime (RFC 5280 4.1.2.5).
fn moment(element: Element<'_>) -> Result<OffsetDateTime, LeafError> {
    let text = std::str::from_utf8(element.content).map_err(|_| LeafError)?;
    let digits = text.strip_suffix('Z').ok_or(LeafError)?;
    let whole = match element.tag {
        der::UTC_TIME if digits.get(..2).is_some_and(|year| year < "50") => format!("20{digits}"),
        der::UTC_TIME => format!("19{digits}"),
        der::GENERALIZED_TIME => digits.to_owned(),
        _ => return Err(LeafError),
    };
    let number = |range: std::ops::Range<usize>| {
        let part = whole.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        part.and_then(|part| part.parse::<u16>().ok()).ok_or(LeafError)
    };
    let small = |range| number(range).and_then(|value| u8::try_from(value).map_err(|_| LeafError));
    let month = Month::try_from(small(4..6)?).map_err(|_| LeafError)?;
    let date =
        Date::from_calendar_date(i32::from(number(0..4)?), month, small(6..8)?).map_err(|_| LeafError)?;
    // A second may be left out of a UTCTime by old programs.
    let seconds = if whole.len() >= 14 { small(12..14)? } else { 0 };
    let time = Time::from_hms(small(8..10)?, small(10..12)?, seconds).map_err(|_| LeafError)?;
    Ok(date.with_time(time).assume_utc())
}

/// An attribute of a name.
struct Attribute {
    kind: String,
    value: String,
    /// It stands in one set with the one before it.
    is_joined: bool,
}

/// The attributes of a name, in the order in which they stand.
fn attributes(name: &[u8]) -> Result<Vec<Attribute>, LeafError> {
    let mut found = Vec::new();
    let mut sets = Reader::new(name);
    while !sets.is_at_end() {
        let mut set = sets.enter(der::SET)?;
        let mut is_joined = false;
        while !set.is_at_end() {
            let mut pair = set.enter(der::SEQUENCE)?;
            let kind = attribute_name(pair.expect(der::OID)?.content);
            let value = text_of(pair.next()?);
            if found.len() == MAX_NAMES {
                // Not to be taken for the name that ends here.
                found.push(Attribute { kind: CUT.to_string(), value: String::new(), is_joined });
                return Ok(found);
            }
            found.push(Attribute { kind, value, is_joined });
            is_joined = true;
        }
    }
    Ok(found)
}

fn only_common_name(name: &[u8]) -> Result<Option<String>, LeafError> {
    let mut names = attributes(name)?.into_iter().filter(|attribute| attribute.kind == "CN");
    Ok(names.next().filter(|_| names.next().is_none()).map(|attribute| clip(&attribute.value)))
}

fn attribute_name(oid: &[u8]) -> String {
    let known = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25] => "DC",
        other => return der::oid_text(other),
    };
    known.to_owned()
}

/// The name as it is written, in the order in which it stands: two names that differ are written differently.
fn name_text(name: &[u8]) -> Result<String, LeafError> {
    let mut text = String::new();
    for Attribute { kind, value, is_joined } in attributes(name)? {
        if !text.is_empty() {
            text.push_str(if is_joined { "+" } else { ", " });
        }
        text.push_str(&kind);
        text.push('=');
        text.push_str(&escaped(&value));
    }
    Ok(clip(&text))
}

/// A value, so that nothing in it looks like the end of it (RFC 4514 2.4).
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::new();
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\{byte:02X}"));
                }
            }
            other => text.push(other),
        }
    }
    text
}

fn text_of(value: Element<'_>) -> String {
    // BMPString is UTF-16; the others are ASCII, Latin-1 or UTF-8.
    let text = if value.tag == 0x1E {
        let units = value
            .content
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
        String::from_utf16_lossy(&units.collect::<Vec<_>>())
    } else {
        String::from_utf8_lossy(value.content).into_owned()
    };
    cut(&text)
}

/// At most [`MAX_TEXT`] characters, without anything that moves a cursor.
fn clip(text: &str) -> String {
    cut(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most [`MAX_TEXT`] characters; what is longer shows that it was.
fn cut(text: &str) -> String {
    if text.chars().nth(MAX_TEXT).is_none() {
        return text.to_owned();
    }
    text.chars().take(MAX_TEXT - 1).chain([CUT]).collect()
}

/// Alternative names, and whether it is a certificate authority (RFC 5280 4.2.1.6, 4.2.1.9).
fn extensions(tagged: &[u8]) -> Result<(Vec<San>, bool), LeafError> {
    let (mut names, mut is_ca) = (Vec::new(), false);
    let mut list = Reader::new(tagged).enter(der::SEQUENCE)?;
    while !list.is_at_end() {
        let mut extension = list.enter(der::SEQUENCE)?;
        let oid = extension.expect(der::OID)?.content;
        extension.optional(0x01)?;
        let value = extension.expect(der::OCTET_STRING)?.content;
        match oid {
            [0x55, 0x1D, 17] => names = alternative_names(value)?,
            [0x55, 0x1D, 19] => {
                let mut constraints = Reader::new(value).enter(der::SEQUENCE)?;
                is_ca = constraints.optional(0x01)?.is_some_and(|flag| flag.content != [0]);
            }
            _ => {}
        }
    }
    Ok((names, is_ca))
}

fn alternative_names(value: &[u8]) -> Result<Vec<San>, LeafError> {
    let mut list = Reader::new(value).enter(der::SEQUENCE)?;
    let mut names = Vec::new();
    while !list.is_at_end() && names.len() < MAX_NAMES {
        let name = list.next()?;
        let text = || clip(&String::from_utf8_lossy(name.content));
        match name.tag {
            0x82 => names.push(San::Dns(text())),
            0x81 => names.push(San::Email(text())),
            0x86 => names.push(San::Uri(text())),
            0x87 => names.extend(address(name.content).map(San::Ip)),
            _ => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn key_kind(public_key: Element<'_>) -> Result<String, LeafError> {
    let mut info = Reader::new(public_key.content);
    let mut algorithm = info.enter(der::SEQUENCE)?;
    let oid = algorithm.expect(der::OID)?.content;
    let bits = info.expect(der::BIT_STRING)?.content;
    Ok(match oid {
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1] => {
            let (_, key) = bits.split_first().ok_or(LeafError)?;
            let modulus = Reader::new(key).enter(der::SEQUENCE)?.expect(der::INTEGER)?.content;
            let leading = modulus.iter().take_while(|byte| **byte == 0).count();
            format!("RSA {}", (modulus.len() - leading) * 8)
        }
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1] => match algorithm.expect(der::OID)?.content {
            [0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7] => "ECDSA P-256".to_owned(),
            [0x2B, 0x81, 4, 0, 34] => "ECDSA P-384".to_owned(),
            [0x2B, 0x81, 4, 0, 35] => "ECDSA P-521".to_owned(),
            curve => format!("ECDSA {}", der::oid_text(curve)),
        },
        [0x2B, 0x65, 0x70] => "Ed25519".to_owned(),
        other => der::oid_text(other),
    })
}
