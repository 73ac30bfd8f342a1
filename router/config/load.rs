//! Where a configuration comes from: a file that was named, `./chrysalis.toml`, or the text built in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::check;
use super::error::{ConfigError, Problems};
use super::file::{Read, Section, Source};
use super::meaning::{
    Admin, Config, Destination, DestinationKind, FolderDestination, Listener, Node, RouteRule, Routing,
};
use super::places::{self, Look};
use super::read;
use super::route;

/// The file that is used when none is named and it is there.
pub const DEFAULT_FILE: &str = "chrysalis.toml";

/// A larger file is refused before it is parsed.
pub const MAX_FILE_BYTES: u64 = 10 << 20;

/// The configuration that is used when there is no file. What a file leaves out is taken from here too.
pub const DEFAULT_TEXT: &str = r#"[node]
ae_title = "CHRYSALIS"
data_dir = "./chrysalis-data"

[[listener]]
name = "modalities"
address = "127.0.0.1:11112"

[[destination]]
name = "archive"
kind = "folder"
path = "./chrysalis-data/archive"

[admin]
address = "127.0.0.1:8080"
"#;

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What is to be done.
    pub config: Config,
    /// Who says so.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file named on the command line.
    Named(PathBuf),
    /// [`DEFAULT_FILE`] in the working directory.
    WorkingDirectory(PathBuf),
    /// [`DEFAULT_TEXT`]: there was no file.
    Embedded,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) | Self::WorkingDirectory(path) => path.display().fmt(f),
            Self::Embedded => f.write_str("the embedded default"),
        }
    }
}

impl Config {
    /// The configuration of this process: `file`, else `./chrysalis.toml` if it is there, else the embedded
    /// default. The data directory is looked at, and not made.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or says something wrong; all mistakes are reported at once.
    pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
        Self::load_with(file, places::usable)
    }

    /// The same for somebody who only asks a running node, and need not be able to write its data directory.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_to_ask(file: Option<&Path>) -> Result<Loaded, ConfigError> {
        Self::load_with(file, places::unseen)
    }

    fn load_with(file: Option<&Path>, look: Look) -> Result<Loaded, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let (text, origin) = match file {
            Some(file) => (read_file(file)?, Origin::Named(file.to_owned())),
            None => match read_file(default) {
                Ok(text) => (text, Origin::WorkingDirectory(default.to_owned())),
                Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    (DEFAULT_TEXT.to_owned(), Origin::Embedded)
                }
                Err(error) => return Err(error),
            },
        };
        let config = assemble(&text, &origin.to_string(), look)?;
        Ok(Loaded { config, origin })
    }

    /// Reads `text`, naming it `file` in errors. Looks at nothing but the text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, with line and key.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        assemble(text, file, places::unseen)
    }

    /// What [`DEFAULT_TEXT`] says.
    pub fn embedded_default() -> Self {
        Self::parse(DEFAULT_TEXT, "the embedded default")
            .expect("the embedded default is a valid configuration")
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|destination| destination.name.as_str() == name)
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(ConfigError::TooLarge { file: path.to_owned() });
    }
    String::from_utf8(bytes)
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))
}

/// The parser stops at 80 levels of brackets and 80 parts of a dotted key, but an inline table in 80 levels may
/// have 80 parts in each key, and taking such a tree apart goes as deep. This is enough for it several times over.
const STACK_BYTES: usize = 64 << 20;

fn assemble(text: &str, file: &str, look: Look) -> Result<Config, ConfigError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("configuration".to_owned()).stack_size(STACK_BYTES);
        let reading = builder.spawn_scoped(scope, || assemble_here(text, file, look));
        let reading = reading.map_err(|source| ConfigError::Unreadable { file: file.into(), source })?;
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn assemble_here(text: &str, file: &str, look: Look) -> Result<Config, ConfigError> {
    let source = Source::new(text);
    let config = source.tree().and_then(|tree| sections(&Section::root(&source, &tree), look));
    let problems = source.problems();
    match config {
        Ok(config) if problems.is_empty() => Ok(Config { revision: revision(text), ..config }),
        _ => Err(Problems { file: file.to_owned(), problems }.into()),
    }
}

fn sections(root: &Section<'_>, look: Look) -> Read<Config> {
    let node = node(&root.table("node"), look);
    let admin = read::admin(&root.table("admin"));
    let queue = read::queue(&root.table("queue"));
    let log = read::log(&root.table("log"));
    let listeners = listeners(root, admin.as_ref().ok());
    let destinations = destinations(root, node.as_ref().ok(), listeners.as_deref().unwrap_or_default());
    let routing = route::routing(&root.table("routing"));
    let routes = routes(root, routing, &listeners, &destinations);
    Ok(Config {
        node: node?,
        listeners: listeners?,
        queue: queue?,
        destinations: destinations?,
        routing: routing?,
        routes: routes?,
        admin: admin?,
        log: log?,
        revision: String::new(),
    })
}

fn node(section: &Section<'_>, look: Look) -> Read<Node> {
    let node = read::node(section)?;
    look(&node.data_dir).map_err(|error| section.fail("data_dir", error))?;
    Ok(node)
}

fn listeners(root: &Section<'_>, admin: Option<&Admin>) -> Read<Vec<Listener>> {
    let tables = root.tables("listener");
    let parts: Vec<_> = tables.iter().map(read::listener).collect();
    check::listeners(&pairs(&tables, &parts), admin);
    if root.get("listener").is_none() {
        Ok(Config::embedded_default().listeners)
    } else {
        parts.into_iter().collect()
    }
}

fn destinations(root: &Section<'_>, node: Option<&Node>, listeners: &[Listener]) -> Read<Vec<Destination>> {
    let tables = root.tables("destination");
    let parts: Vec<_> = tables.iter().map(|table| destination(table, node)).collect();
    check::destinations(&pairs(&tables, &parts), node);
    check::loops(&pairs(&tables, &parts), listeners);
    match (root.get("destination"), node) {
        (None, Some(node)) => Ok(archive_in(node)),
        _ => parts.into_iter().collect(),
    }
}

fn destination(section: &Section<'_>, node: Option<&Node>) -> Read<Destination> {
    let destination = read::destination(section, node.map(|node| &node.ae_title))?;
    if let DestinationKind::Folder(folder) = &destination.kind {
        // A share that is not there now may be later: whether it can be written is found out by writing.
        places::unseen(&folder.path).map_err(|error| section.fail("path", error))?;
    }
    Ok(destination)
}

/// The embedded default's folder, moved to where this node keeps its data.
fn archive_in(node: &Node) -> Vec<Destination> {
    let mut destinations = Config::embedded_default().destinations;
    for destination in &mut destinations {
        destination.kind = DestinationKind::Folder(FolderDestination { path: node.data_dir.join("archive") });
    }
    destinations
}

fn routes(
    root: &Section<'_>,
    routing: Read<Routing>,
    listeners: &Read<Vec<Listener>>,
    destinations: &Read<Vec<Destination>>,
) -> Read<Vec<RouteRule>> {
    let tables = root.tables("route");
    // Without a list whole, a name that is not found may be one that could not be read.
    let known = listeners.as_deref().ok();
    let rules: Vec<_> =
        tables.iter().zip(1..).map(|(table, place)| route::route(table, place, known)).collect();
    if let Ok(destinations) = destinations {
        let destinations: Vec<_> = destinations.iter().map(|destination| destination.name.clone()).collect();
        check::route_targets(&tables, &destinations);
    }
    check::routes(&pairs(&tables, &rules), routing.ok());
    rules.into_iter().collect()
}

/// The parts that could be read, each with its table.
fn pairs<'a, 't, T>(tables: &'a [Section<'t>], parts: &'a [Read<T>]) -> Vec<check::Part<'a, 't, T>> {
    tables
        .iter()
        .zip(parts)
        .filter_map(|(table, part)| part.as_ref().ok().map(|part| (table, part)))
        .collect()
}

/// 16 hexadecimal digits over the text's values in a canonical order and notation.
fn revision(text: &str) -> String {
    let canonical =
        toml::from_str::<toml::Table>(text).map_or_else(|_| text.to_owned(), |table| table.to_string());
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
