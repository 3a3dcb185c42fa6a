//! `GET /v1/approvals`: what waits for people. This version records questions; deciding them comes later.

use axum::Json;
use axum::extract::State;
use trueup_engine::store::Page;
use trueup_model::{Approval, ApprovalKind, ApprovalState};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::{OfIntent, OfTenant, Paging};
use crate::identity::Access;
use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Lists approvals, the newest first.
///
/// What waits for people, and what did until the drift went away. This version records questions; deciding them comes later.
#[utoipa::path(
    get,
    path = "/v1/approvals",
    operation_id = "list_approvals",
    tag = "approvals",
    params(
        OfTenant,
        OfIntent,
        ("kind" = Option<ApprovalKind>, Query, description = "Who has to decide"),
        ("state" = Option<ApprovalState>, Query, description = "Whether it still waits"),
        Paging,
    ),
    responses((status = OK, body = Page<Approval>)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Page<Approval>>, Problem> {
    let kind: Option<ApprovalKind> = params.word("kind");
    let wanted: Option<ApprovalState> = params.word("state");
    let tenant = params.tenant();
    let intent = params.intent();
    let (limit, cursor) = (params.limit(), params.cursor());
    params.finish()?;
    let keep = |a: &Approval| {
        access.sees(&a.intent.tenant)
            && kind.is_none_or(|k| a.kind == k)
            && wanted.is_none_or(|s| a.state == s)
            && tenant.as_ref().is_none_or(|t| a.intent.tenant == *t)
            && intent.as_ref().is_none_or(|i| a.intent == *i)
    };
    if let Some(key) = &intent {
        let items = state.store.approvals(key).await?.into_iter().filter(keep).collect();
        return Ok(Json(Page { items, next: None, missing: Vec::new() }));
    }
    let store = &state.store;
    let page =
        filtered(cursor, limit, keep, |c, n| async move { store.list_approvals(c.as_deref(), n).await })
            .await?;
    Ok(Json(page))
}
