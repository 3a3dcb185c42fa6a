//! Workers: who drains the queues, and asking one to leave.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use trueup_engine::store::Incarnation;
use trueup_engine::{Drain, WorkerReport};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use crate::identity::Access;
use crate::{ApiState, Problem, params::Params};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(drain))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Working,
    /// Asked to leave: it leases nothing any more, ends what it holds and goes.
    Draining,
    /// Its heartbeat is late.
    Late,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// A worker process start: its name.
    pub incarnation: String,
    /// Milliseconds since its last heartbeat (Redis's clock).
    pub last_beat_ms: u64,
    pub late: bool,
    pub state: WorkerState,
    /// Jobs it holds, by its own last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leases: Option<usize>,
    /// What it says of itself; nothing of a worker that has not reported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<WorkerReport>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    pub items: Vec<Worker>,
}

/// Lists the workers with what they serve and hold.
#[utoipa::path(
    get,
    path = "/v1/workers",
    operation_id = "list_workers",
    tag = "workers",
    responses((status = OK, body = WorkerList)),
)]
pub(crate) async fn list(State(state): State<ApiState>, params: Params) -> Result<Json<WorkerList>, Problem> {
    params.finish()?;
    let workers = state.store.workers().await?;
    let mut reports = state.store.operations().reports().await?;
    let items = workers.into_iter().map(|w| {
        let late = w.last_beat_ms > super::health::LATE_MS;
        let (report, asked) = reports.remove(&w.incarnation).unzip();
        let draining = asked == Some(true) || report.as_ref().is_some_and(|r: &WorkerReport| r.draining);
        let state = match (late, draining) {
            (true, _) => WorkerState::Late,
            (_, true) => WorkerState::Draining,
            _ => WorkerState::Working,
        };
        let leases = report.as_ref().map(|r| r.queues.values().sum());
        Worker { incarnation: w.incarnation.0, last_beat_ms: w.last_beat_ms, late, state, leases, report }
    });
    Ok(Json(WorkerList { items: items.collect() }))
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Drained {
    pub incarnation: String,
    pub drain: Drain,
}

/// Asks a worker to leave.
///
/// It hears it with its next heartbeat, leases nothing any more, ends what it holds and leaves. Whoever supervises the
/// process may start it again.
#[utoipa::path(
    post,
    path = "/v1/workers/{id}/drain",
    operation_id = "drain_worker",
    tag = "workers",
    params(("id" = String, Path, description = "The worker's name, as it is listed", max_length = 128)),
    responses((status = OK, body = Drained)),
)]
pub(crate) async fn drain(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path(id): Path<String>,
) -> Result<Json<Drained>, Problem> {
    let who = Incarnation(super::name("worker", &id)?.to_owned());
    let workers = state.store.workers().await?;
    let drain = match workers.iter().any(|w| w.incarnation == who) {
        true => state.store.operations().drain(&who, &state.by(&access, &correlation)).await?,
        false => Drain::Unknown,
    };
    if drain == Drain::Unknown {
        let mut problem = Problem::not_found("worker", &who.0);
        problem.detail += "; `trueup worker ls` shows those there are";
        return Err(problem);
    }
    Ok(Json(Drained { incarnation: who.0, drain }))
}
