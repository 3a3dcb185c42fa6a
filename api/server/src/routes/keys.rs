//! API keys: made, listed, rotated and revoked.
//!
//! # Guarantees
//! - A secret is in one answer only: that of its creation or rotation.
//! - Nobody gives more than they have: a key's grants need `administer` in each tenant that they name, and on the fleet for
//!   `*`. A key that the caller could not have made is not there for them.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use trueup_engine::credentials::{Credential, Grant, KeyChange, MAX_CREDENTIALS, MAX_GRANTS, MAX_LABEL};
use trueup_model::{Duration, Time};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Correlation;
use crate::identity::{Access, Permission, Secret, generate, generate_for};
use crate::params::{NO_CURSOR, Params};
use crate::problem::Flaw;
use crate::{ApiState, Problem};

/// Lifetime of a key unless told otherwise, and the longest.
const LIFETIME: Duration = Duration::days(90);
const MAX_LIFETIME: Duration = Duration::days(3653);
/// Longest time for which the secret before a rotation is accepted.
const MAX_GRACE: Duration = Duration::days(30);

/// Its routes, and their part of the OpenAPI document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(create))
        .routes(routes!(rotate))
        .routes(routes!(revoke))
}

/// Whether a key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyState {
    Active,
    Expired,
    Revoked,
}

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Its public part.
    id: String,
    label: String,
    /// `TENANT:ROLE`; `*:ROLE` for every tenant and the fleet.
    #[schema(value_type = Vec<String>)]
    grants: Vec<Grant>,
    state: KeyState,
    created_at: Time,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Time>,
    /// Until when the secret before the last rotation is accepted too.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Time>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Time>,
}

impl KeyView {
    fn of(c: &Credential, now: Time) -> Self {
        let state = match (c.revoked_at, c.ended_at(now)) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(_)) => KeyState::Expired,
            (None, None) => KeyState::Active,
        };
        Self {
            id: c.id.clone(),
            label: c.label.clone(),
            grants: c.grants.clone(),
            state,
            created_at: c.created_at,
            created_by: c.created_by.clone(),
            expires_at: c.expires_at,
            rotated_at: c.rotated_at,
            previous_until: c.previous.as_ref().map(|(_, until)| *until).filter(|t| *t > now),
            revoked_at: c.revoked_at,
            last_used_at: c.last_used_at,
        }
    }
}

/// A key with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKey {
    /// The whole key, for `Authorization: Bearer`. Nobody can show it again.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    /// By id; those that ended are listed for 30 days.
    items: Vec<KeyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a key shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    label: String,
    /// `TENANT:ROLE`, or `*:ROLE` for every tenant and the fleet; the roles are viewer, operator, approver and admin.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 64, example = json!(["acme:operator"]))]
    grants: Vec<String>,
    /// Seconds; 90 days if it is left out.
    #[schema(minimum = 1, maximum = 315_619_200)]
    expires_in_s: Option<u32>,
}

/// How a key gets another secret.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// Seconds for which the secret that it has now is accepted too; none if it is left out.
    #[schema(maximum = 2_592_000)]
    grace_s: Option<u32>,
    /// Seconds; as long as it lived before if it is left out.
    #[schema(minimum = 1, maximum = 315_619_200)]
    expires_in_s: Option<u32>,
}

/// Whether the caller could have made a key with these grants.
fn administers(access: &Access, grants: &[Grant]) -> bool {
    grants.iter().all(|g| access.may(Permission::Administer, g.tenant.as_deref()))
}

/// Lists API keys, by id, without their secrets.
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "list_keys",
    tag = "identity",
    params(
        ("limit" = Option<usize>, Query, description = "Most items of one answer", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next` of the answer before", pattern = "^[0-9a-f]{16}$"),
    ),
    responses((status = OK, body = Keys)),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    access: Access,
    mut params: Params,
) -> Result<Json<Keys>, Problem> {
    let limit = params.limit();
    let cursor = params.parsed("cursor", |text| {
        let id = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        id.then(|| text.to_owned()).ok_or(NO_CURSOR)
    });
    params.finish()?;
    let now = state.clock.now();
    let all = state.store.credentials().all_credentials().await?;
    let after = |c: &&Credential| cursor.as_ref().is_none_or(|cursor| c.id > *cursor);
    let mut found = all.iter().filter(|c| administers(&access, &c.grants)).filter(after);
    let items: Vec<KeyView> = found.by_ref().take(limit).map(|c| KeyView::of(c, now)).collect();
    let next = found.next().and(items.last()).map(|last| last.id.clone());
    Ok(Json(Keys { items, next }))
}

/// Makes an API key. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/v1/keys",
    operation_id = "create_key",
    tag = "identity",
    request_body = Wanted,
    responses(
        (status = CREATED, body = NewKey),
        (status = CONFLICT, description = "There are too many keys"),
    ),
)]
pub(crate) async fn create(
    State(state): State<ApiState>,
    access: Access,
    Extension(correlation): Correlation,
    params: Params,
    body: Bytes,
) -> Result<(StatusCode, Extension<Secret>, Json<NewKey>), Problem> {
    params.finish()?;
    let wanted: Wanted = super::json_body(&body)?.ok_or_else(|| {
        Problem::invalid("say what the key is for and what it may", vec![Flaw::new("", "empty")])
    })?;
    let now = state.clock.now();
    let (grants, lifetime) = checked(&wanted)?;
    for grant in &grants {
        access.require(Permission::Administer, grant.tenant.as_deref())?;
    }
    let made = generate()?;
    let credential = Credential {
        id: made.id,
        label: wanted.label.trim().to_owned(),
        grants,
        created_at: now,
        created_by: access.actor().to_owned(),
        expires_at: Some(now + lifetime),
        rotated_at: None,
        revoked_at: None,
        secret: made.hash,
        previous: None,
        last_used_at: None,
    };
    if !state.store.credentials().create_credential(&credential, &state.by(&access, &correlation)).await? {
        let detail = format!(
            "there are {MAX_CREDENTIALS} keys already; those that ended are forgotten after 30 days, revoke what nobody uses \
             (`trueup key ls` shows when each was used)"
        );
        return Err(Problem::new(StatusCode::CONFLICT, "too-many-keys", "Too many keys", detail));
    }
    // It may have been tried before it was there.
    state.identity.forget(&credential.id);
    Ok((
        StatusCode::CREATED,
        Extension(Secret),
        Json(NewKey { key: made.key, view: KeyView::of(&credential, now) }),
    ))
}

fn checked(wanted: &Wanted) -> Result<(Vec<Grant>, Duration), Problem> {
    let mut flaws = Vec::new();
    let label = wanted.label.trim();
    if label.is_empty() || wanted.label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        flaws.push(Flaw::new("/label", format!("expected 1 to {MAX_LABEL} characters in one line")));
    }
    if !(1..=MAX_GRANTS).contains(&wanted.grants.len()) {
        flaws.push(Flaw::new("/grants", format!("expected 1 to {MAX_GRANTS} grants")));
    }
    let mut grants: Vec<Grant> = Vec::new();
    for (n, text) in wanted.grants.iter().take(MAX_GRANTS).enumerate() {
        match text.parse() {
            Ok(grant) => grants.push(grant),
            Err(why) => flaws.push(Flaw::new(format!("/grants/{n}"), why)),
        }
    }
    grants.sort();
    grants.dedup();
    let lifetime = lifetime(wanted.expires_in_s, LIFETIME).map_err(|flaw| flaws.push(flaw));
    match lifetime {
        Ok(lifetime) if flaws.is_empty() => Ok((grants, lifetime)),
        _ => {
            let said: Vec<String> = flaws.iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
            Err(Problem::invalid(said.join("; "), flaws))
        }
    }
}

fn lifetime(given: Option<u32>, otherwise: Duration) -> Result<Duration, Flaw> {
    let lifetime = given.map_or(otherwise, |s| Duration::seconds(i64::from(s)));
    if lifetime > Duration::zero() && lifetime <= MAX_LIFETIME {
        return Ok(lifetime);
    }
    Err(Flaw::new("/expires_in_s", format!("expected 1 to {} seconds", MAX_LIFETIME.num_seconds())))
}

/// The key, if it is there for this caller.
async fn find(state: &ApiState, access: &Access, id: &str) -> Result<Credential, Problem> {
    let id = super::name("API key", id)?;
    let found = state.store.credentials().credential(id).await?;
    found.filter(|c| administers(access, &c.grants)).ok_or_else(|| Problem::not_found("API key", id))
}

/// What it became; 409 if it has ended.
async fn change(
    state: &ApiState,
    access: &Access,
    correlation: &trueup_model::CorrelationId,
    id: &str,
    change: &KeyChange,
) -> Result<Credential, Problem> {
    let changed =
        state.store.credentials().change_credential(id, change, &state.by(access, correlation)).await?;
    state.identity.forget(id);
    changed.ok_or_else(|| {
        let detail =
            format!("the API key {id} has expired or is revoked; make another one with `trueup key create`");
        Problem::new(StatusCode::CONFLICT, "key-ended", "The key has ended", detail)
    })
}

/// Gives an API key another secret, and as much time as it had. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post,
    path = "/v1/keys/{id}/rotate",
    operation_id = "rotate_key",
    tag = "identity",
    params(("id" = String, Path, description = "Id of the key")),
    request_body = Option<Rotation>,
    responses((status = OK, body = NewKey), (status = CONFLICT, description = "The key has ended")),
)]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path(id): Path<String>,
    params: Params,
    body: Bytes,
) -> Result<(Extension<Secret>, Json<NewKey>), Problem> {
    params.finish()?;
    let how: Rotation = super::json_body(&body)?.unwrap_or_default();
    let found = find(&state, &access, &id).await?;
    let now = state.clock.now();
    let grace = Duration::seconds(i64::from(how.grace_s.unwrap_or_default()));
    if grace > MAX_GRACE {
        let why = format!("expected 0 to {} seconds", MAX_GRACE.num_seconds());
        return Err(Problem::invalid(format!("/grace_s: {why}"), vec![Flaw::new("/grace_s", why)]));
    }
    let lived = found.expires_at.map(|t| t - found.rotated_at.unwrap_or(found.created_at));
    let lifetime = lifetime(how.expires_in_s, lived.unwrap_or(LIFETIME))
        .map_err(|flaw| Problem::invalid(format!("{}: {}", flaw.pointer, flaw.detail), vec![flaw]))?;
    let made = generate_for(found.id)?;
    let rotation = KeyChange::Rotate {
        secret: made.hash,
        grace_until: (grace > Duration::zero()).then(|| now + grace),
        expires_at: Some(now + lifetime),
    };
    let credential = change(&state, &access, &correlation, &made.id, &rotation).await?;
    Ok((Extension(Secret), Json(NewKey { key: made.key, view: KeyView::of(&credential, now) })))
}

/// Revokes an API key, for good. Every process refuses it within 5 s.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    operation_id = "revoke_key",
    tag = "identity",
    params(("id" = String, Path, description = "Id of the key")),
    responses((status = OK, body = KeyView), (status = CONFLICT, description = "The key has ended")),
)]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    access: Access,
    axum::Extension(correlation): Correlation,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<KeyView>, Problem> {
    params.finish()?;
    let found = find(&state, &access, &id).await?;
    let credential = change(&state, &access, &correlation, &found.id, &KeyChange::Revoke).await?;
    Ok(Json(KeyView::of(&credential, state.clock.now())))
}
