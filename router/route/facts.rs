//! What is known of an instance when it is routed.

use std::net::IpAddr;

use super::field::Field;
use crate::dicom::scan::{Scan, Structure};
use crate::dicom::{AeTitle, Attributes, Tag, Uid};

/// What is known about an instance when it is routed. Nothing of it is trusted: titles are what the peer said.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name of the listener it came in by.
    pub listener: &'a str,
    /// The calling AE title of its association.
    pub calling_ae: &'a AeTitle,
    /// The called AE title of its association.
    pub called_ae: &'a AeTitle,
    /// Where its sender was connected from.
    pub peer_addr: IpAddr,
    /// The site whose link sent it, if it came through the tunnel.
    pub site: Option<&'a str>,
    /// The SOP class of the C-STORE command.
    pub sop_class: &'a Uid,
    /// What was captured of its data set: at least the tags of [`Routes::extra_tags`](super::Routes::extra_tags).
    pub attributes: &'a Attributes,
    /// Whether the data set could be read to its end, so that what was not found in it is not there, and nothing that is
    /// asked for was cut.
    pub header: Header,
}

/// How much of a data set could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// All of it.
    Whole,
    /// A part, or nothing: it is encoded or built in a way that is not understood, or a value is longer than what is kept.
    Partial,
}

impl Header {
    /// How much a walk could read of what is needed to know these tags.
    pub fn of(scan: &Scan, tags: &[Tag]) -> Self {
        // What is odd may hide an attribute: a sequence without its end takes all that follows for its own.
        let is_whole = scan.structure == Structure::Sound && !scan.attributes.is_any_cut(tags);
        if is_whole { Self::Whole } else { Self::Partial }
    }
}

impl Facts<'_> {
    /// The values of a field, trimmed; those that are empty are left out.
    pub(super) fn values(&self, field: Field) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        let mut values = match field {
            Field::Listener => one(self.listener),
            Field::CallingAe => one(self.calling_ae.as_str()),
            Field::CalledAe => one(self.called_ae.as_str()),
            Field::Source => one(&self.peer_addr.to_canonical().to_string()),
            Field::Site => self.site.map(str::to_owned).into_iter().collect(),
            Field::SopClass => one(self.sop_class.as_str()),
            Field::Attribute { tag, .. } => {
                self.attributes.decoded(tag).split('\\').map(str::to_owned).collect()
            }
        };
        values.retain(|value| !value.trim().is_empty());
        values
    }

    /// The address, if that is what the field is.
    pub(super) fn address(&self, field: Field) -> Option<IpAddr> {
        (field == Field::Source).then(|| self.peer_addr.to_canonical())
    }
}
