//! What the way to a destination needs of files: certificates, keys, authorities, tokens. A reload that names one that is of no
//! use changes nothing; a node that starts with one receives, and the destination waits.

use crate::config::{Destination, DestinationKind};
use crate::forward::dicomweb::authorization;
use crate::tls::ClientTls;
use crate::tunnel::link::read_code;

/// A file, or a variable, that is of no use to a destination. Has nothing of a secret in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} of {destination:?}: {why}")]
pub struct FilesError {
    /// The destination's name.
    pub destination: String,
    /// The key that names it.
    pub key: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Reads what the way to a destination needs, and says everything that is of no use. Blocks as long as the files take. `Ok`
/// promises nothing of the peer, and nothing of the files a moment later.
///
/// # Errors
/// [`FilesError`], one for each key.
pub fn look(destination: &Destination) -> Result<(), Vec<FilesError>> {
    let tunnel_tls;
    let (tls, other) = match &destination.kind {
        DestinationKind::Dicom(dicom) => (dicom.tls.as_deref(), None),
        DestinationKind::Web(web) => {
            let login = authorization(&web.login).map(drop).map_err(|error| error.to_string());
            (web.tls.as_ref(), login.err().map(|why| ("destination credentials", why)))
        }
        DestinationKind::Tunnel(tunnel) => {
            tunnel_tls = tunnel.tls();
            let code = read_code(&tunnel.code).map(drop);
            (tunnel.url.is_secure.then_some(&tunnel_tls), code.err().map(|why| ("destination.tunnel", why)))
        }
        DestinationKind::Folder(_) | DestinationKind::Site(_) => return Ok(()),
    };
    let tls = tls.and_then(|settings| ClientTls::new(settings).err());
    let tls = tls.map(|error| ("destination.tls", error.to_string()));
    let name = destination.name.as_str();
    let wrong = tls.into_iter().chain(other);
    let wrong = wrong.map(|(key, why)| FilesError { destination: name.to_owned(), key, why });
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
