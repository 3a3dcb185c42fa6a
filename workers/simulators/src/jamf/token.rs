//! Tokens: `POST /api/oauth/token` for API clients, `POST /api/v1/auth/token` for accounts.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::json;
use trueup_model::{Duration, Time};

use super::seed::{client_id, client_secret, password, username};
use super::wire::{Reply, refused};
use crate::graph::odata::decode;

/// A request for a token.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    pub(crate) content_type: &'a str,
    /// The whole `Authorization` header.
    pub(crate) authorization: &'a str,
    pub(crate) body: &'a [u8],
}

pub(crate) fn is_login(path: &str) -> bool {
    matches!(path, "/api/oauth/token" | "/api/v1/auth/token")
}

/// Whether the credential is right; else the refusal.
pub(crate) fn check(tenant: &str, login: &Login<'_>) -> Result<(), Reply> {
    if login.method != "POST" {
        return Err(refused(405, "METHOD_NOT_ALLOWED", "", "POST only."));
    }
    if login.path == "/api/oauth/token" {
        return oauth(tenant, login);
    }
    let expected = format!("{}:{}", username(tenant), password(tenant));
    let given = login.authorization.strip_prefix("Basic ").unwrap_or_default();
    let given = base64::engine::general_purpose::STANDARD.decode(given).unwrap_or_default();
    if given == expected.as_bytes() {
        Ok(())
    } else {
        Err(refused(401, "INVALID_CREDENTIALS", "", "Unauthorized"))
    }
}

fn oauth(tenant: &str, login: &Login<'_>) -> Result<(), Reply> {
    let refuse = |status, error: &str| Err(Reply::json(status, json!({ "error": error })));
    if !login.content_type.starts_with("application/x-www-form-urlencoded") {
        return Err(refused(415, "UNSUPPORTED_MEDIA_TYPE", "", "The request body must be a form."));
    }
    let text = String::from_utf8_lossy(login.body);
    let plain = |t: &str| decode(&t.replace('+', " ")).unwrap_or_default();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let form: BTreeMap<String, String> = pairs.map(|(k, v)| (plain(k), plain(v))).collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return refuse(400, "unsupported_grant_type");
    }
    if field("client_id") != client_id(tenant) || field("client_secret") != client_secret(tenant) {
        return refuse(401, "invalid_client");
    }
    Ok(())
}

/// The answer with a new token.
pub(crate) fn granted(path: &str, token: &str, life: u32, now: Time) -> Reply {
    if path == "/api/oauth/token" {
        let scope = "api-role:1";
        return Reply::json(
            200,
            json!({"access_token": token, "scope": scope, "token_type": "Bearer", "expires_in": life}),
        );
    }
    let expires = (now + Duration::seconds(i64::from(life))).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    Reply::json(200, json!({"token": token, "expires": expires}))
}
