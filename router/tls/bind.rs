//! Which calling AE titles a certificate may use: an AE title alone proves nothing.

use std::path::PathBuf;

use super::leaf::Leaf;
use crate::config::{CertificateIdentity, CertificateMatch, ServerTls};
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

/// All that a node's listeners bind: a title that is bound at one of them is bound at every other.
#[derive(Debug, Clone, Default)]
pub struct Bindings(Vec<(Option<PathBuf>, CertificateIdentity)>);

impl Bindings {
    /// What these listeners bind.
    pub fn of<'a>(listeners: impl IntoIterator<Item = &'a ServerTls>) -> Self {
        let of_one = |tls: &'a ServerTls| tls.identities.iter().map(|known| (tls.ca.clone(), known.clone()));
        Self(listeners.into_iter().flat_map(of_one).collect())
    }

    /// What the holder of a certificate may be called, or somebody without one; `ca` are the authorities that vouch for it,
    /// none where it is known by its key alone. A certificate that is bound to titles uses those only; titles that are bound to
    /// certificates are used by nobody else.
    ///
    /// Names prove what the authority is worth that vouches for them: they count where the same authorities do.
    pub fn titles(&self, leaf: Option<&Leaf>, ca: Option<&PathBuf>) -> Titles {
        let is_meant = |(by, known): &&(Option<PathBuf>, CertificateIdentity)| {
            let is_vouched_for =
                matches!(known.certificate, CertificateMatch::Pin(_)) || ca.is_some() && by.as_ref() == ca;
            is_vouched_for && leaf.is_some_and(|leaf| known.certificate.fits(leaf))
        };
        let titles = |(_, known): &(Option<PathBuf>, CertificateIdentity)| known.calling_ae.clone();
        let own: Vec<_> = self.0.iter().filter(is_meant).flat_map(titles).collect();
        if !own.is_empty() {
            return Titles { only: Some(own), not: Vec::new() };
        }
        Titles { only: None, not: self.0.iter().flat_map(titles).collect() }
    }
}
