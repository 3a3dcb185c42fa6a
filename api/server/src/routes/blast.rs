//! The blast-radius switches: which are tripped, and how remediation becomes automatic again.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use trueup_model::PlaneKind;

use super::Correlation;
use crate::identity::Access;
use crate::{ApiState, Problem, params::Params};

/// `GET /v1/blast-radius`: the switches that are tripped.
pub(crate) async fn list(State(state): State<ApiState>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    Ok(Json(json!({"items": state.store.trips().await?})))
}

/// `POST /v1/blast-radius/{tenant}/{plane}/rearm`; 404 if that switch is not tripped.
pub(crate) async fn rearm(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, plane)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
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
    Ok(Json(json!({"tenant": tenant, "plane": plane, "rearmed": true})))
}
