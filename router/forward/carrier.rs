//! What brings an instance to a destination.

use std::sync::Arc;

use chrysalis_queue::{BlobError, Instance, LeaseRequest, Queue};

use super::dicom::DicomCarrier;
use super::dicomweb::WebCarrier;
use super::folder::FolderCarrier;
use super::prepare::Preparer;
use super::secure::Secure;
use super::site::SiteCarrier;
use super::studies::{Claims, Elsewhere};
use super::tunnel::TunnelCarrier;
use super::verdict::End;
use crate::config::{Destination, DestinationKind};
use crate::dicom::{AeTitle, TransferSyntax, Uid};
use crate::platform;
use crate::receive::{Arrival, ArrivalError};
use crate::transcode::Soundness;
use crate::tunnel::{Gateway, Link};

/// An instance with what sending it needs to know of how it came.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) instance: Arc<Instance>,
    pub(super) sop_class: Uid,
    pub(super) sop_instance: Uid,
    pub(super) transfer_syntax: TransferSyntax,
    pub(super) calling: AeTitle,
    pub(super) called: AeTitle,
    /// Whether it may be taken apart.
    pub(super) soundness: Soundness,
}

impl Item {
    pub(super) fn new(instance: Arc<Instance>) -> Result<Self, ArrivalError> {
        let arrival = Arrival::of(&instance)?;
        Ok(Self {
            sop_class: Uid::new(&instance.keys.kind),
            sop_instance: Uid::new(&instance.keys.key),
            transfer_syntax: TransferSyntax(Uid::new(&arrival.transfer_syntax)),
            calling: AeTitle::from_text(&arrival.calling_ae),
            called: AeTitle::from_text(&arrival.called_ae),
            soundness: arrival.soundness(),
            instance,
        })
    }
}

/// How an attempt ended, and whether the instance was on its way by then.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) end: End,
    /// The destination saw at least the beginning of the instance.
    pub(super) was_sent: bool,
    /// The association broke while the instance was on its way.
    pub(super) broke: Option<Association>,
    /// Bytes of the data set that was sent.
    pub(super) bytes: u64,
}

/// What an association had done before it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Association {
    /// Nothing: it was made for the instance.
    New,
    /// It had carried something, and may have idled until the peer closed it: that says nothing of the instance.
    Used,
}

impl Attempted {
    pub(super) fn before(end: End) -> Self {
        Self { end, was_sent: false, broke: None, bytes: 0 }
    }

    pub(super) fn sent(end: End, bytes: u64) -> Self {
        Self { end, was_sent: true, broke: None, bytes }
    }
}

/// What it means that our own copy cannot be read: too few descriptors pass, everything else is for a person.
pub(super) fn unreadable(error: &BlobError) -> End {
    match error {
        BlobError::Io(io) if platform::is_out_of_descriptors(io) => End::Unreachable(error.to_string()),
        _ => End::Unreadable(error.to_string()),
    }
}

/// The way to one destination.
pub(super) enum Carrier {
    Dicom(Box<DicomCarrier>),
    Folder(FolderCarrier),
    Web(Box<WebCarrier>),
    Tunnel(Box<TunnelCarrier>),
    Site(Box<SiteCarrier>),
}

impl Carrier {
    /// `claims` are those of all carriers to this destination, `link` is its own if it has one: without it there is no way
    /// through the tunnel.
    #[expect(clippy::too_many_arguments, reason = "each kind of carrier needs some of them")]
    pub(super) fn new(
        destination: &Destination,
        node_ae: &AeTitle,
        queue: &Queue,
        preparer: &Preparer,
        claims: &Claims,
        secure: &Arc<Secure>,
        link: Option<&Link>,
        gateway: &Gateway,
    ) -> Option<Self> {
        match &destination.kind {
            DestinationKind::Dicom(config) => {
                let name = destination.name.as_str();
                let claim = config.one_study_per_association.then(|| claims.claim());
                let carrier = DicomCarrier::new(
                    name,
                    config.clone(),
                    node_ae.clone(),
                    queue.clone(),
                    preparer.clone(),
                    claim,
                    Arc::clone(secure),
                );
                Some(Self::Dicom(Box::new(carrier)))
            }
            DestinationKind::Folder(config) => {
                let carrier = FolderCarrier::new(config.path.clone(), queue.clone(), preparer.clone());
                Some(Self::Folder(carrier))
            }
            DestinationKind::Tunnel(config) => {
                let (connect, patience) = (config.timeouts.connect, config.timeouts.dimse);
                let link = link?.clone();
                let carrier = TunnelCarrier::new(link, queue.clone(), preparer.clone(), connect, patience);
                Some(Self::Tunnel(Box::new(carrier)))
            }
            DestinationKind::Web(config) => {
                let name = destination.name.as_str();
                let secure = Arc::clone(secure);
                let carrier = WebCarrier::new(name, config.clone(), queue.clone(), preparer.clone(), secure);
                Some(Self::Web(Box::new(carrier)))
            }
            DestinationKind::Site(config) => {
                let (name, gateway) = (destination.name.as_str(), gateway.clone());
                let carrier =
                    SiteCarrier::new(name, config.clone(), gateway, queue.clone(), preparer.clone());
                Some(Self::Site(Box::new(carrier)))
            }
        }
    }

    /// Asks for what this carrier can take, where an association carries one study only.
    pub(super) fn narrow(&self, request: &mut LeaseRequest) {
        match self {
            Self::Dicom(carrier) => carrier.narrow(request),
            Self::Folder(_) | Self::Web(_) | Self::Tunnel(_) | Self::Site(_) => {}
        }
    }

    /// Makes ready for the instances of a study.
    ///
    /// # Errors
    /// [`Elsewhere`]: they are another carrier's.
    pub(super) async fn take_up(&mut self, study: &str) -> Result<(), Elsewhere> {
        match self {
            Self::Dicom(carrier) => carrier.take_up(study).await,
            Self::Folder(_) | Self::Web(_) | Self::Tunnel(_) | Self::Site(_) => Ok(()),
        }
    }

    /// How many instances it may bring there at once.
    pub(super) fn at_once(&self) -> usize {
        match self {
            Self::Dicom(_) | Self::Folder(_) | Self::Tunnel(_) | Self::Site(_) => 1,
            Self::Web(carrier) => carrier.at_once(),
        }
    }

    /// Brings the first of `items` there, and with it as many of those that follow as go at once. Says what became of each
    /// of these, in order; nothing was tried of the rest. `upcoming` follow later, so that one association can carry them all.
    pub(super) async fn attempt(&mut self, items: &[Item], upcoming: &[Item]) -> Vec<Attempted> {
        let Some(item) = items.first() else { return Vec::new() };
        match self {
            Self::Dicom(carrier) => vec![carrier.attempt(item, upcoming).await],
            Self::Folder(carrier) => vec![carrier.attempt(item).await],
            Self::Web(carrier) => carrier.attempt(items).await,
            Self::Tunnel(carrier) => vec![carrier.attempt(item).await],
            Self::Site(carrier) => vec![carrier.attempt(item).await],
        }
    }

    /// Nothing more to send for now: gives back what is held open.
    pub(super) async fn rest(&mut self) {
        match self {
            Self::Dicom(carrier) => carrier.rest().await,
            Self::Site(carrier) => carrier.rest(),
            Self::Folder(_) | Self::Tunnel(_) => {}
            Self::Web(carrier) => carrier.rest(),
        }
    }

    /// Whether something is held open.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Dicom(carrier) => carrier.is_open(),
            Self::Folder(_) | Self::Tunnel(_) | Self::Site(_) => false,
            Self::Web(carrier) => carrier.is_open(),
        }
    }
}
