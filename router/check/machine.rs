//! The machine under a node: directory, file system, room, ports, clock, descriptors.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Inside, Line};
use crate::config::Config;
use crate::platform::Volume;

/// Less room than this, and new associations are refused.
const LEAST_ROOM: u64 = 16 << 20;
/// Less room than this is a morning's work.
const LITTLE_ROOM: u64 = 10 << 30;
/// How far ahead of the clock a file may have been written: clocks are corrected now and then.
const AHEAD: Duration = Duration::from_secs(60);
/// Descriptors beside those of associations: journals, index, HTTP, destinations.
const OTHER_DESCRIPTORS: u64 = 256;

/// The data directory: its rights, its file system, its room.
pub fn data_dir(config: &Config) -> Vec<Line> {
    let about = "data directory";
    let path = &config.node.data_dir;
    let mut lines = Vec::new();
    match fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => lines.push(Line::question(
            about,
            format!("{} has mode {:03o}, owner {}", path.display(), metadata.mode() & 0o777, metadata.uid()),
            "Other users of this machine may get at patient data.",
            "chmod 700, and give it to the user of the service.",
        )),
        Ok(metadata) => {
            let mode = metadata.mode() & 0o777;
            lines.push(Line::ok(
                about,
                format!("{}, mode {mode:03o}, owner {}", path.display(), metadata.uid()),
            ));
        }
        Err(_) => lines.push(Line::ok(about, format!("{} is made at the start", path.display()))),
    }
    let there = path.ancestors().find(|parent| parent.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    lines.extend(file_system(there));
    lines.push(volume(there));
    lines.push(room(config, there));
    lines
}

/// Whether the spool is encrypted at rest.
fn volume(path: &Path) -> Line {
    let about = "volume";
    match Volume::of(path) {
        Volume::Encrypted => Line::ok(about, "encrypted"),
        Volume::Unknown => Line::ok(about, "whether it is encrypted cannot be told from here"),
        Volume::Plain => Line::question(
            about,
            "not encrypted, as far as the system knows",
            "Whoever gets hold of the disk has the images of patients.",
            "Put the data directory on an encrypted volume (LUKS), or know that the disk encrypts by itself.",
        ),
    }
}

fn file_system(path: &Path) -> Option<Line> {
    let about = "file system";
    let kind = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xFFFF_FFFF;
    let known = FILE_SYSTEMS.iter().find(|(magic, ..)| *magic == kind);
    Some(match known {
        Some((_, name, means)) => {
            Line::question(about, *name, means, "Put the data directory on a local disk of its own.")
        }
        None => Line::ok(about, "local"),
    })
}

/// `f_type` of statfs(2), and what is wrong with a spool there.
const FILE_SYSTEMS: [(u64, &str, &str); 8] = [
    (0x6969, "NFS", REMOTE),
    (0xFF53_4D42, "CIFS", REMOTE),
    (0xFE53_4D42, "SMB", REMOTE),
    (0x517B, "SMB", REMOTE),
    (0x6573_5546, "FUSE", "Whether a sync reaches a disk depends on the program behind it."),
    (0x0102_1994, "tmpfs", MEMORY),
    (0x8584_58F6, "ramfs", MEMORY),
    (
        0x794C_7630,
        "overlay",
        "In a container this is the image's own layer: it goes when the container goes.",
    ),
];
const REMOTE: &str = "Every image waits for a server, and what a sync promises is that server's affair.";
const MEMORY: &str =
    "This is memory: what was acknowledged is gone after a power cut or a restart of the machine.";

fn room(config: &Config, path: &Path) -> Line {
    let about = "room";
    let space = match rustix::fs::statvfs(path) {
        Ok(space) => space,
        Err(error) => {
            return Line::failed(about, error.to_string(), "The disk does not answer.", "Look at the disk.");
        }
    };
    let usable = space.f_blocks.saturating_sub(space.f_bfree).saturating_add(space.f_bavail);
    let (total, free) = (usable * space.f_frsize, space.f_bavail * space.f_frsize);
    let kept_free = total - config.queue.high_watermark.of(total);
    let ballast =
        fs::metadata(config.node.data_dir.join("ballast")).map_or(0, |metadata| metadata.blocks() * 512);
    let missing = config.queue.reserve.saturating_sub(ballast);
    let room = free.saturating_sub(kept_free).saturating_sub(missing);
    let what = format!(
        "{:.1} GiB may be received (free {:.1} GiB, high_watermark {}, reserve {:.1} GiB)",
        gib(room),
        gib(free),
        config.queue.high_watermark,
        gib(config.queue.reserve)
    );
    if room < LEAST_ROOM {
        let attempt = "Make room, or add disk; delivered payloads are evicted by the node itself.";
        Line::failed(about, what, "Carts are refused as long as there is no room.", attempt)
    } else if room < LITTLE_ROOM {
        Line::question(
            about,
            what,
            "That is soon full while a destination is away.",
            "Make room, or add disk.",
        )
    } else {
        Line::ok(about, what)
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

/// Every address to listen on: free, our own node's, or somebody else's.
pub fn ports(config: &Config, inside: &Inside) -> Vec<Line> {
    let is_ours = |address| inside.addresses.contains(&address);
    let listeners = config.listeners.iter();
    let listeners = listeners.map(|l| port(format!("listener {}", l.name), l.address, is_ours(l.address)));
    // The running node was asked for its addresses there.
    let admin = port("admin".to_owned(), config.admin.address, !inside.addresses.is_empty());
    let relays = config.relays.iter();
    let relays = relays.map(|r| port(format!("relay {}", r.name), r.listen, is_ours(r.listen)));
    listeners.chain(relays).chain([admin]).collect()
}

fn port(about: String, address: SocketAddr, is_ours: bool) -> Line {
    let Err(error) = TcpListener::bind(address) else { return Line::ok(about, format!("{address} is free")) };
    match error.kind() {
        io::ErrorKind::AddrInUse if is_ours => {
            Line::ok(about, format!("{address} is in use by the running node of this data directory"))
        }
        io::ErrorKind::AddrInUse => Line::failed(
            about,
            format!("{address} is in use"),
            "Something else listens there than a node of this data directory.",
            "Find it with: ss -ltnp; stop it, or use another port.",
        ),
        io::ErrorKind::AddrNotAvailable => Line::failed(
            about,
            format!("{address}: {error}"),
            "No interface of this machine has this address now.",
            "Check the address; 0.0.0.0 is every interface.",
        ),
        io::ErrorKind::PermissionDenied => Line::failed(
            about,
            format!("{address}: {error}"),
            "This user may not listen on ports below 1024.",
            "Use a port such as 11112, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the service.",
        ),
        _ => Line::failed(
            about,
            format!("{address}: {error}"),
            "It cannot be listened on.",
            "Check the address.",
        ),
    }
}

/// The clock: plausible, not behind the spool, synchronised.
pub fn clock(config: &Config) -> Line {
    let about = "clock";
    let now = SystemTime::now();
    let shown = format!("{}, time zone {}", humantime::format_rfc3339_seconds(now), time_zone());
    let year = |years: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(years * 31_556_952);
    if now < year(2025 - 1970) || now > year(2100 - 1970) {
        return Line::failed(
            about,
            shown,
            "The year cannot be right: what is recorded gets wrong times, and ages are wrong.",
            "Set the clock, and have it synchronised.",
        );
    }
    if let Some(newest) = newest_journal(&config.node.data_dir.join("journal"))
        && newest > now + AHEAD
    {
        return Line::failed(
            about,
            format!("{shown}; the newest journal is of {}", humantime::format_rfc3339_seconds(newest)),
            "The clock is behind what this node has already recorded: it was wrong then, or is wrong now.",
            "Set the clock, and have it synchronised. Order does not depend on it, but ages and retention do.",
        );
    }
    match Path::new("/run/systemd/timesync/synchronized").exists() {
        true => Line::ok(about, format!("{shown}, synchronised")),
        false => Line::ok(about, format!("{shown}; whether it is synchronised cannot be told")),
    }
}

fn newest_journal(journals: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(journals).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}

fn time_zone() -> String {
    let link = || fs::read_link("/etc/localtime").ok();
    let named = |path: PathBuf| {
        let text = path.to_str()?.to_owned();
        text.split_once("zoneinfo/").map(|(_, name)| name.to_owned())
    };
    let zone = std::env::var("TZ").ok().filter(|zone| !zone.is_empty());
    let zone: String = zone.or_else(|| link().and_then(named)).unwrap_or_else(|| "UTC".to_owned());
    zone.chars().filter(|character| !character.is_control()).take(64).collect()
}

/// Whether as many associations as are allowed can be open.
pub fn descriptors(config: &Config) -> Line {
    use rustix::process::{Resource, getrlimit};
    let about = "descriptors";
    // One for the connection and one for the spool file of each.
    let incoming: u64 = config.listeners.iter().map(|listener| listener.max_associations as u64).sum();
    let relayed: u64 = config.relays.iter().map(|relay| relay.max_connections as u64).sum();
    let incoming = incoming + relayed;
    let wanted = incoming * 2 + OTHER_DESCRIPTORS;
    // A start raises its limit to the maximum.
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < wanted => Line::question(
            about,
            format!("{limit} at most, and {incoming} connections want {wanted}"),
            "With many carts at once some are turned away.",
            "LimitNOFILE=65536 in the service, or a smaller listener.max_associations.",
        ),
        Some(limit) => Line::ok(about, format!("{limit}, and {wanted} are enough")),
        None => Line::ok(about, "without limit"),
    }
}
