//! Looking at a peer: the connections, and what is noted from each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion, version,
};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::report::{Asks, Old, Report, Taken, Verdict};
use crate::cert::hello::{self, Answer, CBC_SUITES, DHE_SUITES, OLD_SUITES, RSA_SUITES, Version};
use crate::config::{ClientTls as Settings, HostPort, Verify};
use crate::dimse::socket;
use crate::tls::{self, ClientTls, HandshakeError, Leaf, MaterialError};

/// Whom to look at, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: HostPort,
    /// The name that its certificate has to be for, if not the host's.
    pub server_name: Option<String>,
    /// The authorities to believe, if not the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate and key, to be shown.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long each connection may take.
    pub limit: Duration,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody is there.
    #[error(transparent)]
    Connect(#[from] socket::ConnectError),
    /// A file of ours is of no use.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The library would not.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Looks at a peer.
///
/// # Errors
/// [`CheckError`]; that it does not speak TLS is no error, but in the report.
pub async fn check(target: &Target) -> Result<Report, CheckError> {
    let identity = target.identity.as_ref();
    let own = identity.map(|(certificate, key)| tls::identity(certificate, key)).transpose()?;
    let seen = Arc::new(Seen { own, ..Seen::default() });
    let mut versions = vec![
        ("TLS 1.3", shake(target, &version::TLS13, &seen).await?),
        ("TLS 1.2", shake(target, &version::TLS12, &seen).await?),
    ];
    for (name, version) in
        [("TLS 1.1", Version::TLS_1_1), ("TLS 1.0", Version::TLS_1_0), ("SSL 3.0", Version::SSL_3)]
    {
        versions.push((name, old(target, version, OLD_SUITES).await?));
    }
    let mut old_suites = Vec::new();
    for (kind, suites) in [(Old::Rsa, RSA_SUITES), (Old::Cbc, CBC_SUITES), (Old::Dhe, DHE_SUITES)] {
        old_suites.push((kind, old(target, Version::TLS_1_2, suites).await?));
    }
    let chain: Vec<Leaf> = seen.chain().iter().filter_map(|certificate| Leaf::of(certificate).ok()).collect();
    let pins = chain.first().map(|leaf| leaf.pin).into_iter().collect();
    let ways = [("ca", Verify::Ca(target.ca.clone())), ("pin", Verify::Pin(pins)), ("none", Verify::Nobody)];
    let mut verdicts = Vec::new();
    if !chain.is_empty() {
        for (name, verify) in ways {
            verdicts.push(Verdict { verify: name, outcome: verify_with(target, verify).await? });
        }
    }
    Ok(Report {
        address: target.address.to_string(),
        now: OffsetDateTime::now_utc(),
        versions,
        old_suites,
        chain,
        asks: seen.asks(),
        own: seen.own(),
        verdicts,
    })
}

async fn connect(target: &Target) -> Result<TcpStream, CheckError> {
    Ok(socket::connect(&target.address.host, target.address.port, target.limit).await?)
}

/// A handshake of one version with whoever answers.
async fn shake(
    target: &Target,
    version: &'static SupportedProtocolVersion,
    seen: &Arc<Seen>,
) -> Result<Taken, CheckError> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(seen) as _)
        .with_client_cert_resolver(Arc::clone(seen) as _);
    config.resumption = rustls::client::Resumption::disabled();
    let host = target.server_name.as_ref().unwrap_or(&target.address.host);
    let anybody = || ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let name = ServerName::try_from(host.clone()).unwrap_or_else(|_| anybody());
    let stream = connect(target).await?;
    seen.asked_now.store(false, Ordering::Relaxed);
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = match timeout(target.limit, shaking).await {
        Err(_) => return Ok(Taken::Silence),
        Ok(Err(error)) => {
            if let Some(alert) = alert(&error).filter(|_| seen.is_asked_now()) {
                seen.note_refusal(alert);
                return Ok(Taken::Yes("and ends it for want of a certificate".to_owned()));
            }
            return Ok(Taken::No(reason(&error)));
        }
        Ok(Ok(stream)) => stream,
    };
    let suite = stream.get_ref().1.negotiated_cipher_suite();
    let suite = suite.map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    if seen.is_asked_now() {
        // In TLS 1.3 a server says only afterwards that it wants a certificate, or another one.
        let mut byte = [0];
        let answer = timeout(AFTERTHOUGHT.min(target.limit), stream.read(&mut byte)).await;
        if let Ok(Err(error)) = answer
            && let Some(alert) = alert(&error)
        {
            seen.note_refusal(alert);
        }
    }
    Ok(Taken::Yes(suite))
}

/// Asks with a version, or with ciphers, that we do not speak ourselves.
async fn old(target: &Target, version: Version, suites: &[u16]) -> Result<Taken, CheckError> {
    let mut stream = connect(target).await?;
    let host = target.server_name.as_ref().unwrap_or(&target.address.host);
    let host = host.parse::<std::net::IpAddr>().is_err().then_some(host.as_str());
    let asked = hello::ask(&mut stream, version, suites, host);
    Ok(match timeout(target.limit, asked).await {
        Err(_) => Taken::Silence,
        Ok(Err(error)) => Taken::No(error.to_string()),
        Ok(Ok(Answer::Took { version: taken, suite })) if taken == version => {
            let name = hello::suite_name(suite).unwrap_or("another cipher");
            Taken::Yes(format!("{name} (0x{suite:04X})"))
        }
        Ok(Ok(Answer::Took { .. })) => Taken::No("offers another version instead".to_owned()),
        Ok(Ok(Answer::Alert(alert))) => Taken::No(format!("alert {alert}")),
        Ok(Ok(Answer::Closed)) => Taken::No("closes".to_owned()),
        Ok(Ok(Answer::Other)) => Taken::No("does not speak TLS".to_owned()),
    })
}

/// A handshake as a destination makes it.
async fn verify_with(target: &Target, verify: Verify) -> Result<Result<(), HandshakeError>, CheckError> {
    let (server_name, identity) = (target.server_name.clone(), target.identity.clone());
    let client = match ClientTls::new(&Settings { verify, server_name, identity }) {
        Ok(client) => client,
        Err(error) => return Ok(Err(error.into())),
    };
    let name = match client.name_for(&target.address.host) {
        Ok(name) => name,
        Err(error) => return Ok(Err(error)),
    };
    let stream = connect(target).await?;
    Ok(client.connect(stream, &name, target.limit).await.map(drop))
}

/// With what the peer ended a handshake.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

fn reason(error: &io::Error) -> String {
    use AlertDescription as Alert;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(Alert::ProtocolVersion)) => "not this version".to_owned(),
        Some(rustls::Error::AlertReceived(Alert::HandshakeFailure)) => "no cipher in common".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("alert {alert:?}"),
        Some(rustls::Error::PeerIncompatible(_)) => "not this version".to_owned(),
        Some(rustls::Error::InvalidMessage(_)) => "does not speak TLS".to_owned(),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "closes".to_owned(),
        None => error.to_string(),
    }
}

/// What the peer showed and asked for. Believes everything: this is for looking only.
#[derive(Default)]
struct Seen {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    asked: AtomicBool,
    /// In the handshake under way.
    asked_now: AtomicBool,
    /// What it said to what we showed, or did not show.
    refused: Mutex<Option<AlertDescription>>,
    own: Option<Arc<CertifiedKey>>,
}

impl Seen {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_asked_now(&self) -> bool {
        self.asked_now.load(Ordering::Relaxed)
    }

    fn asks(&self) -> Asks {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.asked.load(Ordering::Relaxed), refused) {
            (false, _) => Asks::No,
            (true, None) if self.own.is_some() => Asks::Shown,
            (true, None) => Asks::Optional,
            (true, Some(alert)) if self.own.is_some() => Asks::Refused(alert),
            (true, Some(_)) => Asks::Required,
        }
    }

    fn note_refusal(&self, alert: AlertDescription) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(alert);
    }

    /// Our own certificate.
    fn own(&self) -> Option<Leaf> {
        self.own.as_ref().and_then(|own| Leaf::of(own.cert.first()?).ok())
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

impl ResolvesClientCert for Seen {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.asked_now.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        if chain.is_empty() {
            let all = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
            *chain = all.map(|certificate| certificate.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How long a server is given to refuse us after its handshake.
const AFTERTHOUGHT: Duration = Duration::from_secs(1);
/// Certificates that are kept of a chain.
const MAX_CHAIN: usize = 10;
