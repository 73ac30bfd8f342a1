//! The PACS at the end: DCMTK's storescp, which writes the bytes as they come and syncs nothing.

use super::peers::{PATIENCE, Peers, lengths, wait_listening};
use super::support::instance::{Digest, Instance};
use super::support::ports::free_address;
use super::support::process::Process;
use super::support::strangers::require;
use super::support::wait::eventually;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// storescp with a folder that is looked at.
pub(crate) struct Pacs {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    _process: Process,
    _home: tempfile::TempDir,
}

impl Pacs {
    /// Starts it. `+B` writes what is received; without it a data set is taken apart and put together again, which would
    /// be measured.
    pub(crate) fn start(peers: Peers) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let (folder, address) = (home.path().join("received"), free_address());
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new(require("storescp")?);
        peers.apply(&mut command);
        command.args(["+B", "-od"]).arg(&folder).arg(address.port().to_string());
        let mut process = Process::start("pacs", command, home.path());
        wait_listening(&mut process, address);
        Some(Self { address, folder, _process: process, _home: home })
    }

    /// Waits until all of the instances are there, and says when that was. An unfinished one is shorter than its data
    /// set: in front of that stand some 300 bytes of file meta information.
    pub(crate) fn wait_for(&self, instances: &[Instance]) -> Instant {
        let mut wanted: Vec<u64> = instances.iter().map(|instance| instance.data_set.len()).collect();
        wanted.sort_unstable();
        eventually("arrival", PATIENCE, || {
            let mut found: Vec<u64> = lengths(&self.folder).into_iter().map(|(_, length)| length).collect();
            found.sort_unstable();
            let all = found.len() == wanted.len() && found.iter().zip(&wanted).all(|(has, all)| has >= all);
            all.then(Instant::now)
        })
    }

    /// The data sets that are there, by SOP Instance UID.
    pub(crate) fn received(&self) -> BTreeMap<String, Digest> {
        let read = |(path, _): (PathBuf, u64)| {
            let instance = Instance::from_part10(&path).unwrap();
            (instance.sop_instance.clone(), instance.digest())
        };
        lengths(&self.folder).into_iter().map(read).collect()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for (path, _) in lengths(&self.folder) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
