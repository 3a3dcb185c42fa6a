//! `GET /v1/planes`: what each connection may ask of its plane, what it has asked, who waits, and how long the rest takes.
//! Read from the store only: the API never talks to a plane.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_engine::budgets::{ConnectionView, Pace};
use trueup_engine::store::QueueDepth;
use trueup_model::{Duration, Queue, StepName, Time};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::identity::{Access, Permission};
use crate::{ApiState, Problem, params::Params};

/// A connection, and what is left of the sweep that it serves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plane)]
struct Shown {
    #[serde(flatten)]
    view: ConnectionView,
    /// Jobs in `query.<plane>` that are ready, under way or wait for a time: of all tenants, so only for those who may read
    /// the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<u64>,
    sweep: Sweep,
}

/// When the sweep ends, as far as the last minute tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Sweep {
    /// No query waits.
    Idle,
    /// Queries wait, and none ended lately.
    Unknown,
    Running {
        /// Estimated.
        checks_left: u64,
        /// Estimated.
        ends_at: Time,
    },
}

/// All connections, as seen at one time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Planes {
    at: Time,
    items: Vec<Shown>,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Lists the connections: what each may ask of its plane, what it has asked, who waits, and how long the rest takes.
///
/// Read from the store only: the API never talks to a plane.
#[utoipa::path(
    get,
    path = "/v1/planes",
    operation_id = "list_planes",
    tag = "planes",
    responses((status = OK, body = Planes)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    params: Params,
) -> Result<Json<Planes>, Problem> {
    params.finish()?;
    let at = Pace { now: state.clock.now(), speed: state.clock.speed() };
    let views = state.store.budgets().connections(at).await?;
    let depths = state.store.depths().await?;
    let fleet = access.may(Permission::ReadFleet, None);
    let seen = views.iter().filter(|v| access.sees(&v.connection.tenant));
    let items = seen.map(|v| {
        let shown = shown(v, &views, &depths, at.now);
        Shown { backlog: shown.backlog.filter(|_| fleet), ..shown }
    });
    let items = items.collect();
    Ok(Json(Planes { at: at.now, items }))
}

fn shown(view: &ConnectionView, all: &[ConnectionView], depths: &[QueueDepth], now: Time) -> Shown {
    let plane = view.connection.plane;
    let queue = Queue::new(StepName::Query, Some(plane)).map(|q| q.to_string()).unwrap_or_default();
    let backlog: u64 =
        depths.iter().filter(|d| d.queue == queue).map(|d| d.ready + d.scheduled + d.in_flight).sum();
    // The queue is the plane's, not the connection's: each has the part of it that it has of the checks.
    let of_plane = all.iter().filter(|v| v.connection.plane == plane);
    let (checks, connections) = of_plane.fold((0.0, 0.0), |(sum, n), v| (sum + v.checks, n + 1.0));
    let part = if checks > 0.0 { view.checks / checks } else { 1.0 / f64::max(connections, 1.0) };
    Shown { view: view.clone(), backlog: Some(backlog), sweep: sweep(view, backlog as f64 * part, now) }
}

/// As long as the bucket that takes longest: calls that the checks will need, at the rate it has now. A plane whose calls
/// are not limited goes on as in the last minute.
fn sweep(view: &ConnectionView, jobs: f64, now: Time) -> Sweep {
    if jobs < 0.5 {
        return Sweep::Idle;
    }
    let left = (jobs * view.checks_per_turn).ceil();
    if left < 1.0 {
        return Sweep::Unknown;
    }
    let budgets = view.connection.budgets.iter().zip(&view.buckets);
    let limited = budgets.filter_map(|(budget, bucket)| {
        let in_a_second = bucket.rate.max(1.0) / f64::from(budget.window_s.max(1));
        Some(left * bucket.per_check? / in_a_second)
    });
    // What takes no calls (answers that serve several) takes time too.
    let as_before = if view.buckets.is_empty() { left / (view.checks / 60.0).max(0.001) } else { 0.0 };
    let seconds = limited.fold(as_before, f64::max).min(86_400.0 * 365.0);
    Sweep::Running {
        checks_left: left as u64,
        ends_at: now + Duration::milliseconds((seconds * 1000.0).ceil() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(name: &str, checks: f64, per_check: Option<f64>) -> ConnectionView {
        serde_json::from_value(json!({
            "connection": name, "tenant": name, "plane": "intune", "under_way": 0, "waiting": [0, 0, 3],
            "budgets": [{"name": "devices", "calls": 2000, "window_s": 20}],
            "buckets": [{"name": "devices", "rate": 1000.0, "spent": 900.0, "left": 0.5, "per_check": per_check}],
            "breaker": {"state": "closed"}, "checks": checks, "checks_per_turn": if checks > 0.0 { 50.0 } else { 0.0 },
        }))
        .unwrap()
    }

    #[test]
    fn the_end_is_the_backlog_at_the_rate_there_is() {
        let depth =
            |ready| QueueDepth { queue: "query.intune".into(), ready, in_flight: 4, ..QueueDepth::default() };
        let now = Time::UNIX_EPOCH;
        let a = view("a", 300.0, Some(0.5));
        let both = [a.clone(), view("b", 100.0, Some(0.1))];
        for (all, ready, expected) in [
            (&both[..1], 36, Sweep::Running { checks_left: 2000, ends_at: now + Duration::seconds(20) }),
            // Three of four checks are this connection's.
            (&both[..], 36, Sweep::Running { checks_left: 1500, ends_at: now + Duration::seconds(15) }),
        ] {
            let shown = shown(&a, all, &[depth(ready)], now);
            assert_eq!((shown.backlog, shown.sweep), (Some(40), expected));
        }
        assert_eq!(shown(&a, &both[..1], &[], now).sweep, Sweep::Idle);
        let fresh = view("a", 0.0, None);
        assert_eq!(shown(&fresh, std::slice::from_ref(&fresh), &[depth(36)], now).sweep, Sweep::Unknown);
    }
}
