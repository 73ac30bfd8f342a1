//! Questions over HTTP: listings, single instances, their files.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrysalis_queue::{Instance, Sequence};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::api::{AdminState, Refused, ask, ask_while_wanted, guard_patients};
use super::damage::Told;
use super::expected;
use super::export::{Export, ExportError};
use super::filter::{Asked, Filter};
use super::fsck::fsck;
use super::guard;
use super::ledger::{LedgerFormat, LedgerQuery, QueryError, TellError};
use super::listing::{self, PAGE, Reveal};
use super::stream;
use super::view::show_json;

pub(super) fn router(state: &AdminState) -> Router<AdminState> {
    let patients = Router::new()
        .route("/api/queue/{instance}/file", get(file))
        .route("/api/ledger", get(ledger))
        .route_layer(from_fn_with_state(state.clone(), guard_patients));
    Router::new()
        .route("/api/queue", get(list))
        .route("/api/queue/search", post(search))
        .route("/api/queue/fsck", post(check_all))
        .route("/api/queue/{instance}", get(show))
        .merge(patients)
}

/// What a listing is asked for beside the filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Paging {
    limit: Option<usize>,
    after: Option<String>,
    by_study: bool,
    reveal: bool,
}

/// The fields of [`Paging`]: everything else is the filter's.
const PAGING: [&str; 4] = ["limit", "after", "by_study", "reveal"];

/// `GET /api/queue`: nothing in a URL may tell of a patient, because URLs are kept everywhere.
async fn list(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Refused> {
    let mut fields = Map::new();
    for (name, value) in pairs {
        let value = match name.as_str() {
            "patient_id" | "accession" | "reveal" => {
                return Err(Refused::bad(
                    "patient data has no place in a URL; POST /api/queue/search takes it",
                ));
            }
            "limit" => Value::from(value.parse::<u64>().map_err(|_| Refused::bad("limit is a number"))?),
            "by_study" => {
                Value::from(value.parse::<bool>().map_err(|_| Refused::bad("by_study is true or false"))?)
            }
            _ => Value::from(value),
        };
        fields.insert(name, value);
    }
    answer(state, fields).await
}

/// `POST /api/queue/search`: the same, for those with the token, by patient too and with patients revealed.
async fn search(
    State(state): State<AdminState>,
    Json(fields): Json<Map<String, Value>>,
) -> Result<Json<Value>, Refused> {
    answer(state, fields).await
}

async fn answer(state: AdminState, fields: Map<String, Value>) -> Result<Json<Value>, Refused> {
    let (paging, asked): (Map<_, _>, Map<_, _>) =
        fields.into_iter().partition(|(name, _)| PAGING.contains(&name.as_str()));
    let paging: Paging = serde_json::from_value(paging.into()).map_err(Refused::bad)?;
    let asked: Asked = serde_json::from_value(asked.into()).map_err(Refused::bad)?;
    let filter = Filter::read(&asked).map_err(Refused::bad)?;
    let after = paging.after.as_deref().map(parse).transpose()?;
    let reveal = if paging.reveal { Reveal::Patient } else { Reveal::Nothing };
    let found = ask_while_wanted(move |stop| {
        let config = state.live.now();
        let scope = state.scope(&config, stop);
        if paging.by_study {
            return listing::studies(&scope, &filter, paging.limit.unwrap_or(PAGE), reveal);
        }
        listing::deliveries(&scope, &filter, after, paging.limit.unwrap_or(PAGE), reveal)
    });
    Ok(Json(found.await??))
}

/// `GET /api/queue/{instance}`: what destinations said in words only for those with the token.
async fn show(
    State(state): State<AdminState>,
    Path(instance): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    let reveal = match guard::check_token(&headers, &state.token) {
        Ok(()) => Reveal::Patient,
        Err(_) => Reveal::Nothing,
    };
    let sequence = parse(&instance)?;
    let queue = state.queue.clone();
    let shown = ask(move || {
        let shown = queue.show(sequence)?;
        Ok::<_, Refused>(shown.map(|shown| (expected::subject(&queue, &shown), shown)))
    });
    let (subject, shown) = shown.await??.ok_or_else(|| not_found(&instance))?;
    let (config, board) = (state.live.now(), Some(&state.board));
    Ok(Json(show_json(&shown, subject.as_ref(), &state.queue, &config, board, reveal)))
}

/// `GET /api/queue/{instance}/file`: patient data, so it needs the token wherever it is asked for.
async fn file(State(state): State<AdminState>, Path(instance): Path<String>) -> Result<Response, Refused> {
    let sequence = parse(&instance)?;
    let queue = state.queue.clone();
    let opened = ask(move || -> Result<_, Refused> {
        let Some(shown) = queue.show(sequence)? else { return Ok(None) };
        if !shown.rows.iter().any(|row| row.has_payload) {
            return Err(Refused(StatusCode::GONE, "its data is no longer in the spool".to_owned()));
        }
        let export = Export::open(&queue, &shown.instance);
        let export = export.map_err(|error| Refused(StatusCode::CONFLICT, error.to_string()))?;
        Ok(Some((shown.instance, export)))
    });
    let (found, export) = opened.await??.ok_or_else(|| not_found(&instance))?;
    Ok((file_headers(&found, &export), file_body(export)).into_response())
}

impl From<QueryError> for Refused {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Filter(error) => Self::bad(error),
            QueryError::Ledger(error) => Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

fn file_headers(instance: &Arc<Instance>, export: &Export) -> [(HeaderName, String); 4] {
    let name = format!("attachment; filename=\"{}.dcm\"", crate::forward::component(&instance.keys.key));
    [
        (header::CONTENT_TYPE, "application/dicom".to_owned()),
        (header::CONTENT_LENGTH, export.len().to_string()),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ]
}

fn file_body(export: Export) -> Body {
    stream::body(Some(export.len()), move |pipe| {
        export.write(pipe).map_err(|error| match error {
            ExportError::Io(error) => error,
            ExportError::Spool(error) => std::io::Error::other(error.to_string()),
        })
    })
}

/// `GET /api/ledger`: written while it is read, however long it is. It has what destinations said in words, so it needs
/// the token wherever it is asked for.
async fn ledger(
    State(state): State<AdminState>,
    Query(query): Query<LedgerQuery>,
) -> Result<Response, Refused> {
    let (queue, live, asked) = (state.queue.clone(), state.live.clone(), query.clone());
    let span = ask(move || asked.read(&queue, &live.now())).await??;
    let kind = match query.format {
        LedgerFormat::Json => "application/x-ndjson",
        LedgerFormat::Csv => "text/csv; charset=utf-8",
    };
    let body = stream::body(None, move |pipe| match query.tell(&state.queue, span, pipe) {
        // The last line says it to whoever asked.
        Ok(Told::Whole | Told::InPart) => Ok(()),
        Err(TellError::Io(error)) => Err(error),
        Err(TellError::Ledger(error)) => Err(std::io::Error::other(error.to_string())),
    });
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

async fn check_all(State(state): State<AdminState>) -> Result<Json<Value>, Refused> {
    let queue = state.queue.clone();
    Ok(Json(ask(move || fsck(&queue)).await??))
}

fn parse(instance: &str) -> Result<Sequence, Refused> {
    instance.parse().map_err(|error| Refused::bad(format!("{instance:?}: {error}")))
}

fn not_found(instance: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, format!("there is no instance {instance}"))
}
