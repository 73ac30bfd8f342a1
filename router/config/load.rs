//! Where a configuration comes from: a file that was named, `./chrysalis.toml`, or the text built in; and what overrides
//! single values of it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::DeTable;

use super::advice::{self, Advice};
use super::afar::{self, Overlay};
use super::check;
use super::error::{ConfigError, Problems};
use super::file::{Read, Reported, Section, Source};
use super::meaning::{
    Admin, Config, Destination, DestinationKind, FolderDestination, Listener, RouteRule, Routing,
};
use super::names::DestinationName;
use super::overrides::{self, Override};
use super::places::{self, Look};
use super::profile::{self, Defaults};
use super::read;
use super::relay::{self, Relay};
use super::route;
use super::tunnel::{TunnelDestination, way_of_links};
use crate::dicom::AeTitle;
use crate::tls::Security;
use crate::tunnel::remote::Kept;

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

/// Everything that a configuration is made of, kept to be read again at a reload: default < file < overrides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The file that was named; without one it is [`DEFAULT_FILE`] if it is there, else [`DEFAULT_TEXT`].
    pub file: Option<PathBuf>,
    /// What overrides single values, the later over the earlier: the environment, then the command line.
    pub overrides: Vec<Override>,
}

impl Sources {
    /// A file, or none, and no overrides.
    pub fn file(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), overrides: Vec::new() }
    }

    /// The configuration of this process. The data directory is looked at, and not made.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or says something wrong, or an override does; all mistakes are reported at
    /// once.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(places::SEEN, Without::Allowed)
    }

    /// The same for a reload: what came from afar is part of it, or nothing is.
    ///
    /// # Errors
    ///
    /// As [`Sources::load`].
    pub fn load_whole(&self) -> Result<Loaded, ConfigError> {
        self.load_with(places::SEEN, Without::Refused)
    }

    /// The same for somebody who only asks a running node, and need not be able to write its data directory.
    ///
    /// # Errors
    ///
    /// As [`Sources::load`].
    pub fn load_to_ask(&self) -> Result<Loaded, ConfigError> {
        self.load_with(places::ASKING, Without::Allowed)
    }

    /// The node that this configuration is of, whatever else is wrong with it: the embedded default with this one's
    /// `node.data_dir` and `admin.address`, as far as these can be read; and what is wrong, if anything.
    ///
    /// # Errors
    ///
    /// The file cannot be read at all.
    pub fn whom_to_ask(&self) -> Result<(Config, Option<ConfigError>), ConfigError> {
        let problems = match self.load_to_ask() {
            Ok(loaded) => return Ok((loaded.config, None)),
            Err(error @ ConfigError::Invalid(_)) => error,
            Err(error) => return Err(error),
        };
        let (text, origin) = self.text()?;
        let config = on_deep_stack(&origin.to_string(), || find_node(&text, &self.overrides))?;
        Ok((config, Some(problems)))
    }

    /// What `text` would mean in the place of the file, with what came from afar and under the same overrides; `name` is what
    /// errors call it.
    ///
    /// # Errors
    ///
    /// As [`Sources::load`].
    pub fn read(&self, text: &str, name: &str) -> Result<Config, ConfigError> {
        let own = self.read_under(text, name, None)?;
        let over = Kept::of(&own).ok().and_then(|kept| kept.in_force().cloned());
        if over.is_none() { Ok(own) } else { self.read_under(text, name, over.as_ref()) }
    }

    /// What `text` would mean in the place of the file, with this laid over it.
    ///
    /// # Errors
    ///
    /// As [`Sources::load`].
    pub fn read_under(&self, text: &str, name: &str, over: Option<&Overlay>) -> Result<Config, ConfigError> {
        assemble(text, name, over, &self.overrides, places::SEEN).map(|(config, _)| config)
    }

    fn load_with(&self, look: Look, without: Without) -> Result<Loaded, ConfigError> {
        let (text, origin) = self.text()?;
        let read = |over| assemble(&text, &origin.to_string(), over, &self.overrides, look);
        // The file has to be right by itself: it is what is left when nothing else is.
        let own = read(None)?;
        let mut left_out = Vec::new();
        let kept = Kept::of(&own.0).unwrap_or_else(|error| {
            left_out.push(error.to_string());
            Kept::default()
        });
        let mut laid = None;
        for over in kept.to_try() {
            match (read(Some(over)), without) {
                (Ok(read), _) => {
                    laid = Some(read);
                    break;
                }
                (Err(error), Without::Refused) => return Err(error),
                (Err(error), Without::Allowed) => left_out.push(format!("{}: {error}", over.revision)),
            }
        }
        let (config, mut advice) = laid.unwrap_or(own);
        if origin == Origin::Embedded {
            // Nobody wrote it, so nobody is asked about it.
            let built_in = format!("{origin}:");
            advice.retain(|advice| !advice.place.starts_with(&built_in));
        }
        Ok(Loaded { config, origin, advice, text, left_out })
    }

    fn text(&self) -> Result<(String, Origin), ConfigError> {
        if let Some(file) = &self.file {
            return Ok((read_file(file)?, Origin::Named(file.clone())));
        }
        let default = Path::new(DEFAULT_FILE);
        match read_file(default) {
            Ok(text) => Ok((text, Origin::WorkingDirectory(default.to_owned()))),
            Err(ConfigError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok((DEFAULT_TEXT.to_owned(), Origin::Embedded))
            }
            Err(error) => Err(error),
        }
    }
}

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What is to be done.
    pub config: Config,
    /// Who says so.
    pub origin: Origin,
    /// What is not wrong, and yet worth a question.
    pub advice: Vec<Advice>,
    /// What the file says.
    pub text: String,
    /// What came from afar and is not part of it, and why.
    pub left_out: Vec<String>,
}

/// What if the file is right and what came from afar does not go with it.
#[derive(Clone, Copy)]
enum Without {
    /// The file alone will do: a node that does not start helps nobody.
    Allowed,
    Refused,
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
    /// Reads `text`, naming it `file` in errors. Looks at nothing but the text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, with line and key.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        assemble(text, file, None, &[], places::UNSEEN).map(|(config, _)| config)
    }

    /// The same with this laid over it.
    ///
    /// # Errors
    ///
    /// As [`Config::parse`].
    pub fn parse_under(text: &str, file: &str, over: &Overlay) -> Result<Self, ConfigError> {
        assemble(text, file, Some(over), &[], places::UNSEEN).map(|(config, _)| config)
    }

    /// What [`DEFAULT_TEXT`] says.
    pub fn embedded_default() -> Self {
        Self::parse(DEFAULT_TEXT, "the embedded default")
            .expect("the embedded default is a valid configuration")
    }

    /// The tunnel whose gateway may set some of this.
    pub fn afar_gateway(&self) -> Option<(&DestinationName, &TunnelDestination)> {
        self.destinations.iter().find_map(|destination| match &destination.kind {
            DestinationKind::Tunnel(tunnel) if tunnel.remote_configuration => {
                Some((&destination.name, tunnel))
            }
            _ => None,
        })
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

type Assembled = Result<(Config, Vec<Advice>), ConfigError>;

fn assemble(text: &str, file: &str, over: Option<&Overlay>, overrides: &[Override], look: Look) -> Assembled {
    on_deep_stack(file, || assemble_here(text, file, over, overrides, look))?
}

pub(super) fn on_deep_stack<T: Send>(file: &str, read: impl FnOnce() -> T + Send) -> Result<T, ConfigError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("configuration".to_owned()).stack_size(STACK_BYTES);
        let reading = builder.spawn_scoped(scope, read);
        let reading = reading.map_err(|source| ConfigError::Unreadable { file: file.into(), source })?;
        Ok(reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Of a text with mistakes, even one that is no TOML from some place on, what says where the node is.
fn find_node(text: &str, overrides: &[Override]) -> Config {
    let mut config = Config::embedded_default();
    let source = Source::new(text, None, overrides);
    let (mut tree, _) = DeTable::parse_recoverable(text);
    overrides::apply(&source, tree.get_mut());
    let root = Section::root(&source, &tree);
    if let Ok(data_dir) = read::data_dir(&root.table("node"), places::UNSEEN) {
        config.node.data_dir = data_dir;
    }
    if let Ok(admin) = read::admin(&root.table("admin")) {
        config.admin = admin;
    }
    config
}

fn assemble_here(
    text: &str,
    file: &str,
    over: Option<&Overlay>,
    overrides: &[Override],
    look: Look,
) -> Assembled {
    let source = Source::new(text, over.map(|over| over.text.as_str()), overrides);
    let config = source.tree().and_then(|mut tree| {
        afar::lay_over(&source, tree.get_mut())?;
        overrides::apply(&source, tree.get_mut());
        let root = Section::root(&source, &tree);
        let config = sections(&root, look)?;
        advice::ask(&root, &config, look);
        Ok(Config { revision: revision(&tree), afar: over.map(|over| over.revision.clone()), ..config })
    });
    let problems = source.problems();
    match config {
        Ok(config) if problems.is_empty() => {
            let questions = source.questions().into_iter();
            Ok((config, questions.map(|question| Advice::new(file, question)).collect()))
        }
        _ => Err(Problems { file: file.to_owned(), problems }.into()),
    }
}

fn sections(root: &Section<'_>, look: Look) -> Read<Config> {
    let node = root.table("node");
    let (own, data_dir) = (read::own_title(&node).ok(), read::data_dir(&node, look).ok());
    let place = data_dir.as_deref().unwrap_or(Path::new("."));
    let profile = profile::profile(root, || (look.host)(place));
    let defaults = profile.map_or_else(|_| Defaults::usual(), |(_, defaults)| defaults);
    let node = read::node(&node, look);
    let admin = read::admin(&root.table("admin"));
    let queue = read::queue(&root.table("queue"), defaults);
    let transcode = read::transcode(&root.table("transcode"), defaults);
    let log = read::log(&root.table("log"));
    let listeners = listeners(root, admin.as_ref().ok(), defaults);
    let ours = listeners.as_deref().ok();
    let relays = relays(root, admin.as_ref().ok(), ours.unwrap_or_default());
    let destinations = destinations(root, own.as_ref(), data_dir.as_deref(), ours.unwrap_or_default());
    let routing = route::routing(&root.table("routing"));
    let routes = routes(root, routing, ours);
    Ok(Config {
        profile: profile?.0,
        node: node?,
        listeners: listeners?,
        relays: relays?,
        queue: queue?,
        destinations: destinations?,
        routing: routing?,
        routes: routes?,
        transcode: transcode?,
        admin: admin?,
        log: log?,
        revision: String::new(),
        afar: None,
    })
}

fn listeners(root: &Section<'_>, admin: Option<&Admin>, defaults: Defaults) -> Read<Vec<Listener>> {
    let tables = root.tables("listener");
    let parts: Vec<_> = tables.iter().map(|table| read::listener(table, defaults)).collect();
    check::listeners(&tables, admin);
    if root.get("listener").is_none() {
        let mut listeners = Config::embedded_default().listeners;
        listeners.iter_mut().for_each(|listener| listener.max_associations = defaults.max_associations);
        Ok(listeners)
    } else {
        parts.into_iter().collect()
    }
}

fn relays(root: &Section<'_>, admin: Option<&Admin>, listeners: &[Listener]) -> Read<Vec<Relay>> {
    let tables = root.tables("relay");
    let parts: Vec<_> = tables.iter().map(relay::relay).collect();
    check::relays(&pairs(&tables, &parts), admin, listeners);
    parts.into_iter().collect()
}

fn destinations(
    root: &Section<'_>,
    own: Option<&AeTitle>,
    data_dir: Option<&Path>,
    listeners: &[Listener],
) -> Read<Vec<Destination>> {
    let tables = root.tables("destination");
    let parts: Vec<_> = tables.iter().map(|table| read::destination(table, own)).collect();
    check::destinations(&tables, own, data_dir);
    let known = pairs(&tables, &parts);
    check::loops(&known, listeners);
    check::one_gateway(&known);
    if known.len() == parts.len() {
        check::endpoints(&known);
    }
    // Without a list of listeners there may be one for links that could not be read.
    let way = way_of_links(listeners);
    if way.is_none() && !listeners.is_empty() {
        check::sites(&known);
    }
    match root.get("destination") {
        None => Ok(archive_in(data_dir.ok_or(Reported)?)),
        Some(_) => parts.into_iter().map(|part| part.map(|part| reached_by(way, part))).collect(),
    }
}

fn reached_by(way: Option<Security>, mut destination: Destination) -> Destination {
    if let (DestinationKind::Site(site), Some(way)) = (&mut destination.kind, way) {
        site.security = way;
    }
    destination
}

/// The embedded default's folder, moved to where this node keeps its data.
fn archive_in(data_dir: &Path) -> Vec<Destination> {
    let mut destinations = Config::embedded_default().destinations;
    for destination in &mut destinations {
        destination.kind = DestinationKind::Folder(FolderDestination { path: data_dir.join("archive") });
    }
    destinations
}

fn routes(
    root: &Section<'_>,
    routing: Read<Routing>,
    listeners: Option<&[Listener]>,
) -> Read<Vec<RouteRule>> {
    let tables = root.tables("route");
    // Without a list whole, a name that is not found may be one that could not be read.
    let rules: Vec<_> =
        tables.iter().zip(1..).map(|(table, place)| route::route(table, place, listeners)).collect();
    let destinations = names(root, "destination", || {
        Config::embedded_default().destinations.into_iter().map(|destination| destination.name).collect()
    });
    if let Ok(destinations) = destinations {
        check::route_targets(&tables, &destinations);
    }
    check::routes(&pairs(&tables, &rules), routing.ok());
    rules.into_iter().collect()
}

/// The names of all tables of a list, whatever else is wrong with them; those of the default where there is no list.
fn names<T: FromStr<Err: fmt::Display>>(
    root: &Section<'_>,
    list: &str,
    default: impl Fn() -> Vec<T>,
) -> Read<Vec<T>> {
    match root.get(list) {
        None => Ok(default()),
        Some(item) if !item.is_list() => Err(Reported),
        Some(_) => root.tables(list).iter().map(read::name).collect(),
    }
}

/// The parts that could be read, each with its table.
fn pairs<'a, 't, T>(tables: &'a [Section<'t>], parts: &'a [Read<T>]) -> Vec<check::Part<'a, 't, T>> {
    tables
        .iter()
        .zip(parts)
        .filter_map(|(table, part)| part.as_ref().ok().map(|part| (table, part)))
        .collect()
}

/// 16 hexadecimal digits over the values in a canonical order and notation.
fn revision(tree: &Spanned<DeTable<'_>>) -> String {
    let table = toml::Table::deserialize(toml::de::Deserializer::from(tree.clone()));
    // Whatever was read without a mistake is a table of plain values.
    let canonical = table.map_or_else(|error| error.to_string(), |table| table.to_string());
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The questions about a text, for tests.
#[cfg(test)]
pub(super) fn advice_of(text: &str) -> Result<Vec<Advice>, ConfigError> {
    assemble(text, "site.toml", None, &[], places::UNSEEN).map(|(_, advice)| advice)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
