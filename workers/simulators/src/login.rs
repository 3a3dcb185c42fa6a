//! `POST /{tenant}/oauth2/v2.0/token`: client credentials, with Entra's error shape.

use serde_json::{Value, json};

use crate::graph::odata::decode;
use crate::tenant::Tenant;

const SCOPE: &str = "https://graph.microsoft.com/.default";

/// Status and body.
pub(crate) fn token(tenant: &Tenant, content_type: &str, body: &[u8]) -> (u16, Value) {
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return refuse(400, "invalid_request", "AADSTS900144: The request body must be a form.");
    }
    let text = String::from_utf8_lossy(body);
    let mut form = std::collections::BTreeMap::new();
    for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let plain = |t: &str| decode(&t.replace('+', " "));
        if let (Some(key), Some(value)) = (plain(key), plain(value))
            && form.insert(key, value).is_some()
        {
            return refuse(400, "invalid_request", "AADSTS90010: A parameter is there twice.");
        }
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    for name in ["grant_type", "client_id", "client_secret", "scope"] {
        if field(name).is_empty() {
            let what =
                format!("AADSTS900144: The request body must contain the following parameter: '{name}'.");
            return refuse(400, "invalid_request", &what);
        }
    }
    if field("grant_type") != "client_credentials" {
        return refuse(
            400,
            "unsupported_grant_type",
            "AADSTS70003: The app requested an unsupported grant type.",
        );
    }
    if field("scope") != SCOPE {
        return refuse(
            400,
            "invalid_scope",
            "AADSTS70011: The provided value for the input parameter 'scope' is not valid.",
        );
    }
    if !tenant.knows(field("client_id"), field("client_secret")) {
        return refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let (token, life) = tenant.issue(field("client_id"));
    (200, json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}))
}

pub(crate) fn unknown_tenant(name: &str) -> (u16, Value) {
    let plain: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(64).collect();
    refuse(400, "invalid_request", &format!("AADSTS90002: Tenant '{plain}' not found."))
}

fn refuse(status: u16, error: &str, description: &str) -> (u16, Value) {
    let codes = description.get(6..).and_then(|t| t.split(':').next()).and_then(|t| t.parse::<u64>().ok());
    (status, json!({"error": error, "error_description": description, "error_codes": [codes]}))
}
