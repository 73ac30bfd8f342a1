//! Whether the parts of a configuration fit together: what no single value can tell. What does not is kept among
//! the problems of the file; a configuration with problems is none.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use super::file::Section;
use super::meaning::{Admin, Destination, DestinationKind, HostPort, Listener, Match, RouteRule, Routing};
use super::names::{DestinationName, ListenerName};
use super::read::{self, Identity};
use super::relay::Relay;
use crate::dicom::{AeTitle, ExtraTags};
use crate::route::never;

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
            let (key, what) = match identity {
                Identity::Dicom(..) => ("called_ae", "address, called_ae and calling_ae"),
                Identity::Folder(_) => ("path", "path"),
                Identity::Web(..) => ("url", "url and credentials"),
                Identity::Tunnel(..) => ("url", "url and site"),
                Identity::Site(..) => ("endpoint", "site and endpoint"),
            };
            let is_same =
                |other: &Option<Identity>| other.as_ref().is_some_and(|other| same(other, identity));
            if let Some((other, _)) = earlier.iter().find(|(_, other)| is_same(other)) {
                let other = other.as_ref().map_or_else(String::new, |name| format!(" \"{name}\""));
                section.fail(key, format_args!("destination{other} is the same: {what}"));
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

/// No destination is one of our own listeners: what was sent there would come back for ever. Names are not resolved.
pub(super) fn loops(destinations: &[Part<'_, '_, Destination>], listeners: &[Listener]) {
    for (section, destination) in destinations {
        let DestinationKind::Dicom(dicom) = &destination.kind else { continue };
        if let Some(listener) = listeners.iter().find(|listener| leads_to(&dicom.address, listener.address)) {
            let message = format_args!("is our own listener \"{}\": a loop", listener.name);
            section.fail("address", message);
        }
    }
}

/// What a gateway may reach through a link is there and is DICOM. Asked only where every destination could be read.
pub(super) fn endpoints(destinations: &[Part<'_, '_, Destination>]) {
    for (section, destination) in destinations {
        let DestinationKind::Tunnel(tunnel) = &destination.kind else { continue };
        for endpoint in &tunnel.endpoints {
            let of_this_name = destinations.iter().find(|(_, other)| other.name == *endpoint);
            match of_this_name.map(|(_, other)| &other.kind) {
                Some(DestinationKind::Dicom(_)) => {}
                Some(
                    DestinationKind::Folder(_)
                    | DestinationKind::Web(_)
                    | DestinationKind::Tunnel(_)
                    | DestinationKind::Site(_),
                ) => {
                    let message = format_args!("destination \"{endpoint}\" is not of kind \"dicom\"");
                    section.fail("endpoints", message);
                }
                None => {
                    section.fail("endpoints", format_args!("there is no destination \"{endpoint}\""));
                }
            }
        }
    }
}

/// One gateway at most says how this node is configured.
pub(super) fn one_gateway(destinations: &[Part<'_, '_, Destination>]) {
    let mut first: Option<&DestinationName> = None;
    for (section, destination) in destinations {
        let DestinationKind::Tunnel(tunnel) = &destination.kind else { continue };
        match first {
            _ if !tunnel.remote_configuration => {}
            None => first = Some(&destination.name),
            Some(name) => {
                section.fail("remote_configuration", format_args!("is true for \"{name}\" already"));
            }
        }
    }
}

/// Whoever pushes through a link has a listener that links come by.
pub(super) fn sites(destinations: &[Part<'_, '_, Destination>]) {
    for (section, destination) in destinations {
        if matches!(destination.kind, DestinationKind::Site(_)) {
            section.fail("kind", "there is no listener of kind \"tunnel\" that a link could come by");
        }
    }
}

/// Whether a connection to `target` ends at a socket that listens at `own`, as far as the text tells.
fn leads_to(target: &HostPort, own: SocketAddr) -> bool {
    let host = target.host.trim_end_matches('.');
    let is_local_name = host.eq_ignore_ascii_case("localhost");
    let target_ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let own_ip = own.ip().to_canonical();
    // Connecting to the unspecified address is connecting to this machine.
    let is_here = is_local_name || target_ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
    let any_of_ours =
        own_ip.is_unspecified() || (own_ip.is_loopback() && target_ip.is_none_or(|ip| ip.is_unspecified()));
    target.port == own.port() && (target_ip == Some(own_ip) || (is_here && any_of_ours))
}

/// Relays have names and addresses of their own, and none leads to itself.
pub(super) fn relays(relays: &[Part<'_, '_, Relay>], admin: Option<&Admin>, listeners: &[Listener]) {
    for (index, (section, relay)) in relays.iter().enumerate() {
        let earlier = || relays.iter().take(index).map(|(_, other)| *other);
        if earlier().any(|other| other.name == relay.name) {
            section.fail("name", format_args!("another relay is called \"{}\"", relay.name));
        }
        if let Some(other) = earlier().find(|other| collide(other.listen, relay.listen)) {
            section.fail("listen", format_args!("relay \"{}\" is at {} already", other.name, other.listen));
        }
        if let Some(other) = listeners.iter().find(|other| collide(other.address, relay.listen)) {
            section
                .fail("listen", format_args!("listener \"{}\" is at {} already", other.name, other.address));
        }
        if admin.is_some_and(|admin| collide(admin.address, relay.listen)) {
            section.fail("listen", format_args!("[admin] listens at {} already", relay.listen));
        }
        if leads_to(&relay.connect, relay.listen) {
            section.fail("connect", "is this relay itself: a loop");
        }
    }
}

/// Rules lead to destinations that are there.
pub(super) fn route_targets(routes: &[Section<'_>], destinations: &[DestinationName]) {
    for item in routes.iter().filter_map(|route| route.get("to")?.list().ok()).flatten() {
        let named = item.as_text().and_then(|text| text.parse::<DestinationName>().ok());
        let Some(name) = named.filter(|name| !destinations.contains(name)) else { continue };
        let known: Vec<_> = destinations.iter().map(|name| format!("\"{name}\"")).collect();
        item.fail(format_args!("there is no destination \"{name}\"; there are {}", known.join(", ")));
    }
}

/// Rules have names of their own, do not hide each other, and together ask for no more attributes than are captured.
pub(super) fn routes(rules: &[Part<'_, '_, RouteRule>], routing: Option<Routing>) {
    let is_first = routing.is_some_and(|routing| routing.matching == Match::First);
    for (index, (section, rule)) in rules.iter().enumerate() {
        let mut earlier = rules.iter().take(index).map(|(_, other)| *other);
        if earlier.clone().any(|other| other.name == rule.name) {
            section.fail("name", format_args!("another rule is called \"{}\"", rule.name));
        }
        if is_first && let Some(other) = earlier.find(|other| never::is_hidden(&rule.when, &other.when)) {
            let name = &other.name;
            let message = format_args!("can never be reached: rule \"{name}\" before it matches all of it");
            section.fail("when", message);
        }
    }
    let tags = rules.iter().flat_map(|(_, rule)| rule.when.tags());
    if let (Err(error), Some((section, _))) = (ExtraTags::new(tags), rules.last()) {
        section.fail("when", error);
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
const OWN_NAMES: [&str; 12] = [
    "admin.token",
    "ballast",
    "boot",
    "cache",
    "index",
    "journal",
    "lock",
    "marks",
    "remote",
    "site-configuration",
    "sites",
    "spool",
];

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
