//! `GET /v1/summary`: counts for people and for the demo, made from bounded pages of what is there now.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_engine::EngineError;
use trueup_engine::store::{Page, QueueDepth};
use trueup_model::{
    Approval, ApprovalKind, ApprovalState, Condition, DriftKind, Finding, IntentRecord, PlaneKind, Severity,
    Time,
};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::identity::{Access, Permission};
use crate::{ApiState, Problem, params::Params};

/// Most intents, findings and approvals counted (each).
const CAP: usize = 200_000;
/// Items asked of the store at once.
const PAGE: usize = 1_000;

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CountIntents)]
pub(crate) struct Intents {
    total: u64,
    by_condition: BTreeMap<Condition, u64>,
    by_tenant: BTreeMap<String, BTreeMap<Condition, u64>>,
    by_plane: BTreeMap<PlaneKind, BTreeMap<Condition, u64>>,
    /// The last attempt failed and people were told.
    escalated: u64,
    /// A run holds them right now.
    running: u64,
    /// An attempt was made that is neither verified nor failed yet.
    attempts_open: u64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CountFindings)]
pub(crate) struct Findings {
    total: u64,
    open: u64,
    open_by_kind: BTreeMap<DriftKind, u64>,
    open_by_severity: BTreeMap<Severity, u64>,
    resolved: u64,
    recurred: u64,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CountApprovals)]
pub(crate) struct Approvals {
    open: u64,
    open_by_kind: BTreeMap<ApprovalKind, u64>,
    withdrawn: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Summary {
    at: Time,
    intents: Intents,
    findings: Findings,
    approvals: Approvals,
    /// Empty for those who may not read the fleet.
    queues: Vec<QueueDepth>,
    /// 0 for those who may not read the fleet.
    workers: usize,
    /// False if something could not be read, or if there is more than was counted; `counted_at_most` says how much was.
    complete: bool,
    counted_at_most: usize,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(summary))
}

/// Counts intents, findings and approvals, and shows queues.
#[utoipa::path(
    get,
    path = "/v1/summary",
    operation_id = "summary",
    tag = "health",
    responses((status = OK, body = Summary)),
)]
pub(crate) async fn summary(
    State(state): State<ApiState>,
    access: Access,
    params: Params,
) -> Result<Json<Summary>, Problem> {
    params.finish()?;
    let store = &state.store;
    let mut intents = Intents::default();
    let all_intents = each(
        |c| async move { store.list_intents(c.as_deref(), PAGE).await },
        |r| {
            if access.sees(&r.intent.key.tenant) {
                intents.count(&r);
            }
        },
    )
    .await?;
    let mut findings = Findings::default();
    let all_findings = each(
        |c| async move { store.list_findings(c.as_deref(), PAGE).await },
        |f| {
            if access.sees(&f.intent.tenant) {
                findings.count(&f);
            }
        },
    )
    .await?;
    let mut approvals = Approvals::default();
    let all_approvals = each(
        |c| async move { store.list_approvals(c.as_deref(), PAGE).await },
        |a| {
            if access.sees(&a.intent.tenant) {
                approvals.count(&a);
            }
        },
    )
    .await?;
    // Queues and workers belong to the fleet.
    let fleet = access.may(Permission::ReadFleet, None);
    let (queues, workers) = match fleet {
        true => (store.depths().await?, store.workers().await?.len()),
        false => (Vec::new(), 0),
    };
    Ok(Json(Summary {
        at: state.clock.now(),
        intents,
        findings,
        approvals,
        queues,
        workers,
        complete: all_intents && all_findings && all_approvals,
        counted_at_most: CAP,
    }))
}

/// Calls `count` for every item up to the cap; false if there were more, or some could not be read.
async fn each<T, F>(
    fetch: impl Fn(Option<String>) -> F,
    mut count: impl FnMut(T),
) -> Result<bool, EngineError>
where
    F: Future<Output = Result<Page<T>, EngineError>>,
{
    let (mut cursor, mut seen, mut calls, mut whole) = (None, 0, 0, true);
    loop {
        let page = fetch(cursor).await?;
        seen += page.items.len();
        calls += 1;
        whole &= page.missing.is_empty();
        page.items.into_iter().for_each(&mut count);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(whole);
        }
        // Pages may be short; their number is bounded too.
        if seen >= CAP || calls >= 10 * CAP / PAGE {
            return Ok(false);
        }
    }
}

impl Intents {
    fn count(&mut self, r: &IntentRecord) {
        let condition = r.state.condition;
        self.total += 1;
        *self.by_condition.entry(condition).or_default() += 1;
        *self.by_tenant.entry(r.intent.key.tenant.clone()).or_default().entry(condition).or_default() += 1;
        *self.by_plane.entry(r.intent.plane()).or_default().entry(condition).or_default() += 1;
        self.escalated += u64::from(r.state.attempts.escalated);
        self.running += u64::from(r.state.run.is_some());
        self.attempts_open += u64::from(r.state.attempts.open);
    }
}

impl Findings {
    fn count(&mut self, f: &Finding) {
        self.total += 1;
        self.recurred += u64::from(f.recurrences > 0);
        if f.open {
            self.open += 1;
            *self.open_by_kind.entry(f.kind).or_default() += 1;
            *self.open_by_severity.entry(f.severity).or_default() += 1;
        } else {
            self.resolved += 1;
        }
    }
}

impl Approvals {
    fn count(&mut self, a: &Approval) {
        match a.state {
            ApprovalState::Open => {
                self.open += 1;
                *self.open_by_kind.entry(a.kind).or_default() += 1;
            }
            ApprovalState::Withdrawn => self.withdrawn += 1,
        }
    }
}
