//! `chrysalis route FILE...`: where a file would go if a cart sent it now, by which rule, and why not by the others.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::table::printable;
use crate::config::{Config, Listener, ListenerKind, RouteAction};
use crate::dicom::AeTitle;
use crate::dicom::part10::FileHead;
use crate::dicom::stored::walk_whole;
use crate::route::{Decision, Facts, Found, Header, Miss, Outcome, Routes};
use crate::tunnel::SiteName;

/// Which files, and how they are thought to come.
#[derive(Debug, Args)]
pub struct RouteArgs {
    /// DICOM files; only their headers are read.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The title of the cart [default: the one in the file's head, if there is one].
    #[arg(long, value_name = "AE")]
    pub calling_ae: Option<AeTitle>,
    /// The title that the cart calls [default: the one in the file's head, else the listener's or the node's].
    #[arg(long, value_name = "AE")]
    pub called_ae: Option<AeTitle>,
    /// The listener that it calls [default: the first of the configuration].
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The address that it calls from.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub source: IpAddr,
    /// The site that it comes from through the tunnel; the listener is then one of kind `tunnel`.
    #[arg(long, value_name = "SITE")]
    pub site: Option<SiteName>,
    /// Show the values that conditions met, which may be patient data.
    #[arg(long)]
    pub reveal: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the rules say about one file.
struct Answer {
    calling_ae: AeTitle,
    decision: Decision,
    misses: Vec<Miss>,
}

impl RouteArgs {
    /// Prints what would become of each file. Fails when one cannot be read.
    ///
    /// # Errors
    /// The listener is not in the configuration, or the output cannot be written.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let listener = self.listener(config)?;
        let routes = Routes::new(config);
        let (mut exit, mut list) = (Exit::Done, Vec::new());
        for path in &self.files {
            match self.ask(path, config, listener, &routes) {
                Ok(answer) if self.json => list.push(self.answer_json(path, &answer)),
                Ok(answer) => self.write(path, &answer, out)?,
                Err(error) => {
                    exit = Exit::Failed;
                    let error = super::once(&error);
                    if self.json {
                        list.push(json!({ "file": path.display().to_string(), "error": error }));
                    } else {
                        writeln!(out, "{}: {}", shown(path), printable(&error))?;
                    }
                }
            }
        }
        if self.json {
            writeln!(out, "{:#}", Value::Array(list))?;
        }
        Ok(exit)
    }

    fn listener<'c>(&self, config: &'c Config) -> anyhow::Result<&'c Listener> {
        let named =
            |listener: &Listener| self.listener.as_ref().is_none_or(|name| name == listener.name.as_str());
        let fits = |listener: &Listener| match (&listener.kind, &self.site) {
            (ListenerKind::Tunnel(_), Some(_)) | (ListenerKind::Dicom, None) => true,
            // Whoever names a listener for links may ask what becomes of what comes from no site in particular.
            (ListenerKind::Tunnel(_), None) => self.listener.is_some(),
            (ListenerKind::Dicom, Some(_)) => false,
        };
        config.listeners.iter().find(|listener| named(listener) && fits(listener)).with_context(|| {
            let of = |listener: &&Listener| {
                self.site.is_none() || matches!(listener.kind, ListenerKind::Tunnel(_))
            };
            let known = config.listeners.iter().filter(of).map(|listener| listener.name.as_str());
            let known: Vec<_> = known.collect();
            let kind = if self.site.is_some() { " of kind \"tunnel\"" } else { "" };
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("there is no such listener{kind}; there are {known}")
        })
    }

    fn ask(
        &self,
        path: &Path,
        config: &Config,
        listener: &Listener,
        routes: &Routes,
    ) -> anyhow::Result<Answer> {
        let mut file = File::open(path)?;
        let head = FileHead::read(&mut file)?;
        let read_at = |buffer: &mut [u8], offset| {
            file.seek(SeekFrom::Start(head.data_set_offset + offset))?;
            file.read(buffer)
        };
        let scan = walk_whole(read_at, &head.transfer_syntax, routes.tags())?;
        let own_title = || listener.called_ae.first().unwrap_or(&config.node.ae_title).clone();
        let calling_ae = self.calling_ae.clone().or(head.calling).unwrap_or_default();
        let called_ae = self.called_ae.clone().or(head.called).unwrap_or_else(own_title);
        let facts = Facts {
            listener: listener.name.as_str(),
            calling_ae: &calling_ae,
            called_ae: &called_ae,
            peer_addr: self.source,
            site: self.site.as_ref().map(SiteName::as_str),
            sop_class: &head.sop_class,
            attributes: &scan.attributes,
            header: Header::of(&scan, routes.tags()),
        };
        let (decision, misses) = (routes.decide(&facts), routes.misses(&facts));
        Ok(Answer { calling_ae, decision, misses })
    }

    fn write(&self, path: &Path, answer: &Answer, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}: {}", shown(path), printable(&sentence(&answer.decision)))?;
        for Miss { rule, condition, found } in &answer.misses {
            let met = match found {
                Found::Missing => "there is none".to_owned(),
                Found::Known(value) => format!("is \"{value}\""),
                Found::Private(value) if self.reveal => format!("is \"{value}\""),
                Found::Private(_) => "is something else; --reveal shows it".to_owned(),
                Found::Holds => "but that is so".to_owned(),
                Found::Earlier => "not asked, an earlier rule decided".to_owned(),
                Found::Overruled { by, action } => {
                    let does = if *action == RouteAction::Hold { "holds" } else { "sends" };
                    let line = format!("matches, but does not drop: {} {does} it", rule_named(by));
                    writeln!(out, "  {} {}", rule_named(rule), printable(&line))?;
                    continue;
                }
            };
            writeln!(
                out,
                "  {} does not apply: {}",
                rule_named(rule),
                printable(&format!("{condition}: {met}"))
            )?;
        }
        Ok(())
    }

    fn answer_json(&self, path: &Path, answer: &Answer) -> Value {
        let Decision { outcome, rules } = &answer.decision;
        let (word, owed, reason) = match outcome {
            Outcome::Owed(owed) => ("owed", owed.as_slice(), None),
            Outcome::Dropped { why } => ("dropped", &[][..], Some(why.as_str())),
            Outcome::Refused => ("refused", &[][..], Some("no route")),
        };
        let deliveries = owed.iter().map(|o| json!({ "destination": o.destination, "hold": o.hold }));
        let misses = answer.misses.iter().map(|miss| {
            let (found, value) = match &miss.found {
                Found::Missing => ("missing", None),
                Found::Known(value) => ("other", Some(value.as_str())),
                Found::Private(value) => ("other", Some(value.as_str()).filter(|_| self.reveal)),
                Found::Holds => ("holds", None),
                Found::Earlier => ("not asked", None),
                Found::Overruled { by, .. } => ("overruled", Some(&**by)),
            };
            json!({ "rule": &*miss.rule, "condition": miss.condition, "found": found, "value": value })
        });
        json!({
            "file": path.display().to_string(),
            "calling_ae": answer.calling_ae.as_str(),
            "outcome": word,
            "reason": reason,
            "deliveries": deliveries.collect::<Vec<_>>(),
            "rules": rules.iter().map(|rule| &**rule).collect::<Vec<_>>(),
            "misses": misses.collect::<Vec<_>>(),
        })
    }
}

/// What becomes of it, in one line.
fn sentence(Decision { outcome, rules }: &Decision) -> String {
    let by = match rules.as_slice() {
        [] => String::new(),
        rules => {
            let names: Vec<_> = rules.iter().map(|rule| rule_named(rule)).collect();
            format!(", by {}", names.join(" and "))
        }
    };
    match outcome {
        Outcome::Owed(owed) => {
            let sent: Vec<_> =
                owed.iter().filter(|o| o.hold.is_none()).map(|o| o.destination.as_str()).collect();
            let sent = (!sent.is_empty()).then(|| format!("sent to {}", sent.join(", ")));
            let held =
                owed.iter().filter_map(|o| Some(format!("held at {} ({})", o.destination, o.hold.as_ref()?)));
            let parts: Vec<_> = sent.into_iter().chain(held).collect();
            format!("{}{by}", parts.join(", "))
        }
        Outcome::Dropped { why } => format!("stored and given up: {why}"),
        Outcome::Refused => "refused: no route".to_owned(),
    }
}

/// A rule as a sentence names it: "route 3" by its place is not said twice.
fn rule_named(name: &str) -> String {
    if name.starts_with("route ") { name.to_owned() } else { format!("rule {name}") }
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}
