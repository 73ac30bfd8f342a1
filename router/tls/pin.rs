//! Pins: a certificate known by its public key.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::leaf::{self, LeafError};

/// The SHA-256 of a SubjectPublicKeyInfo (RFC 7469 2.4), written `sha256/` and Base64. It stays the same when a certificate
/// is renewed with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pin([u8; 32]);

/// A text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a pin: \"sha256/\" and the Base64 of 32 bytes, or 64 hexadecimal digits, of the SHA-256 of the public key (not of the certificate)"
)]
pub struct PinError(String);

impl Pin {
    /// The pin of a certificate of any version of X.509.
    ///
    /// # Errors
    /// [`LeafError`] when it is no certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        leaf::public_key(certificate).map(|key| Self::of_public_key(&key))
    }

    /// The pin of a SubjectPublicKeyInfo in DER.
    pub fn of_public_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let bare = text.trim();
        let bare = bare.strip_prefix("sha256/").or_else(|| bare.strip_prefix("sha256//")).unwrap_or(bare);
        let digits: String = bare.chars().filter(|c| *c != ':').collect();
        let bytes = if digits.len() == 64 { from_hex(&digits) } else { STANDARD.decode(bare).ok() };
        let array = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        array.map(Self).ok_or_else(|| PinError(text.chars().take(100).collect()))
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Pin;

    #[test]
    fn a_pin_is_read_as_base64_or_hexadecimal_and_written_as_base64() {
        let pin = Pin::of_public_key(b"key");
        let written = pin.to_string();
        assert!(written.starts_with("sha256/") && written.ends_with('='), "{written}");
        let hex: String = pin.0.iter().map(|byte| format!("{byte:02X}")).collect();
        let colons = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
        let colons = colons.collect::<Vec<_>>().join(":");
        for text in [&written, &hex, &hex.to_lowercase(), &colons, written.trim_start_matches("sha256/")] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
    }

    #[test]
    fn what_is_no_pin_is_refused_with_what_one_looks_like() {
        for text in ["", "sha256/", "sha256/AAAA", "sha1/AAAA", &"g".repeat(64), &"a".repeat(63)] {
            let error = text.parse::<Pin>().expect_err("no pin").to_string();
            assert!(error.contains("sha256/") && error.contains("public key"), "{error}");
        }
    }
}
