//! How a peer that is given by its address is called by TLS.

use std::path::PathBuf;

use clap::Args;

use crate::config::{ClientTls, Verify};
use crate::tls::Pin;

/// TLS on the command line; without any of these it is plain DICOM.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Call by TLS, and believe the authorities that this system trusts.
    #[arg(long)]
    pub tls: bool,
    /// Call by TLS, and believe the authorities in this file.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Call by TLS, and believe who has this key: `sha256/...`, as often as there are keys.
    #[arg(long, value_name = "PIN")]
    pub pin: Vec<Pin>,
    /// Call by TLS, and believe anybody.
    #[arg(long, conflicts_with_all = ["ca", "pin"])]
    pub no_verify: bool,
    /// The certificate to show.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// The name that the peer's certificate has to be for [default: the host].
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
}

impl TlsArgs {
    /// What was asked for; none is plain DICOM.
    ///
    /// # Errors
    /// A certificate or a name without anything that says whom to believe.
    pub fn settings(&self) -> anyhow::Result<Option<ClientTls>> {
        let verify = match (self.no_verify, self.pin.is_empty(), &self.ca) {
            (true, ..) => Verify::Nobody,
            (false, false, None) => Verify::Pin(self.pin.clone()),
            (false, false, ca) => Verify::CaAndPin(ca.clone(), self.pin.clone()),
            (false, true, None) if !self.tls => {
                let has_more = self.certificate.is_some() || self.server_name.is_some();
                anyhow::ensure!(!has_more, "say whom to believe: --tls, --ca, --pin or --no-verify");
                return Ok(None);
            }
            (false, true, ca) => Verify::Ca(ca.clone()),
        };
        let identity = self.certificate.clone().zip(self.key.clone());
        Ok(Some(ClientTls { verify, server_name: self.server_name.clone(), identity }))
    }
}
