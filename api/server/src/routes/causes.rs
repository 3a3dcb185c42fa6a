//! `GET /v1/causes`: open drift grouped by what caused it, so that 400 drifted intents are one line.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use trueup_model::cause::{CauseGroup, groups};
use trueup_model::{Finding, PlaneKind};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::described::OfTenant;
use crate::identity::Access;
use crate::{ApiState, Problem, params::Params};

/// Findings read for one answer, the newest first. What is open was seen newly, so it comes before what is not.
const MAX_READ: usize = 50_000;
/// Findings read in one go.
const PAGE: usize = 1_000;

/// The groups, and of how many findings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Causes {
    /// The largest first.
    items: Vec<CauseGroup>,
    /// Open findings that were grouped.
    findings: usize,
    /// There are more findings than were read: groups may be larger, or missing. Ask for one tenant or plane.
    cut: bool,
    /// What could not be read, and why: groups may be larger, or missing.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    missing: BTreeSet<String>,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Groups open drift by what may have caused it, the largest group first.
#[utoipa::path(
    get,
    path = "/v1/causes",
    operation_id = "list_causes",
    tag = "findings",
    params(OfTenant, ("plane" = Option<PlaneKind>, Query, description = "Only drift on this plane")),
    responses((status = OK, body = Causes)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Causes>, Problem> {
    let tenant = params.tenant();
    let plane: Option<PlaneKind> = params.word("plane");
    params.finish()?;
    let keep = |f: &Finding| {
        f.open
            && access.sees(&f.intent.tenant)
            && tenant.as_ref().is_none_or(|t| f.intent.tenant == *t)
            && plane.is_none_or(|p| f.plane == p)
    };
    let (mut open, mut read, mut cursor) = (Vec::new(), 0, None::<String>);
    let mut missing = BTreeSet::new();
    loop {
        let page = state.store.list_findings(cursor.as_deref(), PAGE).await?;
        read += page.items.len();
        open.extend(page.items.into_iter().filter(keep).map(without_history));
        missing.extend(page.missing);
        cursor = page.next;
        if cursor.is_none() || read >= MAX_READ {
            break;
        }
    }
    Ok(Json(Causes { items: groups(&open), findings: open.len(), cut: cursor.is_some(), missing }))
}

/// Grouping needs no history, which is most of what a finding weighs.
fn without_history(mut f: Finding) -> Finding {
    (f.facts, f.delta) = (Vec::new(), Vec::new());
    f
}
