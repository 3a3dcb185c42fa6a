//! Reading and deleting intents. Storing them is in `submit`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use trueup_engine::manifests::Expect;
use trueup_engine::store::{Applied, Change, Page};
use trueup_model::{Condition, Criticality, IntentKey, IntentRecord, PlaneKind, Ring, Status};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Correlation, etag, scoped};
use crate::described::{IntentPath, OfTenant, Paging};
use crate::identity::Access;
use crate::paging::filtered;
use crate::selector::Selector;
use crate::{ApiState, Problem, params::Params};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(one, delete))
}

/// Lists intents with their state.
///
/// A filter that matches little may give a short, even empty, page with a `next` that goes on from there.
#[utoipa::path(
    get,
    path = "/v1/intents",
    operation_id = "list_intents",
    tag = "intents",
    params(
        OfTenant,
        ("selector" = Option<String>, Query, description = "Labels, as in Kubernetes: `env=prod,tier!=gold,region in (a,b),!old`", pattern = "^ *(! *[A-Za-z0-9._/-]+|[A-Za-z0-9._/-]+( *(==?|!=) *[A-Za-z0-9._/-]*| +(in|notin) *\\( *[A-Za-z0-9._/-]* *(, *[A-Za-z0-9._/-]* *)*\\))?) *(, *(! *[A-Za-z0-9._/-]+|[A-Za-z0-9._/-]+( *(==?|!=) *[A-Za-z0-9._/-]*| +(in|notin) *\\( *[A-Za-z0-9._/-]* *(, *[A-Za-z0-9._/-]* *)*\\))?) *)*$", max_length = 4096, example = "team=browsers,!old"),
        ("condition" = Option<Condition>, Query, description = "How it was seen last"),
        ("plane" = Option<PlaneKind>, Query, description = "Where it is carried out"),
        ("status" = Option<Status>, Query, description = "As in its manifest"),
        ("ring" = Option<Ring>, Query, description = "As in its manifest"),
        ("criticality" = Option<Criticality>, Query, description = "As in its manifest"),
        Paging,
    ),
    responses((status = OK, body = Page<IntentRecord>)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Page<IntentRecord>>, Problem> {
    let tenant = params.tenant();
    let selector = params.parsed("selector", Selector::parse);
    let condition: Option<Condition> = params.word("condition");
    let plane: Option<PlaneKind> = params.word("plane");
    let status: Option<Status> = params.word("status");
    let ring: Option<Ring> = params.word("ring");
    let criticality: Option<Criticality> = params.word("criticality");
    let (limit, cursor) = (params.limit(), params.cursor());
    params.finish()?;
    let keep = |r: &IntentRecord| {
        access.sees(&r.intent.key.tenant)
            && tenant.as_ref().is_none_or(|t| r.intent.key.tenant == *t)
            && condition.is_none_or(|c| r.state.condition == c)
            && plane.is_none_or(|p| r.intent.plane() == p)
            && status.is_none_or(|s| r.intent.status == s)
            && ring.is_none_or(|ring| r.intent.ring == ring)
            && criticality.is_none_or(|c| r.intent.criticality == c)
            && selector.as_ref().is_none_or(|s| s.matches(&r.intent.labels))
    };
    let (store, scope) = (state.store.as_ref(), &scoped::scope(&access, tenant.as_deref()));
    let page = filtered(cursor, limit, keep, |c, n| scoped::list_intents(store, scope, c, n)).await?;
    Ok(Json(page))
}

/// The record of one intent, if there is one.
pub(super) async fn record(state: &ApiState, key: &IntentKey) -> Result<Option<IntentRecord>, Problem> {
    Ok(state.store.intents(std::slice::from_ref(key)).await?.into_iter().next().flatten())
}

/// Shows one intent with its state.
///
/// The ETag stands for what was meant, the manifest and who owns its fields: checks do not change it.
#[utoipa::path(
    get,
    path = "/v1/intents/{tenant}/{id}",
    operation_id = "get_intent",
    tag = "intents",
    params(IntentPath),
    responses((status = OK, body = IntentRecord, headers(("ETag" = String)))),
)]
pub(crate) async fn one(
    State(state): State<ApiState>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let key = super::intent_key(&tenant, &id)?;
    match record(&state, &key).await? {
        Some(record) => Ok((etag::header_of(record.generation, record.version), Json(record))),
        None => Err(Problem::not_found("intent", &key.to_string())),
    }
}

/// Forgets one intent with its findings and approvals. What it meant stays as it is on its plane.
#[utoipa::path(
    delete,
    path = "/v1/intents/{tenant}/{id}",
    operation_id = "delete_intent",
    tag = "intents",
    params(
        IntentPath,
        ("If-Match" = Option<String>, Header, description = "`*`, or the ETag of an earlier answer", example = "*"),
    ),
    responses(
        (status = OK, body = Applied),
        (status = PRECONDITION_FAILED, description = "It is not what If-Match expects"),
    ),
)]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Applied>, Problem> {
    let key = super::intent_key(&tenant, &id)?;
    let condition = etag::Condition::of(&headers)?;
    let mut expect = Expect::Anything;
    if condition != etag::Condition::None {
        let Some(live) = record(&state, &key).await? else {
            return Err(Problem::not_found("intent", &key.to_string()));
        };
        condition.check(Some(&live))?;
        expect = Expect::Version(live.version);
    }
    let done = state.store.manifests().forget(&key, expect, &state.by(&access, &correlation)).await?;
    match done.change {
        Change::Deleted => Ok(Json(done)),
        Change::Conflict => Err(super::writing::busy(&key)),
        _ => Err(Problem::not_found("intent", &key.to_string())),
    }
}
