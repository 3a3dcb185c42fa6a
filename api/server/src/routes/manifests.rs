//! `PUT` and `PATCH /v1/intents/{tenant}/{id}`: one manifest, on conditions. Many at once are stored by `submit`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use trueup_engine::store::{Applied, Change};
use trueup_model::IntentKey;
use trueup_model::intent::Manifest;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag::{self, Condition};
use super::writing::{Meant, Writer, write};
use super::{Correlation, media_type};
use crate::described::{IntentPath, Writing};
use crate::identity::{Access, Permission};
use crate::openapi::ManifestPart;
use crate::ownership::FieldChange;
use crate::problem::Flaw;
use crate::{ApiState, Problem, manifest, params::Params};

const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+json";

/// What became of a manifest.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    #[serde(flatten)]
    applied: Applied,
    /// Nothing was stored; this is what would be.
    dry_run: bool,
    /// Field by field.
    diff: Vec<FieldChange>,
}

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(replace, patch))
}

/// Stores one manifest in place of what is there, or creates it.
///
/// With `field_manager`, its fields belong to that manager from then on, and fields that it set before and that are missing
/// now are taken out. With `If-Match`, only over the version that has this ETag; with `If-None-Match: *`, only if there is none.
#[utoipa::path(
    put,
    path = "/v1/intents/{tenant}/{id}",
    operation_id = "replace_intent",
    tag = "intents",
    params(
        IntentPath,
        Writing,
        ("If-Match" = Option<String>, Header, description = "`*`, or the ETag of an earlier answer", example = "*"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none", pattern = "^\\*$"),
    ),
    request_body = Manifest,
    responses(
        (status = OK, description = "Stored, or as it was", body = Written, headers(("ETag" = String))),
        (status = CREATED, description = "Created", body = Written, headers(("ETag" = String))),
        (status = CONFLICT, description = "Fields belong to others; `errors` names them and their owners"),
        (status = PRECONDITION_FAILED, description = "It is not what If-Match or If-None-Match expects"),
    ),
)]
pub(crate) async fn replace(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, id)): Path<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Problem> {
    let (key, asked) = asked(&mut params, &headers, &tenant, &id)?;
    params.finish()?;
    access.require(Permission::WriteIntents, Some(&key.tenant))?;
    media_type(&headers, &["application/json"])?;
    let tree = object(&body)?;
    let intent = manifest::read(&tree)
        .map_err(|flaw| super::writing::refused(crate::ownership::Refusal::Invalid(flaw)))?;
    if intent.key != key {
        return Err(other_name(&key, "/id"));
    }
    let meant = match asked.writer.manager() {
        Some(_) => Meant::Part { key, tree },
        None => Meant::Whole(Box::new(intent)),
    };
    finish(&state, &access, &correlation, &meant, &asked).await
}

/// Changes fields of one intent, or applies a part of a manifest.
///
/// As `application/merge-patch+json` (RFC 7396) the fields named are changed, and removed where they are null. As
/// `application/apply-patch+json` the body is the part of the manifest that `field_manager` (then needed) has an opinion about:
/// server-side apply, as in Kubernetes.
#[utoipa::path(
    patch,
    path = "/v1/intents/{tenant}/{id}",
    operation_id = "patch_intent",
    tag = "intents",
    params(
        IntentPath,
        Writing,
        ("If-Match" = Option<String>, Header, description = "`*`, or the ETag of an earlier answer", example = "*"),
    ),
    request_body(content((ManifestPart = "application/merge-patch+json"), (ManifestPart = "application/apply-patch+json"))),
    responses(
        (status = OK, description = "Stored, or as it was", body = Written, headers(("ETag" = String))),
        (status = CREATED, description = "Created, from a part that is whole", body = Written, headers(("ETag" = String))),
        (status = CONFLICT, description = "Fields belong to others; `errors` names them and their owners"),
        (status = PRECONDITION_FAILED, description = "It is not what If-Match expects"),
    ),
)]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path((tenant, id)): Path<(String, String)>,
    mut params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Problem> {
    let (key, asked) = asked(&mut params, &headers, &tenant, &id)?;
    params.finish()?;
    access.require(Permission::WriteIntents, Some(&key.tenant))?;
    let kind = media_type(&headers, &[MERGE, APPLY])?;
    let mut tree = object(&body)?;
    for (field, name) in [("id", &key.id), ("tenant", &key.tenant)] {
        if tree.get(field).is_some_and(|given| given != name.as_str()) {
            return Err(other_name(&key, &format!("/{field}")));
        }
        tree[field] = Value::from(name.as_str());
    }
    let meant = match (kind == APPLY, asked.writer.manager()) {
        (true, None) => {
            let why = "needed to apply a part of a manifest: say whose fields these are";
            return Err(Problem::parameters(vec![Flaw::new("?field_manager", why)]));
        }
        (true, Some(_)) => Meant::Part { key, tree },
        (false, _) => Meant::Patch { key, tree },
    };
    finish(&state, &access, &correlation, &meant, &asked).await
}

/// What both ask.
struct Asked {
    writer: Writer,
    dry_run: bool,
    condition: Condition,
}

fn asked(
    params: &mut Params,
    headers: &HeaderMap,
    tenant: &str,
    id: &str,
) -> Result<(IntentKey, Asked), Problem> {
    let key = super::intent_key(tenant, id)?;
    let writer = Writer::of(params);
    let dry_run = params.flag("dry_run").unwrap_or(false);
    Ok((key, Asked { writer, dry_run, condition: Condition::of(headers)? }))
}

fn object(body: &[u8]) -> Result<Value, Problem> {
    let tree: Value = super::json_body(body)?.unwrap_or_default();
    if tree.is_object() {
        return Ok(tree);
    }
    let why = "expected one manifest, an object";
    Err(Problem::invalid(why, vec![Flaw::new("", why)]))
}

fn other_name(key: &IntentKey, pointer: &str) -> Problem {
    let why = format!("the path says {key}; an intent cannot be renamed");
    Problem::invalid(why.clone(), vec![Flaw::new(pointer, why)])
}

async fn finish(
    state: &ApiState,
    access: &Access,
    correlation: &trueup_model::CorrelationId,
    meant: &Meant,
    asked: &Asked,
) -> Result<impl IntoResponse + use<>, Problem> {
    let by = state.by(access, correlation);
    let by = (!asked.dry_run).then_some(&by);
    let (applied, diff) = write(state, meant, &asked.writer, &asked.condition, by).await?;
    let created = applied.change == Change::Created && !asked.dry_run;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let tag: [(header::HeaderName, HeaderValue); 1] = etag::header_of(applied.generation, applied.version);
    Ok((status, tag, Json(Written { applied, dry_run: asked.dry_run, diff })))
}
