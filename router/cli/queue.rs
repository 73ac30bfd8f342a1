//! `chrysalis queue`: what waits, and decisions about it.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::Exit;
use super::export;
use super::listing::{self, Look};
use super::selection::{Filter, Selection};
use super::source::Source;
use super::table::{Table, printable};
use crate::admin::{Order, Outcome};
use crate::config::{Config, Destination};
use crate::platform;
use crate::tls::Security;

/// What to do with the queue of the node that runs with this configuration.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: QueueCommand,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List deliveries, or studies with --by-study.
    List(ListArgs),
    /// Show one instance and all its deliveries.
    Show {
        /// The instance, as `list` names it.
        instance: String,
    },
    /// Try again now; what has no route is routed again. By filter: all that is not delivered yet, but for what a
    /// person, a rule or a conflict holds.
    Retry(SweepArgs),
    /// Keep back until released. By filter: what is ready or waiting.
    Hold(HoldArgs),
    /// Let go what is held. By filter: what is held.
    Release(SweepArgs),
    /// Give up for good; the data is removed in time. By filter: what is held.
    Discard(DiscardArgs),
    /// Send somewhere else what is not delivered yet.
    Reroute(RerouteArgs),
    /// Send again what was delivered, as long as its data is kept; with --to, to another place whatever has come.
    Resend(ResendArgs),
    /// Write instances into a folder, as they were received.
    Export(ExportArgs),
    /// Check every file of the spool against its hash.
    Fsck,
}

/// What `list` lists.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which deliveries.
    #[command(flatten)]
    pub filter: Filter,
    /// Only where the reason contains this text.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How many lines at most.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub limit: usize,
    /// One line for each study and destination.
    #[arg(long)]
    pub by_study: bool,
    /// Whole UIDs, and all senders of a study.
    #[arg(long)]
    pub wide: bool,
    /// Show patient and study in words; needs the right to read the token.
    #[arg(long)]
    pub reveal: bool,
}

/// What is tried again or let go.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// What is decided about.
    #[command(flatten)]
    pub select: Selection,
    /// Only where the reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "instances", group = "which")]
    pub reason: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What is held, and why.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// What is decided about.
    #[command(flatten)]
    pub select: Selection,
    /// Only where the reason until now contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "instances", group = "which")]
    pub reason_was: Option<String>,
    /// Why; kept with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What is discarded, and why.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// What is decided about.
    #[command(flatten)]
    pub select: Selection,
    /// Only where the reason until now contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "instances", group = "which")]
    pub reason_was: Option<String>,
    /// Why; kept with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What goes where instead.
#[derive(Debug, Args)]
pub struct RerouteArgs {
    /// The destination it is owed to now.
    #[arg(long, value_name = "NAME", group = "which", conflicts_with = "destination")]
    pub from: String,
    /// The destination it is to go to; may be given several times.
    #[arg(long, value_name = "NAME", required = true)]
    pub to: Vec<String>,
    /// What is decided about.
    #[command(flatten)]
    pub select: Selection,
    /// Only where the reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "instances")]
    pub reason: Option<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What is sent again.
#[derive(Debug, Args)]
pub struct ResendArgs {
    /// What is sent again.
    #[command(flatten)]
    pub select: Selection,
    /// To this destination, instead of to those that have it; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub to: Vec<String>,
    /// Say what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What is exported, and where to.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// What is exported.
    #[command(flatten)]
    pub select: Selection,
    /// Only where the reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "instances", group = "which")]
    pub reason: Option<String>,
    /// The folder; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
}

impl QueueArgs {
    /// Does it, and prints the outcome to `out`.
    ///
    /// # Errors
    ///
    /// The node is not running or refuses, or `out` cannot be written. A decision that some deliveries did not take
    /// is no error but [`Exit::Failed`].
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let session = Session { source: Source::find(config)?, json: self.json, config };
        match &self.command {
            QueueCommand::List(args) => session.list(args, out),
            QueueCommand::Show { instance } => session.show(instance, out),
            QueueCommand::Retry(args) => session.decide("retry", args.order(), out),
            QueueCommand::Release(args) => session.decide("release", args.order(), out),
            QueueCommand::Hold(args) => {
                let order = order(&args.select, args.reason_was.as_deref(), args.dry_run);
                session.decide("hold", Order { reason: args.reason.clone(), ..order }, out)
            }
            QueueCommand::Discard(args) => {
                let order = order(&args.select, args.reason_was.as_deref(), args.dry_run);
                session.decide("discard", Order { reason: Some(args.reason.clone()), ..order }, out)
            }
            QueueCommand::Reroute(args) => {
                let order = order(&args.select, args.reason.as_deref(), args.dry_run);
                let (from, to) = (Some(args.from.clone()), args.to.clone());
                session.decide("reroute", Order { from, to, ..order }, out)
            }
            QueueCommand::Resend(args) => {
                let order = order(&args.select, None, args.dry_run);
                session.decide("resend", Order { to: args.to.clone(), ..order }, out)
            }
            QueueCommand::Export(args) => {
                let (instances, filter) = args.select.asked(args.reason.as_deref());
                let what = export::What { instances: instances.as_deref(), filter: filter.as_ref() };
                let outcome = export::run(&session.source, what, &args.to)?;
                unless_closed(if self.json {
                    print_json(&outcome, out)
                } else {
                    outcome.print(&args.to, out)
                })?;
                Ok(outcome.exit())
            }
            QueueCommand::Fsck => session.fsck(out),
        }
    }
}

impl SweepArgs {
    fn order(&self) -> Order {
        order(&self.select, self.reason.as_deref(), self.dry_run)
    }
}

fn order(select: &Selection, reason: Option<&str>, dry_run: bool) -> Order {
    let (instances, filter) = select.asked(reason);
    // By filter the destination is a part of the filter.
    let destination = instances.as_ref().and(select.filter.destination.clone());
    let who = Some(platform::user_name());
    Order { instances, filter, all: select.all, destination, dry_run, who, ..Order::default() }
}

struct Session<'a> {
    source: Source<'a>,
    json: bool,
    config: &'a Config,
}

impl Session<'_> {
    fn list(&self, args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let asked = args.filter.asked(args.reason.as_deref());
        let look = Look { limit: args.limit.max(1), wide: args.wide, reveal: args.reveal };
        if args.by_study {
            let studies = self.source.studies(&asked, look.limit, look.reveal)?;
            if self.json {
                print_json(&studies, out)?
            } else {
                listing::print_studies(&studies, look, self.config, out)?
            }
            return Ok(Exit::Done);
        }
        let listing = listing::fetch(&self.source, &asked, look)?;
        if self.json {
            print_json(&listing, out)?
        } else {
            listing::print(listing, look, self.config, out)?
        }
        Ok(Exit::Done)
    }

    fn show(&self, instance: &str, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let shown = self.source.show(instance)?;
        if self.json {
            print_json(&shown, out)?;
            return Ok(Exit::Done);
        }
        let fields = shown.as_object().context("the node's answer is no object")?;
        let mut about = Table::new(&["FIELD", "VALUE"]);
        for (name, value) in fields.iter().filter(|(name, _)| *name != "deliveries") {
            about.row([name.clone(), plain(value)]);
        }
        about.write(out)?;
        let mut deliveries = Table::new(&["DESTINATION", "STATE", "REASON"]);
        for delivery in fields.get("deliveries").and_then(Value::as_array).into_iter().flatten() {
            deliveries.row(["destination", "state", "reason"].map(|name| plain(&delivery[name])));
        }
        writeln!(out)?;
        deliveries.write(out)?;
        print_expected(fields, self.config, out)?;
        Ok(Exit::Done)
    }

    fn decide(&self, verb: &str, order: Order, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let outcome = self.source.running()?.decide(verb, &order)?;
        unless_closed(if self.json {
            print_json(&outcome, out)
        } else {
            print_outcome(verb, &order, &outcome, out)
        })?;
        Ok(if outcome.failed_total == 0 { Exit::Done } else { Exit::Failed })
    }

    fn fsck(&self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let report = self.source.fsck()?;
        let problems =
            report.get("problems").and_then(Value::as_array).context("the node's answer has no problems")?;
        unless_closed(if self.json {
            print_json(&report, out)
        } else {
            print_problems(&report["checked"], problems, out)
        })?;
        Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

/// In what it would be sent where it is not delivered yet, and in what where that is not accepted.
fn print_expected(fields: &Map<String, Value>, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new(&["DESTINATION", "SECURITY", "WOULD BE SENT", "BECAUSE"]);
    let security = |name: &str| config.destination(name).and_then(Destination::security).map(Security::word);
    let mut is_empty = true;
    for delivery in fields.get("deliveries").and_then(Value::as_array).into_iter().flatten() {
        let ways = delivery["expected"].as_array().into_iter().flatten();
        for (place, way) in ways.enumerate() {
            let (name, security, form) = match place {
                0 => {
                    let name = plain(&delivery["destination"]);
                    let security = security(&name).unwrap_or_default().to_owned();
                    (name, security, plain(&way["as"]))
                }
                _ => (String::new(), String::new(), format!("else {}", plain(&way["as"]))),
            };
            table.row([name, security, form, plain(&way["why"])]);
            is_empty = false;
        }
    }
    if !is_empty {
        writeln!(out)?;
        table.write(out)?;
    }
    Ok(())
}

/// Whoever read the output has seen enough; how it ended is told by the exit code all the same.
fn unless_closed(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match printed {
        Err(error) if error.downcast_ref().is_some_and(is_closed) => Ok(()),
        printed => printed,
    }
}

fn print_problems(checked: &Value, problems: &[Value], out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{} checked, {} with problems.", plain(checked), problems.len())?;
    let mut table = Table::new(&["INSTANCE", "PROBLEM"]);
    for problem in problems {
        table.row(["instance", "problem"].map(|name| plain(&problem[name])));
    }
    if !problems.is_empty() {
        table.write(out)?;
    }
    Ok(())
}

fn print_outcome(verb: &str, order: &Order, outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<()> {
    let Outcome { matched, changed, failed, failed_total, gone, passed_over, unread } = outcome;
    let changed_word = if order.dry_run { "would change" } else { "changed" };
    write!(out, "{verb}: {matched} matched, {changed} {changed_word}, {failed_total} failed")?;
    let passed_over = passed_over.iter().map(|(why, count)| match hint(why) {
        Some(hint) => format!("{count} {} ({hint})", printable(why)),
        None => format!("{count} {}", printable(why)),
    });
    let passed_over: Vec<_> = passed_over.collect();
    let left_alone = if passed_over.is_empty() { "" } else { "; left alone: " };
    writeln!(out, "{left_alone}{}.", passed_over.join(", "))?;
    if *gone > 0 {
        writeln!(out, "Of {gone} the data is no longer in the spool: only the ledger knows of them.")?;
    }
    listing::print_unread(*unread, out)?;
    if failed.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["INSTANCE", "DESTINATION", "ERROR"]);
    for failure in failed.iter().cloned() {
        table.row([failure.instance, failure.destination.unwrap_or_default(), failure.error]);
    }
    table.write(out)?;
    let untold = failed_total.saturating_sub(failed.len() as u64);
    if untold > 0 {
        writeln!(out, "and {untold} more.")?;
    }
    Ok(())
}

/// What to do about what a decision by filter leaves alone for this reason.
fn hint(why: &str) -> Option<&'static str> {
    match why {
        "held by a person" | "held by a rule" | "conflict" => Some("release it"),
        "held there" => Some("retry it"),
        "discarded there" => Some("name it to send it all the same"),
        _ => None,
    }
}

fn print_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    // As an error of the output, where it is one: so that a pipe that is closed is seen to be that.
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
