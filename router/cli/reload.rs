//! `chrysalis reload`: the running node reads its configuration again.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::admin_client::AdminClient;
use super::table::printable;
use crate::config::Sources;
use crate::control::mistakes_of;
use crate::platform;

/// How it reads it.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Only say what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Print what the node answers.
    #[arg(long)]
    pub json: bool,
}

impl ReloadArgs {
    /// Does it, and says what changed. A file with mistakes is the node's to refuse, so that they are in its log too.
    ///
    /// # Errors
    ///
    /// The node is not running, or `out` cannot be written. A configuration that is wrong is no error but
    /// [`Exit::Configuration`], also where no node can be asked.
    pub fn run(&self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let order = json!({ "dry_run": self.dry_run, "who": platform::user_name() });
        let (config, wrong) = sources.whom_to_ask()?;
        let answer = match (AdminClient::new(&config).reload(&order), wrong) {
            (Ok(answer), _) => answer,
            (Err(error), Some(wrong)) => {
                let error = format!("the configuration is wrong, and the node cannot be asked: {error}");
                Err(json!({ "applied": false, "error": error, "problems": mistakes_of(wrong) }))
            }
            (Err(error), None) => return Err(error.into()),
        };
        if self.json {
            let (Ok(body) | Err(body)) = &answer;
            writeln!(out, "{body:#}")?;
        }
        match answer {
            Ok(report) => {
                if !self.json {
                    let lines = lines(&report);
                    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                    writeln!(out, "{}", conclusion(&report, lines.is_empty()))?;
                }
                Ok(Exit::Done)
            }
            Err(refused) => {
                if !self.json {
                    let problems = refused["problems"].as_array().into_iter().flatten();
                    problems.map(problem).try_for_each(|line| writeln!(out, "{line}"))?;
                    writeln!(out, "Nothing is changed: {}", text(&refused["error"]))?;
                }
                Ok(Exit::Configuration)
            }
        }
    }
}

fn problem(problem: &Value) -> String {
    let line = problem["line"].as_u64().map(|line| format!("line {line}: ")).unwrap_or_default();
    let key = text(&problem["key"]);
    let between = if key.is_empty() { "" } else { ": " };
    format!("{line}{key}{between}{}", text(&problem["message"]))
}

fn conclusion(report: &Value, is_nothing: bool) -> String {
    let (from, to) = (text(&report["from"]), text(&report["to"]));
    match (report["applied"] == true, is_nothing) {
        (true, true) => format!("Nothing has changed; revision {to} is in force."),
        (true, false) => format!("Revision {to} is in force; it was {from}."),
        (false, true) => "Nothing would change.".to_owned(),
        (false, false) => format!("Revision {to} would take the place of {from}."),
    }
}

/// What changes, a line for each, from the answer to a reload or a dry run.
pub fn lines(report: &Value) -> Vec<String> {
    let changes = &report["changes"];
    let mut lines = Vec::new();
    let kinds = ["listener", "relay", "destination"];
    for (kind, parts) in kinds.map(|kind| (kind, &changes[format!("{kind}s")])) {
        lines.extend(texts(&parts["added"]).map(|name| format!("+ {kind} {name}")));
        for changed in parts["changed"].as_array().into_iter().flatten() {
            let keys = texts(&changed["keys"]).collect::<Vec<_>>().join(", ");
            lines.push(format!("~ {kind} {}: {keys}", text(&changed["name"])));
        }
        if kind != "destination" {
            lines.extend(texts(&parts["removed"]).map(|name| format!("- {kind} {name}")));
        }
    }
    lines.extend(report["gone"].as_array().into_iter().flatten().map(gone));
    if changes["routing"] == true {
        lines.push("~ routing rules".to_owned());
    }
    lines.extend(texts(&changes["keys"]).map(|key| format!("~ {key}")));
    lines.extend(texts(&changes["needs_restart"]).map(|key| format!("! {key}: needs a restart")));
    lines
}

fn gone(gone: &Value) -> String {
    let name = text(&gone["destination"]);
    let (owed, held) = (gone["owed"].as_u64().unwrap_or(0), gone["held"].as_u64().unwrap_or(0));
    let now = gone["renamed_to"].as_str().map(|name| format!(", probably renamed to {}", printable(name)));
    let queued = match owed + held {
        0 => "nothing is queued for it".to_owned(),
        all => format!(
            "{all} deliveries ({held} of them held already) are held until that name returns or they are decided about"
        ),
    };
    format!("- destination {name}{}: {queued}", now.unwrap_or_default())
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().map(text)
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{conclusion, lines, problem};
    use serde_json::json;

    #[test]
    fn every_kind_of_change_has_a_line() {
        let report = json!({
            "applied": true, "from": "a", "to": "b",
            "changes": {
                "listeners": { "added": ["lab"], "removed": ["old"], "changed": [{ "name": "wards", "keys": ["address", "allow"] }] },
                "destinations": { "added": ["new"], "removed": ["pacs", "store"], "changed": [] },
                "routing": true, "keys": ["log.level"], "needs_restart": ["queue.retain"],
            },
            "gone": [
                { "destination": "pacs", "renamed_to": "new", "owed": 3, "held": 1 },
                { "destination": "store", "renamed_to": null, "owed": 0, "held": 0 },
            ],
        });
        let expected = [
            "+ listener lab",
            "~ listener wards: address, allow",
            "- listener old",
            "+ destination new",
            "- destination pacs, probably renamed to new: 4 deliveries (1 of them held already) are held until that name returns or they are decided about",
            "- destination store: nothing is queued for it",
            "~ routing rules",
            "~ log.level",
            "! queue.retain: needs a restart",
        ];
        assert_eq!(lines(&report), expected);
        assert_eq!(conclusion(&report, false), "Revision b is in force; it was a.");
        assert_eq!(lines(&json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_problem_is_told_with_its_line_and_nothing_of_it_reaches_the_terminal_raw() {
        let told = problem(&json!({ "line": 3, "key": "route.to", "message": "no \u{1b}[2J" }));
        assert_eq!(told, "line 3: route.to: no \\u{1b}[2J");
        assert_eq!(problem(&json!({ "line": null, "key": "", "message": "x" })), "x");
    }
}
