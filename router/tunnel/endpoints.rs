//! What a gateway may reach through a link: the destinations that the link's own configuration names, and no others.

use crate::config::{Config, DestinationKind, DicomDestination, Live};
use crate::dicom::AeTitle;
use crate::echo::Target;

/// The endpoints of one link. Read anew for every question, so that a reload counts at once.
#[derive(Clone)]
pub(crate) struct Endpoints {
    live: Live,
    /// The destination that is the link.
    link: String,
}

/// A destination of the link that its gateway may reach.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) settings: DicomDestination,
    /// This node's own title.
    pub(crate) node_ae: AeTitle,
    /// What an echo asks.
    pub(crate) target: Target,
}

impl Endpoints {
    /// Those of the destination `link`.
    pub(crate) fn new(live: Live, link: &str) -> Self {
        Self { live, link: link.to_owned() }
    }

    /// # Errors
    /// The names of those there are.
    pub(crate) fn find(&self, name: &str) -> Result<Endpoint, Vec<String>> {
        let config = self.live.now();
        let allowed = allowed(&config, &self.link);
        let found = config.destination(name).filter(|_| allowed.iter().any(|one| one == name));
        match found.map(|destination| (destination, &destination.kind)) {
            Some((destination, DestinationKind::Dicom(settings))) => Ok(Endpoint {
                name: name.to_owned(),
                settings: settings.clone(),
                node_ae: config.node.ae_title.clone(),
                target: Target::of(destination, &config),
            }),
            _ => Err(allowed),
        }
    }
}

fn allowed(config: &Config, link: &str) -> Vec<String> {
    match config.destination(link).map(|destination| &destination.kind) {
        Some(DestinationKind::Tunnel(tunnel)) => tunnel.endpoints.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}
