//! Is it well? `/healthz` for the process, `/readyz` for the store behind it, `/v1/health` for people.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use trueup_engine::store::{Preflight, QueueDepth, WorkerView};

use crate::{ApiState, Problem};

/// Heartbeats come every second; after three without one, others take the worker's jobs (`engine.md`, E5).
pub(crate) const LATE_MS: u64 = 3_000;

pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

pub(crate) async fn ready(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    state.probe().await?;
    let preflight = state.store.preflight().await?;
    if preflight.refused.is_empty() {
        return Ok(Json(json!({"status": "ready"})));
    }
    let detail = preflight.refused.join("; ");
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unsafe", "The store is not safe to use", detail))
}

pub(crate) async fn health(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    let store = &state.store;
    let (preflight, depths, workers) =
        futures::try_join!(store.preflight(), store.depths(), store.workers())?;
    let mut reasons = reasons(&preflight, &depths, &workers);
    reasons.extend(state.warnings.iter().filter(|w| !preflight.warnings.contains(w)).cloned());
    Ok(Json(json!({
        "status": if reasons.is_empty() { "ok" } else { "degraded" },
        "reasons": reasons,
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": state.started,
        "now": state.clock.now(),
        "store": preflight,
        "partitions": store.partitions(),
        "workers": workers.len(),
        "workers_late": workers.iter().filter(|w| w.last_beat_ms > LATE_MS).count(),
        "ready": depths.iter().map(|d| d.ready).sum::<u64>(),
        "in_flight": depths.iter().map(|d| d.in_flight).sum::<u64>(),
        "dead_letters": depths.iter().map(|d| d.dead).sum::<u64>(),
    })))
}

/// Why it is not well, for people: what, and what to do.
fn reasons(preflight: &Preflight, depths: &[QueueDepth], workers: &[WorkerView]) -> Vec<String> {
    let mut reasons: Vec<String> = preflight.refused.iter().chain(&preflight.warnings).cloned().collect();
    let late: Vec<&str> =
        workers.iter().filter(|w| w.last_beat_ms > LATE_MS).map(|w| w.incarnation.0.as_str()).collect();
    if workers.is_empty() {
        reasons.push("no worker is running: nothing is checked; start one with `trueup work`".into());
    } else if late.len() == workers.len() {
        reasons.push(format!(
            "no worker gives a sign of life ({}): start one with `trueup work`",
            late.join(", ")
        ));
    } else if !late.is_empty() {
        let late = late.join(", ");
        reasons.push(format!(
            "workers without a heartbeat: {late}; others take over their jobs, see why they stopped"
        ));
    }
    for depth in depths {
        if depth.paused {
            let queue = &depth.queue;
            reasons.push(format!("queue {queue} is paused; resume it with `trueup queue resume {queue}`"));
        }
        if depth.dead > 0 {
            let (queue, dead) = (&depth.queue, depth.dead);
            reasons.push(format!(
                "queue {queue} has {dead} dead letter(s); see `trueup queue show {queue} --state dead`"
            ));
        }
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
            let found = reasons(preflight, &depths, &workers);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (reason, part) in found.iter().zip(expected) {
                assert!(reason.contains(part), "{reason}");
            }
        }
    }
}
