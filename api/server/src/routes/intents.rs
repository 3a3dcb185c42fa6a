//! Reading and deleting intents. Storing them is in `submit`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use trueup_engine::store::{Applied, Change, Page};
use trueup_model::{Condition, IntentKey, IntentRecord, PlaneKind};

use super::Correlation;
use crate::identity::Access;
use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// `?tenant=&condition=&plane=&label=KEY[=VALUE]&limit=&cursor=`
pub(crate) async fn list(
    State(state): State<ApiState>,
    mut params: Params,
) -> Result<Json<Page<IntentRecord>>, Problem> {
    let tenant = params.text("tenant");
    let condition: Option<Condition> = params.word("condition");
    let plane: Option<PlaneKind> = params.word("plane");
    let label = params.text("label");
    let (limit, cursor) = (params.limit(), params.text("cursor"));
    params.finish()?;
    let label = label.as_deref().map(|l| l.split_once('=').map_or((l, None), |(k, v)| (k, Some(v))));
    let keep = |r: &IntentRecord| {
        tenant.as_ref().is_none_or(|t| r.intent.key.tenant == *t)
            && condition.is_none_or(|c| r.state.condition == c)
            && plane.is_none_or(|p| r.intent.plane() == p)
            && label.is_none_or(|(k, v)| r.intent.labels.get(k).is_some_and(|has| v.is_none_or(|v| has == v)))
    };
    let store = &state.store;
    let page = filtered(cursor, limit, keep, |c, n| async move { store.list_intents(c.as_deref(), n).await })
        .await?;
    Ok(Json(page))
}

/// The record of one intent, if there is one.
pub(super) async fn record(state: &ApiState, key: &IntentKey) -> Result<Option<IntentRecord>, Problem> {
    Ok(state.store.intents(std::slice::from_ref(key)).await?.into_iter().next().flatten())
}

pub(crate) async fn one(
    State(state): State<ApiState>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Json<IntentRecord>, Problem> {
    let key = super::intent_key(&tenant, &id)?;
    record(&state, &key).await?.map(Json).ok_or_else(|| Problem::not_found("intent", &key.to_string()))
}

pub(crate) async fn delete(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Applied>), Problem> {
    let key = super::intent_key(&tenant, &id)?;
    let done = state
        .store
        .delete(std::slice::from_ref(&key), &state.by(&access, &correlation))
        .await?
        .into_iter()
        .next();
    match done {
        Some(applied) if applied.change == Change::Deleted => Ok((StatusCode::OK, Json(applied))),
        _ => Err(Problem::not_found("intent", &key.to_string())),
    }
}
