//! Reconciliations: asking for a look now, at one intent, at many, or at a whole tenant, and waiting for it.
//!
//! # Guarantees
//! - 202 means stored: nothing that was accepted is lost when this process or a worker dies. What a crash of Redis may lose,
//!   its own setting says (`appendfsync always`: nothing; `everysec`: about a second).
//! - An active run is not disturbed: the look follows it (E9).
//! - The same `Idempotency-Key` asks once; so does a request that is sent again because the first was cut short.
//! - Many are stored in chunks of what one sweep takes, per partition; no job is larger, and memory does not grow with a tenant.
//! - Each request leaves one `RECONCILIATION_REQUESTED` event.

mod accept;
mod progress;
mod wanted;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use trueup_engine::requests::Reconciliation;
use trueup_engine::store::Page;
use trueup_model::{CorrelationId, IntentKey, ReconciliationId, Status};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use crate::described::{IntentPath, OfTenant, Paging};
use crate::idempotency::Operation;
use crate::identity::{Access, Permission};
use crate::paging::filtered;
use crate::problem::Flaw;
use crate::{ApiState, Problem, params::Params};
use accept::Writer;
use progress::{Progress, View};
use wanted::{Line, Wanted};

/// Most refusals listed in one answer; the count is whole.
const MAX_REFUSALS: usize = 1_000;

/// What is to be looked at: one intent, a list of them, or a tenant's, all or those with certain labels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's form; `wanted` reads it so that errors name the field")]
pub(crate) enum Ask {
    One {
        intent: IntentKey,
    },
    Many {
        #[schema(min_items = 1, max_items = 10000)]
        intents: Vec<IntentKey>,
    },
    Tenant {
        #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$")]
        tenant: String,
        /// Only those with these labels: `env=prod,tier!=gold,region in (a,b),!old`.
        #[schema(pattern = "^.{1,512}$")]
        selector: Option<String>,
    },
}

/// What was accepted. Ask for `/v1/reconciliations/{id}` to see how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Handle {
    pub(crate) id: ReconciliationId,
    /// Of the runs that are begun for it, and their events. Where a run is under way, or the plane's queue is full, the look is
    /// left to the next sweep, under a correlation id of its own.
    pub(crate) correlation_id: CorrelationId,
    /// Intents that will be looked at.
    pub(crate) accepted: u64,
    /// Not accepted, at most 1,000 of them.
    pub(crate) refused: Vec<Refused>,
    pub(crate) refused_total: u64,
    /// One for each line that was not empty, where lines were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) results: Option<Vec<Line>>,
}

/// An intent that will not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// Which of those that were sent, from 1.
    pub(crate) item: usize,
    /// As it was sent.
    #[schema(max_length = 300)]
    pub(crate) intent: String,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = RefusedBecause)]
pub(crate) enum Reason {
    /// It cannot be the name of an intent.
    Invalid,
    /// There is no such intent, or not for who asks.
    NotFound,
    /// Who asks may not ask for checks in that tenant.
    Forbidden,
    /// It is paused or retired.
    NotReconciled,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list, ask)).routes(routes!(one)).routes(routes!(check))
}

/// Asks for a look at intents now.
///
/// One (`intent`), many (`intents`, or one `"TENANT/ID"` per line as NDJSON), or a tenant's (`tenant`, with a `selector` only
/// those). Answers with a handle as soon as all of it is stored; what cannot be looked at is listed with its reason. 422 if
/// nothing can.
#[utoipa::path(
    post,
    path = "/v1/reconciliations",
    operation_id = "request_reconciliation",
    tag = "reconciliations",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks once", pattern = "^[!#-\\[\\]-~]{1,255}$"),
    ),
    request_body(content(
        (Ask = "application/json", example = json!({"tenant": "acme", "selector": "env=prod"})),
        (String = "application/x-ndjson", example = "\"acme/firefox\"\n\"acme/vpn\"\n"),
    )),
    responses(
        (status = ACCEPTED, description = "Stored; they will be looked at", body = Handle),
        (status = NOT_FOUND, description = "There is no such intent or tenant, or not for who asks"),
        (status = CONFLICT, description = "It is paused or retired, or the idempotency key is in use"),
    ),
)]
pub(crate) async fn ask(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    operation: Option<axum::Extension<Operation>>,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Handle>), Problem> {
    params.finish()?;
    let writer =
        Writer::new(&state, &access, correlation, operation.map(|o| o.0), &String::from_utf8_lossy(&body));
    let handle = match wanted::read(&headers, &body)? {
        Wanted::One(key) => single(&state, &access, writer, key).await?,
        Wanted::Named { names, lines } => named(&state, &access, writer, names, lines).await?,
        Wanted::Tenant { tenant, selector } => of_tenant(&access, writer, &tenant, selector.as_ref()).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(handle)))
}

/// Asks for a look at one intent now.
///
/// The same as a reconciliation of one. An active run is not disturbed: the look follows it.
#[utoipa::path(
    post,
    path = "/v1/intents/{tenant}/{id}/checks",
    operation_id = "check_intent",
    tag = "reconciliations",
    params(
        IntentPath,
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks once", pattern = "^[!#-\\[\\]-~]{1,255}$"),
    ),
    responses(
        (status = ACCEPTED, description = "Stored; it will be looked at", body = Handle),
        (status = CONFLICT, description = "It is paused or retired, or the idempotency key is in use"),
        (status = UNPROCESSABLE_ENTITY, description = "The idempotency key was used for another request"),
    ),
)]
pub(crate) async fn check(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    operation: Option<axum::Extension<Operation>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Handle>), Problem> {
    let key = super::intent_key(&tenant, &id)?;
    let writer = Writer::new(&state, &access, correlation, operation.map(|o| o.0), &key.to_string());
    Ok((StatusCode::ACCEPTED, Json(single(&state, &access, writer, key).await?)))
}

/// One intent: a refusal is a problem of its own.
async fn single(
    state: &ApiState,
    access: &Access,
    mut writer: Writer<'_>,
    key: IntentKey,
) -> Result<Handle, Problem> {
    if !access.sees(&key.tenant) {
        return Err(Problem::not_found("intent", &key.to_string()));
    }
    access.require(Permission::Reconcile, Some(&key.tenant))?;
    let found = state.store.requests().standings(std::slice::from_ref(&key)).await?.pop().flatten();
    let Some(standing) = found else { return Err(Problem::not_found("intent", &key.to_string())) };
    if !standing.reconciled {
        // Rare enough to read the whole of it, for the word.
        let record = super::intents::record(state, &key).await?;
        let retired = record.is_some_and(|r| r.intent.status == Status::Retired);
        let status = if retired { "RETIRED" } else { "PAUSED" };
        let detail = format!("{key} is {status} and is not checked; apply it with another status first");
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not-reconciled",
            "The intent is not reconciled",
            detail,
        ));
    }
    writer.add(key, standing.runs).await?;
    let head = writer.finish(None, 0).await?;
    Ok(handle(head, Vec::new(), None))
}

/// Many, each judged by itself.
async fn named(
    state: &ApiState,
    access: &Access,
    mut writer: Writer<'_>,
    names: Vec<Result<IntentKey, Refused>>,
    lines: Option<Vec<usize>>,
) -> Result<Handle, Problem> {
    let mut refused = accept::judged(state, access, &mut writer, names).await?;
    refused.sort_by_key(|r| r.item);
    if writer.is_empty() {
        return Err(nothing(&refused, lines.as_deref()));
    }
    let results = lines.map(|lines| wanted::results(&lines, &refused));
    let head = writer.finish(None, refused.len()).await?;
    Ok(handle(head, refused, results))
}

async fn of_tenant(
    access: &Access,
    mut writer: Writer<'_>,
    tenant: &str,
    selector: Option<&(String, crate::selector::Selector)>,
) -> Result<Handle, Problem> {
    if !access.sees(tenant) {
        return Err(Problem::not_found("tenant", tenant));
    }
    access.require(Permission::Reconcile, Some(tenant))?;
    let seen = writer.add_tenant(tenant, selector.map(|(_, s)| s)).await?;
    if writer.is_empty() {
        if seen == 0 {
            return Err(Problem::not_found("tenant", tenant));
        }
        let detail = format!(
            "none of the {seen} intents of tenant '{tenant}' is reconciled and has these labels; see `trueup get intents`"
        );
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "nothing-matches",
            "Nothing matches",
            detail,
        ));
    }
    let head = writer.finish(selector.map(|(text, _)| text.clone()), 0).await?;
    Ok(handle(head, Vec::new(), None))
}

fn handle(head: Reconciliation, mut refused: Vec<Refused>, results: Option<Vec<Line>>) -> Handle {
    let refused_total = refused.len() as u64;
    refused.truncate(MAX_REFUSALS);
    let Reconciliation { id, correlation_id, accepted, .. } = head;
    Handle { id, correlation_id, accepted, refused, refused_total, results }
}

/// 422: not one of them can be looked at.
fn nothing(refused: &[Refused], lines: Option<&[usize]>) -> Problem {
    let place = |r: &Refused| match lines.and_then(|lines| lines.get(r.item - 1)) {
        Some(line) => format!("/line {line}"),
        None => format!("/intents/{}", r.item - 1),
    };
    let flaws = refused
        .iter()
        .take(crate::problem::MAX_FLAWS)
        .map(|r| Flaw::new(place(r), format!("{}: {}", r.intent.escape_default(), r.detail)));
    let detail = format!("none of the {} intents can be looked at; nothing was stored", refused.len());
    Problem::invalid(detail, flaws.collect())
}

/// How far a reconciliation is.
///
/// With `wait` the answer comes when it is done, or when the time is over.
#[utoipa::path(
    get,
    path = "/v1/reconciliations/{id}",
    operation_id = "get_reconciliation",
    tag = "reconciliations",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9._-]{1,128}$", example = "rec_0v2c4ae9k1m7q3x5z8bd"),
        ("wait" = Option<String>, Query, description = "Longest time to wait for its end, at most 30s; the answer may come some seconds earlier", pattern = "^([0-9]|[12][0-9]|30)s$", example = "30s"),
    ),
    responses((status = OK, body = View)),
)]
pub(crate) async fn one(
    State(state): State<ApiState>,
    access: Access,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<View>, Problem> {
    let wait = params.parsed("wait", progress::wait);
    params.finish()?;
    let id = ReconciliationId::from_wire(super::name("reconciliation", &id)?);
    let head = state.store.requests().reconciliation(&id).await?;
    let head = head.filter(|head| visible(&access, head)).ok_or_else(|| {
        let mut problem = Problem::not_found("reconciliation", id.as_str());
        problem.detail += "; they are remembered for 24 h, of very many for less";
        problem
    })?;
    let progress = Progress::until_done(state.store.requests(), &head, wait.unwrap_or_default()).await?;
    Ok(Json(View::of(head, progress)))
}

fn visible(access: &Access, head: &Reconciliation) -> bool {
    head.tenants.iter().all(|tenant| access.sees(tenant))
}

/// Lists reconciliations, the newest first, without how far they are.
#[utoipa::path(
    get,
    path = "/v1/reconciliations",
    operation_id = "list_reconciliations",
    tag = "reconciliations",
    params(OfTenant, Paging),
    responses((status = OK, body = Page<Reconciliation>)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Page<Reconciliation>>, Problem> {
    let tenant = params.tenant();
    let (limit, cursor) = (params.limit(), params.cursor());
    params.finish()?;
    let keep = |head: &Reconciliation| {
        visible(&access, head) && tenant.as_ref().is_none_or(|t| head.tenants.contains(t))
    };
    let store = &state.store;
    let page = filtered(cursor, limit, keep, |c, n| async move {
        store.requests().reconciliations(c.as_deref(), n).await
    });
    Ok(Json(page.await?))
}
