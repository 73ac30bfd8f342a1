//! What is asked of a site's link over HTTP.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{AdminState, Refused, ask};
use crate::tunnel::echo::EchoError;

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
    let (sites, name) = (state.gateway.sites().clone(), site.clone());
    let known = ask(move || sites.verifier(&name)).await?;
    let known = known.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    if known.is_none() {
        return Err(Refused(StatusCode::NOT_FOUND, format!("there is no site \"{}\"", site.escape_debug())));
    }
    let step = Duration::from_millis(order.step_milliseconds);
    let report = state.gateway.echo(&site, &order.endpoint, step).await?;
    Ok(Json(json!({ "report": report })))
}
