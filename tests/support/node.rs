//! The router as users run it: the real binary with a configuration file, in a folder of its own.

use super::http::{self, Response};
use super::ports::free_address;
use super::process::{Finished, Process, list, run, write_file};
use super::wait::poll;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Longest wait for the node to start, and to stop after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes into the configuration file. The extra texts are lines of TOML.
#[derive(Debug, Default)]
pub struct NodeBuilder {
    node: String,
    listener: String,
    queue: String,
    tables: String,
    home: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    program: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl NodeBuilder {
    /// A `dicom` destination.
    pub fn dicom(self, name: &str, address: SocketAddr) -> Self {
        self.dicom_with(name, address, "")
    }

    /// A `dicom` destination with more keys, for instance `timeouts = { dimse = "500ms" }`.
    pub fn dicom_with(self, name: &str, address: SocketAddr, lines: &str) -> Self {
        self.table(&format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"dicom\"\naddress = \"{address}\"\ncalled_ae = \"{}\"\n{lines}",
            name.to_uppercase()
        ))
    }

    /// A `folder` destination below the node's folder; see [`Node::folder`].
    pub fn folder(self, name: &str) -> Self {
        self.table(&format!("[[destination]]\nname = \"{name}\"\nkind = \"folder\"\npath = \"{name}\""))
    }

    /// More keys of `[node]`.
    pub fn node(mut self, lines: &str) -> Self {
        self.node += &format!("{lines}\n");
        self
    }

    /// More keys of the one `[[listener]]`, which is named `modalities`.
    pub fn listener(mut self, lines: &str) -> Self {
        self.listener += &format!("{lines}\n");
        self
    }

    /// Keys of `[queue]`.
    pub fn queue(mut self, lines: &str) -> Self {
        self.queue += &format!("{lines}\n");
        self
    }

    /// Whole tables, such as `[[route]]`.
    pub fn table(mut self, text: &str) -> Self {
        self.tables += &format!("\n{text}\n");
        self
    }

    /// Runs in this folder, which is there and stays, instead of in one that goes with the node.
    pub fn home(mut self, path: &Path) -> Self {
        self.home = Some(path.to_owned());
        self
    }

    /// Keeps the spool elsewhere, such as on a small disk.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs another program than the binary under test, such as a wrapper or an instrumented build.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self
    }

    /// Writes the configuration, starts the node and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Node {
        let mut node = self.prepare();
        node.start();
        node
    }

    /// Writes the configuration without starting anything.
    pub fn prepare(self) -> Node {
        let scratch = self.home.is_none().then(|| tempfile::tempdir().unwrap());
        let home = self.home.clone().unwrap_or_else(|| scratch.as_ref().unwrap().path().to_owned());
        let node = Node {
            data_dir: self.data_dir.clone().unwrap_or_else(|| home.join("data")),
            address: free_address(),
            admin: free_address(),
            program: self.program.clone().unwrap_or_else(program_under_test),
            environment: self.environment.clone(),
            process: None,
            home,
            _scratch: scratch,
        };
        let queue = if self.queue.is_empty() { "reserve = \"1MiB\"\n" } else { &self.queue };
        let text = format!(
            "[node]\nae_title = \"CHRYSALIS\"\ndata_dir = \"{}\"\n{}\n[[listener]]\nname = \"modalities\"\naddress = \"{}\"\n{}\n[queue]\n{queue}{}\n[admin]\naddress = \"{}\"\n",
            node.data_dir.display(),
            self.node,
            node.address,
            self.listener,
            self.tables,
            node.admin
        );
        write_file(&node.config(), &text);
        node
    }
}

/// A node; dropping it kills it.
pub struct Node {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub data_dir: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    process: Option<Process>,
    home: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Node {
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// The folder in which it runs.
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn config(&self) -> PathBuf {
        self.home.join("chrysalis.toml")
    }

    /// The folder of a `folder` destination.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// All finished files below the folder of a `folder` destination.
    pub fn delivered(&self, name: &str) -> Vec<PathBuf> {
        if !self.folder(name).is_dir() {
            return Vec::new();
        }
        let mut files = list(&self.folder(name));
        files.retain(|path| path.extension().is_some_and(|extension| extension == "dcm"));
        files
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--config"]).arg(self.config()).current_dir(&self.home);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("chrysalis", command, &self.home));
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Waits until it takes associations and says that it is ready, or that somebody has paused it.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let outcome = poll(PATIENCE, || match self.process().ended() {
            Some(status) => Some(Err(status)),
            None => (TcpStream::connect(self.address).is_ok() && self.is_up()).then_some(Ok(())),
        });
        match outcome {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("the node ended with {status} instead of getting ready"),
            None => panic!("the node was not ready within {PATIENCE:?}"),
        }
    }

    /// Waits until it takes a connection where carts call.
    #[track_caller]
    pub fn wait_listening(&mut self) {
        let outcome = poll(PATIENCE, || match self.process().ended() {
            Some(status) => Some(Err(status)),
            None => TcpStream::connect(self.address).is_ok().then_some(Ok(())),
        });
        match outcome {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!("the node ended with {status} instead of listening"),
            None => panic!("the node did not listen within {PATIENCE:?}"),
        }
    }

    fn is_up(&self) -> bool {
        let is_paused = |text: &str| text.contains("every listener is paused");
        http::get(self.admin, "/health/ready").is_ok_and(|said| said.status == 200 || is_paused(&said.text()))
    }

    pub fn is_ready(&self) -> bool {
        http::get(self.admin, "/health/ready").is_ok_and(|response| response.status == 200)
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// SIGKILL: what a power cut looks like to everyone but the disk.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// SIGTERM; it must end by itself with exit code 0.
    #[track_caller]
    pub fn stop(&mut self) {
        let status = self.terminate();
        assert!(status.success(), "the node ended with {status} after SIGTERM\n{}", self.process().tail());
    }

    /// SIGTERM, without waiting for the end.
    pub fn signal_stop(&mut self) {
        self.process().terminate();
    }

    /// SIGHUP: it is to read its configuration again.
    pub fn hang_up(&mut self) {
        self.process().hang_up();
    }

    /// Puts `to` in the place of `from`, which must be there, in the configuration file.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        write_file(&self.config(), &text.replacen(from, to, 1));
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.process().terminate();
        self.process().wait(PATIENCE)
    }

    /// Stops it, starts it, waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        self.process().wait(PATIENCE)
    }

    /// Runs another command of the program against this node's configuration, such as `["queue", "list"]`.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Finished {
        let config = self.config();
        let config = ["--config", config.to_str().unwrap()];
        run(&self.program, args.iter().copied().chain(config), PATIENCE)
    }

    /// Everything it has written to standard output and error, over restarts.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// All samples of `/metrics`, by name with labels as printed.
    #[track_caller]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        parse_metrics(&http::get(self.admin, "/metrics").unwrap().text())
    }

    /// The sum of all samples of one metric whose labels contain all of these, such as `destination="pacs"`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum(&self.metrics(), name, labels)
    }

    /// The token that mutations need.
    #[track_caller]
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("admin.token")).unwrap().trim().to_owned()
    }

    #[track_caller]
    pub fn api_get(&self, path: &str) -> Response {
        http::get(self.admin, path).unwrap()
    }

    /// A question with the token.
    #[track_caller]
    pub fn api_get_revealed(&self, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.token());
        http::request(self.admin, "GET", path, &[("Authorization", &bearer)], &[]).unwrap()
    }

    /// A mutation with the token, and with a JSON body unless that is empty.
    #[track_caller]
    pub fn api_post(&self, path: &str, json: &str) -> Response {
        let bearer = format!("Bearer {}", self.token());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        http::request(self.admin, "POST", path, &headers, json.as_bytes()).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Resident memory now, in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory since the start or [`Node::reset_peak`], in bytes.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Makes [`Node::peak`] count from now.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    #[track_caller]
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node was started")
    }
}

/// The program that Cargo built for the tests.
const BUILT: &str = env!("CARGO_BIN_EXE_chrysalis");

/// What is tested: that, or another build, such as an installed one, or one with something taken out.
pub fn program_under_test() -> PathBuf {
    std::env::var_os("CHRYSALIS_TEST_PROGRAM").map_or_else(|| BUILT.into(), PathBuf::from)
}

/// Reads the Prometheus text format.
pub fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let split = samples.filter_map(|line| line.rsplit_once(' '));
    split.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// The sum of the samples of a metric whose labels contain all of these.
pub fn sum(metrics: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let fits = |key: &str| {
        let (own, rest) = key.split_once('{').unwrap_or((key, ""));
        own == name && labels.iter().all(|label| rest.contains(label))
    };
    metrics.iter().filter(|(key, _)| fits(key)).map(|(_, value)| value).sum()
}
