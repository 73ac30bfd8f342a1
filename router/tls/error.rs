//! Why a handshake failed, in the words of whoever has to mend it.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::leaf::{Leaf, date_text};
use super::material::MaterialError;
use super::pin::Pin;
use super::sniff::Tongue;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Nothing, or too little, came in time.
    #[error("no TLS handshake within {0:?}")]
    Timeout(Duration),
    /// The peer does not speak TLS.
    #[error("{}", not_tls(*.0))]
    NotTls(Tongue),
    /// The peer went away before the handshake was over.
    #[error(
        "the peer closed the connection during the TLS handshake: it may not speak TLS there, or share no version or cipher with us"
    )]
    Closed,
    /// A caller went before it had said anything.
    #[error("the peer connected and left")]
    Left,
    /// The connection failed.
    #[error("the connection failed during the TLS handshake: {}", io_words(.0))]
    Io(io::Error),
    /// The peer speaks versions of SSL or TLS that are too old.
    #[error(
        "the peer speaks no version of TLS that is allowed here, only older ones (see the recipe for old peers in SECURITY)"
    )]
    OldVersion,
    /// The peer and we have no cipher, signature or key exchange in common.
    #[error("the peer and this side have no {0} in common (see the recipe for old peers in SECURITY)")]
    NoCommonCipher(String),
    /// The peer's certificate will not do.
    #[error("{}", certificate_words(.fault, .leaf.as_deref(), *.pinning))]
    Certificate {
        /// What is wrong with it.
        fault: Fault,
        /// What it says, where it can be read.
        leaf: Option<Box<Leaf>>,
        /// What its key is where pins come second, after the authorities.
        pinning: Pinning,
    },
    /// The peer sent an alert: it will not have us.
    #[error("{}", alert_words(*.0))]
    Refused(AlertDescription),
    /// The peer broke the protocol.
    #[error("the TLS handshake failed: {0}")]
    Protocol(String),
    /// The host's name cannot stand in a certificate.
    #[error("{0:?} is no name that a certificate could be for; set server_name")]
    Name(String),
    /// Our own files are of no use.
    #[error(transparent)]
    Material(#[from] MaterialError),
}

/// What the key of a certificate is, where a peer needs both a trusted authority and a pinned key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// Pins are not asked for as well.
    Unasked,
    /// It is pinned.
    Known,
    /// It is not pinned.
    Unknown,
}

/// What is wrong with a peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It showed none.
    Missing,
    /// It is no X.509 certificate.
    Unreadable,
    /// It is not valid any more.
    Expired,
    /// It is not valid yet, as far as our clock goes.
    NotYetValid,
    /// No authority that is trusted here has issued it.
    UnknownIssuer,
    /// It is for another name.
    WrongName(String),
    /// Its key is not among the pinned ones.
    UnknownPin,
    /// It is X.509 v1, of which an authority proves nothing.
    Version1,
    /// It is an authority's own certificate.
    AuthorityAsLeaf,
    /// It is for another purpose.
    WrongPurpose,
    /// The peer does not have the certificate's key.
    BadSignature,
    /// Something else.
    Other(String),
}

impl HandshakeError {
    /// The kind, from a closed set, for metrics and the audit record.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "tls_timeout",
            Self::NotTls(Tongue::Dicom) => "plain_dicom_on_tls_port",
            Self::NotTls(_) => "not_tls",
            Self::Closed | Self::Left | Self::Io(_) => "tls_connection_failed",
            Self::OldVersion => "old_tls_version",
            Self::NoCommonCipher(_) => "no_common_cipher",
            Self::Certificate { fault: Fault::Missing, .. } => "no_certificate",
            Self::Certificate { fault: Fault::Expired | Fault::NotYetValid, .. } => "certificate_expired",
            Self::Certificate { fault: Fault::UnknownPin, .. } => "unknown_pin",
            Self::Certificate { fault: Fault::WrongName(_), .. } => "wrong_name",
            Self::Certificate { .. } => "bad_certificate",
            Self::Refused(_) => "refused_by_peer",
            Self::Protocol(_) => "tls_protocol_error",
            Self::Name(_) | Self::Material(_) => "own_files",
        }
    }

    /// Every value of [`HandshakeError::reason`].
    pub const REASONS: [&str; 14] = [
        "tls_timeout",
        "plain_dicom_on_tls_port",
        "not_tls",
        "tls_connection_failed",
        "old_tls_version",
        "no_common_cipher",
        "no_certificate",
        "certificate_expired",
        "unknown_pin",
        "wrong_name",
        "bad_certificate",
        "refused_by_peer",
        "tls_protocol_error",
        "own_files",
    ];

    /// Whether somebody has to change something before it can work: certificates, versions, files. Everything else may
    /// pass by itself.
    pub fn is_for_a_person(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Closed | Self::Left | Self::Io(_) | Self::Protocol(_) => false,
            Self::NotTls(_)
            | Self::OldVersion
            | Self::NoCommonCipher(_)
            | Self::Certificate { .. }
            | Self::Refused(_)
            | Self::Name(_)
            | Self::Material(_) => true,
        }
    }

    /// The same, where the peer's key has to be among these pins as well.
    pub(super) fn with_pins(mut self, pins: &[Pin]) -> Self {
        if let Self::Certificate { leaf: Some(leaf), pinning, .. } = &mut self {
            *pinning = if pins.contains(&leaf.pin) { Pinning::Known } else { Pinning::Unknown };
        }
        self
    }

    /// A refusal of our certificate in `error` or in what caused it. In TLS 1.3 a client's part of the handshake is over before
    /// its certificate is looked at (RFC 8446 4.4.2.4, appendix E.1.2), so that the alert comes when something else is read.
    pub fn late(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // An io::Error does not name what it was made of as its source.
            let inside = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
            let found = inside.and_then(|inside| inside.downcast_ref()).or_else(|| error.downcast_ref());
            match found {
                Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                    return Some(Self::Refused(*alert));
                }
                _ => cause = error.source(),
            }
        }
        None
    }

    /// What became of the handshake with a peer that showed `leaf` and spoke like `tongue`.
    pub(super) fn from_io(error: io::Error, leaf: Option<Leaf>, tongue: Tongue) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        match inner {
            Some(inner) => Self::from_rustls(inner, leaf, tongue),
            // An SSL 2 hello that is cut short, or a peer that asked in plain DICOM and went.
            None if !matches!(tongue, Tongue::Nothing | Tongue::Tls) => Self::NotTls(tongue),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error),
        }
    }

    fn from_rustls(error: rustls::Error, leaf: Option<Leaf>, tongue: Tongue) -> Self {
        use rustls::Error as E;
        let leaf = leaf.map(Box::new);
        match error {
            E::InvalidCertificate(error) => {
                let is_old = leaf.as_ref().is_some_and(|leaf| leaf.version < 3);
                let fault = match fault(&error) {
                    // rustls cannot read what it does not take; we can.
                    Fault::Unreadable if is_old => Fault::Version1,
                    fault => fault,
                };
                Self::Certificate { fault, leaf, pinning: Pinning::Unasked }
            }
            E::NoCertificatesPresented => {
                Self::Certificate { fault: Fault::Missing, leaf, pinning: Pinning::Unasked }
            }
            E::AlertReceived(AlertDescription::ProtocolVersion) => Self::OldVersion,
            E::AlertReceived(alert) => Self::Refused(alert),
            E::PeerIncompatible(why) => incompatible(&why),
            E::InvalidMessage(_) if tongue == Tongue::Ssl2 => Self::OldVersion,
            E::InvalidMessage(_) if !matches!(tongue, Tongue::Nothing | Tongue::Tls) => Self::NotTls(tongue),
            other => Self::Protocol(other.to_string()),
        }
    }
}

fn incompatible(why: &PeerIncompatible) -> HandshakeError {
    use PeerIncompatible as P;
    match why {
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired => HandshakeError::OldVersion,
        P::NoKxGroupsInCommon
        | P::NamedGroupsExtensionRequired
        | P::KeyShareExtensionRequired
        | P::NoEcPointFormatsInCommon
        | P::EcPointsExtensionRequired
        | P::UncompressedEcPointsRequired => no_common("group for the key exchange"),
        P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon
        | P::SignatureAlgorithmsExtensionRequired => no_common("signature algorithm"),
        P::NoCipherSuitesInCommon => no_common("cipher"),
        other => no_common(&format!("way of speaking TLS ({other:?})")),
    }
}

fn no_common(what: &str) -> HandshakeError {
    HandshakeError::NoCommonCipher(what.to_owned())
}

/// What we have against a certificate.
pub(super) fn fault(error: &CertificateError) -> Fault {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => Fault::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => Fault::NotYetValid,
        C::UnknownIssuer => Fault::UnknownIssuer,
        C::NotValidForName => Fault::WrongName(String::new()),
        C::NotValidForNameContext { expected, .. } => Fault::WrongName(expected.to_str().into_owned()),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => Fault::WrongPurpose,
        C::BadSignature => Fault::BadSignature,
        C::BadEncoding => Fault::Unreadable,
        C::ApplicationVerificationFailure => Fault::UnknownPin,
        C::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::UnsupportedCertVersion) => Fault::Version1,
            Some(webpki::Error::CaUsedAsEndEntity) => Fault::AuthorityAsLeaf,
            _ => Fault::Other(other.to_string()),
        },
        other => Fault::Other(other.to_string()),
    }
}

/// What went wrong with a connection, without the library's advice to programmers and its address.
pub fn io_words(error: &io::Error) -> String {
    let words = error.to_string();
    words.split_once(": https://").map_or(words.clone(), |(words, _)| words.to_owned())
}

fn not_tls(tongue: Tongue) -> &'static str {
    match tongue {
        Tongue::Dicom => "the peer speaks plain DICOM, not TLS",
        Tongue::Http => "the peer speaks HTTP without TLS",
        Tongue::Ssh => "the peer speaks SSH, not TLS",
        Tongue::ProxyHeader => {
            "the peer sent a PROXY protocol header, from an address that is not among trusted_proxies, or a second one"
        }
        Tongue::Ssl2 => "the peer greets as SSL 2 did: it is too old",
        Tongue::Nothing => "the peer said nothing",
        Tongue::Tls | Tongue::Unknown => "the peer does not speak TLS",
    }
}

fn certificate_words(fault: &Fault, leaf: Option<&Leaf>, pinning: Pinning) -> String {
    let Some(leaf) = leaf else { return fault.to_string() };
    let Leaf { subject, issuer, pin, .. } = leaf;
    // What makes it good, if it is the right one.
    let mend = match pinning {
        Pinning::Unasked => format!("if it is the right one, pin it: {pin}"),
        Pinning::Known => {
            "its key is pinned, which is not enough: the authorities are asked first".to_owned()
        }
        Pinning::Unknown => format!("its key is not pinned either: {pin}"),
    };
    match fault {
        Fault::Expired => {
            format!("the certificate of {subject} expired {}", date_text(leaf.not_after))
        }
        Fault::NotYetValid => format!(
            "the certificate of {subject} is not valid before {}: is the clock right?",
            date_text(leaf.not_before)
        ),
        Fault::UnknownIssuer if leaf.is_self_signed() && pinning == Pinning::Unasked => {
            format!(
                "the certificate of {subject} signed itself and is not among the trusted authorities; {mend}"
            )
        }
        Fault::UnknownIssuer if leaf.is_self_signed() => format!(
            "the certificate of {subject} signed itself and is not among the trusted authorities; {mend}. If it is the right one, set ca to a file with this certificate"
        ),
        Fault::UnknownIssuer if pinning == Pinning::Known => format!(
            "the certificate of {subject} was issued by {issuer}, whose key is not among those of the trusted authorities; {mend}. Set ca to a file with the certificate of {issuer}"
        ),
        Fault::UnknownIssuer => format!(
            "the certificate of {subject} was issued by {issuer}, whose key is not among those of the trusted authorities; a TLS-inspecting proxy may have answered instead of the peer"
        ),
        Fault::WrongName(wanted) => {
            let names: Vec<_> = leaf.names.iter().take(8).map(ToString::to_string).collect();
            let names = if names.is_empty() { subject.clone() } else { names.join(", ") };
            format!(
                "the certificate is for {names}, not for {wanted}; set server_name if that is the right peer"
            )
        }
        Fault::UnknownPin if pinning == Pinning::Unknown => format!(
            "the certificate of {subject} was issued by {issuer}, which is trusted here, and has a key that is not pinned: {pin}; a TLS-inspecting proxy may have answered instead of the peer, or the peer has a new key"
        ),
        Fault::UnknownPin => {
            format!("the certificate of {subject}, issued by {issuer}, has a key that is not pinned: {pin}")
        }
        Fault::Version1 => format!(
            "the certificate of {subject} is X.509 v1, of which an authority proves nothing; {}",
            if pinning == Pinning::Unasked { mend } else { format!("{mend}. {ANOTHER_CERTIFICATE}") }
        ),
        Fault::AuthorityAsLeaf => format!(
            "the certificate of {subject} is an authority's (CA:true) and not a server's or client's; {}",
            if pinning == Pinning::Unasked { mend } else { format!("{mend}. {ANOTHER_CERTIFICATE}") }
        ),
        Fault::WrongPurpose => format!("the certificate of {subject} is for another purpose than this"),
        Fault::BadSignature => {
            format!("who showed the certificate of {subject} does not have its key, or it is damaged")
        }
        Fault::Missing | Fault::Unreadable | Fault::Other(_) => format!("{fault} ({subject})"),
    }
}

/// What is to be done where no pin helps.
const ANOTHER_CERTIFICATE: &str = "The peer needs another certificate: chrysalis cert generate makes one";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the peer showed no certificate",
            Self::Unreadable => "the peer's certificate cannot be read",
            Self::Expired => "the peer's certificate has expired",
            Self::NotYetValid => "the peer's certificate is not valid yet",
            Self::UnknownIssuer => "the peer's certificate is from nobody who is trusted",
            Self::WrongName(wanted) => return write!(f, "the peer's certificate is not for {wanted}"),
            Self::UnknownPin => "the key of the peer's certificate is not pinned",
            Self::Version1 => "the peer's certificate is X.509 v1: pin it",
            Self::AuthorityAsLeaf => "the peer's certificate is an authority's own: pin it",
            Self::WrongPurpose => "the peer's certificate is for another purpose",
            Self::BadSignature => "the peer does not have the key of its certificate",
            Self::Other(what) => return write!(f, "the peer's certificate will not do: {what}"),
        })
    }
}

/// Whether an alert says that the sender will not have the receiver's certificate, or none.
fn is_about_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::NoCertificate
            | A::UnknownCA
            | A::CertificateExpired
            | A::BadCertificate
            | A::CertificateUnknown
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::AccessDenied
            // A signature that does not fit: most often that of another authority of the same name.
            | A::DecryptError
            // What some say when they wanted a certificate.
            | A::HandshakeFailure
    )
}

fn alert_words(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let meaning = match alert {
        A::HandshakeFailure => "the peer and this side have no cipher in common, or it wants a certificate",
        A::CertificateRequired | A::NoCertificate => {
            "the peer wants a client certificate: set certificate and key"
        }
        A::UnknownCA => "the peer does not trust who issued our certificate",
        A::DecryptError => {
            "the peer could not verify our certificate; it may trust another authority of that name"
        }
        A::CertificateExpired => "our certificate has expired, says the peer",
        A::BadCertificate | A::CertificateUnknown | A::UnsupportedCertificate | A::CertificateRevoked => {
            "the peer will not have our certificate"
        }
        A::AccessDenied => "the peer knows our certificate and will not have us",
        A::UnrecognisedName => "the peer serves no such name: set server_name",
        _ => "the peer ended the TLS handshake",
    };
    format!("{meaning} (alert {alert:?})")
}

#[cfg(test)]
mod tests {
    use super::{incompatible, io_words};
    use rustls::PeerIncompatible;
    use std::io;

    #[test]
    fn what_is_not_in_common_is_named_in_words() {
        for (why, words) in [
            (PeerIncompatible::NoKxGroupsInCommon, "have no group for the key exchange in common"),
            (PeerIncompatible::NoCipherSuitesInCommon, "have no cipher in common"),
            (PeerIncompatible::NoSignatureSchemesInCommon, "have no signature algorithm in common"),
        ] {
            let said = incompatible(&why).to_string();
            assert!(said.contains(words) && !said.contains("InCommon"), "{said}");
        }
    }

    #[test]
    fn what_the_library_tells_programmers_is_left_out() {
        let long = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof";
        let words = io_words(&io::Error::new(io::ErrorKind::UnexpectedEof, long));
        assert_eq!(words, "peer closed connection without sending TLS close_notify");
        assert_eq!(io_words(&io::Error::other("plain: words")), "plain: words");
    }
}
