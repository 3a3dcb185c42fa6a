//! `POST /{tenant}/oauth2/v2.0/token`: client credentials, with Entra's error shape.

use std::collections::BTreeMap;

use serde_json::json;

use super::route::Reply;
use super::site::ConfigMgrSite;
use crate::graph::odata::decode;
use crate::{client_id, client_secret};

/// The scope a token for the AdminService is asked with: the application ID URI that the cloud management gateway was
/// registered with.
pub const CONFIGMGR_SCOPE: &str = "https://ConfigMgrService/.default";

pub(crate) fn token(site: &ConfigMgrSite, content_type: &str, body: &[u8]) -> Reply {
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return refuse(400, "invalid_request", "AADSTS900144: The request body must be a form.");
    }
    let text = String::from_utf8_lossy(body);
    let plain = |t: &str| decode(&t.replace('+', " "));
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let form: BTreeMap<String, String> = pairs.filter_map(|(k, v)| Some((plain(k)?, plain(v)?))).collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return refuse(
            400,
            "unsupported_grant_type",
            "AADSTS70003: The app requested an unsupported grant type.",
        );
    }
    if field("scope") != CONFIGMGR_SCOPE {
        return refuse(
            400,
            "invalid_scope",
            "AADSTS70011: The provided value for the input parameter 'scope' is not valid.",
        );
    }
    if field("client_id") != client_id(&site.name) || field("client_secret") != client_secret(&site.name) {
        return refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let (token, life) = site.issue_token();
    Reply::json(200, json!({"token_type": "Bearer", "expires_in": life, "access_token": token}))
}

pub(crate) fn refuse(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, json!({"error": error, "error_description": description}))
}
