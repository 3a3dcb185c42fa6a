//! The routes, all on one page.

mod approvals;
mod blast;
mod causes;
mod etag;
mod events;
pub mod explain;
mod findings;
mod health;
mod intents;
pub mod jobs;
mod keys;
mod manifests;
mod metrics;
mod planes;
pub mod queues;
mod reconciliations;
mod runs;
mod scoped;
pub mod selection;
mod stream;
mod submit;
mod summary;
mod whoami;
pub mod workers;
mod writing;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use trueup_model::{CorrelationId, IntentKey};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use health::LATE_MS;
pub(crate) use metrics::{keep_looking, metrics_alone};

use crate::problem::Flaw;
use crate::{ApiState, MAX_BODY, Problem, idempotency, middleware, openapi, reference};

/// Everything that the OpenAPI document describes. A new file of routes is registered here, and nowhere else.
fn documented() -> OpenApiRouter<ApiState> {
    openapi::described()
        .merge(keys::routes())
        .merge(whoami::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(summary::routes())
        .merge(intents::routes())
        .merge(submit::routes())
        .merge(manifests::routes())
        .merge(reconciliations::routes())
        .merge(runs::routes())
        .merge(findings::routes())
        .merge(explain::routes())
        .merge(approvals::routes())
        .merge(causes::routes())
        .merge(blast::routes())
        .merge(events::routes())
        .merge(stream::routes())
        .merge(planes::routes())
        .merge(queues::routes())
        .merge(jobs::routes())
        .merge(workers::routes())
}

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let (router, document) = documented().split_for_parts();
    let board = if state.board { crate::board::routes(&state) } else { Router::new() };
    router
        .merge(board)
        .merge(reference::routes(openapi::completed(document)))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(axum::middleware::from_fn_with_state(state.clone(), idempotency::once))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(state.clone(), middleware::around))
        .with_state(state)
}

/// What the middleware put beside the request.
type Correlation = axum::Extension<CorrelationId>;

/// Longest part of a path that names something, in bytes.
const MAX_NAME: usize = 128;

/// A name from the path, only if something could be called that.
fn name<'a>(what: &str, text: &'a str) -> Result<&'a str, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain) {
        return Ok(text);
    }
    let shown: String = text.chars().take(MAX_NAME).collect();
    Err(Problem::not_found(what, &shown))
}

fn intent_key(tenant: &str, id: &str) -> Result<IntentKey, Problem> {
    Ok(IntentKey::new(name("tenant", tenant)?, name("intent", id)?))
}

/// `TENANT/ID` in a query parameter.
fn intent_param(text: &str) -> Result<IntentKey, String> {
    let key: IntentKey = text.parse()?;
    intent_key(&key.tenant, &key.id).map_err(|p| p.detail)
}

/// What the body is, if it is one of these.
fn media_type(headers: &HeaderMap, known: &[&'static str]) -> Result<&'static str, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    known.iter().find(|k| **k == given).copied().ok_or_else(|| {
        let detail = format!("send one of {}, and say so in Content-Type", known.join(", "));
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Unsupported media type", detail)
    })
}

/// The body as JSON, or nothing if it is empty.
fn json_body<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // serde would take an array for a struct, field by field.
    if body.trim_ascii_start().starts_with(b"[") {
        let why = "expected an object, got an array";
        return Err(Problem::invalid(why, vec![Flaw::new("", why)]));
    }
    serde_json::from_slice(body).map(Some).map_err(|e| {
        let said = e.to_string();
        if e.is_data() {
            Problem::invalid(said.clone(), vec![Flaw::new("", crate::manifest::with_suggestion(&said))])
        } else {
            Problem::unreadable(format!("the body is not JSON: {said}"))
        }
    })
}
