//! What Prometheus sees. Base units, labels from closed sets (configured names, outcomes, reasons), never a UID.

mod relay;
mod transcode;
mod tunnel;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrysalis_queue::{DestinationStats, NO_ROUTE, Stats};
use chrysalis_sizing::{Resource, Shortfall};
use prometheus::core::Collector as _;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::config::{Config, Destination, DestinationKind, ListenerKind};
use crate::forward::Health;
use crate::pauses::Pauses;
use crate::platform::Volume;
use crate::tls::{Certificates, HandshakeError, Role, Security};
use crate::tunnel::remote::Standing;
pub use relay::RelayMetrics;
pub use transcode::{Made, Monochrome, TranscodeMetrics};
pub use tunnel::{Meter, TunnelMetrics};

/// Bounds of the acknowledgement histogram, in seconds: from a warm cache to a stalled disk.
const ACKNOWLEDGE_SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Every metric of the program.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Instances answered with Success, by listener.
    pub received_instances: IntCounterVec,
    /// Their data set bytes, by listener.
    pub received_bytes: IntCounterVec,
    /// From the last byte of a data set to its answer, by listener.
    pub acknowledge: HistogramVec,
    /// Associations and instances not taken, by listener and reason.
    pub refusals: IntCounterVec,
    /// Associations open now, by listener.
    pub associations: IntGaugeVec,
    /// Associations since start, by listener.
    pub associations_total: IntCounterVec,
    /// Ends of attempts, by destination and outcome.
    pub deliveries: IntCounterVec,
    /// Payload bytes delivered, by destination.
    pub delivered_bytes: IntCounterVec,
    /// Instances put on the way, by destination.
    pub attempts: IntCounterVec,
    /// 1 for the state a destination is in, 0 for the others.
    pub health: IntGaugeVec,
    destination_paused: IntGaugeVec,
    listener_paused: IntGaugeVec,
    /// Reloads, by outcome.
    pub reloads: IntCounterVec,
    last_reload: Gauge,
    queued_instances: IntGaugeVec,
    queued_bytes: IntGaugeVec,
    held_instances: IntGaugeVec,
    held_bytes: IntGaugeVec,
    oldest_age: GaugeVec,
    spool_free: IntGauge,
    spool_room: IntGauge,
    spool_payloads: IntGauge,
    spool_payload_bytes: IntGauge,
    spool_retained_bytes: IntGauge,
    ballast: IntGauge,
    poisoned: IntGauge,
    volume_encrypted: IntGauge,
    profile_shortfall: GaugeVec,
    corrupt: IntGauge,
    index_rebuilds: IntCounter,
    /// Certificates that this node shows.
    pub certificates: Certificates,
    certificate_expiry: IntGaugeVec,
    destination_secured: IntGaugeVec,
    handshake_failures: IntCounterVec,
    /// Those about relays.
    pub relays: RelayMetrics,
    transcodes: transcode::Families,
    /// Sessions of links open now, by listener.
    pub tunnel_sessions: IntGaugeVec,
    /// Those about what goes through tunnels.
    pub tunnels: TunnelMetrics,
    /// 1 while the link's session is open, by destination.
    pub tunnel_connected: IntGaugeVec,
    /// Attempts of the link to open a session, by destination and outcome.
    pub tunnel_dials: IntCounterVec,
    /// What became of configurations from a gateway, by outcome.
    pub remote_configurations: IntCounterVec,
    /// 1 while one is on probation.
    pub remote_probation: IntGauge,
    site_configurations: IntGaugeVec,
}

/// A metric could not be made: its name or labels are wrong, or taken.
pub type MetricsError = prometheus::Error;

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        let made = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        let made = IntGauge::new(name, help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

impl Metrics {
    /// Makes and registers all of them; the label values that the configuration gives begin at zero.
    ///
    /// # Errors
    /// [`MetricsError`], which would be a mistake in this file.
    pub fn new(config: &Config) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let histogram = HistogramOpts::new(
            "chrysalis_acknowledge_seconds",
            "Time from the last byte of a data set to its C-STORE response.",
        );
        let acknowledge = HistogramVec::new(histogram.buckets(ACKNOWLEDGE_SECONDS.to_vec()), &["listener"])?;
        registry.register(Box::new(acknowledge.clone()))?;
        let oldest_age = GaugeVec::new(
            Opts::new(
                "chrysalis_oldest_undelivered_age_seconds",
                "Age of the oldest delivery that is not held; 0 when there is none.",
            ),
            &["destination"],
        )?;
        registry.register(Box::new(oldest_age.clone()))?;
        let profile_shortfall = GaugeVec::new(
            Opts::new(
                "chrysalis_profile_shortfall_ratio",
                "The part of the configured profile's machine that this host has not: 0 is nothing, 0.5 half of it.",
            ),
            &["resource"],
        )?;
        registry.register(Box::new(profile_shortfall.clone()))?;
        let index_rebuilds = IntCounter::new(
            "chrysalis_index_rebuilds_total",
            "How often the queue's index failed and was made anew from the journals.",
        )?;
        registry.register(Box::new(index_rebuilds.clone()))?;
        let started =
            Gauge::new("chrysalis_start_time_seconds", "When the process started, seconds since 1970.")?;
        registry.register(Box::new(started.clone()))?;
        started.set(seconds_since_1970());
        let last_reload = Gauge::new(
            "chrysalis_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was put in force, seconds since 1970.",
        )?;
        registry.register(Box::new(last_reload.clone()))?;
        last_reload.set(seconds_since_1970());
        make.gauges("chrysalis_build_info", "Always 1; the labels tell the build.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let metrics = Self {
            received_instances: make.counters(
                "chrysalis_received_instances_total",
                "Instances stored durably and answered with Success.",
                &["listener"],
            )?,
            received_bytes: make.counters(
                "chrysalis_received_bytes_total",
                "Data set bytes of instances answered with Success.",
                &["listener"],
            )?,
            acknowledge,
            refusals: make.counters(
                "chrysalis_refusals_total",
                "Connections, associations and instances that were not taken, by reason.",
                &["listener", "reason"],
            )?,
            associations: make.gauges(
                "chrysalis_associations",
                "Incoming associations open now.",
                &["listener"],
            )?,
            associations_total: make.counters(
                "chrysalis_associations_total",
                "Incoming associations accepted.",
                &["listener"],
            )?,
            deliveries: make.counters(
                "chrysalis_deliveries_total",
                "Attempts that ended, by outcome.",
                &["destination", "outcome"],
            )?,
            delivered_bytes: make.counters(
                "chrysalis_delivered_bytes_total",
                "Data set bytes delivered.",
                &["destination"],
            )?,
            attempts: make.counters(
                "chrysalis_delivery_attempts_total",
                "Instances put on the way.",
                &["destination"],
            )?,
            health: make.gauges(
                "chrysalis_destination_health",
                "1 for the state the destination is in (well, ill or paused), 0 for the others.",
                &["destination", "state"],
            )?,
            destination_paused: make.gauges(
                "chrysalis_destination_paused",
                "1 while somebody has paused the destination, or a calling AE title at it.",
                &["destination"],
            )?,
            listener_paused: make.gauges(
                "chrysalis_listener_paused",
                "1 while somebody has paused the listener.",
                &["listener"],
            )?,
            reloads: make.counters(
                "chrysalis_config_reloads_total",
                "Reloads of the configuration, by outcome.",
                &["outcome"],
            )?,
            last_reload,
            queued_instances: make.gauges(
                "chrysalis_queued_instances",
                "Deliveries to be sent, waiting or under way.",
                &["destination"],
            )?,
            queued_bytes: make.gauges(
                "chrysalis_queued_bytes",
                "Their data set bytes.",
                &["destination"],
            )?,
            held_instances: make.gauges(
                "chrysalis_held_instances",
                "Deliveries that wait for a person's decision.",
                &["destination"],
            )?,
            held_bytes: make.gauges("chrysalis_held_bytes", "Their data set bytes.", &["destination"])?,
            oldest_age,
            spool_free: make.gauge("chrysalis_spool_free_bytes", "Free bytes of the spool's file system.")?,
            spool_room: make.gauge(
                "chrysalis_spool_room_bytes",
                "Bytes that may be received before the high watermark, without evicting anything.",
            )?,
            spool_payloads: make.gauge("chrysalis_spool_instances", "Instances in the spool.")?,
            spool_payload_bytes: make.gauge("chrysalis_spool_bytes", "Data set bytes in the spool.")?,
            spool_retained_bytes: make.gauge(
                "chrysalis_spool_retained_bytes",
                "Data set bytes of which nothing is owed any more; evicted when room is needed.",
            )?,
            ballast: make.gauge(
                "chrysalis_spool_ballast_bytes",
                "Bytes kept for recording outcomes on a full disk; less than configured means that the disk was full.",
            )?,
            poisoned: make.gauge(
                "chrysalis_queue_poisoned",
                "1 after a failed sync: nothing is received until a restart.",
            )?,
            volume_encrypted: make.gauge(
                "chrysalis_spool_volume_encrypted",
                "1 where the volume below the spool is encrypted, 0 where it is not or nobody can tell.",
            )?,
            profile_shortfall,
            corrupt: make.gauge(
                "chrysalis_spool_corrupt_files",
                "Finished spool files that were damaged beyond recognition; they are left where they are.",
            )?,
            index_rebuilds,
            certificates: Certificates::default(),
            certificate_expiry: make.gauges(
                "chrysalis_certificate_expiry_seconds",
                "How long a certificate that this node shows is still valid; negative when it is not.",
                &["role", "name"],
            )?,
            destination_secured: make.gauges(
                "chrysalis_destination_secured",
                "1 for a destination that is reached by TLS and verified, 0 for an Unsecured one.",
                &["destination"],
            )?,
            handshake_failures: make.counters(
                "chrysalis_tls_handshake_failures_total",
                "TLS connections that did not come about, by reason.",
                &["role", "name", "reason"],
            )?,
            relays: RelayMetrics::new(&registry)?,
            tunnel_sessions: make.gauges(
                "chrysalis_tunnel_sessions",
                "Sessions of links that are open now.",
                &["listener"],
            )?,
            tunnels: TunnelMetrics::new(&registry)?,
            tunnel_connected: make.gauges(
                "chrysalis_tunnel_connected",
                "1 while the link to the gateway is up.",
                &["destination"],
            )?,
            tunnel_dials: make.counters(
                "chrysalis_tunnel_dials_total",
                "Attempts to open a session with the gateway, by outcome.",
                &["destination", "outcome"],
            )?,
            remote_configurations: make.counters(
                "chrysalis_remote_configurations_total",
                "What became of configurations that the gateway set, by outcome.",
                &["outcome"],
            )?,
            remote_probation: make.gauge(
                "chrysalis_remote_probation",
                "1 while a configuration from the gateway is on probation.",
            )?,
            site_configurations: make.gauges(
                "chrysalis_site_configurations",
                "Sites whose configuration this gateway holds, by what their links last said of it.",
                &["state"],
            )?,
            transcodes: transcode::Families::new(&registry)?,
            registry,
        };
        metrics.begin_at_zero(config);
        Ok(metrics)
    }

    /// What is known of the volume below the spool.
    pub fn set_volume(&self, volume: Volume) {
        self.volume_encrypted.set(i64::from(volume == Volume::Encrypted));
    }

    /// What this host has less of than the machine of its profile.
    pub fn set_shortfalls(&self, shortfalls: &[Shortfall]) {
        for resource in Resource::OF_HOST {
            let short = shortfalls.iter().find(|short| short.resource == resource);
            let share = short.map_or(0.0, Shortfall::share);
            self.profile_shortfall.with_label_values(&[resource.name()]).set(share);
        }
    }

    /// A series that exists from the start lets an alert see the first increase. What exists keeps its value.
    pub fn begin_at_zero(&self, config: &Config) {
        self.transcodes.begin_at_zero(config);
        self.relays.begin_at_zero(config);
        self.tunnels.begin_at_zero(config);
        for outcome in ["applied", "refused"] {
            self.reloads.with_label_values(&[outcome]);
        }
        if config.afar_gateway().is_some() {
            for outcome in ["probation", "applied", "refused", "gone-back"] {
                self.remote_configurations.with_label_values(&[outcome]);
            }
        }
        for listener in &config.listeners {
            let name = &[listener.name.as_str()];
            self.received_instances.with_label_values(name);
            self.received_bytes.with_label_values(name);
            self.associations.with_label_values(name);
            self.associations_total.with_label_values(name);
            self.listener_paused.with_label_values(name);
            if matches!(listener.kind, ListenerKind::Tunnel(_)) {
                self.tunnel_sessions.with_label_values(name);
            }
            let _: Histogram = self.acknowledge.with_label_values(name);
            if listener.tls.is_some() {
                self.no_handshake_failed(Role::Listener, listener.name.as_str());
            }
        }
        self.destination_secured.reset();
        for destination in &config.destinations {
            let name = destination.name.as_str();
            if let Some(security) = destination.security() {
                let is_secured = security == Security::Secured;
                self.destination_secured.with_label_values(&[name]).set(i64::from(is_secured));
            }
            if destination.has_tls() {
                self.no_handshake_failed(Role::Destination, name);
            }
            self.attempts.with_label_values(&[name]);
            self.delivered_bytes.with_label_values(&[name]);
            self.destination_paused.with_label_values(&[name]);
            if matches!(destination.kind, DestinationKind::Tunnel(_)) {
                self.tunnel_connected.with_label_values(&[name]);
            }
            for outcome in ["delivered", "warning", "held", "retry"] {
                self.deliveries.with_label_values(&[name, outcome]);
            }
            if self.health_is_unknown(name) {
                self.set_health(name, Health::Well);
            }
        }
    }

    /// How the configurations stand that this gateway holds for its sites.
    pub fn set_site_configurations<'a>(&self, standings: impl Iterator<Item = &'a Standing> + Clone) {
        for word in Standing::WORDS {
            let count = standings.clone().filter(|standing| standing.word() == word).count();
            self.site_configurations.with_label_values(&[word]).set(count as i64);
        }
    }

    fn health_is_unknown(&self, destination: &str) -> bool {
        let state = |health: Health| self.health.with_label_values(&[destination, health.name()]).get();
        [Health::Well, Health::Ill, Health::Paused].into_iter().all(|health| state(health) == 0)
    }

    /// Notes how long the certificates in force are still valid.
    pub async fn set_certificates(&self) {
        let left = self.certificates.seconds_left().await;
        self.certificate_expiry.reset();
        for (role, name, seconds) in left {
            self.certificate_expiry.with_label_values(&[role.word(), &name]).set(seconds);
        }
    }

    fn no_handshake_failed(&self, role: Role, name: &str) {
        for reason in HandshakeError::REASONS {
            self.handshake_failures.with_label_values(&[role.word(), name, reason]);
        }
    }

    /// Counts a handshake that failed.
    pub fn handshake_failed(&self, role: Role, name: &str, reason: &'static str) {
        self.handshake_failures.with_label_values(&[role.word(), name, reason]).inc();
    }

    /// A reload has been put in force now.
    pub fn reloaded(&self) {
        self.reloads.with_label_values(&["applied"]).inc();
        self.last_reload.set(seconds_since_1970());
    }

    /// Notes what is paused of what is configured.
    pub fn set_pauses(&self, pauses: &Pauses, config: &Config) {
        for destination in &config.destinations {
            let name = destination.name.as_str();
            let is_paused = pauses.destination(name).is_some() || !pauses.lanes(name).is_empty();
            self.destination_paused.with_label_values(&[name]).set(i64::from(is_paused));
        }
        for listener in &config.listeners {
            let name = listener.name.as_str();
            self.listener_paused.with_label_values(&[name]).set(i64::from(pauses.listener(name).is_some()));
        }
    }

    /// Gauges of what is not configured and has nothing in the queue say nothing. Counters stay until the end.
    fn forget_what_is_gone(&self, stats: &Stats, config: &Config) {
        for name in labels(&self.health, "destination") {
            if config.destination(&name).is_none() {
                let _ = self.destination_paused.remove_label_values(&[&name]);
                for state in [Health::Well, Health::Ill, Health::Paused] {
                    let _ = self.health.remove_label_values(&[name.as_str(), state.name()]);
                }
            }
        }
        for name in labels(&self.queued_instances, "destination") {
            let queued = stats.destinations.iter().find(|known| known.name == name);
            let is_empty = queued.is_none_or(|known| known.tally.owed == 0 && known.tally.held == 0);
            if is_empty && name != NO_ROUTE && config.destination(&name).is_none() {
                let name = &[name.as_str()];
                let _ = self.oldest_age.remove_label_values(name);
                for gauges in
                    [&self.queued_instances, &self.queued_bytes, &self.held_instances, &self.held_bytes]
                {
                    let _ = gauges.remove_label_values(name);
                }
            }
        }
        for name in labels(&self.listener_paused, "listener") {
            if !config.listeners.iter().any(|listener| listener.name.as_str() == name) {
                let _ = self.listener_paused.remove_label_values(&[&name]);
                if self.associations.with_label_values(&[&name]).get() == 0 {
                    let _ = self.associations.remove_label_values(&[&name]);
                }
            }
        }
    }

    /// Those about copies that are made for one destination.
    pub fn transcodes(&self, destination: &Destination) -> TranscodeMetrics {
        self.transcodes.of(destination)
    }

    /// Notes how many bytes of copies are in the cache.
    pub fn set_cache(&self, bytes: u64) {
        self.transcodes.cache_bytes.set(signed(bytes));
    }

    /// Notes the state a destination is in.
    pub fn set_health(&self, destination: &str, health: Health) {
        for state in [Health::Well, Health::Ill, Health::Paused] {
            self.health.with_label_values(&[destination, state.name()]).set(i64::from(state == health));
        }
    }

    /// Notes how the queue stands.
    pub fn set_queue(&self, stats: &Stats, config: &Config) {
        for destination in &stats.destinations {
            let DestinationStats { name, tally, oldest, .. } = as_listed(destination, config);
            let name = &[name.as_str()];
            self.queued_instances.with_label_values(name).set(signed(tally.owed));
            self.queued_bytes.with_label_values(name).set(signed(tally.owed_bytes));
            self.held_instances.with_label_values(name).set(signed(tally.held));
            self.held_bytes.with_label_values(name).set(signed(tally.held_bytes));
            let age = oldest.map_or(0.0, |since| age_seconds(since).as_secs_f64());
            self.oldest_age.with_label_values(name).set(age);
        }
        self.forget_what_is_gone(stats, config);
        self.spool_free.set(signed(stats.free));
        self.spool_room.set(signed(stats.room));
        self.spool_payloads.set(signed(stats.totals.payloads));
        self.spool_payload_bytes.set(signed(stats.totals.payload_bytes));
        self.spool_retained_bytes.set(signed(stats.totals.retained_bytes));
        self.ballast.set(signed(stats.ballast.0));
        self.poisoned.set(i64::from(stats.poisoned.is_some()));
        self.corrupt.set(signed(stats.corrupt_files));
        let known = self.index_rebuilds.get();
        self.index_rebuilds.inc_by(stats.index_rebuilds.saturating_sub(known));
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// [`MetricsError`], which would be a mistake in this file.
    pub fn render(&self) -> Result<String, MetricsError> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// How a destination's deliveries stand for people: what is owed to one that is not configured is held for as long as
/// that lasts, and nothing there is on its way.
pub fn as_listed(destination: &DestinationStats, config: &Config) -> DestinationStats {
    let mut listed = destination.clone();
    if config.destination(&listed.name).is_none() {
        let tally = &mut listed.tally;
        tally.held += std::mem::take(&mut tally.owed);
        tally.held_bytes += std::mem::take(&mut tally.owed_bytes);
        listed.oldest = None;
    }
    listed
}

/// How long ago a moment of the wall clock was; zero when it lies ahead.
pub fn age_seconds(since_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(since_ms))
}

/// The values that one label of these gauges has.
fn labels(gauges: &IntGaugeVec, label: &str) -> Vec<String> {
    let families = gauges.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let pairs = metrics.flat_map(|metric| metric.get_label()).filter(|pair| pair.name() == label);
    pairs.map(|pair| pair.value().to_owned()).collect()
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
