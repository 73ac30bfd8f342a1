//! Whether the parts of a configuration fit together: what no single value can tell. What does not is kept among
//! the problems of the file; a configuration with problems is none.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::file::{Item, Section};
use super::meaning::{Admin, Destination, DestinationKind, DicomDestination, Listener, Node, RouteRule};
use super::names::{DestinationName, ListenerName};

/// A part that was read, with the table it came from.
pub(super) type Part<'a, 't, T> = (&'a Section<'t>, &'a T);

/// Listeners have names and addresses of their own, and leave the admin address alone.
pub(super) fn listeners(listeners: &[Part<'_, '_, Listener>], admin: Option<&Admin>) {
    for (index, (section, listener)) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(index).map(|(_, other)| *other);
        if earlier.clone().any(|other| other.name == listener.name) {
            section.fail("name", format_args!("another listener is called \"{}\"", listener.name));
        }
        if let Some(other) = earlier.clone().find(|other| collide(other.address, listener.address)) {
            let message = format_args!("listener \"{}\" is at {} already", other.name, other.address);
            section.fail("address", message);
        }
        if admin.is_some_and(|admin| collide(admin.address, listener.address)) {
            let message = format_args!("[admin] listens at {} already", listener.address);
            section.fail("address", message);
        }
    }
}

/// Destinations have names of their own, and no two of them are the same thing under two names.
pub(super) fn destinations(destinations: &[Part<'_, '_, Destination>], node: Option<&Node>) {
    for (index, (section, destination)) in destinations.iter().enumerate() {
        let earlier = destinations.iter().take(index).map(|(_, other)| *other);
        if earlier.clone().any(|other| other.name == destination.name) {
            section.fail("name", format_args!("another destination is called \"{}\"", destination.name));
        }
        let (key, same): (_, fn(&DestinationKind, &DestinationKind) -> bool) = match destination.kind {
            DestinationKind::Dicom(_) => ("called_ae", same_peer),
            DestinationKind::Folder(_) => ("path", same_folder),
        };
        if let Some(other) = earlier.clone().find(|other| same(&other.kind, &destination.kind)) {
            section.fail(key, format_args!("destination \"{}\" is the same", other.name));
        }
        if let (DestinationKind::Folder(folder), Some(node)) = (&destination.kind, node)
            && within_spool(&folder.path, &node.data_dir)
        {
            section.fail("path", "is inside the part of node.data_dir that the queue keeps for itself");
        }
    }
}

/// Rules name listeners and destinations that are there.
pub(super) fn route(
    section: &Section<'_>,
    rule: &RouteRule,
    listeners: &[ListenerName],
    destinations: &[DestinationName],
) {
    named(section.get("to"), "destination", &rule.to, destinations);
    let when = section.get("when").and_then(|when| when.section().ok());
    named(when.and_then(|when| when.get("listener")), "listener", &rule.when.listener, listeners);
}

fn named<T: PartialEq + std::fmt::Display>(list: Option<Item<'_>>, what: &str, names: &[T], known: &[T]) {
    let items = list.and_then(|list| list.list().ok()).unwrap_or_default();
    for (item, name) in items.iter().zip(names).filter(|(_, name)| !known.contains(name)) {
        let known: Vec<_> = known.iter().map(|name| format!("\"{name}\"")).collect();
        item.fail(format_args!("there is no {what} \"{name}\"; there are {}", known.join(", ")));
    }
}

/// Whether both cannot be listened on at once: one port, and one address or one that stands for all.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && same_ip
}

fn same_peer(a: &DestinationKind, b: &DestinationKind) -> bool {
    let identity = |dicom: &DicomDestination| {
        let host = dicom.address.host.to_ascii_lowercase();
        (host, dicom.address.port, dicom.called_ae.clone(), dicom.calling_ae.clone())
    };
    match (a, b) {
        (DestinationKind::Dicom(a), DestinationKind::Dicom(b)) => identity(a) == identity(b),
        _ => false,
    }
}

fn same_folder(a: &DestinationKind, b: &DestinationKind) -> bool {
    match (a, b) {
        (DestinationKind::Folder(a), DestinationKind::Folder(b)) => plain(&a.path) == plain(&b.path),
        _ => false,
    }
}

/// The data directory is the queue's own, except for folders that somebody put beside what it keeps there.
fn within_spool(path: &Path, data_dir: &Path) -> bool {
    let (path, data_dir) = (plain(path), plain(data_dir));
    let Ok(inside) = path.strip_prefix(&data_dir) else { return false };
    let own = |name: &Path| OWN_NAMES.iter().any(|own| name == Path::new(own));
    inside.components().next().is_none_or(|first| own(Path::new(first.as_os_str())))
}

/// What the node keeps in its data directory.
const OWN_NAMES: [&str; 8] = ["admin.token", "ballast", "boot", "cache", "index", "journal", "lock", "spool"];

/// The path without `.` and with `..` taken away where that needs no look at the file system.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
