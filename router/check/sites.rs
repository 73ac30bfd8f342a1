//! The sites of a gateway, and what it holds for them: whether the running node can read them.

use std::path::Path;

use super::Line;
use crate::config::{Config, ListenerKind};
use crate::platform::is_strange_in;
use crate::tunnel::Sites;
use crate::tunnel::remote::Holdings;

const ABOUT: &str = "sites";

/// Every file about sites; nothing where there is no listener for links.
pub fn sites(config: &Config) -> Vec<Line> {
    if !config.listeners.iter().any(|listener| matches!(listener.kind, ListenerKind::Tunnel(_))) {
        return Vec::new();
    }
    let data_dir = &config.node.data_dir;
    let (sites, holdings) = (Sites::of(data_dir), Holdings::of(data_dir));
    let mut lines: Vec<_> = Some(sites.path())
        .into_iter()
        .chain(holdings.files())
        .collect::<Vec<_>>()
        .iter()
        .filter_map(|file| strange(data_dir, file))
        .collect();
    match sites.list() {
        Ok(known) => {
            for (name, error) in known.keys().filter_map(|name| Some((name, holdings.standing(name).err()?)))
            {
                lines.push(Line::failed(
                    format!("site {name}"),
                    error.to_string(),
                    "What is held for it is not offered to its link.",
                    "Give the file to the user of the service, or set it again: chrysalis site config set.",
                ));
            }
            lines.push(match known.len() {
                0 => Line::question(ABOUT, "none", "No link can be let in.", "chrysalis site add NAME"),
                count => Line::ok(ABOUT, format!("{count}")),
            });
        }
        Err(error) => lines.push(Line::failed(
            ABOUT,
            error.to_string(),
            "No link is let in.",
            "Give the file to the user of the service, with mode 600.",
        )),
    }
    lines
}

/// A file that whoever looks now can read, and the service cannot.
fn strange(data_dir: &Path, file: &Path) -> Option<Line> {
    let (owner, service) = is_strange_in(data_dir, file)?;
    let what = format!("{} belongs to user {owner}, the data directory to user {service}", file.display());
    let attempt = format!("chown {service} {}", file.display());
    Some(Line::failed(ABOUT, what, "The service cannot read it.", &attempt))
}
