//! Where the queue commands look: a running node's admin API, or, when the node is stopped, the spool itself.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use chrysalis_queue::{Options, Queue};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::admin_client::{AdminClient, Listing, Studies};
use crate::admin::{self, Asked, Export, Filter, Headers, LedgerQuery, Reveal, Scope, Told};
use crate::app;
use crate::config::Config;
use crate::platform;

/// How long a running node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Where the queue is looked at.
pub(super) enum Source<'a> {
    Running(AdminClient),
    Stopped(Box<Spool<'a>>),
}

/// A spool that was opened here, as a start would open it, but without receiving or forwarding.
pub(super) struct Spool<'a> {
    queue: Queue,
    config: &'a Config,
    headers: Headers,
    stop: CancellationToken,
}

impl Spool<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope {
            queue: &self.queue,
            config: self.config,
            board: None,
            headers: &self.headers,
            stop: &self.stop,
        }
    }
}

impl<'a> Source<'a> {
    /// The running node of this configuration, else its spool.
    pub(super) fn find(config: &'a Config) -> anyhow::Result<Self> {
        let spool = config.node.data_dir.join("spool");
        if !spool.is_dir() || TcpStream::connect_timeout(&config.admin.address, CONNECT).is_ok() {
            return Ok(Self::Running(AdminClient::new(config)));
        }
        let options = Options { index_cache: None, ..app::queue_options(config) };
        // What opening writes is the service's, whoever looks.
        let opened = platform::as_owner_of(&config.node.data_dir, || Queue::open(&options, ()));
        let (queue, _) = opened?.context("the node is stopped, and its spool cannot be opened")?;
        let (headers, stop) = (Headers::default(), CancellationToken::new());
        Ok(Self::Stopped(Box::new(Spool { queue, config, headers, stop })))
    }

    /// A page of deliveries.
    pub(super) fn page(
        &self,
        asked: &Asked,
        after: Option<&str>,
        limit: usize,
        reveal: bool,
    ) -> anyhow::Result<Listing> {
        match self {
            Self::Running(client) => Ok(client.search(asked, after, limit, reveal)?),
            Self::Stopped(spool) => {
                let after = after.map(str::parse).transpose()?;
                let filter = Filter::read(asked)?;
                let found = admin::deliveries(&spool.scope(), &filter, after, limit, revealed(reveal))?;
                Ok(serde_json::from_value(found)?)
            }
        }
    }

    /// Studies with their destinations.
    pub(super) fn studies(&self, asked: &Asked, limit: usize, reveal: bool) -> anyhow::Result<Studies> {
        match self {
            Self::Running(client) => Ok(client.studies(asked, limit, reveal)?),
            Self::Stopped(spool) => {
                let filter = Filter::read(asked)?;
                let found = admin::studies(&spool.scope(), &filter, limit, revealed(reveal))?;
                Ok(serde_json::from_value(found)?)
            }
        }
    }

    pub(super) fn show(&self, instance: &str) -> anyhow::Result<Value> {
        match self {
            Self::Running(client) => Ok(client.show(instance)?),
            Self::Stopped(spool) => {
                let shown = spool.queue.show(instance.parse()?)?;
                let shown = shown.with_context(|| format!("there is no instance {instance}"))?;
                let (queue, subject) = (&spool.queue, admin::subject(&spool.queue, &shown));
                Ok(admin::show_json(&shown, subject.as_ref(), queue, spool.config, None, Reveal::Patient))
            }
        }
    }

    /// Writes an instance's file, all of it compared with what was received.
    pub(super) fn copy(&self, instance: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Running(client) => Ok(client.copy(instance, out)?),
            Self::Stopped(spool) => {
                let shown = spool.queue.show(instance.parse()?)?;
                let shown = shown.with_context(|| format!("there is no instance {instance}"))?;
                Ok(Export::open(&spool.queue, &shown.instance)?.write(out)?)
            }
        }
    }

    /// Writes the ledger.
    pub(super) fn ledger(&self, query: &LedgerQuery, out: &mut dyn Write) -> anyhow::Result<Told> {
        match self {
            Self::Running(client) => Ok(client.ledger(query, out)?),
            Self::Stopped(spool) => {
                let span = query.read(&spool.queue, spool.config)?;
                Ok(query.tell(&spool.queue, span, out)?)
            }
        }
    }

    /// Decisions are a running node's: the spool of a stopped one is only looked at.
    pub(super) fn running(&self) -> anyhow::Result<&AdminClient> {
        match self {
            Self::Running(client) => Ok(client),
            Self::Stopped(_) => bail!("the node is stopped; decisions need it running"),
        }
    }

    pub(super) fn fsck(&self) -> anyhow::Result<Value> {
        match self {
            Self::Running(client) => Ok(client.fsck()?),
            Self::Stopped(spool) => Ok(admin::fsck(&spool.queue)?),
        }
    }
}

fn revealed(reveal: bool) -> Reveal {
    if reveal { Reveal::Patient } else { Reveal::Nothing }
}
