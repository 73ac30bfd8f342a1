//! Other people's DICOM programs: DCMTK and Orthanc, where they are installed.

use super::http;
use super::instance::Instance;
use super::ports::free_address;
use super::process::{self, Finished, Process, write_file};
use super::wait::poll;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The program, if it is installed. If not, the test is to end, having said so; with CHRYSALIS_REQUIRE_STRANGERS=1 that is
/// a failure.
#[track_caller]
pub fn require(program: &str) -> Option<PathBuf> {
    let found = process::find(program);
    if found.is_none() {
        let required = std::env::var("CHRYSALIS_REQUIRE_STRANGERS").is_ok_and(|value| value == "1");
        assert!(!required, "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Sends files with storescu. `args` go before the address, such as `["-xs", "-aec", "CHRYSALIS"]`.
#[track_caller]
pub fn storescu(address: SocketAddr, args: &[&str], files: &[PathBuf]) -> Option<Finished> {
    send("storescu", address, args, files)
}

/// Sends files with dcmsend.
#[track_caller]
pub fn dcmsend(address: SocketAddr, args: &[&str], files: &[PathBuf]) -> Option<Finished> {
    send("dcmsend", address, args, files)
}

/// Verifies with echoscu.
#[track_caller]
pub fn echoscu(address: SocketAddr, args: &[&str]) -> Option<Finished> {
    send("echoscu", address, args, &[])
}

#[track_caller]
fn send(program: &str, address: SocketAddr, args: &[&str], files: &[PathBuf]) -> Option<Finished> {
    let program = require(program)?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let args = args.iter().map(Into::into).chain([host.into(), port.into()]);
    let args = args.chain(files.iter().map(|path| path.clone().into_os_string()));
    Some(process::run(&program, args, PATIENCE))
}

/// DCMTK's storage SCP.
pub struct Storescp {
    pub address: SocketAddr,
    program: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
    home: tempfile::TempDir,
}

impl Storescp {
    /// Starts it on a free port with more arguments, such as `["+B"]`, and waits until it listens.
    #[track_caller]
    pub fn start(args: &[&str]) -> Option<Self> {
        let program = require("storescp")?;
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("received")).unwrap();
        let args = args.iter().map(ToString::to_string).collect();
        let mut storescp = Self { address: free_address(), program, args, process: None, home };
        storescp.start_again();
        Some(storescp)
    }

    /// Kills it; its files stay.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Listens on the same port again.
    #[track_caller]
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg("-od").arg(self.folder()).arg(self.address.port().to_string());
        let process = self.process.insert(Process::start("storescp", command, self.home.path()));
        wait_listening(process, || TcpStream::connect(self.address).is_ok());
    }

    /// Where it puts the files.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("received")
    }

    /// What it has stored. With `+B`, the data sets are the bytes that were received.
    pub fn received(&self) -> Vec<Instance> {
        let files = process::list(&self.folder());
        files.iter().map(|path| Instance::from_part10(path).unwrap()).collect()
    }
}

/// Orthanc with a storage folder of its own and nothing else.
pub struct Orthanc {
    pub dicom: SocketAddr,
    pub http: SocketAddr,
    program: PathBuf,
    process: Option<Process>,
    home: tempfile::TempDir,
}

impl Orthanc {
    /// Starts it on free ports and waits until both answer. `settings` are more lines of its JSON configuration, each
    /// ending with a comma, such as `"SyncStorageArea": true,`.
    #[track_caller]
    pub fn start(settings: &str) -> Option<Self> {
        Self::start_having(settings, "")
    }

    /// The same with its DICOMweb plugin, at `/dicom-web`.
    #[track_caller]
    pub fn start_with_web(settings: &str) -> Option<Self> {
        let plugin = Path::new("/usr/share/orthanc/plugins/libOrthancDicomWeb.so");
        if !plugin.exists() {
            require("Orthanc's DICOMweb plugin")?;
        }
        Self::start_having(settings, &format!("\"{}\"", plugin.display()))
    }

    #[track_caller]
    fn start_having(settings: &str, plugins: &str) -> Option<Self> {
        let program = require("Orthanc")?;
        let home = tempfile::tempdir().unwrap();
        let mut orthanc = Self { dicom: free_address(), http: free_address(), program, process: None, home };
        let folder = orthanc.home.path().join("storage");
        let text = format!(
            r#"{{ {settings}
  "Name": "Test", "DicomAet": "ORTHANC", "DicomCheckCalledAet": false, "DicomAlwaysAllowStore": true,
  "UnknownSopClassAccepted": true, "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
  "StorageDirectory": "{0}", "IndexDirectory": "{0}", "Plugins": [{plugins}],
  "DicomPort": {1}, "HttpPort": {2} }}"#,
            folder.display(),
            orthanc.dicom.port(),
            orthanc.http.port()
        );
        write_file(&orthanc.config(), &text);
        orthanc.start_again();
        Some(orthanc)
    }

    /// Kills it; its storage stays.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it on the same ports with the same storage.
    #[track_caller]
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg(self.config()).current_dir(self.home.path());
        let process = self.process.insert(Process::start("orthanc", command, self.home.path()));
        wait_listening(process, || {
            let answers = http::get(self.http, "/system").is_ok_and(|response| response.status == 200);
            answers && TcpStream::connect(self.dicom).is_ok()
        });
    }

    /// What it has written into its log.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Its own identifiers of everything it has stored.
    pub fn instances(&self) -> Vec<String> {
        let text = http::get(self.http, "/instances").unwrap().text();
        text.split('"').skip(1).step_by(2).map(String::from).collect()
    }

    /// One instance as it would hand it out.
    pub fn file(&self, id: &str) -> Instance {
        let response = http::get(self.http, &format!("/instances/{id}/file")).unwrap();
        assert_eq!(response.status, 200);
        Instance::from_part10_bytes(&response.body)
    }

    /// Everything it has stored.
    pub fn received(&self) -> Vec<Instance> {
        self.instances().iter().map(|id| self.file(id)).collect()
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("orthanc.json")
    }
}

#[track_caller]
fn wait_listening(process: &mut Process, listens: impl Fn() -> bool) {
    let outcome = poll(PATIENCE, || match process.ended() {
        Some(status) => Some(Err(status)),
        None => listens().then_some(Ok(())),
    });
    match outcome {
        Some(Ok(())) => {}
        Some(Err(status)) => panic!("it ended with {status}\n{}", process.tail()),
        None => panic!("it did not listen within {PATIENCE:?}\n{}", process.tail()),
    }
}

/// Runs dcmdump over a file; its exit status says whether the structure is sound.
#[track_caller]
pub fn dcmdump(path: &Path) -> Option<Finished> {
    Some(process::run(&require("dcmdump")?, [path], PATIENCE))
}

/// stunnel: TLS in front of what has none, or behind what speaks none.
pub struct Stunnel {
    pub address: SocketAddr,
    _process: Process,
    _home: tempfile::TempDir,
}

impl Stunnel {
    /// Starts it on a free port in front of `connect`. `settings` are lines of its service, such as `cert = a.pem`.
    #[track_caller]
    pub fn start(connect: SocketAddr, settings: &str) -> Option<Self> {
        let program = require("stunnel4")?;
        let (home, address) = (tempfile::tempdir().unwrap(), free_address());
        let config = home.path().join("stunnel.conf");
        let text = format!(
            "foreground = yes\npid =\nsyslog = no\n[dicom]\naccept = {address}\nconnect = {connect}\n{settings}\n"
        );
        write_file(&config, &text);
        let mut command = Command::new(program);
        command.arg(&config);
        let mut process = Process::start("stunnel", command, home.path());
        wait_listening(&mut process, || TcpStream::connect(address).is_ok());
        Some(Self { address, _process: process, _home: home })
    }
}
