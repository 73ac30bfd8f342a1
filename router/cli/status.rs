//! `chrysalis status`: how a node stands, on one screen, and whether that needs somebody.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::admin_client::{AdminClient, AdminError};
use super::control::pause_words;
use super::table::{Table, age, printable, size};
use crate::config::Config;

/// Less room than this, and new associations are refused.
const LEAST_ROOM: u64 = 16 << 20;

/// How it is printed.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print what the node answers, and what of it needs somebody.
    #[arg(long)]
    pub json: bool,
}

impl StatusArgs {
    /// Asks the node and says how it stands. [`Exit::Failed`] when something needs somebody, or the node is stopped.
    ///
    /// # Errors
    ///
    /// The node answers with something else, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let status = match AdminClient::new(config).read("/api/status") {
            Ok(status) => status,
            Err(error @ AdminError::NotRunning(_)) => {
                let error = error.to_string();
                match self.json {
                    true => writeln!(out, "{:#}", json!({ "running": false, "error": error }))?,
                    false => writeln!(out, "The node is stopped: {error}")?,
                }
                return Ok(Exit::Failed);
            }
            Err(error) => return Err(error.into()),
        };
        let needs = needs(&status);
        if self.json {
            let mut status = status;
            status["running"] = true.into();
            status["needs_somebody"] = json!(needs);
            writeln!(out, "{status:#}")?;
        } else {
            write(&status, &needs, out)?;
        }
        Ok(if needs.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

fn write(status: &Value, needs: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "Chrysalis {}, revision {}\n", text(&status["version"]), text(&status["revision"]))?;
    if let Some(line) = remote(&status["remote_configuration"]) {
        writeln!(out, "{line}\n")?;
    }
    let mut listeners = Table::new(&["LISTENER", "ADDRESS", "SECURITY", "OPEN", "STATE"]);
    for listener in list(&status["listeners"]) {
        let state = pause_of(listener).unwrap_or_else(|| "takes associations".to_owned());
        let open = count(&listener["associations"]).to_string();
        let (name, address) = (text(&listener["listener"]), text(&listener["address"]));
        listeners.row([name, address, text(&listener["security"]), open, state]);
    }
    listeners.write(out)?;
    writeln!(out)?;
    relays(status, out)?;
    sites(status, out)?;
    links(status, out)?;
    let mut destinations = Table::new(&["DESTINATION", "SECURITY", "QUEUED", "HELD", "OLDEST", "STATE"]);
    for destination in list(&status["destinations"]) {
        let troubles = troubles(destination);
        let state = if troubles.is_empty() { "well".to_owned() } else { troubles.join("; ") };
        let oldest = destination["oldest_age_seconds"].as_f64().map(age).unwrap_or_default();
        let (queued, held) = (count(&destination["queued"]), count(&destination["held"]));
        let name = text(&destination["destination"]);
        let (security, own) = (text(&destination["security"]), text(&destination["authentication"]));
        let security = if own.is_empty() { security } else { format!("{security}, {own}") };
        destinations.row([name, security, queued.to_string(), held.to_string(), oldest, state]);
    }
    destinations.write(out)?;
    let spool = &status["spool"];
    let bytes = |key: &str| spool[key].as_u64().map_or_else(|| "?".to_owned(), size);
    writeln!(
        out,
        "\nSpool: {} instances, {}; {} may be received, {} free\n",
        count(&spool["instances"]),
        bytes("bytes"),
        bytes("room_bytes"),
        bytes("free_bytes"),
    )?;
    if needs.is_empty() {
        return writeln!(out, "All is well.");
    }
    writeln!(out, "Needs somebody:")?;
    needs.iter().try_for_each(|need| writeln!(out, "  {need}"))
}

fn relays(status: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if list(&status["relays"]).next().is_none() {
        return Ok(());
    }
    let mut relays = Table::new(&["RELAY", "LISTENS", "CONNECTS", "OPEN", "SECURITY"]);
    for relay in list(&status["relays"]) {
        let with = if relay["is_tls"] == true { "TLS " } else { "" };
        let listens = format!("{with}{}", text(&relay["listen"]));
        let open = count(&relay["connections"]).to_string();
        relays.row([text(&relay["relay"]), listens, text(&relay["connect"]), open, text(&relay["security"])]);
    }
    relays.write(out)?;
    writeln!(out)
}

/// At a gateway: the sites that it knows.
fn sites(status: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if list(&status["sites"]).next().is_none() {
        return Ok(());
    }
    let mut sites = Table::new(&["SITE", "CONNECTED SINCE", "FROM", "CONFIGURATION", "PARTIAL UPLOADS"]);
    for site in list(&status["sites"]) {
        let since = if site["connected"] == true { text(&site["since"]) } else { "not connected".to_owned() };
        let held = &site["configuration"];
        let configuration = match held.is_object() {
            true => format!("{} {}", text(&held["revision"]), text(&held["state"])),
            false => String::new(),
        };
        let partial = match count(&site["partial_uploads"]) {
            0 => String::new(),
            uploads => format!("{uploads}, {}", size(count(&site["partial_bytes"]))),
        };
        sites.row([text(&site["site"]), since, text(&site["peer"]), configuration, partial]);
    }
    sites.write(out)?;
    writeln!(out)
}

/// At a link: the gateways that it is to be connected to.
fn links(status: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if list(&status["links"]).next().is_none() {
        return Ok(());
    }
    let mut links = Table::new(&["LINK", "GATEWAY", "SITE", "STATE", "LAST ERROR"]);
    for link in list(&status["links"]) {
        let since = text(&link["since"]);
        let state = match (link["connected"] == true, since.is_empty()) {
            (true, _) => format!("connected since {since}"),
            (false, true) => "connecting".to_owned(),
            (false, false) => format!("not connected since {since}"),
        };
        let last = &link["last_error"];
        let error = match last.is_object() {
            true => format!("{}: {}", text(&last["at"]), text(&last["error"])),
            false => String::new(),
        };
        links.row([text(&link["destination"]), text(&link["gateway"]), text(&link["site"]), state, error]);
    }
    links.write(out)?;
    writeln!(out)
}

/// What somebody has to look at, a line for each.
fn needs(status: &Value) -> Vec<String> {
    let mut needs = Vec::new();
    if let Some(why) = status["poisoned"].as_str() {
        needs.push(format!("the spool failed, and nothing is taken until a restart: {}", printable(why)));
    }
    let spool = &status["spool"];
    if spool["room_bytes"].as_u64().is_some_and(|room| room < LEAST_ROOM) {
        needs.push("the spool is full: carts are refused until there is room".to_owned());
    }
    if count(&spool["corrupt_files"]) > 0 {
        let files = count(&spool["corrupt_files"]);
        needs.push(format!("{files} files of the spool are damaged: chrysalis queue fsck"));
    }
    let last = &status["remote_configuration"]["last"];
    if let Some(state) = last["state"].as_str().filter(|state| ["refused", "gone-back"].contains(state)) {
        let word = if state == "refused" { "is refused" } else { "was undone" };
        let reasons = list(&last["problems"]).chain(Some(&last["why"])).map(text);
        let reasons: Vec<_> = reasons.filter(|reason| !reason.is_empty()).collect();
        let revision = text(&last["revision"]);
        needs.push(format!("the gateway's configuration {revision} {word}: {}", reasons.join("; ")));
    }
    if let Some(error) = status["sites_error"].as_str() {
        needs.push(format!(
            "no link is let in, because the list of sites cannot be read: {}",
            printable(error)
        ));
    }
    for site in list(&status["sites"]) {
        let held = &site["configuration"];
        if let Some(error) = site["configuration_error"].as_str() {
            let (name, error) = (text(&site["site"]), printable(error));
            needs.push(format!("site {name}: what is held for it cannot be read: {error}"));
        }
        if let Some(state @ ("refused" | "gone-back")) = held["state"].as_str() {
            let word = if state == "refused" { "is refused there" } else { "was undone there" };
            let reasons: Vec<_> = list(&held["reasons"]).map(text).collect();
            let (name, revision) = (text(&site["site"]), text(&held["revision"]));
            needs.push(format!("site {name}: its configuration {revision} {word}: {}", reasons.join("; ")));
        }
    }
    for link in list(&status["links"]).filter(|link| link["connected"] == false) {
        if let Some(error) = link["last_error"]["error"].as_str() {
            let (name, since) = (text(&link["destination"]), text(&link["since"]));
            needs.push(format!("{name}: no tunnel since {since}: {}", printable(error)));
        }
    }
    for listener in list(&status["listeners"]) {
        let name = text(&listener["listener"]);
        needs.extend(pause_of(listener).map(|pause| format!("listener {name} is {pause}")));
    }
    for destination in list(&status["destinations"]) {
        let name = text(&destination["destination"]);
        let held = count(&destination["held"]);
        needs.extend(troubles(destination).into_iter().map(|trouble| format!("{name}: {trouble}")));
        if held > 0 {
            needs
                .push(format!("{name}: {held} held: chrysalis queue list --state held --destination {name}"));
        }
    }
    needs
}

/// What the gateway has set, where it may set anything.
fn remote(remote: &Value) -> Option<String> {
    let gateway = remote["gateway"].as_str().map(printable)?;
    let in_force = remote["in_force"].as_str().map_or("nothing".to_owned(), printable);
    let probation = match remote["probation"].is_string() {
        true => ", on probation: the gateway has to be reached with it, or the last good one returns",
        false => "",
    };
    Some(format!("Set by the gateway of {gateway}: {in_force}{probation}"))
}

/// Why a destination takes nothing, or not from everybody.
fn troubles(destination: &Value) -> Vec<String> {
    let mut troubles = Vec::new();
    let waits = count(&destination["queued"]) + count(&destination["held"]) > 0;
    // `none` is no destination: what is there is held, which is said by itself.
    if destination["configured"] == false && waits && destination["destination"] != "none" {
        troubles.push("not configured".to_owned());
    }
    troubles.extend(pause_of(destination));
    for lane in list(&destination["paused_lanes"]) {
        troubles.extend(pause_of(lane).map(|pause| format!("for {} {pause}", text(&lane["calling_ae"]))));
    }
    for lane in list(&destination["lanes"]).filter(|lane| lane["health"] != "well") {
        let title = text(&lane["calling_ae"]);
        let whom = if title.is_empty() { String::new() } else { format!(" for {title}") };
        // A peer that rejects us is not paused by anybody.
        let reason = text(&lane["reason"]);
        // Of TLS and of the tunnel, the reason says who rejects whom; without credentials nobody was asked.
        let is_ours = ["TLS: ", "credentials: ", "tunnel: "].iter().any(|what| reason.starts_with(what));
        let health = match lane["health"] == "paused" {
            true if is_ours => "paused",
            true if reason.starts_with("it ") => "takes nothing",
            true => "rejects us",
            false => "ill",
        };
        let until = lane["left_alone_until"].as_str().map_or(String::new(), |until| {
            format!("; it asked to be left alone until {}", seconds_only(&printable(until)))
        });
        troubles.push(format!("{health}{whom}: {reason}{until}"));
    }
    troubles
}

/// A time without the part of a second.
fn seconds_only(at: &str) -> String {
    at.split_once('.').map_or_else(|| at.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

fn pause_of(of: &Value) -> Option<String> {
    let pause = &of["paused"];
    pause.is_object().then(|| pause_words(pause))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{needs, write};
    use serde_json::{Value, json};

    fn status(listener_paused: Value, destination: Value) -> Value {
        let mut pacs = json!({ "destination": "pacs", "security": "Secured", "configured": true, "paused": null, "paused_lanes": [],
            "lanes": [{ "calling_ae": "", "health": "well", "reason": "" }], "queued": 0, "held": 0 });
        if let (Some(pacs), Some(given)) = (pacs.as_object_mut(), destination.as_object()) {
            pacs.extend(given.clone());
        }
        json!({ "version": "0", "revision": "r", "poisoned": null, "destinations": [pacs],
            "listeners": [{ "listener": "wards", "address": "127.0.0.1:11112", "security": "Unsecured", "associations": 2, "paused": listener_paused }],
            "spool": { "instances": 1, "bytes": 1536, "room_bytes": 1u64 << 30, "free_bytes": 2u64 << 30, "corrupt_files": 0 } })
    }

    #[test]
    fn what_is_well_needs_nobody() {
        let status = status(Value::Null, json!({ "queued": 3, "oldest_age_seconds": 12 }));
        assert_eq!(needs(&status), Vec::<String>::new());
        let mut out = Vec::new();
        write(&status, &[], &mut out).expect("a vector takes everything");
        let shown = String::from_utf8(out).expect("text");
        assert!(shown.contains("wards     127.0.0.1:11112  Unsecured  2     takes associations"), "{shown}");
        assert!(shown.contains("pacs         Secured   3       0     12s     well"), "{shown}");
        assert!(!shown.contains("Anonymous"), "{shown}");
        let mut encrypted = status.clone();
        encrypted["destinations"][0]["authentication"] = json!("Authenticated");
        let mut out = Vec::new();
        write(&encrypted, &[], &mut out).expect("a vector takes everything");
        let told = String::from_utf8(out).expect("text");
        assert!(told.contains("pacs         Secured, Authenticated  3"), "{told}");
        assert!(shown.contains("1.0 GiB may be received") && shown.ends_with("All is well.\n"), "{shown}");
    }

    #[test]
    fn sites_and_links_are_shown_with_what_somebody_has_to_do_about_them() {
        let mut status = status(Value::Null, json!({}));
        status["sites"] = json!([
            { "site": "north", "connected": true, "peer": "10.0.0.1:5", "since": "2026-11-22T08:00:00Z",
              "configuration": { "revision": "3-0a", "state": "gone-back", "reasons": ["no gateway"] },
              "partial_uploads": 2, "partial_bytes": 1536 },
            { "site": "south", "connected": false, "peer": null, "since": null, "configuration": null,
              "partial_uploads": 0, "partial_bytes": 0 },
        ]);
        status["links"] = json!([{ "destination": "cloud", "gateway": "wss://g:443/t", "site": "east", "connected": false,
            "since": "2026-11-22T09:00:00Z", "last_error": { "at": "2026-11-22T09:05:00Z", "error": "no session" } }]);
        let mut out = Vec::new();
        write(&status, &[], &mut out).expect("a vector takes everything");
        let shown = String::from_utf8(out).expect("text");
        let (site, missing) =
            ("north  2026-11-22T08:00:00Z  10.0.0.1:5  3-0a gone-back  2, 1.5 KiB", "south  not connected");
        assert!(shown.contains(site) && shown.contains(missing), "{shown}");
        assert!(
            shown.contains("not connected since 2026-11-22T09:00:00Z  2026-11-22T09:05:00Z: no session"),
            "{shown}"
        );
        assert_eq!(
            needs(&status),
            [
                "site north: its configuration 3-0a was undone there: no gateway",
                "cloud: no tunnel since 2026-11-22T09:00:00Z: no session",
            ]
        );
    }

    #[test]
    fn everything_that_needs_somebody_is_named() {
        let pause = json!({ "who": "oncall", "since": "2026-11-21T20:14:05.123Z", "reason": "upgrade" });
        let lane = json!([{ "calling_ae": "", "health": "ill", "reason": "connection refused" }]);
        let busy = json!([{ "calling_ae": "", "health": "ill", "reason": "HTTP 503 (Service Unavailable)",
            "left_alone_until": "2026-11-21T20:14:05.123Z" }]);
        let untrusted = json!([{ "calling_ae": "", "health": "paused", "reason": "TLS: the certificate of CN=a has expired" }]);
        let rejected = json!([{ "calling_ae": "", "health": "paused", "reason": "it rejects the association: no reason given, permanent (1/1/1)" }]);
        let rejects = json!([{ "calling_ae": "A", "health": "paused", "reason": "unknown" }]);
        for (status, expected) in [
            (
                status(pause.clone(), json!({})),
                "listener wards is paused by oncall since 2026-11-21T20:14:05Z: upgrade",
            ),
            (
                status(Value::Null, json!({ "paused": pause })),
                "pacs: paused by oncall since 2026-11-21T20:14:05Z: upgrade",
            ),
            (status(Value::Null, json!({ "lanes": lane })), "pacs: ill: connection refused"),
            (
                status(Value::Null, json!({ "lanes": busy })),
                "pacs: ill: HTTP 503 (Service Unavailable); it asked to be left alone until 2026-11-21T20:14:05Z",
            ),
            (status(Value::Null, json!({ "lanes": rejects })), "pacs: rejects us for A: unknown"),
            (
                status(Value::Null, json!({ "lanes": rejected })),
                "pacs: takes nothing: it rejects the association: no reason given, permanent (1/1/1)",
            ),
            (
                status(Value::Null, json!({ "lanes": untrusted })),
                "pacs: paused: TLS: the certificate of CN=a has expired",
            ),
            (status(Value::Null, json!({ "configured": false, "queued": 1 })), "pacs: not configured"),
            (
                status(Value::Null, json!({ "held": 2 })),
                "pacs: 2 held: chrysalis queue list --state held --destination pacs",
            ),
        ] {
            assert_eq!(needs(&status), [expected]);
        }
        let mut broken = status(Value::Null, json!({}));
        broken["poisoned"] = json!("a sync failed");
        broken["spool"]["room_bytes"] = json!(0);
        assert_eq!(needs(&broken).len(), 2);
    }
}
