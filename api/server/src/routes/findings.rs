//! `GET /v1/findings` and one of them.

use axum::Json;
use axum::extract::{Path, State};
use trueup_engine::store::Page;
use trueup_model::{DriftKind, Finding, FindingId, Severity, Verdict};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::{OfIntent, OfTenant, Paging};
use crate::identity::Access;
use crate::paging::filtered;
use crate::{ApiState, Problem, params::Params};

/// Letters of an id, after `fnd_`, below which a beginning is too short to be looked for.
const MIN_PREFIX: usize = 6;
/// And above which it is none.
const MAX_PREFIX: usize = 64;

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(one))
}

/// Lists findings, the newest first.
///
/// All drift of one kind on one intent is one finding, over all its recurrences, with the facts about it.
#[utoipa::path(
    get,
    path = "/v1/findings",
    operation_id = "list_findings",
    tag = "findings",
    params(
        ("open" = Option<bool>, Query, description = "Whether the drift is there now"),
        ("kind" = Option<DriftKind>, Query, description = "Only this kind of drift"),
        ("severity" = Option<Severity>, Query, description = "Only this severity"),
        ("verdict" = Option<Verdict>, Query, description = "Only what policy decided so"),
        ("prefix" = Option<String>, Query, description = "The beginning of the id, with or without `fnd_`", pattern = "^(fnd_)?[0-9A-Za-z]{6,64}$"),
        OfTenant,
        OfIntent,
        Paging,
    ),
    responses((status = OK, body = Page<Finding>)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Page<Finding>>, Problem> {
    let open = params.flag("open");
    let kind: Option<DriftKind> = params.word("kind");
    let severity: Option<Severity> = params.word("severity");
    let verdict: Option<Verdict> = params.word("verdict");
    let tenant = params.tenant();
    let intent = params.intent();
    let prefix = params.parsed("prefix", prefix);
    let (limit, cursor) = (params.limit(), params.cursor());
    params.finish()?;
    let keep = |f: &Finding| {
        access.sees(&f.intent.tenant)
            && open.is_none_or(|o| f.open == o)
            && kind.is_none_or(|k| f.kind == k)
            && severity.is_none_or(|s| f.severity == s)
            && verdict.is_none_or(|v| f.decision.verdict == v)
            && tenant.as_ref().is_none_or(|t| f.intent.tenant == *t)
            && intent.as_ref().is_none_or(|i| f.intent == *i)
            && prefix.as_ref().is_none_or(|p| f.id.as_str().starts_with(p.as_str()))
    };
    if let Some(key) = &intent {
        let items = state.store.findings(key).await?.into_iter().filter(keep).collect();
        return Ok(Json(Page { items, next: None, missing: Vec::new() }));
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
    if !(MIN_PREFIX..=MAX_PREFIX).contains(&letters.len())
        || !letters.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(format!("expected {MIN_PREFIX} to {MAX_PREFIX} letters or digits of the id"));
    }
    Ok(format!("{}{letters}", FindingId::PREFIX))
}

/// Shows one finding with its facts.
#[utoipa::path(
    get,
    path = "/v1/findings/{id}",
    operation_id = "get_finding",
    tag = "findings",
    params(("id" = String, Path, description = "Of the finding", pattern = "^[A-Za-z0-9_.-]{1,128}$", example = "fnd_0123456789abcdefghjk")),
    responses((status = OK, body = Finding)),
)]
pub(crate) async fn one(
    State(state): State<ApiState>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Json<Finding>, Problem> {
    get(&state, &access, &id).await.map(Json)
}

/// One finding, if it is there for who asks.
pub(super) async fn get(state: &ApiState, access: &Access, id: &str) -> Result<Finding, Problem> {
    let id = FindingId::from_wire(super::name("finding", id)?);
    let found = state.store.finding(&id).await?.filter(|f| access.sees(&f.intent.tenant));
    found.ok_or_else(|| Problem::not_found("finding", id.as_str()))
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
