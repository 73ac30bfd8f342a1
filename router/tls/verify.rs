//! Whom to believe. The handshake's signature is always checked, against the public key as it stands in the certificate: that
//! works for every version of X.509. Whose key it is, is told by authorities, by pins, by both, or not at all.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};

use super::leaf::{self, Leaf};
use super::pin::Pin;
use super::provider;

/// What a client believes.
#[derive(Debug)]
pub(super) enum ServerTrust {
    /// Authorities.
    Ca(Arc<WebPkiServerVerifier>),
    /// Keys, and the name if one is asked for.
    Pins { pins: Vec<Pin>, name: Option<String> },
    /// Everybody.
    Nobody,
    /// Authorities first, and then the key of the leaf itself.
    CaAndPins(Arc<WebPkiServerVerifier>, Vec<Pin>),
}

/// What a server believes of those who show a certificate.
#[derive(Debug)]
pub(super) struct ClientTrust {
    pub(super) ca: Option<Arc<dyn ClientCertVerifier>>,
    /// Keys that are known without an authority.
    pub(super) pins: Vec<Pin>,
    pub(super) is_mandatory: bool,
}

/// A certificate that a peer showed, and what stands behind it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The certificate.
    pub leaf: Leaf,
    /// One of the authorities vouches for what it says. Otherwise it is known by its key, and its holder may have written any
    /// names into it.
    pub by_authority: bool,
}

/// What the peer of one handshake showed, good or not.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Shown>>>);

impl Seen {
    pub(super) fn take(&self) -> Option<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The same, where it was not believed.
    pub(super) fn take_leaf(&self) -> Option<Leaf> {
        self.take().map(|shown| shown.leaf)
    }

    fn vouch(&self) {
        if let Some(shown) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            shown.by_authority = true;
        }
    }

    /// Keeps it and gives it back.
    fn note(&self, certificate: &CertificateDer<'_>) -> Result<Leaf, Error> {
        let leaf = Leaf::of(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let shown = Shown { leaf: leaf.clone(), by_authority: false };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(leaf)
    }
}

/// Verifies one server.
#[derive(Debug)]
pub(super) struct VerifyServer {
    pub(super) trust: Arc<ServerTrust>,
    pub(super) seen: Seen,
}

/// Verifies one client.
#[derive(Debug)]
pub(super) struct VerifyClient {
    pub(super) trust: Arc<ClientTrust>,
    pub(super) seen: Seen,
}

impl ServerCertVerifier for VerifyServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = self.seen.note(end_entity)?;
        let by_authority = |ca: &WebPkiServerVerifier| {
            ca.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(of_chain)
        };
        match &*self.trust {
            ServerTrust::Ca(ca) => by_authority(ca),
            ServerTrust::CaAndPins(ca, pins) => {
                by_authority(ca)?;
                pinned(&leaf, pins)?;
                Ok(ServerCertVerified::assertion())
            }
            ServerTrust::Pins { pins, name } => {
                pinned(&leaf, pins)?;
                in_time(&leaf, now)?;
                match name {
                    Some(name) if !leaf.is_for(name) => Err(CertificateError::NotValidForNameContext {
                        expected: server_name.to_owned(),
                        presented: Vec::new(),
                    }
                    .into()),
                    _ => Ok(ServerCertVerified::assertion()),
                }
            }
            ServerTrust::Nobody => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for VerifyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.trust.is_mandatory
    }

    /// With pins, a good certificate may be from nobody in particular; a client that goes by these hints would not show it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.trust.ca {
            Some(ca) if self.trust.pins.is_empty() => ca.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let leaf = self.seen.note(end_entity)?;
        let by_authority = match &self.trust.ca {
            Some(ca) => ca.verify_client_cert(end_entity, intermediates, now).map_err(of_chain),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        if by_authority.is_ok() {
            self.seen.vouch();
        }
        if self.trust.pins.contains(&leaf.pin) {
            in_time(&leaf, now)?;
            return Ok(ClientCertVerified::assertion());
        }
        by_authority
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// An authority of the same name with another key, such as one that was made anew, is another authority.
fn of_chain(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        other => other,
    }
}

fn pinned(leaf: &Leaf, pins: &[Pin]) -> Result<(), Error> {
    if pins.contains(&leaf.pin) {
        Ok(())
    } else {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}

fn in_time(leaf: &Leaf, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > leaf.not_after.unix_timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if now < leaf.not_before.unix_timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// What signatures are understood.
fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

fn key_of(cert: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let key = leaf::public_key(cert).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(key))
}

/// RFC 5246 4.7: the scheme names hash and algorithm, not the curve, so that several may fit.
fn tls12_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = key_of(cert)?;
    let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let mapping = algorithms().mapping;
    let possible =
        mapping.iter().find(|(scheme, _)| *scheme == dss.scheme).map(|(_, algorithms)| *algorithms);
    let possible = possible.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    for algorithm in possible {
        match key.verify_signature(*algorithm, message, dss.signature()) {
            Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Err(CertificateError::BadSignature.into()),
        }
    }
    Err(CertificateError::BadSignature.into())
}

/// RFC 8446 4.4.3: the scheme names everything, and PKCS #1 is not among them.
fn tls13_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &key_of(cert)?, dss, &algorithms())
}
