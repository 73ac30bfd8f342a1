//! Whether the parts of a configuration fit together: what no single value can tell. What does not is kept among
//! the problems of the file; a configuration with problems is none.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::file::{Item, Section};
use super::meaning::{Admin, RouteRule};
use super::names::{DestinationName, ListenerName};
use super::read::{self, Identity};
use crate::dicom::AeTitle;

/// A part that was read, with the table it came from.
pub(super) type Part<'a, 't, T> = (&'a Section<'t>, &'a T);

/// Listeners have names and addresses of their own, and leave the admin address alone. Looks at no other key, so that one
/// that is wrong hides nothing here.
pub(super) fn listeners(tables: &[Section<'_>], admin: Option<&Admin>) {
    let mut earlier: Vec<(Option<ListenerName>, Option<SocketAddr>)> = Vec::new();
    for section in tables {
        let (name, address) = (read::name::<ListenerName>(section).ok(), read::address(section).ok());
        if let Some(name) = &name
            && earlier.iter().any(|(other, _)| other.as_ref() == Some(name))
        {
            section.fail("name", format_args!("another listener is called \"{name}\""));
        }
        if let Some(address) = address {
            let taken = |other: &Option<SocketAddr>| other.filter(|other| collide(*other, address));
            if let Some((other, at)) = earlier.iter().find_map(|(name, at)| Some((name, taken(at)?))) {
                let other = other.as_ref().map_or_else(String::new, |name| format!(" \"{name}\""));
                section.fail("address", format_args!("listener{other} is at {at} already"));
            }
            if admin.is_some_and(|admin| collide(admin.address, address)) {
                section.fail("address", format_args!("[admin] listens at {address} already"));
            }
        }
        earlier.push((name, address));
    }
}

/// Destinations have names of their own, and no two of them are the same thing under two names. Looks at no other key.
pub(super) fn destinations(tables: &[Section<'_>], own: Option<&AeTitle>, data_dir: Option<&Path>) {
    let mut earlier: Vec<(Option<DestinationName>, Option<Identity>)> = Vec::new();
    for section in tables {
        let name = read::name::<DestinationName>(section).ok();
        if let Some(name) = &name
            && earlier.iter().any(|(other, _)| other.as_ref() == Some(name))
        {
            section.fail("name", format_args!("another destination is called \"{name}\""));
        }
        let identity = read::identity(section, own).ok();
        if let Some(identity) = &identity {
            let key = match identity {
                Identity::Dicom(..) => "called_ae",
                Identity::Folder(_) => "path",
            };
            let is_same =
                |other: &Option<Identity>| other.as_ref().is_some_and(|other| same(other, identity));
            if let Some((other, _)) = earlier.iter().find(|(_, other)| is_same(other)) {
                let other = other.as_ref().map_or_else(String::new, |name| format!(" \"{name}\""));
                section.fail(key, format_args!("destination{other} is the same"));
            }
            if let (Identity::Folder(path), Some(data_dir)) = (identity, data_dir)
                && within_spool(path, data_dir)
            {
                section.fail("path", "is inside the part of node.data_dir that the queue keeps for itself");
            }
        }
        earlier.push((name, identity));
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

fn same(a: &Identity, b: &Identity) -> bool {
    match (a, b) {
        (Identity::Folder(a), Identity::Folder(b)) => plain(a) == plain(b),
        _ => a == b,
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
