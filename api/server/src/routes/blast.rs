//! The blast-radius switches: which are tripped, and how remediation becomes automatic again.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use trueup_model::{PlaneKind, Trip};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use crate::identity::Access;
use crate::{ApiState, Problem, params::Params};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Switches {
    /// Those that are tripped, by tenant and plane.
    items: Vec<Trip>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rearmed {
    tenant: String,
    plane: PlaneKind,
    rearmed: bool,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(rearm))
}

/// Lists the switches that are tripped.
#[utoipa::path(
    get,
    path = "/v1/blast-radius",
    operation_id = "list_blast_radius",
    tag = "blast-radius",
    responses((status = OK, body = Switches)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    params: Params,
) -> Result<Json<Switches>, Problem> {
    params.finish()?;
    let mut items = state.store.trips().await?;
    items.retain(|t| access.sees(&t.tenant));
    Ok(Json(Switches { items }))
}

/// Rearms a switch, so that remediation of this tenant on this plane may be automatic again.
#[utoipa::path(
    post,
    path = "/v1/blast-radius/{tenant}/{plane}/rearm",
    operation_id = "rearm_blast_radius",
    tag = "blast-radius",
    params(
        ("tenant" = String, Path, pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"),
        ("plane" = PlaneKind, Path),
    ),
    responses((status = OK, body = Rearmed), (status = NOT_FOUND, description = "That switch is not tripped")),
)]
pub(crate) async fn rearm(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, plane)): Path<(String, String)>,
) -> Result<Json<Rearmed>, Problem> {
    let tenant = super::name("tenant", &tenant)?;
    let plane: PlaneKind = super::name("plane", &plane)?.parse().map_err(|e: String| {
        let mut problem = Problem::not_found("plane", &plane);
        problem.detail = crate::manifest::with_suggestion(&e);
        problem
    })?;
    if !state.store.rearm(tenant, plane, &state.by(&access, &correlation)).await? {
        let mut problem = Problem::not_found("tripped blast-radius switch", &format!("{tenant}/{plane}"));
        problem.detail += "; see those that are with `trueup blast ls`";
        return Err(problem);
    }
    Ok(Json(Rearmed { tenant: tenant.into(), plane, rearmed: true }))
}
