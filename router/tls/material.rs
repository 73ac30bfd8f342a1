//! Certificates and keys from files. What a file is, is told by its content and never by its name; a file that is something
//! else is refused with what it is.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, SectionKind};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::CertifiedKey;

use super::der::{self, Reader};
use super::leaf::{self, Leaf};

/// The largest file that is read; a bundle of all public authorities is a quarter of it.
const MAX_FILE: u64 = 1 << 20;
/// How much of a file is looked through for what it is.
const LOOK: usize = 64 << 10;

/// Why a file is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct MaterialError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Nothing at all.
    Empty,
    /// One or more certificates.
    Certificate,
    /// An unencrypted private key.
    PrivateKey,
    /// A private key under a passphrase.
    EncryptedKey,
    /// A public key without a certificate.
    PublicKey,
    /// A request for a certificate.
    Request,
    /// PKCS #12, of extension .pfx or .p12.
    Pkcs12,
    /// PKCS #7, of extension .p7b.
    Pkcs7,
    /// A key store of Java.
    JavaKeyStore,
    /// A key of SSH.
    SshKey,
    /// A DICOM file, a picture, a text: anything.
    Unknown,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Certificate => "this is a certificate",
            Self::PrivateKey => "this is a private key",
            Self::EncryptedKey => {
                "this is an encrypted private key; write it without its passphrase: openssl pkey -in FILE -out KEY.pem"
            }
            Self::PublicKey => "this is a public key; the certificate is another file",
            Self::Request => "this is a request for a certificate; what the authority answered is wanted",
            Self::Pkcs12 => {
                "this is PKCS #12 (.pfx, .p12); take it apart: openssl pkcs12 -in FILE -nodes -out BOTH.pem"
            }
            Self::Pkcs7 => "this is PKCS #7 (.p7b); take it apart: openssl pkcs7 -in FILE -print_certs -out CERT.pem",
            Self::JavaKeyStore => {
                "this is a Java key store; take it apart: keytool -importkeystore -srckeystore FILE -destkeystore F.p12 -deststoretype PKCS12"
            }
            Self::SshKey => "this is a key of SSH, which TLS has no use for",
            Self::Unknown => "this is neither PEM nor DER of a certificate or a key",
        })
    }
}

/// The certificates in a file, PEM or DER, in their order.
///
/// # Errors
/// [`MaterialError`] when there is none, or one cannot be read.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let fail = failing(path);
    let bytes = read(path)?;
    let sections = sections(&bytes).map_err(&fail)?;
    let is_certificate = |(kind, _): &(SectionKind, Vec<u8>)| *kind == SectionKind::Certificate;
    let mut found: Vec<_> =
        sections.into_iter().filter(is_certificate).map(|(_, der)| CertificateDer::from(der)).collect();
    if found.is_empty() && !is_pem(&bytes) && what_der_is(&bytes) == What::Certificate {
        found.push(CertificateDer::from(bytes.clone()));
    }
    if found.is_empty() {
        return Err(fail(format!("a certificate is wanted, and {}", what(&bytes))));
    }
    for (index, certificate) in found.iter().enumerate() {
        Leaf::of(certificate).map_err(|error| fail(format!("certificate {}: {error}", index + 1)))?;
    }
    Ok(found)
}

/// The private key in a file, PEM or DER, without a passphrase.
///
/// # Errors
/// [`MaterialError`] when there is none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let fail = failing(path);
    let bytes = read(path)?;
    let key = |(kind, der): (SectionKind, Vec<u8>)| match kind {
        SectionKind::PrivateKey => Some(PrivatePkcs8KeyDer::from(der).into()),
        SectionKind::RsaPrivateKey => Some(PrivatePkcs1KeyDer::from(der).into()),
        SectionKind::EcPrivateKey => Some(PrivateSec1KeyDer::from(der).into()),
        _ => None,
    };
    let what = what(&bytes);
    if what == What::EncryptedKey {
        return Err(fail(format!("a private key is wanted, and {what}")));
    }
    if let Some(found) = sections(&bytes).map_err(&fail)?.into_iter().find_map(key) {
        return Ok(found);
    }
    if !is_pem(&bytes)
        && what == What::PrivateKey
        && let Ok(found) = PrivateKeyDer::try_from(bytes.clone())
    {
        return Ok(found);
    }
    Err(fail(format!("a private key is wanted, and {what}")))
}

/// The authorities in a file.
///
/// # Errors
/// [`MaterialError`] when there is none, or one cannot be an authority.
pub fn roots(path: &Path) -> Result<RootCertStore, MaterialError> {
    let fail = failing(path);
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        let unusable = |error| fail(format!("cannot be an authority: {error}"));
        store.add(certificate).map_err(unusable)?;
    }
    Ok(store)
}

/// The authorities that this system trusts.
///
/// # Errors
/// [`MaterialError`] when it has none.
pub(super) fn system_roots() -> Result<RootCertStore, MaterialError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = match found.errors.first() {
            Some(error) => format!("this system's authorities cannot be read: {error}; name a file as ca"),
            None => "this system trusts no authority at all; name a file as ca".to_owned(),
        };
        return Err(MaterialError { file: PathBuf::from("the system's authorities"), why });
    }
    Ok(store)
}

/// A certificate with its chain, and the key that belongs to it. Any version of X.509.
///
/// # Errors
/// [`MaterialError`]: a file is of no use, or the two do not belong together.
pub fn identity(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, MaterialError> {
    let chain = certificates(certificate)?;
    let fail = failing(key);
    let signing = super::provider().key_provider.load_private_key(private_key(key)?);
    let signing = signing.map_err(|error| fail(format!("this key cannot be used: {error}")))?;
    if let Some(public) = signing.public_key() {
        let belongs = |certificate: &CertificateDer<'_>| {
            leaf::public_key(certificate).is_ok_and(|of_certificate| of_certificate == public.as_ref())
        };
        match chain.iter().position(belongs) {
            Some(0) => {}
            Some(index) => {
                let why = format!(
                    "the key {} belongs to certificate {} of this file; the first one has to be this side's own, and its authorities follow",
                    key.display(),
                    index + 1,
                );
                return Err(failing(certificate)(why));
            }
            None => {
                return Err(fail(format!("is not the key of the certificate in {}", certificate.display())));
            }
        }
    }
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}

fn failing(path: &Path) -> impl Fn(String) -> MaterialError {
    let file = path.to_owned();
    move |why| MaterialError { file: file.clone(), why }
}

fn read(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let fail = |error: io::Error| failing(path)(format!("cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > MAX_FILE {
        return Err(failing(path)(format!(
            "is larger than {MAX_FILE} bytes: no file of certificates or keys is"
        )));
    }
    std::fs::read(path).map_err(fail)
}

fn is_pem(bytes: &[u8]) -> bool {
    has(bytes, b"-----BEGIN ")
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.get(..bytes.len().min(LOOK)).unwrap_or_default().windows(text.len()).any(|window| window == text)
}

/// What stands between BEGIN and END lines; nothing in a file that is not PEM.
fn sections(bytes: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, String> {
    if !is_pem(bytes) {
        return Ok(Vec::new());
    }
    let (mut rest, mut found) = (bytes, Vec::new());
    loop {
        match pem::from_buf(&mut rest) {
            Ok(Some(section)) => found.push(section),
            Ok(None) => return Ok(found),
            Err(error) => return Err(format!("damaged PEM: {error}")),
        }
    }
}

/// What a file is.
fn what(bytes: &[u8]) -> What {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return What::Empty;
    }
    if !is_pem(bytes) {
        return what_der_is(bytes);
    }
    let labels: [(&[u8], What); 11] = [
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", What::EncryptedKey),
        (b"Proc-Type: 4,ENCRYPTED", What::EncryptedKey),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", What::SshKey),
        (b" PRIVATE KEY-----", What::PrivateKey),
        (b"-----BEGIN PRIVATE KEY-----", What::PrivateKey),
        (b"-----BEGIN CERTIFICATE REQUEST-----", What::Request),
        (b"-----BEGIN NEW CERTIFICATE REQUEST-----", What::Request),
        (b"-----BEGIN CERTIFICATE-----", What::Certificate),
        (b"-----BEGIN PKCS7-----", What::Pkcs7),
        (b"-----BEGIN PUBLIC KEY-----", What::PublicKey),
        (b"-----BEGIN RSA PUBLIC KEY-----", What::PublicKey),
    ];
    labels.iter().find(|(label, _)| has(bytes, label)).map_or(What::Unknown, |(_, what)| *what)
}

fn what_der_is(bytes: &[u8]) -> What {
    if bytes.starts_with(&[0xFE, 0xED, 0xFE, 0xED]) {
        return What::JavaKeyStore;
    }
    let Ok(mut outer) = Reader::new(bytes).enter(der::SEQUENCE) else { return What::Unknown };
    let (first, second) = (outer.next(), outer.next());
    let (Ok(first), Ok(second)) = (first, second) else { return What::Unknown };
    match (first.tag, first.content, second.tag) {
        // Version 3 and a ContentInfo (RFC 7292 4).
        (der::INTEGER, [3], der::SEQUENCE) => What::Pkcs12,
        // PKCS #8, PKCS #1, SEC 1.
        (der::INTEGER, [0], der::SEQUENCE | der::INTEGER) | (der::INTEGER, [1], der::OCTET_STRING) => {
            What::PrivateKey
        }
        (der::OID, _, 0xA0) => What::Pkcs7,
        (der::SEQUENCE, _, der::OCTET_STRING) => What::EncryptedKey,
        (der::SEQUENCE, _, der::BIT_STRING) => What::PublicKey,
        (der::SEQUENCE, _, der::SEQUENCE) if Leaf::of(&CertificateDer::from(bytes)).is_ok() => {
            What::Certificate
        }
        (der::SEQUENCE, _, der::SEQUENCE) => What::Request,
        _ => What::Unknown,
    }
}
