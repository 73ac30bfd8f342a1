//! What changes a running node over HTTP: reload, pause and resume, drain, stop.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{AdminState, Refused, ask};
use crate::audit::Actor;
use crate::config::Config;
use crate::control::{PauseRefused, ReloadError, Resumed};
use crate::pauses::{Pause, Paused, Pauses, Subject};

pub(super) fn router() -> Router<AdminState> {
    Router::new()
        .route("/api/reload", post(reload))
        .route(
            "/api/destinations/{name}/pause",
            post(|state, name, peer, order| pause(destination, state, name, peer, order)),
        )
        .route(
            "/api/destinations/{name}/resume",
            post(|state, name, peer, order| resume(destination, state, name, peer, order)),
        )
        .route(
            "/api/listeners/{name}/pause",
            post(|state, name, peer, order| pause(listener, state, name, peer, order)),
        )
        .route(
            "/api/listeners/{name}/resume",
            post(|state, name, peer, order| resume(listener, state, name, peer, order)),
        )
        .route("/api/resume", post(resume_all))
        .route("/api/drain", post(drain))
        .route("/api/stop", post(stop))
}

/// Who asks: what the body says, and where the request came from.
type Peer = Extension<ConnectInfo<SocketAddr>>;

fn actor(who: Option<&str>, peer: &Peer) -> Actor {
    Actor::new(who, peer.0.0)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReloadOrder {
    dry_run: bool,
    text: Option<String>,
    who: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    calling_ae: Option<String>,
    reason: String,
    who: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResumeOrder {
    drained: bool,
    who: Option<String>,
}

impl From<PauseRefused> for Refused {
    fn from(error: PauseRefused) -> Self {
        let status = match &error {
            PauseRefused::Unknown { .. } => StatusCode::NOT_FOUND,
            PauseRefused::NoLanes(_) | PauseRefused::Title(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PauseRefused::Pauses(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for ReloadError {
    fn into_response(self) -> Response {
        let error = self.to_string();
        match self {
            Self::Mistakes(mistakes) => {
                let body = json!({ "applied": false, "error": error, "problems": mistakes });
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            Self::Queue(_) | Self::Stopping => {
                Refused(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
            }
        }
    }
}

async fn reload(
    State(state): State<AdminState>,
    peer: Peer,
    order: Option<Json<ReloadOrder>>,
) -> Result<Json<Value>, Response> {
    let Json(order) = order.unwrap_or_default();
    if order.text.is_some() && !order.dry_run {
        let why = "a text can be tried only: put it into the file and reload that";
        return Err(Refused(StatusCode::BAD_REQUEST, why.to_owned()).into_response());
    }
    let report = if order.dry_run {
        state.control.rehearse(order.text).await
    } else {
        // In a task of its own: a caller that hangs up does not end it half way.
        let (control, by) = (state.control.clone(), actor(order.who.as_deref(), &peer));
        let reloaded = tokio::spawn(async move { control.reload(&by).await }).await;
        let broke = |error: tokio::task::JoinError| {
            Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        };
        reloaded.map_err(broke)?
    };
    match report {
        Ok(report) => Ok(Json(json!(report))),
        Err(error) => Err(error.into_response()),
    }
}

async fn resume_all(
    State(state): State<AdminState>,
    peer: Peer,
    order: Option<Json<ResumeOrder>>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = order.unwrap_or_default();
    let by = actor(order.who.as_deref(), &peer);
    let lift = move || match order.drained {
        true => state.control.resume_drained(&by),
        false => state.control.resume_all(&by),
    };
    let lifted = ask(lift).await??;
    Ok(Json(json!({ "resumed": names(&lifted) })))
}

async fn drain(
    State(state): State<AdminState>,
    peer: Peer,
    order: Option<Json<Order>>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = order.unwrap_or_default();
    let by = actor(order.who.as_deref(), &peer);
    let reason = if order.reason.is_empty() { "drain".to_owned() } else { order.reason };
    let paused = ask(move || state.control.drain(&reason, &by)).await??;
    Ok(Json(json!({ "paused": names(&paused) })))
}

async fn stop(
    State(state): State<AdminState>,
    peer: Peer,
    order: Option<Json<Order>>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = order.unwrap_or_default();
    let by = actor(order.who.as_deref(), &peer);
    ask(move || state.control.stop(&by)).await?;
    Ok(Json(json!({ "stopping": true })))
}

/// What an order with this name is about.
type About = fn(String, &Order) -> Result<Subject, Refused>;

fn destination(name: String, order: &Order) -> Result<Subject, Refused> {
    Ok(match &order.calling_ae {
        Some(calling_ae) => Subject::Lane { destination: name, calling_ae: calling_ae.clone() },
        None => Subject::Destination(name),
    })
}

fn listener(name: String, order: &Order) -> Result<Subject, Refused> {
    if order.calling_ae.is_some() {
        let why = "a listener is paused as a whole; calling_ae is for destinations";
        return Err(Refused(StatusCode::BAD_REQUEST, why.to_owned()));
    }
    Ok(Subject::Listener(name))
}

async fn pause(
    about: About,
    State(state): State<AdminState>,
    Path(name): Path<String>,
    peer: Peer,
    order: Option<Json<Order>>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = order.unwrap_or_default();
    let (subject, by) = (about(name, &order)?, actor(order.who.as_deref(), &peer));
    let met = ask(move || state.control.pause(&subject, &order.reason, &by)).await??;
    let (changed, instead_of) = match met {
        Paused::New => (true, None),
        Paused::Instead(old) => (true, Some(old)),
        Paused::Already => (false, None),
    };
    Ok(Json(json!({ "paused": true, "changed": changed, "instead_of": instead_of })))
}

async fn resume(
    about: About,
    State(state): State<AdminState>,
    Path(name): Path<String>,
    peer: Peer,
    order: Option<Json<Order>>,
) -> Result<Json<Value>, Refused> {
    let Json(order) = order.unwrap_or_default();
    let (subject, by) = (about(name, &order)?, actor(order.who.as_deref(), &peer));
    let resumed = ask(move || state.control.resume(&subject, &by)).await??;
    let (changed, tried) = (resumed == Resumed::Lifted, resumed == Resumed::Tried);
    Ok(Json(json!({ "paused": false, "changed": changed, "tried": tried })))
}

fn names(subjects: &[Subject]) -> Vec<String> {
    subjects.iter().map(ToString::to_string).collect()
}

/// The listeners of a configuration, for the status. `associations` says how many one has open.
pub(super) fn listeners(config: &Config, pauses: &Pauses, associations: impl Fn(&str) -> i64) -> Vec<Value> {
    let listeners = config.listeners.iter().map(|listener| {
        let name = listener.name.as_str();
        json!({
            "listener": name,
            "address": listener.address.to_string(),
            "security": listener.security().word(),
            "paused": pauses.listener(name),
            "associations": associations(name),
        })
    });
    listeners.collect()
}

/// The relays of a configuration, for the status. `open` says how many connections one has.
pub(super) fn relays(config: &Config, open: impl Fn(&str) -> i64) -> Vec<Value> {
    let relays = config.relays.iter().map(|relay| {
        json!({
            "relay": relay.name.as_str(),
            "listen": relay.listen.to_string(),
            "is_tls": relay.tls.is_some(),
            "connect": relay.connect.to_string(),
            "security": relay.security().word(),
            "connections": open(relay.name.as_str()),
        })
    });
    relays.collect()
}

/// The titles that are paused at a destination, for the status.
pub(super) fn paused_lanes(destination: &str, pauses: &Pauses) -> Vec<Value> {
    let lane = |(calling_ae, pause): (String, Pause)| json!({ "calling_ae": calling_ae, "paused": pause });
    pauses.lanes(destination).into_iter().map(lane).collect()
}
