//! `GET /v1/workers`: who drains the queues.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::{ApiState, Problem, params::Params};

pub(crate) async fn list(State(state): State<ApiState>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let items: Vec<Value> = state
        .store
        .workers()
        .await?
        .into_iter()
        .map(|w| {
            let late = w.last_beat_ms > super::health::LATE_MS;
            json!({"incarnation": w.incarnation, "last_beat_ms": w.last_beat_ms, "late": late})
        })
        .collect();
    Ok(Json(json!({"items": items})))
}
