//! What the configuration says of TLS: `[listener.tls]` and `[destination.tls]`, for every kind of either.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::dicom::AeTitle;
use crate::tls::{Authentication, Leaf, Pin, San, Security};

/// TLS for those who call us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The file with our certificate, and its chain after it.
    pub certificate: PathBuf,
    /// The file with its private key.
    pub key: PathBuf,
    /// Whether callers show a certificate.
    pub client: ClientAuth,
    /// The authorities of the certificates that callers show.
    pub ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// Whose certificates may use which titles.
    pub identities: Vec<CertificateIdentity>,
}

/// Whether callers show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They may; one that is shown has to be good.
    Optional,
    /// They have to.
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// A certificate, and the calling AE titles that are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// How the certificate is known.
    pub certificate: CertificateMatch,
    /// The titles; nobody else may use them.
    pub calling_ae: Vec<AeTitle>,
}

/// How a certificate is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateMatch {
    /// One of its subject alternative names is this: an address, a URI (with a colon), an e-mail address (with an `@`), or
    /// otherwise a host name, and only a name of that type.
    San(String),
    /// Its subject is this; without an equals sign, the only common name in it is.
    Subject(String),
    /// Its key is this.
    Pin(Pin),
}

/// TLS towards somebody we call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// Whom we believe.
    pub verify: Verify,
    /// The name that the certificate has to be for, where it is not the host that is connected to.
    pub server_name: Option<String>,
    /// The files with our own certificate and its key, if we show one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Whom we believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// Certificates for the right name from these authorities, or from those that the system trusts.
    Ca(Option<PathBuf>),
    /// Whoever has one of these keys.
    Pin(Vec<Pin>),
    /// Anybody.
    Nobody,
    /// Certificates from these authorities whose own key is one of these.
    CaAndPin(Option<PathBuf>, Vec<Pin>),
}

impl ClientTls {
    /// Whether the peer is verified.
    pub fn security(&self) -> Security {
        match self.verify {
            Verify::Ca(_) | Verify::Pin(_) | Verify::CaAndPin(..) => Security::Secured,
            Verify::Nobody => Security::Unsecured,
        }
    }

    /// Whether a certificate is shown to a peer that asks for one.
    pub fn authentication(&self) -> Authentication {
        match self.identity {
            Some(_) => Authentication::Authenticated,
            None => Authentication::Anonymous,
        }
    }
}

impl CertificateMatch {
    /// Whether a certificate is the one that is meant.
    pub fn fits(&self, leaf: &Leaf) -> bool {
        match self {
            Self::San(name) => leaf.names.iter().any(|san| is_named(san, name)),
            Self::Subject(subject) if subject.contains('=') => leaf.subject == *subject,
            Self::Subject(name) => leaf.common_name.as_ref() == Some(name),
            Self::Pin(pin) => leaf.pin == *pin,
        }
    }
}

/// Whether a certificate's name is the one that is written, which tells by its form of which type it is.
fn is_named(san: &San, written: &str) -> bool {
    match san {
        San::Ip(address) => written.parse() == Ok(*address),
        San::Uri(uri) => is_uri(written) && uri == written,
        San::Email(email) => !is_uri(written) && written.contains('@') && email.eq_ignore_ascii_case(written),
        San::Dns(name) => {
            let is_host = written.parse::<IpAddr>().is_err() && !written.contains([':', '@']);
            is_host && name.eq_ignore_ascii_case(written)
        }
    }
}

fn is_uri(written: &str) -> bool {
    written.contains(':') && written.parse::<IpAddr>().is_err()
}
