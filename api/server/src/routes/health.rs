//! Is it well? `/healthz` for the process, `/readyz` for the store behind it, `/v1/health` for people.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use trueup_engine::EngineError;
use trueup_engine::store::{Preflight, QueueDepth, WorkerView};
use trueup_model::Time;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{ApiState, Problem};

/// Heartbeats come every second; after three without one, others take the worker's jobs (`engine.md`, E5).
pub(crate) const LATE_MS: u64 = 3_000;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Live {
    /// `live`.
    status: String,
}

/// The store can be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready`.
    status: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wellness {
    Ok,
    /// It works, and `reasons` says what does not.
    Degraded,
}

/// How well it is. What is not known is null, and named in `missing`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    status: Wellness,
    /// What is not well, and what to do about it.
    reasons: Vec<String>,
    /// What could not be asked, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    version: String,
    /// When this process started to serve.
    started_at: Time,
    now: Time,
    store: Option<Preflight>,
    partitions: u16,
    workers: Option<usize>,
    /// Of them, those without a heartbeat for 3 s.
    workers_late: Option<usize>,
    /// Jobs that are ready, of all queues.
    ready: Option<u64>,
    in_flight: Option<u64>,
    dead_letters: Option<u64>,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(live)).routes(routes!(ready)).routes(routes!(health))
}

/// Says that the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "live",
    tag = "health",
    responses((status = OK, body = Live)),
)]
pub(crate) async fn live() -> Json<Live> {
    Json(Live { status: "live".into() })
}

/// Says whether the store behind it can be used.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "health",
    responses((status = OK, body = Ready)),
)]
pub(crate) async fn ready(State(state): State<ApiState>) -> Result<Json<Ready>, Problem> {
    state.probe().await?;
    let preflight = state.store.preflight().await?;
    if preflight.refused.is_empty() {
        return Ok(Json(Ready { status: "ready".into() }));
    }
    let detail = preflight.refused.join("; ");
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unsafe", "The store is not safe to use", detail))
}

/// Says how well it is, and what to do where it is not.
///
/// Degraded is an answer, not an error: whatever cannot be known is named in `missing`.
#[utoipa::path(
    get,
    path = "/v1/health",
    operation_id = "health",
    tag = "health",
    responses((status = OK, body = Health)),
)]
pub(crate) async fn health(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    let store = &state.store;
    let (preflight, depths, workers) = futures::join!(store.preflight(), store.depths(), store.workers());
    let mut missing = Vec::new();
    if let (Err(e), Err(_), Err(_)) = (&preflight, &depths, &workers) {
        return Err(Problem::from(e.clone()));
    }
    let preflight = known("store", preflight, &mut missing);
    let depths = known("queues", depths, &mut missing);
    let workers = known("workers", workers, &mut missing);
    let mut reasons = missing.iter().map(|m| format!("not known: {m}")).collect::<Vec<_>>();
    reasons.extend(found(preflight.as_ref(), depths.as_deref(), workers.as_deref()));
    let known_already = |w: &&String| preflight.as_ref().is_none_or(|p| !p.warnings.contains(w));
    reasons.extend(state.warnings.iter().filter(known_already).cloned());
    let sum = |of: fn(&QueueDepth) -> u64| depths.as_ref().map(|all| all.iter().map(of).sum());
    Ok(Json(Health {
        status: if reasons.is_empty() { Wellness::Ok } else { Wellness::Degraded },
        reasons,
        missing,
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: state.started,
        now: state.clock.now(),
        partitions: store.partitions(),
        workers: workers.as_ref().map(Vec::len),
        workers_late: workers.as_ref().map(|all| all.iter().filter(|w| w.last_beat_ms > LATE_MS).count()),
        ready: sum(|d| d.ready),
        in_flight: sum(|d| d.in_flight),
        dead_letters: sum(|d| d.dead),
        store: preflight,
    }))
}

/// What was told, or a line about why it was not.
fn known<T>(what: &str, told: Result<T, EngineError>, missing: &mut Vec<String>) -> Option<T> {
    told.map_err(|e| missing.push(format!("{what}: {e}"))).ok()
}

/// Why it is not well, for people: what, and what to do.
fn found(
    preflight: Option<&Preflight>,
    depths: Option<&[QueueDepth]>,
    workers: Option<&[WorkerView]>,
) -> Vec<String> {
    let mut reasons: Vec<String> =
        preflight.map(|p| p.refused.iter().chain(&p.warnings).cloned().collect()).unwrap_or_default();
    reasons.extend(workers.and_then(of_workers));
    reasons.extend(depths.unwrap_or_default().iter().flat_map(of_queue));
    reasons
}

fn of_workers(workers: &[WorkerView]) -> Option<String> {
    let late: Vec<&str> =
        workers.iter().filter(|w| w.last_beat_ms > LATE_MS).map(|w| w.incarnation.0.as_str()).collect();
    if workers.is_empty() {
        return Some("no worker is running: nothing is checked; start one with `trueup work`".into());
    }
    if late.is_empty() {
        return None;
    }
    let named = late.join(", ");
    Some(if late.len() == workers.len() {
        format!("no worker gives a sign of life ({named}): start one with `trueup work`")
    } else {
        format!("workers without a heartbeat: {named}; others take over their jobs, see why they stopped")
    })
}

fn of_queue(depth: &QueueDepth) -> Vec<String> {
    let (queue, dead) = (&depth.queue, depth.dead);
    let mut reasons = Vec::new();
    if depth.paused {
        reasons.push(format!("queue {queue} is paused; resume it with `trueup queue resume {queue}`"));
    }
    if dead > 0 {
        reasons.push(format!(
            "queue {queue} has {dead} dead letter(s); see `trueup queue show {queue} --state dead`"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_engine::store::Incarnation;

    #[test]
    fn each_trouble_has_its_reason() {
        let worker = |ms| WorkerView { incarnation: Incarnation(format!("w{ms}")), last_beat_ms: ms };
        let depth = |dead, paused| QueueDepth { queue: "emit".into(), dead, paused, ..QueueDepth::default() };
        let warned = Preflight { warnings: vec!["no AOF".into()], ..Preflight::default() };
        let fine = Preflight::default();
        let table = [
            (&fine, vec![depth(0, false)], vec![worker(10)], vec![]),
            (&fine, vec![], vec![], vec!["no worker is running"]),
            (&fine, vec![], vec![worker(10), worker(9_000)], vec!["without a heartbeat: w9000"]),
            (&fine, vec![], vec![worker(9_000)], vec!["no worker gives a sign of life"]),
            (
                &fine,
                vec![depth(2, true)],
                vec![worker(10)],
                vec!["emit is paused", "emit has 2 dead letter(s)"],
            ),
            (&warned, vec![], vec![worker(10)], vec!["no AOF"]),
        ];
        for (preflight, depths, workers, expected) in table {
            let found = found(Some(preflight), Some(&depths), Some(&workers));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (reason, part) in found.iter().zip(expected) {
                assert!(reason.contains(part), "{reason}");
            }
        }
    }
}
