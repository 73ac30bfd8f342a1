//! How a peer is written on a command line or in a configuration: `AE@host:port`.

use std::fmt;
use std::str::FromStr;

use crate::dicom::ae_title::{AeTitle, AeTitleError};

/// An AE title and where it listens. The name is resolved each time a connection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The AE title to call.
    pub ae_title: AeTitle,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port, 1 to 65535.
    pub port: u16,
}

/// Why text is not a [`PeerAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerAddressError {
    /// There is no `@` or no `:` where one is needed.
    #[error("expected AE@host:port, as in PACS@10.0.0.5:104")]
    Shape,
    /// The part before `@`.
    #[error(transparent)]
    AeTitle(#[from] AeTitleError),
    /// The part behind the last `:`.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let (title, rest) = text.rsplit_once('@').ok_or(PeerAddressError::Shape)?;
        let (host, port) = rest.rsplit_once(':').ok_or(PeerAddressError::Shape)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(PeerAddressError::Shape);
        }
        let number = port.parse().ok().filter(|&port: &u16| port != 0);
        let port = number.ok_or_else(|| PeerAddressError::Port(port.to_owned()))?;
        Ok(Self { ae_title: title.parse()?, host: host.to_owned(), port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}@[{}]:{}", self.ae_title, self.host, self.port)
        } else {
            write!(f, "{}@{}:{}", self.ae_title, self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_alike() {
        for text in ["PACS@10.0.0.5:104", "A B@host.example:11112", "PACS@[::1]:104"] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert_eq!(error("10.0.0.5:104"), PeerAddressError::Shape);
        assert_eq!(error("PACS@10.0.0.5"), PeerAddressError::Shape);
        assert_eq!(error("PACS@h:70000"), PeerAddressError::Port("70000".into()));
        assert_eq!(error("PACS@h:0"), PeerAddressError::Port("0".into()));
        assert_eq!(error("@h:104"), PeerAddressError::AeTitle(AeTitleError::Empty));
    }
}
