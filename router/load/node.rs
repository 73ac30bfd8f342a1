//! The node under load: one that is started for it, or one that is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use chrysalis_sizing::Profile;

use super::account::Left;
use super::plan::Route;
use super::sinks;
use crate::config::size_text;
use crate::dimse::PeerAddress;
use crate::platform;

/// How an own node is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program, which is this one.
    pub program: PathBuf,
    /// Where its folder is made.
    pub data: PathBuf,
    /// `--set` for it.
    pub set: Vec<String>,
    /// The profile it is given.
    pub profile: Option<String>,
    /// What it may use of this machine.
    pub limits: Limits,
}

/// What a process may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Cores; a control group may allow parts of one.
    pub cores: Option<f64>,
    /// Bytes of memory, with those of the page cache that are its own.
    pub memory: Option<u64>,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its folder, its files, or the program.
    #[error("{what}: {source}")]
    Setup {
        /// What cannot be made or started.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended instead of getting ready.
    #[error("the node ended with {status} instead of getting ready; it said:\n{said}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        said: String,
    },
    /// It did not get ready.
    #[error("the node was not ready within {0:?}")]
    NotReady(Duration),
    /// No control group can be made.
    #[error(
        "a control group for the node cannot be made ({0}); --limit-cores and --limit-memory need control groups of version 2 and the right to make one"
    )]
    Limits(io::Error),
}

impl Limits {
    /// As text; nothing where nothing is limited.
    pub fn words(&self) -> Option<String> {
        let cores = self.cores.map(|cores| format!("{cores} cores"));
        let memory = self.memory.map(|bytes| format!("{} of memory", size_text(bytes)));
        let words: Vec<_> = [cores, memory].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(" and "))
    }
}

/// A node of our own. Dropping it kills it and removes what it has kept.
#[derive(Debug)]
pub(super) struct Own {
    child: Child,
    home: PathBuf,
    group: Option<PathBuf>,
    keep: Keep,
    pub(super) address: SocketAddr,
    pub(super) admin: Admin,
}

/// What stays of a node's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Nothing,
    Log,
    All,
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it is ready, or has ended.
const LOOK: Duration = Duration::from_millis(20);

impl Own {
    /// Starts one that forwards to `pacs` and waits until it is ready. Its pauses between attempts are compressed like all time.
    pub(super) async fn start(
        setup: &Setup,
        route: Route,
        pacs: SocketAddr,
        compression: f64,
    ) -> Result<Self, NodeError> {
        let home = make_home(&setup.data)?;
        let failed = |what: &Path| {
            let what = what.display().to_string();
            move |source| NodeError::Setup { what, source }
        };
        let (address, admin) = two_free_addresses().map_err(failed(Path::new("127.0.0.1")))?;
        let config = home.join("chrysalis.toml");
        let text = configuration(&home, address, admin, route, pacs, compression, setup.profile.as_deref());
        fs::write(&config, text).map_err(failed(&config))?;
        let log = home.join("chrysalis.log");
        let file = File::create(&log).map_err(failed(&log))?;
        let copy = file.try_clone().map_err(failed(&log))?;
        let mut command = Command::new(&setup.program);
        command.arg("serve").arg("--config").arg(&config).current_dir(&home);
        for set in &setup.set {
            command.arg("--set").arg(set);
        }
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        // Ctrl-C is for the load test, which needs the node to finish.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // What overrides the configuration of another node is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CHRYSALIS_")) {
                command.env_remove(name);
            }
        }
        let child = command.spawn().map_err(failed(&setup.program))?;
        let admin = Admin::new(format!("http://{admin}"));
        let mut node = Self { child, home, group: None, keep: Keep::Log, address, admin };
        node.confine(&setup.limits).map_err(NodeError::Limits)?;
        node.wait_ready().await?;
        node.keep = Keep::Nothing;
        Ok(node)
    }

    /// Its folder, where the spool is.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended by itself?
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Says what stays of its folder when it is dropped, and where that is.
    pub(super) fn keep(&mut self, keep: Keep) -> PathBuf {
        self.keep = keep;
        self.home.clone()
    }

    /// Asks it to end and waits for that, at most for `limit`.
    pub(super) async fn stop(&mut self, limit: Duration) {
        if self.ended().is_some() {
            return;
        }
        terminate(&self.child);
        let until = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn wait_ready(&mut self) -> Result<(), NodeError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return Err(NodeError::Ended { status, said: self.tail() });
            }
            let admin = self.admin.clone();
            let asked = tokio::task::spawn_blocking(move || admin.get("/health/ready").is_ok());
            if asked.await.unwrap_or_default() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(NodeError::NotReady(PATIENCE));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn tail(&self) -> String {
        let log = fs::read(self.home.join("chrysalis.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Puts it into a control group of its own. What it has taken before that is not counted, which is next to nothing.
    fn confine(&mut self, limits: &Limits) -> io::Result<()> {
        if *limits == Limits::default() {
            return Ok(());
        }
        let group = Path::new("/sys/fs/cgroup").join(format!("chrysalis-load-{}", self.child.id()));
        fs::create_dir(&group)?;
        self.group = Some(group.clone());
        // Where version 1 is in charge, this is a folder like any other, and nothing written to it limits anybody.
        let offered = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        for (controller, is_needed) in [("cpu", limits.cores.is_some()), ("memory", limits.memory.is_some())]
        {
            if is_needed && !offered.split_whitespace().any(|name| name == controller) {
                let why =
                    format!("no control group of version 2 offers its controller \"{controller}\" here");
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        }
        if let Some(cores) = limits.cores {
            fs::write(group.join("cpu.max"), format!("{} 100000", (cores * 100_000.0) as u64))?;
        }
        if let Some(memory) = limits.memory {
            fs::write(group.join("memory.max"), memory.to_string())?;
        }
        fs::write(group.join("cgroup.procs"), self.child.id().to_string())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
        match self.keep {
            Keep::Nothing => drop(fs::remove_dir_all(&self.home)),
            Keep::Log => drop(fs::remove_dir_all(self.home.join("data"))),
            Keep::All => {}
        }
    }
}

#[cfg(unix)]
fn terminate(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
}

#[cfg(not(unix))]
fn terminate(_child: &Child) {}

/// A folder for its owner only, with a name that nobody else has.
fn make_home(data: &Path) -> Result<PathBuf, NodeError> {
    let failed = |source| NodeError::Setup { what: data.display().to_string(), source };
    fs::create_dir_all(data).map_err(failed)?;
    let data = data.canonicalize().map_err(failed)?;
    let mut chance = [0; 6];
    getrandom::fill(&mut chance).map_err(|_| failed(io::ErrorKind::Other.into()))?;
    let name = chance.map(|byte| format!("{byte:02x}")).concat();
    let home = data.join(format!("chrysalis-load-{name}"));
    platform::private_folder(&home).map_err(failed)?;
    Ok(home)
}

/// Somebody else could take one before the node does; then it ends and says so.
fn two_free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    Ok((one.local_addr()?, other.local_addr()?))
}

/// Share of the file system above which the node under test takes nothing more.
pub(super) const MOST_USED: f64 = 0.97;

impl Setup {
    /// Bytes of disk that it sets aside for a full disk and for copies.
    pub(super) fn set_aside(&self) -> u64 {
        let profile = self.profile.as_deref().and_then(Profile::named);
        profile.map_or((64 + 512) << 20, |profile| {
            let settings = profile.settings();
            settings.cache + settings.reserve
        })
    }
}

fn configuration(
    home: &Path,
    address: SocketAddr,
    admin: SocketAddr,
    route: Route,
    pacs: SocketAddr,
    compression: f64,
    profile: Option<&str>,
) -> String {
    let data = toml::Value::String(home.join("data").display().to_string());
    let lossless = |wanted| if wanted { "jpeg-lossless" } else { "as-received" };
    let (image, cine) = (lossless(route.transcodes(true)), lossless(route.transcodes(false)));
    // The built-in pauses are 5 s and 5 min of modelled time.
    let pause = |seconds: f64| format!("{}ms", (seconds * 1000.0 / compression).ceil().max(20.0));
    let (first, longest) = (pause(5.0), pause(300.0));
    // What is written wins over a profile.
    let (profile, reserve) = match profile {
        Some(name) => (format!("profile = \"{name}\"\n\n"), ""),
        None => (String::new(), "reserve = \"64MiB\"\n"),
    };
    let title = sinks::TITLE;
    format!(
        "{profile}[node]\nae_title = \"{AE_TITLE}\"\ndata_dir = {data}\n\n\
         [[listener]]\nname = \"modalities\"\naddress = \"{address}\"\nmax_per_address = 128\n\n\
         [queue]\nretain = \"0s\"\n{reserve}high_watermark = \"97%\"\n\n\
         [[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"{pacs}\"\ncalled_ae = \"{title}\"\n\
         image = \"{image}\"\nloop = \"{cine}\"\nbackoff = {{ first = \"{first}\", max = \"{longest}\" }}\n\n\
         [admin]\naddress = \"{admin}\"\n"
    )
}

/// The title of an own node.
const AE_TITLE: &str = "CHRYSALIS";

impl Own {
    /// Whom carts call.
    pub(super) fn peer(&self) -> PeerAddress {
        PeerAddress {
            ae_title: crate::dicom::AeTitle::from_wire(AE_TITLE.as_bytes()),
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }
}

/// The HTTP side of a node.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    agent: ureq::Agent,
    base: String,
}

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// Deliveries on a page.
const PAGE: usize = 1000;

/// What its metrics tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Told {
    pub(super) spool_bytes: Option<u64>,
    pub(super) queued: Option<u64>,
    pub(super) held: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) memory: Option<u64>,
    pub(super) descriptors: Option<u64>,
}

impl Admin {
    /// Of the node whose HTTP side is there; with or without `/metrics` at the end.
    pub(super) fn new(base: String) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .new_agent();
        let base = base.trim_end_matches('/').trim_end_matches("/metrics").to_owned();
        Self { agent, base }
    }

    /// What it answers.
    pub(super) fn get(&self, path: &str) -> Result<String, ureq::Error> {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).call()?;
        answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string()
    }

    /// What its metrics tell.
    pub(super) fn metrics(&self) -> Result<Told, ureq::Error> {
        self.get("/metrics").map(|text| read_metrics(&text))
    }

    /// Every instance that waits or is held, by UID; nothing if the node does not tell.
    pub(super) fn leftover(&self) -> Option<Left> {
        let mut leftover = Left::default();
        let mut after: Option<String> = None;
        loop {
            let place = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let text = self.get(&format!("/api/queue?limit={PAGE}{place}")).ok()?;
            let page: serde_json::Value = serde_json::from_str(&text).ok()?;
            for delivery in page["deliveries"].as_array()? {
                let uid = delivery["sop_instance_uid"].as_str()?.to_owned();
                match delivery["state"].as_str()? {
                    "ready" | "waiting" | "leased" => drop(leftover.waiting.insert(uid)),
                    "held" => drop(leftover.held.insert(uid)),
                    _ => {}
                }
            }
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                return Some(leftover);
            }
        }
    }
}

/// Sums over all labels, in the Prometheus text format.
fn read_metrics(text: &str) -> Told {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split_once('{').map_or(name, |(name, _)| name);
        if let Ok(value) = value.parse::<f64>() {
            *sums.entry(name).or_default() += value;
        }
    }
    let whole = |name| sums.get(name).map(|&value| value as u64);
    Told {
        spool_bytes: whole("chrysalis_spool_bytes"),
        queued: whole("chrysalis_queued_instances"),
        held: whole("chrysalis_held_instances"),
        cpu_seconds: sums.get("process_cpu_seconds_total").copied(),
        memory: whole("process_resident_memory_bytes"),
        descriptors: whole("process_open_fds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# HELP chrysalis_queued_instances x\nchrysalis_queued_instances{destination=\"a\"} 3\n\
                    chrysalis_queued_instances{destination=\"b\"} 4\nchrysalis_spool_bytes 1e3\nodd\n";
        let told = read_metrics(text);
        assert_eq!((told.queued, told.spool_bytes, told.held), (Some(7), Some(1000), None));
    }

    #[test]
    fn a_generated_configuration_is_one_that_the_node_takes() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let home = std::env::temp_dir().join("quotes \" and \\ and spaces");
        for route in Route::ALL {
            let text = configuration(&home, address, address, route, address, 60.0, Some("minimum"));
            let table: toml::Table = text.parse().unwrap();
            assert_eq!(table["profile"].as_str(), Some("minimum"));
            assert!(!table["queue"].as_table().unwrap().contains_key("reserve"));
            assert_eq!(table["destination"][0]["backoff"]["first"].as_str(), Some("84ms"));
            assert_eq!(table["node"]["data_dir"].as_str(), home.join("data").to_str());
        }
    }

    #[test]
    fn limits_are_told_in_words() {
        let limits = Limits { cores: Some(2.0), memory: Some(512 << 20) };
        assert_eq!(limits.words().unwrap(), "2 cores and 512MiB of memory");
        assert_eq!(Limits::default().words(), None);
    }
}
