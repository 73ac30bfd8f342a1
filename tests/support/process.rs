//! A child process whose output goes to files, which are shown when a test fails.

use super::wait::poll;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// Runs until it ends or is dropped, which kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; standard output and error are appended to `<folder>/<name>.log`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        command.stdin(std::process::Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { name: name.into(), child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match poll(limit, || self.ended()) {
            Some(status) => status,
            None => panic!("{} did not end within {limit:?}\n{}", self.name, self.tail()),
        }
    }

    /// SIGKILL, and reaps it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    /// Everything it has written.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its output, for messages.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        let shown = &lines[lines.len().saturating_sub(60)..];
        format!("--- end of {} ---\n{}\n---", self.log.display(), shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// The first program of this name in PATH or in the folders of system services.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Runs to the end, at most for `limit`, and returns the status with all output.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = S>, limit: Duration) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(args);
    let mut process = Process::start("run", command, folder.path());
    let status = process.wait(limit);
    Finished { status, output: process.output() }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    /// Standard output and error in the order they were written.
    pub output: String,
}

impl Finished {
    /// Fails the test with the output unless the exit status is 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{}\n{}", self.status, self.output);
        self
    }
}

/// All files below a folder, sorted. A folder that is not there fails the test.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { out.push(path) }
        }
    }
    out.sort();
    out
}

/// Creates a file with this content.
pub fn write_file(path: &Path, content: &str) {
    use std::io::Write;
    File::create(path).unwrap().write_all(content.as_bytes()).unwrap();
}
