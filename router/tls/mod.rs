//! TLS: certificates from files, whom to believe, and handshakes with a deadline and errors in an administrator's words.
//!
//! ```text
//! files ── material ──► watch (read again when they change) ──┬─► ServerTls ── accept ──► stream, and who it is
//!                                                             └─► ClientTls ── connect ─► stream
//!                          verify: authorities, pins, or nobody; the key's signature always
//! ```
//!
//! One provider of cryptography, aws-lc-rs, which every configuration names: nothing depends on a process-wide default.
//!
//! rustls takes no X.509 v1 certificate at all, and hospitals have them. So the handshake's signature is checked here against
//! the public key as it stands in the certificate, whatever version that is; who the key belongs to is then told by its pin.

mod bind;
mod client;
mod der;
mod error;
mod expiry;
mod leaf;
mod material;
mod pin;
mod server;
mod sniff;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use serde::{Deserialize, Serialize};

pub use bind::{Bindings, Titles};
pub use client::{ClientStream, ClientTls};
pub use error::{Fault, HandshakeError, Pinning, io_words};
pub use expiry::{Certificates, Role};
pub use leaf::{Leaf, LeafError, San, public_key};
pub use material::{MaterialError, What, certificates, identity, private_key, roots};
pub use pin::{Pin, PinError};
pub use server::{ServerStream, ServerTls};
pub use sniff::{Sniffed, Tongue};
pub use verify::Shown;

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// The same with AES-128 before AES-256, for who sends much and has the same program at the other end: a server takes what the
/// client likes best of what both have.
pub fn provider_for_bulk() -> Arc<CryptoProvider> {
    use rustls::CipherSuite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS13_AES_128_GCM_SHA256,
    };
    const FIRST: [rustls::CipherSuite; 3] = [
        TLS13_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let made = PROVIDER.get_or_init(|| {
        let mut provider = CryptoProvider::clone(&provider());
        provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
        Arc::new(provider)
    });
    Arc::clone(made)
}

/// Makes [`provider`] that of the process too, for libraries that ask for one. The first thing a program does.
pub fn install() {
    // Somebody who was faster has installed the same one: there is no other in this program.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Whether a connection is encrypted to somebody who was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// TLS, and the peer's certificate or key is checked.
    Secured,
    /// Plain, or TLS to whoever answers.
    Unsecured,
}

impl Security {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secured => "Secured",
            Self::Unsecured => "Unsecured",
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Whether this node shows by TLS who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// It has no certificate for the peer.
    Anonymous,
    /// It has one.
    Authenticated,
}

impl Authentication {
    /// The word that people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "Anonymous",
            Self::Authenticated => "Authenticated",
        }
    }
}
