//! The programs of others around a router: DCMTK's sender and relay, and Orthanc with its autorouting.

use super::load;
use super::support::http;
use super::support::instance::Instance;
use super::support::ports::free_address;
use super::support::process::{self, Process, write_file};
use super::support::strangers::require;
use super::support::wait::{eventually, poll};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the programs of others run as they come, or with Nagle's algorithm switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    Shipped,
    Tuned,
}

impl Peers {
    /// DCMTK, and with it Orthanc, takes the option from its environment.
    pub(crate) fn apply(self, command: &mut Command) {
        match self {
            Self::Shipped => command.env_remove("TCP_NODELAY"),
            Self::Tuned => command.env("TCP_NODELAY", "1"),
        };
    }
}

/// A study as files, for a sender that reads files.
pub(crate) struct Study {
    pub(crate) instances: Vec<Instance>,
    pub(crate) files: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Study {
    /// Draws it and writes it, and has the disk take all of it before anything is measured.
    pub(crate) fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instances = load::study(seed);
        let write = |(n, instance): (usize, &Instance)| {
            let path = folder.path().join(format!("{n:02}.dcm"));
            instance.write_part10(&path).unwrap();
            path
        };
        let files = instances.iter().enumerate().map(write).collect();
        Self { instances, files, _folder: folder }
    }

    /// Bytes of its data sets.
    pub(crate) fn bytes(&self) -> u64 {
        load::bytes(&self.instances)
    }
}

/// dcmsend at work.
pub(crate) struct Dcmsend {
    process: Process,
    /// When its connection was there, which is as good as its first byte.
    pub(crate) began: Instant,
    _home: tempfile::TempDir,
}

impl Dcmsend {
    /// Starts it and waits until it is connected: what it does before is its own affair.
    pub(crate) fn start(address: SocketAddr, peers: Peers, files: &[PathBuf]) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(require("dcmsend")?);
        peers.apply(&mut command);
        command.args([address.ip().to_string(), address.port().to_string()]).args(files);
        let before = connections(address);
        let mut process = Process::start("dcmsend", command, home.path());
        let began = eventually("a connection", PATIENCE, || {
            assert!(process.ended().is_none_or(|status| status.success()), "{}", process.tail());
            (connections(address) > before).then(Instant::now)
        });
        Some(Self { process, began, _home: home })
    }

    /// Waits until everything is answered and it has ended.
    pub(crate) fn finish(mut self) -> Duration {
        let status = self.process.wait(PATIENCE);
        let took = self.began.elapsed();
        assert!(status.success(), "{}", self.process.tail());
        took
    }
}

/// Open connections to a local port.
fn connections(address: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next(), fields.next(), fields.next());
        local.is_some_and(|local| local.ends_with(&port)) && state == Some(ESTABLISHED)
    };
    table.lines().filter(is_ours).count()
}

/// Something that passes on what it is sent.
pub(crate) struct Router {
    pub(crate) dicom: SocketAddr,
    _process: Process,
    _home: tempfile::TempDir,
}

impl Router {
    /// Orthanc, sending each instance on when it is stored, as its book describes it, and otherwise as by default.
    pub(crate) fn orthanc(pacs: SocketAddr, peers: Peers) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let (dicom, web) = (free_address(), free_address());
        let route = "function OnStoredInstance(instanceId, tags, metadata, origin)\n  SendToModality(instanceId, 'pacs')\nend\n";
        write_file(&home.path().join("route.lua"), route);
        let settings = format!(
            r#"{{ "Name": "Bench", "DicomAet": "ORTHANC", "DicomCheckCalledAet": false, "DicomAlwaysAllowStore": true,
  "UnknownSopClassAccepted": true, "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
  "StorageDirectory": "{0}/storage", "IndexDirectory": "{0}/storage", "Plugins": [],
  "LuaScripts": [ "{0}/route.lua" ],
  "DicomModalities": {{ "pacs": [ "PACS", "127.0.0.1", {1} ] }},
  "DicomPort": {2}, "HttpPort": {3} }}"#,
            home.path().display(),
            pacs.port(),
            dicom.port(),
            web.port()
        );
        let config = home.path().join("orthanc.json");
        write_file(&config, &settings);
        let mut command = Command::new(require("Orthanc")?);
        command.arg(config);
        let answers = move || http::get(web, "/system").is_ok_and(|response| response.status == 200);
        Some(Self::start("orthanc", command, peers, dicom, home, answers))
    }

    /// storescp that starts a storescu for each file: no queue at all, and nothing survives anything.
    pub(crate) fn storescp_and_storescu(pacs: SocketAddr, peers: Peers) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let (storescu, dicom) = (require("storescu")?, free_address());
        let folder = home.path().join("received");
        std::fs::create_dir(&folder).unwrap();
        let pass_on = format!("{} 127.0.0.1 {} #p/#f", storescu.display(), pacs.port());
        let mut command = Command::new(require("storescp")?);
        command.args(["+B", "-xcr", &pass_on, "-od"]).arg(folder).arg(dicom.port().to_string());
        Some(Self::start("storescp", command, peers, dicom, home, || true))
    }

    fn start(
        name: &str,
        mut command: Command,
        peers: Peers,
        dicom: SocketAddr,
        home: tempfile::TempDir,
        answers: impl Fn() -> bool,
    ) -> Self {
        peers.apply(&mut command);
        command.current_dir(home.path());
        let mut process = Process::start(name, command, home.path());
        wait_listening(&mut process, dicom);
        eventually("its other port", PATIENCE, || answers().then_some(()));
        Self { dicom, _process: process, _home: home }
    }
}

/// Waits until a port is listened at.
pub(crate) fn wait_listening(process: &mut Process, address: SocketAddr) {
    let listens = poll(PATIENCE, || {
        assert!(process.ended().is_none(), "{}", process.tail());
        TcpStream::connect(address).is_ok().then_some(())
    });
    assert!(listens.is_some(), "{}", process.tail());
}

/// The files in a folder with their lengths.
pub(crate) fn lengths(folder: &Path) -> Vec<(PathBuf, u64)> {
    let length = |path: PathBuf| std::fs::metadata(&path).map_or(0, |about| about.len());
    process::list(folder).into_iter().map(|path| (path.clone(), length(path))).collect()
}
