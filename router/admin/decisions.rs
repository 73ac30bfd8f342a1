//! Decisions over HTTP.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::api::{AdminState, Refused, ask_while_wanted};
use super::decide::{Decision, Order, OrderError, Outcome, Verb};

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
pub(super) async fn decide(
    verb: Verb,
    State(state): State<AdminState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Json(order): Json<Order>,
) -> Result<impl IntoResponse, Refused> {
    let outcome = ask_while_wanted(move |stop| -> Result<Outcome, OrderError> {
        let config = state.live.now();
        let scope = state.scope(&config, stop);
        Decision::read(verb, &order, peer.ip(), &scope)?.carry_out(&scope)
    });
    Ok(Json(outcome.await??))
}
