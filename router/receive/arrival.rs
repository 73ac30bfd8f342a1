//! How an instance came: what the receiver writes into the envelope, beside what the queue itself needs.

use std::net::SocketAddr;

use chrysalis_queue::Instance;
use serde::{Deserialize, Serialize};

use crate::dicom::{Encoding, TransferSyntax, Uid};
use crate::tls::Leaf;
use crate::transcode::Soundness;

/// How an instance came. Written as JSON, so that it can be read in a spool file without any program of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The listener's configured name.
    pub listener: String,
    /// Who called.
    pub peer: SocketAddr,
    /// The site whose link sent it through the tunnel, if it came so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The number of that upload, in hexadecimal digits: the link may ask whether it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Calling AE title, as received.
    pub calling_ae: String,
    /// Called AE title, as received.
    pub called_ae: String,
    /// Transfer syntax UID of the data set.
    pub transfer_syntax: String,
    /// Whether the structure was found sound: anything else is passed through untouched and never transcoded.
    pub sound: bool,
    /// Revision of the configuration that decided where it goes.
    pub revision: String,
    /// Whose certificate the caller showed; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The names of the rules that decided; none when there were no rules, or none matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// Whose certificate a caller showed: it was verified, by an authority or by its pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate's subject.
    pub subject: String,
    /// The pin of its key.
    pub pin: String,
}

impl From<&Leaf> for Identity {
    fn from(leaf: &Leaf) -> Self {
        Self { subject: leaf.subject.clone(), pin: leaf.pin.to_string() }
    }
}

/// The attachment is not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("how the instance came is unreadable: {0}")]
pub struct ArrivalError(#[from] serde_json::Error);

impl Arrival {
    /// The attachment's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings, an address and a flag always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether the data set may be taken apart. A deflated one was not looked into: whoever inflates it will see.
    pub fn soundness(&self) -> Soundness {
        let syntax = TransferSyntax(Uid::new(&self.transfer_syntax));
        match self.sound || syntax.encoding() == Encoding::DeflatedLe {
            true => Soundness::Sound,
            false => Soundness::Odd,
        }
    }

    /// What was written for an instance.
    ///
    /// # Errors
    /// [`ArrivalError`] when its attachment was not written by [`Arrival::to_bytes`].
    pub fn of(instance: &Instance) -> Result<Self, ArrivalError> {
        Ok(serde_json::from_slice(&instance.attachment)?)
    }
}
