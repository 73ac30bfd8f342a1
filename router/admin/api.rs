//! What can be asked and told over HTTP. `docs/OPERATIONS.md` lists the paths.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrysalis_queue::{Admission, Queue, Unavailable};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;

use super::headers::Headers;
use super::search::{Scope, SearchError};
use super::token::Token;
use super::{control, decisions, guard, queries, sites};
use crate::config::{Config, Live};
use crate::control::Control;
use crate::forward::Board;
use crate::metrics::{Metrics, age_seconds, as_listed};
use crate::tls::{Authentication, Security};
use crate::transcode::Engine;
use crate::tunnel::Gateway;
use crate::tunnel::remote::{Remote, Seen};

/// What the API works on.
#[derive(Clone)]
pub struct AdminState {
    /// The queue.
    pub queue: Queue,
    /// What Prometheus sees.
    pub metrics: Metrics,
    /// How the destinations are.
    pub board: Board,
    /// The configuration in force.
    pub live: Live,
    /// What is changed while the node runs.
    pub control: Control,
    /// The right to change something.
    pub token: Token,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The program is stopping.
    pub drain: CancellationToken,
    /// Who reads what the data sets say of patients.
    pub headers: Headers,
    /// What makes copies.
    pub engine: Engine,
    /// The sessions of links.
    pub gateway: Gateway,
    /// What the gateway has set.
    pub remote: Remote,
}

impl AdminState {
    /// What a request searches.
    pub(super) fn scope<'a>(&'a self, config: &'a Config, stop: &'a CancellationToken) -> Scope<'a> {
        Scope { queue: &self.queue, config, board: Some(&self.board), headers: &self.headers, stop }
    }
}

/// An answer that is not what was asked for.
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

impl Refused {
    pub(super) fn bad(why: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<SearchError> for Refused {
    fn from(error: SearchError) -> Self {
        let status = match &error {
            SearchError::Unavailable(_) | SearchError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            SearchError::Filter(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

pub(super) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { Json(json!({ "status": "live" })) }))
        .route("/health/ready", get(ready))
        .route("/api/status", get(status))
        .merge(queries::router(&state))
        .merge(decisions::router())
        .merge(control::router())
        .merge(sites::router())
        .fallback(|| async { Refused(StatusCode::NOT_FOUND, "there is no such path".to_owned()) })
        .layer(DefaultBodyLimit::max(guard::MAX_BODY))
        .layer(from_fn_with_state(state.clone(), guard_request))
        .with_state(state)
}

async fn guard_request(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let Some(peer) = peer else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    match guard::check(request.method(), request.headers(), state.address, peer, &state.token) {
        Ok(()) => next.run(request).await,
        Err(denied) => Refused(denied.status(), denied.to_string()).into_response(),
    }
}

/// Patient data is for those with the token, on this machine too.
pub(super) async fn guard_patients(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    match guard::check_token(request.headers(), &state.token) {
        Ok(()) => next.run(request).await,
        Err(denied) => Refused(denied.status(), denied.to_string()).into_response(),
    }
}

/// Runs something that asks the queue, which answers on its own thread.
pub(super) async fn ask<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let asked = tokio::task::spawn_blocking(run).await;
    asked.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The same for what takes long: `stop` is cancelled when whoever asked hangs up.
pub(super) async fn ask_while_wanted<T: Send + 'static>(
    run: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, Refused> {
    let stop = CancellationToken::new();
    let _hangs_up = stop.clone().drop_guard();
    ask(move || run(&stop)).await
}

async fn metrics(State(state): State<AdminState>) -> Result<Response, Refused> {
    let queue = state.queue.clone();
    // A queue that cannot answer leaves its last figures standing; the poison gauge is set from elsewhere.
    if let Ok(stats) = ask(move || queue.stats()).await? {
        state.metrics.set_queue(&stats, &state.live.now());
    }
    state.metrics.set_certificates().await;
    state.metrics.set_cache(state.engine.cache_usage().0);
    state.metrics.set_pauses(state.control.pauses(), &state.live.now());
    let (metrics, gateway) = (state.metrics.clone(), state.gateway.clone());
    ask(move || sites::measure(&gateway, &metrics)).await?;
    let partials = state.gateway.partials();
    let (count, bytes) =
        partials.values().fold((0, 0), |(count, bytes), of| (count + of.count, bytes + of.bytes));
    state.metrics.tunnels.set_partials(count, bytes);
    let text = state.metrics.render();
    let text = text.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

async fn ready(State(state): State<AdminState>) -> Response {
    let queue = state.queue.clone();
    let why = if state.drain.is_cancelled() {
        Some("stopping".to_owned())
    } else {
        match ask(move || queue.admission()).await {
            Ok(Admission::Open) if is_closed(&state) => Some("every listener is paused".to_owned()),
            Ok(Admission::Open) => None,
            Ok(Admission::Full) => Some("the spool is full".to_owned()),
            Ok(Admission::Poisoned(why)) => Some(format!("queue poisoned: {why}")),
            Err(Refused(_, why)) => Some(why),
        }
    };
    match why {
        None => Json(json!({ "status": "ready" })).into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "reason": why })))
            .into_response(),
    }
}

/// Whether somebody has paused every listener.
fn is_closed(state: &AdminState) -> bool {
    let (config, pauses) = (state.live.now(), state.control.pauses());
    config.listeners.iter().all(|listener| pauses.listener(listener.name.as_str()).is_some())
}

async fn status(State(state): State<AdminState>) -> Result<Json<Value>, Refused> {
    let (config, queue, pauses) = (state.live.now(), state.queue.clone(), state.control.pauses());
    // Asked before the queue: what an association that is not open any more has brought is in the queue.
    let associations = |name: &str| state.metrics.associations.with_label_values(&[name]).get();
    let listeners = control::listeners(&config, pauses, associations);
    let stats = ask(move || queue.stats()).await??;
    let (gateway, remote_seen) = (state.gateway.clone(), state.remote.seen());
    let ((sites, sites_error), links) =
        (ask(move || sites::known(&gateway)).await?, sites::links(&config, &state));
    let (notices, now) = (state.board.notices(), OffsetDateTime::now_utc());
    // First those that are configured, then those that are owed something all the same.
    let configured = config.destinations.iter().map(|destination| destination.name.as_str());
    let strangers = stats.destinations.iter().map(|known| known.name.as_str());
    let strangers = strangers.filter(|name| config.destination(name).is_none());
    let destinations = configured.chain(strangers).map(|name| {
        let known = stats.destinations.iter().find(|known| known.name == name);
        let known = known.map(|known| as_listed(known, &config));
        let tally = known.as_ref().map(|known| known.tally).unwrap_or_default();
        let lanes = notices.iter().filter(|((destination, _), _)| destination == name);
        let lanes = lanes.map(|((_, lane), notice)| {
            let until = notice.until.filter(|until| *until > now).and_then(|until| until.format(&Rfc3339).ok());
            json!({ "calling_ae": lane, "health": notice.health.name(), "reason": notice.why, "left_alone_until": until })
        });
        json!({
            "destination": name,
            "configured": config.destination(name).is_some(),
            "security": config.destination(name).and_then(|known| known.security()).map(Security::word),
            "authentication": config.destination(name).and_then(|known| known.authentication()).map(Authentication::word),
            "health": state.board.health(name).name(),
            "paused": pauses.destination(name),
            "paused_lanes": control::paused_lanes(name, pauses),
            "lanes": lanes.collect::<Vec<_>>(),
            "queued": tally.owed,
            "queued_bytes": tally.owed_bytes,
            "held": tally.held,
            "held_bytes": tally.held_bytes,
            "oldest_age_seconds": known.and_then(|known| known.oldest).map(|since| age_seconds(since).as_secs()),
        })
    });
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": config.revision,
        "remote_configuration": config.afar_gateway().map(|(name, _)| remote(name.as_str(), &remote_seen)),
        "poisoned": stats.poisoned,
        "listeners": listeners,
        "relays": control::relays(&config, |name| state.metrics.relays.open(name)),
        "sites": sites,
        "sites_error": sites_error,
        "links": links,
        "destinations": destinations.collect::<Vec<_>>(),
        "spool": {
            "instances": stats.totals.payloads,
            "bytes": stats.totals.payload_bytes,
            "retained_bytes": stats.totals.retained_bytes,
            "free_bytes": stats.free,
            "room_bytes": stats.room,
            "corrupt_files": stats.corrupt_files,
        },
    })))
}

/// What the gateway has set, for the status.
fn remote(gateway: &str, seen: &Seen) -> Value {
    let Seen { kept, in_force } = seen;
    let revision = |overlay: &crate::config::Overlay| overlay.revision.clone();
    json!({
        "gateway": gateway,
        "in_force": in_force,
        "good": kept.good.as_ref().map(revision),
        "probation": kept.candidate.as_ref().map(|candidate| revision(&candidate.overlay)),
        "last": kept.last,
    })
}
