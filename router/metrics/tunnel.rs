//! What Prometheus sees of the tunnel's traffic.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Maker, MetricsError, signed};
use crate::config::{Config, DestinationKind, ListenerKind};
use crate::tls::Role;

/// What an upload can come to at the gateway.
const UPLOADS: [&str; 7] = ["stored", "had", "refused", "other_bytes", "broken", "silent", "malformed"];

/// Those about what goes through tunnels.
#[derive(Debug, Clone)]
pub struct TunnelMetrics {
    sent: IntCounterVec,
    received: IntCounterVec,
    uploads: IntCounterVec,
    resumes: IntCounterVec,
    resumed_bytes: IntCounterVec,
    partials: IntGauge,
    partial_bytes: IntGauge,
    site_connected: IntGaugeVec,
    site_configuration: IntGaugeVec,
}

/// Counts what goes over the sessions of one listener or destination.
#[derive(Debug, Clone)]
pub struct Meter {
    sent: IntCounter,
    received: IntCounter,
    counted: (u64, u64),
}

impl TunnelMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        let make = Maker(registry);
        Ok(Self {
            sent: make.counters(
                "chrysalis_tunnel_sent_bytes_total",
                "Bytes of streams that went out over sessions of the tunnel.",
                &["role", "name"],
            )?,
            received: make.counters(
                "chrysalis_tunnel_received_bytes_total",
                "Bytes of streams that came in over sessions of the tunnel.",
                &["role", "name"],
            )?,
            uploads: make.counters(
                "chrysalis_tunnel_uploads_total",
                "Instances that links offered, by what became of the offer.",
                &["listener", "outcome"],
            )?,
            resumes: make.counters(
                "chrysalis_tunnel_resumes_total",
                "Uploads that went on where an earlier connection had left them.",
                &["listener"],
            )?,
            resumed_bytes: make.counters(
                "chrysalis_tunnel_resumed_bytes_total",
                "Bytes that did not have to be sent again because of that.",
                &["listener"],
            )?,
            partials: make.gauge(
                "chrysalis_tunnel_partial_uploads",
                "Uploads that were cut and wait to be gone on with.",
            )?,
            partial_bytes: make.gauge("chrysalis_tunnel_partial_bytes", "Their bytes that are here.")?,
            site_connected: make.gauges(
                "chrysalis_site_connected",
                "Whether the link of a site that this gateway knows is connected.",
                &["site"],
            )?,
            site_configuration: make.gauges(
                "chrysalis_site_configuration",
                "1 for how the configuration stands that this gateway holds for a site.",
                &["site", "state"],
            )?,
        })
    }

    pub(super) fn begin_at_zero(&self, config: &Config) {
        for listener in &config.listeners {
            if matches!(listener.kind, ListenerKind::Tunnel(_)) {
                let name = listener.name.as_str();
                self.meter(Role::Listener, name);
                self.resumes.with_label_values(&[name]);
                self.resumed_bytes.with_label_values(&[name]);
                for outcome in UPLOADS {
                    self.uploads.with_label_values(&[name, outcome]);
                }
            }
        }
        for destination in &config.destinations {
            if matches!(destination.kind, DestinationKind::Tunnel(_)) {
                self.meter(Role::Destination, destination.name.as_str());
            }
        }
    }

    /// What counts one session: of a listener, where this is the gateway, or of a destination, where it is the link.
    pub fn meter(&self, role: Role, name: &str) -> Meter {
        let labels = &[role.word(), name];
        let (sent, received) = (self.sent.with_label_values(labels), self.received.with_label_values(labels));
        Meter { sent, received, counted: (0, 0) }
    }

    /// An offer came to this.
    pub fn uploaded(&self, listener: &str, outcome: &'static str) {
        self.uploads.with_label_values(&[listener, outcome]).inc();
    }

    /// An upload goes on where an earlier connection had left it.
    pub fn resumed(&self, listener: &str, bytes: u64) {
        self.resumes.with_label_values(&[listener]).inc();
        self.resumed_bytes.with_label_values(&[listener]).inc_by(bytes);
    }

    /// The sites that this gateway knows, and no others: whether each is connected, and how its configuration stands.
    pub fn set_sites<'a>(&self, sites: impl Iterator<Item = (&'a str, bool, Option<&'static str>)>) {
        self.site_connected.reset();
        self.site_configuration.reset();
        for (site, is_connected, state) in sites {
            self.site_connected.with_label_values(&[site]).set(i64::from(is_connected));
            if let Some(state) = state {
                self.site_configuration.with_label_values(&[site, state]).set(1);
            }
        }
    }

    /// So many wait to be gone on with, of so many bytes.
    pub fn set_partials(&self, count: usize, bytes: u64) {
        self.partials.set(signed(count as u64));
        self.partial_bytes.set(signed(bytes));
    }
}

impl Meter {
    /// So many bytes have gone out and come in since the session began.
    pub fn count(&mut self, traffic: (u64, u64)) {
        let (sent, received) = std::mem::replace(&mut self.counted, traffic);
        if traffic != (sent, received) {
            self.sent.inc_by(traffic.0.saturating_sub(sent));
            self.received.inc_by(traffic.1.saturating_sub(received));
        }
    }
}
