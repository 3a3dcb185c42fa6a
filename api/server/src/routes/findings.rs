//! `GET /v1/findings` and one of them.

use axum::Json;
use axum::extract::{Path, State};
use trueup_engine::store::Page;
use trueup_model::{DriftKind, Finding, FindingId, IntentKey, Severity, Verdict};

use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// Letters of an id, after `fnd_`, below which a beginning is too short to be looked for.
const MIN_PREFIX: usize = 6;

/// `?open=&kind=&severity=&verdict=&tenant=&intent=&prefix=&limit=&cursor=`
pub(crate) async fn list(
    State(state): State<ApiState>,
    mut params: Params,
) -> Result<Json<Page<Finding>>, Problem> {
    let open = params.flag("open");
    let kind: Option<DriftKind> = params.word("kind");
    let severity: Option<Severity> = params.word("severity");
    let verdict: Option<Verdict> = params.word("verdict");
    let tenant = params.text("tenant");
    let intent: Option<IntentKey> = params.parsed("intent", super::intent_param);
    let prefix = params.parsed("prefix", prefix);
    let (limit, cursor) = (params.limit(), params.text("cursor"));
    params.finish()?;
    let keep = |f: &Finding| {
        open.is_none_or(|o| f.open == o)
            && kind.is_none_or(|k| f.kind == k)
            && severity.is_none_or(|s| f.severity == s)
            && verdict.is_none_or(|v| f.decision.verdict == v)
            && tenant.as_ref().is_none_or(|t| f.intent.tenant == *t)
            && intent.as_ref().is_none_or(|i| f.intent == *i)
            && prefix.as_ref().is_none_or(|p| f.id.as_str().starts_with(p.as_str()))
    };
    if let Some(key) = &intent {
        let items = state.store.findings(key).await?.into_iter().filter(keep).collect();
        return Ok(Json(Page { items, next: None }));
    }
    let store = &state.store;
    let page =
        filtered(cursor, limit, keep, |c, n| async move { store.list_findings(c.as_deref(), n).await })
            .await?;
    Ok(Json(page))
}

/// The beginning of an id, with or without `fnd_`.
fn prefix(text: &str) -> Result<String, String> {
    let letters = text.strip_prefix(FindingId::PREFIX).unwrap_or(text);
    if letters.len() < MIN_PREFIX || !letters.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("expected at least {MIN_PREFIX} letters or digits of the id"));
    }
    Ok(format!("{}{letters}", FindingId::PREFIX))
}

pub(crate) async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<Finding>, Problem> {
    get(&state, &id).await.map(Json)
}

pub(super) async fn get(state: &ApiState, id: &str) -> Result<Finding, Problem> {
    let id = FindingId::from_wire(super::name("finding", id)?);
    state.store.finding(&id).await?.ok_or_else(|| Problem::not_found("finding", id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_long_enough_and_plain() {
        let table = [
            ("abc123", Ok("fnd_abc123")),
            ("fnd_abc123", Ok("fnd_abc123")),
            ("abc12", Err(())),
            ("fnd_", Err(())),
            ("abc*12345", Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(prefix(text).map_err(|_| ()), expected.map(str::to_owned), "{text}");
        }
    }
}
