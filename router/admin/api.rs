//! What can be asked and told over HTTP. `docs/OPERATIONS.md` lists the paths.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrysalis_queue::{Action, Admission, Filter, NO_ROUTE, Queue, Row, Sequence, Unavailable};
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard;
use super::token::Token;
use super::view::{DeliveryView, show_json};
use crate::config::Live;
use crate::forward::Board;
use crate::metrics::{Metrics, age_seconds};
use crate::receive::Arrival;
use crate::route::{Facts, Routes};

/// Deliveries on a page when nothing is said, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Instances that one command may name.
const MAX_TARGETS: usize = 10_000;
/// Instances whose content a check reads before it asks for the next ones.
const FSCK_PAGE: usize = 500;

/// The states that a delivery is shown in.
const STATES: [&str; 7] = ["ready", "waiting", "leased", "held", "delivered", "superseded", "discarded"];

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
    /// The right to change something.
    pub token: Token,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The program is stopping.
    pub drain: tokio_util::sync::CancellationToken,
}

/// An answer that is not what was asked for.
struct Refused(StatusCode, String);

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

pub(super) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { Json(json!({ "status": "live" })) }))
        .route("/health/ready", get(ready))
        .route("/api/status", get(status))
        .route("/api/queue", get(list))
        .route("/api/queue/fsck", post(check_all))
        .route("/api/queue/retry", post(retry))
        .route("/api/queue/release", post(release))
        .route("/api/queue/hold", post(hold))
        .route("/api/queue/discard", post(discard))
        .route("/api/queue/{instance}", get(show))
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

/// Runs something that asks the queue, which answers on its own thread.
async fn ask<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let asked = tokio::task::spawn_blocking(run).await;
    asked.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn metrics(State(state): State<AdminState>) -> Result<Response, Refused> {
    let queue = state.queue.clone();
    // A queue that cannot answer leaves its last figures standing; the poison gauge is set from elsewhere.
    if let Ok(stats) = ask(move || queue.stats()).await? {
        state.metrics.set_queue(&stats, &state.live.now());
    }
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

async fn status(State(state): State<AdminState>) -> Result<Json<Value>, Refused> {
    let queue = state.queue.clone();
    let stats = ask(move || queue.stats()).await??;
    let (config, notices) = (state.live.now(), state.board.notices());
    let destinations = stats.destinations.iter().map(|destination| {
        let lanes = notices.iter().filter(|((name, _), _)| *name == destination.name);
        let lanes = lanes.map(|((_, lane), notice)| {
            json!({ "calling_ae": lane, "health": notice.health.name(), "reason": notice.why })
        });
        json!({
            "destination": destination.name,
            "configured": config.destination(&destination.name).is_some(),
            "health": state.board.health(&destination.name).name(),
            "lanes": lanes.collect::<Vec<_>>(),
            "queued": destination.tally.owed,
            "queued_bytes": destination.tally.owed_bytes,
            "held": destination.tally.held,
            "held_bytes": destination.tally.held_bytes,
            "oldest_age_seconds": destination.oldest.map(|since| age_seconds(since).as_secs()),
        })
    });
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": config.revision,
        "poisoned": stats.poisoned,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    destination: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

async fn list(
    State(state): State<AdminState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, Refused> {
    let after = query.after.as_deref().map(parse).transpose()?;
    if let Some(unknown) = query.state.as_deref().filter(|state| !STATES.contains(state)) {
        let why = format!("{unknown:?} is not a state; there is: {}", STATES.join(", "));
        return Err(Refused(StatusCode::BAD_REQUEST, why));
    }
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    // Which state a row has can depend on the configuration, which the queue does not know: so the state is compared here.
    let filter = Filter { destination: query.destination, after, limit, ..Filter::default() };
    let queue = state.queue.clone();
    let page = ask(move || queue.list(filter)).await??;
    let config = state.live.now();
    let rows = page.rows.iter().map(|row| DeliveryView::new(row, &config, Some(&state.board)));
    let rows = rows.filter(|row| query.state.as_deref().is_none_or(|state| state == row.state));
    let next = page.next.map(|sequence| sequence.to_string());
    Ok(Json(json!({ "deliveries": rows.collect::<Vec<_>>(), "next": next })))
}

async fn show(State(state): State<AdminState>, Path(instance): Path<String>) -> Result<Json<Value>, Refused> {
    let sequence = parse(&instance)?;
    let queue = state.queue.clone();
    let shown = ask(move || queue.show(sequence)).await??;
    let shown = shown.ok_or_else(|| not_found(&instance))?;
    Ok(Json(show_json(&shown, &state.queue, &state.live.now(), Some(&state.board))))
}

#[derive(Debug, Deserialize)]
struct Decision {
    instances: Vec<String>,
    destination: Option<String>,
    reason: Option<String>,
}

async fn retry(State(state): State<AdminState>, Json(body): Json<Decision>) -> Result<Json<Value>, Refused> {
    decide(&state, body, |state, row| {
        Some(if is_no_route(row) { reroute(state, row) } else { Action::Release })
    })
    .await
}

async fn release(
    State(state): State<AdminState>,
    Json(body): Json<Decision>,
) -> Result<Json<Value>, Refused> {
    retry(State(state), Json(body)).await
}

async fn hold(State(state): State<AdminState>, Json(body): Json<Decision>) -> Result<Json<Value>, Refused> {
    let why = body.reason.clone().unwrap_or_else(|| "held by an operator".to_owned());
    decide(&state, body, move |_, _| Some(Action::Hold { why: why.clone() })).await
}

async fn discard(
    State(state): State<AdminState>,
    Json(body): Json<Decision>,
) -> Result<Json<Value>, Refused> {
    let Some(why) = body.reason.clone().filter(|why| !why.trim().is_empty()) else {
        return Err(Refused(StatusCode::BAD_REQUEST, "to discard needs a reason".to_owned()));
    };
    decide(&state, body, move |_, _| Some(Action::Discard { why: why.clone() })).await
}

fn is_no_route(row: &Row) -> bool {
    row.delivery.destination == NO_ROUTE
}

/// "No route" is retried by asking today's rules.
fn reroute(state: &AdminState, row: &Row) -> Action {
    let routed = Arrival::of(&row.instance).ok().and_then(|arrival| {
        let listener = arrival.listener.parse().ok()?;
        let facts = Facts {
            listener: &listener,
            calling_ae: &crate::dicom::AeTitle::from_text(&arrival.calling_ae),
            called_ae: &crate::dicom::AeTitle::from_text(&arrival.called_ae),
            peer_addr: arrival.peer.ip(),
        };
        Some(Routes::new(&state.live.now()).decide(&facts).destinations)
    });
    let to: Vec<_> = routed.unwrap_or_default().iter().map(|name| name.as_str().to_owned()).collect();
    if to.is_empty() { Action::Hold { why: "no route".to_owned() } } else { Action::Reroute { to } }
}

/// Carries a decision out on each named instance, at one destination or at all it is open at.
async fn decide(
    state: &AdminState,
    body: Decision,
    action: impl Fn(&AdminState, &Row) -> Option<Action> + Send + 'static,
) -> Result<Json<Value>, Refused> {
    if body.instances.len() > MAX_TARGETS {
        let why = format!("at most {MAX_TARGETS} instances at a time");
        return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let state = state.clone();
    let (changed, failed) = ask(move || carry_out(&state, &body, &action)).await??;
    Ok(Json(json!({ "changed": changed, "failed": failed })))
}

fn carry_out(
    state: &AdminState,
    body: &Decision,
    action: &dyn Fn(&AdminState, &Row) -> Option<Action>,
) -> Result<(usize, Vec<Value>), Refused> {
    let mut failed = Vec::new();
    let mut targets: Vec<(Action, Vec<(Sequence, String)>)> = Vec::new();
    let fail = |instance: &str, destination: Option<&str>, error: String| json!({ "instance": instance, "destination": destination, "error": error });
    for name in &body.instances {
        let sequence = parse(name)?;
        let Some(shown) = state.queue.show(sequence)? else {
            failed.push(fail(name, None, "there is no such instance".to_owned()));
            continue;
        };
        let wanted = |row: &&Row| match &body.destination {
            Some(destination) => *destination == row.delivery.destination,
            None => row.delivery.state.is_open(),
        };
        let mut any = false;
        for row in shown.rows.iter().filter(wanted) {
            any = true;
            let Some(action) = action(state, row) else { continue };
            let target = (sequence, row.delivery.destination.clone());
            match targets.iter_mut().find(|(known, _)| *known == action) {
                Some((_, list)) => list.push(target),
                None => targets.push((action, vec![target])),
            }
        }
        if !any {
            let destination = body.destination.as_deref();
            failed.push(fail(name, destination, "nothing of it is open there".to_owned()));
        }
    }
    let mut changed = 0;
    for (action, list) in targets {
        let results = state.queue.decide(list.clone(), action.clone(), "admin api")?;
        for ((sequence, destination), result) in list.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    changed += 1;
                    if action == Action::Release {
                        state.board.probe(&destination, sequence);
                    }
                    tracing::info!(instance = %sequence, destination, ?action, "An administrator decided.");
                }
                Err(error) => failed.push(fail(&sequence.to_string(), Some(&destination), error.to_string())),
            }
        }
    }
    Ok((changed, failed))
}

async fn check_all(State(state): State<AdminState>) -> Result<Json<Value>, Refused> {
    let queue = state.queue.clone();
    Ok(Json(ask(move || fsck(&queue)).await??))
}

/// Reads every payload in the spool and compares its SHA-256.
///
/// # Errors
/// [`Unavailable`] when the queue cannot be asked.
pub fn fsck(queue: &Queue) -> Result<Value, Unavailable> {
    let mut after = None;
    let (mut checked, mut problems) = (0u64, Vec::new());
    let mut last = None;
    loop {
        let page = queue.list(Filter { after, limit: FSCK_PAGE, ..Filter::default() })?;
        for row in page.rows.iter().filter(|row| row.has_payload) {
            let sequence = row.instance.sequence;
            if last.replace(sequence) == Some(sequence) {
                continue;
            }
            checked += 1;
            if let Err(error) = queue.open_blob(&row.instance).and_then(|blob| blob.verify()) {
                problems.push(json!({ "instance": sequence.to_string(), "problem": error.to_string() }));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(json!({ "checked": checked, "problems": problems })),
        }
    }
}

fn parse(instance: &str) -> Result<Sequence, Refused> {
    instance.parse().map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("{instance:?}: {error}")))
}

fn not_found(instance: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, format!("there is no instance {instance}"))
}
