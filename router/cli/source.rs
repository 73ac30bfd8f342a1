//! Where the queue commands look: a running node's admin API, or, when the node is stopped, the spool itself.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use chrysalis_queue::{Filter, Hold, Instance, Observer, Options, Queue, Unavailable};
use serde_json::Value;

use super::admin_client::{AdminClient, Changed, ListQuery, Listing, PAGE};
use crate::admin;
use crate::app;
use crate::config::Config;

/// How long a running node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Where the queue is looked at.
pub(super) enum Source<'a> {
    Running(AdminClient),
    /// Opened here, as a start would open it, but without receiving or forwarding.
    Stopped {
        queue: Queue,
        config: &'a Config,
    },
}

impl<'a> Source<'a> {
    /// The running node of this configuration, else its spool.
    pub(super) fn find(config: &'a Config) -> anyhow::Result<Self> {
        let spool = config.node.data_dir.join("spool");
        if !spool.is_dir() || TcpStream::connect_timeout(&config.admin.address, CONNECT).is_ok() {
            return Ok(Self::Running(AdminClient::new(config)));
        }
        let options = Options { index_cache: None, ..app::queue_options(config) };
        let (queue, _) =
            Queue::open(&options, Quiet).context("the node is stopped, and its spool cannot be opened")?;
        Ok(Self::Stopped { queue, config })
    }

    pub(super) fn list(&self, query: &ListQuery, after: Option<&str>) -> anyhow::Result<Listing> {
        match self {
            Self::Running(client) => Ok(client.list(query, after)?),
            Self::Stopped { queue, config } => {
                let after = after.map(str::parse).transpose()?;
                let filter = Filter {
                    destination: query.destination.clone(),
                    after,
                    limit: PAGE,
                    ..Filter::default()
                };
                let page = queue.list(filter)?;
                let deliveries = admin::list_json(&page.rows, config);
                let mut deliveries: Vec<super::Delivery> = serde_json::from_value(Value::Array(deliveries))?;
                deliveries.retain(|delivery| query.state.is_none_or(|state| state == delivery.state));
                Ok(Listing { deliveries, next: page.next.map(|next| next.to_string()) })
            }
        }
    }

    pub(super) fn show(&self, instance: &str) -> anyhow::Result<Value> {
        match self {
            Self::Running(client) => Ok(client.show(instance)?),
            Self::Stopped { queue, config } => {
                let shown = queue.show(instance.parse()?)?;
                let shown = shown.with_context(|| format!("there is no instance {instance}"))?;
                Ok(admin::show_json(&shown, queue, config, None))
            }
        }
    }

    /// Decisions are a running node's: the spool of a stopped one is only looked at.
    pub(super) fn running(&self) -> anyhow::Result<&AdminClient> {
        match self {
            Self::Running(client) => Ok(client),
            Self::Stopped { .. } => bail!("the node is stopped; decisions need it running"),
        }
    }

    pub(super) fn change(
        &self,
        verb: &str,
        instances: &[String],
        destination: Option<&str>,
        reason: Option<&str>,
    ) -> anyhow::Result<Changed> {
        Ok(self.running()?.change(verb, instances, destination, reason)?)
    }

    pub(super) fn fsck(&self) -> anyhow::Result<Value> {
        match self {
            Self::Running(client) => Ok(client.fsck()?),
            Self::Stopped { queue, .. } => Ok(admin::fsck(queue)?),
        }
    }
}

/// Nobody forwards, so nobody needs to be told.
struct Quiet;

impl Observer for Quiet {
    fn ready(&self, _destination: &str) {}
    fn held(&self, _instance: &Instance, _destination: &str, _hold: &Hold) {}
    fn index_rebuilt(&self, _why: &str) {}
    fn recording_failed(&self, _why: &Unavailable) {}
}
