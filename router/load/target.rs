//! Whether a node may be loaded that somebody else has started: it must be on this machine, or be meant by name, and be what it is
//! taken for.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dicom::{AeTitle, TransferSyntax, uid};
use crate::dimse::{DialError, OpenError, PeerAddress, Proposal, Requestor, Timers, dial};

/// A node that is there.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whom carts call.
    pub peer: PeerAddress,
    /// The host that may be loaded although it is not this one, or no Chrysalis.
    pub allowed: Option<String>,
    /// Its HTTP side, for its metrics.
    pub metrics: Option<String>,
    /// Where the PACS of the test listens, if the node has a destination there.
    pub pacs: Option<SocketAddr>,
}

/// Why a node is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is elsewhere.
    #[error(
        "{0} is not this machine: a load test fills its disk and what is behind it with test patients. If it is meant, say --yes-load {0}"
    )]
    Elsewhere(String),
    /// Another host was named than is to be loaded.
    #[error("--yes-load {allowed} was said, but the load would go to {host}")]
    OtherHost {
        /// The host that was allowed.
        allowed: String,
        /// The host of the target.
        host: String,
    },
    /// The name has no address.
    #[error("{host} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// There is nothing.
    #[error("{peer}: {source}")]
    Dial {
        /// Who.
        peer: PeerAddress,
        /// What happened.
        source: DialError,
    },
    /// It does not talk to a test cart.
    #[error("{peer}: {source}")]
    Open {
        /// Who.
        peer: PeerAddress,
        /// What happened.
        source: OpenError,
    },
    /// It does not answer a C-ECHO.
    #[error("{peer} does not answer C-ECHO: {why}")]
    NoEcho {
        /// Who.
        peer: PeerAddress,
        /// What it did instead.
        why: String,
    },
    /// It is something else.
    #[error(
        "{peer} is no Chrysalis but {implementation}: what it keeps is not accounted for, and real patients may be in it. If it is meant, say --yes-load {}", peer.host
    )]
    Stranger {
        /// Who.
        peer: PeerAddress,
        /// What it says it is.
        implementation: String,
    },
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Known {
    /// Looks whether it may be loaded.
    ///
    /// # Errors
    /// [`TargetError`]
    pub async fn check(&self) -> Result<(), TargetError> {
        let host = &self.peer.host;
        if let Some(allowed) = self.allowed.as_ref().filter(|allowed| *allowed != host) {
            return Err(TargetError::OtherHost { allowed: allowed.clone(), host: host.clone() });
        }
        if self.allowed.is_none() && !is_here(host, self.peer.port).await? {
            return Err(TargetError::Elsewhere(host.clone()));
        }
        let implementation = self.echo().await?;
        if self.allowed.is_none()
            && let Some(implementation) = implementation
        {
            return Err(TargetError::Stranger { peer: self.peer.clone(), implementation });
        }
        Ok(())
    }

    /// C-ECHO; what it says it is, unless that is a Chrysalis.
    async fn echo(&self) -> Result<Option<String>, TargetError> {
        let peer = || self.peer.clone();
        let stream = dial(&self.peer.host, self.peer.port, None, PATIENCE)
            .await
            .map_err(|source| TargetError::Dial { peer: peer(), source })?;
        let contexts = vec![(uid::VERIFICATION, vec![TransferSyntax::IMPLICIT_VR_LE.0])];
        let calling = AeTitle::from_wire(b"TESTCART1");
        let proposal = Proposal::new(calling, self.peer.ae_title.clone(), contexts);
        let timers = Timers { acse: PATIENCE, dimse: PATIENCE, ..Timers::default() };
        let mut open = Requestor::open(stream, &proposal, timers)
            .await
            .map_err(|source| TargetError::Open { peer: peer(), source })?;
        let said = open.peer();
        let is_ours = said.implementation_class.as_ref() == Some(&uid::IMPLEMENTATION_CLASS);
        let version = said.implementation_version.clone().unwrap_or_else(|| "without a name".to_owned());
        let class = said.implementation_class.as_ref().map_or("no class", |class| class.as_str());
        let implementation = format!("{} ({})", version.escape_debug(), class.escape_debug());
        let no_echo = |why: String| TargetError::NoEcho { peer: peer(), why };
        let status = open.echo().await.map_err(|error| no_echo(error.to_string()))?;
        if !status.is_taken() {
            return Err(no_echo(status.to_string()));
        }
        let _ = open.release().await;
        Ok((!is_ours).then_some(implementation))
    }
}

async fn is_here(host: &str, port: u16) -> Result<bool, TargetError> {
    let resolve = |source| TargetError::Resolve { host: host.to_owned(), source };
    let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(resolve)?.peekable();
    Ok(addresses.peek().is_some() && addresses.all(|address| address.ip().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(peer: &str, allowed: Option<&str>) -> Known {
        let allowed = allowed.map(str::to_owned);
        Known { peer: peer.parse().unwrap(), allowed, metrics: None, pacs: None }
    }

    #[tokio::test]
    async fn another_machine_is_not_loaded_unless_it_is_named() {
        // 192.0.2.0/24 is for documentation (RFC 5737), and no packet is sent to it here.
        let refused = known("PACS@192.0.2.1:104", None).check().await.unwrap_err();
        assert!(matches!(refused, TargetError::Elsewhere(host) if host == "192.0.2.1"));
        let other = known("PACS@192.0.2.1:104", Some("192.0.2.2")).check().await.unwrap_err();
        assert!(matches!(other, TargetError::OtherHost { .. }));
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = known(&format!("PACS@{free}"), None).check().await.unwrap_err();
        assert!(matches!(refused, TargetError::Dial { .. }), "{refused}");
    }
}
