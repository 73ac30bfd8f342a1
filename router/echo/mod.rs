//! Whether a destination answers, found out step by step, as a [`Report`] that is data: it is printed here, kept as JSON, or
//! sent to whoever asked from far away.
//!
//! ```text
//! Target ── dicom (name, connection, TLS, association, C-ECHO, release) ─┐
//!        ├─ folder (place, a file written, synced and removed) ───────────┤
//!        └─ dicomweb (credentials, name, connection, TLS, a query) ───────┴─► Report ── text ─► a person
//! ```
//!
//! What is behind a link is asked by the link, over the session that only the running node has: `chrysalis site echo`.

mod advice;
mod classes;
mod dicom;
mod folder;
mod report;
mod tap;
mod text;
mod tunnel;
mod web;

use std::path::PathBuf;
use std::time::Duration;

pub use classes::{CLASSES, SYNTAXES};
pub use report::{
    Advised, Finding, Found, Peer, Report, Security, SopClassAnswer, Step, StepName, Syntaxes, TargetName,
};

use crate::config::{
    CallingAe, ClientTls, Config, Destination, DestinationKind, TunnelDestination, WebDestination,
};
use crate::dicom::AeTitle;
use crate::dimse::PeerAddress;

/// What is asked whether it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A DICOM peer, called by a title.
    Dicom {
        /// Whom to call.
        peer: PeerAddress,
        /// Who calls.
        calling: AeTitle,
        /// Carts call it by their own titles, so that it has to know each of these.
        passthrough: bool,
        /// By TLS; none is plain DICOM.
        tls: Option<ClientTls>,
    },
    /// A gateway.
    Tunnel(Box<TunnelDestination>),
    /// A destination of a link, which only the running node can ask.
    Site {
        /// The link's site.
        site: String,
        /// The destination's name there.
        endpoint: String,
        /// The way to the link.
        security: Security,
    },
    /// A directory.
    Folder {
        /// Its root.
        path: PathBuf,
    },
    /// A DICOMweb server.
    Web(Box<WebDestination>),
}

impl Target {
    /// What a destination of `config` is.
    pub fn of(destination: &Destination, config: &Config) -> Self {
        match &destination.kind {
            DestinationKind::Dicom(dicom) => {
                let (host, port) = (dicom.address.host.clone(), dicom.address.port);
                let peer = PeerAddress { ae_title: dicom.called_ae.clone(), host, port };
                let tls = dicom.tls.as_deref().cloned();
                match &dicom.calling_ae {
                    CallingAe::Fixed(title) => {
                        Self::Dicom { peer, calling: title.clone(), passthrough: false, tls }
                    }
                    CallingAe::Passthrough => {
                        Self::Dicom { peer, calling: config.node.ae_title.clone(), passthrough: true, tls }
                    }
                }
            }
            DestinationKind::Folder(folder) => Self::Folder { path: folder.path.clone() },
            DestinationKind::Web(web) => Self::Web(Box::new(web.clone())),
            DestinationKind::Tunnel(tunnel) => Self::Tunnel(Box::new(tunnel.clone())),
            DestinationKind::Site(at) => Self::Site {
                site: at.site.to_string(),
                endpoint: at.endpoint.to_string(),
                security: at.security,
            },
        }
    }

    /// The same called by another title; nothing else is called.
    #[must_use]
    pub fn called_by(self, title: Option<&AeTitle>) -> Self {
        match (self, title) {
            (Self::Dicom { peer, tls, .. }, Some(title)) => {
                Self::Dicom { peer, calling: title.clone(), passthrough: false, tls }
            }
            (other, _) => other,
        }
    }
}

/// Asks `target` whether it answers; no step takes longer than `limit`. A failure is part of the report. Of a peer's words, a
/// few are kept, and none unescaped.
pub async fn probe(name: Option<&str>, target: &Target, limit: Duration) -> Report {
    let mut report = match target {
        Target::Dicom { peer, calling, passthrough, tls } => {
            dicom::probe(peer, calling, *passthrough, tls.as_ref(), limit).await
        }
        Target::Folder { path } => folder::probe(path.clone(), limit).await,
        Target::Web(web) => web::probe(web, limit).await,
        Target::Tunnel(tunnel) => tunnel::probe(tunnel, limit).await,
        Target::Site { site, endpoint, security } => elsewhere(site, endpoint, *security),
    };
    report.name = name.map(str::to_owned);
    report
}

/// Nothing is tried: the report says who can.
fn elsewhere(site: &str, endpoint: &str, security: Security) -> Report {
    let target = TargetName::Site { site: site.to_owned(), endpoint: endpoint.to_owned() };
    let mut report = Report::new(target, Some(security));
    let question =
        format!("only the running node can have the link ask it: chrysalis site echo {site} {endpoint}");
    report.questions.push(question);
    report
}
