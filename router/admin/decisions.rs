//! Decisions over HTTP.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::api::{AdminState, Refused, ask_while_wanted};
use super::decide::Decision;
use super::order::{Order, OrderError, Outcome, Verb};
use crate::audit::Actor;

pub(super) fn router() -> Router<AdminState> {
    Verb::ALL.into_iter().fold(Router::new(), |router, verb| {
        let path = format!("/api/queue/{}", verb.name());
        router.route(&path, post(move |state, peer, order| decide(verb, state, peer, order)))
    })
}

impl From<OrderError> for Refused {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Senseless(why) => Self::bad(why),
            OrderError::TooMany => Self(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            OrderError::Search(error) => error.into(),
        }
    }
}

/// Decides, and answers when what changed is durable, however long that takes. When whoever asked hangs up, what has been
/// decided stays decided and no more is.
async fn decide(
    verb: Verb,
    State(state): State<AdminState>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    Json(order): Json<Order>,
) -> Result<Json<Outcome>, Refused> {
    let outcome = ask_while_wanted(move |stop| -> Result<Outcome, OrderError> {
        let config = state.live.now();
        let scope = state.scope(&config, stop);
        let by = Actor::new(order.who.as_deref(), peer);
        let decision = Decision::read(verb, &order, &by, peer.ip(), &scope)?;
        let mut outcome = Outcome::default();
        let done = decision.carry_out(&scope, &mut outcome);
        if !order.dry_run {
            state.control.audit().record(
                &by,
                verb.name(),
                "deliveries",
                &details(&order, &outcome, done.is_ok()),
            );
        }
        done.map(|()| outcome)
    });
    Ok(Json(outcome.await??))
}

/// What the record of decisions keeps, besides what the journals say of each delivery. By which patient was searched
/// is nobody's business there.
fn details(order: &Order, outcome: &Outcome, complete: bool) -> Value {
    let filter = order.filter.clone().map(|mut filter| {
        let hidden = || "not kept".to_owned();
        filter.patient_id = filter.patient_id.map(|_| hidden());
        filter.accession = filter.accession.map(|_| hidden());
        filter
    });
    json!({
        "instances": order.instances.as_ref().map(Vec::len),
        "filter": filter,
        "from": order.from,
        "to": order.to,
        "reason": order.reason,
        "matched": outcome.matched,
        "changed": outcome.changed,
        "failed": outcome.failed_total,
        "passed_over": outcome.passed_over,
        "complete": complete,
    })
}
