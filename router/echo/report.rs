//! The report as data.

use serde::{Deserialize, Serialize};

pub use crate::tls::Security;

use crate::tls::Authentication;

/// What was found out about one target, in the order in which it was tried. Holds nothing secret and no patient data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The destination's name; none for a peer that was given by its address.
    pub name: Option<String>,
    /// What was asked.
    pub target: TargetName,
    /// Whether what is sent is encrypted to somebody who is verified; none for a folder.
    pub security: Option<Security>,
    /// Whether this node shows by TLS who it is; none without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The steps that were taken; none follows one that failed, but for the association tried a second time.
    pub steps: Vec<Step>,
    /// Who answered; none where nobody did.
    pub peer: Option<Peer>,
    /// Which SOP classes the peer takes in which transfer syntaxes; empty where no association came about.
    pub classes: Vec<SopClassAnswer>,
    /// What is no failure, but worth a question.
    pub questions: Vec<String>,
    /// Everything together, in milliseconds.
    pub total_ms: f64,
}

/// What was asked, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetName {
    /// A DICOM peer.
    Dicom {
        /// The called AE title.
        called_ae: String,
        /// The calling AE title.
        calling_ae: String,
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A gateway.
    Tunnel {
        /// Its address.
        url: String,
        /// The name of this site there.
        site: String,
    },
    /// A destination of a link.
    Site {
        /// The link's site.
        site: String,
        /// The destination's name there.
        endpoint: String,
    },
    /// A directory.
    Folder {
        /// Its root.
        path: String,
    },
    /// A DICOMweb server.
    Web {
        /// The URL of its studies.
        url: String,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// How long it took.
    pub milliseconds: f64,
    /// How it ended.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The host's name becomes addresses.
    Name,
    /// One of the addresses accepts a connection.
    Connection,
    /// The connection becomes an encrypted one.
    Tls,
    /// The peer accepts an association.
    Association,
    /// The peer answers a C-ECHO.
    Echo,
    /// The association is released.
    Release,
    /// The folder is there.
    Place,
    /// A file can be written into it, made durable, and removed.
    Writing,
    /// There is room.
    Space,
    /// The token or password can be read.
    Credentials,
    /// The server answers a search.
    Query,
    /// The running node has the tunnel open.
    Tunnel,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Finding {
    /// As it should.
    Ok {
        /// What was found.
        found: Found,
    },
    /// Otherwise.
    Failed(Advised),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The addresses of the name, at most 16.
    Addresses(Vec<String>),
    /// The address that was connected to, and what was wrong with those tried before it.
    Connected {
        /// Address and port.
        address: String,
        /// Address and reason of each that did not answer.
        passed_over: Vec<String>,
    },
    /// An encrypted connection.
    Encrypted {
        /// The version of TLS.
        version: String,
        /// The cipher suite.
        cipher: String,
        /// Whose certificate the peer showed.
        subject: String,
        /// The pin of its key.
        pin: String,
        /// Days until it expires, negative when it has.
        days_left: i64,
    },
    /// An association: how many of the proposed presentation contexts were accepted.
    Associated {
        /// Accepted.
        accepted: usize,
        /// Proposed.
        proposed: usize,
    },
    /// The status of the C-ECHO as a word.
    Accepted,
    /// Done; nothing more is to be said.
    Done,
    /// The directory.
    Place {
        /// It is made by the first delivery.
        is_there: bool,
    },
    /// Free bytes.
    Free(u64),
    /// Open in the running node.
    Open {
        /// Since when.
        since: String,
    },
    /// An answer over HTTP.
    Answered {
        /// Its status.
        status: u16,
    },
}

/// What went wrong, what it means, and what to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advised {
    /// What happened, in technical words.
    pub what: String,
    /// What it means.
    pub means: String,
    /// What to try.
    #[serde(rename = "try")]
    pub attempt: String,
}

/// What a peer says of itself, shortened and escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Implementation Class UID.
    pub implementation_class: Option<String>,
    /// Implementation Version Name.
    pub implementation_version: Option<String>,
    /// The largest P-DATA-TF it takes, in bytes; 0 is no limit, none that it did not say.
    pub max_pdu: Option<u32>,
}

/// What a peer answered about one SOP class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SopClassAnswer {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// In which transfer syntaxes it is taken.
    pub accepted: Syntaxes,
}

/// In which transfer syntaxes a SOP class is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntaxes {
    /// These, of those proposed; never empty.
    Some(Vec<String>),
    /// The class is taken, but in none of those proposed.
    NoneOfThese,
    /// The class is not taken.
    ClassRefused,
}

impl Report {
    /// Whether every step ended as it should.
    pub fn is_ok(&self) -> bool {
        self.failure().is_none()
    }

    /// The step that failed, and why.
    pub fn failure(&self) -> Option<(StepName, &Advised)> {
        self.steps.iter().find_map(|step| match &step.finding {
            Finding::Failed(advised) => Some((step.step, advised)),
            Finding::Ok { .. } => None,
        })
    }

    pub(super) fn new(target: TargetName, security: Option<Security>) -> Self {
        Self {
            name: None,
            target,
            security,
            authentication: None,
            steps: Vec::new(),
            peer: None,
            classes: Vec::new(),
            questions: Vec::new(),
            total_ms: 0.0,
        }
    }
}

impl StepName {
    /// The word that a report begins the step's line with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Connection => "connection",
            Self::Tls => "TLS",
            Self::Association => "association",
            Self::Echo => "echo",
            Self::Release => "release",
            Self::Place => "place",
            Self::Writing => "writing",
            Self::Space => "space",
            Self::Credentials => "credentials",
            Self::Query => "query",
            Self::Tunnel => "tunnel",
        }
    }
}
