//! `chrysalis echo AE@host:port`: find out, step by step, whether a peer can be reached.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::config::{CallingAe, ConfigError, DestinationKind, Loaded};
use crate::dicom::{AeTitle, uid};
use crate::dimse::requestor::StoreError;
use crate::dimse::socket::{self, ConnectError};
use crate::dimse::{LinkError, OpenError, PeerAddress, Proposal, Requestor, Timers};

/// Whom to echo.
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// A destination of the configuration by name, or any peer as `AE@host:port`.
    #[arg(value_name = "DESTINATION | AE@HOST:PORT")]
    pub whom: String,
    /// The calling AE title [default: the destination's, or the node's].
    #[arg(long, value_name = "AE")]
    pub calling: Option<AeTitle>,
    /// How long each step may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// Whom to echo, as meant.
#[derive(Debug)]
pub struct Target {
    /// The peer.
    pub peer: PeerAddress,
    /// Who we are.
    pub calling: AeTitle,
}

impl EchoArgs {
    /// Finds the target; the configuration is only loaded when it is needed.
    ///
    /// # Errors
    /// Neither an address nor a `dicom` destination, or the configuration cannot be loaded.
    pub fn target(&self, load: impl FnOnce() -> Result<Loaded, ConfigError>) -> anyhow::Result<Target> {
        if self.whom.contains('@') {
            let own = || AeTitle::from_wire(b"CHRYSALIS");
            return Ok(Target {
                peer: self.whom.parse()?,
                calling: self.calling.clone().unwrap_or_else(own),
            });
        }
        let config = load()?.config;
        let known = config.destination(&self.whom);
        let Some(DestinationKind::Dicom(dicom)) = known.map(|destination| &destination.kind) else {
            let names = config.destinations.iter().filter(|d| matches!(d.kind, DestinationKind::Dicom(_)));
            let names: Vec<_> = names.map(|d| d.name.as_str()).collect();
            anyhow::bail!(
                "{}: no DICOM destination has that name; there is: {}",
                self.whom,
                names.join(", ")
            );
        };
        let configured = match &dicom.calling_ae {
            CallingAe::Fixed(title) => title.clone(),
            CallingAe::Passthrough => config.node.ae_title.clone(),
        };
        let (host, port) = (dicom.address.host.clone(), dicom.address.port);
        let peer = PeerAddress { ae_title: dicom.called_ae.clone(), host, port };
        Ok(Target { peer, calling: self.calling.clone().unwrap_or(configured) })
    }
}

/// Connects, associates and echoes, with a line for each step and its time; for a failure, what it means and what to try.
///
/// The exit code is 0 when the peer answered C-ECHO with success and 1 otherwise.
///
/// # Errors
/// None today; the signature is that of every subcommand.
pub async fn run_peer(peer: &PeerAddress, calling: &AeTitle, limit: Duration) -> anyhow::Result<ExitCode> {
    Ok(match steps(peer, calling, limit).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((step, what, advice)) => {
            eprintln!("{step}: failed: {what}");
            eprintln!("  {advice}");
            ExitCode::FAILURE
        }
    })
}

/// A step's name, what went wrong in it and what to try.
type Failed = (&'static str, String, &'static str);

async fn steps(peer: &PeerAddress, calling: &AeTitle, limit: Duration) -> Result<(), Failed> {
    let started = Instant::now();
    let stream = socket::connect(&peer.host, peer.port, limit)
        .await
        .map_err(|error| ("connect", error.to_string(), connect_advice(&error)))?;
    let address = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    report("connect", started, &format!("to {address}"));

    let started = Instant::now();
    let syntaxes = vec![uid::EXPLICIT_VR_LE, uid::IMPLICIT_VR_LE];
    let contexts = vec![(uid::VERIFICATION, syntaxes)];
    let proposal = Proposal::new(calling.clone(), peer.ae_title.clone(), contexts);
    let timers = Timers { acse: limit, dimse: limit, ..Timers::default() };
    let mut association = Requestor::open(stream, &proposal, timers)
        .await
        .map_err(|error| ("associate", error.to_string(), open_advice(&error)))?;
    let name = association.peer().implementation_version.clone().unwrap_or_default();
    report("associate", started, &format!("as {calling} with {} ({})", peer.ae_title, name.escape_default()));

    let started = Instant::now();
    let status =
        association.echo().await.map_err(|error| ("echo", error.to_string(), echo_advice(&error)))?;
    if !status.is_taken() {
        return Err((
            "echo",
            status.to_string(),
            "The peer is there but refuses C-ECHO; ask its administrator.",
        ));
    }
    report("echo", started, &status.to_string());

    let started = Instant::now();
    association
        .release()
        .await
        .map_err(|error| ("release", error.to_string(), "The echo itself succeeded; storing will work."))?;
    report("release", started, "done");
    Ok(())
}

fn report(step: &str, started: Instant, what: &str) {
    eprintln!("{step}: {what}, {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

fn connect_advice(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Resolve { .. } => {
            "The name is unknown: check its spelling and the name server, or use an address."
        }
        ConnectError::Unreachable { source, .. }
            if source.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            "The machine is there but nothing listens on this port: check the port, and that the peer is running."
        }
        ConnectError::Unreachable { .. } => {
            "There is no way to this machine: check the address, the route and the VPN."
        }
        ConnectError::Timeout(_) => {
            "Nothing answered: a firewall drops the connection, or the machine is switched off."
        }
    }
}

fn open_advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Rejected(rejection) => match (rejection.result, rejection.source, rejection.reason) {
            (2, ..) => "The peer is busy or out of room: try again later.",
            (_, 1, 3) => "The peer does not know our AE title: have it added there, or call as one it knows.",
            (_, 1, 7) => "The peer is not called that: check the AE title before the @.",
            _ => {
                "The peer refuses us: its log says why; AE titles and the list of allowed addresses come first."
            }
        },
        OpenError::Link(LinkError::Closed | LinkError::Aborted(_)) => {
            "The peer hung up: it may expect TLS on this port, or refuse our address or AE title without saying so."
        }
        OpenError::Link(LinkError::Violation { .. }) => {
            "What listens there does not speak DICOM: check the port."
        }
        OpenError::Link(LinkError::Timeout(_)) => {
            "Connected but silent: the peer hangs, is at its limit, or expects TLS on this port."
        }
        OpenError::Link(LinkError::Io(_)) => {
            "The connection broke: look for a firewall or a proxy in between."
        }
        OpenError::Contexts(_) => "This is a fault of this program; please report it.",
    }
}

fn echo_advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Context(_) => "The peer accepted us but not C-ECHO; storing may still work.",
        StoreError::Link(LinkError::Timeout(_)) => {
            "The peer accepted us and then fell silent: restart it, or try later."
        }
        StoreError::Link(_) | StoreError::Source(_) => "The association broke: the peer's log says why.",
    }
}
