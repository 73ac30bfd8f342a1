//! Sites and links over HTTP: how they are, for the status, and what is asked of a site's link.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{AdminState, Refused, ask};
use crate::config::{Config, DestinationKind};
use crate::metrics::Metrics;
use crate::tunnel::echo::EchoError;
use crate::tunnel::remote::Standing;
use crate::tunnel::sites::SitesError;
use crate::tunnel::{Gateway, SiteName};

pub(super) fn router() -> Router<AdminState> {
    Router::new().route("/api/sites/{site}/echo", post(echo))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EchoOrder {
    endpoint: String,
    #[serde(default = "ten_seconds")]
    step_milliseconds: u64,
}

fn ten_seconds() -> u64 {
    10_000
}

impl From<EchoError> for Refused {
    fn from(error: EchoError) -> Self {
        let status = match &error {
            EchoError::NotConnected | EchoError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            EchoError::NoEndpoint { .. } => StatusCode::NOT_FOUND,
            EchoError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            EchoError::Broken | EchoError::Unsupported | EchoError::Untrue(_) => StatusCode::BAD_GATEWAY,
        };
        Self(status, error.to_string())
    }
}

async fn echo(
    State(state): State<AdminState>,
    Path(site): Path<String>,
    Json(order): Json<EchoOrder>,
) -> Result<Json<Value>, Refused> {
    let sites = state.gateway.sites().clone();
    let known = ask(move || sites.list()).await?;
    let known = known.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let name = site.parse::<SiteName>().map_err(|error| Refused(StatusCode::NOT_FOUND, error.to_string()))?;
    if !known.contains_key(&name) {
        return Err(Refused(StatusCode::NOT_FOUND, SitesError::unknown(&name, &known).to_string()));
    }
    let step = Duration::from_millis(order.step_milliseconds);
    let report = state.gateway.echo(&site, &order.endpoint, step).await?;
    Ok(Json(json!({ "report": report })))
}

/// Every site that this gateway knows, and every one whose link is connected, by name; and why the list cannot be read. Reads
/// small files.
pub(super) fn known(gateway: &Gateway) -> (Vec<Value>, Option<String>) {
    let (known, error) = match gateway.sites().list() {
        Ok(known) => (known, None),
        Err(error) => (BTreeMap::new(), Some(error.to_string())),
    };
    let sessions: BTreeMap<_, _> = gateway.sessions().into_iter().map(|of| (of.site.clone(), of)).collect();
    let partials = gateway.partials();
    let names: BTreeSet<_> = known.keys().map(ToString::to_string).chain(sessions.keys().cloned()).collect();
    let site = |name: String| {
        let session = sessions.get(&name);
        let standing = name.parse().map(|name| gateway.holdings().standing(&name));
        let (standing, unreadable) = match standing {
            Ok(Ok(standing)) => (standing, None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(_) => (None, None),
        };
        let partial = partials.get(&name).copied().unwrap_or_default();
        json!({
            "site": name,
            "connected": session.is_some(),
            "peer": session.map(|of| of.peer),
            "software": session.map(|of| &of.software),
            "since": session.map(|of| moment(of.since)),
            "configuration": standing.as_ref().map(configuration),
            "configuration_error": unreadable,
            "partial_uploads": partial.count,
            "partial_bytes": partial.bytes,
        })
    };
    (names.into_iter().map(site).collect(), error)
}

/// How the sites are that this gateway knows, for the metrics. A list that cannot be read leaves its last figures standing.
pub(super) fn measure(gateway: &Gateway, metrics: &Metrics) {
    let Ok(known) = gateway.sites().list() else { return };
    let sessions: BTreeSet<_> = gateway.sessions().into_iter().map(|of| of.site).collect();
    let standing = |name: &SiteName| gateway.holdings().standing(name).ok().flatten();
    let standings: BTreeMap<_, _> = known.keys().map(|name| (name, standing(name))).collect();
    metrics.set_site_configurations(standings.values().flatten());
    metrics.tunnels.set_sites(standings.iter().map(|(name, standing)| {
        (name.as_str(), sessions.contains(name.as_str()), standing.as_ref().map(Standing::word))
    }));
}

fn configuration(standing: &Standing) -> Value {
    json!({
        "revision": standing.held.overlay.revision,
        "state": standing.word(),
        "reasons": standing.reasons(),
    })
}

/// The links that this node has to gateways.
pub(super) fn links(config: &Config, state: &AdminState) -> Vec<Value> {
    let links = config.destinations.iter().filter_map(|destination| {
        let DestinationKind::Tunnel(tunnel) = &destination.kind else { return None };
        let name = destination.name.as_str();
        let seen = state.control.link(name).map(|link| link.seen()).unwrap_or_default();
        let error = seen.last_error.map(|(at, error)| json!({ "at": moment(at), "error": error }));
        let takes = tunnel.remote_configuration;
        Some(json!({
            "destination": name,
            "gateway": tunnel.url.to_string(),
            "site": tunnel.site.as_str(),
            "connected": seen.open_since.is_some(),
            "since": seen.open_since.or(seen.closed_since).map(moment),
            "software": seen.software,
            "last_error": error,
            "configuration": state.remote.seen().in_force.filter(|_| takes),
        }))
    });
    links.collect()
}

fn moment(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
