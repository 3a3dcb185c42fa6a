//! `GET /v1/whoami`: who the caller is, and what they may.

use std::collections::BTreeMap;

use axum::Json;
use serde::Serialize;
use trueup_engine::credentials::Grant;
use trueup_model::Time;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::identity::{Access, Permission};
use crate::{ApiState, Problem, params::Params};

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(whoami))
}

/// Who the caller is, and what they may.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// As events name them.
    actor: String,
    /// `local`, `key` or `oidc`.
    kind: String,
    name: String,
    #[schema(value_type = Vec<String>)]
    grants: Vec<Grant>,
    /// What they may in each tenant that a grant names; `*`: everywhere, and in the fleet.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    permissions: BTreeMap<String, Vec<Permission>>,
    /// When the key or token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
}

/// Shows who the caller is, and what they may.
#[utoipa::path(
    get,
    path = "/v1/whoami",
    operation_id = "whoami",
    tag = "identity",
    responses((status = OK, body = WhoAmI)),
)]
pub(crate) async fn whoami(access: Access, params: Params) -> Result<Json<WhoAmI>, Problem> {
    params.finish()?;
    let who = access.principal();
    let mut permissions = BTreeMap::new();
    for grant in &who.grants {
        let tenant = grant.tenant.as_deref();
        let there = Permission::ALL.into_iter().filter(|p| tenant.is_none() || !p.is_of_fleet());
        let may = || there.filter(|p| access.may(*p, tenant)).collect();
        permissions.entry(tenant.unwrap_or("*").to_owned()).or_insert_with(may);
    }
    Ok(Json(WhoAmI {
        actor: access.actor().to_owned(),
        kind: who.kind.as_str().to_owned(),
        name: who.name.clone(),
        grants: who.grants.clone(),
        permissions,
        expires_at: who.expires_at,
    }))
}
