//! `chrysalis queue`: what waits, and decisions about what is held.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::Exit;
use super::admin_client::{Changed, Delivery, ListQuery, Listing, PAGE, State};
use super::source::Source;
use super::table::{Table, age, printable, size};
use crate::config::Config;

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
    /// List deliveries.
    List(ListArgs),
    /// Show one instance and all its deliveries.
    Show {
        /// The instance, as `list` names it.
        instance: String,
    },
    /// Try again now; what has no route is routed again. By filter: all that is not delivered yet.
    Retry(SelectArgs),
    /// Keep back until released. By filter: what is ready or waiting.
    Hold(HoldArgs),
    /// Let go what is held. By filter: what is held.
    Release(SelectArgs),
    /// Give up for good; the data is removed in time. By filter: what is held.
    Discard(DiscardArgs),
    /// Check every file of the spool against its hash.
    Fsck,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only for this destination; `none` is what has no route.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only in this state.
    #[arg(long)]
    pub state: Option<State>,
    /// Only of this study.
    #[arg(long, value_name = "UID")]
    pub study: Option<String>,
    /// Only from this calling AE title.
    #[arg(long, value_name = "AE")]
    pub calling_ae: Option<String>,
    /// Only what was received longer ago than this, such as `90m` or `2d`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
}

/// What `list` lists.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which deliveries.
    #[command(flatten)]
    pub filter: Filter,
    /// How many at most.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub limit: usize,
}

/// What is decided about: instances by id, or deliveries by filter.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// Instances, as `list` names them; only --destination goes with them.
    #[arg(
        required_unless_present_any = ["destination", "state", "study", "calling_ae", "older_than", "all"],
        conflicts_with_all = ["state", "study", "calling_ae", "older_than", "all"]
    )]
    pub instances: Vec<String>,
    /// Which deliveries.
    #[command(flatten)]
    pub filter: Filter,
    /// Every delivery that the command is meant for.
    #[arg(long)]
    pub all: bool,
}

/// What is held, and why.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// What is decided about.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Why; kept with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What is discarded, and why.
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// What is decided about.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Why; kept with the decision.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

impl QueueArgs {
    /// Does it, and prints the outcome to `out`.
    ///
    /// # Errors
    ///
    /// The node is not running or refuses, or `out` cannot be written. A decision that some deliveries did not take
    /// is no error but [`Exit::Failed`].
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let session = Session { source: Source::find(config)?, json: self.json };
        match &self.command {
            QueueCommand::List(args) => session.list(args, out),
            QueueCommand::Show { instance } => session.show(instance, out),
            QueueCommand::Retry(select) => session.decide(&RETRY, select, None, out),
            QueueCommand::Hold(args) => session.decide(&HOLD, &args.select, args.reason.as_deref(), out),
            QueueCommand::Release(select) => session.decide(&RELEASE, select, None, out),
            QueueCommand::Discard(args) => session.decide(&DISCARD, &args.select, Some(&args.reason), out),
            QueueCommand::Fsck => session.fsck(out),
        }
    }
}

/// A decision, and the states it is meant for where a filter names none: a sweep must not send again what was
/// delivered, nor discard what is about to leave.
struct Decision {
    verb: &'static str,
    states: &'static [State],
}

const RETRY: Decision = Decision { verb: "retry", states: &[State::Held, State::Waiting, State::Ready] };
const HOLD: Decision = Decision { verb: "hold", states: &[State::Ready, State::Waiting] };
const RELEASE: Decision = Decision { verb: "release", states: &[State::Held] };
const DISCARD: Decision = Decision { verb: "discard", states: &[State::Held] };

struct Session<'a> {
    source: Source<'a>,
    json: bool,
}

impl Session<'_> {
    fn list(&self, args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let (deliveries, next) = self.matching(&args.filter, args.filter.state, args.limit)?;
        if self.json {
            return print_json(&Listing { deliveries, next }, out);
        }
        let mut table = Table::new(&["INSTANCE", "DESTINATION", "STATE", "AGE", "SIZE", "FROM", "REASON"]);
        for delivery in deliveries {
            let Delivery { instance, destination, state, age_seconds, bytes, calling_ae, reason, .. } =
                delivery;
            let state = state.to_string();
            let (age, size, reason) = (age(age_seconds), size(bytes), reason.unwrap_or_default());
            table.row([instance, destination, state, age, size, calling_ae, reason]);
        }
        table.write(out)?;
        if next.is_some() {
            writeln!(out, "There are more; ask with a filter or a higher --limit.")?;
        }
        Ok(Exit::Done)
    }

    fn show(&self, instance: &str, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let shown = self.source.show(instance)?;
        if self.json {
            return print_json(&shown, out);
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
        Ok(Exit::Done)
    }

    fn decide(
        &self,
        decision: &Decision,
        select: &SelectArgs,
        reason: Option<&str>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        // Said even where nothing would be selected: "0 changed" would read like an answer.
        self.source.running()?;
        let mut outcome = Changed::default();
        for (destination, instances) in self.selected(decision, select)? {
            for some in instances.chunks(PAGE) {
                let changed = self.source.change(decision.verb, some, destination.as_deref(), reason)?;
                outcome.changed += changed.changed;
                outcome.failed.extend(changed.failed);
            }
        }
        if self.json {
            print_json(&outcome, out)?;
        } else {
            writeln!(
                out,
                "{}: {} changed, {} failed.",
                decision.verb,
                outcome.changed,
                outcome.failed.len()
            )?;
            let mut table = Table::new(&["INSTANCE", "DESTINATION", "ERROR"]);
            for failure in outcome.failed.iter().cloned() {
                table.row([failure.instance, failure.destination.unwrap_or_default(), failure.error]);
            }
            if !outcome.failed.is_empty() {
                table.write(out)?;
            }
        }
        Ok(if outcome.failed.is_empty() { Exit::Done } else { Exit::Failed })
    }

    fn fsck(&self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let report = self.source.fsck()?;
        let problems =
            report.get("problems").and_then(Value::as_array).context("the node's answer has no problems")?;
        if self.json {
            print_json(&report, out)?;
        } else {
            writeln!(out, "{} checked, {} with problems.", plain(&report["checked"]), problems.len())?;
            let mut table = Table::new(&["INSTANCE", "PROBLEM"]);
            for problem in problems {
                table.row(["instance", "problem"].map(|name| plain(&problem[name])));
            }
            if !problems.is_empty() {
                table.write(out)?;
            }
        }
        Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
    }

    /// What is decided about: instances under the destination at which, or under none for all of theirs.
    fn selected(
        &self,
        decision: &Decision,
        select: &SelectArgs,
    ) -> anyhow::Result<BTreeMap<Option<String>, Vec<String>>> {
        let filter = &select.filter;
        if !select.instances.is_empty() {
            return Ok(BTreeMap::from([(filter.destination.clone(), select.instances.clone())]));
        }
        let states = filter.state.map_or(decision.states.to_vec(), |state| vec![state]);
        let mut selected: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for state in states {
            let (deliveries, _) = self.matching(filter, Some(state), usize::MAX)?;
            for delivery in deliveries {
                selected.entry(Some(delivery.destination)).or_default().push(delivery.instance);
            }
        }
        Ok(selected)
    }

    /// Up to `limit` deliveries that pass the filter, and where more would start.
    fn matching(
        &self,
        filter: &Filter,
        state: Option<State>,
        limit: usize,
    ) -> anyhow::Result<(Vec<Delivery>, Option<String>)> {
        let query = ListQuery { destination: filter.destination.clone(), state };
        let mut matching = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.source.list(&query, after.as_deref())?;
            matching.extend(page.deliveries.into_iter().filter(|delivery| passes(filter, delivery)));
            let more = page.next.filter(|next| after.as_ref() != Some(next));
            if more.is_none() || matching.len() >= limit {
                let cut = matching.get(limit).map(|first| first.instance.clone());
                matching.truncate(limit);
                return Ok((matching, cut.or(more)));
            }
            after = more;
        }
    }
}

/// What the API's own query does not ask for.
fn passes(filter: &Filter, delivery: &Delivery) -> bool {
    let study = filter.study.as_ref().is_none_or(|study| *study == delivery.study_instance_uid);
    let calling_ae = filter.calling_ae.as_ref().is_none_or(|title| *title == delivery.calling_ae);
    let old = filter.older_than.is_none_or(|age| delivery.age_seconds > age.as_secs_f64());
    study && calling_ae && old
}

fn print_json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<Exit> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(Exit::Done)
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
