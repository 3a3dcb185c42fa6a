//! `GET /v1/approvals`: what waits for people. This version records questions; deciding them comes later.

use axum::Json;
use axum::extract::State;
use trueup_engine::store::Page;
use trueup_model::{Approval, ApprovalKind, ApprovalState, IntentKey};

use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// `?kind=&state=&tenant=&intent=&limit=&cursor=`
pub(crate) async fn list(
    State(state): State<ApiState>,
    mut params: Params,
) -> Result<Json<Page<Approval>>, Problem> {
    let kind: Option<ApprovalKind> = params.word("kind");
    let wanted: Option<ApprovalState> = params.word("state");
    let tenant = params.text("tenant");
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    let (limit, cursor) = (params.limit(), params.text("cursor"));
    params.finish()?;
    let keep = |a: &Approval| {
        kind.is_none_or(|k| a.kind == k)
            && wanted.is_none_or(|s| a.state == s)
            && tenant.as_ref().is_none_or(|t| a.intent.tenant == *t)
            && intent.as_ref().is_none_or(|i| a.intent == *i)
    };
    if let Some(key) = &intent {
        let items = state.store.approvals(key).await?.into_iter().filter(keep).collect();
        return Ok(Json(Page { items, next: None }));
    }
    let store = &state.store;
    let page =
        filtered(cursor, limit, keep, |c, n| async move { store.list_approvals(c.as_deref(), n).await })
            .await?;
    Ok(Json(page))
}
