//! `POST /v1/intents/{tenant}/{id}/checks`: look at one intent now.
//!
//! # Guarantees
//! The same `Idempotency-Key` asks once, however often it is sent (E8). An active run is not disturbed: the check
//! follows it (E9).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use trueup_engine::store::NewJob;
use trueup_model::{CorrelationId, Status, job};

use super::Correlation;
use crate::problem::Flaw;
use crate::{ApiState, Problem};

pub(crate) async fn request(
    State(state): State<ApiState>,
    axum::Extension(given): Correlation,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let key = super::intent_key(&tenant, &id)?;
    let correlation_id = match headers.get("idempotency-key") {
        None => given,
        Some(value) => value.to_str().ok().and_then(CorrelationId::parse).ok_or_else(|| {
            let why = "expected at most 64 letters, digits, - and _ (a UUID, for example)";
            Problem::parameters(vec![Flaw::new("Idempotency-Key", why)])
        })?,
    };
    let Some(record) = super::intents::record(&state, &key).await? else {
        return Err(Problem::not_found("intent", &key.to_string()));
    };
    if !record.intent.status.is_reconciled() {
        let status = if record.intent.status == Status::Paused { "PAUSED" } else { "RETIRED" };
        let detail = format!("{key} is {status} and is not checked; apply it with another status first");
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not-reconciled",
            "The intent is not reconciled",
            detail,
        ));
    }
    let partition = key.partition(state.store.partitions());
    let (id, sweep) = job::request(partition, vec![key], correlation_id.clone());
    let queue = sweep.queue(None).ok_or_else(|| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bug",
            "Internal error",
            "a sweep has no queue; report this",
        )
    })?;
    let new = state.store.enqueue(partition, &[NewJob::of(id.clone(), queue, &sweep, None)]).await?;
    let answer = json!({"correlation_id": correlation_id, "job": id, "new": new > 0});
    Ok((StatusCode::ACCEPTED, Json(answer)))
}
