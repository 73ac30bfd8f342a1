//! What Prometheus sees of relays.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::{Maker, MetricsError};
use crate::config::Config;

/// Those about relays.
#[derive(Debug, Clone)]
pub struct RelayMetrics {
    open: IntGaugeVec,
    connections: IntCounterVec,
    bytes: IntCounterVec,
    refusals: IntCounterVec,
}

impl RelayMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let make = Maker(registry);
        Ok(Self {
            open: make.gauges("chrysalis_relay_connections", "Relayed connections open now.", &["relay"])?,
            connections: make.counters(
                "chrysalis_relay_connections_total",
                "Connections that were relayed.",
                &["relay"],
            )?,
            bytes: make.counters(
                "chrysalis_relay_bytes_total",
                "Bytes relayed: in, from callers to the service, and out.",
                &["relay", "direction"],
            )?,
            refusals: make.counters(
                "chrysalis_relay_refusals_total",
                "Connections that were not relayed, or broke, by reason.",
                &["relay", "reason"],
            )?,
        })
    }

    pub(super) fn begin_at_zero(&self, config: &Config) {
        for relay in &config.relays {
            let name = relay.name.as_str();
            self.open.with_label_values(&[name]);
            self.connections.with_label_values(&[name]);
            for direction in ["in", "out"] {
                self.bytes.with_label_values(&[name, direction]);
            }
        }
    }

    /// A connection is relayed from now on.
    pub fn begin(&self, relay: &str) {
        self.connections.with_label_values(&[relay]).inc();
        self.open.with_label_values(&[relay]).inc();
    }

    /// One is not any more.
    pub fn end(&self, relay: &str) {
        self.open.with_label_values(&[relay]).dec();
    }

    /// Relayed connections open now.
    pub fn open(&self, relay: &str) -> i64 {
        self.open.with_label_values(&[relay]).get()
    }

    /// Bytes of one direction: `in` or `out`.
    pub fn bytes(&self, relay: &str, direction: &str) -> IntCounter {
        self.bytes.with_label_values(&[relay, direction])
    }

    /// Counts a connection that was not relayed, or broke.
    pub fn refused(&self, relay: &str, reason: &str) {
        self.refusals.with_label_values(&[relay, reason]).inc();
    }
}
