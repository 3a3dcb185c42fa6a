//! `GET /metrics`: everything there is to measure, as Prometheus reads it.
//!
//! `trueup serve` shows what this process counts and what the store holds; `trueup work --metrics-listen` shows what that
//! worker counts. Prometheus scrapes both (`deploy/prometheus`).

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use trueup_boot::metrics::{self, CONTENT_TYPE, Meters, of_process, openmetrics};
use trueup_engine::budgets::Pace;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{ApiState, middleware};

/// How often the store is looked at for a collector when nobody scrapes.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(metrics))
}

/// Shows everything there is to measure, as Prometheus reads it.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "health",
    responses((status = OK, body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    state.gauges.look(state.store.as_ref(), pace(&state)).await;
    written(&headers, &[of_process(), state.gauges.meters()])
}

fn pace(state: &ApiState) -> Pace {
    Pace { now: state.clock.now(), speed: state.clock.speed() }
}

/// In the form that is asked for: with exemplars for those who understand them (Prometheus asks for that first).
fn written(headers: &HeaderMap, sets: &[&Meters]) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (kind, body) = if openmetrics::is_accepted(accept) {
        (openmetrics::CONTENT_TYPE, metrics::openmetrics(sets))
    } else {
        (CONTENT_TYPE, sets.iter().map(|meters| meters.text()).collect())
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Keeps what is sent over OTLP up to date. Returns at once if nothing is.
pub(crate) async fn keep_looking(state: ApiState) {
    if !state.gauges.exports() {
        return;
    }
    let mut often = tokio::time::interval(LOOK_EVERY);
    loop {
        often.tick().await;
        state.gauges.look(state.store.as_ref(), pace(&state)).await;
    }
}

/// The routes of a process without an API: what it counts, to who may read the fleet (as [`metrics`]).
pub(crate) fn metrics_alone(state: ApiState) -> Router {
    let ours = get(|headers: HeaderMap| async move { written(&headers, &[of_process()]) });
    Router::new()
        .route("/metrics", ours)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(from_fn_with_state(state.clone(), middleware::around))
        .with_state(state)
}
