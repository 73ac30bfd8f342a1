//! The side that calls: a TLS connection to a peer that is who it should be.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::HandshakeError;
use super::leaf::Leaf;
use super::material::{self, MaterialError};
use super::sniff::Sniffed;
use super::verify::{Seen, ServerTrust, VerifyServer};
use super::watch::{Renewable, Watched};
use super::{Security, provider, provider_for_bulk};
use crate::config::{ClientTls as Settings, Verify};
use crate::dimse::Transport;

/// An encrypted stream to a server.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<Sniffed<S>>;

impl<S: Transport> Transport for ClientStream<S> {
    fn before_read(&self) {
        self.get_ref().0.before_read();
    }
}

/// How to call by TLS. Clones are cheap, and the same one.
#[derive(Clone)]
pub struct ClientTls {
    settings: Arc<Settings>,
    material: Watched<Material>,
}

/// What is made of the files.
struct Material {
    trust: Arc<ServerTrust>,
    config: Arc<ClientConfig>,
    own: Option<Leaf>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files. They are read again when they change. Blocks as long as they take.
    ///
    /// # Errors
    /// [`MaterialError`]: a file is of no use.
    pub fn new(settings: &Settings) -> Result<Self, MaterialError> {
        Self::with(settings, provider())
    }

    /// The same for a peer that is this program too, with the cipher that is fastest for both.
    ///
    /// # Errors
    /// [`MaterialError`]: a file is of no use.
    pub fn for_bulk(settings: &Settings) -> Result<Self, MaterialError> {
        Self::with(settings, provider_for_bulk())
    }

    fn with(settings: &Settings, provider: Arc<CryptoProvider>) -> Result<Self, MaterialError> {
        let settings = Arc::new(settings.clone());
        let from = Arc::clone(&settings);
        let material = Watched::new(files(&settings), move || Material::read(&from, &provider))?;
        Ok(Self { settings, material })
    }

    /// Makes a connection an encrypted one, within `deadline`.
    ///
    /// # Errors
    /// [`HandshakeError`]; the peer was sent an alert where TLS has one, and the connection is over.
    pub async fn connect<S>(
        &self,
        stream: S,
        name: &ServerName<'static>,
        deadline: Duration,
    ) -> Result<ClientStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let material = self.material.current().await;
        let seen = Seen::default();
        let mut config = ClientConfig::clone(&material.config);
        let verifier = VerifyServer { trust: Arc::clone(&material.trust), seen: seen.clone() };
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let connector = TlsConnector::from(Arc::new(config));
        let connecting = connector.connect(name.clone(), Sniffed::new(stream)).into_fallible();
        match timeout(deadline, connecting).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().0.read_ahead();
                Ok(stream)
            }
            Ok(Err((error, io))) => {
                let error = HandshakeError::from_io(error, seen.take_leaf(), io.tongue());
                Err(match &self.settings.verify {
                    Verify::CaAndPin(_, pins) => error.with_pins(pins),
                    Verify::Ca(_) | Verify::Pin(_) | Verify::Nobody => error,
                })
            }
            Err(_) => Err(HandshakeError::Timeout(deadline)),
        }
    }

    /// The name that a peer at `host` has to show.
    ///
    /// # Errors
    /// [`HandshakeError::Name`] where a name matters and this can be none.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, HandshakeError> {
        let name = self.settings.server_name.as_deref().unwrap_or(host).trim_end_matches('.');
        let parsed = ServerName::try_from(name.to_owned());
        match (&self.settings.verify, parsed) {
            (_, Ok(name)) => Ok(name),
            // Nobody looks at it: an address, of which a server is told nothing.
            (Verify::Pin(_) | Verify::Nobody, Err(_)) => {
                Ok(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
            }
            (Verify::Ca(_) | Verify::CaAndPin(..), Err(_)) => Err(HandshakeError::Name(name.to_owned())),
        }
    }

    /// The configuration for libraries that do their own handshakes, as the files were when last looked at.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.material.last().config)
    }

    /// Whether the peer is verified.
    pub fn security(&self) -> Security {
        self.settings.security()
    }

    /// Our own certificate, if we show one.
    pub fn own(&self) -> Option<Leaf> {
        self.material.last().own.clone()
    }

    /// Looks at the files now, if that was not done just before.
    pub async fn refresh(&self) {
        self.material.current().await;
    }
}

fn files(settings: &Settings) -> Vec<PathBuf> {
    let authorities = match &settings.verify {
        Verify::Ca(file) | Verify::CaAndPin(file, _) => file.clone(),
        Verify::Pin(_) | Verify::Nobody => None,
    };
    let own = settings.identity.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
    authorities.into_iter().chain(own).collect()
}

impl Renewable for Material {
    fn own(&self) -> Option<&Leaf> {
        self.own.as_ref()
    }
}

impl Material {
    fn read(settings: &Settings, provider: &Arc<CryptoProvider>) -> Result<Self, MaterialError> {
        let trust = Arc::new(match &settings.verify {
            Verify::Ca(file) => ServerTrust::Ca(authorities(file.as_ref())?),
            Verify::CaAndPin(file, pins) => ServerTrust::CaAndPins(authorities(file.as_ref())?, pins.clone()),
            Verify::Pin(pins) => ServerTrust::Pins { pins: pins.clone(), name: settings.server_name.clone() },
            Verify::Nobody => ServerTrust::Nobody,
        });
        let verifier = VerifyServer { trust: Arc::clone(&trust), seen: Seen::default() };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ours(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut own = None;
        let mut config = match &settings.identity {
            Some((certificate, key)) => {
                let identity = material::identity(certificate, key)?;
                own = identity.cert.first().and_then(|certificate| Leaf::of(certificate).ok());
                // Not `with_client_auth_cert`, which takes no X.509 v1.
                let resolver = SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&identity));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        // Every connection is verified anew, by what is trusted then.
        config.resumption = Resumption::disabled();
        Ok(Self { trust, config: Arc::new(config), own })
    }
}

fn authorities(file: Option<&PathBuf>) -> Result<Arc<WebPkiServerVerifier>, MaterialError> {
    let roots: RootCertStore = file.map_or_else(material::system_roots, |file| material::roots(file))?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|error| {
        let file = file.cloned().unwrap_or_default();
        MaterialError { file, why: error.to_string() }
    })
}

/// What cannot be with the provider that is built in.
pub(super) fn ours(error: &dyn std::error::Error) -> MaterialError {
    MaterialError { file: PathBuf::new(), why: io::Error::other(error.to_string()).to_string() }
}
