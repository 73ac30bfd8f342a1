//! The side that is called: TLS connections from peers that are who they should be.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{PeerIncompatible, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::client::ours;
use super::error::HandshakeError;
use super::leaf::Leaf;
use super::material::{self, MaterialError};
use super::provider;
use super::sniff::{Sniffed, Tongue};
use super::verify::{ClientTrust, Seen, Shown, VerifyClient};
use super::watch::{Renewable, Watched};
use crate::config::{CertificateMatch, ClientAuth, ServerTls as Settings, TlsVersion};
use crate::dimse::Transport;

/// An encrypted stream to a client.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<Sniffed<S>>;

/// How long a peer that was sent an alert is given to read it, and how much of what it says meanwhile is read away: a close
/// over unread bytes would be a reset, and take the alert with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 << 10;

impl<S: Transport> Transport for ServerStream<S> {
    fn before_read(&self) {
        self.get_ref().0.before_read();
    }
}

/// How to be called by TLS. Clones are cheap, and the same one.
#[derive(Clone)]
pub struct ServerTls {
    settings: Arc<Settings>,
    material: Watched<Material>,
}

/// What is made of the files.
struct Material {
    resolver: Arc<SingleCertAndKey>,
    trust: Option<Arc<ClientTrust>>,
    own: Leaf,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files. They are read again when they change; connections that are open go on. Blocks as long as they take.
    ///
    /// # Errors
    /// [`MaterialError`]: a file is of no use.
    pub fn new(settings: &Settings) -> Result<Self, MaterialError> {
        let settings = Arc::new(settings.clone());
        let from = Arc::clone(&settings);
        let files = [&settings.certificate, &settings.key].into_iter().chain(&settings.ca).cloned().collect();
        let material = Watched::new(files, move || Material::read(&from))?;
        // What would fail at the first caller fails now.
        config(&settings, &material.last(), &Seen::default())?;
        Ok(Self { settings, material })
    }

    /// Makes a connection an encrypted one, within `deadline`, and says whose certificate was shown and found good.
    ///
    /// # Errors
    /// [`HandshakeError`]; the peer was sent an alert where TLS has one, and the connection is over.
    pub async fn accept<S>(
        &self,
        stream: S,
        deadline: Duration,
    ) -> Result<(ServerStream<S>, Option<Shown>), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let material = self.material.current().await;
        let seen = Seen::default();
        let config = Arc::new(config(&self.settings, &material, &seen)?);
        let accepting = async {
            let mut stream = Sniffed::new(stream);
            if let Err(error) = stream.look().await {
                return Err((error, stream));
            }
            if let Some(version) = stream.old_hello() {
                return Err((refuse_old(&mut stream, version).await, stream));
            }
            TlsAcceptor::from(config).accept(stream).into_fallible().await
        };
        match timeout(deadline, accepting).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().0.read_ahead();
                Ok((stream, seen.take()))
            }
            Ok(Err((error, mut io))) => {
                let tongue = io.tongue();
                let error = match HandshakeError::from_io(error, seen.take_leaf(), tongue) {
                    HandshakeError::Closed | HandshakeError::Io(_) if tongue == Tongue::Nothing => {
                        return Err(HandshakeError::Left);
                    }
                    error => error,
                };
                linger(&mut io).await;
                Err(error)
            }
            Err(_) => Err(HandshakeError::Timeout(deadline)),
        }
    }

    /// How long a handshake may take, as it is configured.
    pub fn handshake(&self) -> Duration {
        self.settings.handshake
    }

    /// What this was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Our own certificate, as it was when its file was last looked at.
    pub fn own(&self) -> Leaf {
        self.material.last().own.clone()
    }

    /// Looks at the files now, if that was not done just before.
    pub async fn refresh(&self) {
        self.material.current().await;
    }
}

impl Renewable for Material {
    fn own(&self) -> Option<&Leaf> {
        Some(&self.own)
    }
}

impl Material {
    fn read(settings: &Settings) -> Result<Self, MaterialError> {
        let identity = material::identity(&settings.certificate, &settings.key)?;
        let unreadable =
            || MaterialError { file: settings.certificate.clone(), why: "no certificate".to_owned() };
        let own = identity
            .cert
            .first()
            .and_then(|certificate| Leaf::of(certificate).ok())
            .ok_or_else(unreadable)?;
        let resolver = Arc::new(SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&identity)));
        let trust = match settings.client {
            ClientAuth::None => None,
            ClientAuth::Optional => Some(Arc::new(trust(settings, false)?)),
            ClientAuth::Required => Some(Arc::new(trust(settings, true)?)),
        };
        Ok(Self { resolver, trust, own })
    }
}

fn trust(settings: &Settings, is_mandatory: bool) -> Result<ClientTrust, MaterialError> {
    let verifier = |file: &PathBuf| -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
        let roots = Arc::new(material::roots(file)?);
        let built = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        built.map_err(|error| MaterialError { file: file.clone(), why: error.to_string() })
    };
    let ca = settings.ca.as_ref().map(verifier).transpose()?;
    let pin = |known: &crate::config::CertificateIdentity| match known.certificate {
        CertificateMatch::Pin(pin) => Some(pin),
        CertificateMatch::San(_) | CertificateMatch::Subject(_) => None,
    };
    Ok(ClientTrust { ca, pins: settings.identities.iter().filter_map(pin).collect(), is_mandatory })
}

/// The configuration of one handshake, which notes what the peer shows.
fn config(settings: &Settings, material: &Material, seen: &Seen) -> Result<ServerConfig, MaterialError> {
    let verifier: Arc<dyn ClientCertVerifier> = match &material.trust {
        Some(trust) => Arc::new(VerifyClient { trust: Arc::clone(trust), seen: seen.clone() }),
        None => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(settings.min_version))
        .map_err(|error| ours(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&material.resolver) as _);
    // A session that is taken up again is one whose certificate nobody looks at. Nor does a peer that never reads before it
    // closes have to stumble over tickets.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The newest first.
static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match oldest {
        TlsVersion::V12 => BOTH,
        TlsVersion::V13 => &BOTH[..1],
    }
}

/// The answer to a hello of TLS 1.1 or before, which rustls gives no such alert for: `protocol_version` (RFC 8446 6.2).
async fn refuse_old<S: AsyncWrite + Unpin>(stream: &mut S, version: [u8; 2]) -> io::Error {
    let [major, minor] = version;
    let sent = stream.write_all(&[0x15, major, minor, 0, 2, 2, 70]).await;
    sent.err().unwrap_or_else(|| {
        io::Error::other(rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    })
}

/// Lets a peer that was refused read why.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let farewell = async {
        let _ = stream.flush().await;
        let _ = stream.shutdown().await;
        let mut rest = [0; 1024];
        let mut left = LINGER_BYTES;
        while let Ok(count @ 1..) = stream.read(&mut rest).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER, farewell).await;
}
