//! The routes, all on one page.

mod approvals;
mod blast;
mod causes;
mod checks;
mod events;
pub mod explain;
mod findings;
mod health;
mod intents;
mod metrics;
mod planes;
mod queues;
mod submit;
mod summary;
mod workers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use trueup_model::{CorrelationId, IntentKey};

pub(crate) use health::LATE_MS;
pub(crate) use metrics::keep_looking;
pub use metrics::serve_metrics;

use crate::problem::Flaw;
use crate::{ApiState, MAX_BODY, Problem, middleware};

/// The whole API.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/health", get(health::health))
        .route("/v1/summary", get(summary::summary))
        .route("/v1/intents", get(intents::list).post(submit::submit))
        .route("/v1/intents/{tenant}/{id}", get(intents::one).delete(intents::delete))
        .route("/v1/intents/{tenant}/{id}/checks", post(checks::request))
        .route("/v1/findings", get(findings::list))
        .route("/v1/findings/{id}", get(findings::one))
        .route("/v1/findings/{id}/explain", get(explain::explain))
        .route("/v1/approvals", get(approvals::list))
        .route("/v1/causes", get(causes::list))
        .route("/v1/blast-radius", get(blast::list))
        .route("/v1/blast-radius/{tenant}/{plane}/rearm", post(blast::rearm))
        .route("/v1/events", get(events::list))
        .route("/v1/planes", get(planes::list))
        .route("/v1/queues", get(queues::depths))
        .route("/v1/queues/{queue}", get(queues::jobs))
        .route("/v1/queues/{queue}/{action}", post(queues::act))
        .route("/v1/jobs/{id}", get(queues::job))
        .route("/v1/workers", get(workers::list))
        .fallback(|| async { StatusCode::NOT_FOUND })
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

/// The body as JSON, or nothing if it is empty.
fn json_body<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
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
