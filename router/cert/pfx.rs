//! PKCS #12: certificate, chain and key in one file under a password, as QPath-E and Windows take them (RFC 7292).

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair,
};
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
};
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};

use crate::tls::{self, Leaf, MaterialError};

/// A password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Keeps `text` as a password.
    ///
    /// # Errors
    /// [`PasswordError`]: it is empty, or has characters that PKCS #12 has no room for.
    pub fn new(text: impl Into<String>) -> Result<Self, PasswordError> {
        let text = text.into();
        match () {
            () if text.is_empty() => Err(PasswordError::Empty),
            // Passwords are UCS-2 (RFC 7292 B.1), and programs differ beyond that.
            () if text.chars().any(|c| c.is_control() || u32::from(c) > 0xFFFF) => {
                Err(PasswordError::Character)
            }
            () => Ok(Self(text)),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<password>")
    }
}

/// Why a text cannot be the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Without one the key is open to everybody.
    #[error("the password is empty")]
    Empty,
    /// It has control characters, or ones beyond the basic plane.
    #[error("the password has characters that PKCS #12 cannot take")]
    Character,
}

/// How the file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// AES-256 and SHA-256: Windows 10 1709, Windows Server 2019 and newer.
    Modern,
    /// Triple DES and SHA-1, for what is older. Weak: only the password's length protects the key.
    Legacy,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum PfxError {
    /// Certificate or key are of no use.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The key is of a kind that cannot be put in.
    #[error("{}: a key of a kind that PKCS #12 is not made with here; RSA and ECDSA are", .0.display())]
    Key(PathBuf),
    /// The library would not.
    #[error("cannot make PKCS #12: {0}")]
    Make(#[from] p12_keystore::error::Error),
}

/// The bytes of a PKCS #12 file.
///
/// # Errors
/// [`PfxError`]: files are of no use, or do not belong together.
pub fn bundle(certificate: &Path, key: &Path, password: &Password, age: Age) -> Result<Vec<u8>, PfxError> {
    tls::identity(certificate, key)?;
    let chain = tls::certificates(certificate)?;
    let name = chain.first().and_then(|leaf| Leaf::of(leaf).ok()).and_then(|leaf| leaf.common_name);
    let private = pkcs8(tls::private_key(key)?).ok_or_else(|| PfxError::Key(key.to_owned()))?;
    let certificates = chain.iter().map(|certificate| Certificate::from_der(certificate));
    let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
    let id: Vec<u8> = chain.first().map(|leaf| Sha256::digest(leaf).to_vec()).unwrap_or_default();
    let chain = PrivateKeyChain::new(id, PrivateKey::from_der(&private)?, certificates);
    let mut store = KeyStore::new();
    store.add_entry(name.as_deref().unwrap_or("key"), KeyStoreEntry::PrivateKeyChain(chain));
    let (encryption, mac) = match age {
        Age::Modern => (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
        Age::Legacy => (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
    };
    let writer = store.writer(&password.0).encryption_algorithm(encryption).mac_algorithm(mac);
    Ok(writer.encryption_iterations(ITERATIONS).mac_iterations(ITERATIONS).write()?)
}

/// Every form of a private key as PKCS #8, which is the only one in a bag (RFC 7292 4.2.2).
fn pkcs8(key: PrivateKeyDer<'static>) -> Option<Vec<u8>> {
    let encoded = |der: Result<Pkcs8V1Der<'static>, _>| {
        let _: &Result<_, aws_lc_rs::error::Unspecified> = &der;
        der.ok().map(|der| der.as_ref().to_vec())
    };
    match key {
        PrivateKeyDer::Pkcs8(key) => Some(key.secret_pkcs8_der().to_vec()),
        PrivateKeyDer::Pkcs1(key) => encoded(rsa::KeyPair::from_der(key.secret_pkcs1_der()).ok()?.as_der()),
        PrivateKeyDer::Sec1(key) => {
            let curves = [
                &ECDSA_P256_SHA256_ASN1_SIGNING,
                &ECDSA_P384_SHA384_ASN1_SIGNING,
                &ECDSA_P521_SHA512_ASN1_SIGNING,
            ];
            let read = |curve| EcdsaKeyPair::from_private_key_der(curve, key.secret_sec1_der()).ok();
            let pair = curves.into_iter().find_map(read)?;
            pair.to_pkcs8v1().ok().map(|der| der.as_ref().to_vec())
        }
        _ => None,
    }
}

/// Rounds of the derivation: what other programs write, and reading still takes no time.
const ITERATIONS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::{Password, PasswordError};

    #[test]
    fn a_password_is_there_and_never_printed() {
        assert_eq!(Password::new(""), Err(PasswordError::Empty));
        assert_eq!(Password::new("a\nb"), Err(PasswordError::Character));
        let password = Password::new("correct horse").expect("a password");
        assert!(!format!("{password:?}").contains("horse"));
    }
}
