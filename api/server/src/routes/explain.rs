//! `GET /v1/findings/{id}/explain`: what was seen, what was decided and why, what happened, and what comes next.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_engine::store::EventFilter;
use trueup_model::{
    Approval, ApprovalState, Attempts, Criticality, Decision, Delta, Event, Finding, IntentRecord, Mode,
    Ring, Time, Verdict,
};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::findings;
use crate::identity::Access;
use crate::{ApiState, Problem};

/// Events of the intent that are looked through for those about the finding.
const LOOKED_AT: usize = 200;
/// Events shown.
const SHOWN: usize = 20;

/// The whole story of one finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    pub finding: Finding,
    /// Nothing if the intent was deleted meanwhile.
    pub intent: Option<About>,
    pub seen: Seen,
    pub decided: Decision,
    pub approvals: Vec<Approval>,
    pub attempts: Attempts,
    pub next: NextLook,
    /// What would change the decision or the drift.
    pub would_change: Vec<String>,
    /// The last events about it, oldest first.
    pub events: Vec<Event>,
}

/// What policy looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct About {
    pub ring: Ring,
    pub criticality: Criticality,
    pub privileged: bool,
    pub mode: Mode,
    pub generation: u64,
}

/// The drift as it was last observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    pub drifted: bool,
    pub delta: Vec<Delta>,
    pub affected_devices: u32,
    pub since: Time,
    pub last_seen_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    pub recurrences: u32,
}

/// When somebody looks again, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextLook {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    pub what: String,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(explain))
}

/// Explains one finding: what was seen, what was decided and why, what happened, and what comes next.
#[utoipa::path(
    get,
    path = "/v1/findings/{id}/explain",
    operation_id = "explain_finding",
    tag = "findings",
    params(("id" = String, Path, description = "Of the finding", pattern = "^[A-Za-z0-9_.-]{1,128}$", example = "fnd_0123456789abcdefghjk")),
    responses((status = OK, body = Explanation)),
)]
pub(crate) async fn explain(
    State(state): State<ApiState>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, Problem> {
    let finding = findings::get(&state, &access, &id).await?;
    let record = super::intents::record(&state, &finding.intent).await?;
    let mut approvals = state.store.approvals(&finding.intent).await?;
    approvals.retain(|a| a.finding == finding.id);
    let filter = EventFilter { intent: Some(finding.intent.clone()), ..EventFilter::default() };
    let events = state.store.last_events(&filter, LOOKED_AT).await?;
    let mut events: Vec<Event> =
        events.into_iter().map(|(_, e)| e).filter(|e| is_about(e, &finding)).collect();
    // One intent lives in one partition, so its sequence numbers are its order of events.
    events.sort_by_key(|e| e.seq);
    events.drain(..events.len().saturating_sub(SHOWN));

    let next = next_look(&finding, record.as_ref(), &approvals);
    let would_change = would_change(&finding, record.as_ref());
    Ok(Json(Explanation {
        seen: Seen {
            drifted: finding.open,
            delta: finding.delta.clone(),
            affected_devices: finding.affected_devices,
            since: finding.opened_at,
            last_seen_at: finding.last_seen_at,
            resolved_at: finding.resolved_at,
            recurrences: finding.recurrences,
        },
        decided: finding.decision.clone(),
        attempts: record.as_ref().map(|r| r.state.attempts.clone()).unwrap_or_default(),
        intent: record.map(|r| About {
            ring: r.intent.ring,
            criticality: r.intent.criticality,
            privileged: r.intent.privileged,
            mode: r.intent.mode,
            generation: r.generation,
        }),
        approvals,
        next,
        would_change,
        events,
        finding,
    }))
}

/// Whether an event concerns this finding: it names it, or its kind, or neither (then it is about the intent).
fn is_about(event: &Event, finding: &Finding) -> bool {
    let named = |field: &str| event.event_data.get(field).and_then(Value::as_str);
    match (named("finding"), named("drift_type")) {
        (Some(id), _) => id == finding.id.as_str(),
        (None, Some(kind)) => kind == finding.kind.as_str(),
        (None, None) => true,
    }
}

fn next_look(finding: &Finding, record: Option<&IntentRecord>, approvals: &[Approval]) -> NextLook {
    let Some(record) = record else {
        return NextLook { at: None, what: "nothing: the intent was deleted".into() };
    };
    let due = record.state.due();
    if !record.intent.status.is_reconciled() {
        return NextLook { at: None, what: "nothing: the intent is paused or retired".into() };
    }
    if record.state.run.is_some() {
        return NextLook { at: None, what: "a run is at work on the intent right now".into() };
    }
    if !finding.open {
        return NextLook { at: due, what: "the intent is looked at again by schedule".into() };
    }
    if let Some(open) = approvals.iter().find(|a| a.state == ApprovalState::Open) {
        let who = match open.kind {
            trueup_model::ApprovalKind::Review => "one approver",
            trueup_model::ApprovalKind::Cab => "the change advisory board",
        };
        return NextLook {
            at: due,
            what: format!("it waits for {who}; meanwhile it is looked at by schedule"),
        };
    }
    let at = finding.next_at.or(due);
    let attempts = &record.state.attempts;
    let what = match finding.decision.verdict {
        Verdict::ObserveOnly => {
            "it is looked at again; nothing is changed, since the intent is only observed"
        }
        _ if attempts.escalated => "people were told; it is looked at by schedule until it is mended",
        _ if attempts.open => "a new observation will show whether the last attempt worked",
        Verdict::Automatic => "it is looked at again, and remediated if it is still there and policy allows",
        Verdict::Review | Verdict::Cab => "it is looked at again; people decide about a remedy",
    };
    NextLook { at, what: what.into() }
}

fn would_change(finding: &Finding, record: Option<&IntentRecord>) -> Vec<String> {
    let mut list = Vec::new();
    if !finding.decision.would_change.is_empty() {
        list.push(finding.decision.would_change.clone());
    }
    let Some(record) = record.filter(|_| finding.open) else { return list };
    if record.state.attempts.made > 0 {
        list.push(
            "a change of the manifest's desired state, or the end of the drift, starts the attempts anew"
                .into(),
        );
    }
    list.push(format!("`trueup check {}` looks at it now", finding.intent));
    list
}
