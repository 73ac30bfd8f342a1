//! Which calling AE titles a certificate may use: an AE title alone proves nothing.

use super::leaf::Leaf;
use crate::config::CertificateIdentity;
use crate::dicom::AeTitle;

/// The titles that a peer may call itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Titles {
    /// Only these, where its certificate is one that is known.
    pub only: Option<Vec<AeTitle>>,
    /// None of these: they are somebody else's.
    pub not: Vec<AeTitle>,
}

impl Titles {
    /// Whether it may be called so.
    pub fn allow(&self, title: &AeTitle) -> Result<(), &'static str> {
        match &self.only {
            Some(only) if !only.contains(title) => Err("its certificate is for other AE titles"),
            None if self.not.contains(title) => Err("this AE title is bound to another certificate"),
            _ => Ok(()),
        }
    }
}

/// What the holder of a certificate may be called, or somebody without one. A certificate that is bound to titles uses those
/// only; titles that are bound to certificates are used by nobody else.
pub fn titles_of(leaf: Option<&Leaf>, identities: &[CertificateIdentity]) -> Titles {
    let fitting = identities.iter().filter(|known| leaf.is_some_and(|leaf| known.certificate.fits(leaf)));
    let own: Vec<_> = fitting.flat_map(|known| known.calling_ae.iter().cloned()).collect();
    if !own.is_empty() {
        return Titles { only: Some(own), not: Vec::new() };
    }
    Titles { only: None, not: identities.iter().flat_map(|known| known.calling_ae.iter().cloned()).collect() }
}
