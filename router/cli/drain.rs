//! The waiting of `chrysalis drain`.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Exit;
use super::admin_client::{AdminClient, AdminError, PAGE, State};
use super::control::DrainArgs;
use super::table::{age, printable};
use crate::admin::Asked;
use crate::check;
use crate::config::Config;
use crate::platform;

/// How often the node is asked.
const ASK: Duration = Duration::from_millis(250);
/// How long a node may take to end after its grace period.
const BEYOND_GRACE: Duration = Duration::from_secs(5);
/// How often is said what is left.
const SAY: Duration = Duration::from_secs(5);

/// What a node still has to do, and what waits for a person.
#[derive(Debug, Default)]
struct Left {
    /// In words, one for each place.
    to_do: Vec<String>,
    /// What is held or paused, which a drain does not wait for.
    waits: Vec<String>,
}

pub(super) fn run(args: &DrainArgs, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let client = &AdminClient::new(config);
    let order = json!({ "who": platform::user_name(), "reason": "drain" });
    client.tell("/api/drain", &order)?;
    if !args.json {
        writeln!(out, "Every listener is paused: new associations are rejected as transient.")?;
    }
    let left = wait(args, client, out)?;
    let is_empty = left.to_do.is_empty();
    let is_stopping = is_empty && args.stop;
    let mut has_ended = false;
    if is_stopping {
        client.tell("/api/stop", &order)?;
        has_ended = wait_for_end(config, client);
    }
    let exit = if is_empty && has_ended == args.stop { Exit::Done } else { Exit::Failed };
    if args.json {
        let said = json!({
            "empty": is_empty, "stopping": is_stopping, "stopped": has_ended,
            "left": left.to_do, "waits": left.waits,
        });
        writeln!(out, "{said:#}")?;
        return Ok(exit);
    }
    list(out, "Not delivered:", &left.to_do)?;
    list(out, "Waiting for a person, and not for the drain:", &left.waits)?;
    match (is_empty, is_stopping) {
        (true, true) if has_ended => writeln!(out, "Drained; the node has stopped.")?,
        (true, true) => writeln!(out, "Drained; the node was told to stop, and still runs.")?,
        (true, false) => writeln!(out, "Drained.")?,
        (false, _) => writeln!(out, "Not drained within {}.", age(args.timeout.as_secs_f64()))?,
    }
    writeln!(out, "The listeners stay paused, over a restart too, until: chrysalis resume --drained")?;
    Ok(exit)
}

/// Waits until the node neither answers nor has its data directory; whether that came within its grace period.
#[allow(
    clippy::disallowed_methods,
    reason = "a node that has ended tells nobody: it is looked at, up to a deadline"
)]
fn wait_for_end(config: &Config, client: &AdminClient) -> bool {
    let (begun, limit) = (Instant::now(), config.node.grace + BEYOND_GRACE);
    loop {
        if matches!(client.read("/health/live"), Err(AdminError::NotRunning(_))) && !check::is_locked(config)
        {
            return true;
        }
        if begun.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(ASK);
    }
}

/// Asks until there is nothing left to do, or no time. Twice, because an association that was just being negotiated when
/// its listener was paused is counted a moment later.
#[allow(
    clippy::disallowed_methods,
    reason = "a node tells nobody that it is empty: it is asked, up to a deadline"
)]
fn wait(args: &DrainArgs, client: &AdminClient, out: &mut dyn Write) -> anyhow::Result<Left> {
    let begun = Instant::now();
    let mut said: Option<Instant> = None;
    let mut was_empty = false;
    loop {
        let left = look(client)?;
        let is_empty = left.to_do.is_empty();
        if is_empty && was_empty || begun.elapsed() >= args.timeout {
            return Ok(left);
        }
        was_empty = is_empty;
        if !is_empty && !args.json && said.is_none_or(|said| said.elapsed() >= SAY) {
            said = Some(Instant::now());
            writeln!(out, "{:>7}  {}", age(begun.elapsed().as_secs_f64()), left.to_do.join("; "))?;
            out.flush()?;
        }
        std::thread::sleep(ASK.min(args.timeout.saturating_sub(begun.elapsed())));
    }
}

fn look(client: &AdminClient) -> anyhow::Result<Left> {
    let status = client.read("/api/status")?;
    let mut left = Left::default();
    for listener in status["listeners"].as_array().into_iter().flatten() {
        let open = listener["associations"].as_u64().unwrap_or(0);
        if open > 0 {
            left.to_do.push(format!("{open} associations open at listener {}", text(&listener["listener"])));
        }
    }
    for destination in status["destinations"].as_array().into_iter().flatten() {
        look_at(destination, client, &mut left)?;
    }
    Ok(left)
}

fn look_at(destination: &Value, client: &AdminClient, left: &mut Left) -> anyhow::Result<()> {
    let name = text(&destination["destination"]);
    let (queued, held) =
        (destination["queued"].as_u64().unwrap_or(0), destination["held"].as_u64().unwrap_or(0));
    if held > 0 {
        let why = if destination["configured"] == false { ": destination not configured" } else { "" };
        left.waits.push(format!("{held} held at {name}{why}"));
    }
    if queued == 0 {
        return Ok(());
    }
    if let Some(pause) = destination["paused"].as_object() {
        let who = pause.get("who").map(text).unwrap_or_default();
        let reason = pause.get("reason").map(text).unwrap_or_default();
        left.waits.push(format!("{queued} at {name}, paused by {who}: {reason}"));
        return Ok(());
    }
    let lanes = destination["paused_lanes"].as_array().cloned().unwrap_or_default();
    let paused = if lanes.is_empty() { 0 } else { of_paused_lanes(&name, &lanes, client)?.min(queued) };
    if paused > 0 {
        left.waits.push(format!("{paused} at {name} of calling AE titles that are paused there"));
    }
    if queued > paused {
        let health = text(&destination["health"]);
        let reasons = destination["lanes"].as_array().into_iter().flatten();
        let reasons = reasons.filter(|lane| lane["health"] != "well").map(|lane| text(&lane["reason"]));
        let why = reasons.collect::<Vec<_>>().join("; ");
        let hangs = if health == "well" { String::new() } else { format!(" ({health}: {why})") };
        left.to_do.push(format!("{} to be sent to {name}{hangs}", queued - paused));
    }
    Ok(())
}

/// How many deliveries to a destination wait because their calling AE title is paused there.
fn of_paused_lanes(destination: &str, lanes: &[Value], client: &AdminClient) -> anyhow::Result<u64> {
    let (destination, state) = (Some(destination.to_owned()), Some("ready,waiting".to_owned()));
    let query = Asked { destination, state, ..Asked::default() };
    let (mut count, mut after) = (0, None);
    loop {
        let page = client.search(&query, after.as_deref(), PAGE, false)?;
        let waiting = page.deliveries.iter().filter(|delivery| {
            matches!(delivery.state, State::Ready | State::Waiting)
                && lanes.iter().any(|lane| lane["calling_ae"] == delivery.calling_ae.as_str())
        });
        count += waiting.count() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

fn list(out: &mut dyn Write, heading: &str, lines: &[String]) -> std::io::Result<()> {
    if !lines.is_empty() {
        writeln!(out, "{heading}")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}
